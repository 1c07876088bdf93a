//! Locks whose waiters spin, and whose holders may be interrupted and preempted at any time.
//!
//! They are the cheapest to take, and right where the tasks that share them hardly ever meet: a holder that is
//! preempted keeps others spinning until it runs again. Data that an interrupt handler touches needs `sync_irq`;
//! short critical sections shared by busy tasks want `sync_preemption`; long ones `sync_block`.
#![cfg_attr(not(test), no_std)]

use sync::DeadlockPrevention;

/// The flavor: nothing is prevented while the lock is held.
#[derive(Copy, Clone, Debug)]
pub struct Spin;

impl DeadlockPrevention for Spin {
    type Guard = ();
    const EXPENSIVE: bool = false;

    #[inline]
    fn enter() -> Self::Guard {}
}

/// A [`sync::Mutex`] whose waiters spin.
pub type Mutex<T> = sync::Mutex<T, Spin>;
/// What locking a [`Mutex`] returns.
pub type MutexGuard<'a, T> = sync::MutexGuard<'a, T, Spin>;
/// A [`sync::RwLock`] whose waiters spin.
pub type RwLock<T> = sync::RwLock<T, Spin>;
/// What read-locking an [`RwLock`] returns.
pub type RwLockReadGuard<'a, T> = sync::RwLockReadGuard<'a, T, Spin>;
/// What write-locking an [`RwLock`] returns.
pub type RwLockWriteGuard<'a, T> = sync::RwLockWriteGuard<'a, T, Spin>;

/// [`Mutex`], by a name that stays clear beside other mutexes.
pub type SpinMutex<T> = Mutex<T>;
/// [`RwLock`], by a name that stays clear beside other locks.
pub type SpinRwLock<T> = RwLock<T>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_that_meet_exclude_each_other() {
        static VALUE: Mutex<u32> = Mutex::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..10_000 {
                        *VALUE.lock() += 1;
                    }
                });
            }
        });
        assert_eq!(*VALUE.lock(), 40_000);
    }

    #[test]
    fn a_mutex_costs_one_word_beside_its_value() {
        assert_eq!(size_of::<Mutex<u64>>(), 16);
    }
}
