//! The allocator behind the lock.

use crate::bitmap::Bitmap;
use crate::claim::reserve_of;
use crate::reserved::RangeList;
use crate::{Claim, FrameStatistics};
use kernel_config::memory::{PAGE_SHIFT, PHYS_MAP_MAX_SIZE};
use memory_structs::{Frame, FrameRange, Page4K, PhysicalAddress};

/// Frames of the first MiB, which are left to firmware and to starting other processors.
const FIRST_GENERAL_FRAME: usize = 0x10_0000 >> PAGE_SHIFT;
/// First frame number that the boot page tables do not map.
#[cfg(target_os = "theseus")]
const BOOT_MAPPED_FRAMES: usize = 1 << (32 - PAGE_SHIFT);

/// The frames as numbers `start..end`.
pub(crate) fn bounds(frames: &FrameRange) -> (usize, usize) {
    if frames.is_empty() { (0, 0) } else { (frames.start().number(), frames.end().number() + 1) }
}

/// The range of `count` frames from number `start` on.
pub(crate) fn range((start, count): (usize, usize)) -> FrameRange {
    let first = Frame::<Page4K>::containing_address(PhysicalAddress::new_canonical(start << PAGE_SHIFT));
    FrameRange::from_start_and_count(first, count)
}

pub(crate) struct Allocator {
    /// Which general frames are free.
    free: Bitmap,
    /// Which frames are general.
    general: Bitmap,
    /// Which other frames are in use.
    reserved_in_use: RangeList,
    /// How many general frames there are in all for [`Claim::Kernel`] alone.
    reserve: usize,
}

impl Allocator {
    pub(crate) const fn new() -> Self {
        Self {
            free: Bitmap::empty(),
            general: Bitmap::empty(),
            reserved_in_use: RangeList::new(),
            reserve: 0,
        }
    }

    /// See [`crate::init`]. The closures give the regions as `(start, end)`, again at each call.
    pub(crate) fn init<F, R>(
        &mut self,
        free: impl Fn() -> F,
        reserved: impl Fn() -> R,
    ) -> Result<(), &'static str>
    where
        F: Iterator<Item = (usize, usize)>,
        R: Iterator<Item = (usize, usize)>,
    {
        if self.general.capacity() != 0 {
            return Err("frame_allocator: already initialised");
        }
        let clip = |(start, end): (usize, usize)| {
            (start.max(FIRST_GENERAL_FRAME), end.min(PHYS_MAP_MAX_SIZE >> PAGE_SHIFT))
        };
        let frames = free().map(clip).filter(|(start, end)| start < end).map(|(_, end)| end).max();
        let frames = frames.ok_or("frame_allocator: there is no usable memory region")?;

        let (words, summary) = Bitmap::words_needed(frames);
        let storage = Storage::find(2 * (words + summary), || free().map(clip), &reserved)
            .ok_or("frame_allocator: no usable memory region below 4 GiB has room for the bitmaps")?;
        let (free_words, rest) = storage.words.split_at_mut(words);
        let (general_words, rest) = rest.split_at_mut(words);
        let (free_summary, general_summary) = rest.split_at_mut(summary);
        self.free = Bitmap::new(free_words, free_summary);
        self.general = Bitmap::new(general_words, general_summary);

        for (start, end) in free().map(clip) {
            if start < end {
                self.general.set(start, end);
            }
        }
        let unusable = reserved().chain(core::iter::once(storage.frames));
        for (start, end) in unusable {
            let end = end.min(self.general.capacity());
            if start < end {
                self.general.clear(start, end);
            }
        }
        self.free.copy_from(&self.general);
        if self.free.free() == 0 {
            return Err("frame_allocator: all usable memory is reserved");
        }
        self.reserve = reserve_of(self.general.free());
        // The bitmaps' own frames are no longer anyone's to ask for.
        let (start, end) = storage.frames;
        if start < end {
            self.reserved_in_use
                .insert(start, end)
                .map_err(|()| "frame_allocator: too many reserved ranges")?;
        }
        Ok(())
    }

    /// General frames that are free for this claim.
    pub(crate) fn available(&self, claim: Claim) -> usize {
        self.free.free().saturating_sub(claim.leaves(self.reserve))
    }

    pub(crate) fn statistics(&self) -> FrameStatistics {
        FrameStatistics {
            free: self.free.free(),
            total: self.general.free(),
            reserve: self.reserve,
            reserved_in_use: self.reserved_in_use.count(),
        }
    }

    /// Whether frames `start..end` are all general.
    pub(crate) fn is_general(&self, start: usize, end: usize) -> bool {
        self.general.next_clear(start, end) == end
    }

    /// Takes the lowest aligned run of `count` general frames; its start.
    pub(crate) fn take_run(&mut self, count: usize, alignment: usize, claim: Claim) -> Option<usize> {
        if count > self.available(claim) {
            return None;
        }
        let start = self.free.find_run(count, alignment)?;
        self.free.clear(start, start + count);
        Some(start)
    }

