//! For unit tests on Linux: what the kernel has of its hardware, a clock and a timer that ticks. It is no part of the kernel.

use std::sync::{Once, OnceLock};
use std::time::Duration;
use time::{ClockSource, Instant, Monotonic, Period};

/// The host's clock.
struct HostClock;

impl ClockSource for HostClock {
    type ClockType = Monotonic;

    fn now() -> Instant {
        static START: OnceLock<std::time::Instant> = OnceLock::new();
        Instant::from_nanos(START.get_or_init(std::time::Instant::now).elapsed().as_nanos() as u64)
    }
}

/// Starts the clock, and a thread that calls `tick` every millisecond from now on; once in a process, whoever calls first.
pub fn start_ticking(tick: fn()) {
    static STARTED: Once = Once::new();
    STARTED.call_once(|| {
        time::register_clock_source::<HostClock>(Period::from_hertz(1_000_000_000));
        std::thread::spawn(move || {
            loop {
                std::thread::sleep(Duration::from_millis(1));
                tick();
            }
        });
    });
}
