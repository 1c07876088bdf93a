//! In the kernel a task is marked as blocked, and the scheduler passes it by.

use irq_safety::hold_interrupts;
use task::TaskRef;

/// A task that waits, or is about to. `None` while the kernel has no tasks yet.
pub struct Waiting(Option<TaskRef>);

impl Waiting {
    pub fn current() -> Self {
        Waiting(task::get_my_current_task())
    }

    /// Sleeps unless `token` already says otherwise. The crate's documentation explains the order of steps.
    pub fn sleep(&self, token: impl Fn() -> bool) {
        let Some(task) = &self.0 else {
            core::hint::spin_loop();
            return;
        };
        let interrupts = hold_interrupts();
        // This fails if the task was asked to die: then it stays runnable, and only lets others go first.
        if task.block().is_ok() && token() {
            // This fails only if somebody else has already unblocked the task.
            let _ = task.unblock();
            return;
        }
        drop(interrupts);
        task::schedule();
    }

    pub fn wake(&self) {
        if let Some(task) = &self.0 {
            // This fails if the task is not asleep. It will then see the token before it falls asleep.
            let _ = task.unblock();
        }
    }
}

pub fn exit_if_killed() {
    task::exit_if_killed();
}
