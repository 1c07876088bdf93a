//! Work that is done by tasks of its own, within a budget.

use crate::{PlatformError, platform};
use alloc::string::String;
use core::fmt;
use core::sync::atomic::{AtomicBool, Ordering};

/// What the workers of one piece of work have in common: whether they are to go on, and how much memory they may have.
///
/// Where the system can give a task memory of its own (Theseus), the memory that workers allocate comes from there, and what
/// exceeds the limit, or comes after the work was cancelled, is refused at the next allocation. On Linux there is a limit if the
/// program's allocator is `BudgetedAllocator`.
#[derive(Debug)]
pub struct Budget {
    pub(crate) account: platform::Account,
    /// Whether memory was refused because it would have been too much.
    pub(crate) exceeded: AtomicBool,
}

impl Budget {
    /// A budget of `memory` bytes for all workers together.
    pub fn new(memory: usize) -> Budget {
        Self::of(platform::Account::new(Some(memory)))
    }

    /// A budget without a limit: what the workers allocate is the kernel's. For work that waits, keeps what it allocates, or
    /// has others do something on its behalf.
    pub fn unlimited() -> Budget {
        Self::of(platform::Account::new(None))
    }

    fn of(account: platform::Account) -> Budget {
        Budget { account, exceeded: AtomicBool::new(false) }
    }

    /// Whether a worker was refused memory because it would have been more than the budget has. Known when it has ended.
    pub fn is_exceeded(&self) -> bool {
        self.exceeded.load(Ordering::Acquire)
    }

    /// Asks the workers to stop. They look at [`is_cancelled`](Self::is_cancelled) between one thing and the next.
    pub fn cancel(&self) {
        self.account.cancel();
    }

    /// Whether the workers are to stop.
    pub fn is_cancelled(&self) -> bool {
        self.account.is_cancelled()
    }
}

/// Why work was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum WorkersError {
    /// No worker could be started.
    NotStarted(PlatformError),
    /// The work needs more memory than its budget has.
    OverBudget,
    /// The system has no more memory.
    OutOfMemory,
    /// The budget was cancelled.
    Cancelled,
    /// A worker was killed.
    Killed,
    /// A worker panicked, with this message.
    Panicked(String),
}

impl fmt::Display for WorkersError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WorkersError::NotStarted(error) => error.fmt(f),
            WorkersError::OverBudget => f.write_str("the work needs more memory than it may have"),
            WorkersError::OutOfMemory => f.write_str("out of memory; free some and try again"),
            WorkersError::Cancelled => f.write_str("the work was cancelled"),
            WorkersError::Killed => f.write_str("a task that did the work was killed"),
            WorkersError::Panicked(message) => write!(f, "a task that did the work panicked: {message}"),
        }
    }
}

impl core::error::Error for WorkersError {}

/// How often a caller of [`run_workers`] that waits is given a turn, in milliseconds.
pub(crate) const TURN_MS: u64 = 50;

/// Calls `work(0)`, …, `work(count - 1)` at the same time, each in a task of its own with a stack of at least 1 MiB, and returns when
/// all have ended. Meanwhile `turn`, if there is one, is called on the current task, every 50 ms or so. If the system cannot start as many tasks, those are missing
/// that have the highest numbers.
///
/// If a worker panics or is killed, the budget is cancelled. If the current task is killed while it waits, or `turn` panics,
/// the budget is cancelled and the workers are waited for before the unwinding goes on.
///
/// # Errors
/// If not even `work(0)` could be started, or some worker panicked, was killed, or was refused memory that it could not do without.
/// Of several errors it is the one that came first.
pub fn run_workers(
    count: usize,
    budget: &Budget,
    work: &(dyn Fn(usize) + Sync),
    turn: Option<&dyn Fn()>,
) -> Result<(), WorkersError> {
    let guarded = |number: usize| {
        let cancel = CancelOnDrop(budget);
        work(number);
        core::mem::forget(cancel);
    };
    platform::run_workers(count, budget, &guarded, turn)
}

/// Cancels the budget when it is dropped.
pub(crate) struct CancelOnDrop<'a>(pub(crate) &'a Budget);

impl Drop for CancelOnDrop<'_> {
    fn drop(&mut self) {
        self.0.cancel();
    }
}
