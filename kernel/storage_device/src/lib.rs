//! What a disk is to a file system: numbered blocks of 512 bytes that are read and written.
//!
//! # Invariants that all implementations keep
//! * A block is written as a whole or not at all. What was written is read from then on; whether it outlasts a power failure is certain only
//!   after [`StorageDevice::flush`].
//! * Requests return in the end, with an error if the device does not answer.
#![cfg_attr(not(test), no_std)]

use io::IoError;

/// The bytes of a block.
pub const BLOCK_SIZE: usize = 512;

/// A device with blocks.
pub trait StorageDevice: Send {
    /// How many blocks there are.
    fn size_in_blocks(&self) -> u64;

    /// Whether it refuses to be written to.
    fn is_read_only(&self) -> bool;

    /// Reads the blocks from `block_offset` on into `buffer`, whose length is a multiple of [`BLOCK_SIZE`].
    ///
    /// # Errors
    /// [`IoError::InvalidInput`] beyond the last block, [`IoError::TimedOut`], or what the device says.
    fn read_blocks(&mut self, buffer: &mut [u8], block_offset: u64) -> Result<(), IoError>;

    /// Writes `buffer`, whose length is a multiple of [`BLOCK_SIZE`], to the blocks from `block_offset` on.
    ///
    /// # Errors
    /// As [`read_blocks`](Self::read_blocks), and [`IoError::ReadOnly`]. Any of the blocks may have been written then.
    fn write_blocks(&mut self, buffer: &[u8], block_offset: u64) -> Result<(), IoError>;

    /// Returns when all that was written outlasts a power failure.
    ///
    /// # Errors
    /// [`IoError::TimedOut`], or what the device says.
    fn flush(&mut self) -> Result<(), IoError>;
}
