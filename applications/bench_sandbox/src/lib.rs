//! Shows what it costs when a guest fails: traps by kind and by depth, errors and panics of host functions, with many modules
//! loaded, and panics of the kernel's own code.
//!
//! A line per operation: the time stamp counts from the last instruction before the fault (a call of a host function that does
//! nothing but note the time) to the `Err` in the host's hands, and of the whole call, dropping the error included. Each is the
//! least of several runs. Where QEMU counts instructions (`make bench-sandbox` asks for that) they are guest instructions.
#![no_std]

extern crate alloc;

mod measure;
mod panics;
mod traps;

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use app_io::{eprintln, println};
use task::ExitValue;

/// Runs the benchmark, in a task of its own: an application's task has a stack smaller than what guests may use.
pub fn main(args: Vec<String>) -> isize {
    if !args.is_empty() {
        eprintln!("usage: bench_sandbox");
        return 2;
    }
    let task = spawn::new_task_builder(|()| run(), ()).name("bench_sandbox".to_string()).spawn();
    let outcome = task.and_then(|task| task.join());
    match outcome {
        Ok(ExitValue::Completed(result)) => {
            match result.downcast::<Result<(), String>>().map(|result| *result) {
                Ok(Ok(())) => 0,
                Ok(Err(reason)) => failed(&reason),
                Err(_) => failed("the task returned something else"),
            }
        }
        Ok(ExitValue::Killed(reason)) => failed(&reason.to_string()),
        Err(reason) => failed(reason),
    }
}

fn failed(reason: &str) -> isize {
    eprintln!("bench_sandbox: {reason}");
    1
}

fn run() -> Result<(), String> {
    let failed = |error: wasm_engine::Error| alloc::format!("{error:#}");
    println!("{:44} {:>14} {:>14}", "operation", "fault to Err", "whole call");
    traps::run().map_err(failed)?;
    panics::run().map_err(failed)
}
