//! [`MappedPages`]: ownership of a mapping.

use crate::mapper::{Mapper, checked};
use core::fmt;
use core::mem;
use core::ops::Deref;
use frame_allocator::AllocatedFrames;
use kernel_config::memory::PAGE_SIZE;
use memory_structs::{Frame, Page, PageRange};
use page_allocator::{AllocatedPages, allocate_pages};
use pte_flags::PteFlagsArch;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Ownership of a range of pages that are all mapped with the same flags.
///
/// *Holding one proves* that every byte of the range can be read (and written, if the flags say so) until it
/// is dropped, and that nobody else can unmap it or change its protection. Dropping it unmaps the pages and
/// gives pages and frames back. References into it borrow it, so that none outlives the mapping.
#[must_use = "what is mapped is unmapped when dropped"]
pub struct MappedPages {
    page_table_p4: Frame,
    pages: AllocatedPages,
    flags: PteFlagsArch,
}

impl MappedPages {
    /// The pages have just been mapped with these flags.
    pub(crate) fn new(page_table_p4: Frame, pages: AllocatedPages, flags: PteFlagsArch) -> Self {
        Self { page_table_p4, pages, flags }
    }

    /// No pages at all.
    pub const fn empty() -> Self {
        Self {
            page_table_p4: Frame::containing_address(memory_structs::PhysicalAddress::zero()),
            pages: AllocatedPages::empty(),
            flags: PteFlagsArch::new(),
        }
    }

    /// Makes a value anew that was given to [`core::mem::forget`], in the page tables in use.
    ///
    /// # Safety
    /// The pages were in one or more such values with these flags, all of them and nothing else, and no other
    /// value is made of them again.
    pub unsafe fn from_forgotten<F: Into<PteFlagsArch>>(pages: PageRange, flags: F) -> Self {
        // SAFETY: by this function's contract the forgotten values held the ownership of these pages.
        let pages = unsafe { AllocatedPages::from_forgotten(pages) };
        Self::new(crate::get_current_p4(), pages, flags.into().valid(true).exclusive(true))
    }

    /// The flags that all of the pages are mapped with.
    pub fn flags(&self) -> PteFlagsArch {
        self.flags
    }

    /// The pages and what they are mapped in, without unmapping them.
    pub(crate) fn into_parts(mut self) -> (Frame, AllocatedPages) {
        let pages = mem::replace(&mut self.pages, AllocatedPages::empty());
        // What is left of `self` is empty, so that its drop does nothing.
        (self.page_table_p4, pages)
    }

    /// Joins `mp` to this mapping, if they are adjacent (in either order) and have the same flags, or one is
    /// empty.
    ///
    /// # Errors
    /// Gives `mp` back, and changes nothing, if they are not.
    pub fn merge(&mut self, mut mp: MappedPages) -> Result<(), (&'static str, MappedPages)> {
        if mp.size_in_pages() == 0 {
            return Ok(());
        }
        if self.size_in_pages() == 0 {
            *self = mp;
            return Ok(());
        }
        if mp.page_table_p4 != self.page_table_p4 {
            return Err(("MappedPages::merge: the mappings are in different page tables", mp));
        }
        if mp.flags != self.flags {
            return Err(("MappedPages::merge: the mappings have different flags", mp));
        }
        let pages = mem::replace(&mut mp.pages, AllocatedPages::empty());
        match self.pages.merge(pages) {
            Ok(()) => Ok(()),
            Err(pages) => {
                mp.pages = pages;
                Err(("MappedPages::merge: the mappings are not adjacent", mp))
            }
        }
    }

    /// Cuts in two: what is below `at_page`, and the rest from `at_page` on. Either may be empty. Nothing is
    /// remapped.
    ///
    /// # Errors
    /// Gives the mapping back whole if `at_page` is neither within it nor right after it.
    pub fn split(self, at_page: Page) -> Result<(Self, Self), Self> {
        let flags = self.flags;
        let (p4, pages) = self.into_parts();
        match pages.split(at_page) {
            Ok((low, high)) => Ok((Self::new(p4, low, flags), Self::new(p4, high, flags))),
            Err(pages) => Err(Self::new(p4, pages, flags)),
        }
    }

