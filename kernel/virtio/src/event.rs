//! Interrupts of devices, as events that tasks wait for.

use core::sync::atomic::{AtomicU8, Ordering};
use interrupts::{EoiBehaviour, SavedRegisters};
use wait_queue::WaitQueue;

/// How many devices there can be.
const DEVICES: usize = 8;

/// An interrupt, and who waits for it. Never given back: neither are devices.
pub(crate) struct Event {
    /// The vector; zero if nobody uses this.
    vector: AtomicU8,
    pub(crate) waiters: WaitQueue,
}

static EVENTS: [Event; DEVICES] =
    [const { Event { vector: AtomicU8::new(0), waiters: WaitQueue::new() } }; DEVICES];

/// Taken, and has no vector yet.
const RESERVED: u8 = 1;

fn handle(registers: &mut SavedRegisters) -> EoiBehaviour {
    for event in &EVENTS {
        if u64::from(event.vector.load(Ordering::Acquire)) == registers.vector {
            event.waiters.notify_all();
        }
    }
    EoiBehaviour::HandlerDidNotSendEoi
}

/// An event for another device, and the vector that its interrupts are to have.
pub(crate) fn new() -> Result<(&'static Event, u8), &'static str> {
    let take = |event: &&Event| {
        event.vector.compare_exchange(0, RESERVED, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    };
    let event = EVENTS.iter().find(take).ok_or("there are more virtio devices than it has room for (8)")?;
    let vector = interrupts::register_msi_interrupt(handle).inspect_err(|_| {
        event.vector.store(0, Ordering::Release);
    })?;
    event.vector.store(vector, Ordering::Release);
    Ok((event, vector))
}
