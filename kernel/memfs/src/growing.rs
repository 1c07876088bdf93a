//! [`Growing`]: a sequence of bytes in pages that grows as it is written.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use io::IoError;

/// The unit in which memory comes, in bytes.
const PAGE_SIZE: usize = 4096;

/// The bytes in a piece.
const PIECE: usize = 64 << 10;

/// What is written that far behind the first part, and no farther, still becomes part of it, in bytes.
const GAP: usize = 1 << 20;

/// How large the first part gets, in bytes. It moves when it grows, which takes the longer the larger it is.
const FIRST_PART: usize = 16 << 20;

/// How many pieces are given back in one step of [`Growing::shrink`].
const STEP: usize = 64;

/// Where the bytes are kept: whole pages, one after the other.
pub trait Pages: Sized {
    /// Allocates `size` bytes of zeroes, a multiple of the page size. `None` if there is not enough memory.
    fn allocate(size: usize) -> Option<Self>;

    /// All bytes, as many as were asked for.
    fn bytes(&self) -> &[u8];

    /// All bytes, to be changed.
    fn bytes_mut(&mut self) -> &mut [u8];

    /// Gives back what is behind the first `size` bytes, a multiple of the page size that is not zero.
    fn shorten(self, size: usize) -> Self;
}

/// A sequence of bytes that grows as it is written.
///
/// ```text
/// 0            first part        .                    length
/// |=== one run of pages ========>|     |== piece ==|      |
/// ```
///
/// It begins with a run of pages that moves to twice as many when they are full. What is written far behind that, or when it has become
/// large, goes into pieces of 64 KiB, which stay where they are. Where there is no piece all bytes are zero, and take no memory.
///
/// Invariants: all bytes from `len` on are zero, so that a gap reads as zeroes without being filled. The first part does not grow while there are
/// pieces; of a piece that begins within it only what is behind it counts. Nothing is held while `len` is zero, unless room was asked for.
pub struct Growing<P> {
    first: Option<P>,
    /// By their number: the offset divided by their size.
    pieces: BTreeMap<usize, P>,
    len: usize,
}

/// Where a byte is, and how many of those behind it are there too.
enum Part {
    First(usize),
    Piece { number: usize, within: usize, count: usize },
}

impl<P: Pages> Growing<P> {
    /// No bytes and no pages.
    pub const fn new() -> Self {
        Self { first: None, pieces: BTreeMap::new(), len: 0 }
    }

    /// Begins with the first `len` bytes of `pages`. What follows them is set to zero.
    #[cfg(any(test, target_os = "theseus"))]
    pub fn from_pages(mut pages: P, len: usize) -> Result<Self, IoError> {
        let rest = pages.bytes_mut().get_mut(len..).ok_or(IoError::InvalidInput)?;
        rest.fill(0);
        Ok(Self { first: (len > 0).then_some(pages), pieces: BTreeMap::new(), len })
    }

    /// How many bytes there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// The pages that hold the bytes, if these are all in one run, and not none.
    #[cfg(any(test, target_os = "theseus"))]
    pub fn pages(&self) -> Option<&P> {
        self.first.as_ref().filter(|first| self.len > 0 && self.len <= first.bytes().len())
    }

    /// How many bytes of memory are held.
    #[cfg(test)]
    fn held(&self) -> usize {
        self.capacity() + self.pieces.len() * PIECE
    }

    /// How long the first part is.
    fn capacity(&self) -> usize {
        self.first.as_ref().map_or(0, |first| first.bytes().len())
    }

    fn part(&self, at: usize) -> Part {
        match self.capacity().checked_sub(at) {
            Some(count) if count > 0 => Part::First(count),
            _ => Part::Piece { number: at / PIECE, within: at % PIECE, count: PIECE - at % PIECE },
        }
    }

    /// Reads at `offset`; see [`io::ByteReader::read_at`].
    pub fn read_at(&self, buffer: &mut [u8], offset: usize) -> usize {
        let count = buffer.len().min(self.len.saturating_sub(offset));
        let mut rest = &mut buffer[..count];
        let mut at = offset;
        while !rest.is_empty() {
            let (here, source) = match self.part(at) {
                Part::First(count) => (count, self.first.as_ref().map(|first| &first.bytes()[at..])),
                Part::Piece { number, within, count } => {
                    (count, self.pieces.get(&number).map(|piece| &piece.bytes()[within..]))
                }
            };
            let (now, later) = rest.split_at_mut(here.min(rest.len()));
            match source {
                Some(source) => now.copy_from_slice(&source[..now.len()]),
                None => now.fill(0),
            }
            at += now.len();
            rest = later;
        }
        count
    }

