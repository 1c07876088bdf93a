//! From a counter's ticks to nanoseconds.

use core::sync::atomic::{AtomicU64, Ordering};

/// Converts ticks of a counter of known frequency to nanoseconds, by one multiplication and one shift.
///
/// The factor has 32 binary places, so that after a year at 1 GHz it is off by less than 4 ms.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct TickScale {
    /// Nanoseconds per tick, times 2³².
    factor: u64,
}

impl TickScale {
    /// The scale of a counter with `hertz` ticks a second: from 1 Hz up. `None` for 0.
    pub const fn from_hertz(hertz: u64) -> Option<Self> {
        if hertz == 0 {
            return None;
        }
        // 10⁹ < 2³⁰, so that the numerator has at most 62 bits.
        Some(TickScale { factor: ((1_000_000_000u64 << 32) + hertz / 2) / hertz })
    }

    /// The scale of a counter that ticks every `femtoseconds`. `None` for 0 and for periods of 2³² ns and more.
    pub const fn from_femtoseconds(femtoseconds: u64) -> Option<Self> {
        let factor = ((femtoseconds as u128) << 32) / 1_000_000;
        if factor == 0 || factor > u64::MAX as u128 {
            return None;
        }
        Some(TickScale { factor: factor as u64 })
    }

    /// How many nanoseconds so many ticks last, rounded down. Wraps after 584 years.
    #[inline]
    pub const fn to_nanos(self, ticks: u64) -> u64 {
        ((ticks as u128 * self.factor as u128) >> 32) as u64
    }
}

/// Extends a hardware counter of few bits, which wraps around, to 64 bits, which do not.
///
/// It must be read more than twice per round of the hardware counter. Readers on several CPUs may race.
pub struct WrappingCounter {
    /// The largest value the hardware counter has: 2ⁿ - 1.
    mask: u64,
    total: AtomicU64,
}

impl WrappingCounter {
    /// A counter whose hardware has `bits` bits (1 to 64) and shows `first` now.
    ///
    /// # Panics
    /// If `bits` is 0 or above 64.
    pub const fn new(bits: u32, first: u64) -> Self {
        assert!(bits >= 1 && bits <= 64, "a counter has 1 to 64 bits");
        let mask = u64::MAX >> (64 - bits);
        WrappingCounter { mask, total: AtomicU64::new(first & mask) }
    }

    /// The extended value, given what the hardware counter shows.
    pub fn extend(&self, raw: u64) -> u64 {
        let mut total = self.total.load(Ordering::Relaxed);
        loop {
            let ahead = raw.wrapping_sub(total) & self.mask;
            if ahead > self.mask / 2 {
                // `raw` was read before another CPU's later value was recorded.
                return total;
            }
            let new = total.wrapping_add(ahead);
            match self.total.compare_exchange_weak(total, new, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return new,
                Err(current) => total = current,
            }
        }
    }
}
