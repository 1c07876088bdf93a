//! A cache of compiled modules, in files.
//!
//! [`Module::new`] and [`Module::from_file`] look here before they ask for the compiler, so that a module that was compiled before
//! costs no more than loading an artifact; the compiler is not even loaded. An entry is found by its *key*, the BLAKE3 hash of
//! everything that the artifact depends on: the module as it was given, text or binary, the version of the engine, which build of the
//! compiler it is, and the whole of [`Settings`].
//!
//! # Trust
//! An artifact is machine code: **what is found here becomes part of this program, which in a kernel is the kernel.** Hashes find
//! damage, not forgery. So entries must show that it was this engine that made them, from that very module:
//!
//! - In Theseus, where everybody can write to the directory, the digest of an entry is *keyed* with a secret that was made at boot and is
//!   in memory only. It covers the key of the entry and the hash of the artifact. An entry that somebody else put there, made of an entry
//!   for another module, or brought along from an earlier boot, counts as damaged. The artifact itself needs no signature, so
//!   a hit costs no more than hashing it once.
//! - On Linux the directory must belong to the user and be writable by nobody else ([`Directory::open_private`]), and is made so; the
//!   digest has no key. Who could write there could also write to the program itself.
//!
//! # Entries
//! One file each, named by the key in hexadecimal, with the artifact first, where it is page-aligned:
//!
//! ```text
//! the artifact
//! strings       source, target, CPU features, effort: each a u16 length and UTF-8
//! key           32 bytes
//! artifact      its own hash, 32 bytes; its length, u64
//! strings       their length, u32
//! digest        32 bytes: BLAKE3 of everything from the strings up to here, keyed if the system has a secret for it
//! magic         8 bytes
//! ```
//! All numbers are little-endian. An entry is used only if the magic, all lengths, the digest, the key and the artifact's hash are right and the
//! artifact passes every check that [`Module::deserialize`] makes but that of its signature; otherwise it counts as absent, and is replaced by what
//! is compiled then.
//!
//! # Invariants
//! - Nobody ever sees a part of an entry: it is written under another name and renamed. Tasks that compile the same module at
//!   the same time all finish, and the last one's entry stays.
//! - The cache never makes anything fail. Where it cannot be read or written (no room, no rights), modules are compiled as if
//!   there were none.
//! - It keeps to its size: what was not used for longest goes first. Temporary files that a program left behind when
//!   it was ended by force go after [`STALE`].

use crate::error::Context;
use crate::{Config, Engine, Error, FilePath, Module, Result};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt::{self, Write};
use core::sync::atomic::{AtomicUsize, Ordering};
use core::time::Duration;
use wasm_artifact::compile::Settings;
use wasm_artifact::elf::{ENGINE_VERSION, FORMAT_VERSION};
use wasm_artifact::{OptLevel, Seal, Trust};
use wasm_platform::files::{self, Directory};

/// What entries end with: a name, and the version of their own format.
const MAGIC: &[u8; 8] = b"wasmche\x02";

/// What the names of entries end with, after the key.
const EXTENSION: &str = ".cached";

/// Bytes of an entry after its strings.
const TAIL: usize = HASH + HASH + 8 + 4 + HASH + 8;

/// Bytes of a BLAKE3 hash.
const HASH: usize = 32;

/// The most bytes an entry has after its artifact.
const MAX_TRAILER: usize = 1024;

/// The most bytes of a source's name that are kept: its end, which tells most.
const MAX_SOURCE: usize = 200;

/// How many bytes are hashed before it is looked whether the task is to end.
const HASHED_AT_ONCE: usize = 1 << 20;

/// For how long a temporary file may be somebody's who still writes it.
const STALE: Duration = Duration::from_secs(3600);

/// Where a cache is and how large it may be.
#[derive(Debug, Clone)]
pub struct CacheConfig {
    directory: Option<String>,
    total_size: u64,
}

impl Default for CacheConfig {
    fn default() -> Self {
        let defaults = files::cache_defaults();
        Self { directory: defaults.directory, total_size: defaults.total_size }
    }
}

