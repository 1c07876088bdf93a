//! Who owns which range of virtual addresses.
//!
//! [`AllocatedPages`] is ownership of a range of pages: *holding one proves* that nobody else holds a page of
//! it. It says nothing about what, if anything, is mapped there; that is `MappedPages` in crate `memory`.
//!
//! The address space has three areas, of which only the first serves requests that do not say where:
//! * *general* pages, from 1 MiB to the end of the lower half;
//! * the *heap's* range, which crate `heap` asks for;
//! * the *crate window*, the top 2 GiB: whoever loads code asks for pages in it by
//!   [`allocate_pages_in_range`].
//!
//! What is free is kept in one search tree per area ([`FreeRanges`]), ordered by address, each node knowing
//! the longest free range below it: every operation takes logarithmic time, and adjacent free ranges are
//! always joined. The nodes come from single frames, which a callback supplies, so that nothing here depends
//! on the heap.
#![cfg_attr(not(test), no_std)]

mod free_ranges;
mod pages;
#[cfg(test)]
mod tests;

pub use free_ranges::{FreeRanges, Node, NodeSupply};
pub use pages::AllocatedPages;

use core::fmt;
use core::marker::PhantomData;
use kernel_config::memory::{
    CRATE_WINDOW_LAST, CRATE_WINDOW_START, GENERAL_PAGES_END, GENERAL_PAGES_START, KERNEL_HEAP_MAX_SIZE,
    KERNEL_HEAP_START, PAGE_SHIFT, PAGE_SIZE,
};
use memory_structs::{Page, PageRange, VirtualAddress};
use sync_irq::IrqSafeMutex;

/// The areas, as numbers of their first page and of the page after their last.
const AREAS: [(usize, usize); 3] = [
    (GENERAL_PAGES_START >> PAGE_SHIFT, GENERAL_PAGES_END >> PAGE_SHIFT),
    (KERNEL_HEAP_START >> PAGE_SHIFT, (KERNEL_HEAP_START + KERNEL_HEAP_MAX_SIZE) >> PAGE_SHIFT),
    (CRATE_WINDOW_START >> PAGE_SHIFT, (CRATE_WINDOW_LAST >> PAGE_SHIFT) + 1),
];

struct Allocator {
    areas: [FreeRanges; AREAS.len()],
    initialised: bool,
}

static ALLOCATOR: IrqSafeMutex<Allocator> =
    IrqSafeMutex::new(Allocator { areas: [const { FreeRanges::new() }; AREAS.len()], initialised: false });

/// Where the requested pages should be.
#[derive(Debug, Clone, Copy)]
pub enum AllocationRequest<'r> {
    /// From the page on that holds this address.
    AtVirtualAddress(VirtualAddress),
    /// Anywhere among the general pages, the first page's number being a multiple of this (a number of 4 KiB
    /// pages).
    AlignedTo {
        /// The alignment, in 4 KiB pages.
        alignment_4k_pages: usize,
    },
    /// All within this range, which lies in one of the areas.
    WithinRange(&'r PageRange),
    /// Anywhere among the general pages.
    Any,
}

/// What went wrong, for people.
const UNINITIALISED: &str = "page_allocator: not initialised";
const EXHAUSTED: &str = "out of virtual address space: no such run of free pages where they were wanted; end a program that uses some";
const IN_USE: &str =
    "page_allocator: a requested page is in use, or in no range that pages are handed out from";
const NO_PAGES: &str = "page_allocator: asked for no pages, or for more than there are addresses";
const NO_NODES: &str = "out of memory: no frame for the page allocator's own books";

/// Makes all pages of the three areas available, except those below `end_vaddr_of_low_designated_region`.
///
/// `supply` gives a frame for the books whenever those need one; it is called with the allocator's lock held
/// and interrupts off, so it must neither use the heap nor allocate pages.
///
/// # Errors
/// If it was called before, or if `supply` gives nothing.
pub fn init(
    end_vaddr_of_low_designated_region: VirtualAddress,
    supply: fn() -> Option<&'static mut NodeSupply>,
) -> Result<(), &'static str> {
    let low_end = end_vaddr_of_low_designated_region.value().div_ceil(PAGE_SIZE);
    let mut allocator = ALLOCATOR.lock();
    if allocator.initialised {
        return Err("page_allocator: already initialised");
    }
    for (area, (start, end)) in allocator.areas.iter_mut().zip(AREAS) {
        area.set_supply(supply);
        if !area.insert(start.max(low_end.min(end)), end) {
            return Err(NO_NODES);
        }
    }
    allocator.initialised = true;
    Ok(())
}

impl Allocator {
    /// The area that all of `start..end` lies in.
    fn area_of(&mut self, start: usize, end: usize) -> Option<&mut FreeRanges> {
        let index = AREAS.iter().position(|&(low, high)| low <= start && end <= high)?;
        Some(&mut self.areas[index])
    }

