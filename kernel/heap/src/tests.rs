//! The parts that need no mapping: classes, slabs and the cache, over the process's own memory.

use crate::at_hand::{AtHand, MAX_AT_A_TIME, at_a_time};
use crate::classes::{CLASSES, MAX_BLOCK, Place, block_size, class_of_size, place};
use crate::runs::{MAX_CACHED_RUN, RunCache};
use crate::slab::{SLAB_SIZE, Slabs};
use std::alloc::{Layout, alloc, dealloc};
use std::collections::BTreeMap;
use std::ptr::NonNull;

/// xorshift64*, seeded: the same run every time.
pub(crate) struct Random(pub(crate) u64);
impl Random {
    pub(crate) fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % n
    }
}

const SLAB: Layout = match Layout::from_size_align(SLAB_SIZE, SLAB_SIZE) {
    Ok(layout) => layout,
    Err(_) => panic!(),
};

/// Slabs out of the process's memory, counted.
struct Tested {
    slabs: Slabs,
    held: usize,
}

impl Tested {
    fn new() -> Self {
        Self { slabs: Slabs::new(), held: 0 }
    }

    fn allocate(&mut self, class: usize) -> NonNull<u8> {
        self.slabs.allocate(class).unwrap_or_else(|| {
            self.held += 1;
            // SAFETY: the layout's size is not 0, and the memory is as large and aligned as a slab.
            unsafe { self.slabs.add(NonNull::new(alloc(SLAB)).unwrap(), class) };
            self.slabs.allocate(class).unwrap()
        })
    }

    fn give_back(&mut self, slab: Option<NonNull<u8>>) -> bool {
        let Some(slab) = slab else { return false };
        self.held -= 1;
        // SAFETY: every slab came from `allocate` above.
        unsafe { dealloc(slab.as_ptr(), SLAB) };
        true
    }

    fn deallocate(&mut self, block: NonNull<u8>) {
        // SAFETY: the tests give back each block once.
        let slab = unsafe { if self.slabs.push(block) { self.slabs.after_push(block) } else { None } };
        self.give_back(slab);
    }

    fn trim(&mut self) {
        loop {
            let slab = self.slabs.trim();
            if !self.give_back(slab) {
                return;
            }
        }
    }
}

#[test]
fn what_is_at_hand_comes_back_and_is_bounded() {
    let mut tested = Tested::new();
    let mut at_hand = AtHand::new();
    for class in 0..CLASSES {
        assert!((1..=MAX_AT_A_TIME).contains(&at_a_time(class)));
        assert_eq!(at_hand.pop(class), None);
        let blocks: Vec<_> = (0..2 * at_a_time(class) + 1).map(|_| tested.allocate(class)).collect();
        for (number, block) in blocks.iter().enumerate() {
            // SAFETY: the block is of this class, and not used.
            let too_many = unsafe { at_hand.push(class, *block) };
            assert_eq!(too_many, number == 2 * at_a_time(class), "class {class}, block {number}");
        }
        assert_eq!(at_hand.statistics(), (blocks.len(), blocks.len() * block_size(class)));
        for block in blocks.into_iter().rev() {
            assert_eq!(at_hand.pop(class), Some(block));
            tested.deallocate(block);
        }
        assert_eq!(at_hand.statistics(), (0, 0));
    }
    tested.trim();
    assert_eq!(tested.held, 0);
}

#[test]
fn every_size_has_the_smallest_class_that_fits() {
    assert_eq!(CLASSES, 32);
    for class in 1..CLASSES {
        assert!(block_size(class - 1) < block_size(class));
        assert_eq!(block_size(class) % 16, 0);
    }
    for size in 1..=MAX_BLOCK {
        let class = class_of_size(size);
        assert!(block_size(class) >= size, "{size}");
        assert!(class == 0 || block_size(class - 1) < size, "{size}");
    }
    assert_eq!(block_size(CLASSES - 1), MAX_BLOCK);
}

#[test]
fn layouts_are_served_from_the_right_place() {
    let of = |size, align| place(&Layout::from_size_align(size, align).unwrap());
    assert_eq!(of(1, 1), Place::Slab(0));
    assert_eq!(of(100, 16), Place::Slab(class_of_size(112)));
    assert_eq!(of(24, 64), Place::Slab(class_of_size(64)));
    assert_eq!(of(65, 32), Place::Slab(class_of_size(128)));
    assert_eq!(of(1, 4096), Place::Slab(class_of_size(4096)));
    assert_eq!(of(8192, 4096), Place::Slab(class_of_size(8192)));
    assert_eq!(of(8193, 1), Place::Pages(3));
    assert_eq!(of(10, 8192), Place::Pages(1));
    assert_eq!(of(4096, 65536), Place::Pages(1));
}

