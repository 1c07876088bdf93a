//! [`Components`]: the parts of a path.

use crate::Path;
use core::iter::FusedIterator;

/// One part of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Component<'a> {
    /// The `/` that an absolute path begins with.
    RootDir,
    /// A `.` at the beginning; elsewhere it means nothing and is skipped.
    CurDir,
    /// `..`
    ParentDir,
    /// A name.
    Normal(&'a str),
}

impl<'a> Component<'a> {
    /// The part as it is written.
    pub fn as_str(&self) -> &'a str {
        match self {
            Component::RootDir => "/",
            Component::CurDir => ".",
            Component::ParentDir => "..",
            Component::Normal(name) => name,
        }
    }
}

impl AsRef<Path> for Component<'_> {
    fn as_ref(&self) -> &Path {
        Path::new(self.as_str())
    }
}

/// The parts of a path, from either end. Repeated slashes, slashes at the end, and `.` that isn't at the beginning are skipped.
#[derive(Clone, Debug)]
pub struct Components<'a> {
    /// What is left of the path.
    rest: &'a str,
    /// Whether `rest` still begins where the path began.
    at_start: bool,
}

impl<'a> Components<'a> {
    pub(crate) fn new(path: &'a str) -> Self {
        Self { rest: path, at_start: true }
    }

    /// The parts that are left, as a path.
    pub fn as_path(&self) -> &'a Path {
        let mut remaining = self.clone();
        if !remaining.at_start {
            remaining.skip_meaningless_front();
        }
        remaining.skip_meaningless_back();
        Path::new(remaining.rest)
    }

    /// Skips what separates the last component from the end: slashes, and `.` unless it is the first component.
    fn skip_meaningless_back(&mut self) {
        loop {
            let root = usize::from(self.at_start && self.rest.starts_with('/'));
            let is_slash = self.rest.len() > root && self.rest.ends_with('/');
            if is_slash || self.rest.ends_with("/.") {
                self.rest = &self.rest[..self.rest.len() - 1];
            } else if self.rest == "." && !self.at_start {
                self.rest = "";
            } else {
                return;
            }
        }
    }

    /// Skips what separates the next component from the one before it.
    fn skip_meaningless_front(&mut self) {
        loop {
            if let Some(rest) = self.rest.strip_prefix('/') {
                self.rest = rest;
            } else if self.rest == "." {
                self.rest = "";
            } else if self.rest.starts_with("./") {
                self.rest = &self.rest[1..];
            } else {
                return;
            }
        }
    }

    fn classify(part: &'a str) -> Component<'a> {
        match part {
            "." => Component::CurDir,
            ".." => Component::ParentDir,
            name => Component::Normal(name),
        }
    }
}

impl<'a> Iterator for Components<'a> {
    type Item = Component<'a>;

    fn next(&mut self) -> Option<Component<'a>> {
        if self.at_start {
            if self.rest.is_empty() {
                return None;
            }
            self.at_start = false;
            if let Some(rest) = self.rest.strip_prefix('/') {
                self.rest = rest;
                return Some(Component::RootDir);
            }
        } else {
            self.skip_meaningless_front();
        }
        if self.rest.is_empty() {
            return None;
        }
        let end = self.rest.find('/').unwrap_or(self.rest.len());
        let (part, rest) = self.rest.split_at(end);
        self.rest = rest;
        Some(Self::classify(part))
    }
}

impl DoubleEndedIterator for Components<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.skip_meaningless_back();
        if self.rest.is_empty() {
            return None;
        }
        if self.at_start && self.rest == "/" {
            self.rest = "";
            return Some(Component::RootDir);
        }
        let start = self.rest.rfind('/').map_or(0, |slash| slash + 1);
        let part = &self.rest[start..];
        self.rest = &self.rest[..start];
        if start == 0 && !self.at_start && part == "." {
            return None;
        }
        Some(Self::classify(part))
    }
}

impl FusedIterator for Components<'_> {}
