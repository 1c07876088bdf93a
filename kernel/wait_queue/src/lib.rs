//! Queues of tasks that wait until a condition holds.
//!
//! ```
//! # use std::sync::atomic::{AtomicU32, Ordering};
//! # use wait_queue::WaitQueue;
//! static LETTERS: AtomicU32 = AtomicU32::new(0);
//! static READERS: WaitQueue = WaitQueue::new();
//!
//! fn deliver() {
//!     LETTERS.fetch_add(1, Ordering::Release); // first make the condition true,
//!     READERS.notify_one(); //                    then tell somebody who waits for it
//! }
//!
//! fn take() {
//!     READERS.wait_until(|| {
//!         LETTERS.fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| n.checked_sub(1)).ok()
//!     });
//! }
//! # let reader = std::thread::spawn(take);
//! # deliver();
//! # reader.join().unwrap();
//! ```
//!
//! # Why no wake-up is lost
//! A waiter first enters the queue and *then* evaluates its condition; only if that fails it sleeps. A notifier
//! first makes the condition true and *then* looks into the queue. Whichever comes first, one of the two sees the
//! other: a notifier that does not find the waiter has changed what the waiter is about to look at. A waiter that
//! is notified between its look and falling asleep finds the token of its `park::Parker` and does not sleep.
//!
//! Upstream evaluates the condition with the queue locked. Here it is evaluated with nothing held, interrupts and
//! preemption on, so that it may take locks, allocate and take its time. The price: it may be evaluated more often
//! than it was notified.
//!
//! A notification is for one waiter and must not vanish with it. A waiter that unwinds out of its wait (because its
//! task was killed, or its condition panicked) after it was notified passes the notification on.
//!
//! # Invariants
//! - The queue's entries live on the stacks of the waiters. An entry is removed under the queue's lock before its
//!   stack frame goes away, on every way out including unwinding. A task that ends without unwinding must leak its
//!   stack.
//! - Entering and notifying neither allocate nor wait for anything but the queue's lock, which is held with interrupts
//!   disabled for a few instructions: notifying works in interrupt handlers.
#![cfg_attr(target_os = "theseus", no_std)]

use core::cell::Cell;
use core::ptr;
use core::sync::atomic::{AtomicUsize, Ordering, fence};
use park::{ParkPermit, Parker};
use sync_irq::IrqSafeMutex;

/// A queue of tasks that wait for something to become true.
pub struct WaitQueue {
    list: IrqSafeMutex<List>,
    /// How many entries the list has. Changed under the lock, read without it.
    len: AtomicUsize,
}

/// The entries, in the order in which they are to be notified.
struct List {
    first: *const Entry,
    last: *const Entry,
}

// SAFETY: the pointers of a list are followed only by who holds the lock around it, and what they point to stays valid
// while it is in the list (invariant of the crate). A `Parker` may be used by any task.
unsafe impl Send for List {}

/// A waiter's place in the queue. Lives on the waiter's stack. Its cells are accessed only with the queue's lock held.
struct Entry {
    /// Whom to wake. Outlives the entry's time in the list: see `WaitQueue::wait`.
    parker: *const Parker,
    state: Cell<State>,
    previous: Cell<*const Entry>,
    next: Cell<*const Entry>,
}

#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum State {
    /// In no list, and not yet told to look again.
    Idle,
    /// In the list.
    Queued,
    /// Taken out of the list by a notifier.
    Notified,
}

impl List {
    fn push_last(&mut self, entry: &Entry) {
        entry.previous.set(self.last);
        entry.next.set(ptr::null());
        // SAFETY: `last` is null or an entry in the list, so valid, and the lock is held (`&mut self`).
        match unsafe { self.last.as_ref() } {
            Some(last) => last.next.set(entry),
            None => self.first = entry,
        }
        self.last = entry;
        entry.state.set(State::Queued);
    }

    fn push_first(&mut self, entry: &Entry) {
        entry.previous.set(ptr::null());
        entry.next.set(self.first);
        // SAFETY: as in `push_last`.
        match unsafe { self.first.as_ref() } {
            Some(first) => first.previous.set(entry),
            None => self.last = entry,
        }
        self.first = entry;
        entry.state.set(State::Queued);
    }

    /// Takes out an entry, which must be in this list.
    fn remove(&mut self, entry: &Entry, new_state: State) {
        debug_assert_eq!(entry.state.get(), State::Queued);
        // SAFETY: the neighbours of an entry in the list are null or in the list, so valid, and the lock is held.
        match unsafe { entry.previous.get().as_ref() } {
            Some(previous) => previous.next.set(entry.next.get()),
            None => self.first = entry.next.get(),
        }
        // SAFETY: as above.
        match unsafe { entry.next.get().as_ref() } {
            Some(next) => next.previous.set(entry.previous.get()),
            None => self.last = entry.previous.get(),
        }
        entry.state.set(new_state);
    }
}

impl WaitQueue {
    /// Creates an empty queue.
    pub const fn new() -> Self {
        WaitQueue {
            list: IrqSafeMutex::new(List { first: ptr::null(), last: ptr::null() }),
            len: AtomicUsize::new(0),
        }
    }

