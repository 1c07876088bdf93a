//! Reads `.eh_frame` sections, and makes the sorted table that a look-up by program counter needs.
//!
//! An `.eh_frame` section is a sequence of records, each beginning with its length: common information entries (CIE, what
//! several functions share) and frame description entries (FDE, one per function). A compiler's object file holds just
//! that sequence; the table over it, `.eh_frame_hdr`, is normally made by a linker. For crates that this kernel links
//! itself, [`build_eh_frame_hdr`] makes it:
//!
//! ```text
//! 0   version 1 | 0x04: absolute u64 | 0x03: u32 | 0x2b: i32 relative to text
//! 4   address of .eh_frame            u64
//! 12  number of entries               u32
//! 16  entries, sorted by start: (start of function - text start, FDE - text start), i32 each
//! ```
//!
//! Entries are relative to the text and not, as a linker makes them, to the table itself, so that the table may lie in
//! the heap, further than 2 GiB from the code. The format has a bit for that and readers of the format know it.

use alloc::vec::Vec;
use core::{fmt, ops::Range};

use crate::cfi::Cie;
use crate::reader::{
    PE_DATAREL, PE_INDIRECT, PE_OMIT, PE_SDATA4, PE_SDATA8, PE_TEXTREL, PE_UDATA4, PE_UDATA8, Reader,
};

/// Bytes before the first entry of a table made by [`build_eh_frame_hdr`].
const TABLE_START: usize = 16;
/// Bytes of an entry of such a table.
const ENTRY_SIZE: usize = 8;

/// What is wrong with unwind tables. Offsets count from the beginning of the section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EhFrameError {
    /// A record or number at `offset` goes beyond the end.
    Truncated {
        /// Where the section's end was met.
        offset: usize,
    },
    /// The number at `offset` does not fit into 64 bits.
    BadNumber {
        /// Where the number starts.
        offset: usize,
    },
    /// A kind of pointer that compilers for this kernel do not make.
    UnknownEncoding {
        /// Where the pointer is.
        offset: usize,
        /// Its `DW_EH_PE_*` encoding.
        encoding: u8,
    },
    /// A CIE of a version or with an augmentation that is not understood, or no CIE where an FDE says there is one.
    BadCie {
        /// Where the CIE starts (or ought to).
        offset: usize,
    },
    /// A program of call frame instructions that holds one which compilers for this kernel do not emit, or a number out of
    /// all proportion.
    BadProgram {
        /// Where the instruction is.
        offset: usize,
    },
    /// The function that an FDE describes is not within the text it was given with.
    OutsideText {
        /// Where the FDE starts.
        offset: usize,
    },
    /// Two FDEs describe the same code.
    OverlappingFunctions {
        /// First address that is described twice.
        address: usize,
    },
    /// Text and `.eh_frame` are more than 2 GiB apart.
    TooFarFromText,
    /// The `.eh_frame_hdr` is of a version or has encodings that cannot be searched.
    BadHeader,
    /// Not enough memory for the sorted table.
    OutOfMemory,
}

impl fmt::Display for EhFrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated { offset } => {
                write!(f, ".eh_frame ends in the middle of a record at {offset:#x}")
            }
            Self::BadNumber { offset } => {
                write!(f, ".eh_frame holds a number of more than 64 bits at {offset:#x}")
            }
            Self::UnknownEncoding { offset, encoding } => {
                write!(f, ".eh_frame holds a pointer of unsupported encoding {encoding:#04x} at {offset:#x}")
            }
            Self::BadCie { offset } => write!(f, ".eh_frame has no usable CIE at {offset:#x}"),
            Self::BadProgram { offset } => {
                write!(f, ".eh_frame holds a call frame instruction that is not understood at {offset:#x}")
            }
            Self::OutsideText { offset } => {
                write!(
                    f,
                    "the FDE at {offset:#x} of .eh_frame describes code outside of its text: not relocated?"
                )
            }
            Self::OverlappingFunctions { address } => {
                write!(f, "two FDEs of .eh_frame describe the code at {address:#x}: not relocated?")
            }
            Self::TooFarFromText => f.write_str(".eh_frame is more than 2 GiB away from its text"),
            Self::BadHeader => f.write_str(".eh_frame_hdr has no sorted table that can be searched"),
            Self::OutOfMemory => f.write_str("not enough memory for the sorted table of unwind information"),
        }
    }
}

impl core::error::Error for EhFrameError {}

/// One FDE: which code it describes and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fde {
    /// Offset of the record (of its length field) in the section.
    pub(crate) offset: usize,
    /// Addresses of the code.
    pub(crate) code: Range<usize>,
}

/// Header of a record: where its contents are.
struct Record {
    /// Offset of the length field.
    start: usize,
    /// Offset of the CIE pointer (or the zero of a CIE).
    id_position: usize,
    /// Its value.
    id: u32,
    /// Offset just after the record.
    end: usize,
}