    /// Takes the lowest free general frame and what is free right after it, up to `max` in all and as far as the claim goes.
    pub(crate) fn take_some(&mut self, max: usize, claim: Claim) -> Option<(usize, usize)> {
        let max = max.min(self.available(claim));
        if max == 0 {
            return None;
        }
        let start = self.free.first()?;
        let end = self.free.next_clear(start + 1, start.saturating_add(max));
        self.free.clear(start, end);
        Some((start, end - start))
    }

    /// Takes `count` frames from number `start` on: all general, or all reserved.
    pub(crate) fn take_at(&mut self, start: usize, count: usize) -> Result<(), &'static str> {
        let end = start.checked_add(count).filter(|&end| end > start && end <= 1 << (52 - PAGE_SHIFT));
        let end = end.ok_or("frame_allocator: asked for no frames, or for frames beyond 2^52")?;
        if self.general.get(start) {
            if self.free.next_clear(start, end) != end {
                return Err("frame_allocator: a requested frame is in use");
            }
            self.free.clear(start, end);
            return Ok(());
        }
        if self.general.next_set(start).is_some_and(|general| general < end) {
            return Err(
                "frame_allocator: the requested frames are partly general memory and partly reserved",
            );
        }
        if self.reserved_in_use.overlaps(start, end) {
            return Err("frame_allocator: a requested frame is in use");
        }
        self.reserved_in_use
            .insert(start, end)
            .map_err(|()| "frame_allocator: too many separate reserved ranges are in use")
    }

    /// Gives back frames `start..end`, which were taken.
    ///
    /// # Panics
    /// If one of them was not: two owners have had the same frame, which no caller can go on from.
    pub(crate) fn release(&mut self, start: usize, end: usize) {
        // Ranges may have been merged across the border between general and reserved frames.
        let mut at = start;
        while at < end {
            let stop = if self.general.get(at) {
                let stop = self.general.next_clear(at, end);
                let added = self.free.set(at, stop);
                assert!(added == stop - at, "frame_allocator: a frame was freed twice");
                stop
            } else {
                let stop = self.general.next_set(at).map_or(end, |general| general.min(end));
                let removed = self.reserved_in_use.remove(at, stop);
                assert!(removed.is_ok(), "frame_allocator: a reserved frame was freed that was not in use");
                stop
            };
            at = stop;
        }
    }

    /// The first run of free general frames at or after number `from`, as `(start, count)`.
    pub(crate) fn next_free_run(&self, from: usize) -> Option<(usize, usize)> {
        let start = self.free.next_set(from)?;
        Some((start, self.free.next_clear(start, self.free.capacity()) - start))
    }
}

/// Memory for the bitmaps.
struct Storage {
    words: &'static mut [u64],
    /// The frames it occupies.
    frames: (usize, usize),
}

impl Storage {
    #[cfg(target_os = "theseus")]
    fn find<F, R>(words: usize, free: impl Fn() -> F, reserved: &impl Fn() -> R) -> Option<Self>
    where
        F: Iterator<Item = (usize, usize)>,
        R: Iterator<Item = (usize, usize)>,
    {
        use kernel_config::memory::{PAGE_SIZE, PHYS_MAP_BASE};
        let count = (words * size_of::<u64>()).div_ceil(PAGE_SIZE);
        let start = place(count, BOOT_MAPPED_FRAMES, free, reserved)?;
        let pointer = (PHYS_MAP_BASE + (start << PAGE_SHIFT)) as *mut u64;
        // SAFETY: `place` found RAM that is in no reserved region; it is mapped at PHYS_MAP_BASE by the boot
        // page tables (below 4 GiB) and by the final ones. Nobody else gets it: `init` takes it out of the
        // general frames, which nobody could ask for before. The memory is plain integers, for which any
        // content is valid.
        let words = unsafe { core::slice::from_raw_parts_mut(pointer, words) };
        Some(Self { words, frames: (start, start + count) })
    }

    /// On a host, where frames are only numbers, the bitmaps live in the process's own memory.
    #[cfg(not(target_os = "theseus"))]
    fn find<F, R>(words: usize, _free: impl Fn() -> F, _reserved: &impl Fn() -> R) -> Option<Self> {
        Some(Self { words: alloc::vec![0; words].leak(), frames: (0, 0) })
    }
}

/// The lowest place for `count` frames that is in one free region, in no reserved one, and below `limit`.
#[cfg(any(test, target_os = "theseus"))]
pub(crate) fn place<F, R>(
    count: usize,
    limit: usize,
    free: impl Fn() -> F,
    reserved: &impl Fn() -> R,
) -> Option<usize>
where
    F: Iterator<Item = (usize, usize)>,
    R: Iterator<Item = (usize, usize)>,
{
    let fits_at = |region: (usize, usize)| {
        let mut start = region.0;
        // Each round moves past one reserved region, so that it ends.
        while let Some((_, end)) = reserved().find(|&(low, high)| low < start + count && high > start) {
            start = end;
        }
        (start + count <= region.1.min(limit)).then_some(start)
    };
    free().filter_map(fits_at).min()
}
