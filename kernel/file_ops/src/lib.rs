//! What programs do with files by path: create, copy, move and remove, trees included.
//!
//! The programs `cp`, `mv`, `rm`, `mkdir` and `touch` are thin layers upon this crate. Paths are seen from a directory `cwd` that the
//! caller names. Trees are walked without recursion, so their depth is limited by memory alone, and no more than one lock is held at a
//! time.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

mod copy;
mod remove;
mod stream;
#[cfg(test)]
mod tests;

pub use copy::{copy, copy_content};
pub use remove::remove;
pub use stream::{FileReader, FileWriter};

use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use fs_node::{DirRef, FileOrDir, FileRef, FsError, Times};
use memfs::MemFile;
use path::{Component, Path, Target};
use vfs_node::VFSDirectory;

/// Something that went wrong, and with what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The path, as the user would write it.
    pub path: String,
    /// The cause.
    pub cause: Cause,
}

/// The cause of a [`Failure`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The tree of files refused.
    Fs(FsError),
    /// A directory, but trees were not asked for.
    NeedsRecursive,
    /// Source and target are one file.
    SameFile,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = if self.path.is_empty() { "''" } else { &self.path };
        match &self.cause {
            Cause::Fs(error) => write!(f, "{path}: {error}"),
            Cause::NeedsRecursive => write!(f, "{path}: is a directory (use -r)"),
            Cause::SameFile => write!(f, "{path}: source and target are the same file"),
        }
    }
}

impl core::error::Error for Failure {}

/// Names the path that an error is about.
fn at(path: impl AsRef<Path>) -> impl Fn(FsError) -> Failure {
    move |error| Failure { path: path.as_ref().as_str().to_string(), cause: Cause::Fs(error) }
}

/// Opens the file at `path` for writing: it is created if it isn't there, and emptied if it is.
///
/// # Errors
/// There is no such directory; the path leads to a directory; the file is read-only.
pub fn create_file(path: &Path, cwd: &DirRef) -> Result<FileRef, FsError> {
    let file = open_or_create(path, cwd)?;
    file.lock().truncate(0)?;
    Ok(file)
}

/// Opens the file at `path`, which is created if it isn't there.
///
/// # Errors
/// There is no such directory, or the path leads to a directory.
pub fn open_or_create(path: &Path, cwd: &DirRef) -> Result<FileRef, FsError> {
    let Target { dir, name, demands_directory } = path.target(cwd).map_err(|error| match error {
        FsError::IsRoot => FsError::IsADirectory,
        other => other,
    })?;
    // Someone else may create it between the look and the creation; then there is something to be seen.
    loop {
        let existing = dir.lock().lookup(&name)?;
        match existing {
            Some(FileOrDir::Dir(_)) => return Err(FsError::IsADirectory),
            Some(FileOrDir::File(_)) if demands_directory => return Err(FsError::NotADirectory),
            Some(FileOrDir::File(file)) => return Ok(file),
            None if demands_directory => return Err(FsError::NotFound),
            None => match MemFile::create_new(&name, &dir) {
                Err(FsError::AlreadyExists) => {}
                result => return result,
            },
        }
    }
}

/// Sets the times of what is at `path` to now; a file is created if there is nothing.
///
/// # Errors
/// As [`open_or_create`], except that the path may lead to a directory.
pub fn touch(path: &Path, cwd: &DirRef) -> Result<(), FsError> {
    let now = Some(fs_node::now());
    let times = Times { modified: now, accessed: now };
    match path.resolve(cwd) {
        Ok(FileOrDir::Dir(dir)) => dir.lock().set_times(times)?,
        Ok(FileOrDir::File(file)) => file.lock().set_times(times)?,
        Err(FsError::NotFound) => drop(open_or_create(path, cwd)?),
        Err(error) => return Err(error),
    }
    Ok(())
}

/// Creates the directory at `path`.
///
/// # Errors
/// There is something at `path`, or no directory to create it in.
pub fn create_dir(path: &Path, cwd: &DirRef) -> Result<DirRef, FsError> {
    let target = path.target(cwd).map_err(|error| match error {
        FsError::IsRoot => FsError::AlreadyExists,
        // `.` and `..` exist, if what is in front of them does.
        FsError::InvalidName if path.resolve(cwd).is_ok() => FsError::AlreadyExists,
        other => other,
    })?;
    VFSDirectory::create_new(&target.name, &target.dir)
}

