//! How tasks end: by themselves, when asked, or when they cannot go on.

use crate::{ExitValue, KillHandler, KillReason, TaskRef, with_current_task};
use alloc::boxed::Box;
use core::any::Any;
use core::marker::PhantomData;
use core::ops::Deref;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicPtr, Ordering};
use irq_safety::hold_interrupts;
use run_queue::RunQueue;
use sync_irq::IrqSafeMutex;
use task_struct::{ExposedTask, Reaper, RunState};

/// Ends the current task, which could not be unwound.
pub type FailureCleanupFunction = fn(ExitableTaskRef, KillReason) -> !;

/// A [`FailureCleanupFunction`]; null before the first task is made.
static FAILURE_CLEANUP: AtomicPtr<()> = AtomicPtr::new(core::ptr::null_mut());
/// Exited tasks that nobody can join, and that have left their CPUs.
static ORPHANS: IrqSafeMutex<RunQueue<ExposedTask>> = IrqSafeMutex::new(RunQueue::new());
/// The task to wake when there are orphans; null before there is one.
static REAPER: AtomicPtr<ExposedTask> = AtomicPtr::new(core::ptr::null_mut());

pub(crate) fn set_failure_cleanup(function: FailureCleanupFunction) {
    FAILURE_CLEANUP.store(function as *mut (), Ordering::Release);
}

/// What the current task alone has of itself: the right to end.
#[derive(Debug)]
pub struct ExitableTaskRef {
    task: TaskRef,
    /// A raw pointer makes it `!Send` and `!Sync`: no other task may have it.
    _this_task: PhantomData<*mut ()>,
}

impl ExitableTaskRef {
    /// # Safety
    /// `task` is the current task, and code that would need it to go on does not run any more when it ends.
    pub unsafe fn new(task: TaskRef) -> Self {
        ExitableTaskRef { task, _this_task: PhantomData }
    }

    /// For an unwinder that finds nobody to catch: the current task's right to end, and how to do it. `None` if `task` is
    /// not the current task.
    pub fn obtain_for_unwinder(task: TaskRef) -> Option<(Self, FailureCleanupFunction)> {
        if get_current_id() != task.id {
            return None;
        }
        let pointer = FAILURE_CLEANUP.load(Ordering::Acquire);
        if pointer.is_null() {
            return None;
        }
        // SAFETY: only `set_failure_cleanup` writes other values than null, and only `FailureCleanupFunction`s.
        let function = unsafe { core::mem::transmute::<*mut (), FailureCleanupFunction>(pointer) };
        // SAFETY: it is the current task, as just checked, and the unwinder gives it up.
        Some((unsafe { ExitableTaskRef::new(task) }, function))
    }

    /// Ends the task with what its function returned.
    pub fn mark_as_exited(self, value: Box<dyn Any + Send>) -> ! {
        self.exit(ExitValue::Completed(value))
    }

    /// Keeps the task's stack, and the code of the application that it is part of, for ever. For a task that ends without
    /// being unwound: what its frames own was not dropped, so others may still have pointers to it (a wait queue's entry is
    /// on the stack) and to the application's functions (a callback that a value would have withdrawn).
    pub fn keep_stack_and_code(&self) {
        core::mem::forget(self.task.internals().inner.lock().kstack.take());
        core::mem::forget(self.task.app_crate.clone());
    }

    /// Ends the task before its time.
    pub fn mark_as_killed(self, reason: KillReason) -> ! {
        self.exit(ExitValue::Killed(reason))
    }

    /// Leaves `value` for whoever joins the task, wakes them, and switches to another task for good.
    fn exit(self, value: ExitValue) -> ! {
        let ExitableTaskRef { task, .. } = self;
        // What goes with the task's end but may need the CPU to itself, with interrupts on, while it still has one.
        task.set_inherited_state(None);
        // From here on the task must not be preempted: it would not be continued.
        let interrupts = hold_interrupts();
        let internals = task.internals();
        let (waker, former) = {
            let mut inner = internals.inner.lock();
            let former = inner.exit_value.replace(value);
            internals.set_runstate(RunState::Exited);
            if let Some(joiner) = &inner.joiner {
                // It stays where it is until this task is reaped: if the joiner was ended meanwhile, that may be the last
                // reference to it, and dropping it here, with interrupts off, could unload its program.
                let _ = TaskRef(joiner.clone()).unblock();
            }
            (inner.waker.take(), former)
        };
        debug_assert!(former.is_none(), "a task exits once");
        if !internals.joinable.load(Ordering::SeqCst) {
            // If the joiner let go of it just now, one of the two is the first.
            internals.appoint_reaper(Reaper::ReaperTask);
        }
        if let Some(waker) = waker {
            waker.wake();
        }
        // A task that ends without unwinding leaves guards behind that nobody will drop; the counter is about this task
        // only, as others start to run with it at 0.
        while cpu::preemption_count() != 0 {
            cpu::decrement_preemption_count();
        }
        // The list of all tasks has a reference until the task is reaped, which is after it left the CPU.
        drop(task);
        crate::scheduler::switch_to_next(crate::scheduler::Why::Called);
        // A task that is not runnable is never switched to; and the idle task is always there to be switched to.
        drop(interrupts);
        panic!("an exited task was continued");
    }
}

