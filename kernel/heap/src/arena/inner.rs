//! What an arena's region begins with, and all that is done behind the fast path.

use super::classes::{
    CLASS_LIMIT, CLASSES, FINE_LIMIT, UNIT, block_size, class_of, last_byte, slab_blocks, slab_units,
};
use super::large::{LargeMap, SPAN};
use super::region::Region;
use super::{HALF, REGION_SIZE};
use crate::budget::{Budget, Links, Refusal};
use alloc::sync::Arc;
use core::alloc::Layout;
use core::cell::{Cell, UnsafeCell};
use core::ops::Range;
use core::ptr;
use core::sync::atomic::{AtomicIsize, AtomicPtr, AtomicUsize, Ordering};
use kernel_config::memory::PAGE_SIZE;

/// What a free block's memory holds.
pub(crate) struct Block {
    pub(crate) next: *mut Block,
    /// Of a large block that another task has given back: how many pages it has.
    pages: usize,
}

/// The head of `remote` once the arena is closed.
const CLOSED: *mut Block = ptr::without_provenance_mut(1);

/// Offset of the table that tells each unit's class, a byte per unit.
pub(super) const TABLE: usize = 8 * 1024;
const UNITS: usize = HALF / UNIT;
/// Offset of room for a count per unit, which is used when the arena is closed.
const COUNTS: usize = TABLE + UNITS;
/// Offset of the first slab.
const FIRST_SLAB: usize = 1 << 20;
/// From this offset on memory is taken from the system in pieces as large and aligned, which 2 MiB pages can back.
const LARGE_STEP: usize = 2 << 20;
/// The first piece.
const FIRST_STEP: usize = 64 * 1024;
/// How many bytes an arena gives away after a refusal, in blocks of up to [`SMALL`] bytes, over the limit and from the reserve if need be: see
/// the documentation of the module.
const GRACE: usize = 1 << 20;
/// What counts as a small block. Nodes of trees are some hundred bytes.
const SMALL: usize = 4096;
/// Free blocks are linked as many at a time as fit in so many bytes.
const LINK_BYTES: usize = 4096;

/// What the fast path looks at.
#[repr(C)]
pub(crate) struct Front {
    /// Requests whose last byte has a smaller number may be served from `free`. 0 if the task is in no arena or its
    /// budget was cancelled.
    pub(super) fast_limit: AtomicUsize,
    /// Blocks of each class that can be taken.
    pub(super) free: [Cell<*mut Block>; CLASSES],
}

// SAFETY: the cells are the owner's alone, see `Inner`.
unsafe impl Sync for Front {}

impl Front {
    pub(super) const fn new(fast_limit: usize) -> Self {
        Self {
            fast_limit: AtomicUsize::new(fast_limit),
            free: [const { Cell::new(ptr::null_mut()) }; CLASSES],
        }
    }
}

/// An arena. It lies at the beginning of its region.
///
/// Atomics may be used by anyone who has a block of the arena, links by who holds the budget's lock, and everything
/// else by the owner alone: who has the [`Arena`](crate::Arena), and after it is gone, whoever gave back the last
/// block.
#[repr(C)]
pub(crate) struct Inner {
    front: Front,
    /// Blocks that other tasks gave back, or [`CLOSED`].
    remote: AtomicPtr<Block>,
    /// When the arena is closed: blocks in use. Until the owner has counted them, less those given back meanwhile.
    outstanding: AtomicIsize,
    links: UnsafeCell<Links>,
    budget: Arc<Budget>,
    region: UnsafeCell<Region>,
    /// Bytes that count against the budget: all that is committed.
    charged: Cell<usize>,
    /// Offsets of the first block of each class's newest slab that was not linked yet, and of the end of the last.
    fresh: [Cell<(u32, u32)>; CLASSES],
    /// Offset of the first unit that is in no slab.
    next_unit: Cell<usize>,
    /// Offset of the end of what is committed for slabs.
    committed: Cell<usize>,
    /// Offset of the end of what is committed of the header and the table.
    header: Cell<usize>,
    /// Blocks of all classes that were ever handed out or linked.
    linked: Cell<usize>,
    large: UnsafeCell<LargeMap>,
    refusal: Cell<Option<Refusal>>,
    failure: Cell<Option<Refusal>>,
    /// How much of [`GRACE`] is left in this run.
    grace: Cell<usize>,
    /// Whether memory is being taken for that.
    in_grace: Cell<bool>,
}

