//! Page tables, and [`MappedPages`]: ownership of a mapping, the only way to one.
//!
//! ```text
//!   AllocatedPages ──┐  Mapper::map_allocated_pages       ┌─> MappedPages: all mapped, one set of flags
//!   AllocatedFrames ─┴─ Mapper::map_allocated_pages_to ───┘         │ From
//!   AllocatedPages ──── ReservedPages::new ───────────────────> ReservedPages: commit, decommit, protect
//! ```
//!
//! # Invariants
//! * Who has a [`MappedPages`] or [`ReservedPages`] has the only one for those pages. Dropping it unmaps
//!   them, makes all processors forget the translations, and only then gives the frames back.
//! * A frame of usable RAM is filled with zeroes before it can be seen through a mapping.
//! * No mapping is both writable and executable. Asking for one is an error.
//! * Page 0, and all of the first MiB, is never mapped: the page allocator does not hand it out.
//! * While pages are mapped, an entry with the `EXCLUSIVE` bit stands for the ownership of its frame: the
//!   frame's own value is forgotten, and made anew when the entry is cleared.
//! * Page tables that become empty are given back.
//! * Frames are taken with the claim of the current task ([`Claim`]), so that guests leave the reserve to others.
//!
//! Page tables are edited through the physical map at `PHYS_MAP_BASE`, not by recursive mapping: no address
//! space and no TLB entries are spent on them, and other processors' tables are as easily reached. Nothing
//! here uses the heap, which is built on this crate, except [`init_post_heap`].
#![cfg_attr(not(test), no_std)]

extern crate alloc;

mod arch;
mod boot;
mod borrowed;
mod mapped_pages;
mod mapper;
mod reserved_pages;
mod tables;
#[cfg(test)]
mod tests;
mod tlb;

pub use boot::{InitialLayout, InitialMemoryMappings, init};
pub use borrowed::{BorrowedMappedPages, BorrowedSliceMappedPages, Immutable, Mutability, Mutable};
pub use frame_allocator::{
    AllocatedFrame, AllocatedFrames, Claim, FrameStatistics, FramesIteratorRequest, FreeFrames, MappedFrames,
    MemoryRegionType, PhysicalMemoryRegion, UnmappedFrames, allocate_frames, allocate_frames_aligned,
    allocate_frames_at, allocate_frames_by_bytes, allocate_frames_by_bytes_at,
    allocate_frames_by_bytes_deferred, allocate_frames_deferred, allocate_frames_up_to, claim,
    dump_frame_allocator_state, inspect_then_allocate_free_frames, set_claim, with_claim,
};
pub use kernel_config::memory::PAGE_SIZE;
pub use mapped_pages::MappedPages;
pub use mapper::{Mapper, PageTable, get_current_p4};
pub use memory_structs::*;
pub use page_allocator::{
    AllocatedPages, AllocationRequest, allocate_pages, allocate_pages_aligned, allocate_pages_at,
    allocate_pages_by_bytes, allocate_pages_by_bytes_at, allocate_pages_by_bytes_deferred,
    allocate_pages_by_bytes_in_range, allocate_pages_deferred, allocate_pages_in_range,
    allocate_pages_in_range_aligned, dump_page_allocator_state,
};
pub use page_table_entry::PageTableEntry;
pub use pte_flags::{PteFlags, PteFlagsArch};
pub use reserved_pages::ReservedPages;
pub use tables::page_tables;
pub use tlb::{flush_all_translations, flush_translations, set_broadcast_tlb_shootdown_cb};

use alloc::sync::Arc;
use alloc::vec::Vec;
use spin::Once;
use sync_irq::IrqSafeMutex;

/// Flags for the registers of a device: writable and not cached.
pub const MMIO_FLAGS: PteFlags = PteFlags::new().valid(true).writable(true).device_memory(true);
/// Flags for memory that a device reads and writes. On x86_64 devices see what is in the caches.
pub const DMA_FLAGS: PteFlags = PteFlags::new().valid(true).writable(true);

/// A shared reference to a [`MemoryManagementInfo`].
pub type MmiRef = Arc<IrqSafeMutex<MemoryManagementInfo>>;

