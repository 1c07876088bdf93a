//! The fuzzer of the calls (`applications/test_wasi/src/suite/fuzz.rs`), on Linux: each sequence on a tree in memory and on a directory of the
//! host, and on FAT.
//!
//! `WASI_FUZZ_ROUNDS=10000 WASI_FUZZ_SEED=7 cargo test -p wasm_wasi --test fuzz` (or `make fuzz-wasi ROUNDS=10000 SEED=7`) calls more, and others.

extern crate alloc;

#[path = "../../../applications/test_wasi/src/suite/mod.rs"]
#[allow(missing_docs, dead_code)]
mod suite;

// Disks in memory, made and checked by the host's programs. It expects to be in the crate of the file system.
#[path = "../../fat/src/tests/support.rs"]
#[allow(missing_docs, dead_code)]
mod support;

use fat::FileSystem;
use suite::fuzz::{Arena, SEED, run};
use support::{Disk, SMALL_KINDS, fsck, image};

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

/// What some file systems of Linux can have is too large here, as in the kernel: files of more than a TiB.
fn limit_file_sizes() {
    let limit = libc::rlimit { rlim_cur: 1 << 40, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: both change this process alone: an error instead of a signal comes of a write beyond the limit.
    unsafe {
        assert_ne!(libc::signal(libc::SIGXFSZ, libc::SIG_IGN), libc::SIG_ERR);
        assert_eq!(libc::setrlimit(libc::RLIMIT_FSIZE, &limit), 0);
    }
}

/// In a tree in memory and in a directory of the host.
fn on_the_host(seed: u64, rounds: usize) {
    limit_file_sizes();
    let call = |rounds| run(seed, rounds, |sequence| _ = sequence(&[Arena::tree(), Arena::host()]));
    // What is opened once and stays.
    call(1);
    let before = open_descriptors();
    call(rounds);
    assert_eq!(open_descriptors(), before, "descriptors are left open");
}

/// On small disks, which are full sometimes. Afterwards nothing is on them that fsck would mend.
fn on_fat(seed: u64, rounds: usize) {
    let images = SMALL_KINDS.map(|(kind, len, sectors_per_cluster)| image(kind, len, sectors_per_cluster));
    for bytes in images {
        run(seed, rounds, |sequence| {
            let disk = Disk::new(bytes.clone());
            let files = disk.mount().unwrap();
            let seed = sequence(&[Arena::of(files.root())]);
            files.sync().unwrap_or_else(|error| panic!("seed {seed:#x}: {error}"));
            assert!(!files.is_dirty(), "seed {seed:#x}");
            assert_eq!(fsck(&disk.bytes()), [""; 0], "seed {seed:#x}");
        });
    }
}

/// One test, for the other one's descriptors would be counted.
#[test]
fn random_calls() {
    let rounds = number("WASI_FUZZ_ROUNDS").map_or(ROUNDS, |rounds| rounds as usize);
    let seed = number("WASI_FUZZ_SEED").unwrap_or(SEED);
    on_the_host(seed, rounds);
    on_fat(seed, rounds);
}
