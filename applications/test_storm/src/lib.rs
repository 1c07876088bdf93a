//! A storm: several tasks on all processors, whose guests return and trap, whose host functions refuse and panic, and which start
//! guests that never return and kill them; in a random order, all at once. Whatever happens is counted, and the counts have
//! to be those that the random numbers say; and when it is over, the system has in use what it had before.
#![no_std]

extern crate alloc;

mod counts;
mod driver;
mod operations;

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;
use counts::Counts;
use driver::Driver;
use ktest_system::{InUse, in_tasks};
use time::Instant;
use wasm_engine::{Config, Engine, Module};

/// How many tasks there are.
const TASKS: usize = 8;
/// How many operations each of them does.
const OPERATIONS: usize = 100_000;
/// How many each does first, so that tables grow to their size.
const REHEARSAL: usize = 300;
/// How long may pass at the end until everything is given back.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs the tests; 0 if none failed.
pub fn main(_args: Vec<String>) -> isize {
    ktest::run("storm", &[("8 tasks, 100,000 operations each: all counts exact, nothing left", storm)])
}

fn storm() {
    blow(REHEARSAL);
    let before = InUse::now();
    blow(OPERATIONS);
    let over = Instant::now();
    // The kernel's own tasks may be about to give something back.
    while InUse::now() != before && over.elapsed() < PATIENCE {
        task::schedule();
    }
    assert_eq!(InUse::now(), before, "what is in use afterwards is not what was before");
}

/// Has each task do so many operations.
fn blow(operations: usize) {
    let engine = Engine::new(&Config::new()).expect("the trap hook is free or ours");
    let artifact = wasm_engine::read_file("/guests/test_storm.cwasm").expect("the image has all guests");
    // SAFETY: the artifacts in the image were made by our compiler.
    let module =
        unsafe { Module::deserialize(&engine, artifact) }.expect("the image's guests are for this system");
    let counts = in_tasks("test_storm", TASKS, move |number| Driver::new(&module, number).run(operations));
    for (number, counts) in counts.iter().enumerate() {
        assert_eq!(*counts, Counts::expected(number, operations), "the counts of task {number}");
    }
}
