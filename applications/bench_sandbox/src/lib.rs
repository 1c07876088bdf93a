//! Shows what it costs when a guest fails: traps by kind and by depth, errors and panics of host functions, with many modules
//! loaded, on all processors at once; panics of the program's own code; and how long it takes to stop a guest.
//!
//! A line per operation: what passes from the last instruction before the fault (a call of a host function that does nothing but
//! note the time) to the `Err` in the host's hands, and the whole call, dropping the error included. Each is the least of several
//! runs. It is time stamps, which are guest instructions where QEMU counts those (`make bench-sandbox` asks for that), or, with the
//! argument `time`, nanoseconds. With the argument `parallel` it is only about several processors.
//!
//! All but [`system`] is compiled for Linux, too, with our engine and with Wasmtime: see `tests/bench_sandbox`.
#![no_std]

extern crate alloc;

mod interruption;
mod measure;
mod panics;
mod parallel;
mod system;
mod traps;

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use app_io::{eprintln, println};
use ktest_system::{start, value_of};

/// Runs the benchmark, in a task of its own: an application's task has a stack smaller than what guests may use.
pub fn main(args: Vec<String>) -> isize {
    if args.iter().any(|argument| argument != "time" && argument != "parallel") {
        eprintln!("usage: bench_sandbox [time] [parallel]");
        return 2;
    }
    let has = |wanted: &str| args.iter().any(|argument| argument == wanted);
    if has("time") {
        measure::count_nanoseconds();
    }
    let run = if has("parallel") { parallel } else { all };
    match value_of::<Result<(), String>>(&start("bench_sandbox", run)) {
        Ok(()) => 0,
        Err(reason) => {
            eprintln!("bench_sandbox: {reason}");
            1
        }
    }
}

/// What one processor does.
fn all() -> Result<(), String> {
    println!("{:44} {:>14} {:>14}", "operation", "fault to Err", "whole call");
    traps::run().and_then(|()| interruption::run()).and_then(|()| panics::run()).map_err(text)
}

/// What all processors do at once.
fn parallel() -> Result<(), String> {
    parallel::run().map_err(text)
}

fn text(error: wasm_engine::Error) -> String {
    format!("{error:#}")
}