    /// A new mapping with the same contents, with `new_flags` or else the same flags.
    ///
    /// # Errors
    /// If the flags are both writable and executable, or if there is not enough memory.
    pub fn deep_copy<F: Into<PteFlagsArch>>(
        &self,
        active_table_mapper: &mut Mapper,
        new_flags: Option<F>,
    ) -> Result<MappedPages, &'static str> {
        let flags = checked(new_flags.map_or(self.flags, Into::into), true)?;
        if self.size_in_pages() == 0 {
            return Ok(Self::empty());
        }
        let pages = allocate_pages(self.size_in_pages())
            .ok_or("out of virtual address space: cannot copy a mapping")?;
        let writable = PteFlagsArch::new().writable(true);
        let mut copy = active_table_mapper.map_allocated_pages(pages, writable)?;
        copy.as_slice_mut::<u8>(0, self.size_in_bytes())?
            .copy_from_slice(self.as_slice(0, self.size_in_bytes())?);
        copy.remap(active_table_mapper, flags)?;
        Ok(copy)
    }

    /// Changes the flags of the whole mapping. It stays valid and exclusive or not, whatever `new_flags` say
    /// of that.
    ///
    /// # Errors
    /// If the flags are both writable and executable. Then nothing changes.
    pub fn remap<F: Into<PteFlagsArch>>(
        &mut self,
        active_table_mapper: &mut Mapper,
        new_flags: F,
    ) -> Result<(), &'static str> {
        let new_flags = checked(new_flags.into(), self.flags.is_exclusive())?;
        if self.size_in_pages() == 0 || new_flags == self.flags {
            self.flags = new_flags;
            return Ok(());
        }
        if active_table_mapper.p4() != self.page_table_p4 {
            return Err("MappedPages::remap: the mapping is in another page table");
        }
        active_table_mapper.protect(self.start().number(), self.size_in_pages(), new_flags)?;
        self.flags = new_flags;
        Ok(())
    }

    /// Unmaps it and gives the pages to the caller, and the frames too, as far as they are adjacent from the
    /// first one on. Other frames are given back to the allocator.
    ///
    /// # Errors
    /// Gives the mapping back if it is in another page table.
    pub fn unmap_into_parts(
        self,
        active_table_mapper: &mut Mapper,
    ) -> Result<(AllocatedPages, Option<AllocatedFrames>), Self> {
        if self.size_in_pages() != 0 && active_table_mapper.p4() != self.page_table_p4 {
            return Err(self);
        }
        let (_, pages) = self.into_parts();
        let mut frames: Option<AllocatedFrames> = None;
        let collect = |more: AllocatedFrames| match &mut frames {
            None => frames = Some(more),
            // Those that are not adjacent are dropped, which gives them back.
            Some(frames) => drop(frames.merge(more)),
        };
        unmap_all(active_table_mapper, pages, collect)
            .map_or(Ok((AllocatedPages::empty(), None)), |pages| Ok((pages, frames)))
    }

    /// Where `len` values of type `T` at `byte_offset` are.
    fn checked_pointer<T>(&self, byte_offset: usize, len: usize) -> Result<*mut T, &'static str> {
        let size = len.checked_mul(size_of::<T>()).ok_or("MappedPages: size overflows")?;
        let end = byte_offset.checked_add(size).ok_or("MappedPages: offset overflows")?;
        if end > self.size_in_bytes() {
            return Err("MappedPages: offset and size go beyond the end of the mapping");
        }
        let address = self.start_address().value() + byte_offset;
        if !address.is_multiple_of(align_of::<T>()) || align_of::<T>() > PAGE_SIZE {
            return Err("MappedPages: the offset is not aligned for the type");
        }
        // Of an empty mapping only nothing can be had, and nothing is not at address 0.
        Ok(if address == 0 { core::ptr::dangling_mut() } else { address as *mut T })
    }

    fn checked_pointer_mut<T>(&self, byte_offset: usize, len: usize) -> Result<*mut T, &'static str> {
        if !self.flags.is_writable() {
            return Err("MappedPages: the mapping is not writable");
        }
        self.checked_pointer(byte_offset, len)
    }

    /// The bytes at `byte_offset` as a `T`.
    ///
    /// # Errors
    /// If that goes beyond the end or is not aligned for a `T`.
    pub fn as_type<T: FromBytes + Immutable>(&self, byte_offset: usize) -> Result<&T, &'static str> {
        let pointer = self.checked_pointer(byte_offset, 1)?;
        // SAFETY: the bytes are mapped for as long as `self` is borrowed, aligned, and any bytes are a valid
        // `T`. Nobody writes to them meanwhile: that takes `&mut self`, and `T` has no interior mutability.
        Ok(unsafe { &*pointer })
    }

    /// The bytes at `byte_offset` as a `T` that can be changed.
    ///
    /// # Errors
    /// If that goes beyond the end, is not aligned for a `T`, or if the mapping is not writable.
    pub fn as_type_mut<T: FromBytes + IntoBytes>(
        &mut self,
        byte_offset: usize,
    ) -> Result<&mut T, &'static str> {
        let pointer = self.checked_pointer_mut(byte_offset, 1)?;
        // SAFETY: as in `as_type`; `&mut self` makes the reference the only one, the mapping is writable, and
        // a `T` has no padding that would leave bytes undefined.
        Ok(unsafe { &mut *pointer })
    }

    /// The bytes at `byte_offset` as `length` values of type `T`.
    ///
    /// # Errors
    /// As for [`MappedPages::as_type`].
    pub fn as_slice<T: FromBytes + Immutable>(
        &self,
        byte_offset: usize,
        length: usize,
    ) -> Result<&[T], &'static str> {
        let pointer = self.checked_pointer(byte_offset, length)?;
        // SAFETY: as in `as_type`, for all `length` values.
        Ok(unsafe { core::slice::from_raw_parts(pointer, length) })
    }

    /// The bytes at `byte_offset` as `length` values of type `T` that can be changed.
    ///
    /// # Errors
    /// As for [`MappedPages::as_type_mut`].
    pub fn as_slice_mut<T: FromBytes + IntoBytes>(
        &mut self,
        byte_offset: usize,
        length: usize,
    ) -> Result<&mut [T], &'static str> {
        let pointer = self.checked_pointer_mut(byte_offset, length)?;
        // SAFETY: as in `as_type_mut`, for all `length` values.
        Ok(unsafe { core::slice::from_raw_parts_mut(pointer, length) })
    }
}