    /// Writes `buffer` at `offset`; see [`io::ByteWriter::write_at`].
    pub fn write_at(&mut self, buffer: &[u8], offset: usize) -> Result<usize, IoError> {
        if buffer.is_empty() {
            return Ok(0);
        }
        self.make_room(offset, buffer.len())?;
        let mut rest = buffer;
        let mut at = offset;
        while !rest.is_empty() {
            let (here, target) = match self.part(at) {
                Part::First(count) => (count, self.first.as_mut().map(|first| &mut first.bytes_mut()[at..])),
                Part::Piece { number, within, count } => {
                    (count, self.pieces.get_mut(&number).map(|piece| &mut piece.bytes_mut()[within..]))
                }
            };
            let (now, later) = rest.split_at(here.min(rest.len()));
            // There is room for all of it.
            target.ok_or(IoError::OutOfMemory)?[..now.len()].copy_from_slice(now);
            at += now.len();
            rest = later;
        }
        self.len = self.len.max(at);
        Ok(buffer.len())
    }

    /// Makes the sequence `length` bytes long; see [`fs_node::File::truncate`].
    pub fn truncate(&mut self, length: usize) -> Result<(), IoError> {
        if length > MOST {
            return Err(IoError::InvalidInput);
        }
        // Pieces may be there behind the end, too.
        while !self.shrink(length) {}
        self.len = length;
        Ok(())
    }

    /// Makes the sequence shorter, down to `length` bytes, or does a part of that; returns whether it is done. If it is not longer,
    /// all that is behind `length` and was held in advance is given back.
    pub fn shrink(&mut self, length: usize) -> bool {
        for _ in 0..STEP {
            let Some(last) = self.pieces.last_entry() else { break };
            let start = last.key() * PIECE;
            if start < length {
                break;
            }
            self.len = self.len.min(start);
            drop(last.remove());
        }
        if self.pieces.last_key_value().is_some_and(|(number, _)| number * PIECE >= length) {
            return false;
        }
        if length < self.len {
            // What is left of the last piece, and of the first part.
            if let Some(piece) = self.pieces.get_mut(&(length / PIECE)) {
                piece.bytes_mut()[length % PIECE..].fill(0);
            }
            if let Some(first) = &mut self.first
                && length < first.bytes().len()
            {
                let end = self.len.min(first.bytes().len());
                first.bytes_mut()[length..end].fill(0);
            }
            self.len = length;
        }
        if length == 0 {
            self.first = None;
        } else {
            // Gives memory back, if most of it is not needed any more.
            let smaller = length.next_multiple_of(PAGE_SIZE);
            if smaller <= self.capacity() / 4 {
                self.first = self.first.take().map(|first| first.shorten(smaller));
            }
        }
        true
    }

    /// Makes sure that there is memory for `count` bytes at `offset`, which is not zero; see [`fs_node::File::make_room`].
    pub fn make_room(&mut self, offset: usize, count: usize) -> Result<(), IoError> {
        let end = end_of(offset, count)?;
        let capacity = self.capacity();
        if end <= capacity {
            return Ok(());
        }
        let near = self.pieces.is_empty() && offset <= capacity + GAP && end <= FIRST_PART;
        if near && self.extend(end) {
            return Ok(());
        }
        // All of it or nothing.
        let numbers = offset.max(capacity) / PIECE..=(end - 1) / PIECE;
        let mut new = Vec::new();
        for number in numbers.filter(|number| !self.pieces.contains_key(number)) {
            new.try_reserve(1).map_err(|_| IoError::OutOfMemory)?;
            new.push((number, P::allocate(PIECE).ok_or(IoError::OutOfMemory)?));
        }
        self.pieces.extend(new);
        Ok(())
    }

    /// Makes the first part hold `needed` bytes. Returns whether there was memory for that.
    fn extend(&mut self, needed: usize) -> bool {
        // Doubled, so that appending costs constant time per byte on average.
        let exact = needed.next_multiple_of(PAGE_SIZE);
        let ample = (2 * self.capacity()).min(FIRST_PART).max(exact);
        let Some(mut pages) = P::allocate(ample).or_else(|| P::allocate(exact)) else { return false };
        if let Some(first) = &self.first {
            let used = self.len.min(first.bytes().len());
            pages.bytes_mut()[..used].copy_from_slice(&first.bytes()[..used]);
        }
        self.first = Some(pages);
        true
    }
}

/// The most bytes that a sequence can have.
const MOST: usize = isize::MAX as usize - PIECE;