    /// Number of the first page of `count` pages that satisfy the request; they are no longer free.
    fn take(&mut self, request: AllocationRequest, count: usize) -> Result<usize, &'static str> {
        if !self.initialised {
            return Err(UNINITIALISED);
        }
        if count == 0 || count > 1 << 52 {
            return Err(NO_PAGES);
        }
        if let AllocationRequest::AtVirtualAddress(vaddr) = request {
            let start = vaddr.value() >> PAGE_SHIFT;
            let area = self.area_of(start, start + count).ok_or(IN_USE)?;
            return if !area.contains(start, start + count) {
                Err(IN_USE)
            } else if area.take_at(start, count) {
                Ok(start)
            } else {
                Err(NO_NODES)
            };
        }
        let general = page_range(AREAS[0].0, AREAS[0].1 - AREAS[0].0);
        match request {
            AllocationRequest::WithinRange(range) => self.take_in_range(count, 1, range),
            AllocationRequest::AlignedTo { alignment_4k_pages } => {
                self.take_in_range(count, alignment_4k_pages.max(1), &general)
            }
            _ => self.take_in_range(count, 1, &general),
        }
    }

    /// Number of the first page of `count` pages in `range`; they are no longer free.
    fn take_in_range(
        &mut self,
        count: usize,
        alignment: usize,
        range: &PageRange,
    ) -> Result<usize, &'static str> {
        if !self.initialised {
            return Err(UNINITIALISED);
        }
        if count == 0 || count > 1 << 52 {
            return Err(NO_PAGES);
        }
        if range.is_empty() {
            return Err(EXHAUSTED);
        }
        // A range may reach beyond the area (upstream's callers do so with the window): what counts is the
        // common part.
        let (low, high) = (range.start().number(), range.end().number() + 1);
        let index = AREAS.iter().position(|&(start, end)| start < high && low < end).ok_or(EXHAUSTED)?;
        let (low, high) = (low.max(AREAS[index].0), high.min(AREAS[index].1));
        let area = &mut self.areas[index];
        let start = area.find(count, alignment, low, high).ok_or(EXHAUSTED)?;
        if area.take_at(start, count) { Ok(start) } else { Err(NO_NODES) }
    }
}

fn allocate(request: AllocationRequest, count: usize) -> Result<AllocatedPages, &'static str> {
    let start = ALLOCATOR.lock().take(request, count)?;
    Ok(pages::allocated(page_range(start, count)))
}

fn page_range(start: usize, count: usize) -> PageRange {
    PageRange::from_start_and_count(
        Page::containing_address(VirtualAddress::new_canonical(start << PAGE_SHIFT)),
        count,
    )
}

/// Gives pages back; what dropping [`AllocatedPages`] comes down to.
fn release(range: &PageRange) {
    if range.is_empty() {
        return;
    }
    let (start, end) = (range.start().number(), range.end().number() + 1);
    if let Some(area) = ALLOCATOR.lock().area_of(start, end) {
        // Without a node the pages stay taken. Allocations stop while there are still some in reserve (see
        // `take_at`), so that it takes an owner cutting a range into very many pieces while there is no
        // memory left at all; what is lost then is address space, never a frame.
        let _ = area.insert(start, end);
    }
}

/// `num_pages` adjacent general pages; `None` if there is no such run, or if `num_pages` is 0.
pub fn allocate_pages(num_pages: usize) -> Option<AllocatedPages> {
    allocate(AllocationRequest::Any, num_pages).ok()
}

/// As many adjacent general pages as `num_bytes` bytes need.
pub fn allocate_pages_by_bytes(num_bytes: usize) -> Option<AllocatedPages> {
    allocate_pages(num_bytes.div_ceil(PAGE_SIZE))
}

/// `num_pages` general pages, the number of the first one a multiple of `alignment_4k_pages`.
///
/// # Errors
/// If there is no such run of free pages, or if `num_pages` is 0.
pub fn allocate_pages_aligned(
    num_pages: usize,
    alignment_4k_pages: usize,
) -> Result<AllocatedPages, &'static str> {
    allocate(AllocationRequest::AlignedTo { alignment_4k_pages }, num_pages)
}

/// The `num_pages` pages from the one that holds `vaddr` on.
///
/// # Errors
/// If one of them is in use or in no area, or if `num_pages` is 0.
pub fn allocate_pages_at(vaddr: VirtualAddress, num_pages: usize) -> Result<AllocatedPages, &'static str> {
    allocate(AllocationRequest::AtVirtualAddress(vaddr), num_pages)
}

