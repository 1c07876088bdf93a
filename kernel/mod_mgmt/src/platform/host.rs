//! A Linux host: segments are plain memory that *pretends* to lie in the window for code. Nothing of it is executed.

use alloc::vec::Vec;
use core::{alloc::Layout, ops::Range};

use kernel_config::memory::{CRATE_WINDOW_START, PAGE_SIZE};
use local_storage_initializer::AreaMemory;
use spin::Mutex;
use unwind::RegisterError;

use super::Protection;
use crate::LoadError;

/// Where the pretended window begins: behind a pretended base image.
const FIRST_ADDRESS: usize = CRATE_WINDOW_START + (64 << 20);

/// Pretended address ranges in use.
static IN_USE: Mutex<Vec<Range<usize>>> = Mutex::new(Vec::new());

/// How many segments exist, for tests that look for leaks.
#[cfg(test)]
pub(crate) fn segment_count() -> usize {
    IN_USE.lock().len()
}

/// A segment of a crate.
pub(crate) struct SegmentPages {
    start: usize,
    bytes: Vec<u8>,
    protection: Protection,
}

impl SegmentPages {
    /// Makes segments of the given sizes in bytes, zeroed. `None` for those of size 0.
    pub(crate) fn allocate<const N: usize>(sizes: [usize; N]) -> Result<[Option<Self>; N], LoadError> {
        Ok(sizes.map(|size| {
            if size == 0 {
                return None;
            }
            let mut in_use = IN_USE.lock();
            let mut start = FIRST_ADDRESS;
            let mut place = 0;
            while let Some(next) = in_use.get(place) {
                if start + size <= next.start {
                    break;
                }
                start = next.end.next_multiple_of(PAGE_SIZE);
                place += 1;
            }
            in_use.insert(place, start..start + size);
            Some(SegmentPages { start, bytes: alloc::vec![0; size], protection: Protection::Write })
        }))
    }

    /// The addresses that the segment's bytes pretend to have.
    pub(crate) fn range(&self) -> Range<usize> {
        self.start..self.start + self.bytes.len()
    }

    /// The segment's bytes, as long as it is writable.
    pub(crate) fn bytes_mut(&mut self) -> Result<&mut [u8], LoadError> {
        if self.protection != Protection::Write {
            return Err(LoadError::Memory("the segment is not writable"));
        }
        Ok(&mut self.bytes)
    }

    /// The segment's bytes.
    pub(crate) fn bytes(&self) -> Result<&[u8], LoadError> {
        Ok(&self.bytes)
    }

    /// Sets the final protection.
    pub(crate) fn protect(&mut self, protection: Protection) -> Result<(), LoadError> {
        self.protection = protection;
        Ok(())
    }

    /// How the pages are mapped.
    pub(crate) fn protection(&self) -> Protection {
        self.protection
    }
}

impl Drop for SegmentPages {
    fn drop(&mut self) {
        IN_USE.lock().retain(|range| range.start != self.start);
    }
}

/// Stands for the unwinder's guard.
pub(crate) struct UnwindGuard;

/// Does nothing: pretended addresses must not be read.
///
/// # Safety
/// As in the kernel.
pub(crate) unsafe fn register_unwind_info(
    _text: Range<usize>,
    _eh_frame: Range<usize>,
) -> Result<UnwindGuard, RegisterError> {
    Ok(UnwindGuard)
}

/// Thread-local areas on the host's heap.
pub struct AreaMemoryOfPlatform {
    address: usize,
    layout: Layout,
}

// SAFETY: the memory is allocated for this value alone, aligned to a page and zeroed, all of it at once.
unsafe impl AreaMemory for AreaMemoryOfPlatform {
    fn reserve(size: usize) -> Option<Self> {
        let layout = Layout::from_size_align(size, PAGE_SIZE).ok().filter(|layout| layout.size() > 0)?;
        // SAFETY: the size is not zero.
        let address = unsafe { alloc::alloc::alloc_zeroed(layout) } as usize;
        (address != 0).then_some(AreaMemoryOfPlatform { address, layout })
    }

    fn address(&self) -> usize {
        self.address
    }

    fn commit(&mut self, _range: Range<usize>) -> bool {
        true
    }
}

impl Drop for AreaMemoryOfPlatform {
    fn drop(&mut self) {
        // SAFETY: allocated in `reserve` with this layout.
        unsafe { alloc::alloc::dealloc(self.address as *mut u8, self.layout) };
    }
}
