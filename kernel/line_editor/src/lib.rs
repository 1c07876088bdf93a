//! Editing of a line on a terminal, with history and completion.
//!
//! [`LineEditor::read_line`] reads keys from a terminal in raw mode and shows the line as it changes. The logic itself is a plain
//! state machine, fed with bytes, so that it can be tested without a terminal.
//!
//! | Keys | |
//! |---|---|
//! | ←, →, Ctrl-B, Ctrl-F | one character |
//! | Ctrl-←, Ctrl-→, Alt-B, Alt-F | one word |
//! | Home, End, Ctrl-A, Ctrl-E | start, end |
//! | Backspace, Ctrl-H; Delete, Ctrl-D | delete before, at the cursor |
//! | Ctrl-W, Alt-Backspace; Alt-D | delete the word before, after the cursor |
//! | Ctrl-U, Ctrl-K | delete up to the cursor, from the cursor on |
//! | Ctrl-Y | insert what was deleted last by one of the five keys before |
//! | Ctrl-T | exchange two characters |
//! | ↑, ↓, Ctrl-P, Ctrl-N | history |
//! | Tab | complete; twice: list |
//! | Ctrl-L | clear the screen |
//! | Ctrl-C | give the line up |
//! | Ctrl-D on an empty line | end of the input |
//!
//! The crate `noline` does much of this, but it has no completion, and it asks the terminal for its size, which leaves it waiting
//! when the serial line leads to a file. Here a line that is wider than the screen is shown in part, and the screen is taken to be 80
//! columns wide unless told otherwise; any terminal can do that.
//!
//! Invariant: the cursor is always between two characters, never inside one.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

mod buffer;
mod history;
mod keys;
mod session;
#[cfg(test)]
mod tests;
mod width;

pub use history::History;

use alloc::string::String;
use alloc::vec::Vec;
use io::{ImmutableRead, ImmutableWrite, IoError};
use keys::Decoder;
use session::Session;

/// How wide the screen is taken to be: what terminals have had since there were any.
const DEFAULT_COLUMNS: usize = 80;

/// How reading a line ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The line, without its end.
    Line(String),
    /// Ctrl-C: the line was given up.
    Interrupted,
    /// Ctrl-D on an empty line, or the terminal is gone.
    EndOfInput,
}

/// One way to complete a word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// What is to stand in place of the word.
    pub replacement: String,
    /// What follows it if there is no other candidate: a space, or a slash after a directory.
    pub suffix: &'static str,
    /// What is shown in a list.
    pub display: String,
}

/// All ways to complete a word.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Completion {
    /// Where the word begins, in bytes from the start of the line. It ends at the cursor.
    pub start: usize,
    /// The ways.
    pub candidates: Vec<Candidate>,
}

/// Reads lines. It remembers them, and what was deleted last.
pub struct LineEditor {
    history: History,
    deleted: String,
    decoder: Decoder,
    columns: usize,
}

impl LineEditor {
    /// An editor without history.
    pub const fn new() -> Self {
        Self {
            history: History::new(),
            deleted: String::new(),
            decoder: Decoder::new(),
            columns: DEFAULT_COLUMNS,
        }
    }

    /// The lines that were read.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// Sets how wide the screen is, in columns. Less than 20 is taken as 20.
    pub fn set_columns(&mut self, columns: usize) {
        self.columns = columns.max(20);
    }

    /// Shows `prompt` and reads a line. `complete` is given the line up to the cursor when Tab is pressed.
    ///
    /// # Errors
    /// If the terminal can't be read or written.
    pub fn read_line(
        &mut self,
        prompt: &str,
        input: &dyn ImmutableRead,
        output: &dyn ImmutableWrite,
        complete: &mut dyn FnMut(&str) -> Completion,
    ) -> Result<Outcome, IoError> {
        let mut screen = Vec::new();
        let mut session = Session::new(prompt, self.columns);
        session.redraw(&mut screen);
        loop {
            output.write_all(&screen)?;
            screen.clear();
            // One byte at a time: what was typed ahead of the line's end belongs to whoever reads next.
            let mut byte = [0];
            if input.read(&mut byte)? == 0 {
                return Ok(Outcome::EndOfInput);
            }
            if let Some(outcome) = self.feed(&mut session, byte[0], &mut screen, complete) {
                output.write_all(&screen)?;
                return Ok(outcome);
            }
        }
    }

    /// Handles a byte; adds to `screen` what is to be shown.
    fn feed(
        &mut self,
        session: &mut Session<'_>,
        byte: u8,
        screen: &mut Vec<u8>,
        complete: &mut dyn FnMut(&str) -> Completion,
    ) -> Option<Outcome> {
        let key = self.decoder.feed(byte)?;
        let outcome = session.press(key, &mut self.history, &mut self.deleted, screen, complete)?;
        if let Outcome::Line(line) = &outcome {
            self.history.add(line);
        }
        Some(outcome)
    }
}

impl Default for LineEditor {
    fn default() -> Self {
        Self::new()
    }
}
