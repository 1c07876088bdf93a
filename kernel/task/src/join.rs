//! Waiting for the end of a task.

use crate::{ExitValue, TASKLIST, TaskRef, WeakTaskRef, schedule, with_current_task};
use core::fmt;
use core::ops::Deref;
use core::sync::atomic::Ordering;
use core::task::Waker;
use task_struct::Reaper;

/// The one reference to a task by which its end can be waited for and its exit value taken.
///
/// When it is dropped without [`Self::join`], the task becomes an orphan: it goes on, and is reaped when it exits.
pub struct JoinableTaskRef {
    task: TaskRef,
}

impl JoinableTaskRef {
    /// For a task that was just made, of which there is no other such reference.
    pub(crate) fn new(task: TaskRef) -> Self {
        JoinableTaskRef { task }
    }

    /// Waits until the task has ended, frees what it used, and gives back its exit value. A cancel point for the caller.
    ///
    /// # Errors
    /// The exit value was taken by an earlier call, or there is no current task that could wait.
    pub fn join(&self) -> Result<ExitValue, &'static str> {
        let internals = self.task.internals();
        while !self.task.has_exited() {
            crate::exit_if_killed();
            with_current_task(|current| {
                let former = {
                    let mut inner = internals.inner.lock();
                    // The exit sets the exit value and takes the joiner in one go, under this lock.
                    if inner.exit_value.is_some() {
                        return;
                    }
                    // The current task is running, so it can only fail to block by having been asked to end, which the
                    // next round finds.
                    let _ = current.block();
                    inner.joiner.replace(current.exposed().clone())
                };
                drop(former);
            })
            .map_err(|_| "only a task can join another")?;
            schedule();
        }
        if !internals.appoint_reaper(Reaper::Joiner) {
            return Err("the task was joined before");
        }
        let value = reap(&self.task);
        value.ok_or("the task left no exit value")
    }

    /// Says who is woken when the task ends, in place of who was said before. If it has ended already, `waker` is woken at
    /// once.
    pub fn set_waker(&self, waker: Waker) {
        let mut inner = self.task.internals().inner.lock();
        if self.task.has_exited() {
            drop(inner);
            waker.wake();
        } else {
            let former = inner.waker.replace(waker);
            drop(inner);
            drop(former);
        }
    }

    /// A reference that does not keep the task.
    pub fn downgrade(&self) -> WeakTaskRef {
        self.task.downgrade()
    }
}

impl Drop for JoinableTaskRef {
    fn drop(&mut self) {
        let internals = self.task.internals();
        // The exiting task sets its state first and then looks at this flag; here it is the other way around. If both see
        // each other, the first to appoint itself reaps.
        internals.joinable.store(false, Ordering::SeqCst);
        if self.task.has_exited() && internals.appoint_reaper(Reaper::Joiner) {
            drop(reap(&self.task));
        }
    }
}

impl Deref for JoinableTaskRef {
    type Target = TaskRef;

    fn deref(&self) -> &TaskRef {
        &self.task
    }
}

impl fmt::Debug for JoinableTaskRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinableTaskRef({:?})", self.task)
    }
}

/// Frees what an exited task used, and takes its exit value. The caller was appointed to do so.
pub(crate) fn reap(task: &TaskRef) -> Option<ExitValue> {
    // The task has marked itself as exited, and now only has to leave its CPU, which takes it microseconds.
    while task.is_running() {
        core::hint::spin_loop();
    }
    let internals = task.internals();
    internals.set_runstate(task_struct::RunState::Reaped);
    let listed = TASKLIST.lock().remove(&task.id);
    drop(listed);
    drop(internals.take_resources());
    internals.inner.lock().exit_value.take()
}
