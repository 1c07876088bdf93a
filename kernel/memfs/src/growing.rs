//! [`Growing`]: a sequence of bytes in pages that grows as it is written.

use io::IoError;

/// The unit in which memory comes, in bytes.
const PAGE_SIZE: usize = 4096;

/// Up to this capacity it is doubled when it no longer suffices; beyond it grows by a quarter. Either way, appending costs
/// constant time per byte on average; the second wastes less where waste is large.
const DOUBLED_BELOW: usize = 16 << 20;

/// Where the bytes are kept: whole pages, one after the other.
pub trait Pages: Sized {
    /// Allocates `size` bytes of zeroes, a multiple of the page size. `None` if there is not enough memory.
    fn allocate(size: usize) -> Option<Self>;

    /// All bytes, as many as were asked for.
    fn bytes(&self) -> &[u8];

    /// All bytes, to be changed.
    fn bytes_mut(&mut self) -> &mut [u8];
}

/// A sequence of bytes that grows as it is written.
///
/// Invariants: `len` is at most the size of `pages`, and the bytes from `len` on are zero, so that a gap reads as zeroes without
/// being filled. No pages are held while `len` is zero.
pub struct Growing<P> {
    pages: Option<P>,
    len: usize,
}

impl<P: Pages> Growing<P> {
    /// No bytes and no pages.
    pub const fn new() -> Self {
        Self { pages: None, len: 0 }
    }

    /// Begins with the first `len` bytes of `pages`. What follows them is set to zero.
    #[cfg(any(test, target_os = "theseus"))]
    pub fn from_pages(mut pages: P, len: usize) -> Result<Self, IoError> {
        let rest = pages.bytes_mut().get_mut(len..).ok_or(IoError::InvalidInput)?;
        rest.fill(0);
        Ok(Self { pages: (len > 0).then_some(pages), len })
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        self.pages.as_ref().map_or(&[], |pages| &pages.bytes()[..self.len])
    }

    /// The pages that hold the bytes, unless there are none.
    #[cfg(any(test, target_os = "theseus"))]
    pub fn pages(&self) -> Option<&P> {
        self.pages.as_ref()
    }

