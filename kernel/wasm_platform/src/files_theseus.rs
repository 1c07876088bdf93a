//! Files in Theseus.

use crate::files::{CacheDefaults, Entry, FileStatus, TEMPORARY_NAMES, no_temporary_name, temporary_name};
use crate::platform::working_directory;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;
use fs_node::{DirRef, FileOrDir, FileRef, FsError, Times};
use io::IoError;
use kernel_config::memory::PAGE_SIZE;
use memfs::MemFile;
use path::{Component, Path};
use vfs_node::VFSDirectory;

/// Where compiled modules are kept unless somebody says otherwise.
const CACHE_DIRECTORY: &str = "/cache/wasm";

/// The most bytes of them; files are in memory.
const CACHE_SIZE: u64 = 64 << 20;

/// And their share of all memory, as a divisor.
const CACHE_SHARE: u64 = 8;

/// A directory whose files are read and written.
pub struct Directory(DirRef);

impl core::fmt::Debug for Directory {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_tuple("Directory").field(&self.0.lock().get_absolute_path()).finish()
    }
}

fn text(error: impl Into<FsError>) -> String {
    error.into().to_string()
}

impl Directory {
    /// Opens the directory at `path`.
    ///
    /// # Errors
    /// Says why it cannot be opened.
    pub fn open(path: &str) -> Result<Self, String> {
        match Path::new(path).resolve(&working_directory()).map_err(text)? {
            FileOrDir::Dir(directory) => Ok(Self(directory)),
            FileOrDir::File(_) => Err(text(FsError::NotADirectory)),
        }
    }

    /// Opens the directory at `path`; there are no users here whom it could belong to.
    /// With `create`, it is created first if there is none, and those on the way to it; else `None` says that there is none.
    ///
    /// # Errors
    /// Says why it cannot be opened or created.
    pub fn open_private(path: &str, create: bool) -> Result<Option<Self>, String> {
        let mut directory = working_directory();
        for part in Path::new(path).components() {
            directory = match (Path::new(part.as_str()).resolve(&directory), part) {
                (Ok(FileOrDir::Dir(below)), _) => below,
                (Ok(FileOrDir::File(_)), _) => return Err(text(FsError::NotADirectory)),
                (Err(FsError::NotFound), _) if !create => return Ok(None),
                (Err(FsError::NotFound), Component::Normal(name)) => {
                    match VFSDirectory::create_new(name, &directory) {
                        // Created by someone else in the meantime.
                        Err(FsError::AlreadyExists) => {
                            let existing = directory.lock().get_dir(name);
                            existing.ok_or_else(|| text(FsError::NotADirectory))?
                        }
                        created => created.map_err(text)?,
                    }
                }
                (Err(error), _) => return Err(text(error)),
            };
        }
        Ok(Some(Self(directory)))
    }

    fn file(&self, name: &str) -> Result<FileRef, String> {
        let node = self.0.lock().get(name);
        match node {
            Some(FileOrDir::File(file)) => Ok(file),
            Some(FileOrDir::Dir(_)) => Err(text(FsError::IsADirectory)),
            None => Err(text(FsError::NotFound)),
        }
    }

    /// The content of the file `name`.
    ///
    /// # Errors
    /// Says why it cannot be read.
    pub fn read(&self, name: &str) -> Result<Vec<u8>, String> {
        self.read_end(name, usize::MAX)
    }

    /// The last `len` bytes of the file `name`, or all if it has less.
    ///
    /// # Errors
    /// Says why it cannot be read.
    pub fn read_end(&self, name: &str, len: usize) -> Result<Vec<u8>, String> {
        let file = self.file(name)?;
        let mut file = file.lock();
        let size = file.len();
        let wanted = size.min(len);
        let mut content = Vec::new();
        content.try_reserve_exact(wanted).map_err(|_| text(IoError::OutOfMemory))?;
        content.resize(wanted, 0);
        let read = file.read_at(&mut content, size - wanted).map_err(text)?;
        content.truncate(read);
        Ok(content)
    }

    /// Makes the file `name` consist of `parts`, one after the other. Who opens it gets the old content or the new one, complete.
    /// Nothing has changed if this fails.
    ///
    /// # Errors
    /// Says why it cannot be written.
    pub fn replace(&self, name: &str, parts: &[&[u8]]) -> Result<(), String> {
        let mut temporary = Temporary::new(self)?;
        // All of its memory at once, so that it need not move while it grows.
        let len = parts.iter().map(|part| part.len()).sum();
        temporary.file.lock().truncate(len).map_err(text)?;
        let mut at = 0;
        for part in parts {
            let mut rest = *part;
            while !rest.is_empty() {
                let written = temporary.file.lock().write_at(rest, at).map_err(text)?;
                (at, rest) = (at + written, &rest[written..]);
            }
        }
        fs_node::rename(&self.0, &temporary.name, &self.0, name).map_err(text)?;
        temporary.renamed = true;
        Ok(())
    }

