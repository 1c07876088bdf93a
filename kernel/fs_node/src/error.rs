//! [`FsError`].

use core::fmt;
use io::IoError;

/// Why an operation on the tree of files failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FsError {
    /// Nothing has this name.
    NotFound,
    /// Something that must be a directory is a file.
    NotADirectory,
    /// Something that must be a file is a directory.
    IsADirectory,
    /// The name is taken.
    AlreadyExists,
    /// The directory has entries.
    NotEmpty,
    /// The name is empty, `.`, `..`, or contains `/` or NUL.
    InvalidName,
    /// The name is longer than [`MAX_NAME_LENGTH`](crate::MAX_NAME_LENGTH) bytes.
    NameTooLong,
    /// A directory cannot be moved to a place inside itself.
    IntoItself,
    /// The directory itself has been removed.
    Removed,
    /// The root directory can be neither removed nor moved.
    IsRoot,
    /// The node is an entry of a directory already.
    InUse,
    /// The path leads over too many symbolic links, in a circle maybe.
    TooManyLinks,
    /// What is to be moved or linked is on another file system than where it shall go.
    OtherFileSystem,
    /// A file system is mounted at the directory, which can therefore be neither removed, nor moved or replaced.
    MountPoint,
    /// The file system knows no such thing: no symbolic links, for instance.
    Unsupported,
    /// The file system of the disk cannot have this name.
    UnsupportedName,
    /// Reading or writing failed.
    Io(IoError),
}

impl FsError {
    /// The error in words, without the name of what it happened to.
    pub fn as_str(&self) -> &'static str {
        match self {
            FsError::NotFound => "no such file or directory",
            FsError::NotADirectory => "not a directory",
            FsError::IsADirectory => "is a directory",
            FsError::AlreadyExists => "file exists",
            FsError::NotEmpty => "directory not empty",
            FsError::InvalidName => "invalid name (empty, '.', '..', or with '/' or NUL)",
            FsError::NameTooLong => "name too long (at most 255 bytes)",
            FsError::IntoItself => "cannot move a directory into itself",
            FsError::Removed => "the directory has been removed (go elsewhere with 'cd /')",
            FsError::IsRoot => "the root directory cannot be removed or moved",
            FsError::InUse => "is in a directory already (move it with rename)",
            FsError::TooManyLinks => "too many levels of symbolic links",
            FsError::OtherFileSystem => "is on another file system (copy it instead)",
            FsError::MountPoint => "a file system is mounted here",
            FsError::Unsupported => "the file system has no such thing",
            FsError::UnsupportedName => {
                "not a name for this disk (it has one of \" * : < > ? \\ | or ends with a dot or a space)"
            }
            FsError::Io(IoError::InvalidInput) => "invalid position or length",
            FsError::Io(IoError::TimedOut) => "timed out",
            FsError::Io(IoError::ReadOnly) => "read-only file (copy it to /tmp and change the copy)",
            FsError::Io(IoError::OutOfMemory) => {
                "not enough memory (remove files or boot with a larger MEM=)"
            }
            FsError::Io(IoError::NoSpace) => "no room left on the disk (remove files)",
            FsError::Io(IoError::TooLarge) => "longer than a file can be on this disk",
            FsError::Io(IoError::BrokenPipe) => "nobody reads from the other end",
            FsError::Io(IoError::Interrupted) => "interrupted",
            FsError::Io(IoError::Other(cause)) => cause,
        }
    }
}

impl fmt::Display for FsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl core::error::Error for FsError {}

impl From<IoError> for FsError {
    fn from(error: IoError) -> Self {
        FsError::Io(error)
    }
}

impl From<FsError> for &'static str {
    fn from(error: FsError) -> Self {
        error.as_str()
    }
}
