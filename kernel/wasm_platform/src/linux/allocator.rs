//! An allocator that keeps workers to their budget.
//!
//! The thread of a worker has a [`Meter`], from which its allocations are taken and to which what it frees is given back. A thread takes
//! some in advance, so that several do not get into each other's way. When there is nothing left, an allocation yields null; who cannot
//! cope with that gets to [`std::alloc::handle_alloc_error`], from where the worker unwinds.

use crate::workers::Budget;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ptr::{null, null_mut};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// How many bytes a thread takes in advance.
const ADVANCE: usize = 64 << 10;

thread_local! {
    /// What the current thread's allocations are taken from, if it is a worker's. Valid as long as it is here.
    static METER: Cell<*const Meter> = const { Cell::new(null()) };
    /// Bytes that the thread has taken from the meter, but not for an allocation yet.
    static ADVANCED: Cell<usize> = const { Cell::new(0) };
}

/// Passes everything on to the system's allocator, and keeps workers to what their [`Budget`] has.
///
/// For the program to choose: `#[global_allocator] static ALLOCATOR: BudgetedAllocator = BudgetedAllocator;`. Where it does not,
/// budgets do not limit memory. The limit is kept but for 128 KiB for each thread.
#[derive(Debug, Clone, Copy, Default)]
pub struct BudgetedAllocator;

/// What workers have left.
#[derive(Debug)]
pub(crate) struct Meter {
    left: AtomicUsize,
    /// Whether something was refused.
    exceeded: AtomicBool,
}

impl Meter {
    pub(crate) fn new(bytes: usize) -> Self {
        Meter { left: AtomicUsize::new(bytes), exceeded: AtomicBool::new(false) }
    }

    pub(crate) fn is_exceeded(&self) -> bool {
        self.exceeded.load(Ordering::Acquire)
    }

    fn take(&self, bytes: usize) -> bool {
        let take = |left: usize| left.checked_sub(bytes);
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }

    fn give(&self, bytes: usize) {
        // What was allocated elsewhere and is freed here is more than was taken.
        let give = |left: usize| Some(left.saturating_add(bytes));
        let _ = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, give);
    }
}

/// The current thread's allocations are taken from a meter as long as this is there.
pub(crate) struct Metered<'a>(&'a Meter);

impl<'a> Metered<'a> {
    pub(crate) fn begin(meter: &'a Meter) -> Self {
        ADVANCED.set(0);
        METER.set(meter);
        Metered(meter)
    }
}

impl Drop for Metered<'_> {
    fn drop(&mut self) {
        METER.set(null());
        self.0.give(ADVANCED.replace(0));
    }
}

/// The current thread's meter.
fn meter<'a>() -> Option<&'a Meter> {
    // SAFETY: it is there as long as the `Metered` that put it there; nobody keeps the reference for longer than a call from here.
    unsafe { METER.get().as_ref() }
}

/// Takes bytes for an allocation, and says whether there were so many.
#[inline]
fn take(bytes: usize) -> bool {
    let Some(meter) = meter() else { return true };
    let advanced = ADVANCED.get();
    if bytes <= advanced {
        ADVANCED.set(advanced - bytes);
        return true;
    }
    let missing = bytes - advanced;
    if meter.take(missing.saturating_add(ADVANCE)) {
        ADVANCED.set(ADVANCE);
    } else if meter.take(missing) {
        ADVANCED.set(0);
    } else {
        meter.exceeded.store(true, Ordering::Release);
        return false;
    }
    true
}

/// Gives bytes back.
#[inline]
fn give(bytes: usize) {
    let Some(meter) = meter() else { return };
    let advanced = ADVANCED.get().saturating_add(bytes);
    if advanced > 2 * ADVANCE {
        meter.give(advanced - ADVANCE);
        ADVANCED.set(ADVANCE);
    } else {
        ADVANCED.set(advanced);
    }
}

// SAFETY: all memory is the system allocator's, which gets every call as it came.
unsafe impl GlobalAlloc for BudgetedAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if !take(layout.size()) {
            return null_mut();
        }
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if !take(layout.size()) {
            return null_mut();
        }
        // SAFETY: as the caller promises.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        give(layout.size());
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        if !take(new_size.saturating_sub(layout.size())) {
            return null_mut();
        }
        give(layout.size().saturating_sub(new_size));
        // SAFETY: as the caller promises.
        unsafe { System.realloc(pointer, layout, new_size) }
    }
}

/// Whether the current thread was refused memory because its budget has no more.
fn is_over_budget() -> bool {
    meter().is_some_and(Meter::is_exceeded)
}

/// Sees to it that a thread which goes over its budget unwinds without a word, if the program's allocator is the one that refuses;
/// and says whether it is. By default a program would be aborted.
pub(crate) fn prepare() -> bool {
    static IN_USE: OnceLock<bool> = OnceLock::new();
    *IN_USE.get_or_init(|| {
        if !is_in_use() {
            return false;
        }
        let or_else = std::alloc::take_alloc_error_hook();
        // A hook is a function, so what it needs is in a variable of its own.
        static OR_ELSE: OnceLock<fn(Layout)> = OnceLock::new();
        let _ = OR_ELSE.set(or_else);
        std::alloc::set_alloc_error_hook(|layout| {
            if is_over_budget() {
                // To unwind may take memory.
                METER.set(null());
                std::panic::resume_unwind(Box::new("over budget"));
            }
            if let Some(or_else) = OR_ELSE.get() {
                or_else(layout);
            }
        });
        // Some notice that there was no memory and panic then.
        let or_else = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if is_over_budget() {
                METER.set(null());
            } else {
                or_else(info);
            }
        }));
        true
    })
}

/// Whether [`BudgetedAllocator`] is the program's allocator: then nothing can be allocated when there is nothing left.
fn is_in_use() -> bool {
    let empty = Meter::new(0);
    let _metered = Metered::begin(&empty);
    let layout = Layout::new::<usize>();
    // SAFETY: the layout is not empty.
    let pointer = std::hint::black_box(unsafe { std::alloc::alloc(layout) });
    if pointer.is_null() {
        return true;
    }
    // SAFETY: it was just allocated so.
    unsafe { std::alloc::dealloc(pointer, layout) };
    false
}

/// Notes what became of a budget's memory.
pub(crate) fn note_excess(budget: &Budget) -> bool {
    let exceeded = budget.account.meter().is_some_and(Meter::is_exceeded);
    if exceeded {
        budget.exceeded.store(true, Ordering::Release);
    }
    exceeded
}
