//! Who owns which physical frame.
//!
//! [`Frames`] is ownership of a range of frames, with their [`MemoryState`](memory_structs::MemoryState) in
//! the type: a transition consumes the value, so that a frame cannot be in two states, or have two owners, at
//! once.
//!
//! ```text
//!  (allocator) ──> FreeFrames ──> AllocatedFrames ──> MappedFrames
//!       ^               drop │        drop │   ^            │ forgotten: a page table entry stands for it
//!       └────────────────────┴─────────────┘   └── UnmappedFrames <── the entry is cleared
//! ```
//!
//! *Holding an [`AllocatedFrames`] proves* that nobody else owns those frames and that no exclusive mapping
//! of them exists. It does not prove that their contents are zero, nor that they can be reached through a
//! pointer.
//!
//! There are two sorts of frames. *General* ones are usable RAM and can be asked for without saying which; a
//! bitmap with a summary says which are free. All others (devices, firmware tables, the kernel image, the
//! first MiB) are *reserved*: handed out only by address, and again only after they were dropped; a short
//! list says which are out.
//!
//! The last general frames, the *reserve*, are left to whom the [`Claim`] of the task that asks is high enough. That is
//! looked at under the lock that is taken anyway, so it is exact whoever else allocates at the same time, and costs a comparison.
//! Frames that are asked for by address are given whatever the claim.
//!
//! Nothing here allocates from the heap: the heap itself stands on this crate. It relies on [`PHYS_MAP_BASE`]
//! mapping the memory below 4 GiB when [`init`] is called, since the bitmaps are placed there.
//!
//! [`PHYS_MAP_BASE`]: kernel_config::PHYS_MAP_BASE
#![cfg_attr(not(test), no_std)]
#![feature(adt_const_params, thread_local)]

#[cfg(not(target_os = "theseus"))]
extern crate alloc;

mod allocator;
mod bitmap;
mod claim;
mod frames;
mod reserved;
#[cfg(test)]
mod tests;

pub use claim::{Claim, claim, set_claim, with_claim};
pub use frames::{
    AllocatedFrame, AllocatedFrames, Frames, FreeFrames, MappedFrames, SplitFrames, UnmappedFrames,
};

use allocator::Allocator;
use core::borrow::Borrow;
use core::fmt;
use core::marker::PhantomData;
use kernel_config::memory::PAGE_SIZE;
use memory_structs::{Frame, FrameRange, Page4K, PhysicalAddress};
use sync_irq::IrqSafeMutex;

static ALLOCATOR: IrqSafeMutex<Allocator> = IrqSafeMutex::new(Allocator::new());

/// What a region of physical memory can be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemoryRegionType {
    /// RAM that may be handed out to anyone.
    Free,
    /// In use by something else, or no RAM: handed out only to who asks for exactly this.
    Reserved,
    /// Nothing is known about it; treated like [`MemoryRegionType::Reserved`].
    Unknown,
}

/// A range of physical memory and what it can be used for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PhysicalMemoryRegion {
    /// The range.
    pub frames: FrameRange,
    /// Its use.
    pub typ: MemoryRegionType,
}

impl PhysicalMemoryRegion {
    /// The region with these fields.
    pub const fn new(frames: FrameRange, typ: MemoryRegionType) -> Self {
        Self { frames, typ }
    }
}

/// Tells the allocator which RAM there is; to be called once.
///
/// Frames in a `free_regions` region (of type [`MemoryRegionType::Free`]) that are in no `reserved_regions`
/// region become general. Regions may overlap. Frames below 1 MiB stay reserved whatever is said of them.
///
/// Returned is the only function that makes [`UnmappedFrames`] of a bare range. It is meant for the crate
/// that clears page table entries, and for no other.
///
/// # Errors
/// If it was called before, if there is no free region, or if none below 4 GiB has room for the bitmaps.
pub fn init<F, R, P>(
    free_regions: F,
    reserved_regions: R,
) -> Result<fn(FrameRange) -> UnmappedFrames, &'static str>
where
    P: Borrow<PhysicalMemoryRegion>,
    F: IntoIterator<Item = P> + Clone,
    R: IntoIterator<Item = P> + Clone,
{
    let free = || {
        let regions = free_regions.clone().into_iter();
        regions
            .filter(|r| r.borrow().typ == MemoryRegionType::Free)
            .map(|r| allocator::bounds(&r.borrow().frames))
    };
    let reserved = || reserved_regions.clone().into_iter().map(|r| allocator::bounds(&r.borrow().frames));
    ALLOCATOR.lock().init(free, reserved)?;
    Ok(frames::into_unmapped_frames)
}

