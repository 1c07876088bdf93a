//! What a line discipline does with each byte, as a plain state machine.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// The most bytes that wait to be read. More are not kept, and the bell rings.
pub const INPUT_LIMIT: usize = 64 << 10;

const CTRL_C: u8 = 0x03;
const CTRL_D: u8 = 0x04;
const BELL: u8 = 0x07;
const BACKSPACE: u8 = 0x08;
const CTRL_U: u8 = 0x15;
const CTRL_W: u8 = 0x17;
const CTRL_Z: u8 = 0x1A;
const DELETE: u8 = 0x7F;

/// A key that means something to whoever runs programs, rather than to the program that reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// End what runs in the foreground.
    CtrlC,
    /// The input has come to an end.
    CtrlD,
    /// Stop what runs in the foreground.
    CtrlZ,
}

/// Settings and pending input of a line discipline.
pub(crate) struct State {
    /// Typed characters are shown.
    pub echo: bool,
    /// Input is collected in lines, which can be corrected until they are read; Ctrl-D ends it.
    pub canonical: bool,
    /// Ctrl-C and Ctrl-Z are events.
    pub signals: bool,
    /// A line feed is written as carriage return and line feed.
    pub cooked_output: bool,
    /// The line that is being typed.
    line: Vec<u8>,
    /// What can be read: in canonical mode a line each, or nothing for an end of the input.
    ready: VecDeque<Vec<u8>>,
    /// The number of bytes in `ready`.
    waiting: usize,
}

impl State {
    pub const fn new() -> Self {
        Self {
            echo: true,
            canonical: true,
            signals: true,
            cooked_output: true,
            line: Vec::new(),
            ready: VecDeque::new(),
            waiting: 0,
        }
    }

    /// Whether something can be read, be it the end of the input.
    pub fn is_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Switches between lines and single bytes. What was typed and not yet read is handled as if it had been typed afterwards, so
    /// that it doesn't matter how fast somebody types; only an end of the input is forgotten. Adds to `echo` what is to be shown, and
    /// returns whether Ctrl-C was typed.
    pub fn set_canonical(&mut self, canonical: bool, echo: &mut Vec<u8>) -> bool {
        if core::mem::replace(&mut self.canonical, canonical) == canonical {
            return false;
        }
        let mut interrupted = false;
        let typed: Vec<Vec<u8>> = self.ready.drain(..).chain([core::mem::take(&mut self.line)]).collect();
        self.waiting = 0;
        for byte in typed.iter().flatten() {
            if canonical {
                interrupted |= self.type_in(*byte, echo) == Some(Event::CtrlC);
            } else if let Some(last) = self.ready.back_mut() {
                last.push(*byte);
                self.waiting += 1;
            } else {
                self.push(alloc::vec![*byte]);
            }
        }
        interrupted
    }

    /// Forgets what was typed and not yet read.
    pub fn flush_input(&mut self) {
        self.line.clear();
        self.ready.clear();
        self.waiting = 0;
    }

    /// Takes what can be read, at most a line. `None` if that is nothing; zero for the end of the input.
    pub fn take(&mut self, buffer: &mut [u8]) -> Option<usize> {
        let front = self.ready.front_mut()?;
        let count = front.len().min(buffer.len());
        buffer[..count].copy_from_slice(&front[..count]);
        if count == front.len() {
            self.ready.pop_front();
        } else {
            front.drain(..count);
        }
        self.waiting -= count;
        Some(count)
    }

    /// Handles a typed byte. Adds to `echo` what is to be shown, and returns what happened.
    pub fn type_in(&mut self, byte: u8, echo: &mut Vec<u8>) -> Option<Event> {
        if self.signals && (byte == CTRL_C || byte == CTRL_Z) {
            self.show(byte, echo);
            if byte == CTRL_Z {
                return Some(Event::CtrlZ);
            }
            self.flush_input();
            self.show(b'\n', echo);
            return Some(Event::CtrlC);
        }
        if !self.canonical {
            if self.has_room(echo) {
                self.show(byte, echo);
                self.waiting += 1;
                match self.ready.back_mut() {
                    Some(last) if !last.is_empty() => last.push(byte),
                    _ => self.ready.push_back(alloc::vec![byte]),
                }
            }
            return None;
        }
        match byte {
            b'\r' | b'\n' | CTRL_D if !self.can_end_line() => self.refuse(echo),
            b'\r' | b'\n' => {
                self.show(b'\n', echo);
                self.line.push(b'\n');
                let line = core::mem::take(&mut self.line);
                self.push(line);
            }
            CTRL_D => {
                let line = core::mem::take(&mut self.line);
                let at_start = line.is_empty();
                self.push(line);
                return at_start.then_some(Event::CtrlD);
            }
            BACKSPACE | DELETE => self.erase(1, echo),
            CTRL_W => self.erase(self.length_of_last_word(), echo),
            CTRL_U => self.erase(self.line.len(), echo),
            _ => {
                if self.has_room(echo) {
                    self.show(byte, echo);
                    self.line.push(byte);
                }
            }
        }
        None
    }

    fn push(&mut self, bytes: Vec<u8>) {
        self.waiting += bytes.len();
        self.ready.push_back(bytes);
    }

    fn has_room(&self, echo: &mut Vec<u8>) -> bool {
        let room = self.waiting + self.line.len() < INPUT_LIMIT;
        if !room {
            self.refuse(echo);
        }
        room
    }

    /// Whether the line can be handed over. One with something in it always can; empty lines and ends of the input count, too,
    /// or holding down a key would fill the memory.
    fn can_end_line(&self) -> bool {
        !self.line.is_empty() || (self.waiting < INPUT_LIMIT && self.ready.len() < INPUT_LIMIT)
    }

    fn refuse(&self, echo: &mut Vec<u8>) {
        if self.echo {
            echo.push(BELL);
        }
    }

    /// Shows a typed byte; control characters as `^C`.
    fn show(&self, byte: u8, echo: &mut Vec<u8>) {
        if !self.echo {
            return;
        }
        match byte {
            b'\n' | b'\r' => echo.extend_from_slice(b"\r\n"),
            b'\t' => echo.push(byte),
            0..0x20 => echo.extend_from_slice(&[b'^', byte + 0x40]),
            DELETE => echo.extend_from_slice(b"^?"),
            _ => echo.push(byte),
        }
    }

    /// Takes characters off the end of the line until at least `bytes` bytes or the whole line are gone.
    fn erase(&mut self, bytes: usize, echo: &mut Vec<u8>) {
        let keep = self.line.len().saturating_sub(bytes);
        while self.line.len() > keep {
            // The bytes of a character after its first are 10xxxxxx.
            let mut byte = self.line.pop();
            while byte.is_some_and(|byte| byte & 0xC0 == 0x80) && !self.line.is_empty() {
                byte = self.line.pop();
            }
            if self.echo {
                let columns = if byte.is_some_and(|byte| byte < 0x20) { 2 } else { 1 };
                for _ in 0..columns {
                    echo.extend_from_slice(b"\x08 \x08");
                }
            }
        }
    }

    fn length_of_last_word(&self) -> usize {
        let spaces = self.line.iter().rev().take_while(|byte| **byte == b' ').count();
        let word = self.line.iter().rev().skip(spaces).take_while(|byte| **byte != b' ').count();
        spaces + word
    }
}
