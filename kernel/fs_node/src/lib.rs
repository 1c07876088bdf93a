//! What files and directories are.
//!
//! [`File`] and [`Directory`] are traits, so that what lies behind a path may be memory, a device, or the state of
//! the kernel. [`FileRef`] and [`DirRef`] are shared, locked references to them, and a [`FileOrDir`] is either.
//! Where a node hangs in the tree is its [`Location`], and what is known about it is its [`Metadata`].
//! Operations that concern several nodes at once are functions: [`rename`], [`link`], [`remove_file`], [`remove_dir`].
//!
//! # Locking
//! * A [`Location`] is a leaf: its lock is held for a few instructions, never while another lock is taken. Names and
//!   paths come from locations alone. A file may therefore stay locked (while it is borrowed by
//!   `File::as_mapping`, say) and directories can still be searched, listed and changed.
//! * Who holds a directory's lock may take the lock of one of its *children*, never that of an ancestor or of a stranger.
//!   Only [`rename`] locks two unrelated directories, and it does so one rename at a time, ancestors first.
//!
//! # Invariants
//! * A directory is in at most one other, and its location names that. A file may have several names, in one directory or in several
//!   ([`link`]): it has a location for each, and an [`Entry`] is a file together with one of them.
//! * A removed node stays usable by whoever still holds it, like an open file that was unlinked. A removed directory is
//!   empty and takes no new entries.
//! * The tree has no cycles: a directory cannot be moved into itself or below itself.
//!
//! # Time
//! This crate lies below the clocks, so the wall clock is a callback: [`set_clock`]. Times are
//! [`Duration`](core::time::Duration)s since the Unix epoch, and zero until a clock is set.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

mod clock;
mod error;
mod location;
mod metadata;
mod tree;

pub use clock::{now, set_clock};
pub use error::FsError;
pub use location::{Location, MAX_NAME_LENGTH, check_name};
pub use metadata::{FileKind, Metadata, NodeTimes, Times};
pub use tree::{link, remove_dir, remove_file, rename};

use alloc::string::String;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::any::Any;
use core::fmt;
use io::{ByteReader, ByteWriter, IoError, KnownLength};
use spin::Mutex;

/// A shared, locked reference to a file.
pub type FileRef = Arc<Mutex<dyn File + Send>>;
/// A shared, locked reference to a directory.
pub type DirRef = Arc<Mutex<dyn Directory + Send>>;
/// A reference to a file that doesn't keep it alive.
pub type WeakFileRef = Weak<Mutex<dyn File + Send>>;
/// A reference to a directory that doesn't keep it alive.
pub type WeakDirRef = Weak<Mutex<dyn Directory + Send>>;

/// What files and directories have in common.
pub trait FsNode {
    /// Where the node hangs in the tree: its first name. It is the same object for the node's whole life, also if that name was removed and
    /// others are left ([`Location::current`]).
    fn location(&self) -> &Arc<Location>;

    /// What is known about the node.
    fn metadata(&self) -> Metadata;

    /// Sets the node's times; what is `None` stays as it is.
    ///
    /// # Errors
    /// [`IoError::ReadOnly`] if this node's times can't be set.
    fn set_times(&mut self, times: Times) -> Result<(), IoError>;

    /// The path from the root to this node, such as `/tmp/a`; see [`Location::absolute_path`].
    fn get_absolute_path(&self) -> String {
        self.location().current().absolute_path()
    }

    /// The node's name in its directory; empty for the root.
    fn get_name(&self) -> String {
        self.location().current().name()
    }

    /// The directory that contains this node: `None` for a root and for a node that has been removed.
    fn get_parent_dir(&self) -> Option<DirRef> {
        self.location().current().parent()
    }
}

/// A sequence of bytes with a name.
pub trait File: FsNode + ByteReader + ByteWriter + KnownLength {
    /// The file's content as mapped memory, if that is what it is kept in, so that it can be used without copying.
    ///
    /// The file's bytes begin at offset zero and there are [`KnownLength::len`] of them. What follows up to the end of the last
    /// page is unspecified.
    ///
    /// # Errors
    /// If the content is not kept in mapped pages, or if the file is empty.
    ///
    /// (Absent from host builds, which have no mappings.)
    #[cfg(target_os = "theseus")]
    fn as_mapping(&self) -> Result<&memory::MappedPages, &'static str>;

