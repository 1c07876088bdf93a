//! [`Session`]: one line being edited.

use crate::buffer::Buffer;
use crate::history::History;
use crate::keys::Key;
use crate::{Candidate, Completion, Outcome, width};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

const BELL: u8 = 0x07;

/// One line being edited, and how it is shown.
pub(crate) struct Session<'p> {
    prompt: &'p str,
    columns: usize,
    buffer: Buffer,
    /// The line of the history that is shown, and what was typed before it was. `None` while the line is one's own.
    recalled: Option<(usize, String)>,
    /// The key before was a Tab that changed nothing, so that the next one lists.
    list_next: bool,
}

impl<'p> Session<'p> {
    pub fn new(prompt: &'p str, columns: usize) -> Self {
        Self { prompt, columns, buffer: Buffer::default(), recalled: None, list_next: false }
    }

    /// Handles a key. Adds to `screen` what is to be shown, and returns how the line ended, if it did.
    pub fn press(
        &mut self,
        key: Key,
        history: &mut History,
        deleted: &mut String,
        screen: &mut Vec<u8>,
        complete: &mut dyn FnMut(&str) -> Completion,
    ) -> Option<Outcome> {
        let list = core::mem::replace(&mut self.list_next, false);
        match key {
            Key::Insert(character) => {
                let mut bytes = [0; 4];
                let text = character.encode_utf8(&mut bytes);
                self.buffer.insert(text);
                if self.fits_and_ends_at_cursor() {
                    // All that changes is that this character follows what is there.
                    screen.extend_from_slice(text.as_bytes());
                    return None;
                }
            }
            Key::Enter => {
                self.show_to_end(screen);
                screen.extend_from_slice(b"\r\n");
                return Some(Outcome::Line(self.buffer.take()));
            }
            Key::Interrupt => {
                self.show_to_end(screen);
                screen.extend_from_slice(b"^C\r\n");
                return Some(Outcome::Interrupted);
            }
            Key::DeleteOrEnd if self.buffer.text().is_empty() => {
                screen.extend_from_slice(b"\r\n");
                return Some(Outcome::EndOfInput);
            }
            Key::Left => self.buffer.move_to(self.buffer.previous()),
            Key::Right => self.buffer.move_to(self.buffer.next()),
            Key::WordLeft => self.buffer.move_to(self.buffer.word_start()),
            Key::WordRight => self.buffer.move_to(self.buffer.word_end()),
            Key::Start => self.buffer.move_to(0),
            Key::End => self.buffer.move_to(self.buffer.end()),
            Key::Backspace => drop(self.buffer.delete_to(self.buffer.previous())),
            Key::Delete | Key::DeleteOrEnd => drop(self.buffer.delete_to(self.buffer.next())),
            Key::DeleteWordBefore => self.cut(self.buffer.word_start(), deleted),
            Key::DeleteWordAfter => self.cut(self.buffer.word_end(), deleted),
            Key::DeleteToStart => self.cut(0, deleted),
            Key::DeleteToEnd => self.cut(self.buffer.end(), deleted),
            Key::Yank => self.buffer.insert(deleted),
            Key::Transpose => self.buffer.transpose(),
            Key::Earlier => self.earlier(history, screen),
            Key::Later => self.later(history, screen),
            Key::Complete => self.complete(list, complete, screen),
            // Cursor to the upper left corner, then everything cleared.
            Key::ClearScreen => screen.extend_from_slice(b"\x1b[H\x1b[2J"),
        }
        self.redraw(screen);
        None
    }

    fn cut(&mut self, place: usize, deleted: &mut String) {
        let cut = self.buffer.delete_to(place);
        if !cut.is_empty() {
            *deleted = cut;
        }
    }

    fn earlier(&mut self, history: &History, screen: &mut Vec<u8>) {
        let index = self.recalled.as_ref().map_or(history.len(), |(index, _)| *index);
        let Some(line) = index.checked_sub(1).and_then(|index| history.get(index)) else {
            screen.push(BELL);
            return;
        };
        match &mut self.recalled {
            Some((index, _)) => *index -= 1,
            None => self.recalled = Some((index - 1, self.buffer.take())),
        }
        self.buffer.set(line);
    }

