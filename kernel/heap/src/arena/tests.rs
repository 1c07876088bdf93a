//! Arenas over memory of `mmap`: the blocks, the books, and what happens when there is no more.

use super::classes::{CLASS_LIMIT, CLASSES, UNIT, block_size, class_of, last_byte, slab_blocks, slab_units};
use super::region::{COMMITTED, MEMORY};
use super::*;
use crate::tests::Random;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{channel, sync_channel};
use std::vec::Vec;

/// Tests that look at how much is committed in all, or limit it, run one at a time.
static ALONE: Mutex<()> = Mutex::new(());

/// Runs a test, and checks that it leaves nothing behind.
fn alone(test: impl FnOnce()) {
    let _guard = ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let before = COMMITTED.load(Ordering::SeqCst);
    test();
    assert_eq!(COMMITTED.load(Ordering::SeqCst), before, "bytes committed before and after");
}

/// A block of an arena, with a mark in every byte of it. To be dropped like a box: by anyone, anywhere.
struct Marked {
    start: *mut u8,
    layout: Layout,
    mark: u8,
}

// SAFETY: a block is its owner's.
unsafe impl Send for Marked {}

fn try_allocate(layout: Layout) -> Option<*mut u8> {
    let block =
        allocate_fast(&layout).unwrap_or_else(|| current().expect("in an arena").allocate_any(&layout).0);
    (!block.is_null()).then_some(block)
}

impl Marked {
    fn try_new(size: usize, align: usize, mark: u8) -> Option<Self> {
        let layout = Layout::from_size_align(size, align).unwrap();
        let start = try_allocate(layout)?;
        assert!(is_arenas(start) && start.addr() % align == 0, "{layout:?}: {start:?}");
        // SAFETY: the block is as large as asked for.
        unsafe { start.write_bytes(mark, size) };
        Some(Self { start, layout, mark })
    }

    fn new(size: usize, align: usize, mark: u8) -> Self {
        Self::try_new(size, align, mark).expect("a block")
    }

    fn check(&self) {
        // SAFETY: the block is live and was written to.
        let bytes = unsafe { core::slice::from_raw_parts(self.start, self.layout.size()) };
        assert!(bytes.iter().all(|&byte| byte == self.mark), "{:?} was overwritten", self.layout);
    }

    /// As `realloc` does; whether it stayed in place.
    fn resize(&mut self, size: usize) -> bool {
        let new = Layout::from_size_align(size, self.layout.align()).unwrap();
        // SAFETY: the block is live and of this layout, and the new one is as large as is copied.
        unsafe {
            if resize(self.start, &self.layout, size) {
                let kept = self.layout.size().min(size);
                self.layout = Layout::from_size_align(kept, self.layout.align()).unwrap();
                self.check();
                self.layout = new;
                self.start.write_bytes(self.mark, size);
                return true;
            }
        }
        *self = Self::new(size, self.layout.align(), self.mark);
        false
    }
}

impl Drop for Marked {
    fn drop(&mut self) {
        self.check();
        // SAFETY: the block is live and of this layout.
        unsafe {
            if !deallocate_fast(self.start) {
                deallocate(self.start, &self.layout);
            }
        }
    }
}

fn budget(limit: usize) -> Arc<Budget> {
    Arc::new(Budget::new(limit))
}

fn arena() -> Arena {
    Arena::new(budget(usize::MAX)).unwrap()
}

#[test]
fn every_size_has_the_smallest_class_that_fits() {
    assert_eq!(CLASSES, 84);
    for class in 1..CLASSES {
        assert!(block_size(class - 1) < block_size(class));
    }
    for class in 0..CLASSES {
        assert!(
            slab_blocks(class) >= 1 && slab_blocks(class) * block_size(class) <= slab_units(class) * UNIT
        );
    }
    for last in 0..CLASS_LIMIT {
        let class = class_of(last).unwrap();
        assert!(block_size(class) > last, "{last}");
        assert!(class == 0 || block_size(class - 1) <= last, "{last}");
    }
    assert_eq!(class_of(CLASS_LIMIT), None);
    assert_eq!(block_size(CLASSES - 1), CLASS_LIMIT);
}

