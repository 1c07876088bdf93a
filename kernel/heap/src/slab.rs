//! Slabs: 64 KiB of blocks of one size, and the lists of those that have free ones.
//!
//! A slab begins with its header and is aligned to its size, so that a block finds its slab by masking its address. Free
//! blocks are linked through their own memory; blocks that were never used are not in that list, but counted off at the end, so
//! that a new slab is not walked over.
//!
//! ```text
//!  class 3 ──> slab <──> slab <──> slab      those that may have free blocks, the one in use first
//!               │ header: free ──> block ──> block, used, never_used …
//! ```
//!
//! A slab without free blocks leaves its list when it is found out (it is then first), and comes back with the first block that
//! is given back. A slab without used blocks leaves for good, unless it is the only one in its list; so only the first of a list
//! can be empty.

use crate::classes::{CLASSES, block_size};
use core::ptr::{self, NonNull};

/// Bytes in a slab, and what it is aligned to.
pub(crate) const SLAB_SIZE: usize = 64 * 1024;
/// Empty slabs that are kept for reuse by any class. More are given back.
const MAX_SPARE: usize = 16;

/// What a free block's memory holds.
struct FreeBlock {
    next: *mut FreeBlock,
}

/// What a slab begins with.
#[repr(C, align(64))]
struct Slab {
    /// Blocks that were given back.
    free: *mut FreeBlock,
    /// Offset of the first block that was never used.
    never_used: u32,
    /// How many blocks are in use.
    used: u32,
    /// Bytes in a block.
    block_size: u32,
    class: u8,
    /// Whether it is in the list of its class.
    listed: bool,
    next: *mut Slab,
    previous: *mut Slab,
}

/// All slabs.
///
/// Invariants: every slab in use is of one class; `listed` tells whether it is in that class's list; every one that has a free
/// block is; lists are doubly linked and end in null. Spare slabs are linked by `next` and hold nothing.
pub(crate) struct Slabs {
    first: [*mut Slab; CLASSES],
    spare: *mut Slab,
    spare_count: usize,
    /// Slabs in use and spare.
    slabs: usize,
    /// Blocks in use.
    blocks: usize,
    /// Bytes in them.
    bytes: usize,
}

// SAFETY: the slabs belong to this value alone: they are memory given to it for good, and blocks in use are not touched.
unsafe impl Send for Slabs {}

/// The slab that a block is in.
#[inline]
fn slab_of(block: *mut u8) -> *mut Slab {
    block.map_addr(|address| address & !(SLAB_SIZE - 1)).cast()
}

impl Slabs {
    pub(crate) const fn new() -> Self {
        Self {
            first: [ptr::null_mut(); CLASSES],
            spare: ptr::null_mut(),
            spare_count: 0,
            slabs: 0,
            blocks: 0,
            bytes: 0,
        }
    }

    /// Slabs held, blocks in use, and bytes in those.
    pub(crate) fn statistics(&self) -> (usize, usize, usize) {
        (self.slabs, self.blocks, self.bytes)
    }

    /// A block of `class`, or `None` if a new slab is needed: see [`Slabs::add`].
    #[inline]
    pub(crate) fn allocate(&mut self, class: usize) -> Option<NonNull<u8>> {
        loop {
            let slab = self.first[class];
            if slab.is_null() {
                return self.reuse_spare(class).then(|| self.allocate(class)).flatten();
            }
            // SAFETY: slabs in the list are live and this value's own.
            let s = unsafe { &mut *slab };
            let block = if !s.free.is_null() {
                let block = s.free;
                // SAFETY: blocks in the list of free ones are nobody's, and were linked by `deallocate`.
                s.free = unsafe { (*block).next };
                block.cast::<u8>()
            } else if s.never_used as usize + s.block_size as usize <= SLAB_SIZE {
                let offset = s.never_used;
                s.never_used += s.block_size;
                // SAFETY: the block lies within the slab.
                unsafe { slab.byte_add(offset as usize).cast::<u8>() }
            } else {
                // SAFETY: it is in the list, as its first.
                unsafe { self.unlink(slab) };
                continue;
            };
            s.used += 1;
            self.blocks += 1;
            self.bytes += s.block_size as usize;
            return NonNull::new(block);
        }
    }

    /// Takes a block back. Returns a slab that is no longer needed, for the caller to unmap.
    ///
    /// # Safety
    /// The block came from `allocate`, was not given back since, and is not used any more.
    #[inline]
    #[must_use]
    pub(crate) unsafe fn deallocate(&mut self, block: NonNull<u8>) -> Option<NonNull<u8>> {
        let slab = slab_of(block.as_ptr());
        // SAFETY: a block's slab is live and this value's own, since the block was in use until now.
        let s = unsafe { &mut *slab };
        let block = block.as_ptr().cast::<FreeBlock>();
        // SAFETY: the block is at least 16 bytes, aligned to 16, and nobody's now.
        unsafe { block.write(FreeBlock { next: s.free }) };
        s.free = block;
        s.used -= 1;
        self.blocks -= 1;
        self.bytes -= s.block_size as usize;
        if s.used == 0 || !s.listed {
            // SAFETY: the slab is live and this value's own.
            return unsafe { self.deallocate_slow(slab) };
        }
        None
    }

