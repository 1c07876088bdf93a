//! Instants, periods, calendar dates, and the clock that is the current one.
//!
//! Clock hardware differs from machine to machine, so each kind is a crate of its own (`tsc`, `hpet`, `pm_timer`,
//! `rtc`) that registers itself here as a [`ClockSource`]. Everybody else asks [`now`]:
//!
//! - `now::<Monotonic>()` returns an [`Instant`] and never goes backwards, on whichever CPU it is called.
//! - `now::<WallTime>()` returns the time since 1970-01-01 00:00 UTC, as far as the machine knows it.
//!
//! # Invariants
//! - All instants of a boot are nanoseconds on one time line. A better source that registers later continues the
//!   time line where the one before left it.
//! - Reading a clock neither allocates nor locks; it may be done in interrupt handlers.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

use alloc::boxed::Box;
use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

pub mod calendar;
mod instant;
mod ticks;

pub use core::time::Duration;
pub use instant::Instant;
pub use ticks::{TickScale, WrappingCounter};

/// The time between two ticks of a clock, in femtoseconds (10⁻¹⁵ s).
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period(u64);

impl Period {
    /// Femtoseconds in a second.
    const FEMTOS_PER_SECOND: u64 = 1_000_000_000_000_000;

    /// A period of so many femtoseconds.
    pub const fn new(femtoseconds: u64) -> Self {
        Period(femtoseconds)
    }

    /// The period of a clock that ticks `hertz` times a second, rounded down.
    ///
    /// # Panics
    /// If `hertz` is 0.
    pub const fn from_hertz(hertz: u64) -> Self {
        Period(Self::FEMTOS_PER_SECOND / hertz)
    }
}

impl From<Period> for u64 {
    /// The period in femtoseconds.
    fn from(period: Period) -> u64 {
        period.0
    }
}

/// A kind of clock: [`Monotonic`] or [`WallTime`].
pub trait ClockType: sealed::ClockType {
    /// What a clock of this kind shows.
    type Unit: Copy + 'static;
}

/// Clocks that show how much time has passed, and never go backwards.
pub struct Monotonic;

impl ClockType for Monotonic {
    type Unit = Instant;
}

/// Clocks that show the time since 1970-01-01 00:00 UTC.
pub struct WallTime;

impl ClockType for WallTime {
    type Unit = Duration;
}

/// A clock.
pub trait ClockSource {
    /// The kind of clock it is.
    type ClockType: ClockType;

    /// What the clock shows. Called in any context, interrupt handlers included.
    ///
    /// A monotonic clock may begin anywhere; [`register_clock_source`] shifts it.
    fn now() -> <Self::ClockType as ClockType>::Unit;
}

/// A clock that can wait before there are tasks and interrupts.
pub trait EarlySleeper: ClockSource<ClockType = Monotonic> {
    /// Spins until at least `duration` has passed.
    fn sleep(duration: Duration) {
        let start = Self::now();
        while Self::now().duration_since(start) < duration {
            core::hint::spin_loop();
        }
    }
}

mod sealed {
    use super::{Instant, Period};
    use core::time::Duration;

    pub trait ClockType {
        type Shown;
        fn register(now: fn() -> Self::Shown, period: Period) -> bool;
        fn now() -> Self::Shown;
    }

    impl ClockType for super::Monotonic {
        type Shown = Instant;

        fn register(now: fn() -> Instant, period: Period) -> bool {
            super::MONOTONIC.register(now, period)
        }

        fn now() -> Instant {
            super::MONOTONIC.now()
        }
    }

    impl ClockType for super::WallTime {
        type Shown = Duration;

        fn register(now: fn() -> Duration, period: Period) -> bool {
            super::WALL_TIME.register(now, period)
        }

        fn now() -> Duration {
            super::WALL_TIME.now().unwrap_or(Duration::ZERO)
        }
    }
}

/// The current clock of a kind. Sources are few and registered once each, so those that were replaced stay in memory.
struct Current<T: 'static> {
    source: AtomicPtr<Source<T>>,
}

struct Source<T> {
    now: fn() -> T,
    period: Period,
    /// Nanoseconds to add to what `now` shows, wrapping.
    shift: u64,
}

impl<T> Current<T> {
    const fn new() -> Self {
        Current { source: AtomicPtr::new(core::ptr::null_mut()) }
    }

