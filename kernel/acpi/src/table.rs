//! A system description table: a header of 36 bytes and a body.

use crate::{AcpiError, PhysicalMemory};
use alloc::vec::Vec;

/// Bytes of the header that all tables share.
pub const HEADER_LENGTH: usize = 36;
/// More than any table has: DSDTs reach some hundred KiB.
const MAX_LENGTH: usize = 16 << 20;

/// A copy of a table whose length and checksum were found right.
pub struct Table {
    bytes: Vec<u8>,
}

impl Table {
    /// The signature of the table at a physical address, without reading the rest.
    pub fn peek_signature(memory: &impl PhysicalMemory, address: usize) -> Result<[u8; 4], AcpiError> {
        let bytes = memory.read(address, 4)?;
        bytes.first_chunk::<4>().copied().ok_or(AcpiError::TooShort(*b"????"))
    }

    /// Copies the table at a physical address.
    pub fn read(memory: &impl PhysicalMemory, address: usize) -> Result<Self, AcpiError> {
        let header = Table { bytes: memory.read(address, HEADER_LENGTH)? };
        let signature = header.signature();
        let length = header.u32(4)? as usize;
        if length < HEADER_LENGTH {
            return Err(AcpiError::TooShort(signature));
        }
        if length > MAX_LENGTH {
            return Err(AcpiError::TooLong(signature));
        }
        let table = Table { bytes: memory.read(address, length)? };
        if checksum(&table.bytes) != 0 {
            return Err(AcpiError::Checksum(signature));
        }
        Ok(table)
    }

    /// The four letters that say what kind of table it is.
    pub fn signature(&self) -> [u8; 4] {
        self.bytes.first_chunk::<4>().copied().unwrap_or(*b"????")
    }

    /// What comes after the header.
    pub fn body(&self) -> &[u8] {
        self.bytes.get(HEADER_LENGTH..).unwrap_or(&[])
    }

    /// What comes after so many bytes from the start of the table.
    pub fn after(&self, offset: usize) -> &[u8] {
        self.bytes.get(offset..).unwrap_or(&[])
    }

    fn array<const N: usize>(&self, offset: usize) -> Result<[u8; N], AcpiError> {
        let bytes = self.bytes.get(offset..).and_then(|rest| rest.first_chunk::<N>());
        bytes.copied().ok_or(AcpiError::TooShort(self.signature()))
    }

    /// The byte at an offset from the start of the table.
    pub fn u8(&self, offset: usize) -> Result<u8, AcpiError> {
        self.array(offset).map(u8::from_le_bytes)
    }

    /// The 32-bit number at an offset from the start of the table.
    pub fn u32(&self, offset: usize) -> Result<u32, AcpiError> {
        self.array(offset).map(u32::from_le_bytes)
    }

    /// The 64-bit number at an offset from the start of the table.
    pub fn u64(&self, offset: usize) -> Result<u64, AcpiError> {
        self.array(offset).map(u64::from_le_bytes)
    }
}

/// The sum of all bytes modulo 256, which is 0 for a table that is not damaged.
pub fn checksum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
}