#[test]
fn blocks_of_a_class_are_aligned_as_asked() {
    for shift in 0..=UNIT.ilog2() {
        let align = 1 << shift;
        for size in (1..300).chain((300..CLASS_LIMIT).step_by(37)) {
            if let Some(class) = class_of(last_byte(size, align)) {
                assert!(
                    block_size(class) >= size && block_size(class).is_multiple_of(align),
                    "{size} {align}"
                );
            }
        }
    }
}

#[test]
fn blocks_are_aligned_apart_and_reused() {
    alone(|| {
        let mut arena = arena();
        arena.run(|| {
            let mut held = 0;
            for round in 0..3 {
                let mut blocks = Vec::new();
                for shift in 0..=16 {
                    for size in [
                        1, 7, 16, 24, 100, 128, 129, 1000, 1024, 1025, 4096, 8192, 8193, 20_000, 131_072,
                        300_000,
                    ] {
                        blocks.push(Marked::new(size, 1 << shift, (shift * 13 + size % 97) as u8));
                    }
                }
                let mut places: Vec<_> = blocks.iter().map(|b| (b.start.addr(), b.layout.size())).collect();
                places.sort_unstable();
                assert!(places.windows(2).all(|pair| pair[0].0 + pair[0].1 <= pair[1].0));
                drop(blocks);
                let now = current().unwrap().held();
                assert!(round == 0 || now == held, "the same again takes no more memory");
                held = now;
            }
        });
        assert!(arena.held() < 8 << 20);
    });
}

#[test]
fn random_blocks_keep_their_contents() {
    alone(|| {
        let mut arena = arena();
        let mut random = Random(0xC0FFEE);
        let mut live = Vec::new();
        let mut starts = BTreeMap::new();
        for step in 0..100_000usize {
            // Waves of growing and shrinking, in and out of the arena.
            let grow = (step / 10_000).is_multiple_of(2);
            let mut round = || {
                if random.below(10) < if grow { 7 } else { 3 } || live.is_empty() {
                    let largest = [64, 200, 200, 3000, 40_000, 400_000][random.below(51) / 10];
                    let size = 1 + random.below(largest);
                    let block = Marked::new(size, 1 << random.below(5), step as u8);
                    let start = block.start.addr();
                    if let Some((&below, &length)) = starts.range(..=start).next_back() {
                        assert!(below + length <= start, "overlaps with the block below");
                    }
                    assert!(starts.range(start..).next().is_none_or(|(&above, _)| start + size <= above));
                    starts.insert(start, size);
                    live.push(block);
                } else {
                    let at = random.below(live.len());
                    starts.remove(&live[at].start.addr());
                    if random.below(4) == 0 {
                        live[at].resize(1 + random.below(10_000));
                        starts.insert(live[at].start.addr(), live[at].layout.size());
                    } else {
                        live.swap_remove(at);
                    }
                }
            };
            arena.run(&mut round);
            if step % 1000 == 999 {
                let at = random.below(live.len());
                starts.remove(&live[at].start.addr());
                // Outside: as if another task did it.
                live.swap_remove(at);
            }
        }
    });
}

#[test]
fn large_blocks_grow_in_place_and_go_at_once() {
    alone(|| {
        let mut arena = arena();
        let before = arena.held();
        let block = arena.run(|| {
            let mut block = Marked::new(CLASS_LIMIT + 1, 8, 1);
            let mut moves = 0;
            while block.layout.size() < 64 << 20 {
                moves += usize::from(!block.resize(block.layout.size() * 2));
            }
            assert!(moves <= 3, "moved {moves} times in 9 doublings");
            assert!(block.resize(40 << 20), "shrinks in place");
            assert!(current().unwrap().held() - before < (40 << 20) + (1 << 16));
            block
        });
        drop(block);
        assert!(arena.held() > 40 << 20, "given back outside: the owner has not looked yet");
        arena.run(|| drop((Marked::new(CLASS_LIMIT + 1, 8, 1), Marked::new(3000, 8, 2))));
        let small = arena.held() - before;
        assert!(small < 1 << 20, "{small} bytes held");
    });
}

