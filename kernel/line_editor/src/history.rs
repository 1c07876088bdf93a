//! [`History`].

use alloc::collections::VecDeque;
use alloc::string::{String, ToString};

/// How many lines are remembered.
const LIMIT: usize = 500;

/// The lines that were read, oldest first. Empty lines, lines that begin with a space, and repetitions of the last line are not kept.
#[derive(Default)]
pub struct History {
    lines: VecDeque<String>,
}

impl History {
    /// No lines.
    pub const fn new() -> Self {
        Self { lines: VecDeque::new() }
    }

    /// Remembers a line.
    pub fn add(&mut self, line: &str) {
        if line.trim().is_empty()
            || line.starts_with(' ')
            || self.lines.back().is_some_and(|last| last == line)
        {
            return;
        }
        if self.lines.len() == LIMIT {
            self.lines.pop_front();
        }
        self.lines.push_back(line.to_string());
    }

    /// How many lines there are.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether there are no lines.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// A line, counted from the oldest.
    pub fn get(&self, index: usize) -> Option<&str> {
        self.lines.get(index).map(String::as_str)
    }

    /// All lines, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().map(String::as_str)
    }
}
