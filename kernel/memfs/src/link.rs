//! [`SymbolicLink`].

use alloc::boxed::Box;
use alloc::string::ToString;
use alloc::sync::Arc;
use fs_node::{
    DirRef, Entry, File, FileKind, FileOrDir, FileRef, FsError, FsNode, Location, Metadata, NewNode,
    NodeTimes, Times, check_name,
};
use io::{ByteReader, ByteWriter, IoError, KnownLength};
use spin::Mutex;

/// A symbolic link: a file whose content is the path that it stands for, and cannot be changed. Whoever resolves a path goes on there.
pub struct SymbolicLink {
    location: Arc<Location>,
    times: NodeTimes,
    target: Box<str>,
}

impl SymbolicLink {
    /// Creates a link to `target`, which need not exist, called `name` in `parent`.
    ///
    /// # Errors
    /// [`FsError::AlreadyExists`], [`FsError::InvalidName`], [`FsError::NameTooLong`], [`FsError::Removed`], or not enough memory.
    ///
    /// # Locking
    /// Takes the lock of `parent`.
    pub fn create_new(target: &str, name: &str, parent: &DirRef) -> Result<FileRef, FsError> {
        check_name(name)?;
        match parent.lock().create(name, NewNode::SymbolicLink(target))? {
            Some(FileOrDir::File(link)) => return Ok(link),
            Some(FileOrDir::Dir(_)) => return Err(FsError::IsADirectory),
            None => {}
        }
        if !crate::has_room() {
            return Err(FsError::Io(IoError::OutOfMemory));
        }
        let link: FileRef = Arc::new(Mutex::new(SymbolicLink {
            location: Location::new(name.to_string()),
            times: NodeTimes::starting(fs_node::now()),
            target: target.into(),
        }));
        parent.lock().insert_entry(Entry::new(FileOrDir::File(link.clone())), false)?;
        Ok(link)
    }
}

impl ByteReader for SymbolicLink {
    fn read_at(&mut self, buffer: &mut [u8], offset: usize) -> Result<usize, IoError> {
        self.target.as_bytes().read_at(buffer, offset)
    }
}

impl ByteWriter for SymbolicLink {
    fn write_at(&mut self, _buffer: &[u8], _offset: usize) -> Result<usize, IoError> {
        Err(IoError::ReadOnly)
    }

    fn flush(&mut self) -> Result<(), IoError> {
        Ok(())
    }
}

impl KnownLength for SymbolicLink {
    fn len(&self) -> usize {
        self.target.len()
    }
}

impl FsNode for SymbolicLink {
    fn location(&self) -> &Arc<Location> {
        &self.location
    }

    fn metadata(&self) -> Metadata {
        Metadata {
            kind: FileKind::SymbolicLink,
            id: self.location.id(),
            links: self.location.links(),
            size: self.target.len(),
            writable: false,
            times: self.times,
        }
    }

    fn set_times(&mut self, times: Times) -> Result<(), IoError> {
        self.times.set(times);
        Ok(())
    }
}

impl File for SymbolicLink {
    #[cfg(target_os = "theseus")]
    fn as_mapping(&self) -> Result<&memory::MappedPages, &'static str> {
        Err("a symbolic link is not kept in pages")
    }

    fn link_target(&self) -> Option<&str> {
        Some(&self.target)
    }

    fn has_links(&self) -> bool {
        true
    }

    fn truncate(&mut self, _length: usize) -> Result<(), IoError> {
        Err(IoError::ReadOnly)
    }
}
