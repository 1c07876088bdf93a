//! What is asked of the host: one request at a time.
//!
//! A *fid* is a number by which the host knows a file that this side holds. One that is not needed any more is given back with the next request.

use crate::message::{NOT_UNDERSTOOD, Qid, Reader, Writer, request};
use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;
use fs_node::{FsError, Times};
use io::IoError;
use spin::Mutex;

/// What carries requests to the host and answers back.
pub trait Transport: Send {
    /// The most bytes that a request may have, and an answer.
    fn capacity(&self) -> usize;

    /// Where the request is to be written; its first `request_len` bytes are then given to [`exchange`](Self::exchange).
    fn request(&mut self) -> &mut [u8];

    /// Sends the request and waits for the answer, which is returned, with whatever follows it in the buffer.
    ///
    /// # Errors
    /// The host does not answer.
    fn exchange(&mut self, request_len: usize) -> Result<&[u8], IoError>;
}

const VERSION: &str = "9P2000.L";
/// No fid, and no user's number.
const NO_FID: u32 = u32::MAX;
const NO_USER: u32 = u32::MAX;

/// Bytes of a write's request before the data, and of a read's answer.
const WRITE_HEAD: usize = 23;
const READ_HEAD: usize = 11;

/// What is asked of the attributes: the type and mode, the length and the times.
const BASIC_ATTRIBUTES: u64 = 0x7FF;
/// Which attributes are set.
const SET_SIZE: u32 = 0x8;
const SET_ATIME: u32 = 0x10 | 0x80;
const SET_MTIME: u32 = 0x20 | 0x100;

/// Flags of files that are opened, as Linux has them.
pub(crate) const READ_ONLY: u32 = 0;
pub(crate) const READ_WRITE: u32 = 2;
const CREATE_NEW: u32 = 0o300;
const DIRECTORY: u32 = 0o200000;
/// What is removed is a directory.
const REMOVE_DIR: u32 = 0x200;

/// What new files and directories may be used for, by the host's user and everybody else.
const FILE_MODE: u32 = 0o644;
const DIR_MODE: u32 = 0o755;

/// What is known about a file.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Attributes {
    pub(crate) size: u64,
    pub(crate) mode: u32,
    pub(crate) accessed: Duration,
    pub(crate) modified: Duration,
    pub(crate) changed: Duration,
}

/// Fids that are not needed any more. Whoever drops one adds it, and takes no other lock.
pub(crate) type Returned = Arc<Mutex<Vec<u32>>>;

/// A fid, which is given back when this is dropped.
pub(crate) struct Fid {
    number: u32,
    returned: Returned,
}

impl Drop for Fid {
    fn drop(&mut self) {
        let mut returned = self.returned.lock();
        // Without memory the host keeps it: a file that stays open there.
        if returned.try_reserve(1).is_ok() {
            returned.push(self.number);
        }
    }
}

/// The connection to a host.
pub(crate) struct Client {
    transport: Box<dyn Transport>,
    /// The most bytes of a message that both sides agreed on.
    message_size: usize,
    next_fid: u32,
    pub(crate) returned: Returned,
}

impl Client {
    /// Agrees on the version.
    pub(crate) fn new(transport: Box<dyn Transport>) -> Result<Self, FsError> {
        let message_size = transport.capacity();
        let returned = Arc::new(Mutex::new(Vec::new()));
        let mut client = Self { transport, message_size, next_fid: 0, returned };
        let wanted = message_size as u32;
        let (size, version) = client.ask(
            request::VERSION,
            |writer| writer.u32(wanted).text(VERSION),
            |answer| Ok((answer.u32()?, answer.text()?)),
        )?;
        if version.as_deref() != Some(VERSION) {
            return Err(IoError::Other("the host does not speak 9P2000.L").into());
        }
        client.message_size = message_size.min(size as usize);
        if client.message_size < 4096 {
            return Err(NOT_UNDERSTOOD.into());
        }
        Ok(client)
    }

