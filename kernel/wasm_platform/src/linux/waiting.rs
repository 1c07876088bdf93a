//! Blocking threads: parking, with a flag that makes spurious wake-ups harmless.

use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::sync::PoisonError;
use std::thread::Thread;
use std::time::Instant;

/// The lock around a list of waiters.
pub(crate) type ListLock<T> = std::sync::Mutex<T>;

/// Calls `f` with what is locked.
pub(crate) fn with_list<T, R>(lock: &ListLock<T>, f: impl FnOnce(&mut T) -> R) -> R {
    f(&mut lock.lock().unwrap_or_else(PoisonError::into_inner))
}

/// What the current thread sleeps with once, and another one wakes it with.
pub(crate) struct Sleeper {
    woken: AtomicBool,
    thread: Thread,
}

impl Sleeper {
    /// For the current thread.
    pub(crate) fn new() -> Self {
        Sleeper { woken: AtomicBool::new(false), thread: std::thread::current() }
    }

    /// Sleeps until it is woken, or `timeout` has passed. To be called by the thread that made it.
    pub(crate) fn sleep(&self, timeout: Option<Duration>) {
        // A deadline past the end of time is none.
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        while !self.woken.load(Ordering::Acquire) {
            match deadline {
                None => std::thread::park(),
                Some(deadline) => match deadline.checked_duration_since(Instant::now()) {
                    Some(left) if !left.is_zero() => std::thread::park_timeout(left),
                    _ => return,
                },
            }
        }
    }

    /// Wakes it.
    pub(crate) fn wake(&self) {
        self.woken.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

/// A lock whose waiters sleep. Of a holder that panicked nothing is kept: the next one gets the lock.
#[derive(Debug, Default)]
pub struct Mutex<T>(std::sync::Mutex<T>);

impl<T> Mutex<T> {
    /// A lock around `value`.
    pub const fn new(value: T) -> Self {
        Mutex(std::sync::Mutex::new(value))
    }

    /// Waits until nobody else has the lock. To be given back soon: killed tasks wait as well.
    pub fn lock(&self) -> impl core::ops::DerefMut<Target = T> + '_ {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
