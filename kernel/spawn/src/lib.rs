//! Making new tasks, from functions ([`new_task_builder`]) and from applications ([`new_application_task_builder`]).
//!
//! ```ignore
//! let task = spawn::new_task_builder(|n: usize| n * 2, 21).name("doubler".into()).spawn()?;
//! match task.join()? {
//!     ExitValue::Completed(value) => assert_eq!(value.downcast_ref(), Some(&42)),
//!     ExitValue::Killed(reason) => log::warn!("{reason}"),
//! }
//! ```
//!
//! # A task's life
//! The builder makes stack, thread-local storage and register save area, parks function and argument at the far end of the
//! stack, and makes the task ready. When its turn comes it takes them and calls the function under `catch_unwind`, so that
//! a panic, a kill or a fault ends here, with everything dropped that the task owned. Then it drops its thread-local values,
//! leaves its exit value, and leaves the CPU for good.
//!
//! # Invariants
//! * A new task takes memory with the claim of the task that spawned it (see `memory::Claim`), until it says otherwise.
//! * A new task of an application inherits the `AppCrateRef`, so the application's code stays while any of its tasks does.
//! * What an application's panic carried is dropped before the task exits; only its message survives.
#![no_std]
extern crate alloc;

mod application;
mod bootstrap;
mod entry;

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use core::fmt;
use cpu::CpuId;
use environment::Environment;
use memory::MmiRef;
use mod_mgmt::{AppCrateRef, CrateNamespace};
use stack::Stack;
use task::{InheritedStates, JoinableTaskRef, Task, TaskRef, scheduler};

pub use application::{SpawnError, new_application_task_builder};
pub use bootstrap::{BootstrapTaskRef, init};

/// Says what a new task will be, and makes it.
#[must_use = "nothing happens until spawn() is called"]
pub struct TaskBuilder<F, A, R> {
    func: F,
    argument: A,
    /// Where the task starts. An application's starts in this crate, whoever spawns it: code of the spawning program could be
    /// unloaded before the application ends.
    entry: entry::Entry,
    _return_type: core::marker::PhantomData<fn() -> R>,
    name: Option<String>,
    stack: Option<Stack>,
    parent: Option<TaskRef>,
    pin_on_cpu: Option<CpuId>,
    blocked: bool,
    idle: bool,
    application: Option<Application>,
}

/// What a task of a freshly loaded application has that its parent has not.
struct Application {
    app_crate: Arc<AppCrateRef>,
    namespace: Arc<CrateNamespace>,
}

impl<F, A, R> fmt::Debug for TaskBuilder<F, A, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskBuilder").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A builder for a task that calls `func(argument)`.
pub fn new_task_builder<F, A, R>(func: F, argument: A) -> TaskBuilder<F, A, R>
where
    A: Send + 'static,
    R: Send + 'static,
    F: FnOnce(A) -> R + Send + 'static,
{
    TaskBuilder {
        func,
        argument,
        entry: entry::enter::<F, A, R>,
        _return_type: core::marker::PhantomData,
        name: None,
        stack: None,
        parent: None,
        pin_on_cpu: None,
        blocked: false,
        idle: false,
        application: None,
    }
}

impl<F, A, R> TaskBuilder<F, A, R>
where
    A: Send + 'static,
    R: Send + 'static,
    F: FnOnce(A) -> R + Send + 'static,
{
    /// The task's name. Without it, the name of the function.
    pub fn name(mut self, name: String) -> Self {
        self.name = Some(name);
        self
    }

    /// What the function is called with, in place of what the builder was made with.
    pub fn argument(mut self, argument: A) -> Self {
        self.argument = argument;
        self
    }

    /// The task's stack. Without it, one of the kernel's default size.
    pub fn stack(mut self, stack: Stack) -> Self {
        self.stack = Some(stack);
        self
    }

    /// The task from which the new one inherits. Without it, the current one.
    pub fn parent(mut self, parent: TaskRef) -> Self {
        self.parent = Some(parent);
        self
    }

    /// The only CPU that may run the task.
    pub fn pin_on_cpu(mut self, cpu: CpuId) -> Self {
        self.pin_on_cpu = Some(cpu);
        self
    }

    /// Does not let the task run until `unblock` is called on it.
    pub fn block(mut self) -> Self {
        self.blocked = true;
        self
    }

    /// Makes the task the one that `cpu` runs when it has nothing else to do. Its function must never wait or return.
    pub fn idle(mut self, cpu: CpuId) -> Self {
        self.idle = true;
        self.pin_on_cpu = Some(cpu);
        self
    }

    /// Makes the task, and makes it ready to run unless it is to be blocked.
    ///
    /// # Errors
    /// Memory is out, or there is no task to inherit from.
    pub fn spawn(self) -> Result<JoinableTaskRef, &'static str> {
        let parent = match self.parent {
            Some(parent) => parent,
            None => task::get_my_current_task().ok_or("there is no task to inherit from")?,
        };
        let name = self.name.unwrap_or_else(|| String::from(core::any::type_name::<F>()));
        let is_application_start = self.application.is_some();
        let mut task = match self.application {
            None => Task::new(self.stack, InheritedStates::FromTask(&parent))?,
            Some(Application { app_crate, namespace }) => {
                // An application has an environment of its own: what it does to it is not its parent's business.
                let env = parent.get_env().lock().clone();
                let states = InheritedStates::Custom {
                    mmi: parent.mmi.clone(),
                    namespace,
                    env: Arc::new(spin::Mutex::new(env)),
                    app_crate: Some(app_crate),
                };
                Task::new(self.stack, states)?
            }
        };
        if is_application_start {
            task.set_inherited_state(parent.inherited_state());
        }
        task.name = name;
        task.is_an_idle_task = self.idle;
        // Last, since from here on the function and its argument are the task's, and the task exists.
        let start =
            Box::new(entry::Start { func: self.func, argument: self.argument, claim: memory::claim() });
        let task = TaskRef::create(task, entry::end_without_unwinding);
        if !self.idle {
            match self.pin_on_cpu {
                Some(cpu) => scheduler::pin(cpu, &task),
                None => scheduler::assign_home(&task),
            }
        }
        // SAFETY: the task is new, so its stack is unused, and nothing else sets where it starts.
        unsafe { entry::prepare(&task, start, self.entry) };
        if self.idle {
            scheduler::set_idle_task(self.pin_on_cpu.unwrap_or_else(cpu::current_cpu), &task);
        } else if !self.blocked {
            // It is in state Initing, from which this makes it ready, unless somebody who asked it to end was faster.
            let _ = task.unblock();
        }
        Ok(task)
    }
}

/// The environment and inherited state that the first task starts with.
fn first_states(mmi: MmiRef, namespace: Arc<CrateNamespace>) -> InheritedStates<'static> {
    let env = Arc::new(spin::Mutex::new(Environment::default()));
    InheritedStates::Custom { mmi, namespace, env, app_crate: None }
}
