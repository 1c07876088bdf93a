//! Files on Linux.

use crate::files::{CacheDefaults, Entry, FileStatus, TEMPORARY_NAMES, no_temporary_name, temporary_name};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// The most bytes of compiled modules that are kept in a cache unless somebody says otherwise.
const CACHE_SIZE: u64 = 512 << 20;

/// Permission bits of everybody but the owner to write.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// A directory whose files are read and written.
#[derive(Debug)]
pub struct Directory {
    base: PathBuf,
    /// Keeps what `base` leads to, if that is by a file descriptor.
    _handle: Option<File>,
}

fn text(error: std::io::Error) -> String {
    error.to_string()
}

impl Directory {
    /// Opens the directory at `path`. Without an open handle: its path is looked up again at every use.
    ///
    /// # Errors
    /// Says why it cannot be opened.
    pub fn open(path: &str) -> Result<Self, String> {
        let path = if path.is_empty() { "." } else { path };
        match fs::metadata(path).map_err(text)?.is_dir() {
            true => Ok(Self { base: PathBuf::from(path), _handle: None }),
            false => Err("Not a directory".to_string()),
        }
    }

    /// Opens the directory at `path` if it belongs to the user who runs this program and nobody else can write to it.
    /// With `create`, it is created first if there is none, and those on the way to it; else `None` says that there is none.
    ///
    /// # Errors
    /// Says why it cannot be opened or created, or who else has power over it and what to do.
    pub fn open_private(path: &str, create: bool) -> Result<Option<Self>, String> {
        if create {
            DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(text)?;
        }
        let flags = libc::O_DIRECTORY | libc::O_CLOEXEC;
        let handle = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            handle => handle.map_err(text)?,
        };
        let metadata = handle.metadata().map_err(text)?;
        // SAFETY: `geteuid` has no preconditions.
        if metadata.uid() != unsafe { libc::geteuid() } {
            return Err("it belongs to another user; use a directory of your own".to_string());
        }
        if metadata.mode() & WRITABLE_BY_OTHERS != 0 {
            return Err("others can write to it; run chmod go-w on it".to_string());
        }
        // The way by the descriptor leads to what was checked, whatever becomes of the path.
        let base = PathBuf::from(format!("/proc/self/fd/{}", handle.as_raw_fd()));
        Ok(Some(Self { base, _handle: Some(handle) }))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.base.join(name)
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
        let mut file = File::open(self.path(name)).map_err(text)?;
        let metadata = file.metadata().map_err(text)?;
        if !metadata.is_file() {
            return Err("not a file".to_string());
        }
        let (size, wanted) = (metadata.len(), u64::try_from(len).unwrap_or(u64::MAX));
        let wanted = size.min(wanted);
        file.seek(SeekFrom::Start(size - wanted)).map_err(text)?;
        let mut content = Vec::new();
        let capacity = usize::try_from(wanted).map_err(|_| "too large".to_string())?;
        content.try_reserve_exact(capacity).map_err(|_| "not enough memory".to_string())?;
        file.take(wanted).read_to_end(&mut content).map_err(text)?;
        Ok(content)
    }

    /// Makes the file `name` consist of `parts`, one after the other. Who opens it gets the old content or the new one, complete.
    /// Nothing has changed if this fails.
    ///
    /// # Errors
    /// Says why it cannot be written.
    pub fn replace(&self, name: &str, parts: &[&[u8]]) -> Result<(), String> {
        let mut temporary = Temporary::new(self)?;
        for part in parts {
            temporary.file.write_all(part).map_err(text)?;
        }
        fs::rename(&temporary.path, self.path(name)).map_err(text)?;
        temporary.renamed = true;
        Ok(())
    }

    /// Removes the file `name`.
    ///
    /// # Errors
    /// Says why it cannot be removed.
    pub fn remove(&self, name: &str) -> Result<(), String> {
        fs::remove_file(self.path(name)).map_err(text)
    }

    /// Sets the time when the file `name` last changed to now.
    ///
    /// # Errors
    /// Says why that cannot be done.
    pub fn touch(&self, name: &str) -> Result<(), String> {
        let file = File::open(self.path(name)).map_err(text)?;
        file.set_modified(SystemTime::now()).map_err(text)
    }

    /// Its files. Those that vanish meanwhile are left out.
    ///
    /// # Errors
    /// Says why the directory cannot be read.
    pub fn files(&self) -> Result<Vec<FileStatus>, String> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.base).map_err(text)? {
            let entry = entry.map_err(text)?;
            let (Ok(name), Ok(metadata)) = (entry.file_name().into_string(), entry.metadata()) else {
                continue;
            };
            if metadata.is_file() {
                let modified = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                files.push(FileStatus { name, len: metadata.len(), modified: since_epoch(modified) });
            }
        }
        Ok(files)
    }
}

