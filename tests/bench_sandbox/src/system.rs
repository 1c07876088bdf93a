//! What the benchmark asks of its operating system: here, Linux.

pub(crate) use std::panic::resume_unwind;
pub(crate) use std::println;

use crate::measure::time_stamp;
use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use wasm_engine::*;

/// A monotonic clock, in nanoseconds.
pub(crate) fn nanoseconds() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_nanos() as u64
}

/// How many processors there are.
pub(crate) fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Lets others run.
pub(crate) fn let_others_run() {
    std::thread::yield_now();
}

/// Runs `f` in `count` threads at once and returns their results.
pub(crate) fn in_tasks<R: Send>(count: usize, f: impl Fn() -> R + Sync) -> Vec<R> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..count).map(|_| scope.spawn(&f)).collect();
        threads.into_iter().map(|thread| thread.join().expect("no thread panics")).collect()
    })
}

/// Calls `f`; if it panics, the error is the payload.
pub(crate) fn catch_unwind<R>(f: impl FnOnce() -> R) -> Result<R, Box<dyn Any + Send>> {
    std::panic::catch_unwind(AssertUnwindSafe(f))
}

/// What an engine needs for stores with deadlines: Wasmtime's instruments the code.
pub(crate) fn configure_deadlines(config: &mut Config) {
    config.epoch_interruption(!cfg!(feature = "deadlines"));
}

/// Gives a store a deadline, in a while.
pub(crate) fn set_deadline(store: &mut Store<()>) {
    #[cfg(feature = "deadlines")]
    store.set_deadline(Some(Duration::from_secs(3600)));
    #[cfg(not(feature = "deadlines"))]
    store.set_epoch_deadline(1);
}

/// What an engine needs for guests that another thread stops.
pub(crate) fn configure_stops(config: &mut Config) {
    config.epoch_interruption(true);
}

/// Starts a guest that sets `begun` and then loops for ever, and stops it. Returns the time stamps from asking to its thread's end.
pub(crate) fn stop_one(guest: &InstancePre<()>, function: &'static str, begun: &AtomicBool) -> Result<u64> {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| -> Result<()> {
            let mut store = Store::new(guest.module().engine(), ());
            store.set_epoch_deadline(1);
            let instance = guest.instantiate(&mut store)?;
            instance.get_typed_func::<(), ()>(&mut store, function)?.call(&mut store, ())
        });
        while !begun.load(Ordering::Acquire) {
            std::thread::sleep(Duration::from_micros(100));
        }
        let start = time_stamp();
        guest.module().engine().increment_epoch();
        let outcome = thread.join().expect("no thread panics");
        let time = time_stamp() - start;
        match outcome {
            Err(error) if error.is::<Trap>() => Ok(time),
            other => Err(Error::msg(format!("the stopped guest ended like this: {other:?}"))),
        }
    })
}
