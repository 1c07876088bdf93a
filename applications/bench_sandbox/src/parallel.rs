//! Traps on all processors at once.

use crate::measure::{counts_nanoseconds, show_one, time_stamp};
use crate::system::{in_tasks, let_others_run, processors};
use alloc::format;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicUsize, Ordering};
use wasm_engine::*;

/// Traps of each task.
const TRAPS: usize = 4096;

const GUEST: &str = r#"
    (module
        (memory 1)
        (func (export "out of bounds") (drop (i32.load (i32.const -4)))))
"#;

/// Shows what a trap takes, with a task on one processor, or on each of them, that does nothing but trap.
///
/// Nanoseconds are those that pass between two traps of a task. Where instructions are counted, the time stamp counts those of all
/// processors together; what is shown then is how many of them come to one trap.
pub(crate) fn run() -> Result<()> {
    let mut config = Config::new();
    config.wasm_backtrace_max_frames(None);
    let engine = Engine::new(&config)?;
    let module = Module::new(&engine, GUEST)?;
    for (which, tasks) in [("one processor", 1), ("all processors at once", processors())] {
        let (module, ready) = (module.clone(), Arc::new(AtomicUsize::new(0)));
        let mut longest = 0;
        for time in in_tasks(tasks, move || traps(&module, &ready, tasks)) {
            longest = longest.max(time?);
        }
        let traps = if counts_nanoseconds() { TRAPS } else { TRAPS * tasks };
        show_one(&format!("out of bounds, on {which}"), longest / traps as u64);
    }
    Ok(())
}

/// How long [`TRAPS`] traps take, when all tasks are there.
fn traps(module: &Module, ready: &AtomicUsize, tasks: usize) -> Result<u64> {
    let mut store = Store::new(module.engine(), ());
    let instance = Instance::new(&mut store, module, &[])?;
    let function = instance.get_typed_func::<(), ()>(&mut store, "out of bounds")?;
    ready.fetch_add(1, Ordering::SeqCst);
    while ready.load(Ordering::SeqCst) < tasks {
        let_others_run();
    }
    let start = time_stamp();
    for _ in 0..TRAPS {
        if function.call(&mut store, ()).is_ok() {
            return Err(Error::msg("`out of bounds` did not trap"));
        }
    }
    Ok(time_stamp() - start)
}
