//! From the boot page tables to the final ones.

use crate::arch;
use crate::mapped_pages::MappedPages;
use crate::mapper::{Mapper, PageTable, checked};
use crate::tables::{INTO_UNMAPPED_FRAMES, new_table};
use core::ops::Range;
use frame_allocator::{MemoryRegionType, PhysicalMemoryRegion, allocate_frames_by_bytes_at};
use kernel_config::memory::{
    GENERAL_PAGES_START, KERNEL_OFFSET, PAGE_SHIFT, PAGE_SIZE, PHYS_MAP_BASE, PHYS_MAP_MAX_SIZE,
};
use memory_structs::{Frame, FrameRange, PhysicalAddress, VirtualAddress};
use no_drop::NoDrop;
use page_allocator::{AllocatedPages, NodeSupply, allocate_pages_by_bytes_at};
use pte_flags::PteFlagsArch;

/// What [`init`] must know: where RAM is, what is in use, and how the base image is laid out. Ranges are of
/// bytes.
///
/// The base image is linked `KERNEL_OFFSET` above where it is loaded. Each of its virtual ranges begins at a
/// page, its end is rounded up to one, and no two share a page.
#[derive(Debug, Clone)]
pub struct InitialLayout<'a> {
    /// Usable RAM, physical. May overlap with what is reserved.
    pub usable_ram: &'a [Range<usize>],
    /// RAM that is in use or not to be used, physical: the boot archive, firmware tables, the base image,
    /// boot page tables. It is in the physical map, so no device may be in it.
    pub reserved: &'a [Range<usize>],
    /// Code, virtual: to be executable and not writable.
    pub text: Range<usize>,
    /// Constants, unwind tables and the initial image of thread-locals, virtual: to be only readable.
    pub rodata: Range<usize>,
    /// Variables, virtual: to be writable and not executable.
    pub data: Range<usize>,
    /// The page right below the stack in use, virtual: to be unmapped.
    pub stack_guard: Range<usize>,
    /// The stack in use, virtual; not within `data`.
    pub stack: Range<usize>,
}

/// The mappings that [`init`] has made, to be kept for ever.
#[derive(Debug)]
pub struct InitialMemoryMappings {
    /// The page tables now in use.
    pub page_table: PageTable,
    /// The base image's code.
    pub text: NoDrop<MappedPages>,
    /// The base image's constants.
    pub rodata: NoDrop<MappedPages>,
    /// The base image's variables.
    pub data: NoDrop<MappedPages>,
    /// The unmapped page below the stack.
    pub stack_guard: AllocatedPages,
    /// The stack that the boot processor started with.
    pub stack: NoDrop<MappedPages>,
}

fn frames_of(range: &Range<usize>) -> FrameRange {
    let start = PhysicalAddress::new_canonical(range.start);
    FrameRange::from_phys_addr(start, range.end.saturating_sub(range.start))
}

/// Usable RAM is rounded inwards: a frame that is only partly RAM is no frame.
fn usable_frames_of(range: &Range<usize>) -> FrameRange {
    let start = range.start.next_multiple_of(PAGE_SIZE);
    let end = range.end & !(PAGE_SIZE - 1);
    frames_of(&(start..end))
}

/// Memory for the page allocator's books: a frame, seen through the physical map, given away for good.
fn page_allocator_books() -> Option<&'static mut NodeSupply> {
    const { assert!(size_of::<NodeSupply>() <= PAGE_SIZE) };
    let frames = frame_allocator::allocate_frames(1)?;
    let supply = arch::phys_to_virt(frames.start_address()).cast::<NodeSupply>();
    core::mem::forget(frames.into_mapped_frames());
    // SAFETY: a whole frame of RAM, that no value owns any more, is in the physical map and aligned to more
    // than a node needs; it is initialised before a reference is made.
    unsafe {
        supply.write(NodeSupply::new());
        Some(&mut *supply)
    }
}

