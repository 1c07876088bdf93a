//! [`Archive`]: the cpio format "newc".
//!
//! Each entry is a header of 110 characters, the name with a final NUL, NULs up to a multiple of four, the data, and NULs up to a
//! multiple of four. The header is the magic `070701` and 13 numbers of eight hexadecimal digits each: inode, mode, uid,
//! gid, links, mtime, size of the data, four device numbers, size of the name with its NULs, checksum. An entry called
//! `TRAILER!!!` ends the archive.

use core::fmt;
use core::str;
use core::time::Duration;

const HEADER_LENGTH: usize = 110;
const MAGIC: &[u8] = b"070701";
const TRAILER: &str = "TRAILER!!!";

/// Numbers in the header, counted from zero.
const MODE: usize = 1;
const MTIME: usize = 5;
const FILE_SIZE: usize = 6;
const NAME_SIZE: usize = 11;

/// The bits of a mode that say what kind of node it is, and the two kinds that are supported (as in POSIX' `<sys/stat.h>`).
const KIND_MASK: usize = 0o170_000;
const KIND_DIRECTORY: usize = 0o040_000;
const KIND_FILE: usize = 0o100_000;

/// An archive in memory. Iterating yields its entries in order, and ends after the first error.
#[derive(Clone)]
pub struct Archive<'a> {
    bytes: &'a [u8],
    /// Where the next entry begins; `None` after the end or an error.
    next: Option<usize>,
}

/// File or directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// A file.
    File,
    /// A directory.
    Directory,
}

/// One entry of an [`Archive`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The path as it is written in the archive.
    pub name: &'a str,
    /// File or directory.
    pub kind: EntryKind,
    /// The file's content.
    pub data: &'a [u8],
    /// When the file last changed, since the Unix epoch.
    pub modified: Duration,
    /// Where the entry begins in the archive, in bytes.
    pub offset: usize,
}

/// What is wrong with an archive, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArchiveError {
    /// Where the faulty entry begins, in bytes from the start of the archive.
    pub offset: usize,
    /// What is wrong with it.
    pub kind: ArchiveErrorKind,
}

/// What is wrong with an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArchiveErrorKind {
    /// The magic number is another one, so this is no cpio archive in the format "newc", or a size was wrong before.
    BadMagic,
    /// A number in the header has a character that is no hexadecimal digit.
    BadNumber,
    /// The name isn't UTF-8.
    NameNotUtf8,
    /// The name is not a plain path: empty, or with a component `..`, or one that is too long.
    BadName,
    /// The name has been there before, or is below something that is a file.
    NameTaken,
    /// The entry is a link or a device.
    UnsupportedKind,
    /// The entry goes on behind the end of the archive.
    CutOff,
    /// There is no final entry, so something is missing at the end.
    NoTrailer,
}

impl fmt::Display for ArchiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cause = match self.kind {
            ArchiveErrorKind::BadMagic => "no entry of a cpio archive in the format \"newc\"",
            ArchiveErrorKind::BadNumber => "the header has a number that is not hexadecimal",
            ArchiveErrorKind::NameNotUtf8 => "the file's name is not UTF-8",
            ArchiveErrorKind::BadName => {
                "the file's name is empty, has a '..', or a part longer than 255 bytes"
            }
            ArchiveErrorKind::NameTaken => "the name is taken by another file or directory",
            ArchiveErrorKind::UnsupportedKind => "neither a file nor a directory",
            ArchiveErrorKind::CutOff => "the entry is cut off by the end of the archive",
            ArchiveErrorKind::NoTrailer => "the archive ends without its last entry",
        };
        write!(f, "boot archive, byte {:#x}: {cause}; build the image again", self.offset)
    }
}

impl core::error::Error for ArchiveError {}

impl<'a> Archive<'a> {
    /// Reads the archive that `bytes` begins with. What follows its end is ignored.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, next: Some(0) }
    }

    /// Reads the entry that begins at `offset`; returns it with the offset of the next one, or `None` for the trailer.
    fn read_entry(&self, offset: usize) -> Result<Option<(Entry<'a>, usize)>, ArchiveErrorKind> {
        let rest = self.bytes.get(offset..).unwrap_or(&[]);
        if rest.is_empty() {
            return Err(ArchiveErrorKind::NoTrailer);
        }
        if !rest.starts_with(&MAGIC[..MAGIC.len().min(rest.len())]) {
            return Err(ArchiveErrorKind::BadMagic);
        }
        let header = rest.get(..HEADER_LENGTH).ok_or(ArchiveErrorKind::CutOff)?;
        let number = |index: usize| {
            let start = MAGIC.len() + 8 * index;
            parse_hex(&header[start..start + 8]).ok_or(ArchiveErrorKind::BadNumber)
        };
        // Each number is below 2^32 and the archive fits into memory, so these sums don't overflow.
        let name_start = offset + HEADER_LENGTH;
        let name_end = name_start + number(NAME_SIZE)?;
        let data_start = name_end.next_multiple_of(4);
        let data_end = data_start + number(FILE_SIZE)?;

        let name = self.bytes.get(name_start..name_end).ok_or(ArchiveErrorKind::CutOff)?;
        let name = name.split(|byte| *byte == 0).next().unwrap_or(&[]);
        let name = str::from_utf8(name).map_err(|_| ArchiveErrorKind::NameNotUtf8)?;
        if name == TRAILER {
            return Ok(None);
        }
        let data = self.bytes.get(data_start..data_end).ok_or(ArchiveErrorKind::CutOff)?;
        let kind = match number(MODE)? & KIND_MASK {
            KIND_FILE => EntryKind::File,
            KIND_DIRECTORY => EntryKind::Directory,
            _ => return Err(ArchiveErrorKind::UnsupportedKind),
        };
        let modified = Duration::from_secs(number(MTIME)? as u64);
        Ok(Some((Entry { name, kind, data, modified, offset }, data_end.next_multiple_of(4))))
    }
}

impl<'a> Iterator for Archive<'a> {
    type Item = Result<Entry<'a>, ArchiveError>;

    fn next(&mut self) -> Option<Self::Item> {
        let offset = self.next.take()?;
        match self.read_entry(offset) {
            Ok(None) => None,
            Ok(Some((entry, next))) => {
                self.next = Some(next);
                Some(Ok(entry))
            }
            Err(kind) => Some(Err(ArchiveError { offset, kind })),
        }
    }
}

/// Reads hexadecimal digits of either case, at most eight.
fn parse_hex(digits: &[u8]) -> Option<usize> {
    digits.iter().try_fold(0, |value, digit| Some(value << 4 | char::from(*digit).to_digit(16)? as usize))
}
