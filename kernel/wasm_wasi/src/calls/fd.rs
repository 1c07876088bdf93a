//! Descriptors.

use crate::Errno;
use crate::calls::{flags, times};
use crate::fs::{DirEntry, ENTRIES_PIECE, FileHandle};
use crate::linker::{Call, Edition, Outcome};
use crate::stdio::write_all;
use crate::table::{Descriptor, Kind};
use crate::types::{FdFlags, FileStat, FileType, Rights, dirent, fdstat};

const WHENCE_SET: u32 = 0;
const WHENCE_CUR: u32 = 1;
const WHENCE_END: u32 = 2;

/// The largest advice of the specification.
const LAST_ADVICE: u32 = 5;

/// The kind `dir` of `prestat`.
const PRESTAT_DIR: u8 = 0;

/// The cookie of the first entry; `.` and `..` come before the others.
const DOTS: u64 = 2;

/// The file that a descriptor stands for, if it has these rights.
fn file_of(descriptor: &Descriptor, rights: Rights) -> Result<&FileHandle, Errno> {
    match &descriptor.kind {
        Kind::File { file, .. } => {
            descriptor.check(rights)?;
            Ok(file)
        }
        Kind::Dir { .. } => Err(Errno::Isdir),
        Kind::Input(_) | Kind::Output(_) => Err(Errno::Spipe),
    }
}

/// Writes what is asked to be written at once, if the descriptor's flags say so.
fn sync_if_asked(file: &FileHandle, flags: FdFlags) -> Result<(), Errno> {
    if flags.intersects(FdFlags::SYNC | FdFlags::DSYNC) {
        file.sync(!flags.contains(FdFlags::SYNC))
    } else {
        Ok(())
    }
}