impl CacheConfig {
    /// The system's defaults. On Linux: `$XDG_CACHE_HOME/wasm_run` or `~/.cache/wasm_run`, 512 MiB. In Theseus: `/cache/wasm`, 64 MiB
    /// or an eighth of all memory, whichever is less.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the directory. It is created when there is something to put into it.
    pub fn with_directory(&mut self, directory: impl AsRef<FilePath>) -> &mut Self {
        self.directory = path_text(directory.as_ref()).map(String::from);
        self
    }

    /// Sets the most bytes that all entries may have. For the moment of adding one they may have more.
    pub fn with_files_total_size_soft_limit(&mut self, limit: u64) -> &mut Self {
        self.total_size = limit;
        self
    }

    /// The directory, if there is one.
    pub fn directory(&self) -> Option<&FilePath> {
        self.directory.as_deref().map(as_path)
    }

    /// The most bytes that all entries may have.
    pub fn files_total_size_soft_limit(&self) -> u64 {
        self.total_size
    }
}

/// A cache of compiled modules. Cheap to clone; a clone is the same cache.
#[derive(Debug, Clone)]
pub struct Cache(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    directory: String,
    total_size: u64,
    hits: AtomicUsize,
    misses: AtomicUsize,
}

/// An entry of a [`Cache`], as [`Cache::entries`] finds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheEntry {
    /// The hash by which it is found, in hexadecimal.
    pub key: String,
    /// Bytes of the file.
    pub size: u64,
    /// When it was last used: since the Unix epoch.
    pub last_used: Duration,
    /// What is known of it; `None` if the file is damaged.
    pub module: Option<CachedModule>,
}

/// What is known of a module in a [`Cache`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CachedModule {
    /// The file it was first compiled from, if that is known: its name as it was given, or the end of it if it is long.
    pub source: Option<String>,
    /// The system it was compiled for.
    pub target: String,
    /// The CPU features its code may use.
    pub cpu: String,
    /// How much effort went into the code: `-O0`, `-O2` or `-Os`.
    pub effort: String,
}

/// What [`Cache::clear`] removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cleared {
    /// How many entries.
    pub entries: usize,
    /// Bytes that they had.
    pub bytes: u64,
}

impl Config {
    /// The cache for what [`Module::new`] and [`Module::from_file`] compile; none by default. See [`Cache`].
    pub fn cache(&mut self, cache: Option<Cache>) -> &mut Self {
        self.cache = cache;
        self
    }
}

impl Cache {
    /// Makes a cache as `config` says. The directory need not exist.
    ///
    /// # Errors
    /// Fails if the system knows of no place and `config` names none, or others have power over the directory.
    pub fn new(config: CacheConfig) -> Result<Cache> {
        let directory = config
            .directory
            .context("no directory is known for the cache of compiled modules; set HOME or XDG_CACHE_HOME")?;
        let cache = Cache(Arc::new(Inner {
            directory,
            total_size: config.total_size,
            hits: AtomicUsize::new(0),
            misses: AtomicUsize::new(0),
        }));
        cache.open(false)?;
        Ok(cache)
    }

    /// The directory.
    pub fn directory(&self) -> &FilePath {
        as_path(&self.0.directory)
    }

    /// How many modules were found.
    pub fn cache_hits(&self) -> usize {
        self.0.hits.load(Ordering::Relaxed)
    }

    /// How many modules were not found.
    pub fn cache_misses(&self) -> usize {
        self.0.misses.load(Ordering::Relaxed)
    }

