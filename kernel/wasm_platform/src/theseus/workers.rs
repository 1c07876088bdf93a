//! Workers are tasks.

use crate::PlatformError;
use crate::workers::{Budget, TURN_MS, WorkersError};
use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use heap::{Arena, Refusal};
use kernel_config::memory::PAGE_SIZE;
use sleep::Duration;
use task::{ExitValue, JoinableTaskRef, KillReason};
use wait_queue::WaitQueue;

/// Bytes of a worker's stack.
const STACK_SIZE: usize = 1 << 20;

/// What a budget is here.
#[derive(Debug)]
pub(crate) enum Account {
    /// Workers allocate from arenas that share this.
    Limited(Arc<heap::Budget>),
    /// Workers allocate as any task. The flag says that they are to stop.
    Unlimited(AtomicBool),
}

impl Account {
    pub(crate) fn new(memory: Option<usize>) -> Self {
        match memory {
            Some(memory) => Account::Limited(Arc::new(heap::Budget::new(memory))),
            None => Account::Unlimited(AtomicBool::new(false)),
        }
    }

    pub(crate) fn cancel(&self) {
        match self {
            Account::Limited(budget) => budget.cancel(),
            Account::Unlimited(cancelled) => cancelled.store(true, Ordering::Release),
        }
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        match self {
            Account::Limited(budget) => budget.is_cancelled(),
            Account::Unlimited(cancelled) => cancelled.load(Ordering::Acquire),
        }
    }
}

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
    budget: &'a Budget,
    first_error: spin::Mutex<Option<WorkersError>>,
    running: AtomicUsize,
    one_ended: WaitQueue,
}

impl Shared<'_> {
    /// What each worker does.
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
        let mut arena = match &self.budget.account {
            Account::Unlimited(_) => None,
            Account::Limited(budget) => match Arena::new(budget.clone()) {
                Ok(arena) => Some(arena),
                Err(refusal) => return self.failed(error_of(refusal)),
            },
        };
        let call = |arena: &mut Option<Arena>| match arena {
            Some(arena) => arena.run(|| (self.work)(number)),
            None => (self.work)(number),
        };
        let result = catch_unwind::catch_unwind_with_arg(call, &mut arena);
        // Whoever panics after having been refused memory does so for that reason.
        let refusal = arena.and_then(|arena| arena.refusal());
        if refusal == Some(Refusal::Limit) {
            self.budget.exceeded.store(true, Ordering::Release);
        }
        if let Err(reason) = result {
            self.failed(match (refusal, reason) {
                (Some(refusal), _) => error_of(refusal),
                (None, KillReason::Requested) => WorkersError::Killed,
                (None, KillReason::Panic(info)) => WorkersError::Panicked(info.msg.clone()),
                (None, reason) => WorkersError::Panicked(reason.to_string()),
            });
        }
    }

    fn failed(&self, error: WorkersError) {
        // The others are to stop; what they say about that is no news.
        self.budget.cancel();
        let mut first = self.first_error.lock();
        if first.as_ref().is_none_or(|first| *first == WorkersError::Cancelled) {
            *first = Some(error);
        }
    }
}

fn error_of(refusal: Refusal) -> WorkersError {
    match refusal {
        Refusal::Limit => WorkersError::OverBudget,
        Refusal::Cancelled => WorkersError::Cancelled,
        Refusal::OutOfMemory => WorkersError::OutOfMemory,
    }
}

/// See [`crate::run_workers`].
pub(crate) fn run_workers(
    count: usize,
    budget: &Budget,
    work: &(dyn Fn(usize) + Sync),
    turn: Option<&dyn Fn()>,
) -> Result<(), WorkersError> {
    let shared = Shared {
        work,
        budget,
        first_error: spin::Mutex::new(None),
        running: AtomicUsize::new(0),
        one_ended: WaitQueue::new(),
    };
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
    while let Some(task) = workers.tasks.last() {
        let ended = task.join();
        if let Ok(ExitValue::Killed(reason)) = &ended {
            // It has not come to say so itself.
            shared.failed(match reason {
                KillReason::Requested => WorkersError::Killed,
                reason => WorkersError::Panicked(reason.to_string()),
            });
        }
        workers.tasks.pop();
        ended
            .map_err(|reason| WorkersError::NotStarted(PlatformError::message("wait for a task", reason)))?;
    }
    shared.first_error.into_inner().map_or(Ok(()), Err)
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
