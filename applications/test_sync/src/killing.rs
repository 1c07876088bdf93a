//! Tasks that are killed while they wait.

use crate::{finish, kill_and_join, start, yield_until};
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use sleep::{sleep, wait_until_timeout};
use sync_channel::new_channel;
use task::{ExitValue, KillReason};
use time::Duration;
use wait_queue::WaitQueue;

/// Counts how often it is dropped.
struct Counted(Arc<AtomicU32>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Every way of waiting that is a cancel point ends when the task is killed, and what the task owns is dropped.
pub fn kill_ends_waits() {
    type Wait = Box<dyn FnOnce() + Send>;
    let queue = Arc::new(WaitQueue::new());
    let (sender, receiver) = new_channel::<u32>(1);
    let (full_sender, _full_receiver) = new_channel::<u32>(1);
    full_sender.send(1).expect("there is room");
    let (waker, _) = waker::new_waker();
    let waits: Vec<Wait> = Vec::from([
        Box::new({
            let queue = queue.clone();
            move || queue.wait_until(|| None::<()>)
        }) as Wait,
        Box::new({
            let queue = queue.clone();
            move || assert_eq!(wait_until_timeout(&queue, Duration::MAX, || None::<()>), Some(()))
        }),
        Box::new(|| sleep(Duration::MAX).expect("it can sleep")),
        Box::new(move || assert!(receiver.receive().is_err())),
        Box::new(move || assert!(full_sender.send(2).is_err())),
        Box::new(|| waker::new_waker().1.block()),
        Box::new(|| {
            let (mutex, condvar) = (sync_block::Mutex::new(()), sync_block::Condvar::new());
            drop(condvar.wait_while(mutex.lock(), |()| true));
        }),
    ]);
    let count = waits.len() as u32;
    let drops = Arc::new(AtomicU32::new(0));
    let started = Arc::new(AtomicU32::new(0));
    for wait in waits {
        let (owned, started_by) = (Counted(drops.clone()), started.clone());
        let before = started.load(Ordering::Acquire);
        let task = start(move || {
            let _owned = owned;
            started_by.fetch_add(1, Ordering::Release);
            wait();
        });
        yield_until("the task has started", || started.load(Ordering::Acquire) > before);
        // Time to fall asleep; being killed before works as well.
        sleep(Duration::from_millis(3)).expect("it can sleep");
        assert!(!task.has_exited(), "it waits");
        kill_and_join(task);
    }
    assert_eq!(drops.load(Ordering::Relaxed), count);
    assert_eq!(queue.waiting(), 0, "the killed tasks have left the queue");
    assert!(!queue.notify_one());
    drop((sender, waker));
}

pub fn kill_drops_what_a_sleeper_owns() {
    // Again and again, killed at different points on the way into sleep.
    let drops = Arc::new(AtomicU32::new(0));
    for round in 0..200u32 {
        let owned = Counted(drops.clone());
        let task = start(move || {
            let _owned = owned;
            loop {
                sleep(Duration::from_micros(u64::from(round * 10))).expect("it can sleep");
                task::exit_if_killed();
            }
        });
        for _ in 0..round % 7 {
            task::schedule();
        }
        kill_and_join(task);
    }
    assert_eq!(drops.load(Ordering::Relaxed), 200);
}

/// A notification that reaches a task which is killed at that moment goes to the next one.
pub fn kill_passes_a_notification_on() {
    for round in 0..100u32 {
        let shop = Arc::new((AtomicBool::new(false), WaitQueue::new()));
        let take = |shop: &(AtomicBool, WaitQueue)| {
            shop.1.wait_until(|| shop.0.swap(false, Ordering::AcqRel).then_some(()));
        };
        let (first, second) = (shop.clone(), shop.clone());
        let unlucky = start(move || take(&first));
        yield_until("the first task waits", || shop.1.waiting() == 1);
        let lucky = start(move || take(&second));
        yield_until("the second task waits", || shop.1.waiting() == 2);
        // Killed just before or just after it is notified.
        if round % 2 == 0 {
            unlucky.kill(KillReason::Requested).expect("it can be killed");
        }
        shop.0.store(true, Ordering::Release);
        shop.1.notify_one();
        if round % 2 == 1 {
            // On another CPU it may have taken the item and be gone by now.
            let _ = unlucky.kill(KillReason::Requested);
        }
        match unlucky.join().expect("it was not joined before") {
            // The item was there before it died: it is left to the second task, or has been taken by the first one.
            ExitValue::Completed(_) => {
                shop.0.store(true, Ordering::Release);
                shop.1.notify_one();
            }
            ExitValue::Killed(_) => {}
        }
        finish::<()>(lucky);
        assert_eq!(shop.1.waiting(), 0);
    }
}

/// A task that is killed while it waits for a lock ends although the lock is held; who comes after it gets the lock.
pub fn kill_ends_locking() {
    let mutex = Arc::new(sync_block::Mutex::new(0));
    let lock = Arc::new(sync_block::RwLock::new(0));
    let drops = Arc::new(AtomicU32::new(0));
    let (guard, writing) = (mutex.lock(), lock.write());
    let tasks: Vec<_> = (0..9)
        .map(|number| {
            let (mutex, lock, owned) = (mutex.clone(), lock.clone(), Counted(drops.clone()));
            start(move || {
                let _owned = owned;
                match number % 3 {
                    0 => *mutex.lock() += 1,
                    1 => *lock.write() += 1,
                    _ => assert_eq!(*lock.read(), 0),
                }
            })
        })
        .collect();
    sleep(Duration::from_millis(5)).expect("it can sleep");
    for task in tasks {
        assert!(!task.has_exited(), "it waits");
        kill_and_join(task);
    }
    assert_eq!(drops.load(Ordering::Relaxed), 9);
    drop((guard, writing));
    assert_eq!((*mutex.lock(), *lock.write()), (0, 0), "nobody has got it");
}

/// A task that unwinds because it was killed waits for locks that what it drops takes.
pub fn unwinding_waits_for_locks() {
    struct LocksWhenDropped(Arc<sync_block::Mutex<u32>>);
    impl Drop for LocksWhenDropped {
        fn drop(&mut self) {
            *self.0.lock() += 1;
        }
    }
    let mutex = Arc::new(sync_block::Mutex::new(0));
    let guard = mutex.lock();
    let owned = LocksWhenDropped(mutex.clone());
    let task = start(move || {
        let _owned = owned;
        sleep(Duration::MAX).expect("it can sleep");
    });
    sleep(Duration::from_millis(3)).expect("it can sleep");
    task.kill(KillReason::Requested).expect("it can be killed");
    sleep(Duration::from_millis(10)).expect("it can sleep");
    assert!(!task.has_exited(), "it waits for the lock");
    drop(guard);
    assert!(matches!(task.join(), Ok(ExitValue::Killed(KillReason::Requested))));
    assert_eq!(*mutex.lock(), 1);
}
