//! Where an arena's large blocks lie: a map of the upper half of its region.
//!
//! A block takes whole [`SPAN`]s of address space, of which only its own pages are committed. Blocks are placed with
//! room behind them as long as there is some, so that most can grow where they are.

use super::HALF;
use kernel_config::memory::PAGE_SIZE;

/// Bytes of address space that a bit of the map stands for.
pub(crate) const SPAN: usize = 256 * 1024;
const SPANS: usize = HALF / SPAN;
/// Spans in 2 MiB: blocks that are as large begin at such a boundary, to be mapped by large pages.
const SPANS_PER_2M: usize = (2 << 20) / SPAN;
const PAGES_PER_SPAN: usize = SPAN / PAGE_SIZE;

/// Which spans are taken, and where to look next.
pub(crate) struct LargeMap {
    taken: [u64; SPANS / 64],
    next: usize,
    /// Blocks in use.
    blocks: usize,
}

/// Spans that so many pages need.
fn spans(pages: usize) -> usize {
    pages.div_ceil(PAGES_PER_SPAN)
}

impl LargeMap {
    pub(crate) const fn new() -> Self {
        Self { taken: [0; SPANS / 64], next: 0, blocks: 0 }
    }

    /// How many blocks are in use.
    pub(crate) fn blocks(&self) -> usize {
        self.blocks
    }

    /// The first span of `from..end` that is taken.
    fn first_taken(&self, from: usize, end: usize) -> Option<usize> {
        let mut at = from;
        while at < end {
            let rest = self.taken[at / 64] >> (at % 64);
            if rest != 0 {
                let found = at + rest.trailing_zeros() as usize;
                return (found < end).then_some(found);
            }
            at = (at / 64 + 1) * 64;
        }
        None
    }

    fn mark(&mut self, from: usize, end: usize, taken: bool) {
        for span in from..end {
            let bit = 1 << (span % 64);
            if taken {
                self.taken[span / 64] |= bit;
            } else {
                self.taken[span / 64] &= !bit;
            }
        }
    }

    /// The first of `count` free spans at or after `from`, aligned.
    fn find(&self, from: usize, count: usize, align: usize) -> Option<usize> {
        let mut start = from.next_multiple_of(align);
        while start + count <= SPANS {
            match self.first_taken(start, start + count) {
                None => return Some(start),
                Some(taken) => start = (taken + 1).next_multiple_of(align),
            }
        }
        None
    }

    /// Takes room for a block of so many pages, aligned to `align` bytes; its offset in the half.
    pub(crate) fn take(&mut self, pages: usize, align: usize) -> Option<usize> {
        let count = spans(pages);
        if count > SPANS {
            return None;
        }
        let align = (align / SPAN).max(if count >= SPANS_PER_2M { SPANS_PER_2M } else { 1 });
        let roomy = (count * 8).min(SPANS);
        let found = self.find(self.next, roomy, align).or_else(|| self.find(0, roomy, align));
        let start = found.or_else(|| self.find(0, count, align))?;
        self.mark(start, start + count, true);
        self.next = if found.is_some() { start + roomy } else { self.next };
        self.blocks += 1;
        Some(start * SPAN)
    }

    /// Gives a block's room back.
    pub(crate) fn give_back(&mut self, offset: usize, pages: usize) {
        let start = offset / SPAN;
        self.mark(start, start + spans(pages), false);
        self.blocks -= 1;
    }

    /// Makes a block's room fit another number of pages; false if there is none behind it.
    pub(crate) fn resize(&mut self, offset: usize, old: usize, new: usize) -> bool {
        let start = offset / SPAN;
        let (old_end, new_end) = (start + spans(old), start + spans(new));
        if new_end > SPANS || self.first_taken(old_end, new_end).is_some() {
            return false;
        }
        if new_end > old_end {
            self.mark(old_end, new_end, true);
        } else {
            self.mark(new_end, old_end, false);
        }
        true
    }
}
