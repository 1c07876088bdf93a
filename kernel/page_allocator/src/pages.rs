//! [`AllocatedPages`]: ownership of a range of pages.

use core::fmt;
use core::mem;
use memory_structs::{Page, Page4K, PageRange, PageSize, VirtualAddress};

/// Ownership of a range of virtual pages. There is no way to copy one; dropping it gives the pages back.
#[must_use = "pages are given back when dropped"]
pub struct AllocatedPages<P: PageSize = Page4K> {
    pages: PageRange<P>,
}

/// Pages just taken out of an area.
pub(crate) fn allocated(pages: PageRange) -> AllocatedPages {
    AllocatedPages { pages }
}

impl<P: PageSize> AllocatedPages<P> {
    /// No pages.
    pub const fn empty() -> Self {
        Self { pages: PageRange::empty() }
    }

    /// Makes a value anew that was given to [`core::mem::forget`].
    ///
    /// # Safety
    /// The pages were in one or more such values, all of them and nothing else, and no other value is made of
    /// them again.
    pub const unsafe fn from_forgotten(pages: PageRange<P>) -> Self {
        Self { pages }
    }

    /// Address of the first byte.
    pub const fn start_address(&self) -> VirtualAddress {
        self.pages.start_address()
    }

    /// How many bytes.
    pub const fn size_in_bytes(&self) -> usize {
        self.pages.size_in_bytes()
    }

    /// How many pages.
    pub const fn size_in_pages(&self) -> usize {
        self.pages.size_in_pages()
    }

    /// The first page.
    pub const fn start(&self) -> &Page<P> {
        self.pages.start()
    }

    /// The last page.
    pub const fn end(&self) -> &Page<P> {
        self.pages.end()
    }

    /// The pages, without the ownership.
    pub const fn range(&self) -> &PageRange<P> {
        &self.pages
    }

    /// Bytes from the start to `vaddr`, or `None` if that is outside.
    pub fn offset_of_address(&self, vaddr: VirtualAddress) -> Option<usize> {
        self.pages.offset_of_address(vaddr)
    }

    /// The address `offset` bytes in, or `None` if that is outside.
    pub fn address_at_offset(&self, offset: usize) -> Option<VirtualAddress> {
        self.pages.address_at_offset(offset)
    }

    /// Joins `ap` to this one, if they are adjacent (in either order) or one is empty.
    ///
    /// # Errors
    /// Gives `ap` back, and changes nothing, if they are not.
    pub fn merge(&mut self, mut ap: Self) -> Result<(), Self> {
        let joined = if ap.pages.is_empty() {
            return Ok(());
        } else if self.pages.is_empty() {
            ap.pages.clone()
        } else if *self.end() + 1 == *ap.start() && self.end() < ap.start() {
            PageRange::new(*self.start(), *ap.end())
        } else if *ap.end() + 1 == *self.start() && ap.end() < self.start() {
            PageRange::new(*ap.start(), *self.end())
        } else {
            return Err(ap);
        };
        ap.pages = PageRange::empty();
        self.pages = joined;
        Ok(())
    }

    /// Cuts in two: what is below `at_page`, and the rest from `at_page` on. Either may be empty.
    ///
    /// # Errors
    /// Gives the pages back whole if `at_page` is neither within them nor right after them.
    pub fn split(mut self, at_page: Page<P>) -> Result<(Self, Self), Self> {
        if self.pages.is_empty() || at_page < *self.start() || at_page > *self.end() + 1 {
            return Err(self);
        }
        let whole = mem::replace(&mut self.pages, PageRange::empty());
        let (start, end) = (*whole.start(), *whole.end());
        let lower = if at_page == start { PageRange::empty() } else { PageRange::new(start, at_page - 1) };
        let upper = if at_page > end { PageRange::empty() } else { PageRange::new(at_page, end) };
        Ok((Self { pages: lower }, Self { pages: upper }))
    }
}

impl<P: PageSize> Drop for AllocatedPages<P> {
    fn drop(&mut self) {
        crate::release(&self.pages.into_4k_pages());
    }
}

impl<P: PageSize> fmt::Debug for AllocatedPages<P> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "AllocatedPages({:?})", self.pages)
    }
}
