//! Operations that concern several nodes at once.

use crate::{DirRef, Directory, Entry, FileOrDir, FsError, check_name};
use alloc::string::ToString;
use alloc::sync::Arc;
use spin::Mutex;

/// Held during a [`rename`]: the only operation that changes who is whose ancestor, and that locks unrelated directories.
static RENAMING: Mutex<()> = Mutex::new(());

/// Gives the file called `name` in `from` a second name, `new_name` in `to`: after that there is no difference between the two.
///
/// # Errors
/// [`FsError::NotFound`]; [`FsError::IsADirectory`]; [`FsError::OtherFileSystem`]; [`FsError::Unsupported`] if the file system has no such
/// links; [`FsError::AlreadyExists`]; [`FsError::InvalidName`], [`FsError::NameTooLong`]; [`FsError::Removed`] if `to` is no longer part of the tree.
///
/// # Locking
/// Takes the locks of `from`, of the file, and of `to`, one after the other.
pub fn link(from: &DirRef, name: &str, to: &DirRef, new_name: &str) -> Result<(), FsError> {
    check_name(new_name)?;
    let (node, file_system) = {
        let from = from.lock();
        (from.lookup(name)?, from.file_system())
    };
    let file = match node {
        None => return Err(FsError::NotFound),
        Some(FileOrDir::Dir(_)) => return Err(FsError::IsADirectory),
        Some(FileOrDir::File(file)) => file,
    };
    if to.lock().file_system() != file_system {
        return Err(FsError::OtherFileSystem);
    }
    // If it is removed meanwhile, that is as if it was removed just afterwards.
    let entry = Entry::another(file, new_name)?;
    to.lock().insert_entry(entry, false)?;
    Ok(())
}

/// Removes the file called `name` from `dir`. Whoever holds the file can go on using it.
///
/// # Errors
/// [`FsError::NotFound`], [`FsError::IsADirectory`], and whatever the file system reports.
///
/// # Locking
/// Takes the lock of `dir`.
pub fn remove_file(dir: &DirRef, name: &str) -> Result<(), FsError> {
    let removed = {
        let mut dir = dir.lock();
        match dir.lookup(name)? {
            None => return Err(FsError::NotFound),
            Some(FileOrDir::Dir(_)) => return Err(FsError::IsADirectory),
            Some(node @ FileOrDir::File(_)) if dir.file_system() != 0 => dir.try_remove(&node).map(Some)?,
            Some(FileOrDir::File(_)) => dir.remove_entry(name).map(Entry::into_node),
        }
    };
    // The file's pages are given back here, with the directory unlocked.
    drop(removed);
    Ok(())
}

/// Removes the empty directory called `name` from `dir`.
///
/// # Errors
/// [`FsError::NotFound`], [`FsError::NotADirectory`], [`FsError::NotEmpty`], [`FsError::MountPoint`], and whatever the file system reports.
///
/// # Locking
/// Takes the lock of `dir`, and then that of the directory to be removed.
pub fn remove_dir(dir: &DirRef, name: &str) -> Result<(), FsError> {
    let mut parent = dir.lock();
    match parent.lookup(name)? {
        None => Err(FsError::NotFound),
        Some(FileOrDir::File(_)) => Err(FsError::NotADirectory),
        Some(FileOrDir::Dir(dir)) if dir.lock().file_system() != parent.file_system() => {
            Err(FsError::MountPoint)
        }
        Some(node @ FileOrDir::Dir(_)) => parent.try_remove(&node).map(drop),
    }
}

/// Gives the entry `from_name` of `from` the name `to_name` in `to`, which may be the same directory. A file replaces a
/// file of that name; a directory replaces an *empty* directory of that name. Nobody who looks into one of the two
/// directories finds neither. If both are names of the same file, nothing is done.
///
/// # Errors
/// Nothing has changed if this fails: [`FsError::NotFound`]; [`FsError::IntoItself`] if a directory would end up inside itself;
/// [`FsError::IsADirectory`], [`FsError::NotADirectory`], [`FsError::NotEmpty`] if the target can't be replaced;
/// [`FsError::InvalidName`], [`FsError::NameTooLong`]; [`FsError::Removed`] if `to` is no longer part of the tree;
/// [`FsError::OtherFileSystem`], [`FsError::MountPoint`], and whatever the file system reports.
///
/// # Locking
/// Takes the locks of both directories.
pub fn rename(from: &DirRef, from_name: &str, to: &DirRef, to_name: &str) -> Result<(), FsError> {
    check_name(to_name)?;
    let _renaming = RENAMING.lock();
    let replaced = if Arc::ptr_eq(from, to) {
        move_entry(&mut *from.lock(), from_name, None, to_name)?
    } else {
        let from_location = from.lock().location().clone();
        let to_location = to.lock().location().clone();
        // Ancestors first: no one else changes who that is, because renames exclude each other.
        let (mut source, mut target) = if to_location.contains(&from_location) {
            let target = to.lock();
            (from.lock(), target)
        } else {
            (from.lock(), to.lock())
        };
        move_entry(&mut *source, from_name, Some(&mut *target), to_name)?
    };
    // What was replaced is dropped with the directories unlocked.
    drop(replaced);
    Ok(())
}

/// Moves an entry from `source` to `target`, or within `source`, and returns what it replaced. Both are locked.
fn move_entry(
    source: &mut dyn Directory,
    from_name: &str,
    mut target: Option<&mut dyn Directory>,
    to_name: &str,
) -> Result<Option<Entry>, FsError> {
    source.lookup(from_name)?;
    let entry = source.get_entry(from_name).ok_or(FsError::NotFound)?;
    let into: &dyn Directory = target.as_deref().unwrap_or(source);
    if source.file_system() != into.file_system() {
        return Err(FsError::OtherFileSystem);
    }
    if into.location().is_removed() {
        return Err(FsError::Removed);
    }
    if entry.location().contains(into.location()) {
        return Err(FsError::IntoItself);
    }
    if let FileOrDir::Dir(dir) = entry.node()
        && dir.lock().file_system() != source.file_system()
    {
        return Err(FsError::MountPoint);
    }
    into.lookup(to_name)?;
    if let Some(replaced) = into.get_entry(to_name) {
        if replaced.node().ptr_eq(entry.node()) {
            return Ok(None);
        }
        // A directory that contains the source isn't empty. To find that out by locking it would be against the order.
        if replaced.location().contains(source.location()) {
            return Err(FsError::NotEmpty);
        }
    }

    if source.file_system() != 0 {
        return source.move_entry(from_name, target, to_name);
    }
    let entry = source.remove_entry(from_name).ok_or(FsError::NotFound)?;
    entry.location().set_name(to_name.to_string());
    let into: &mut dyn Directory = match &mut target {
        Some(target) => *target,
        None => source,
    };
    into.insert_entry(entry.clone(), true).inspect_err(|_| {
        entry.location().set_name(from_name.to_string());
        // The name has just become free in a directory that is locked and not removed (it had an entry).
        let back = source.insert_entry(entry, false);
        debug_assert!(back.is_ok());
    })
}
