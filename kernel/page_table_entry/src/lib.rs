//! One entry of a page table, and the one way to get a frame back out of it.
//!
//! An entry is unused (zero), maps a page (of 4 KiB, or a huge one), or points to a table of the next level.
//! In the last case bits that the processor ignores hold how many entries of that table are in use, so that
//! whoever clears one knows at once when the table is empty.
//!
//! Clearing an entry that maps pages yields an [`UnmapResult`]. Only if the entry was
//! [exclusive](PteFlagsArch::EXCLUSIVE) does it hold an [`UnmappedFrameRange`], which is the permission to
//! take the frames back into ownership; no other code can make one.
#![cfg_attr(not(test), no_std)]

use core::fmt;
use core::ops::Deref;
use frame_allocator::AllocatedFrame;
use memory_structs::{Frame, FrameRange, Page4K, PageSize, PhysicalAddress};
use pte_flags::{PTE_FRAME_MASK, PteFlagsArch};

/// Where the count of used entries is, in an entry that points to a table: bits 52 to 61, which the processor
/// ignores.
const COUNT_SHIFT: u32 = 52;
const COUNT_MASK: u64 = 0x3FF << COUNT_SHIFT;

/// One entry of a page table of any level.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct PageTableEntry(u64);

/// What clearing an entry leaves.
#[must_use = "exclusive frames are lost for good unless they are given back"]
#[derive(Debug)]
pub enum UnmapResult {
    /// The entry was the only mapping of these frames: they may be given back, once no processor can still
    /// have the translation.
    Exclusive(UnmappedFrameRange),
    /// The frames belong to somebody else, or the entry mapped nothing (then the range is empty).
    NonExclusive(FrameRange),
}

/// Frames whose only mapping has just been cleared.
///
/// *Holding one proves* that an exclusive entry for them existed and no longer does, and that nobody else
/// holds this proof.
#[derive(Debug)]
pub struct UnmappedFrameRange(FrameRange);

impl Deref for UnmappedFrameRange {
    type Target = FrameRange;
    fn deref(&self) -> &FrameRange {
        &self.0
    }
}

impl PageTableEntry {
    /// An entry that maps nothing.
    pub const UNUSED: Self = Self(0);

    /// Whether the entry maps nothing and points to nothing.
    pub fn is_unused(&self) -> bool {
        self.0 == 0
    }

    /// Forgets what the entry says, without giving anything back.
    pub fn zero(&mut self) {
        self.0 = 0;
    }

    /// The entry as the processor reads it.
    pub fn value(&self) -> u64 {
        self.0
    }

    /// The entry's flags.
    pub fn flags(&self) -> PteFlagsArch {
        PteFlagsArch::from_entry(self.0)
    }

    fn frame<P: PageSize>(&self) -> Frame<P> {
        // `containing_address` rounds down, which takes bit 12 of a huge entry (an attribute there) out.
        Frame::containing_address(PhysicalAddress::new_canonical((self.0 & PTE_FRAME_MASK) as usize))
    }

    /// The frame that the entry points to, or `None` if it is not valid.
    pub fn pointed_frame(&self) -> Option<Frame> {
        self.flags().is_valid().then(|| self.frame())
    }

    /// Maps one frame. The entry was unused.
    pub fn set_entry<P: PageSize>(&mut self, frame: AllocatedFrame<P>, flags: PteFlagsArch) {
        self.set(frame.start_address(), flags);
    }

    /// Like [`PageTableEntry::set_entry`], by address.
    ///
    /// This is for the mapper, which maps one frame after the other of a range that it owns. It is a safe
    /// function since nothing happens before the entry is in a table that a processor uses, which is what is
    /// unsafe.
    pub fn set(&mut self, start: PhysicalAddress, flags: PteFlagsArch) {
        self.0 = start.value() as u64 & PTE_FRAME_MASK | (flags.bits() & !PTE_FRAME_MASK);
    }

    /// Changes the flags and keeps the frame.
    pub fn set_flags(&mut self, flags: PteFlagsArch) {
        self.0 = self.0 & PTE_FRAME_MASK | (flags.bits() & !PTE_FRAME_MASK);
    }

    /// Clears an entry that maps a page of 4 KiB, if it maps one.
    pub fn set_unmapped(&mut self) -> UnmapResult {
        self.set_unmapped_sized::<Page4K>()
    }

