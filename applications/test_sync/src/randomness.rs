//! Random numbers: not whether they are good, which takes more than a test, but whether they are broken.

use crate::{finish, start};
use alloc::collections::BTreeSet;
use alloc::vec;
use alloc::vec::Vec;

pub fn random_fills_differ() {
    for length in [16usize, 1000, 4096, 5001] {
        let mut first = vec![0; length];
        let mut second = vec![0; length];
        random::fill_bytes(&mut first);
        random::fill_bytes(&mut second);
        assert_ne!(first, second);
        assert!(first[length - 16..].iter().any(|byte| *byte != 0), "the end was not filled");
    }
}

pub fn random_bits_are_balanced() {
    const WORDS: u32 = 10_000;
    let mut ones = [0u32; 64];
    for _ in 0..WORDS {
        let word = random::next_u64();
        for (position, count) in ones.iter_mut().enumerate() {
            *count += (word >> position & 1) as u32;
        }
    }
    // The standard deviation is 50: seven of them never happen.
    for (position, count) in ones.iter().enumerate() {
        assert!(count.abs_diff(WORDS / 2) < 350, "bit {position}: {count} ones of {WORDS}");
    }
}

pub fn random_numbers_of_tasks_differ() {
    let tasks: Vec<_> =
        (0..4).map(|_| start(|| (0..500).map(|_| random::next_u64()).collect::<Vec<u64>>())).collect();
    let all: BTreeSet<u64> = tasks.into_iter().flat_map(finish::<Vec<u64>>).collect();
    // Among 2,000 numbers of 64 bits two equal ones come once in nine trillion runs.
    assert_eq!(all.len(), 2_000);
}
