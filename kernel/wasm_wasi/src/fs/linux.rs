//! Directories of Linux. Each name is looked up in an open directory, and never followed if it is a symbolic link (`O_NOFOLLOW`): what
//! others do to the directories meanwhile cannot lead out of what was given.
//!
//! Of what is neither a file nor a directory (devices, sockets, FIFOs), only that it is there can be seen.

use super::{Dir, DirEntry, DirHandle, ENTRIES_PIECE, File, FileHandle, Found, How, Look, SetTimes};
use crate::types::{FileStat, FileType};
use crate::{Errno, Failure};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;
use rustix::fs::{AtFlags, FallocateFlags, Mode, OFlags, Stat, Timespec, Timestamps, UTIME_OMIT};
use rustix::io::Errno as LinuxErrno;
use std::os::fd::OwnedFd;

/// What files and directories are created with, but for what the process's umask takes away.
const FILE_MODE: Mode = Mode::from_raw_mode(0o666);
const DIR_MODE: Mode = Mode::from_raw_mode(0o777);

fn file_type(raw: rustix::fs::FileType) -> FileType {
    use rustix::fs::FileType as Linux;
    match raw {
        Linux::RegularFile => FileType::RegularFile,
        Linux::Directory => FileType::Directory,
        Linux::Symlink => FileType::SymbolicLink,
        Linux::CharacterDevice => FileType::CharacterDevice,
        Linux::BlockDevice => FileType::BlockDevice,
        Linux::Socket => FileType::SocketStream,
        _ => FileType::Unknown,
    }
}

fn type_of(stat: &Stat) -> FileType {
    file_type(rustix::fs::FileType::from_raw_mode(stat.st_mode))
}

fn stat_of(stat: &Stat) -> FileStat {
    let nanos = |seconds: i64, nanos: u64| {
        (seconds.max(0) as u64).saturating_mul(1_000_000_000).saturating_add(nanos)
    };
    FileStat {
        device: stat.st_dev,
        inode: stat.st_ino,
        file_type: type_of(stat),
        links: stat.st_nlink,
        size: stat.st_size.max(0) as u64,
        accessed: nanos(stat.st_atime, stat.st_atime_nsec),
        modified: nanos(stat.st_mtime, stat.st_mtime_nsec),
        changed: nanos(stat.st_ctime, stat.st_ctime_nsec),
    }
}

fn timestamps(times: SetTimes) -> Timestamps {
    let spec = |time: Option<u64>| match time {
        Some(nanos) => {
            Timespec { tv_sec: (nanos / 1_000_000_000) as i64, tv_nsec: (nanos % 1_000_000_000) as i64 }
        }
        None => Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
    };
    Timestamps { last_access: spec(times.accessed), last_modification: spec(times.modified) }
}

/// Fails for offsets and lengths that Linux has no numbers for.
fn checked(offset: u64) -> Result<u64, Errno> {
    if offset > i64::MAX as u64 { Err(Errno::Fbig) } else { Ok(offset) }
}

/// An open directory of the host.
pub(crate) struct HostDir(OwnedFd);

impl HostDir {
    /// Opens a directory that a guest is given. Its path may contain symbolic links: it is the user's.
    pub(crate) fn open(path: &str) -> Result<Self, std::io::Error> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self(rustix::fs::open(path, flags, Mode::empty())?))
    }

    fn other(to: &DirHandle) -> Result<&HostDir, Errno> {
        let to: &dyn Any = &**to;
        to.downcast_ref().ok_or(Errno::Xdev)
    }

    fn raw_stat(&self, name: &str) -> Result<Stat, Errno> {
        Ok(rustix::fs::statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW)?)
    }
}