/// Creates the directory at `path`, and those on the way to it, as far as they aren't there.
///
/// # Errors
/// Something on the way is a file; a name is invalid.
pub fn create_dir_all(path: &Path, cwd: &DirRef) -> Result<DirRef, FsError> {
    if path.as_str().is_empty() {
        return Err(FsError::NotFound);
    }
    let mut dir = cwd.clone();
    for part in path.components() {
        let existing = Path::new(part.as_str()).resolve(&dir);
        dir = match (existing, part) {
            (Ok(FileOrDir::Dir(below)), _) => below,
            (Ok(FileOrDir::File(_)), _) => return Err(FsError::NotADirectory),
            (Err(FsError::NotFound), Component::Normal(name)) => match VFSDirectory::create_new(name, &dir) {
                // Created by someone else in the meantime.
                Err(FsError::AlreadyExists) => dir.lock().get_dir(name).ok_or(FsError::NotADirectory)?,
                result => result?,
            },
            (Err(error), _) => return Err(error),
        };
    }
    Ok(dir)
}

/// Where `source` goes when it is copied or moved to `target`: into it under its own name, if it is a directory, else to that path
/// itself.
fn destination(source: &Path, target: &Path, cwd: &DirRef) -> Result<(Target, String), Failure> {
    if let Ok(FileOrDir::Dir(dir)) = target.resolve(cwd) {
        let name = match source.file_name() {
            Some(name) => name.to_string(),
            // `.` or `..`, or the root: the name that the directory has in the tree.
            None => source.resolve(cwd).map_err(at(source))?.get_name(),
        };
        let path = String::from(target.join(&name));
        return Ok((Target { dir, name, demands_directory: false }, path));
    }
    let found = target.target(cwd).map_err(at(target))?;
    Ok((found, target.as_str().to_string()))
}

/// Moves what is at `source` to `target`: into it, if it is a directory, else to that path, where a file is replaced. To another file system
/// it is copied, and then removed; if it cannot all be copied, nothing is removed.
///
/// # Errors
/// One failure, which names the path that is to blame.
pub fn rename(source: &Path, target: &Path, cwd: &DirRef) -> Result<(), Failure> {
    let from = source.target(cwd).map_err(at(source))?;
    let node = from.dir.lock().lookup(&from.name).map_err(at(source))?;
    let node = node.ok_or(FsError::NotFound).map_err(at(source))?;
    if from.demands_directory && node.is_file() {
        return Err(at(source)(FsError::NotADirectory));
    }
    let (to, path) = destination(source, target, cwd)?;
    if to.demands_directory && node.is_file() {
        return Err(at(target)(FsError::NotADirectory));
    }
    let existing = to.dir.lock().lookup(&to.name).map_err(at(&path))?;
    if existing.is_some_and(|existing| existing.ptr_eq(&node)) {
        return Err(Failure { path, cause: Cause::SameFile });
    }
    match fs_node::rename(&from.dir, &from.name, &to.dir, &to.name) {
        // What cannot be moved is copied, and then removed.
        Err(FsError::OtherFileSystem) => {
            copy(source, target, cwd, true).into_iter().next().map_or(Ok(()), Err)?;
            remove(source, cwd, true).into_iter().next().map_or(Ok(()), Err)
        }
        result => result.map_err(|error| match error {
            FsError::NotFound => at(source)(error),
            error => at(&path)(error),
        }),
    }
}

/// The entries of a directory, as they are now.
pub fn entries(dir: &DirRef) -> Vec<(String, FileOrDir)> {
    let dir = dir.lock();
    let names = dir.list();
    names.into_iter().filter_map(|name| dir.get(&name).map(|node| (name, node))).collect()
}

/// Whether `dir` is `other` or contains it.
fn contains(dir: &DirRef, other: &DirRef) -> bool {
    let location = dir.lock().location().clone();
    let other = if Arc::ptr_eq(dir, other) { location.clone() } else { other.lock().location().clone() };
    location.contains(&other)
}
