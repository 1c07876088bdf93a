//! The bytes of an object file, for as long as its crate is loaded.

use alloc::{sync::Arc, vec::Vec};
use core::ops::Deref;

use fs_node::FileRef;

use crate::LoadError;

/// Largest object file in bytes: the size above which a file is surely no crate.
const MAX_OBJECT_FILE_SIZE: usize = 256 << 20;

/// A file's contents that do not change: those of a file in the boot archive where they lie, or a copy.
#[derive(Clone)]
pub(crate) enum ObjectBytes {
    Static(&'static [u8]),
    Copied(Arc<Vec<u8>>),
}

impl ObjectBytes {
    /// The contents of `file`.
    pub(crate) fn of_file(file: &FileRef) -> Result<Self, LoadError> {
        let mut file = file.lock();
        if let Some(bytes) = file.as_static_slice() {
            return Ok(ObjectBytes::Static(bytes));
        }
        let unreadable = |file: &dyn fs_node::File| LoadError::Unreadable { file: file.get_name() };
        let size = file.len();
        if size > MAX_OBJECT_FILE_SIZE {
            return Err(unreadable(&*file));
        }
        let mut bytes = Vec::new();
        bytes
            .try_reserve_exact(size)
            .map_err(|_| LoadError::OutOfMemory { what: "a copy of an object file" })?;
        bytes.resize(size, 0);
        let mut filled = 0;
        while filled < size {
            match file.read_at(&mut bytes[filled..], filled) {
                Ok(count) if count > 0 => filled += count,
                _ => return Err(unreadable(&*file)),
            }
        }
        Ok(ObjectBytes::Copied(Arc::new(bytes)))
    }
}

impl Deref for ObjectBytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match self {
            ObjectBytes::Static(bytes) => bytes,
            ObjectBytes::Copied(bytes) => bytes,
        }
    }
}
