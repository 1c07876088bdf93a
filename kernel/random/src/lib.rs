//! The kernel's cryptographically secure random numbers.
//!
//! One generator for all: ChaCha with 20 rounds, seeded with 256 bits from the best source there is:
//! 1. RDSEED, the processor's entropy source,
//! 2. RDRAND, the processor's generator that is seeded by that source,
//! 3. the jitter of the time stamp counter, if the processor has neither. That is weak, and logged as such.
//!
//! The generator is reseeded after every MiB. A new seed is the XOR of fresh entropy and of the generator's own output, so
//! it is never worse than going on would have been; and numbers given out before cannot be computed from the new state.
//!
//! # Invariants
//! - No number is given out before the generator was seeded; the first use does so.
//! - The generator is locked for at most 1 KiB of output at a time. It is not to be used in interrupt handlers.
#![cfg_attr(not(test), no_std)]

use chacha20::ChaCha20Rng;
use core::convert::Infallible;
use rand_core::{Rng, SeedableRng, TryCryptoRng, TryRng};
use sync_preemption::PreemptionSafeMutex;

mod entropy;

pub use entropy::EntropySource;

/// How many bytes are given out before the generator is seeded anew.
const RESEED_INTERVAL: usize = 1 << 20;
/// How many bytes are made with the generator locked.
const BATCH: usize = 1024;

struct Generator {
    cipher: ChaCha20Rng,
    /// How many more bytes may be given out before the next seed.
    left: usize,
}

impl Generator {
    fn new() -> Self {
        let (seed, source) = entropy::seed();
        match source {
            EntropySource::Jitter => log::warn!(
                "random numbers are seeded from the time stamp counter only: do not rely on secrets made here"
            ),
            source => log::info!("random numbers are seeded by {source:?}"),
        }
        Generator { cipher: ChaCha20Rng::from_seed(seed), left: RESEED_INTERVAL }
    }

    fn fill(&mut self, bytes: &mut [u8]) {
        if self.left < bytes.len() {
            self.reseed(entropy::seed().0);
        }
        self.left -= bytes.len();
        self.cipher.fill_bytes(bytes);
    }

    fn reseed(&mut self, fresh: [u8; 32]) {
        let mut seed = [0; 32];
        self.cipher.fill_bytes(&mut seed);
        seed.iter_mut().zip(fresh).for_each(|(byte, fresh)| *byte ^= fresh);
        *self = Generator { cipher: ChaCha20Rng::from_seed(seed), left: RESEED_INTERVAL };
    }
}

static GENERATOR: PreemptionSafeMutex<Option<Generator>> = PreemptionSafeMutex::new(None);

fn with_generator<R>(f: impl FnOnce(&mut Generator) -> R) -> R {
    let mut generator = GENERATOR.lock();
    f(generator.get_or_insert_with(Generator::new))
}

/// Seeds the generator, if that has not been done. Otherwise its first use would.
pub fn init() {
    with_generator(|_| ());
}

/// A random number, all 2³² equally likely.
pub fn next_u32() -> u32 {
    let mut bytes = [0; 4];
    fill_bytes(&mut bytes);
    u32::from_le_bytes(bytes)
}

/// A random number, all 2⁶⁴ equally likely.
pub fn next_u64() -> u64 {
    let mut bytes = [0; 8];
    fill_bytes(&mut bytes);
    u64::from_le_bytes(bytes)
}

/// Fills a buffer with random bytes.
pub fn fill_bytes(bytes: &mut [u8]) {
    for batch in bytes.chunks_mut(BATCH) {
        with_generator(|generator| generator.fill(batch));
    }
}

/// Makes a generator of one's own, of any kind, seeded by the kernel's.
///
/// # Errors
/// None.
pub fn init_rng<T: SeedableRng>() -> Result<T, Infallible> {
    Ok(T::from_rng(&mut KernelRng))
}

/// The kernel's generator with the traits of `rand_core`.
#[derive(Copy, Clone, Debug, Default)]
pub struct KernelRng;

impl TryRng for KernelRng {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(next_u32())
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(next_u64())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        fill_bytes(bytes);
        Ok(())
    }
}

impl TryCryptoRng for KernelRng {}

#[cfg(test)]
mod tests;
