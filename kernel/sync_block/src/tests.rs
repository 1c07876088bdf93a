//! Tests with threads in the place of tasks.

use super::*;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

#[test]
fn mutex_excludes_while_its_holder_sleeps() {
    static BOTH: Mutex<(u32, u32)> = Mutex::new((0, 0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for round in 0..500 {
                    let mut both = BOTH.lock();
                    assert_eq!(both.0, both.1);
                    both.0 += 1;
                    if round % 100 == 0 {
                        std::thread::sleep(Duration::from_millis(1));
                    }
                    both.1 += 1;
                }
            });
        }
    });
    assert_eq!(*BOTH.lock(), (2_000, 2_000));
}

#[test]
fn mutex_loses_no_wake_up_under_contention() {
    static VALUE: Mutex<u64> = Mutex::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..4_000 {
                    *VALUE.lock() += 1;
                }
            });
        }
    });
    assert_eq!(*VALUE.lock(), 32_000);
}

#[test]
fn a_greedy_task_cannot_starve_another_one() {
    static MUTEX: Mutex<()> = Mutex::new(());
    static STOP: AtomicBool = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // Holds the mutex all the time except for the moment between two iterations.
            while !STOP.load(Ordering::Relaxed) {
                let _guard = MUTEX.lock();
                std::thread::sleep(Duration::from_micros(200));
            }
        });
        let start = Instant::now();
        for _ in 0..20 {
            drop(MUTEX.lock());
        }
        STOP.store(true, Ordering::Relaxed);
        assert!(start.elapsed() < Duration::from_secs(10), "20 locks took {:?}", start.elapsed());
    });
}

#[test]
fn try_lock_does_not_wait() {
    let mutex = Mutex::new(1);
    let guard = mutex.lock();
    assert!(mutex.try_lock().is_none());
    drop(guard);
    assert_eq!(*mutex.try_lock().expect("it is free"), 1);
}

#[test]
fn rw_lock_loses_no_wake_up_among_readers_and_writers() {
    static PAIR: RwLock<(u64, u64)> = RwLock::new((0, 0));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for _ in 0..5_000 {
                    let mut pair = PAIR.write();
                    pair.0 += 1;
                    pair.1 += 1;
                }
            });
        }
        for _ in 0..3 {
            scope.spawn(|| {
                for _ in 0..5_000 {
                    let pair = PAIR.read();
                    assert_eq!(pair.0, pair.1);
                }
            });
        }
    });
    assert_eq!(*PAIR.read(), (15_000, 15_000));
}

#[test]
fn rw_lock_readers_share_while_a_writer_waits() {
    let lock = RwLock::new(0);
    let entered = AtomicU32::new(0);
    std::thread::scope(|scope| {
        let reader = lock.read();
        let writer = scope.spawn(|| *lock.write() = 7);
        for _ in 0..2 {
            scope.spawn(|| {
                drop(lock.read());
                entered.fetch_add(1, Ordering::SeqCst);
            });
        }
        while entered.load(Ordering::SeqCst) < 2 {
            std::thread::yield_now();
        }
        assert!(!writer.is_finished());
        drop(reader);
    });
    assert_eq!(*lock.read(), 7);
}

#[test]
fn condvar_hands_over_every_item() {
    static ITEMS: Mutex<Vec<u32>> = Mutex::new(Vec::new());
    static CHANGED: Condvar = Condvar::new();
    static SUM: AtomicU32 = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for _ in 0..1_000 {
                    let mut items = CHANGED.wait_while(ITEMS.lock(), |items| items.is_empty());
                    SUM.fetch_add(items.pop().expect("wait_while saw one"), Ordering::Relaxed);
                }
            });
        }
        scope.spawn(|| {
            for _ in 0..3_000 {
                ITEMS.lock().push(1);
                CHANGED.notify_one();
            }
        });
    });
    assert_eq!(SUM.load(Ordering::Relaxed), 3_000);
}

#[test]
fn condvar_notify_all_wakes_everybody() {
    let open = Mutex::new(false);
    let changed = Condvar::new();
    std::thread::scope(|scope| {
        for _ in 0..5 {
            scope.spawn(|| drop(changed.wait_while(open.lock(), |open| !*open)));
        }
        std::thread::sleep(Duration::from_millis(10));
        *open.lock() = true;
        changed.notify_all();
    });
}

#[test]
fn std_api_locks_and_unlocks() {
    let mutex = std_api::Mutex::new(1);
    *mutex.lock().unwrap() += 1;
    {
        let _guard = mutex.lock().unwrap();
        assert!(mutex.try_lock().is_err());
    }
    assert_eq!(mutex.into_inner(), Ok(2));
    let lock = std_api::RwLock::new(3);
    {
        let first = lock.read().unwrap();
        let second = lock.try_read().unwrap();
        assert_eq!(*first + *second, 6);
        assert!(lock.try_write().is_err());
    }
    *lock.write().unwrap() += 1;
    assert_eq!(lock.into_inner(), Ok(4));
}
