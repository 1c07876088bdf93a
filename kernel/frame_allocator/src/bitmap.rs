//! A bitmap of free frames with a summary, so that neither a search nor a count walks over used memory bit by
//! bit.

/// Bits per word.
const BITS: usize = u64::BITS as usize;

/// One bit per frame: set means free. Frame numbers count from 0.
///
/// Invariants: bit `w % 64` of `summary[w / 64]` is set iff `words[w] != 0`; no word below `hint` has a bit
/// set; `free` counts the set bits.
pub(crate) struct Bitmap {
    words: &'static mut [u64],
    summary: &'static mut [u64],
    hint: usize,
    free: usize,
}

/// A word with the bits `from..to` set; `to` is at most 64.
const fn mask(from: usize, to: usize) -> u64 {
    if from >= to {
        return 0;
    }
    (u64::MAX >> (BITS - (to - from))) << from
}

/// Sets or clears some bits of a word. Returns how many were not so before.
#[inline(never)]
fn change_word(word: &mut u64, mask: u64, set: bool) -> usize {
    let old = *word;
    *word = if set { old | mask } else { old & !mask };
    (old ^ *word).count_ones() as usize
}

impl Bitmap {
    /// Words that a bitmap for `frames` frames needs, and summary words for it.
    pub(crate) const fn words_needed(frames: usize) -> (usize, usize) {
        let words = frames.div_ceil(BITS);
        (words, words.div_ceil(BITS))
    }

    /// No frames at all.
    pub(crate) const fn empty() -> Self {
        Self { words: &mut [], summary: &mut [], hint: 0, free: 0 }
    }

    /// A bitmap in the given memory, all of it zero: nothing free yet.
    pub(crate) fn new(words: &'static mut [u64], summary: &'static mut [u64]) -> Self {
        words.fill(0);
        summary.fill(0);
        Self { words, summary, hint: 0, free: 0 }
    }

    /// Makes the same frames free as are in `other`, which is of the same size.
    pub(crate) fn copy_from(&mut self, other: &Bitmap) {
        self.words.copy_from_slice(other.words);
        self.summary.copy_from_slice(other.summary);
        (self.hint, self.free) = (other.hint, other.free);
    }

    /// How many frames are free.
    pub(crate) fn free(&self) -> usize {
        self.free
    }

    /// First frame number beyond the bitmap.
    pub(crate) fn capacity(&self) -> usize {
        self.words.len() * BITS
    }

    /// Sets or clears the bits `start..end`. Returns how many were not so before.
    fn change(&mut self, start: usize, end: usize, set: bool) -> usize {
        if start >= end {
            return 0;
        }
        let (first, last) = (start / BITS, (end - 1) / BITS);
        let from_first = mask(start % BITS, BITS);
        let to_last = mask(0, (end - 1) % BITS + 1);
        let mut changed = if first == last {
            change_word(&mut self.words[first], from_first & to_last, set)
        } else {
            change_word(&mut self.words[first], from_first, set)
                + change_word(&mut self.words[last], to_last, set)
        };
        let new = if set { u64::MAX } else { 0 };
        for word in self.words.get_mut(first + 1..last).unwrap_or_default() {
            // Most words of a long range change as a whole, for which there is no need to count.
            changed += if *word == !new { BITS } else { change_word(word, u64::MAX, set) };
            *word = new;
        }
        self.summarise(first, last, set);
        changed
    }

    /// Brings the summary up to date after words `first..=last` were changed: all but the outer two as a
    /// whole.
    fn summarise(&mut self, first: usize, last: usize, set: bool) {
        for index in first / BITS..=last / BITS {
            let from = first.max(index * BITS) % BITS;
            let to = last.min((index + 1) * BITS - 1) % BITS + 1;
            if set {
                self.summary[index] |= mask(from, to);
            } else {
                self.summary[index] &= !mask(from, to);
            }
        }
        for word in [first, last] {
            if self.words[word] != 0 {
                self.summary[word / BITS] |= 1 << (word % BITS);
            }
        }
    }

    /// Marks `start..end` as free; bits that were already set stay so. Returns how many were not.
    pub(crate) fn set(&mut self, start: usize, end: usize) -> usize {
        let added = self.change(start, end, true);
        self.free += added;
        if start < end {
            self.hint = self.hint.min(start / BITS);
        }
        added
    }

    /// Marks `start..end` as not free. Returns how many were.
    pub(crate) fn clear(&mut self, start: usize, end: usize) -> usize {
        let removed = self.change(start, end, false);
        self.free -= removed;
        removed
    }

    /// Whether frame `bit` is free.
    pub(crate) fn get(&self, bit: usize) -> bool {
        self.words.get(bit / BITS).is_some_and(|word| word >> (bit % BITS) & 1 != 0)
    }

    /// The first free frame at or after `from`.
    pub(crate) fn next_set(&self, from: usize) -> Option<usize> {
        let word = from / BITS;
        let rest = self.words.get(word)? & mask(from % BITS, BITS);
        if rest != 0 {
            return Some(word * BITS + rest.trailing_zeros() as usize);
        }
        let word = word + 1;
        let mut index = word / BITS;
        let mut summary = self.summary.get(index)? & mask(word % BITS, BITS);
        while summary == 0 {
            index += 1;
            summary = *self.summary.get(index)?;
        }
        let word = index * BITS + summary.trailing_zeros() as usize;
        Some(word * BITS + self.words[word].trailing_zeros() as usize)
    }

    /// The first frame at or after `from` that is not free, or `limit` if none is below that.
    pub(crate) fn next_clear(&self, from: usize, limit: usize) -> usize {
        let mut bit = from;
        while bit < limit {
            let Some(word) = self.words.get(bit / BITS) else { return bit };
            let used = !word & mask(bit % BITS, BITS);
            if used != 0 {
                return limit.min(bit / BITS * BITS + used.trailing_zeros() as usize);
            }
            bit = (bit / BITS + 1) * BITS;
        }
        limit
    }

    /// The first free frame of all. Moves the hint up to it.
    pub(crate) fn first(&mut self) -> Option<usize> {
        let found = self.next_set(self.hint * BITS);
        self.hint = found.map_or(self.words.len(), |bit| bit / BITS);
        found
    }

    /// Start of the lowest run of `count` free frames whose first number is a multiple of `alignment`.
    pub(crate) fn find_run(&mut self, count: usize, alignment: usize) -> Option<usize> {
        if count == 0 || count > self.free {
            return None;
        }
        let mut start = self.first()?;
        loop {
            let aligned = start.checked_next_multiple_of(alignment.max(1))?;
            let wanted = aligned.checked_add(count)?;
            if wanted > self.capacity() {
                return None;
            }
            let end = self.next_clear(aligned, wanted);
            if end == wanted {
                return Some(aligned);
            }
            start = self.next_set(end + 1)?;
        }
    }
}
