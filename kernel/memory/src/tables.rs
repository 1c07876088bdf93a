//! The page tables themselves: entries are set, changed and cleared here and nowhere else.
//!
//! Tables are read and written through the physical map. One lock guards all of them, taken for at most
//! [`PAGES_PER_LOCK`] entries at a time, so that a mapping may be dropped wherever one may allocate. Empty
//! tables are given back at once: each entry that points to a table counts what is used in it (see
//! `page_table_entry`).
//!
//! Frames and tables that a change has made free are collected in a [`Batch`] and given back only after the
//! processors have forgotten the translations.

use crate::arch;
use core::sync::atomic::{AtomicUsize, Ordering};
use frame_allocator::{AllocatedFrames, Claim, UnmappedFrames};
use kernel_config::memory::{ENTRIES_PER_PAGE_TABLE, PAGE_SHIFT};
use memory_structs::{Frame, FrameRange, Page1G, Page2M, Page4K, PhysicalAddress};
use page_table_entry::{PageTableEntry, UnmapResult};
use pte_flags::PteFlagsArch;
use spin::Once;
use sync_irq::{IrqSafeMutex, IrqSafeMutexGuard};

/// Makes frames of a bare range; set once by `init`.
pub(crate) static INTO_UNMAPPED_FRAMES: Once<fn(FrameRange) -> UnmappedFrames> = Once::new();

/// The most pages that are changed while the lock is held and interrupts are off.
pub(crate) const PAGES_PER_LOCK: usize = 4096;

/// Why a page could not be mapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MapError {
    /// There is no frame for a page or for a page table.
    OutOfFrames,
    /// Something is mapped there.
    AlreadyMapped,
}

impl From<MapError> for &'static str {
    fn from(error: MapError) -> Self {
        match error {
            MapError::OutOfFrames => "out of physical memory; free some, or give the machine more",
            MapError::AlreadyMapped => "memory: a page to be mapped is mapped already",
        }
    }
}

const NOT_MAPPED: &str = "memory: a page in the range is not mapped";

static LOCK: IrqSafeMutex<()> = IrqSafeMutex::new(());

/// Exclusive access to the page tables below one top-level table.
pub(crate) struct Tables {
    p4: Frame,
    _guard: IrqSafeMutexGuard<'static, ()>,
}

/// The entries on the way down to a page, by the level of the table they are in; `[0]` is unused.
type Path = [*mut PageTableEntry; 5];

/// Pages that an entry of a table of this level covers.
pub(crate) const fn span(level: usize) -> usize {
    1 << (9 * (level - 1))
}

const fn index(page: usize, level: usize) -> usize {
    page >> (9 * (level - 1)) & (ENTRIES_PER_PAGE_TABLE - 1)
}

fn frame(number: usize) -> Frame {
    Frame::containing_address(PhysicalAddress::new_canonical(number << PAGE_SHIFT))
}

/// The address of an entry. Dereferencing it is for who holds the lock, `table` being a table.
fn entry(table: Frame, index: usize) -> *mut PageTableEntry {
    arch::phys_to_virt(table.start_address()).cast::<PageTableEntry>().wrapping_add(index)
}

/// How many tables there are.
static TABLES: AtomicUsize = AtomicUsize::new(0);

/// How many frames are page tables: of the kernel's address space, which is that of all programs.
///
/// How many it takes to map as much depends on where it lies: one for each 2 MiB of address space in which there is a page, and
/// further ones for those.
pub fn page_tables() -> usize {
    TABLES.load(Ordering::Relaxed)
}

/// A frame of zeroes for a table, no longer owned by any value: the entry pointing to it stands for it. For a guest's memory it may
/// be taken of the reserve, with a claim of `least`: who is to fail has failed before, for want of what is to be mapped.
pub(crate) fn new_table(least: Claim) -> Result<Frame, MapError> {
    let claim = frame_allocator::claim().max(least);
    let frames = frame_allocator::with_claim(claim, || frame_allocator::allocate_frames(1));
    let frames = frames.ok_or(MapError::OutOfFrames)?;
    // SAFETY: the frame is general memory that was just allocated.
    unsafe { arch::zero_frames(&frames) };
    let table = *frames.start();
    core::mem::forget(frames.into_mapped_frames());
    TABLES.fetch_add(1, Ordering::Relaxed);
    Ok(table)
}

impl Tables {
    /// Waits for the lock.
    ///
    /// # Safety
    /// `p4` is a top-level page table whose tables were all made by this module.
    pub(crate) unsafe fn lock(p4: Frame) -> Self {
        Self { p4, _guard: LOCK.lock() }
    }

