//! The first task: the boot code, made one.

use alloc::string::String;
use alloc::sync::Arc;
use core::ops::Range;
use cpu::CpuId;
use memory::MmiRef;
use mod_mgmt::CrateNamespace;
use task::{ExitValue, ExitableTaskRef, JoinableTaskRef, Task, TaskRef};

/// The task that the boot code has become. It must end by [`Self::finish`].
#[must_use = "the boot code's task has to be ended by finish()"]
#[derive(Debug)]
pub struct BootstrapTaskRef {
    task: TaskRef,
    exitable: ExitableTaskRef,
    /// Nobody joins it: dropping this lets the reaper task free it.
    joinable: Option<JoinableTaskRef>,
}

impl BootstrapTaskRef {
    /// The task.
    pub fn task(&self) -> &TaskRef {
        &self.task
    }

    /// Ends the boot code's task. Its stack, which is part of the kernel's image, stays.
    pub fn finish(mut self) -> ! {
        drop(self.joinable.take());
        let Self { task, exitable, .. } = self;
        drop(task);
        crate::entry::exit(exitable, ExitValue::Completed(alloc::boxed::Box::new(())))
    }
}

/// Makes the code that calls this the first task, on `cpu`, and starts the task that frees what exited tasks leave.
///
/// `boot_stack` is the stack in use: its lowest mapped address, and the address above it. `namespace` is the kernel's, which
/// all tasks inherit. The thread-local values of the boot code are left behind: the new task starts with fresh ones.
///
/// # Errors
/// Memory is out, or the CPU has a current task already.
///
/// # Safety
/// The stack in use is the one said, and no reference to a thread-local value lives on.
pub unsafe fn init(
    kernel_mmi: MmiRef,
    namespace: Arc<CrateNamespace>,
    cpu: CpuId,
    boot_stack: Range<usize>,
) -> Result<BootstrapTaskRef, &'static str> {
    let mut first = Task::on_foreign_stack(boot_stack, crate::first_states(kernel_mmi, namespace))?;
    first.name = alloc::format!("bootstrap_task_on_cpu_{cpu}");
    let joinable = TaskRef::create(first, crate::entry::end_without_unwinding);
    // SAFETY: the caller vouches for the stack and the thread-local values.
    let exitable = unsafe { task::init_current_task(&joinable) }
        .map_err(|_| "this CPU has a current task already: spawn::init ran twice")?;
    let reaper = crate::new_task_builder(reap_orphans, ()).name(String::from("reaper")).spawn()?;
    // It never ends, so nobody has to join it.
    drop(reaper);
    Ok(BootstrapTaskRef { task: TaskRef::clone(&joinable), exitable, joinable: Some(joinable) })
}

/// What the reaper task does.
fn reap_orphans(_: ()) {
    loop {
        task::reap_one_orphan();
    }
}