/// The pages that the `num_bytes` bytes from `vaddr` on lie in.
///
/// # Errors
/// As for [`allocate_pages_at`].
pub fn allocate_pages_by_bytes_at(
    vaddr: VirtualAddress,
    num_bytes: usize,
) -> Result<AllocatedPages, &'static str> {
    let span = num_bytes.checked_add(vaddr.page_offset()).ok_or(NO_PAGES)?;
    allocate_pages_at(vaddr, span.div_ceil(PAGE_SIZE))
}

/// `num_pages` adjacent pages within `range`.
///
/// # Errors
/// If there is no such run of free pages, or if `num_pages` is 0.
pub fn allocate_pages_in_range(num_pages: usize, range: &PageRange) -> Result<AllocatedPages, &'static str> {
    allocate(AllocationRequest::WithinRange(range), num_pages)
}

/// `num_pages` adjacent pages within `range`, the number of the first one a multiple of `alignment_4k_pages`.
///
/// # Errors
/// As for [`allocate_pages_in_range`].
pub fn allocate_pages_in_range_aligned(
    num_pages: usize,
    alignment_4k_pages: usize,
    range: &PageRange,
) -> Result<AllocatedPages, &'static str> {
    let start = ALLOCATOR.lock().take_in_range(num_pages, alignment_4k_pages.max(1), range)?;
    Ok(pages::allocated(page_range(start, num_pages)))
}

/// As many adjacent pages within `range` as `num_bytes` bytes need.
///
/// # Errors
/// As for [`allocate_pages_in_range`].
pub fn allocate_pages_by_bytes_in_range(
    num_bytes: usize,
    range: &PageRange,
) -> Result<AllocatedPages, &'static str> {
    allocate_pages_in_range(num_bytes.div_ceil(PAGE_SIZE), range)
}

/// What is left to do after an allocation, done when the value is dropped.
///
/// It lets a caller release locks before bookkeeping that may need the heap. These books never do, so that
/// nothing is ever left; the type remains for those who are written to it.
#[derive(Debug)]
#[must_use = "dropping it performs what was deferred"]
pub struct DeferredAllocAction<'list>(PhantomData<&'list ()>);

/// `num_pages` pages that satisfy `request`, and what is left to do.
///
/// # Errors
/// If there is no such run of free pages, or if `num_pages` is 0.
pub fn allocate_pages_deferred(
    request: AllocationRequest,
    num_pages: usize,
) -> Result<(AllocatedPages, DeferredAllocAction<'static>), &'static str> {
    Ok((allocate(request, num_pages)?, DeferredAllocAction(PhantomData)))
}

/// Like [`allocate_pages_deferred`], for the pages that a number of bytes needs.
///
/// # Errors
/// As for [`allocate_pages_deferred`].
pub fn allocate_pages_by_bytes_deferred(
    request: AllocationRequest,
    num_bytes: usize,
) -> Result<(AllocatedPages, DeferredAllocAction<'static>), &'static str> {
    let offset = match request {
        AllocationRequest::AtVirtualAddress(vaddr) => vaddr.page_offset(),
        _ => 0,
    };
    let span = num_bytes.checked_add(offset).ok_or(NO_PAGES)?;
    allocate_pages_deferred(request, span.div_ceil(PAGE_SIZE))
}

/// How many pages are free in one area, and in how many pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AreaStatistics {
    /// What the area is for.
    pub name: &'static str,
    /// Pages that nobody owns.
    pub free: usize,
    /// All its pages.
    pub total: usize,
    /// Separate ranges of free pages.
    pub chunks: usize,
}

/// Counts the pages of each area, without walking over them.
pub fn statistics() -> [AreaStatistics; 3] {
    let allocator = ALLOCATOR.lock();
    const NAMES: [&str; AREAS.len()] = ["general", "heap", "crate window"];
    core::array::from_fn(|index| {
        let (area, (start, end)) = (&allocator.areas[index], AREAS[index]);
        AreaStatistics { name: NAMES[index], free: area.free(), total: end - start, chunks: area.chunks() }
    })
}

/// The allocator's state for a person to read: counts and ranges of free pages.
///
/// Written through `out`, since this crate is below the one that could print.
///
/// # Errors
/// What `out` returns.
pub fn dump_page_allocator_state(out: &mut dyn fmt::Write) -> fmt::Result {
    for (index, AreaStatistics { name, free, total, chunks }) in statistics().into_iter().enumerate() {
        writeln!(out, "{name}: {free} of {total} pages free, in {chunks} ranges")?;
        let mut from = 0;
        // One lock per range, so that interrupts are not off while a slow console writes.
        while let Some((start, end)) = { ALLOCATOR.lock().areas[index].next(from) } {
            writeln!(out, "  free: {:?}", page_range(start, end - start))?;
            from = end;
        }
    }
    Ok(())
}
