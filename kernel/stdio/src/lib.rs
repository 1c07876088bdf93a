//! Queues of bytes between tasks, which serve as their standard streams: what one task writes, another reads.
//!
//! # Invariants
//! * Bytes come out in the order they went in, none twice, none lost.
//! * A reader waits until there are bytes, or no writer is left and none can come ([`Stdio`] itself counts as one until it is
//!   dropped). Then it reads zero bytes: the end.
//! * A writer waits while the queue is full, and fails with [`IoError::BrokenPipe`] when no reader is left.
//! * [`ImmutableRead::wait_readable`] ends when a read would, and takes nothing out; [`ImmutableWrite::wait_writable`] likewise.
//! * A killed task that waits here stops waiting by unwinding.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use core::time::Duration;
use io::{ImmutableRead, ImmutableWrite, IoError, Watcher, Watchers};
use sleep::wait_until_timeout;
use spin::Mutex;
use wait_queue::WaitQueue;

/// How many bytes a queue holds unless told otherwise: as a pipe on Linux.
const DEFAULT_CAPACITY: usize = 64 << 10;

struct Queue {
    bytes: Mutex<VecDeque<u8>>,
    capacity: usize,
    /// What the waiting tasks look at; kept up to date with the lock of `bytes` held.
    length: AtomicUsize,
    writers: AtomicUsize,
    readers: AtomicUsize,
    ended: AtomicBool,
    for_bytes: WaitQueue,
    for_room: WaitQueue,
    /// Those who wait for one or the other, and for other things besides.
    watchers: Watchers,
}

impl Queue {
    fn is_at_end(&self) -> bool {
        self.ended.load(Ordering::Acquire) || self.writers.load(Ordering::Acquire) == 0
    }

    /// Whether a reader need not wait.
    fn is_readable(&self) -> bool {
        self.length.load(Ordering::Acquire) > 0 || self.is_at_end()
    }

    /// Whether nothing that is written will be read.
    fn is_broken(&self) -> bool {
        self.readers.load(Ordering::Acquire) == 0 || self.ended.load(Ordering::Acquire)
    }

    /// Whether a writer need not wait.
    fn is_writable(&self) -> bool {
        self.length.load(Ordering::Acquire) < self.capacity || self.is_broken()
    }

    fn wake_all(&self) {
        self.for_bytes.notify_all();
        self.for_room.notify_all();
        self.watchers.notify();
    }

    /// Takes bytes, as many as are there and fit.
    fn take(&self, buffer: &mut [u8]) -> usize {
        let count = {
            let mut bytes = self.bytes.lock();
            let count = bytes.len().min(buffer.len());
            for (place, byte) in buffer.iter_mut().zip(bytes.drain(..count)) {
                *place = byte;
            }
            self.length.store(bytes.len(), Ordering::Release);
            count
        };
        if count > 0 {
            self.for_room.notify_all();
            self.watchers.notify();
        }
        count
    }

    /// Adds bytes, as many as there is room for.
    fn put(&self, buffer: &[u8]) -> Result<usize, IoError> {
        let count = {
            let mut bytes = self.bytes.lock();
            let count = buffer.len().min(self.capacity.saturating_sub(bytes.len()));
            bytes.try_reserve(count).map_err(|_| IoError::OutOfMemory)?;
            bytes.extend(&buffer[..count]);
            self.length.store(bytes.len(), Ordering::Release);
            count
        };
        if count > 0 {
            self.for_bytes.notify_all();
            self.watchers.notify();
        }
        Ok(count)
    }
}

/// Waits until `condition` holds, at most for `timeout`, and returns whether it does.
fn wait(waiters: &WaitQueue, timeout: Option<Duration>, condition: impl Fn() -> bool) -> bool {
    let holds = || condition().then_some(());
    match timeout {
        None => waiters.wait_until(holds),
        Some(Duration::ZERO) => return condition(),
        Some(timeout) => return wait_until_timeout(waiters, timeout, holds).is_some(),
    }
    true
}

