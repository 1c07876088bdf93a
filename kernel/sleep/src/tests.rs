//! Tests with threads in the place of tasks, and a thread in the place of the timer interrupt.

use super::*;
use std::sync::atomic::{AtomicBool, AtomicU32};

fn start_ticking() {
    host_clock::start_ticking(unblock_sleeping_tasks);
}

const MILLISECOND: Duration = Duration::from_millis(1);

#[test]
fn a_sleep_is_never_too_short_and_ends() {
    start_ticking();
    for duration in [Duration::ZERO, Duration::from_nanos(1), MILLISECOND, 3 * MILLISECOND, 20 * MILLISECOND]
    {
        let start = Instant::now();
        sleep(duration).unwrap();
        let slept = start.elapsed();
        assert!(slept >= duration, "{slept:?} instead of {duration:?}");
        assert!(slept < duration + Duration::from_secs(5), "{slept:?} instead of {duration:?}");
    }
    // A deadline in the past is no deadline.
    sleep_until(Instant::ZERO).unwrap();
}

#[test]
fn the_queue_is_ordered_by_deadline_then_by_arrival() {
    let (parker, _permit) = Parker::new();
    let entries =
        [30, 10, 40, 10, 20, 0, 40].map(|nanoseconds| Entry::new(&parker, Instant::new(nanoseconds)));
    let mut queue = Queue::new();
    entries.iter().for_each(|entry| queue.insert(entry));
    let order = |queue: &Queue| {
        let mut numbers = Vec::new();
        let mut next = queue.first;
        while let Some(position) = entries.iter().position(|entry| core::ptr::eq(entry, next)) {
            numbers.push(position);
            next = entries[position].next.get();
        }
        numbers
    };
    assert_eq!(order(&queue), [5, 1, 3, 4, 0, 2, 6]);
    // From the middle, the front and the end.
    for number in [4, 5, 6] {
        queue.remove(&entries[number]);
        assert!(!entries[number].queued.get());
    }
    assert_eq!(order(&queue), [1, 3, 0, 2]);
    queue.insert(&entries[5]);
    queue.insert(&entries[6]);
    assert_eq!(order(&queue), [5, 1, 3, 0, 2, 6]);
    for number in [1, 3, 0, 2, 6, 5] {
        queue.remove(&entries[number]);
    }
    assert!(queue.first.is_null() && queue.last.is_null());
}

#[test]
fn many_sleepers_come_and_go() {
    start_ticking();
    let sleeps = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for thread in 0..8u64 {
            let sleeps = &sleeps;
            scope.spawn(move || {
                for round in 0..50 {
                    let deadline = Instant::now() + Duration::from_micros((thread * 7 + round * 13) % 3_000);
                    sleep_until(deadline).unwrap();
                    assert!(Instant::now() >= deadline);
                    sleeps.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(sleeps.load(Ordering::Relaxed), 400);
}

#[test]
fn a_wait_ends_with_its_condition_or_its_time() {
    start_ticking();
    let queue = WaitQueue::new();
    let flag = AtomicBool::new(false);
    let wait = |timeout| wait_until_timeout(&queue, timeout, || flag.load(Ordering::Acquire).then_some(7));
    let start = Instant::now();
    assert_eq!(wait(10 * MILLISECOND), None);
    assert!(start.elapsed() >= 10 * MILLISECOND);
    assert_eq!(wait(Duration::ZERO), None);
    assert_eq!(queue.waiting(), 0);
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| wait(Duration::from_secs(60)));
        while queue.waiting() == 0 {
            std::thread::yield_now();
        }
        flag.store(true, Ordering::Release);
        assert!(queue.notify_one());
        assert_eq!(waiter.join().unwrap(), Some(7));
    });
    assert_eq!(wait(Duration::ZERO), Some(7), "a condition that holds needs no time");
    assert_eq!(wait(Duration::MAX), Some(7));
}

#[test]
fn a_timeout_while_the_condition_is_evaluated_is_not_lost() {
    start_ticking();
    let queue = WaitQueue::new();
    for round in 0..50 {
        // The condition takes about as long as the timeout, so the alarm rings before, in or after its evaluation.
        let result = wait_until_timeout(&queue, 2 * MILLISECOND, || {
            std::thread::sleep(Duration::from_micros(700 + round * 20));
            None::<()>
        });
        assert_eq!(result, None);
    }
}
