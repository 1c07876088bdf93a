//! The wall clock, as a callback.

use core::time::Duration;
use spin::RwLock;

static CLOCK: RwLock<Option<fn() -> Duration>> = RwLock::new(None);

/// Sets the function that tells the time since the Unix epoch. It is called with a file or directory locked, so it must not use
/// files itself, and it must stay valid for ever: it belongs into a crate that is never unloaded.
pub fn set_clock(clock: fn() -> Duration) {
    *CLOCK.write() = Some(clock);
}

/// The time since the Unix epoch; zero before [`set_clock`].
pub fn now() -> Duration {
    let clock = *CLOCK.read();
    clock.map_or(Duration::ZERO, |clock| clock())
}
