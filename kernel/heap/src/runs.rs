//! A small cache of page runs that were given back, so that a vector that grows and goes does not map and
//! unmap each time.

use core::ptr::{self, NonNull};

/// The longest run that is kept, in pages.
pub(crate) const MAX_CACHED_RUN: usize = 64;
/// The most pages that are kept in all: 2 MiB.
const MAX_CACHED_PAGES: usize = 512;

/// What a kept run's memory begins with.
struct Run {
    next: *mut Run,
}

/// Runs by their length. They stay mapped, and hold whatever was in them.
pub(crate) struct RunCache {
    first: [*mut Run; MAX_CACHED_RUN + 1],
    pages: usize,
}

// SAFETY: the runs belong to this value alone: memory given to it until it is taken out again.
unsafe impl Send for RunCache {}

impl RunCache {
    pub(crate) const fn new() -> Self {
        Self { first: [ptr::null_mut(); MAX_CACHED_RUN + 1], pages: 0 }
    }

    /// How many pages are kept.
    pub(crate) fn pages(&self) -> usize {
        self.pages
    }

    /// A run of this length, if one is kept.
    pub(crate) fn take(&mut self, pages: usize) -> Option<NonNull<u8>> {
        let run = NonNull::new(*self.first.get(pages)?)?;
        // SAFETY: kept runs are mapped, this value's own, and were linked by `keep`.
        self.first[pages] = unsafe { run.as_ref().next };
        self.pages -= pages;
        Some(run.cast())
    }

    /// Keeps a run; false if it is too long or too much is kept already.
    ///
    /// # Safety
    /// It is mapped and writable, and if the answer is true, it is nobody else's until it is taken.
    pub(crate) unsafe fn keep(&mut self, run: NonNull<u8>, pages: usize) -> bool {
        if pages > MAX_CACHED_RUN || self.pages + pages > MAX_CACHED_PAGES {
            return false;
        }
        // SAFETY: by this function's contract; a run is aligned to a page.
        unsafe { run.cast::<Run>().write(Run { next: self.first[pages] }) };
        self.first[pages] = run.cast().as_ptr();
        self.pages += pages;
        true
    }

    /// Takes any run out, with its length.
    pub(crate) fn trim(&mut self) -> Option<(NonNull<u8>, usize)> {
        let pages = (1..=MAX_CACHED_RUN).rev().find(|&pages| !self.first[pages].is_null())?;
        Some((self.take(pages)?, pages))
    }
}
