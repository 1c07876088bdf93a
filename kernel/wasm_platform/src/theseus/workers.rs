//! Workers are tasks.

use crate::PlatformError;
use crate::workers::{Budget, TURN_MS, WorkersError};
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicUsize, Ordering};
use kernel_config::memory::PAGE_SIZE;
use sleep::Duration;
use task::{ExitValue, JoinableTaskRef, KillReason};
use wait_queue::WaitQueue;

/// Bytes of a worker's stack.
const STACK_SIZE: usize = 1 << 20;

/// How many tasks the machine runs at once.
pub fn parallelism() -> usize {
    cpu::cpu_count().max(1) as usize
}

/// The workers, which do not outlive this.
struct Workers<'a> {
    tasks: Vec<JoinableTaskRef>,
    budget: &'a Budget,
}

impl Drop for Workers<'_> {
    fn drop(&mut self) {
        if self.tasks.is_empty() {
            return;
        }
        self.budget.cancel();
        for task in &self.tasks {
            // Fails if it has ended already, which is what is wanted.
            let _ = task.kill(KillReason::Requested);
        }
        for task in &self.tasks {
            while !task.has_exited() {
                if task.join().is_err() {
                    task::schedule();
                }
            }
        }
    }
}

/// What the workers share with who waits for them.
struct Shared<'a> {
    work: &'a (dyn Fn(usize) + Sync),
    running: AtomicUsize,
    one_ended: WaitQueue,
}

impl Shared<'_> {
    fn run(&self, number: usize) {
        /// Says that a worker has ended, however that came.
        struct Ended<'a, 'b>(&'a Shared<'b>);
        impl Drop for Ended<'_, '_> {
            fn drop(&mut self) {
                self.0.running.fetch_sub(1, Ordering::AcqRel);
                self.0.one_ended.notify_one();
            }
        }
        let _ended = Ended(self);
        (self.work)(number);
    }
}

/// See [`crate::run_workers`].
pub(crate) fn run_workers(
    count: usize,
    budget: &Budget,
    work: &(dyn Fn(usize) + Sync),
    turn: Option<&dyn Fn()>,
) -> Result<(), WorkersError> {
    let shared = Shared { work, running: AtomicUsize::new(0), one_ended: WaitQueue::new() };
    let mut workers = Workers { tasks: Vec::new(), budget };
    workers
        .tasks
        .try_reserve_exact(count)
        .map_err(|_| WorkersError::NotStarted(PlatformError::out_of_memory("start a task")))?;
    for number in 0..count {
        shared.running.fetch_add(1, Ordering::AcqRel);
        // SAFETY: `workers` is dropped before `shared` and the borrows in it, and its drop waits for the tasks.
        match unsafe { spawn(&shared, number) } {
            Ok(task) => workers.tasks.push(task),
            Err(error) => {
                shared.running.fetch_sub(1, Ordering::AcqRel);
                if number == 0 {
                    return Err(WorkersError::NotStarted(error));
                }
                break;
            }
        }
    }
    if let Some(turn) = turn {
        // A task that ends without being unwound does not say so.
        let ended = || {
            (shared.running.load(Ordering::Acquire) == 0
                || workers.tasks.iter().all(|task| task.has_exited()))
            .then_some(())
        };
        while sleep::wait_until_timeout(&shared.one_ended, Duration::from_millis(TURN_MS), ended).is_none() {
            turn();
        }
    }
    let mut result = Ok(());
    while let Some(task) = workers.tasks.last() {
        let ended = match task.join() {
            Ok(ExitValue::Completed(_)) => Ok(()),
            Ok(ExitValue::Killed(KillReason::Requested)) => Err(WorkersError::Killed),
            Ok(ExitValue::Killed(KillReason::Panic(info))) => Err(WorkersError::Panicked(info.msg.clone())),
            Ok(ExitValue::Killed(reason)) => Err(WorkersError::Panicked(reason.to_string())),
            Err(error) => Err(WorkersError::Panicked(String::from(error))),
        };
        workers.tasks.pop();
        result = result.and(ended);
    }
    result
}

/// Starts a task.
///
/// # Safety
/// The task must have ended before `shared`, or anything that it borrows, goes.
unsafe fn spawn(shared: &Shared<'_>, number: usize) -> Result<JoinableTaskRef, PlatformError> {
    const ATTEMPTED: &str = "start a task";
    let failed = |reason| PlatformError::message(ATTEMPTED, reason);
    let mmi = memory::get_kernel_mmi_ref().ok_or(failed("memory management is not initialised yet"))?;
    let stack = stack::alloc_stack(STACK_SIZE / PAGE_SIZE, &mut mmi.lock().page_table)
        .ok_or(PlatformError::out_of_memory(ATTEMPTED))?;
    // SAFETY: only the lifetimes change; the caller vouches that they are kept.
    let shared: &'static Shared<'static> = unsafe { core::mem::transmute(shared) };
    spawn::new_task_builder(|number| shared.run(number), number)
        .name("wasm_worker".to_string())
        .stack(stack)
        .spawn()
        .map_err(failed)
}
