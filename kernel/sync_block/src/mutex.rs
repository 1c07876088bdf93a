//! How the waiters of a mutex sleep.

use crate::{Block, SPINS};
use core::sync::atomic::{AtomicUsize, Ordering};
use sync::{MutexFlavor, spin};
use wait_queue::WaitQueue;

/// How often a waiter that was woken finds the mutex taken again before it is starving.
const PATIENCE: usize = 2;

/// What each mutex has beside its lock word.
pub struct MutexData {
    waiters: WaitQueue,
    /// How many waiters are starving.
    starving: AtomicUsize,
}

impl MutexFlavor for Block {
    const INIT: MutexData = MutexData { waiters: WaitQueue::new(), starving: AtomicUsize::new(0) };
    type LockData = MutexData;
    type Guard = ();

    #[inline]
    fn try_lock<'a, T: ?Sized>(
        mutex: &'a spin::Mutex<T>,
        _: &'a MutexData,
    ) -> Option<(spin::MutexGuard<'a, T>, ())> {
        mutex.try_lock().map(|inner| (inner, ()))
    }

    #[inline]
    fn lock<'a, T: ?Sized>(mutex: &'a spin::Mutex<T>, data: &'a MutexData) -> (spin::MutexGuard<'a, T>, ()) {
        for _ in 0..SPINS {
            if data.starving.load(Ordering::Relaxed) != 0 {
                break;
            }
            if let Some(inner) = mutex.try_lock() {
                return (inner, ());
            }
            core::hint::spin_loop();
        }
        (lock_slow(mutex, data), ())
    }

    #[inline]
    fn post_unlock(data: &MutexData) {
        data.waiters.notify_one();
    }
}

#[cold]
fn lock_slow<'a, T: ?Sized>(mutex: &'a spin::Mutex<T>, data: &'a MutexData) -> spin::MutexGuard<'a, T> {
    let mut evaluations = 0;
    let mut starving = None;
    data.waiters.wait_until(|| {
        evaluations += 1;
        // The queue evaluates the condition once before and once after it lets us in. Later evaluations come after a
        // notification, which is ours to use: from then on we do not step back.
        let woken = evaluations > 2;
        if !woken && data.starving.load(Ordering::SeqCst) != 0 {
            return None;
        }
        let inner = mutex.try_lock();
        if inner.is_none() && evaluations > 2 + PATIENCE && starving.is_none() {
            starving = Some(Starving::new(&data.starving));
        }
        inner
    })
}

/// A waiter that starves, until it has the lock or is killed.
struct Starving<'a>(&'a AtomicUsize);

impl<'a> Starving<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Starving(count)
    }
}

impl Drop for Starving<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
