//! The guest's memory, as the functions here see it.
//!
//! What a guest says of its memory is checked where it is used, in 64 bits, so that no sum of two numbers of 32 bits overflows. A range that
//! is not in the memory is [`Errno::Fault`]. Alignment is not demanded.
//!
//! The bytes of an ordinary memory are the host's alone while a host function runs: they are handed out as a slice, and files and streams
//! are read and written there without a copy. Those of a shared memory may change at any time: they are moved byte by byte, atomically,
//! by way of a buffer of the host's.

use crate::{Errno, Failure, Stop};
use alloc::vec::Vec;
use core::cell::UnsafeCell;
use core::ops::Range;
use core::sync::atomic::{AtomicU8, Ordering};

/// How many bytes are moved in one go, with a file locked for example.
const PIECE: usize = 128 << 10;

/// How many bytes go through the host's buffer at a time.
const SHARED_PIECE: usize = 16 << 10;

/// The longest path, in bytes, as on Linux.
pub(crate) const MAX_PATH: usize = 4096;

/// The memory that the calling module exports.
pub(crate) enum Guest<'a> {
    /// Used by nobody else meanwhile. Empty if there is no memory.
    Own(&'a mut [u8]),
    /// Shared.
    Shared(&'a [UnsafeCell<u8>]),
}

/// Bytes that the guest named, an element of `iovec_array` or `ciovec_array`.
pub(crate) struct IoVec {
    range: Range<usize>,
}

fn atomic(byte: &UnsafeCell<u8>) -> &AtomicU8 {
    // SAFETY: the pointer is valid and aligned, as a byte is; and all others who use it meanwhile do so by atomic instructions, or are
    // compiled code, whose accesses are like relaxed ones.
    unsafe { AtomicU8::from_ptr(byte.get()) }
}

fn load(from: &[UnsafeCell<u8>], to: &mut [u8]) {
    for (from, to) in from.iter().zip(to) {
        *to = atomic(from).load(Ordering::Relaxed);
    }
}

fn store(from: &[u8], to: &[UnsafeCell<u8>]) {
    for (from, to) in from.iter().zip(to) {
        atomic(to).store(*from, Ordering::Relaxed);
    }
}

impl Guest<'_> {
    fn len(&self) -> usize {
        match self {
            Guest::Own(bytes) => bytes.len(),
            Guest::Shared(bytes) => bytes.len(),
        }
    }

    /// The range of `len` bytes at `start`, if it is in the memory.
    pub(crate) fn range(&self, start: u32, len: u64) -> Result<Range<usize>, Errno> {
        // Both fit 33 bits: what is longer is in no memory of 32 bits.
        let end = u64::from(start).checked_add(len).ok_or(Errno::Fault)?;
        if end > self.len() as u64 {
            return Err(Errno::Fault);
        }
        Ok(start as usize..end as usize)
    }

    /// Fails if the `len` bytes at `start` are not all in the memory: for results, before anything is done.
    pub(crate) fn check(&self, start: u32, len: u64) -> Result<(), Errno> {
        self.range(start, len).map(drop)
    }

    /// A copy of the `N` bytes at `start`.
    pub(crate) fn read<const N: usize>(&self, start: u32) -> Result<[u8; N], Errno> {
        let range = self.range(start, N as u64)?;
        let mut copy = [0; N];
        match self {
            Guest::Own(bytes) => copy.copy_from_slice(&bytes[range]),
            Guest::Shared(bytes) => load(&bytes[range], &mut copy),
        }
        Ok(copy)
    }

    /// Writes `bytes` at `start`.
    pub(crate) fn write(&mut self, start: u32, bytes: &[u8]) -> Result<(), Errno> {
        let range = self.range(start, bytes.len() as u64)?;
        match self {
            Guest::Own(memory) => memory[range].copy_from_slice(bytes),
            Guest::Shared(memory) => store(bytes, &memory[range]),
        }
        Ok(())
    }

    /// Writes a number at `start`.
    pub(crate) fn write_u32(&mut self, start: u32, value: u32) -> Result<(), Errno> {
        self.write(start, &value.to_le_bytes())
    }

    /// Writes a number at `start`.
    pub(crate) fn write_u64(&mut self, start: u32, value: u64) -> Result<(), Errno> {
        self.write(start, &value.to_le_bytes())
    }

    /// The path in the `len` bytes at `start`. `buffer` is for those of a shared memory.
    ///
    /// # Errors
    /// [`Errno::Fault`]; [`Errno::Nametoolong`] if it has more than 4,096 bytes; [`Errno::Ilseq`] if it is not UTF-8; [`Errno::Inval`] if there is
    /// a NUL in it.
    pub(crate) fn path<'p>(
        &'p self,
        start: u32,
        len: u32,
        buffer: &'p mut Vec<u8>,
    ) -> Result<&'p str, Errno> {
        let range = self.range(start, u64::from(len))?;
        if range.len() > MAX_PATH {
            return Err(Errno::Nametoolong);
        }
        let bytes = match self {
            Guest::Own(bytes) => &bytes[range],
            Guest::Shared(bytes) => {
                buffer.try_reserve_exact(range.len()).map_err(|_| Errno::Nomem)?;
                buffer.resize(range.len(), 0);
                load(&bytes[range], buffer);
                buffer
            }
        };
        if bytes.contains(&0) {
            return Err(Errno::Inval);
        }
        core::str::from_utf8(bytes).map_err(|_| Errno::Ilseq)
    }

    /// The element `index` of the array of `iovec` or `ciovec` at `array`.
    fn iovec(&self, array: u32, index: u32) -> Result<IoVec, Errno> {
        // The array was checked to be in the memory: so the sum fits.
        let at = u64::from(array) + u64::from(index) * 8;
        let [a, b, c, d, e, f, g, h] = self.read(u32::try_from(at).map_err(|_| Errno::Fault)?)?;
        let (start, len) = (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]));
        Ok(IoVec { range: self.range(start, u64::from(len))? })
    }

    /// Calls `transfer` with the bytes that the array of `count` elements at `array` names, piece by piece, until it does less than it was
    /// asked for, or all is done. Returns how many bytes that were: what of a failure after the first is kept for the next call.
    ///
    /// # Errors
    /// Those of `transfer`; [`Errno::Fault`]. Between two pieces the guest may be interrupted.
    fn each(
        &mut self,
        array: u32,
        count: u32,
        stop: &Stop,
        mut transfer: impl FnMut(&mut Self, Range<usize>) -> Result<usize, Errno>,
    ) -> Result<u32, Failure> {
        self.check(array, u64::from(count) * 8)?;
        let mut done: u32 = 0;
        let mut since_look = 0;
        for index in 0..count {
            // What cannot be told is not done.
            let room = (u32::MAX - done) as usize;
            let failed = |error: Errno| if done == 0 { Err(error.into()) } else { Ok(done) };
            let range = match self.iovec(array, index) {
                Ok(IoVec { range }) => range.start..range.end.min(range.start.saturating_add(room)),
                Err(error) => return failed(error),
            };
            since_look += 1 + range.len() / 64;
            if since_look > PIECE / 64 {
                since_look = 0;
                stop.look()?;
            }
            let mut at = range.start;
            while at < range.end {
                let piece = at..range.end.min(at + PIECE);
                if at > range.start {
                    stop.look()?;
                }
                let wanted = piece.len();
                let moved = match transfer(self, piece) {
                    Ok(moved) => moved.min(wanted),
                    Err(error) if done == 0 => return Err(error.into()),
                    Err(_) => return Ok(done),
                };
                done += moved as u32;
                at += moved;
                if moved < wanted {
                    return Ok(done);
                }
            }
        }
        Ok(done)
    }

    /// Has `read` fill the bytes that the array of `iovec` names; see `each`. `read` is given a slice and says how much of it it has
    /// filled; less than all means that there is no more.
    pub(crate) fn fill(
        &mut self,
        array: u32,
        count: u32,
        stop: &Stop,
        mut read: impl FnMut(&mut [u8]) -> Result<usize, Errno>,
    ) -> Result<u32, Failure> {
        self.each(array, count, stop, |guest, range| guest.fill_range(range, &mut read))
    }

    /// As [`fill`](Self::fill), for one range, which was checked.
    #[inline]
    pub(crate) fn fill_range(
        &mut self,
        range: Range<usize>,
        read: &mut impl FnMut(&mut [u8]) -> Result<usize, Errno>,
    ) -> Result<usize, Errno> {
        match self {
            Guest::Own(bytes) => read(&mut bytes[range]),
            Guest::Shared(bytes) => fill_shared(&bytes[range], read),
        }
    }

    /// Has `write` take the bytes that the array of `ciovec` names; see `each`. `write` says how many it has taken; less than all means that
    /// it takes no more now.
    pub(crate) fn drain(
        &mut self,
        array: u32,
        count: u32,
        stop: &Stop,
        mut write: impl FnMut(&[u8]) -> Result<usize, Errno>,
    ) -> Result<u32, Failure> {
        self.each(array, count, stop, |guest, range| match guest {
            Guest::Own(bytes) => write(&bytes[range]),
            Guest::Shared(bytes) => {
                let mut buffer = buffer(range.len())?;
                let mut done = 0;
                for piece in bytes[range].chunks(SHARED_PIECE) {
                    let part = &mut buffer[..piece.len()];
                    load(piece, part);
                    let count = match write(part) {
                        Ok(count) => count.min(part.len()),
                        Err(error) if done == 0 => return Err(error),
                        Err(_) => break,
                    };
                    done += count;
                    if count < part.len() {
                        break;
                    }
                }
                Ok(done)
            }
        })
    }
}

/// Has `read` fill bytes of a shared memory.
#[cold]
fn fill_shared(
    bytes: &[UnsafeCell<u8>],
    read: &mut impl FnMut(&mut [u8]) -> Result<usize, Errno>,
) -> Result<usize, Errno> {
    let mut buffer = buffer(bytes.len())?;
    let mut done = 0;
    for piece in bytes.chunks(SHARED_PIECE) {
        let part = &mut buffer[..piece.len()];
        let count = match read(part) {
            Ok(count) => count.min(part.len()),
            Err(error) if done == 0 => return Err(error),
            // The bytes so far are here; it will be told with the next call.
            Err(_) => break,
        };
        store(&part[..count], piece);
        done += count;
        if count < part.len() {
            break;
        }
    }
    Ok(done)
}

/// A buffer for at most `len` bytes of a shared memory.
fn buffer(len: usize) -> Result<Vec<u8>, Errno> {
    let len = len.min(SHARED_PIECE);
    let mut buffer = Vec::new();
    buffer.try_reserve_exact(len).map_err(|_| Errno::Nomem)?;
    buffer.resize(len, 0);
    Ok(buffer)
}