    /// Adds to the count of used entries of the table that `table_entry` points to; an entry of level 5 there
    /// is none.
    ///
    /// # Safety
    /// `table_entry`, if not null, is an entry that points to a table.
    unsafe fn count(table_entry: *mut PageTableEntry, change: isize) {
        if !table_entry.is_null() {
            // SAFETY: it is an entry of a live table, and `self` being there means that the lock is held.
            let entry = unsafe { &mut *table_entry };
            entry.set_used_entries(entry.used_entries().wrapping_add_signed(change));
        }
    }

    /// Goes down to the table of `level` that `page` is in, making tables where there are none.
    ///
    /// After an error there may be empty tables on the way, which unmapping `page` gives back.
    fn walk_create(&mut self, page: usize, level: usize) -> Result<Path, MapError> {
        let mut path: Path = [core::ptr::null_mut(); 5];
        let mut table = self.p4;
        for l in (level + 1..=4).rev() {
            path[l] = entry(table, index(page, l));
            // SAFETY: an entry of a live table; the lock is held.
            let e = unsafe { &mut *path[l] };
            if e.is_unused() {
                e.set_table(new_table(Claim::Support)?);
                if l < 4 {
                    // SAFETY: the entry above points to the table that this entry is in.
                    unsafe { Self::count(path[l + 1], 1) };
                }
            }
            table = e.table().ok_or(MapError::AlreadyMapped)?;
        }
        path[level] = entry(table, index(page, level));
        Ok(path)
    }

    /// Gives back the table that `path[level]` points to if it is empty, and so on upwards.
    ///
    /// # Safety
    /// `path` is filled from `level` (2 to 4) up.
    unsafe fn prune(&mut self, path: &Path, level: usize, batch: &mut Batch) {
        for l in level..=4 {
            // SAFETY: an entry of a live table; the lock is held.
            let e = unsafe { &mut *path[l] };
            let Some(table) = e.table().filter(|_| e.used_entries() == 0) else { return };
            e.zero();
            batch.push_table(table);
            if l < 4 {
                // SAFETY: as above; `path[l + 1]` points to the table that this entry is in.
                unsafe { Self::count(path[l + 1], -1) };
            }
        }
    }

    /// Maps `count` pages from `page` on to as many frames from `start` on. `done` grows with each page
    /// mapped.
    ///
    /// # Errors
    /// If a page is mapped already, or if there is no frame for a table; then the first `done` pages are
    /// mapped.
    pub(crate) fn map_run(
        &mut self,
        page: usize,
        start: usize,
        count: usize,
        flags: PteFlagsArch,
        done: &mut usize,
    ) -> Result<(), MapError> {
        let mut at = 0;
        while at < count {
            let path = self.walk_create(page + at, 1)?;
            let here = (count - at).min(ENTRIES_PER_PAGE_TABLE - index(page + at, 1));
            let mut mapped = 0;
            while mapped < here {
                // SAFETY: `here` entries are left in the table; the lock is held.
                let e = unsafe { &mut *path[1].add(mapped) };
                if !e.is_unused() {
                    break;
                }
                e.set(frame(start + at + mapped).start_address(), flags);
                mapped += 1;
            }
            // SAFETY: `path[2]` points to the table. If nothing was mapped it is not empty: an entry was in
            // the way.
            unsafe { Self::count(path[2], mapped as isize) };
            *done += mapped;
            at += mapped;
            if mapped < here {
                return Err(MapError::AlreadyMapped);
            }
        }
        Ok(())
    }

    /// Maps a huge page of level 2 (2 MiB) or 3 (1 GiB). Page and frame are aligned to its size.
    ///
    /// # Errors
    /// If something is mapped there already, or if there is no frame for a table.
    pub(crate) fn map_huge(
        &mut self,
        page: usize,
        start: usize,
        level: usize,
        flags: PteFlagsArch,
    ) -> Result<(), MapError> {
        debug_assert!(page.is_multiple_of(span(level)) && start.is_multiple_of(span(level)));
        let path = self.walk_create(page, level)?;
        // SAFETY: an entry of a live table; the lock is held.
        let e = unsafe { &mut *path[level] };
        if !e.is_unused() {
            return Err(MapError::AlreadyMapped);
        }
        e.set(frame(start).start_address(), flags.huge(true));
        // SAFETY: `path[level + 1]` points to the table that `e` is in.
        unsafe { Self::count(path[level + 1], 1) };
        Ok(())
    }

