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
use alloc::string::String;
use alloc::vec::Vec;
use app_io::eprintln;
use ktest_system::{start, value_of};

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
    match value_of::<Result<(), String>>(&start("bench_wasi", run)) {
        Ok(()) => 0,
        Err(reason) => {
            eprintln!("bench_wasi: {reason}");
            1
        }
    }
}