impl Call<'_> {
    pub(crate) fn fd_advise(&mut self, fd: u32, offset: u64, len: u64, advice: u32) -> Outcome {
        let descriptor = self.ctx.table.get(fd)?;
        file_of(descriptor, Rights::FD_ADVISE)?;
        if advice > LAST_ADVICE || offset.checked_add(len).is_none() {
            return Err(Errno::Inval.into());
        }
        // Nothing would be done any faster.
        Ok(())
    }

    pub(crate) fn fd_allocate(&mut self, fd: u32, offset: u64, len: u64) -> Outcome {
        let file = file_of(self.ctx.table.get(fd)?, Rights::FD_ALLOCATE)?;
        if len == 0 {
            return Err(Errno::Inval.into());
        }
        file.allocate(offset, len, &|| self.stop.look())
    }

    pub(crate) fn fd_close(&mut self, fd: u32) -> Outcome {
        self.ctx.table.remove(fd)?;
        Ok(())
    }

    pub(crate) fn fd_datasync(&mut self, fd: u32) -> Outcome {
        self.sync(fd, Rights::FD_DATASYNC, true)
    }

    pub(crate) fn fd_sync(&mut self, fd: u32) -> Outcome {
        self.sync(fd, Rights::FD_SYNC, false)
    }

    fn sync(&mut self, fd: u32, rights: Rights, data_only: bool) -> Outcome {
        let descriptor = self.ctx.table.get(fd)?;
        match &descriptor.kind {
            Kind::File { file, .. } => {
                descriptor.check(rights)?;
                file.sync(data_only)?;
            }
            Kind::Dir { dir, .. } => {
                descriptor.check(rights)?;
                dir.sync()?;
            }
            Kind::Input(_) | Kind::Output(_) => return Err(Errno::Inval.into()),
        }
        Ok(())
    }

    pub(crate) fn fd_fdstat_get(&mut self, fd: u32, result: u32) -> Outcome {
        let Descriptor { kind, rights, inheriting, flags } = self.ctx.table.get(fd)?;
        let bytes = fdstat(kind.file_type(), *flags, *rights, *inheriting);
        Ok(self.guest.write(result, &bytes)?)
    }

    pub(crate) fn fd_fdstat_set_flags(&mut self, fd: u32, bits: u32) -> Outcome {
        /// Those that can be changed once something is open.
        const CHANGEABLE: FdFlags = FdFlags::APPEND.union(FdFlags::NONBLOCK);
        let descriptor = self.ctx.table.get_mut(fd)?;
        descriptor.check(Rights::FD_FDSTAT_SET_FLAGS)?;
        let flags: FdFlags = flags(bits)?;
        if flags.symmetric_difference(descriptor.flags).intersects(CHANGEABLE.complement()) {
            return Err(Errno::Inval.into());
        }
        descriptor.flags = flags;
        Ok(())
    }

    pub(crate) fn fd_fdstat_set_rights(&mut self, fd: u32, base: u64, inheriting: u64) -> Outcome {
        let descriptor = self.ctx.table.get_mut(fd)?;
        let within = |wanted: u64, has: Rights| wanted & !has.bits() == 0;
        if !within(base, descriptor.rights) || !within(inheriting, descriptor.inheriting) {
            return Err(Errno::Notcapable.into());
        }
        descriptor.rights = Rights::from_bits_truncate(base);
        descriptor.inheriting = Rights::from_bits_truncate(inheriting);
        Ok(())
    }

    pub(crate) fn fd_filestat_get(&mut self, fd: u32, result: u32) -> Outcome {
        let descriptor = self.ctx.table.get(fd)?;
        descriptor.check(Rights::FD_FILESTAT_GET)?;
        let stat = match &descriptor.kind {
            Kind::File { file, .. } => file.stat()?,
            Kind::Dir { dir, .. } => dir.stat()?,
            Kind::Input(_) | Kind::Output(_) => FileStat::of_stream(descriptor.kind.file_type()),
        };
        self.write_filestat(result, stat)
    }

    /// How many bytes a `filestat` has.
    pub(super) fn filestat_len(&self) -> u64 {
        match self.edition {
            Edition::Unstable => FileStat::UNSTABLE_LEN as u64,
            Edition::Preview1 => FileStat::LEN as u64,
        }
    }

    pub(super) fn write_filestat(&mut self, result: u32, stat: FileStat) -> Outcome {
        match self.edition {
            Edition::Unstable => self.guest.write(result, &stat.to_unstable_bytes())?,
            Edition::Preview1 => self.guest.write(result, &stat.to_bytes())?,
        }
        Ok(())
    }

    pub(crate) fn fd_filestat_set_size(&mut self, fd: u32, size: u64) -> Outcome {
        let file = file_of(self.ctx.table.get(fd)?, Rights::FD_FILESTAT_SET_SIZE)?;
        file.set_size(size, &|| self.stop.look())
    }

    pub(crate) fn fd_filestat_set_times(
        &mut self,
        fd: u32,
        accessed: u64,
        modified: u64,
        flags: u32,
    ) -> Outcome {
        let descriptor = self.ctx.table.get(fd)?;
        descriptor.check(Rights::FD_FILESTAT_SET_TIMES)?;
        let times = times(accessed, modified, flags)?;
        match &descriptor.kind {
            Kind::File { file, .. } => file.set_times(times)?,
            Kind::Dir { dir, .. } => dir.set_times(times)?,
            Kind::Input(_) | Kind::Output(_) => return Err(Errno::Inval.into()),
        }
        Ok(())
    }

    pub(crate) fn fd_pread(&mut self, fd: u32, array: u32, count: u32, offset: u64, result: u32) -> Outcome {
        self.guest.check(result, 4)?;
        let file = file_of(self.ctx.table.get(fd)?, Rights::FD_READ | Rights::FD_SEEK)?;
        let mut at = offset;
        let done = self.guest.fill(array, count, &self.stop, |bytes| {
            let count = file.read_at(bytes, at)?;
            at = at.saturating_add(count as u64);
            Ok(count)
        })?;
        Ok(self.guest.write_u32(result, done)?)
    }

    pub(crate) fn fd_pwrite(&mut self, fd: u32, array: u32, count: u32, offset: u64, result: u32) -> Outcome {
        self.guest.check(result, 4)?;
        let descriptor = self.ctx.table.get(fd)?;
        let file = file_of(descriptor, Rights::FD_WRITE | Rights::FD_SEEK)?;
        let mut at = offset;
        let done = self.guest.drain(array, count, &self.stop, |bytes| {
            let count = file.write_at(bytes, at)?;
            at = at.saturating_add(count as u64);
            Ok(count)
        })?;
        sync_if_asked(file, descriptor.flags)?;
        Ok(self.guest.write_u32(result, done)?)
    }

    pub(crate) fn fd_read(&mut self, fd: u32, array: u32, count: u32, result: u32) -> Outcome {
        self.guest.check(result, 4)?;
        let descriptor = self.ctx.table.get_mut(fd)?;
        let done = match &mut descriptor.kind {
            Kind::Input(stream) => {
                if !descriptor.rights.contains(Rights::FD_READ) {
                    return Err(Errno::Notcapable.into());
                }
                // What is there is passed on; for more nobody waits.
                let mut is_first = true;
                let mut interrupted = None;
                let done = self.guest.fill(array, count, &self.stop, |bytes| {
                    match core::mem::replace(&mut is_first, false) {
                        true => {
                            interrupted =
                                self.stop.wait_within(|timeout| stream.wait_readable(timeout)).err();
                            if interrupted.is_some() { Ok(0) } else { Ok(stream.read(bytes)?) }
                        }
                        false => Ok(0),
                    }
                })?;
                if let Some(failure) = interrupted {
                    return Err(failure);
                }
                done
            }
            Kind::File { file, position } => {
                if !descriptor.rights.contains(Rights::FD_READ) {
                    return Err(Errno::Notcapable.into());
                }
                self.guest.fill(array, count, &self.stop, |bytes| {
                    let count = file.read_at(bytes, *position)?;
                    *position = position.saturating_add(count as u64);
                    Ok(count)
                })?
            }
            Kind::Dir { .. } => return Err(Errno::Isdir.into()),
            Kind::Output(_) => return Err(Errno::Badf.into()),
        };
        Ok(self.guest.write_u32(result, done)?)
    }

    pub(crate) fn fd_write(&mut self, fd: u32, array: u32, count: u32, result: u32) -> Outcome {
        self.guest.check(result, 4)?;
        let descriptor = self.ctx.table.get_mut(fd)?;
        let flags = descriptor.flags;
        let done = match &mut descriptor.kind {
            Kind::Output(stream) => {
                if !descriptor.rights.contains(Rights::FD_WRITE) {
                    return Err(Errno::Notcapable.into());
                }
                let mut interrupted = None;
                let stop = &self.stop;
                let done = self.guest.drain(array, count, stop, |bytes| {
                    write_all(&**stream, bytes, || {
                        interrupted = stop.wait_within(|timeout| stream.wait_writable(timeout)).err();
                        interrupted.is_none()
                    })
                })?;
                if let Some(failure) = interrupted {
                    return Err(failure);
                }
                done
            }
            Kind::File { file, position } => {
                if !descriptor.rights.contains(Rights::FD_WRITE) {
                    return Err(Errno::Notcapable.into());
                }
                let append = flags.contains(FdFlags::APPEND);
                let done = self.guest.drain(array, count, &self.stop, |bytes| {
                    if append {
                        let (count, end) = file.append(bytes)?;
                        *position = end;
                        return Ok(count);
                    }
                    let count = file.write_at(bytes, *position)?;
                    *position = position.saturating_add(count as u64);
                    Ok(count)
                })?;
                sync_if_asked(file, flags)?;
                done
            }
            Kind::Dir { .. } => return Err(Errno::Isdir.into()),
            Kind::Input(_) => return Err(Errno::Badf.into()),
        };
        Ok(self.guest.write_u32(result, done)?)
    }

    pub(crate) fn fd_prestat_get(&mut self, fd: u32, result: u32) -> Outcome {
        let Kind::Dir { preopen: Some(path), .. } = &self.ctx.table.get(fd)?.kind else {
            return Err(Errno::Badf.into());
        };
        let len = u32::try_from(path.len()).map_err(|_| Errno::Overflow)?;
        let mut bytes = [0; 8];
        bytes[0] = PRESTAT_DIR;
        bytes[4..].copy_from_slice(&len.to_le_bytes());
        Ok(self.guest.write(result, &bytes)?)
    }

    pub(crate) fn fd_prestat_dir_name(&mut self, fd: u32, path: u32, len: u32) -> Outcome {
        let Kind::Dir { preopen: Some(name), .. } = &self.ctx.table.get(fd)?.kind else {
            return Err(Errno::Badf.into());
        };
        if name.len() > len as usize {
            return Err(Errno::Nametoolong.into());
        }
        Ok(self.guest.write(path, name.as_bytes())?)
    }

    pub(crate) fn fd_readdir(&mut self, fd: u32, buffer: u32, len: u32, cookie: u64, result: u32) -> Outcome {
        self.guest.check(result, 4)?;
        self.guest.check(buffer, u64::from(len))?;
        let (dir, descriptor) = self.ctx.table.dir(fd, Rights::FD_READDIR)?;
        let own = dir.stat()?.inode;
        // Whoever begins anew sees what is there now; who goes on, what was there when they began.
        if cookie == 0 || matches!(descriptor.kind, Kind::Dir { listing: None, .. }) {
            let entries = dir.entries(&|| self.stop.look())?;
            self.ctx.table.make_room_for_listing(entries.len());
            if let Kind::Dir { listing, .. } = &mut self.ctx.table.get_mut(fd)?.kind {
                *listing = Some(entries);
            }
        }
        let Kind::Dir { listing: kept, .. } = &mut self.ctx.table.get_mut(fd)?.kind else {
            return Err(Errno::Notdir.into());
        };
        let listing = kept.as_deref().unwrap_or_default();
        let entry_at = |index: u64| -> Option<(&str, u64, FileType)> {
            if let Some(index) = index.checked_sub(DOTS) {
                let DirEntry { name, inode, file_type } = listing.get(usize::try_from(index).ok()?)?;
                return Some((name, *inode, *file_type));
            }
            // Of what is above it nothing is to be known.
            Some((if index == 0 { "." } else { ".." }, own, FileType::Directory))
        };
        let mut used: u32 = 0;
        let mut since_look = 0;
        let mut index = cookie;
        // An entry that does not fit is cut off: so the guest knows that there is more.
        while used < len
            && let Some((name, inode, file_type)) = entry_at(index)
        {
            since_look += 1;
            if since_look == ENTRIES_PIECE {
                since_look = 0;
                self.stop.look()?;
            }
            index += 1;
            let head = dirent(index, inode, name.len() as u32, file_type);
            for bytes in [&head[..], name.as_bytes()] {
                if used == len {
                    break;
                }
                let count = bytes.len().min((len - used) as usize);
                // In the buffer, which is in the memory.
                self.guest.write(buffer + used, &bytes[..count])?;
                used += count as u32;
            }
        }
        if used < len {
            *kept = None;
        }
        Ok(self.guest.write_u32(result, used)?)
    }

    pub(crate) fn fd_renumber(&mut self, from: u32, to: u32) -> Outcome {
        Ok(self.ctx.table.renumber(from, to)?)
    }

    pub(crate) fn fd_seek(&mut self, fd: u32, offset: i64, whence: u32, result: u32) -> Outcome {
        self.guest.check(result, 8)?;
        let descriptor = self.ctx.table.get_mut(fd)?;
        let whence = match (self.edition, whence) {
            (Edition::Unstable, 0) => WHENCE_CUR,
            (Edition::Unstable, 1) => WHENCE_END,
            (Edition::Unstable, 2) => WHENCE_SET,
            (_, whence) => whence,
        };
        let tells = whence == WHENCE_CUR && offset == 0;
        let rights = if tells { Rights::FD_TELL } else { Rights::FD_SEEK };
        file_of(descriptor, rights)?;
        let Kind::File { file, position } = &mut descriptor.kind else { unreachable!("it was checked") };
        let from = match whence {
            WHENCE_SET => 0,
            WHENCE_CUR => *position,
            WHENCE_END => file.stat()?.size,
            _ => return Err(Errno::Inval.into()),
        };
        let new =
            from.checked_add_signed(offset).filter(|new| *new <= i64::MAX as u64).ok_or(Errno::Inval)?;
        *position = new;
        Ok(self.guest.write_u64(result, new)?)
    }

    pub(crate) fn fd_tell(&mut self, fd: u32, result: u32) -> Outcome {
        let descriptor = self.ctx.table.get(fd)?;
        file_of(descriptor, Rights::FD_TELL)?;
        let Kind::File { position, .. } = descriptor.kind else { unreachable!("it was checked") };
        Ok(self.guest.write_u64(result, position)?)
    }
}