/// The end of `count` bytes at `offset`.
///
/// # Errors
/// [`IoError::InvalidInput`] if no sequence is so long.
pub fn end_of(offset: usize, count: usize) -> Result<usize, IoError> {
    offset.checked_add(count).filter(|end| *end <= MOST).ok_or(IoError::InvalidInput)
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

        fn shorten(mut self, size: usize) -> Self {
            BUDGET.set(BUDGET.get().saturating_add(self.0.len() - size));
            self.0.truncate(size);
            self
        }
    }

    fn content(file: &Growing<Counted>) -> Vec<u8> {
        let mut content = vec![1; file.len() + 3];
        let count = file.read_at(&mut content, 0);
        content.truncate(count);
        content
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
            for _ in 0..if seed % 8 == 2 { 30 } else { 300 } {
                let scale = [10, 5000, 40_000, 3 << 20][random.below(if seed % 8 == 2 { 4 } else { 3 })];
                let (a, b) = (random.below(scale), random.below(scale));
                let result = match random.below(4) {
                    0 => file.truncate(a).inspect(|()| model.resize(a, 0)),
                    kind => {
                        let data: Vec<u8> = (0..b.min(40_000)).map(|_| random.below(256) as u8).collect();
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
                assert!(content(&file) == model, "seed {seed}");
                let rest = file.pages().map_or(&[][..], |pages| &pages.0[model.len()..]);
                assert!(rest == vec![0; rest.len()]);
                if model.is_empty() {
                    assert_eq!(file.held(), 0);
                }
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
        // Doubling allocates less than twice the first part in all; the rest does not move.
        assert!(
            ALLOCATED.get() < length + 2 * FIRST_PART,
            "{} bytes allocated for {length}",
            ALLOCATED.get()
        );
        assert!(file.held() <= length + PIECE);
        assert!(file.pages().is_none(), "not in one run");
        file.truncate(FIRST_PART).unwrap();
        assert!(file.pages().unwrap().0.iter().all(|byte| *byte == 7));
        file.truncate(1).unwrap();
        assert_eq!(file.held(), PAGE_SIZE, "memory is given back");
    }

    #[test]
    fn holes_take_no_memory() {
        BUDGET.set(1 << 20);
        let mut file = Growing::<Counted>::new();
        file.truncate(1 << 40).unwrap();
        assert_eq!((file.len(), file.held()), (1 << 40, 0));
        file.write_at(b"end", (1 << 40) - 3).unwrap();
        file.write_at(b"middle", (1 << 39) + PIECE - 3).unwrap();
        file.write_at(b"start", 0).unwrap();
        assert_eq!(file.held(), 4 * PIECE);
        let mut buffer = [1; 8];
        for (at, expected) in [
            ((1 << 40) - 4, &b"\0end"[..]),
            ((1 << 39) + PIECE - 4, b"\0middle\0"),
            (0, b"start\0\0\0"),
            (1 << 20, &[0; 8]),
        ] {
            let count = file.read_at(&mut buffer, at);
            assert_eq!(&buffer[..count], expected);
        }
        assert_eq!(file.write_at(&[1; 1 << 20], 1 << 30), Err(IoError::OutOfMemory));
        assert_eq!(file.held(), 4 * PIECE, "all or nothing");
        // Room that was made in advance is there for writing, and goes when it is not used.
        file.make_room(1 << 30, 2 * PIECE).unwrap();
        assert_eq!((file.len(), file.held()), (1 << 40, 6 * PIECE));
        file.truncate((1 << 30) + 10).unwrap();
        assert_eq!(file.held(), 2 * PIECE);
        file.truncate(1 << 20).unwrap();
        file.truncate(1 << 31).unwrap();
        file.read_at(&mut buffer, 1 << 30);
        assert_eq!(buffer, [0; 8]);
        file.make_room(1 << 32, 1).unwrap();
        file.truncate(1 << 31).unwrap();
        assert_eq!(file.held(), PIECE, "only the first one");
        file.truncate(0).unwrap();
        assert_eq!(file.held(), 0);
    }

    /// Many pieces are given back in several steps, and what is left is always as it was.
    #[test]
    fn shrinking_step_by_step() {
        BUDGET.set(usize::MAX);
        let mut file = Growing::<Counted>::new();
        let count = 3 * STEP + 2;
        for number in 0..count {
            file.write_at(&[1; PIECE], (4 << 20) + number * PIECE).unwrap();
        }
        let mut steps = 1;
        while !file.shrink((4 << 20) + 10) {
            steps += 1;
            assert_eq!(file.len(), (4 << 20) + (count - (steps - 1) * STEP) * PIECE);
        }
        assert_eq!((steps, file.len(), file.held()), (4, (4 << 20) + 10, PIECE));
        assert_eq!(content(&file).iter().filter(|byte| **byte == 1).count(), 10);
    }

    #[test]
    fn impossible_lengths_are_refused() {
        BUDGET.set(1 << 30);
        let mut file = Growing::<Counted>::new();
        assert_eq!(file.write_at(b"x", usize::MAX), Err(IoError::InvalidInput));
        assert_eq!(file.write_at(b"x", isize::MAX as usize), Err(IoError::InvalidInput));
        BUDGET.set(PIECE - 1);
        assert_eq!(file.write_at(b"x", 1 << 50), Err(IoError::OutOfMemory));
        assert_eq!(file.truncate(usize::MAX), Err(IoError::InvalidInput));
        assert_eq!(file.write_at(b"", usize::MAX), Ok(0));
        assert_eq!(content(&file), b"");
        file.write_at(b"abc", 0).unwrap();
        assert_eq!(file.truncate(usize::MAX), Err(IoError::InvalidInput));
        assert_eq!(content(&file), b"abc");
    }

    #[test]
    fn given_pages_are_cleared_behind_the_end() {
        BUDGET.set(usize::MAX);
        let file = Growing::from_pages(Counted(vec![5; PAGE_SIZE]), 3).unwrap();
        assert_eq!(content(&file), [5; 3]);
        assert!(file.pages().unwrap().0[3..].iter().all(|byte| *byte == 0));
        assert!(Growing::from_pages(Counted(vec![5; PAGE_SIZE]), PAGE_SIZE + 1).is_err());
    }
}
