//! Sleeping for a time, or until an instant.
//!
//! Tasks that sleep are in a queue ordered by deadline. The timer interrupt looks at the first deadline on each tick, and
//! wakes those whose time has come. So a sleep is never shorter than asked for, and longer by up to a tick (1 ms) plus
//! the time until the task is scheduled.
//!
//! Waiting for something else, but not for ever, is [`wait_until_timeout`].
//!
//! Both are cancel points: a task that is asked to die while it sleeps unwinds.
//!
//! # Invariants
//! - The queue's entries live on the stacks of the sleepers, and are removed under the queue's lock before their stack frame
//!   goes away, on every way out. A task that ends without unwinding must leak its stack.
//! - The timer interrupt neither allocates nor frees: it marks an entry as rung and unparks its task. It takes the
//!   queue's lock only if a deadline has passed.
//! - Entering takes time in proportion to the number of earlier entries that ring later, with interrupts disabled: some
//!   nanoseconds each.
#![cfg_attr(target_os = "theseus", no_std)]

use core::cell::Cell;
use core::ptr;
use core::sync::atomic::{AtomicU64, Ordering};
use park::{ParkPermit, Parker};
use sync_irq::IrqSafeMutex;
use wait_queue::WaitQueue;

pub use time::{Duration, Instant};

#[cfg(target_os = "theseus")]
use task::RunState;
/// On a Linux host no sleep ends early.
#[cfg(not(target_os = "theseus"))]
type RunState = core::convert::Infallible;

/// Lets the timer interrupt wake sleepers. Called once, when there are tasks. Until then a sleep spins.
#[cfg(target_os = "theseus")]
pub fn init() {
    task::scheduler::set_timer_tick_hook(unblock_sleeping_tasks);
}

/// The deadlines, the earliest first.
struct Queue {
    first: *const Entry,
    last: *const Entry,
}

// SAFETY: the pointers are followed only by who holds the lock around the queue, and what they point to stays valid while
// it is in the queue (invariant of the crate). A `Parker` may be used by any task.
unsafe impl Send for Queue {}

static QUEUE: IrqSafeMutex<Queue> = IrqSafeMutex::new(Queue::new());

/// The first deadline in the queue, in nanoseconds, or `u64::MAX`. Changed with the queue locked, read without.
static FIRST_DEADLINE: AtomicU64 = AtomicU64::new(u64::MAX);

/// A deadline. Its cells are accessed only with the queue locked.
struct Entry {
    /// Whom to wake. Outlives the entry's time in the queue; see [`Alarm`].
    parker: *const Parker,
    deadline: Instant,
    queued: Cell<bool>,
    previous: Cell<*const Entry>,
    next: Cell<*const Entry>,
}

impl Entry {
    fn new(parker: &Parker, deadline: Instant) -> Self {
        Entry {
            parker,
            deadline,
            queued: Cell::new(false),
            previous: Cell::new(ptr::null()),
            next: Cell::new(ptr::null()),
        }
    }
}

impl Queue {
    const fn new() -> Self {
        Queue { first: ptr::null(), last: ptr::null() }
    }

    fn insert(&mut self, entry: &Entry) {
        // From the end: most deadlines that are set now are later than those that were set before.
        let mut previous = self.last;
        // SAFETY: `previous` is null or in the queue, so valid, and the lock is held (`&mut self`).
        while let Some(other) = unsafe { previous.as_ref() } {
            if other.deadline <= entry.deadline {
                break;
            }
            previous = other.previous.get();
        }
        // SAFETY: as above.
        let next = match unsafe { previous.as_ref() } {
            Some(previous) => previous.next.replace(entry),
            None => core::mem::replace(&mut self.first, entry),
        };
        // SAFETY: `next` was in the queue, or is null.
        match unsafe { next.as_ref() } {
            Some(next) => next.previous.set(entry),
            None => self.last = entry,
        }
        entry.previous.set(previous);
        entry.next.set(next);
        entry.queued.set(true);
    }

    /// Takes out an entry, which must be in the queue.
    fn remove(&mut self, entry: &Entry) {
        debug_assert!(entry.queued.get());
        // SAFETY: the neighbours of an entry in the queue are null or in the queue, so valid, and the lock is held.
        match unsafe { entry.previous.get().as_ref() } {
            Some(previous) => previous.next.set(entry.next.get()),
            None => self.first = entry.next.get(),
        }
        // SAFETY: as above.
        match unsafe { entry.next.get().as_ref() } {
            Some(next) => next.previous.set(entry.previous.get()),
            None => self.last = entry.previous.get(),
        }
        entry.queued.set(false);
    }