    fn later(&mut self, history: &History, screen: &mut Vec<u8>) {
        let Some((index, own)) = &mut self.recalled else {
            screen.push(BELL);
            return;
        };
        *index += 1;
        match history.get(*index) {
            Some(line) => self.buffer.set(line),
            None => {
                self.buffer.set(own);
                self.recalled = None;
            }
        }
    }

    fn complete(&mut self, list: bool, complete: &mut dyn FnMut(&str) -> Completion, screen: &mut Vec<u8>) {
        let Completion { start, candidates } = complete(self.buffer.before_cursor());
        let before = self.buffer.before_cursor().len();
        match candidates.as_slice() {
            [] => screen.push(BELL),
            [only] => self.buffer.replace_from(start, &format!("{}{}", only.replacement, only.suffix)),
            several => {
                let common = common_prefix(several);
                if start + common.len() > before {
                    self.buffer.replace_from(start, common);
                } else if list {
                    self.show_list(several, screen);
                } else {
                    screen.push(BELL);
                    self.list_next = true;
                }
            }
        }
    }

    /// Shows candidates below the line, in columns.
    fn show_list(&self, candidates: &[Candidate], screen: &mut Vec<u8>) {
        let cell =
            candidates.iter().map(|candidate| width::of_str(&candidate.display)).max().unwrap_or(0) + 2;
        let per_row = (self.columns / cell).max(1);
        for (index, candidate) in candidates.iter().enumerate() {
            if index % per_row == 0 {
                screen.extend_from_slice(b"\r\n");
            }
            screen.extend_from_slice(candidate.display.as_bytes());
            if index % per_row + 1 < per_row {
                screen.resize(screen.len() + cell - width::of_str(&candidate.display), b' ');
            }
        }
        screen.extend_from_slice(b"\r\n");
    }

    /// Leaves the cursor behind the line.
    fn show_to_end(&mut self, screen: &mut Vec<u8>) {
        if !self.buffer.after_cursor().is_empty() {
            self.buffer.move_to(self.buffer.end());
            self.redraw(screen);
        }
    }

    /// Whether the line is shown completely, with the cursor behind it.
    fn fits_and_ends_at_cursor(&self) -> bool {
        let columns = width::of_str(self.prompt) + width::of_str(self.buffer.text());
        self.buffer.after_cursor().is_empty() && columns < self.columns
    }

    /// Shows prompt and line anew, in the row where the cursor is. If they are wider than the screen, the part of the line around
    /// the cursor is shown.
    pub fn redraw(&self, screen: &mut Vec<u8>) {
        // The last column stays free, since terminals differ in what they do when it is written to.
        let room = (self.columns - 1).saturating_sub(width::of_str(self.prompt)).max(self.columns / 2);
        let mut first = self.buffer.before_cursor();
        let mut before = width::of_str(first);
        while before > room {
            let mut characters = first.chars();
            before -= characters.next().map_or(before, width::of_char);
            first = characters.as_str();
        }
        let mut left = room - before;
        let mut last = 0;
        for character in self.buffer.after_cursor().chars() {
            let columns = width::of_char(character);
            if columns > left {
                break;
            }
            left -= columns;
            last += character.len_utf8();
        }
        screen.push(b'\r');
        screen.extend_from_slice(self.prompt.as_bytes());
        screen.extend_from_slice(first.as_bytes());
        let after = &self.buffer.after_cursor()[..last];
        screen.extend_from_slice(after.as_bytes());
        // Clear the rest of the row, and go back to the cursor's place.
        screen.extend_from_slice(b"\x1b[K");
        let back = width::of_str(after);
        if back > 0 {
            screen.extend_from_slice(format!("\x1b[{back}D").as_bytes());
        }
    }
}

/// What all replacements begin with.
fn common_prefix(candidates: &[Candidate]) -> &str {
    let mut common = candidates.first().map_or("", |candidate| candidate.replacement.as_str());
    for candidate in candidates {
        let equal = common.chars().zip(candidate.replacement.chars()).take_while(|(a, b)| a == b);
        let length = equal.map(|(character, _)| character.len_utf8()).sum();
        common = &common[..length];
    }
    common
}
