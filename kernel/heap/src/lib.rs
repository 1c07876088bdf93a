//! The kernel's global allocator.
//!
//! Requests of up to 8 KiB are blocks of one of 32 size classes, out of slabs of 64 KiB (module `slab`);
//! each CPU has a few at hand (module `at_hand`), so that taking one and giving it back are some ten instructions each besides a
//! lock that no other CPU wants. What is larger gets pages
//! of its own in the heap's address range, mapped when allocated and unmapped when freed, apart from a small
//! cache (module `runs`). A block that is resized stays where it is if its class or number of pages stays,
//! and large ones are placed apart so that most can grow in place.
//!
//! The layout tells where a block came from, so that nothing is stored with it.
//!
//! A task that allocates much can do so in an [`Arena`], whose blocks come without a lock and count against a
//! [`Budget`] (module `arena`). They are told from the others by their address, and freed like them.
//!
//! How far memory goes depends on the task's claim ([`memory::Claim`]): a task that runs guests gets no pages of the reserve but for
//! slabs, and of those only half of it, so that what such a task allocates fails in order: large requests, which can, first, and small
//! ones with them where it has said that they can ([`Claim::Refusable`]).
//!
//! Works as soon as `memory::init` has returned; before, and when memory is exhausted, allocating yields
//! null, which `try_reserve` and its like report. The lock disables interrupts and is held for a few
//! instructions; no mapping, unmapping or zeroing happens under it.
#![cfg_attr(not(test), no_std)]
#![cfg_attr(target_os = "theseus", feature(alloc_error_handler))]
#![feature(thread_local)]

extern crate alloc;

mod arena;
mod at_hand;
mod budget;
mod classes;
mod runs;
mod slab;
#[cfg(test)]
mod tests;

pub use arena::{Arena, outside_arena};
pub use budget::{Budget, Refusal};

use at_hand::{AtHand, MAX_AT_A_TIME, at_a_time};
use classes::{CLASSES, Place, block_size, place};
use core::alloc::{GlobalAlloc, Layout};
use core::mem;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicPtr, Ordering};
use cpu::MAX_CPUS;
use kernel_config::memory::{KERNEL_HEAP_MAX_SIZE, KERNEL_HEAP_START, PAGE_SIZE};
use memory::{AllocatedPages, Claim, MappedPages, Mapper, PageRange, PteFlags, VirtualAddress};
use runs::RunCache;
use slab::{SLAB_SIZE, Slabs};
use sync_irq::{IrqSafeMutex, IrqSafeMutexGuard};

/// Flags that the heap is mapped with.
pub const HEAP_FLAGS: PteFlags = PteFlags::new().valid(true).writable(true);

#[cfg(target_os = "theseus")]
#[global_allocator]
static GLOBAL_ALLOCATOR: Heap = Heap::new();
#[cfg(not(target_os = "theseus"))]
static GLOBAL_ALLOCATOR: Heap = Heap::new();

/// From this many pages on, a run begins at a 2 MiB boundary in an area of its own: it has room to grow in
/// place, and needs no page table that others use too.
const BIG_RUN: usize = 32;
/// 4 KiB pages in 2 MiB.
const PAGES_PER_2M: usize = 512;

/// The parts of the heap's address range, as eighths of it.
#[derive(Clone, Copy)]
enum Area {
    Slabs,
    Runs,
    BigRuns,
}

impl Area {
    fn of_run(pages: usize) -> Self {
        if pages < BIG_RUN { Area::Runs } else { Area::BigRuns }
    }

    fn pages(self) -> PageRange {
        const EIGHTH: usize = KERNEL_HEAP_MAX_SIZE / 8;
        let (start, length) = match self {
            Area::Slabs => (0, 2),
            Area::Runs => (2, 2),
            Area::BigRuns => (4, 4),
        };
        let start = VirtualAddress::new_canonical(KERNEL_HEAP_START + start * EIGHTH);
        PageRange::from_virt_addr(start, length * EIGHTH)
    }
}

struct State {
    slabs: Slabs,
    cache: RunCache,
    /// Pages of runs in use.
    run_pages: usize,
    /// Runs in use.
    runs: usize,
}