    /// The file's content, if it lies in memory that never moves, changes or goes away: a file of the boot archive.
    fn as_static_slice(&self) -> Option<&'static [u8]> {
        None
    }

    /// The path that the file stands for, if it is a symbolic link. One that is relative begins at the directory that contains the link.
    fn link_target(&self) -> Option<&str> {
        None
    }

    /// Whether the file can have several names, each an [`Entry`] of its own.
    fn has_links(&self) -> bool {
        false
    }

    /// Makes sure that there is room for `length` bytes at `offset`, as far as that can be said beforehand. The file gets no longer by it.
    ///
    /// # Errors
    /// [`IoError::ReadOnly`], [`IoError::OutOfMemory`], or [`IoError::InvalidInput`] if no file can be so long.
    fn make_room(&mut self, offset: usize, length: usize) -> Result<(), IoError> {
        let _ = (offset, length);
        Ok(())
    }

    /// Makes room for the first of `length` bytes at `offset`, for as many as can be done quickly. Returns for how many: all of them where
    /// [`make_room`](Self::make_room) does nothing, and at least one if `length` is not zero.
    ///
    /// # Errors
    /// As [`make_room`](Self::make_room), of all the bytes if they are beyond what a file can have.
    fn make_some_room(&mut self, offset: usize, length: usize) -> Result<usize, IoError> {
        self.make_room(offset, length).map(|()| length)
    }

    /// Gives back what [`make_room`](Self::make_room) has made behind the end and nobody has written to, or a part of it if that takes long. Returns
    /// whether it is done. Nothing else of the file changes.
    fn release_room(&mut self) -> bool {
        true
    }

    /// Makes the file exactly `length` bytes long, by cutting it off or by adding zeroes.
    ///
    /// # Errors
    /// [`IoError::ReadOnly`], [`IoError::OutOfMemory`], or [`IoError::InvalidInput`] for an impossible length.
    fn truncate(&mut self, length: usize) -> Result<(), IoError>;

    /// Makes the file `length` bytes long, or does a part of that if it takes long: then it has a length in between. Returns whether it is done.
    ///
    /// # Errors
    /// As [`truncate`](Self::truncate).
    fn truncate_some(&mut self, length: usize) -> Result<bool, IoError> {
        self.truncate(length).map(|()| true)
    }
}

/// An entry of a directory, as [`Directory::entries`] tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// The node's number; see [`Metadata::id`].
    pub id: u64,
    /// What it is.
    pub kind: FileKind,
}

/// A node that does not exist yet; see [`Directory::create`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NewNode<'a> {
    /// An empty file.
    File,
    /// An empty directory.
    Directory,
    /// A symbolic link to this path.
    SymbolicLink(&'a str),
}

/// A set of files and directories with distinct names.
///
/// Directories in memory take nodes of any kind, by [`insert_entry`](Self::insert_entry). A directory of a *file system*, on a disk for instance, has
/// entries of its own kind only: it makes them itself ([`create`](Self::create)), and only it can move them
/// ([`move_entry`](Self::move_entry)). What such a directory does can fail, so who wants to know why a look or a removal failed uses
/// [`lookup`](Self::lookup), [`names`](Self::names) and [`try_remove`](Self::try_remove).
pub trait Directory: FsNode + Any {
    /// The number of the file system that the directory belongs to; zero for directories in memory.
    fn file_system(&self) -> u64 {
        0
    }

    /// As [`get`](Self::get), and says whether the look itself failed.
    ///
    /// # Errors
    /// The disk could not be read.
    fn lookup(&self, name: &str) -> Result<Option<FileOrDir>, FsError> {
        Ok(self.get(name))
    }

    /// As [`list`](Self::list), and says whether the look itself failed.
    ///
    /// # Errors
    /// The disk could not be read.
    fn names(&self) -> Result<Vec<String>, FsError> {
        Ok(self.list())
    }

