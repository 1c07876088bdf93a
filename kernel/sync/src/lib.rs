//! Mutual exclusion and reader-writer locks, generic over their *flavor*.
//!
//! A flavor says two things: what the holder of a lock must not do while it holds it (be interrupted, be
//! preempted, or nothing at all), and what a waiter does until the lock is free (spin, or sleep). The data and
//! the lock word are the same for all of them, and live in [`Mutex`] and [`RwLock`].
//!
//! Only crates that *implement* a flavor depend on this one. Who needs a lock picks one of
//!
//! | crate             | while held                            | waiters | may be used in interrupt handlers |
//! |-------------------|---------------------------------------|---------|-----------------------------------|
//! | `sync_spin`       | anything may happen                   | spin    | no                                |
//! | `sync_preemption` | the task stays on its CPU             | spin    | no                                |
//! | `sync_irq`        | no interrupts on this CPU             | spin    | yes                               |
//! | `sync_block`      | anything may happen, sleeping as well | sleep   | no                                |
//!
//! # Invariants
//! - The lock word is released *before* the flavor's guard is dropped: interrupts come back, or preemption, only
//!   once nobody can be kept waiting by this task.
//! - A waiter that spins enters the flavor's context anew for each attempt and leaves it in between, so that a
//!   CPU that waits for a lock still takes its interrupts.
//! - There is no poisoning: a holder that unwinds releases its lock like one that returns.
#![cfg_attr(not(test), no_std)]

mod mutex;
mod rw_lock;

pub use mutex::{Mutex, MutexFlavor, MutexGuard};
pub use rw_lock::{RwLock, RwLockFlavor, RwLockReadGuard, RwLockWriteGuard};

/// The raw spinning locks that flavors are made of.
pub mod spin {
    pub use ::spin::{
        mutex::spin::{SpinMutex as Mutex, SpinMutexGuard as MutexGuard},
        rwlock::{RwLock, RwLockReadGuard, RwLockWriteGuard},
    };
}

/// A context that makes it safe to spin for a lock: while it lasts, nobody who could want the same lock can
/// take this CPU from its holder.
///
/// Whoever implements it gets a [`MutexFlavor`] and a [`RwLockFlavor`] for it.
pub trait DeadlockPrevention {
    /// Keeps the context alive; it ends when the guard is dropped.
    type Guard;

    /// Whether it costs so much to enter the context that an attempt to lock first looks whether it can succeed.
    const EXPENSIVE: bool;

    /// Enters the context.
    fn enter() -> Self::Guard;
}

impl<P: DeadlockPrevention> MutexFlavor for P {
    const INIT: Self::LockData = ();
    type LockData = ();
    type Guard = <P as DeadlockPrevention>::Guard;

    #[inline]
    fn try_lock<'a, T: ?Sized>(
        mutex: &'a spin::Mutex<T>,
        _: &'a Self::LockData,
    ) -> Option<(spin::MutexGuard<'a, T>, Self::Guard)> {
        if P::EXPENSIVE && mutex.is_locked() {
            return None;
        }
        let context = P::enter();
        mutex.try_lock().map(|inner| (inner, context))
    }

    #[inline]
    fn lock<'a, T: ?Sized>(
        mutex: &'a spin::Mutex<T>,
        _: &'a Self::LockData,
    ) -> (spin::MutexGuard<'a, T>, Self::Guard) {
        loop {
            let context = P::enter();
            if let Some(inner) = mutex.try_lock_weak() {
                return (inner, context);
            }
            drop(context);
            while mutex.is_locked() {
                core::hint::spin_loop();
            }
        }
    }

    #[inline]
    fn post_unlock(_: &Self::LockData) {}
}

impl<P: DeadlockPrevention> RwLockFlavor for P {
    const INIT: Self::LockData = ();
    type LockData = ();
    type Guard = <P as DeadlockPrevention>::Guard;

    #[inline]
    fn try_read<'a, T: ?Sized>(
        rw_lock: &'a spin::RwLock<T>,
        _: &'a Self::LockData,
    ) -> Option<(spin::RwLockReadGuard<'a, T>, Self::Guard)> {
        if P::EXPENSIVE && rw_lock.writer_count() != 0 {
            return None;
        }
        let context = P::enter();
        rw_lock.try_read().map(|inner| (inner, context))
    }

    #[inline]
    fn try_write<'a, T: ?Sized>(
        rw_lock: &'a spin::RwLock<T>,
        _: &'a Self::LockData,
    ) -> Option<(spin::RwLockWriteGuard<'a, T>, Self::Guard)> {
        if P::EXPENSIVE && (rw_lock.reader_count() != 0 || rw_lock.writer_count() != 0) {
            return None;
        }
        let context = P::enter();
        rw_lock.try_write().map(|inner| (inner, context))
    }

    #[inline]
    fn read<'a, T: ?Sized>(
        rw_lock: &'a spin::RwLock<T>,
        _: &'a Self::LockData,
    ) -> (spin::RwLockReadGuard<'a, T>, Self::Guard) {
        loop {
            let context = P::enter();
            if let Some(inner) = rw_lock.try_read() {
                return (inner, context);
            }
            drop(context);
            while rw_lock.writer_count() != 0 {
                core::hint::spin_loop();
            }
        }
    }

    #[inline]
    fn write<'a, T: ?Sized>(
        rw_lock: &'a spin::RwLock<T>,
        _: &'a Self::LockData,
    ) -> (spin::RwLockWriteGuard<'a, T>, Self::Guard) {
        loop {
            let context = P::enter();
            if let Some(inner) = rw_lock.try_write_weak() {
                return (inner, context);
            }
            drop(context);
            while rw_lock.writer_count() != 0 || rw_lock.reader_count() != 0 {
                core::hint::spin_loop();
            }
        }
    }

    #[inline]
    fn post_unlock(_: &Self::LockData, _: bool) {}
}

#[cfg(test)]
mod tests;
