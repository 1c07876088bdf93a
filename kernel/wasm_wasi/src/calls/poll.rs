//! `poll_oneoff`.

use super::environment::sleep_until;
use crate::linker::{Call, Edition, Outcome};
use crate::stdio::{StdinStream, StdoutStream};
use crate::table::Kind;
use crate::types::Rights;
use crate::{Errno, Failure, Stop};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use io::Watcher;
use wasm_platform::{WaitList, monotonic_nanos};

const SUBSCRIPTION: u64 = 48;
/// In `wasi_unstable` a clock has an identifier of its own besides, in front of its number.
const UNSTABLE_SUBSCRIPTION: u64 = 56;
const EVENT: u64 = 32;

const CLOCK: u8 = 0;
const FD_READ: u8 = 1;
const FD_WRITE: u8 = 2;

const ABSTIME: u16 = 1;

/// The flag `fd_readwrite_hangup`.
const HANGUP: u16 = 1;

/// How often several streams are looked at of which one does not tell when it is ready.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// How many subscriptions are looked at between two looks whether to go on.
const PIECE: u32 = 1024;

/// What a guest waits for.
struct Subscription {
    userdata: u64,
    what: What,
}

enum What {
    Clock { id: u32, timeout: u64, absolute: bool },
    Fd { fd: u32, writes: bool },
}

/// What became of a wait.
struct Event {
    error: Option<Errno>,
    bytes: u64,
    flags: u16,
}

impl Event {
    const PLAIN: Self = Self { error: None, bytes: 0, flags: 0 };
}

/// What a look at all subscriptions found.
struct Look {
    /// How many events there were.
    written: u32,
    /// When the first clock is due, of [`monotonic_nanos`].
    first: Option<u64>,
    /// The streams that are waited for, each once.
    streams: Vec<(u32, Stream)>,
}

/// A stream that is waited for.
enum Stream {
    Input(Arc<dyn StdinStream>),
    Output(Arc<dyn StdoutStream>),
}

impl Stream {
    /// Waits until it is ready.
    fn wait(&self, timeout: Option<Duration>) -> bool {
        match self {
            Stream::Input(stream) => stream.wait_readable(timeout),
            Stream::Output(stream) => stream.wait_writable(timeout),
        }
    }

    fn watch(&self, watcher: &Arc<dyn Watcher>) -> bool {
        match self {
            Stream::Input(stream) => stream.watch_readable(watcher),
            Stream::Output(stream) => stream.watch_writable(watcher),
        }
    }
}

/// Who waits for several streams.
#[derive(Default)]
struct Several {
    told: AtomicBool,
    list: WaitList,
}

impl Watcher for Several {
    fn notify(&self) {
        self.told.store(true, Ordering::Release);
        self.list.notify(0, 1);
    }
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut field = [0; 8];
    field.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(field)
}

