//! Which class of an arena's blocks a request belongs to.
//!
//! Three spacings: 16 bytes up to 1 KiB, so that the class is a shift of the size; four between one power of two and
//! the next up to 8 KiB; 16 KiB up to 128 KiB. What is larger is not a block of a class.
//!
//! A request is given by `last`: the number of its last byte, the size being rounded up to the alignment. A class's
//! blocks begin at multiples of their size, counted from a multiple of [`UNIT`]. They are therefore aligned as the
//! request wants it, if that is at most `UNIT`: either the spacing is a multiple of the alignment, and then so is
//! the block's size; or the alignment is a multiple of the spacing, and then the rounded size is itself a class's.

/// What slabs are made of, in bytes.
pub(crate) const UNIT: usize = 16 * 1024;
/// Bytes between one fine class and the next.
const FINE_STEP: usize = 16;
/// The largest block of the fine classes.
pub(crate) const FINE_LIMIT: usize = 1024;
const FINE: usize = FINE_LIMIT / FINE_STEP;
/// The largest block of the coarse classes.
const COARSE_LIMIT: usize = 8192;
const COARSE: usize = 4 * (COARSE_LIMIT.ilog2() - FINE_LIMIT.ilog2()) as usize;
/// The largest block of any class.
pub(crate) const CLASS_LIMIT: usize = 128 * 1024;
/// How many classes there are.
pub(crate) const CLASSES: usize = FINE + COARSE + CLASS_LIMIT / UNIT;

/// Number of the last byte of a request whose size, not 0, is rounded up to its alignment.
#[inline(always)]
pub(crate) const fn last_byte(size: usize, align: usize) -> usize {
    size.wrapping_sub(1) | (align - 1)
}

/// The class of a request whose last byte has a number below [`FINE_LIMIT`].
#[inline(always)]
pub(crate) const fn fine_class(last: usize) -> usize {
    last / FINE_STEP
}

/// The class whose blocks are the smallest that hold the request, if there is one.
pub(crate) const fn class_of(last: usize) -> Option<usize> {
    if last < FINE_LIMIT {
        Some(fine_class(last))
    } else if last < COARSE_LIMIT {
        let log = last.ilog2();
        Some(FINE + (log - FINE_LIMIT.ilog2()) as usize * 4 + (last >> (log - 2) & 3))
    } else if last < CLASS_LIMIT {
        Some(FINE + COARSE + last / UNIT)
    } else {
        None
    }
}

/// Bytes in a block of `class`.
pub(crate) const fn block_size(class: usize) -> usize {
    if class < FINE {
        (class + 1) * FINE_STEP
    } else if class < FINE + COARSE {
        let (doubling, quarter) = ((class - FINE) / 4, (class - FINE) % 4);
        (FINE_LIMIT << doubling) / 4 * (5 + quarter)
    } else {
        (class - FINE - COARSE + 1) * UNIT
    }
}

/// Of how many units a slab of `class` consists.
pub(crate) const fn slab_units(class: usize) -> usize {
    if class < FINE {
        1
    } else if class < FINE + COARSE {
        4
    } else {
        block_size(class) / UNIT
    }
}

/// Blocks in a slab of `class`.
pub(crate) const fn slab_blocks(class: usize) -> usize {
    slab_units(class) * UNIT / block_size(class)
}

const _: () = assert!(CLASSES <= u8::MAX as usize && slab_blocks(0) <= u16::MAX as usize);
