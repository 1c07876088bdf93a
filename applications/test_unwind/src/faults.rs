//! CPU exceptions that end a computation by unwinding it.

use crate::{
    drops::{Noted, assert_nothing_left},
    tasks::killed,
};
use alloc::{sync::Arc, vec::Vec};
use catch_unwind::catch_unwind_with_arg;
use core::hint::black_box;
use task::KillReason;

/// Exceptions as the processor numbers them.
const UNDEFINED_INSTRUCTION: u8 = 6;
const DIVISION: u8 = 0;
const GENERAL_PROTECTION: u8 = 13;
const PAGE_FAULT: u8 = 14;

/// Page 0 is never mapped.
fn reads_unmapped_memory() {
    // SAFETY: this faults; that is the point.
    black_box(unsafe { black_box(8 as *const u32).read_volatile() });
}

fn writes_own_code() {
    // SAFETY: as above, since code is never writable.
    unsafe { black_box(writes_own_code as *mut u32).write_volatile(0) };
}

fn reads_a_non_canonical_address() {
    // SAFETY: as above.
    black_box(unsafe { black_box((1usize << 63) as *const u32).read_volatile() });
}

fn executes_nonsense() {
    // SAFETY: as above.
    unsafe { core::arch::asm!("ud2") };
}

fn divides_by_zero() {
    // SAFETY: as above. In assembly, because Rust would check first.
    unsafe { core::arch::asm!("div {0:r}", in(reg) 0, inout("rax") 1 => _, inout("rdx") 0 => _) };
}

/// Calls `f`, which faults, with a value to be dropped. The call is to a function unknown, so that the compiler cannot find
/// out that it never panics and leave out the drop.
#[inline(never)]
fn with_a_value(log: &spin::Mutex<Vec<u32>>, f: fn()) {
    let _noted = Noted(log, 2);
    black_box(f)();
}

pub(crate) fn faults_end_the_task() {
    let faults: [(u8, fn()); 5] = [
        (PAGE_FAULT, reads_unmapped_memory),
        (PAGE_FAULT, writes_own_code),
        (GENERAL_PROTECTION, reads_a_non_canonical_address),
        (UNDEFINED_INSTRUCTION, executes_nonsense),
        (DIVISION, divides_by_zero),
    ];
    for (vector, fault) in faults {
        let log = Arc::new(spin::Mutex::new(Vec::new()));
        let task_log = log.clone();
        match killed(move || with_a_value(&task_log, fault)) {
            KillReason::Exception(number) => assert_eq!(number, vector),
            reason => panic!("exception {vector} is expected, not: {reason}"),
        }
        assert_eq!(*log.lock(), [2], "exception {vector}");
    }
}

pub(crate) fn caught() {
    let log = spin::Mutex::new(Vec::new());
    let reason = catch_unwind_with_arg(|()| with_a_value(&log, reads_unmapped_memory), ());
    assert!(matches!(reason, Err(KillReason::Exception(PAGE_FAULT))), "{reason:?}");
    assert_eq!(*log.lock(), [2]);
    assert_eq!(unwind::panic_depth(), 0);
    // Interrupts are on as before, so the task is still preempted: two tasks that wait for each other would hang.
    assert!(interrupts_enabled());
}

pub(crate) fn bad_jump() {
    #[inline(never)]
    fn calls_nowhere(log: &spin::Mutex<Vec<u32>>) {
        let _noted = Noted(log, 1);
        // SAFETY: there is no code at this address, which faults; that is the point.
        let nowhere: fn() = unsafe { core::mem::transmute(black_box(0x10usize)) };
        nowhere();
        black_box(log);
    }

    #[inline(never)]
    fn calls_that(log: &spin::Mutex<Vec<u32>>) {
        let _noted = Noted(log, 2);
        black_box(calls_nowhere as fn(&spin::Mutex<Vec<u32>>))(log);
    }

    let log = spin::Mutex::new(Vec::new());
    let reason = catch_unwind_with_arg(|()| calls_that(&log), ());
    assert!(matches!(reason, Err(KillReason::Exception(PAGE_FAULT))), "{reason:?}");
    // The fault is that of the function called, which does not exist: its caller has a call site, and drops its values.
    assert_eq!(*log.lock(), [1, 2]);
}

pub(crate) fn many_faults() {
    assert_nothing_left(1_000, || {
        let reason = catch_unwind_with_arg(|()| black_box(executes_nonsense as fn())(), ());
        assert!(matches!(reason, Err(KillReason::Exception(UNDEFINED_INSTRUCTION))));
    });
}

fn interrupts_enabled() -> bool {
    const INTERRUPT_FLAG: u64 = 1 << 9;
    let flags: u64;
    // SAFETY: reads the flags.
    unsafe { core::arch::asm!("pushfq", "pop {}", out(reg) flags) };
    flags & INTERRUPT_FLAG != 0
}