#[test]
fn zeroed_blocks_are_zero() {
    alone(|| {
        let mut arena = arena();
        arena.run(|| {
            for size in [16, 100, 1024, 5000, 30_000, 200_000] {
                let layout = Layout::from_size_align(size, 8).unwrap();
                let mut blocks = Vec::new();
                for _ in 0..50 {
                    let (block, is_zero) = current().unwrap().allocate_any(&layout);
                    // SAFETY: the block is as large.
                    let bytes = unsafe { core::slice::from_raw_parts(block, size) };
                    assert!(!is_zero || bytes.iter().all(|&byte| byte == 0), "{size}");
                    // SAFETY: as above, and nobody else's.
                    unsafe { block.write_bytes(0xFF, size) };
                    blocks.push(block);
                }
                for block in blocks {
                    // SAFETY: the blocks are live and of this layout.
                    unsafe { deallocate(block, &layout) };
                }
            }
        });
    });
}

#[test]
fn the_limit_is_kept_and_told() {
    alone(|| {
        const LIMIT: usize = 10 << 20;
        let budget = budget(LIMIT);
        let mut first = Arena::new(budget.clone()).unwrap();
        let mut second = Arena::new(budget.clone()).unwrap();
        let kept = first.run(|| (0..64).map(|n| Marked::new(64 << 10, 8, n)).collect::<Vec<_>>());
        let fill = |arena: &mut Arena, size| {
            arena.run(|| {
                let mut blocks = Vec::new();
                while let Some(block) = Marked::try_new(size, 8, 3) {
                    blocks.push(block);
                }
                assert_eq!(fail(), Some(Refusal::Limit));
                assert!(current().is_none(), "out of the arena from now on");
                blocks.len() * size
            })
        };
        assert!(fill(&mut second, 40) > 3 << 20);
        assert_eq!((second.failure(), first.failure()), (Some(Refusal::Limit), None));
        assert!(budget.peak() <= LIMIT && budget.peak() > LIMIT - (1 << 18), "peak {}", budget.peak());
        assert!(fill(&mut second, 1 << 20) == 0, "what is free is kept for small blocks");
        assert!(fill(&mut second, 6 << 30) == 0, "more than an arena's region has room for");
        drop(second);
        let small = (fill(&mut first, 200_000), fill(&mut first, 3000));
        assert!(small.0 > 4 << 20 && small.1 > 5 << 20, "{small:?}");
        drop((kept, first));
        assert_eq!(budget.used(), 0);
        assert!(matches!(Arena::new(Arc::new(Budget::new(1000))), Err(Refusal::Limit)));
    });
}

#[test]
fn cancelling_stops_the_next_allocation() {
    alone(|| {
        let budget = budget(usize::MAX);
        let (ready, wait) = channel();
        std::thread::scope(|scope| {
            for _ in 0..3 {
                let (budget, ready) = (budget.clone(), ready.clone());
                scope.spawn(move || {
                    let mut arena = Arena::new(budget).unwrap();
                    let mut kept = Vec::new();
                    arena.run(|| {
                        let mut count = 0usize;
                        while let Some(block) = Marked::try_new(48, 8, 7) {
                            count += 1;
                            if count == 1000 {
                                ready.send(()).unwrap();
                            }
                            if kept.len() < 1000 {
                                kept.push(block);
                            }
                        }
                        assert!(Marked::try_new(1 << 20, 8, 0).is_none());
                        assert_eq!(fail(), Some(Refusal::Cancelled));
                    });
                    assert_eq!(arena.failure(), Some(Refusal::Cancelled));
                });
            }
            (0..3).for_each(|_| wait.recv().unwrap());
            budget.cancel();
        });
        assert!(budget.is_cancelled() && budget.used() == 0);
        assert!(matches!(Arena::new(budget), Err(Refusal::Cancelled)));
    });
}

