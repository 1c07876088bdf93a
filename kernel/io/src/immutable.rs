//! [`ImmutableRead`] and [`ImmutableWrite`]: streams that any number of tasks can use at once.

use crate::IoError;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicUsize, Ordering, fence};
use core::time::Duration;
use spin::Mutex;

/// Somebody who is told that something may have happened to a stream.
pub trait Watcher: Send + Sync {
    /// Tells. It is called by whoever reads from or writes to the stream at the other end, so it must not wait, nor use the stream.
    fn notify(&self);
}

/// The watchers of a stream, for those that implement [`ImmutableRead::watch_readable`] or [`ImmutableWrite::watch_writable`].
#[derive(Default)]
pub struct Watchers {
    list: Mutex<Vec<Weak<dyn Watcher>>>,
    /// How many the list has, those that are gone included. Changed with the list locked.
    len: AtomicUsize,
}

impl Watchers {
    /// Nobody.
    pub const fn new() -> Self {
        Self { list: Mutex::new(Vec::new()), len: AtomicUsize::new(0) }
    }

    /// Adds a watcher, which is told until it is gone. Whoever adds one looks at the stream afterwards, so that what happened before is not
    /// missed.
    pub fn add(&self, watcher: &Arc<dyn Watcher>) {
        let mut list = self.list.lock();
        list.retain(|watcher| watcher.strong_count() > 0);
        list.push(Arc::downgrade(watcher));
        self.len.store(list.len(), Ordering::Relaxed);
        drop(list);
        // Orders the change of `len` before the look at the stream. With the fence in `notify` one side sees the other's change.
        fence(Ordering::SeqCst);
    }

    /// Tells all watchers. The stream has been changed before.
    pub fn notify(&self) {
        fence(Ordering::SeqCst);
        if self.len.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut list = self.list.lock();
        list.retain(|watcher| watcher.upgrade().inspect(|watcher| watcher.notify()).is_some());
        self.len.store(list.len(), Ordering::Relaxed);
    }
}

/// A stream that is read through a shared reference: a terminal, the read end of a pipe.
pub trait ImmutableRead: Send + Sync + 'static {
    /// Waits for bytes, reads as many as are there and fit into `buffer`, and returns their number. Zero means that the end was
    /// reached, unless `buffer` is empty.
    ///
    /// # Errors
    /// Whatever the device below reports. The end is not an error.
    fn read(&self, buffer: &mut [u8]) -> Result<usize, IoError>;

    /// Waits until [`read`](Self::read) would not wait, because there are bytes or the end was reached; at most for `timeout`, or for
    /// ever if that is `None`. Returns whether it would not. Another task may be faster to read what is there.
    ///
    /// A stream for which nobody ever has to wait, such as a file, says so at once, which is what this does unless it is implemented.
    fn wait_readable(&self, timeout: Option<Duration>) -> bool {
        let _ = timeout;
        true
    }

    /// Has `watcher` told, for as long as it exists, whenever [`wait_readable`](Self::wait_readable) may have become true: for whoever waits for
    /// several streams. False if this stream tells nobody.
    fn watch_readable(&self, watcher: &Arc<dyn Watcher>) -> bool {
        let _ = watcher;
        false
    }

    /// Whether somebody types what is read.
    fn is_terminal(&self) -> bool {
        false
    }
}

/// A stream that is written through a shared reference: a terminal, the write end of a pipe.
pub trait ImmutableWrite: Send + Sync + 'static {
    /// Writes some of `buffer`, at least one byte unless it is empty, and returns how many bytes were written.
    ///
    /// # Errors
    /// [`IoError::BrokenPipe`] if nobody can read any more, or whatever the device below reports.
    fn write(&self, buffer: &[u8]) -> Result<usize, IoError>;

    /// Waits until [`write`](Self::write) would not wait, because there is room or nobody reads any more; at most for `timeout`, or for
    /// ever if that is `None`. Returns whether it would not. As [`ImmutableRead::wait_readable`], this says so at once unless it is implemented.
    fn wait_writable(&self, timeout: Option<Duration>) -> bool {
        let _ = timeout;
        true
    }

    /// As [`ImmutableRead::watch_readable`], for [`wait_writable`](Self::wait_writable).
    fn watch_writable(&self, watcher: &Arc<dyn Watcher>) -> bool {
        let _ = watcher;
        false
    }

    /// Whether nobody can read any more what is written.
    fn is_broken(&self) -> bool {
        false
    }

    /// Whether somebody sees what is written.
    fn is_terminal(&self) -> bool {
        false
    }

    /// Writes all of `buffer`.
    ///
    /// # Errors
    /// As [`ImmutableWrite::write`]; some of the bytes may have been written then.
    fn write_all(&self, mut buffer: &[u8]) -> Result<(), IoError> {
        while !buffer.is_empty() {
            match self.write(buffer)? {
                0 => return Err(IoError::BrokenPipe),
                count => buffer = buffer.get(count..).unwrap_or(&[]),
            }
        }
        Ok(())
    }
}
