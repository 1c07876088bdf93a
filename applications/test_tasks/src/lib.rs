//! Tests of tasks in the running kernel: their lives and ends, the scheduler, preemption, faults, thread-local values.
#![no_std]
extern crate alloc;

mod faults;
mod lives;
mod preemption;

use alloc::string::String;
use alloc::vec::Vec;

/// Runs all tests of this suite.
pub fn main(_args: Vec<String>) -> isize {
    let tests: Vec<ktest::Test> =
        [lives::TESTS, preemption::TESTS, faults::TESTS].into_iter().flatten().copied().collect();
    ktest::run("tasks", &tests)
}
