//! `wasm_run`: runs WebAssembly programs.
//!
//! The same in the kernel's shell and on Linux; only where text is printed differs, which is what [`Streams`] is for. On
//! Linux it compiles `.wasm` and `.wat` files (feature `compiler`); without that it runs what `wasmc` has compiled.
//!
//! A program may import `host.hello(i32)`, which prints the number and the state that the host keeps for the program. Where
//! a `.cwasm` comes from is the caller's responsibility: it is machine code, and its hash shows damage, not forgery.
//!
//! Exit status: 0; 1 if something is wrong with the file or the arguments for it, said in one line that names a
//! remedy; 2 for wrong usage; 134 if the program trapped, as with Wasmtime, after the trap and its backtrace.
#![cfg_attr(target_os = "theseus", no_std)]

extern crate alloc;

mod arguments;
#[cfg(target_os = "theseus")]
mod own_task;
mod program;

use alloc::string::String;
use arguments::Command;
use core::fmt::Arguments;

/// How text is printed.
#[derive(Debug, Clone, Copy)]
pub struct Streams {
    /// Prints to standard output.
    pub out: fn(Arguments<'_>),
    /// Prints to standard error.
    pub err: fn(Arguments<'_>),
}

const USAGE: &str =
    "usage: wasm_run FILE [ARGS]                 run `_start`, or the only function without parameters
       wasm_run --invoke NAME FILE [ARGS]   call a function with ARGS and print its results, one a line
       wasm_run --help
";

/// Exit status of a program that trapped: what a shell makes of SIGABRT, as Wasmtime.
const STATUS_TRAPPED: isize = 134;

/// What ended a run early.
enum Failure {
    /// Something is wrong with the file or the arguments for it; in one line.
    Input(String),
    /// The program trapped or a host function failed.
    Program(wasm_engine::Error),
}

/// Runs what `args`, which begin after the program's name, say, and returns the exit status.
pub fn run(args: &[String], streams: Streams) -> isize {
    let command = match arguments::parse(args) {
        Ok(Command::Help) => {
            (streams.out)(format_args!("{USAGE}"));
            return 0;
        }
        Ok(Command::Run(run)) => run,
        Err(message) => {
            (streams.err)(format_args!("wasm_run: {message}; see wasm_run --help\n"));
            return 2;
        }
    };
    match program::run(&command, streams) {
        Ok(()) => 0,
        Err(Failure::Input(message)) => {
            (streams.err)(format_args!("wasm_run: {message}\n"));
            1
        }
        Err(Failure::Program(error)) => {
            (streams.err)(format_args!("wasm_run: {}: {error:?}\n", command.file));
            STATUS_TRAPPED
        }
    }
}

/// The application: called by the shell with the arguments after its name.
#[cfg(target_os = "theseus")]
pub fn main(args: alloc::vec::Vec<String>) -> isize {
    let streams = Streams { out: app_io::print_to_stdout_args, err: app_io::print_to_stderr_args };
    own_task::run(move || run(&args, streams)).unwrap_or_else(|reason| {
        (streams.err)(format_args!("wasm_run: {reason}\n"));
        1
    })
}
