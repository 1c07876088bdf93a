//! What the content of files is kept in where there is no kernel: for the tests of everything that uses files.

use crate::growing::Pages;
use alloc::vec;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicUsize, Ordering};

/// All files together are not larger than this, in bytes: whoever makes them so by mistake gets an error, and not the whole machine.
const MOST: usize = 256 << 20;

static TAKEN: AtomicUsize = AtomicUsize::new(0);

/// Whether there is enough memory for `size` more bytes of files.
pub fn may_take(size: usize) -> bool {
    size <= MOST - TAKEN.load(Ordering::Relaxed).min(MOST)
}

/// Pages of a growing file.
pub struct Backing(Vec<u8>);

impl Drop for Backing {
    fn drop(&mut self) {
        TAKEN.fetch_sub(self.0.len(), Ordering::Relaxed);
    }
}

impl Pages for Backing {
    fn allocate(size: usize) -> Option<Self> {
        may_take(size).then(|| {
            TAKEN.fetch_add(size, Ordering::Relaxed);
            Self(vec![0; size])
        })
    }

    fn bytes(&self) -> &[u8] {
        &self.0
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }

    fn shorten(mut self, size: usize) -> Self {
        TAKEN.fetch_sub(self.0.len() - size, Ordering::Relaxed);
        self.0.truncate(size);
        self.0.shrink_to_fit();
        self
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
