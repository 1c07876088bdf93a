//! A program with variables of every kind, for `test_loader` to load and unload. Run by hand, it prints their values.
#![no_std]
#![feature(thread_local)]

extern crate alloc;

use alloc::{string::String, vec::Vec};
use core::{
    cell::Cell,
    sync::atomic::{AtomicU32, Ordering},
};

use app_io::println;

/// What [`count_in_thread`] begins with in each task.
pub const THREAD_START: u32 = 1000;
/// What [`count_in_crate`] begins with in each run of the program.
pub const CRATE_START: u32 = 5;

#[thread_local]
static IN_THREAD: Cell<u32> = Cell::new(THREAD_START);
/// Thread-local zeros, larger than a page.
#[thread_local]
static ZEROS: Cell<[u32; 1500]> = Cell::new([0; 1500]);
static IN_CRATE: AtomicU32 = AtomicU32::new(CRATE_START);

/// Counts this task's calls.
#[inline(never)]
pub fn count_in_thread() -> u32 {
    let count = IN_THREAD.get();
    IN_THREAD.set(count + 1);
    count
}

/// Returns the sum of this task's zeros as they were before, and adds `step` to some of them.
#[inline(never)]
pub fn sum_of_zeros(step: u32) -> u32 {
    let mut zeros = ZEROS.get();
    let sum = zeros.iter().sum();
    for zero in zeros.iter_mut().step_by(100) {
        *zero += step;
    }
    ZEROS.set(zeros);
    sum
}

/// Counts the calls of all tasks.
#[inline(never)]
pub fn count_in_crate() -> u32 {
    IN_CRATE.fetch_add(1, Ordering::Relaxed)
}

/// Panics, from within calls.
#[inline(never)]
pub fn panic_in_depth(depth: u32) -> u32 {
    if depth == 0 {
        panic!("loader_sample panics because it was asked to");
    }
    panic_in_depth(depth - 1) + 1
}

/// Prints the variables' values.
pub fn main(_args: Vec<String>) -> isize {
    println!("thread {} zeros {} crate {}", count_in_thread(), sum_of_zeros(0), count_in_crate());
    0
}
