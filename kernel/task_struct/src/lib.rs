//! What a task is: its identity, its states, and what ends it.
//!
//! This crate holds the data; the policy (who runs, who waits for whom, how a task dies) is in the `task` crate, through
//! whose `TaskRef` others see a [`Task`]. The parts that only `task` and `spawn` may touch are behind
//! [`ExposedTask::internals`], and only they hold `ExposedTask`s.
//!
//! # States
//! ```text
//! Initing -> Runnable <-> Blocked
//!                |
//!                v
//!             Exited -> Reaped
//! ```
//! A task exits by itself, on its own stack, whatever made it end. When it has left the CPU for the last time, whoever
//! joins it (or the reaper, if nobody can) frees its stack, its thread-local storage and its register save area.
//!
//! # Invariants
//! * A task that has not been reaped is in the `task` crate's list of all tasks, which owns a reference to it. So the run
//!   queues and the CPUs may hold plain pointers to tasks: what is queued or runs has not exited, let alone been reaped.
//! * `Internals::ready`, `home_cpu` and the queue link are guarded by the lock of the run queue of the task's home CPU.
//! * `Internals::running_on_cpu` is set until the task's registers are saved and nothing touches its stack any more.
#![no_std]
extern crate alloc;

mod exit;

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use context_switch::ExtendedState;
use core::any::Any;
use core::fmt;
use core::ops::Range;
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use core::task::Waker;
use cpu::{CpuId, OptionalCpuId};
use environment::Environment;
use memory::MmiRef;
use mod_mgmt::{AppCrateRef, CrateNamespace, TlsDataImage};
use run_queue::{Link, Queueable};
use stack::Stack;
use sync_irq::IrqSafeMutex;

pub use exit::{ExitValue, KillHandler, KillReason, PanicInfoOwned};

/// Where a task is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum RunState {
    /// It was made, but must not run yet.
    Initing,
    /// It runs, or will when its turn comes.
    Runnable,
    /// It waits for somebody to unblock it.
    Blocked,
    /// It has ended, and its exit value has not been taken.
    Exited,
    /// It has ended and what it used has been freed.
    Reaped,
}

impl RunState {
    fn from_raw(raw: u8) -> Self {
        match raw {
            0 => Self::Initing,
            1 => Self::Runnable,
            2 => Self::Blocked,
            3 => Self::Exited,
            _ => Self::Reaped,
        }
    }
}

/// A task: a stack, a set of registers, and what belongs to them.
pub struct Task {
    /// The task's number. Numbers are not used twice.
    pub id: usize,
    /// The task's name, for people.
    pub name: String,
    /// The address space, which all tasks share.
    pub mmi: MmiRef,
    /// Whether this is the task that a CPU runs when it has nothing else to do.
    pub is_an_idle_task: bool,
    /// The application that the task is part of, which stays loaded for as long as the task exists.
    pub app_crate: Option<Arc<AppCrateRef>>,
    /// Where the task's symbols and crates are looked up.
    pub namespace: Arc<CrateNamespace>,
    /// See [`Task::guest_memory`].
    guest_memory: Arc<AtomicUsize>,
    internals: Internals,
}

/// Where a new task gets from what it does not make itself.
pub enum InheritedStates<'t> {
    /// From another task.
    FromTask(&'t Task),
    /// From here.
    Custom {
        /// The address space.
        mmi: MmiRef,
        /// Where symbols and crates are looked up.
        namespace: Arc<CrateNamespace>,
        /// Working directory and variables.
        env: Arc<spin::Mutex<Environment>>,
        /// The application, if it is one.
        app_crate: Option<Arc<AppCrateRef>>,
    },
}

/// State that goes from task to child task without the kernel knowing what it is (see [`Task::inherited_state`]).
pub type InheritedState = Arc<dyn Any + Send + Sync>;

