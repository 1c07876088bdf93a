//! Wait queues, wakers, guards and timeouts.

use crate::{FOREVER, finish, start, yield_until};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use sleep::{sleep, wait_until_timeout};
use sync_irq::IrqSafeMutex;
use time::{Duration, Instant};
use wait_guard::WaitGuard;
use wait_queue::WaitQueue;

/// Takes one from a counter if it is not zero.
fn take_one(counter: &AtomicU32) -> Option<u32> {
    counter.fetch_update(Ordering::AcqRel, Ordering::Acquire, |count| count.checked_sub(1)).ok()
}

/// Two tasks take turns 100,000 times: with a single wake-up lost this never ends.
pub fn wait_queue_ping_pong() {
    const ROUNDS: u32 = 50_000;
    struct Table {
        turn: AtomicU32,
        queues: [WaitQueue; 2],
    }
    let table = Arc::new(Table { turn: AtomicU32::new(0), queues: [const { WaitQueue::new() }; 2] });
    let players: Vec<_> = [0, 1]
        .into_iter()
        .map(|me: u32| {
            let table = table.clone();
            start(move || {
                for _ in 0..ROUNDS {
                    table.queues[me as usize]
                        .wait_until(|| (table.turn.load(Ordering::Acquire) % 2 == me).then_some(()));
                    table.turn.fetch_add(1, Ordering::Release);
                    table.queues[1 - me as usize].notify_one();
                }
            })
        })
        .collect();
    players.into_iter().for_each(finish::<()>);
    assert_eq!(table.turn.load(Ordering::Relaxed), 2 * ROUNDS);
}

pub fn wait_queue_serves_all_consumers() {
    const ITEMS: u32 = 20_000;
    let shop = Arc::new((AtomicU32::new(0), WaitQueue::new()));
    let consumers: Vec<_> = (0..4)
        .map(|_| {
            let shop = shop.clone();
            start(move || {
                for _ in 0..ITEMS / 4 {
                    shop.1.wait_until(|| take_one(&shop.0));
                }
            })
        })
        .collect();
    let producers: Vec<_> = (0..2)
        .map(|_| {
            let shop = shop.clone();
            start(move || {
                for _ in 0..ITEMS / 2 {
                    shop.0.fetch_add(1, Ordering::AcqRel);
                    shop.1.notify_one();
                }
            })
        })
        .collect();
    producers.into_iter().chain(consumers).for_each(finish::<()>);
    assert_eq!((shop.0.load(Ordering::Relaxed), shop.1.waiting()), (0, 0));
}

pub fn wait_queue_is_first_come_first_served() {
    struct Office {
        queue: WaitQueue,
        permits: AtomicU32,
        served: IrqSafeMutex<Vec<usize>>,
    }
    let office = Arc::new(Office {
        queue: WaitQueue::new(),
        permits: AtomicU32::new(0),
        served: IrqSafeMutex::new(Vec::with_capacity(4)),
    });
    let waiters: Vec<_> = (0..4)
        .map(|number| {
            let waiter = {
                let office = office.clone();
                start(move || {
                    office.queue.wait_until(|| take_one(&office.permits));
                    office.served.lock().push(number);
                })
            };
            yield_until("a task enters the queue", || office.queue.waiting() == number + 1);
            waiter
        })
        .collect();
    for number in 0..4 {
        office.permits.fetch_add(1, Ordering::AcqRel);
        assert!(office.queue.notify_one());
        yield_until("a task is served", || office.served.lock().len() > number);
    }
    waiters.into_iter().for_each(finish::<()>);
    assert_eq!(*office.served.lock(), [0, 1, 2, 3]);
}

pub fn notify_all_wakes_everybody() {
    let door = Arc::new((AtomicBool::new(false), WaitQueue::new()));
    let waiters: Vec<_> = (0..10)
        .map(|_| {
            let door = door.clone();
            start(move || door.1.wait_until(|| door.0.load(Ordering::Acquire).then_some(())))
        })
        .collect();
    yield_until("ten tasks wait", || door.1.waiting() == 10);
    door.0.store(true, Ordering::Release);
    door.1.notify_all();
    waiters.into_iter().for_each(finish::<()>);
    assert_eq!(door.1.waiting(), 0);
    assert!(!door.1.notify_one(), "nobody waits any more");
}

pub fn wakers_wake() {
    let (waker, blocker) = waker::new_waker();
    let task = start(move || {
        sleep(Duration::from_millis(5)).expect("it can sleep");
        waker.wake();
    });
    blocker.block();
    finish::<()>(task);
    let (waker, blocker) = waker::new_waker();
    waker.wake_by_ref();
    waker.wake_by_ref();
    blocker.block();
}

pub fn wait_guard_blocks_until_dropped() {
    let place = Arc::new(IrqSafeMutex::new(None));
    let went_on = Arc::new(AtomicBool::new(false));
    let task = {
        let (place, went_on) = (place.clone(), went_on.clone());
        start(move || {
            {
                let mut place = place.lock();
                let me = task::get_my_current_task().expect("this is a task");
                *place = Some(WaitGuard::new(me).expect("it runs, so it can be blocked"));
            }
            task::schedule();
            went_on.store(true, Ordering::Release);
        })
    };
    yield_until("the guard is in its place", || place.lock().is_some());
    sleep(Duration::from_millis(20)).expect("it can sleep");
    assert!(!went_on.load(Ordering::Acquire), "it is blocked");
    let guard = place.lock().take();
    drop(guard);
    finish::<()>(task);
    assert!(went_on.load(Ordering::Acquire));
}

pub fn waits_time_out() {
    let flag = Arc::new((AtomicBool::new(false), WaitQueue::new()));
    let wait =
        |timeout| wait_until_timeout(&flag.1, timeout, || flag.0.load(Ordering::Acquire).then_some(()));
    let begin = Instant::now();
    assert_eq!(wait(Duration::from_millis(10)), None);
    assert!(begin.elapsed() >= Duration::from_millis(10), "{:?}", begin.elapsed());
    assert!(begin.elapsed() < FOREVER);
    assert_eq!(flag.1.waiting(), 0);
    let setter = {
        let flag = flag.clone();
        start(move || {
            sleep(Duration::from_millis(5)).expect("it can sleep");
            flag.0.store(true, Ordering::Release);
            flag.1.notify_one();
        })
    };
    assert_eq!(wait(FOREVER), Some(()));
    finish::<()>(setter);
}
