//! Files that are written: whole ones, so that nobody ever sees a part of one under its name.
//!
//! A [`Directory`] is a handle, like an open file: what is done by it happens in that very directory, whatever its path
//! leads to meanwhile. So what was checked of it stays true ([`Directory::open_private`]).
//!
//! [`Directory::replace`] writes a temporary file beside the final one and renames it. If that is cut short (no room, the task
//! is killed), the temporary file is removed; after a power failure or a `kill -9` one may stay behind, which
//! [`is_temporary`] tells from others.

use alloc::format;
use alloc::string::{String, ToString};
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;

pub use crate::platform_files::{
    Directory, cache_defaults, compiler_identity, entries, same_file, wall_clock, write_file,
};

/// An entry of a directory that is a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileStatus {
    /// Its name in the directory.
    pub name: String,
    /// Its length in bytes.
    pub len: u64,
    /// When its content last changed, or it was last touched: since the Unix epoch.
    pub modified: Duration,
}

/// Something in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name in the directory.
    pub name: String,
    /// Whether it is a directory, and not a link to one.
    pub is_directory: bool,
}

/// Where compiled modules are kept unless somebody says otherwise, and how much of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheDefaults {
    /// The directory. It need not exist. `None` if the system knows of no place.
    pub directory: Option<String>,
    /// The most bytes that all files in it may have.
    pub total_size: u64,
}

const TEMPORARY_PREFIX: &str = ".wasm-";
const TEMPORARY_SUFFIX: &str = ".tmp";

/// Whether a file of this name is one that [`Directory::replace`] has not finished yet, or never will.
pub fn is_temporary(name: &str) -> bool {
    name.starts_with(TEMPORARY_PREFIX) && name.ends_with(TEMPORARY_SUFFIX)
}

/// A name for a temporary file that nobody else is likely to use; who makes the file must make sure. `process` tells programs apart
/// that do not share this crate.
pub(crate) fn temporary_name(process: u32) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{TEMPORARY_PREFIX}{process}-{number}{TEMPORARY_SUFFIX}")
}

/// How often a name for a temporary file is tried before we give up: more than stale files can be in the way.
pub(crate) const TEMPORARY_NAMES: usize = 1000;

/// What to say when even these were not enough.
pub(crate) fn no_temporary_name() -> String {
    "no name is left for a temporary file; remove the files .wasm-*.tmp".to_string()
}