    /// Waits until `condition` returns a value, and returns that.
    ///
    /// The condition is evaluated at once, and then whenever the queue was notified or the task woken otherwise. What it
    /// looks at must be changed before the queue is notified. Nothing is held while it runs.
    ///
    /// This is a cancel point: a task that is asked to die while it waits unwinds out of this function.
    pub fn wait_until<T>(&self, mut condition: impl FnMut() -> Option<T>) -> T {
        condition().unwrap_or_else(|| {
            let (parker, permit) = Parker::new();
            self.wait(&parker, &permit, condition, Parker::park_or_exit)
        })
    }

    /// Like [`wait_until`](Self::wait_until), but goes on waiting if the task is asked to die.
    ///
    /// For waits that are sure to end, such as for a lock, where unwinding would surprise the caller.
    pub fn wait_until_uncancellable<T>(&self, mut condition: impl FnMut() -> Option<T>) -> T {
        condition().unwrap_or_else(|| {
            let (parker, permit) = Parker::new();
            self.wait(&parker, &permit, condition, Parker::park)
        })
    }

    /// Like [`wait_until`](Self::wait_until), with a parker that somebody else may unpark too, such as an alarm clock: then the
    /// condition is evaluated once more.
    pub fn wait_until_with<T>(
        &self,
        parker: &Parker,
        permit: &ParkPermit,
        condition: impl FnMut() -> Option<T>,
    ) -> T {
        self.wait(parker, permit, condition, Parker::park_or_exit)
    }

    /// Like [`wait_until_with`](Self::wait_until_with), but goes on waiting if the task is asked to die; see
    /// [`wait_until_uncancellable`](Self::wait_until_uncancellable).
    pub fn wait_until_uncancellable_with<T>(
        &self,
        parker: &Parker,
        permit: &ParkPermit,
        condition: impl FnMut() -> Option<T>,
    ) -> T {
        self.wait(parker, permit, condition, Parker::park)
    }

    fn wait<T>(
        &self,
        parker: &Parker,
        permit: &ParkPermit,
        mut condition: impl FnMut() -> Option<T>,
        park: fn(&Parker, &ParkPermit),
    ) -> T {
        let entry = Entry {
            parker,
            state: Cell::new(State::Idle),
            previous: Cell::new(ptr::null()),
            next: Cell::new(ptr::null()),
        };
        // Dropped before the entry, and thus before the parker, whose borrow outlasts this function.
        let place = Place { queue: self, entry: &entry, owes: Cell::new(false) };
        loop {
            place.enter();
            let result = condition();
            // Whatever this task was told until it entered, it has acted upon by now.
            place.owes.set(false);
            if let Some(value) = result {
                return value;
            }
            park(parker, permit);
        }
    }

    /// Wakes the task that has waited longest. Returns whether there was one. May be called in interrupt handlers.
    pub fn notify_one(&self) -> bool {
        // Orders the caller's change of the condition before the look at `len`: see `Place::enter`.
        fence(Ordering::SeqCst);
        if self.len.load(Ordering::Relaxed) == 0 {
            return false;
        }
        let mut list = self.list.lock();
        self.notify_first(&mut list)
    }

    /// Wakes all tasks that wait. May be called in interrupt handlers.
    pub fn notify_all(&self) {
        fence(Ordering::SeqCst);
        if self.len.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut list = self.list.lock();
        while self.notify_first(&mut list) {}
    }

    /// How many tasks wait right now. The answer may be outdated as soon as it is given.
    pub fn waiting(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    fn notify_first(&self, list: &mut List) -> bool {
        // SAFETY: `first` is null or an entry in the list, so valid until it is removed under the lock, which we hold. Its
        // waiter, even if woken by now, takes the lock before it lets go of the entry.
        let Some(first) = (unsafe { list.first.as_ref() }) else { return false };
        list.remove(first, State::Notified);
        self.len.fetch_sub(1, Ordering::Relaxed);
        // SAFETY: the parker outlives the entry's time in the list, and the lock that protects it is still held.
        unsafe { &*first.parker }.unpark();
        true
    }
}

impl Default for WaitQueue {
    fn default() -> Self {
        Self::new()
    }
}

/// A waiter's stay in a queue; it ends when this is dropped.
struct Place<'a> {
    queue: &'a WaitQueue,
    entry: &'a Entry,
    /// Whether this waiter was notified and has not evaluated its condition since. If it unwinds now, the notification
    /// belongs to somebody else.
    owes: Cell<bool>,
}

impl Place<'_> {
    /// Makes sure that the entry is in the queue: at its end, or at its front if it was notified in vain.
    fn enter(&self) {
        let mut list = self.queue.list.lock();
        match self.entry.state.get() {
            State::Queued => return,
            State::Idle => list.push_last(self.entry),
            // Somebody else was quicker, but those who came later shall not be before us.
            State::Notified => {
                list.push_first(self.entry);
                self.owes.set(true);
            }
        }
        self.queue.len.fetch_add(1, Ordering::Relaxed);
        drop(list);
        // Orders the change of `len` before the evaluation of the condition. With the fence of the notifier between its
        // change of the condition and its look at `len`, at least one side sees the other's change.
        fence(Ordering::SeqCst);
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut list = self.queue.list.lock();
        match self.entry.state.get() {
            State::Queued => {
                list.remove(self.entry, State::Idle);
                self.queue.len.fetch_sub(1, Ordering::Relaxed);
            }
            State::Notified => self.owes.set(true),
            State::Idle => {}
        }
        if self.owes.get() {
            self.queue.notify_first(&mut list);
        }
    }
}

#[cfg(test)]
mod tests;
