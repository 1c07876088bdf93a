//! Taking the time.

use app_io::println;
use core::sync::atomic::{AtomicU64, Ordering};

/// How often each thing is done; of these the one that took least counts.
const RUNS: usize = 12;

/// When the guest last called [`mark`].
static MARK: AtomicU64 = AtomicU64::new(0);

/// The time stamp counter.
pub(crate) fn time_stamp() -> u64 {
    // SAFETY: every 64-bit x86 processor has RDTSC, and the kernel does not restrict it.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// Notes the time. What guests call just before they fail.
pub(crate) fn mark() {
    MARK.store(time_stamp(), Ordering::Relaxed);
}

/// Prints what `fails` costs, which calls [`mark`] at the beginning of what is of interest, and what dropping its result costs
/// besides.
pub(crate) fn show<R>(what: &str, mut fails: impl FnMut() -> R) {
    let (mut from_mark, mut whole) = (u64::MAX, u64::MAX);
    for _ in 0..RUNS {
        let start = time_stamp();
        let result = fails();
        let end = time_stamp();
        drop(result);
        whole = whole.min(time_stamp() - start);
        from_mark = from_mark.min(end - MARK.load(Ordering::Relaxed).max(start));
    }
    println!("{what:44} {from_mark:>14} {whole:>14}");
}
