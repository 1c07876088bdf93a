//! Streams in memory, for standard input, output and error: as `wasmtime_wasi::p2::pipe`.

use crate::stdio::{IsTerminal, StdinStream, StdoutStream};
use alloc::sync::Arc;
use alloc::vec::Vec;
use io::IoError;
use spin::Mutex;

/// Input that is these bytes and then the end. A clone reads from where the other has come to.
#[derive(Debug, Clone)]
pub struct MemoryInputPipe(Arc<Mutex<Input>>);

#[derive(Debug)]
struct Input {
    bytes: Vec<u8>,
    at: usize,
}

impl MemoryInputPipe {
    /// Of `bytes`.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(Arc::new(Mutex::new(Input { bytes: bytes.into(), at: 0 })))
    }
}

impl IsTerminal for MemoryInputPipe {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdinStream for MemoryInputPipe {
    fn read(&self, buffer: &mut [u8]) -> Result<usize, IoError> {
        let mut input = self.0.lock();
        let rest = &input.bytes[input.at..];
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        input.at += count;
        Ok(count)
    }
}

/// Output that is kept. A clone is the same.
#[derive(Debug, Clone)]
pub struct MemoryOutputPipe {
    capacity: usize,
    bytes: Arc<Mutex<Vec<u8>>>,
}

impl MemoryOutputPipe {
    /// Keeps at most `capacity` bytes. Who writes more gets [`Errno::Nospc`](crate::Errno::Nospc).
    pub fn new(capacity: usize) -> Self {
        Self { capacity, bytes: Arc::default() }
    }

    /// What was written so far.
    pub fn contents(&self) -> Vec<u8> {
        self.bytes.lock().clone()
    }

    /// What was written, if this is the only clone left.
    pub fn try_into_inner(self) -> Option<Vec<u8>> {
        Arc::into_inner(self.bytes).map(Mutex::into_inner)
    }
}

impl IsTerminal for MemoryOutputPipe {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for MemoryOutputPipe {
    fn write(&self, bytes: &[u8]) -> Result<usize, IoError> {
        let mut kept = self.bytes.lock();
        let count = bytes.len().min(self.capacity.saturating_sub(kept.len()));
        if count == 0 && !bytes.is_empty() {
            return Err(IoError::OutOfMemory);
        }
        kept.try_reserve(count).map_err(|_| IoError::OutOfMemory)?;
        kept.extend_from_slice(&bytes[..count]);
        Ok(count)
    }
}
