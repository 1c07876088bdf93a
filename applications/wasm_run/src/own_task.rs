//! The kernel's way to run: in a task of its own, whose stack is as large as WebAssembly programs expect.
//!
//! A task's usual stack is smaller than what wasm may use of one. So the application's task starts another one and waits
//! for it. Whatever ends one of the two ends the other: if the waiting task is killed, it kills the other and waits for it
//! to have ended; if the other is killed or panics, the waiting one ends for the same reason.

use alloc::format;
use alloc::string::{String, ToString};
use kernel_config::memory::PAGE_SIZE;
use task::{ExitValue, JoinableTaskRef, KillReason};

/// Bytes of the stack: 512 KiB that wasm may use by default, 64 KiB that the engine leaves to the host functions it calls, and as much
/// again for what comes before.
const STACK_SIZE: usize = (512 + 64 + 64) << 10;

/// Kills the task and waits for its end when dropped.
struct EndWithMe(JoinableTaskRef);

impl Drop for EndWithMe {
    fn drop(&mut self) {
        // Fails if it has ended already, which is what is wanted.
        let _ = self.0.kill(KillReason::Requested);
        let _ = self.0.join();
    }
}

/// Calls `work` in a task of its own and returns what it returns.
///
/// # Errors
/// Says what is lacking if the task cannot be started.
pub(crate) fn run(work: impl FnOnce() -> isize + Send + 'static) -> Result<isize, String> {
    let mmi = memory::get_kernel_mmi_ref().ok_or("memory management is not initialised yet")?;
    let stack = stack::alloc_stack(STACK_SIZE / PAGE_SIZE, &mut mmi.lock().page_table);
    let stack = stack.ok_or_else(|| {
        format!("no memory for a stack of {} KiB; free some and try again", STACK_SIZE >> 10)
    })?;
    let task = spawn::new_task_builder(|()| work(), ()).name("wasm_run".to_string()).stack(stack).spawn()?;
    let task = EndWithMe(task);
    match task.0.join()? {
        ExitValue::Completed(status) => {
            Ok(status.downcast().map_or(0, |status: alloc::boxed::Box<isize>| *status))
        }
        ExitValue::Killed(reason) => {
            drop(task);
            catch_unwind::resume_unwind(reason)
        }
    }
}
