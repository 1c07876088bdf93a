//! Bounded channels between tasks: many senders, many receivers, first in, first out.
//!
//! A full channel makes senders wait, an empty one receivers. A channel whose other side is gone is *disconnected*:
//! what is still in it can be received, nothing more can be sent.
//!
//! All room is allocated when the channel is made, so [`Sender::try_send`] may be used in interrupt handlers, for
//! values that are cheap to move.
//!
//! # Invariants
//! - The buffer never holds more than the channel's capacity, so it never grows.
//! - Values are moved, never dropped, while the buffer is locked.
#![cfg_attr(target_os = "theseus", no_std)]

extern crate alloc;

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::fmt;
use core::sync::atomic::{AtomicUsize, Ordering};
use sync_irq::IrqSafeMutex;
use wait_queue::WaitQueue;

/// Why a value could not be sent or received.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The channel is full, or empty, and the operation was asked not to wait.
    WouldBlock,
    /// All tasks on the other side of the channel are gone.
    ChannelDisconnected,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Error::WouldBlock => "the channel is not ready: try again, or use the call that waits",
            Error::ChannelDisconnected => "the other side of the channel is gone",
        })
    }
}

impl core::error::Error for Error {}

struct Channel<T> {
    buffer: IrqSafeMutex<VecDeque<T>>,
    capacity: usize,
    senders: AtomicUsize,
    receivers: AtomicUsize,
    /// Those who wait for room.
    waiting_senders: WaitQueue,
    /// Those who wait for values.
    waiting_receivers: WaitQueue,
}

/// Creates a channel with room for `capacity` values, at least one.
///
/// # Panics
/// If there is no memory for that many values.
pub fn new_channel<T: Send>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let capacity = capacity.max(1);
    let channel = Arc::new(Channel {
        buffer: IrqSafeMutex::new(VecDeque::with_capacity(capacity)),
        capacity,
        senders: AtomicUsize::new(1),
        receivers: AtomicUsize::new(1),
        waiting_senders: WaitQueue::new(),
        waiting_receivers: WaitQueue::new(),
    });
    (Sender { channel: channel.clone() }, Receiver { channel })
}

/// The side of a channel that values go into. Clones send into the same channel.
pub struct Sender<T: Send> {
    channel: Arc<Channel<T>>,
}

impl<T: Send> Sender<T> {
    /// Sends a value, waiting while the channel is full. Waiting is a cancel point.
    ///
    /// # Errors
    /// [`Error::ChannelDisconnected`] if no receiver is left. The value is dropped.
    pub fn send(&self, value: T) -> Result<(), Error> {
        let mut value = Some(value);
        self.channel.waiting_senders.wait_until(|| match self.try_send(value.take()?) {
            Ok(()) => Some(Ok(())),
            Err((returned, Error::WouldBlock)) => {
                value = Some(returned);
                None
            }
            Err((_, error)) => Some(Err(error)),
        })
    }

    /// Sends a value if there is room.
    ///
    /// # Errors
    /// The value, with [`Error::WouldBlock`] if the channel is full or [`Error::ChannelDisconnected`] if no receiver is
    /// left.
    pub fn try_send(&self, value: T) -> Result<(), (T, Error)> {
        if self.is_disconnected() {
            return Err((value, Error::ChannelDisconnected));
        }
        {
            let mut buffer = self.channel.buffer.lock();
            if buffer.len() >= self.channel.capacity {
                return Err((value, Error::WouldBlock));
            }
            buffer.push_back(value);
        }
        self.channel.waiting_receivers.notify_one();
        Ok(())
    }

    /// Whether no receiver is left.
    pub fn is_disconnected(&self) -> bool {
        self.channel.receivers.load(Ordering::SeqCst) == 0
    }
}

impl<T: Send + Copy> Sender<T> {
    /// Sends as many of the values as there is room for, at least one, waiting while the channel is full. Returns how many
    /// were sent: 0 only for an empty slice.
    ///
    /// # Errors
    /// [`Error::ChannelDisconnected`] if no receiver is left.
    pub fn send_buf(&self, values: &[T]) -> Result<usize, Error> {
        if values.is_empty() {
            return Ok(0);
        }
        let sent = self.channel.waiting_senders.wait_until(|| {
            if self.is_disconnected() {
                return Some(Err(Error::ChannelDisconnected));
            }
            let mut buffer = self.channel.buffer.lock();
            let count = values.len().min(self.channel.capacity - buffer.len());
            buffer.extend(&values[..count]);
            (count > 0).then_some(Ok(count))
        })?;
        // Several values can serve several receivers.
        self.channel.waiting_receivers.notify_all();
        Ok(sent)
    }

