//! Runs tests inside the kernel.
//!
//! A test application lists its tests and hands them to [`run`], from a `main` of the usual signature:
//!
//! ```ignore
//! pub fn main(_args: Vec<String>) -> isize {
//!     ktest::run("memory", &[("frames are zeroed", frames_are_zeroed)])
//! }
//! ```
//!
//! A test passes when it returns, and fails when it panics. The output ends with `memory: 1 passed, 0 failed`, a line that
//! `test_all` adds up and continuous integration reads.
#![no_std]

extern crate alloc;

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use app_io::println;
use core::any::Any;
use core::sync::atomic::{AtomicUsize, Ordering};

static PASSED: AtomicUsize = AtomicUsize::new(0);
static FAILED: AtomicUsize = AtomicUsize::new(0);

/// How many tests have passed and failed since this crate was loaded. `test_all` keeps it loaded while it runs the suites.
pub fn totals() -> (usize, usize) {
    (PASSED.load(Ordering::Relaxed), FAILED.load(Ordering::Relaxed))
}

/// A test: its name, and what it does.
pub type Test = (&'static str, fn());

/// Runs `tests` in order and prints a line for each, then how many passed and failed.
///
/// Returns the application's exit value: 0 if none failed, else 1.
pub fn run(suite: &str, tests: &[Test]) -> isize {
    let mut failed = 0;
    for (name, test) in tests {
        match catch_unwind::catch_unwind(test) {
            Ok(()) => println!("test {suite}::{name} ... ok"),
            Err(payload) => {
                failed += 1;
                println!("test {suite}::{name} ... FAILED ({})", message_of(&payload));
            }
        }
    }
    let passed = tests.len() - failed;
    PASSED.fetch_add(passed, Ordering::Relaxed);
    FAILED.fetch_add(failed, Ordering::Relaxed);
    println!("{suite}: {passed} passed, {failed} failed");
    (failed > 0).into()
}

/// What a panic said. Its place is in the log, where the panic hook wrote it.
fn message_of(payload: &Box<dyn Any + Send>) -> String {
    if let Some(text) = payload.downcast_ref::<&'static str>() {
        text.to_string()
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text.clone()
    } else {
        "a panic without a message; see the log".to_string()
    }
}
