//! What the benchmark asks of its operating system: here, our kernel.

pub(crate) use app_io::println;
pub(crate) use catch_unwind::{catch_unwind, resume_unwind_with as resume_unwind};

use crate::measure::time_stamp;
use alloc::format;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use task::{ExitValue, KillReason};
use wasm_engine::*;

/// A monotonic clock, in nanoseconds.
pub(crate) fn nanoseconds() -> u64 {
    time::Instant::now().as_nanos()
}

/// How many processors there are.
pub(crate) fn processors() -> usize {
    cpu::cpu_count() as usize
}

/// Lets others run.
pub(crate) fn let_others_run() {
    task::schedule();
}

/// Runs `f` in `count` tasks at once and returns their results.
pub(crate) fn in_tasks<R: Send + 'static>(count: usize, f: impl Fn() -> R + Send + Sync + 'static) -> Vec<R> {
    ktest_system::in_tasks("bench_sandbox task", count, move |_| f())
}

/// What an engine needs for stores with deadlines: nothing.
pub(crate) fn configure_deadlines(_: &mut Config) {}

/// Gives a store a deadline, in a while.
pub(crate) fn set_deadline(store: &mut Store<()>) {
    store.set_deadline(Some(Duration::from_secs(3600)));
}

/// What an engine needs for guests that are stopped: nothing.
pub(crate) fn configure_stops(_: &mut Config) {}

/// Starts a guest that sets `begun` and then loops for ever, and stops it. Returns the time stamps from asking to its task's end.
pub(crate) fn stop_one(guest: &InstancePre<()>, function: &'static str, begun: &AtomicBool) -> Result<u64> {
    let guest = guest.clone();
    let task = ktest_system::start("bench_sandbox guest", move || -> Result<()> {
        let mut store = Store::new(guest.module().engine(), ());
        let instance = guest.instantiate(&mut store)?;
        instance.get_typed_func::<(), ()>(&mut store, function)?.call(&mut store, ())
    });
    while !begun.load(Ordering::Acquire) {
        task::schedule();
    }
    let start = time_stamp();
    task.kill(KillReason::Requested).map_err(Error::msg)?;
    match task.join().map_err(Error::msg)? {
        ExitValue::Killed(KillReason::Requested) => Ok(time_stamp() - start),
        other => Err(Error::msg(format!("the killed task ended like this: {other:?}"))),
    }
}