/// Maps a range of the base image to where it was loaded.
fn map_image(
    mapper: &mut Mapper,
    range: &Range<usize>,
    flags: PteFlagsArch,
) -> Result<NoDrop<MappedPages>, &'static str> {
    let flags = checked(flags, true)?;
    let pages = allocate_image(range)?;
    let load_address =
        range.start.checked_sub(KERNEL_OFFSET).ok_or("memory: the base image is not where it should be")?;
    let frames =
        allocate_frames_by_bytes_at(PhysicalAddress::new_canonical(load_address), range.end - range.start)?;
    if frame_allocator::is_general(&frames) {
        return Err("memory: the base image lies in memory that is not reserved");
    }
    mapper.map_owned(&pages, frames, flags)?;
    Ok(NoDrop::new(MappedPages::new(mapper.p4(), pages, flags)))
}

fn allocate_image(range: &Range<usize>) -> Result<AllocatedPages, &'static str> {
    if range.is_empty() || !range.start.is_multiple_of(PAGE_SIZE) {
        return Err("memory: a range of the base image is empty or does not begin at a page");
    }
    allocate_pages_by_bytes_at(VirtualAddress::new_canonical(range.start), range.end - range.start)
}

/// Starts the frame and page allocators, builds the final page tables, and switches to them.
///
/// To be called once, on the boot page tables, which map the first 4 GiB at `PHYS_MAP_BASE` and the base
/// image where it is linked. Afterwards the physical map covers all RAM, the base image is mapped as `layout`
/// says, with its stack and an unmapped page beneath, and nothing else is mapped: the identity map is gone.
/// EFER.NXE and CR0.WP are set.
///
/// # Errors
/// If the layout contradicts itself, or if there is not enough memory below 4 GiB. The boot page tables are
/// then still in use.
pub fn init(layout: &InitialLayout) -> Result<InitialMemoryMappings, &'static str> {
    let free = layout
        .usable_ram
        .iter()
        .map(|r| PhysicalMemoryRegion::new(usable_frames_of(r), MemoryRegionType::Free));
    let reserved =
        layout.reserved.iter().map(|r| PhysicalMemoryRegion::new(frames_of(r), MemoryRegionType::Reserved));
    let into_unmapped = frame_allocator::init(free, reserved)?;
    INTO_UNMAPPED_FRAMES.call_once(|| into_unmapped);
    page_allocator::init(VirtualAddress::new_canonical(GENERAL_PAGES_START), page_allocator_books)?;
    arch::enable_protection();

    let p4: Frame = new_table(frame_allocator::Claim::Kernel)?;
    let mut page_table = PageTable::of(p4);
    let mapper = &mut *page_table;
    let use_1g = arch::has_1g_pages();
    for range in layout.usable_ram.iter().chain(layout.reserved) {
        let end = range.end.min(PHYS_MAP_MAX_SIZE).div_ceil(PAGE_SIZE);
        mapper.map_physical(PHYS_MAP_BASE, range.start >> PAGE_SHIFT, end, use_1g)?;
    }

    let readable = PteFlagsArch::new();
    let text = map_image(mapper, &layout.text, readable.executable(true))?;
    let rodata = map_image(mapper, &layout.rodata, readable)?;
    let data = map_image(mapper, &layout.data, readable.writable(true))?;
    let stack_guard = allocate_image(&layout.stack_guard)?;
    let stack = map_image(mapper, &layout.stack, readable.writable(true))?;
    // SAFETY: code, constants, variables and the stack in use are mapped as before, and the physical map
    // covers all page tables. Nothing else is in use: `layout` is borrowed, and whoever borrowed it from
    // outside the image (the boot loader's structures) was asked not to, see `InitialLayout`.
    unsafe { arch::set_p4(p4) };
    Ok(InitialMemoryMappings { page_table, text, rodata, data, stack_guard, stack })
}
