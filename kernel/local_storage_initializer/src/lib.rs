//! Where thread-local variables lie, and the memory that each task has for them.
//!
//! Code reaches a thread-local variable at a constant offset from the thread pointer, the base of the `fs` segment
//! (`local-exec` model; the constant is written when a crate is linked). So each crate's variables have the same offset in
//! every task:
//!
//! ```text
//!            ┌ page-aligned                      thread pointer ┐
//!  TLS area  │   unused   │ base image's block (.tdata, .tbss)  │ self │ crate A │ crate B │ …  64 KiB reserved │
//!                         static, known at boot ◀───────────────┴──────▶ dynamic: first fit, freed on unload
//! ```
//! The base image's block ends at the thread pointer (TLS variant II of the x86-64 ABI); at the thread pointer lies its own
//! address; above it, sections of loaded crates.
//!
//! A [`TlsInitializer`] knows the layout *and every live area* ([`TlsDataImage`]). When a crate with thread-local variables
//! is loaded, its initial values are written into the areas of all tasks, the running ones included, before any of its code
//! can run. So a task that is already running may call into a crate that was loaded later. This is possible because an area
//! reserves the address space for all dynamic sections from the beginning and never moves; memory is committed as sections
//! come.
//!
//! # Invariants
//! - No two sections overlap; a section's offset does not change as long as its [`TlsSection`] lives.
//! - In every live area, all pages up to the end of the last section are committed.
//! - Writing into another task's area is no race: the bytes written belong to a section of which no code runs yet.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

mod area;
#[cfg(target_os = "theseus")]
mod kernel_memory;
#[cfg(test)]
mod tests;

use alloc::vec::Vec;
use core::fmt;

use area::Area;
use sync_irq::IrqSafeMutex;

pub use area::AreaMemory;
#[cfg(target_os = "theseus")]
pub use kernel_memory::KernelAreaMemory;

/// Bytes of a page, to which an area's memory is committed.
pub(crate) const PAGE_SIZE: usize = 4096;
/// Bytes that each area reserves at and above the thread pointer: room for the sections of loaded crates.
pub const DYNAMIC_SIZE: usize = 64 << 10;
/// Offset of the first dynamic section: the thread pointer points at itself, and the next word is kept free for a stack
/// protector's like.
const FIRST_DYNAMIC_OFFSET: usize = 16;
/// Strictest alignment of a section in bytes: the thread pointer is aligned to a page.
pub const MAX_ALIGNMENT: usize = PAGE_SIZE;

/// Why thread-local storage could not be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LocalStorageInitializerError {
    /// The [`DYNAMIC_SIZE`] bytes for loaded crates' sections are used up.
    NoRemainingSpace {
        /// Bytes that were wanted.
        size: usize,
    },
    /// An alignment that is no power of two or more than [`MAX_ALIGNMENT`].
    InvalidAlignment(usize),
    /// The base image's block was set already, or too late: there are areas.
    AlreadyInUse,
    /// Not enough memory for a task's area, or for a new section in all areas.
    OutOfMemory,
}

impl fmt::Display for LocalStorageInitializerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LocalStorageInitializerError::NoRemainingSpace { size } => write!(
                f,
                "no {size} bytes left for thread-local variables ({} KiB per task): end a program that uses them",
                DYNAMIC_SIZE >> 10
            ),
            LocalStorageInitializerError::InvalidAlignment(alignment) => {
                write!(f, "thread-local variables cannot be aligned to {alignment} bytes")
            }
            LocalStorageInitializerError::AlreadyInUse => {
                f.write_str("the base image's thread-local variables are set already")
            }
            LocalStorageInitializerError::OutOfMemory => {
                f.write_str("not enough memory for thread-local variables")
            }
        }
    }
}

impl core::error::Error for LocalStorageInitializerError {}

/// The layout of thread-local storage and all live areas. There is one for the whole kernel.
pub struct TlsInitializer<M: AreaMemory> {
    inner: IrqSafeMutex<Inner<M>>,
}

struct Inner<M> {
    static_image: &'static [u8],
    /// Distance in bytes from the beginning of the base image's block to the thread pointer.
    static_size: usize,
    /// In ascending order of offsets.
    sections: Vec<Section>,
    /// By index; an ended task leaves a hole that is used again.
    areas: Vec<Option<Area<M>>>,
    next_id: u64,
}

/// A loaded crate's thread-local variables.
struct Section {
    id: u64,
    offset: usize,
    size: usize,
    /// Initial values; what follows them begins as zeros. Empty until published.
    image: Vec<u8>,
}

impl<M> Inner<M> {
    /// Where the last dynamic section ends.
    fn dynamic_end(&self) -> usize {
        self.sections.last().map_or(FIRST_DYNAMIC_OFFSET, |section| section.offset + section.size)
    }

