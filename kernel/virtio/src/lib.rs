//! Virtio devices on the PCI bus: one request at a time, whose sender sleeps until it is answered.
//!
//! [`VirtioDevice::new`] finds a device's registers and resets it, [`VirtioDevice::start`] agrees on features and sets up queue 0, and
//! [`Queue::exchange`] sends a request and waits for the answer. That is all that a disk or a shared folder needs, whose users hold a lock meanwhile
//! anyway.
//!
//! Layouts and procedures: Virtual I/O Device (VIRTIO) Version 1.2, 2.7 (split virtqueues), 3.1.1 (initialization) and 4.1 (PCI).
//!
//! # Why our own
//! `virtio-drivers`, the crate that there is, spins while the device works, has no message-signalled interrupts, and panics if a device does not
//! behave. What of it would be left is the layout of two rings.
//!
//! # Memory that the device writes to
//! A queue has one piece of memory for rings, requests and answers. It belongs to the queue, not to the task that waits, so a task that is killed
//! takes nothing away: the wait is not cancelled by that, and ends soon. If a device does not answer in time, it is not used any more. The memory is given
//! back only after the device has been reset and has said so; else it is never given back.
#![no_std]

extern crate alloc;

mod device;
mod event;
mod queue;

pub use device::VirtioDevice;
pub use queue::{Part, Queue};

use core::fmt;
use pci::PciError;

/// Who makes virtio devices: the vendor of them all.
pub const VENDOR_ID: u16 = 0x1AF4;

/// Why a device cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VirtioError {
    /// It cannot be reached on the PCI bus.
    Pci(PciError),
    /// It lacks registers that a device of version 1 has; it may be an older one.
    NotVersion1,
    /// It refused the features that the driver needs.
    Refused,
    /// It has no queue, or only one that is too short.
    NoQueue,
    /// There is no memory for its queue, or no interrupt vector; the text says which.
    NoResource(&'static str),
    /// It does not answer.
    Silent,
}

impl fmt::Display for VirtioError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            VirtioError::Pci(error) => error.fmt(f),
            VirtioError::NotVersion1 => f.write_str("it is not a virtio device of version 1"),
            VirtioError::Refused => f.write_str("it refuses the features that it offered"),
            VirtioError::NoQueue => f.write_str("it has no queue for requests"),
            VirtioError::NoResource(what) => f.write_str(what),
            VirtioError::Silent => f.write_str("it does not answer"),
        }
    }
}

impl core::error::Error for VirtioError {}

impl From<PciError> for VirtioError {
    fn from(error: PciError) -> Self {
        VirtioError::Pci(error)
    }
}