/// Unmaps all of `pages`, which are mapped by `mapper`'s tables, and hands frames that are nobody's now to
/// `f`.
///
/// Returns the pages, or `None` if a 2 MiB page that is only partly among them could not be split for want of
/// memory: then pages and frames stay in use for good, since giving back what may still be mapped is what
/// must never happen.
pub(crate) fn unmap_all(
    mapper: &mut Mapper,
    pages: AllocatedPages,
    f: impl FnMut(AllocatedFrames),
) -> Option<AllocatedPages> {
    match mapper.unmap(pages.start().number(), pages.size_in_pages(), &mut 0, f) {
        Ok(()) => Some(pages),
        Err(_) => {
            mem::forget(pages);
            None
        }
    }
}

impl Drop for MappedPages {
    fn drop(&mut self) {
        if self.size_in_pages() != 0 {
            let pages = mem::replace(&mut self.pages, AllocatedPages::empty());
            drop(unmap_all(&mut Mapper::of(self.page_table_p4), pages, drop));
        }
    }
}

impl Deref for MappedPages {
    type Target = AllocatedPages;
    fn deref(&self) -> &AllocatedPages {
        &self.pages
    }
}

impl fmt::Debug for MappedPages {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "MappedPages({:?}, {:?})", self.range() as &PageRange, self.flags)
    }
}