/// A queue of bytes. While it exists, readers wait for writers that may still come.
pub struct Stdio {
    queue: Arc<Queue>,
}

impl Stdio {
    /// A queue that holds 64 KiB.
    pub fn new() -> Self {
        Self::with_capacity(DEFAULT_CAPACITY)
    }

    /// A queue that holds `capacity` bytes, at least one. Memory is used as it fills.
    pub fn with_capacity(capacity: usize) -> Self {
        let queue = Queue {
            bytes: Mutex::new(VecDeque::new()),
            capacity: capacity.max(1),
            length: AtomicUsize::new(0),
            writers: AtomicUsize::new(1),
            readers: AtomicUsize::new(1),
            ended: AtomicBool::new(false),
            for_bytes: WaitQueue::new(),
            for_room: WaitQueue::new(),
            watchers: Watchers::new(),
        };
        Self { queue: Arc::new(queue) }
    }

    /// An end to read from.
    pub fn get_reader(&self) -> StdioReader {
        self.queue.readers.fetch_add(1, Ordering::AcqRel);
        StdioReader { queue: self.queue.clone() }
    }

    /// An end to write to.
    pub fn get_writer(&self) -> StdioWriter {
        self.queue.writers.fetch_add(1, Ordering::AcqRel);
        StdioWriter { queue: self.queue.clone() }
    }

    /// Takes what is in the queue, without waiting.
    pub fn take_all(&self) -> Vec<u8> {
        let bytes = {
            let mut bytes = self.queue.bytes.lock();
            self.queue.length.store(0, Ordering::Release);
            core::mem::take(&mut *bytes)
        };
        self.queue.for_room.notify_all();
        self.queue.watchers.notify();
        bytes.into()
    }
}

impl Default for Stdio {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Stdio {
    fn drop(&mut self) {
        self.queue.writers.fetch_sub(1, Ordering::AcqRel);
        self.queue.readers.fetch_sub(1, Ordering::AcqRel);
        self.queue.wake_all();
    }
}

/// An end to read from.
pub struct StdioReader {
    queue: Arc<Queue>,
}

impl StdioReader {
    /// Reads without waiting; `None` if there is nothing yet. Zero is the end.
    pub fn try_read(&self, buffer: &mut [u8]) -> Option<usize> {
        let at_end = self.queue.is_at_end();
        match self.queue.take(buffer) {
            0 if !at_end => None,
            count => Some(count),
        }
    }

    /// How many bytes are in the queue.
    pub fn remaining_bytes(&self) -> usize {
        self.queue.length.load(Ordering::Acquire)
    }

    /// Whether nothing is left to be read and nothing can come.
    pub fn is_eof(&self) -> bool {
        self.queue.is_at_end() && self.remaining_bytes() == 0
    }

    /// Reads up to the end of the line, which is included, or up to the end, and appends it to `line`. Returns the number of bytes; zero is
    /// the end.
    ///
    /// # Errors
    /// If the line is not UTF-8.
    pub fn read_line(&self, line: &mut String) -> Result<usize, IoError> {
        let mut bytes = Vec::new();
        let mut byte = [0];
        while self.read(&mut byte)? == 1 {
            bytes.push(byte[0]);
            if byte[0] == b'\n' {
                break;
            }
        }
        let text = core::str::from_utf8(&bytes).map_err(|_| IoError::Other("the line is not UTF-8"))?;
        line.push_str(text);
        Ok(bytes.len())
    }
}

impl ImmutableRead for StdioReader {
    fn read(&self, buffer: &mut [u8]) -> Result<usize, IoError> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            if let Some(count) = self.try_read(buffer) {
                return Ok(count);
            }
            self.wait_readable(None);
        }
    }

    fn wait_readable(&self, timeout: Option<Duration>) -> bool {
        let queue = &*self.queue;
        wait(&queue.for_bytes, timeout, || queue.is_readable())
    }

    fn watch_readable(&self, watcher: &Arc<dyn Watcher>) -> bool {
        self.queue.watchers.add(watcher);
        true
    }
}