/// Reads the header of the record that `reader` is at; `None` at a zero length or at the section's end.
fn read_record(reader: &mut Reader<'_>) -> Result<Option<Record>, EhFrameError> {
    if reader.remaining() == 0 {
        return Ok(None);
    }
    let start = reader.position();
    let length = reader.u32()?;
    if length == 0 {
        return Ok(None);
    }
    // 0xffff_ffff announces a 64-bit record, which no compiler makes below 4 GiB of tables: too long for the section.
    let id_position = reader.position();
    let end = id_position + length as usize;
    if (length as usize) < 4 || (length as usize) > reader.remaining() {
        return Err(EhFrameError::Truncated { offset: start });
    }
    Ok(Some(Record { start, id_position, id: reader.u32()?, end }))
}

/// Iterates over the FDEs of a section.
struct Fdes<'a> {
    section: Reader<'a>,
    reader: Reader<'a>,
    /// The CIEs seen last and their encodings. A section has one per personality, that is one or two per object file.
    cies: [(usize, u8); 4],
    next_cie: usize,
}

impl<'a> Fdes<'a> {
    fn new(section: Reader<'a>) -> Self {
        Self { section, reader: section, cies: [(usize::MAX, 0); 4], next_cie: 0 }
    }

    /// The next FDE; `None` at the terminator or the section's end.
    fn next(&mut self) -> Result<Option<Fde>, EhFrameError> {
        while let Some(record) = read_record(&mut self.reader)? {
            let body = self.reader.until(record.end)?;
            self.reader.seek(record.end)?;
            if record.id != 0 {
                return self.fde(record, body).map(Some);
            }
        }
        Ok(None)
    }

    fn fde(&mut self, record: Record, mut body: Reader<'a>) -> Result<Fde, EhFrameError> {
        // The pointer to the CIE counts backwards from itself.
        let cie = record
            .id_position
            .checked_sub(record.id as usize)
            .ok_or(EhFrameError::BadCie { offset: record.start })?;
        let encoding = match self.cies.iter().find(|(offset, _)| *offset == cie) {
            Some((_, encoding)) => *encoding,
            None => {
                let encoding = Cie::read(self.section, cie, 0)?.pointer_encoding;
                if encoding & PE_INDIRECT != 0 {
                    return Err(EhFrameError::UnknownEncoding { offset: record.start, encoding });
                }
                self.cies[self.next_cie] = (cie, encoding);
                self.next_cie = (self.next_cie + 1) % self.cies.len();
                encoding
            }
        };
        let start = body.encoded_pointer(encoding, 0, 0)?;
        let length = body.encoded_number(encoding)?;
        let end = start.checked_add(length).ok_or(EhFrameError::OutsideText { offset: record.start })?;
        Ok(Fde { offset: record.start, code: start..end })
    }
}

/// Makes the sorted table (see the module's documentation) of an `.eh_frame` section.
///
/// `eh_frame` holds the section's bytes, relocated for `eh_frame_address`; a terminating zero word is allowed, not
/// needed. FDEs of no length (functions that a linker dropped) get no entry. The table is only valid together with
/// `text.start` as the base of text-relative pointers.
///
/// # Errors
/// Whatever is malformed is reported and nothing outside of `eh_frame` is read; [`EhFrameError::OutOfMemory`] if there
/// is no room for the table.
pub fn build_eh_frame_hdr(
    text: Range<usize>,
    eh_frame_address: usize,
    eh_frame: &[u8],
) -> Result<Vec<u8>, EhFrameError> {
    /// As in the table, and the length, to detect overlaps.
    struct Entry {
        start: u32,
        end: u32,
        fde: i32,
    }

    if text.end - text.start > i32::MAX as usize {
        return Err(EhFrameError::TooFarFromText);
    }
    let mut entries: Vec<Entry> = Vec::new();
    let mut sorted = true;
    let mut fdes = Fdes::new(Reader::new(eh_frame, eh_frame_address));
    while let Some(Fde { offset, code }) = fdes.next()? {
        if code.is_empty() {
            continue;
        }
        if code.start < text.start || code.end > text.end {
            return Err(EhFrameError::OutsideText { offset });
        }
        let fde = eh_frame_address.wrapping_add(offset).wrapping_sub(text.start) as isize;
        let fde = i32::try_from(fde).map_err(|_| EhFrameError::TooFarFromText)?;
        let (start, end) = ((code.start - text.start) as u32, (code.end - text.start) as u32);
        sorted &= entries.last().is_none_or(|last| last.end <= start);
        entries.try_reserve(1).map_err(|_| EhFrameError::OutOfMemory)?;
        entries.push(Entry { start, end, fde });
    }
    if !sorted {
        entries.sort_unstable_by_key(|entry| entry.start);
        if let Some(pair) = entries.windows(2).find(|pair| pair[0].end > pair[1].start) {
            return Err(EhFrameError::OverlappingFunctions { address: text.start + pair[1].start as usize });
        }
    }

    let mut table = Vec::new();
    table
        .try_reserve_exact(TABLE_START + entries.len() * ENTRY_SIZE)
        .map_err(|_| EhFrameError::OutOfMemory)?;
    table.extend_from_slice(&[1, PE_UDATA8, PE_UDATA4, PE_TEXTREL | PE_SDATA4]);
    table.extend_from_slice(&(eh_frame_address as u64).to_le_bytes());
    table.extend_from_slice(&(entries.len() as u32).to_le_bytes());
    for entry in &entries {
        table.extend_from_slice(&entry.start.to_le_bytes());
        table.extend_from_slice(&entry.fde.to_le_bytes());
    }
    Ok(table)
}