const _: () = assert!(size_of::<Inner>() <= TABLE && COUNTS + 2 * UNITS <= FIRST_SLAB);

impl Inner {
    /// A new arena, open and on the budget's list.
    pub(super) fn open(budget: Arc<Budget>) -> Result<*const Inner, Refusal> {
        const HEADER: usize = TABLE + PAGE_SIZE;
        budget.charge(HEADER)?;
        let region = Region::reserve()
            .and_then(|mut region| region.commit(0..HEADER, !Region::RESERVE_TOO).then_some(region));
        let Some(region) = region else {
            budget.refund(HEADER);
            return Err(Refusal::OutOfMemory);
        };
        let inner = region.start().cast::<Inner>();
        let new = Inner {
            front: Front::new(FINE_LIMIT),
            remote: AtomicPtr::new(ptr::null_mut()),
            outstanding: AtomicIsize::new(0),
            links: UnsafeCell::new(Links::new()),
            budget,
            region: UnsafeCell::new(region),
            charged: Cell::new(HEADER),
            fresh: [const { Cell::new((0, 0)) }; CLASSES],
            next_unit: Cell::new(FIRST_SLAB),
            committed: Cell::new(FIRST_SLAB),
            header: Cell::new(HEADER),
            linked: Cell::new(0),
            large: UnsafeCell::new(LargeMap::new()),
            refusal: Cell::new(None),
            failure: Cell::new(None),
            grace: Cell::new(0),
            in_grace: Cell::new(false),
        };
        // SAFETY: the region's beginning is committed, large enough, aligned, and nobody else's.
        unsafe { inner.write(new) };
        // SAFETY: it is new, and `close` takes it off the list.
        if let Err(refusal) = unsafe { (*inner).budget.add(inner) } {
            // SAFETY: nobody else knows of it.
            unsafe { Self::release(inner) };
            return Err(refusal);
        }
        Ok(inner)
    }

    /// For who holds the budget's lock.
    pub(crate) fn links(&self) -> *mut Links {
        self.links.get()
    }

    /// Keeps the fast path from succeeding. For the canceller, on any task.
    pub(crate) fn refuse_fast(&self) {
        self.front.fast_limit.store(0, Ordering::Relaxed);
    }

