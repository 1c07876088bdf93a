//! References to tasks, and how tasks are scheduled, waited for, and ended.
//!
//! * [`TaskRef`] is how everybody refers to a task; [`JoinableTaskRef`], of which there is at most one per task, also
//!   allows to wait for its end; [`ExitableTaskRef`], which only the running task itself has, to end it.
//! * [`schedule`] lets another task run. [`scheduler`] has the queues.
//! * [`TaskRef::kill`] *asks* a task to end. The task ends by itself, at the next cancel point: a place where it waits
//!   ([`exit_if_killed`]). There it unwinds, so that everything it owns is dropped, locks included. A task that never waits
//!   is not ended, unless what it runs is WebAssembly, which the timer can interrupt anywhere: starting to unwind at an
//!   arbitrary instruction of compiled Rust could leave a value half-initialised, with nobody to know.
//!
//! # Relies on
//! `cpu` for the pointer to the running task, `context_switch` for the registers, `interrupts` for the moment of preemption.
//!
//! # Invariants
//! * The list of all tasks owns a reference to every task that was not reaped. What is running or queued was not reaped.
//! * The current task's pointer in the per-CPU block is changed only by the scheduler, with interrupts off.
//! * A task is reaped once, after it exited and left its CPU for the last time.
#![no_std]
extern crate alloc;

mod exit;
mod join;
mod preempt;
pub mod scheduler;

use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::fmt;
use core::mem::ManuallyDrop;
use core::ops::Deref;
use core::sync::atomic::{AtomicUsize, Ordering};
use cpu::CpuId;
use sync_irq::IrqSafeMutex;
use task_struct::ExposedTask;

pub use exit::{
    ExitableTaskRef, FailureCleanupFunction, cancellation_pending, exit_if_killed, reap_one_orphan,
    set_kill_handler, take_kill_handler,
};
pub use join::JoinableTaskRef;
pub use scheduler::schedule;
pub use task_struct::{
    ExitValue, InheritedState, InheritedStates, KillHandler, KillReason, PanicInfoOwned, RunState, Task,
};

/// All tasks that were not reaped, by id.
static TASKLIST: IrqSafeMutex<BTreeMap<usize, TaskRef>> = IrqSafeMutex::new(BTreeMap::new());
/// How many tasks were ever made.
static TASKS_CREATED: AtomicUsize = AtomicUsize::new(0);

/// A reference to a task.
#[derive(Clone)]
pub struct TaskRef(Arc<ExposedTask>);

/// A reference to a task that does not keep it.
#[derive(Clone, Debug, Default)]
pub struct WeakTaskRef(Weak<ExposedTask>);

impl TaskRef {
    /// Makes `task` known to the system and gives back the only reference by which it can be joined.
    ///
    /// `failure_cleanup` is what ends a task that could not be unwound; the kernel has one such function for all tasks.
    pub fn create(task: Task, failure_cleanup: FailureCleanupFunction) -> JoinableTaskRef {
        exit::set_failure_cleanup(failure_cleanup);
        let task = TaskRef(Arc::new(ExposedTask::from(task)));
        task.internals().joinable.store(true, Ordering::SeqCst);
        let former = TASKLIST.lock().insert(task.id, task.clone());
        debug_assert!(former.is_none(), "two tasks have the same id");
        TASKS_CREATED.fetch_add(1, Ordering::Relaxed);
        JoinableTaskRef::new(task)
    }

    /// A reference that does not keep the task.
    pub fn downgrade(&self) -> WeakTaskRef {
        WeakTaskRef(Arc::downgrade(&self.0))
    }

    /// Whether somebody holds the task's [`JoinableTaskRef`].
    pub fn is_joinable(&self) -> bool {
        self.internals().joinable.load(Ordering::SeqCst)
    }