#[test]
fn blocks_are_aligned_and_apart() {
    for class in 0..CLASSES {
        let mut tested = Tested::new();
        let size = block_size(class);
        let blocks: Vec<_> = (0..3 * SLAB_SIZE / size).map(|_| tested.allocate(class)).collect();
        let mut starts: Vec<_> = blocks.iter().map(|block| block.addr().get()).collect();
        starts.sort_unstable();
        assert!(starts.windows(2).all(|pair| pair[0] + size <= pair[1]));
        for start in starts {
            assert_eq!(start % 16, 0);
            assert!(!size.is_power_of_two() || start % size.min(4096) == 0);
            assert!(
                start % SLAB_SIZE != 0 && start % SLAB_SIZE + size <= SLAB_SIZE,
                "within a slab, after its header"
            );
        }
        for block in blocks {
            // SAFETY: blocks are writable, all of them; if two overlapped, or a header were hit, giving back
            // would show it.
            unsafe { block.write_bytes(0xEE, size) };
            tested.deallocate(block);
        }
        tested.trim();
        assert_eq!((tested.held, tested.slabs.statistics()), (0, (0, 0, 0)));
    }
}

#[test]
fn one_block_back_and_forth_keeps_its_slab() {
    let mut tested = Tested::new();
    let block = tested.allocate(5);
    for _ in 0..100 {
        tested.deallocate(block);
        assert_eq!(tested.allocate(5), block);
    }
    assert_eq!(tested.held, 1);
    tested.deallocate(block);
    tested.trim();
    assert_eq!(tested.held, 0);
}

#[test]
fn empty_slabs_serve_other_classes_and_are_not_hoarded() {
    let mut tested = Tested::new();
    let many: Vec<_> = (0..100 * SLAB_SIZE / 4096).map(|_| tested.allocate(class_of_size(4096))).collect();
    let most = tested.held;
    assert!(most > 100);
    many.into_iter().for_each(|block| tested.deallocate(block));
    assert!(tested.held <= 17, "{} slabs kept", tested.held);
    let kept = tested.held;
    let small = tested.allocate(0);
    assert_eq!(tested.held, kept, "a spare slab was reused");
    tested.deallocate(small);
    tested.trim();
    assert_eq!(tested.held, 0);
}

#[test]
fn random_blocks_keep_their_contents() {
    let mut tested = Tested::new();
    let mut random = Random(0xC0FFEE);
    let mut live: Vec<(NonNull<u8>, usize, u8)> = Vec::new();
    let mut starts = BTreeMap::new();
    let mut bytes = 0;
    for step in 0..200_000usize {
        // Waves of growing and shrinking.
        let grow = (step / 20_000).is_multiple_of(2);
        if random.below(10) < if grow { 7 } else { 3 } || live.is_empty() {
            let largest = if random.below(10) == 0 { MAX_BLOCK } else { 200 };
            let size = 1 + random.below(largest);
            let class = class_of_size(size);
            let block = tested.allocate(class);
            let start = block.addr().get();
            if let Some((&below, &length)) = starts.range(..=start).next_back() {
                assert!(below + length <= start, "overlaps with the block below");
            }
            assert!(starts.range(start..).next().is_none_or(|(&above, _)| start + size <= above));
            starts.insert(start, size);
            let mark = random.below(256) as u8;
            // SAFETY: the block has at least `size` bytes.
            unsafe { block.write_bytes(mark, size) };
            live.push((block, size, mark));
            bytes += block_size(class);
        } else {
            let (block, size, mark) = live.swap_remove(random.below(live.len()));
            // SAFETY: the block is live and was written to.
            let contents = unsafe { std::slice::from_raw_parts(block.as_ptr(), size) };
            assert!(contents.iter().all(|&byte| byte == mark));
            starts.remove(&block.addr().get());
            bytes -= block_size(class_of_size(size));
            tested.deallocate(block);
        }
        if step % 16 == 0 {
            assert_eq!(tested.slabs.statistics(), (tested.held, live.len(), bytes));
        }
    }
    live.into_iter().for_each(|(block, ..)| tested.deallocate(block));
    tested.trim();
    assert_eq!(tested.held, 0);
}

#[test]
fn the_cache_keeps_runs_by_length_and_not_too_many() {
    let mut cache = RunCache::new();
    let memory: Vec<Box<[u64; 512]>> = (0..100).map(|_| Box::new([0; 512])).collect();
    let runs: Vec<_> = memory.iter().map(|page| NonNull::from(&**page).cast::<u8>()).collect();
    assert!(cache.take(1).is_none());
    // SAFETY: the runs are writable and not used otherwise. Only their first words are touched, so that they
    // may pretend to be long.
    unsafe {
        assert!(!cache.keep(runs[0], MAX_CACHED_RUN + 1));
        assert!(cache.keep(runs[0], 3) && cache.keep(runs[1], 3) && cache.keep(runs[2], MAX_CACHED_RUN));
        assert_eq!(cache.pages(), 6 + MAX_CACHED_RUN);
        assert!(cache.take(2).is_none() && cache.take(usize::MAX).is_none());
        assert_eq!((cache.take(3), cache.take(3), cache.take(3)), (Some(runs[1]), Some(runs[0]), None));
        let kept = runs[3..].iter().filter(|&&run| cache.keep(run, 60)).count();
        assert!(kept < 10);
    }
    let mut trimmed = 0;
    while let Some((_, pages)) = cache.trim() {
        trimmed += pages;
    }
    assert!(trimmed > 60 && cache.pages() == 0);
}