/// What an address space consists of.
#[derive(Debug)]
pub struct MemoryManagementInfo {
    /// Its page tables.
    pub page_table: PageTable,
    /// Mappings that nobody else owns.
    pub extra_mapped_pages: Vec<MappedPages>,
}

static KERNEL_MMI: Once<MmiRef> = Once::new();

/// The one address space, once [`init_post_heap`] has run.
pub fn get_kernel_mmi_ref() -> Option<&'static MmiRef> {
    KERNEL_MMI.get()
}

/// Makes the kernel's [`MemoryManagementInfo`] out of what [`init`] returned. To be called once, when the
/// heap works; later calls return the first one's.
pub fn init_post_heap(page_table: PageTable, additional_mapped_pages: Vec<MappedPages>) -> MmiRef {
    KERNEL_MMI
        .call_once(|| {
            let extra_mapped_pages = additional_mapped_pages;
            Arc::new(IrqSafeMutex::new(MemoryManagementInfo { page_table, extra_mapped_pages }))
        })
        .clone()
}

/// The physical address that a virtual one is mapped to, if it is.
pub fn translate(virtual_address: VirtualAddress) -> Option<PhysicalAddress> {
    Mapper::current().translate(virtual_address)
}

const NO_PAGES: &str =
    "out of virtual address space: there is no such run of free pages; end a program that uses some";

/// A new mapping of at least `size_in_bytes` bytes of zeroes, anywhere.
///
/// # Errors
/// If the flags are both writable and executable, if there is not enough memory or address space, or if the
/// size is 0.
pub fn create_mapping<F: Into<PteFlagsArch>>(
    size_in_bytes: usize,
    flags: F,
) -> Result<MappedPages, &'static str> {
    let pages = allocate_pages_by_bytes(size_in_bytes).ok_or(NO_PAGES)?;
    Mapper::current().map_allocated_pages(pages, flags)
}

/// Like [`create_mapping`], with frames that are adjacent; also returns the physical address of the first
/// one.
///
/// # Errors
/// As for [`create_mapping`].
pub fn create_contiguous_mapping<F: Into<PteFlagsArch>>(
    size_in_bytes: usize,
    flags: F,
) -> Result<(MappedPages, PhysicalAddress), &'static str> {
    let pages = allocate_pages_by_bytes(size_in_bytes).ok_or(NO_PAGES)?;
    let frames = allocate_frames_by_bytes(size_in_bytes)
        .ok_or("out of physical memory: there is no such run of adjacent free frames")?;
    let start = frames.start_address();
    Ok((Mapper::current().map_allocated_pages_to(pages, frames, flags)?, start))
}

/// Maps the frames that the `size_in_bytes` bytes from `start_address` on lie in: a device, a firmware table,
/// a boot module.
///
/// The mapping begins at a page: the byte at `start_address` is at offset `start_address.frame_offset()`.
///
/// # Errors
/// If one of the frames is owned by somebody, and as for [`create_mapping`].
pub fn map_frame_range<F: Into<PteFlagsArch>>(
    start_address: PhysicalAddress,
    size_in_bytes: usize,
    flags: F,
) -> Result<MappedPages, &'static str> {
    let frames = allocate_frames_by_bytes_at(start_address, size_in_bytes)?;
    let pages = allocate_pages(frames.size_in_frames()).ok_or(NO_PAGES)?;
    Mapper::current().map_allocated_pages_to(pages, frames, flags)
}

/// Reserves address space for at least `size_in_bytes` bytes, beginning at a 2 MiB boundary if it is that
/// large, so that 2 MiB pages can back what is committed.
///
/// # Errors
/// If there is no such run of free pages, or if the size is 0.
pub fn reserve_pages(size_in_bytes: usize) -> Result<ReservedPages, &'static str> {
    const LARGE: usize = Page2M::SIZE_IN_BYTES;
    let alignment = if size_in_bytes >= LARGE { LARGE / PAGE_SIZE } else { 1 };
    allocate_pages_aligned(size_in_bytes.div_ceil(PAGE_SIZE), alignment).map(ReservedPages::new)
}
