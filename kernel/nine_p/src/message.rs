//! Messages: numbers in little-endian order, and text after its length.

use alloc::string::String;
use alloc::vec::Vec;
use fs_node::FsError;
use io::IoError;

/// Bytes before what a message says: its length, type and tag.
pub(crate) const HEAD: usize = 7;

/// The types of requests. An answer has the next number, or is [`ERROR`].
pub(crate) mod request {
    pub(crate) const LOPEN: u8 = 12;
    pub(crate) const LCREATE: u8 = 14;
    pub(crate) const SYMLINK: u8 = 16;
    pub(crate) const READLINK: u8 = 22;
    pub(crate) const GETATTR: u8 = 24;
    pub(crate) const SETATTR: u8 = 26;
    pub(crate) const READDIR: u8 = 40;
    pub(crate) const FSYNC: u8 = 50;
    pub(crate) const MKDIR: u8 = 72;
    pub(crate) const RENAMEAT: u8 = 74;
    pub(crate) const UNLINKAT: u8 = 76;
    pub(crate) const VERSION: u8 = 100;
    pub(crate) const ATTACH: u8 = 104;
    pub(crate) const WALK: u8 = 110;
    pub(crate) const READ: u8 = 116;
    pub(crate) const WRITE: u8 = 118;
    pub(crate) const CLUNK: u8 = 120;
}

/// The answer that says why a request failed.
pub(crate) const ERROR: u8 = 7;
/// The tag of the request that comes first of all, and of the others: there is one at a time.
const NO_TAG: u16 = 0xFFFF;
const TAG: u16 = 0;

/// The host does not keep to the protocol.
pub(crate) const NOT_UNDERSTOOD: IoError = IoError::Other("the host's answer makes no sense");
const TOO_LONG: IoError = IoError::InvalidInput;

/// Writes a request.
pub(crate) struct Writer<'b> {
    buffer: &'b mut [u8],
    len: usize,
    too_long: bool,
}

impl<'b> Writer<'b> {
    pub(crate) fn new(buffer: &'b mut [u8], kind: u8) -> Self {
        let tag = if kind == request::VERSION { NO_TAG } else { TAG };
        // The length comes last, when it is known.
        Self { buffer, len: 0, too_long: false }.u32(0).u8(kind).u16(tag)
    }

    pub(crate) fn bytes(mut self, bytes: &[u8]) -> Self {
        match self.buffer.get_mut(self.len..self.len + bytes.len()) {
            Some(place) => place.copy_from_slice(bytes),
            None => self.too_long = true,
        }
        self.len += bytes.len();
        self
    }

    pub(crate) fn u8(self, value: u8) -> Self {
        self.bytes(&[value])
    }

    pub(crate) fn u16(self, value: u16) -> Self {
        self.bytes(&value.to_le_bytes())
    }

    pub(crate) fn u32(self, value: u32) -> Self {
        self.bytes(&value.to_le_bytes())
    }

    pub(crate) fn u64(self, value: u64) -> Self {
        self.bytes(&value.to_le_bytes())
    }

    pub(crate) fn text(mut self, text: &str) -> Self {
        self.too_long |= text.len() > usize::from(u16::MAX);
        self.u16(text.len() as u16).bytes(text.as_bytes())
    }

    /// The length of the whole message.
    pub(crate) fn finish(self) -> Result<usize, IoError> {
        let len = self.len;
        if self.too_long {
            return Err(TOO_LONG);
        }
        self.buffer[..4].copy_from_slice(&(len as u32).to_le_bytes());
        Ok(len)
    }
}

/// Reads an answer.
pub(crate) struct Reader<'b> {
    rest: &'b [u8],
}

impl<'b> Reader<'b> {
    /// What the answer to a request of this type says; `answer` may be longer than it.
    ///
    /// # Errors
    /// What the host says went wrong, or that it is not understood.
    pub(crate) fn new(answer: &'b [u8], kind: u8) -> Result<Self, FsError> {
        let mut head = Reader { rest: answer };
        let len = head.u32()? as usize;
        let (found, _tag) = (head.u8()?, head.u16()?);
        let mut body = Reader { rest: answer.get(HEAD..len).ok_or(NOT_UNDERSTOOD)? };
        if found == ERROR {
            return Err(error(body.u32()?));
        }
        if found == kind + 1 { Ok(body) } else { Err(NOT_UNDERSTOOD.into()) }
    }

    /// Reads what is in a message.
    pub(crate) fn of(bytes: &'b [u8]) -> Self {
        Reader { rest: bytes }
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Result<&'b [u8], IoError> {
        let (bytes, rest) = self.rest.split_at_checked(count).ok_or(NOT_UNDERSTOOD)?;
        self.rest = rest;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], IoError> {
        self.bytes(N)?.try_into().map_err(|_| NOT_UNDERSTOOD)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, IoError> {
        Ok(self.array::<1>()?[0])
    }

    pub(crate) fn u16(&mut self) -> Result<u16, IoError> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, IoError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, IoError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// Text; `None` if it is not UTF-8.
    pub(crate) fn text(&mut self) -> Result<Option<String>, IoError> {
        let len = usize::from(self.u16()?);
        let bytes = Vec::from(self.bytes(len)?);
        Ok(String::from_utf8(bytes).ok())
    }

    pub(crate) fn qid(&mut self) -> Result<Qid, IoError> {
        let kind = self.u8()?;
        let _version = self.u32()?;
        Ok(Qid { kind, path: self.u64()? })
    }

    pub(crate) fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }
}

/// What the host calls a file: what kind it is, and a number that no other file has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Qid {
    pub(crate) kind: u8,
    pub(crate) path: u64,
}

impl Qid {
    pub(crate) fn is_dir(self) -> bool {
        self.kind & 0x80 != 0
    }

    pub(crate) fn is_link(self) -> bool {
        self.kind & 0x02 != 0
    }
}

/// What an error number of Linux means here.
fn error(number: u32) -> FsError {
    match number {
        1 | 13 => IoError::Other("the host does not allow that").into(),
        2 => FsError::NotFound,
        12 => IoError::OutOfMemory.into(),
        16 => FsError::InUse,
        17 => FsError::AlreadyExists,
        18 => FsError::OtherFileSystem,
        20 => FsError::NotADirectory,
        21 => FsError::IsADirectory,
        22 => IoError::InvalidInput.into(),
        27 => IoError::TooLarge.into(),
        28 | 122 => IoError::NoSpace.into(),
        30 => IoError::ReadOnly.into(),
        36 => FsError::NameTooLong,
        39 => FsError::NotEmpty,
        40 => FsError::TooManyLinks,
        95 => FsError::Unsupported,
        _ => IoError::Other("the host reports an error").into(),
    }
}

/// The part of an error that reading and writing can have.
pub(crate) fn io_error(error: FsError) -> IoError {
    match error {
        FsError::Io(error) => error,
        other => IoError::Other(other.as_str()),
    }
}
