//! The kernel's tree of files; on Linux, where it is a crate like any other, a tree in memory.
//!
//! The directory `/namespaces`, where the kernel's own code lies, is no guest's: whoever can put a file there has code run as the kernel.
//! It is as if it was not there, even if a guest was given the root.

use super::{Dir, DirEntry, DirHandle, ENTRIES_PIECE, File, FileHandle, Found, How, Look, SetTimes};
use crate::types::{FileStat, FileType};
use crate::{Errno, Failure};
use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;
use core::time::Duration;
use fs_node::{DirRef, FileKind, FileOrDir, FileRef, FsError, Metadata, Times};
use memfs::{MemFile, SymbolicLink};
use vfs_node::VFSDirectory;

/// The number of the one file system there is.
const DEVICE: u64 = 1;

/// The entry of the root where the kernel's code lies.
const NAMESPACES: &str = "namespaces";

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// The time that files get, in nanoseconds since the Unix epoch.
pub(crate) fn wall_clock_nanos() -> u64 {
    nanos(wasm_platform::files::wall_clock())
}

fn file_type(kind: FileKind) -> FileType {
    match kind {
        FileKind::File => FileType::RegularFile,
        FileKind::Directory => FileType::Directory,
        FileKind::SymbolicLink => FileType::SymbolicLink,
    }
}

fn stat_of(metadata: Metadata) -> FileStat {
    FileStat {
        device: DEVICE,
        inode: metadata.id,
        file_type: file_type(metadata.kind),
        links: metadata.links as u64,
        size: metadata.size as u64,
        accessed: nanos(metadata.times.accessed),
        modified: nanos(metadata.times.modified),
        changed: nanos(metadata.times.modified),
    }
}

fn times_of(times: SetTimes) -> Times {
    Times {
        accessed: times.accessed.map(Duration::from_nanos),
        modified: times.modified.map(Duration::from_nanos),
    }
}

/// An offset or a length in a file.
fn to_usize(offset: u64) -> Result<usize, Errno> {
    usize::try_from(offset).map_err(|_| Errno::Fbig)
}

/// A directory of the tree.
pub(crate) struct KernelDir(DirRef);

impl KernelDir {
    /// A directory that a guest is given.
    ///
    /// # Errors
    /// [`Errno::Notcapable`] if it is, or is below, the one where the kernel's code lies.
    pub(crate) fn new(dir: DirRef) -> Result<Self, Errno> {
        #[cfg(target_os = "theseus")]
        {
            let namespaces = root::get_root().lock().get_dir(NAMESPACES);
            if let Some(namespaces) = namespaces {
                let location = dir.lock().location().clone();
                if namespaces.lock().location().clone().contains(&location) {
                    return Err(Errno::Notcapable);
                }
            }
        }
        Ok(Self(dir))
    }

    /// Fails if the entry called `name` is none for guests.
    fn check(&self, name: &str) -> Result<(), Errno> {
        #[cfg(target_os = "theseus")]
        let is_root = Arc::ptr_eq(&self.0, root::get_root());
        #[cfg(not(target_os = "theseus"))]
        let is_root = false;
        if is_root && name == NAMESPACES { Err(Errno::Notcapable) } else { Ok(()) }
    }

    fn node(&self, name: &str) -> Result<FileOrDir, Errno> {
        self.check(name)?;
        let node = self.0.lock().lookup(name)?;
        node.ok_or(Errno::Noent)
    }

    /// The other directory of an operation on two.
    fn other(to: &DirHandle) -> Result<&KernelDir, Errno> {
        let to: &dyn Any = &**to;
        to.downcast_ref().ok_or(Errno::Xdev)
    }
}

impl Dir for KernelDir {
    fn find(&self, name: &str) -> Result<Found, Errno> {
        Ok(match self.node(name)? {
            FileOrDir::Dir(dir) => Found::Dir(Arc::new(KernelDir(dir))),
            FileOrDir::File(file) => {
                let file = file.lock();
                match file.link_target() {
                    Some(target) => Found::Link(target.to_string()),
                    None => Found::Other,
                }
            }
        })
    }

    fn open_file(&self, name: &str, how: How) -> Result<FileHandle, Errno> {
        self.check(name)?;
        // Others may create and remove it between two looks.
        let file = loop {
            let existing = self.0.lock().lookup(name)?;
            match existing {
                Some(_) if how.exclusive => return Err(Errno::Exist),
                Some(FileOrDir::Dir(_)) => return Err(Errno::Isdir),
                Some(FileOrDir::File(file)) => break file,
                None if !how.create => return Err(Errno::Noent),
                None => match MemFile::create_new(name, &self.0) {
                    Err(FsError::AlreadyExists) => {}
                    file => return Ok(Arc::new(KernelFile(file?))),
                },
            }
        };
        {
            let mut file = file.lock();
            if file.link_target().is_some() {
                return Err(Errno::Loop);
            }
            if how.write && !file.metadata().writable {
                return Err(Errno::Rofs);
            }
            if how.truncate {
                file.truncate(0)?;
            }
        }
        Ok(Arc::new(KernelFile(file)))
    }

    fn stat(&self) -> Result<FileStat, Errno> {
        Ok(stat_of(self.0.lock().metadata()))
    }

