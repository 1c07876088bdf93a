//! Whose compiled modules are loaded, and who signs those made here.
//!
//! Wasmtime leaves trust to whoever calls [`Module::deserialize`]: an `unsafe` function, whose caller vouches for the bytes. That is
//! kept, as is the signature; but an engine can be told to check instead, and in the kernel it does so unless told otherwise:
//!
//! | [`Config::trusted_keys`] | [`Module::deserialize`] loads |
//! |---|---|
//! | `Some(keys)` | what was signed with one of them |
//! | `None` | what the caller vouches for |
//! | not called | in Theseus, as if with [`system_trusted_keys`]; on Linux, as if with `None` |
//!
//! [`Module::new`] and its like never ask: what they load the compiler has just made, or it comes from the [cache](crate::Cache), whose
//! entries prove their own origin.

use crate::module::{FilePath, Module};
use crate::{Config, Engine, Error, Result, format_err};
#[cfg(target_os = "theseus")]
use alloc::string::String;
#[cfg(target_os = "theseus")]
use spin::Once;
use wasm_artifact::sign::{PUBLIC_KEY_SIZE, SigningKey, TrustedKeys};
use wasm_artifact::{Artifact, Trust};

/// Whose artifacts are loaded.
#[derive(Clone, Debug)]
pub(crate) enum Trusted {
    /// Those that this system trusts.
    #[cfg(target_os = "theseus")]
    System,
    /// Theirs.
    Keys(TrustedKeys),
    /// Those that the caller vouches for.
    Vouched,
}

/// Who signs artifacts.
#[derive(Clone, Debug)]
pub(crate) enum Signer {
    /// This system.
    #[cfg(target_os = "theseus")]
    System,
    /// This key.
    Key(SigningKey),
    /// Nobody.
    Nobody,
}

impl Trusted {
    #[cfg(target_os = "theseus")]
    pub(crate) const DEFAULT: Trusted = Trusted::System;
    #[cfg(not(target_os = "theseus"))]
    pub(crate) const DEFAULT: Trusted = Trusted::Vouched;
}

impl Signer {
    #[cfg(target_os = "theseus")]
    pub(crate) const DEFAULT: Signer = Signer::System;
    #[cfg(not(target_os = "theseus"))]
    pub(crate) const DEFAULT: Signer = Signer::Nobody;
}

/// What an engine has found out about the system's keys, when it had to.
#[derive(Default)]
pub(crate) struct SystemKeys {
    #[cfg(target_os = "theseus")]
    image: Once<TrustedKeys>,
    #[cfg(target_os = "theseus")]
    boot: Once<wasm_artifact::sign::PublicKey>,
}

#[cfg(target_os = "theseus")]
impl SystemKeys {
    /// Reads the image's keys, unless that was done.
    fn read(&self) -> Result<&TrustedKeys> {
        if let Some(keys) = self.image.get() {
            return Ok(keys);
        }
        let keys = wasm_keys::image_keys().map_err(damaged)?;
        Ok(self.image.call_once(|| keys))
    }

    /// Whether the system trusts a key. Its own is computed when none of the image's is it.
    fn contains(&self, image: &TrustedKeys, key: &[u8; PUBLIC_KEY_SIZE]) -> bool {
        if image.contains(key) {
            return true;
        }
        let Ok(boot) = self.boot.try_call_once(wasm_keys::boot_public_key) else { return false };
        boot.as_bytes() == key
    }
}

#[cfg(target_os = "theseus")]
fn damaged(reason: String) -> Error {
    Error::msg(reason).context("the keys that this system trusts cannot be used")
}

impl Config {
    /// Whose artifacts [`Module::deserialize`] and its like load: those that were signed with one of these keys. With `None`, which is
    /// how Wasmtime does it, those that the caller vouches for. By default, in Theseus the [`system_trusted_keys`], on Linux `None`.
    pub fn trusted_keys(&mut self, keys: Option<TrustedKeys>) -> &mut Self {
        self.trusted = keys.map_or(Trusted::Vouched, Trusted::Keys);
        self
    }

    /// The key that signs what [`Engine::precompile_module`], [`Module::serialize`] and their like give; with `None`, it is not
    /// signed. By default, in Theseus a key that was made at boot and never leaves memory, on Linux `None`.
    pub fn signing_key(&mut self, key: Option<SigningKey>) -> &mut Self {
        self.signer = key.map_or(Signer::Nobody, Signer::Key);
        self
    }
}

/// The keys that this system trusts: in Theseus those that the image was built with, and its own; on Linux those in the
/// developer's key directory.
///
/// # Errors
/// Says why they cannot be read.
pub fn system_trusted_keys() -> Result<TrustedKeys> {
    wasm_keys::trusted_keys().map_err(Error::msg)
}

/// The key with which this system signs what is compiled on it, unless it is told another one: in Theseus one that was made at
/// boot, on Linux the one in the developer's key directory.
///
/// # Errors
/// Says why it cannot be read.
pub fn system_signing_key() -> Result<SigningKey> {
    wasm_keys::signing_key().map_err(Error::msg)
}

fn path_text(path: &FilePath) -> Result<&str> {
    crate::cache::path_text(path).ok_or_else(|| format_err!("the file name is not UTF-8; rename the file"))
}

/// The keys in a file of trusted keys.
///
/// # Errors
/// Says why there are none.
pub fn read_trusted_keys(path: impl AsRef<FilePath>) -> Result<TrustedKeys> {
    wasm_keys::read_trusted_keys(path_text(path.as_ref())?).map_err(Error::msg)
}

/// The key in the file of a signing key.
///
/// # Errors
/// Says why there is none.
pub fn read_signing_key(path: impl AsRef<FilePath>) -> Result<SigningKey> {
    wasm_keys::read_signing_key(path_text(path.as_ref())?).map_err(Error::msg)
}

impl Engine {
    /// Checks and decodes an artifact from outside.
    pub(crate) fn parse_foreign(&self, bytes: &[u8]) -> Result<Artifact> {
        let parse = |is_trusted: &dyn Fn(&[u8; PUBLIC_KEY_SIZE]) -> bool| {
            Ok(Artifact::parse(bytes, &self.host(), Trust::SignedBy(is_trusted))?)
        };
        match &self.config().trusted {
            #[cfg(target_os = "theseus")]
            Trusted::System => {
                let image = self.system_keys().read()?;
                parse(&|key| self.system_keys().contains(image, key))
            }
            Trusted::Keys(keys) => parse(&|key| keys.contains(key)),
            Trusted::Vouched => Ok(Artifact::parse(bytes, &self.host(), Trust::Anybody)?),
        }
    }

    /// Signs an artifact that the compiler made, if this engine signs.
    pub(crate) fn sign(&self, artifact: &mut [u8]) -> Result<()> {
        match &self.config().signer {
            #[cfg(target_os = "theseus")]
            Signer::System => wasm_artifact::elf::sign(artifact, &system_signing_key()?),
            Signer::Key(key) => wasm_artifact::elf::sign(artifact, key),
            Signer::Nobody => return Ok(()),
        };
        Ok(())
    }
}

impl Module {
    /// Signs a copy of its artifact, unless somebody has signed that.
    pub(crate) fn sign_copy(&self, copy: &mut [u8]) -> Result<()> {
        match wasm_artifact::Seal::of(copy) {
            Some(seal) if !seal.is_signed() => self.engine().sign(copy),
            _ => Ok(()),
        }
    }
}
