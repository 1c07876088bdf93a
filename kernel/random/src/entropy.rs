//! Where seeds come from.

use chacha20::ChaCha20Rng;
use core::arch::x86_64::{__cpuid, __cpuid_count, _rdrand64_step, _rdseed64_step, _rdtsc, CpuidResult};
use rand_core::{Rng, SeedableRng};

/// What a seed was made from.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum EntropySource {
    /// The processor's entropy source.
    Rdseed,
    /// The processor's random number generator.
    Rdrand,
    /// The jitter of the time stamp counter.
    Jitter,
}

/// Makes a seed from the best source that works.
pub fn seed() -> ([u8; 32], EntropySource) {
    if has_rdseed()
        && let Some(seed) = from_words(rdseed)
    {
        return (seed, EntropySource::Rdseed);
    }
    if has_rdrand()
        && let Some(seed) = from_words(rdrand)
    {
        return (seed, EntropySource::Rdrand);
    }
    (jitter(timestamp), EntropySource::Jitter)
}

/// Makes a seed of four words; `None` if the source fails. Some processors return the same word for ever and call that
/// success, so four equal words are failure as well.
pub fn from_words(source: impl Fn() -> Option<u64>) -> Option<[u8; 32]> {
    let mut words = [0; 4];
    for word in &mut words {
        *word = source()?;
    }
    if words.iter().all(|word| *word == words[0]) {
        return None;
    }
    let mut seed = [0; 32];
    for (place, word) in seed.chunks_exact_mut(8).zip(words) {
        place.copy_from_slice(&word.to_le_bytes());
    }
    Some(seed)
}

/// Makes a seed from the differences between readings of a counter. Each contributes perhaps half a bit; 2,048 are taken.
/// The cipher itself mixes them: each round's key is the last one's output, changed by the next 32 differences.
pub fn jitter(counter: impl Fn() -> u64) -> [u8; 32] {
    const ROUNDS: usize = 64;
    let mut key = [0; 32];
    let mut last = counter();
    for round in 0..ROUNDS {
        for byte in &mut key {
            // Reading memory at places that depend on the key so far, so that caches have their say too.
            core::hint::black_box(core::hint::black_box(&[round; 64])[usize::from(*byte) % 64]);
            let now = counter();
            *byte ^= now.wrapping_sub(last) as u8;
            last = now;
        }
        ChaCha20Rng::from_seed(key).fill_bytes(&mut key);
        key[..8].iter_mut().zip(last.to_le_bytes()).for_each(|(byte, now)| *byte ^= now);
    }
    key
}

fn cpuid(leaf: u32) -> CpuidResult {
    // Newer compilers know that CPUID is always there on this architecture.
    #[allow(unused_unsafe, reason = "whether the intrinsic is unsafe depends on the compiler's version")]
    // SAFETY: every 64-bit processor has the instruction.
    unsafe {
        __cpuid(leaf)
    }
}

fn has_rdrand() -> bool {
    cpuid(1).ecx & (1 << 30) != 0
}

fn has_rdseed() -> bool {
    if cpuid(0).eax < 7 {
        return false;
    }
    #[allow(unused_unsafe, reason = "as in `cpuid`")]
    // SAFETY: as in `cpuid`.
    let leaf = unsafe { __cpuid_count(7, 0) };
    leaf.ebx & (1 << 18) != 0
}

/// Intel recommends ten attempts, and more only to see that the unit is broken.
const RDRAND_ATTEMPTS: usize = 10;
/// The entropy source may be drained by others for a while.
const RDSEED_ATTEMPTS: usize = 1000;

fn rdrand() -> Option<u64> {
    (0..RDRAND_ATTEMPTS).find_map(|_| {
        let mut word = 0;
        // SAFETY: called only if `has_rdrand`.
        (unsafe { _rdrand64_step(&mut word) } == 1).then_some(word)
    })
}

fn rdseed() -> Option<u64> {
    (0..RDSEED_ATTEMPTS).find_map(|_| {
        let mut word = 0;
        // SAFETY: called only if `has_rdseed`.
        let success = unsafe { _rdseed64_step(&mut word) } == 1;
        if !success {
            core::hint::spin_loop();
        }
        success.then_some(word)
    })
}

fn timestamp() -> u64 {
    // SAFETY: every 64-bit processor has the instruction, and the kernel runs where it is allowed.
    unsafe { _rdtsc() }
}