/// The allocator; there is one, which is Rust's global allocator.
pub struct Heap {
    state: IrqSafeMutex<State>,
    /// By CPU. A task that is moved to another CPU meanwhile uses the wrong one, which is no harm. Whoever holds one of these
    /// locks takes no other.
    at_hand: [OfCpu; MAX_CPUS],
}

/// A CPU's blocks, on cache lines of their own.
#[repr(align(64))]
struct OfCpu(IrqSafeMutex<AtHand>);

/// What the heap holds, in bytes unless it says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeapStatistics {
    /// In blocks and runs in use, rounded up to what they occupy.
    pub in_use: usize,
    /// How many blocks and runs are in use.
    pub allocations: usize,
    /// All memory that is mapped for the heap, in use or not.
    pub mapped: usize,
}

/// Makes sure that the heap works.
///
/// # Errors
/// If there is no memory for a first block.
pub fn init() -> Result<(), &'static str> {
    let layout = Layout::new::<[u64; 8]>();
    // SAFETY: the layout's size is not 0; the block is given back with the same layout.
    unsafe {
        let block = GLOBAL_ALLOCATOR.alloc(layout);
        if block.is_null() {
            return Err("heap: there is no memory for a first block, or memory::init has not run");
        }
        GLOBAL_ALLOCATOR.dealloc(block, layout);
    }
    Ok(())
}

/// Deals with a task whose arena has refused an allocation that cannot fail: it normally unwinds the task, without the
/// noise of a panic. If it returns, the task panics.
pub type RefusalHook = fn(Refusal, Layout);

static REFUSAL_HOOK: AtomicPtr<()> = AtomicPtr::new(ptr::null_mut());

/// Makes `hook` deal with refusals from now on. It must stay loaded.
pub fn set_refusal_hook(hook: RefusalHook) {
    REFUSAL_HOOK.store(hook as *mut (), Ordering::Release);
}

/// An allocation that cannot fail has failed. It is a panic like any other, so it ends the task.
#[cfg(target_os = "theseus")]
#[alloc_error_handler]
fn out_of_memory(layout: Layout) -> ! {
    let Some(refusal) = arena::fail() else { panic!("out of memory: no room for {} bytes", layout.size()) };
    // SAFETY: only `set_refusal_hook` stores there, a function of this type; null is `None`.
    let hook =
        unsafe { mem::transmute::<*mut (), Option<RefusalHook>>(REFUSAL_HOOK.load(Ordering::Acquire)) };
    if let Some(hook) = hook {
        hook(refusal, layout);
    }
    panic!("out of memory: no room for {} bytes: {refusal}", layout.size())
}

/// Lifts the limits on the current task's memory: takes it out of its arena for the rest of [`Arena::run`], and gives it
/// [`Claim::Kernel`].
///
/// For what begins to unwind a task: what is dropped then may allocate, and must not fail because a budget is used up, or because
/// guests leave a reserve. Who catches what unwinds gives the task its claim back.
pub fn lift_limits() {
    arena::leave_arena();
    memory::set_claim(Claim::Kernel);
}

/// Counts what the heap holds.
pub fn statistics() -> HeapStatistics {
    GLOBAL_ALLOCATOR.statistics()
}

/// Gives memory back that is kept for reuse, and returns how many bytes that was.
///
/// The heap does so by itself before a request fails. It is for those who compare how much memory is free.
pub fn trim() -> usize {
    GLOBAL_ALLOCATOR.trim()
}

/// Maps new pages.
fn map(pages: usize, alignment: usize, area: Area) -> Option<NonNull<u8>> {
    let range = area.pages();
    let pages = memory::allocate_pages_in_range_aligned(pages, alignment, &range).ok()?;
    let mapped = Mapper::current().map_allocated_pages(pages, HEAP_FLAGS).ok()?;
    let start = NonNull::new(mapped.start_address().value() as *mut u8);
    // The block stands for the ownership, until `mapped_pages` makes it anew.
    mem::forget(mapped);
    start
}

/// The ownership of pages that `map` has mapped.
///
/// # Safety
/// The pages are mapped by `map`, nothing in them is in use, and nobody else makes a value for them again.
unsafe fn mapped_pages(start: *mut u8, pages: usize) -> MappedPages {
    let start = VirtualAddress::new_canonical(start.addr());
    let range = PageRange::from_virt_addr(start, pages * PAGE_SIZE);
    // SAFETY: by this function's contract: `map` has forgotten the value, with these flags.
    unsafe { MappedPages::from_forgotten(range, HEAP_FLAGS) }
}

