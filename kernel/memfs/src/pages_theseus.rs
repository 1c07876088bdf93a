//! What the content of files is kept in: mapped pages.

use crate::growing::Pages;
use memory::{Claim, MappedPages, PAGE_SIZE, PteFlags, VirtualAddress};
use spin::Once;

/// Pages that files leave to programs beyond the reserve, which they leave as guests do: files outlive programs, and when they have
/// filled the memory, small guests should run all the same. (`wasm_run` takes 160 pages of stack, and its code.)
const KEPT: usize = 1024;

/// Whether there is enough memory for `size` more bytes of files.
pub fn may_take(size: usize) -> bool {
    let available = memory::with_claim(Claim::Guest, frame_allocator::available_frames);
    size.div_ceil(PAGE_SIZE).saturating_add(KEPT) <= available
}

/// Pages of a growing file.
pub type Backing = MappedPages;

impl Pages for MappedPages {
    fn allocate(size: usize) -> Option<Self> {
        if !may_take(size) {
            return None;
        }
        let flags = PteFlags::new().valid(true).writable(true);
        memory::with_claim(Claim::Guest, || memory::create_mapping(size, flags)).ok()
    }

    fn bytes(&self) -> &[u8] {
        // Can't fail: the slice is the whole mapping, and bytes are aligned everywhere.
        self.as_slice(0, self.size_in_bytes()).unwrap_or(&[])
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        // Can't fail, as above; and `allocate` made the mapping writable.
        let size = self.size_in_bytes();
        self.as_slice_mut(0, size).unwrap_or(&mut [])
    }

    fn shorten(self, size: usize) -> Self {
        let end = *self.start() + size / PAGE_SIZE;
        // Can't fail: the page is one of the mapping's. If it did, nothing would be given back.
        self.split(end).map_or_else(|whole| whole, |(low, _)| low)
    }
}

/// The content of a fixed file.
pub enum FixedContent {
    /// Bytes that are always there, and a mapping of the same frames, made when it is first asked for.
    Static(&'static [u8], Once<Result<MappedPages, &'static str>>),
    /// The first bytes, as many as the number says, of pages that the file owns. They are not writable.
    Owned(MappedPages, usize),
}

impl FixedContent {
    /// Shows bytes that are always there.
    pub fn from_static(bytes: &'static [u8]) -> Self {
        Self::Static(bytes, Once::new())
    }

    /// Shows the first `len` bytes of `pages`, which holds as many.
    pub fn from_pages(pages: MappedPages, len: usize) -> Self {
        Self::Owned(pages, len)
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Static(bytes, _) => bytes,
            Self::Owned(pages, len) => pages.as_slice(0, *len).unwrap_or(&[]),
        }
    }

    /// The bytes, if they are always there.
    pub fn static_bytes(&self) -> Option<&'static [u8]> {
        match self {
            Self::Static(bytes, _) => Some(bytes),
            Self::Owned(..) => None,
        }
    }

    /// The pages that hold the bytes. For bytes that are always there that is a mapping of its own, which takes no memory but for page
    /// tables.
    pub fn mapping(&self) -> Result<&MappedPages, &'static str> {
        match self {
            Self::Static(bytes, mapping) => mapping.call_once(|| map(bytes)).as_ref().map_err(|error| *error),
            Self::Owned(pages, _) => Ok(pages),
        }
    }
}

fn map(bytes: &'static [u8]) -> Result<MappedPages, &'static str> {
    if bytes.is_empty() {
        return Err("the file is empty, so there is nothing to map");
    }
    let start = bytes.as_ptr().addr();
    if !start.is_multiple_of(PAGE_SIZE) {
        return Err(
            "the file does not begin at a page boundary of the boot archive: build the image again, or use a copy in /tmp",
        );
    }
    let physical = VirtualAddress::new(start)
        .and_then(memory::translate)
        .ok_or("the file's memory is not mapped: this is a fault of the kernel")?;
    memory::map_frame_range(physical, bytes.len(), PteFlags::new().valid(true))
}
