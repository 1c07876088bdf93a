//! A point in time.

use crate::{Duration, Monotonic, now};
use core::ops::{Add, AddAssign, Sub, SubAssign};

/// A point in time on the monotonic time line of this boot, to the nanosecond. 64 bits last for 584 years.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// The beginning of the time line.
    pub const ZERO: Self = Instant(0);
    /// A point that is never reached.
    pub const MAX: Self = Instant(u64::MAX);

    /// The point `nanoseconds` after [`ZERO`](Self::ZERO).
    pub const fn new(nanoseconds: u64) -> Self {
        Instant(nanoseconds)
    }

    /// Same as [`new`](Self::new), by a name that says the unit.
    pub const fn from_nanos(nanoseconds: u64) -> Self {
        Instant(nanoseconds)
    }

    /// Nanoseconds since [`ZERO`](Self::ZERO).
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The present.
    pub fn now() -> Self {
        now::<Monotonic>()
    }

    /// The time since this instant: zero if it is still to come.
    pub fn elapsed(&self) -> Duration {
        Self::now().duration_since(*self)
    }

    /// The time from `earlier` to this instant: zero if `earlier` is later.
    pub const fn duration_since(&self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// The time from `earlier` to this instant: `None` if `earlier` is later.
    pub const fn checked_duration_since(&self, earlier: Self) -> Option<Duration> {
        match self.0.checked_sub(earlier.0) {
            Some(nanoseconds) => Some(Duration::from_nanos(nanoseconds)),
            None => None,
        }
    }

    /// The instant `duration` later, at most [`MAX`](Self::MAX).
    pub fn saturating_add(self, duration: Duration) -> Self {
        Instant(self.0.saturating_add(saturating_nanos(duration)))
    }
}

fn saturating_nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl Add<Duration> for Instant {
    type Output = Self;

    /// The instant `duration` later. Stops at [`Instant::MAX`], which no clock reaches.
    fn add(self, duration: Duration) -> Self {
        self.saturating_add(duration)
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, duration: Duration) {
        *self = *self + duration;
    }
}

impl Sub<Duration> for Instant {
    type Output = Self;

    /// The instant `duration` earlier. Stops at [`Instant::ZERO`].
    fn sub(self, duration: Duration) -> Self {
        Instant(self.0.saturating_sub(saturating_nanos(duration)))
    }
}

impl SubAssign<Duration> for Instant {
    fn sub_assign(&mut self, duration: Duration) {
        *self = *self - duration;
    }
}

impl Sub<Instant> for Instant {
    type Output = Duration;

    /// See [`Instant::duration_since`].
    fn sub(self, earlier: Instant) -> Duration {
        self.duration_since(earlier)
    }
}
