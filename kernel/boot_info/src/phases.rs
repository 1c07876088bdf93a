//! When each phase of the boot was over, by the time stamp counter.
//!
//! `bench_boot` shows them. Where QEMU counts instructions (`-icount`), the counter does too.

use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use spin::Once;

/// How many phases are kept; later ones are dropped.
const MAX_PHASES: usize = 32;

/// The end of a phase of the boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Phase {
    /// What was done in it.
    pub name: &'static str,
    /// The time stamp counter at its end.
    pub end: u64,
}

static START: AtomicU64 = AtomicU64::new(0);
static COUNT: AtomicUsize = AtomicUsize::new(0);
static PHASES: [Once<Phase>; MAX_PHASES] = [const { Once::new() }; MAX_PHASES];

fn time_stamp() -> u64 {
    // SAFETY: every 64-bit x86 processor has RDTSC, and the kernel does not restrict it (CR4.TSD is clear).
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// Notes when the kernel's first instructions in Rust ran.
pub fn start() {
    START.store(time_stamp(), Ordering::Relaxed);
}

/// Notes that the phase called `name` is over.
pub fn end_of(name: &'static str) {
    let index = COUNT.fetch_add(1, Ordering::Relaxed);
    if let Some(slot) = PHASES.get(index) {
        slot.call_once(|| Phase { name, end: time_stamp() });
    }
}

/// The time stamp counter when [`start`] was called.
pub fn started_at() -> u64 {
    START.load(Ordering::Relaxed)
}

/// The phases so far, in order.
pub fn all() -> impl Iterator<Item = Phase> {
    PHASES.iter().filter_map(|slot| slot.get().copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_are_kept_in_order_and_the_surplus_is_dropped() {
        start();
        for _ in 0..MAX_PHASES + 3 {
            end_of("test");
        }
        assert_eq!(all().count(), MAX_PHASES);
        let ends: Vec<u64> = all().map(|phase| phase.end).collect();
        assert!(ends.is_sorted() && ends[0] >= started_at());
    }
}
