//! The specification's error numbers, and what becomes of other errors.

use crate::Failure;
use core::fmt;
use fs_node::FsError;
use io::IoError;

macro_rules! errnos {
    ($($name:ident = $number:literal, $text:literal;)*) => {
        /// An error number of WASI preview 1: those that functions of this crate return.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u16)]
        #[allow(missing_docs, reason = "the names are the specification's")]
        pub enum Errno {
            $($name = $number,)*
        }

        impl Errno {
            /// What it means.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Errno::$name => $text,)*
                }
            }
        }
    };
}

errnos! {
    Acces = 2, "permission denied";
    Again = 6, "resource unavailable, or operation would block";
    Badf = 8, "bad file descriptor";
    Busy = 10, "device or resource busy";
    Dquot = 19, "disk quota exceeded";
    Exist = 20, "file exists";
    Fault = 21, "bad address";
    Fbig = 22, "file too large";
    Ilseq = 25, "illegal byte sequence";
    Intr = 27, "interrupted";
    Inval = 28, "invalid argument";
    Io = 29, "input or output error";
    Isdir = 31, "is a directory";
    Loop = 32, "too many levels of symbolic links";
    Mfile = 33, "too many open files";
    Mlink = 34, "too many links";
    Nametoolong = 37, "name too long";
    Nfile = 41, "too many files open in the system";
    Noent = 44, "no such file or directory";
    Nomem = 48, "not enough memory";
    Nospc = 51, "no space left";
    Notdir = 54, "not a directory";
    Notempty = 55, "directory not empty";
    Notsock = 57, "not a socket";
    Notsup = 58, "not supported";
    Nxio = 60, "no such device or address";
    Overflow = 61, "value too large";
    Perm = 63, "operation not permitted";
    Pipe = 64, "broken pipe";
    Rofs = 69, "read-only file system";
    Spipe = 70, "invalid seek";
    Timedout = 73, "timed out";
    Txtbsy = 74, "text file busy";
    Xdev = 75, "cross-device link";
    Notcapable = 76, "capabilities insufficient";
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl core::error::Error for Errno {}

impl From<FsError> for Errno {
    fn from(error: FsError) -> Self {
        match error {
            // In a directory that has been removed there is nothing, and nothing can be made.
            FsError::NotFound | FsError::Removed => Errno::Noent,
            FsError::NotADirectory => Errno::Notdir,
            FsError::IsADirectory => Errno::Isdir,
            FsError::AlreadyExists => Errno::Exist,
            FsError::NotEmpty => Errno::Notempty,
            FsError::InvalidName | FsError::IntoItself => Errno::Inval,
            FsError::NameTooLong => Errno::Nametoolong,
            FsError::IsRoot | FsError::InUse => Errno::Busy,
            FsError::TooManyLinks => Errno::Loop,
            FsError::OtherFileSystem => Errno::Xdev,
            FsError::MountPoint => Errno::Busy,
            FsError::Unsupported => Errno::Notsup,
            FsError::UnsupportedName => Errno::Inval,
            FsError::Io(error) => error.into(),
        }
    }
}

impl From<IoError> for Errno {
    fn from(error: IoError) -> Self {
        match error {
            // An offset that no file can have.
            IoError::InvalidInput => Errno::Fbig,
            IoError::TimedOut => Errno::Timedout,
            IoError::ReadOnly => Errno::Rofs,
            // It is what files are made of.
            IoError::OutOfMemory | IoError::NoSpace => Errno::Nospc,
            IoError::TooLarge => Errno::Fbig,
            IoError::BrokenPipe => Errno::Pipe,
            IoError::Interrupted => Errno::Intr,
            IoError::Other(_) => Errno::Io,
        }
    }
}

impl From<FsError> for Failure {
    fn from(error: FsError) -> Self {
        Failure::Errno(error.into())
    }
}

#[cfg(target_os = "linux")]
impl From<rustix::io::Errno> for Errno {
    fn from(error: rustix::io::Errno) -> Self {
        use rustix::io::Errno as Linux;
        match error {
            Linux::ACCESS => Errno::Acces,
            Linux::AGAIN => Errno::Again,
            Linux::BADF => Errno::Badf,
            Linux::BUSY => Errno::Busy,
            Linux::DQUOT => Errno::Dquot,
            Linux::EXIST => Errno::Exist,
            Linux::FBIG => Errno::Fbig,
            Linux::ILSEQ => Errno::Ilseq,
            Linux::INTR => Errno::Intr,
            Linux::INVAL => Errno::Inval,
            Linux::ISDIR => Errno::Isdir,
            Linux::LOOP => Errno::Loop,
            Linux::MFILE => Errno::Mfile,
            Linux::MLINK => Errno::Mlink,
            Linux::NAMETOOLONG => Errno::Nametoolong,
            Linux::NFILE => Errno::Nfile,
            Linux::NOENT => Errno::Noent,
            Linux::NOMEM => Errno::Nomem,
            Linux::NOSPC => Errno::Nospc,
            Linux::NOTDIR => Errno::Notdir,
            Linux::NOTEMPTY => Errno::Notempty,
            Linux::OPNOTSUPP => Errno::Notsup,
            Linux::NXIO => Errno::Nxio,
            Linux::OVERFLOW => Errno::Overflow,
            Linux::PERM => Errno::Perm,
            Linux::PIPE => Errno::Pipe,
            Linux::ROFS => Errno::Rofs,
            Linux::SPIPE => Errno::Spipe,
            Linux::TIMEDOUT => Errno::Timedout,
            Linux::TXTBSY => Errno::Txtbsy,
            Linux::XDEV => Errno::Xdev,
            _ => Errno::Io,
        }
    }
}
