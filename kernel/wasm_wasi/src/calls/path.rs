//! Paths.

use crate::Errno;
use crate::calls::{flags, times};
use crate::fs::walk::{Follow, Place, check_directory, walk, walk_to_entry};
use crate::fs::{DirHandle, Found, How};
use crate::linker::{Call, Outcome};
use crate::table::{Descriptor, Kind};
use crate::types::{FdFlags, OFlags, Rights};
use alloc::vec::Vec;

/// The one flag of `lookupflags`.
const SYMLINK_FOLLOW: u32 = 1;

/// Whether symbolic links at the end of a path are followed.
fn follow(lookup: u32) -> Result<Follow, Errno> {
    match lookup {
        0 => Ok(Follow::IfDirectory),
        SYMLINK_FOLLOW => Ok(Follow::Yes),
        _ => Err(Errno::Inval),
    }
}

impl Call<'_> {
    /// The directories that something goes from and to, with the rights that takes. Fails if it could be used in more ways there.
    fn two_dirs(&self, from: (u32, Rights), to: (u32, Rights)) -> Result<(&DirHandle, &DirHandle), Errno> {
        let (from, from_descriptor) = self.ctx.table.dir(from.0, from.1)?;
        let (to, to_descriptor) = self.ctx.table.dir(to.0, to.1)?;
        if from_descriptor.inheriting.contains(to_descriptor.inheriting) {
            Ok((from, to))
        } else {
            Err(Errno::Notcapable)
        }
    }

    pub(crate) fn path_create_directory(&mut self, fd: u32, path: u32, len: u32) -> Outcome {
        let mut buffer = Vec::new();
        let path = self.guest.path(path, len, &mut buffer)?;
        let (dir, _) = self.ctx.table.dir(fd, Rights::PATH_CREATE_DIRECTORY)?;
        let (dir, name, _) = walk_to_entry(dir, path, Errno::Exist)?;
        Ok(dir.create_dir(&name)?)
    }

    pub(crate) fn path_filestat_get(
        &mut self,
        fd: u32,
        lookup: u32,
        path: u32,
        len: u32,
        result: u32,
    ) -> Outcome {
        self.guest.check(result, self.filestat_len())?;
        let mut buffer = Vec::new();
        let path = self.guest.path(path, len, &mut buffer)?;
        let (dir, _) = self.ctx.table.dir(fd, Rights::PATH_FILESTAT_GET)?;
        let stat = match walk(dir, path, follow(lookup)?)? {
            Place::Dir(dir) => dir.stat()?,
            Place::Entry { dir, name, demands_directory } => {
                check_directory(&*dir, &name, demands_directory)?;
                dir.stat_entry(&name)?
            }
        };
        self.write_filestat(result, stat)
    }

    #[allow(clippy::too_many_arguments, reason = "the specification's")]
    pub(crate) fn path_filestat_set_times(
        &mut self,
        fd: u32,
        lookup: u32,
        path: u32,
        len: u32,
        accessed: u64,
        modified: u64,
        flags: u32,
    ) -> Outcome {
        let mut buffer = Vec::new();
        let path = self.guest.path(path, len, &mut buffer)?;
        let (dir, _) = self.ctx.table.dir(fd, Rights::PATH_FILESTAT_SET_TIMES)?;
        let times = times(accessed, modified, flags)?;
        match walk(dir, path, follow(lookup)?)? {
            Place::Dir(dir) => dir.set_times(times)?,
            Place::Entry { dir, name, demands_directory } => {
                check_directory(&*dir, &name, demands_directory)?;
                dir.set_times_of_entry(&name, times)?;
            }
        }
        Ok(())
    }

    #[allow(clippy::too_many_arguments, reason = "the specification's")]
    pub(crate) fn path_link(
        &mut self,
        from: u32,
        lookup: u32,
        path: u32,
        len: u32,
        to: u32,
        new_path: u32,
        new_len: u32,
    ) -> Outcome {
        let (mut buffer, mut new_buffer) = (Vec::new(), Vec::new());
        let path = self.guest.path(path, len, &mut buffer)?;
        let new_path = self.guest.path(new_path, new_len, &mut new_buffer)?;
        let (from, to) = self.two_dirs((from, Rights::PATH_LINK_SOURCE), (to, Rights::PATH_LINK_TARGET))?;
        // A link to a link: what it leads to may not be what it led to just now.
        if follow(lookup)? == Follow::Yes {
            return Err(Errno::Inval.into());
        }
        let (dir, name, demands_directory) = walk_to_entry(from, path, Errno::Perm)?;
        check_directory(&*dir, &name, demands_directory)?;
        if let Found::Dir(_) = dir.find(&name)? {
            return Err(Errno::Perm.into());
        }
        let (new_dir, new_name, new_demands_directory) = walk_to_entry(to, new_path, Errno::Exist)?;
        if new_demands_directory {
            return Err(Errno::Noent.into());
        }
        Ok(dir.link(&name, &new_dir, &new_name)?)
    }

    #[allow(clippy::too_many_arguments, reason = "the specification's")]
    pub(crate) fn path_open(
        &mut self,
        fd: u32,
        lookup: u32,
        path: u32,
        len: u32,
        oflags: u32,
        base: u64,
        inheriting: u64,
        fdflags: u32,
        result: u32,
    ) -> Outcome {
        self.guest.check(result, 4)?;
        let mut buffer = Vec::new();
        let path = self.guest.path(path, len, &mut buffer)?;
        let (oflags, fdflags): (OFlags, FdFlags) = (flags(oflags)?, flags(fdflags)?);
        let follow = follow(lookup)?;
        let mut needed = Rights::PATH_OPEN;
        if oflags.contains(OFlags::CREAT) {
            needed |= Rights::PATH_CREATE_FILE;
        }
        if oflags.contains(OFlags::TRUNC) {
            needed |= Rights::PATH_FILESTAT_SET_SIZE;
        }
        let (dir, descriptor) = self.ctx.table.dir(fd, needed)?;
        // More than can be had may be asked for, but not what the access is for.
        let (base, inheriting) = (Rights::from_bits_truncate(base), Rights::from_bits_truncate(inheriting));
        let access = base & (Rights::FD_READ | Rights::FD_WRITE);
        if !descriptor.inheriting.contains(access) {
            return Err(Errno::Notcapable.into());
        }
        let (base, inheriting) = (base & descriptor.inheriting, inheriting & descriptor.inheriting);
        if oflags.contains(OFlags::CREAT | OFlags::DIRECTORY) {
            return Err(Errno::Inval.into());
        }
        let exclusive = oflags.contains(OFlags::CREAT | OFlags::EXCL);
        let follow = if exclusive { Follow::No } else { follow };
        let opened = match walk(dir, path, follow)? {
            Place::Dir(_) if exclusive => return Err(Errno::Exist.into()),
            Place::Dir(dir) => Ok(dir),
            Place::Entry { dir, name, demands_directory } => match dir.find(&name) {
                Ok(_) if exclusive => return Err(Errno::Exist.into()),
                Ok(Found::Dir(dir)) => Ok(dir),
                Ok(Found::Link(_)) => return Err(Errno::Loop.into()),
                Ok(Found::Other) if demands_directory || oflags.contains(OFlags::DIRECTORY) => {
                    return Err(Errno::Notdir.into());
                }
                Err(Errno::Noent) if demands_directory && oflags.contains(OFlags::CREAT) => {
                    return Err(Errno::Isdir.into());
                }
                Err(Errno::Noent) if !oflags.contains(OFlags::CREAT) => return Err(Errno::Noent.into()),
                Ok(Found::Other) | Err(Errno::Noent) => Err((dir, name)),
                Err(error) => return Err(error.into()),
            },
        };
        let opened = match opened {
            Ok(dir) => {
                if base.contains(Rights::FD_WRITE) || oflags.intersects(OFlags::CREAT | OFlags::TRUNC) {
                    return Err(Errno::Isdir.into());
                }
                Descriptor {
                    kind: Kind::Dir { dir, preopen: None, listing: None },
                    rights: base & Rights::DIR,
                    inheriting,
                    flags: fdflags,
                }
            }
            Err((dir, name)) => {
                // A number that is free, before anything is made or emptied.
                self.ctx.table.free()?;
                let how = How {
                    read: base.contains(Rights::FD_READ),
                    write: base.contains(Rights::FD_WRITE) || fdflags.contains(FdFlags::APPEND),
                    create: oflags.contains(OFlags::CREAT),
                    exclusive,
                    truncate: oflags.contains(OFlags::TRUNC),
                };
                let file = dir.open_file(&name, how)?;
                // Whoever may not write it does not change its size either, for which the system would have to open it for writing.
                let size = match base.contains(Rights::FD_WRITE) {
                    true => Rights::empty(),
                    false => Rights::FD_ALLOCATE | Rights::FD_FILESTAT_SET_SIZE,
                };
                Descriptor {
                    kind: Kind::File { file, position: 0 },
                    rights: (base & Rights::FILE).difference(size),
                    inheriting: inheriting & Rights::FILE,
                    flags: fdflags,
                }
            }
        };
        let fd = self.ctx.table.insert(opened)?;
        Ok(self.guest.write_u32(result, fd)?)
    }

    pub(crate) fn path_readlink(
        &mut self,
        fd: u32,
        path: u32,
        len: u32,
        buffer: u32,
        buffer_len: u32,
        result: u32,
    ) -> Outcome {
        self.guest.check(result, 4)?;
        self.guest.check(buffer, u64::from(buffer_len))?;
        let mut path_buffer = Vec::new();
        let path = self.guest.path(path, len, &mut path_buffer)?;
        let (dir, _) = self.ctx.table.dir(fd, Rights::PATH_READLINK)?;
        let (dir, name, demands_directory) = walk_to_entry(dir, path, Errno::Inval)?;
        let Found::Link(target) = dir.find(&name)? else { return Err(Errno::Inval.into()) };
        if demands_directory {
            return Err(Errno::Inval.into());
        }
        let count = target.len().min(buffer_len as usize);
        self.guest.write(buffer, &target.as_bytes()[..count])?;
        Ok(self.guest.write_u32(result, count as u32)?)
    }

    pub(crate) fn path_remove_directory(&mut self, fd: u32, path: u32, len: u32) -> Outcome {
        let mut buffer = Vec::new();
        let path = self.guest.path(path, len, &mut buffer)?;
        let (dir, _) = self.ctx.table.dir(fd, Rights::PATH_REMOVE_DIRECTORY)?;
        let (dir, name, _) = walk_to_entry(dir, path, Errno::Inval)?;
        Ok(dir.remove_dir(&name)?)
    }

    pub(crate) fn path_unlink_file(&mut self, fd: u32, path: u32, len: u32) -> Outcome {
        let mut buffer = Vec::new();
        let path = self.guest.path(path, len, &mut buffer)?;
        let (dir, _) = self.ctx.table.dir(fd, Rights::PATH_UNLINK_FILE)?;
        let (dir, name, demands_directory) = walk_to_entry(dir, path, Errno::Isdir)?;
        check_directory(&*dir, &name, demands_directory)?;
        Ok(dir.remove_file(&name)?)
    }

    pub(crate) fn path_rename(
        &mut self,
        from: u32,
        path: u32,
        len: u32,
        to: u32,
        new_path: u32,
        new_len: u32,
    ) -> Outcome {
        let (mut buffer, mut new_buffer) = (Vec::new(), Vec::new());
        let path = self.guest.path(path, len, &mut buffer)?;
        let new_path = self.guest.path(new_path, new_len, &mut new_buffer)?;
        let (from, to) =
            self.two_dirs((from, Rights::PATH_RENAME_SOURCE), (to, Rights::PATH_RENAME_TARGET))?;
        let (dir, name, demands_directory) = walk_to_entry(from, path, Errno::Busy)?;
        check_directory(&*dir, &name, demands_directory)?;
        let (new_dir, new_name, new_demands_directory) = walk_to_entry(to, new_path, Errno::Busy)?;
        check_directory(&*dir, &name, new_demands_directory)?;
        Ok(dir.rename(&name, &new_dir, &new_name)?)
    }

    pub(crate) fn path_symlink(
        &mut self,
        target: u32,
        target_len: u32,
        fd: u32,
        path: u32,
        len: u32,
    ) -> Outcome {
        let (mut target_buffer, mut buffer) = (Vec::new(), Vec::new());
        let target = self.guest.path(target, target_len, &mut target_buffer)?;
        let path = self.guest.path(path, len, &mut buffer)?;
        let (dir, _) = self.ctx.table.dir(fd, Rights::PATH_SYMLINK)?;
        if target.is_empty() {
            return Err(Errno::Noent.into());
        }
        // It would lead nowhere for the guest, but others may follow it.
        if target.starts_with('/') {
            return Err(Errno::Perm.into());
        }
        let (dir, name, demands_directory) = walk_to_entry(dir, path, Errno::Exist)?;
        if demands_directory {
            return Err(Errno::Noent.into());
        }
        Ok(dir.symlink(target, &name)?)
    }
}