/// Trees cannot be unwound out of an allocation, so that their nodes come for a while after a larger block was refused: for each reason.
#[test]
fn small_blocks_come_for_a_while_after_a_refusal() {
    type Refuse = fn(&Budget);
    alone(|| {
        let refusals: [(Refusal, Refuse); 3] = [
            (Refusal::Limit, |_| ()),
            (Refusal::Cancelled, Budget::cancel),
            (Refusal::OutOfMemory, |_| MEMORY.store(COMMITTED.load(Ordering::SeqCst), Ordering::SeqCst)),
        ];
        for (refusal, refuse) in refusals {
            let budget = budget(if refusal == Refusal::Limit { 3 << 20 } else { usize::MAX });
            let mut arena = Arena::new(budget.clone()).unwrap();
            // In each run anew.
            for _ in 0..2 {
                arena.run(|| {
                    let mut large = Vec::new();
                    if refusal == Refusal::Limit {
                        while let Some(block) = Marked::try_new(64 << 10, 8, 1) {
                            large.push(block);
                        }
                    }
                    refuse(&budget);
                    assert!(Marked::try_new(64 << 10, 8, 1).is_none());
                    let small: Vec<_> = (0..500).map_while(|n| Marked::try_new(100 + n, 8, 2)).collect();
                    assert_eq!(small.len(), 500, "{refusal:?}");
                    assert!(Marked::try_new(64 << 10, 8, 1).is_none());
                    let more: Vec<_> = (0..1 << 20).map_while(|_| Marked::try_new(100, 8, 2)).collect();
                    assert!(more.len() < 1 << 16, "{refusal:?}: {} more", more.len());
                    assert_eq!(fail(), Some(refusal));
                });
            }
            MEMORY.store(usize::MAX, Ordering::SeqCst);
            drop(arena);
            assert_eq!(budget.used(), 0);
        }
    });
}

#[test]
fn without_memory_there_is_an_error() {
    alone(|| {
        let budget = budget(usize::MAX);
        let mut arena = Arena::new(budget.clone()).unwrap();
        MEMORY.store(COMMITTED.load(Ordering::SeqCst) + (5 << 20), Ordering::SeqCst);
        assert!(Arena::new(budget.clone()).is_ok());
        arena.run(|| {
            let mut blocks = Vec::new();
            while let Some(block) = Marked::try_new(500, 8, 3) {
                blocks.push(block);
            }
            assert!(blocks.len() > 9000, "{}", blocks.len());
            assert!(Marked::try_new(200_000, 8, 3).is_none());
            assert_eq!(fail(), Some(Refusal::OutOfMemory));
        });
        assert!(matches!(Arena::new(budget.clone()), Err(Refusal::OutOfMemory)));
        MEMORY.store(usize::MAX, Ordering::SeqCst);
        drop(arena);
        assert_eq!(budget.used(), 0);
    });
}

#[test]
fn leaving_by_a_panic_leaves_the_arena() {
    alone(|| {
        let mut arena = arena();
        let result = catch_unwind(AssertUnwindSafe(|| {
            arena.run(|| {
                let _block = Marked::new(100, 8, 1);
                panic!("on purpose");
            })
        }));
        assert!(result.is_err() && current().is_none() && arena.failure().is_none());
        let nested = catch_unwind(AssertUnwindSafe(|| {
            let mut inner = super::tests::arena();
            arena.run(|| inner.run(|| ()));
        }));
        assert!(nested.is_err(), "one at a time");
        arena.run(|| {
            assert!(outside_arena(|| current().is_none()) && current().is_some());
            leave_arena();
            assert!(outside_arena(|| current().is_none()) && current().is_none());
        });
        arena.run(|| {
            outside_arena(|| super::tests::arena().run(|| drop(Marked::new(5, 1, 5))));
            assert!(current().is_some());
            let _ = catch_unwind(|| {
                outside_arena(|| {
                    // What begins to unwind calls it, wherever that is.
                    leave_arena();
                    panic!("on purpose");
                })
            });
        });
        assert!(current().is_none());
    });
}

