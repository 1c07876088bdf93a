//! Memory of one task's own, for undertakings that allocate much, and that must be stopped when it is too much.
//!
//! ```text
//!  Arena ──> region: 8 GiB of address space, aligned to as much, committed as needed
//!            │ Inner │ class of each unit │ … │ slab │ slab │ slab │ …          │ large block │   │ large block │
//!            0                           1 MiB  16 KiB units, committed upwards 4 GiB  each committed by itself
//! ```
//!
//! While a task runs in its arena ([`Arena::run`]) its allocations come from there: no lock, no interrupts disabled, some
//! fifteen instructions, since nobody else takes blocks of an arena. The task's arena is a thread-local variable. A block's
//! arena, and its class, follow from its address, so that anyone may give it back: another task links it into a list that
//! the owner looks at when it needs blocks.
//!
//! Blocks of up to 128 KiB are kept for reuse until the arena is closed; larger ones go back to the system at once. A
//! closed arena goes as a whole with its last block. Until then it keeps its 8 GiB of address space and the slabs (16 to
//! 128 KiB) that have a block in use: what a block costs that is forgotten in a list of the kernel's is bounded so.
//!
//! # When there is no more
//! The arenas of an undertaking count against one [`Budget`]. Passed, or cancelled, or with the machine's memory used up
//! but for a reserve that arenas leave to others, an allocation yields null. Where that cannot be an error, it becomes a
//! panic, and from that moment on the task is out of its arena: what is dropped while unwinding may allocate.
//! [`Arena::failure`] tells why it was.
//!
//! Small blocks are still given for a while after that, some more than the limit says. For not all code can be unwound out of
//! any allocation: the standard library's `BTreeMap` aborts when it gets no node for a new root. What allocates much will ask for a
//! large block soon, and that its caller is prepared for: vectors and hash tables are.
//!
//! # Relies on
//! Interrupt handlers not allocating; a task can be preempted anywhere in here. The thread pointer pointing at thread-local
//! storage whenever anything is allocated: the base image has some before there is a heap (`nano_core`).

mod classes;
mod inner;
mod large;
mod region;
#[cfg(test)]
mod tests;

pub(crate) use inner::Inner;

use crate::budget::{Budget, Refusal};
use alloc::sync::Arc;
use classes::{FINE_LIMIT, UNIT, fine_class, last_byte};
use core::alloc::Layout;
use core::cell::Cell;
use core::fmt;
use core::ptr;
use core::sync::atomic::Ordering;
use inner::{Block, Front, TABLE};

/// Bytes of address space of an arena, and what its region is aligned to.
const REGION_SIZE: usize = 8 << 30;
/// Bytes of either half: slabs are in the lower one, large blocks in the upper one.
const HALF: usize = REGION_SIZE / 2;
/// Where regions lie: among the general pages, but far from where those are taken from first. There is room for 1024.
const ARENAS_START: usize = 0x1000_0000_0000;
const ARENAS_END: usize = ARENAS_START + 1024 * REGION_SIZE;

/// What [`CURRENT`] points to while the task is in no arena: nothing comes from there.
static NOWHERE: Front = Front::new(0);

/// The arena that the task is in.
#[thread_local]
static CURRENT: Cell<*const Front> = Cell::new(&raw const NOWHERE);

/// Whether the task has left its arena for good, until it enters one again.
#[thread_local]
static LEFT: Cell<bool> = Cell::new(false);

fn is_nowhere(front: *const Front) -> bool {
    ptr::eq(front, &raw const NOWHERE)
}

/// The arena that the task is in, if it is in one.
#[inline]
pub(crate) fn current() -> Option<&'static Inner> {
    let front = CURRENT.get();
    // SAFETY: what is not NOWHERE is the beginning of an `Inner`, which exists while a task is in it. The lifetime is a
    // lie that stays within this crate: the reference is used before the task can leave.
    (!is_nowhere(front)).then(|| unsafe { &*front.cast::<Inner>() })
}

/// The arena of a block.
#[inline]
fn arena_of(block: *mut u8) -> *const Inner {
    block.map_addr(|address| address & !(REGION_SIZE - 1)).cast_const().cast()
}

/// Whether a block of the heap is an arena's.
#[inline(always)]
pub(crate) fn is_arenas(block: *mut u8) -> bool {
    (ARENAS_START..ARENAS_END).contains(&block.addr())
}

/// A block of the task's arena, if that is possible at once.
#[inline(always)]
pub(crate) fn allocate_fast(layout: &Layout) -> Option<*mut u8> {
    let last = last_byte(layout.size(), layout.align());
    // SAFETY: `CURRENT` points to NOWHERE or to an arena that exists. Its cells are the owner's, which is this task.
    let front = unsafe { &*CURRENT.get() };
    if last >= front.fast_limit.load(Ordering::Relaxed) {
        return None;
    }
    const { assert!(fine_class(FINE_LIMIT - 1) < classes::CLASSES) };
    // SAFETY: the limit is 0 or FINE_LIMIT, so that the class is one of the array's.
    let free = unsafe { front.free.get_unchecked(fine_class(last)) };
    let block = free.get();
    if block.is_null() {
        return None;
    }
    // SAFETY: blocks in a list are nobody's, and hold the next one.
    free.set(unsafe { (*block).next });
    Some(block.cast())
}

