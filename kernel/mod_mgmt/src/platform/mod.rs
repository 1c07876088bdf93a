//! What the loader needs from the machine: pages with protections, thread-local areas, a place for unwind tables.
//!
//! In the kernel these are real. On a Linux host they are plain memory at pretended addresses, so that everything but running
//! the loaded code can be tested there.

#[cfg(target_os = "theseus")]
mod kernel;
#[cfg(target_os = "theseus")]
pub(crate) use kernel::*;

#[cfg(not(target_os = "theseus"))]
mod host;
#[cfg(not(target_os = "theseus"))]
pub(crate) use host::*;

/// How a segment is mapped once it is linked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protection {
    /// Readable and executable.
    Execute,
    /// Readable.
    Read,
    /// Readable and writable.
    Write,
}