    fn first(&self) -> Option<&Entry> {
        // SAFETY: `first` is null or in the queue, so valid as long as the lock is held, which the returned borrow outlives
        // not.
        unsafe { self.first.as_ref() }
    }

    /// Says when the timer interrupt has to look. Called after each change of the one queue there is.
    fn publish(&self) {
        let deadline = self.first().map_or(u64::MAX, |first| first.deadline.as_nanos());
        FIRST_DEADLINE.store(deadline, Ordering::Release);
    }
}

/// Wakes the tasks whose deadlines have passed. The timer interrupt calls it on each tick.
pub fn unblock_sleeping_tasks() {
    let now = Instant::now();
    if now.as_nanos() < FIRST_DEADLINE.load(Ordering::Acquire) {
        return;
    }
    let mut queue = QUEUE.lock();
    loop {
        let first = queue.first;
        // SAFETY: null, or in the queue until it is removed below; and its owner, even if woken at once, takes the lock before
        // it lets go of the entry.
        let Some(entry) = (unsafe { first.as_ref() }) else { break };
        if now < entry.deadline {
            break;
        }
        queue.remove(entry);
        // SAFETY: the parker outlives the entry's time in the queue, and the lock is still held.
        unsafe { &*entry.parker }.unpark();
    }
    queue.publish();
}

/// An entry's stay in the queue; it ends when this is dropped, or when the deadline has passed.
struct Alarm<'a> {
    entry: &'a Entry,
}

impl<'a> Alarm<'a> {
    /// Has `parker` unparked soon after `deadline`. `place` gets the entry, and stays borrowed as long as it is in the queue;
    /// so does the parker.
    fn set(place: &'a mut Option<Entry>, parker: &'a Parker, deadline: Instant) -> Self {
        let entry = place.insert(Entry::new(parker, deadline));
        let mut queue = QUEUE.lock();
        queue.insert(entry);
        queue.publish();
        Alarm { entry }
    }
}

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        let mut queue = QUEUE.lock();
        if self.entry.queued.get() {
            queue.remove(self.entry);
            queue.publish();
        }
    }
}

/// Sleeps for at least `duration`.
///
/// # Errors
/// None: a task that cannot be blocked spins instead.
pub fn sleep(duration: Duration) -> Result<(), RunState> {
    sleep_until(Instant::now() + duration)
}

/// Sleeps until `deadline` has passed.
///
/// # Errors
/// None: a task that cannot be blocked spins instead.
pub fn sleep_until(deadline: Instant) -> Result<(), RunState> {
    if Instant::now() < deadline {
        let (parker, permit) = Parker::new();
        let mut place = None;
        let _alarm = Alarm::set(&mut place, &parker, deadline);
        while Instant::now() < deadline {
            parker.park_or_exit(&permit);
        }
    }
    Ok(())
}

/// Waits in a queue until `condition` returns a value, but at most for `timeout`: then it returns `None`.
///
/// Otherwise the same as [`WaitQueue::wait_until`]. The condition is evaluated at least once, after the deadline too.
pub fn wait_until_timeout<T>(
    queue: &WaitQueue,
    timeout: Duration,
    condition: impl FnMut() -> Option<T>,
) -> Option<T> {
    wait(timeout, condition, |parker, permit, condition| queue.wait_until_with(parker, permit, condition))
}

/// Like [`wait_until_timeout`], but goes on waiting if the task is asked to die, as
/// [`WaitQueue::wait_until_uncancellable`] does: for devices that are writing to memory.
pub fn wait_until_timeout_uncancellable<T>(
    queue: &WaitQueue,
    timeout: Duration,
    condition: impl FnMut() -> Option<T>,
) -> Option<T> {
    wait(timeout, condition, |parker, permit, condition| {
        queue.wait_until_uncancellable_with(parker, permit, condition)
    })
}

fn wait<T>(
    timeout: Duration,
    mut condition: impl FnMut() -> Option<T>,
    wait: impl FnOnce(&Parker, &ParkPermit, &mut dyn FnMut() -> Option<Option<T>>) -> Option<T>,
) -> Option<T> {
    if let Some(value) = condition() {
        return Some(value);
    }
    let deadline = Instant::now() + timeout;
    let (parker, permit) = Parker::new();
    let mut place = None;
    let _alarm = Alarm::set(&mut place, &parker, deadline);
    wait(&parker, &permit, &mut || {
        // The clock first: a condition that became true before the deadline is then seen.
        let over = Instant::now() >= deadline;
        condition().map(Some).or(over.then_some(None))
    })
}

#[cfg(test)]
mod tests;
