//! Tasks of tests.

use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;
use task::{ExitValue, JoinableTaskRef};

/// Starts a task of this name that calls `f`.
///
/// # Panics
/// If there is no memory for a task.
pub fn start<R: Send + 'static>(name: &str, f: impl FnOnce() -> R + Send + 'static) -> JoinableTaskRef {
    spawn::new_task_builder(|f| f(), f).name(name.to_string()).spawn().expect("there is memory for a task")
}

/// Waits for a task and returns what it returned.
///
/// # Panics
/// If it ended before its time, or returned something else than an `R`.
pub fn value_of<R: 'static>(task: &JoinableTaskRef) -> R {
    match task.join().expect("nobody else joins it") {
        ExitValue::Completed(value) => *value.downcast::<R>().expect("that is what it returns"),
        ExitValue::Killed(reason) => panic!("a task ended early: {reason}"),
    }
}

/// Runs `f` in `count` tasks of this name at once, which it is given the numbers of, and returns their results.
///
/// # Panics
/// If one of them does, or there is no memory for them.
pub fn in_tasks<R: Send + 'static>(
    name: &str,
    count: usize,
    f: impl Fn(usize) -> R + Send + Sync + 'static,
) -> Vec<R> {
    let f = Arc::new(f);
    let tasks: Vec<_> = (0..count)
        .map(|number| {
            let f = f.clone();
            start(name, move || f(number))
        })
        .collect();
    tasks.iter().map(value_of).collect()
}
