//! The condition variable.

use crate::MutexGuard;
use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};
use wait_queue::WaitQueue;

/// Lets tasks wait until another one changes what a [`Mutex`](crate::Mutex) protects.
///
/// # How no notification is lost
/// Notifications are counted. A waiter reads the count while it still holds the mutex and then waits until it has
/// changed, so a notification that comes after the mutex was released, but before the waiter sleeps, is seen.
/// Notifications wake up at least as many waiters as they should; a waiter must look whether what it waits for is true.
pub struct Condvar {
    notifications: AtomicU64,
    waiters: WaitQueue,
}

impl Condvar {
    /// Creates a condition variable that nobody waits for.
    pub const fn new() -> Self {
        Condvar { notifications: AtomicU64::new(0), waiters: WaitQueue::new() }
    }

    /// Releases the mutex, waits for a notification, and takes the mutex again.
    ///
    /// It may return without a notification. This is a cancel point: a task that is asked to die while it waits unwinds
    /// from here, not holding the mutex.
    pub fn wait<'a, T: ?Sized>(&self, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        let mutex = guard.mutex();
        let seen = self.notifications.load(Ordering::SeqCst);
        drop(guard);
        self.waiters.wait_until(|| (self.notifications.load(Ordering::SeqCst) != seen).then_some(()));
        mutex.lock()
    }

    /// Waits as long as `condition` holds; see [`wait`](Self::wait). Evaluates it with the mutex held.
    pub fn wait_while<'a, T: ?Sized>(
        &self,
        mut guard: MutexGuard<'a, T>,
        mut condition: impl FnMut(&mut T) -> bool,
    ) -> MutexGuard<'a, T> {
        while condition(&mut guard) {
            guard = self.wait(guard);
        }
        guard
    }

    /// Wakes the task that has waited longest, if any.
    pub fn notify_one(&self) {
        self.notifications.fetch_add(1, Ordering::SeqCst);
        self.waiters.notify_one();
    }

    /// Wakes all tasks that wait.
    pub fn notify_all(&self) {
        self.notifications.fetch_add(1, Ordering::SeqCst);
        self.waiters.notify_all();
    }
}

impl Default for Condvar {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Condvar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Condvar").field("waiting", &self.waiters.waiting()).finish()
    }
}
