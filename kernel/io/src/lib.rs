//! Traits and adapters for reading and writing bytes.
//!
//! Three families meet here:
//! * [`ByteReader`], [`ByteWriter`] and [`KnownLength`] are *stateless*: every call names the offset it means. Files
//!   implement these, so that any number of users can share one file without sharing a position.
//! * [`Read`], [`Write`] and [`Seek`] have a *position*. [`Reader`], [`Writer`] and [`ReaderWriter`] add one to
//!   a stateless object, and [`LockableIo`] lets the object sit behind a lock, as every file does.
//! * [`ImmutableRead`] and [`ImmutableWrite`] are streams that many tasks share, such as a terminal.
//!
//! `core` has no I/O traits of its own, and the crate that once filled the gap (`core2`) was withdrawn. The second
//! family is therefore that of `embedded-io`, which is small, maintained, and builds upon `core::error::Error`;
//! it is re-exported here so that nobody needs to name it.
//!
//! Invariant that all implementations keep: reading at or after the end of a file is no error. It reads zero bytes, and
//! zero bytes read into a non-empty buffer always mean "end of file".
#![cfg_attr(not(test), no_std)]

extern crate alloc;

mod error;
mod immutable;
mod lockable;
mod positioned;

pub use embedded_io::{ErrorKind, ErrorType, Read, ReadExactError, Seek, SeekFrom, Write};
pub use error::IoError;
pub use immutable::{ImmutableRead, ImmutableWrite, Watcher, Watchers};
pub use lockable::LockableIo;
pub use positioned::{Reader, ReaderWriter, Writer};

/// Reads bytes at any offset.
pub trait ByteReader {
    /// Reads into `buffer` from `offset` (in bytes) onwards and returns how many bytes were read.
    ///
    /// Fewer bytes than `buffer` holds are read only if the end is reached; at or after the end that is zero.
    ///
    /// # Errors
    /// Whatever the device below reports. The end of the file is not an error.
    fn read_at(&mut self, buffer: &mut [u8], offset: usize) -> Result<usize, IoError>;
}

/// Writes bytes at any offset.
pub trait ByteWriter {
    /// Writes `buffer` at `offset` (in bytes) and returns how many bytes were written.
    ///
    /// Writing beyond the end makes the object longer; a gap between the old end and `offset` reads as zeroes.
    ///
    /// # Errors
    /// [`IoError::ReadOnly`], [`IoError::OutOfMemory`], or [`IoError::InvalidInput`] if `offset` plus the length of
    /// `buffer` is no valid length. Nothing has been changed then.
    fn write_at(&mut self, buffer: &[u8], offset: usize) -> Result<usize, IoError>;

    /// Makes sure that what was written is where it belongs, whatever caches are in between.
    ///
    /// # Errors
    /// Whatever the device below reports.
    fn flush(&mut self) -> Result<(), IoError>;
}

/// Something whose length in bytes is known.
pub trait KnownLength {
    /// The length in bytes.
    fn len(&self) -> usize;

    /// Whether the length is zero.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

macro_rules! forward_to_target {
    ($($pointer:ty),*) => {$(
        impl<T: ByteReader + ?Sized> ByteReader for $pointer {
            fn read_at(&mut self, buffer: &mut [u8], offset: usize) -> Result<usize, IoError> {
                (**self).read_at(buffer, offset)
            }
        }

        impl<T: ByteWriter + ?Sized> ByteWriter for $pointer {
            fn write_at(&mut self, buffer: &[u8], offset: usize) -> Result<usize, IoError> {
                (**self).write_at(buffer, offset)
            }

            fn flush(&mut self) -> Result<(), IoError> {
                (**self).flush()
            }
        }

        impl<T: KnownLength + ?Sized> KnownLength for $pointer {
            fn len(&self) -> usize {
                (**self).len()
            }
        }
    )*};
}

forward_to_target!(&mut T, alloc::boxed::Box<T>);

impl ByteReader for &[u8] {
    fn read_at(&mut self, buffer: &mut [u8], offset: usize) -> Result<usize, IoError> {
        let rest = self.get(offset..).unwrap_or(&[]);
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }
}

impl KnownLength for &[u8] {
    fn len(&self) -> usize {
        <[u8]>::len(self)
    }
}
