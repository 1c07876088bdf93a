//! Where each section of an object goes.
//!
//! ```text
//!   text segment (R-X)   .text …
//!   rodata segment (R)   .rodata … .gcc_except_table  .tdata (initial image)  .eh_frame  00 00 00 00
//!   data segment (RW)    .data …  .bss …
//!   TLS block            .tdata …  .tbss …            (offsets in the block; the block's place is the initializer's choice)
//! ```
//! Each segment starts on a page, so no page is ever both writable and executable. The four zero bytes after `.eh_frame` end
//! it: the compiler leaves that to the linker, which is us.

use alloc::vec::Vec;
use core::fmt;

use crate::{SectionType, elf::ObjectFile};

/// Largest size in bytes of one segment of a crate: far above any crate, far below what could overflow anything.
pub const MAX_SEGMENT_SIZE: usize = 256 << 20;
/// Size in bytes of the zero word that ends `.eh_frame`.
const EH_FRAME_TERMINATOR_SIZE: usize = 4;

/// One of the parts of a loaded crate that are mapped with one protection each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Segment {
    /// Machine code: readable and executable.
    Text,
    /// Constants and tables: readable.
    Rodata,
    /// Variables: readable and writable.
    Data,
    /// Thread-local variables that begin as zeros: no memory but that of each task.
    TlsZeros,
}

/// A section that occupies memory, and where.
#[derive(Clone, Copy, Debug)]
pub struct PlacedSection {
    /// Index of the section in the object file.
    pub index: usize,
    /// What it is for.
    pub kind: SectionType,
    /// The segment its bytes are in.
    pub segment: Segment,
    /// Offset in bytes in that segment.
    pub offset: usize,
    /// Size in bytes.
    pub size: usize,
    /// For TLS sections, offset in bytes in the crate's TLS block.
    pub tls_offset: usize,
}

/// The one block of thread-local variables of a crate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TlsBlock {
    /// Where in the rodata segment the initial image begins.
    pub image_offset: usize,
    /// Size in bytes of the initial image; the rest of the block begins as zeros.
    pub image_size: usize,
    /// Size in bytes of the block.
    pub size: usize,
    /// Alignment of the block in bytes, a power of two.
    pub alignment: usize,
}

/// Why an object's sections cannot be placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayoutError {
    /// A segment would be larger than [`MAX_SEGMENT_SIZE`].
    TooLarge,
    /// There are two `.eh_frame` sections, of which only one could be used to unwind.
    TwoUnwindTables,
    /// Not enough memory to plan with.
    OutOfMemory,
}

impl fmt::Display for LayoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LayoutError::TooLarge => {
                write!(f, "a segment of the object is larger than {} MiB", MAX_SEGMENT_SIZE >> 20)
            }
            LayoutError::TwoUnwindTables => f.write_str("the object has more than one .eh_frame section"),
            LayoutError::OutOfMemory => f.write_str("not enough memory to load the object"),
        }
    }
}

impl core::error::Error for LayoutError {}

/// Where everything in an object goes.
#[derive(Clone, Debug, Default)]
pub struct Layout {
    sections: Vec<PlacedSection>,
    text_size: usize,
    rodata_size: usize,
    data_size: usize,
    tls: Option<TlsBlock>,
    eh_frame: Option<(usize, usize)>,
}

impl Layout {
    /// Places the sections of `object`.
    ///
    /// # Errors
    /// [`LayoutError`] if that is impossible.
    pub fn new(object: &ObjectFile<'_>) -> Result<Self, LayoutError> {
        let mut layout = Layout::default();
        layout.sections.try_reserve_exact(object.section_count()).map_err(|_| LayoutError::OutOfMemory)?;
        // Sections of zeros come last in the data segment and in the TLS block, `.eh_frame` last in the rodata segment.
        let passes: [&[SectionType]; 5] = [
            &[SectionType::Text, SectionType::Rodata, SectionType::GccExceptTable, SectionType::Data],
            &[SectionType::TlsData],
            &[SectionType::Bss],
            &[SectionType::TlsBss],
            &[SectionType::EhFrame],
        ];
        for kinds in passes {
            for (index, header) in object.sections() {
                let Some(kind) = object.section_type(&header).filter(|kind| kinds.contains(kind)) else {
                    continue;
                };
                let (Ok(size), Ok(alignment)) =
                    (usize::try_from(header.size), usize::try_from(header.alignment))
                else {
                    return Err(LayoutError::TooLarge);
                };
                layout.place(index, kind, size, alignment)?;
            }
        }
        Ok(layout)
    }

