//! A first-in first-out queue whose links lie in the queued things themselves, so that queueing never allocates and an
//! interrupt handler may do it.
//!
//! The scheduler keeps one [`RunQueue`] per CPU, with the tasks that are ready to run there, and one for the tasks that
//! have exited and wait for the reaper.
//!
//! # Invariants
//! * A thing is in at most one queue at a time: [`Link::is_queued`] says whether it is in any.
//! * A queue holds pointers, not references: whoever pushes promises that the thing stays where it is, and alive, until
//!   it is out of the queue again.
#![cfg_attr(not(test), no_std)]

use core::cell::Cell;
use core::ptr::NonNull;

/// The place in a thing by which it hangs in a queue.
#[derive(Debug, Default)]
pub struct Link<T> {
    next: Cell<Option<NonNull<T>>>,
    queued: Cell<bool>,
}

// SAFETY: the cells are only touched by a queue's methods, which take `&mut RunQueue`, so whatever lock guards the queue
// guards the links of what is in it. A link outside of a queue is touched only by `push`, whose caller promises that no
// other queue has it, and by `is_queued`, whose caller makes the same promise.
unsafe impl<T> Sync for Link<T> {}
// SAFETY: a link's pointer is only followed under its queue's lock, on whatever CPU.
unsafe impl<T> Send for Link<T> {}

impl<T> Link<T> {
    /// A link that is in no queue.
    pub const fn new() -> Self {
        Link { next: Cell::new(None), queued: Cell::new(false) }
    }

    /// Whether the thing is in a queue.
    ///
    /// # Safety
    /// The caller holds the lock of the only queue that the thing could be in.
    pub unsafe fn is_queued(&self) -> bool {
        self.queued.get()
    }
}

/// What can be in a [`RunQueue`].
///
/// # Safety
/// `link` must return the same link at every call, and no other thing's.
pub unsafe trait Queueable: Sized {
    /// The thing's link.
    fn link(&self) -> &Link<Self>;
}

/// A queue, first in first out.
#[derive(Debug)]
pub struct RunQueue<T: Queueable> {
    first: Option<NonNull<T>>,
    last: Option<NonNull<T>>,
    length: usize,
}

// SAFETY: the queue only stores pointers to things that any CPU may use (`T: Sync`).
unsafe impl<T: Queueable + Sync> Send for RunQueue<T> {}

impl<T: Queueable> Default for RunQueue<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Queueable> RunQueue<T> {
    /// A queue with nothing in it.
    pub const fn new() -> Self {
        RunQueue { first: None, last: None, length: 0 }
    }

    /// How many things are in the queue.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether nothing is in the queue.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Puts `thing` at the end; false, and nothing done, if it is in this queue already.
    ///
    /// # Safety
    /// `thing` stays alive and in place until it is out of the queue, and no queue but this one has it or is given it.
    pub unsafe fn push(&mut self, thing: NonNull<T>) -> bool {
        // SAFETY: the caller promises that `thing` is alive.
        let link = unsafe { thing.as_ref() }.link();
        if link.queued.replace(true) {
            return false;
        }
        link.next.set(None);
        match self.last.replace(thing) {
            // SAFETY: what is in the queue is alive (contract of `push`).
            Some(last) => unsafe { last.as_ref() }.link().next.set(Some(thing)),
            None => self.first = Some(thing),
        }
        self.length += 1;
        true
    }

    /// Puts `thing` at the beginning, so that it is the next to be taken; false, and nothing done, if it is in this queue
    /// already.
    ///
    /// # Safety
    /// As [`Self::push`].
    pub unsafe fn push_front(&mut self, thing: NonNull<T>) -> bool {
        // SAFETY: the caller promises that `thing` is alive.
        let link = unsafe { thing.as_ref() }.link();
        if link.queued.replace(true) {
            return false;
        }
        link.next.set(self.first);
        self.first = Some(thing);
        if self.last.is_none() {
            self.last = Some(thing);
        }
        self.length += 1;
        true
    }

    /// Takes the thing that has waited longest.
    pub fn pop(&mut self) -> Option<NonNull<T>> {
        let thing = self.first?;
        // SAFETY: what is in the queue is alive (contract of `push`).
        let link = unsafe { thing.as_ref() }.link();
        self.first = link.next.take();
        if self.first.is_none() {
            self.last = None;
        }
        link.queued.set(false);
        self.length -= 1;
        Some(thing)
    }

    /// Takes `thing` out, wherever it is in the queue; false if it is not in it. Time proportional to the length.
    pub fn remove(&mut self, thing: &T) -> bool {
        self.pop_where(|other| core::ptr::eq(other, thing)).is_some()
    }