    /// Clears an entry that maps a page of size `P`, if it maps one.
    pub fn set_unmapped_sized<P: PageSize>(&mut self) -> UnmapResult {
        if self.is_unused() {
            return UnmapResult::NonExclusive(FrameRange::empty());
        }
        let frame = self.frame::<P>();
        let frames = FrameRange::<P>::new(frame, frame).into_4k_frames();
        let exclusive = self.flags().is_exclusive();
        self.zero();
        if exclusive {
            UnmapResult::Exclusive(UnmappedFrameRange(frames))
        } else {
            UnmapResult::NonExclusive(frames)
        }
    }

    /// Points to an empty table of the next level, in frame `table`.
    ///
    /// Everything is allowed on this level, so that the entries that map pages decide alone.
    pub fn set_table(&mut self, table: Frame) {
        let flags = PteFlagsArch::VALID | PteFlagsArch::WRITABLE | PteFlagsArch::ACCESSED;
        self.0 = table.start_address().value() as u64 | flags.bits();
    }

    /// The table of the next level that the entry points to, if it does.
    pub fn table(&self) -> Option<Frame> {
        (self.flags().is_valid() && !self.flags().is_huge()).then(|| self.frame())
    }

    /// How many entries of the table that this entry points to are in use.
    pub fn used_entries(&self) -> usize {
        ((self.0 & COUNT_MASK) >> COUNT_SHIFT) as usize
    }

    /// Notes how many entries of the table that this entry points to are in use: at most 512.
    pub fn set_used_entries(&mut self, count: usize) {
        debug_assert!(count <= 512);
        self.0 = self.0 & !COUNT_MASK | ((count as u64) << COUNT_SHIFT);
    }
}

impl fmt::Debug for PageTableEntry {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "PageTableEntry({:#X}: {:?})", self.0, self.flags())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use memory_structs::{Page1G, Page2M};

    const RW: PteFlagsArch = PteFlagsArch::new().valid(true).writable(true);

    fn address(p: usize) -> PhysicalAddress {
        PhysicalAddress::new_canonical(p)
    }

    #[test]
    fn only_exclusive_entries_give_frames_back() {
        let mut entry = PageTableEntry::UNUSED;
        assert!(matches!(entry.set_unmapped(), UnmapResult::NonExclusive(range) if range.is_empty()));
        entry.set(address(0x1234_5000), RW);
        assert_eq!(entry.pointed_frame().unwrap().start_address(), address(0x1234_5000));
        assert!(
            matches!(entry.set_unmapped(), UnmapResult::NonExclusive(range) if range.size_in_frames() == 1)
        );
        assert!(entry.is_unused());
        entry.set(address(0x1234_5000), RW.exclusive(true));
        assert!(
            matches!(entry.set_unmapped(), UnmapResult::Exclusive(range) if range.start().number() == 0x1_2345)
        );
    }

    #[test]
    fn huge_entries_give_all_frames_back() {
        let mut entry = PageTableEntry::UNUSED;
        entry.set(address(0x4000_0000), RW.huge(true).exclusive(true));
        let mut copy = entry;
        assert!(
            matches!(entry.set_unmapped_sized::<Page2M>(), UnmapResult::Exclusive(r) if r.size_in_frames() == 512)
        );
        assert!(
            matches!(copy.set_unmapped_sized::<Page1G>(), UnmapResult::Exclusive(r) if r.size_in_frames() == 512 * 512)
        );
    }

    #[test]
    fn flags_change_and_the_frame_stays() {
        let mut entry = PageTableEntry::UNUSED;
        entry.set(address(0xABCD_E000), RW.exclusive(true));
        entry.set_flags(RW.writable(false).executable(true));
        assert_eq!(entry.pointed_frame().unwrap().start_address(), address(0xABCD_E000));
        assert!(
            entry.flags().is_executable() && !entry.flags().is_writable() && !entry.flags().is_exclusive()
        );
    }

    #[test]
    fn tables_count_their_entries() {
        let mut entry = PageTableEntry::UNUSED;
        assert!(entry.table().is_none());
        entry.set_table(Frame::containing_address(address(0x7000)));
        for count in [0, 1, 511, 512, 3] {
            entry.set_used_entries(count);
            assert_eq!(entry.used_entries(), count);
            assert_eq!(entry.table().unwrap().start_address(), address(0x7000));
            assert!(entry.flags().is_executable() && entry.flags().is_writable());
        }
        entry.set(address(0x20_0000), RW.huge(true));
        assert!(entry.table().is_none());
    }
}
