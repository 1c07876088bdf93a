//! Shows what WASI's calls cost, and programs that make many of them: a line per call or program, with time stamps per call or for the whole
//! program, which are guest instructions where QEMU counts those (`make bench-wasi` asks for that).
//!
//! The programs are read from `/files`, and compiled here before anything is measured.
//!
//! All but [`system`] is compiled for Linux, too, with Wasmtime: see `tests/bench_wasi`.
#![no_std]

extern crate alloc;

mod calls;
mod programs;
mod system;

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use app_io::eprintln;
use task::ExitValue;

/// Runs the benchmark, in a task of its own: an application's task has a stack smaller than what guests may use.
pub fn main(args: Vec<String>) -> isize {
    let run = match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => || calls::run().and_then(|()| programs::run()).map_err(|error| format!("{error:#}")),
        ["calls"] => || calls::run().map_err(|error| format!("{error:#}")),
        _ => {
            eprintln!("usage: bench_wasi [calls]");
            return 2;
        }
    };
    let task = spawn::new_task_builder(move |()| run(), ()).name("bench_wasi".to_string()).spawn();
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
    eprintln!("bench_wasi: {reason}");
    1
}
