//! The keys of a developer's Linux: see the crate's page.

use crate::{SigningKey, TrustedKeys, read_signing_key, read_trusted_keys};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

const SIGNING_KEY: &str = "signing.key";
const TRUSTED_KEYS: &str = "trusted.keys";

/// The permissions of a file that others than its owner have.
const OTHERS: u32 = 0o077;

/// Where the developer's keys are.
///
/// # Errors
/// Fails if the environment says nothing about it.
pub fn directory() -> Result<PathBuf, String> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let directory = variable("WASM_KEYS")
        .or_else(|| variable("XDG_CONFIG_HOME").map(|config| config.join("wasm_run")))
        .or_else(|| variable("HOME").map(|home| home.join(".config/wasm_run")));
    directory.ok_or_else(|| "no directory is known for keys; set WASM_KEYS or HOME".to_string())
}

/// The path of a file in the directory, if it is there.
fn existing(name: &str) -> Result<String, String> {
    let path = directory()?.join(name);
    let text =
        path.to_str().ok_or_else(|| format!("{}: this is not UTF-8; set WASM_KEYS", path.display()))?;
    if path.exists() {
        return Ok(text.to_string());
    }
    Err(format!("there is no key at {text}; make one with make keys or wasmc keys"))
}

/// The developer's signing key.
///
/// # Errors
/// Says in one line why there is none.
pub fn signing_key() -> Result<SigningKey, String> {
    read_signing_key(&existing(SIGNING_KEY)?)
}

/// The keys that the developer trusts.
///
/// # Errors
/// Says in one line why there are none.
pub fn trusted_keys() -> Result<TrustedKeys, String> {
    read_trusted_keys(&existing(TRUSTED_KEYS)?)
}

/// None: the cache is in a directory to which nobody else can write, and outlives programs.
pub fn cache_secret() -> Option<[u8; 32]> {
    None
}

/// Whether nobody but the user and its owner can read a file. One that is not there or is no file is as good as private.
pub(crate) fn check_that_it_is_private(path: &str) -> Result<(), String> {
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_file() && metadata.mode() & OTHERS != 0 => Err(format!(
            "{path}: others can read or write this key, mode {:o}; chmod 600 it, or make new keys",
            { metadata.mode() & 0o777 }
        )),
        _ => Ok(()),
    }
}

/// What [`make_keys`] did.
#[derive(Debug)]
pub struct MadeKeys {
    /// The signing key.
    pub key: SigningKey,
    /// Whether it is new.
    pub is_new: bool,
    /// The file of trusted keys.
    pub trusted: PathBuf,
}

/// Makes a signing key and a file of trusted keys with its public key in `directory`, unless they are there.
///
/// Programs that do so at the same time get the same key.
///
/// # Errors
/// Says in one line why that cannot be done, or what is wrong with the keys that are there.
pub fn make_keys(directory: &Path) -> Result<MadeKeys, String> {
    let failed = |path: &Path, reason: &dyn std::fmt::Display| {
        format!("{}: {reason}; set WASM_KEYS to a directory for keys", path.display())
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(|error| failed(directory, &error))?;
    let signing = directory.join(SIGNING_KEY);
    let mut is_new = false;
    if !signing.exists() {
        let mut seed = [0; 32];
        File::open("/dev/urandom")
            .and_then(|mut random| random.read_exact(&mut seed))
            .map_err(|error| format!("/dev/urandom: {error}; no key can be made without it"))?;
        let key =
            SigningKey::from_seed(seed).ok_or("/dev/urandom gives zeros; no key can be made of that")?;
        let text =
            format!("# Signs .cwasm files. Whoever has it can run code in your systems: keep it.\n{}\n", {
                key.secret_line()
            });
        is_new = create(&signing, 0o600, &text).map_err(|error| failed(&signing, &error))?;
    }
    let key = read_signing_key(&signing.to_string_lossy())?;
    let trusted = directory.join(TRUSTED_KEYS);
    if !trusted.exists() {
        let text = format!(
            "# Public keys of those whose .cwasm files are loaded, one a line. Images are built with all of them.\n{} made here\n",
            key.public_key()
        );
        create(&trusted, 0o644, &text).map_err(|error| failed(&trusted, &error))?;
    }
    read_trusted_keys(&trusted.to_string_lossy())?;
    Ok(MadeKeys { key, is_new, trusted })
}

/// Makes a file, as a whole or not at all. Returns whether it is the one: no, if somebody else was faster.
fn create(path: &Path, mode: u32, text: &str) -> std::io::Result<bool> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}.tmp", std::process::id()));
    let temporary = Path::new(&temporary);
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(temporary)
        .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
        // Unlike renaming, this never replaces a key.
        .and_then(|()| std::fs::hard_link(temporary, path));
    let _ = std::fs::remove_file(temporary);
    match written {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::AlreadyExists && path.exists() => Ok(false),
        Err(error) => Err(error),
    }
}
