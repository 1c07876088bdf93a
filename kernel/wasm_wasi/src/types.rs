//! Numbers and structures of the specification (`typenames.witx` of `wasi_snapshot_preview1`).

use bitflags::bitflags;

bitflags! {
    /// What may be done with a descriptor.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(crate) struct Rights: u64 {
        const FD_DATASYNC = 1 << 0;
        const FD_READ = 1 << 1;
        const FD_SEEK = 1 << 2;
        const FD_FDSTAT_SET_FLAGS = 1 << 3;
        const FD_SYNC = 1 << 4;
        const FD_TELL = 1 << 5;
        const FD_WRITE = 1 << 6;
        const FD_ADVISE = 1 << 7;
        const FD_ALLOCATE = 1 << 8;
        const PATH_CREATE_DIRECTORY = 1 << 9;
        const PATH_CREATE_FILE = 1 << 10;
        const PATH_LINK_SOURCE = 1 << 11;
        const PATH_LINK_TARGET = 1 << 12;
        const PATH_OPEN = 1 << 13;
        const FD_READDIR = 1 << 14;
        const PATH_READLINK = 1 << 15;
        const PATH_RENAME_SOURCE = 1 << 16;
        const PATH_RENAME_TARGET = 1 << 17;
        const PATH_FILESTAT_GET = 1 << 18;
        const PATH_FILESTAT_SET_SIZE = 1 << 19;
        const PATH_FILESTAT_SET_TIMES = 1 << 20;
        const FD_FILESTAT_GET = 1 << 21;
        const FD_FILESTAT_SET_SIZE = 1 << 22;
        const FD_FILESTAT_SET_TIMES = 1 << 23;
        const PATH_SYMLINK = 1 << 24;
        const PATH_REMOVE_DIRECTORY = 1 << 25;
        const PATH_UNLINK_FILE = 1 << 26;
        const POLL_FD_READWRITE = 1 << 27;
    }

    /// Properties of an open file.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(crate) struct FdFlags: u16 {
        const APPEND = 1 << 0;
        const DSYNC = 1 << 1;
        const NONBLOCK = 1 << 2;
        const RSYNC = 1 << 3;
        const SYNC = 1 << 4;
    }

    /// How a path is opened.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(crate) struct OFlags: u16 {
        const CREAT = 1 << 0;
        const DIRECTORY = 1 << 1;
        const EXCL = 1 << 2;
        const TRUNC = 1 << 3;
    }

    /// Which times are set, and to what.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(crate) struct FstFlags: u16 {
        const ATIM = 1 << 0;
        const ATIM_NOW = 1 << 1;
        const MTIM = 1 << 2;
        const MTIM_NOW = 1 << 3;
    }
}

impl Rights {
    /// What can be done with a file that is only read.
    pub(crate) const FILE_READ: Self = Self::FD_READ
        .union(Self::FD_SEEK)
        .union(Self::FD_TELL)
        .union(Self::FD_ADVISE)
        .union(Self::FD_FDSTAT_SET_FLAGS)
        .union(Self::FD_FILESTAT_GET)
        .union(Self::POLL_FD_READWRITE);
    /// What can be done with a file that is only written, but for what is possible with one that is only read as well.
    pub(crate) const FILE_WRITE_ONLY: Self = Self::FD_WRITE
        .union(Self::FD_DATASYNC)
        .union(Self::FD_SYNC)
        .union(Self::FD_ALLOCATE)
        .union(Self::FD_FILESTAT_SET_SIZE)
        .union(Self::FD_FILESTAT_SET_TIMES);
    /// What can be done with a file that is written.
    pub(crate) const FILE_WRITE: Self =
        Self::FILE_WRITE_ONLY.union(Self::FILE_READ).difference(Self::FD_READ);
    /// What can be done with a file.
    pub(crate) const FILE: Self = Self::FILE_READ.union(Self::FILE_WRITE);
    /// What can be done with a directory that is only read.
    pub(crate) const DIR_READ: Self = Self::PATH_OPEN
        .union(Self::FD_READ)
        .union(Self::FD_READDIR)
        .union(Self::PATH_READLINK)
        .union(Self::PATH_FILESTAT_GET)
        .union(Self::FD_FILESTAT_GET)
        .union(Self::FD_FDSTAT_SET_FLAGS)
        .union(Self::FD_SYNC)
        .union(Self::FD_DATASYNC);
    /// What can be done, besides, with a directory that is changed.
    pub(crate) const DIR_MUTATE: Self = Self::PATH_CREATE_DIRECTORY
        .union(Self::PATH_CREATE_FILE)
        .union(Self::PATH_LINK_SOURCE)
        .union(Self::PATH_LINK_TARGET)
        .union(Self::PATH_RENAME_SOURCE)
        .union(Self::PATH_RENAME_TARGET)
        .union(Self::PATH_SYMLINK)
        .union(Self::PATH_REMOVE_DIRECTORY)
        .union(Self::PATH_UNLINK_FILE)
        .union(Self::PATH_FILESTAT_SET_TIMES)
        .union(Self::FD_FILESTAT_SET_TIMES);
    /// What can be done with a directory.
    pub(crate) const DIR: Self = Self::DIR_READ.union(Self::DIR_MUTATE).union(Self::PATH_FILESTAT_SET_SIZE);
    /// What can be done with a stream that is read.
    pub(crate) const INPUT: Self = Self::FD_READ
        .union(Self::FD_FDSTAT_SET_FLAGS)
        .union(Self::FD_FILESTAT_GET)
        .union(Self::POLL_FD_READWRITE);
    /// What can be done with a stream that is written.
    pub(crate) const OUTPUT: Self = Self::FD_WRITE
        .union(Self::FD_FDSTAT_SET_FLAGS)
        .union(Self::FD_FILESTAT_GET)
        .union(Self::POLL_FD_READWRITE);
}

