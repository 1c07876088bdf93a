//! The boot archive: its format, and its files in the tree of files.
//!
//! A boot loader hands over one module, a cpio archive in the "newc" format (the one of Linux's initramfs), which holds the kernel's
//! crates and the user's files. [`Archive`] reads the format, [`mount()`] shows the files in a tree without copying them.
//!
//! The image builder pads the names with NULs so that every file's data begins at a page boundary, counted from the start of
//! the archive, and the archive itself begins at one. That is what makes files mappable. An archive made by other tools mounts
//! as well; its files can be read, but not be mapped.
//!
//! The tree is one that programs change; who must know what the boot loader really handed over asks for a [`boot_file`], which comes from
//! the archive itself, whatever has become of the file in the tree. Nobody writes to the archive.
//!
//! An archive is input: whatever is wrong with it is an [`ArchiveError`] that says what and where, before anything has
//! been added to the tree.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

mod archive;
mod mount;
#[cfg(test)]
mod tests;

pub use archive::{Archive, ArchiveError, ArchiveErrorKind, Entry, EntryKind};
pub use mount::mount;

use spin::Once;

static BOOT_ARCHIVE: Once<&'static [u8]> = Once::new();

/// Says which archive the system was booted with. Later calls change nothing.
pub fn set_boot_archive(archive: &'static [u8]) {
    BOOT_ARCHIVE.call_once(|| archive);
}

/// The content of the file `name` in the archive that the system was booted with, if it has one. Reads the archive up to it.
pub fn boot_file(name: &str) -> Option<&'static [u8]> {
    let mut entries = Archive::new(BOOT_ARCHIVE.get()?).map_while(Result::ok);
    let entry = entries.find(|entry| entry.kind == EntryKind::File && entry.name == name)?;
    Some(entry.data)
}