/// How many frames there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameStatistics {
    /// General frames that nobody owns.
    pub free: usize,
    /// All general frames: usable RAM without what was reserved from the start.
    pub total: usize,
    /// General frames that only [`Claim::Kernel`] gets all of; see there. Part of what is free, if that is as many.
    pub reserve: usize,
    /// Reserved frames that someone asked for and holds.
    pub reserved_in_use: usize,
}

/// Counts frames, without walking over them.
pub fn statistics() -> FrameStatistics {
    ALLOCATOR.lock().statistics()
}

/// How many general frames nobody owns at this moment, the reserve included.
pub fn free_frames() -> usize {
    ALLOCATOR.lock().available(Claim::Kernel)
}

/// How many general frames the current task could have at this moment.
pub fn available_frames() -> usize {
    let claim = claim();
    ALLOCATOR.lock().available(claim)
}

/// Whether all of these frames are usable RAM that anyone may get, now or later. False for an empty range.
///
/// Such frames hold what their last owner left in them, and no device or firmware: they may and should be
/// zeroed.
pub fn is_general(frames: &FrameRange) -> bool {
    let (start, end) = allocator::bounds(frames);
    start < end && ALLOCATOR.lock().is_general(start, end)
}

fn own(start_and_count: (usize, usize)) -> AllocatedFrames<Page4K> {
    frames::allocated(allocator::range(start_and_count))
}

/// `num_frames` adjacent frames, or `None` if there is no such run, if the task's claim does not reach so far, or if
/// `num_frames` is 0.
pub fn allocate_frames(num_frames: usize) -> Option<AllocatedFrames<Page4K>> {
    allocate_frames_aligned(num_frames, 1)
}

/// `num_frames` adjacent frames, the first one's number a multiple of `alignment` (in frames; a power of
/// two).
///
/// `None` as for [`allocate_frames`].
pub fn allocate_frames_aligned(num_frames: usize, alignment: usize) -> Option<AllocatedFrames<Page4K>> {
    let claim = claim();
    let start = ALLOCATOR.lock().take_run(num_frames, alignment, claim)?;
    Some(own((start, num_frames)))
}

/// At least one and at most `max_frames` adjacent frames: whatever is found first. `None` if no frame is
/// free, or only such as the task's claim does not reach.
///
/// This is what to fill a large mapping with: it costs one search for many frames, and never fails for want
/// of *adjacent* ones.
pub fn allocate_frames_up_to(max_frames: usize) -> Option<AllocatedFrames<Page4K>> {
    let claim = claim();
    ALLOCATOR.lock().take_some(max_frames, claim).map(own)
}

/// The `num_frames` frames from the one that holds `paddr` on, general or reserved.
///
/// # Errors
/// If one of them is owned by somebody, if there would be more separate reserved ranges in use than the
/// allocator can remember, or if `num_frames` is 0.
pub fn allocate_frames_at(
    paddr: PhysicalAddress,
    num_frames: usize,
) -> Result<AllocatedFrames<Page4K>, &'static str> {
    let start = Frame::<Page4K>::containing_address(paddr).number();
    ALLOCATOR.lock().take_at(start, num_frames)?;
    Ok(own((start, num_frames)))
}

/// As many adjacent frames as `num_bytes` bytes need.
pub fn allocate_frames_by_bytes(num_bytes: usize) -> Option<AllocatedFrames<Page4K>> {
    allocate_frames(num_bytes.div_ceil(PAGE_SIZE))
}

/// The frames that the `num_bytes` bytes from `paddr` on lie in.
///
/// # Errors
/// As for [`allocate_frames_at`].
pub fn allocate_frames_by_bytes_at(
    paddr: PhysicalAddress,
    num_bytes: usize,
) -> Result<AllocatedFrames<Page4K>, &'static str> {
    let span = num_bytes.checked_add(paddr.frame_offset()).ok_or("frame_allocator: size overflows")?;
    allocate_frames_at(paddr, span.div_ceil(PAGE_SIZE))
}

/// What is left to do after an allocation, done when the value is dropped.
///
/// It lets a caller release locks before bookkeeping that may need the heap. The allocator keeps its books in
/// bitmaps, so that there never is any; the type remains for those who are written to it.
#[derive(Debug)]
#[must_use = "dropping it performs what was deferred"]
pub struct DeferredAllocAction<'list>(PhantomData<&'list ()>);

