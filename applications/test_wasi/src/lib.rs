//! In-kernel tests of WASI: what the functions do (`suite`, which runs on Linux too), and what only the kernel shows.
#![no_std]

extern crate alloc;

mod kernel;
mod suite;

use alloc::string::String;
use alloc::vec::Vec;

/// Runs the tests; 0 if none failed. With `fuzz ROUNDS [SEED]`, only the fuzzer, so often.
pub fn main(args: Vec<String>) -> isize {
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => {}
        ["fuzz", rounds] => return fuzz(rounds.parse().ok(), Some(suite::fuzz::SEED)),
        ["fuzz", rounds, seed] => {
            let seed = match seed.strip_prefix("0x") {
                Some(digits) => u64::from_str_radix(digits, 16),
                None => seed.parse(),
            };
            return fuzz(rounds.parse().ok(), seed.ok());
        }
        _ => return fuzz(None, None),
    }
    let mut tests = suite::IN_TREES.to_vec();
    tests.extend(kernel::TESTS);
    ktest::run("wasi", &tests)
}

/// Runs the fuzzer, which panics where it finds something.
fn fuzz(rounds: Option<usize>, seed: Option<u64>) -> isize {
    let (Some(rounds), Some(seed)) = (rounds, seed) else {
        app_io::eprintln!("usage: test_wasi [fuzz ROUNDS [SEED]]");
        return 2;
    };
    kernel::fuzz(seed, rounds);
    app_io::println!("wasi: {rounds} random sequences from seed {seed:#x}: no fault found");
    0
}