impl Heap {
    const fn new() -> Self {
        let state = State { slabs: Slabs::new(), cache: RunCache::new(), run_pages: 0, runs: 0 };
        let at_hand = [const { OfCpu(IrqSafeMutex::new(AtHand::new())) }; MAX_CPUS];
        Self { state: IrqSafeMutex::new(state), at_hand }
    }

    /// The blocks at hand for this CPU.
    #[inline(always)]
    fn at_hand(&self) -> &IrqSafeMutex<AtHand> {
        &self.at_hand[cpu::current_cpu().index()].0
    }

    fn statistics(&self) -> HeapStatistics {
        // What a CPU has at hand is in use only to the slabs.
        let cpus = self.at_hand.iter().map(|of_cpu| of_cpu.0.lock().statistics());
        let (free, free_bytes) = cpus.fold((0, 0), |sum, cpu| (sum.0 + cpu.0, sum.1 + cpu.1));
        let state = self.state.lock();
        let (slabs, blocks, bytes) = state.slabs.statistics();
        HeapStatistics {
            in_use: bytes.saturating_sub(free_bytes) + state.run_pages * PAGE_SIZE,
            allocations: blocks.saturating_sub(free) + state.runs,
            mapped: slabs * SLAB_SIZE + (state.run_pages + state.cache.pages()) * PAGE_SIZE,
        }
    }

    fn trim(&self) -> usize {
        self.give_back_all_at_hand();
        let mut given_back = 0;
        loop {
            // The lock is released before anything is unmapped.
            let slab = self.state.lock().slabs.trim();
            let run = self.state.lock().cache.trim();
            for (start, pages) in slab.map(|slab| (slab, SLAB_SIZE / PAGE_SIZE)).into_iter().chain(run) {
                // SAFETY: what was kept is in nobody's use, and now out of the books.
                drop(unsafe { mapped_pages(start.as_ptr(), pages) });
                given_back += pages * PAGE_SIZE;
            }
            if slab.is_none() && run.is_none() {
                return given_back;
            }
        }
    }

    /// Maps new pages, if need be out of what is kept for reuse.
    fn map_or_trim(&self, pages: usize, alignment: usize, area: Area) -> Option<NonNull<u8>> {
        map(pages, alignment, area)
            .or_else(|| (self.trim() > 0).then(|| map(pages, alignment, area)).flatten())
    }

    /// A block when none is at hand.
    #[cold]
    #[inline(never)]
    fn allocate_slowly(&self, class: usize) -> *mut u8 {
        const PAGES: usize = SLAB_SIZE / PAGE_SIZE;
        if let Some(block) = self.fetch(class) {
            return block.as_ptr();
        }
        // Small blocks are what mostly cannot fail: they may have some of what guests leave.
        let claim = match memory::claim() {
            Claim::Guest => Claim::Support,
            claim => claim,
        };
        if let Some(memory) = memory::with_claim(claim, || self.map_or_trim(PAGES, PAGES, Area::Slabs)) {
            let mut state = self.state.lock();
            // SAFETY: the memory is new, and as large and aligned as a slab.
            unsafe { state.slabs.add(memory, class) };
            return state.slabs.allocate(class).map_or(ptr::null_mut(), NonNull::as_ptr);
        }
        // Without new memory there may be some that another CPU had at hand.
        self.fetch(class).map_or(ptr::null_mut(), NonNull::as_ptr)
    }

    /// A block out of the slabs, with a few more to be at hand.
    fn fetch(&self, class: usize) -> Option<NonNull<u8>> {
        let mut more = [None; MAX_AT_A_TIME];
        let block = {
            let mut state = self.state.lock();
            let block = state.slabs.allocate(class)?;
            for place in &mut more[1..at_a_time(class)] {
                *place = state.slabs.pop(class);
            }
            block
        };
        let mut at_hand = self.at_hand().lock();
        for block in more.into_iter().flatten() {
            // SAFETY: the block was just taken from the slabs. Should there be too many, the next one that is freed finds out.
            let _ = unsafe { at_hand.push(class, block) };
        }
        Some(block)
    }

