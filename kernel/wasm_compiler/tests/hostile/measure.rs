//! What a compilation costs: time, memory and stack.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::Duration;

/// The system's allocator, counted.
pub struct Counting;

// Of each thread, since a test is not alone in its process; a compilation stays in one thread here.
thread_local! {
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
    static LOWEST_STACK: Cell<usize> = const { Cell::new(usize::MAX) };
    /// Allocations until one fails; 0: none does.
    static UNTIL_FAILURE: Cell<usize> = const { Cell::new(0) };
}

/// Counts an allocation and says whether it may be made.
fn may_allocate() -> bool {
    let left = UNTIL_FAILURE.get();
    UNTIL_FAILURE.set(left.saturating_sub(1));
    left != 1
}

fn allocated(size: usize) {
    let live = LIVE.get() + size as isize;
    LIVE.set(live);
    PEAK.set(PEAK.get().max(live));
    // Where a local variable is tells how deep the stack is; allocations are frequent enough to see the deepest places.
    let here = 0u8;
    LOWEST_STACK.set(LOWEST_STACK.get().min(&raw const here as usize));
}

fn freed(size: usize) {
    LIVE.set(LIVE.get() - size as isize);
}

// SAFETY: everything is passed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if !may_allocate() {
            return core::ptr::null_mut();
        }
        allocated(layout.size());
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if !may_allocate() {
            return core::ptr::null_mut();
        }
        allocated(layout.size());
        // SAFETY: as the caller promises.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        freed(layout.size());
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        if !may_allocate() {
            return core::ptr::null_mut();
        }
        // Old and new are both there for a moment, in the worst case.
        allocated(new_size);
        freed(layout.size());
        // SAFETY: as the caller promises.
        unsafe { System.realloc(pointer, layout, new_size) }
    }
}

/// How long this thread has run; what others run beside it does not count.
fn processor_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is there to be written.
    let status = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    assert_eq!(status, 0);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// What something cost.
pub struct Cost {
    pub time: Duration,
    /// Most bytes allocated at a time, without those allocated before.
    pub memory: usize,
    /// Bytes of stack.
    pub stack: usize,
    /// Bytes still allocated afterwards.
    pub left: isize,
}

/// Bytes that this thread has allocated, less those it has freed.
pub fn live() -> isize {
    LIVE.get()
}

/// How many allocations something makes.
pub fn allocations(work: impl FnOnce()) -> usize {
    UNTIL_FAILURE.set(usize::MAX);
    work();
    usize::MAX - UNTIL_FAILURE.replace(0)
}

/// Runs something whose `which`th allocation fails; those after it do not.
pub fn without_memory<T>(which: usize, work: impl FnOnce() -> T) -> T {
    UNTIL_FAILURE.set(which);
    let result = work();
    UNTIL_FAILURE.set(0);
    result
}

/// Runs something in a thread with so much stack.
pub fn run<T: Send>(stack: usize, work: impl FnOnce() -> T + Send) -> (T, Cost) {
    std::thread::scope(|scope| {
        let work = || {
            let top = 0u8;
            let top = &raw const top as usize;
            LOWEST_STACK.set(top);
            let before = live();
            PEAK.set(before);
            let start = processor_time();
            let result = work();
            let time = processor_time() - start;
            let memory = (PEAK.get() - before) as usize;
            (result, Cost { time, memory, stack: top - LOWEST_STACK.get(), left: live() - before })
        };
        let thread = std::thread::Builder::new().stack_size(stack).spawn_scoped(scope, work);
        thread.expect("a thread can be made").join().expect("no panic")
    })
}