    /// What there is, in ascending order of the names. What vanishes meanwhile is left out.
    ///
    /// # Errors
    /// The disk could not be read.
    ///
    /// # Locking
    /// Takes the locks of entries, one after the other.
    fn entries(&self) -> Result<Vec<Listed>, FsError> {
        let mut entries = Vec::new();
        for name in self.names()? {
            if let Some(node) = self.lookup(&name)? {
                let Metadata { id, kind, .. } = node.metadata();
                entries.push(Listed { name, id, kind });
            }
        }
        Ok(entries)
    }

    /// Makes a node called `name`, if this directory makes its nodes itself. `None` if it takes what is inserted.
    ///
    /// # Errors
    /// [`FsError::AlreadyExists`], and whatever the file system reports.
    fn create(&mut self, name: &str, node: NewNode<'_>) -> Result<Option<FileOrDir>, FsError> {
        let _ = (name, node);
        Ok(None)
    }

    /// As [`remove`](Self::remove), and says why it failed.
    ///
    /// # Errors
    /// [`FsError::NotEmpty`], [`FsError::NotFound`], and whatever the file system reports.
    fn try_remove(&mut self, node: &FileOrDir) -> Result<FileOrDir, FsError> {
        self.remove(node).ok_or(if node.is_dir() { FsError::NotEmpty } else { FsError::NotFound })
    }

    /// Gives the entry `from_name` the name `to_name` in `to`, or in this directory if that is `None`; returns what it replaced. For
    /// [`rename`], between two directories of one file system whose number is not zero; `rename` has checked that the move is possible.
    ///
    /// # Errors
    /// Whatever the file system reports. Nothing has changed then.
    fn move_entry(
        &mut self,
        from_name: &str,
        to: Option<&mut dyn Directory>,
        to_name: &str,
    ) -> Result<Option<Entry>, FsError> {
        let _ = (from_name, to, to_name);
        Err(FsError::Unsupported)
    }

    /// Makes sure that what was changed in the directory is where it belongs.
    ///
    /// # Errors
    /// Whatever the device below reports.
    fn sync(&mut self) -> Result<(), IoError> {
        Ok(())
    }

    /// The entry called `name`, with its location. The names `.` and `..` are no entries; paths know what they mean.
    fn get_entry(&self, name: &str) -> Option<Entry>;

    /// The node called `name`. The names `.` and `..` are no entries; paths know what they mean.
    fn get(&self, name: &str) -> Option<FileOrDir> {
        self.get_entry(name).map(Entry::into_node)
    }

    /// The file called `name`.
    fn get_file(&self, name: &str) -> Option<FileRef> {
        match self.get(name) {
            Some(FileOrDir::File(file)) => Some(file),
            _ => None,
        }
    }

    /// The directory called `name`.
    fn get_dir(&self, name: &str) -> Option<DirRef> {
        match self.get(name) {
            Some(FileOrDir::Dir(dir)) => Some(dir),
            _ => None,
        }
    }

    /// Adds `node` under its own name. A node that had this name is replaced and returned.
    ///
    /// # Errors
    /// See [`Directory::insert_entry`].
    ///
    /// # Locking
    /// Takes the lock of `node`, which the caller must therefore not hold.
    fn insert(&mut self, node: FileOrDir) -> Result<Option<FileOrDir>, &'static str> {
        let replaced = self.insert_entry(Entry::new(node), true)?;
        Ok(replaced.map(|entry| entry.node))
    }

    /// Adds an entry that is in no directory; with `replace`, in place of one with the same name, which is returned.
    ///
    /// # Errors
    /// Nothing has changed if this fails:
    /// [`FsError::AlreadyExists`] without `replace`; [`FsError::IsADirectory`] if a file would replace a
    /// directory, [`FsError::NotADirectory`] the other way round; [`FsError::NotEmpty`] if the directory to replace
    /// has entries; [`FsError::Removed`] if this directory is no longer part of the tree;
    /// [`FsError::InvalidName`] or [`FsError::NameTooLong`] for the entry's name.
    fn insert_entry(&mut self, entry: Entry, replace: bool) -> Result<Option<Entry>, FsError>;

    /// Removes the entry that is `node`, the first one if it has several names here, and returns it. `None` if there is none, or if it is a directory that is not empty.
    fn remove(&mut self, node: &FileOrDir) -> Option<FileOrDir>;

    /// Takes the entry called `name` out of the directory, even if it is a directory with entries. It counts as removed until it is
    /// inserted elsewhere, which is how [`rename`] moves it; to remove it for good, use [`remove_file`] or [`remove_dir`].
    fn remove_entry(&mut self, name: &str) -> Option<Entry>;

    /// The names of all entries, in ascending order.
    fn list(&self) -> Vec<String>;

    /// Whether there are no entries.
    fn is_empty(&self) -> bool {
        self.list().is_empty()
    }
}

