//! Allocation in a task's own arena: limits, cancelling, unwinding, and what is left when it is over.

use crate::{Random, leaks_nothing};
use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use catch_unwind::catch_unwind_with_arg;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use heap::{Arena, Budget, Refusal};
use task::{ExitValue, JoinableTaskRef, KillReason};

const MIB: usize = 1 << 20;

fn spawn<R: Send + 'static>(f: impl FnOnce() -> R + Send + 'static) -> JoinableTaskRef {
    spawn::new_task_builder(move |()| f(), ()).spawn().expect("spawning failed")
}

/// The value of a task that should have completed.
fn value_of<R: 'static>(task: &JoinableTaskRef) -> R {
    match task.join().expect("joining failed") {
        ExitValue::Completed(value) => *value.downcast().expect("the value has another type"),
        ExitValue::Killed(reason) => panic!("the task was ended: {reason}"),
    }
}

fn arena(limit: usize) -> Arena {
    Arena::new(Arc::new(Budget::new(limit))).expect("an arena")
}

/// Allocates without end, in a shape like a compiler's: small boxes, vectors that grow. No trees: unwinding out of one that gets no node
/// does not always end well, and only small blocks would be asked for.
fn devour() {
    let mut random = Random(0xDEC0DE);
    let mut boxes: Vec<Box<[u8]>> = Vec::new();
    let mut table: Vec<Vec<String>> = (0..1000).map(|_| Vec::new()).collect();
    loop {
        boxes.push(alloc::vec![1; 1 + random.below(300)].into());
        table[random.below(1000)].push(random.below(1000).to_string());
    }
}

/// What the unwinding drops, and allocates for.
struct AllocatesWhenDropped<'a>(&'a AtomicUsize);

impl Drop for AllocatesWhenDropped<'_> {
    fn drop(&mut self) {
        let many: Vec<Box<usize>> = (0..1000).map(Box::new).collect();
        self.0.fetch_add(many.iter().map(|n| **n).sum(), Ordering::Relaxed);
    }
}

pub fn contents_and_places() {
    leaks_nothing(|| {
        let mut arena = arena(usize::MAX);
        let kept = arena.run(|| {
            let mut random = Random(0xABCD);
            let mut live: Vec<(Vec<u8>, u8)> = Vec::new();
            for step in 0..20_000usize {
                if live.is_empty() || random.below(10) < if step / 4000 % 2 == 0 { 7 } else { 3 } {
                    let largest = [64, 64, 300, 300, 3000, 200_000][random.below(501) / 100];
                    live.push((alloc::vec![step as u8; 1 + random.below(largest)], step as u8));
                } else {
                    let index = random.below(live.len());
                    let (bytes, mark) = &mut live[index];
                    assert!(bytes.iter().all(|byte| byte == mark));
                    if random.below(3) == 0 {
                        let more = random.below(5000);
                        bytes.extend(core::iter::repeat_n(*mark, more));
                        bytes.shrink_to_fit();
                    } else {
                        live.swap_remove(index);
                    }
                }
            }
            live
        });
        assert!(arena.held() > 0 && arena.budget().used() == arena.held());
        drop(arena);
        assert!(kept.iter().all(|(bytes, mark)| bytes.iter().all(|byte| byte == mark)));
    });
}

pub fn the_limit_is_an_error() {
    leaks_nothing(|| {
        let mut arena = arena(20 * MIB);
        for _ in 0..3 {
            let dropped = AtomicUsize::new(0);
            let result = catch_unwind_with_arg(
                |arena: &mut Arena| {
                    arena.run(|| {
                        let _value = AllocatesWhenDropped(&dropped);
                        devour();
                    });
                },
                &mut arena,
            );
            assert!(matches!(result, Err(KillReason::Panic(_))));
            assert_eq!(arena.failure(), Some(Refusal::Limit));
            assert_eq!(dropped.load(Ordering::Relaxed), 999 * 500, "dropped while unwinding");
            assert!(arena.budget().peak() <= 20 * MIB && arena.budget().peak() > 15 * MIB);
            // It can be used again.
            assert_eq!(arena.run(|| (0..10_000).map(Box::new).map(|n| *n).sum::<usize>()), 9999 * 5000);
            assert_eq!(arena.failure(), None);
        }
    });
}

pub fn cancelling_ends_all() {
    leaks_nothing(|| {
        let budget = Arc::new(Budget::new(usize::MAX));
        let running = Arc::new(AtomicUsize::new(0));
        let workers = [0, 1, 2].map(|kind| {
            let (budget, running) = (budget.clone(), running.clone());
            spawn(move || {
                let mut arena = Arena::new(budget).expect("an arena");
                let work = |arena: &mut Arena| {
                    arena.run(|| {
                        running.fetch_add(1, Ordering::Relaxed);
                        loop {
                            if kind > 0 {
                                // The same block again and again: only the fast path is used.
                                drop(core::hint::black_box(Box::new([kind; 4])));
                            } else {
                                drop(core::hint::black_box(Vec::<u8>::with_capacity(MIB)));
                            }
                        }
                    })
                };
                let result = catch_unwind_with_arg(work, &mut arena);
                (result.is_err(), arena.failure())
            })
        });
        while running.load(Ordering::Relaxed) < 3 {
            task::schedule();
        }
        budget.cancel();
        for worker in workers {
            assert_eq!(value_of::<(bool, Option<Refusal>)>(&worker), (true, Some(Refusal::Cancelled)));
        }
        assert_eq!(budget.used(), 0);
        assert!(matches!(Arena::new(budget), Err(Refusal::Cancelled)));
    });
}