    /// Removes the file `name`.
    ///
    /// # Errors
    /// Says why it cannot be removed.
    pub fn remove(&self, name: &str) -> Result<(), String> {
        fs_node::remove_file(&self.0, name).map_err(text)
    }

    /// Sets the time when the file `name` last changed to now.
    ///
    /// # Errors
    /// Says why that cannot be done.
    pub fn touch(&self, name: &str) -> Result<(), String> {
        let times = Times { modified: Some(fs_node::now()), accessed: None };
        self.file(name)?.lock().set_times(times).map_err(text)
    }

    /// Its files. Those that vanish meanwhile are left out.
    ///
    /// # Errors
    /// Says why the directory cannot be read.
    pub fn files(&self) -> Result<Vec<FileStatus>, String> {
        let names = self.0.lock().list();
        let status = |name| {
            let node = self.0.lock().get(name)?;
            let metadata = node.metadata();
            let name = name.to_string();
            node.is_file().then_some(FileStatus {
                name,
                len: metadata.size as u64,
                modified: metadata.times.modified,
            })
        };
        Ok(names.iter().filter_map(|name| status(name)).collect())
    }
}

/// A file that is removed when dropped, unless it was renamed.
struct Temporary<'d> {
    directory: &'d DirRef,
    name: String,
    file: FileRef,
    renamed: bool,
}

impl<'d> Temporary<'d> {
    fn new(directory: &'d Directory) -> Result<Self, String> {
        for _ in 0..TEMPORARY_NAMES {
            let name = temporary_name(0);
            match MemFile::create_new(&name, &directory.0) {
                Err(FsError::AlreadyExists) => {}
                file => {
                    let file = file.map_err(text)?;
                    return Ok(Self { directory: &directory.0, name, file, renamed: false });
                }
            }
        }
        Err(no_temporary_name())
    }
}

impl Drop for Temporary<'_> {
    fn drop(&mut self) {
        if !self.renamed {
            // Fails if somebody has removed it, which is what is wanted.
            let _ = fs_node::remove_file(self.directory, &self.name);
        }
    }
}

/// The time since the Unix epoch.
pub fn wall_clock() -> Duration {
    fs_node::now()
}

/// Makes the file at `path` consist of `content`. Who opens it gets the old content or the new one, complete. Nothing has changed if
/// this fails.
///
/// # Errors
/// Says why it cannot be written.
pub fn write_file(path: &str, content: &[u8]) -> Result<(), String> {
    let target = Path::new(path).target(&working_directory()).map_err(text)?;
    let existing = target.dir.lock().get(&target.name);
    if target.demands_directory || existing.is_some_and(|node| node.is_dir()) {
        return Err(text(FsError::IsADirectory));
    }
    Directory(target.dir).replace(&target.name, &[content])
}

/// What is in the directory at `path`, in no order.
///
/// # Errors
/// Says why it cannot be read.
pub fn entries(path: &str) -> Result<Vec<Entry>, String> {
    let Directory(directory) = Directory::open(path)?;
    let names = directory.lock().list();
    let entry = |name: String| {
        let is_directory = directory.lock().get(&name)?.is_dir();
        Some(Entry { name, is_directory })
    };
    Ok(names.into_iter().filter_map(entry).collect())
}

/// Whether both paths lead to the same file; no if there is none.
pub fn same_file(a: &str, b: &str) -> bool {
    let node = |path| Path::new(path).resolve(&working_directory()).ok();
    node(a).zip(node(b)).is_some_and(|(a, b)| a.ptr_eq(&b))
}

/// Where compiled modules are kept unless somebody says otherwise: `/cache/wasm`; and how much of them: 64 MiB or an eighth of
/// all memory, whichever is less.
pub fn cache_defaults() -> CacheDefaults {
    let memory = (frame_allocator::statistics().total * PAGE_SIZE) as u64;
    CacheDefaults {
        directory: Some(CACHE_DIRECTORY.to_string()),
        total_size: CACHE_SIZE.min(memory / CACHE_SHARE),
    }
}

/// What tells the compiler from others, besides its version: nothing, because files do not outlive the kernel that came with it.
pub fn compiler_identity() -> Option<String> {
    Some(String::new())
}
