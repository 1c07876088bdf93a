//! In-kernel tests of the WebAssembly engine, and of the program `wasm_run`.
//!
//! What the engine computes is tested on Linux, by the official test-suite. Here it is about what only a kernel shows: traps by
//! real exceptions, panics through the kernel's unwinder, tasks that are preempted, memory that comes back. The guests are
//! `guests/*.wat`, compiled, in the image's `/guests`.
//!
//! This suite links the engine, which therefore stays loaded while `wasm_run` comes and goes; `test_wasm_run` is the suite
//! that sees it unloaded.
#![no_std]

extern crate alloc;

mod artifacts;
mod at_once;
mod exceptions;
mod guest;
mod host;
mod interrupts;
mod leaks;
mod memories;
mod reserve;
mod run;
mod threads;
mod traps;

use alloc::{string::String, vec::Vec};

/// Runs the tests; 0 if none failed.
pub fn main(_args: Vec<String>) -> isize {
    ktest::run(
        "wasm",
        &[
            ("both sides of every boundary", traps::both_sides_of_every_boundary),
            ("every trap has its code and its text", traps::codes_and_texts),
            ("the stack overflows, again and again", traps::stack_overflow),
            ("the stack overflows between wasm and host", host::stack_overflow_in_turns),
            ("backtraces name the functions", traps::backtraces),
            ("a start function traps", traps::start_function),
            ("host and wasm call each other in turns", host::calls_in_turns),
            ("floats pass through every kind of call", host::floats_in_calls),
            ("an error of the host arrives as it was", host::errors),
            ("a trap below several host functions", host::nested_traps),
            ("a panic passes through wasm and is caught", host::panics_are_caught),
            ("a panic is caught half-way, and wasm goes on", host::panics_caught_half_way),
            ("a panic ends its task alone", host::uncaught_panics),
            ("a fault in the host is no trap", host::faults_in_the_host),
            ("a fault of the host in a guest's memory is no trap", host::faults_in_a_guests_memory),
            ("host functions that use up the stack end their task", host::stack_overflow_in_the_host),
            ("host and wasm call each other 1,000 deep", host::a_thousand_deep),
            ("a mixed backtrace has wasm and host in their order", host::mixed_backtraces),
            ("a backtrace has files and lines", traps::files_and_lines),
            ("a storm of panics is unwound, and not reported", host::many_panics),
            ("100,000 traps in several tasks at once", at_once::many_traps),
            ("floats are the same in tasks that take turns", at_once::floats),
            ("vectors are the same in tasks that take turns", at_once::vectors),
            ("exceptions pass through wasm and host in turns", exceptions::through_hosts),
            ("exceptions of the host are caught by wasm", exceptions::of_the_host),
            ("exceptions in tasks that take turns", exceptions::in_many_tasks),
            ("exceptions leave nothing behind", exceptions::leave_nothing),
            ("tasks are killed in their guests", at_once::kills),
            ("deadlines end whatever a guest does", interrupts::deadlines),
            ("deadlines in tasks that take turns", interrupts::deadlines_in_many_tasks),
            ("deadlines of stores within stores", interrupts::deadlines_of_nested_stores),
            ("kills end whatever a guest does", interrupts::kills),
            ("kills while memory is made", interrupts::kills_while_memory_is_made),
            ("kills in host functions that wait", interrupts::kills_in_host_functions_that_wait),
            ("wasm_run --timeout", interrupts::programs),
            ("Ctrl-C ends all tasks of a program", interrupts::control_c),
            ("memories grow to their limits", memories::grow_to_their_limits),
            ("memories are charged to the tasks that make them", memories::are_charged_to_their_tasks),
            ("a small memory is checked", memories::small),
            ("a memory grows until no frame is left", memories::grow_until_none_is_left),
            ("with little memory left, errors and no panics", memories::little_memory_left),
            ("200 guests take all they get, and the kernel goes on", reserve::guests_leave_it),
            ("guests leave address space to others", reserve::address_space),
            ("threads: tasks count in a shared memory", threads::count),
            ("threads: ping-pong by wait and notify", threads::ping_pong),
            ("threads: a lock made of wait and notify", threads::lock),
            ("threads: waits end by value, time or notification", threads::timeouts),
            ("threads: who waits takes no time", threads::waiting_takes_no_time),
            ("threads: guests are killed while they wait", threads::kills),
            ("threads: notifications and timeouts meet", threads::races),
            ("threads: guests are killed at any moment of waiting", threads::kills_at_any_moment),
            ("threads: a shared memory grows while it is used", threads::growth),
            ("threads: a shared memory grows until no frame is left", threads::no_frames_left),
            ("threads: programs wait, and are killed there", threads::programs),
            ("1,000 instances leave nothing behind", leaks::instances),
            ("1,000 modules leave nothing behind", leaks::modules),
            ("1,000 ends before time leave nothing behind", leaks::failures),
            ("an artifact that is cut anywhere is refused", artifacts::cut_anywhere),
            ("artifacts are loaded of trusted signers only", artifacts::only_of_trusted_signers),
            ("an artifact with a byte changed is refused", artifacts::any_byte_changed),
            ("each bad artifact 1,000 times leaves nothing behind", artifacts::each_refused_a_thousand_times),
            ("wasm_run: hello", run::hello),
            ("wasm_run: functions by name, with arguments and results", run::invoke),
            ("wasm_run: traps", run::traps),
            ("wasm_run: wrong usage", run::usage),
            ("wasm_run: bad files", run::bad_files),
            ("wasm_run: artifacts for somebody else", run::for_somebody_else),
            ("wasm_run: artifacts cut and changed", run::cut_and_changed),
            ("wasm_run: wrong names and arguments", run::names_and_arguments),
            ("wasm_run: not enough memory", run::not_enough_memory),
            ("wasm_run: limits", run::limits),
            ("wasm_run: bad input 1,000 times leaves nothing behind", run::leaves_nothing_behind),
        ],
    )
}
