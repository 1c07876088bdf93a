//! Tasks that wait at a key, an address for example, until somebody notifies it.

use crate::platform;
use core::cell::Cell;
use core::ptr;
use core::time::Duration;

/// Tasks that wait, each at a key. They are blocked: they take no processor time until they are notified, their time is over, or
/// they are killed.
///
/// # Why no wake-up is lost
/// A waiter looks whether it has to wait, and enters the list, in one critical section; a notifier looks into the list in
/// another one. So whoever first makes sure that nobody needs to wait any more, and then notifies, finds every waiter that did not
/// see it. A notifier takes a waiter out of the list before it wakes it; so nobody is notified twice.
///
/// # Invariants
/// The list's entries live on the stacks of the waiters. An entry is taken out with the list locked before its stack frame
/// goes away, on every way out including unwinding. Nothing is allocated per key, so nothing is left behind at one.
#[derive(Default)]
pub struct WaitList(platform::ListLock<List>);

/// What became of a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waited {
    /// There was no need to wait.
    NotNeeded,
    /// It was notified.
    Notified,
    /// The time was over first.
    TimedOut,
}

/// The entries in the order in which they came.
struct List {
    first: *const Entry,
    last: *const Entry,
}

// SAFETY: the pointers are followed only by who holds the lock around the list, and what they point to stays valid while it is in
// the list (invariant of `WaitList`). Of an entry in the list others use only the cells, under the lock, and the sleeper,
// which any task may wake.
unsafe impl Send for List {}

impl Default for List {
    fn default() -> Self {
        List { first: ptr::null(), last: ptr::null() }
    }
}

/// A waiter's place in the list. Its cells are accessed only with the list locked.
struct Entry {
    key: usize,
    sleeper: platform::Sleeper,
    state: Cell<State>,
    previous: Cell<*const Entry>,
    next: Cell<*const Entry>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Queued,
    Notified,
    /// Left by itself.
    Gone,
}

impl List {
    fn push(&mut self, entry: &Entry) {
        entry.previous.set(self.last);
        // SAFETY: `last` is null or an entry in the list, so valid, and the lock is held (`&mut self`).
        match unsafe { self.last.as_ref() } {
            Some(last) => last.next.set(entry),
            None => self.first = entry,
        }
        self.last = entry;
    }

    /// Takes out an entry, which must be in this list.
    fn remove(&mut self, entry: &Entry, state: State) {
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
        entry.state.set(state);
    }

    /// Wakes those that have waited longest at `key`, at most `count`, and returns how many.
    fn notify(&mut self, key: usize, count: u32) -> u32 {
        let mut woken = 0;
        let mut next = self.first;
        while woken < count {
            // SAFETY: null or in the list, so valid. A waiter that was taken out, even if it runs by now, takes the lock before it
            // lets go of its entry; so `sleeper` is valid too until we return.
            let Some(entry) = (unsafe { next.as_ref() }) else { break };
            next = entry.next.get();
            if entry.key == key {
                self.remove(entry, State::Notified);
                entry.sleeper.wake();
                woken += 1;
            }
        }
        woken
    }
}

/// A waiter's stay in a list, which ends when this is dropped.
struct Stay<'a> {
    list: &'a WaitList,
    entry: &'a Entry,
}

impl Stay<'_> {
    /// Ends the stay and says how.
    fn end(self) -> Waited {
        let waited = self.leave();
        core::mem::forget(self);
        waited
    }

    fn leave(&self) -> Waited {
        platform::with_list(&self.list.0, |list| match self.entry.state.get() {
            State::Queued => {
                list.remove(self.entry, State::Gone);
                Waited::TimedOut
            }
            State::Notified => Waited::Notified,
            State::Gone => unreachable!("a stay ends once"),
        })
    }
}

impl Drop for Stay<'_> {
    /// The waiter unwinds, because it was killed. If it was notified just before, the notification is for somebody else.
    fn drop(&mut self) {
        if self.leave() == Waited::Notified {
            self.list.notify(self.entry.key, 1);
        }
    }
}

impl WaitList {
    /// Waits at `key`, if `needed` says so, until [`notify`](Self::notify) wakes it or `timeout` has passed; `None` is for ever.
    ///
    /// `needed` is called once, with the list locked and maybe with interrupts disabled: it takes a look and nothing else.
    ///
    /// A task that is killed while it waits unwinds out of this function; if it is the system that kills tasks.
    pub fn wait(&self, key: usize, timeout: Option<Duration>, needed: impl FnOnce() -> bool) -> Waited {
        let entry = Entry {
            key,
            sleeper: platform::Sleeper::new(),
            state: Cell::new(State::Queued),
            previous: Cell::new(ptr::null()),
            next: Cell::new(ptr::null()),
        };
        let entered = platform::with_list(&self.0, |list| {
            let needed = needed();
            if needed {
                list.push(&entry);
            }
            needed
        });
        if !entered {
            return Waited::NotNeeded;
        }
        let stay = Stay { list: self, entry: &entry };
        entry.sleeper.sleep(timeout);
        stay.end()
    }

