//! In-kernel tests of the WebAssembly engine and of `wasm_run`.
//!
//! What the engine does is tested on Linux, with the official suite; here it is tested that it does so on this kernel: with
//! its pages, exceptions, unwinder, tasks and loader. The modules are those of the folder `guests`, compiled by `wasmc`.
#![no_std]

extern crate alloc;

mod artifacts;
mod engine;
mod leaks;
mod programs;

use alloc::string::String;
use alloc::vec::Vec;

/// Runs the tests. 0 if all have passed.
pub fn main(_args: Vec<String>) -> isize {
    ktest::run(
        "wasm",
        &[
            ("hello.cwasm says what it says everywhere", programs::hello),
            ("wasm_run prints results, traps and usage", programs::invoke),
            ("every kind of trap arrives, any number of times", engine::every_trap),
            ("100,000 traps in several tasks at once", engine::many_traps),
            ("a backtrace names module, function and place", engine::backtrace),
            ("the stack overflows into a trap, again and again", engine::stack_overflow),
            ("a memory grows in its place and is returned", engine::memory_grows),
            ("floats pass through every kind of call", engine::floats),
            ("an error of a host function arrives as it is", engine::host_error),
            ("a panic crosses wasm and drops what is between", engine::host_panic),
            ("a fault in a host function is no trap of the guest's", engine::host_fault),
            ("10,000 instances and 1,000 modules leave nothing behind", engine::nothing_is_left),
            ("bad input is told in one line and leaves nothing behind", programs::bad_input),
            ("artifacts for something else are refused", artifacts::for_something_else),
            ("an artifact cut or changed anywhere is refused", artifacts::damaged),
            ("what does not fit into memory is an error", artifacts::too_large),
        ],
    )
}
