//! Paths: taking them apart, putting them together, and finding what they lead to.
//!
//! [`Path`] is to [`PathBuf`] what `str` is to `String`, and both behave as their namesakes in `std` do on Unix, except
//! that they are always UTF-8.
//!
//! # How a path is read
//! * `/` separates; several in a row are one. A path that begins with `/` is *absolute*, others begin at a directory that the
//!   caller names, usually the working directory.
//! * `.` is the directory itself. `..` is the directory that contains it *in the tree*; the root contains itself.
//! * A `/` at the end demands a directory: `file/` leads nowhere.
//! * The empty path leads nowhere.
//! * `..` in a directory that was removed leads nowhere.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

mod components;
mod resolve;
#[cfg(test)]
mod tests;

pub use components::{Component, Components};
pub use resolve::Target;

use alloc::borrow::{Borrow, ToOwned};
use alloc::string::String;
use core::fmt;
use core::ops::Deref;

/// A borrowed path.
#[derive(PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Path {
    inner: str,
}

/// An owned path.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PathBuf {
    inner: String,
}

impl Path {
    /// Takes a string as a path.
    pub fn new<S: AsRef<str> + ?Sized>(path: &S) -> &Path {
        let inner: *const str = path.as_ref();
        // SAFETY: `Path` is a transparent wrapper of `str`, so the pointer keeps its address and its metadata, and the value is
        // valid. The result's lifetime is that of `path`.
        unsafe { &*(inner as *const Path) }
    }

    /// The path as a string.
    pub fn as_str(&self) -> &str {
        &self.inner
    }

    /// An owned copy.
    pub fn to_path_buf(&self) -> PathBuf {
        PathBuf { inner: self.inner.to_owned() }
    }

    /// The parts of the path, from either end.
    pub fn components(&self) -> Components<'_> {
        Components::new(&self.inner)
    }

    /// Whether the path begins at the root.
    pub fn is_absolute(&self) -> bool {
        self.inner.starts_with('/')
    }

    /// Whether the path ends with `/` or with a component `.` or `..`, so that it can only mean a directory.
    pub fn demands_directory(&self) -> bool {
        matches!(self.inner.rsplit('/').next(), Some("" | "." | "..")) && !self.inner.is_empty()
    }

    /// `path` as seen from `self`; that is `path` itself if it is absolute.
    pub fn join<P: AsRef<Path>>(&self, path: P) -> PathBuf {
        let mut result = self.to_path_buf();
        result.push(path);
        result
    }

    /// The path without its last component; `None` if there is none, or only the root.
    pub fn parent(&self) -> Option<&Path> {
        let mut components = self.components();
        match components.next_back()? {
            Component::RootDir => None,
            _ => Some(components.as_path()),
        }
    }

    /// The last component, if it is a name: neither the root nor `.` nor `..`.
    pub fn file_name(&self) -> Option<&str> {
        match self.components().next_back()? {
            Component::Normal(name) => Some(name),
            _ => None,
        }
    }

    /// [`Path::file_name`] up to its last dot, if that isn't its first character.
    pub fn file_stem(&self) -> Option<&str> {
        self.file_name().map(|name| split_name(name).0)
    }

    /// What follows the last dot of [`Path::file_name`], if that isn't its first character.
    pub fn extension(&self) -> Option<&str> {
        self.file_name().and_then(|name| split_name(name).1)
    }

    /// How to get from `base` to `self`, both taken as paths from the same place. `None` if that can't be told from
    /// the names alone: only one of them is absolute, or `base` has a `..` where they part.
    pub fn relative<P: AsRef<Path>>(&self, base: P) -> Option<PathBuf> {
        let base = base.as_ref();
        if self.is_absolute() != base.is_absolute() {
            return None;
        }
        let mut target = self.components().filter(|part| *part != Component::CurDir).peekable();
        let mut start = base.components().filter(|part| *part != Component::CurDir).peekable();
        while target.peek().is_some() && target.peek() == start.peek() {
            target.next();
            start.next();
        }
        let mut result = PathBuf::new();
        for part in start {
            match part {
                Component::Normal(_) => result.push(".."),
                _ => return None,
            }
        }
        for part in target {
            result.push(part.as_str());
        }
        Some(result)
    }

    /// The same path without `.` and without any `name/..`, as a shell's `cd` understands it: by the names alone.
    pub fn normalized(&self) -> PathBuf {
        let mut result = PathBuf::new();
        for part in self.components() {
            match part {
                Component::CurDir => {}
                Component::ParentDir => match Path::new(&result.inner).components().next_back() {
                    Some(Component::Normal(_)) => {
                        result.pop();
                    }
                    Some(Component::RootDir) => {}
                    _ => result.push(".."),
                },
                part => result.push(part.as_str()),
            }
        }
        if result.inner.is_empty() && !self.inner.is_empty() {
            result.push(".");
        }
        result
    }
}

/// Splits a name at its last dot; a dot in front is part of the stem.
fn split_name(name: &str) -> (&str, Option<&str>) {
    match name.rfind('.') {
        None | Some(0) => (name, None),
        Some(dot) => (&name[..dot], Some(&name[dot + 1..])),
    }
}

impl PathBuf {
    /// The empty path.
    pub const fn new() -> Self {
        Self { inner: String::new() }
    }

    /// Appends `path`, or replaces everything by it if it is absolute.
    pub fn push<P: AsRef<Path>>(&mut self, path: P) {
        let path = path.as_ref();
        if path.is_absolute() {
            self.inner.clear();
        } else if !self.inner.is_empty() && !self.inner.ends_with('/') {
            self.inner.push('/');
        }
        self.inner.push_str(path.as_str());
    }

    /// Removes the last component. Returns whether there was one to remove.
    pub fn pop(&mut self) -> bool {
        match self.parent().map(|parent| parent.as_str().len()) {
            Some(length) => {
                self.inner.truncate(length);
                true
            }
            None => false,
        }
    }

    /// The path as a string of its own.
    pub fn into_string(self) -> String {
        self.inner
    }
}

impl Deref for PathBuf {
    type Target = Path;

    fn deref(&self) -> &Path {
        Path::new(&self.inner)
    }
}

impl Borrow<Path> for PathBuf {
    fn borrow(&self) -> &Path {
        self
    }
}

impl ToOwned for Path {
    type Owned = PathBuf;

    fn to_owned(&self) -> PathBuf {
        self.to_path_buf()
    }
}

impl AsRef<Path> for Path {
    fn as_ref(&self) -> &Path {
        self
    }
}

impl AsRef<Path> for PathBuf {
    fn as_ref(&self) -> &Path {
        self
    }
}

impl AsRef<Path> for str {
    fn as_ref(&self) -> &Path {
        Path::new(self)
    }
}

impl AsRef<Path> for String {
    fn as_ref(&self) -> &Path {
        Path::new(self)
    }
}

impl AsRef<str> for Path {
    fn as_ref(&self) -> &str {
        &self.inner
    }
}

impl AsRef<str> for PathBuf {
    fn as_ref(&self) -> &str {
        &self.inner
    }
}

impl From<String> for PathBuf {
    fn from(inner: String) -> Self {
        Self { inner }
    }
}

impl From<&str> for PathBuf {
    fn from(path: &str) -> Self {
        Self { inner: path.to_owned() }
    }
}

impl From<&Path> for PathBuf {
    fn from(path: &Path) -> Self {
        path.to_path_buf()
    }
}

impl From<PathBuf> for String {
    fn from(path: PathBuf) -> Self {
        path.inner
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl fmt::Debug for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.inner, f)
    }
}

impl fmt::Display for PathBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}
