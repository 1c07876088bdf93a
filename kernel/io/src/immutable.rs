//! [`ImmutableRead`] and [`ImmutableWrite`]: streams that any number of tasks can use at once.

use crate::IoError;
use core::time::Duration;

/// A stream that is read through a shared reference: a terminal, the read end of a pipe.
pub trait ImmutableRead: Send + Sync + 'static {
    /// Waits for bytes, reads as many as are there and fit into `buffer`, and returns their number. Zero means that the end was
    /// reached, unless `buffer` is empty.
    ///
    /// # Errors
    /// Whatever the device below reports. The end is not an error.
    fn read(&self, buffer: &mut [u8]) -> Result<usize, IoError>;

    /// Waits until [`read`](Self::read) would not wait, because there are bytes or the end was reached; at most for `timeout`, or for
    /// ever if that is `None`. Returns whether it would not. Another task may be faster to read what is there.
    ///
    /// A stream for which nobody ever has to wait, such as a file, says so at once, which is what this does unless it is implemented.
    fn wait_readable(&self, timeout: Option<Duration>) -> bool {
        let _ = timeout;
        true
    }

    /// Whether somebody types what is read.
    fn is_terminal(&self) -> bool {
        false
    }
}

/// A stream that is written through a shared reference: a terminal, the write end of a pipe.
pub trait ImmutableWrite: Send + Sync + 'static {
    /// Writes some of `buffer`, at least one byte unless it is empty, and returns how many bytes were written.
    ///
    /// # Errors
    /// [`IoError::BrokenPipe`] if nobody can read any more, or whatever the device below reports.
    fn write(&self, buffer: &[u8]) -> Result<usize, IoError>;

    /// Waits until [`write`](Self::write) would not wait, because there is room or nobody reads any more; at most for `timeout`, or for
    /// ever if that is `None`. Returns whether it would not. As [`ImmutableRead::wait_readable`], this says so at once unless it is implemented.
    fn wait_writable(&self, timeout: Option<Duration>) -> bool {
        let _ = timeout;
        true
    }

    /// Whether somebody sees what is written.
    fn is_terminal(&self) -> bool {
        false
    }

    /// Writes all of `buffer`.
    ///
    /// # Errors
    /// As [`ImmutableWrite::write`]; some of the bytes may have been written then.
    fn write_all(&self, mut buffer: &[u8]) -> Result<(), IoError> {
        while !buffer.is_empty() {
            match self.write(buffer)? {
                0 => return Err(IoError::BrokenPipe),
                count => buffer = buffer.get(count..).unwrap_or(&[]),
            }
        }
        Ok(())
    }
}