/// A file that is removed when dropped, unless it was renamed.
struct Temporary {
    path: PathBuf,
    file: File,
    renamed: bool,
}

impl Temporary {
    fn new(directory: &Directory) -> Result<Self, String> {
        for _ in 0..TEMPORARY_NAMES {
            let path = directory.path(&temporary_name(std::process::id()));
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                file => return Ok(Self { path, file: file.map_err(text)?, renamed: false }),
            }
        }
        Err(no_temporary_name())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.renamed {
            // Nothing can be done about it, and the reason why it was not finished is the one to report.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn since_epoch(time: SystemTime) -> Duration {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

/// The time since the Unix epoch.
pub fn wall_clock() -> Duration {
    since_epoch(SystemTime::now())
}

/// Makes the file at `path` consist of `content`. Who opens it gets the old content or the new one, complete. Nothing has changed if
/// this fails. What is no file, a device or a pipe, is written to as it is.
///
/// # Errors
/// Says why it cannot be written.
pub fn write_file(path: &str, content: &[u8]) -> Result<(), String> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => return Err("Is a directory".to_string()),
        Ok(metadata) if !metadata.is_file() => return fs::write(path, content).map_err(text),
        _ => {}
    }
    // A link stays one: what it leads to is replaced.
    let target = fs::canonicalize(path).unwrap_or_else(|_| PathBuf::from(path));
    let (directory, name) = (target.parent(), target.file_name());
    let name = name.and_then(|name| name.to_str()).ok_or("the name is no file's")?;
    let directory = directory.and_then(Path::to_str).ok_or("the directory's name is not UTF-8")?;
    Directory::open(directory)?.replace(name, &[content])
}

/// What is in the directory at `path`, in no order. What has a name that is not UTF-8 has another name in the list, which leads nowhere.
///
/// # Errors
/// Says why it cannot be read.
pub fn entries(path: &str) -> Result<Vec<Entry>, String> {
    let entries = fs::read_dir(path).map_err(text)?.map(|entry| {
        let entry = entry.map_err(text)?;
        let is_directory = entry.file_type().map_err(text)?.is_dir();
        Ok(Entry { name: entry.file_name().to_string_lossy().into_owned(), is_directory })
    });
    entries.collect()
}

/// Whether both paths lead to the same file; no if there is none.
pub fn same_file(a: &str, b: &str) -> bool {
    let id = |path| fs::metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()));
    id(a).is_some_and(|found| Some(found) == id(b))
}

/// Where compiled modules are kept unless somebody says otherwise: `$XDG_CACHE_HOME/wasm_run` or `~/.cache/wasm_run`.
pub fn cache_defaults() -> CacheDefaults {
    let absolute = |name| std::env::var(name).ok().filter(|path| path.starts_with('/'));
    let home = || absolute("HOME").map(|home| format!("{home}/.cache"));
    let directory = absolute("XDG_CACHE_HOME").or_else(home).map(|base| format!("{base}/wasm_run"));
    CacheDefaults { directory, total_size: CACHE_SIZE }
}

