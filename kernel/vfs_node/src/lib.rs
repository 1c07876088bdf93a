//! A directory in memory.
//!
//! Its entries may be nodes of any kind: a file system of another kind is mounted by inserting its root here.
//!
//! # Invariants
//! * The key of each entry is the entry's name, and the entry's location names this directory.
//! * A directory that was removed is empty, and stays empty.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use fs_node::{
    DirRef, Directory, Entry, FileKind, FileOrDir, FsError, FsNode, Listed, Location, Metadata, NewNode,
    NodeTimes, Times, check_name,
};
use io::IoError;
use spin::Mutex;

/// A directory that keeps its entries in memory.
pub struct VFSDirectory {
    children: BTreeMap<String, Entry>,
    location: Arc<Location>,
    /// The reference that the locations of the children get.
    this: Weak<Mutex<VFSDirectory>>,
    times: NodeTimes,
}

impl VFSDirectory {
    /// Creates an empty directory called `name` in `parent`.
    ///
    /// # Errors
    /// The name is invalid or taken, or `parent` has been removed.
    ///
    /// # Locking
    /// Takes the lock of `parent`.
    pub fn create(name: String, parent: &DirRef) -> Result<DirRef, &'static str> {
        Ok(Self::create_new(&name, parent)?)
    }

    /// [`VFSDirectory::create`] with an error that can be matched. If `parent` makes its entries itself, as one on a disk does, it is such a
    /// directory that is created.
    ///
    /// # Errors
    /// [`FsError::AlreadyExists`], [`FsError::InvalidName`], [`FsError::NameTooLong`], [`FsError::Removed`], and what a file system reports.
    ///
    /// # Locking
    /// Takes the lock of `parent`.
    pub fn create_new(name: &str, parent: &DirRef) -> Result<DirRef, FsError> {
        check_name(name)?;
        match parent.lock().create(name, NewNode::Directory)? {
            Some(FileOrDir::Dir(dir)) => return Ok(dir),
            Some(FileOrDir::File(_)) => return Err(FsError::NotADirectory),
            None => {}
        }
        let dir = Self::new(name);
        let entry = Entry::new(FileOrDir::Dir(dir.clone()));
        parent.lock().insert_entry(entry, false)?;
        Ok(dir)
    }

    /// Creates a directory that is in no other: the root of a tree.
    pub fn create_root() -> DirRef {
        Self::new("")
    }

    fn new(name: &str) -> Arc<Mutex<VFSDirectory>> {
        Arc::new_cyclic(|this| {
            Mutex::new(VFSDirectory {
                children: BTreeMap::new(),
                location: Location::new(name.to_string()),
                this: this.clone(),
                times: NodeTimes::starting(fs_node::now()),
            })
        })
    }
}

impl FsNode for VFSDirectory {
    fn location(&self) -> &Arc<Location> {
        &self.location
    }

    fn metadata(&self) -> Metadata {
        Metadata {
            kind: FileKind::Directory,
            id: self.location.id(),
            links: 1,
            size: self.children.len(),
            writable: true,
            times: self.times,
        }
    }

    fn set_times(&mut self, times: Times) -> Result<(), IoError> {
        self.times.set(times);
        Ok(())
    }
}

impl Directory for VFSDirectory {
    fn get_entry(&self, name: &str) -> Option<Entry> {
        self.children.get(name).cloned()
    }

    fn get(&self, name: &str) -> Option<FileOrDir> {
        self.children.get(name).map(|entry| entry.node().clone())
    }

    fn insert_entry(&mut self, entry: Entry, replace: bool) -> Result<Option<Entry>, FsError> {
        let name = entry.location().name();
        check_name(&name)?;
        if self.location.is_removed() {
            return Err(FsError::Removed);
        }
        if entry.location().is_attached() {
            return Err(FsError::InUse);
        }
        if entry.location().contains(&self.location) {
            return Err(FsError::IntoItself);
        }
        let old = match self.children.get(&name) {
            None => None,
            Some(_) if !replace => return Err(FsError::AlreadyExists),
            Some(old) => {
                match (old.node(), entry.node()) {
                    (FileOrDir::File(_), FileOrDir::File(_)) => old.location().detach(),
                    (FileOrDir::File(_), FileOrDir::Dir(_)) => return Err(FsError::NotADirectory),
                    (FileOrDir::Dir(_), FileOrDir::File(_)) => return Err(FsError::IsADirectory),
                    (FileOrDir::Dir(dir), FileOrDir::Dir(_)) => detach_if_empty(dir)?,
                }
                self.children.remove(&name)
            }
        };
        entry.location().attach(self.this.clone(), self.location.clone());
        self.children.insert(name, entry);
        self.times.modified = fs_node::now();
        Ok(old)
    }

    fn remove(&mut self, node: &FileOrDir) -> Option<FileOrDir> {
        let name = self.children.iter().find(|(_, entry)| entry.node().ptr_eq(node))?.0.clone();
        if let FileOrDir::Dir(dir) = node {
            detach_if_empty(dir).ok()?;
        }
        self.remove_entry(&name).map(Entry::into_node)
    }

    fn remove_entry(&mut self, name: &str) -> Option<Entry> {
        let entry = self.children.remove(name)?;
        entry.location().detach();
        self.times.modified = fs_node::now();
        Some(entry)
    }

    fn entries(&self) -> Result<Vec<Listed>, FsError> {
        let mut entries = Vec::new();
        entries.try_reserve_exact(self.children.len()).map_err(|_| FsError::Io(IoError::OutOfMemory))?;
        entries.extend(self.children.iter().map(|(name, entry)| {
            let kind = match entry.node() {
                FileOrDir::Dir(_) => FileKind::Directory,
                FileOrDir::File(file) if file.lock().link_target().is_some() => FileKind::SymbolicLink,
                FileOrDir::File(_) => FileKind::File,
            };
            Listed { name: name.clone(), id: entry.location().id(), kind }
        }));
        Ok(entries)
    }

    fn list(&self) -> Vec<String> {
        self.children.keys().cloned().collect()
    }

    fn is_empty(&self) -> bool {
        self.children.is_empty()
    }
}

/// Marks a child as removed, if it has no entries. It is locked meanwhile, so that none can come in between.
fn detach_if_empty(dir: &DirRef) -> Result<(), FsError> {
    let dir = dir.lock();
    if dir.file_system() != 0 {
        return Err(FsError::MountPoint);
    }
    if !dir.is_empty() {
        return Err(FsError::NotEmpty);
    }
    dir.location().detach();
    Ok(())
}

impl Drop for VFSDirectory {
    /// Drops the tree below level by level. By recursion, its depth would be bounded by the size of a kernel stack.
    fn drop(&mut self) {
        let mut doomed: Vec<Entry> = core::mem::take(&mut self.children).into_values().collect();
        while let Some(entry) = doomed.pop() {
            // Whoever still holds the node must not reach this directory by it any more.
            entry.location().detach();
            if let FileOrDir::Dir(dir) = entry.into_node()
                && Arc::strong_count(&dir) == 1
            {
                let mut dir = dir.lock();
                for name in dir.list() {
                    doomed.extend(dir.remove_entry(&name));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
