//! [`LineDiscipline`]: the shared state of a terminal.

use crate::state::{Event, State};
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use io::{Watcher, Watchers};
use sleep::wait_until_timeout;
use spin::Mutex;
use wait_queue::WaitQueue;

/// What is called when a key is an event. It runs in the task that passes on the input, and should be short.
pub type EventHandler = Arc<dyn Fn(Event) + Send + Sync>;

/// How many events are kept for [`LineDiscipline::take_event`] when there is no handler.
const EVENT_LIMIT: usize = 16;

/// What is between the two ends of a terminal: echo, correction of lines, and events.
pub struct LineDiscipline {
    state: Mutex<State>,
    handler: Mutex<Option<EventHandler>>,
    events: Mutex<VecDeque<Event>>,
    /// What is to be shown before anything else, of a change that had no screen at hand.
    echo: Mutex<Vec<u8>>,
    /// Whether something can be read; kept up to date with the state's lock held. Conditions to wait for must not take locks.
    ready: AtomicBool,
    readers: WaitQueue,
    watchers: Watchers,
}

impl LineDiscipline {
    /// A discipline as [`LineDiscipline::set_sane`] leaves it.
    pub fn new() -> Self {
        Self {
            state: Mutex::new(State::new()),
            handler: Mutex::new(None),
            events: Mutex::new(VecDeque::new()),
            echo: Mutex::new(Vec::new()),
            ready: AtomicBool::new(false),
            readers: WaitQueue::new(),
            watchers: Watchers::new(),
        }
    }

    /// For programs that read lines: echo, correction, events, and line ends as a screen wants them.
    pub fn set_sane(&self) {
        self.change(|state| {
            state.echo = true;
            state.signals = true;
            state.cooked_output = true;
        });
        self.set_canonical(true);
    }

    /// For programs that handle every key themselves, and write line ends as a screen wants them: none of what
    /// [`LineDiscipline::set_sane`] has.
    pub fn set_raw(&self) {
        self.change(|state| {
            state.echo = false;
            state.signals = false;
            state.cooked_output = false;
        });
        self.set_canonical(false);
    }

    /// Whether typed characters are shown.
    pub fn echo(&self) -> bool {
        self.state.lock().echo
    }

    /// Sets whether typed characters are shown.
    pub fn set_echo(&self, echo: bool) {
        self.change(|state| state.echo = echo);
    }

    /// Whether input is collected in lines that can be corrected.
    pub fn canonical(&self) -> bool {
        self.state.lock().canonical
    }

    /// Sets whether input is collected in lines that can be corrected. What was typed and not yet read is handled as if it had been
    /// typed afterwards, but a Ctrl-C among it waits for [`LineDiscipline::take_event`]: what it shall end may not have begun.
    pub fn set_canonical(&self, canonical: bool) {
        let mut echo = Vec::new();
        let interrupted = self.change(|state| state.set_canonical(canonical, &mut echo));
        self.echo.lock().append(&mut echo);
        if interrupted {
            self.keep_event(Event::CtrlC);
        }
    }

    /// Whether Ctrl-C and Ctrl-Z are events and not input.
    pub fn signals(&self) -> bool {
        self.state.lock().signals
    }

    /// Sets whether Ctrl-C and Ctrl-Z are events and not input.
    pub fn set_signals(&self, signals: bool) {
        self.change(|state| state.signals = signals);
    }

    /// Whether a line feed is written as carriage return and line feed, which a terminal wants and a file does not.
    pub fn cooked_output(&self) -> bool {
        self.state.lock().cooked_output
    }

    /// Sets whether a line feed is written as carriage return and line feed.
    pub fn set_cooked_output(&self, cooked: bool) {
        self.change(|state| state.cooked_output = cooked);
    }

    /// Sets who is told about events, and returns who was before. Without a handler they wait for [`LineDiscipline::take_event`].
    pub fn set_event_handler(&self, handler: Option<EventHandler>) -> Option<EventHandler> {
        core::mem::replace(&mut *self.handler.lock(), handler)
    }

    /// The oldest event that no handler was told about.
    pub fn take_event(&self) -> Option<Event> {
        self.events.lock().pop_front()
    }

    /// Forgets the events that no handler was told about.
    pub fn clear_events(&self) {
        self.events.lock().clear();
    }

    /// Forgets what was typed and not yet read.
    pub fn flush_input(&self) {
        self.change(State::flush_input);
    }

    /// What is to be shown before anything else.
    pub(crate) fn take_echo(&self) -> Vec<u8> {
        core::mem::take(&mut *self.echo.lock())
    }

    /// Handles typed bytes and returns what is to be shown.
    pub(crate) fn type_in(&self, bytes: &[u8]) -> Vec<u8> {
        let mut echo = self.take_echo();
        for byte in bytes {
            let event = self.change(|state| state.type_in(*byte, &mut echo));
            if let Some(event) = event {
                let handler = self.handler.lock().clone();
                match handler {
                    Some(handler) => handler(event),
                    None => self.keep_event(event),
                }
            }
        }
        echo
    }

    /// Keeps an event for [`Self::take_event`].
    fn keep_event(&self, event: Event) {
        let mut events = self.events.lock();
        if events.len() < EVENT_LIMIT {
            events.push_back(event);
        }
    }

    /// Waits until something can be read, and reads it; zero is the end of the input. A killed task stops waiting by unwinding.
    pub(crate) fn read(&self, buffer: &mut [u8]) -> usize {
        if buffer.is_empty() {
            return 0;
        }
        loop {
            if let Some(count) = self.try_read(buffer) {
                return count;
            }
            self.wait_readable(None);
        }
    }

    /// Waits until something can be read, the end of the input included, at most for `timeout`; and returns whether it can.
    pub(crate) fn wait_readable(&self, timeout: Option<Duration>) -> bool {
        let ready = || self.ready.load(Ordering::Acquire).then_some(());
        match timeout {
            None => self.readers.wait_until(ready),
            Some(Duration::ZERO) => return ready().is_some(),
            Some(timeout) => return wait_until_timeout(&self.readers, timeout, ready).is_some(),
        }
        true
    }

    /// Has `watcher` told whenever something can be read.
    pub(crate) fn watch(&self, watcher: &Arc<dyn Watcher>) {
        self.watchers.add(watcher);
    }

    /// Reads without waiting; `None` if there is nothing to read yet.
    pub fn try_read(&self, buffer: &mut [u8]) -> Option<usize> {
        self.change(|state| state.take(buffer))
    }

    /// Changes the state, and wakes a reader if there is something to read then.
    fn change<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let (result, ready) = {
            let mut state = self.state.lock();
            let result = change(&mut state);
            let ready = state.is_ready();
            self.ready.store(ready, Ordering::Release);
            (result, ready)
        };
        if ready {
            self.readers.notify_all();
            self.watchers.notify();
        }
        result
    }
}

impl Default for LineDiscipline {
    fn default() -> Self {
        Self::new()
    }
}