    fn stat_entry(&self, name: &str) -> Result<FileStat, Errno> {
        Ok(stat_of(self.node(name)?.metadata()))
    }

    fn set_times(&self, times: SetTimes) -> Result<(), Errno> {
        Ok(self.0.lock().set_times(times_of(times))?)
    }

    fn set_times_of_entry(&self, name: &str, times: SetTimes) -> Result<(), Errno> {
        match self.node(name)? {
            FileOrDir::File(file) => file.lock().set_times(times_of(times))?,
            FileOrDir::Dir(dir) => dir.lock().set_times(times_of(times))?,
        }
        Ok(())
    }

    fn entries(&self, look: Look<'_>) -> Result<Vec<DirEntry>, Failure> {
        let listed = self.0.lock().entries().map_err(Errno::from)?;
        look()?;
        let mut entries = Vec::new();
        entries.try_reserve_exact(listed.len()).map_err(|_| Errno::Nomem)?;
        for (index, entry) in listed.into_iter().enumerate() {
            if index % ENTRIES_PIECE == ENTRIES_PIECE - 1 {
                look()?;
            }
            if self.check(&entry.name).is_ok() {
                entries.push(DirEntry {
                    name: entry.name,
                    inode: entry.id,
                    file_type: file_type(entry.kind),
                });
            }
        }
        Ok(entries)
    }

    fn create_dir(&self, name: &str) -> Result<(), Errno> {
        self.check(name)?;
        if !memfs::has_room() {
            return Err(Errno::Nospc);
        }
        VFSDirectory::create_new(name, &self.0)?;
        Ok(())
    }

    fn remove_file(&self, name: &str) -> Result<(), Errno> {
        self.check(name)?;
        Ok(fs_node::remove_file(&self.0, name)?)
    }

    fn remove_dir(&self, name: &str) -> Result<(), Errno> {
        self.check(name)?;
        Ok(fs_node::remove_dir(&self.0, name)?)
    }

    fn rename(&self, name: &str, to: &DirHandle, new_name: &str) -> Result<(), Errno> {
        let to = Self::other(to)?;
        self.check(name)?;
        to.check(new_name)?;
        Ok(fs_node::rename(&self.0, name, &to.0, new_name)?)
    }

    fn link(&self, name: &str, to: &DirHandle, new_name: &str) -> Result<(), Errno> {
        let to = Self::other(to)?;
        self.check(name)?;
        to.check(new_name)?;
        if !memfs::has_room() {
            return Err(Errno::Nospc);
        }
        Ok(fs_node::link(&self.0, name, &to.0, new_name)?)
    }

    fn symlink(&self, target: &str, name: &str) -> Result<(), Errno> {
        self.check(name)?;
        SymbolicLink::create_new(target, name, &self.0)?;
        Ok(())
    }

    fn sync(&self) -> Result<(), Errno> {
        Ok(self.0.lock().sync()?)
    }
}

/// Room that was made for a file. It is given back when this is dropped, also by a task that is killed: piece by piece, for the file is locked.
struct Room<'a>(&'a FileRef);

impl Drop for Room<'_> {
    fn drop(&mut self) {
        while !self.0.lock().release_room() {}
    }
}

/// A file of the tree. It stays as it is when it is removed from there.
struct KernelFile(FileRef);

impl File for KernelFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize, Errno> {
        // Where no byte can be is the end.
        let Ok(offset) = usize::try_from(offset) else { return Ok(0) };
        Ok(self.0.lock().read_at(buffer, offset)?)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<usize, Errno> {
        Ok(self.0.lock().write_at(bytes, to_usize(offset)?)?)
    }

    fn append(&self, bytes: &[u8]) -> Result<(usize, u64), Errno> {
        let mut file = self.0.lock();
        let end = file.len();
        let count = file.write_at(bytes, end)?;
        Ok((count, (end + count) as u64))
    }

    fn stat(&self) -> Result<FileStat, Errno> {
        Ok(stat_of(self.0.lock().metadata()))
    }

    fn set_size(&self, size: u64, look: Look<'_>) -> Result<(), Failure> {
        let size = to_usize(size)?;
        loop {
            let done = self.0.lock().truncate_some(size).map_err(Errno::from)?;
            if done {
                return Ok(());
            }
            look()?;
        }
    }

    fn allocate(&self, offset: u64, len: u64, look: Look<'_>) -> Result<(), Failure> {
        let end = to_usize(offset.checked_add(len).ok_or(Errno::Fbig)?)?;
        let room = Room(&self.0);
        let mut at = to_usize(offset)?;
        while at < end {
            at += self.0.lock().make_some_room(at, end - at).map_err(Errno::from)?;
            look()?;
        }
        let mut file = self.0.lock();
        if file.len() < end {
            file.truncate(end).map_err(Errno::from)?;
        }
        core::mem::forget(room);
        Ok(())
    }

    fn set_times(&self, times: SetTimes) -> Result<(), Errno> {
        Ok(self.0.lock().set_times(times_of(times))?)
    }

    fn sync(&self, _data_only: bool) -> Result<(), Errno> {
        Ok(self.0.lock().flush()?)
    }
}
