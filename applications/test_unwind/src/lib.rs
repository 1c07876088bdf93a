//! In-kernel tests of panics, unwinding, faults and backtraces.
//!
//! The crate itself is loaded at run time, `core` and `alloc` are in the base image: a panic that passes through
//! formatting, say, crosses from one crate's unwind tables to another's and back.

#![no_std]

extern crate alloc;

mod backtraces;
mod drops;
mod faults;
mod generated;
mod tasks;

use alloc::{string::String, vec::Vec};

/// Runs the tests. 0 if all have passed.
pub fn main(_args: Vec<String>) -> isize {
    ktest::run(
        "unwind",
        &[
            ("values are dropped from the innermost frame outwards", drops::in_order),
            ("a panic passes through frames of other crates", drops::across_crates),
            ("the message and the place of a panic are caught", drops::message_and_place),
            ("a payload that is thrown is caught", drops::payloads),
            ("a kill that is caught can be passed on", drops::pass_on_a_kill),
            ("a panic in a drop can be caught by that drop", drops::nested_and_caught),
            ("running out of memory is a panic like any other", drops::out_of_memory),
            ("1,000 frames are unwound", drops::deep_recursion),
            ("10,000 panics leave nothing behind", drops::many_panics),
            ("locks are released by unwinding", drops::locks_are_released),
            ("a panicking task ends, and says why", tasks::panic_ends_the_task),
            ("a task that cannot unwind ends nevertheless", tasks::no_unwinding),
            ("a panic in a drop during unwinding ends the task", tasks::panic_in_drop),
            ("a panic whose message panics ends the task", tasks::panic_in_message),
            ("1,000 panicking tasks give their memory back", tasks::memory_comes_back),
            ("tasks that panic at once do not disturb each other", tasks::many_at_once),
            ("a backtrace names the functions", backtraces::names),
            ("frame pointers tell the same as unwind tables", backtraces::frame_pointers_agree),
            ("code from outside is found by its address until it is deregistered", backtraces::external_code),
            ("a panic passes through code made at run time", generated::panic_passes_through),
            ("a panic stops at code without unwind tables", generated::unregistered_code_ends_the_task),
            ("a fault ends its task, whose callers drop their values", faults::faults_end_the_task),
            ("a fault can be caught", faults::caught),
            ("a call to where no code is unwinds from the caller", faults::bad_jump),
            ("1,000 faults leave nothing behind", faults::many_faults),
        ],
    )
}
