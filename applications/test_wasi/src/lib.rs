//! In-kernel tests of WASI: what the functions do (`suite`, which runs on Linux too), and what only the kernel shows.
#![no_std]

extern crate alloc;

mod kernel;
mod suite;

use alloc::string::String;
use alloc::vec::Vec;

/// Runs the tests; 0 if none failed.
pub fn main(_args: Vec<String>) -> isize {
    let mut tests = suite::IN_TREES.to_vec();
    tests.extend(kernel::TESTS);
    ktest::run("wasi", &tests)
}
