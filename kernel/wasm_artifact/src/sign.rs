//! Who made an artifact: keys, and signatures by them.
//!
//! An artifact is machine code that runs with the host's rights, so it is worth as much as whoever made it. That is shown by an
//! Ed25519 signature in the file's [seal](crate#the-seal). Nothing here knows where keys are kept: programs and systems do.
//!
//! What is signed is [`DOMAIN`] and the file's hash, so a key that is used for other things as well cannot be made to sign an artifact
//! by them. Signing is constant-time and deterministic: the same key gives the same bytes for the same file. Verifying accepts one
//! encoding of each value only: a signature cannot be turned into another one that is accepted as well, and keys of small order,
//! for which signatures can be made up, are no [`PublicKey`].
//!
//! # Key files
//! Text, a key a line; empty lines and what begins with `#` do not count:
//!
//! ```text
//! ed25519 PUBLIC-KEY KEY-ID [whose it is]      trusted keys: any number of lines
//! ed25519-secret SEED KEY-ID                   a signing key: one line
//! ```
//! in hexadecimal. The [`KeyId`] is there so that damage shows: every seed is a key, though perhaps not the one that was meant.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use ed25519_compact::{KeyPair, Seed, Signature};

/// What precedes the hash in what is signed. Begins like no other message that a key of this kind would sign.
pub const DOMAIN: &[u8] = b"WebAssembly artifact (.cwasm), signature 1\0";

/// Where an image has the public keys that it trusts: the name of a file in the boot archive.
pub const TRUSTED_KEYS_FILE: &str = "keys/trusted.keys";

/// Bytes of a public key.
pub const PUBLIC_KEY_SIZE: usize = 32;
/// Bytes of a signature.
pub const SIGNATURE_SIZE: usize = 64;
/// Bytes of what a signing key is made from.
pub const SEED_SIZE: usize = 32;

/// What lines of public keys begin with.
const PUBLIC_WORD: &str = "ed25519";
/// What the line of a signing key begins with.
const SECRET_WORD: &str = "ed25519-secret";

/// A key's name: the first bytes of the BLAKE3 hash of the public key, in hexadecimal. Tells keys apart for people; what is
/// compared are whole keys.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct KeyId([u8; 8]);

impl KeyId {
    /// The name of these bytes, whether they are a key or not.
    pub fn of(public_key: &[u8; PUBLIC_KEY_SIZE]) -> KeyId {
        let hash = blake3::hash(public_key);
        let mut id = [0; 8];
        id.copy_from_slice(&hash.as_bytes()[..8]);
        KeyId(id)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(&self.0, f)
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a text is no key file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyError {
    /// This line is none of a key file.
    Line(usize),
    /// The key in this line is not the one that its name says, or no key at all.
    Damaged(usize),
    /// There is no key in it.
    Empty,
    /// There is more than one signing key in it.
    Several,
    /// It has public keys where a signing key is wanted.
    PublicForSecret,
    /// It has a signing key where public keys are wanted.
    SecretForPublic,
    /// There is no memory for the keys.
    OutOfMemory,
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyError::Line(line) => write!(f, "line {line} is no key; correct or remove it"),
            KeyError::Damaged(line) => {
                write!(
                    f,
                    "the key in line {line} is damaged; copy the file again, or remove it and make new keys"
                )
            }
            KeyError::Empty => f.write_str("there is no key in it; make new keys"),
            KeyError::Several => f.write_str("there are several signing keys in it; keep one"),
            KeyError::PublicForSecret => {
                f.write_str("its keys are public ones, with which nothing can be signed; give a signing key")
            }
            KeyError::SecretForPublic => {
                f.write_str("its key is a secret one, which belongs nowhere else; give a file of public keys")
            }
            KeyError::OutOfMemory => f.write_str("not enough memory for its keys; free some"),
        }
    }
}

impl core::error::Error for KeyError {}

/// What verifies signatures of one signer.
///
/// Holding one proves that it is a point in its only encoding and of large order.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey([u8; PUBLIC_KEY_SIZE]);

impl PublicKey {
    /// The key that has these bytes; `None` if none has.
    pub fn from_bytes(bytes: [u8; PUBLIC_KEY_SIZE]) -> Option<PublicKey> {
        ed25519_compact::PublicKey::new(bytes).validate().ok()?;
        Some(PublicKey(bytes))
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8; PUBLIC_KEY_SIZE] {
        &self.0
    }

    /// Its name.
    pub fn id(&self) -> KeyId {
        KeyId::of(&self.0)
    }

    /// Whether `signature` was made by its signer for the file with this hash.
    pub(crate) fn verifies(&self, hash: &[u8; 32], signature: &[u8; SIGNATURE_SIZE]) -> bool {
        verifies(&self.0, hash, signature)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.id())
    }
}

/// The line that it is in a file of trusted keys.
impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PUBLIC_WORD} ")?;
        write_hex(&self.0, f)?;
        write!(f, " {}", self.id())
    }
}

/// Whether `signature` is one of the key that these bytes are, for the file with this hash. Never, if they are no key.
pub(crate) fn verifies(
    public_key: &[u8; PUBLIC_KEY_SIZE],
    hash: &[u8; 32],
    signature: &[u8; SIGNATURE_SIZE],
) -> bool {
    let key = ed25519_compact::PublicKey::new(*public_key);
    key.verify(message(hash), &Signature::new(*signature)).is_ok()
}