/// An `.eh_frame_hdr`, ours or a linker's, ready to be searched.
#[derive(Clone, Copy)]
pub(crate) struct EhFrameHdr<'a> {
    /// At the first entry.
    entries: Reader<'a>,
    count: usize,
    encoding: u8,
    entry_size: usize,
    /// What the entries are relative to.
    base: usize,
    /// Address of the `.eh_frame` section.
    pub(crate) eh_frame: usize,
}

impl<'a> EhFrameHdr<'a> {
    /// Reads the header and checks that the table has entries of a fixed size that lie within `reader`.
    ///
    /// `reader` is at the beginning of the header, `text` the base of text-relative pointers.
    pub(crate) fn parse(mut reader: Reader<'a>, address: usize, text: usize) -> Result<Self, EhFrameError> {
        let [version, frame_encoding, count_encoding, encoding] =
            [reader.u8()?, reader.u8()?, reader.u8()?, reader.u8()?];
        if version != 1 || frame_encoding == PE_OMIT || count_encoding == PE_OMIT || encoding == PE_OMIT {
            return Err(EhFrameError::BadHeader);
        }
        if (frame_encoding | encoding) & PE_INDIRECT != 0 || count_encoding & 0xf0 != 0 {
            return Err(EhFrameError::BadHeader);
        }
        let eh_frame = reader.encoded_pointer(frame_encoding, text, address)?;
        let count = reader.encoded_number(count_encoding)?;
        let entry_size = match encoding & 0x0f {
            PE_UDATA4 | PE_SDATA4 => 8,
            PE_UDATA8 | PE_SDATA8 => 16,
            _ => return Err(EhFrameError::BadHeader),
        };
        let base = match encoding & 0xf0 {
            0 => 0,
            PE_TEXTREL => text,
            PE_DATAREL => address,
            _ => return Err(EhFrameError::BadHeader),
        };
        if count > reader.remaining() / entry_size {
            return Err(EhFrameError::Truncated { offset: reader.position() });
        }
        Ok(Self { entries: reader, count, encoding, entry_size, base, eh_frame })
    }

    /// The entry of number `index`: where the function starts and where its FDE is.
    pub(crate) fn entry(&self, index: usize) -> Result<(usize, usize), EhFrameError> {
        if index >= self.count {
            return Err(EhFrameError::BadHeader);
        }
        let mut reader = self.entries;
        reader.seek(self.entries.position() + index * self.entry_size)?;
        // Written out, since this is what a look-up spends its time with.
        let mut number = || match self.encoding & 0x0f {
            PE_SDATA4 => reader.u32().map(|number| number as i32 as usize),
            PE_UDATA4 => reader.u32().map(|number| number as usize),
            _ => reader.u64().map(|number| number as usize),
        };
        Ok((self.base.wrapping_add(number()?), self.base.wrapping_add(number()?)))
    }

    /// Address of the FDE of the last function that starts at or before `pc`. Whether it reaches up to `pc` is to be
    /// read in the FDE.
    pub(crate) fn find(&self, pc: usize) -> Option<usize> {
        let after = match self.encoding & 0x0f {
            // What linkers and `build_eh_frame_hdr` make. Written out, since this is what a look-up spends its time with.
            PE_SDATA4 => {
                let wanted = pc.wrapping_sub(self.base) as isize;
                // SAFETY: `parse` has checked that there are `count` entries of this size.
                self.partition_point(|index| unsafe { self.entries.i32_at(index * 8) } as isize <= wanted)
            }
            _ => self.partition_point(|index| self.entry(index).is_ok_and(|(start, _)| start <= pc)),
        };
        self.entry(after.checked_sub(1)?).ok().map(|(_, fde)| fde)
    }

    /// Number of entries, from the first on, of which `is_before` says so.
    #[inline]
    fn partition_point(&self, is_before: impl Fn(usize) -> bool) -> usize {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low + (high - low) / 2;
            if is_before(middle) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }
}

#[cfg(test)]
mod tests;