impl Dir for HostDir {
    fn find(&self, name: &str) -> Result<Found, Errno> {
        Ok(match type_of(&self.raw_stat(name)?) {
            FileType::Directory => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                Found::Dir(Arc::new(HostDir(rustix::fs::openat(&self.0, name, flags, Mode::empty())?)))
            }
            FileType::SymbolicLink => {
                let target = rustix::fs::readlinkat(&self.0, name, Vec::new())?;
                Found::Link(target.into_string().map_err(|_| Errno::Ilseq)?)
            }
            _ => Found::Other,
        })
    }

    fn open_file(&self, name: &str, how: How) -> Result<FileHandle, Errno> {
        // Nothing waits to be opened, a FIFO for example; and nobody's terminal becomes ours.
        let mut flags = OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        flags |= match (how.read, how.write || how.truncate) {
            (true, true) => OFlags::RDWR,
            (false, true) => OFlags::WRONLY,
            _ => OFlags::RDONLY,
        };
        if how.create {
            flags |= OFlags::CREATE;
        }
        if how.exclusive {
            flags |= OFlags::EXCL;
        }
        // What is opened is looked at before it is emptied.
        let fd = rustix::fs::openat(&self.0, name, flags, FILE_MODE)?;
        match type_of(&rustix::fs::fstat(&fd)?) {
            FileType::RegularFile => {}
            FileType::Directory => return Err(Errno::Isdir),
            _ => return Err(Errno::Acces),
        }
        if how.truncate {
            rustix::fs::ftruncate(&fd, 0)?;
        }
        Ok(Arc::new(HostFile(fd)))
    }

    fn stat(&self) -> Result<FileStat, Errno> {
        Ok(stat_of(&rustix::fs::fstat(&self.0)?))
    }

    fn stat_entry(&self, name: &str) -> Result<FileStat, Errno> {
        Ok(stat_of(&self.raw_stat(name)?))
    }

    fn set_times(&self, times: SetTimes) -> Result<(), Errno> {
        Ok(rustix::fs::futimens(&self.0, &timestamps(times))?)
    }

    fn set_times_of_entry(&self, name: &str, times: SetTimes) -> Result<(), Errno> {
        // If neither is to be set, Linux does not even look whether there is such an entry.
        self.raw_stat(name)?;
        Ok(rustix::fs::utimensat(&self.0, name, &timestamps(times), AtFlags::SYMLINK_NOFOLLOW)?)
    }

    fn entries(&self, look: Look<'_>) -> Result<Vec<DirEntry>, Failure> {
        let mut entries = Vec::new();
        for (index, entry) in rustix::fs::Dir::read_from(&self.0).map_err(Errno::from)?.enumerate() {
            if index % ENTRIES_PIECE == ENTRIES_PIECE - 1 {
                look()?;
            }
            let entry = entry.map_err(Errno::from)?;
            // What a guest cannot name it does not see.
            let Ok(name) = entry.file_name().to_str() else { continue };
            if name == "." || name == ".." {
                continue;
            }
            let (inode, mut kind) = (entry.ino(), file_type(entry.file_type()));
            if kind == FileType::Unknown
                && let Ok(stat) = self.raw_stat(name)
            {
                kind = type_of(&stat);
            }
            entries.try_reserve(1).map_err(|_| Errno::Nomem)?;
            entries.push(DirEntry { name: String::from(name), inode, file_type: kind });
        }
        Ok(entries)
    }

    fn create_dir(&self, name: &str) -> Result<(), Errno> {
        Ok(rustix::fs::mkdirat(&self.0, name, DIR_MODE)?)
    }

    fn remove_file(&self, name: &str) -> Result<(), Errno> {
        Ok(rustix::fs::unlinkat(&self.0, name, AtFlags::empty())?)
    }

    fn remove_dir(&self, name: &str) -> Result<(), Errno> {
        Ok(rustix::fs::unlinkat(&self.0, name, AtFlags::REMOVEDIR)?)
    }

    fn rename(&self, name: &str, to: &DirHandle, new_name: &str) -> Result<(), Errno> {
        Ok(rustix::fs::renameat(&self.0, name, &Self::other(to)?.0, new_name)?)
    }

    fn link(&self, name: &str, to: &DirHandle, new_name: &str) -> Result<(), Errno> {
        Ok(rustix::fs::linkat(&self.0, name, &Self::other(to)?.0, new_name, AtFlags::empty())?)
    }

    fn symlink(&self, target: &str, name: &str) -> Result<(), Errno> {
        Ok(rustix::fs::symlinkat(target, &self.0, name)?)
    }

    fn sync(&self) -> Result<(), Errno> {
        match rustix::fs::fsync(&self.0) {
            // Some file systems have nothing to do for directories.
            Err(LinuxErrno::INVAL) => Ok(()),
            result => Ok(result?),
        }
    }
}

/// An open file of the host.
struct HostFile(OwnedFd);

impl File for HostFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize, Errno> {
        let Ok(offset) = checked(offset) else { return Ok(0) };
        let mut done = 0;
        while done < buffer.len() {
            match rustix::io::pread(&self.0, &mut buffer[done..], offset.saturating_add(done as u64)) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(LinuxErrno::INTR) => {}
                // No byte is as far out as that.
                Err(LinuxErrno::INVAL) => break,
                Err(error) if done == 0 => return Err(error.into()),
                Err(_) => break,
            }
        }
        Ok(done)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<usize, Errno> {
        checked(offset.checked_add(bytes.len() as u64).ok_or(Errno::Fbig)?)?;
        Ok(rustix::io::retry_on_intr(|| rustix::io::pwrite(&self.0, bytes, offset))?)
    }

    fn append(&self, bytes: &[u8]) -> Result<(usize, u64), Errno> {
        let slices = [std::io::IoSlice::new(bytes)];
        let flags = rustix::io::ReadWriteFlags::APPEND;
        let count = rustix::io::retry_on_intr(|| rustix::io::pwritev2(&self.0, &slices, u64::MAX, flags))?;
        Ok((count, self.stat()?.size))
    }

    fn stat(&self) -> Result<FileStat, Errno> {
        Ok(stat_of(&rustix::fs::fstat(&self.0)?))
    }

    fn set_size(&self, size: u64, look: Look<'_>) -> Result<(), Failure> {
        rustix::fs::ftruncate(&self.0, checked(size)?).map_err(Errno::from)?;
        look()
    }

    fn allocate(&self, offset: u64, len: u64, look: Look<'_>) -> Result<(), Failure> {
        checked(offset.checked_add(len).ok_or(Errno::Fbig)?)?;
        // All or nothing, which in pieces it would not be.
        rustix::fs::fallocate(&self.0, FallocateFlags::empty(), offset, len).map_err(Errno::from)?;
        look()
    }

    fn set_times(&self, times: SetTimes) -> Result<(), Errno> {
        Ok(rustix::fs::futimens(&self.0, &timestamps(times))?)
    }

    fn sync(&self, data_only: bool) -> Result<(), Errno> {
        match data_only {
            true => Ok(rustix::fs::fdatasync(&self.0)?),
            false => Ok(rustix::fs::fsync(&self.0)?),
        }
    }
}
