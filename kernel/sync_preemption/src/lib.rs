//! Locks that keep their holder on its CPU.
//!
//! For short critical sections that busy tasks share: nobody spins for a holder that was preempted. Interrupts go
//! on, so an interrupt handler must not take such a lock; `sync_irq` is for those.
//!
//! # Invariant
//! The holder must not sleep: while preemption is held the scheduler cannot switch away.
//!
//! Relies on `preemption`. On a Linux host there is nothing to hold: there the locks only spin.
#![cfg_attr(not(test), no_std)]

use sync::DeadlockPrevention;

/// The flavor: the task is not preempted while the lock is held.
#[derive(Copy, Clone, Debug)]
pub struct DisablePreemption;

#[cfg(target_os = "theseus")]
impl DeadlockPrevention for DisablePreemption {
    type Guard = preemption::PreemptionGuard;
    const EXPENSIVE: bool = false;

    #[inline]
    fn enter() -> Self::Guard {
        preemption::hold_preemption()
    }
}

#[cfg(not(target_os = "theseus"))]
impl DeadlockPrevention for DisablePreemption {
    type Guard = ();
    const EXPENSIVE: bool = false;

    #[inline]
    fn enter() -> Self::Guard {}
}

/// A [`sync::Mutex`] held without being preempted.
pub type PreemptionSafeMutex<T> = sync::Mutex<T, DisablePreemption>;
/// What locking a [`PreemptionSafeMutex`] returns.
pub type PreemptionSafeMutexGuard<'a, T> = sync::MutexGuard<'a, T, DisablePreemption>;
/// A [`sync::RwLock`] held without being preempted.
pub type PreemptionSafeRwLock<T> = sync::RwLock<T, DisablePreemption>;
/// What read-locking a [`PreemptionSafeRwLock`] returns.
pub type PreemptionSafeRwLockReadGuard<'a, T> = sync::RwLockReadGuard<'a, T, DisablePreemption>;
/// What write-locking a [`PreemptionSafeRwLock`] returns.
pub type PreemptionSafeRwLockWriteGuard<'a, T> = sync::RwLockWriteGuard<'a, T, DisablePreemption>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_that_meet_exclude_each_other() {
        static VALUE: PreemptionSafeMutex<u32> = PreemptionSafeMutex::new(0);
        static COUNT: PreemptionSafeRwLock<u32> = PreemptionSafeRwLock::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..10_000 {
                        *VALUE.lock() += 1;
                        *COUNT.write() += 1;
                    }
                });
            }
        });
        assert_eq!((*VALUE.lock(), *COUNT.read()), (40_000, 40_000));
    }
}
