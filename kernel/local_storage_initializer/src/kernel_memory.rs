//! Areas made of the kernel's pages.

use core::ops::Range;

use memory::{PteFlags, ReservedPages, reserve_pages};

use crate::AreaMemory;

/// Pages that are reserved from the beginning and committed as sections come.
pub struct KernelAreaMemory {
    pages: ReservedPages,
}

// SAFETY: the reservation belongs to this value alone and begins at a page; what is committed is never decommitted before it
// is dropped; frames are zeroed when committed.
unsafe impl AreaMemory for KernelAreaMemory {
    fn reserve(size: usize) -> Option<Self> {
        reserve_pages(size).ok().map(|pages| KernelAreaMemory { pages })
    }

    fn address(&self) -> usize {
        self.pages.as_mut_ptr() as usize
    }

    fn commit(&mut self, range: Range<usize>) -> bool {
        self.pages.commit(range, PteFlags::new().valid(true).writable(true)).is_ok()
    }
}