impl Call<'_> {
    /// How many bytes a subscription has.
    fn subscription_len(&self) -> u64 {
        match self.edition {
            Edition::Unstable => UNSTABLE_SUBSCRIPTION,
            Edition::Preview1 => SUBSCRIPTION,
        }
    }

    /// The subscription `index` of the array, which was checked.
    fn subscription(&self, array: u32, index: u32) -> Result<Subscription, Errno> {
        let at = array + index * self.subscription_len() as u32;
        let (bytes, clock) = match self.edition {
            Edition::Unstable => (self.guest.read::<{ UNSTABLE_SUBSCRIPTION as usize }>(at)?, 24),
            Edition::Preview1 => {
                let mut bytes = [0; UNSTABLE_SUBSCRIPTION as usize];
                bytes[..SUBSCRIPTION as usize]
                    .copy_from_slice(&self.guest.read::<{ SUBSCRIPTION as usize }>(at)?);
                (bytes, 16)
            }
        };
        // Fields of 32 bits and fewer begin with the same byte.
        let what = match bytes[8] {
            CLOCK => {
                let flags = u64_at(&bytes, clock + 24) as u16;
                if flags & !ABSTIME != 0 {
                    return Err(Errno::Inval);
                }
                let absolute = flags & ABSTIME != 0;
                What::Clock { id: u64_at(&bytes, clock) as u32, timeout: u64_at(&bytes, clock + 8), absolute }
            }
            kind @ (FD_READ | FD_WRITE) => {
                What::Fd { fd: u64_at(&bytes, 16) as u32, writes: kind == FD_WRITE }
            }
            _ => return Err(Errno::Inval),
        };
        Ok(Subscription { userdata: u64_at(&bytes, 0), what })
    }

    /// Whether a descriptor is ready: [`Errno::Again`] if it is a stream for which somebody has to wait.
    fn is_ready(&self, fd: u32, writes: bool) -> Result<Event, Errno> {
        let descriptor = self.ctx.table.get(fd)?;
        descriptor.check(Rights::POLL_FD_READWRITE)?;
        match (&descriptor.kind, writes) {
            (Kind::File { file, position }, false) => {
                let bytes = file.stat()?.size.saturating_sub(*position);
                Ok(Event { bytes, ..Event::PLAIN })
            }
            (Kind::File { .. }, true) => Ok(Event::PLAIN),
            (Kind::Output(stream), true) => match stream.wait_writable(Some(Duration::ZERO)) {
                true if stream.is_broken() => Ok(Event { flags: HANGUP, ..Event::PLAIN }),
                true => Ok(Event::PLAIN),
                false => Err(Errno::Again),
            },
            (Kind::Input(stream), false) => match stream.wait_readable(Some(Duration::ZERO)) {
                true => Ok(Event { bytes: 1, ..Event::PLAIN }),
                false => Err(Errno::Again),
            },
            (Kind::Input(_), true) | (Kind::Output(_), false) => {
                Ok(Event { flags: HANGUP, error: Some(Errno::Badf), bytes: 0 })
            }
            (Kind::Dir { .. }, _) => Ok(Event { error: Some(Errno::Badf), ..Event::PLAIN }),
        }
    }

    /// How long it takes until a clock shows a time, in nanoseconds; `start` is when the guest began to wait.
    fn left(&self, id: u32, timeout: u64, absolute: bool, start: u64) -> Result<u64, Errno> {
        let shown = self.clock(id)?;
        Ok(match absolute {
            true => timeout.saturating_sub(shown),
            false => start.saturating_add(timeout).saturating_sub(monotonic_nanos()),
        })
    }

    pub(crate) fn poll_oneoff(
        &mut self,
        subscriptions: u32,
        events: u32,
        count: u32,
        result: u32,
    ) -> Outcome {
        if count == 0 {
            return Err(Errno::Inval.into());
        }
        self.guest.check(result, 4)?;
        self.guest.check(subscriptions, u64::from(count) * self.subscription_len())?;
        self.guest.check(events, u64::from(count) * EVENT)?;
        let start = monotonic_nanos();
        loop {
            let Look { written, first, streams } = self.look_at_all(subscriptions, events, count, start)?;
            if written > 0 {
                return Ok(self.guest.write_u32(result, written)?);
            }
            match streams.is_empty() {
                false => wait_for(&streams, first, &self.stop)?,
                true => sleep_until(first, &self.stop)?,
            }
        }
    }

    /// Looks at all subscriptions once. Events may lie where subscriptions are; then it is the guest's fault what comes of it.
    fn look_at_all(
        &mut self,
        subscriptions: u32,
        events: u32,
        count: u32,
        start: u64,
    ) -> Result<Look, Failure> {
        let mut look = Look { written: 0, first: None, streams: Vec::new() };
        for index in 0..count {
            if index % PIECE == PIECE - 1 {
                self.stop.look()?;
            }
            let Subscription { userdata, what } = self.subscription(subscriptions, index)?;
            let failed = |error| Event { error: Some(error), ..Event::PLAIN };
            let (kind, event) = match what {
                What::Clock { id, timeout, absolute } => match self.left(id, timeout, absolute, start) {
                    Ok(0) => (CLOCK, Event::PLAIN),
                    Ok(left) => {
                        let due = monotonic_nanos().saturating_add(left);
                        look.first = Some(look.first.map_or(due, |first| first.min(due)));
                        continue;
                    }
                    Err(error) => (CLOCK, failed(error)),
                },
                What::Fd { fd, writes } => {
                    let event = match self.is_ready(fd, writes) {
                        Ok(event) => event,
                        Err(Errno::Again) => {
                            let stream = match &self.ctx.table.get(fd)?.kind {
                                Kind::Input(stream) => Stream::Input(stream.clone()),
                                Kind::Output(stream) => Stream::Output(stream.clone()),
                                Kind::File { .. } | Kind::Dir { .. } => continue,
                            };
                            // However often a guest names it. There are no more than it was given.
                            if look.streams.iter().all(|(known, _)| *known != fd) {
                                look.streams.push((fd, stream));
                            }
                            continue;
                        }
                        Err(error) => failed(error),
                    };
                    (if writes { FD_WRITE } else { FD_READ }, event)
                }
            };
            let mut bytes = [0; EVENT as usize];
            bytes[..8].copy_from_slice(&userdata.to_le_bytes());
            bytes[8..10].copy_from_slice(&event.error.map_or(0, |error| error as u16).to_le_bytes());
            bytes[10] = kind;
            bytes[16..24].copy_from_slice(&event.bytes.to_le_bytes());
            bytes[24..26].copy_from_slice(&event.flags.to_le_bytes());
            self.guest.write(events + look.written * EVENT as u32, &bytes)?;
            look.written += 1;
        }
        Ok(look)
    }
}

