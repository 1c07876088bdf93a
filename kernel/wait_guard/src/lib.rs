//! A guard that keeps a task blocked as long as it lives.
//!
//! A task makes one for itself, puts it where those find it who are to wake it, and calls `task::schedule()`. Whoever
//! drops the guard wakes the task: it cannot be forgotten, nor done twice.
//!
//! It is the simplest way to wait for one event of one partner. Who waits for a condition uses `wait_queue`, which also
//! takes care of events that come between the look at the condition and falling asleep: with a guard, the event must
//! not be able to happen before the guard is in its place.
//!
//! # Invariant
//! The task is not runnable from the guard's creation until it is dropped, unless somebody else unblocks it.
#![no_std]

use task::{RunState, TaskRef};

/// Keeps a task blocked; dropping it unblocks the task.
#[must_use = "the task is unblocked as soon as the guard is dropped"]
pub struct WaitGuard {
    task: TaskRef,
}

impl WaitGuard {
    /// Blocks `task`, which must be the current task. It goes on running until it calls `task::schedule()`.
    ///
    /// # Errors
    /// The task's state, if that is not runnable.
    pub fn new(task: TaskRef) -> Result<Self, RunState> {
        task.block()?;
        Ok(WaitGuard { task })
    }

    /// The task that is blocked.
    pub fn task(&self) -> &TaskRef {
        &self.task
    }
}

impl Drop for WaitGuard {
    fn drop(&mut self) {
        // This fails if somebody else has unblocked the task already, or if it has exited meanwhile.
        let _ = self.task.unblock();
    }
}
