//! How many panics and faults are reported: all of the first few, then one now and then.
//!
//! Who can make a host function panic can do so a hundred thousand times a second, and a report takes longer than all the
//! rest of a panic. So reports are paid for from an allowance, which fills again with time. What it does not pay for is
//! counted, and the next report says how many those were. (Whoever catches a panic or joins the task has its message in any
//! case.)

use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Reports that may follow each other at once.
const BURST: u64 = 32;
/// Nanoseconds in which the allowance grows by one report.
const INTERVAL: u64 = 10_000_000_000;

/// An allowance, and what went without.
pub struct Allowance {
    /// When it will be full again, in nanoseconds on the monotonic time line.
    full_at: AtomicU64,
    left_out: AtomicUsize,
}

impl Allowance {
    /// A full allowance.
    #[expect(clippy::new_without_default, reason = "it is for statics")]
    pub const fn new() -> Self {
        Self { full_at: AtomicU64::new(0), left_out: AtomicUsize::new(0) }
    }

    /// Takes one report out of the allowance at time `now`. Returns how many went without since the last one, or `None` if
    /// this one has to, too.
    pub fn take(&self, now: u64) -> Option<usize> {
        let taken = self.full_at.try_update(Ordering::Relaxed, Ordering::Relaxed, |full_at| {
            let after = full_at.max(now) + INTERVAL;
            (after - now <= BURST * INTERVAL).then_some(after)
        });
        if taken.is_err() {
            self.left_out.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        Some(self.left_out.swap(0, Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_ones_are_allowed_then_one_now_and_then() {
        let allowance = Allowance::new();
        let start = 5 * INTERVAL + 7;
        for _ in 0..BURST {
            assert_eq!(allowance.take(start), Some(0));
        }
        assert_eq!(allowance.take(start), None);
        assert_eq!(allowance.take(start + INTERVAL - 1), None);
        assert_eq!(allowance.take(start + INTERVAL), Some(2));
        assert_eq!(allowance.take(start + INTERVAL), None);
        // Never more at once than in the beginning.
        let later = start + 1000 * INTERVAL;
        assert_eq!(allowance.take(later), Some(1));
        assert_eq!((1..100).filter(|_| allowance.take(later).is_some()).count() as u64, BURST - 1);
        // A clock that goes back a little is no matter.
        assert_eq!(allowance.take(later - 5), None);
    }
}