    pub(super) fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }

    /// Bytes taken from the system.
    pub(super) fn held(&self) -> usize {
        self.charged.get()
    }

    pub(super) fn failure(&self) -> Option<Refusal> {
        self.failure.get()
    }

    /// See [`Arena::refusal`](super::Arena::refusal).
    pub(super) fn refusal(&self) -> Option<Refusal> {
        self.refusal.get()
    }

    /// Forgets an earlier run's failure.
    pub(super) fn start_run(&self) {
        self.failure.set(None);
        self.refusal.set(None);
        self.grace.set(GRACE);
    }

    /// Notes that an allocation failed that its caller could not do without.
    #[cfg(any(test, target_os = "theseus"))]
    pub(super) fn fail(&self) -> Refusal {
        let refusal = self.refusal.get().unwrap_or(Refusal::OutOfMemory);
        self.failure.set(Some(refusal));
        refusal
    }

    /// The arena's first byte, which pointers to its blocks are made from.
    fn base(&self) -> *mut u8 {
        ptr::from_ref(self).cast_mut().cast()
    }

    /// The class of the block at `offset`, which is in the lower half.
    fn class_at(&self, offset: usize) -> usize {
        // SAFETY: the entry of a unit that has blocks is in the committed part of the table. It does not change.
        usize::from(unsafe { *self.base().add(TABLE + offset / UNIT) })
    }

    fn commit(&self, part: Range<usize>) -> Result<(), Refusal> {
        let bytes = part.len();
        let in_grace = self.in_grace.get();
        if in_grace {
            self.take_of_grace(bytes).ok_or(Refusal::Limit)?;
            self.budget.charge_always(bytes);
        } else {
            self.budget.charge(bytes)?;
        }
        let reserve = if in_grace { Region::RESERVE_TOO } else { !Region::RESERVE_TOO };
        // SAFETY: the owner's alone, and no other reference is alive.
        if !unsafe { (*self.region.get()).commit(part, reserve) } {
            self.budget.refund(bytes);
            return Err(Refusal::OutOfMemory);
        }
        self.charged.set(self.charged.get() + bytes);
        Ok(())
    }

    /// Gives a committed part back; false if it stays.
    fn decommit(&self, part: Range<usize>) -> bool {
        let bytes = part.len();
        // SAFETY: the owner's alone, and no other reference is alive.
        let gone = unsafe { (*self.region.get()).decommit(part) };
        if gone {
            self.charged.set(self.charged.get() - bytes);
            self.budget.refund(bytes);
        }
        gone
    }

    /// Makes sure that what is below `end` is committed for slabs: more of it the more there is already, or else just
    /// as much.
    fn commit_to(&self, end: usize) -> Result<(), Refusal> {
        let start = self.committed.get();
        if end <= start {
            return Ok(());
        }
        let roomy = if self.in_grace.get() {
            end
        } else if start < LARGE_STEP {
            end.max(LARGE_STEP.min(start + (start - FIRST_SLAB).max(FIRST_STEP)))
        } else {
            end.next_multiple_of(LARGE_STEP)
        };
        let committed = match self.commit(start..roomy) {
            Ok(()) => roomy,
            Err(_) if roomy > end => {
                self.commit(start..end)?;
                end
            }
            Err(refusal) => return Err(refusal),
        };
        self.committed.set(committed);
        Ok(())
    }

    /// The offset of a new slab for `class`.
    fn new_slab(&self, class: usize) -> Result<usize, Refusal> {
        let start = self.next_unit.get();
        let end = start + slab_units(class) * UNIT;
        if end > HALF {
            return Err(Refusal::OutOfMemory);
        }
        let entries = TABLE + end / UNIT;
        if entries > self.header.get() {
            let header = entries.next_multiple_of(PAGE_SIZE);
            self.commit(self.header.get()..header)?;
            self.header.set(header);
        }
        self.commit_to(end)?;
        // SAFETY: the entries are committed, and belong to units without blocks, so that nobody reads them.
        unsafe { self.base().add(TABLE + start / UNIT).write_bytes(class as u8, slab_units(class)) };
        self.next_unit.set(end);
        Ok(start)
    }

    fn pop(&self, class: usize) -> Option<*mut u8> {
        let free = &self.front.free[class];
        let block = free.get();
        if block.is_null() {
            return None;
        }
        // SAFETY: blocks in the list are nobody's, and hold the next one.
        free.set(unsafe { (*block).next });
        Some(block.cast())
    }

    /// Puts a block of `class` in its list.
    ///
    /// # Safety
    /// It is one of this arena's, in nobody's use.
    unsafe fn push(&self, class: usize, block: *mut Block) {
        let free = &self.front.free[class];
        // SAFETY: by this function's contract; blocks are at least 16 bytes and aligned to 16.
        unsafe { (*block).next = free.get() };
        free.set(block);
    }

    /// A block of `class` when none is at hand, and whether it is known to be zero.
    fn allocate(&self, class: usize) -> Result<(*mut u8, bool), Refusal> {
        if !self.remote.load(Ordering::Relaxed).is_null() {
            self.take_back(self.remote.swap(ptr::null_mut(), Ordering::Acquire));
            if let Some(block) = self.pop(class) {
                return Ok((block, false));
            }
        }
        let (mut next, mut end) = self.fresh[class].get();
        if next == end {
            next = self.new_slab(class)? as u32;
            end = next + (slab_blocks(class) * block_size(class)) as u32;
        }
        let size = block_size(class);
        let count = (LINK_BYTES / size).max(1).min((end - next) as usize / size);
        // SAFETY: the blocks lie in a slab of this arena, were never used, and are committed.
        unsafe {
            let first = self.base().add(next as usize);
            for n in (1..count).rev() {
                self.push(class, first.add(n * size).cast());
            }
            self.fresh[class].set((next + (count * size) as u32, end));
            self.linked.set(self.linked.get() + count);
            Ok((first, true))
        }
    }

    /// Puts blocks that other tasks gave back where they belong.
    fn take_back(&self, mut block: *mut Block) {
        while !block.is_null() {
            // SAFETY: blocks given back are linked, nobody's, and this arena's.
            unsafe {
                let Block { next, pages } = block.read();
                let offset = block.addr() % REGION_SIZE;
                if offset < HALF {
                    self.push(self.class_at(offset), block);
                } else {
                    self.deallocate_large(block.cast(), pages);
                }
                block = next;
            }
        }
    }

    fn allocate_large(&self, layout: &Layout) -> Result<(*mut u8, bool), Refusal> {
        let pages = layout.size().div_ceil(PAGE_SIZE);
        // Also where the region would be too small for it: what is to be raised is the limit.
        if layout.size() > self.budget.limit() {
            return Err(Refusal::Limit);
        }
        // SAFETY: the owner's alone, and no other reference is alive.
        let offset =
            unsafe { (*self.large.get()).take(pages, layout.align()) }.ok_or(Refusal::OutOfMemory)?;
        let start = HALF + offset;
        if let Err(refusal) = self.commit(start..start + pages * PAGE_SIZE) {
            // SAFETY: as above.
            unsafe { (*self.large.get()).give_back(offset, pages) };
            return Err(refusal);
        }
        // SAFETY: the offset is within the region.
        Ok((unsafe { self.base().add(start) }, true))
    }

    /// Gives a large block back to the system.
    ///
    /// # Safety
    /// It is one of this arena's, with so many pages, in nobody's use.
    unsafe fn deallocate_large(&self, block: *mut u8, pages: usize) {
        let start = block.addr() % REGION_SIZE;
        // If there is no memory to take a 2 MiB page apart, the block stays until the arena goes; its room does too.
        if self.decommit(start..start + pages * PAGE_SIZE) {
            // SAFETY: the owner's alone, and no other reference is alive.
            unsafe { (*self.large.get()).give_back(start - HALF, pages) };
        }
    }

    /// Makes a large block longer or shorter where it is; false, with nothing changed, if that cannot be.
    ///
    /// # Safety
    /// It is one of this arena's with `old` pages; if it becomes shorter, what is beyond is in nobody's use.
    unsafe fn resize_large(&self, block: *mut u8, old: usize, new: usize) -> bool {
        let start = block.addr() % REGION_SIZE;
        let page = |n: usize| start + n * PAGE_SIZE;
        // SAFETY: the owner's alone, and no other reference is alive.
        let large = unsafe { &mut *self.large.get() };
        if new < old {
            return self.decommit(page(new)..page(old)) && large.resize(start - HALF, old, new);
        }
        if !large.resize(start - HALF, old, new) {
            return false;
        }
        if self.commit(page(old)..page(new)).is_err() {
            large.resize(start - HALF, new, old);
            return false;
        }
        true
    }

    /// A block for the owner, and whether it is known to be zero; null if it is refused.
    pub(crate) fn allocate_any(&self, layout: &Layout) -> (*mut u8, bool) {
        let last = last_byte(layout.size(), layout.align());
        match class_of(last) {
            Some(class) if layout.align() <= UNIT && !self.budget.is_cancelled() => {
                self.pop(class).map_or_else(|| self.allocate_slowly(layout), |block| (block, false))
            }
            _ => self.allocate_slowly(layout),
        }
    }

    /// A block that is not at hand.
    #[cold]
    #[inline(never)]
    fn allocate_slowly(&self, layout: &Layout) -> (*mut u8, bool) {
        let last = last_byte(layout.size(), layout.align());
        let result = if self.budget.is_cancelled() {
            Err(Refusal::Cancelled)
        } else {
            match class_of(last) {
                Some(class) if layout.align() <= UNIT => self.allocate(class),
                _ => self.allocate_large(layout),
            }
        };
        let result = result.or_else(|refusal| self.allocate_in_grace(layout).ok_or(refusal));
        result.unwrap_or_else(|refusal| {
            self.refusal.set(Some(refusal));
            (ptr::null_mut(), false)
        })
    }

    /// A small block for who is refused others, as long as there are some left.
    fn allocate_in_grace(&self, layout: &Layout) -> Option<(*mut u8, bool)> {
        let class = class_of(last_byte(layout.size(), layout.align()))?;
        if layout.size() > SMALL || layout.align() > UNIT {
            return None;
        }
        self.take_of_grace(block_size(class))?;
        if let Some(block) = self.pop(class) {
            return Some((block, false));
        }
        self.in_grace.set(true);
        let block = self.allocate(class).ok();
        self.in_grace.set(false);
        block
    }

    /// Counts bytes that are given away, or taken from the system, in spite of a refusal; `None` if there are none left for that.
    fn take_of_grace(&self, bytes: usize) -> Option<()> {
        self.grace.set(self.grace.get().checked_sub(bytes)?);
        Some(())
    }

    /// Takes back a block from the owner.
    ///
    /// # Safety
    /// It is one of this arena's, of this layout, in nobody's use.
    pub(super) unsafe fn deallocate_own(&self, block: *mut u8, layout: &Layout) {
        let offset = block.addr() % REGION_SIZE;
        // SAFETY: by this function's contract.
        unsafe {
            if offset < HALF {
                self.push(self.class_at(offset), block.cast());
            } else {
                self.deallocate_large(block, layout.size().div_ceil(PAGE_SIZE));
            }
        }
    }

    /// Takes back a block from anyone.
    ///
    /// # Safety
    /// It is one of this arena's, of this layout, in nobody's use. The arena may be gone afterwards.
    pub(super) unsafe fn deallocate_remote(this: *const Inner, block: *mut u8, layout: &Layout) {
        let block = block.cast::<Block>();
        // SAFETY: until the block is given back, by being linked or counted, the arena exists; afterwards it is not
        // touched. The block is nobody's, and at least 16 bytes.
        unsafe {
            let remote = &(*this).remote;
            let mut head = remote.load(Ordering::Relaxed);
            while head != CLOSED {
                block.write(Block { next: head, pages: layout.size().div_ceil(PAGE_SIZE) });
                match remote.compare_exchange_weak(head, block, Ordering::Release, Ordering::Relaxed) {
                    Ok(_) => return,
                    Err(now) => head = now,
                }
            }
            if (*this).outstanding.fetch_sub(1, Ordering::AcqRel) == 1 {
                Self::release(this);
            }
        }
    }

    /// Whether a block can stay where it is if its size becomes `new_size`; then it has that size.
    ///
    /// # Safety
    /// It is one of this arena's, of this layout, and the caller's. `owner` tells whether the caller is the arena's
    /// owner.
    pub(super) unsafe fn resize(
        &self,
        block: *mut u8,
        layout: &Layout,
        new_size: usize,
        owner: bool,
    ) -> bool {
        let offset = block.addr() % REGION_SIZE;
        let last = last_byte(new_size, layout.align());
        if offset < HALF {
            return class_of(last) == Some(self.class_at(offset));
        }
        if last < CLASS_LIMIT && layout.align() <= UNIT {
            return false;
        }
        let (old, new) = (layout.size().div_ceil(PAGE_SIZE), new_size.div_ceil(PAGE_SIZE));
        // SAFETY: by this function's contract.
        old == new || owner && !self.budget.is_cancelled() && unsafe { self.resize_large(block, old, new) }
    }

    /// Closes the arena: its memory goes back now, or with the last block that is in use.
    ///
    /// # Safety
    /// The caller is the owner, and no longer is afterwards.
    pub(super) unsafe fn close(this: *const Inner) {
        // SAFETY: the arena exists as long as `outstanding` is not 0 after the count was added, and no longer than
        // that is it touched.
        unsafe {
            let inner = &*this;
            inner.budget.remove(this);
            inner.take_back(inner.remote.swap(CLOSED, Ordering::AcqRel));
            let mut free = 0;
            for list in &inner.front.free {
                let mut block = list.get();
                while !block.is_null() {
                    free += 1;
                    block = (*block).next;
                }
            }
            let live = inner.linked.get() - free + (*inner.large.get()).blocks();
            if live > 0 {
                inner.trim();
            }
            let before = inner.outstanding.fetch_add(live as isize, Ordering::AcqRel);
            if before + live as isize == 0 {
                Self::release(this);
            }
        }
    }

    /// Gives back the memory of slabs that no block is in use of.
    fn trim(&self) {
        let units = self.next_unit.get() / UNIT;
        let (start, end) = (COUNTS, (COUNTS + 2 * units).next_multiple_of(PAGE_SIZE));
        // Whatever the limit: much more goes back for it in a moment.
        // SAFETY: the owner's alone, and no other reference is alive.
        if !unsafe { (*self.region.get()).commit(start..end, Region::RESERVE_TOO) } {
            return;
        }
        self.charged.set(self.charged.get() + (end - start));
        self.budget.charge_always(end - start);
        // SAFETY: the room for counts is committed, aligned, large enough, and the owner's alone.
        let count = |unit: usize| unsafe { self.base().add(COUNTS).cast::<u16>().add(unit) };
        // SAFETY: as above; free blocks are nobody's and hold the next one.
        unsafe {
            count(0).write_bytes(0, units);
            for list in &self.front.free {
                let mut block = list.get();
                while !block.is_null() {
                    let offset = block.addr() % REGION_SIZE;
                    *count(offset / UNIT) += 1;
                    block = (*block).next;
                }
            }
        }
        let mut unit = FIRST_SLAB / UNIT;
        let mut unused: Range<usize> = 0..0;
        while unit < units {
            let class = self.class_at(unit * UNIT);
            let slab = unit..unit + slab_units(class);
            let (fresh, fresh_end) = self.fresh[class].get();
            let whole = slab.start * UNIT + slab_blocks(class) * block_size(class);
            let never_linked = if fresh_end as usize == whole {
                (fresh_end - fresh) as usize / block_size(class)
            } else {
                0
            };
            // SAFETY: as above.
            let free: usize = slab.clone().map(|unit| usize::from(unsafe { *count(unit) })).sum();
            if free + never_linked == slab_blocks(class) {
                let bytes = slab.start * UNIT..slab.end * UNIT;
                if unused.end == bytes.start {
                    unused.end = bytes.end;
                } else {
                    self.decommit_unused(unused);
                    unused = bytes;
                }
            }
            unit = slab.end;
        }
        let rest = self.next_unit.get()..self.committed.get();
        if unused.end == rest.start {
            unused.end = rest.end;
        } else {
            self.decommit_unused(rest);
        }
        self.decommit_unused(unused);
    }

    fn decommit_unused(&self, part: Range<usize>) {
        if !part.is_empty() {
            // What stays, for want of a page table, goes with the arena.
            self.decommit(part);
        }
    }

    /// Gives everything back.
    ///
    /// # Safety
    /// No block is in use, and nobody will touch the arena any more.
    unsafe fn release(this: *const Inner) {
        // SAFETY: by this function's contract; what is read out is not used in its old place any more.
        unsafe {
            let budget = ptr::read(&raw const (*this).budget);
            let region = ptr::read((*this).region.get());
            let charged = (*this).charged.get();
            #[cfg(not(target_os = "theseus"))]
            region.count_out(charged);
            drop(region);
            budget.refund(charged);
        }
    }
}

const _: () = assert!(CLASS_LIMIT <= SPAN);