    /// All entries, those used last first.
    ///
    /// # Errors
    /// Fails if the directory cannot be read, or others have power over it.
    pub fn entries(&self) -> Result<Vec<CacheEntry>> {
        let Some(directory) = self.open(false)? else { return Ok(Vec::new()) };
        let mut entries = Vec::new();
        for file in directory.files().map_err(Error::msg)? {
            let Some(key) = Key::from_file_name(&file.name) else { continue };
            let end = directory.read_end(&file.name, MAX_TRAILER).unwrap_or_default();
            let trailer = Trailer::parse(&end);
            let trailer = trailer.filter(|found| found.key == key && found.fits(file.len));
            let module = trailer.map(|trailer| trailer.module);
            let key = key.to_string();
            entries.push(CacheEntry { key, size: file.len, last_used: file.modified, module });
        }
        entries.sort_by(|a, b| (b.last_used, &a.key).cmp(&(a.last_used, &b.key)));
        Ok(entries)
    }

    /// Removes all entries, and what was left of unfinished ones.
    ///
    /// # Errors
    /// Fails if the directory cannot be read, a file cannot be removed, or others have power over the directory.
    pub fn clear(&self) -> Result<Cleared> {
        let mut cleared = Cleared::default();
        let Some(directory) = self.open(false)? else { return Ok(cleared) };
        for file in directory.files().map_err(Error::msg)? {
            if Key::from_file_name(&file.name).is_some() {
                directory.remove(&file.name).map_err(|reason| {
                    Error::msg(reason).context(format!("failed to remove {}", file.name))
                })?;
                cleared.entries += 1;
                cleared.bytes += file.len;
            } else if files::is_temporary(&file.name) {
                // Its writer may have just renamed it: then there is nothing to remove.
                let _ = directory.remove(&file.name);
            }
        }
        Ok(cleared)
    }

    fn open(&self, create: bool) -> Result<Option<Directory>> {
        let directory = &self.0.directory;
        Directory::open_private(directory, create).map_err(|reason| {
            Error::msg(reason).context(format!("the directory {directory} cannot be used as a cache"))
        })
    }

    /// The module `input`: from the cache, or else compiled by `compile` and then kept in the cache. `source` is where it is from, if
    /// that is known.
    ///
    /// # Errors
    /// Those of `compile`, and of [`Module::deserialize`] of what it made.
    pub(crate) fn module(
        &self,
        engine: &Engine,
        settings: &Settings,
        input: &[u8],
        source: Option<&str>,
        compile: impl FnOnce() -> Result<Vec<u8>>,
    ) -> Result<Module> {
        let key = Key::new(settings, input);
        if let Some(module) = key.as_ref().and_then(|key| self.load(engine, key)) {
            self.0.hits.fetch_add(1, Ordering::Relaxed);
            return Ok(module);
        }
        self.0.misses.fetch_add(1, Ordering::Relaxed);
        let artifact = compile()?;
        // SAFETY: the compiler has just made it.
        let module = unsafe { Module::load_own(engine, &artifact, Trust::JustCompiled)? };
        if let Some(key) = key {
            // Without a cache everything works, and who compiles cannot do anything about it.
            let _ = self.store(&key, settings, source, &artifact);
        }
        Ok(module)
    }

    /// The module of this key, if there is an entry and nothing is wrong with it.
    fn load(&self, engine: &Engine, key: &Key) -> Option<Module> {
        let directory = self.open(false).ok()??;
        let name = key.file_name();
        let file = directory.read(&name).ok()?;
        let artifact = checked_artifact(&file, key)?;
        // SAFETY: an engine of this system wrote the entry, and such write only what the compiler made: in Theseus the keyed digest
        // says so, on Linux nobody else can write to the directory. The digest covers the artifact's hash, which is checked now.
        let module = unsafe { Module::load_own(engine, artifact, Trust::Anybody) }.ok()?;
        // It stays where it is in the order of use, if that cannot be changed.
        let _ = directory.touch(&name);
        Some(module)
    }

    /// Keeps an artifact.
    fn store(&self, key: &Key, settings: &Settings, source: Option<&str>, artifact: &[u8]) -> Result<()> {
        let trailer = Trailer::new(key, settings, source, artifact).context("no artifact")?.encode();
        let size = (artifact.len() + trailer.len()) as u64;
        let Some(room) = self.0.total_size.checked_sub(size) else { return Ok(()) };
        let directory = self.open(true)?.context("it was just created")?;
        let name = key.file_name();
        make_room(&directory, room, &name)?;
        directory.replace(&name, &[artifact, &trailer]).map_err(Error::msg)?;
        // Others may have added something meanwhile.
        make_room(&directory, room, &name)
    }
}

