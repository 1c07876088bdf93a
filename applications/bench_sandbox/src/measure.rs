//! Taking the time, and saying what it was.

use crate::system::{nanoseconds, println};
use alloc::format;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

/// How often each thing is done; of these the one that took least counts.
const RUNS: usize = 60;
/// For how many nanoseconds time stamps are compared with the clock.
const CALIBRATION: u64 = 50_000_000;

/// When the guest last called [`mark`].
static MARK: AtomicU64 = AtomicU64::new(0);
/// How many time stamps there are in a second, if results are to be in nanoseconds; else 0.
static RATE: AtomicU64 = AtomicU64::new(0);

/// The time stamp counter.
pub(crate) fn time_stamp() -> u64 {
    // SAFETY: every 64-bit x86 processor has RDTSC, and neither our kernel nor Linux (unless it is told to) restricts it.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// Makes results be in nanoseconds from now on, in place of time stamps.
pub(crate) fn count_nanoseconds() {
    let (clock, stamp) = (nanoseconds(), time_stamp());
    while nanoseconds() - clock < CALIBRATION {
        core::hint::spin_loop();
    }
    let (stamps, nanoseconds) = (time_stamp() - stamp, nanoseconds() - clock);
    let rate = u128::from(stamps) * 1_000_000_000 / u128::from(nanoseconds);
    RATE.store(rate as u64, Ordering::Relaxed);
}

/// Whether results are in nanoseconds.
pub(crate) fn counts_nanoseconds() -> bool {
    RATE.load(Ordering::Relaxed) != 0
}

/// What is printed of so many time stamps.
fn figure(stamps: u64) -> u64 {
    match RATE.load(Ordering::Relaxed) {
        0 => stamps,
        rate => (u128::from(stamps) * 1_000_000_000 / u128::from(rate)) as u64,
    }
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
    print(what, from_mark, whole);
}

/// Prints one number of time stamps, which is the whole of it.
pub(crate) fn show_one(what: &str, stamps: u64) {
    print(what, stamps, stamps);
}

/// Prints the median and the worst of many.
pub(crate) fn show_spread(what: &str, mut stamps: Vec<u64>) {
    stamps.sort_unstable();
    show_one(&format!("{what}, median"), stamps[stamps.len() / 2]);
    show_one(&format!("{what}, worst of {}", stamps.len()), stamps[stamps.len() - 1]);
}

fn print(what: &str, from_mark: u64, whole: u64) {
    println!("{what:44} {:>14} {:>14}", figure(from_mark), figure(whole));
}
