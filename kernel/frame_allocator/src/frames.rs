//! [`Frames`]: ownership of frames, with their state in the type.

use core::fmt;
use core::marker::PhantomData;
use core::mem;
use core::ops::Deref;
use memory_structs::{Frame, FrameRange, MemoryState, Page4K, PageSize};

/// Ownership of a range of frames that are all in state `S`.
///
/// There is no way to copy one, and every transition consumes it. Dropping one gives the frames back, except
/// for [`MappedFrames`], whose drop is a panic: while a page table points to frames they must not be
/// anybody's to reuse.
#[must_use = "frames are given back when dropped"]
pub struct Frames<const S: MemoryState, P: PageSize = Page4K> {
    frames: FrameRange<P>,
}

/// Frames that are nobody's; seen only inside the allocator and by inspectors.
pub type FreeFrames = Frames<{ MemoryState::Free }, Page4K>;
/// Frames that somebody owns and no page table points to exclusively.
pub type AllocatedFrames<P = Page4K> = Frames<{ MemoryState::Allocated }, P>;
/// Frames that a page table points to.
pub type MappedFrames<P = Page4K> = Frames<{ MemoryState::Mapped }, P>;
/// Frames whose page table entry was just cleared.
pub type UnmappedFrames<P = Page4K> = Frames<{ MemoryState::Unmapped }, P>;

/// Frames just taken out of the bitmap or the list.
pub(crate) fn allocated(frames: FrameRange) -> AllocatedFrames {
    Frames { frames }
}

/// Frames in the bitmap.
pub(crate) fn free(frames: FrameRange) -> FreeFrames {
    Frames { frames }
}

/// Handed out by [`crate::init`] alone.
pub(crate) fn into_unmapped_frames(frames: FrameRange) -> UnmappedFrames {
    Frames { frames }
}

/// The three parts that [`Frames::split_range`] makes.
#[derive(Debug)]
pub struct SplitFrames<const S: MemoryState, P: PageSize = Page4K> {
    /// What lies before the range, if anything.
    pub before_start: Option<Frames<S, P>>,
    /// The range.
    pub start_to_end: Frames<S, P>,
    /// What lies after the range, if anything.
    pub after_end: Option<Frames<S, P>>,
}

impl<const S: MemoryState, P: PageSize> Frames<S, P> {
    /// No frames.
    pub const fn empty() -> Self {
        Self { frames: FrameRange::empty() }
    }

    /// The same frames in another state, without giving them back in between.
    fn into_state<const T: MemoryState>(mut self) -> Frames<T, P> {
        let frames = mem::replace(&mut self.frames, FrameRange::empty());
        // `self` is empty now, so that its drop does nothing.
        Frames { frames }
    }

    /// Joins `other` to this one, if they are adjacent (in either order) or one is empty.
    ///
    /// # Errors
    /// Gives `other` back, and changes nothing, if they are not.
    pub fn merge(&mut self, mut other: Self) -> Result<(), Self> {
        let joined = if other.frames.is_empty() {
            return Ok(());
        } else if self.frames.is_empty() {
            other.frames.clone()
        } else if *self.end() + 1 == *other.start() && self.end() < other.start() {
            FrameRange::new(*self.start(), *other.end())
        } else if *other.end() + 1 == *self.start() && other.end() < self.start() {
            FrameRange::new(*other.start(), *self.end())
        } else {
            return Err(other);
        };
        other.frames = FrameRange::empty();
        self.frames = joined;
        Ok(())
    }

    /// Cuts out `to_extract`.
    ///
    /// # Errors
    /// Gives the frames back whole if `to_extract` is empty or not all within them.
    pub fn split_range(mut self, to_extract: FrameRange<P>) -> Result<SplitFrames<S, P>, Self> {
        if !self.frames.contains_range(&to_extract) {
            return Err(self);
        }
        let whole = mem::replace(&mut self.frames, FrameRange::empty());
        let before = (to_extract.start() > whole.start())
            .then(|| Frames { frames: FrameRange::new(*whole.start(), *to_extract.start() - 1) });
        let after = (to_extract.end() < whole.end())
            .then(|| Frames { frames: FrameRange::new(*to_extract.end() + 1, *whole.end()) });
        Ok(SplitFrames {
            before_start: before,
            start_to_end: Frames { frames: to_extract },
            after_end: after,
        })
    }

