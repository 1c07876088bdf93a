//! Random numbers for guests.

use chacha20::ChaCha20Rng;
use core::convert::Infallible;
use rand_core::{Rng, SeedableRng, TryCryptoRng, TryRng, utils};

/// How many bytes are made ahead: four blocks of the cipher are made at once.
const AHEAD: usize = 256;

/// A generator of a guest's own, seeded by the system's: so no lock and no system call is between a guest and a random number.
///
/// It has bytes made ahead, for guests ask for a few at a time, which the cipher's own buffer gives out word by word.
pub(crate) struct GuestRandom {
    cipher: ChaCha20Rng,
    ahead: [u8; AHEAD],
    /// How many of these are given out.
    used: usize,
}

impl GuestRandom {
    pub(crate) fn new() -> Self {
        let mut seed = [0; 32];
        fill_from_system(&mut seed);
        Self::from_seed(seed)
    }

    fn from_seed(seed: [u8; 32]) -> Self {
        Self { cipher: ChaCha20Rng::from_seed(seed), ahead: [0; AHEAD], used: AHEAD }
    }

    /// Fills `bytes` where not as many are left.
    #[cold]
    fn fill_anew(&mut self, bytes: &mut [u8]) {
        if bytes.len() >= AHEAD {
            return self.cipher.fill_bytes(bytes);
        }
        self.cipher.fill_bytes(&mut self.ahead);
        bytes.copy_from_slice(&self.ahead[..bytes.len()]);
        self.used = bytes.len();
    }
}

impl TryRng for GuestRandom {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        utils::next_word_via_fill(self)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        utils::next_word_via_fill(self)
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        let end = self.used + bytes.len();
        match self.ahead.get(self.used..end) {
            Some(next) => {
                bytes.copy_from_slice(next);
                self.used = end;
            }
            None => self.fill_anew(bytes),
        }
        Ok(())
    }
}

impl TryCryptoRng for GuestRandom {}

/// The kernel's random numbers.
#[cfg(target_os = "theseus")]
fn fill_from_system(bytes: &mut [u8]) {
    ::random::fill_bytes(bytes);
}

/// The operating system's random numbers.
#[cfg(target_os = "linux")]
fn fill_from_system(bytes: &mut [u8]) {
    use rustix::rand::{GetRandomFlags, getrandom};
    let mut done = 0;
    while done < bytes.len() {
        match getrandom(&mut bytes[done..], GetRandomFlags::empty()) {
            Ok(count) => done += count,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => panic!("the operating system has no random numbers: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// However they are asked for, they are the cipher's, and no byte is given out twice.
    #[test]
    fn bytes_come_once() {
        let seed = [7; 32];
        let mut stream = vec![0; 1 << 16];
        ChaCha20Rng::from_seed(seed).fill_bytes(&mut stream);
        let mut random = GuestRandom::from_seed(seed);
        let mut given = vec![false; stream.len()];
        // None is so short that it is found elsewhere.
        for len in [8, 244, 10, 255, 11, 256, 7, 300, 9, 200, 100, 1000, 32, 256, 224, 4096, 6] {
            let mut bytes = vec![0; len];
            random.fill_bytes(&mut bytes);
            let at = stream.windows(len).position(|window| window == bytes).expect("of the cipher's");
            let places = &mut given[at..at + len];
            assert!(!places.contains(&true), "{len} bytes at {at}");
            places.fill(true);
        }
        random.fill_bytes(&mut []);
    }

    #[test]
    fn generators_differ() {
        let numbers: Vec<u64> = (0..100).map(|_| GuestRandom::new().next_u64()).collect();
        assert!((0..100).all(|a| !numbers[..a].contains(&numbers[a])));
    }
}