    /// Writes `buffer` at `offset`; see [`io::ByteWriter::write_at`].
    pub fn write_at(&mut self, buffer: &[u8], offset: usize) -> Result<usize, IoError> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let end = offset.checked_add(buffer.len()).ok_or(IoError::InvalidInput)?;
        let pages = self.make_room(end)?;
        pages.bytes_mut()[offset..end].copy_from_slice(buffer);
        self.len = self.len.max(end);
        Ok(buffer.len())
    }

    /// Makes the sequence `length` bytes long; see [`fs_node::File::truncate`].
    pub fn truncate(&mut self, length: usize) -> Result<(), IoError> {
        if length == 0 {
            self.pages = None;
        } else if length > self.len {
            self.make_room(length)?;
        } else if let Some(pages) = &mut self.pages {
            pages.bytes_mut()[length..self.len].fill(0);
            // Gives memory back, if most of it is not needed any more and there is enough for both meanwhile.
            let smaller = length.next_multiple_of(PAGE_SIZE);
            if smaller <= pages.bytes().len() / 4
                && let Some(mut shrunk) = P::allocate(smaller)
            {
                shrunk.bytes_mut()[..length].copy_from_slice(&pages.bytes()[..length]);
                *pages = shrunk;
            }
        }
        self.len = length;
        Ok(())
    }

    /// The pages, made to hold at least `needed` bytes, which is not zero.
    fn make_room(&mut self, needed: usize) -> Result<&mut P, IoError> {
        let capacity = self.pages.as_ref().map_or(0, |pages| pages.bytes().len());
        if needed > capacity {
            if needed > isize::MAX as usize - PAGE_SIZE {
                return Err(IoError::InvalidInput);
            }
            let ample = if capacity < DOUBLED_BELOW { 2 * capacity } else { capacity + capacity / 4 };
            let exact = needed.next_multiple_of(PAGE_SIZE);
            let mut pages = P::allocate(exact.max(ample.next_multiple_of(PAGE_SIZE)))
                .or_else(|| P::allocate(exact))
                .ok_or(IoError::OutOfMemory)?;
            pages.bytes_mut()[..self.len].copy_from_slice(self.bytes());
            self.pages = Some(pages);
        }
        self.pages.as_mut().ok_or(IoError::OutOfMemory)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    std::thread_local! {
        /// How much may still be allocated, and how many bytes were copied into new pages.
        static BUDGET: Cell<usize> = const { Cell::new(usize::MAX) };
        static ALLOCATED: Cell<usize> = const { Cell::new(0) };
    }

    struct Counted(Vec<u8>);

    impl Pages for Counted {
        fn allocate(size: usize) -> Option<Self> {
            assert!(size > 0 && size.is_multiple_of(PAGE_SIZE));
            let left = BUDGET.get().checked_sub(size)?;
            BUDGET.set(left);
            ALLOCATED.set(ALLOCATED.get() + size);
            Some(Counted(vec![0; size]))
        }

        fn bytes(&self) -> &[u8] {
            &self.0
        }

        fn bytes_mut(&mut self) -> &mut [u8] {
            &mut self.0
        }
    }

    impl Drop for Counted {
        fn drop(&mut self) {
            BUDGET.set(BUDGET.get().saturating_add(self.0.len()));
        }
    }

    struct Random(u64);

    impl Random {
        fn below(&mut self, limit: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0 >> 11) as usize % limit
        }
    }

    /// Random operations give the same bytes as a plain vector does, and a failure for lack of memory changes nothing.
    #[test]
    fn behaves_as_a_vector_does() {
        for seed in 1..60u64 {
            let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
            let total = if seed % 2 == 0 { 1 << 40 } else { 60 * 1024 };
            BUDGET.set(total);
            let mut failures = 0;
            let mut file = Growing::<Counted>::new();
            let mut model: Vec<u8> = Vec::new();
            for _ in 0..300 {
                let scale = [10, 5000, 40_000][random.below(3)];
                let (a, b) = (random.below(scale), random.below(scale));
                let result = match random.below(4) {
                    0 => file.truncate(a).inspect(|()| model.resize(a, 0)),
                    kind => {
                        let data: Vec<u8> = (0..b).map(|_| random.below(256) as u8).collect();
                        let offset = if kind == 1 { model.len() } else { a };
                        file.write_at(&data, offset).map(|written| {
                            assert_eq!(written, data.len());
                            if !data.is_empty() {
                                model.resize(model.len().max(offset + data.len()), 0);
                                model[offset..offset + data.len()].copy_from_slice(&data);
                            }
                        })
                    }
                };
                if let Err(error) = result {
                    assert_eq!(error, IoError::OutOfMemory);
                    failures += 1;
                }
                assert_eq!(file.bytes(), model);
                assert!(
                    file.pages().is_none_or(|pages| pages.0[model.len()..].iter().all(|byte| *byte == 0))
                );
                assert_eq!(file.pages().is_none(), model.is_empty());
            }
            assert_eq!(failures > 0, total < 1 << 40, "seed {seed}");
            drop(file);
            assert_eq!(BUDGET.get(), total, "pages leaked");
        }
    }

    #[test]
    fn appending_costs_constant_time_per_byte() {
        BUDGET.set(usize::MAX);
        ALLOCATED.set(0);
        let mut file = Growing::<Counted>::new();
        let piece = [7; 1000];
        let mut length = 0;
        while length < 64 << 20 {
            length += file.write_at(&piece, length).unwrap();
        }
        // Doubling allocates less than four times the length in all, growth by a quarter less than six times.
        assert!(ALLOCATED.get() < 6 * length, "{} bytes allocated for {length}", ALLOCATED.get());
        assert!(file.pages().unwrap().0.len() <= length / 4 * 5 + PAGE_SIZE);
        file.truncate(1).unwrap();
        assert_eq!(file.pages().unwrap().0.len(), PAGE_SIZE, "memory is given back");
    }

    #[test]
    fn impossible_lengths_are_refused() {
        BUDGET.set(1 << 30);
        let mut file = Growing::<Counted>::new();
        assert_eq!(file.write_at(b"x", usize::MAX), Err(IoError::InvalidInput));
        assert_eq!(file.write_at(b"x", isize::MAX as usize), Err(IoError::InvalidInput));
        assert_eq!(file.write_at(b"x", 1 << 50), Err(IoError::OutOfMemory));
        assert_eq!(file.truncate(usize::MAX), Err(IoError::InvalidInput));
        assert_eq!(file.write_at(b"", usize::MAX), Ok(0));
        assert_eq!(file.bytes(), b"");
        file.write_at(b"abc", 0).unwrap();
        assert_eq!(file.truncate(1 << 50), Err(IoError::OutOfMemory));
        assert_eq!(file.bytes(), b"abc");
    }

    #[test]
    fn given_pages_are_cleared_behind_the_end() {
        BUDGET.set(usize::MAX);
        let file = Growing::from_pages(Counted(vec![5; PAGE_SIZE]), 3).unwrap();
        assert_eq!(file.bytes(), [5; 3]);
        assert!(file.pages().unwrap().0[3..].iter().all(|byte| *byte == 0));
        assert!(Growing::from_pages(Counted(vec![5; PAGE_SIZE]), PAGE_SIZE + 1).is_err());
    }
}
