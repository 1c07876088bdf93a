//! [`Metadata`].

use core::time::Duration;

/// What kind of node this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// A sequence of bytes.
    File,
    /// A directory.
    Directory,
    /// A symbolic link: a file whose content is a path.
    SymbolicLink,
}

/// What is known about a node. Times are since the Unix epoch, or zero if the clock was not running yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metadata {
    /// File, directory or symbolic link.
    pub kind: FileKind,
    /// A number that no other node has had since the kernel started.
    pub id: u64,
    /// How many names it has: see [`Location::links`](crate::Location::links).
    pub links: usize,
    /// The length of a file in bytes; the number of entries of a directory.
    pub size: usize,
    /// Whether it can be written to.
    pub writable: bool,
    /// When it came into being, when its content last changed, and when it was last read.
    pub times: NodeTimes,
}

/// The times that a node records, since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NodeTimes {
    /// When the node came into being.
    pub created: Duration,
    /// When its content last changed. For a directory: when an entry was last added, removed or renamed.
    pub modified: Duration,
    /// When its content was last read.
    pub accessed: Duration,
}

impl NodeTimes {
    /// All three are `now`.
    pub const fn starting(now: Duration) -> Self {
        Self { created: now, modified: now, accessed: now }
    }

    /// Applies what [`set_times`](crate::FsNode::set_times) was given.
    pub fn set(&mut self, times: Times) {
        self.modified = times.modified.unwrap_or(self.modified);
        self.accessed = times.accessed.unwrap_or(self.accessed);
    }
}

/// Times to be set, since the Unix epoch; `None` leaves one as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Times {
    /// When the content last changed.
    pub modified: Option<Duration>,
    /// When the content was last read.
    pub accessed: Option<Duration>,
}
