//! [`Mapper`]: making mappings; [`PageTable`]: a whole set of them.

use crate::arch;
use crate::mapped_pages::MappedPages;
use crate::tables::{Batch, MapError, Tables, span};
use crate::tlb;
use core::fmt;
use core::ops::{Deref, DerefMut};
use frame_allocator::{AllocatedFrames, allocate_frames_aligned, allocate_frames_up_to, is_general};
use memory_structs::{Frame, Page, PageRange, PageSize, PhysicalAddress, VirtualAddress};
use page_allocator::AllocatedPages;
use pte_flags::PteFlagsArch;

/// The most frames that are taken, zeroed and mapped in one go.
const FRAMES_PER_STEP: usize = 64;
/// 4 KiB pages in a 2 MiB page.
const PAGES_PER_2M: usize = span(2);

const W_XOR_X: &str = "memory: a mapping may be writable or executable, not both";

/// Makes and changes mappings in one set of page tables.
///
/// What is to be mapped must be owned ([`AllocatedPages`], [`AllocatedFrames`]), so that none of the
/// functions can affect a mapping that somebody else has. Page tables are guarded by a lock of their own: a
/// `&mut Mapper` is upstream's signature, and two of them do no harm.
pub struct Mapper {
    p4: Frame,
}

/// The flags that an entry gets for what a caller asked for.
pub(crate) fn checked(flags: PteFlagsArch, exclusive: bool) -> Result<PteFlagsArch, &'static str> {
    if flags.violates_w_xor_x() {
        return Err(W_XOR_X);
    }
    // Neither who owns the frame nor the size of the page is the caller's to say.
    Ok(flags.valid(true).huge(false).exclusive(exclusive))
}

/// The range of `count` pages from number `start` on.
fn range(start: usize, count: usize) -> PageRange {
    let start =
        Page::containing_address(VirtualAddress::new_canonical(start << kernel_config::memory::PAGE_SHIFT));
    PageRange::from_start_and_count(start, count)
}

impl Mapper {
    /// For the page tables that this processor uses.
    pub fn current() -> Self {
        Self { p4: arch::current_p4() }
    }

    /// For the page tables below `p4`, which this crate made.
    pub(crate) fn of(p4: Frame) -> Self {
        Self { p4 }
    }

    /// The frame of the top-level page table.
    pub(crate) fn p4(&self) -> Frame {
        self.p4
    }

    fn lock(&self) -> Tables {
        // SAFETY: a mapper is only made for page tables that this crate made (`current` is used after `init`
        // at the earliest, which puts them in place).
        unsafe { Tables::lock(self.p4) }
    }

    /// The physical address that `virtual_address` is mapped to.
    pub fn translate(&self, virtual_address: VirtualAddress) -> Option<PhysicalAddress> {
        let (entry, level) = self
            .lock()
            .lookup(Page::<memory_structs::Page4K>::containing_address(virtual_address).number())?;
        let size = span(level) << kernel_config::memory::PAGE_SHIFT;
        let start = entry.pointed_frame()?.start_address().value() & !(size - 1);
        Some(PhysicalAddress::new_canonical(start + (virtual_address.value() & (size - 1))))
    }

    /// The frame that `page` is mapped to.
    pub fn translate_page(&self, page: Page) -> Option<Frame> {
        self.translate(page.start_address()).map(Frame::containing_address)
    }

    /// The flags of the page that `virtual_address` is in, if it is mapped.
    pub fn flags_of(&self, virtual_address: VirtualAddress) -> Option<PteFlagsArch> {
        let page = Page::<memory_structs::Page4K>::containing_address(virtual_address);
        self.lock().lookup(page.number()).map(|(entry, _)| entry.flags())
    }

