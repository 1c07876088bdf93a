//! In-kernel tests of WASI: what the functions do (`suite`, which runs on Linux too), and what only the kernel shows.
#![no_std]

extern crate alloc;

mod kernel;
mod suite;

use alloc::string::String;
use alloc::vec::Vec;

/// Runs the tests; 0 if none failed. With `fuzz ROUNDS [SEED [DIR]]`, only the fuzzer, so often: on trees in memory, or in `DIR`.
pub fn main(args: Vec<String>) -> isize {
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let (rounds, seed, dir) = match args[..] {
        [] => {
            let mut tests = suite::IN_TREES.to_vec();
            tests.extend(kernel::TESTS);
            return ktest::run("wasi", &tests);
        }
        ["fuzz", rounds] => (rounds, None, None),
        ["fuzz", rounds, seed] => (rounds, Some(seed), None),
        ["fuzz", rounds, seed, dir] => (rounds, Some(seed), Some(dir)),
        _ => return usage(),
    };
    let seed = seed.map_or(Ok(suite::fuzz::SEED), |seed| match seed.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => seed.parse(),
    });
    let (Ok(rounds), Ok(seed)) = (rounds.parse(), seed) else { return usage() };
    match dir {
        None => kernel::fuzz(seed, rounds),
        Some(path) => match kernel::outside_of_memory(path) {
            Some(dir) => kernel::fuzz_in(&dir, seed, rounds),
            None => {
                app_io::eprintln!("test_wasi: {path} is no directory of a disk or of the host");
                return 1;
            }
        },
    }
    // It panics where it finds something.
    app_io::println!("wasi: {rounds} random sequences from seed {seed:#x}: no fault found");
    0
}

fn usage() -> isize {
    app_io::eprintln!("usage: test_wasi [fuzz ROUNDS [SEED [DIR]]]");
    2
}