    /// Replaces a huge page of `level` by a table of 512 smaller ones that mean the same.
    fn split_huge(e: &mut PageTableEntry, level: usize) -> Result<(), MapError> {
        // What is split is mostly on its way back, which must not fail for want of memory.
        let table = new_table(Claim::Kernel)?;
        let flags = e.flags().huge(level == 3);
        let first = e.pointed_frame().map_or(0, |frame| frame.number()) & !(span(level) - 1);
        for i in 0..ENTRIES_PER_PAGE_TABLE {
            // SAFETY: the table is new and this function's own.
            unsafe { (*entry(table, i)).set(frame(first + i * span(level - 1)).start_address(), flags) };
        }
        e.set_table(table);
        e.set_used_entries(ENTRIES_PER_PAGE_TABLE);
        Ok(())
    }

    /// The entry that maps `page`, and the level it is in.
    pub(crate) fn lookup(&self, page: usize) -> Option<(PageTableEntry, usize)> {
        let mut table = self.p4;
        for level in (1..=4).rev() {
            // SAFETY: an entry of a live table; the lock is held.
            let e = unsafe { *entry(table, index(page, level)) };
            if e.is_unused() {
                return None;
            }
            match e.table() {
                Some(next) if level > 1 => table = next,
                _ => return Some((e, level)),
            }
        }
        None
    }

    /// The first page at or after `from` that is mapped, the level of its entry, and its flags.
    pub(crate) fn next_mapped(&self, from: usize) -> Option<(usize, usize, PteFlagsArch)> {
        // Page numbers between the halves are those of no address.
        const END_OF_LOWER_HALF: usize = 1 << 35;
        const END: usize = 1 << 52;
        const START_OF_UPPER_HALF: usize = END - END_OF_LOWER_HALF;
        let mut page = from;
        while page < END {
            let mut table = self.p4;
            let mut level = 4;
            let skip = loop {
                // SAFETY: an entry of a live table; the lock is held.
                let e = unsafe { *entry(table, index(page, level)) };
                if e.is_unused() {
                    break span(level);
                }
                match e.table() {
                    Some(next) if level > 1 => (table, level) = (next, level - 1),
                    _ => return Some((page & !(span(level) - 1), level, e.flags())),
                }
            };
            let next = (page / skip + 1) * skip;
            page = if next == END_OF_LOWER_HALF { START_OF_UPPER_HALF } else { next };
        }
        None
    }