    /// Sends all of the values, in order, waiting while the channel is full. Values of other senders may come between.
    ///
    /// # Errors
    /// [`Error::ChannelDisconnected`] if no receiver is left; some of the values may have been sent by then.
    pub fn send_all(&self, mut values: &[T]) -> Result<(), Error> {
        while !values.is_empty() {
            values = &values[self.send_buf(values)?..];
        }
        Ok(())
    }
}

impl<T: Send> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.channel.senders.fetch_add(1, Ordering::SeqCst);
        Sender { channel: self.channel.clone() }
    }
}

impl<T: Send> Drop for Sender<T> {
    fn drop(&mut self) {
        if self.channel.senders.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.channel.waiting_receivers.notify_all();
        }
    }
}

/// The side of a channel that values come out of. Each value goes to one of its clones.
pub struct Receiver<T: Send> {
    channel: Arc<Channel<T>>,
}

impl<T: Send> Receiver<T> {
    /// Receives a value, waiting while the channel is empty. Waiting is a cancel point.
    ///
    /// # Errors
    /// [`Error::ChannelDisconnected`] if the channel is empty and no sender is left.
    pub fn receive(&self) -> Result<T, Error> {
        self.channel.waiting_receivers.wait_until(|| match self.try_receive() {
            Err(Error::WouldBlock) => None,
            result => Some(result),
        })
    }

    /// Receives a value if there is one.
    ///
    /// # Errors
    /// [`Error::WouldBlock`] if the channel is empty, [`Error::ChannelDisconnected`] if moreover no sender is left.
    pub fn try_receive(&self) -> Result<T, Error> {
        // Looked at before the buffer: whoever sent something and then left has left something to be found.
        let disconnected = self.is_disconnected();
        let value = self.channel.buffer.lock().pop_front();
        match value {
            Some(value) => {
                self.channel.waiting_senders.notify_one();
                Ok(value)
            }
            None if disconnected => Err(Error::ChannelDisconnected),
            None => Err(Error::WouldBlock),
        }
    }

    /// Whether no sender is left. There may still be values to receive.
    pub fn is_disconnected(&self) -> bool {
        self.channel.senders.load(Ordering::SeqCst) == 0
    }
}

impl<T: Send + Copy> Receiver<T> {
    /// Receives as many values as there are and fit into `values`, at least one, waiting while the channel is empty.
    /// Returns how many: 0 only for an empty slice.
    ///
    /// # Errors
    /// As [`receive`](Self::receive).
    pub fn receive_buf(&self, values: &mut [T]) -> Result<usize, Error> {
        self.channel.waiting_receivers.wait_until(|| match self.try_receive_buf(values) {
            Err(Error::WouldBlock) => None,
            result => Some(result),
        })
    }

    /// Receives as many values as there are and fit into `values`. Returns how many: 0 only for an empty slice.
    ///
    /// # Errors
    /// As [`try_receive`](Self::try_receive).
    pub fn try_receive_buf(&self, values: &mut [T]) -> Result<usize, Error> {
        if values.is_empty() {
            return Ok(0);
        }
        let disconnected = self.is_disconnected();
        let count = {
            let mut buffer = self.channel.buffer.lock();
            let count = values.len().min(buffer.len());
            for (place, value) in values.iter_mut().zip(buffer.drain(..count)) {
                *place = value;
            }
            count
        };
        if count > 0 {
            self.channel.waiting_senders.notify_all();
            Ok(count)
        } else if disconnected {
            Err(Error::ChannelDisconnected)
        } else {
            Err(Error::WouldBlock)
        }
    }
}

impl<T: Send> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        self.channel.receivers.fetch_add(1, Ordering::SeqCst);
        Receiver { channel: self.channel.clone() }
    }
}

impl<T: Send> Drop for Receiver<T> {
    fn drop(&mut self) {
        if self.channel.receivers.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.channel.waiting_senders.notify_all();
        }
    }
}

#[cfg(test)]
mod tests;
