//! Files in memory.
//!
//! A [`MemFile`] is one of two kinds:
//! * A *growing* file keeps its bytes in pages of its own: up to 16 MiB one after the other in the address space, and moves to twice as many
//!   when they are full, so that the content can be used in place; more, or what is written far behind, in pieces that do not move. Appending
//!   costs constant time per byte on average. Holes, where nothing was ever written, take no memory.
//! * A *fixed* file shows bytes that are in memory anyway, such as a file of the boot archive, without copying them. Writing to
//!   it fails with [`IoError::ReadOnly`]. Removing it takes it out of the tree; the bytes stay where they are.
//!
//! Reading at or after the end yields zero bytes. Lack of memory is an error, and leaves the file as it was. Some memory is always
//! left to others: enough to run programs that remove files.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

mod growing;
mod link;
#[cfg_attr(target_os = "theseus", path = "pages_theseus.rs")]
#[cfg_attr(not(target_os = "theseus"), path = "pages_host.rs")]
mod pages;
#[cfg(test)]
mod tests;

use alloc::string::{String, ToString};
use alloc::sync::Arc;
use fs_node::{
    DirRef, Entry, File, FileKind, FileOrDir, FileRef, FsError, FsNode, Location, Metadata, NewNode,
    NodeTimes, Times, check_name,
};
use growing::Growing;
use io::{ByteReader, ByteWriter, IoError, KnownLength};
pub use link::SymbolicLink;
use pages::{Backing, FixedContent};
use spin::Mutex;

/// How many bytes room is made for at once if that may be interrupted.
const ROOM_AT_ONCE: usize = 4 << 20;

/// Whether there is memory for another file or directory, beyond what is left to others. Whoever makes one because a program asked for it asks
/// first.
pub fn has_room() -> bool {
    pages::may_take(0)
}

/// A file in memory.
pub struct MemFile {
    location: Arc<Location>,
    times: NodeTimes,
    content: Content,
}

enum Content {
    Growing(Growing<Backing>),
    Fixed(FixedContent),
}

impl MemFile {
    /// Creates an empty file called `name` in `parent`. A file that has this name already is replaced.
    ///
    /// # Errors
    /// The name is invalid or that of a directory, `parent` has been removed, or there is not enough memory.
    ///
    /// # Locking
    /// Takes the lock of `parent`.
    pub fn create(name: String, parent: &DirRef) -> Result<FileRef, &'static str> {
        Ok(Self::add(&name, parent, Content::Growing(Growing::new()), true)?)
    }

    /// Creates an empty file called `name` in `parent`. If `parent` makes its entries itself, as one on a disk does, it is such a file that is
    /// created.
    ///
    /// # Errors
    /// [`FsError::AlreadyExists`], [`FsError::InvalidName`], [`FsError::NameTooLong`], [`FsError::Removed`], not enough memory, or what a file
    /// system reports.
    ///
    /// # Locking
    /// Takes the lock of `parent`.
    pub fn create_new(name: &str, parent: &DirRef) -> Result<FileRef, FsError> {
        Self::add(name, parent, Content::Growing(Growing::new()), false)
    }

    /// Creates a read-only file called `name` in `parent` that shows `bytes`, without copying them.
    ///
    /// # Errors
    /// [`FsError::AlreadyExists`], [`FsError::InvalidName`], [`FsError::NameTooLong`], [`FsError::Removed`].
    ///
    /// # Locking
    /// Takes the lock of `parent`.
    pub fn from_static(bytes: &'static [u8], name: &str, parent: &DirRef) -> Result<FileRef, FsError> {
        Self::add(name, parent, Content::Fixed(FixedContent::from_static(bytes)), false)
    }

    /// Creates a file called `name` in `parent`, whose content is the first `len` bytes of `pages`. It can be written to, and grows, if
    /// the pages are writable. A file that has this name already is replaced.
    ///
    /// # Errors
    /// `len` is more than the pages hold, the name is invalid or that of a directory, or `parent` has been removed.
    ///
    /// # Locking
    /// Takes the lock of `parent`.
    #[cfg(target_os = "theseus")]
    pub fn from_mapped_pages(
        pages: memory::MappedPages,
        name: String,
        len: usize,
        parent: &DirRef,
    ) -> Result<FileRef, &'static str> {
        if len > pages.size_in_bytes() {
            return Err("the file would be longer than the pages that hold it");
        }
        let content = if pages.flags().is_writable() {
            Content::Growing(Growing::from_pages(pages, len).map_err(|_| "the pages cannot be written to")?)
        } else {
            Content::Fixed(FixedContent::from_pages(pages, len))
        };
        Ok(Self::add(&name, parent, content, true)?)
    }

    fn add(name: &str, parent: &DirRef, content: Content, replace: bool) -> Result<FileRef, FsError> {
        check_name(name)?;
        if matches!(&content, Content::Growing(growing) if growing.len() == 0) {
            let mut parent = parent.lock();
            if replace
                && parent.file_system() != 0
                && let Some(node @ FileOrDir::File(_)) = parent.lookup(name)?
            {
                parent.try_remove(&node)?;
            }
            match parent.create(name, NewNode::File)? {
                Some(FileOrDir::File(file)) => return Ok(file),
                Some(FileOrDir::Dir(_)) => return Err(FsError::IsADirectory),
                None => {}
            }
        }
        if matches!(content, Content::Growing(_)) && !pages::may_take(0) {
            return Err(FsError::Io(IoError::OutOfMemory));
        }
        let times = NodeTimes::starting(fs_node::now());
        let file: FileRef =
            Arc::new(Mutex::new(MemFile { location: Location::new(name.to_string()), times, content }));
        let entry = Entry::new(FileOrDir::File(file.clone()));
        // Bound, so that what is replaced is dropped with the directory unlocked.
        let replaced = parent.lock().insert_entry(entry, replace)?;
        drop(replaced);
        Ok(file)
    }

    fn change<R>(
        &mut self,
        change: impl FnOnce(&mut Growing<Backing>) -> Result<R, IoError>,
    ) -> Result<R, IoError> {
        match &mut self.content {
            Content::Growing(growing) => {
                let result = change(growing)?;
                self.times.modified = fs_node::now();
                Ok(result)
            }
            Content::Fixed(_) => Err(IoError::ReadOnly),
        }
    }
}