/// What a descriptor or an entry of a directory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum FileType {
    Unknown = 0,
    #[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "there are none in the tree of files"))]
    BlockDevice = 1,
    CharacterDevice = 2,
    Directory = 3,
    RegularFile = 4,
    #[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "there are none in the tree of files"))]
    SocketStream = 6,
    SymbolicLink = 7,
}

/// What is known about a file, a directory or a stream. Times are nanoseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileStat {
    pub(crate) device: u64,
    pub(crate) inode: u64,
    pub(crate) file_type: FileType,
    pub(crate) links: u64,
    pub(crate) size: u64,
    pub(crate) accessed: u64,
    pub(crate) modified: u64,
    pub(crate) changed: u64,
}

impl FileStat {
    /// Bytes of a `filestat`.
    pub(crate) const LEN: usize = 64;
    /// Bytes of a `filestat` of `wasi_unstable`.
    pub(crate) const UNSTABLE_LEN: usize = 56;

    /// As `filestat` of `wasi_unstable`, in which the number of links has 32 bits and lies behind the type.
    pub(crate) fn to_unstable_bytes(self) -> [u8; Self::UNSTABLE_LEN] {
        let mut bytes = [0; Self::UNSTABLE_LEN];
        let links = u64::from(u32::try_from(self.links).unwrap_or(u32::MAX));
        let fields = [
            self.device,
            self.inode,
            self.file_type as u64 | links << 32,
            self.size,
            self.accessed,
            self.modified,
            self.changed,
        ];
        for (place, field) in bytes.chunks_exact_mut(8).zip(fields) {
            place.copy_from_slice(&field.to_le_bytes());
        }
        bytes
    }

    /// Of a stream.
    pub(crate) fn of_stream(file_type: FileType) -> Self {
        Self { device: 0, inode: 0, file_type, links: 0, size: 0, accessed: 0, modified: 0, changed: 0 }
    }

    /// As `filestat`.
    pub(crate) fn to_bytes(self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        let fields = [
            self.device,
            self.inode,
            self.file_type as u64,
            self.links,
            self.size,
            self.accessed,
            self.modified,
            self.changed,
        ];
        for (place, field) in bytes.chunks_exact_mut(8).zip(fields) {
            place.copy_from_slice(&field.to_le_bytes());
        }
        bytes
    }
}

/// As `fdstat`.
pub(crate) fn fdstat(file_type: FileType, flags: FdFlags, base: Rights, inheriting: Rights) -> [u8; 24] {
    let mut bytes = [0; 24];
    bytes[0] = file_type as u8;
    bytes[2..4].copy_from_slice(&flags.bits().to_le_bytes());
    bytes[8..16].copy_from_slice(&base.bits().to_le_bytes());
    bytes[16..24].copy_from_slice(&inheriting.bits().to_le_bytes());
    bytes
}

/// As `dirent`, the head of an entry.
pub(crate) fn dirent(next: u64, inode: u64, name_len: u32, file_type: FileType) -> [u8; 24] {
    let mut bytes = [0; 24];
    bytes[..8].copy_from_slice(&next.to_le_bytes());
    bytes[8..16].copy_from_slice(&inode.to_le_bytes());
    bytes[16..20].copy_from_slice(&name_len.to_le_bytes());
    bytes[20] = file_type as u8;
    bytes
}