/// Takes back a block, if it is one of the task's arena and not a large one. Otherwise nothing has happened.
///
/// # Safety
/// It is a block of the heap that is in nobody's use.
#[inline(always)]
pub(crate) unsafe fn deallocate_fast(block: *mut u8) -> bool {
    let offset = block.addr() as u32 as usize;
    let front = block.wrapping_sub(offset).cast_const().cast::<Front>();
    if !ptr::eq(front, CURRENT.get()) {
        return false;
    }
    let block = block.cast::<Block>();
    // SAFETY: the block lies in the lower half of the task's arena: below 4 GiB from its beginning, which is aligned to
    // that. So its unit has an entry in the table, which is a class's number. It is at least 16 bytes and nobody's.
    unsafe {
        let class = *front.cast::<u8>().add(TABLE + offset / UNIT);
        let free = (*front).free.get_unchecked(usize::from(class));
        (*block).next = free.get();
        free.set(block);
    }
    true
}

/// Takes back a block of any arena.
///
/// # Safety
/// It is an arena's, of this layout, and in nobody's use.
#[inline(never)]
pub(crate) unsafe fn deallocate(block: *mut u8, layout: &Layout) {
    let arena = arena_of(block);
    // SAFETY: by this function's contract; `current` is this task's own.
    unsafe {
        match current() {
            Some(own) if ptr::eq(own, arena) => own.deallocate_own(block, layout),
            _ => Inner::deallocate_remote(arena, block, layout),
        }
    }
}

/// Whether a block of any arena can stay where it is if its size becomes `new_size`; then it has that size.
///
/// # Safety
/// It is an arena's, of this layout, and the caller's.
pub(crate) unsafe fn resize(block: *mut u8, layout: &Layout, new_size: usize) -> bool {
    let arena = arena_of(block);
    let is_own = current().is_some_and(|own| ptr::eq(own, arena));
    // SAFETY: an arena exists as long as a block of it; and by this function's contract.
    unsafe { (*arena).resize(block, layout, new_size, is_own) }
}

/// Notes that an allocation failed that cannot, and takes the task out of its arena. Says why the arena refused, if the
/// task was in one.
#[cfg(any(test, target_os = "theseus"))]
pub(crate) fn fail() -> Option<Refusal> {
    let refusal = current().map(Inner::fail);
    leave_arena();
    refusal
}

/// Takes the task out of the arena that it is in, if any, for the rest of [`Arena::run`].
///
/// For what begins to unwind a task: what is dropped then may allocate, and must not fail because a budget is used up.
pub(crate) fn leave_arena() {
    if current().is_some() {
        LEFT.set(true);
        CURRENT.set(&raw const NOWHERE);
    }
}

/// Calls `f` with allocations coming from the kernel's heap, though the task be in an arena.
///
/// For calls into the kernel that keep what they allocate, or that cannot do without it.
pub fn outside_arena<R>(f: impl FnOnce() -> R) -> R {
    struct Back(*const Front);
    impl Drop for Back {
        fn drop(&mut self) {
            if !LEFT.get() {
                CURRENT.set(self.0);
            }
        }
    }
    let before = CURRENT.replace(&raw const NOWHERE);
    if is_nowhere(before) {
        return f();
    }
    let _back = Back(before);
    f()
}

/// Memory of one task's own. See the crate's documentation.
///
/// What was allocated in it may leave it, and may outlive it. Dropping it gives back to the system, in one go, what is
/// not in use any more, and the rest with the last block.
pub struct Arena {
    inner: *const Inner,
}

// SAFETY: whoever has the value is the owner; nothing in it depends on which task that is. No task is in it then: `run`
// borrows it.
unsafe impl Send for Arena {}

impl Arena {
    /// An arena that counts against `budget`.
    ///
    /// # Errors
    /// If the budget is used up or was cancelled, or if there is no memory or address space left.
    pub fn new(budget: Arc<Budget>) -> Result<Self, Refusal> {
        Ok(Self { inner: Inner::open(budget)? })
    }

    fn inner(&self) -> &Inner {
        // SAFETY: the arena is not closed before this value is dropped.
        unsafe { &*self.inner }
    }

    /// Calls `f` with the task in the arena: what it allocates comes from there, as long as it neither panics nor is
    /// killed. Tasks that it spawns are in none.
    ///
    /// # Panics
    /// If the task is in an arena already. And `f` may: where an allocation is refused that its caller cannot do without.
    pub fn run<R>(&mut self, f: impl FnOnce() -> R) -> R {
        struct Leave(bool);
        impl Drop for Leave {
            fn drop(&mut self) {
                CURRENT.set(&raw const NOWHERE);
                LEFT.set(LEFT.get() || self.0);
            }
        }
        assert!(current().is_none(), "a task can be in one arena at a time");
        self.inner().start_run();
        let _leave = Leave(LEFT.replace(false));
        CURRENT.set(self.inner.cast());
        f()
    }

    /// Why an allocation was refused in the last [`Arena::run`] that its caller could not do without, so that it
    /// panicked; `None` if that did not happen.
    pub fn failure(&self) -> Option<Refusal> {
        self.inner().failure()
    }

    /// Why an allocation was refused in the last [`Arena::run`], be it one whose caller could do without: the last of them,
    /// if there were several.
    pub fn refusal(&self) -> Option<Refusal> {
        self.inner().refusal()
    }

    /// What it counts against.
    pub fn budget(&self) -> &Arc<Budget> {
        self.inner().budget()
    }

    /// Bytes that it has taken from the system.
    pub fn held(&self) -> usize {
        self.inner().held()
    }
}

impl fmt::Debug for Arena {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Arena({:p}, {} bytes held)", self.inner, self.held())
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        // SAFETY: this value is the owner, and no longer is.
        unsafe { Inner::close(self.inner) };
    }
}
