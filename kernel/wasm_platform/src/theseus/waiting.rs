//! Blocking tasks: wait queues, and the timer.

use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use sync_irq::IrqSafeMutex;
use wait_queue::WaitQueue;

/// The lock around a list of waiters. Held with interrupts disabled, so no holder is preempted while others spin.
pub(crate) type ListLock<T> = IrqSafeMutex<T>;

/// Calls `f` with what is locked.
pub(crate) fn with_list<T, R>(lock: &ListLock<T>, f: impl FnOnce(&mut T) -> R) -> R {
    f(&mut lock.lock())
}

/// What the current task sleeps with once, and another one wakes it with.
pub(crate) struct Sleeper {
    woken: AtomicBool,
    queue: WaitQueue,
}

impl Sleeper {
    /// For the current task.
    pub(crate) fn new() -> Self {
        Sleeper { woken: AtomicBool::new(false), queue: WaitQueue::new() }
    }

    /// Sleeps until it is woken, or `timeout` has passed. To be called by the task that made it. Unwinds if the task is killed.
    pub(crate) fn sleep(&self, timeout: Option<Duration>) {
        let woken = || self.woken.load(Ordering::Acquire).then_some(());
        match timeout {
            None => self.queue.wait_until(woken),
            Some(timeout) => {
                sleep::wait_until_timeout(&self.queue, timeout, woken);
            }
        }
    }

    /// Wakes it.
    pub(crate) fn wake(&self) {
        self.woken.store(true, Ordering::Release);
        self.queue.notify_one();
    }
}

/// A lock whose waiters sleep.
pub struct Mutex<T>(sync_block::Mutex<T>);

impl<T> Mutex<T> {
    /// A lock around `value`.
    pub const fn new(value: T) -> Self {
        Mutex(sync_block::Mutex::new(value))
    }

    /// Waits until nobody else has the lock. To be given back soon: killed tasks wait as well.
    pub fn lock(&self) -> impl core::ops::DerefMut<Target = T> + '_ {
        self.0.lock()
    }
}

impl<T: Default> Default for Mutex<T> {
    fn default() -> Self {
        Mutex::new(T::default())
    }
}
