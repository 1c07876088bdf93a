//! A waker for the current task, and the blocker that waits for it.
//!
//! This is how code that speaks `core::task::Waker`, such as a future or a callback of a device, wakes a task that
//! sleeps. Each pair is for one task; a [`Waker`] may be cloned and sent anywhere.
//!
//! Waking by reference is possible in interrupt handlers. Dropping the last waker frees memory, which is not.
#![cfg_attr(target_os = "theseus", no_std)]

extern crate alloc;

use alloc::sync::Arc;
use alloc::task::Wake;
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::Waker;
use park::{ParkPermit, Parker};

struct Shared {
    woken: AtomicBool,
    parker: Parker,
}

impl Wake for Shared {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        self.parker.unpark();
    }
}

/// Creates a waker for the current task, and the blocker with which the task waits for it.
pub fn new_waker() -> (Waker, Blocker) {
    let (parker, permit) = Parker::new();
    let shared = Arc::new(Shared { woken: AtomicBool::new(false), parker });
    (Waker::from(shared.clone()), Blocker { shared, permit })
}

/// Waits for its [`Waker`]. It cannot leave the task that made it.
pub struct Blocker {
    shared: Arc<Shared>,
    permit: ParkPermit,
}

impl Blocker {
    /// Waits until the waker was woken since the last call, or since it was made.
    ///
    /// This is a cancel point: a task that is asked to die while it waits unwinds from here.
    pub fn block(&self) {
        while !self.shared.woken.swap(false, Ordering::Acquire) {
            self.shared.parker.park_or_exit(&self.permit);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU32;

    #[test]
    fn a_wake_before_blocking_counts() {
        let (waker, blocker) = new_waker();
        waker.wake_by_ref();
        blocker.block();
        assert!(!blocker.shared.woken.load(Ordering::Relaxed));
    }

    #[test]
    fn each_block_waits_for_a_wake_of_its_own() {
        let (waker, blocker) = new_waker();
        let count = AtomicU32::new(0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..100 {
                    let before = count.fetch_add(1, Ordering::SeqCst) + 1;
                    waker.wake_by_ref();
                    // The other side adds one to say that it has seen it.
                    while count.load(Ordering::SeqCst) == before {
                        std::thread::yield_now();
                    }
                }
            });
            for round in 0..100 {
                blocker.block();
                assert_eq!(count.fetch_add(1, Ordering::SeqCst), 2 * round + 1);
            }
        });
        assert_eq!(count.load(Ordering::SeqCst), 200);
    }

    #[test]
    fn wakers_outlive_their_blocker() {
        let (waker, blocker) = new_waker();
        let clone = waker.clone();
        drop(blocker);
        waker.wake();
        clone.wake();
    }
}