impl ByteReader for MemFile {
    fn read_at(&mut self, buffer: &mut [u8], offset: usize) -> Result<usize, IoError> {
        let count = match &self.content {
            Content::Growing(growing) => growing.read_at(buffer, offset),
            Content::Fixed(fixed) => fixed.bytes().read_at(buffer, offset)?,
        };
        self.times.accessed = fs_node::now();
        Ok(count)
    }
}

impl ByteWriter for MemFile {
    fn write_at(&mut self, buffer: &[u8], offset: usize) -> Result<usize, IoError> {
        self.change(|growing| growing.write_at(buffer, offset))
    }

    fn flush(&mut self) -> Result<(), IoError> {
        Ok(())
    }
}

impl KnownLength for MemFile {
    fn len(&self) -> usize {
        match &self.content {
            Content::Growing(growing) => growing.len(),
            Content::Fixed(fixed) => fixed.bytes().len(),
        }
    }
}

impl FsNode for MemFile {
    fn location(&self) -> &Arc<Location> {
        &self.location
    }

    fn metadata(&self) -> Metadata {
        Metadata {
            kind: FileKind::File,
            id: self.location.id(),
            links: self.location.links(),
            size: self.len(),
            writable: matches!(self.content, Content::Growing(_)),
            times: self.times,
        }
    }

    fn set_times(&mut self, times: Times) -> Result<(), IoError> {
        self.times.set(times);
        Ok(())
    }
}

impl File for MemFile {
    #[cfg(target_os = "theseus")]
    fn as_mapping(&self) -> Result<&memory::MappedPages, &'static str> {
        match &self.content {
            Content::Growing(growing) => growing
                .pages()
                .ok_or("the file is empty, large or has holes: it is not in one piece that can be mapped"),
            Content::Fixed(fixed) => fixed.mapping(),
        }
    }

    fn as_static_slice(&self) -> Option<&'static [u8]> {
        match &self.content {
            Content::Growing(_) => None,
            Content::Fixed(fixed) => fixed.static_bytes(),
        }
    }

    fn has_links(&self) -> bool {
        true
    }

    fn make_room(&mut self, offset: usize, length: usize) -> Result<(), IoError> {
        match &mut self.content {
            Content::Growing(growing) if length > 0 => growing.make_room(offset, length),
            Content::Growing(_) => Ok(()),
            Content::Fixed(_) => Err(IoError::ReadOnly),
        }
    }

    fn make_some_room(&mut self, offset: usize, length: usize) -> Result<usize, IoError> {
        growing::end_of(offset, length)?;
        let some = length.min(ROOM_AT_ONCE);
        self.make_room(offset, some).map(|()| some)
    }

    fn release_room(&mut self) -> bool {
        match &mut self.content {
            Content::Growing(growing) => growing.shrink(growing.len()),
            Content::Fixed(_) => true,
        }
    }

    fn truncate_some(&mut self, length: usize) -> Result<bool, IoError> {
        if length > self.len() {
            return self.truncate(length).map(|()| true);
        }
        self.change(|growing| Ok(growing.shrink(length)))
    }

    fn truncate(&mut self, length: usize) -> Result<(), IoError> {
        self.change(|growing| growing.truncate(length))
    }
}
