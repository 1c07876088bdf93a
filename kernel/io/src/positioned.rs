//! [`Reader`], [`Writer`] and [`ReaderWriter`]: a stateless object plus a position.

use crate::{ByteReader, ByteWriter, ErrorType, IoError, KnownLength, Read, Seek, SeekFrom, Write};

/// The position after a [`Seek::seek`] from `current` in something `len` bytes long. It may lie beyond the end.
fn seek_target(pos: SeekFrom, current: usize, len: impl FnOnce() -> usize) -> Result<usize, IoError> {
    let (base, delta) = match pos {
        SeekFrom::Start(offset) => return usize::try_from(offset).map_err(|_| IoError::InvalidInput),
        SeekFrom::Current(delta) => (current, delta),
        SeekFrom::End(delta) => (len(), delta),
    };
    let delta = isize::try_from(delta).map_err(|_| IoError::InvalidInput)?;
    base.checked_add_signed(delta).ok_or(IoError::InvalidInput)
}

macro_rules! positioned {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone)]
        pub struct $name<IO> {
            io: IO,
            offset: usize,
        }

        impl<IO> $name<IO> {
            /// Begins at offset zero of `io`.
            pub fn new(io: IO) -> Self {
                Self { io, offset: 0 }
            }

            /// The offset of the next byte.
            pub fn position(&self) -> usize {
                self.offset
            }

            /// Gives back the stateless object.
            pub fn into_inner(self) -> IO {
                self.io
            }
        }

        impl<IO> ErrorType for $name<IO> {
            type Error = IoError;
        }

        impl<IO: KnownLength> Seek for $name<IO> {
            fn seek(&mut self, pos: SeekFrom) -> Result<u64, IoError> {
                self.offset = seek_target(pos, self.offset, || self.io.len())?;
                Ok(self.offset as u64)
            }
        }
    };
}

positioned! {
    /// Reads a stateless object from a position that moves with every read.
    Reader
}
positioned! {
    /// Writes a stateless object at a position that moves with every write.
    Writer
}
positioned! {
    /// Reads and writes a stateless object at one position that moves with either.
    ReaderWriter
}

macro_rules! impl_read {
    ($name:ident) => {
        impl<IO: ByteReader> Read for $name<IO> {
            fn read(&mut self, buffer: &mut [u8]) -> Result<usize, IoError> {
                let count = self.io.read_at(buffer, self.offset)?;
                self.offset += count;
                Ok(count)
            }
        }
    };
}

macro_rules! impl_write {
    ($name:ident) => {
        impl<IO: ByteWriter> Write for $name<IO> {
            fn write(&mut self, buffer: &[u8]) -> Result<usize, IoError> {
                let count = self.io.write_at(buffer, self.offset)?;
                self.offset += count;
                Ok(count)
            }

            fn flush(&mut self) -> Result<(), IoError> {
                self.io.flush()
            }
        }
    };
}

impl_read!(Reader);
impl_read!(ReaderWriter);
impl_write!(Writer);
impl_write!(ReaderWriter);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_to_the_end_and_then_nothing() {
        let mut reader = Reader::new(b"hello".as_slice());
        let mut buffer = [0; 3];
        assert_eq!(reader.read(&mut buffer), Ok(3));
        assert_eq!(reader.read(&mut buffer), Ok(2));
        assert_eq!(reader.read(&mut buffer), Ok(0));
        assert_eq!(reader.position(), 5);
    }

    #[test]
    fn read_exact_reports_the_end() {
        let mut reader = Reader::new(b"hello".as_slice());
        let mut buffer = [0; 6];
        assert_eq!(reader.read_exact(&mut buffer), Err(crate::ReadExactError::UnexpectedEof));
    }

    #[test]
    fn seeks_from_all_origins_and_never_before_the_start() {
        let mut reader = Reader::new(b"hello".as_slice());
        assert_eq!(reader.seek(SeekFrom::End(-2)), Ok(3));
        assert_eq!(reader.seek(SeekFrom::Current(-3)), Ok(0));
        assert_eq!(reader.seek(SeekFrom::Current(-1)), Err(IoError::InvalidInput));
        assert_eq!(reader.position(), 0, "a failed seek must not move");
        assert_eq!(reader.seek(SeekFrom::Start(9)), Ok(9));
        assert_eq!(reader.read(&mut [0; 4]), Ok(0));
        assert_eq!(reader.seek(SeekFrom::Start(u64::MAX)), Ok(u64::MAX));
        assert_eq!(reader.seek(SeekFrom::Current(1)), Err(IoError::InvalidInput));
        assert_eq!(
            reader.read(&mut [0; 4]),
            Ok(0),
            "reading at the largest offset is the end, not an overflow"
        );
    }
}
