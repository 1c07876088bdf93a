//! Whose compiled modules this system loads, and with which key it signs its own.
//!
//! What keys and signatures are is defined in [`wasm_artifact::sign`]; here is where they are:
//!
//! | | trusted | what it compiles is signed with |
//! |---|---|---|
//! | Theseus | the keys in the boot archive, as it was when the machine started; and its own | a key made at boot, in memory only |
//! | Linux | `trusted.keys` in the developer's key directory | `signing.key` there |
//!
//! The developer's key directory is `$WASM_KEYS`, or else `$XDG_CONFIG_HOME/wasm_run` or `~/.config/wasm_run`.
//!
//! # Invariants
//! - A key in a file of Theseus is trusted only if somebody says so for one program. The tree of files is writable, so the trusted keys
//!   are read from the boot archive itself, which nobody can write to.
//! - No secret is printed, logged, or part of an error. On Linux a signing key that others may read is refused.
#![cfg_attr(target_os = "theseus", no_std)]

extern crate alloc;

use alloc::format;
use alloc::string::String;
use wasm_artifact::sign::KeyError;
pub use wasm_artifact::sign::{KeyId, PublicKey, SigningKey, TrustedKeys};

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
use linux as platform;

#[cfg(target_os = "theseus")]
mod theseus;
#[cfg(target_os = "theseus")]
use theseus as platform;

#[cfg(target_os = "linux")]
pub use linux::{MadeKeys, directory, make_keys};
pub use platform::{cache_secret, signing_key, trusted_keys};
#[cfg(target_os = "theseus")]
pub use theseus::{boot_public_key, image_keys};

/// The most bytes that are read of a key file: thousands of keys.
const MAX_KEY_FILE: usize = 1 << 20;

/// The text in a key file.
fn text<'t>(path: &str, content: &'t [u8]) -> Result<&'t str, String> {
    if content.len() > MAX_KEY_FILE {
        return Err(format!("{path}: too large for a key file; give the right one"));
    }
    core::str::from_utf8(content).map_err(|_| format!("{path}: this is no key file; give the right one"))
}

fn failed(path: &str) -> impl Fn(KeyError) -> String {
    move |error| format!("{path}: {error}")
}

/// The keys in a file of trusted keys.
///
/// # Errors
/// Says in one line why there are none.
pub fn read_trusted_keys(path: &str) -> Result<TrustedKeys, String> {
    let content = wasm_platform::read_file(path)
        .map_err(|reason| format!("{path}: {reason}; give a file of public keys"))?;
    TrustedKeys::parse(text(path, &content)?).map_err(failed(path))
}

/// The key in the file of a signing key.
///
/// # Errors
/// Says in one line why there is none.
pub fn read_signing_key(path: &str) -> Result<SigningKey, String> {
    #[cfg(target_os = "linux")]
    linux::check_that_it_is_private(path)?;
    let content = wasm_platform::read_file(path)
        .map_err(|reason| format!("{path}: {reason}; give the file of a signing key"))?;
    SigningKey::parse(text(path, &content)?).map_err(failed(path))
}

#[cfg(all(test, target_os = "linux"))]
mod tests;
