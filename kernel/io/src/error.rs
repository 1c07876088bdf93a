//! [`IoError`].

use core::fmt;

/// Why reading or writing failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IoError {
    /// An offset or length makes no sense here, for instance a position before the start of a file.
    InvalidInput,
    /// The operation took longer than its limit.
    TimedOut,
    /// What is written to can only be read: a file of the boot archive, for instance.
    ReadOnly,
    /// There was no memory left for the data.
    OutOfMemory,
    /// The disk has no room left for the data.
    NoSpace,
    /// The file would be longer than the file system allows.
    TooLarge,
    /// The other end is gone, so nobody will ever read what is written.
    BrokenPipe,
    /// The wait for input was cancelled, as Ctrl-C does.
    Interrupted,
    /// Any other cause.
    Other(&'static str),
}

impl fmt::Display for IoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            IoError::InvalidInput => "invalid position or length",
            IoError::TimedOut => "timed out",
            IoError::ReadOnly => "read-only file (copy it to /tmp and change the copy)",
            IoError::OutOfMemory => "not enough memory (remove files or boot with a larger MEM=)",
            IoError::NoSpace => "no room left on the disk (remove files)",
            IoError::TooLarge => "longer than a file can be on this disk",
            IoError::BrokenPipe => "nobody reads from the other end",
            IoError::Interrupted => "interrupted",
            IoError::Other(cause) => cause,
        })
    }
}

impl core::error::Error for IoError {}

impl embedded_io::Error for IoError {
    fn kind(&self) -> embedded_io::ErrorKind {
        match self {
            IoError::InvalidInput => embedded_io::ErrorKind::InvalidInput,
            IoError::TimedOut => embedded_io::ErrorKind::TimedOut,
            IoError::ReadOnly => embedded_io::ErrorKind::PermissionDenied,
            IoError::OutOfMemory => embedded_io::ErrorKind::OutOfMemory,
            IoError::NoSpace | IoError::TooLarge => embedded_io::ErrorKind::Other,
            IoError::BrokenPipe => embedded_io::ErrorKind::BrokenPipe,
            IoError::Interrupted => embedded_io::ErrorKind::Interrupted,
            IoError::Other(_) => embedded_io::ErrorKind::Other,
        }
    }
}
