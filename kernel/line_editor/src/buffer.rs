//! [`Buffer`]: a line and a cursor.

use alloc::string::String;

/// A line and a cursor, which is always between two characters.
#[derive(Default)]
pub(crate) struct Buffer {
    text: String,
    cursor: usize,
}

impl Buffer {
    pub fn text(&self) -> &str {
        &self.text
    }

    pub fn before_cursor(&self) -> &str {
        &self.text[..self.cursor]
    }

    pub fn after_cursor(&self) -> &str {
        &self.text[self.cursor..]
    }

    /// Replaces the line and puts the cursor behind it.
    pub fn set(&mut self, text: &str) {
        self.text.clear();
        self.text.push_str(text);
        self.cursor = self.text.len();
    }

    pub fn take(&mut self) -> String {
        self.cursor = 0;
        core::mem::take(&mut self.text)
    }

    pub fn insert(&mut self, text: &str) {
        self.text.insert_str(self.cursor, text);
        self.cursor += text.len();
    }

    /// Replaces what is between `start` and the cursor, if `start` is a place between two characters before it.
    pub fn replace_from(&mut self, start: usize, text: &str) {
        if start <= self.cursor && self.text.is_char_boundary(start) {
            self.text.replace_range(start..self.cursor, text);
            self.cursor = start + text.len();
        }
    }

    /// Where the character before the cursor begins.
    pub fn previous(&self) -> usize {
        self.before_cursor().char_indices().next_back().map_or(0, |(index, _)| index)
    }

    /// Where the character at the cursor ends.
    pub fn next(&self) -> usize {
        self.cursor + self.after_cursor().chars().next().map_or(0, char::len_utf8)
    }

    /// Where the word before the cursor begins, by spaces.
    pub fn word_start(&self) -> usize {
        let word_end = self.before_cursor().trim_end().len();
        self.text[..word_end]
            .rfind(char::is_whitespace)
            .map_or(0, |space| space + self.text[space..].chars().next().map_or(1, char::len_utf8))
    }

    /// Where the word at or after the cursor ends.
    pub fn word_end(&self) -> usize {
        let rest = self.after_cursor();
        let word = rest.len() - rest.trim_start().len();
        let length = rest[word..].find(char::is_whitespace).unwrap_or(rest.len() - word);
        self.cursor + word + length
    }

    pub fn end(&self) -> usize {
        self.text.len()
    }

    /// Moves the cursor to one of the places above.
    pub fn move_to(&mut self, place: usize) {
        if self.text.is_char_boundary(place) {
            self.cursor = place;
        }
    }

    /// Deletes what is between the cursor and one of the places above, and returns it.
    pub fn delete_to(&mut self, place: usize) -> String {
        if !self.text.is_char_boundary(place) {
            return String::new();
        }
        let range = place.min(self.cursor)..place.max(self.cursor);
        self.cursor = range.start;
        self.text.drain(range).collect()
    }

    /// Exchanges the characters before and at the cursor, or the last two at the end, and moves on.
    pub fn transpose(&mut self) {
        if self.after_cursor().is_empty() {
            self.cursor = self.previous();
        }
        let (start, end) = (self.previous(), self.next());
        if start == self.cursor || end == self.cursor {
            self.cursor = end;
            return;
        }
        if let Some(second) = self.text[self.cursor..end].chars().next() {
            self.text.drain(self.cursor..end);
            self.text.insert(start, second);
            self.cursor = end;
        }
    }
}