/// The parts of a task that the `task` and `spawn` crates alone touch.
#[expect(missing_debug_implementations, reason = "it holds handlers and wakers, which have none")]
pub struct Internals {
    runstate: AtomicU8,
    running_on_cpu: AtomicU32,
    /// The CPU that runs the task, or in whose run queue it waits for its turn; if it is blocked, where it ran last.
    pub home_cpu: AtomicU32,
    /// Whether the task was told to stay on its home CPU.
    pub pinned: AtomicBool,
    /// Whether the task runs or is in the run queue.
    pub ready: AtomicBool,
    link: Link<ExposedTask>,
    /// Where the stack ends while the task does not run.
    pub saved_sp: AtomicUsize,
    /// The thread pointer of the task's thread-local storage.
    pub fs_base: AtomicUsize,
    /// The address of the save area in `TaskInner::extended_state`.
    pub extended_state: AtomicUsize,
    /// Lowest address of the stack that is mapped.
    pub stack_bottom: AtomicUsize,
    /// The address above the stack.
    pub stack_top: AtomicUsize,
    /// Somebody asked the task to end.
    pub kill_requested: AtomicBool,
    /// The task must not be asked to end.
    pub indispensable: AtomicBool,
    /// From when on the interrupt hook is to be called at timer ticks that find the task running: nanoseconds of the monotonic
    /// clock, `u64::MAX` for never. Written by the task itself.
    pub interrupt_at: AtomicU64,
    /// Whether a `JoinableTaskRef` exists.
    pub joinable: AtomicBool,
    /// Who frees what the task used; see [`Reaper`].
    reaper: AtomicU8,
    /// How long the task has run until it last left a CPU, in ticks of the time stamp counter.
    pub cpu_time: AtomicU64,
    /// The rest.
    pub inner: IrqSafeMutex<TaskInner>,
}

/// The parts of a task that need a lock.
#[derive(Default)]
#[expect(missing_debug_implementations, reason = "it holds handlers and wakers, which have none")]
pub struct TaskInner {
    /// The stack.
    pub kstack: Option<Stack>,
    /// The thread-local storage.
    pub tls_area: Option<TlsDataImage>,
    /// Where registers other than the general-purpose ones are while the task is preempted.
    pub extended_state: Option<ExtendedState>,
    /// Called before the task is ended before its time.
    pub kill_handler: Option<KillHandler>,
    /// Why the task was asked to end.
    pub kill_reason: Option<KillReason>,
    /// What the task left.
    pub exit_value: Option<ExitValue>,
    /// The task that waits in `join`.
    pub joiner: Option<Arc<ExposedTask>>,
    /// Woken at the exit.
    pub waker: Option<Waker>,
    env: Option<Arc<spin::Mutex<Environment>>>,
    inherited_state: Option<InheritedState>,
}

/// Who frees what an exited task used. It is decided once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Reaper {
    /// Not decided yet.
    Nobody = 0,
    /// The holder of the `JoinableTaskRef`.
    Joiner = 1,
    /// The reaper task.
    ReaperTask = 2,
}

/// The number of the next task.
static NEXT_ID: AtomicUsize = AtomicUsize::new(1);

