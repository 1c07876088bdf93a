//! Stack unwinding: the kernel's one way out of a panic, a killed task or a fault, and its way to a backtrace.
//!
//! Steps through frames are taken by the crate `unwinding` (on `gimli`), driven by the `.eh_frame` tables that every
//! compiler emits. This crate adds what a kernel that loads code at run time needs:
//!
//! - **A registry of code ranges** ([`register_code_range`]): which tables describe which text. Everything executable is
//!   in it once: the base image, each loaded crate, each piece of compiled WebAssembly. A look-up is two binary searches,
//!   takes no lock and allocates nothing, for it happens while a task panics, wherever that may be.
//! - **Sorted tables for bare `.eh_frame` sections** ([`build_eh_frame_hdr`]), as object files have them.
//! - **The personality routine**, which finds the landing pad of a call site (`rust_eh_personality`, a lang item). Unlike
//!   the usual one it knows that a frame may have been interrupted by a fault instead of having made a call.
//! - **The exception object** with its payload: [`start_unwinding`] throws it, [`catch_unwind`] catches it. With no memory
//!   left it comes from a static pool.
//! - **[`FaultFrame`]**: makes a CPU exception look like a call, so that the same unwinder serves it.
//! - **[`backtrace`]**.
//!
//! What to do about a panic is not decided here but in `panic_wrapper`, above the loader and the tasks.
//!
//! # Invariants
//! - Registered ranges do not overlap, and their tables outlive their registration (the guard's owner promises that).
//! - A function that may be unwound through has the ABI `"Rust"`, `"C-unwind"` or `"sysv64-unwind"`, and an FDE.
//! - A frame that was interrupted by a fault never runs its own landing pads: compilers lay them out for calls only. Its
//!   callers' run.
//!
//! On other systems than Theseus only the registry and the table builder exist (`unwinding` would take the place of the
//! system's own unwinder), which is what host tests exercise.

#![cfg_attr(not(test), no_std)]
#![cfg_attr(target_os = "theseus", feature(lang_items, core_intrinsics, thread_local))]
#![cfg_attr(target_os = "theseus", allow(internal_features, reason = "personality and `try` are lang items"))]

extern crate alloc;

mod eh_frame;
#[cfg(any(test, target_os = "theseus"))]
mod lsda;
mod reader;
mod registry;

#[cfg(target_os = "theseus")]
mod backtrace;
#[cfg(target_os = "theseus")]
mod exception;
#[cfg(target_os = "theseus")]
mod fault;
#[cfg(target_os = "theseus")]
mod personality;

use alloc::vec::Vec;
use core::ops::Range;

use reader::Reader;
use registry::{CodeRange, Entry, INITIAL_CAPACITY, Registry};

pub use eh_frame::{EhFrameError, build_eh_frame_hdr};
pub use registry::RegisterError;

#[cfg(target_os = "theseus")]
pub use {
    backtrace::{Frame, backtrace},
    exception::{
        ForeignException, UnwindFailed, UnwindFailure, catch_unwind, panic_depth, start_unwinding,
        start_unwinding_from_fault,
    },
    fault::{FaultEntry, FaultFrame, FaultHandler, fault_entry_address},
};

/// All code there is.
static REGISTRY: Registry = Registry::new(&FIRST_ENTRIES);
static FIRST_ENTRIES: [Entry; INITIAL_CAPACITY] = [Entry::EMPTY; INITIAL_CAPACITY];

/// Where the unwind tables of a range of code are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UnwindInfo {
    /// At these addresses there is an `.eh_frame_hdr` with a sorted table, as a linker makes it, that refers to an
    /// `.eh_frame` section.
    EhFrameHdr(Range<usize>),
    /// At these addresses there is an `.eh_frame` section, relocated. Whether a zero word terminates it does not matter.
    EhFrame(Range<usize>),
}

/// Code that is registered for unwinding. Dropping it deregisters the code.
#[derive(Debug)]
#[must_use = "dropping the guard deregisters the code"]
pub struct CodeRangeGuard {
    text: Range<usize>,
    /// The table that was built, if one had to be. The registry points to it.
    _table: Vec<u8>,
}

impl CodeRangeGuard {
    /// Addresses of the code.
    pub fn text(&self) -> Range<usize> {
        self.text.clone()
    }

    /// Leaves the code registered for ever.
    pub fn leak(self) {
        core::mem::forget(self);
    }
}

impl Drop for CodeRangeGuard {
    fn drop(&mut self) {
        let was_there = REGISTRY.remove(self.text.start);
        debug_assert!(was_there, "only the guard deregisters its range");
    }
}