/// What tells the compiler that this program contains from others, besides its version: when and how large the program was
/// built. `None` if that is unknown.
pub fn compiler_identity() -> Option<String> {
    let program = fs::metadata("/proc/self/exe").ok()?;
    Some(format!("{} bytes of {}.{:09}", program.len(), program.mtime(), program.mtime_nsec()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::is_temporary;
    use std::os::unix::fs::PermissionsExt;

    /// A directory that is removed when dropped.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("wasm_platform-{name}-{}", std::process::id()));
            DirBuilder::new().mode(0o700).create(&path).unwrap();
            Self(path)
        }

        fn path(&self) -> &str {
            self.0.to_str().unwrap()
        }

        fn names(&self) -> Vec<String> {
            let mut names: Vec<String> = fs::read_dir(&self.0)
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            names
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn files_are_written_read_listed_touched_and_removed() {
        let folder = Folder::new("files");
        let directory = Directory::open_private(folder.path(), false).unwrap().unwrap();
        directory.replace("a", &[b"one", b"", b" two"]).unwrap();
        directory.replace("b", &[]).unwrap();
        fs::create_dir(folder.0.join("c")).unwrap();
        assert_eq!(directory.read("a").unwrap(), b"one two");
        assert_eq!(directory.read_end("a", 3).unwrap(), b"two");
        assert_eq!(directory.read_end("a", 300).unwrap(), b"one two");
        directory.replace("a", &[b"new"]).unwrap();
        assert_eq!(directory.read("a").unwrap(), b"new");
        let mut files = directory.files().unwrap();
        files.sort_by(|a, b| a.name.cmp(&b.name));
        let found: Vec<(&str, u64)> = files.iter().map(|file| (file.name.as_str(), file.len)).collect();
        assert_eq!(found, [("a", 3), ("b", 0)]);
        let file = OpenOptions::new().write(true).open(folder.0.join("a")).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        directory.touch("a").unwrap();
        let touched = directory.files().unwrap().into_iter().find(|file| file.name == "a").unwrap();
        assert!(wall_clock() - touched.modified < Duration::from_secs(60));
        directory.remove("a").unwrap();
        assert!(directory.read("a").is_err() && directory.remove("a").is_err());
        assert!(directory.read("c").is_err());
    }

    #[test]
    fn what_cannot_be_finished_leaves_nothing() {
        let folder = Folder::new("leaves");
        let directory = Directory::open(folder.path()).unwrap();
        // A directory cannot be replaced by a file.
        fs::create_dir(folder.0.join("a")).unwrap();
        assert!(directory.replace("a", &[b"text"]).is_err());
        assert_eq!(folder.names(), ["a"]);
        // Killed in the middle.
        let killed = std::panic::catch_unwind(|| {
            let _temporary = Temporary::new(&directory).unwrap();
            assert!(is_temporary(&folder.names()[0]));
            panic!("killed");
        });
        assert!(killed.is_err());
        assert_eq!(folder.names(), ["a"]);
    }

    #[test]
    fn a_directory_that_others_can_write_to_is_refused() {
        let folder = Folder::new("private");
        for mode in [0o720, 0o702, 0o777] {
            fs::set_permissions(&folder.0, fs::Permissions::from_mode(mode)).unwrap();
            let error = Directory::open_private(folder.path(), false).unwrap_err();
            assert!(error.contains("chmod go-w"), "{error}");
        }
        fs::set_permissions(&folder.0, fs::Permissions::from_mode(0o755)).unwrap();
        assert!(Directory::open_private(folder.path(), false).unwrap().is_some());
        let below = folder.0.join("new/deep");
        let below = below.to_str().unwrap();
        assert!(Directory::open_private(below, false).unwrap().is_none());
        assert!(Directory::open_private(below, true).unwrap().is_some());
        assert_eq!(fs::metadata(below).unwrap().mode() & 0o777, 0o700);
        // SAFETY: `geteuid` has no preconditions.
        if unsafe { libc::geteuid() } == 0 {
            std::os::unix::fs::chown(&folder.0, Some(12345), None).unwrap();
            let error = Directory::open_private(folder.path(), true).unwrap_err();
            assert!(error.contains("another user"), "{error}");
        }
        assert!(Directory::open_private("/dev/null", false).is_err());
    }

    #[test]
    fn a_private_directory_stays_the_one_that_was_checked() {
        let folder = Folder::new("moved");
        let (before, after) = (folder.0.join("before"), folder.0.join("after"));
        let directory = Directory::open_private(before.to_str().unwrap(), true).unwrap().unwrap();
        fs::rename(&before, &after).unwrap();
        fs::create_dir(&before).unwrap();
        directory.replace("a", &[b"text"]).unwrap();
        assert!(after.join("a").exists() && !before.join("a").exists());
    }

    #[test]
    fn a_file_is_written_as_a_whole_wherever_it_is() {
        let folder = Folder::new("write");
        let path = |name: &str| folder.0.join(name).to_str().unwrap().to_string();
        write_file(&path("a"), b"one").unwrap();
        std::os::unix::fs::symlink(path("a"), path("link")).unwrap();
        write_file(&path("link"), b"two").unwrap();
        assert_eq!(fs::read(path("a")).unwrap(), b"two");
        assert!(fs::symlink_metadata(path("link")).unwrap().is_symlink());
        assert!(same_file(&path("a"), &path("link")) && !same_file(&path("a"), &path("b")));
        assert!(!same_file(&path("b"), &path("b")));
        assert_eq!(folder.names(), ["a", "link"]);
        assert!(write_file(folder.path(), b"").unwrap_err().contains("directory"));
        assert!(write_file(&path("no/where"), b"").is_err());
        write_file("/dev/null", b"text").unwrap();
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
    }
}