impl Task {
    /// Makes a task in state `Initing`, with an empty list of things to do: `spawn` gives it some.
    ///
    /// Without `stack` it gets a new one of the kernel's default size.
    ///
    /// # Errors
    /// Memory is out.
    pub fn new(stack: Option<Stack>, states: InheritedStates<'_>) -> Result<Self, &'static str> {
        let stack = match stack {
            Some(stack) => stack,
            None => {
                let mmi = match &states {
                    InheritedStates::FromTask(parent) => &parent.mmi,
                    InheritedStates::Custom { mmi, .. } => mmi,
                };
                stack::alloc_stack(
                    kernel_config::memory::KERNEL_STACK_SIZE_IN_PAGES,
                    &mut mmi.lock().page_table,
                )
                .ok_or("not enough memory for a task's stack")?
            }
        };
        let bounds = stack.bottom().value()..stack.top_unusable().value();
        Self::with_parts(Some(stack), bounds, states)
    }

    /// Makes a task for code that runs already, on a stack that the task does not own: the boot code's.
    ///
    /// # Errors
    /// Memory is out.
    pub fn on_foreign_stack(stack: Range<usize>, states: InheritedStates<'_>) -> Result<Self, &'static str> {
        Self::with_parts(None, stack, states)
    }

    fn with_parts(
        kstack: Option<Stack>,
        bounds: Range<usize>,
        states: InheritedStates<'_>,
    ) -> Result<Self, &'static str> {
        let (mmi, namespace, env, app_crate, inherited_state) = match states {
            InheritedStates::FromTask(parent) => (
                parent.mmi.clone(),
                parent.namespace.clone(),
                parent.get_env(),
                parent.app_crate.clone(),
                parent.inherited_state(),
            ),
            InheritedStates::Custom { mmi, namespace, env, app_crate } => {
                (mmi, namespace, env, app_crate, None)
            }
        };
        let tls_area = namespace
            .get_tls_initializer_data()
            .map_err(|_| "not enough memory for a task's thread-local storage")?;
        let extended_state =
            ExtendedState::new().ok_or("not enough memory for a task's register save area")?;
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        Ok(Task {
            id,
            name: format!("task_{id}"),
            mmi,
            is_an_idle_task: false,
            app_crate,
            namespace,
            guest_memory: Arc::new(AtomicUsize::new(0)),
            internals: Internals {
                runstate: AtomicU8::new(RunState::Initing as u8),
                running_on_cpu: AtomicU32::new(OptionalCpuId::from(None).into_raw()),
                home_cpu: AtomicU32::new(0),
                pinned: AtomicBool::new(false),
                ready: AtomicBool::new(false),
                link: Link::new(),
                saved_sp: AtomicUsize::new(0),
                fs_base: AtomicUsize::new(tls_area.fs_base()),
                extended_state: AtomicUsize::new(extended_state.as_ptr() as usize),
                stack_bottom: AtomicUsize::new(bounds.start),
                stack_top: AtomicUsize::new(bounds.end),
                kill_requested: AtomicBool::new(false),
                indispensable: AtomicBool::new(false),
                interrupt_at: AtomicU64::new(u64::MAX),
                joinable: AtomicBool::new(false),
                reaper: AtomicU8::new(Reaper::Nobody as u8),
                cpu_time: AtomicU64::new(0),
                inner: IrqSafeMutex::new(TaskInner {
                    kstack,
                    tls_area: Some(tls_area),
                    extended_state: Some(extended_state),
                    env: Some(env),
                    inherited_state,
                    ..Default::default()
                }),
            },
        })
    }

    /// Gives the task another environment (working directory and variables).
    pub fn set_env(&self, env: Arc<spin::Mutex<Environment>>) {
        let former = self.internals.inner.lock().env.replace(env);
        drop(former);
    }

    /// The task's environment: working directory and variables.
    pub fn get_env(&self) -> Arc<spin::Mutex<Environment>> {
        let env = self.internals.inner.lock().env.clone();
        env.unwrap_or_default()
    }

    /// State that another crate left with the task, and that tasks spawned by it start with. It is dropped when the task
    /// exits.
    pub fn inherited_state(&self) -> Option<InheritedState> {
        self.internals.inner.lock().inherited_state.clone()
    }

    /// Leaves state with the task, in place of what was there. See [`Self::inherited_state`].
    pub fn set_inherited_state(&self, state: Option<InheritedState>) {
        let former = core::mem::replace(&mut self.internals.inner.lock().inherited_state, state);
        drop(former);
    }

    /// Bytes of linear memories and code of WebAssembly that the task has made and that were not given back.
    ///
    /// Who makes them is charged, also when a store moves to another task afterwards, and for a memory that several tasks share; not
    /// counted are tables and what else of a store is on the kernel's heap.
    pub fn guest_memory(&self) -> usize {
        self.guest_memory.load(Ordering::Relaxed)
    }

    /// Where [`guest_memory`](Self::guest_memory) is counted, for who gives out such memory. It may outlive the task.
    pub fn guest_memory_account(&self) -> &Arc<AtomicUsize> {
        &self.guest_memory
    }

    /// Whether the task is running on a CPU right now.
    pub fn is_running(&self) -> bool {
        self.running_on_cpu().is_some()
    }

    /// The CPU that runs the task right now.
    pub fn running_on_cpu(&self) -> Option<CpuId> {
        OptionalCpuId::from_raw(self.internals.running_on_cpu.load(Ordering::Acquire)).into()
    }

    /// The CPU that runs the task, or in whose queue it waits for its turn; if it is blocked, where it ran last.
    pub fn home_cpu(&self) -> CpuId {
        // Only numbers of CPUs that came up are stored there; the first one is one.
        let raw = self.internals.home_cpu.load(Ordering::Relaxed);
        CpuId::try_from(raw).or_else(|_| CpuId::try_from(0)).unwrap_or_else(|_| cpu::current_cpu())
    }

    /// The CPU that the task must stay on, if it must.
    pub fn pinned_cpu(&self) -> Option<CpuId> {
        if !self.internals.pinned.load(Ordering::Relaxed) {
            return None;
        }
        CpuId::try_from(self.internals.home_cpu.load(Ordering::Relaxed)).ok()
    }

    /// Where the task is in its life.
    pub fn runstate(&self) -> RunState {
        RunState::from_raw(self.internals.runstate.load(Ordering::SeqCst))
    }

    /// Whether the task runs, or will when its turn comes.
    pub fn is_runnable(&self) -> bool {
        self.runstate() == RunState::Runnable
    }

    /// Where the task's symbols and crates are looked up.
    pub fn get_namespace(&self) -> &Arc<CrateNamespace> {
        &self.namespace
    }

    /// Calls `action` with the task's stack, with interrupts off; `None` if the stack was freed or is not the task's own
    /// (the boot stack).
    pub fn with_kstack<R>(&self, action: impl FnOnce(&Stack) -> R) -> Option<R> {
        self.internals.inner.lock().kstack.as_ref().map(action)
    }

    /// Bytes of memory that the task has for itself to run at all: stack, thread-local storage and register save area. What it
    /// has allocated is not among it, since that is not counted by task.
    pub fn memory_to_run(&self) -> usize {
        let inner = self.internals.inner.lock();
        let stack = inner.kstack.as_ref().map_or(0, |stack| stack.size_in_bytes());
        let storage = inner.tls_area.as_ref().map_or(0, |area| area.committed_bytes());
        stack + storage + inner.extended_state.as_ref().map_or(0, ExtendedState::size_in_bytes)
    }

    /// Whether the task has ended.
    pub fn has_exited(&self) -> bool {
        matches!(self.runstate(), RunState::Exited | RunState::Reaped)
    }

    /// Whether the task is part of an application.
    pub fn is_application(&self) -> bool {
        self.app_crate.is_some()
    }
}

impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{} {:?}}}", self.id, self.name)
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.id)
    }
}

