//! Locks among tasks that are preempted while they hold them.

use crate::{FOREVER, compute, finish, start, yield_until};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use sleep::sleep;
use sync::{Mutex, MutexFlavor};
use task::ExitValue;
use time::{Duration, Instant};

const TASKS: usize = 4;
const ROUNDS: u32 = 2_000;

/// Several tasks add one to two numbers, computing in between, and see whether somebody else was there meanwhile.
fn mutex_excludes<F>()
where
    F: MutexFlavor + 'static,
    Mutex<(u32, u32), F>: Send + Sync,
{
    let mutex = Arc::new(Mutex::<(u32, u32), F>::new((0, 0)));
    let tasks: Vec<_> = (0..TASKS)
        .map(|_| {
            let mutex = mutex.clone();
            start(move || {
                for round in 0..ROUNDS {
                    let mut both = mutex.lock();
                    assert_eq!(both.0, both.1, "somebody else was here");
                    both.0 += 1;
                    // Now and then long enough for the timer to strike.
                    compute(if round % 200 == 0 { 200_000 } else { 50 });
                    both.1 += 1;
                }
            })
        })
        .collect();
    tasks.into_iter().for_each(finish::<()>);
    let total = TASKS as u32 * ROUNDS;
    assert_eq!(*mutex.lock(), (total, total));
}

pub fn spin_mutex_excludes() {
    mutex_excludes::<sync_spin::Spin>();
}

pub fn irq_safe_mutex_excludes() {
    mutex_excludes::<sync_irq::DisableIrq>();
}

pub fn preemption_safe_mutex_excludes() {
    mutex_excludes::<sync_preemption::DisablePreemption>();
}

pub fn sleeping_mutex_excludes() {
    mutex_excludes::<sync_block::Block>();
    let mutex = Arc::new(sync_block::Mutex::new((0, 0)));
    let tasks: Vec<_> = (0..TASKS)
        .map(|_| {
            let mutex = mutex.clone();
            start(move || {
                for _ in 0..5 {
                    let mut both = mutex.lock();
                    both.0 += 1;
                    sleep(Duration::from_millis(1)).expect("it can sleep");
                    both.1 += 1;
                    assert_eq!(both.0, both.1, "somebody else was here while the holder slept");
                }
            })
        })
        .collect();
    tasks.into_iter().for_each(finish::<()>);
    assert_eq!(*mutex.lock(), (20, 20));
}

/// A task that holds the mutex nearly all the time must let another one have it.
pub fn sleeping_mutex_is_fair_to_a_waiter() {
    let mutex = Arc::new(sync_block::Mutex::new(()));
    let stop = Arc::new(AtomicBool::new(false));
    let greedy = {
        let (mutex, stop) = (mutex.clone(), stop.clone());
        start(move || {
            while !stop.load(Ordering::Relaxed) {
                let _guard = mutex.lock();
                sleep(Duration::from_millis(1)).expect("it can sleep");
            }
        })
    };
    yield_until("the greedy task holds the mutex", || mutex.is_locked());
    let begin = Instant::now();
    for _ in 0..10 {
        drop(mutex.lock());
        // Gives the greedy task the time to take the mutex again.
        sleep(Duration::from_millis(2)).expect("it can sleep");
    }
    stop.store(true, Ordering::Relaxed);
    finish::<()>(greedy);
    assert!(begin.elapsed() < FOREVER, "ten locks took {:?}", begin.elapsed());
}