    /// Asks the task to end, for `reason`. If it is blocked it is woken to do so; see [`exit_if_killed`] for when it ends.
    /// A second request does not change the reason of the first.
    ///
    /// # Errors
    /// The task has ended already, or is one that the kernel cannot do without.
    pub fn kill(&self, reason: KillReason) -> Result<(), &'static str> {
        if self.is_an_idle_task
            || exit::is_reaper(self)
            || self.internals().indispensable.load(Ordering::Relaxed)
        {
            return Err("the kernel needs this task");
        }
        if self.has_exited() {
            return Err("the task has already exited");
        }
        let unused = {
            let mut inner = self.internals().inner.lock();
            if inner.kill_reason.is_none() { inner.kill_reason.replace(reason) } else { Some(reason) }
        };
        drop(unused);
        // Whoever is about to block sets its state first and then looks here; this does it the other way around, so one of
        // the two sees the other.
        self.internals().kill_requested.store(true, Ordering::SeqCst);
        let _ = self.unblock();
        scheduler::hasten(&self.0);
        Ok(())
    }

    /// Makes [`Self::kill`] refuse to end the task. For tasks without which nobody could use the system any more.
    pub fn make_indispensable(&self) {
        self.internals().indispensable.store(true, Ordering::Relaxed);
    }

    /// Whether the task was asked to end and can still follow: of the current task, that it does not unwind already.
    pub fn kill_requested(&self) -> bool {
        self.internals().kill_requested.load(Ordering::SeqCst)
            && !(core::ptr::eq(current_pointer(), Arc::as_ptr(&self.0)) && unwind::panic_depth() > 0)
    }

    /// From when on the interrupt hook (`signal_handler::set_interrupt_hook`) is to be called at every timer tick that finds the
    /// task running: nanoseconds of the monotonic clock, `u64::MAX` for never, which is how a task starts. For the task itself. A
    /// request to end the task turns the calls on, too.
    pub fn set_interrupt_at(&self, nanoseconds: u64) {
        self.internals().interrupt_at.store(nanoseconds, Ordering::Relaxed);
    }

    /// What [`Self::set_interrupt_at`] set.
    pub fn interrupt_at(&self) -> u64 {
        self.internals().interrupt_at.load(Ordering::Relaxed)
    }

    /// Whether a timer tick that finds the task running is to be shown to the interrupt hook. `now` is asked for the time, in
    /// nanoseconds, only if that matters.
    pub fn wants_interrupt_hook(&self, now: impl FnOnce() -> u64) -> bool {
        let at = self.interrupt_at();
        self.internals().kill_requested.load(Ordering::Relaxed) || (at != u64::MAX && at <= now())
    }

    /// Lets the task wait until somebody calls [`Self::unblock`]. Only the state changes; the caller, which must be
    /// the task itself, then calls [`schedule`]. It may hold locks and keep interrupts off until then.
    ///
    /// If the task was asked to end, it stays runnable, so that its next look at what it waits for becomes a cancel point.
    ///
    /// # Errors
    /// The task's state, if it is not runnable.
    pub fn block(&self) -> Result<RunState, RunState> {
        let internals = self.internals();
        internals.change_runstate(RunState::Runnable, RunState::Blocked)?;
        if self.kill_requested() {
            // Somebody may have unblocked it meanwhile; then it is runnable already.
            let _ = internals.change_runstate(RunState::Blocked, RunState::Runnable);
        }
        Ok(RunState::Runnable)
    }

    /// Makes a blocked task, or one that was spawned with `block()`, runnable. May be called anywhere, interrupt handlers
    /// included: it neither allocates nor waits.
    ///
    /// # Errors
    /// The task's state, if it is neither blocked nor waiting to be started. An already runnable task stays so.
    pub fn unblock(&self) -> Result<RunState, RunState> {
        let internals = self.internals();
        let before = match internals.change_runstate(RunState::Blocked, RunState::Runnable) {
            Ok(()) => RunState::Blocked,
            // While `spawn` is still making the task there is no place where it could start; `spawn` unblocks it then.
            Err(RunState::Initing) if internals.saved_sp.load(Ordering::Acquire) == 0 => {
                return Err(RunState::Initing);
            }
            Err(RunState::Initing) => {
                internals.change_runstate(RunState::Initing, RunState::Runnable)?;
                RunState::Initing
            }
            Err(state) => return Err(state),
        };
        scheduler::make_ready(&self.0);
        Ok(before)
    }

    fn internals(&self) -> &task_struct::Internals {
        self.0.internals()
    }

    fn exposed(&self) -> &Arc<ExposedTask> {
        &self.0
    }
}

/// What `spawn` needs of a task that is about to start.
impl TaskRef {
    /// Sets where the task starts: [`scheduler`] switches to `stack_pointer` when its turn comes.
    ///
    /// # Safety
    /// The task has not run yet, and `stack_pointer` comes from `context_switch::initial_stack_pointer` on its own stack.
    pub unsafe fn set_start(&self, stack_pointer: usize) {
        self.internals().saved_sp.store(stack_pointer, Ordering::Release);
    }

    /// The thread pointer of the task's thread-local storage.
    pub fn fs_base(&self) -> usize {
        self.internals().fs_base.load(Ordering::Relaxed)
    }

    /// Where the task's stack lies: its lowest address and the address above it.
    pub fn stack_bounds(&self) -> (usize, usize) {
        let internals = self.internals();
        (internals.stack_bottom.load(Ordering::Relaxed), internals.stack_top.load(Ordering::Relaxed))
    }
}