/// Removes entries, except `keep`, until they have no more than `room` bytes, those first that were not used for longest; and what is
/// left of programs that were ended while they wrote.
fn make_room(directory: &Directory, room: u64, keep: &str) -> Result<()> {
    let now = files::wall_clock();
    let mut entries = Vec::new();
    for file in directory.files().map_err(Error::msg)? {
        if files::is_temporary(&file.name) {
            if now.saturating_sub(file.modified) > STALE {
                // Somebody else may have removed it.
                let _ = directory.remove(&file.name);
            }
        } else if file.name != keep && Key::from_file_name(&file.name).is_some() {
            entries.push(file);
        }
    }
    let mut total: u64 = entries.iter().map(|file| file.len).sum();
    entries.sort_by(|a, b| (a.modified, &a.name).cmp(&(b.modified, &b.name)));
    for file in entries {
        if total <= room {
            break;
        }
        // If somebody else has removed it, it counts no more either.
        let _ = directory.remove(&file.name);
        total -= file.len;
    }
    Ok(())
}

/// The artifact in an entry, if the entry is what its name and its own hashes say. The artifact's content is not checked.
fn checked_artifact<'f>(file: &'f [u8], key: &Key) -> Option<&'f [u8]> {
    let trailer = Trailer::parse(&file[file.len().saturating_sub(MAX_TRAILER)..])?;
    if trailer.key != *key || !trailer.fits(file.len() as u64) {
        return None;
    }
    let artifact = &file[..usize::try_from(trailer.artifact_len).ok()?];
    (*Seal::of(artifact)?.hash() == trailer.artifact_hash).then_some(artifact)
}

/// What an entry is found by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Key([u8; HASH]);

impl Key {
    /// The key of what `input` is compiled to; `None` if it is not known which build of the compiler would do it.
    fn new(settings: &Settings, input: &[u8]) -> Option<Key> {
        let compiler = files::compiler_identity()?;
        let mut text = HashedText(blake3::Hasher::new());
        // The settings' debug text names every field, so that no later one can be forgotten. No part contains a NUL.
        write!(text, "{ENGINE_VERSION}\0{FORMAT_VERSION}\0{compiler}\0{settings:?}\0").ok()?;
        let mut hasher = text.0;
        for piece in input.chunks(HASHED_AT_ONCE) {
            hasher.update(piece);
            wasm_platform::end_if_killed();
        }
        Some(Key(*hasher.finalize().as_bytes()))
    }

    fn file_name(&self) -> String {
        format!("{self}{EXTENSION}")
    }

