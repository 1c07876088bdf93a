//! Blocks at hand: a few free blocks of each class that a CPU keeps for itself, so that CPUs that allocate at the same time do not
//! wait for each other's lock.
//!
//! They come from the slabs several at a time, and go back so when they become too many. To the slabs they are in use.

use crate::classes::{CLASSES, block_size};
use core::ptr::{self, NonNull};

/// About as many bytes of blocks are fetched and given back at a time.
const BYTES_AT_A_TIME: usize = 2048;
/// So many blocks at most.
pub(crate) const MAX_AT_A_TIME: usize = 16;

/// How many blocks of `class` are fetched or given back at a time.
pub(crate) const fn at_a_time(class: usize) -> usize {
    let blocks = BYTES_AT_A_TIME / block_size(class);
    if blocks == 0 {
        1
    } else if blocks > MAX_AT_A_TIME {
        MAX_AT_A_TIME
    } else {
        blocks
    }
}

/// What a free block's memory holds.
struct FreeBlock {
    next: *mut FreeBlock,
}

/// The blocks of one CPU.
pub(crate) struct AtHand {
    first: [*mut FreeBlock; CLASSES],
    count: [u16; CLASSES],
}

// SAFETY: the blocks in the lists are nobody else's.
unsafe impl Send for AtHand {}

impl AtHand {
    pub(crate) const fn new() -> Self {
        Self { first: [ptr::null_mut(); CLASSES], count: [0; CLASSES] }
    }

    /// A block of `class`.
    #[inline(always)]
    pub(crate) fn pop(&mut self, class: usize) -> Option<NonNull<u8>> {
        // The modulus changes nothing, and needs no code; it is there instead of a test that would.
        let class = class % CLASSES;
        let block = NonNull::new(self.first[class])?;
        // SAFETY: blocks in a list are nobody else's, and hold the next one.
        self.first[class] = unsafe { block.as_ref().next };
        self.count[class] -= 1;
        Some(block.cast())
    }

    /// Keeps a block; true if there are so many now that some should be given back.
    ///
    /// # Safety
    /// It is a block of `class`, of the slabs, and not used any more.
    #[inline(always)]
    pub(crate) unsafe fn push(&mut self, class: usize, block: NonNull<u8>) -> bool {
        let class = class % CLASSES;
        let block = block.as_ptr().cast::<FreeBlock>();
        // SAFETY: by this function's contract; blocks are at least 16 bytes, and aligned to as much.
        unsafe { block.write(FreeBlock { next: self.first[class] }) };
        self.first[class] = block;
        self.count[class] += 1;
        usize::from(self.count[class]) > 2 * at_a_time(class)
    }

    /// How many blocks there are, and bytes in them.
    pub(crate) fn statistics(&self) -> (usize, usize) {
        let counts = self.count.iter().enumerate();
        counts.fold((0, 0), |(blocks, bytes), (class, &count)| {
            (blocks + usize::from(count), bytes + usize::from(count) * block_size(class))
        })
    }
}
