//! That no CPU uses a translation that is gone.

use crate::{another_than, cpus, in_tasks, start_on, value_of, wait_for};
use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use core::time::Duration;
use ktest_system::leaves_nothing;
use memory::{PAGE_SIZE, PteFlags, ReservedPages};
use task::{ExitValue, KillReason, scheduler};

const WRITABLE: PteFlags = PteFlags::new().valid(true).writable(true);
const READABLE: PteFlags = PteFlags::new().valid(true);
/// The CPU's number for page faults.
const PAGE_FAULT: u8 = 14;

/// What the two sides of a test share.
#[derive(Default)]
struct Shared {
    /// How often the page was accessed.
    accesses: AtomicUsize,
    /// The page must not be accessible from now on.
    gone: AtomicBool,
    /// It was, though.
    was_there: AtomicBool,
}

/// A reservation with its first page committed.
fn page() -> ReservedPages {
    let mut pages = memory::reserve_pages(PAGE_SIZE).expect("there is address space");
    pages.commit(0..PAGE_SIZE, WRITABLE).expect("there is memory");
    pages
}

/// Another CPU accesses a page all the time while `take_away` makes that impossible: it must fault from then on.
fn taken_away(write: bool, take_away: impl Fn(&mut ReservedPages)) {
    for _ in 0..100 {
        let stay = scheduler::stay_on_this_cpu();
        let mut pages = page();
        let address = pages.as_mut_ptr() as usize;
        let shared = Arc::new(Shared::default());
        let theirs = shared.clone();
        let task = start_on(another_than(stay.cpu()), move || {
            loop {
                // If the page was gone before the access, the access must fail.
                let gone = theirs.gone.load(Ordering::Acquire);
                // SAFETY: the reservation stays until this task has ended, so nobody else has memory there. That the access may
                // fault is the test.
                unsafe {
                    let word = address as *mut usize;
                    if write {
                        word.write_volatile(1);
                    } else {
                        core::hint::black_box(word.read_volatile());
                    }
                }
                if gone {
                    theirs.was_there.store(true, Ordering::Release);
                    return;
                }
                theirs.accesses.fetch_add(1, Ordering::Relaxed);
            }
        });
        wait_for("the other task to access the page", || shared.accesses.load(Ordering::Relaxed) > 10);
        take_away(&mut pages);
        shared.gone.store(true, Ordering::Release);
        let end = task.join();
        assert!(!shared.was_there.load(Ordering::Acquire), "the page was accessed after it was taken away");
        assert!(matches!(end, Ok(ExitValue::Killed(KillReason::Exception(PAGE_FAULT)))), "{end:?}");
    }
}

pub fn unmapped() {
    taken_away(false, |pages| pages.decommit(0..PAGE_SIZE).expect("it is committed"));
}

pub fn protected() {
    taken_away(true, |pages| pages.protect(0..PAGE_SIZE, READABLE).expect("it is committed"));
}

pub fn remapped() {
    const ROUNDS: usize = 2_000;
    let stay = scheduler::stay_on_this_cpu();
    let mut pages = page();
    let address = pages.as_mut_ptr() as usize;
    let turn = Arc::new(AtomicUsize::new(0));
    let theirs = turn.clone();
    let task = start_on(another_than(stay.cpu()), move || {
        for round in 0..ROUNDS {
            wait_for("a new page", || theirs.load(Ordering::Acquire) == 2 * round + 1);
            // SAFETY: the page is committed, and stays so until this has answered.
            let value = unsafe { (address as *const usize).read_volatile() };
            assert_eq!(value, round, "what another page held");
            theirs.store(2 * round + 2, Ordering::Release);
        }
    });
    for round in 0..ROUNDS {
        pages.decommit(0..PAGE_SIZE).expect("it is committed");
        // The frame just given back must not be the one that is mapped now.
        let former = memory::allocate_frames(1).expect("there is memory");
        pages.commit(0..PAGE_SIZE, WRITABLE).expect("there is memory");
        drop(former);
        // SAFETY: the page was just committed, and nobody else accesses it now.
        unsafe { (address as *mut usize).write_volatile(round) };
        turn.store(2 * round + 1, Ordering::Release);
        wait_for("an answer", || turn.load(Ordering::Acquire) == 2 * round + 2);
    }
    value_of::<()>(&task);
}

pub fn dozing() {
    let deferred = || tlb_shootdown::statistics().deferred;
    let before = deferred();
    for _ in 0..50 {
        let stay = scheduler::stay_on_this_cpu();
        let mut pages = page();
        let address = pages.as_mut_ptr() as usize;
        let shared = Arc::new((AtomicUsize::new(0), wait_queue::WaitQueue::new()));
        let theirs = shared.clone();
        let task = start_on(another_than(stay.cpu()), move || {
            // SAFETY: as in `taken_away`.
            let access = || unsafe { (address as *const usize).read_volatile() };
            access();
            theirs.0.store(1, Ordering::Release);
            // The CPU has nothing to do meanwhile.
            theirs.1.wait_until(|| (theirs.0.load(Ordering::Acquire) == 2).then_some(()));
            access();
            theirs.0.store(3, Ordering::Release);
        });
        wait_for("the first access", || shared.0.load(Ordering::Acquire) == 1);
        let _ = sleep::sleep(Duration::from_millis(2));
        pages.decommit(0..PAGE_SIZE).expect("it is committed");
        shared.0.store(2, Ordering::Release);
        shared.1.notify_all();
        let end = task.join();
        assert_ne!(shared.0.load(Ordering::Acquire), 3, "a page was accessed after it was unmapped");
        assert!(matches!(end, Ok(ExitValue::Killed(KillReason::Exception(PAGE_FAULT)))), "{end:?}");
    }
    assert!(cpus() == 1 || deferred() > before, "no CPU ever idled, so nothing was tested");
}

pub fn at_the_same_time() {
    // Each waits for the others, which wait for it; some with interrupts off, some with a lock that the others want.
    leaves_nothing(|| {
        let lock = Arc::new(sync_irq::IrqSafeMutex::new(0_usize));
        let count = lock.clone();
        in_tasks(2 * cpus(), move |number| {
            for round in 0..300 {
                let mut mapping = memory::create_mapping(3 * PAGE_SIZE, WRITABLE).expect("there is memory");
                mapping.as_slice_mut::<usize>(0, 3 * PAGE_SIZE / 8).expect("it is as large").fill(number);
                if (number + round) % 3 == 0 {
                    let mut locked = count.lock();
                    *locked += 1;
                    drop(mapping);
                    *locked += 1;
                } else {
                    drop(mapping);
                    *count.lock() += 2;
                }
            }
        });
        assert_eq!(*lock.lock(), 2 * 300 * 2 * cpus());
    });
}