impl Clone for StdioReader {
    fn clone(&self) -> Self {
        self.queue.readers.fetch_add(1, Ordering::AcqRel);
        Self { queue: self.queue.clone() }
    }
}

impl Drop for StdioReader {
    fn drop(&mut self) {
        self.queue.readers.fetch_sub(1, Ordering::AcqRel);
        self.queue.wake_all();
    }
}

/// An end to write to.
pub struct StdioWriter {
    queue: Arc<Queue>,
}

impl StdioWriter {
    /// Says that nothing more will come, whoever else could write.
    pub fn set_eof(&self) {
        self.queue.ended.store(true, Ordering::Release);
        self.queue.wake_all();
    }
}

impl ImmutableWrite for StdioWriter {
    fn write(&self, buffer: &[u8]) -> Result<usize, IoError> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let queue = &*self.queue;
        loop {
            if queue.is_broken() {
                return Err(IoError::BrokenPipe);
            }
            match queue.put(buffer)? {
                0 => {
                    self.wait_writable(None);
                }
                count => return Ok(count),
            }
        }
    }

    fn wait_writable(&self, timeout: Option<Duration>) -> bool {
        let queue = &*self.queue;
        wait(&queue.for_room, timeout, || queue.is_writable())
    }

    fn watch_writable(&self, watcher: &Arc<dyn Watcher>) -> bool {
        self.queue.watchers.add(watcher);
        true
    }

    fn is_broken(&self) -> bool {
        self.queue.is_broken()
    }
}

impl Clone for StdioWriter {
    fn clone(&self) -> Self {
        self.queue.writers.fetch_add(1, Ordering::AcqRel);
        Self { queue: self.queue.clone() }
    }
}

