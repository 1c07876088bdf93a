//! Random secrets that are made at boot and gone when the machine is off.
//!
//! With them the system recognises what it made itself: code that it compiled, entries that it put into a cache. They are made by
//! the kernel's generator and stay in memory, in this crate alone: it belongs to `captain`, so it is never unloaded, and the secrets
//! outlive the crates that use them, which come and go.
//!
//! # Who can read them
//! The kernel has one address space, so no page table keeps anybody from these bytes. What does is the language: the variable is
//! private, and no safe code gets at it but by [`secret`]. Crates of the kernel are trusted with it as with everything else; code that
//! is not trusted is WebAssembly, whose every access is confined to its own memories, and which is given no host function that
//! leads here. No file, log line or command shows a secret.
//!
//! # Invariants
//! - A secret is the same from its first use until the machine is off, and no two purposes have the same.
#![cfg_attr(not(test), no_std)]

use spin::Once;

/// What a secret is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Signing what was compiled: the seed of a key.
    Signing,
    /// Recognising entries of the cache of compiled modules: the key of a keyed hash.
    Cache,
}

/// One secret per [`Purpose`].
static SECRETS: Once<[[u8; 32]; 2]> = Once::new();

fn secrets() -> &'static [[u8; 32]; 2] {
    SECRETS.call_once(|| {
        let mut secrets = [[0; 32]; 2];
        secrets.iter_mut().for_each(|secret| random::fill_bytes(secret));
        secrets
    })
}

/// Makes the secrets, if that has not been done. Otherwise their first use would.
pub fn init() {
    secrets();
}

/// The secret for this purpose.
pub fn secret(purpose: Purpose) -> [u8; 32] {
    secrets()[purpose as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_purpose_has_its_own_for_ever() {
        let (signing, cache) = (secret(Purpose::Signing), secret(Purpose::Cache));
        assert!(signing != cache && signing != [0; 32] && cache != [0; 32]);
        init();
        assert_eq!((secret(Purpose::Signing), secret(Purpose::Cache)), (signing, cache));
    }
}
