//! FAT12, FAT16 and FAT32 with long names: the file system that every host can read and write.
//!
//! ```text
//!  node         files and directories, as `fs_node` wants them
//!  directory    entries by name          volume    content, and the order of writes
//!  entry        names, times, records    chain     clusters of a file      table    the allocation table
//!  boot_sector  where everything is      cache     blocks in memory        StorageDevice
//! ```
//! [`FileSystem::mount`] finds the volume on a device and gives its root directory, to be put into the tree of files. What is changed reaches the
//! disk by [`FileSystem::sync`], by `flush` of a file and `sync` of a directory, and when much has piled up.
//!
//! # Why our own
//! The order of writes, files that are removed while somebody uses them, and directories that tasks share decide how everything here is built; they
//! could not be put on top of a library.
//!
//! # Invariants
//! * What an entry or a chain on the disk refers to is there at every moment. What a crash may leave besides (clusters that belong to nobody or are
//!   more than a file needs, an older second table, both names of what was being moved) harms nothing: see `volume` and the book.
//! * Whatever is on the disk, there is an error and never a panic or a loop without end: chains that come back to themselves, that are shorter than a
//!   file or that two files have, clusters that do not exist. Such an error changes nothing on the disk.
//! * Nothing that was changed is forgotten when the disk reports an error: it is tried again with the next sync.
//!
//! # What FAT does not have
//! Links, holes (a file made longer is filled with zeroes when it is synced), files of 4 GiB and more, names that differ in case only, and
//! times more exact than two seconds (to read: a day). Directories keep the time at which they were made. Times are taken to be UTC.
#![cfg_attr(target_os = "theseus", no_std)]

extern crate alloc;

mod boot_sector;
mod cache;
mod chain;
mod directory;
mod entry;
mod node;
mod table;
#[cfg(test)]
mod tests;
mod volume;

pub use node::FileSystem;

/// What is on the disk cannot be.
pub(crate) const DAMAGED: io::IoError =
    io::IoError::Other("the file system is damaged: check it on the host with fsck.fat");
