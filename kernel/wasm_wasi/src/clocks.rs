//! Clocks: the system's, and those that an embedder gives instead.

use core::time::Duration;

/// A clock that tells the time of day.
pub trait HostWallClock: Send {
    /// How exact it is.
    fn resolution(&self) -> Duration;

    /// The time since the Unix epoch.
    fn now(&self) -> Duration;
}

/// A clock that never goes back.
pub trait HostMonotonicClock: Send {
    /// How exact it is, in nanoseconds.
    fn resolution(&self) -> u64;

    /// Nanoseconds since some moment.
    fn now(&self) -> u64;
}

/// The system's clocks.
pub(crate) struct System;

impl HostWallClock for System {
    fn resolution(&self) -> Duration {
        resolution(true)
    }

    fn now(&self) -> Duration {
        #[cfg(target_os = "theseus")]
        {
            time::now::<time::WallTime>()
        }
        #[cfg(not(target_os = "theseus"))]
        {
            wasm_platform::files::wall_clock()
        }
    }
}

impl HostMonotonicClock for System {
    fn resolution(&self) -> u64 {
        resolution(false).as_nanos() as u64
    }

    fn now(&self) -> u64 {
        wasm_platform::monotonic_nanos()
    }
}

/// How exact the system's clocks are: it counts nanoseconds.
#[cfg(target_os = "theseus")]
fn resolution(_wall: bool) -> Duration {
    Duration::from_nanos(1)
}

/// How exact the system's clocks are.
#[cfg(target_os = "linux")]
fn resolution(wall: bool) -> Duration {
    use rustix::time::ClockId;
    let clock = if wall { ClockId::Realtime } else { ClockId::Monotonic };
    let resolution = rustix::time::clock_getres(clock);
    Duration::new(resolution.tv_sec as u64, resolution.tv_nsec as u32)
}