impl Deref for TaskRef {
    type Target = Task;

    fn deref(&self) -> &Task {
        &self.0.task
    }
}

impl PartialEq for TaskRef {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for TaskRef {}

impl fmt::Debug for TaskRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl fmt::Display for TaskRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&**self, f)
    }
}

impl WeakTaskRef {
    /// The task, if it still exists.
    pub fn upgrade(&self) -> Option<TaskRef> {
        self.0.upgrade().map(TaskRef)
    }
}

/// The task with this id, unless it was reaped.
pub fn get_task(id: usize) -> Option<WeakTaskRef> {
    TASKLIST.lock().get(&id).map(TaskRef::downgrade)
}

/// All tasks that were not reaped, by id.
pub fn all_tasks() -> Vec<(usize, WeakTaskRef)> {
    TASKLIST.lock().iter().map(|(&id, task)| (id, task.downgrade())).collect()
}

/// There is no current task: none was made yet, on this CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CurrentTaskNotFound;

impl fmt::Display for CurrentTaskNotFound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("there is no current task yet: spawn::init has not run")
    }
}

impl core::error::Error for CurrentTaskNotFound {}

/// The running task's pointer, or null.
#[inline(always)]
fn current_pointer() -> *const ExposedTask {
    cpu::current_task().cast()
}

/// Calls `action` with the running task. May be called anywhere, exception handlers included.
///
/// # Errors
/// There is no current task.
#[inline]
pub fn with_current_task<R>(action: impl FnOnce(&TaskRef) -> R) -> Result<R, CurrentTaskNotFound> {
    let pointer = current_pointer();
    if pointer.is_null() {
        return Err(CurrentTaskNotFound);
    }
    // SAFETY: the pointer came from `Arc::as_ptr` of a task that the list of all tasks owns a reference to for as long as it
    // runs. The reference made here is not counted and not dropped, and lives only during the call.
    let task = ManuallyDrop::new(TaskRef(unsafe { Arc::from_raw(pointer) }));
    Ok(action(&task))
}

/// The running task.
pub fn get_my_current_task() -> Option<TaskRef> {
    with_current_task(TaskRef::clone).ok()
}

/// The running task's id; 0, which no task has, if there is none.
pub fn get_my_current_task_id() -> usize {
    with_current_task(|task| task.id).unwrap_or(0)
}

/// Why a task could not be made the first of a CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InitCurrentTaskError {
    /// The CPU already runs this task.
    AlreadyInited(usize),
}

/// Makes `task` the one that this CPU runs right now: the code that calls this, on the stack it uses.
///
/// # Errors
/// The CPU has a current task already.
///
/// # Safety
/// The stack in use is the one that the task says it has, and the task's thread-local storage may become the current one.
pub unsafe fn init_current_task(task: &TaskRef) -> Result<ExitableTaskRef, InitCurrentTaskError> {
    let _interrupts = irq_safety::hold_interrupts();
    let present = get_my_current_task_id();
    if present != 0 {
        return Err(InitCurrentTaskError::AlreadyInited(present));
    }
    let internals = task.internals();
    internals.set_runstate(RunState::Runnable);
    internals.set_running_on_cpu(Some(cpu::current_cpu()));
    internals.home_cpu.store(cpu::current_cpu().value(), Ordering::Relaxed);
    internals.ready.store(true, Ordering::Relaxed);
    // SAFETY: the caller vouches for stack and storage; the task is in the list of all tasks, so it lives while it runs.
    unsafe {
        context_switch::set_fs_base(internals.fs_base.load(Ordering::Relaxed));
        cpu::set_current_task(
            Arc::as_ptr(&task.0).cast(),
            internals.extended_state.load(Ordering::Relaxed) as *mut u8,
        );
    }
    // SAFETY: the task runs here, and this is the first such reference for it.
    Ok(unsafe { ExitableTaskRef::new(task.clone()) })
}

/// Makes the ends of interrupts preempt tasks whose time is up. Call it once, when tasks exist.
pub fn init_preemption() {
    interrupts::set_interrupt_exit_hook(preempt::preempt_if_due);
}

/// How many tasks were made since the system started.
pub fn tasks_created() -> usize {
    TASKS_CREATED.load(Ordering::Relaxed)
}

/// Which CPU a task that is not bound to one should go to: the one with the shortest queue.
pub(crate) fn least_busy_cpu() -> CpuId {
    cpu::cpus_in(cpu::online_cpus())
        .filter_map(|id| Some((scheduler::busyness(id)?, id)))
        .min_by_key(|&(busyness, _)| busyness)
        .map(|(_, id)| id)
        .unwrap_or_else(cpu::current_cpu)
}