    /// The first mapping at or after `from`: where it begins, of how many bytes the page is, and its flags.
    ///
    /// For those who check or list what is mapped. An iteration is not a snapshot: mappings come and go
    /// meanwhile.
    pub fn next_mapped(&self, from: VirtualAddress) -> Option<(VirtualAddress, usize, PteFlagsArch)> {
        let page = Page::<memory_structs::Page4K>::containing_address(from);
        let (page, level, flags) = self.lock().next_mapped(page.number())?;
        let shift = kernel_config::memory::PAGE_SHIFT;
        Some((VirtualAddress::new_canonical(page << shift), span(level) << shift, flags))
    }

    /// Writes the page table entry of an address, for a person to read.
    ///
    /// # Errors
    /// What `out` returns.
    pub fn dump_pte(&self, virtual_address: VirtualAddress, out: &mut dyn fmt::Write) -> fmt::Result {
        let page = Page::<memory_structs::Page4K>::containing_address(virtual_address);
        // The lock is released before anything is written.
        let found = self.lock().lookup(page.number());
        match found {
            Some((entry, level)) => writeln!(out, "{virtual_address}: level {level}: {entry:?}"),
            None => writeln!(out, "{virtual_address}: not mapped"),
        }
    }

    /// Maps pages to frames of zeroes, taken wherever there are some, with 2 MiB pages where alignment
    /// allows.
    ///
    /// # Errors
    /// If `flags` are both writable and executable, or if there is not enough physical memory. The pages are
    /// then given back.
    pub fn map_allocated_pages<FL: Into<PteFlagsArch>>(
        &mut self,
        pages: AllocatedPages,
        flags: FL,
    ) -> Result<MappedPages, &'static str> {
        let flags = checked(flags.into(), true)?;
        self.fill(pages.start().number(), pages.size_in_pages(), flags)?;
        Ok(MappedPages::new(self.p4, pages, flags))
    }

    /// Maps pages to these frames, in order. Frames of usable RAM are zeroed first; devices, firmware tables
    /// and boot modules are what they are.
    ///
    /// # Errors
    /// If `flags` are both writable and executable, if there are not as many pages as frames, or if there is
    /// no memory for a page table. Pages and frames are then given back.
    pub fn map_allocated_pages_to<P: PageSize, FL: Into<PteFlagsArch>>(
        &mut self,
        pages: AllocatedPages,
        frames: AllocatedFrames<P>,
        flags: FL,
    ) -> Result<MappedPages, &'static str> {
        let flags = checked(flags.into(), true)?;
        let frames = frames.into_4k();
        if is_general(&frames) {
            // SAFETY: general frames are RAM, and owned here.
            unsafe { arch::zero_frames(&frames) };
        }
        self.map_owned(&pages, frames, flags)?;
        Ok(MappedPages::new(self.p4, pages, flags))
    }

    /// Maps pages to frames that stay somebody else's: unmapping will not give them back.
    ///
    /// # Errors
    /// As for [`Mapper::map_allocated_pages_to`].
    ///
    /// # Safety
    /// The frames stay allocated for as long as the mapping exists, and what is read and written through it
    /// does not contradict what others hold references to.
    pub unsafe fn map_to_non_exclusive<FL: Into<PteFlagsArch>>(
        &mut self,
        pages: AllocatedPages,
        frames: &AllocatedFrames,
        flags: FL,
    ) -> Result<MappedPages, &'static str> {
        let flags = checked(flags.into(), false)?;
        self.map_run(&pages, frames.start().number(), frames.size_in_frames(), flags)
            .map_err(|(_, error)| error)?;
        Ok(MappedPages::new(self.p4, pages, flags))
    }

    /// Maps `pages` to `frames`, of which the entries become the owners.
    pub(crate) fn map_owned(
        &mut self,
        pages: &AllocatedPages,
        frames: AllocatedFrames,
        flags: PteFlagsArch,
    ) -> Result<(), &'static str> {
        match self.map_run(pages, frames.start().number(), frames.size_in_frames(), flags) {
            Ok(()) => {
                core::mem::forget(frames.into_mapped_frames());
                Ok(())
            }
            Err((done, error)) => {
                // Rolling back has given the first `done` frames back; the others are given back here.
                let at = *frames.start() + done;
                if let Ok((given_back, _rest)) = frames.split_at(at) {
                    core::mem::forget(given_back);
                }
                Err(error)
            }
        }
    }

    /// Maps as many pages to frames; all or nothing. With the error comes how many frames were mapped for a
    /// while.
    fn map_run(
        &mut self,
        pages: &AllocatedPages,
        first_frame: usize,
        num_frames: usize,
        flags: PteFlagsArch,
    ) -> Result<(), (usize, &'static str)> {
        if pages.size_in_pages() != num_frames {
            return Err((0, "memory: pages and frames to map to each other differ in number"));
        }
        let (first, mut done) = (pages.start().number(), 0);
        while done < num_frames {
            let count = (num_frames - done).min(crate::tables::PAGES_PER_LOCK);
            let mut step = 0;
            let result = self.lock().map_run(first + done, first_frame + done, count, flags, &mut step);
            done += step;
            if let Err(error) = result {
                self.roll_back(first, done, error);
                return Err((done, error.into()));
            }
        }
        Ok(())
    }

    /// After an error at page `first + done`: unmaps what was mapped, and gives tables back that were made in
    /// vain.
    fn roll_back(&mut self, first: usize, done: usize, error: MapError) {
        let in_vain = (error == MapError::OutOfFrames) as usize;
        // Nothing is split, since nothing was mapped huge beyond `done`, so that this cannot fail.
        let _ = self.unmap(first, done + in_vain, &mut 0, drop);
    }

    /// Maps `count` pages from number `first` on to fresh frames of zeroes; all or nothing.
    pub(crate) fn fill(
        &mut self,
        first: usize,
        count: usize,
        flags: PteFlagsArch,
    ) -> Result<(), &'static str> {
        // What is bound to fail should neither take others' last frames for a while, nor zero them first.
        if count > frame_allocator::available_frames() {
            return Err(MapError::OutOfFrames.into());
        }
        let mut done = 0;
        while done < count {
            let page = first + done;
            let result = if page.is_multiple_of(PAGES_PER_2M)
                && count - done >= PAGES_PER_2M
                && let Some(frames) = allocate_frames_aligned(PAGES_PER_2M, PAGES_PER_2M)
            {
                self.fill_huge(page, frames, flags).map(|()| done += PAGES_PER_2M)
            } else {
                let until_2m = PAGES_PER_2M - page % PAGES_PER_2M;
                self.fill_step(page, (count - done).min(until_2m), flags, &mut done)
            };
            if let Err(error) = result {
                self.roll_back(first, done, error);
                return Err(error.into());
            }
        }
        Ok(())
    }

    /// Maps up to `max` pages from `page` on. Adds to `done` what was mapped.
    fn fill_step(
        &mut self,
        page: usize,
        max: usize,
        flags: PteFlagsArch,
        done: &mut usize,
    ) -> Result<(), MapError> {
        let frames = allocate_frames_up_to(max.min(FRAMES_PER_STEP)).ok_or(MapError::OutOfFrames)?;
        // SAFETY: general frames, owned here.
        unsafe { arch::zero_frames(&frames) };
        let mut mapped = 0;
        let result =
            self.lock().map_run(page, frames.start().number(), frames.size_in_frames(), flags, &mut mapped);
        // What is mapped is now the entries'; the rest, after an error, is given back.
        let at = *frames.start() + mapped;
        match frames.split_at(at) {
            Ok((owned_by_entries, _rest)) => core::mem::forget(owned_by_entries.into_mapped_frames()),
            // Only possible if `mapped` exceeded what was asked for; then all of it is in use.
            Err(all) => core::mem::forget(all.into_mapped_frames()),
        }
        *done += mapped;
        result
    }

    /// Maps 2 MiB from `page` on to `frames`; both are aligned.
    fn fill_huge(
        &mut self,
        page: usize,
        frames: AllocatedFrames,
        flags: PteFlagsArch,
    ) -> Result<(), MapError> {
        // SAFETY: general frames, owned here.
        unsafe { arch::zero_frames(&frames) };
        self.lock().map_huge(page, frames.start().number(), 2, flags)?;
        core::mem::forget(frames.into_mapped_frames());
        Ok(())
    }

    /// Unmaps what is mapped of `count` pages from number `first` on. Hands the frames that are nobody's now
    /// to `f`, and adds the number of pages to `unmapped`.
    ///
    /// # Errors
    /// If a 2 MiB page lies only partly in the range and there is no memory to split it; what came before is
    /// unmapped.
    pub(crate) fn unmap(
        &mut self,
        first: usize,
        count: usize,
        unmapped: &mut usize,
        mut f: impl FnMut(AllocatedFrames),
    ) -> Result<(), &'static str> {
        let (mut at, end) = (first, first + count);
        while at < end {
            let mut batch = Batch::new();
            let result = self.lock().unmap_some(at, end, &mut batch);
            let next = result.unwrap_or(end);
            *unmapped += batch.changed;
            if batch.needs_flush() {
                tlb::flush(&range(at, next - at));
            }
            batch.release(&mut f);
            result?;
            at = next;
        }
        Ok(())
    }

    /// Gives `count` pages from number `first` on other flags; all are mapped.
    ///
    /// # Errors
    /// If one is not mapped (then nothing changes), or if a 2 MiB page lies only partly in the range and
    /// there is no memory to split it.
    pub(crate) fn protect(
        &mut self,
        first: usize,
        count: usize,
        flags: PteFlagsArch,
    ) -> Result<(), &'static str> {
        let end = first + count;
        let mut at = first;
        while at < end {
            at = self.lock().check_mapped(at, end)?;
        }
        at = first;
        while at < end {
            let result = self.lock().protect_some(at, end, flags);
            // Also after an error: a part has changed.
            tlb::flush(&range(at, result.unwrap_or(end) - at));
            at = result?;
        }
        Ok(())
    }

    /// Maps RAM (its frames being `start..end`) at `base` plus its physical address, with the largest pages
    /// there are.
    ///
    /// # Errors
    /// If there is no memory for a page table.
    pub(crate) fn map_physical(
        &mut self,
        base: usize,
        start: usize,
        end: usize,
        use_1g: bool,
    ) -> Result<(), &'static str> {
        let base = base >> kernel_config::memory::PAGE_SHIFT;
        let flags = PteFlagsArch::new().valid(true).writable(true).dirty(true);
        let mut at = start & !(span(2) - 1);
        while at < end {
            let level = if use_1g && at.is_multiple_of(span(3)) && end - at >= span(3) { 3 } else { 2 };
            let result = self.lock().map_huge(base + at, at, level, flags);
            match result {
                Ok(()) => at += span(level),
                // Ranges may share their first or last 2 MiB, and so the table for the GiB around those.
                Err(MapError::AlreadyMapped) if level == 3 => {
                    self.map_physical(base << kernel_config::memory::PAGE_SHIFT, at, at + span(3), false)?;
                    at += span(3);
                }
                Err(MapError::AlreadyMapped) => at += span(level),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

/// A set of page tables: an address space. There is one, which all tasks share.
pub struct PageTable {
    mapper: Mapper,
}

impl PageTable {
    /// For the top-level page table in `p4`.
    pub(crate) fn of(p4: Frame) -> Self {
        Self { mapper: Mapper::of(p4) }
    }

    /// Where the top-level page table is: what other processors load into CR3.
    pub fn physical_address(&self) -> PhysicalAddress {
        self.mapper.p4().start_address()
    }
}

impl Deref for PageTable {
    type Target = Mapper;
    fn deref(&self) -> &Mapper {
        &self.mapper
    }
}

impl DerefMut for PageTable {
    fn deref_mut(&mut self) -> &mut Mapper {
        &mut self.mapper
    }
}

impl fmt::Debug for PageTable {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "PageTable({})", self.physical_address())
    }
}

/// The frame of the top-level page table that this processor uses.
pub fn get_current_p4() -> Frame {
    arch::current_p4()
}
