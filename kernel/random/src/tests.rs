//! Tests of the generator, on whatever entropy the host has.

use super::*;
use std::cell::Cell;

#[test]
fn two_fills_differ_and_odd_lengths_are_filled() {
    for length in [1usize, 7, 8, 33, 1023, 1024, 1025, 5000] {
        let mut first = vec![0; length];
        let mut second = vec![0; length];
        fill_bytes(&mut first);
        fill_bytes(&mut second);
        if length > 8 {
            assert_ne!(first, second, "{length} bytes");
            assert!(first[length - 8..].iter().any(|byte| *byte != 0), "the end was filled");
        }
    }
    fill_bytes(&mut []);
}

#[test]
fn bits_are_about_half_ones_at_every_position() {
    let mut ones = [0u32; 64];
    const COUNT: u32 = 20_000;
    for _ in 0..COUNT {
        let word = next_u64();
        for (position, count) in ones.iter_mut().enumerate() {
            *count += (word >> position & 1) as u32;
        }
    }
    // The standard deviation is √COUNT/2 = 71: seven of them never happen.
    for (position, count) in ones.iter().enumerate() {
        assert!(count.abs_diff(COUNT / 2) < 500, "bit {position}: {count} ones of {COUNT}");
    }
}

#[test]
fn all_byte_values_come_about_equally_often() {
    let mut bytes = vec![0; 1 << 18];
    fill_bytes(&mut bytes);
    let mut counts = [0u32; 256];
    bytes.iter().for_each(|byte| counts[usize::from(*byte)] += 1);
    let expected = (1 << 18) / 256;
    let chi_squared: f64 = counts
        .iter()
        .map(|count| (f64::from(*count) - f64::from(expected)).powi(2) / f64::from(expected))
        .sum();
    // 255 degrees of freedom: mean 255, standard deviation 22.6.
    assert!((100.0..420.0).contains(&chi_squared), "{chi_squared}");
}

#[test]
fn reseeding_changes_what_comes_and_depends_on_both_parts() {
    let make = || Generator { cipher: ChaCha20Rng::from_seed([7; 32]), left: RESEED_INTERVAL };
    let next = |generator: &mut Generator| {
        let mut bytes = [0; 16];
        generator.fill(&mut bytes);
        bytes
    };
    let (mut plain, mut one, mut other) = (make(), make(), make());
    one.reseed([1; 32]);
    other.reseed([2; 32]);
    let outputs = [next(&mut plain), next(&mut one), next(&mut other)];
    assert_ne!(outputs[0], outputs[1]);
    assert_ne!(outputs[0], outputs[2]);
    assert_ne!(outputs[1], outputs[2]);
    // The same state and the same entropy give the same: the entropy is what decides.
    let mut again = make();
    again.reseed([1; 32]);
    assert_eq!(next(&mut again), outputs[1]);
}

#[test]
fn the_generator_is_reseeded_after_its_interval() {
    let mut generator = Generator { cipher: ChaCha20Rng::from_seed([7; 32]), left: 16 };
    let mut reference = ChaCha20Rng::from_seed([7; 32]);
    let (mut bytes, mut expected) = ([0; 16], [0; 16]);
    generator.fill(&mut bytes);
    reference.fill_bytes(&mut expected);
    assert_eq!(bytes, expected);
    generator.fill(&mut bytes);
    reference.fill_bytes(&mut expected);
    assert_ne!(bytes, expected, "a new seed was due");
    assert_eq!(generator.left, RESEED_INTERVAL - 16);
}

#[test]
fn generators_of_ones_own_differ() {
    let Ok(mut first) = init_rng::<ChaCha20Rng>();
    let Ok(mut second) = init_rng::<ChaCha20Rng>();
    assert_ne!(first.next_u64(), second.next_u64());
}

#[test]
fn a_source_that_fails_or_repeats_itself_is_refused() {
    assert_eq!(entropy::from_words(|| None), None);
    assert_eq!(entropy::from_words(|| Some(u64::MAX)), None);
    let words = Cell::new(0);
    let seed = entropy::from_words(|| {
        words.set(words.get() + 1);
        Some(words.get())
    });
    assert_eq!(seed.map(|seed| (seed[0], seed[8], seed[16], seed[24])), Some((1, 2, 3, 4)));
    let words = Cell::new(0);
    let third_fails = || {
        words.set(words.get() + 1);
        (words.get() < 3).then_some(words.get())
    };
    assert_eq!(entropy::from_words(third_fails), None);
}

#[test]
fn one_tick_of_jitter_changes_the_whole_seed() {
    let seed = |late: u64| {
        let calls = Cell::new(0u64);
        entropy::jitter(|| {
            calls.set(calls.get() + 1);
            calls.get() * 40 + u64::from(calls.get() == late)
        })
    };
    let reference = seed(0);
    assert_eq!(reference, seed(0), "the counter is all that goes in");
    for late in [1, 2, 1_000, 2_047] {
        let changed: u32 = reference.iter().zip(seed(late)).map(|(a, b)| (a ^ b).count_ones()).sum();
        // Half of 256 bits, give or take six standard deviations of 8.
        assert!((80..=176).contains(&changed), "{changed} bits changed at call {late}");
    }
}
