//! Virtio block devices as storage devices.
//!
//! Requests and answers: Virtual I/O Device (VIRTIO) Version 1.2, 5.2. What is read and written is copied through the queue's own memory, 128 KiB at a
//! time, so the device never sees the memory of those who use it.
#![no_std]

use io::IoError;
use pci::PciDevice;
use storage_device::{BLOCK_SIZE, StorageDevice};
use virtio::{Part, Queue, VirtioDevice, VirtioError};

/// The kind of virtio device.
pub const KIND: u16 = 2;

/// Features: it cannot be written to; it can be asked to flush what it has written.
const READ_ONLY: u64 = 1 << 5;
const FLUSH: u64 = 1 << 9;

/// What a request asks for.
const READ: u32 = 0;
const WRITE: u32 = 1;
const DO_FLUSH: u32 = 4;

/// What is written where the answer goes before there is one, and answers.
const NO_ANSWER: u8 = 0xFF;
const OK: u8 = 0;
const UNSUPPORTED: u8 = 2;

/// Bytes of a request's head, and of the data that go with one.
const HEAD: usize = 16;
const DATA: usize = 128 << 10;
/// Where they are in the buffer. The answer's one byte comes last.
const DATA_START: usize = HEAD;
const STATUS: usize = DATA_START + DATA;

/// A disk.
pub struct VirtioBlk {
    queue: Queue,
    blocks: u64,
    read_only: bool,
    can_flush: bool,
}

impl VirtioBlk {
    /// Starts the device.
    ///
    /// # Errors
    /// See [`VirtioError`].
    pub fn new(pci: PciDevice) -> Result<Self, VirtioError> {
        let device = VirtioDevice::new(pci)?;
        let features = device.features() & (READ_ONLY | FLUSH);
        // The capacity is the first register, in blocks of 512 bytes.
        let blocks = u64::from(device.config::<u32>(0)) | u64::from(device.config::<u32>(4)) << 32;
        let queue = device.start(features, STATUS + 1, "disk")?;
        let (read_only, can_flush) = (features & READ_ONLY != 0, features & FLUSH != 0);
        Ok(Self { queue, blocks, read_only, can_flush })
    }

    /// Asks for something, with `len` bytes of data at their place in the buffer.
    fn request(&mut self, kind: u32, block: u64, len: usize) -> Result<(), IoError> {
        let buffer = self.queue.buffer();
        let mut head = [0; HEAD];
        head[..4].copy_from_slice(&kind.to_le_bytes());
        head[8..].copy_from_slice(&block.to_le_bytes());
        buffer[..HEAD].copy_from_slice(&head);
        buffer[STATUS] = NO_ANSWER;
        let head = Part { start: 0, len: HEAD, answer: false };
        let data = Part { start: DATA_START, len, answer: kind == READ };
        let status = Part { start: STATUS, len: 1, answer: true };
        let result = if len == 0 {
            self.queue.exchange(&[head, status])
        } else {
            self.queue.exchange(&[head, data, status])
        };
        result.map_err(|_| IoError::Other("the disk does not answer"))?;
        match self.queue.buffer()[STATUS] {
            OK => Ok(()),
            UNSUPPORTED => Err(IoError::Other("the disk cannot do that")),
            _ => Err(IoError::Other("the disk reports an error")),
        }
    }

    fn check(&self, len: usize, block_offset: u64) -> Result<(), IoError> {
        let end = block_offset.checked_add((len / BLOCK_SIZE) as u64);
        let fits = len.is_multiple_of(BLOCK_SIZE) && end.is_some_and(|end| end <= self.blocks);
        if fits { Ok(()) } else { Err(IoError::InvalidInput) }
    }
}

impl StorageDevice for VirtioBlk {
    fn size_in_blocks(&self) -> u64 {
        self.blocks
    }

    fn is_read_only(&self) -> bool {
        self.read_only
    }

    fn read_blocks(&mut self, buffer: &mut [u8], block_offset: u64) -> Result<(), IoError> {
        self.check(buffer.len(), block_offset)?;
        let mut block = block_offset;
        for piece in buffer.chunks_mut(DATA) {
            self.request(READ, block, piece.len())?;
            piece.copy_from_slice(&self.queue.buffer()[DATA_START..DATA_START + piece.len()]);
            block += (piece.len() / BLOCK_SIZE) as u64;
        }
        Ok(())
    }

    fn write_blocks(&mut self, buffer: &[u8], block_offset: u64) -> Result<(), IoError> {
        if self.read_only {
            return Err(IoError::ReadOnly);
        }
        self.check(buffer.len(), block_offset)?;
        let mut block = block_offset;
        for piece in buffer.chunks(DATA) {
            self.queue.buffer()[DATA_START..DATA_START + piece.len()].copy_from_slice(piece);
            self.request(WRITE, block, piece.len())?;
            block += (piece.len() / BLOCK_SIZE) as u64;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), IoError> {
        // A device that offers no flush has written when it answers.
        if self.can_flush { self.request(DO_FLUSH, 0, 0) } else { Ok(()) }
    }
}
