//! Parking the current task until another task, or an interrupt handler, unparks it.
//!
//! Everything that sleeps is made of this: wait queues, sleeping locks, channels, wakers and timers. On a Linux
//! host a "task" is a thread, so that all of those can be tested there.
//!
//! # Why no wake-up is lost
//! A [`Parker`] has a *token*. [`unpark`](Parker::unpark) first sets the token and then makes the task runnable;
//! [`park`](Parker::park) takes the token if it is there, and otherwise sleeps. The danger lies between looking
//! for the token and falling asleep. In the kernel, `park` therefore
//!
//! 1. disables interrupts, so that the task cannot be preempted for the next two steps,
//! 2. marks the task as blocked,
//! 3. looks for the token. If it is there, the mark is taken back and `park` returns.
//! 4. enables interrupts again and calls the scheduler.
//!
//! An `unpark` whose token is seen in step 3 has done its duty. One whose token is not seen there set it after
//! step 2, so that it makes the task runnable *after* it was marked as blocked, and the mark is gone, wherever
//! between step 3 and the end of the context switch the task is by then. Being preempted after step 4's first half is
//! harmless for the same reason. Without step 1 a task could be preempted between 2 and 3: it would be off its
//! CPU, marked as blocked, with the token already set, and nobody would ever come again.
//!
//! # Being killed
//! [`park_or_exit`](Parker::park_or_exit) is a cancel point: a task that was asked to die unwinds from there.
//! The request sets a flag and then unblocks the task; a task that has the flag set is not marked as blocked any
//! more. Whatever the interleaving, the task does not sleep through it. [`park`](Parker::park) does not heed such
//! requests (and no longer sleeps after one, but yields); it is for waits that are sure to end soon, such as for a
//! lock.
//!
//! # Invariants
//! - Only the task that made a `Parker` parks with it.
//! - `unpark` neither allocates nor takes locks other than those `Task::unblock` takes, which are safe in
//!   interrupt handlers.
#![cfg_attr(target_os = "theseus", no_std)]

use core::marker::PhantomData;
use core::sync::atomic::{AtomicBool, Ordering};

#[cfg_attr(target_os = "theseus", path = "kernel.rs")]
#[cfg_attr(not(target_os = "theseus"), path = "host.rs")]
mod platform;

/// What the current task waits with, and others wake it with.
///
/// It usually lives on the stack of the waiting task, and those who are to wake it find it through a list that is
/// protected by a lock.
pub struct Parker {
    token: AtomicBool,
    task: platform::Waiting,
}

/// The side of a [`Parker`] that only its own task has: the right to park. It cannot leave the task.
pub struct ParkPermit {
    // A raw pointer makes the permit `!Send` and `!Sync`.
    _own_task: PhantomData<*const ()>,
}

impl Parker {
    /// A parker for the current task, and its permit to park with it.
    ///
    /// Before there are tasks (early at boot) parking does not sleep but returns at once, so that waits spin.
    pub fn new() -> (Self, ParkPermit) {
        let parker = Parker { token: AtomicBool::new(false), task: platform::Waiting::current() };
        (parker, ParkPermit { _own_task: PhantomData })
    }

    /// Sleeps until [`unpark`](Self::unpark) was called at least once since the last call of this function.
    ///
    /// It may return early, so call it in a loop that looks at what is waited for.
    pub fn park(&self, _permit: &ParkPermit) {
        if !self.token.swap(false, Ordering::SeqCst) {
            self.task.sleep(|| self.token.load(Ordering::SeqCst));
            // A swap, not a store: whoever's token this takes has published what the caller looks at next.
            self.token.swap(false, Ordering::SeqCst);
        }
    }

    /// Like [`park`](Self::park), and does not return if the task was asked to die: it unwinds.
    pub fn park_or_exit(&self, _permit: &ParkPermit) {
        if !self.token.swap(false, Ordering::SeqCst) {
            self.task.sleep(|| self.token.load(Ordering::SeqCst));
            // A swap, not a store: whoever's token this takes has published what the caller looks at next.
            self.token.swap(false, Ordering::SeqCst);
        }
        platform::exit_if_killed();
    }

    /// Lets the task go on, or not fall asleep the next time it wants to. May be called in interrupt handlers.
    pub fn unpark(&self) {
        self.token.store(true, Ordering::SeqCst);
        self.task.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicPtr, AtomicUsize};
    use std::time::{Duration, Instant};

    #[test]
    fn a_token_set_before_parking_is_not_lost() {
        let (parker, permit) = Parker::new();
        parker.unpark();
        parker.unpark();
        parker.park(&permit);
        assert!(!parker.token.load(Ordering::SeqCst), "tokens do not add up");
    }

    #[test]
    fn parking_sleeps_until_unparked() {
        let (parker, permit) = Parker::new();
        let woken = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(20));
                woken.store(true, Ordering::SeqCst);
                parker.unpark();
            });
            let start = Instant::now();
            while !woken.load(Ordering::SeqCst) {
                parker.park_or_exit(&permit);
            }
            assert!(start.elapsed() >= Duration::from_millis(20));
        });
    }

    #[test]
    fn many_ping_pongs_lose_no_wake_up() {
        const ROUNDS: usize = 3_000;
        static TURN: AtomicUsize = AtomicUsize::new(0);
        static PARKERS: [AtomicPtr<Parker>; 2] =
            [AtomicPtr::new(core::ptr::null_mut()), AtomicPtr::new(core::ptr::null_mut())];
        let barrier = std::sync::Barrier::new(2);
        std::thread::scope(|scope| {
            for me in 0..2 {
                let barrier = &barrier;
                scope.spawn(move || {
                    let (parker, permit) = Parker::new();
                    PARKERS[me].store((&raw const parker).cast_mut(), Ordering::SeqCst);
                    barrier.wait();
                    for _ in 0..ROUNDS {
                        while TURN.load(Ordering::SeqCst) % 2 != me {
                            parker.park(&permit);
                        }
                        TURN.fetch_add(1, Ordering::SeqCst);
                        // SAFETY: the other thread's parker lives until both have passed the second barrier.
                        unsafe { &*PARKERS[1 - me].load(Ordering::SeqCst) }.unpark();
                    }
                    barrier.wait();
                });
            }
        });
        assert_eq!(TURN.load(Ordering::SeqCst), 2 * ROUNDS);
    }
}