    /// The first gap of `size` bytes: its offset and its place among the sections.
    fn find_gap(&self, size: usize, alignment: usize) -> Option<(usize, usize)> {
        let mut end_of_previous = FIRST_DYNAMIC_OFFSET;
        for place in 0..=self.sections.len() {
            let offset = end_of_previous.next_multiple_of(alignment);
            let limit = self.sections.get(place).map_or(DYNAMIC_SIZE, |section| section.offset);
            if offset.checked_add(size).is_some_and(|end| end <= limit) {
                return Some((offset, place));
            }
            let section = self.sections.get(place)?;
            end_of_previous = section.offset + section.size;
        }
        None
    }
}

impl<M: AreaMemory> TlsInitializer<M> {
    /// An initializer without any thread-local variables.
    pub const fn new() -> Self {
        TlsInitializer {
            inner: IrqSafeMutex::new(Inner {
                static_image: &[],
                static_size: 0,
                sections: Vec::new(),
                areas: Vec::new(),
                next_id: 0,
            }),
        }
    }

    /// Sets the base image's block: `size` bytes, aligned to `alignment`, that begin with `image` and go on with zeros.
    /// (The ELF segment `PT_TLS`: `p_memsz`, `p_align`, and the `p_filesz` bytes at its address.)
    ///
    /// # Errors
    /// If it was set already, if an area exists, or if the alignment is impossible.
    pub fn set_static_block(
        &self,
        image: &'static [u8],
        size: usize,
        alignment: usize,
    ) -> Result<(), LocalStorageInitializerError> {
        let alignment = alignment.max(1);
        if !alignment.is_power_of_two() || alignment > MAX_ALIGNMENT {
            return Err(LocalStorageInitializerError::InvalidAlignment(alignment));
        }
        let mut inner = self.inner.lock();
        if inner.static_size != 0 || !inner.areas.is_empty() {
            return Err(LocalStorageInitializerError::AlreadyInUse);
        }
        inner.static_image = image;
        inner.static_size = size.max(image.len()).next_multiple_of(alignment);
        Ok(())
    }

    /// The offset from the thread pointer of what lies at `block_offset` in the base image's block. Never positive.
    pub fn static_offset(&self, block_offset: usize) -> isize {
        block_offset as isize - self.inner.lock().static_size as isize
    }

    /// Finds a place for `size` bytes of a loaded crate's thread-local variables and commits memory for them in all areas.
    /// They hold nothing sensible until [`TlsSection::publish`].
    ///
    /// # Errors
    /// If the alignment is impossible, or there is no room, or no memory. Nothing has changed then.
    pub fn add_new_dynamic_section(
        &'static self,
        size: usize,
        alignment: usize,
    ) -> Result<TlsSection<M>, LocalStorageInitializerError> {
        let alignment = alignment.max(1);
        if !alignment.is_power_of_two() || alignment > MAX_ALIGNMENT {
            return Err(LocalStorageInitializerError::InvalidAlignment(alignment));
        }
        let mut inner = self.inner.lock();
        let inner = &mut *inner;
        let (offset, place) =
            inner.find_gap(size, alignment).ok_or(LocalStorageInitializerError::NoRemainingSpace { size })?;
        inner.sections.try_reserve(1).map_err(|_| LocalStorageInitializerError::OutOfMemory)?;
        for area in inner.areas.iter_mut().flatten() {
            area.commit_dynamic(offset + size)?;
        }
        let id = inner.next_id;
        inner.next_id += 1;
        inner.sections.insert(place, Section { id, offset, size, image: Vec::new() });
        Ok(TlsSection { initializer: self, id, offset, size })
    }

    /// Makes an area for a new task, with the initial values of all thread-local variables there are.
    ///
    /// # Errors
    /// If there is not enough memory.
    pub fn get_data(&'static self) -> Result<TlsDataImage<M>, LocalStorageInitializerError> {
        let static_size = self.inner.lock().static_size;
        // Memory is had before the lock is taken, since mapping takes a while. Sections that come meanwhile are committed
        // below, and those that come later find the new area in the list.
        let mut area = Area::<M>::new(static_size)?;
        let mut inner = self.inner.lock();
        let inner = &mut *inner;
        area.commit_dynamic(inner.dynamic_end())?;
        area.write_static(inner.static_image);
        for section in &inner.sections {
            area.write_dynamic(section.offset, section.size, &section.image);
        }
        let thread_pointer = area.thread_pointer();
        let index = match inner.areas.iter().position(Option::is_none) {
            Some(index) => index,
            None => {
                inner.areas.try_reserve(1).map_err(|_| LocalStorageInitializerError::OutOfMemory)?;
                inner.areas.push(None);
                inner.areas.len() - 1
            }
        };
        inner.areas[index] = Some(area);
        Ok(TlsDataImage { initializer: self, index, thread_pointer })
    }