pub fn memory_runs_out_for_the_arena_only() {
    leaks_nothing(|| {
        let budget = Arc::new(Budget::new(usize::MAX));
        let workers = [(); 2].map(|()| {
            let budget = budget.clone();
            spawn(move || {
                let mut arena = Arena::new(budget).expect("an arena");
                let result = catch_unwind_with_arg(|arena: &mut Arena| arena.run(devour), &mut arena);
                assert!(result.is_err());
                // With everything still taken: others have memory, and this task has.
                assert!(frame_allocator::free_frames() > 512);
                let others = spawn(|| alloc::vec![1u8; MIB].len());
                assert_eq!(value_of::<usize>(&others), MIB);
                arena.failure()
            })
        });
        for worker in workers {
            assert_eq!(value_of::<Option<Refusal>>(&worker), Some(Refusal::OutOfMemory));
        }
        assert_eq!(budget.used(), 0);
    });
}

pub fn a_killed_task_gives_everything_back() {
    leaks_nothing(|| {
        let budget = Arc::new(Budget::new(usize::MAX));
        let dropped = Arc::new(AtomicUsize::new(0));
        let full = Arc::new(AtomicBool::new(false));
        let (of_task, count, of_task_full) = (budget.clone(), dropped.clone(), full.clone());
        let task = spawn(move || {
            let mut arena = Arena::new(of_task).expect("an arena");
            arena.run(|| {
                let _value = AllocatesWhenDropped(&count);
                let many: Vec<Box<usize>> = (0..100_000).map(Box::new).collect();
                of_task_full.store(true, Ordering::Release);
                loop {
                    core::hint::black_box(&many);
                    task::exit_if_killed();
                    task::schedule();
                }
            });
        });
        while !full.load(Ordering::Acquire) {
            task::schedule();
        }
        assert!(budget.used() >= 2 * MIB);
        // Both at once: what is dropped must not be refused.
        budget.cancel();
        task.kill(KillReason::Requested).expect("it can be killed");
        assert!(matches!(task.join(), Ok(ExitValue::Killed(KillReason::Requested))));
        assert_eq!((budget.used(), dropped.load(Ordering::Relaxed)), (0, 999 * 500));
    });
}

pub fn a_thousand_arenas() {
    leaks_nothing(|| {
        let budget = Arc::new(Budget::new(usize::MAX));
        let mut total = 0;
        for _ in 0..1000 {
            let mut arena = Arena::new(budget.clone()).expect("an arena");
            total += arena.run(|| (0..100).map(Box::new).map(|n| *n).sum::<usize>());
        }
        assert_eq!((total, budget.used()), (1000 * 99 * 50, 0));
        // Many at once, each with a block that stays, and that another task drops.
        let mut kept = Vec::new();
        for n in 0..200 {
            let mut arena = Arena::new(budget.clone()).expect("an arena");
            kept.push(arena.run(|| Box::new(n)));
        }
        assert!(budget.used() > 0);
        let dropper = spawn(move || kept.iter().map(|n| **n).sum::<usize>());
        assert_eq!((value_of::<usize>(&dropper), budget.used()), (199 * 100, 0));
    });
}

pub fn blocks_go_between_tasks() {
    leaks_nothing(|| {
        let budget = Arc::new(Budget::new(usize::MAX));
        let exchange = Arc::new([const { sync_irq::IrqSafeMutex::new(Vec::<Vec<u8>>::new()) }; 3]);
        let workers = [0, 1, 2].map(|me| {
            let (budget, exchange) = (budget.clone(), exchange.clone());
            spawn(move || {
                let mut random = Random(0x77 + me as u64);
                for _ in 0..20 {
                    let mut arena = Arena::new(budget.clone()).expect("an arena");
                    for _ in 0..500 {
                        let block = arena.run(|| {
                            let size = 1 + random.below(3000);
                            alloc::vec![size as u8; size]
                        });
                        exchange[random.below(3)].lock().push(block);
                        let theirs = exchange[me].lock().pop();
                        arena.run(|| {
                            if let Some(mut bytes) = theirs {
                                assert!(bytes.iter().all(|&byte| byte == bytes.len() as u8));
                                bytes.reserve_exact(2000);
                            }
                        });
                    }
                }
            })
        });
        workers.iter().for_each(value_of::<()>);
        drop(exchange);
        assert_eq!(budget.used(), 0);
    });
}
