//! [`copy`].

use crate::{Cause, Failure, at, contains, destination, entries};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use fs_node::{DirRef, FileOrDir, FileRef, FsError, remove_file};
use io::IoError;
use memfs::MemFile;
use path::Path;
use vfs_node::VFSDirectory;

/// How many bytes are copied with one call.
const CHUNK: usize = 64 << 10;

/// Copies what is at `source` to `target`: into it, if it is a directory, else to that path, where a file's content is
/// replaced. With `recursive`, directories are copied with all that is in them, into those that are there. Returns what could
/// not be copied; the rest has been.
pub fn copy(source: &Path, target: &Path, cwd: &DirRef, recursive: bool) -> Vec<Failure> {
    let mut failures = Vec::new();
    if let Err(failure) = copy_node(source, target, cwd, recursive, &mut failures) {
        failures.push(failure);
    }
    failures
}

fn copy_node(
    source: &Path,
    target: &Path,
    cwd: &DirRef,
    recursive: bool,
    failures: &mut Vec<Failure>,
) -> Result<(), Failure> {
    let node = source.resolve(cwd).map_err(at(source))?;
    let dir = match &node {
        FileOrDir::Dir(_) if !recursive => {
            return Err(Failure { path: source.as_str().into(), cause: Cause::NeedsRecursive });
        }
        FileOrDir::Dir(dir) => Some(dir),
        FileOrDir::File(_) => None,
    };
    let (to, path) = destination(source, target, cwd)?;
    if let FileOrDir::File(file) = &node {
        if to.demands_directory {
            return Err(at(target)(FsError::NotADirectory));
        }
        return copy_file(file, &to.dir, &to.name, path);
    }
    if dir.is_some_and(|dir| contains(dir, &to.dir)) {
        return Err(at(&path)(FsError::IntoItself));
    }
    // Nodes to be copied: what, into which directory, under which name, and the target's path.
    let mut work = vec![(node, to.dir, to.name, path)];
    while let Some((node, parent, name, path)) = work.pop() {
        let result = match node {
            FileOrDir::File(file) => copy_file(&file, &parent, &name, path),
            FileOrDir::Dir(dir) => copy_dir(&parent, &name).map_err(at(&path)).map(|copied| {
                for (name, node) in entries(&dir).into_iter().rev() {
                    let path = String::from(Path::new(&path).join(&name));
                    work.push((node, copied.clone(), name, path));
                }
            }),
        };
        failures.extend(result.err());
    }
    Ok(())
}

/// The directory called `name` in `parent`, created if it isn't there.
fn copy_dir(parent: &DirRef, name: &str) -> Result<DirRef, FsError> {
    match VFSDirectory::create_new(name, parent) {
        Err(FsError::AlreadyExists) => parent.lock().get_dir(name).ok_or(FsError::NotADirectory),
        result => result,
    }
}

/// Copies a file to the name `name` in `parent`; `path` is for messages.
fn copy_file(source: &FileRef, parent: &DirRef, name: &str, path: String) -> Result<(), Failure> {
    let existing = parent.lock().lookup(name).map_err(at(&path))?;
    match existing {
        Some(FileOrDir::Dir(_)) => Err(at(&path)(FsError::IsADirectory)),
        Some(FileOrDir::File(target)) if Arc::ptr_eq(&target, source) => {
            Err(Failure { path, cause: Cause::SameFile })
        }
        Some(FileOrDir::File(target)) => {
            copy_content(source, &target).map_err(|error| at(&path)(FsError::Io(error)))
        }
        None => {
            let target = MemFile::create_new(name, parent).map_err(at(&path))?;
            copy_content(source, &target).map_err(|error| {
                // Half a file is worse than none. If it is gone already, that is as well.
                let _ = remove_file(parent, name);
                at(&path)(FsError::Io(error))
            })
        }
    }
}

/// Makes the content of `target` that of `source`, which must be another file.
///
/// # Errors
/// [`IoError::ReadOnly`], [`IoError::OutOfMemory`]; in the latter case `target` has a part of the content.
pub fn copy_content(source: &FileRef, target: &FileRef) -> Result<(), IoError> {
    // Room for all of it at once, rather than growing step by step.
    let length = source.lock().len();
    target.lock().truncate(0)?;
    let bytes = source.lock().as_static_slice();
    if let Some(bytes) = bytes {
        target.lock().write_at(bytes, 0)?;
        return Ok(());
    }
    let mut buffer = Vec::new();
    buffer.try_reserve_exact(CHUNK.min(length)).map_err(|_| IoError::OutOfMemory)?;
    buffer.resize(CHUNK.min(length), 0);
    target.lock().truncate(length)?;
    let mut offset = 0;
    while offset < length {
        let count = source.lock().read_at(&mut buffer, offset)?;
        if count == 0 {
            break;
        }
        let count = count.min(length - offset);
        target.lock().write_at(&buffer[..count], offset)?;
        offset += count;
    }
    // The source may have become shorter meanwhile.
    if offset < length { target.lock().truncate(offset) } else { Ok(()) }
}
