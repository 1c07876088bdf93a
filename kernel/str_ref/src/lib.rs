//! A shared, immutable string: cloning copies a pointer, not the text.
//!
//! Crate and section names are handed around a lot and never change, so they are kept as [`StrRef`].
//! Relies on nothing but `alloc`.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::{string::String, sync::Arc};
use core::{borrow::Borrow, fmt, ops::Deref};

/// A reference-counted `str`. Compares, orders and hashes as the text it holds.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StrRef(Arc<str>);

impl StrRef {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for StrRef {
    fn default() -> Self {
        StrRef(Arc::from(""))
    }
}

impl Deref for StrRef {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for StrRef {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl AsRef<[u8]> for StrRef {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl Borrow<str> for StrRef {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl From<&str> for StrRef {
    fn from(text: &str) -> Self {
        StrRef(Arc::from(text))
    }
}

impl From<String> for StrRef {
    fn from(text: String) -> Self {
        StrRef(Arc::from(text))
    }
}

impl fmt::Debug for StrRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl fmt::Display for StrRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&*self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeMap;

    #[test]
    fn is_found_by_its_text_and_shares_it() {
        let name = StrRef::from("captain-0123");
        let copy = name.clone();
        assert!(core::ptr::eq(name.as_str(), copy.as_str()));
        let mut map = BTreeMap::new();
        map.insert(name, 1);
        assert_eq!(map.get("captain-0123"), Some(&1));
        assert_eq!(map.get("captain-0124"), None);
        assert_eq!(copy, StrRef::from(String::from("captain-0123")));
    }
}