    fn place(
        &mut self,
        index: usize,
        kind: SectionType,
        size: usize,
        alignment: usize,
    ) -> Result<(), LayoutError> {
        let mut tls_offset = 0;
        if kind.is_tls() {
            let starts_block = self.tls.is_none();
            let tls = self.tls.get_or_insert_default();
            tls_offset = grow(&mut tls.size, size, alignment)?;
            tls.alignment = tls.alignment.max(alignment);
            if kind == SectionType::TlsData {
                if starts_block {
                    // The image is only ever copied from, so its own alignment does not matter: its sections keep the
                    // distances that they have in the block.
                    tls.image_offset = self.rodata_size;
                }
                tls.image_size = tls.size;
                let (image_offset, image_size) = (tls.image_offset, tls.image_size);
                self.rodata_size = image_offset + image_size;
                if self.rodata_size > MAX_SEGMENT_SIZE {
                    return Err(LayoutError::TooLarge);
                }
            }
        }
        let (segment, offset) = match kind {
            SectionType::Text => (Segment::Text, grow(&mut self.text_size, size, alignment)?),
            SectionType::Rodata | SectionType::GccExceptTable => {
                (Segment::Rodata, grow(&mut self.rodata_size, size, alignment)?)
            }
            SectionType::EhFrame => {
                let offset = grow(&mut self.rodata_size, size, alignment)?;
                if self.eh_frame.replace((offset, size)).is_some() {
                    return Err(LayoutError::TwoUnwindTables);
                }
                grow(&mut self.rodata_size, EH_FRAME_TERMINATOR_SIZE, 1)?;
                (Segment::Rodata, offset)
            }
            SectionType::Data | SectionType::Bss => {
                (Segment::Data, grow(&mut self.data_size, size, alignment)?)
            }
            SectionType::TlsData => {
                (Segment::Rodata, self.tls.map_or(0, |tls| tls.image_offset) + tls_offset)
            }
            SectionType::TlsBss => (Segment::TlsZeros, 0),
        };
        self.sections.push(PlacedSection { index, kind, segment, offset, size, tls_offset });
        Ok(())
    }

    /// The sections that occupy memory.
    pub fn sections(&self) -> &[PlacedSection] {
        &self.sections
    }

    /// Where section `index` of the object went; `None` if it occupies no memory.
    pub fn section(&self, index: usize) -> Option<&PlacedSection> {
        self.sections.iter().find(|section| section.index == index)
    }

    /// Size in bytes of the code.
    pub fn text_size(&self) -> usize {
        self.text_size
    }

    /// Size in bytes of constants and tables.
    pub fn rodata_size(&self) -> usize {
        self.rodata_size
    }

    /// Size in bytes of the variables.
    pub fn data_size(&self) -> usize {
        self.data_size
    }

    /// The crate's thread-local variables, if it has any.
    pub fn tls(&self) -> Option<TlsBlock> {
        self.tls.filter(|tls| tls.size != 0)
    }

    /// Offset in the rodata segment and size of `.eh_frame` without its terminator.
    pub fn eh_frame(&self) -> Option<(usize, usize)> {
        self.eh_frame.filter(|(_, size)| *size != 0)
    }

    /// Copies the sections' contents into the segments. What the file does not fill is left as it is: zeroed memory makes
    /// `.bss`, padding and the terminator of `.eh_frame`.
    ///
    /// # Panics
    /// If a segment is smaller than this layout says.
    pub fn copy_contents(
        &self,
        object: &ObjectFile<'_>,
        text: &mut [u8],
        rodata: &mut [u8],
        data: &mut [u8],
    ) {
        for section in &self.sections {
            let contents = object.section_data(section.index);
            let segment = match section.segment {
                Segment::Text => &mut *text,
                Segment::Rodata => &mut *rodata,
                Segment::Data => &mut *data,
                Segment::TlsZeros => continue,
            };
            segment[section.offset..][..contents.len()].copy_from_slice(contents);
        }
    }
}

/// Appends `size` bytes aligned to `alignment` to a region, and returns their offset.
fn grow(region: &mut usize, size: usize, alignment: usize) -> Result<usize, LayoutError> {
    let offset = region.checked_next_multiple_of(alignment).ok_or(LayoutError::TooLarge)?;
    let end = offset.checked_add(size).filter(|end| *end <= MAX_SEGMENT_SIZE).ok_or(LayoutError::TooLarge)?;
    *region = end;
    Ok(offset)
}
