//! The kernel's way to run: in a task of its own, whose stack is as large as WebAssembly programs expect.
//!
//! A task's usual stack is smaller than what wasm may use of one. So the application's task starts another one and waits
//! for it. Whatever ends one of the two ends the other: if the waiting task is killed, it kills the other and waits for it
//! to have ended; if the other is killed or panics, the waiting one ends for the same reason. Whatever has not ended in the time it has
//! is killed, wherever it is: in a guest, a compilation, or a host function that waits.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::task::Wake;
use core::any::Any;
use core::task::Waker;
use core::time::Duration;
use kernel_config::memory::PAGE_SIZE;
use task::{ExitValue, JoinableTaskRef, KillReason};
use wait_queue::WaitQueue;

/// How a panic's message begins that is about an allocation.
const OUT_OF_MEMORY: &str = "out of memory: ";

/// Kills the task and waits for its end when dropped.
struct EndWithMe(JoinableTaskRef);

impl Drop for EndWithMe {
    fn drop(&mut self) {
        // Fails if it has ended already, which is what is wanted.
        let _ = self.0.kill(KillReason::Requested);
        let _ = self.0.join();
    }
}

/// Where the end of the task is waited for.
#[derive(Default)]
struct End(WaitQueue);

impl Wake for End {
    fn wake(self: Arc<Self>) {
        self.0.notify_one();
    }
}

/// Calls `work` in a task of its own, with a stack of so many bytes, and returns what it returns; or `None` if it took longer than `timeout` and was killed.
///
/// # Errors
/// Says what is lacking if the task cannot be started.
pub(crate) fn run(
    work: impl FnOnce() -> isize + Send + 'static,
    stack_size: usize,
    timeout: Option<Duration>,
) -> Result<Option<isize>, String> {
    let mmi = memory::get_kernel_mmi_ref().ok_or("memory management is not initialised yet")?;
    let stack = stack::alloc_stack(stack_size.div_ceil(PAGE_SIZE), &mut mmi.lock().page_table);
    let stack = stack.ok_or_else(|| {
        format!("no memory for a stack of {} KiB; free some and try again", stack_size >> 10)
    })?;
    let task = spawn::new_task_builder(|()| work(), ()).name("wasm_run".to_string()).stack(stack).spawn()?;
    let task = EndWithMe(task);
    if let Some(timeout) = timeout {
        let end = Arc::new(End::default());
        task.0.set_waker(Waker::from(end.clone()));
        let ended = || task.0.has_exited().then_some(());
        if sleep::wait_until_timeout(&end.0, timeout, ended).is_none() {
            let _ = task.0.kill(KillReason::Requested);
            return match task.0.join()? {
                // It was faster.
                ExitValue::Completed(status) => Ok(Some(status_of(status))),
                ExitValue::Killed(_) => Ok(None),
            };
        }
    }
    match task.0.join()? {
        ExitValue::Completed(status) => Ok(Some(status_of(status))),
        // What could not fail in good order has failed all the same. The task is unwound, so nothing is lost.
        ExitValue::Killed(KillReason::Panic(info)) if info.msg.starts_with(OUT_OF_MEMORY) => {
            Err(format!("{}; free some and try again", info.msg))
        }
        ExitValue::Killed(reason) => {
            drop(task);
            catch_unwind::resume_unwind(reason)
        }
    }
}

fn status_of(value: Box<dyn Any + Send>) -> isize {
    value.downcast().map_or(0, |status: Box<isize>| *status)
}