/// Says that the code at addresses `text` is described by the tables `info`, until the guard is dropped.
///
/// Given an [`UnwindInfo::EhFrameHdr`] it needs no memory while fewer than 64 ranges are registered. May be called with
/// interrupts off and while unwinding, not in an exception handler.
///
/// # Errors
/// See [`RegisterError`]. Nothing was registered then.
///
/// # Safety
/// Text and tables must be mapped, the tables relocated, correct for the text and readable, and all that must remain so
/// until the guard is dropped. While a frame of this code is on any stack, the guard must not be dropped.
pub unsafe fn register_code_range(
    text: Range<usize>,
    info: UnwindInfo,
) -> Result<CodeRangeGuard, RegisterError> {
    if text.is_empty() {
        return Err(RegisterError::EmptyText);
    }
    let (header, table) = match info {
        UnwindInfo::EhFrameHdr(header) => {
            // SAFETY: the caller promises that this is readable memory.
            let bytes = unsafe { bytes_at(&header) };
            eh_frame::EhFrameHdr::parse(Reader::new(bytes, header.start), header.start, text.start)?;
            (header, Vec::new())
        }
        UnwindInfo::EhFrame(eh_frame) => {
            // SAFETY: as above.
            let bytes = unsafe { bytes_at(&eh_frame) };
            let table = build_eh_frame_hdr(text.clone(), eh_frame.start, bytes)?;
            let start = table.as_ptr() as usize;
            (start..start + table.len(), table)
        }
    };
    REGISTRY.insert(&CodeRange { text: text.clone(), header })?;
    Ok(CodeRangeGuard { text, _table: table })
}

/// The memory at the addresses `range`.
///
/// # Safety
/// It must be readable and unchanging for `'a`.
unsafe fn bytes_at<'a>(range: &Range<usize>) -> &'a [u8] {
    if range.is_empty() {
        return &[];
    }
    // SAFETY: not empty, hence an existing address; the caller promises the rest.
    unsafe { core::slice::from_raw_parts(range.start as *const u8, range.len()) }
}

/// Number of ranges of code that are registered at present.
pub fn code_range_count() -> usize {
    REGISTRY.len()
}

/// Addresses of the registered code that `pc` lies in.
pub fn code_range_containing(pc: usize) -> Option<Range<usize>> {
    REGISTRY.find(pc).map(|range| range.text)
}

/// Addresses of the function that `pc` lies in, according to the unwind tables.
///
/// As with any look-up, the code must not be deregistered meanwhile: it is the caller's, or on the caller's stack.
pub fn function_containing(pc: usize) -> Option<Range<usize>> {
    find_fde(pc).map(|(_, fde)| fde.code)
}

/// The range of code and the FDE that describe `pc`.
fn find_fde(pc: usize) -> Option<(CodeRange, eh_frame::Fde)> {
    let range = REGISTRY.find(pc)?;
    // SAFETY: who registered the tables promised that they are readable while `pc`'s code is registered, and it is while
    // someone executes it or is called by it.
    let bytes = unsafe { bytes_at(&range.header) };
    let reader = Reader::new(bytes, range.header.start);
    let header = eh_frame::EhFrameHdr::parse(reader, range.header.start, range.text.start).ok()?;
    let offset = header.find(pc)?.checked_sub(header.eh_frame)?;
    // SAFETY: the table refers to an FDE within `.eh_frame`, whose own length fields delimit what is read.
    let section = unsafe { Reader::from_raw(header.eh_frame) };
    let fde = eh_frame::read_fde(section, offset).ok()?;
    fde.code.contains(&pc).then_some((range, fde))
}

/// Makes the unwinder look up code in this crate's registry. To be called once, early in boot; needs no memory.
///
/// # Panics
/// If someone else has told the crate `unwinding` where to look.
#[cfg(target_os = "theseus")]
pub fn init() {
    use unwinding::custom_eh_frame_finder::{
        EhFrameFinder, FrameInfo, FrameInfoKind, set_custom_eh_frame_finder,
    };

    struct Finder;

    // SAFETY: what is found are tables that were registered as correct for the code at `pc`.
    unsafe impl EhFrameFinder for Finder {
        fn find(&self, pc: usize) -> Option<FrameInfo> {
            // The unwinder would search all of `.eh_frame` for a pc that no FDE covers; so let it see only those that are.
            let (range, _) = find_fde(pc)?;
            Some(FrameInfo {
                text_base: Some(range.text.start),
                kind: FrameInfoKind::EhFrameHdr(range.header.start),
            })
        }
    }

    set_custom_eh_frame_finder(&Finder).expect("unwind::init is called once, by nano_core");
}

#[cfg(test)]
mod tests;
