//! Standard input, output and error: the streams of the task or process, those that an embedder gives, and none.

use crate::Errno;
use alloc::sync::Arc;
use core::time::Duration;
use io::{ImmutableRead, ImmutableWrite, IoError, Watcher};
#[cfg(target_os = "linux")]
use std::os::fd::BorrowedFd;

/// Whether a stream is a terminal, which programs ask to know whether somebody watches.
pub trait IsTerminal {
    /// Whether it is.
    fn is_terminal(&self) -> bool;
}

/// What a guest reads as standard input.
pub trait StdinStream: IsTerminal + Send + Sync + 'static {
    /// Waits for bytes, reads as many as are there and fit, and returns their number; zero is the end.
    ///
    /// # Errors
    /// Whatever the stream reports.
    fn read(&self, buffer: &mut [u8]) -> Result<usize, IoError>;

    /// Waits until [`read`](Self::read) would not wait, at most for `timeout`, for ever if that is `None`; and returns whether it would not.
    /// A stream that cannot tell says so at once.
    fn wait_readable(&self, timeout: Option<Duration>) -> bool {
        let _ = timeout;
        true
    }

    /// Has `watcher` told, for as long as it exists, whenever [`wait_readable`](Self::wait_readable) may have become true: for a guest that waits
    /// for several streams. False if this stream tells nobody; then it is looked at from time to time.
    fn watch_readable(&self, watcher: &Arc<dyn Watcher>) -> bool {
        let _ = watcher;
        false
    }

    /// The descriptor of Linux, if this stream is one, which can then be waited for together with others.
    #[cfg(target_os = "linux")]
    fn poll_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

/// What a guest writes to as standard output or standard error.
pub trait StdoutStream: IsTerminal + Send + Sync + 'static {
    /// Writes some of `bytes`, at least one, and returns how many.
    ///
    /// # Errors
    /// [`IoError::BrokenPipe`] if nobody reads, or whatever the stream reports.
    fn write(&self, bytes: &[u8]) -> Result<usize, IoError>;

    /// Waits until [`write`](Self::write) would not wait; as [`StdinStream::wait_readable`].
    fn wait_writable(&self, timeout: Option<Duration>) -> bool {
        let _ = timeout;
        true
    }

    /// As [`StdinStream::watch_readable`], for [`wait_writable`](Self::wait_writable).
    fn watch_writable(&self, watcher: &Arc<dyn Watcher>) -> bool {
        let _ = watcher;
        false
    }

    /// Whether nobody can read any more what is written.
    fn is_broken(&self) -> bool {
        false
    }

    /// As [`StdinStream::poll_fd`].
    #[cfg(target_os = "linux")]
    fn poll_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

/// A stream of the kernel as the input of a guest.
pub struct InputStream(pub Arc<dyn ImmutableRead>);

impl IsTerminal for InputStream {
    fn is_terminal(&self) -> bool {
        self.0.is_terminal()
    }
}

impl StdinStream for InputStream {
    fn read(&self, buffer: &mut [u8]) -> Result<usize, IoError> {
        self.0.read(buffer)
    }

    fn wait_readable(&self, timeout: Option<Duration>) -> bool {
        self.0.wait_readable(timeout)
    }

    fn watch_readable(&self, watcher: &Arc<dyn Watcher>) -> bool {
        self.0.watch_readable(watcher)
    }
}

/// A stream of the kernel as output of a guest.
pub struct OutputStream(pub Arc<dyn ImmutableWrite>);

impl IsTerminal for OutputStream {
    fn is_terminal(&self) -> bool {
        self.0.is_terminal()
    }
}

impl StdoutStream for OutputStream {
    fn write(&self, bytes: &[u8]) -> Result<usize, IoError> {
        self.0.write(bytes)
    }

    fn wait_writable(&self, timeout: Option<Duration>) -> bool {
        self.0.wait_writable(timeout)
    }

    fn watch_writable(&self, watcher: &Arc<dyn Watcher>) -> bool {
        self.0.watch_writable(watcher)
    }

    fn is_broken(&self) -> bool {
        self.0.is_broken()
    }
}

/// What a guest reads that was given no input, and writes to that was given no output: the end, and nowhere.
pub(crate) struct Nothing;