    fn ask<R>(
        &mut self,
        kind: u8,
        write: impl FnOnce(Writer<'_>) -> Writer<'_>,
        read: impl FnOnce(&mut Reader<'_>) -> Result<R, IoError>,
    ) -> Result<R, FsError> {
        if kind != request::CLUNK {
            self.give_back();
        }
        let len = write(Writer::new(self.transport.request(), kind)).finish()?;
        let answer = self.transport.exchange(len)?;
        Ok(read(&mut Reader::new(answer, kind)?)?)
    }

    fn give_back(&mut self) {
        loop {
            let Some(fid) = self.returned.lock().pop() else { return };
            // The host forgets it whatever it answers.
            let _ = self.ask(request::CLUNK, |writer| writer.u32(fid), |_| Ok(()));
        }
    }

    fn new_fid(&mut self) -> Result<u32, FsError> {
        let number = self.next_fid;
        self.next_fid = number.checked_add(1).filter(|next| *next != NO_FID).ok_or(IoError::OutOfMemory)?;
        Ok(number)
    }

    fn fid(&self, number: u32) -> Fid {
        Fid { number, returned: self.returned.clone() }
    }

    /// The shared folder.
    pub(crate) fn attach(&mut self) -> Result<(Fid, Qid), FsError> {
        let number = self.new_fid()?;
        let qid = self.ask(
            request::ATTACH,
            |writer| writer.u32(number).u32(NO_FID).text("").text("").u32(NO_USER),
            |answer| answer.qid(),
        )?;
        Ok((self.fid(number), qid))
    }

    /// A file in a directory.
    pub(crate) fn walk(&mut self, from: &Fid, name: &str) -> Result<(Fid, Qid), FsError> {
        let number = self.new_fid()?;
        let (count, qid) = self.ask(
            request::WALK,
            |writer| writer.u32(from.number).u32(number).u16(1).text(name),
            |answer| Ok((answer.u16()?, answer.qid())),
        )?;
        if count != 1 {
            return Err(FsError::NotFound);
        }
        Ok((self.fid(number), qid?))
    }

    /// Another fid for the same file.
    pub(crate) fn duplicate(&mut self, fid: &Fid) -> Result<Fid, FsError> {
        let number = self.new_fid()?;
        self.ask(request::WALK, |writer| writer.u32(fid.number).u32(number).u16(0), |_| Ok(()))?;
        Ok(self.fid(number))
    }

    /// Opens a file: from then on the fid can be read or written.
    pub(crate) fn open(&mut self, fid: &Fid, flags: u32) -> Result<(), FsError> {
        self.ask(request::LOPEN, |writer| writer.u32(fid.number).u32(flags), |_| Ok(()))
    }

    /// Makes a file that must not be there.
    pub(crate) fn create(&mut self, directory: &Fid, name: &str) -> Result<(), FsError> {
        // It becomes the new file, opened.
        let fid = self.duplicate(directory)?;
        let flags = CREATE_NEW | READ_WRITE;
        self.ask(
            request::LCREATE,
            |writer| writer.u32(fid.number).text(name).u32(flags).u32(FILE_MODE).u32(0),
            |_| Ok(()),
        )
    }

    pub(crate) fn make_directory(&mut self, directory: &Fid, name: &str) -> Result<(), FsError> {
        self.ask(
            request::MKDIR,
            |writer| writer.u32(directory.number).text(name).u32(DIR_MODE).u32(0),
            |_| Ok(()),
        )
    }

    pub(crate) fn make_link(&mut self, directory: &Fid, name: &str, target: &str) -> Result<(), FsError> {
        self.ask(
            request::SYMLINK,
            |writer| writer.u32(directory.number).text(name).text(target).u32(0),
            |_| Ok(()),
        )
    }

    pub(crate) fn read_link(&mut self, fid: &Fid) -> Result<String, FsError> {
        let target = self.ask(request::READLINK, |writer| writer.u32(fid.number), |answer| answer.text())?;
        target.ok_or(NOT_UNDERSTOOD.into())
    }

    pub(crate) fn rename(&mut self, from: &Fid, name: &str, to: &Fid, new_name: &str) -> Result<(), FsError> {
        self.ask(
            request::RENAMEAT,
            |writer| writer.u32(from.number).text(name).u32(to.number).text(new_name),
            |_| Ok(()),
        )
    }

    pub(crate) fn remove(&mut self, directory: &Fid, name: &str, is_dir: bool) -> Result<(), FsError> {
        let flags = if is_dir { REMOVE_DIR } else { 0 };
        self.ask(request::UNLINKAT, |writer| writer.u32(directory.number).text(name).u32(flags), |_| Ok(()))
    }

    pub(crate) fn attributes(&mut self, fid: &Fid) -> Result<Attributes, FsError> {
        self.ask(
            request::GETATTR,
            |writer| writer.u32(fid.number).u64(BASIC_ATTRIBUTES),
            |answer| {
                let (_valid, _qid, mode) = (answer.u64()?, answer.qid()?, answer.u32()?);
                // Owner, group, links, device.
                answer.bytes(4 + 4 + 8 + 8)?;
                let size = answer.u64()?;
                answer.bytes(8 + 8)?;
                let mut time = || {
                    let (seconds, nanos) = (answer.u64()?, answer.u64()?);
                    // Before 1970 is 1970 here.
                    let seconds = i64::try_from(seconds).unwrap_or(0).max(0) as u64;
                    Ok::<_, IoError>(Duration::new(seconds, (nanos % 1_000_000_000) as u32))
                };
                Ok(Attributes { size, mode, accessed: time()?, modified: time()?, changed: time()? })
            },
        )
    }

    fn set(&mut self, fid: &Fid, which: u32, size: u64, times: Times) -> Result<(), FsError> {
        let [accessed, modified] = [times.accessed, times.modified].map(Option::unwrap_or_default);
        self.ask(
            request::SETATTR,
            |writer| {
                let writer = writer.u32(fid.number).u32(which).u32(0).u32(0).u32(0).u64(size);
                [accessed, modified].iter().fold(writer, |writer, time| {
                    writer.u64(time.as_secs()).u64(u64::from(time.subsec_nanos()))
                })
            },
            |_| Ok(()),
        )
    }

    pub(crate) fn set_times(&mut self, fid: &Fid, times: Times) -> Result<(), FsError> {
        let which = times.accessed.map_or(0, |_| SET_ATIME) | times.modified.map_or(0, |_| SET_MTIME);
        if which == 0 { Ok(()) } else { self.set(fid, which, 0, times) }
    }

    pub(crate) fn set_size(&mut self, fid: &Fid, size: u64) -> Result<(), FsError> {
        self.set(fid, SET_SIZE, size, Times::default())
    }

    /// Has the host write what it has of the file to its disk.
    pub(crate) fn sync(&mut self, fid: &Fid) -> Result<(), FsError> {
        self.ask(request::FSYNC, |writer| writer.u32(fid.number).u32(0), |_| Ok(()))
    }

    /// Reads from an opened file; less than `buffer` holds only at the end.
    pub(crate) fn read(&mut self, fid: &Fid, buffer: &mut [u8], offset: u64) -> Result<usize, FsError> {
        let most = self.message_size - READ_HEAD;
        let mut done = 0;
        while done < buffer.len() {
            let wanted = most.min(buffer.len() - done);
            let piece = &mut buffer[done..done + wanted];
            let at = offset + done as u64;
            let count = self.ask(
                request::READ,
                |writer| writer.u32(fid.number).u64(at).u32(wanted as u32),
                |answer| {
                    let count = answer.u32()? as usize;
                    piece.get_mut(..count).ok_or(NOT_UNDERSTOOD)?.copy_from_slice(answer.bytes(count)?);
                    Ok(count)
                },
            )?;
            if count == 0 {
                break;
            }
            done += count;
        }
        Ok(done)
    }

    /// Writes to an opened file; returns how much was written, which is less if the host then reported an error.
    pub(crate) fn write(&mut self, fid: &Fid, bytes: &[u8], offset: u64) -> Result<usize, FsError> {
        let most = self.message_size - WRITE_HEAD;
        let mut done = 0;
        while done < bytes.len() {
            let piece = &bytes[done..bytes.len().min(done + most)];
            let at = offset + done as u64;
            let written = self.ask(
                request::WRITE,
                |writer| writer.u32(fid.number).u64(at).u32(piece.len() as u32).bytes(piece),
                |answer| answer.u32(),
            );
            match written {
                Ok(0) => return Err(NOT_UNDERSTOOD.into()),
                Ok(count) if count as usize <= piece.len() => done += count as usize,
                Ok(_) => return Err(NOT_UNDERSTOOD.into()),
                Err(error) if done == 0 => return Err(error),
                Err(_) => break,
            }
        }
        Ok(done)
    }

    /// The names in a directory, without `.` and `..` and those that are not UTF-8.
    pub(crate) fn names(&mut self, directory: &Fid) -> Result<Vec<String>, FsError> {
        let fid = self.duplicate(directory)?;
        self.open(&fid, READ_ONLY | DIRECTORY)?;
        let count = (self.message_size - READ_HEAD) as u32;
        let (mut names, mut offset) = (Vec::new(), 0);
        loop {
            let before = offset;
            let is_end = self.ask(
                request::READDIR,
                |writer| writer.u32(fid.number).u64(before).u32(count),
                |answer| {
                    let len = answer.u32()? as usize;
                    let mut entries = Reader::of(answer.bytes(len)?);
                    while !entries.is_at_end() {
                        let _qid = entries.qid()?;
                        offset = entries.u64()?;
                        let _kind = entries.u8()?;
                        let name = entries.text()?.filter(|name| fs_node::check_name(name).is_ok());
                        names.try_reserve(1).map_err(|_| IoError::OutOfMemory)?;
                        names.extend(name);
                    }
                    Ok(len == 0)
                },
            )?;
            if is_end {
                return Ok(names);
            }
            // A host that goes round in circles.
            if offset == before {
                return Err(NOT_UNDERSTOOD.into());
            }
        }
    }
}