    /// How many bytes loaded crates' sections take, how many such sections there are, and how many live areas.
    pub fn usage(&self) -> TlsUsage {
        let inner = self.inner.lock();
        TlsUsage {
            static_bytes: inner.static_size,
            dynamic_bytes: inner.sections.iter().map(|section| section.size).sum(),
            dynamic_sections: inner.sections.len(),
            areas: inner.areas.iter().flatten().count(),
        }
    }
}

impl<M: AreaMemory> Default for TlsInitializer<M> {
    fn default() -> Self {
        Self::new()
    }
}

/// What [`TlsInitializer::usage`] counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TlsUsage {
    /// Bytes of the base image's variables.
    pub static_bytes: usize,
    /// Bytes of loaded crates' variables.
    pub dynamic_bytes: usize,
    /// Number of loaded crates that have thread-local variables.
    pub dynamic_sections: usize,
    /// Number of live areas: tasks, and CPUs that have none yet.
    pub areas: usize,
}

/// The place of a loaded crate's thread-local variables. Dropping it frees the place, so it must live as long as the crate's
/// code.
pub struct TlsSection<M: AreaMemory + 'static> {
    initializer: &'static TlsInitializer<M>,
    id: u64,
    offset: usize,
    size: usize,
}

impl<M: AreaMemory> TlsSection<M> {
    /// Offset in bytes from the thread pointer.
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// Size in bytes.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Gives the variables their initial values, in all areas that exist and all that will: `image`, then zeros.
    /// To be called once, before any code runs that uses them.
    ///
    /// # Errors
    /// If there is not enough memory to keep `image` for later areas.
    ///
    /// # Panics
    /// If `image` is larger than the section.
    pub fn publish(&self, image: &[u8]) -> Result<(), LocalStorageInitializerError> {
        assert!(image.len() <= self.size, "the initial values fit their section");
        let mut kept = Vec::new();
        kept.try_reserve_exact(image.len()).map_err(|_| LocalStorageInitializerError::OutOfMemory)?;
        kept.extend_from_slice(image);
        let mut inner = self.initializer.inner.lock();
        let inner = &mut *inner;
        for area in inner.areas.iter_mut().flatten() {
            area.write_dynamic(self.offset, self.size, image);
        }
        if let Some(section) = inner.sections.iter_mut().find(|section| section.id == self.id) {
            section.image = kept;
        }
        Ok(())
    }
}

impl<M: AreaMemory> Drop for TlsSection<M> {
    fn drop(&mut self) {
        let mut inner = self.initializer.inner.lock();
        if let Some(place) = inner.sections.iter().position(|section| section.id == self.id) {
            let section = inner.sections.remove(place);
            drop(inner);
            drop(section);
        }
    }
}

impl<M: AreaMemory> fmt::Debug for TlsSection<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TlsSection({:#x}, {} bytes)", self.offset, self.size)
    }
}

/// The thread-local storage of one task. Dropping it gives its memory back, so it must not be current on any CPU then.
pub struct TlsDataImage<M: AreaMemory + 'static> {
    initializer: &'static TlsInitializer<M>,
    index: usize,
    thread_pointer: usize,
}

impl<M: AreaMemory> TlsDataImage<M> {
    /// The thread pointer: what the base of `fs` must be while the task runs.
    pub fn fs_base(&self) -> usize {
        self.thread_pointer
    }

    /// Bytes of memory that the area occupies at present: it grows when crates with thread-local variables are loaded.
    pub fn committed_bytes(&self) -> usize {
        let inner = self.initializer.inner.lock();
        inner.areas.get(self.index).and_then(Option::as_ref).map_or(0, Area::committed_bytes)
    }

    /// Makes this area the current CPU's, by writing the base of `fs`.
    ///
    /// # Safety
    /// The area must stay alive until another one has become current on this CPU, and no other CPU may use it. References to
    /// thread-local variables must not live across the change.
    #[cfg(target_os = "theseus")]
    pub unsafe fn set_as_current_tls(&self) {
        /// `IA32_FS_BASE`: Intel SDM volume 4, table 2-2.
        const IA32_FS_BASE: u32 = 0xC000_0100;
        let (low, high) = (self.thread_pointer as u32, (self.thread_pointer >> 32) as u32);
        // SAFETY: the register exists on every 64-bit CPU and the value is a canonical address. What the new base means for
        // thread-local variables is the caller's promise.
        unsafe {
            core::arch::asm!("wrmsr", in("ecx") IA32_FS_BASE, in("eax") low, in("edx") high, options(nostack, preserves_flags));
        }
    }
}

impl<M: AreaMemory> Drop for TlsDataImage<M> {
    fn drop(&mut self) {
        // Unmapping takes a while: after the lock has been released.
        let area = self.initializer.inner.lock().areas[self.index].take();
        drop(area);
    }
}

impl<M: AreaMemory> fmt::Debug for TlsDataImage<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TlsDataImage({:#x})", self.thread_pointer)
    }
}
