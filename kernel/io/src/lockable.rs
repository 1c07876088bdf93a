//! [`LockableIo`].

use crate::{ByteReader, ByteWriter, IoError, KnownLength};
use core::borrow::Borrow;
use core::marker::PhantomData;
use spin::Mutex;

/// Stateless I/O upon an object behind a lock, which is held for the duration of each call and no longer.
///
/// `B` is any way to reach the lock: `&Mutex<IO>`, or an `Arc<Mutex<IO>>` such as a `FileRef`. With it,
/// `Reader::new(LockableIo::from(file))` reads a shared file from its start to its end.
pub struct LockableIo<IO: ?Sized, B> {
    lock: B,
    io: PhantomData<fn(&IO)>,
}

impl<IO: ?Sized, B: Borrow<Mutex<IO>>> From<B> for LockableIo<IO, B> {
    fn from(lock: B) -> Self {
        Self { lock, io: PhantomData }
    }
}

impl<IO: ?Sized, B: Clone> Clone for LockableIo<IO, B> {
    fn clone(&self) -> Self {
        Self { lock: self.lock.clone(), io: PhantomData }
    }
}

impl<IO: ?Sized, B> LockableIo<IO, B> {
    /// Gives back what was wrapped.
    pub fn into_inner(self) -> B {
        self.lock
    }
}

impl<IO: ByteReader + ?Sized, B: Borrow<Mutex<IO>>> ByteReader for LockableIo<IO, B> {
    fn read_at(&mut self, buffer: &mut [u8], offset: usize) -> Result<usize, IoError> {
        self.lock.borrow().lock().read_at(buffer, offset)
    }
}

impl<IO: ByteWriter + ?Sized, B: Borrow<Mutex<IO>>> ByteWriter for LockableIo<IO, B> {
    fn write_at(&mut self, buffer: &[u8], offset: usize) -> Result<usize, IoError> {
        self.lock.borrow().lock().write_at(buffer, offset)
    }

    fn flush(&mut self) -> Result<(), IoError> {
        self.lock.borrow().lock().flush()
    }
}

impl<IO: KnownLength + ?Sized, B: Borrow<Mutex<IO>>> KnownLength for LockableIo<IO, B> {
    fn len(&self) -> usize {
        self.lock.borrow().lock().len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Read, Reader};
    use std::sync::Arc;

    #[test]
    fn two_readers_share_one_object_but_no_position() {
        let shared = Arc::new(Mutex::new(b"abcdef".as_slice()));
        let mut first = Reader::new(LockableIo::from(shared.clone()));
        let mut second = Reader::new(LockableIo::from(shared.clone()));
        let mut buffer = [0; 4];
        assert_eq!(first.read(&mut buffer), Ok(4));
        assert_eq!(&buffer, b"abcd");
        assert_eq!(second.read(&mut buffer[..2]), Ok(2));
        assert_eq!(&buffer[..2], b"ab");
        assert_eq!(first.read(&mut buffer), Ok(2));
        assert_eq!(&buffer[..2], b"ef");
        assert!(!shared.is_locked());
    }
}
