//! A queue, and the memory that the device reads and writes.

use crate::event::Event;
use crate::{VirtioDevice, VirtioError};
use core::sync::atomic::{Ordering, fence};
use core::time::Duration;
use memory::{DMA_FLAGS, MappedPages, PAGE_SIZE};

/// The most parts that a request and its answer have together, and so how long a queue must be.
const SIZE: u16 = 4;

/// Where the three rings are in the queue's first page; the buffer begins with the next one. Alignments: 2.7.
const DESCRIPTORS: usize = 0;
const DRIVER: usize = 0x400;
const DEVICE: usize = 0x800;
const DESCRIPTOR_SIZE: usize = 16;
/// A descriptor: another one follows; the device writes there.
const NEXT: u16 = 1;
const WRITE: u16 = 2;

/// How long a device may take. Then it is not used any more.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How often a device that takes long is asked whether it is still there.
const LOOK: Duration = Duration::from_millis(250);

/// A part of the buffer, of a request or of an answer.
#[derive(Debug, Clone, Copy)]
pub struct Part {
    /// Where it begins.
    pub start: usize,
    /// How many bytes it has, at least one.
    pub len: usize,
    /// Whether it is the device that writes there.
    pub answer: bool,
}

/// Queue 0 of a device, and a buffer for requests and answers.
pub struct Queue {
    device: VirtioDevice,
    event: &'static Event,
    /// The rings, and after them the buffer. Given back only if the device has been reset.
    memory: MappedPages,
    physical: u64,
    name: &'static str,
    notify_at: usize,
    /// How many requests have been made, in the arithmetic of the rings.
    requests: u16,
    /// It did not answer, or said that it is lost.
    failed: bool,
}

impl Queue {
    pub(crate) fn new(
        device: VirtioDevice,
        most: u16,
        capacity: usize,
        event: &'static Event,
        name: &'static str,
    ) -> Result<Self, VirtioError> {
        if most < SIZE {
            return Err(VirtioError::NoQueue);
        }
        let (memory, physical) = memory::create_contiguous_mapping(PAGE_SIZE + capacity, DMA_FLAGS)
            .map_err(VirtioError::NoResource)?;
        let physical = physical.value() as u64;
        Ok(Self { device, event, memory, physical, name, notify_at: 0, requests: 0, failed: false })
    }

    pub(crate) fn size(&self) -> u16 {
        SIZE
    }

    pub(crate) fn notify_at(&mut self, offset: usize) {
        self.notify_at = offset;
    }

    /// The physical addresses of the descriptors, of the driver's ring and of the device's.
    pub(crate) fn rings(&self) -> [u64; 3] {
        [DESCRIPTORS, DRIVER, DEVICE].map(|offset| self.physical + offset as u64)
    }

    /// The device.
    pub fn device(&self) -> &VirtioDevice {
        &self.device
    }

    /// The buffer, of which no request is under way while it can be borrowed.
    pub fn buffer(&mut self) -> &mut [u8] {
        let len = self.memory.size_in_bytes() - PAGE_SIZE;
        // Within the mapping, and writable: the mapping's own flags.
        self.memory.as_slice_mut(PAGE_SIZE, len).unwrap_or_default()
    }

    /// The address of 16 bits of a ring.
    fn word(&self, offset: usize) -> *mut u16 {
        debug_assert!(offset + 2 <= PAGE_SIZE && offset.is_multiple_of(2));
        (self.memory.start_address().value() + offset) as *mut u16
    }

    fn write_word(&mut self, offset: usize, value: u16) {
        // SAFETY: in the first page of the mapping, which `self` owns, and aligned. The device may read it at any time, hence volatile.
        unsafe { self.word(offset).write_volatile(value) }
    }

    fn read_word(&self, offset: usize) -> u16 {
        // SAFETY: as above; the device may write it at any time.
        unsafe { self.word(offset).read_volatile() }
    }

    fn write_bytes(&mut self, offset: usize, bytes: &[u8]) {
        for (index, word) in bytes.chunks_exact(2).enumerate() {
            self.write_word(offset + 2 * index, u16::from_le_bytes([word[0], word[1]]));
        }
    }

    /// Sends the parts of the buffer that are a request, those first, and waits until the device has written the others. The task sleeps
    /// meanwhile; that it is asked to die does not end the wait.
    ///
    /// # Errors
    /// [`VirtioError::Silent`] if the device does not answer within 30 seconds or has gone; from then on always.
    pub fn exchange(&mut self, parts: &[Part]) -> Result<(), VirtioError> {
        if self.failed {
            return Err(VirtioError::Silent);
        }
        let capacity = self.memory.size_in_bytes() - PAGE_SIZE;
        let fits =
            |part: &Part| part.len > 0 && part.start.checked_add(part.len).is_some_and(|end| end <= capacity);
        if parts.is_empty() || parts.len() > usize::from(SIZE) || !parts.iter().all(fits) {
            return Err(VirtioError::NoQueue);
        }
        for (index, part) in parts.iter().enumerate() {
            let more = index + 1 < parts.len();
            let flags = if more { NEXT } else { 0 } | if part.answer { WRITE } else { 0 };
            let address = self.physical + (PAGE_SIZE + part.start) as u64;
            let at = DESCRIPTORS + index * DESCRIPTOR_SIZE;
            self.write_bytes(at, &address.to_le_bytes());
            self.write_bytes(at + 8, &(part.len as u32).to_le_bytes());
            self.write_word(at + 12, flags);
            self.write_word(at + 14, index as u16 + 1);
        }
        // The ring's entry says which descriptor is the first: always number 0.
        self.write_word(DRIVER + 4 + 2 * usize::from(self.requests % SIZE), 0);
        self.requests = self.requests.wrapping_add(1);
        // The device must see the request before the new index, and the index before it is notified.
        fence(Ordering::SeqCst);
        self.write_word(DRIVER + 2, self.requests);
        fence(Ordering::SeqCst);
        self.device.notify(self.notify_at);

        let mut waited = Duration::ZERO;
        while waited < TIMEOUT {
            let is_done = || (self.read_word(DEVICE + 2) == self.requests).then_some(());
            if sleep::wait_until_timeout_uncancellable(&self.event.waiters, LOOK, is_done).is_some() {
                // What the device wrote before the index is seen after it.
                fence(Ordering::SeqCst);
                return Ok(());
            }
            waited += LOOK;
            if !self.device.is_well() {
                break;
            }
        }
        self.failed = true;
        log::error!("{}: the device does not answer, and is not used any more", self.name);
        Err(VirtioError::Silent)
    }
}

impl Drop for Queue {
    /// The memory goes back only if the device surely does not write to it any more.
    fn drop(&mut self) {
        if !self.device.reset() {
            core::mem::forget(core::mem::replace(&mut self.memory, MappedPages::empty()));
        }
    }
}