    /// Cuts in two: what is below `at_frame`, and the rest from `at_frame` on. Either may be empty.
    ///
    /// # Errors
    /// Gives the frames back whole if `at_frame` is neither within them nor right after them.
    pub fn split_at(mut self, at_frame: Frame<P>) -> Result<(Self, Self), Self> {
        if self.frames.is_empty() || at_frame < *self.start() || at_frame > *self.end() + 1 {
            return Err(self);
        }
        let whole = mem::replace(&mut self.frames, FrameRange::empty());
        let (start, end) = (*whole.start(), *whole.end());
        let lower =
            if at_frame == start { FrameRange::empty() } else { FrameRange::new(start, at_frame - 1) };
        let upper = if at_frame > end { FrameRange::empty() } else { FrameRange::new(at_frame, end) };
        Ok((Frames { frames: lower }, Frames { frames: upper }))
    }
}

impl FreeFrames {
    /// Whoever holds them becomes their owner.
    pub fn into_allocated_frames(self) -> AllocatedFrames {
        self.into_state()
    }
}

impl<P: PageSize> AllocatedFrames<P> {
    /// A page table is about to point to them.
    pub fn into_mapped_frames(self) -> MappedFrames<P> {
        self.into_state()
    }

    /// Borrows the frame of a range that is just one frame.
    ///
    /// # Panics
    /// If it is not just one.
    pub fn as_allocated_frame(&self) -> AllocatedFrame<'_, P> {
        assert!(self.size_in_frames() == 1, "as_allocated_frame: not exactly one frame");
        AllocatedFrame { frame: *self.start(), _owner: PhantomData }
    }

    /// The same frames, counted in units of 4 KiB.
    pub fn into_4k(mut self) -> AllocatedFrames<Page4K> {
        Frames { frames: mem::replace(&mut self.frames, FrameRange::empty()).into_4k_frames() }
    }
}

impl AllocatedFrames<Page4K> {
    /// The same frames, counted in units of `P`.
    ///
    /// # Errors
    /// Gives them back if they do not begin and end at units of that size.
    pub fn try_into_size<P: PageSize>(mut self) -> Result<AllocatedFrames<P>, Self> {
        match self.frames.try_into_size() {
            Some(frames) => {
                self.frames = FrameRange::empty();
                Ok(Frames { frames })
            }
            None => Err(self),
        }
    }
}

impl<P: PageSize> UnmappedFrames<P> {
    /// No translation to them is left in any processor: they are just allocated again.
    pub fn into_allocated_frames(self) -> AllocatedFrames<P> {
        self.into_state()
    }
}

impl<const S: MemoryState, P: PageSize> Drop for Frames<S, P> {
    fn drop(&mut self) {
        if self.frames.is_empty() {
            return;
        }
        match S {
            MemoryState::Free | MemoryState::Allocated | MemoryState::Unmapped => {
                crate::release(&self.frames.into_4k_frames());
            }
            MemoryState::Mapped => panic!("mapped frames were dropped: {:?}", self.frames),
        }
    }
}

impl<const S: MemoryState, P: PageSize> Deref for Frames<S, P> {
    type Target = FrameRange<P>;
    fn deref(&self) -> &FrameRange<P> {
        &self.frames
    }
}

impl<const S: MemoryState, P: PageSize> PartialEq for Frames<S, P> {
    fn eq(&self, other: &Self) -> bool {
        self.frames == other.frames
    }
}
impl<const S: MemoryState, P: PageSize> Eq for Frames<S, P> {}

impl<const S: MemoryState, P: PageSize> fmt::Debug for Frames<S, P> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "Frames<{S:?}>({:?})", self.frames)
    }
}

/// One frame that is borrowed from the [`AllocatedFrames`] that own it.
#[derive(Debug, Clone, Copy)]
pub struct AllocatedFrame<'f, P: PageSize = Page4K> {
    frame: Frame<P>,
    _owner: PhantomData<&'f AllocatedFrames<P>>,
}

impl<P: PageSize> Deref for AllocatedFrame<'_, P> {
    type Target = Frame<P>;
    fn deref(&self) -> &Frame<P> {
        &self.frame
    }
}

/// Iterates over the single frames of an [`AllocatedFrames`].
pub struct AllocatedFramesIter<'f, P: PageSize> {
    range: core::ops::RangeInclusive<Frame<P>>,
    _owner: PhantomData<&'f AllocatedFrames<P>>,
}

impl<'f, P: PageSize> Iterator for AllocatedFramesIter<'f, P> {
    type Item = AllocatedFrame<'f, P>;
    fn next(&mut self) -> Option<Self::Item> {
        self.range.next().map(|frame| AllocatedFrame { frame, _owner: PhantomData })
    }
}

impl<'f, P: PageSize> IntoIterator for &'f AllocatedFrames<P> {
    type Item = AllocatedFrame<'f, P>;
    type IntoIter = AllocatedFramesIter<'f, P>;
    fn into_iter(self) -> Self::IntoIter {
        AllocatedFramesIter { range: self.frames.clone().into_iter(), _owner: PhantomData }
    }
}