    /// What follows if a slab became empty, or got its first free block.
    ///
    /// # Safety
    /// The slab is live and this value's own.
    #[cold]
    unsafe fn deallocate_slow(&mut self, slab: *mut Slab) -> Option<NonNull<u8>> {
        // SAFETY: by this function's contract, and slabs in lists are live.
        unsafe {
            let first = self.first[(*slab).class as usize];
            if !(*slab).listed {
                // It was full until now, so that it is not empty. The one that was first may be.
                self.link(slab);
                if first.is_null() || (*first).used != 0 {
                    return None;
                }
                self.unlink(first);
                return self.retire(first);
            }
            if first == slab && (*slab).next.is_null() {
                return None;
            }
            self.unlink(slab);
            self.retire(slab)
        }
    }

    /// Keeps an empty slab that is in no list as a spare one, or returns it if there are enough.
    ///
    /// # Safety
    /// The slab is live and this value's own, empty, and in no list.
    unsafe fn retire(&mut self, slab: *mut Slab) -> Option<NonNull<u8>> {
        if self.spare_count < MAX_SPARE {
            // SAFETY: by this function's contract.
            unsafe { (*slab).next = self.spare };
            self.spare = slab;
            self.spare_count += 1;
            return None;
        }
        self.slabs -= 1;
        NonNull::new(slab.cast())
    }

    /// Puts a slab first in the list of its class.
    ///
    /// # Safety
    /// The slab is live and this value's own, and in no list.
    unsafe fn link(&mut self, slab: *mut Slab) {
        // SAFETY: by this function's contract, and slabs in lists are live.
        unsafe {
            let s = &mut *slab;
            let first = &mut self.first[s.class as usize];
            s.previous = ptr::null_mut();
            s.next = *first;
            s.listed = true;
            if !s.next.is_null() {
                (*s.next).previous = slab;
            }
            *first = slab;
        }
    }

    /// Takes a slab out of the list of its class.
    ///
    /// # Safety
    /// The slab is live, this value's own, and in the list.
    unsafe fn unlink(&mut self, slab: *mut Slab) {
        // SAFETY: by this function's contract, and slabs in lists are live.
        unsafe {
            let s = &mut *slab;
            if s.previous.is_null() {
                self.first[s.class as usize] = s.next;
            } else {
                (*s.previous).next = s.next;
            }
            if !s.next.is_null() {
                (*s.next).previous = s.previous;
            }
            s.listed = false;
        }
    }

    #[cold]
    fn reuse_spare(&mut self, class: usize) -> bool {
        let slab = self.spare;
        if slab.is_null() {
            return false;
        }
        // SAFETY: spare slabs are live, this value's own, and hold nothing.
        unsafe {
            self.spare = (*slab).next;
            self.spare_count -= 1;
            self.start(slab, class);
        }
        true
    }

    /// Makes an empty slab of this memory and puts it first in the class's list.
    ///
    /// # Safety
    /// `slab` is [`SLAB_SIZE`] bytes, aligned to as much, writable, this value's own, and nothing in it is in use.
    unsafe fn start(&mut self, slab: *mut Slab, class: usize) {
        let size = block_size(class);
        // Blocks whose size is a power of two are aligned to it.
        let offset = if size.is_power_of_two() { size.max(size_of::<Slab>()) } else { size_of::<Slab>() };
        // SAFETY: by this function's contract.
        unsafe {
            slab.write(Slab {
                free: ptr::null_mut(),
                never_used: offset as u32,
                used: 0,
                block_size: size as u32,
                class: class as u8,
                listed: false,
                next: ptr::null_mut(),
                previous: ptr::null_mut(),
            });
            self.link(slab);
        }
    }

    /// Gives memory for one more slab of `class`.
    ///
    /// # Safety
    /// It is [`SLAB_SIZE`] bytes, aligned to as much, writable, and nobody else's until it is returned.
    pub(crate) unsafe fn add(&mut self, memory: NonNull<u8>, class: usize) {
        self.slabs += 1;
        // SAFETY: by this function's contract.
        unsafe { self.start(memory.as_ptr().cast(), class) };
    }

    /// Takes one slab out that nothing is in, for the caller to unmap. To be called until there is none.
    pub(crate) fn trim(&mut self) -> Option<NonNull<u8>> {
        if !self.spare.is_null() {
            let slab = self.spare;
            // SAFETY: spare slabs are live and this value's own.
            self.spare = unsafe { (*slab).next };
            self.spare_count -= 1;
            self.slabs -= 1;
            return NonNull::new(slab.cast());
        }
        for class in 0..CLASSES {
            let slab = self.first[class];
            // Only the first of a list can be empty.
            // SAFETY: slabs in lists are live and this value's own.
            if !slab.is_null() && unsafe { (*slab).used } == 0 {
                // SAFETY: as above, and it is in the list.
                unsafe { self.unlink(slab) };
                self.slabs -= 1;
                return NonNull::new(slab.cast());
            }
        }
        None
    }
}
