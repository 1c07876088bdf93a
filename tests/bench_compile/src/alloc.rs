//! A global allocator that can count how many bytes are allocated.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicIsize, AtomicUsize, Ordering};

/// The system's allocator, which counts between [`measure`]'s beginning and end, on all threads.
pub struct Counting;

static COUNTING: AtomicBool = AtomicBool::new(false);
/// Bytes allocated less bytes freed since counting began. Negative when what was allocated before has been freed.
static CURRENT: AtomicIsize = AtomicIsize::new(0);
static PEAK: AtomicIsize = AtomicIsize::new(0);
static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

/// What was allocated during a call.
pub struct Usage {
    /// The most bytes that were allocated at a time, beyond those allocated before.
    pub peak: usize,
    /// How many allocations and reallocations there were.
    pub allocations: usize,
}

/// Runs `f` and counts what it allocates. Not to be nested.
pub fn measure<R>(f: impl FnOnce() -> R) -> (R, Usage) {
    CURRENT.store(0, Ordering::SeqCst);
    PEAK.store(0, Ordering::SeqCst);
    ALLOCATIONS.store(0, Ordering::SeqCst);
    COUNTING.store(true, Ordering::SeqCst);
    let result = f();
    COUNTING.store(false, Ordering::SeqCst);
    let peak = PEAK.load(Ordering::SeqCst).try_into().unwrap_or(0);
    (result, Usage { peak, allocations: ALLOCATIONS.load(Ordering::SeqCst) })
}

fn change(by: isize) {
    let current = CURRENT.fetch_add(by, Ordering::Relaxed) + by;
    if by > 0 {
        PEAK.fetch_max(current, Ordering::Relaxed);
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
    }
}

// SAFETY: everything is done by `System`; counting touches no memory that is handed out.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if COUNTING.load(Ordering::Relaxed) {
            change(layout.size() as isize);
        }
        // SAFETY: the caller keeps the contract of `GlobalAlloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if COUNTING.load(Ordering::Relaxed) {
            change(layout.size() as isize);
        }
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        if COUNTING.load(Ordering::Relaxed) {
            change(-(layout.size() as isize));
        }
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if COUNTING.load(Ordering::Relaxed) {
            // As if the new block were there before the old one is freed: the allocator may have to copy.
            change(size as isize);
            change(-(layout.size() as isize));
        }
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}
