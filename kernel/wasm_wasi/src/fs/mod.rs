//! What the functions here ask of a file system, and the way through it.
//!
//! ```text
//! path ──[walk]──> Place: a directory and a name in it ──> Dir, File ─┬─ kernel: the tree of files, on Linux a tree in memory
//!                                                                     └─ linux: directories of the host
//! ```
//!
//! # Nothing leads out
//! A [`Dir`] is a handle, like an open directory, and what it does is about one name in it, which is no path and is not followed if it is
//! a symbolic link. [`walk`] alone knows paths: it takes them apart, follows links by reading them, and goes up by going back to where it came from.
//! So whatever others move or replace meanwhile, it stands in a directory that it reached from the one it was given, name by name.

mod kernel;
#[cfg(target_os = "linux")]
mod linux;
pub(crate) mod walk;

pub(crate) use kernel::{KernelDir, wall_clock_nanos};
#[cfg(target_os = "linux")]
pub(crate) use linux::HostDir;

use crate::types::{FileStat, FileType};
use crate::{Errno, Failure};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;

/// How many entries of a directory are read or passed on between two looks whether to go on.
pub(crate) const ENTRIES_PIECE: usize = 256;

/// Fails if it is not to be gone on.
pub(crate) type Look<'a> = &'a dyn Fn() -> Result<(), Failure>;

/// A directory.
pub(crate) type DirHandle = Arc<dyn Dir>;
/// An open file.
pub(crate) type FileHandle = Arc<dyn File>;

/// What a name in a directory leads to.
pub(crate) enum Found {
    /// A directory.
    Dir(DirHandle),
    /// A symbolic link to this path.
    Link(String),
    /// Something else.
    Other,
}

/// How a file is opened.
#[derive(Debug, Clone, Copy)]
pub(crate) struct How {
    /// It is read.
    #[cfg_attr(
        not(target_os = "linux"),
        expect(dead_code, reason = "in the tree of files whoever has one can read it")
    )]
    pub(crate) read: bool,
    /// It is written.
    pub(crate) write: bool,
    /// It is created if there is none.
    pub(crate) create: bool,
    /// It must not be there already.
    pub(crate) exclusive: bool,
    /// It is emptied.
    pub(crate) truncate: bool,
}

/// Times to be set, in nanoseconds since the Unix epoch; `None` leaves one as it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SetTimes {
    pub(crate) accessed: Option<u64>,
    pub(crate) modified: Option<u64>,
}

/// An entry of a directory.
#[derive(Debug, Clone)]
pub(crate) struct DirEntry {
    pub(crate) name: String,
    pub(crate) inode: u64,
    pub(crate) file_type: FileType,
}

/// A directory. Names are entries of it: neither empty nor `.` nor `..`, and without `/` and NUL. None of the functions follows a symbolic
/// link.
pub(crate) trait Dir: Any + Send + Sync {
    /// What a name leads to.
    fn find(&self, name: &str) -> Result<Found, Errno>;

    /// Opens a file.
    fn open_file(&self, name: &str, how: How) -> Result<FileHandle, Errno>;

    /// What is known about the directory itself.
    fn stat(&self) -> Result<FileStat, Errno>;

    /// What is known about an entry.
    fn stat_entry(&self, name: &str) -> Result<FileStat, Errno>;

    /// Sets the times of the directory itself.
    fn set_times(&self, times: SetTimes) -> Result<(), Errno>;

    /// Sets the times of an entry.
    fn set_times_of_entry(&self, name: &str, times: SetTimes) -> Result<(), Errno>;

    /// All entries but `.` and `..`. Calls `look` now and then, and ends with what that fails with.
    fn entries(&self, look: Look<'_>) -> Result<Vec<DirEntry>, Failure>;

    /// Makes a directory.
    fn create_dir(&self, name: &str) -> Result<(), Errno>;

    /// Removes what is not a directory.
    fn remove_file(&self, name: &str) -> Result<(), Errno>;

    /// Removes an empty directory.
    fn remove_dir(&self, name: &str) -> Result<(), Errno>;

    /// Moves an entry to a name in `to`, where it replaces what is there.
    fn rename(&self, name: &str, to: &DirHandle, new_name: &str) -> Result<(), Errno>;

    /// Gives a file a second name in `to`.
    fn link(&self, name: &str, to: &DirHandle, new_name: &str) -> Result<(), Errno>;

    /// Makes a symbolic link to `target`.
    fn symlink(&self, target: &str, name: &str) -> Result<(), Errno>;

    /// Makes sure that what was changed is where it belongs.
    fn sync(&self) -> Result<(), Errno>;
}

/// An open file.
pub(crate) trait File: Send + Sync {
    /// Reads into `buffer`; less than it holds only at the end.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize, Errno>;

    /// Writes `bytes`, or some of them.
    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<usize, Errno>;

    /// Writes `bytes`, or some of them, at the end, wherever that is by then; returns where they end.
    fn append(&self, bytes: &[u8]) -> Result<(usize, u64), Errno>;

    /// What is known about it.
    fn stat(&self) -> Result<FileStat, Errno>;

    /// Makes it `size` bytes long. Calls `look` now and then, and ends with what that fails with, when a part is done.
    fn set_size(&self, size: u64, look: Look<'_>) -> Result<(), Failure>;

    /// Makes sure that there is room for `len` bytes at `offset`, and that it is at least as long. Calls `look` now and then, and ends with
    /// what that fails with, no longer than before.
    fn allocate(&self, offset: u64, len: u64, look: Look<'_>) -> Result<(), Failure>;

    /// Sets its times.
    fn set_times(&self, times: SetTimes) -> Result<(), Errno>;

    /// Makes sure that what was written is where it belongs.
    fn sync(&self, data_only: bool) -> Result<(), Errno>;
}