impl Deref for ExitableTaskRef {
    type Target = TaskRef;

    fn deref(&self) -> &TaskRef {
        &self.task
    }
}

fn get_current_id() -> usize {
    crate::get_my_current_task_id()
}

/// Whether the current task was asked to end and should: waits should give up, by [`exit_if_killed`] or by returning. False
/// while it already unwinds, so that what is dropped may wait.
pub fn cancellation_pending() -> bool {
    with_current_task(TaskRef::kill_requested).unwrap_or(false)
}

/// A cancel point: ends the current task by unwinding it if it was asked to end ([`TaskRef::kill`]).
///
/// Functions that wait call it before they do, with no lock held that dropping a guard would not release. Does nothing while
/// the task unwinds already, while preemption is forbidden, or in an interrupt handler.
pub fn exit_if_killed() {
    if !cancellation_pending() || cpu::preemption_count() != 0 || cpu::in_interrupt() {
        return;
    }
    let (reason, handler) = with_current_task(|task| {
        let mut inner = task.internals().inner.lock();
        (inner.kill_reason.take(), inner.kill_handler.take())
    })
    .unwrap_or((None, None));
    // Whoever catches this without passing it on only gets to the next cancel point: the request stays.
    let reason = reason.unwrap_or(KillReason::Requested);
    if let Some(handler) = handler {
        handler(&reason);
    }
    catch_unwind::resume_unwind(reason)
}

/// Sets what is called when the current task is ended before its time.
///
/// # Errors
/// One is set already, or there is no current task.
pub fn set_kill_handler(handler: KillHandler) -> Result<(), &'static str> {
    with_current_task(|task| {
        let mut inner = task.internals().inner.lock();
        if inner.kill_handler.is_some() {
            return Err("the task has a kill handler already");
        }
        inner.kill_handler = Some(handler);
        Ok(())
    })
    .unwrap_or(Err("there is no current task"))
}

/// Takes out what [`set_kill_handler`] set.
pub fn take_kill_handler() -> Option<KillHandler> {
    with_current_task(|task| task.internals().inner.lock().kill_handler.take()).ok().flatten()
}

/// Whether this is the reaper task.
pub(crate) fn is_reaper(task: &TaskRef) -> bool {
    core::ptr::eq(REAPER.load(Ordering::Acquire), alloc::sync::Arc::as_ptr(task.exposed()))
}

/// Hands an exited orphan that has left its CPU to the reaper task. Runs inside the scheduler, so it only queues.
pub(crate) fn leave_to_reaper(task: NonNull<ExposedTask>) {
    // SAFETY: the list of all tasks keeps the task until the reaper task, which alone was appointed, took it out of this
    // queue. It is in no run queue, since it has exited.
    unsafe { ORPHANS.lock().push(task) };
    let reaper = REAPER.load(Ordering::Acquire);
    if !reaper.is_null() {
        // SAFETY: the reaper's pointer is set to that of a task that never exits, so the list of all tasks keeps it.
        let reaper = core::mem::ManuallyDrop::new(TaskRef(unsafe { alloc::sync::Arc::from_raw(reaper) }));
        let _ = reaper.unblock();
    }
}

/// Frees one exited task that nobody can join; when there is none, waits until there is one. The body of the reaper task,
/// which `spawn` starts.
pub fn reap_one_orphan() {
    let Ok(()) = with_current_task(|task| {
        REAPER.store(alloc::sync::Arc::as_ptr(task.exposed()).cast_mut(), Ordering::Release);
        let orphan = {
            let mut orphans = ORPHANS.lock();
            let orphan = orphans.pop();
            if orphan.is_none() {
                let _ = task.block();
            }
            orphan
        };
        if let Some(orphan) = orphan {
            // SAFETY: an orphan is kept by the list of all tasks until it is reaped, below. `from_raw` takes over the count
            // that `increment_strong_count` adds.
            let orphan = unsafe {
                alloc::sync::Arc::increment_strong_count(orphan.as_ptr());
                TaskRef(alloc::sync::Arc::from_raw(orphan.as_ptr()))
            };
            // What the task left is code of whoever spawned it, whose panic must not end the reaper. (The panic was reported
            // where it happened.) Its reason is dropped before the orphan, which keeps the code.
            drop(catch_unwind::catch_unwind_with_arg(
                |orphan: &TaskRef| drop(crate::join::reap(orphan)),
                &orphan,
            ));
        }
    }) else {
        return;
    };
    crate::schedule();
}
