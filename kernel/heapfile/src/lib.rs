//! Files whose content is kept on the heap.
//!
//! For small files, of which a page each would be a waste, and for bytes that are in a `Vec` already. They cannot be mapped;
//! what is to be mapped belongs into a `memfs::MemFile`.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use fs_node::{
    DirRef, Entry, File, FileKind, FileOrDir, FileRef, FsError, FsNode, Location, Metadata, NodeTimes, Times,
    check_name,
};
use io::{ByteReader, ByteWriter, IoError, KnownLength};
use spin::Mutex;

/// A file whose content is kept on the heap.
pub struct HeapFile {
    location: Arc<Location>,
    times: NodeTimes,
    content: Vec<u8>,
}

impl HeapFile {
    /// Creates an empty file called `name` in `parent`. A file that has this name already is replaced.
    ///
    /// # Errors
    /// The name is invalid or that of a directory, or `parent` has been removed.
    ///
    /// # Locking
    /// Takes the lock of `parent`.
    pub fn create(name: String, parent: &DirRef) -> Result<FileRef, &'static str> {
        Self::from_vec(Vec::new(), name, parent)
    }

    /// Creates a file called `name` with the given content in `parent`. A file that has this name already is replaced.
    ///
    /// # Errors
    /// The name is invalid or that of a directory, or `parent` has been removed.
    ///
    /// # Locking
    /// Takes the lock of `parent`.
    pub fn from_vec(content: Vec<u8>, name: String, parent: &DirRef) -> Result<FileRef, &'static str> {
        check_name(&name)?;
        let times = NodeTimes::starting(fs_node::now());
        let file: FileRef =
            Arc::new(Mutex::new(HeapFile { location: Location::new(name.to_string()), times, content }));
        let entry = Entry::new(FileOrDir::File(file.clone()));
        // Bound, so that what is replaced is dropped with the directory unlocked.
        let replaced = parent.lock().insert_entry(entry, true).map_err(|error: FsError| error.as_str())?;
        drop(replaced);
        Ok(file)
    }

    fn make_length(&mut self, length: usize) -> Result<(), IoError> {
        if length > isize::MAX as usize {
            return Err(IoError::InvalidInput);
        }
        if let Some(more) = length.checked_sub(self.content.len()) {
            self.content.try_reserve(more).map_err(|_| IoError::OutOfMemory)?;
        }
        self.content.resize(length, 0);
        Ok(())
    }
}

impl ByteReader for HeapFile {
    fn read_at(&mut self, buffer: &mut [u8], offset: usize) -> Result<usize, IoError> {
        let count = self.content.as_slice().read_at(buffer, offset)?;
        self.times.accessed = fs_node::now();
        Ok(count)
    }
}

impl ByteWriter for HeapFile {
    fn write_at(&mut self, buffer: &[u8], offset: usize) -> Result<usize, IoError> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let end = offset.checked_add(buffer.len()).ok_or(IoError::InvalidInput)?;
        if end > self.content.len() {
            self.make_length(end)?;
        }
        self.content[offset..end].copy_from_slice(buffer);
        self.times.modified = fs_node::now();
        Ok(buffer.len())
    }

    fn flush(&mut self) -> Result<(), IoError> {
        Ok(())
    }
}

impl KnownLength for HeapFile {
    fn len(&self) -> usize {
        self.content.len()
    }
}

impl FsNode for HeapFile {
    fn location(&self) -> &Arc<Location> {
        &self.location
    }

    fn metadata(&self) -> Metadata {
        Metadata {
            kind: FileKind::File,
            id: self.location.id(),
            links: self.location.links(),
            size: self.content.len(),
            writable: true,
            times: self.times,
        }
    }

    fn set_times(&mut self, times: Times) -> Result<(), IoError> {
        self.times.set(times);
        Ok(())
    }
}

impl File for HeapFile {
    #[cfg(target_os = "theseus")]
    fn as_mapping(&self) -> Result<&memory::MappedPages, &'static str> {
        Err("the file is kept on the heap and cannot be mapped: copy it to /tmp and use the copy")
    }

    fn has_links(&self) -> bool {
        true
    }

    fn truncate(&mut self, length: usize) -> Result<(), IoError> {
        self.make_length(length)?;
        self.times.modified = fs_node::now();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vfs_node::VFSDirectory;

    #[test]
    fn content_is_what_was_written() {
        let root = VFSDirectory::create_root();
        let file = HeapFile::from_vec(b"hello".to_vec(), "f".to_string(), &root).unwrap();
        file.lock().write_at(b"yy", 7).unwrap();
        let mut buffer = [9; 12];
        assert_eq!(file.lock().read_at(&mut buffer, 0), Ok(9));
        assert_eq!(&buffer[..9], b"hello\0\0yy");
        file.lock().truncate(2).unwrap();
        file.lock().truncate(4).unwrap();
        assert_eq!(file.lock().read_at(&mut buffer, 0), Ok(4));
        assert_eq!(&buffer[..4], b"he\0\0");
        assert_eq!(file.lock().read_at(&mut buffer, 4), Ok(0));
    }

    #[test]
    fn impossible_lengths_are_errors() {
        let root = VFSDirectory::create_root();
        let file = HeapFile::create("f".to_string(), &root).unwrap();
        assert_eq!(file.lock().write_at(b"x", usize::MAX), Err(IoError::InvalidInput));
        assert_eq!(file.lock().truncate(usize::MAX), Err(IoError::InvalidInput));
        assert_eq!(file.lock().truncate(isize::MAX as usize), Err(IoError::OutOfMemory));
        assert_eq!(file.lock().len(), 0);
    }
}