    /// The key in the name of an entry; `None` if the file is something else.
    fn from_file_name(name: &str) -> Option<Key> {
        let digits = name.strip_suffix(EXTENSION)?.as_bytes();
        let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if digits.len() != 2 * HASH || !digits.iter().all(is_digit) {
            return None;
        }
        let mut key = [0; HASH];
        for (byte, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = u8::from_str_radix(core::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        Some(Key(key))
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Hashes what is written to it.
struct HashedText(blake3::Hasher);

impl Write for HashedText {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.update(text.as_bytes());
        Ok(())
    }
}

/// What shows that a trailer is one of this system's.
fn digest(bytes: &[u8]) -> blake3::Hash {
    match wasm_keys::cache_secret() {
        Some(secret) => blake3::keyed_hash(&secret, bytes),
        None => blake3::hash(bytes),
    }
}

/// What stands in an entry after its artifact.
#[derive(Debug, PartialEq, Eq)]
struct Trailer {
    key: Key,
    artifact_hash: [u8; HASH],
    artifact_len: u64,
    module: CachedModule,
    /// Bytes of the trailer itself.
    len: usize,
}

impl Trailer {
    /// `None` if that is no artifact.
    fn new(key: &Key, settings: &Settings, source: Option<&str>, artifact: &[u8]) -> Option<Trailer> {
        let effort = match settings.opt_level {
            OptLevel::None => "-O0",
            OptLevel::Speed => "-O2",
            OptLevel::SpeedAndSize => "-Os",
        };
        let module = CachedModule {
            source: source.map(|source| end_of(source, MAX_SOURCE).to_string()),
            target: settings.target.name().to_string(),
            cpu: settings.cpu.to_string(),
            effort: effort.to_string(),
        };
        let artifact_hash = *Seal::of(artifact)?.hash();
        Some(Trailer { key: *key, artifact_hash, artifact_len: artifact.len() as u64, module, len: 0 })
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(MAX_TRAILER);
        let CachedModule { source, target, cpu, effort } = &self.module;
        for text in [source.as_deref().unwrap_or(""), target, cpu, effort] {
            let text = end_of(text, MAX_SOURCE);
            bytes.extend((text.len() as u16).to_le_bytes());
            bytes.extend(text.as_bytes());
        }
        let strings = bytes.len() as u32;
        bytes.extend(self.key.0);
        bytes.extend(self.artifact_hash);
        bytes.extend(self.artifact_len.to_le_bytes());
        bytes.extend(strings.to_le_bytes());
        let digest = digest(&bytes);
        bytes.extend(digest.as_bytes());
        bytes.extend(MAGIC);
        bytes
    }

    /// Reads a trailer from the end of an entry.
    fn parse(end: &[u8]) -> Option<Trailer> {
        let rest = end.strip_suffix(MAGIC)?;
        let (rest, digest) = rest.split_last_chunk::<HASH>()?;
        let (fixed, strings_len) = rest.split_last_chunk::<4>()?;
        let strings_len = u32::from_le_bytes(*strings_len) as usize;
        let (fixed, artifact_len) = fixed.split_last_chunk::<8>()?;
        let (fixed, artifact_hash) = fixed.split_last_chunk::<HASH>()?;
        let (fixed, key) = fixed.split_last_chunk::<HASH>()?;
        let start = fixed.len().checked_sub(strings_len)?;
        // Comparing such hashes takes the same time wherever they differ.
        if self::digest(&rest[start..]) != *digest {
            return None;
        }
        let mut strings = &fixed[start..];
        let mut text = || {
            let (len, rest) = strings.split_first_chunk::<2>()?;
            let (text, rest) = rest.split_at_checked(u16::from_le_bytes(*len).into())?;
            strings = rest;
            core::str::from_utf8(text).ok().map(String::from)
        };
        let module = CachedModule {
            source: text().map(|source| Some(source).filter(|source| !source.is_empty()))?,
            target: text()?,
            cpu: text()?,
            effort: text()?,
        };
        Some(Trailer {
            key: Key(*key),
            artifact_hash: *artifact_hash,
            artifact_len: u64::from_le_bytes(*artifact_len),
            module,
            len: strings_len + TAIL,
        })
    }

    /// Whether a file of `len` bytes can have it and the artifact, and nothing else.
    fn fits(&self, len: u64) -> bool {
        self.artifact_len.checked_add(self.len as u64) == Some(len)
    }
}

/// The text of a path; `None` if it is none.
pub(crate) fn path_text(path: &FilePath) -> Option<&str> {
    #[cfg(target_os = "linux")]
    return path.to_str();
    #[cfg(not(target_os = "linux"))]
    return Some(path);
}

/// The path that a text is.
fn as_path(text: &str) -> &FilePath {
    #[cfg(target_os = "linux")]
    return text.as_ref();
    #[cfg(not(target_os = "linux"))]
    return text;
}

/// The end of a text, at most `most` bytes.
fn end_of(text: &str, most: usize) -> &str {
    let mut start = text.len().saturating_sub(most);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    &text[start..]
}

#[cfg(test)]
mod tests;
