//! The keys of Theseus: see the crate's page.

use crate::{PublicKey, SigningKey, TrustedKeys, failed, text};
use alloc::string::{String, ToString};
use boot_secret::Purpose;
use wasm_artifact::sign::TRUSTED_KEYS_FILE;

/// The key with which this system signs what it compiles.
///
/// # Errors
/// None that could be expected.
pub fn signing_key() -> Result<SigningKey, String> {
    let key = SigningKey::from_seed(boot_secret::secret(Purpose::Signing));
    key.ok_or_else(|| "the secret made at boot is no key; boot again".to_string())
}

/// The public key of [`signing_key`].
///
/// # Errors
/// None that could be expected.
pub fn boot_public_key() -> Result<PublicKey, String> {
    signing_key().map(|key| key.public_key())
}

/// The keys that the image was built with. There may be none.
///
/// # Errors
/// Says what is wrong with them.
pub fn image_keys() -> Result<TrustedKeys, String> {
    match bootloader_modules::boot_file(TRUSTED_KEYS_FILE) {
        Some(content) => {
            TrustedKeys::parse(text(TRUSTED_KEYS_FILE, content)?).map_err(failed(TRUSTED_KEYS_FILE))
        }
        None => Ok(TrustedKeys::new()),
    }
}

/// All keys that this system trusts.
///
/// # Errors
/// Says what is wrong with those of the image.
pub fn trusted_keys() -> Result<TrustedKeys, String> {
    let mut keys = image_keys()?;
    keys.add(boot_public_key()?).map_err(|error| error.to_string())?;
    Ok(keys)
}

/// What entries of the cache are recognised by.
pub fn cache_secret() -> Option<[u8; 32]> {
    Some(boot_secret::secret(Purpose::Cache))
}