    /// Calls `f` for what is mapped in `from..end`, whole huge pages as such, and splits those that lie only
    /// partly in it. `f` gets the path, the level, and how many entries of that table to look at: none if
    /// there is a table but nothing in the entry.
    ///
    /// Stops at [`PAGES_PER_LOCK`], or when `f` handled fewer entries than it could have; returns the page to
    /// go on from.
    fn for_each_table(
        &mut self,
        from: usize,
        end: usize,
        mut f: impl FnMut(&mut Self, &Path, usize, usize) -> usize,
    ) -> Result<usize, &'static str> {
        let mut page = from;
        let mut budget = PAGES_PER_LOCK;
        'pages: while page < end && budget > 0 {
            let mut path: Path = [core::ptr::null_mut(); 5];
            let mut table = self.p4;
            for level in (2..=4).rev() {
                path[level] = entry(table, index(page, level));
                // SAFETY: an entry of a live table; the lock is held, and no other reference to the entry is
                // alive.
                let e = unsafe { &mut *path[level] };
                if e.is_unused() {
                    if level < 4 {
                        f(self, &path, level, 0);
                    }
                    page = (page / span(level) + 1) * span(level);
                    budget -= 1;
                    continue 'pages;
                }
                if e.table().is_none() {
                    if page.is_multiple_of(span(level)) && end - page >= span(level) {
                        if f(self, &path, level, 1) == 0 {
                            return Ok(page);
                        }
                        page += span(level);
                        budget -= 1;
                        continue 'pages;
                    }
                    Self::split_huge(e, level)?;
                }
                table = e.table().ok_or(NOT_MAPPED)?;
            }
            path[1] = entry(table, index(page, 1));
            let here = (end - page).min(ENTRIES_PER_PAGE_TABLE - index(page, 1));
            let handled = f(self, &path, 1, here);
            page += handled;
            if handled < here {
                return Ok(page);
            }
            budget = budget.saturating_sub(here);
        }
        Ok(page.min(end))
    }

    /// Clears what is mapped in `from..end`, as far as `batch` has room; returns the page to go on from.
    ///
    /// # Errors
    /// If a huge page lies only partly in the range, and there is no frame for the table to split it into.
    pub(crate) fn unmap_some(
        &mut self,
        from: usize,
        end: usize,
        batch: &mut Batch,
    ) -> Result<usize, &'static str> {
        self.for_each_table(from, end, |tables, path, level, here| {
            let (mut handled, mut cleared) = (0, 0);
            while handled < here && batch.has_room() {
                // SAFETY: `here` entries are left in the table; the lock is held.
                let e = unsafe { &mut *path[level].add(handled) };
                handled += 1;
                if e.is_unused() {
                    continue;
                }
                cleared += 1;
                let result = match level {
                    1 => e.set_unmapped_sized::<Page4K>(),
                    2 => e.set_unmapped_sized::<Page2M>(),
                    _ => e.set_unmapped_sized::<Page1G>(),
                };
                batch.changed += span(level);
                if let UnmapResult::Exclusive(frames) = result {
                    batch.push_frames(frames.start().number(), frames.size_in_frames());
                }
            }
            // SAFETY: `path` is filled from `level` up; the entry above points to the table just changed.
            unsafe {
                Self::count(path[level + 1], -cleared);
                tables.prune(path, level + 1, batch);
            }
            handled
        })
    }

    /// Whether each page of `from..end` is mapped, as far as [`PAGES_PER_LOCK`]; returns the page to go on
    /// from.
    ///
    /// # Errors
    /// If one is not.
    pub(crate) fn check_mapped(&self, from: usize, end: usize) -> Result<usize, &'static str> {
        let stop = end.min(from.saturating_add(PAGES_PER_LOCK));
        let mut page = from;
        while page < stop {
            let (_, level) = self.lookup(page).ok_or(NOT_MAPPED)?;
            page = (page / span(level) + 1) * span(level);
        }
        Ok(page.min(end))
    }

    /// Gives the pages `from..end`, which are all mapped, other flags; who owns the frame and whether the
    /// page was written to is kept. Returns the page to go on from.
    ///
    /// # Errors
    /// If a huge page lies only partly in the range, and there is no frame for the table to split it into.
    pub(crate) fn protect_some(
        &mut self,
        from: usize,
        end: usize,
        flags: PteFlagsArch,
    ) -> Result<usize, &'static str> {
        self.for_each_table(from, end, |_, path, level, here| {
            for i in 0..here {
                // SAFETY: `here` entries are left in the table; the lock is held.
                let e = unsafe { &mut *path[level].add(i) };
                if !e.is_unused() {
                    let old = e.flags();
                    let new = flags.huge(level > 1).exclusive(old.is_exclusive()).dirty(old.is_dirty());
                    e.set_flags(new);
                }
            }
            here
        })
    }
}

/// Frames and tables that are free as soon as no processor has a translation to them, or through them, any
/// more.
pub(crate) struct Batch {
    /// Frames as `(start, count)`. On the stack of whoever unmaps, so not many.
    frames: [(usize, usize); 48],
    frames_len: usize,
    tables: [usize; 24],
    tables_len: usize,
    /// How many pages were unmapped.
    pub(crate) changed: usize,
}

impl Batch {
    pub(crate) const fn new() -> Self {
        Self { frames: [(0, 0); 48], frames_len: 0, tables: [0; 24], tables_len: 0, changed: 0 }
    }

    /// Room for one more range, and for the tables that may become empty with it: one of each level below the
    /// top.
    fn has_room(&self) -> bool {
        self.frames_len < self.frames.len() && self.tables_len + 3 <= self.tables.len()
    }

    fn push_frames(&mut self, start: usize, count: usize) {
        if let Some((last, last_count)) = self.frames[..self.frames_len].last_mut()
            && *last + *last_count == start
        {
            *last_count += count;
            return;
        }
        self.frames[self.frames_len] = (start, count);
        self.frames_len += 1;
    }

    fn push_table(&mut self, table: Frame) {
        self.tables[self.tables_len] = table.number();
        self.tables_len += 1;
    }

    /// Whether there are translations to forget.
    pub(crate) fn needs_flush(&self) -> bool {
        self.changed > 0 || self.tables_len > 0
    }

    /// Gives the tables back and hands the frames to `f`, a range at a time. To be called once translations
    /// are forgotten.
    pub(crate) fn release(self, mut f: impl FnMut(AllocatedFrames)) {
        // Without it nothing can have been mapped.
        let Some(into_unmapped) = INTO_UNMAPPED_FRAMES.get() else { return };
        let own = |start, count| into_unmapped(FrameRange::from_start_and_count(frame(start), count));
        for &table in &self.tables[..self.tables_len] {
            drop(own(table, 1));
            TABLES.fetch_sub(1, Ordering::Relaxed);
        }
        for &(start, count) in &self.frames[..self.frames_len] {
            f(own(start, count).into_allocated_frames());
        }
    }
}