    /// Wakes those that have waited longest at `key`, at most `count` of them, and returns how many.
    ///
    /// What they wait for must have been made true before. Takes time in proportion to all that wait in the list.
    pub fn notify(&self, key: usize, count: u32) -> u32 {
        platform::with_list(&self.0, |list| list.notify(key, count))
    }

    /// How many wait, at whatever key. The answer may be outdated as soon as it is given.
    pub fn waiting(&self) -> usize {
        platform::with_list(&self.0, |list| {
            let mut next = list.first;
            let mut count = 0;
            // SAFETY: null or in the list, so valid while it is locked.
            while let Some(entry) = unsafe { next.as_ref() } {
                next = entry.next.get();
                count += 1;
            }
            count
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
    use std::time::Instant;

    fn await_waiters(list: &WaitList, count: usize) {
        while list.waiting() != count {
            std::thread::yield_now();
        }
    }

    #[test]
    fn who_need_not_wait_does_not() {
        let list = WaitList::default();
        assert_eq!(list.wait(8, None, || false), Waited::NotNeeded);
        assert_eq!(list.waiting(), 0);
        assert_eq!(list.notify(8, u32::MAX), 0);
    }

    #[test]
    fn time_passes_and_not_too_little() {
        let list = WaitList::default();
        for timeout in [Duration::ZERO, Duration::from_nanos(1), Duration::from_millis(30)] {
            let start = Instant::now();
            assert_eq!(list.wait(8, Some(timeout), || true), Waited::TimedOut);
            assert!(start.elapsed() >= timeout);
            assert_eq!(list.waiting(), 0);
        }
    }

    #[test]
    fn a_notification_is_for_a_key_and_a_number_in_order_of_arrival() {
        let list = WaitList::default();
        let woken = [const { AtomicBool::new(false) }; 5];
        std::thread::scope(|scope| {
            for (number, key) in [1, 2, 1, 1, 2].into_iter().enumerate() {
                let (list, woken) = (&list, &woken);
                // The longest timeout there is must not overflow.
                let timeout = (number % 2 == 0).then_some(Duration::from_nanos(i64::MAX as u64));
                scope.spawn(move || {
                    assert_eq!(list.wait(key, timeout, || true), Waited::Notified);
                    woken[number].store(true, Ordering::Release);
                });
                await_waiters(list, number + 1);
            }
            let expect = |expected: [bool; 5]| {
                while woken.each_ref().map(|flag| flag.load(Ordering::Acquire)) != expected {
                    std::thread::yield_now();
                }
            };
            assert_eq!(list.notify(3, u32::MAX), 0);
            assert_eq!(list.notify(1, 0), 0);
            assert_eq!(list.notify(1, 2), 2);
            expect([true, false, true, false, false]);
            assert_eq!(list.waiting(), 3);
            assert_eq!(list.notify(2, u32::MAX), 2);
            expect([true, true, true, false, true]);
            assert_eq!(list.notify(1, 7), 1);
        });
        assert_eq!(list.waiting(), 0);
    }

    #[test]
    fn no_wake_up_is_lost_between_a_look_and_a_wait() {
        const ROUNDS: u32 = 20_000;
        let list = WaitList::default();
        let turn = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for me in 0..2 {
                let (list, turn) = (&list, &turn);
                scope.spawn(move || {
                    for round in 0..ROUNDS {
                        let mine = round * 2 + me;
                        loop {
                            let seen = turn.load(Ordering::SeqCst);
                            if seen == mine {
                                break;
                            }
                            list.wait(0, None, || turn.load(Ordering::SeqCst) == seen);
                        }
                        turn.store(mine + 1, Ordering::SeqCst);
                        list.notify(0, 1);
                    }
                });
            }
        });
        assert_eq!(turn.into_inner(), 2 * ROUNDS);
        assert_eq!(list.waiting(), 0);
    }

    #[test]
    fn timeouts_and_notifications_meet() {
        let list = WaitList::default();
        let (notified, told) = (AtomicU32::new(0), AtomicU32::new(0));
        let running = AtomicU32::new(4);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for round in 0..2_000 {
                        if list.wait(1, Some(Duration::from_micros(round % 50)), || true) == Waited::Notified
                        {
                            notified.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                    running.fetch_sub(1, Ordering::Release);
                });
            }
            scope.spawn(|| {
                while running.load(Ordering::Acquire) != 0 {
                    told.fetch_add(list.notify(1, 2), Ordering::Relaxed);
                }
            });
        });
        // Everybody who was counted by a notifier was notified, and nobody else.
        assert_eq!(notified.into_inner(), told.into_inner());
        assert_eq!(list.waiting(), 0);
    }

    #[test]
    fn who_unwinds_passes_its_notification_on() {
        let list = WaitList::default();
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| list.wait(5, None, || true));
            await_waiters(&list, 1);
            // A waiter that was notified, and is gone by unwinding before it could return.
            let entry = Entry {
                key: 5,
                sleeper: platform::Sleeper::new(),
                state: Cell::new(State::Notified),
                previous: Cell::new(ptr::null()),
                next: Cell::new(ptr::null()),
            };
            drop(Stay { list: &list, entry: &entry });
            assert_eq!(waiter.join().unwrap(), Waited::Notified);
        });
    }
}
