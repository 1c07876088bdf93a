//! Virtio 9P devices as transports of 9P: what a request says goes into the queue's memory, and so does the answer.
//!
//! The device is described in QEMU's and Linux's `virtio_9p.h`; Virtual I/O Device (VIRTIO) Version 1.2 reserves its kind.
#![no_std]

use io::IoError;
use nine_p::Transport;
use pci::PciDevice;
use virtio::{Part, Queue, VirtioDevice, VirtioError};

/// The kind of virtio device.
pub const KIND: u16 = 9;

/// The device has a name for what it shares. Of no use here, but devices refuse to go without it.
const MOUNT_TAG: u64 = 1;

/// The most bytes of a request, and of an answer.
const CAPACITY: usize = 64 << 10;

/// A connection to the host.
pub struct Virtio9p {
    queue: Queue,
}

impl Virtio9p {
    /// Starts the device.
    ///
    /// # Errors
    /// See [`VirtioError`].
    pub fn new(pci: PciDevice) -> Result<Self, VirtioError> {
        let device = VirtioDevice::new(pci)?;
        let features = device.features() & MOUNT_TAG;
        Ok(Self { queue: device.start(features, 2 * CAPACITY, "host folder")? })
    }
}

impl Transport for Virtio9p {
    fn capacity(&self) -> usize {
        CAPACITY
    }

    fn request(&mut self) -> &mut [u8] {
        &mut self.queue.buffer()[..CAPACITY]
    }

    fn exchange(&mut self, request_len: usize) -> Result<&[u8], IoError> {
        let request = Part { start: 0, len: request_len, answer: false };
        let answer = Part { start: CAPACITY, len: CAPACITY, answer: true };
        // An answer that is not written at all must not look like an older one.
        self.queue.buffer()[CAPACITY..CAPACITY + 8].fill(0);
        self.queue.exchange(&[request, answer]).map_err(|_| IoError::Other("the host does not answer"))?;
        Ok(&self.queue.buffer()[CAPACITY..2 * CAPACITY])
    }
}
