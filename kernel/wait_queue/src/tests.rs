//! Tests with threads in the place of tasks.

use super::*;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::time::Duration;

/// Waits until `count` threads are in the queue.
fn await_waiters(queue: &WaitQueue, count: usize) {
    while queue.waiting() != count {
        std::thread::yield_now();
    }
}

#[test]
fn a_condition_that_holds_does_not_wait() {
    let queue = WaitQueue::new();
    assert_eq!(queue.wait_until(|| Some(5)), 5);
    assert_eq!(queue.waiting(), 0);
    assert!(!queue.notify_one(), "nobody waits");
}

#[test]
fn ping_pong_loses_no_wake_up() {
    const ROUNDS: u32 = 1_000;
    static TURN: AtomicU32 = AtomicU32::new(0);
    static QUEUES: [WaitQueue; 2] = [WaitQueue::new(), WaitQueue::new()];
    std::thread::scope(|scope| {
        for me in 0..2 {
            scope.spawn(move || {
                for _ in 0..ROUNDS {
                    QUEUES[me as usize].wait_until(|| (TURN.load(Ordering::Acquire) % 2 == me).then_some(()));
                    TURN.fetch_add(1, Ordering::Release);
                    QUEUES[1 - me as usize].notify_one();
                }
            });
        }
    });
    assert_eq!(TURN.load(Ordering::Relaxed), 2 * ROUNDS);
}

#[test]
fn one_notification_per_item_serves_all_consumers() {
    const ITEMS: u32 = 2_000;
    static AVAILABLE: AtomicU32 = AtomicU32::new(0);
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    static QUEUE: WaitQueue = WaitQueue::new();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..ITEMS / 4 {
                    QUEUE.wait_until(|| {
                        AVAILABLE.fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| n.checked_sub(1)).ok()
                    });
                    TAKEN.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..ITEMS / 2 {
                    AVAILABLE.fetch_add(1, Ordering::AcqRel);
                    QUEUE.notify_one();
                }
            });
        }
    });
    assert_eq!(TAKEN.load(Ordering::Relaxed), ITEMS);
    assert_eq!(QUEUE.waiting(), 0);
}

#[test]
fn waiters_are_served_in_the_order_they_came() {
    let queue = WaitQueue::new();
    let served = Mutex::new(Vec::new());
    let permits = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for number in 0..4 {
            let (queue, served, permits) = (&queue, &served, &permits);
            scope.spawn(move || {
                queue.wait_until(|| {
                    permits.fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| n.checked_sub(1)).ok()
                });
                served.lock().unwrap().push(number);
            });
            await_waiters(queue, number + 1);
        }
        for number in 0..4 {
            permits.fetch_add(1, Ordering::AcqRel);
            assert!(queue.notify_one());
            while served.lock().unwrap().len() <= number {
                std::thread::yield_now();
            }
        }
    });
    assert_eq!(*served.lock().unwrap(), [0, 1, 2, 3]);
}

#[test]
fn notify_all_wakes_everybody() {
    let queue = WaitQueue::new();
    let open = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..5 {
            scope.spawn(|| queue.wait_until(|| open.load(Ordering::Acquire).then_some(())));
        }
        await_waiters(&queue, 5);
        open.store(true, Ordering::Release);
        queue.notify_all();
    });
    assert_eq!(queue.waiting(), 0);
}

#[test]
fn a_waiter_that_unwinds_leaves_the_queue() {
    let queue = WaitQueue::new();
    let mut evaluations = 0;
    let result = catch_unwind(AssertUnwindSafe(|| {
        queue.wait_until(|| {
            evaluations += 1;
            if evaluations == 2 {
                panic!("on purpose");
            }
            None::<()>
        })
    }));
    assert!(result.is_err());
    assert_eq!(queue.waiting(), 0);
    assert!(!queue.notify_one());
}

#[test]
fn a_waiter_that_unwinds_passes_its_notification_on() {
    let queue = WaitQueue::new();
    let item = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let unlucky = scope.spawn(|| {
            let mut evaluations = 0;
            catch_unwind(AssertUnwindSafe(|| {
                queue.wait_until(|| {
                    evaluations += 1;
                    // The first two evaluations come before it sleeps, the third when it is notified.
                    if evaluations == 3 {
                        panic!("on purpose");
                    }
                    None::<()>
                })
            }))
            .is_err()
        });
        await_waiters(&queue, 1);
        scope.spawn(|| queue.wait_until(|| item.swap(false, Ordering::AcqRel).then_some(())));
        await_waiters(&queue, 2);
        std::thread::sleep(Duration::from_millis(10));
        item.store(true, Ordering::Release);
        assert!(queue.notify_one());
        // The second waiter ends only if the one notification reaches it; the scope joins it.
        assert!(unlucky.join().unwrap());
    });
    assert_eq!(queue.waiting(), 0);
}

#[test]
fn entries_are_removed_from_the_middle() {
    let queue = WaitQueue::new();
    let leave = [const { AtomicBool::new(false) }; 3];
    std::thread::scope(|scope| {
        let mut threads = Vec::new();
        for (number, flag) in leave.iter().enumerate() {
            let queue = &queue;
            threads
                .push(scope.spawn(move || queue.wait_until(|| flag.load(Ordering::Acquire).then_some(()))));
            await_waiters(queue, number + 1);
        }
        for number in [1, 0, 2] {
            leave[number].store(true, Ordering::Release);
            // A wake-up that comes not from the queue: the waiter looks again and leaves from where it is.
            threads[number].thread().unpark();
            while !threads[number].is_finished() {
                std::thread::yield_now();
            }
        }
    });
    assert_eq!(queue.waiting(), 0);
}
