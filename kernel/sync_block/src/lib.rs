//! Locks and condition variables whose waiters sleep.
//!
//! For critical sections that take long, or in which the holder itself sleeps. A waiter first spins for a moment, as
//! most locks are released soon, and then waits in a queue. [`std_api`] has the same locks with the signatures of
//! `std::sync`.
//!
//! # Fairness
//! A lock that is released goes to whoever takes it first, which need not be the waiter that was woken: it has to be
//! scheduled first. That is fast, but a task that releases and takes a lock in a loop could keep another one waiting
//! for ever. So a waiter that was woken in vain a few times declares itself *starving*: newcomers of a [`Mutex`] then
//! queue behind those that wait instead of overtaking them. An [`RwLock`] prefers readers and has no such rule,
//! for a reader that holds the lock and takes it a second time must not wait for a starving writer, which waits for
//! that reader.
//!
//! # Being killed
//! Every wait is a cancel point: a task that is asked to die does not wait for a lock, whose holder may be asleep for hours, but
//! unwinds out of `lock()`. A lock that is free is taken as ever, and a task that unwinds already waits as long as it takes: so what is
//! dropped may lock.
//!
//! # Invariants
//! - No wake-up is lost; see `wait_queue` for why. What it asks of this crate: a lock is released before its queue is
//!   notified, and an attempt to lock fails only if somebody holds the lock who will notify the queue later. Newcomers
//!   that step back for a starving waiter have not been notified yet, so they swallow no notification.
//! - Not to be taken in interrupt handlers, nor with interrupts or preemption disabled.
#![cfg_attr(target_os = "theseus", no_std)]

mod condvar;
mod mutex;
mod rw_lock;
pub mod std_api;

pub use condvar::Condvar;

/// The flavor: waiters sleep, and nothing is prevented while a lock is held.
#[derive(Copy, Clone, Debug)]
pub struct Block;

/// A [`sync::Mutex`] whose waiters sleep.
pub type Mutex<T> = sync::Mutex<T, Block>;
/// What locking a [`Mutex`] returns.
pub type MutexGuard<'a, T> = sync::MutexGuard<'a, T, Block>;
/// A [`sync::RwLock`] whose waiters sleep.
pub type RwLock<T> = sync::RwLock<T, Block>;
/// What read-locking an [`RwLock`] returns.
pub type RwLockReadGuard<'a, T> = sync::RwLockReadGuard<'a, T, Block>;
/// What write-locking an [`RwLock`] returns.
pub type RwLockWriteGuard<'a, T> = sync::RwLockWriteGuard<'a, T, Block>;

/// How often a waiter looks at a lock before it goes to sleep. About the time of a short critical section; falling
/// asleep and being woken takes several times as long.
const SPINS: usize = 100;

#[cfg(test)]
mod tests;