impl Drop for StdioWriter {
    fn drop(&mut self) {
        self.queue.writers.fetch_sub(1, Ordering::AcqRel);
        self.queue.wake_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_bytes_pass_in_order_through_a_small_queue() {
        let stdio = Stdio::with_capacity(7);
        let (reader, writer) = (stdio.get_reader(), stdio.get_writer());
        drop(stdio);
        let data: Vec<u8> = (0..3_000u32).map(|n| n as u8).collect();
        let expected = data.clone();
        let sender = std::thread::spawn(move || writer.write_all(&data));
        let mut got = Vec::<u8>::new();
        let mut buffer = [0; 5];
        loop {
            match reader.read(&mut buffer).unwrap() {
                0 => break,
                count => got.extend(&buffer[..count]),
            }
        }
        assert_eq!(sender.join().unwrap(), Ok(()));
        assert_eq!(got, expected);
        assert!(reader.is_eof());
    }

    #[test]
    fn the_end_comes_when_no_writer_is_left() {
        let stdio = Stdio::new();
        let (reader, writer) = (stdio.get_reader(), stdio.get_writer());
        let second = writer.clone();
        assert_eq!(reader.try_read(&mut [0; 4]), None);
        writer.write_all(b"ab").unwrap();
        drop((writer, stdio));
        let mut buffer = [0; 4];
        assert_eq!(reader.read(&mut buffer), Ok(2));
        assert_eq!(reader.try_read(&mut buffer), None);
        drop(second);
        assert_eq!(reader.read(&mut buffer), Ok(0));
        assert_eq!(reader.try_read(&mut buffer), Some(0));
    }

    #[test]
    fn set_eof_ends_at_once() {
        let stdio = Stdio::new();
        let (reader, writer) = (stdio.get_reader(), stdio.get_writer());
        writer.write_all(b"rest").unwrap();
        writer.set_eof();
        assert_eq!(writer.write(b"x"), Err(IoError::BrokenPipe));
        assert!(!reader.is_eof());
        let mut line = String::new();
        assert_eq!(reader.read_line(&mut line), Ok(4));
        assert_eq!(reader.read_line(&mut line), Ok(0));
        assert_eq!(line, "rest");
    }

    #[test]
    fn a_writer_without_readers_fails() {
        let stdio = Stdio::with_capacity(2);
        let (reader, writer) = (stdio.get_reader(), stdio.get_writer());
        drop(stdio);
        let sender = std::thread::spawn(move || writer.write_all(b"more than fits"));
        assert_eq!(reader.read(&mut [0; 2]), Ok(2));
        drop(reader);
        assert_eq!(sender.join().unwrap(), Err(IoError::BrokenPipe));
    }

    #[test]
    fn lines_are_read_one_by_one() {
        let stdio = Stdio::new();
        let (reader, writer) = (stdio.get_reader(), stdio.get_writer());
        writer.write_all("eins\nzwölf\n\u{20AC}".as_bytes()).unwrap();
        drop(writer);
        let next = || {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            line
        };
        assert_eq!((next().as_str(), next().as_str()), ("eins\n", "zwölf\n"));
        assert_eq!(reader.remaining_bytes(), 3);
        drop(stdio);
        assert_eq!((next().as_str(), next().as_str()), ("€", ""));
    }

    #[test]
    fn what_was_collected_can_be_taken() {
        let stdio = Stdio::new();
        stdio.get_writer().write_all(b"abc").unwrap();
        assert_eq!(stdio.take_all(), b"abc");
        assert_eq!(stdio.take_all(), b"");
    }

    #[test]
    fn input_can_be_waited_for() {
        host_clock::start_ticking(sleep::unblock_sleeping_tasks);
        const LONG: Duration = Duration::from_secs(3600);
        const SHORT: Duration = Duration::from_millis(3);
        let stdio = Stdio::new();
        let (reader, writer) = (stdio.get_reader(), stdio.get_writer());
        assert!(!reader.wait_readable(Some(Duration::ZERO)));
        assert!(!reader.wait_readable(Some(SHORT)));
        let other = reader.clone();
        let waiter = std::thread::spawn(move || (other.wait_readable(Some(LONG)), other.remaining_bytes()));
        writer.write_all(b"ab").unwrap();
        assert_eq!(waiter.join().unwrap(), (true, 2));
        for timeout in [None, Some(LONG), Some(SHORT), Some(Duration::ZERO)] {
            assert!(reader.wait_readable(timeout));
        }
        assert_eq!(reader.read(&mut [0; 4]), Ok(2));
        assert!(!reader.wait_readable(Some(SHORT)));
        let other = reader.clone();
        let waiter = std::thread::spawn(move || other.wait_readable(None));
        drop((writer, stdio));
        assert!(waiter.join().unwrap(), "the end is readable");
        assert!(reader.wait_readable(Some(Duration::ZERO)));
        assert_eq!(reader.read(&mut [0; 4]), Ok(0));
    }

    #[test]
    fn room_can_be_waited_for() {
        host_clock::start_ticking(sleep::unblock_sleeping_tasks);
        let stdio = Stdio::with_capacity(2);
        let (reader, writer) = (stdio.get_reader(), stdio.get_writer());
        drop(stdio);
        assert!(writer.wait_writable(None));
        writer.write_all(b"ab").unwrap();
        assert!(!writer.wait_writable(Some(Duration::ZERO)));
        assert!(!writer.wait_writable(Some(Duration::from_millis(3))));
        let other = writer.clone();
        let waiter = std::thread::spawn(move || other.wait_writable(Some(Duration::from_secs(3600))));
        assert_eq!(reader.read(&mut [0]), Ok(1));
        assert!(waiter.join().unwrap());
        writer.write_all(b"c").unwrap();
        let other = writer.clone();
        let waiter = std::thread::spawn(move || (other.wait_writable(None), other.write(b"d")));
        drop(reader);
        assert_eq!(waiter.join().unwrap(), (true, Err(IoError::BrokenPipe)));
    }
}