    fn get(&self) -> Option<&'static Source<T>> {
        // SAFETY: the pointer is null or comes from `Box::leak` in `set`, and what it points to is never changed.
        unsafe { self.source.load(Ordering::Acquire).as_ref() }
    }

    fn is_better(&self, period: Period) -> bool {
        self.get().is_none_or(|current| period < current.period)
    }

    fn set(&self, source: Source<T>) {
        self.source.store(Box::leak(Box::new(source)), Ordering::Release);
    }

    fn now(&self) -> Option<T> {
        self.get().map(|source| (source.now)())
    }
}

static WALL_TIME: Current<Duration> = Current::new();

impl Current<Duration> {
    fn register(&self, now: fn() -> Duration, period: Period) -> bool {
        let better = self.is_better(period);
        if better {
            self.set(Source { now, period, shift: 0 });
        }
        better
    }
}

/// The monotonic clock: the current source, and the latest instant that anybody was told.
struct MonotonicClock {
    current: Current<Instant>,
    latest: AtomicU64,
}

static MONOTONIC: MonotonicClock = MonotonicClock { current: Current::new(), latest: AtomicU64::new(0) };

impl MonotonicClock {
    fn register(&self, now: fn() -> Instant, period: Period) -> bool {
        let better = self.current.is_better(period);
        if better {
            let shift = self.now().as_nanos().wrapping_sub(now().as_nanos());
            self.current.set(Source { now, period, shift });
        }
        better
    }

    fn now(&self) -> Instant {
        let Some(source) = self.current.get() else { return Instant::ZERO };
        let nanos = (source.now)().as_nanos().wrapping_add(source.shift);
        // CPUs' counters may differ by a little, and a source may have been replaced between the two reads above.
        let mut latest = self.latest.load(Ordering::Acquire);
        while latest < nanos {
            match self.latest.compare_exchange_weak(latest, nanos, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Instant::from_nanos(nanos),
                Err(newer) => latest = newer,
            }
        }
        Instant::from_nanos(latest)
    }
}

/// Makes `T` the current clock of its kind if its period is shorter than the current one's. Returns whether it is.
///
/// The period is the resolution of the clock: whatever the clock's counter is, [`ClockSource::now`] returns nanoseconds.
/// Registering the sources of one kind is for one CPU at a time.
pub fn register_clock_source<T: ClockSource>(period: Period) -> bool
where
    T::ClockType: sealed::ClockType<Shown = <T::ClockType as ClockType>::Unit>,
{
    <T::ClockType as sealed::ClockType>::register(T::now, period)
}

/// What the current clock of a kind shows: [`Instant::ZERO`], or no time since 1970, while none is registered.
pub fn now<T>() -> T::Unit
where
    T: ClockType + sealed::ClockType<Shown = <T as ClockType>::Unit>,
{
    <T as sealed::ClockType>::now()
}

/// Whether there is a monotonic clock yet, that is, whether [`Instant`]s advance.
pub fn is_running() -> bool {
    MONOTONIC.current.get().is_some()
}

struct Sleeper {
    sleep: fn(Duration),
    period: Period,
}

static EARLY_SLEEPER: AtomicPtr<Sleeper> = AtomicPtr::new(core::ptr::null_mut());

fn sleeper() -> Option<&'static Sleeper> {
    // SAFETY: the pointer is null or comes from `Box::leak` in `register_early_sleeper`, and its target is never changed.
    unsafe { EARLY_SLEEPER.load(Ordering::Acquire).as_ref() }
}

/// Makes `T` what [`early_sleep`] waits with if its period is shorter than the current one's. Returns whether it is.
pub fn register_early_sleeper<T: EarlySleeper>(period: Period) -> bool {
    let better = sleeper().is_none_or(|current| period < current.period);
    if better {
        EARLY_SLEEPER.store(Box::leak(Box::new(Sleeper { sleep: T::sleep, period })), Ordering::Release);
    }
    better
}

/// Spins until at least `duration` has passed. For drivers at boot; tasks use `sleep`.
///
/// # Panics
/// If no clock that can do so was registered.
pub fn early_sleep(duration: Duration) {
    match sleeper() {
        Some(sleeper) => (sleeper.sleep)(duration),
        None => panic!("early_sleep: no clock is registered yet: initialise hpet or pm_timer first"),
    }
}

#[cfg(test)]
mod tests;
