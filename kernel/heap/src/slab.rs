//! Slabs: 64 KiB of blocks of one size, and the lists of those that have free ones.
//!
//! A slab begins with its header and is aligned to its size, so that a block finds its slab by masking its
//! address. Free blocks are linked through their own memory; blocks that were never used are linked a few at
//! a time, so that a new slab is not walked over.
//!
//! ```text
//!  class 3 ──> slab <──> slab <──> slab      those that may have free blocks, the one in use first
//!               │ header: free ──> block ──> block, used, never_used …
//! ```
//!
//! A slab without free blocks leaves its list when it is found out (it is then first), and comes back with
//! the first block that is given back. A slab without used blocks leaves for good, unless it is the only one
//! in its list; so only the first of a list can be empty.

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
    /// Blocks that can be taken.
    free: *mut FreeBlock,
    /// Blocks in use, as long as the slab is in the list of its class. One that is not is full; then this is
    /// 1, so that the next block that is given back makes it 0: whether there is more to do than linking a
    /// block takes one test.
    used: u32,
    /// Offset of the first block that was never used and is not in the list of free ones.
    never_used: u32,
    /// Bytes in a block.
    block_size: u32,
    class: u8,
    /// Whether it is in the list of its class.
    listed: bool,
    next: *mut Slab,
    previous: *mut Slab,
}

/// Offset of the first block of a slab: behind the header, and so that blocks whose size is a power of two
/// are aligned to it.
const fn first_block(class: usize) -> usize {
    let (size, header) = (block_size(class), size_of::<Slab>());
    if size.is_power_of_two() && size > header { size } else { header }
}

/// Blocks in a slab.
const fn capacity(class: usize) -> usize {
    (SLAB_SIZE - first_block(class)) / block_size(class)
}

/// All slabs.
///
/// Invariants: every slab in use is of one class; `listed` tells whether it is in that class's list; every
/// one that has a block left is; lists are doubly linked and end in null. Spare slabs are linked by `next`
/// and hold nothing.
pub(crate) struct Slabs {
    first: [*mut Slab; CLASSES],
    /// How many slabs of each class are in use, in the list or full.
    count: [usize; CLASSES],
    spare: *mut Slab,
    spare_count: usize,
}

// SAFETY: the slabs belong to this value alone: they are memory given to it for good, and blocks in use are
// not touched.
unsafe impl Send for Slabs {}

/// The slab that a block is in.
#[inline]
fn slab_of(block: *mut u8) -> *mut Slab {
    block.map_addr(|address| address & !(SLAB_SIZE - 1)).cast()
}

impl Slabs {
    pub(crate) const fn new() -> Self {
        let nothing = ptr::null_mut();
        Self { first: [nothing; CLASSES], count: [0; CLASSES], spare: nothing, spare_count: 0 }
    }

    /// Slabs held, blocks in use, and bytes in those. Walks over the slabs that are not full.
    pub(crate) fn statistics(&self) -> (usize, usize, usize) {
        let (mut slabs, mut blocks, mut bytes) = (self.spare_count, 0, 0);
        for class in 0..CLASSES {
            let (mut listed, mut used) = (0, 0);
            let mut slab = self.first[class];
            while !slab.is_null() {
                // SAFETY: slabs in lists are live and this value's own.
                let s = unsafe { &*slab };
                listed += 1;
                used += s.used as usize;
                slab = s.next;
            }
            used += (self.count[class] - listed) * capacity(class);
            slabs += self.count[class];
            blocks += used;
            bytes += used * block_size(class);
        }
        (slabs, blocks, bytes)
    }

    /// A block of `class`, if the first slab of the class has a free one at hand; else [`Slabs::allocate`]
    /// may still find one.
    #[inline(always)]
    pub(crate) fn pop(&mut self, class: usize) -> Option<NonNull<u8>> {
        // The modulus changes nothing, and needs no code; it is there instead of a test that would.
        let slab = self.first[class % CLASSES];
        if slab.is_null() {
            return None;
        }
        // SAFETY: slabs in the list are live and this value's own. Blocks in a list of free ones are
        // nobody's, and hold the next one.
        unsafe {
            let block = NonNull::new((*slab).free)?;
            (*slab).free = block.as_ref().next;
            (*slab).used += 1;
            Some(block.cast())
        }
    }