    /// Gives some blocks back that this CPU has at hand.
    #[cold]
    #[inline(never)]
    fn give_back(&self, class: usize) {
        let mut blocks = [None; MAX_AT_A_TIME];
        {
            let mut at_hand = self.at_hand().lock();
            for place in &mut blocks[..at_a_time(class)] {
                *place = at_hand.pop(class);
            }
        }
        for block in blocks.into_iter().flatten() {
            self.give_back_block(block);
        }
    }

    /// Gives a block back to its slab; it was at hand, and is not any more.
    fn give_back_block(&self, block: NonNull<u8>) {
        let mut state = self.state.lock();
        // SAFETY: to the slabs it is in use, and nobody uses it; nothing happens in between.
        unsafe {
            if state.slabs.push(block) {
                self.after_push(state, block);
            }
        }
    }

    /// Gives back what all CPUs have at hand.
    fn give_back_all_at_hand(&self) {
        for of_cpu in &self.at_hand {
            for class in 0..CLASSES {
                loop {
                    let block = of_cpu.0.lock().pop(class);
                    let Some(block) = block else { break };
                    self.give_back_block(block);
                }
            }
        }
    }

    /// What follows if giving back a block has left a slab empty, or has given a full one a free block.
    ///
    /// # Safety
    /// As for [`Slabs::after_push`]; the state is locked, and is released here.
    #[cold]
    #[inline(never)]
    unsafe fn after_push(&self, mut state: IrqSafeMutexGuard<State>, block: NonNull<u8>) {
        // SAFETY: by this function's contract.
        let slab = unsafe { state.slabs.after_push(block) };
        drop(state);
        if let Some(slab) = slab {
            // SAFETY: the slab is empty and out of the books.
            drop(unsafe { mapped_pages(slab.as_ptr(), SLAB_SIZE / PAGE_SIZE) });
        }
    }

    /// A run of pages, and whether it is known to be zero.
    #[inline(never)]
    fn allocate_run(&self, pages: usize, align: usize) -> (*mut u8, bool) {
        let from_cache = if align <= PAGE_SIZE {
            let mut state = self.state.lock();
            let run = state.cache.take(pages);
            if run.is_some() {
                state.run_pages += pages;
                state.runs += 1;
            }
            run
        } else {
            None
        };
        if let Some(run) = from_cache {
            return (run.as_ptr(), false);
        }
        let area = Area::of_run(pages);
        let alignment = match area {
            Area::BigRuns => (align / PAGE_SIZE).max(PAGES_PER_2M),
            _ => (align / PAGE_SIZE).max(1),
        };
        let Some(run) = self.map_or_trim(pages, alignment, area) else { return (ptr::null_mut(), false) };
        let mut state = self.state.lock();
        state.run_pages += pages;
        state.runs += 1;
        (run.as_ptr(), true)
    }

    /// Gives a run back.
    ///
    /// # Safety
    /// It came from `allocate_run` (and `resize_run`) with this length, and is not used any more.
    #[inline(never)]
    unsafe fn deallocate_run(&self, run: NonNull<u8>, pages: usize) {
        let kept = {
            let mut state = self.state.lock();
            state.run_pages -= pages;
            state.runs -= 1;
            // SAFETY: by this function's contract.
            unsafe { state.cache.keep(run, pages) }
        };
        if !kept {
            // SAFETY: by this function's contract.
            drop(unsafe { mapped_pages(run.as_ptr(), pages) });
        }
    }

    /// Makes a run longer or shorter where it is; false, with nothing changed, if that cannot be.
    ///
    /// # Safety
    /// It came from `allocate_run` (and `resize_run`) with this length.
    unsafe fn resize_run(&self, run: *mut u8, old: usize, new: usize) -> bool {
        let end = VirtualAddress::new_canonical(run.addr() + old.min(new) * PAGE_SIZE);
        if new > old {
            let more: Option<AllocatedPages> = memory::allocate_pages_at(end, new - old).ok();
            let mapped = more.and_then(|pages| Mapper::current().map_allocated_pages(pages, HEAP_FLAGS).ok());
            let Some(mapped) = mapped else { return false };
            mem::forget(mapped);
        } else if new < old {
            // SAFETY: by this function's contract the pages are mapped, and those beyond the new length are
            // not used any more.
            drop(unsafe { mapped_pages(end.value() as *mut u8, old - new) });
        }
        let mut state = self.state.lock();
        state.run_pages = state.run_pages + new - old;
        true
    }
}