impl IsTerminal for Nothing {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdinStream for Nothing {
    fn read(&self, _buffer: &mut [u8]) -> Result<usize, IoError> {
        Ok(0)
    }
}

impl StdoutStream for Nothing {
    fn write(&self, bytes: &[u8]) -> Result<usize, IoError> {
        Ok(bytes.len())
    }
}

/// Writes `bytes`, all of them unless the stream fails or `may_write` says that this is the end, and returns how many.
pub(crate) fn write_all(
    stream: &dyn StdoutStream,
    bytes: &[u8],
    mut may_write: impl FnMut() -> bool,
) -> Result<usize, Errno> {
    let mut done = 0;
    while done < bytes.len() && may_write() {
        match stream.write(&bytes[done..]) {
            Ok(0) => break,
            Ok(count) => done += count.min(bytes.len() - done),
            Err(error) if done == 0 => return Err(error.into()),
            Err(_) => break,
        }
    }
    Ok(done)
}

/// Standard input, output and error of the current task.
#[cfg(target_os = "theseus")]
pub(crate) mod inherited {
    use super::{Arc, InputStream, Nothing, OutputStream, StdinStream, StdoutStream};

    pub(crate) fn stdin() -> Arc<dyn StdinStream> {
        match app_io::stdin() {
            Ok(stream) => Arc::new(InputStream(stream)),
            Err(_) => Arc::new(Nothing),
        }
    }

    fn output(stream: Result<Arc<dyn app_io::ImmutableWrite>, &'static str>) -> Arc<dyn StdoutStream> {
        match stream {
            Ok(stream) => Arc::new(OutputStream(stream)),
            Err(_) => Arc::new(Nothing),
        }
    }

    pub(crate) fn stdout() -> Arc<dyn StdoutStream> {
        output(app_io::stdout())
    }

    pub(crate) fn stderr() -> Arc<dyn StdoutStream> {
        output(app_io::stderr())
    }
}

/// Standard input, output and error of the process.
#[cfg(target_os = "linux")]
pub(crate) mod inherited {
    use super::{Arc, BorrowedFd, IoError, IsTerminal, StdinStream, StdoutStream};
    use core::time::Duration;
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use std::io::{ErrorKind, Write};
    use std::os::fd::AsFd;

    struct Process<S>(S);

    impl<S: std::io::IsTerminal> IsTerminal for Process<S> {
        fn is_terminal(&self) -> bool {
            self.0.is_terminal()
        }
    }

    fn error(error: std::io::Error) -> IoError {
        match error.kind() {
            ErrorKind::BrokenPipe => IoError::BrokenPipe,
            ErrorKind::Interrupted => IoError::Interrupted,
            _ => IoError::Other("standard input or output failed"),
        }
    }

    impl StdinStream for Process<std::io::Stdin> {
        fn read(&self, buffer: &mut [u8]) -> Result<usize, IoError> {
            // Not by way of a buffer of our own, of which `wait_readable` would know nothing.
            rustix::io::retry_on_intr(|| rustix::io::read(&self.0, &mut *buffer))
                .map_err(|errno| error(errno.into()))
        }

        fn wait_readable(&self, timeout: Option<Duration>) -> bool {
            !wait_for(&self.0, PollFlags::IN, timeout).is_empty()
        }

        fn poll_fd(&self) -> Option<BorrowedFd<'_>> {
            Some(self.0.as_fd())
        }
    }

    /// Waits for a descriptor, and returns what poll has to say, whatever it is: nothing that a read or write would wait for.
    fn wait_for(fd: &impl AsFd, what: PollFlags, timeout: Option<Duration>) -> PollFlags {
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        let mut fds = [PollFd::new(fd, what)];
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) => fds[0].revents(),
            Err(_) => PollFlags::empty(),
        }
    }

    impl<S> StdoutStream for Process<S>
    where
        S: AsFd + std::io::IsTerminal + Send + Sync + 'static,
        for<'a> &'a S: Write,
    {
        fn write(&self, bytes: &[u8]) -> Result<usize, IoError> {
            let mut stream = &self.0;
            let count = stream.write(bytes).map_err(error)?;
            stream.flush().map_err(error)?;
            Ok(count)
        }

        fn wait_writable(&self, timeout: Option<Duration>) -> bool {
            !wait_for(&self.0, PollFlags::OUT, timeout).is_empty()
        }

        fn is_broken(&self) -> bool {
            wait_for(&self.0, PollFlags::OUT, Some(Duration::ZERO))
                .intersects(PollFlags::ERR | PollFlags::HUP)
        }

        fn poll_fd(&self) -> Option<BorrowedFd<'_>> {
            Some(self.0.as_fd())
        }
    }

    pub(crate) fn stdin() -> Arc<dyn StdinStream> {
        Arc::new(Process(std::io::stdin()))
    }

    pub(crate) fn stdout() -> Arc<dyn StdoutStream> {
        Arc::new(Process(std::io::stdout()))
    }

    pub(crate) fn stderr() -> Arc<dyn StdoutStream> {
        Arc::new(Process(std::io::stderr()))
    }
}