    /// A block of `class`, or `None` if a new slab is needed: see [`Slabs::add`].
    pub(crate) fn allocate(&mut self, class: usize) -> Option<NonNull<u8>> {
        loop {
            if let Some(block) = self.pop(class) {
                return Some(block);
            }
            let slab = self.first[class];
            if slab.is_null() {
                if !self.reuse_spare(class) {
                    return None;
                }
            } else {
                // SAFETY: it is in the list, and has no free block at hand.
                unsafe { self.replenish(slab) };
            }
        }
    }

    /// Makes free blocks of the next ones that were never used, or takes the slab out of its list if there
    /// are none.
    ///
    /// # Safety
    /// The slab is in the list of its class, and its list of free blocks is empty.
    unsafe fn replenish(&mut self, slab: *mut Slab) {
        /// About as many bytes of blocks are linked at a time: not so many that memory is touched in vain.
        const STEP: usize = 2048;
        // SAFETY: by this function's contract; blocks that were never used are nobody's, and lie within the
        // slab.
        unsafe {
            let (size, end) = ((*slab).block_size as usize, (*slab).never_used as usize);
            let blocks = (STEP / size).max(1).min((SLAB_SIZE - end) / size);
            if blocks == 0 {
                self.unlink(slab);
                (*slab).used = 1;
                return;
            }
            for n in (0..blocks).rev() {
                let block = slab.byte_add(end + n * size).cast::<FreeBlock>();
                block.write(FreeBlock { next: (*slab).free });
                (*slab).free = block;
            }
            (*slab).never_used = (end + blocks * size) as u32;
        }
    }

    /// Takes a block back; true if [`Slabs::after_push`] is to be called.
    ///
    /// # Safety
    /// The block came from `pop` or `allocate`, was not given back since, and is not used any more.
    #[inline(always)]
    #[must_use]
    pub(crate) unsafe fn push(&mut self, block: NonNull<u8>) -> bool {
        let slab = slab_of(block.as_ptr());
        let block = block.as_ptr().cast::<FreeBlock>();
        // SAFETY: a block's slab is live and this value's own, since the block was in use until now. The
        // block is at least 16 bytes, aligned to 16, and nobody's now.
        unsafe {
            block.write(FreeBlock { next: (*slab).free });
            (*slab).free = block;
            (*slab).used -= 1;
            (*slab).used == 0
        }
    }

    /// What follows if the slab of the block just pushed became empty, or got its first free block. Returns a
    /// slab that is no longer needed, for the caller to unmap.
    ///
    /// # Safety
    /// `push` has just returned true for this block, and nothing happened since.
    #[must_use]
    pub(crate) unsafe fn after_push(&mut self, block: NonNull<u8>) -> Option<NonNull<u8>> {
        let slab = slab_of(block.as_ptr());
        // SAFETY: by this function's contract the slab is live, and slabs in lists are.
        unsafe {
            let class = (*slab).class as usize;
            let first = self.first[class];
            if !(*slab).listed {
                // It was full until now, so that it is not empty. The one that was first may be.
                (*slab).used = capacity(class) as u32 - 1;
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
        // SAFETY: by this function's contract.
        unsafe {
            self.count[(*slab).class as usize] -= 1;
            if self.spare_count < MAX_SPARE {
                (*slab).next = self.spare;
                self.spare = slab;
                self.spare_count += 1;
                return None;
            }
        }
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

    /// Makes a spare slab the first of `class`, if there is one.
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
    /// `slab` is [`SLAB_SIZE`] bytes, aligned to as much, writable, this value's own, and nothing in it is in
    /// use.
    unsafe fn start(&mut self, slab: *mut Slab, class: usize) {
        self.count[class] += 1;
        // SAFETY: by this function's contract.
        unsafe {
            slab.write(Slab {
                free: ptr::null_mut(),
                used: 0,
                never_used: first_block(class) as u32,
                block_size: block_size(class) as u32,
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
            return NonNull::new(slab.cast());
        }
        for class in 0..CLASSES {
            let slab = self.first[class];
            // Only the first of a list can be empty.
            // SAFETY: slabs in lists are live and this value's own.
            if !slab.is_null() && unsafe { (*slab).used } == 0 {
                // SAFETY: as above, and it is in the list.
                unsafe { self.unlink(slab) };
                self.count[class] -= 1;
                return NonNull::new(slab.cast());
            }
        }
        None
    }
}
