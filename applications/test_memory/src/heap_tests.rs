//! The global allocator.

use crate::{Random, leaks_nothing};
use alloc::alloc::{alloc, alloc_zeroed, dealloc, realloc};
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::alloc::Layout;

fn layout(size: usize, align: usize) -> Layout {
    Layout::from_size_align(size, align).unwrap()
}

/// A block with a mark in every byte.
struct Block {
    start: *mut u8,
    layout: Layout,
    mark: u8,
}

impl Block {
    fn new(size: usize, align: usize, mark: u8) -> Self {
        let layout = layout(size, align);
        // SAFETY: no size here is 0.
        let start = unsafe { alloc(layout) };
        assert!(!start.is_null() && start.addr() % align == 0, "{layout:?}: {start:?}");
        // SAFETY: the block is as large as asked for.
        unsafe { start.write_bytes(mark, size) };
        Self { start, layout, mark }
    }

    fn check(&self) {
        // SAFETY: the block is live, and all of it was written to.
        let bytes = unsafe { core::slice::from_raw_parts(self.start, self.layout.size()) };
        assert!(bytes.iter().all(|&byte| byte == self.mark), "{:?} was overwritten", self.layout);
    }

    fn resize(&mut self, size: usize) {
        let kept = size.min(self.layout.size());
        // SAFETY: the block is live and of this layout; no size here is 0.
        self.start = unsafe { realloc(self.start, self.layout, size) };
        assert!(!self.start.is_null() && self.start.addr().is_multiple_of(self.layout.align()));
        self.layout = layout(kept, self.layout.align());
        self.check();
        // SAFETY: the block is as large as asked for.
        unsafe { self.start.write_bytes(self.mark, size) };
        self.layout = layout(size, self.layout.align());
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: the block is live and of this layout.
        unsafe { dealloc(self.start, self.layout) };
    }
}

pub fn sizes_and_alignments() {
    leaks_nothing(|| {
        let mut blocks = Vec::new();
        for shift in 0..=16 {
            for size in [1, 7, 16, 24, 100, 128, 129, 1000, 4096, 8192, 8193, 20_000, 300_000] {
                blocks.push(Block::new(size, 1 << shift, (shift * 13 + size % 97) as u8));
            }
        }
        blocks.iter().for_each(Block::check);
    });
}

pub fn random_blocks() {
    leaks_nothing(|| {
        let mut random = Random(0xABCD);
        let mut blocks = Vec::new();
        for step in 0..20_000 {
            let grow = step / 4000 % 2 == 0;
            if blocks.is_empty() || random.below(10) < if grow { 7 } else { 3 } {
                let largest = [64, 64, 300, 300, 3000, 40_000][random.below(6)];
                blocks.push(Block::new(1 + random.below(largest), 8, step as u8));
            } else {
                let block = blocks.swap_remove(random.below(blocks.len()));
                block.check();
            }
        }
        blocks.iter().for_each(Block::check);
    });
}

pub fn resizing() {
    leaks_nothing(|| {
        let mut random = Random(0x5EED);
        let mut block = Block::new(1, 8, 0x3C);
        for size in [
            10, 16, 17, 5000, 8192, 8193, 12_000, 12_288, 100_000, 1_000_000, 3_000_000, 2_500_000, 70_000,
            9000, 100,
        ] {
            block.resize(size);
        }
        for _ in 0..300 {
            let largest = [100, 10_000, 400_000][random.below(3)];
            block.resize(1 + random.below(largest));
        }
        // Growing by little is not copying each time: a large block stays where it is as long as what follows
        // is free.
        let mut vector: Vec<u64> = Vec::with_capacity(40_000);
        let start = vector.as_ptr();
        vector.resize(40_000, 1);
        vector.reserve_exact(1000);
        assert_eq!(vector.as_ptr(), start);
    });
}

pub fn zeroed_blocks() {
    leaks_nothing(|| {
        for size in [1, 100, 5000, 8192, 9000, 50_000, 400_000] {
            for _ in 0..3 {
                let layout = layout(size, 16);
                // SAFETY: no size is 0; the block is written to within its size, and given back with its
                // layout.
                unsafe {
                    let block = alloc_zeroed(layout);
                    assert!(!block.is_null());
                    assert!(core::slice::from_raw_parts(block, size).iter().all(|&byte| byte == 0), "{size}");
                    block.write_bytes(0xFF, size);
                    dealloc(block, layout);
                }
            }
        }
    });
}

pub fn collections() {
    leaks_nothing(|| {
        let mut map: BTreeMap<u32, String> = BTreeMap::new();
        let mut random = Random(0xB7EE);
        for _ in 0..3000 {
            let key = random.below(1000) as u32;
            if random.below(3) == 0 {
                map.remove(&key);
            } else {
                map.insert(key, key.to_string().repeat(1 + random.below(5)));
            }
        }
        assert!(map.iter().all(|(key, value)| value.starts_with(&key.to_string())));
        let boxes: Vec<Box<[u64; 5]>> = (0..2000).map(|n| Box::new([n; 5])).collect();
        assert_eq!(boxes.iter().map(|b| b[4]).sum::<u64>(), 1999 * 1000);
    });
}

pub fn too_much_is_an_error() {
    leaks_nothing(|| {
        let total = frame_allocator::statistics().total * 4096;
        for size in [total + 4096, 2 * total, 1 << 40, isize::MAX as usize] {
            let mut vector: Vec<u8> = Vec::new();
            assert!(vector.try_reserve_exact(size).is_err(), "{size} bytes");
        }
        let mut vector: Vec<u8> = Vec::from([1, 2, 3]);
        assert!(vector.try_reserve(total).is_err());
        assert_eq!(vector, [1, 2, 3]);
    });
}

pub fn half_a_million_blocks() {
    leaks_nothing(|| {
        let mut random = Random(0x600D);
        let mut live: Vec<Box<[u8]>> = Vec::with_capacity(20_000);
        for n in 0..500_000 {
            let size = [16, 24, 32, 48, 64, 120, 250][random.below(7)];
            // SAFETY: bytes need no initialisation beyond the ones read below, which are written at once.
            let mut block = unsafe { Box::<[u8]>::new_uninit_slice(size).assume_init() };
            block[0] = n as u8;
            if live.len() < 20_000 {
                live.push(block);
            } else {
                let index = random.below(20_000);
                live[index] = block;
            }
        }
        assert!(heap::statistics().allocations >= 20_000);
    });
}
