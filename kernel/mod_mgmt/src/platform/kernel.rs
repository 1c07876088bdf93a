//! The kernel itself: segments are `MappedPages` in the window that code may lie in.

use core::ops::Range;

use kernel_config::memory::{CRATE_WINDOW_LAST, CRATE_WINDOW_START, PAGE_SIZE};
use memory::{
    AllocatedPages, MappedPages, Mapper, Page, PageRange, PteFlags, VirtualAddress, allocate_pages_in_range,
};
use unwind::{CodeRangeGuard, RegisterError, UnwindInfo};

use super::Protection;
use crate::LoadError;

pub(crate) use local_storage_initializer::KernelAreaMemory as AreaMemoryOfPlatform;

/// A segment of a crate.
pub(crate) struct SegmentPages {
    pages: MappedPages,
    size: usize,
}

impl SegmentPages {
    /// Maps segments of the given sizes in bytes one after the other, writable and zeroed. `None` for those of size 0.
    pub(crate) fn allocate<const N: usize>(sizes: [usize; N]) -> Result<[Option<Self>; N], LoadError> {
        let mut segments = [const { None }; N];
        let pages = sizes.iter().map(|size| size.div_ceil(PAGE_SIZE)).sum();
        if pages == 0 {
            return Ok(segments);
        }
        let window = PageRange::new(
            Page::containing_address(VirtualAddress::new_canonical(CRATE_WINDOW_START)),
            Page::containing_address(VirtualAddress::new_canonical(CRATE_WINDOW_LAST)),
        );
        let mut rest = allocate_pages_in_range(pages, &window).map_err(LoadError::Memory)?;
        let flags = PteFlags::new().valid(true).writable(true);
        for (size, segment) in sizes.into_iter().zip(&mut segments) {
            if size == 0 {
                continue;
            }
            let end = *rest.start() + size.div_ceil(PAGE_SIZE);
            let pages = if end > *rest.end() {
                core::mem::replace(&mut rest, AllocatedPages::empty())
            } else {
                let whole = core::mem::replace(&mut rest, AllocatedPages::empty());
                let (pages, after) =
                    whole.split(end).map_err(|_| LoadError::Memory("pages could not be split"))?;
                rest = after;
                pages
            };
            let pages = Mapper::current().map_allocated_pages(pages, flags).map_err(LoadError::Memory)?;
            *segment = Some(SegmentPages { pages, size });
        }
        Ok(segments)
    }

    /// The addresses of the segment's bytes.
    pub(crate) fn range(&self) -> Range<usize> {
        let start = self.pages.start_address().value();
        start..start + self.size
    }

    /// The segment's bytes, as long as it is writable.
    pub(crate) fn bytes_mut(&mut self) -> Result<&mut [u8], LoadError> {
        self.pages.as_slice_mut(0, self.size).map_err(LoadError::Memory)
    }

    /// The segment's bytes.
    pub(crate) fn bytes(&self) -> Result<&[u8], LoadError> {
        self.pages.as_slice(0, self.size).map_err(LoadError::Memory)
    }

    /// Sets the final protection.
    pub(crate) fn protect(&mut self, protection: Protection) -> Result<(), LoadError> {
        let flags = PteFlags::new().valid(true);
        let flags = match protection {
            Protection::Execute => flags.executable(true),
            Protection::Read => flags,
            Protection::Write => return Ok(()),
        };
        self.pages.remap(&mut Mapper::current(), flags).map_err(LoadError::Memory)
    }

    /// How the pages are mapped.
    pub(crate) fn protection(&self) -> Protection {
        let flags = self.pages.flags();
        match (flags.is_executable(), flags.is_writable()) {
            (true, _) => Protection::Execute,
            (false, true) => Protection::Write,
            (false, false) => Protection::Read,
        }
    }
}

/// Makes code known to the unwinder until the guard is dropped.
///
/// # Safety
/// `text` and `eh_frame` are mapped, the latter is relocated, and both stay so until the guard is dropped.
pub(crate) unsafe fn register_unwind_info(
    text: Range<usize>,
    eh_frame: Range<usize>,
) -> Result<CodeRangeGuard, RegisterError> {
    // SAFETY: the caller's promise.
    unsafe { unwind::register_code_range(text, UnwindInfo::EhFrame(eh_frame)) }
}

/// What keeps a crate's code known to the unwinder.
pub(crate) type UnwindGuard = CodeRangeGuard;