#[test]
fn what_outlives_its_arena_keeps_little_of_it() {
    alone(|| {
        let budget = budget(200 << 20);
        let mut arena = Arena::new(budget.clone()).unwrap();
        let mut kept = Vec::new();
        arena.run(|| {
            let mut random = Random(0xFEED);
            let mut blocks = Vec::new();
            while let Some(block) = Marked::try_new(1 + random.below(9000), 8, 9) {
                blocks.push(block);
            }
            kept.extend((0..20).map(|n| blocks.swap_remove(n * 100)));
        });
        assert!(budget.used() > 190 << 20);
        drop(arena);
        assert!(budget.used() <= 20 * (64 << 10) + (64 << 10), "{} bytes for 20 blocks", budget.used());
        kept.iter().for_each(Marked::check);
        let last = kept.pop();
        drop(kept);
        assert!(budget.used() > 0);
        drop(last);
        assert_eq!(budget.used(), 0);
    });
}

/// Several owners, whose blocks go to and fro between threads, are resized and given back there, while arenas come and go.
#[test]
fn blocks_are_given_back_by_anyone() {
    alone(|| {
        const THREADS: usize = 4;
        let budget = budget(usize::MAX);
        let stop = AtomicBool::new(false);
        let (senders, receivers): (Vec<_>, Vec<_>) = (0..THREADS).map(|_| channel::<Marked>()).unzip();
        std::thread::scope(|scope| {
            for (number, receiver) in receivers.into_iter().enumerate() {
                let (senders, budget, stop) = (senders.clone(), budget.clone(), &stop);
                scope.spawn(move || {
                    let mut random = Random(0x1234 + number as u64);
                    for _ in 0..10 {
                        let mut arena = Arena::new(budget.clone()).unwrap();
                        let mut own = Vec::new();
                        for _ in 0..3000 {
                            arena.run(|| {
                                let largest = [100, 100, 1000, 20_000, 200_000][random.below(41) / 10];
                                let size = 1 + random.below(largest);
                                let block = Marked::new(size, 8, random.below(256) as u8);
                                match random.below(3) {
                                    0 => own.push(block),
                                    1 => drop(senders[random.below(THREADS)].send(block)),
                                    _ => drop(block),
                                }
                                if own.len() > 100 {
                                    own.swap_remove(random.below(own.len()));
                                }
                                if let Ok(mut block) = receiver.try_recv() {
                                    if random.below(4) == 0 {
                                        block.resize(1 + random.below(5000));
                                    }
                                    drop(block);
                                }
                            });
                        }
                        // Some of its blocks are still elsewhere, and are being given back right now.
                        drop(arena);
                    }
                    stop.store(true, Ordering::Relaxed);
                    drop(senders);
                    receiver.iter().for_each(drop);
                });
            }
            drop(senders);
        });
        assert_eq!(budget.used(), 0);
    });
}

/// The moment of closing, again and again: one block is given back just then.
#[test]
fn closing_and_the_last_block() {
    alone(|| {
        let budget = budget(usize::MAX);
        // Not too many: each open end keeps an arena's address space.
        let (give, take) = sync_channel::<Marked>(64);
        std::thread::scope(|scope| {
            scope.spawn(move || take.iter().for_each(drop));
            for n in 0..3000 {
                let mut arena = Arena::new(budget.clone()).unwrap();
                let blocks = arena.run(|| [1, 2].map(|mark| Marked::new(40 + n % 3 * 100_000, 8, mark)));
                blocks.into_iter().for_each(|block| give.send(block).unwrap());
                drop(arena);
            }
            drop(give);
        });
        assert_eq!(budget.used(), 0);
    });
}