/// While a `PreemptionSafeMutex` or `IrqSafeMutex` is held, no other task runs on this CPU.
pub fn preemption_is_held_while_locked() {
    // On a CPU of its own the counting task would not prove anything.
    let stay = task::scheduler::stay_on_this_cpu();
    let here = stay.cpu();
    let count = Arc::new(AtomicU32::new(0));
    let stop = Arc::new(AtomicBool::new(false));
    let counter = {
        let (count, stop) = (count.clone(), stop.clone());
        spawn::new_task_builder(
            |(count, stop): (Arc<AtomicU32>, Arc<AtomicBool>)| {
                while !stop.load(Ordering::Relaxed) {
                    count.fetch_add(1, Ordering::Relaxed);
                }
            },
            (count, stop),
        )
        .pin_on_cpu(here)
        .spawn()
        .expect("a task can be made")
    };
    // Without a lock the timer gives the other task its turns, though this one never asks for it.
    let begin = Instant::now();
    let first = count.load(Ordering::Relaxed);
    while count.load(Ordering::Relaxed) == first {
        assert!(begin.elapsed() < FOREVER, "this task is never preempted");
    }
    let mutex = sync_preemption::PreemptionSafeMutex::new(());
    let guard = mutex.lock();
    let before = count.load(Ordering::Relaxed);
    let begin = Instant::now();
    // Longer than several time slices.
    while begin.elapsed() < Duration::from_millis(50) {}
    let after = count.load(Ordering::Relaxed);
    drop(guard);
    stop.store(true, Ordering::Relaxed);
    let here_still = task::with_current_task(|task| task.running_on_cpu()).ok().flatten();
    finish::<()>(counter);
    assert_eq!(here_still, Some(here));
    assert_eq!(before, after, "another task ran on this CPU while preemption was held");
}

pub fn rw_lock_shares_and_excludes() {
    let lock = Arc::new(sync_block::RwLock::new(0));
    let reader = lock.read();
    let other = {
        let lock = lock.clone();
        start(move || *lock.read())
    };
    assert_eq!(finish::<i32>(other), 0, "readers share");
    let writer = {
        let lock = lock.clone();
        start(move || *lock.write() = 5)
    };
    sleep(Duration::from_millis(20)).expect("it can sleep");
    assert_eq!(*reader, 0);
    assert!(!writer.has_exited(), "a writer waits for the reader");
    drop(reader);
    finish::<()>(writer);
    assert_eq!(*lock.read(), 5);
}

pub fn rw_lock_wakes_readers_and_writers() {
    let pair = Arc::new(sync_block::RwLock::new((0u32, 0u32)));
    let mut tasks = Vec::new();
    for _ in 0..2 {
        let pair = pair.clone();
        tasks.push(start(move || {
            for round in 0..ROUNDS {
                let mut pair = pair.write();
                pair.0 += 1;
                compute(if round % 200 == 0 { 200_000 } else { 20 });
                pair.1 += 1;
            }
        }));
    }
    for _ in 0..2 {
        let pair = pair.clone();
        tasks.push(start(move || {
            for round in 0..ROUNDS {
                let pair = pair.read();
                let first = pair.0;
                compute(if round % 200 == 0 { 200_000 } else { 20 });
                assert_eq!((first, first), *pair, "a writer was here");
            }
        }));
    }
    tasks.into_iter().for_each(finish::<()>);
    assert_eq!(*pair.read(), (2 * ROUNDS, 2 * ROUNDS));
}

pub fn condvar_hands_over_every_item() {
    const ITEMS: u32 = 6_000;
    let shared = Arc::new((sync_block::Mutex::new(Vec::new()), sync_block::Condvar::new()));
    let consumers: Vec<_> = (0..3)
        .map(|_| {
            let shared = shared.clone();
            start(move || {
                let (items, changed) = &*shared;
                let mut sum = 0u64;
                for _ in 0..ITEMS / 3 {
                    let mut items = changed.wait_while(items.lock(), |items: &mut Vec<u32>| items.is_empty());
                    sum += u64::from(items.pop().expect("wait_while saw one"));
                }
                sum
            })
        })
        .collect();
    let producer = {
        let shared = shared.clone();
        start(move || {
            for item in 0..ITEMS {
                shared.0.lock().push(item);
                shared.1.notify_one();
            }
        })
    };
    finish::<()>(producer);
    let sum: u64 = consumers.into_iter().map(finish::<u64>).sum();
    assert_eq!(sum, u64::from(ITEMS) * u64::from(ITEMS - 1) / 2);
}

pub fn a_panicking_holder_releases_its_lock() {
    let mutex = Arc::new(sync_block::Mutex::new(1));
    let victim = {
        let mutex = mutex.clone();
        start(move || {
            let mut value = mutex.lock();
            *value = 2;
            panic!("on purpose: the holder of a lock ends");
        })
    };
    assert!(matches!(victim.join(), Ok(ExitValue::Killed(_))));
    assert_eq!(*mutex.lock(), 2);
}
