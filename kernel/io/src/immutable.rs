//! [`ImmutableRead`] and [`ImmutableWrite`]: streams that any number of tasks can use at once.

use crate::IoError;

/// A stream that is read through a shared reference: a terminal, the read end of a pipe.
pub trait ImmutableRead: Send + Sync + 'static {
    /// Waits for bytes, reads as many as are there and fit into `buffer`, and returns their number. Zero means that the end was
    /// reached, unless `buffer` is empty.
    ///
    /// # Errors
    /// Whatever the device below reports. The end is not an error.
    fn read(&self, buffer: &mut [u8]) -> Result<usize, IoError>;
}

/// A stream that is written through a shared reference: a terminal, the write end of a pipe.
pub trait ImmutableWrite: Send + Sync + 'static {
    /// Writes some of `buffer`, at least one byte unless it is empty, and returns how many bytes were written.
    ///
    /// # Errors
    /// [`IoError::BrokenPipe`] if nobody can read any more, or whatever the device below reports.
    fn write(&self, buffer: &[u8]) -> Result<usize, IoError>;

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
