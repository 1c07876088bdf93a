//! Standard input, output and error: the streams of the task or process, those that an embedder gives, and none.

use crate::Errno;
use alloc::sync::Arc;
use core::time::Duration;
use io::{ImmutableRead, ImmutableWrite, IoError};

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
    use super::{Arc, IoError, IsTerminal, StdinStream, StdoutStream};
    use core::time::Duration;
    use std::io::{ErrorKind, Write};

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
            use rustix::event::{PollFd, PollFlags, Timespec, poll};
            let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
            // Whatever poll has to say is something that a read would not wait for.
            poll(&mut [PollFd::new(&self.0, PollFlags::IN)], timeout.as_ref()).is_ok_and(|ready| ready > 0)
        }
    }

    impl StdoutStream for Process<std::io::Stdout> {
        fn write(&self, bytes: &[u8]) -> Result<usize, IoError> {
            let mut stream = self.0.lock();
            let count = stream.write(bytes).map_err(error)?;
            stream.flush().map_err(error)?;
            Ok(count)
        }
    }

    impl StdoutStream for Process<std::io::Stderr> {
        fn write(&self, bytes: &[u8]) -> Result<usize, IoError> {
            self.0.lock().write(bytes).map_err(error)
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
