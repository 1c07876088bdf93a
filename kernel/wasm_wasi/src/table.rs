//! Descriptors: what a guest's numbers stand for, and what may be done with it.

use crate::Errno;
use crate::fs::{DirEntry, DirHandle, FileHandle};
use crate::stdio::{StdinStream, StdoutStream};
use crate::types::{FdFlags, FileType, Rights};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// How many descriptors a guest can have at a time; as Linux by default.
pub(crate) const MAX_DESCRIPTORS: usize = 1024;

/// How many entries of directories are kept for a guest that reads directories.
const MAX_LISTED: usize = 100_000;

/// What a descriptor stands for.
pub(crate) enum Kind {
    /// A stream that is read.
    Input(Arc<dyn StdinStream>),
    /// A stream that is written.
    Output(Arc<dyn StdoutStream>),
    /// A file, and the position in it.
    File { file: FileHandle, position: u64 },
    /// A directory.
    Dir {
        dir: DirHandle,
        /// The guest's name for it, if it was given it.
        preopen: Option<String>,
        /// Its entries, as they were when the guest began to read them; until it has read them all.
        listing: Option<Vec<DirEntry>>,
    },
}

impl Kind {
    /// What it is.
    pub(crate) fn file_type(&self) -> FileType {
        match self {
            Kind::Input(stream) => of_stream(stream.is_terminal()),
            Kind::Output(stream) => of_stream(stream.is_terminal()),
            Kind::File { .. } => FileType::RegularFile,
            Kind::Dir { .. } => FileType::Directory,
        }
    }
}

fn of_stream(terminal: bool) -> FileType {
    if terminal { FileType::CharacterDevice } else { FileType::Unknown }
}

/// An open descriptor.
pub(crate) struct Descriptor {
    pub(crate) kind: Kind,
    /// What may be done with it.
    pub(crate) rights: Rights,
    /// What may be done with what is opened from it.
    pub(crate) inheriting: Rights,
    pub(crate) flags: FdFlags,
}

impl Descriptor {
    /// Fails unless it has these rights.
    pub(crate) fn check(&self, rights: Rights) -> Result<(), Errno> {
        if self.rights.contains(rights) { Ok(()) } else { Err(Errno::Notcapable) }
    }

    /// The directory it stands for.
    pub(crate) fn dir(&self) -> Result<&DirHandle, Errno> {
        match &self.kind {
            Kind::Dir { dir, .. } => Ok(dir),
            _ => Err(Errno::Notdir),
        }
    }
}

/// A guest's descriptors, by number.
#[derive(Default)]
pub(crate) struct Table {
    /// Where nothing is open, `None`.
    descriptors: Vec<Option<Descriptor>>,
}

impl Table {
    /// The descriptor `fd`.
    pub(crate) fn get(&self, fd: u32) -> Result<&Descriptor, Errno> {
        self.descriptors.get(fd as usize).and_then(Option::as_ref).ok_or(Errno::Badf)
    }

    /// The descriptor `fd`, to be changed.
    pub(crate) fn get_mut(&mut self, fd: u32) -> Result<&mut Descriptor, Errno> {
        self.descriptors.get_mut(fd as usize).and_then(Option::as_mut).ok_or(Errno::Badf)
    }

    /// The directory `fd`, if it has these rights, and the descriptor.
    pub(crate) fn dir(&self, fd: u32, rights: Rights) -> Result<(&DirHandle, &Descriptor), Errno> {
        let descriptor = self.get(fd)?;
        let dir = descriptor.dir()?;
        descriptor.check(rights)?;
        Ok((dir, descriptor))
    }

    /// The lowest number that is free.
    ///
    /// # Errors
    /// [`Errno::Mfile`] if there is none; [`Errno::Nomem`].
    pub(crate) fn free(&mut self) -> Result<u32, Errno> {
        if let Some(free) = self.descriptors.iter().position(Option::is_none) {
            return Ok(free as u32);
        }
        if self.descriptors.len() >= MAX_DESCRIPTORS {
            return Err(Errno::Mfile);
        }
        self.descriptors.try_reserve(1).map_err(|_| Errno::Nomem)?;
        self.descriptors.push(None);
        Ok(self.descriptors.len() as u32 - 1)
    }

    /// Opens a descriptor, with the lowest number that is free.
    ///
    /// # Errors
    /// [`Errno::Mfile`] if there are too many; [`Errno::Nomem`].
    pub(crate) fn insert(&mut self, descriptor: Descriptor) -> Result<u32, Errno> {
        let fd = self.free()?;
        self.descriptors[fd as usize] = Some(descriptor);
        Ok(fd)
    }

    /// Closes a descriptor.
    pub(crate) fn remove(&mut self, fd: u32) -> Result<Descriptor, Errno> {
        self.descriptors.get_mut(fd as usize).and_then(Option::take).ok_or(Errno::Badf)
    }

    /// Makes room to keep `count` entries of a directory: if that is too many together with those kept for other descriptors, these go. Whoever
    /// reads on there gets what is there by then.
    pub(crate) fn make_room_for_listing(&mut self, count: usize) {
        let listings = || {
            self.descriptors.iter().flatten().filter_map(|descriptor| match &descriptor.kind {
                Kind::Dir { listing: Some(listing), .. } => Some(listing.len()),
                _ => None,
            })
        };
        if listings().sum::<usize>().saturating_add(count) <= MAX_LISTED {
            return;
        }
        for descriptor in self.descriptors.iter_mut().flatten() {
            if let Kind::Dir { listing, .. } = &mut descriptor.kind {
                *listing = None;
            }
        }
    }

    /// Gives a descriptor the number of another one, which is closed.
    pub(crate) fn renumber(&mut self, from: u32, to: u32) -> Result<(), Errno> {
        self.get(from)?;
        self.get(to)?;
        if from != to {
            let moved = self.remove(from)?;
            *self.get_mut(to)? = moved;
        }
        Ok(())
    }
}