/// A reference to a file or to a directory.
#[derive(Clone)]
pub enum FileOrDir {
    /// A file.
    File(FileRef),
    /// A directory.
    Dir(DirRef),
}

impl FileOrDir {
    /// Whether this is a file.
    pub fn is_file(&self) -> bool {
        matches!(self, FileOrDir::File(_))
    }

    /// Whether this is a directory.
    pub fn is_dir(&self) -> bool {
        matches!(self, FileOrDir::Dir(_))
    }

    /// Whether both refer to the same node.
    pub fn ptr_eq(&self, other: &FileOrDir) -> bool {
        match (self, other) {
            (FileOrDir::File(a), FileOrDir::File(b)) => Arc::ptr_eq(a, b),
            (FileOrDir::Dir(a), FileOrDir::Dir(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }

    /// Where the node hangs in the tree. Takes the node's lock.
    pub fn location(&self) -> Arc<Location> {
        match self {
            FileOrDir::File(file) => file.lock().location().clone(),
            FileOrDir::Dir(dir) => dir.lock().location().clone(),
        }
    }

    /// What is known about the node. Takes the node's lock.
    pub fn metadata(&self) -> Metadata {
        match self {
            FileOrDir::File(file) => file.lock().metadata(),
            FileOrDir::Dir(dir) => dir.lock().metadata(),
        }
    }

    /// The path from the root to the node. Takes the node's lock.
    pub fn get_absolute_path(&self) -> String {
        self.location().current().absolute_path()
    }

    /// The node's name in its directory. Takes the node's lock.
    pub fn get_name(&self) -> String {
        self.location().current().name()
    }

    /// The directory that contains the node. Takes the node's lock.
    pub fn get_parent_dir(&self) -> Option<DirRef> {
        self.location().current().parent()
    }
}

impl fmt::Debug for FileOrDir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_file() { "File" } else { "Dir" })
    }
}

/// A node together with its location, so that directories can find and change an entry's name and parent without
/// taking the node's lock.
#[derive(Clone)]
pub struct Entry {
    node: FileOrDir,
    location: Arc<Location>,
}

impl Entry {
    /// Takes the lock of `node` for a moment, which the caller must therefore not hold.
    pub fn new(node: FileOrDir) -> Self {
        let location = node.location();
        Self { node, location }
    }

    /// For directories that know the location of each of their nodes anyway, and so need no lock: `location` must be that of `node`.
    pub fn with_location(node: FileOrDir, location: Arc<Location>) -> Self {
        Self { node, location }
    }

    /// A second name for a file, which is in no directory yet. Takes the lock of `file` for a moment.
    ///
    /// # Errors
    /// [`FsError::Unsupported`] if it cannot have one.
    pub fn another(file: FileRef, name: &str) -> Result<Self, FsError> {
        let location = {
            let file = file.lock();
            if !file.has_links() {
                return Err(FsError::Unsupported);
            }
            file.location().another(String::from(name))
        };
        Ok(Self { node: FileOrDir::File(file), location })
    }

    /// The node itself.
    pub fn node(&self) -> &FileOrDir {
        &self.node
    }

    /// Where the node hangs in the tree.
    pub fn location(&self) -> &Arc<Location> {
        &self.location
    }

    /// Gives up the location.
    pub fn into_node(self) -> FileOrDir {
        self.node
    }
}
