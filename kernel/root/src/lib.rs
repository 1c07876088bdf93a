//! The root of the tree of files: the one directory that every absolute path begins at.
//!
//! It is an ordinary [`VFSDirectory`] that comes into being when it is first asked for, so the kernel's heap must be ready by then.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

use fs_node::DirRef;
use spin::Once;
use vfs_node::VFSDirectory;

/// The name of the root directory: empty, so that the path of its entry `a` is `/a`.
pub const ROOT_DIRECTORY_NAME: &str = "";

static ROOT: Once<DirRef> = Once::new();

/// The root directory.
pub fn get_root() -> &'static DirRef {
    ROOT.call_once(VFSDirectory::create_root)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_root() {
        assert!(alloc::sync::Arc::ptr_eq(get_root(), get_root()));
        assert_eq!(get_root().lock().get_name(), ROOT_DIRECTORY_NAME);
        assert_eq!(get_root().lock().get_absolute_path(), "/");
        assert!(get_root().lock().get_parent_dir().is_none());
    }
}