impl Internals {
    /// Changes the run state from `from` to `to`.
    ///
    /// # Errors
    /// The present state, if it is not `from`; nothing changed then.
    pub fn change_runstate(&self, from: RunState, to: RunState) -> Result<(), RunState> {
        self.runstate
            .compare_exchange(from as u8, to as u8, Ordering::SeqCst, Ordering::SeqCst)
            .map(|_| ())
            .map_err(RunState::from_raw)
    }

    /// Sets the run state, whatever it was.
    pub fn set_runstate(&self, state: RunState) {
        self.runstate.store(state as u8, Ordering::SeqCst);
    }

    /// Says which CPU runs the task; `None` when it has left the CPU and nothing touches its stack any more.
    pub fn set_running_on_cpu(&self, cpu: Option<CpuId>) {
        self.running_on_cpu.store(OptionalCpuId::from(cpu).into_raw(), Ordering::Release);
    }

    /// Decides that `who` frees what the task used; false if that was decided before.
    pub fn appoint_reaper(&self, who: Reaper) -> bool {
        self.reaper
            .compare_exchange(Reaper::Nobody as u8, who as u8, Ordering::SeqCst, Ordering::SeqCst)
            .is_ok()
    }

    /// Whether it was decided that the reaper task frees what the task used.
    pub fn left_to_reaper_task(&self) -> bool {
        self.reaper.load(Ordering::SeqCst) == Reaper::ReaperTask as u8
    }

    /// Takes out what the task does not need once it has left the CPU for the last time, so that the caller drops it
    /// outside of the lock.
    pub fn take_resources(&self) -> TaskInner {
        let mut inner = self.inner.lock();
        TaskInner {
            kstack: inner.kstack.take(),
            tls_area: inner.tls_area.take(),
            extended_state: inner.extended_state.take(),
            kill_handler: inner.kill_handler.take(),
            kill_reason: inner.kill_reason.take(),
            waker: inner.waker.take(),
            joiner: inner.joiner.take(),
            env: inner.env.take(),
            inherited_state: inner.inherited_state.take(),
            // This one is for the joiner.
            exit_value: None,
        }
    }
}

/// A task as the `task` and `spawn` crates see it.
#[derive(Debug)]
pub struct ExposedTask {
    /// The task as everybody sees it.
    pub task: Task,
}

impl ExposedTask {
    /// The parts of the task that the `task` and `spawn` crates alone touch.
    pub fn internals(&self) -> &Internals {
        &self.task.internals
    }
}

impl From<Task> for ExposedTask {
    fn from(task: Task) -> Self {
        ExposedTask { task }
    }
}

// SAFETY: `link` returns the field of `self`, always the same.
unsafe impl Queueable for ExposedTask {
    fn link(&self) -> &Link<Self> {
        &self.task.internals.link
    }
}

// The stack, the storage and the save area are touched by the running task, through addresses; the owner in `TaskInner`
// is only there to free them. What else is in a task is atomic or locked, so a task may be used from everywhere.
const _: () = {
    const fn usable_everywhere<T: Send + Sync>() {}
    usable_everywhere::<Task>();
};

/// Boxes a value as what a completed task leaves.
pub fn completed<R: Send + 'static>(value: R) -> ExitValue {
    ExitValue::Completed(Box::new(value))
}
