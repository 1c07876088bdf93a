//! Which compiled code is where in memory, and what happened in it.
//!
//! [`LoadedCode`] is the code of one artifact in memory. As long as it lives, the code's unwind tables are registered
//! with the system, so that panics and killed tasks unwind through its frames, and [`with_code`] finds it by any pc in it,
//! also from a trap handler. [`Frames`] collects the return addresses of a stack of compiled frames by following frame
//! pointers.
//!
//! The design's order of floors has this crate below `wasm_artifact`; it is above it instead, because the tables that
//! are looked up here are read in place, by the code that defines their format. `wasm_artifact` knows no operating
//! system, so nothing is turned upside down by that.
//!
//! Invariants:
//! - Readers (trap handlers among them) never allocate, lock or wait; see [`registry`](self::with_code).
//! - Code is registered before anything can jump to it and deregistered after the last frame of it is gone, because who
//!   runs it owns, through its store and module, a reference to the [`LoadedCode`].
#![cfg_attr(not(test), no_std)]
#![feature(allocator_api)]

extern crate alloc;

use alloc::boxed::Box;
use core::ops::Range;
use wasm_artifact::{CodeTables, Sections, Trap};
use wasm_platform::{CodeImage, PlatformError, UnwindRegistration};

mod frames;
mod registry;

pub use frames::{FrameKind, Frames, MAX_OTHER_FRAMES, RawFrame, visit_frames};
pub use registry::{registered, with_code};

/// Code in memory and the tables that describe it.
#[derive(Debug)]
pub struct Code {
    image: CodeImage,
    sections: Sections,
    /// Addresses of the code.
    text: Range<usize>,
}

impl Code {
    /// Addresses of the code.
    #[inline]
    pub fn text(&self) -> Range<usize> {
        self.text.clone()
    }

    /// How far into the code `pc` is, if it is in it.
    #[inline]
    pub fn text_offset(&self, pc: usize) -> Option<u32> {
        // An artifact's text has less than 4 GiB: its tables have 32-bit offsets.
        self.text.contains(&pc).then(|| (pc - self.text.start) as u32)
    }

    /// Where an offset in the code is in memory.
    ///
    /// # Panics
    /// If it is not in the code.
    pub fn address(&self, text_offset: u32) -> *const u8 {
        let text = &self.image[self.sections.text()];
        &raw const text[text_offset as usize]
    }

    /// The tables of the artifact.
    pub fn tables(&self) -> CodeTables<'_> {
        self.sections.tables(&self.image)
    }

    /// Why the instruction at `pc` traps if it faults; `None` if no fault of it is expected.
    pub fn trap_at(&self, pc: usize) -> Option<Trap> {
        self.sections.trap_at(&self.image, self.text_offset(pc)?)
    }

    /// Whether `pc` is in the code of a function of the module, and not in a trampoline.
    pub fn is_in_function(&self, pc: usize) -> bool {
        self.text_offset(pc).is_some_and(|offset| self.tables().function_at(offset).is_some())
    }

    /// What the artifact has of the module's debug information; see [`wasm_artifact::debug_info`].
    pub fn debug_info(&self) -> &[u8] {
        &self.image[self.sections.debug_info()]
    }

    /// The artifact's data segments and memory images.
    pub fn rodata(&self) -> &[u8] {
        &self.image[self.sections.rodata()]
    }

    /// The whole artifact.
    pub fn image(&self) -> &[u8] {
        &self.image
    }
}

/// The code of one artifact: in memory, executable, and known to the unwinder and to trap handlers.
#[derive(Debug)]
pub struct LoadedCode {
    // Dropped in this order: nobody may find what is being unmapped.
    unwind: Option<UnwindRegistration>,
    registration: Option<Registration>,
    code: Box<Code>,
}

/// Takes the code out of the registry when dropped.
#[derive(Debug)]
struct Registration(*const Code);

// SAFETY: the pointer is only compared; the registry has locks of its own.
unsafe impl Send for Registration {}
// SAFETY: as above.
unsafe impl Sync for Registration {}

impl Drop for Registration {
    fn drop(&mut self) {
        registry::remove(self.0);
    }
}

impl LoadedCode {
    /// Copies an artifact into memory and makes its code executable. `sections` says where things are in `file`.
    ///
    /// # Errors
    /// Fails if there is no memory, or no room in the registry of the unwinder.
    ///
    /// # Safety
    /// `file` must be an artifact made by the compiler for this system and CPU, unaltered, and `sections` what was
    /// read from it: its unwind tables are taken at their word.
    pub unsafe fn new(file: &[u8], sections: Sections) -> Result<LoadedCode, PlatformError> {
        let image = CodeImage::publish(file, sections.text())?;
        let (base, text) = (image.as_ptr() as usize, sections.text());
        let text = base + text.start..base + text.end;
        let code = Box::try_new(Code { image, sections, text: text.clone() });
        let code = code.map_err(|_| PlatformError::out_of_memory("load code"))?;
        let mut loaded = LoadedCode { unwind: None, registration: None, code };
        if !text.is_empty() {
            let code: *const Code = &*loaded.code;
            // SAFETY: the code is in a box that `loaded` owns, and `loaded` takes it out of the registry before that
            // is freed.
            unsafe { registry::add(code, text.start, text.end)? };
            loaded.registration = Some(Registration(code));
            let eh_frame = &loaded.code.image[loaded.code.sections.eh_frame()];
            // SAFETY: the caller vouches for the tables; they and the code stay in their place until `loaded` is
            // dropped, which deregisters first.
            loaded.unwind = Some(unsafe { UnwindRegistration::register(text, eh_frame)? });
        }
        Ok(loaded)
    }
}

impl core::ops::Deref for LoadedCode {
    type Target = Code;

    fn deref(&self) -> &Code {
        &self.code
    }
}

#[cfg(test)]
mod tests;