/// `num_frames` frames, at `requested_paddr` if that is given, and what is left to do.
///
/// # Errors
/// As for [`allocate_frames_at`], or if there is no run of that many adjacent frames.
pub fn allocate_frames_deferred(
    requested_paddr: Option<PhysicalAddress>,
    num_frames: usize,
) -> Result<(AllocatedFrames<Page4K>, DeferredAllocAction<'static>), &'static str> {
    let frames = match requested_paddr {
        Some(paddr) => allocate_frames_at(paddr, num_frames)?,
        None => allocate_frames(num_frames).ok_or("out of physical memory: no such run of free frames")?,
    };
    Ok((frames, DeferredAllocAction(PhantomData)))
}

/// Like [`allocate_frames_deferred`], for the frames that a number of bytes needs.
///
/// # Errors
/// As for [`allocate_frames_deferred`].
pub fn allocate_frames_by_bytes_deferred(
    requested_paddr: Option<PhysicalAddress>,
    num_bytes: usize,
) -> Result<(AllocatedFrames<Page4K>, DeferredAllocAction<'static>), &'static str> {
    let offset = requested_paddr.map_or(0, |paddr| paddr.frame_offset());
    let span = num_bytes.checked_add(offset).ok_or("frame_allocator: size overflows")?;
    allocate_frames_deferred(requested_paddr, span.div_ceil(PAGE_SIZE))
}

/// What the inspector given to [`inspect_then_allocate_free_frames`] wants next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FramesIteratorRequest {
    /// Look at the next run of free frames.
    Next,
    /// Stop, without an allocation.
    Stop,
    /// Stop, and allocate `num_frames` frames from `requested_frame` on, which lie in the run just seen.
    AllocateAt {
        /// The first frame.
        requested_frame: Frame,
        /// How many.
        num_frames: usize,
    },
}

/// Shows every run of free general frames to `inspector`, lowest first, until it has decided.
///
/// The allocator is locked and interrupts are off meanwhile: `inspector` must be short and must not allocate
/// memory.
///
/// # Errors
/// If the inspector asked for frames that do not all lie in the run it was shown.
pub fn inspect_then_allocate_free_frames<F>(
    inspector: &mut F,
) -> Result<Option<AllocatedFrames<Page4K>>, &'static str>
where
    F: FnMut(&FreeFrames) -> FramesIteratorRequest,
{
    let mut allocator = ALLOCATOR.lock();
    let mut from = 0;
    while let Some((start, count)) = allocator.next_free_run(from) {
        // The run stays marked as free, so this value must not be dropped: it is only shown.
        let run = no_drop_free(allocator::range((start, count)));
        match inspector(&run) {
            FramesIteratorRequest::Next => from = start + count,
            FramesIteratorRequest::Stop => return Ok(None),
            FramesIteratorRequest::AllocateAt { requested_frame, num_frames } => {
                let first = requested_frame.number();
                if first < start || num_frames == 0 || num_frames > count - (first - start).min(count) {
                    return Err("frame_allocator: the frames asked for are not in the run that was shown");
                }
                allocator.take_at(first, num_frames)?;
                return Ok(Some(own((first, num_frames))));
            }
        }
    }
    Ok(None)
}

fn no_drop_free(range: FrameRange) -> core::mem::ManuallyDrop<FreeFrames> {
    core::mem::ManuallyDrop::new(frames::free(range))
}

/// The allocator's state for a person to read: counts and runs of free frames.
///
/// Written through `out`, since this crate is below the one that could print.
///
/// # Errors
/// What `out` returns.
pub fn dump_frame_allocator_state(out: &mut dyn fmt::Write) -> fmt::Result {
    let FrameStatistics { free, total, reserve, reserved_in_use } = statistics();
    writeln!(out, "{free} of {total} general frames free, {reserved_in_use} reserved frames in use")?;
    writeln!(out, "guests leave {reserve} general frames")?;
    let mut from = 0;
    // One lock per run, so that interrupts are not off while a slow console writes.
    while let Some((start, count)) = { ALLOCATOR.lock().next_free_run(from) } {
        writeln!(out, "  free: {:?}", allocator::range((start, count)))?;
        from = start + count;
    }
    Ok(())
}

/// Gives frames back; what dropping [`Frames`] comes down to.
fn release(frames: &FrameRange) {
    let (start, end) = allocator::bounds(frames);
    if start < end {
        ALLOCATOR.lock().release(start, end);
    }
}
