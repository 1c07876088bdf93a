//! The fuzzer of the calls (`applications/test_wasi/src/suite/fuzz.rs`), on Linux: each sequence on a tree in memory and on a directory of the host.
//!
//! `WASI_FUZZ_ROUNDS=10000 WASI_FUZZ_SEED=7 cargo test -p wasm_wasi --test fuzz` (or `make fuzz-wasi ROUNDS=10000 SEED=7`) calls more, and others.

extern crate alloc;

#[path = "../../../applications/test_wasi/src/suite/mod.rs"]
#[allow(missing_docs, dead_code)]
mod suite;

use suite::fuzz::{Arena, SEED, run};

/// Sequences in `make test`.
const ROUNDS: usize = 25;

fn number(variable: &str) -> Option<u64> {
    let value = std::env::var(variable).ok()?;
    let parsed = match value.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => value.parse(),
    };
    Some(parsed.unwrap_or_else(|_| panic!("{variable} must be a number, and is {value}")))
}

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn random_calls() {
    let rounds = number("WASI_FUZZ_ROUNDS").map_or(ROUNDS, |rounds| rounds as usize);
    let seed = number("WASI_FUZZ_SEED").unwrap_or(SEED);
    let arenas = || vec![Arena::tree(), Arena::host()];
    // What is opened once and stays.
    run(seed, 1, arenas);
    let before = open_descriptors();
    run(seed, rounds, arenas);
    assert_eq!(open_descriptors(), before, "descriptors are left open");
}
