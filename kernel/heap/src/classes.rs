//! Which size class a request belongs to.

use core::alloc::Layout;
use kernel_config::memory::PAGE_SIZE;

/// The smallest block, and what all blocks are aligned to.
pub(crate) const MIN_BLOCK: usize = 16;
/// Up to here classes are 16 bytes apart; beyond, there are four between one power of two and the next.
const LINEAR_LIMIT: usize = 128;
const LINEAR_CLASSES: usize = LINEAR_LIMIT / MIN_BLOCK;
/// The largest block of a class. What is larger gets pages of its own.
pub(crate) const MAX_BLOCK: usize = 8192;
/// How many classes there are: 16, 32, … 128, 160, 192, 224, 256, 320, … 8192.
pub(crate) const CLASSES: usize = class_of_size(MAX_BLOCK) + 1;

/// The class whose blocks are the smallest that hold `size` bytes (1 to [`MAX_BLOCK`]).
pub(crate) const fn class_of_size(size: usize) -> usize {
    if size <= LINEAR_LIMIT {
        return size.saturating_sub(1) / MIN_BLOCK;
    }
    let last = size - 1;
    let log = last.ilog2();
    LINEAR_CLASSES + (log - LINEAR_LIMIT.ilog2()) as usize * 4 + (last >> (log - 2) & 3)
}

/// Bytes in a block of `class`.
pub(crate) const fn block_size(class: usize) -> usize {
    if class < LINEAR_CLASSES {
        return (class + 1) * MIN_BLOCK;
    }
    let (doubling, quarter) = ((class - LINEAR_CLASSES) / 4, (class - LINEAR_CLASSES) % 4);
    (LINEAR_LIMIT << doubling) / 4 * (5 + quarter)
}

/// Where a request is served from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// A block of this class.
    Slab(usize),
    /// This many pages of its own.
    Pages(usize),
}

/// Where a request of this layout is served from; the same layout always gives the same answer, so that
/// nothing needs to be stored with a block.
#[inline]
pub(crate) fn place(layout: &Layout) -> Place {
    let (size, align) = (layout.size(), layout.align());
    if size <= MAX_BLOCK && align <= MIN_BLOCK {
        Place::Slab(class_of_size(size))
    } else if size <= MAX_BLOCK && align <= PAGE_SIZE {
        // Blocks whose size is a power of two are aligned to it.
        Place::Slab(class_of_size(if size > align { size.next_power_of_two() } else { align }))
    } else {
        Place::Pages(size.div_ceil(PAGE_SIZE).max(1))
    }
}
