//! An arena's address space: where it lies, and committing parts of it.

use super::{ARENAS_END, ARENAS_START, REGION_SIZE};
use core::ops::Range;

#[cfg(target_os = "theseus")]
mod system {
    use super::*;
    use crate::HEAP_FLAGS;
    use kernel_config::memory::PAGE_SIZE;
    use memory::{Claim, PageRange, ReservedPages, VirtualAddress};

    /// [`REGION_SIZE`] bytes of reserved address space, aligned to as much.
    pub(crate) struct Region(ReservedPages);

    impl Region {
        /// `None` if there is no room left in the arenas' range.
        pub(crate) fn reserve() -> Option<Self> {
            const PAGES: usize = REGION_SIZE / PAGE_SIZE;
            let start = VirtualAddress::new_canonical(ARENAS_START);
            let range = PageRange::from_virt_addr(start, ARENAS_END - ARENAS_START);
            memory::allocate_pages_in_range_aligned(PAGES, PAGES, &range)
                .ok()
                .map(ReservedPages::new)
                .map(Self)
        }

        /// The first byte, committed or not.
        pub(crate) fn start(&self) -> *mut u8 {
            self.0.as_mut_ptr()
        }

        /// For [`Region::commit`]: take also of the reserve, which arenas leave to others. So what arenas do ends in an error of
        /// theirs, and not in a panic of whoever needs a page next.
        pub(crate) const RESERVE_TOO: bool = true;

        /// Commits a part of which nothing is committed: it is zeroes then. False, with nothing changed, if there is
        /// not enough memory.
        pub(crate) fn commit(&mut self, part: Range<usize>, reserve_too: bool) -> bool {
            let claim = if reserve_too { Claim::Kernel } else { Claim::Guest };
            let mut commit = || memory::with_claim(claim, || self.0.commit(part.clone(), HEAP_FLAGS).is_ok());
            // What the heap keeps for reuse may make the difference.
            commit() || crate::trim() > 0 && commit()
        }

        /// Gives a part's memory back. False if that cannot be, for want of memory for a page table; then all or some
        /// of it stays.
        pub(crate) fn decommit(&mut self, part: Range<usize>) -> bool {
            self.0.decommit(part).is_ok()
        }
    }
}

/// On a host arenas are only tested: their memory comes from `mmap`.
#[cfg(not(target_os = "theseus"))]
mod system {
    use super::*;
    use core::ptr;
    use core::sync::atomic::{AtomicUsize, Ordering};

    /// [`REGION_SIZE`] bytes of reserved address space, aligned to as much.
    pub(crate) struct Region(*mut u8);

    // SAFETY: the memory belongs to the value alone.
    unsafe impl Send for Region {}

    /// Bytes committed in all regions, for tests.
    pub(crate) static COMMITTED: AtomicUsize = AtomicUsize::new(0);
    /// The most bytes that may be.
    pub(crate) static MEMORY: AtomicUsize = AtomicUsize::new(usize::MAX);

    impl Region {
        pub(crate) fn reserve() -> Option<Self> {
            (ARENAS_START..ARENAS_END).step_by(REGION_SIZE).find_map(|address| {
                let wanted = ptr::without_provenance_mut::<libc::c_void>(address);
                let flags =
                    libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_FIXED_NOREPLACE;
                // SAFETY: nothing that is mapped is replaced.
                let start = unsafe { libc::mmap(wanted, REGION_SIZE, libc::PROT_NONE, flags, -1, 0) };
                (start == wanted).then_some(Self(start.cast()))
            })
        }

        pub(crate) fn start(&self) -> *mut u8 {
            self.0
        }

        pub(crate) const RESERVE_TOO: bool = true;

        pub(crate) fn commit(&mut self, part: Range<usize>, reserve_too: bool) -> bool {
            let limit = if reserve_too { usize::MAX } else { MEMORY.load(Ordering::Relaxed) };
            let add = |committed: usize| committed.checked_add(part.len()).filter(|&all| all <= limit);
            if COMMITTED.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).is_err() {
                return false;
            }
            // SAFETY: the part is this value's own, and nobody has a reference to what is not committed.
            let result = unsafe {
                let start = self.0.add(part.start).cast();
                libc::mprotect(start, part.len(), libc::PROT_READ | libc::PROT_WRITE)
            };
            assert!(result == 0, "mprotect");
            true
        }

        pub(crate) fn decommit(&mut self, part: Range<usize>) -> bool {
            COMMITTED.fetch_sub(part.len(), Ordering::Relaxed);
            // SAFETY: the part is this value's own, and the caller has given up what was in it.
            let result = unsafe {
                let start = self.0.add(part.start).cast();
                libc::madvise(start, part.len(), libc::MADV_DONTNEED)
                    | libc::mprotect(start, part.len(), libc::PROT_NONE)
            };
            assert!(result == 0, "madvise");
            true
        }

        /// Ends the region, of which so much is committed.
        pub(crate) fn count_out(&self, committed: usize) {
            COMMITTED.fetch_sub(committed, Ordering::Relaxed);
        }
    }

    impl Drop for Region {
        fn drop(&mut self) {
            // SAFETY: nobody uses the memory any more.
            unsafe { libc::munmap(self.0.cast(), REGION_SIZE) };
        }
    }
}

pub(crate) use system::*;
