//! What the content of files is kept in where there is no kernel: for the tests of everything that uses files.

use crate::growing::Pages;
use alloc::vec;
use alloc::vec::Vec;

/// No file is larger than this, in bytes: whoever makes one by mistake gets an error, and not the whole machine.
const LARGEST: usize = 1 << 30;

/// Whether there is enough memory for `size` more bytes of files.
pub fn may_take(size: usize) -> bool {
    size <= LARGEST
}

/// Pages of a growing file.
pub struct Backing(Vec<u8>);

impl Pages for Backing {
    fn allocate(size: usize) -> Option<Self> {
        may_take(size).then(|| Self(vec![0; size]))
    }

    fn bytes(&self) -> &[u8] {
        &self.0
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

/// The content of a fixed file.
pub struct FixedContent(&'static [u8]);

impl FixedContent {
    /// Shows bytes that are always there.
    pub fn from_static(bytes: &'static [u8]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        self.0
    }

    /// The bytes, if they are always there.
    pub fn static_bytes(&self) -> Option<&'static [u8]> {
        Some(self.0)
    }
}
