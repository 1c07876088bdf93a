//! Workers are threads.

use super::allocator::{self, Meter, Metered};
use crate::PlatformError;
use crate::workers::{Budget, CancelOnDrop, TURN_MS, WorkersError};
use alloc::string::{String, ToString};
use core::any::Any;
use core::sync::atomic::{AtomicBool, Ordering};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread::{self, Builder};
use std::time::Duration;

/// Bytes of a worker's stack. Address space only, until they are used; code without optimisation uses several times as much as
/// code with.
const STACK_SIZE: usize = 16 << 20;

/// What a budget is here.
#[derive(Debug)]
pub(crate) struct Account {
    cancelled: AtomicBool,
    /// Memory, if there is a limit and the program's allocator keeps it.
    meter: Option<Meter>,
}

impl Account {
    pub(crate) fn new(memory: Option<usize>) -> Self {
        let memory = memory.filter(|_| allocator::prepare());
        Account { cancelled: AtomicBool::new(false), meter: memory.map(Meter::new) }
    }

    pub(crate) fn meter(&self) -> Option<&Meter> {
        self.meter.as_ref()
    }

    pub(crate) fn cancel(&self) {
        self.cancelled.store(true, Ordering::Release);
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Acquire)
    }
}

/// How many tasks the machine runs at once.
pub fn parallelism() -> usize {
    thread::available_parallelism().map_or(1, core::num::NonZero::get)
}

/// See [`crate::run_workers`].
pub(crate) fn run_workers(
    count: usize,
    budget: &Budget,
    work: &(dyn Fn(usize) + Sync),
    turn: Option<&dyn Fn()>,
) -> Result<(), WorkersError> {
    let running = Mutex::new(0);
    let one_ended = Condvar::new();
    let first_error = Mutex::new(None);
    let first_error = &first_error;
    /// Says that a worker has ended, however that came.
    struct Ended<'a>(&'a Mutex<usize>, &'a Condvar);
    impl Drop for Ended<'_> {
        fn drop(&mut self) {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
            self.1.notify_one();
        }
    }
    thread::scope(|scope| {
        // Dropped before the scope waits for the threads.
        let cancel = CancelOnDrop(budget);
        let mut workers = alloc::vec::Vec::new();
        for number in 0..count {
            *running.lock().unwrap_or_else(PoisonError::into_inner) += 1;
            let ended = Ended(&running, &one_ended);
            let builder = Builder::new().name("wasm_worker".to_string()).stack_size(STACK_SIZE);
            match builder.spawn_scoped(scope, move || {
                let _ended = ended;
                let metered_work = || {
                    let _metered = budget.account.meter().map(Metered::begin);
                    work(number);
                };
                let result = catch_unwind(AssertUnwindSafe(metered_work));
                let is_over_budget = allocator::note_excess(budget);
                if let Err(payload) = result {
                    let error = match is_over_budget {
                        true => WorkersError::OverBudget,
                        false => WorkersError::Panicked(message_of(&*payload)),
                    };
                    first_error.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                }
            }) {
                Ok(worker) => workers.push(worker),
                Err(_) if number > 0 => break,
                Err(_) => {
                    let error = PlatformError::last_os_error("start a thread");
                    return Err(WorkersError::NotStarted(error));
                }
            }
        }
        if let Some(turn) = turn {
            let mut count = running.lock().unwrap_or_else(PoisonError::into_inner);
            while *count > 0 {
                let waited = one_ended.wait_timeout(count, Duration::from_millis(TURN_MS));
                let (guard, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
                count = guard;
                if timeout.timed_out() {
                    drop(count);
                    turn();
                    count = running.lock().unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
        for worker in workers {
            // Its panic was caught.
            let _ = worker.join();
        }
        core::mem::forget(cancel);
        first_error.lock().unwrap_or_else(PoisonError::into_inner).take().map_or(Ok(()), Err)
    })
}

/// What a panic said.
fn message_of(payload: &(dyn Any + Send)) -> String {
    match (payload.downcast_ref::<&str>(), payload.downcast_ref::<String>()) {
        (Some(message), _) => message.to_string(),
        (_, Some(message)) => message.clone(),
        _ => "no message".to_string(),
    }
}
