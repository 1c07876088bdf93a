//! The tests that the kernel runs too (`applications/test_wasi`), on Linux: in a tree in memory, and in a directory of the host.

extern crate alloc;

#[path = "../../../applications/test_wasi/src/suite/mod.rs"]
#[allow(missing_docs, dead_code)]
mod suite;

use suite::Ground;

/// Runs all tests, each in a ground of its own, and names those that fail.
fn run(ground: fn() -> Ground) {
    let mut failed = Vec::new();
    for (name, test) in suite::TESTS {
        if std::panic::catch_unwind(|| test(&ground())).is_err() {
            failed.push(*name);
        }
    }
    assert!(failed.is_empty(), "failed: {failed:?}");
}

#[test]
fn in_memory() {
    run(Ground::tree);
}

#[test]
fn on_linux() {
    run(Ground::host);
}