const MESSAGE_SIZE: usize = DOMAIN.len() + 32;

/// What is signed.
fn message(hash: &[u8; 32]) -> [u8; MESSAGE_SIZE] {
    let mut message = [0; MESSAGE_SIZE];
    message[..DOMAIN.len()].copy_from_slice(DOMAIN);
    message[DOMAIN.len()..].copy_from_slice(hash);
    message
}

/// What makes signatures. It is wiped when dropped, and never shown.
#[derive(Clone)]
pub struct SigningKey(KeyPair);

impl SigningKey {
    /// The key that comes of this seed, which must have been chosen at random. `None` if it is all zeros, which no random seed is.
    pub fn from_seed(seed: [u8; SEED_SIZE]) -> Option<SigningKey> {
        KeyPair::try_from_seed(Seed::new(seed)).ok().map(SigningKey)
    }

    /// Reads a key file.
    ///
    /// # Errors
    /// Says what is wrong with the text.
    pub fn parse(text: &str) -> Result<SigningKey, KeyError> {
        let mut found = None;
        for (number, line) in lines(text) {
            let mut words = line.split_ascii_whitespace();
            match words.next() {
                Some(SECRET_WORD) => {}
                Some(PUBLIC_WORD) => return Err(KeyError::PublicForSecret),
                _ => return Err(KeyError::Line(number)),
            }
            let (Some(seed), Some(id), None) = (words.next(), words.next(), words.next()) else {
                return Err(KeyError::Line(number));
            };
            let key = from_hex(seed).and_then(SigningKey::from_seed).ok_or(KeyError::Damaged(number))?;
            if from_hex(id) != Some(key.public_key().id().0) {
                return Err(KeyError::Damaged(number));
            }
            if found.replace(key).is_some() {
                return Err(KeyError::Several);
            }
        }
        found.ok_or(KeyError::Empty)
    }

    /// The line that it is in a key file. It is the secret.
    pub fn secret_line(&self) -> String {
        alloc::format!("{SECRET_WORD} {} {}", Hex(&*self.0.sk.seed()), self.public_key().id())
    }

    /// What verifies its signatures.
    pub fn public_key(&self) -> PublicKey {
        PublicKey(*self.0.pk)
    }

    pub(crate) fn sign(&self, hash: &[u8; 32]) -> [u8; SIGNATURE_SIZE] {
        *self.0.sk.sign(message(hash), None)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.public_key().id())
    }
}

/// The keys of those whose artifacts are loaded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedKeys(Vec<PublicKey>);

impl TrustedKeys {
    /// No key.
    pub const fn new() -> TrustedKeys {
        TrustedKeys(Vec::new())
    }

    /// Reads a file of trusted keys.
    ///
    /// # Errors
    /// Says what is wrong with the text. One without keys is none.
    pub fn parse(text: &str) -> Result<TrustedKeys, KeyError> {
        let mut keys = TrustedKeys::new();
        for (number, line) in lines(text) {
            let mut words = line.split_ascii_whitespace();
            match words.next() {
                Some(PUBLIC_WORD) => {}
                Some(SECRET_WORD) => return Err(KeyError::SecretForPublic),
                _ => return Err(KeyError::Line(number)),
            }
            let (Some(key), Some(id)) = (words.next(), words.next()) else {
                return Err(KeyError::Line(number));
            };
            let key = from_hex(key).and_then(PublicKey::from_bytes).ok_or(KeyError::Damaged(number))?;
            if from_hex(id) != Some(key.id().0) {
                return Err(KeyError::Damaged(number));
            }
            keys.add(key)?;
        }
        if keys.0.is_empty() { Err(KeyError::Empty) } else { Ok(keys) }
    }

    /// Adds a key, unless it is there.
    ///
    /// # Errors
    /// Fails if there is no memory for it.
    pub fn add(&mut self, key: PublicKey) -> Result<(), KeyError> {
        if !self.0.contains(&key) {
            self.0.try_reserve(1).map_err(|_| KeyError::OutOfMemory)?;
            self.0.push(key);
        }
        Ok(())
    }

    /// Adds all keys of `other`.
    ///
    /// # Errors
    /// Fails if there is no memory for them.
    pub fn add_all(&mut self, other: &TrustedKeys) -> Result<(), KeyError> {
        other.0.iter().try_for_each(|key| self.add(*key))
    }

    /// Whether this is one of them.
    pub fn contains(&self, public_key: &[u8; PUBLIC_KEY_SIZE]) -> bool {
        self.0.iter().any(|key| key.0 == *public_key)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &PublicKey> {
        self.0.iter()
    }
}

/// The lines that count, with their numbers, from 1.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let counts = |(_, line): &(usize, &str)| !line.is_empty() && !line.starts_with('#');
    text.lines().enumerate().map(|(number, line)| (number + 1, line.trim())).filter(counts)
}

struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(self.0, f)
    }
}

fn write_hex(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

/// The bytes that a text is in hexadecimal, if they are so many.
fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |at: usize| char::from(pair[at]).to_digit(16).map(|digit| digit as u8);
        *byte = digit(0)? << 4 | digit(1)?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests;