/// Waits until one of the streams may be ready, or until `deadline`.
fn wait_for(streams: &[(u32, Stream)], deadline: Option<u64>, stop: &Stop) -> Outcome {
    loop {
        stop.look()?;
        let now = monotonic_nanos();
        if deadline.is_some_and(|deadline| deadline <= now) {
            return Ok(());
        }
        let until = [deadline, stop.deadline].into_iter().flatten().min();
        let timeout = until.map(|until| Duration::from_nanos(until.saturating_sub(now)));
        let ready = match streams {
            [(_, stream)] => stream.wait(timeout),
            _ => wait_for_several(streams, timeout),
        };
        if ready {
            return Ok(());
        }
    }
}

/// Waits until one of several streams is ready, at most for `timeout`; and returns whether one is.
fn wait_for_several(streams: &[(u32, Stream)], timeout: Option<Duration>) -> bool {
    let any_ready = || streams.iter().any(|(_, stream)| stream.wait(Some(Duration::ZERO)));
    #[cfg(target_os = "linux")]
    if let Some(ready) = poll_all(streams, timeout) {
        return ready;
    }
    let several = Arc::new(Several::default());
    let watcher: Arc<dyn Watcher> = several.clone();
    let all_tell = streams.iter().fold(true, |all, (_, stream)| stream.watch(&watcher) && all);
    // What happens from here on is told.
    if any_ready() {
        return true;
    }
    let timeout = match all_tell {
        true => timeout,
        false => Some(timeout.unwrap_or(LOOK_AGAIN).min(LOOK_AGAIN)),
    };
    several.list.wait(0, timeout, || !several.told.load(Ordering::Acquire));
    any_ready()
}

/// [`wait_for_several`] for streams that are all descriptors of Linux; `None` if they are not.
#[cfg(target_os = "linux")]
fn poll_all(streams: &[(u32, Stream)], timeout: Option<Duration>) -> Option<bool> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut fds = Vec::new();
    for (_, stream) in streams {
        fds.push(match stream {
            Stream::Input(stream) => PollFd::from_borrowed_fd(stream.poll_fd()?, PollFlags::IN),
            Stream::Output(stream) => PollFd::from_borrowed_fd(stream.poll_fd()?, PollFlags::OUT),
        });
    }
    let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
    Some(poll(&mut fds, timeout.as_ref()).is_ok_and(|ready| ready > 0))
}
