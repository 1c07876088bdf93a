//! [`ReservedPages`]: address space first, memory when it is needed.

use crate::mapped_pages::{MappedPages, unmap_all};
use crate::mapper::{Mapper, checked};
use core::fmt;
use core::mem;
use core::ops::{Deref, Range};
use kernel_config::memory::PAGE_SIZE;
use memory_structs::Frame;
use page_allocator::AllocatedPages;
use pte_flags::PteFlagsArch;

/// Ownership of a range of pages of which any part may be mapped, each with flags of its own.
///
/// A reservation costs address space only: gigabytes of it take no frame and next to no time. Parts are
/// *committed*: mapped to frames of zeroes; *decommitted*: unmapped, their frames given back; and
/// *protected*: given other flags. What is not committed faults when accessed, which is what makes a guard
/// region. Dropping a reservation gives back exactly the frames that were committed, and the pages.
///
/// Parts are ranges of byte offsets from the start, multiples of [`PAGE_SIZE`].
///
/// There is no safe access to the contents, since it is not known from the type what is committed: the owner
/// keeps to what it has committed. [`MappedPages`] has it, for mappings that are all there; one can be made a
/// reservation by `From`.
#[must_use = "what is reserved is given back when dropped"]
pub struct ReservedPages {
    page_table_p4: Frame,
    pages: AllocatedPages,
    committed: usize,
}

impl ReservedPages {
    /// Reserves the pages. Nothing is mapped.
    pub fn new(pages: AllocatedPages) -> Self {
        Self { page_table_p4: crate::get_current_p4(), pages, committed: 0 }
    }

    /// How many bytes are committed.
    pub fn committed_bytes(&self) -> usize {
        self.committed * PAGE_SIZE
    }

    /// The first byte, committed or not.
    pub fn as_mut_ptr(&self) -> *mut u8 {
        self.start_address().value() as *mut u8
    }

    /// Number of the first page of a part, and of how many it consists.
    fn part(&self, range: &Range<usize>) -> Result<(usize, usize), &'static str> {
        if range.start > range.end || range.end > self.size_in_bytes() {
            return Err("ReservedPages: the range is not within the reservation");
        }
        if !range.start.is_multiple_of(PAGE_SIZE) || !range.end.is_multiple_of(PAGE_SIZE) {
            return Err("ReservedPages: the range does not begin and end at a page");
        }
        Ok((self.start().number() + range.start / PAGE_SIZE, (range.end - range.start) / PAGE_SIZE))
    }

    fn mapper(&self) -> Mapper {
        Mapper::of(self.page_table_p4)
    }

    /// Maps a part, of which nothing is committed yet, to frames of zeroes: all of it or nothing.
    ///
    /// # Errors
    /// If the range is none, if a page of it is committed already, if the flags are both writable and
    /// executable, or if there is not enough physical memory. Then nothing changes.
    pub fn commit<F: Into<PteFlagsArch>>(
        &mut self,
        range: Range<usize>,
        flags: F,
    ) -> Result<(), &'static str> {
        let (first, count) = self.part(&range)?;
        self.mapper().fill(first, count, checked(flags.into(), true)?)?;
        self.committed += count;
        Ok(())
    }

    /// Unmaps what is committed of a part, and gives its frames back. Committed again, it is zero.
    ///
    /// # Errors
    /// If the range is none, or if it ends within a 2 MiB page and there is no memory for a page table to
    /// split that; then what came before is decommitted.
    pub fn decommit(&mut self, range: Range<usize>) -> Result<(), &'static str> {
        let (first, count) = self.part(&range)?;
        let mut unmapped = 0;
        let result = self.mapper().unmap(first, count, &mut unmapped, drop);
        self.committed -= unmapped;
        result
    }

    /// Gives a part, all of which is committed, other flags. Contents stay.
    ///
    /// # Errors
    /// If the range is none, if a page of it is not committed, or if the flags are both writable and
    /// executable: then nothing changes. If it ends within a 2 MiB page and there is no memory for a page
    /// table to split that: then what came before is changed.
    pub fn protect<F: Into<PteFlagsArch>>(
        &mut self,
        range: Range<usize>,
        flags: F,
    ) -> Result<(), &'static str> {
        let (first, count) = self.part(&range)?;
        self.mapper().protect(first, count, checked(flags.into(), true)?)
    }

    /// Whether the page at byte `offset` is committed.
    pub fn is_committed(&self, offset: usize) -> bool {
        self.address_at_offset(offset).is_some_and(|address| self.mapper().flags_of(address).is_some())
    }
}

impl From<MappedPages> for ReservedPages {
    /// A reservation that is all committed.
    ///
    /// A mapping whose frames are not its own stays that way: decommitting gives none of them back.
    fn from(mapped: MappedPages) -> Self {
        let (page_table_p4, pages) = mapped.into_parts();
        let committed = pages.size_in_pages();
        Self { page_table_p4, pages, committed }
    }
}

impl Drop for ReservedPages {
    fn drop(&mut self) {
        if self.size_in_pages() != 0 {
            let pages = mem::replace(&mut self.pages, AllocatedPages::empty());
            drop(unmap_all(&mut self.mapper(), pages, drop));
        }
    }
}

impl Deref for ReservedPages {
    type Target = AllocatedPages;
    fn deref(&self) -> &AllocatedPages {
        &self.pages
    }
}

impl fmt::Debug for ReservedPages {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "ReservedPages({:?}, {} pages committed)", self.range(), self.committed)
    }
}