    /// Takes out the thing that has waited longest of those that `wanted` accepts. Time proportional to the number of things
    /// before it.
    pub fn pop_where(&mut self, mut wanted: impl FnMut(&T) -> bool) -> Option<NonNull<T>> {
        let mut previous: Option<NonNull<T>> = None;
        let mut next = self.first;
        while let Some(here) = next {
            // SAFETY: what is in the queue is alive (contract of `push`).
            let thing = unsafe { here.as_ref() };
            let link = thing.link();
            next = link.next.get();
            if wanted(thing) {
                match previous {
                    // SAFETY: as above.
                    Some(previous) => unsafe { previous.as_ref() }.link().next.set(next),
                    None => self.first = next,
                }
                if next.is_none() {
                    self.last = previous;
                }
                link.next.set(None);
                link.queued.set(false);
                self.length -= 1;
                return Some(here);
            }
            previous = Some(here);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    struct Thing {
        number: usize,
        link: Link<Thing>,
    }

    // SAFETY: each thing has a link of its own.
    unsafe impl Queueable for Thing {
        fn link(&self) -> &Link<Thing> {
            &self.link
        }
    }

    fn things(count: usize) -> Vec<Thing> {
        (0..count).map(|number| Thing { number, link: Link::new() }).collect()
    }

    fn push(queue: &mut RunQueue<Thing>, thing: &Thing) -> bool {
        // SAFETY: the tests' things outlive their queues and are in one queue only.
        unsafe { queue.push(NonNull::from(thing)) }
    }

    fn pop(queue: &mut RunQueue<Thing>) -> Option<usize> {
        // SAFETY: the tests' things outlive their queues.
        queue.pop().map(|thing| unsafe { thing.as_ref() }.number)
    }

    #[test]
    fn first_in_first_out() {
        let things = things(3);
        let mut queue = RunQueue::new();
        for thing in &things {
            assert!(push(&mut queue, thing));
        }
        assert!(!push(&mut queue, &things[1]), "already queued");
        assert_eq!(queue.len(), 3);
        assert_eq!(
            [pop(&mut queue), pop(&mut queue), pop(&mut queue), pop(&mut queue)],
            [Some(0), Some(1), Some(2), None]
        );
        assert!(push(&mut queue, &things[1]), "can be queued again");
    }

    #[test]
    fn takes_the_first_that_is_wanted() {
        let things = things(5);
        let mut queue = RunQueue::new();
        for thing in &things {
            push(&mut queue, thing);
        }
        let mut take = |wanted: fn(usize) -> bool| {
            // SAFETY: the tests' things outlive their queues.
            queue.pop_where(|thing| wanted(thing.number)).map(|thing| unsafe { thing.as_ref() }.number)
        };
        assert_eq!(take(|number| number % 2 == 1), Some(1));
        assert_eq!(take(|number| number > 3), Some(4));
        assert_eq!(take(|number| number > 3), None);
        assert_eq!([0; 4].map(|_| pop(&mut queue)), [Some(0), Some(2), Some(3), None]);
        assert!(push(&mut queue, &things[1]), "can be queued again");
        assert_eq!(pop(&mut queue), Some(1));
    }

    #[test]
    fn behaves_like_a_deque_under_random_operations() {
        let things = things(8);
        let mut queue = RunQueue::new();
        let mut model = VecDeque::new();
        let mut random = 0x9e37_79b9_u64;
        for _ in 0..20_000 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let index = (random >> 8) as usize % things.len();
            match random % 4 {
                0 => {
                    let fresh = !model.contains(&index);
                    assert_eq!(push(&mut queue, &things[index]), fresh);
                    if fresh {
                        model.push_back(index);
                    }
                }
                1 => {
                    let fresh = !model.contains(&index);
                    // SAFETY: the tests' things outlive their queues and are in one queue only.
                    let pushed = unsafe { queue.push_front(NonNull::from(&things[index])) };
                    assert_eq!(pushed, fresh);
                    if fresh {
                        model.push_front(index);
                    }
                }
                2 => assert_eq!(pop(&mut queue), model.pop_front()),
                _ => {
                    let position = model.iter().position(|&other| other == index);
                    assert_eq!(queue.remove(&things[index]), position.is_some());
                    if let Some(position) = position {
                        model.remove(position);
                    }
                }
            }
            assert_eq!(queue.len(), model.len());
            // SAFETY: only this thread uses the queue.
            assert_eq!(unsafe { things[index].link.is_queued() }, model.contains(&index));
        }
    }
}