/// A block that is not at hand in the task's arena, and whether it is known to be zero.
#[inline(never)]
fn allocate(layout: Layout) -> (*mut u8, bool) {
    if let Some(arena) = arena::current() {
        return arena.allocate_any(&layout);
    }
    match place(&layout) {
        Place::Slab(class) => {
            let block = GLOBAL_ALLOCATOR.at_hand().lock().pop(class);
            let block = match block {
                Some(block) => block.as_ptr(),
                None => GLOBAL_ALLOCATOR.allocate_slowly(class),
            };
            (block, false)
        }
        Place::Pages(pages) => GLOBAL_ALLOCATOR.allocate_run(pages, layout.align()),
    }
}

/// Takes back a block that is not one of the task's arena, or a large one.
///
/// # Safety
/// As for `dealloc`.
#[inline(never)]
unsafe fn deallocate(block: *mut u8, layout: Layout) {
    if arena::is_arenas(block) {
        // SAFETY: by this function's contract.
        return unsafe { arena::deallocate(block, &layout) };
    }
    // SAFETY: the caller gives back a block of this heap, and none of those is null.
    let block = unsafe { NonNull::new_unchecked(block) };
    match place(&layout) {
        Place::Slab(class) => {
            // SAFETY: the caller gives back a block of this heap, of this layout's class, that it no longer uses.
            let too_many = unsafe { GLOBAL_ALLOCATOR.at_hand().lock().push(class, block) };
            if too_many {
                GLOBAL_ALLOCATOR.give_back(class);
            }
        }
        // SAFETY: as above.
        Place::Pages(pages) => unsafe { GLOBAL_ALLOCATOR.deallocate_run(block, pages) },
    }
}

// SAFETY: blocks and runs in use do not overlap, are as large and aligned as asked for, and stay until they
// are given back: that is what `Slabs`, `RunCache`, `MappedPages` and `Arena` guarantee. No function unwinds, and none
// allocates.
unsafe impl GlobalAlloc for Heap {
    #[inline(always)]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        arena::allocate_fast(&layout).unwrap_or_else(|| allocate(layout).0)
    }

    #[inline(always)]
    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: the caller gives back a block of this heap that it no longer uses.
        unsafe {
            if !arena::deallocate_fast(ptr) {
                deallocate(ptr, layout);
            }
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let (block, is_zero) = match arena::allocate_fast(&layout) {
            Some(block) => (block, false),
            None => allocate(layout),
        };
        if !block.is_null() && !is_zero {
            // SAFETY: the block is new and at least as large.
            unsafe { block.write_bytes(0, layout.size()) };
        }
        block
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller guarantees that the new size, rounded up to the alignment, does not overflow.
        let new_layout = unsafe { Layout::from_size_align_unchecked(new_size, layout.align()) };
        // SAFETY: the caller resizes a block of this heap.
        let resized = unsafe {
            if arena::is_arenas(ptr) {
                arena::resize(ptr, &layout, new_size)
            } else {
                match (place(&layout), place(&new_layout)) {
                    (old, new) if old == new => true,
                    (Place::Pages(old), Place::Pages(new)) => self.resize_run(ptr, old, new),
                    _ => false,
                }
            }
        };
        if resized {
            return ptr;
        }
        // SAFETY: the new block is at least as large as what is copied, and different from the old one, which
        // the caller gives up.
        unsafe {
            let new = self.alloc(new_layout);
            if !new.is_null() {
                ptr::copy_nonoverlapping(ptr, new, layout.size().min(new_size));
                self.dealloc(ptr, layout);
            }
            new
        }
    }
}

// Every class's blocks must fit a slab, and a run of one page more than the largest class must be worth its
// own pages.
const _: () =
    assert!(block_size(classes::CLASSES - 1) == classes::MAX_BLOCK && classes::MAX_BLOCK * 4 <= SLAB_SIZE);
