//! [`mount`].

use crate::{Archive, ArchiveError, ArchiveErrorKind, Entry, EntryKind};
use alloc::collections::BTreeMap;
use alloc::string::String;
use fs_node::{DirRef, FileOrDir, FsError, MAX_NAME_LENGTH, Times};
use memfs::MemFile;
use path::{Component, Path};
use vfs_node::VFSDirectory;

/// Shows the files of an archive below `root`, read-only and without copying them, with their times; makes directories as
/// needed. Returns the number of files.
///
/// # Errors
/// [`ArchiveError`]. The whole archive is checked first, so unless a name is taken by something that was in the tree
/// before, nothing has been added then.
///
/// # Locking
/// Takes the locks of `root` and of directories below it, one at a time.
pub fn mount(archive: &'static [u8], root: &DirRef) -> Result<usize, ArchiveError> {
    let mut kinds = BTreeMap::new();
    for entry in Archive::new(archive) {
        check(&entry?, &mut kinds)?;
    }
    let mut files = 0;
    for entry in Archive::new(archive) {
        let entry = entry?;
        add(&entry, root).map_err(|_| entry.error(ArchiveErrorKind::NameTaken))?;
        files += usize::from(entry.kind == EntryKind::File);
    }
    Ok(files)
}

impl Entry<'_> {
    fn error(&self, kind: ArchiveErrorKind) -> ArchiveError {
        ArchiveError { offset: self.offset, kind }
    }
}

/// Checks an entry against those before it, whose kinds by path are `kinds`.
fn check(entry: &Entry<'_>, kinds: &mut BTreeMap<String, EntryKind>) -> Result<(), ArchiveError> {
    let mut names = names(entry).ok_or(entry.error(ArchiveErrorKind::BadName))?.peekable();
    let mut path = String::new();
    while let Some(name) = names.next() {
        path.push('/');
        path.push_str(name);
        let kind = if names.peek().is_some() { EntryKind::Directory } else { entry.kind };
        match kinds.get(&path) {
            Some(EntryKind::Directory) if kind == EntryKind::Directory => {}
            Some(_) => return Err(entry.error(ArchiveErrorKind::NameTaken)),
            None => {
                kinds.insert(path.clone(), kind);
            }
        }
    }
    // Nothing but the root itself, which cpio calls `.`: fine for a directory.
    if path.is_empty() && entry.kind == EntryKind::File {
        return Err(entry.error(ArchiveErrorKind::BadName));
    }
    Ok(())
}

/// The names on the way from the root to the entry; `None` if they aren't all plain names.
fn names<'a>(entry: &Entry<'a>) -> Option<impl Iterator<Item = &'a str> + use<'a>> {
    let components = Path::new(entry.name).components();
    let plain = |part| match part {
        Component::Normal(name) => name.len() <= MAX_NAME_LENGTH,
        Component::RootDir | Component::CurDir => true,
        Component::ParentDir => false,
    };
    if entry.name.is_empty() || !components.clone().all(plain) {
        return None;
    }
    Some(components.filter_map(|part| match part {
        Component::Normal(name) => Some(name),
        _ => None,
    }))
}

/// Adds one entry to the tree.
fn add(entry: &Entry<'static>, root: &DirRef) -> Result<(), FsError> {
    let mut dir = root.clone();
    let mut names = names(entry).ok_or(FsError::InvalidName)?.peekable();
    while let Some(name) = names.next() {
        if entry.kind == EntryKind::File && names.peek().is_none() {
            let file = MemFile::from_static(entry.data, name, &dir)?;
            file.lock().set_times(Times { modified: Some(entry.modified), accessed: None })?;
            return Ok(());
        }
        let existing = dir.lock().get(name);
        dir = match existing {
            Some(FileOrDir::Dir(below)) => below,
            Some(FileOrDir::File(_)) => return Err(FsError::NotADirectory),
            None => VFSDirectory::create_new(name, &dir)?,
        };
    }
    Ok(())
}
