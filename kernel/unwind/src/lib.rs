//! Stack unwinding: the kernel's one way out of a panic, a killed task or a fault, and its way to a backtrace.
//!
//! Driven by the `.eh_frame` tables that every compiler emits:
//!
//! - **A registry of code ranges** ([`register_code_range`]): which tables describe which text. Everything executable is
//!   in it once: the base image, each loaded crate, each piece of compiled WebAssembly. A look-up is two binary searches,
//!   takes no lock and allocates nothing, for it happens while a task panics, wherever that may be.
//! - **Sorted tables for bare `.eh_frame` sections** ([`build_eh_frame_hdr`]), as object files have them.
//! - **Steps** from a frame to its caller ([`Cursor`]): the call frame information of just the function in question is
//!   read and run where it lies. Other unwinders serve many languages and keep tables of rows; this one takes some hundred
//!   instructions for a step, and 1 KiB of stack.
//! - **Landing pads**: what a frame wants when one of its calls unwinds. A frame may have been interrupted by a fault
//!   instead of having made a call.
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
//! - A frame that was interrupted by a fault never runs its own landing pads. Its callers' run. The landing pads are there,
//!   and the table of call sites even says which one belongs to a call nearby; but a landing pad finds the values that it
//!   drops where the compiler put them *for that call*: a register that is written just before it, a slot that still holds
//!   something else, a flag that says whether the value was moved. Between two calls compilers keep no such promise (LLVM
//!   takes it that loads and stores do not unwind, and has no other mode for this target), so to run one for an instruction
//!   that is no call would drop values twice, or what is no value.
//! - The language has one personality routine, `rust_eh_personality`. A frame whose tables name another one ends unwinding.
//!
//! On other systems than Theseus only the registry, the table builder and the reader of call frame information exist (the
//! rest would take the place of the system's own unwinder), which is what host tests exercise.

#![cfg_attr(not(test), no_std)]
#![cfg_attr(target_os = "theseus", feature(lang_items, core_intrinsics, thread_local))]
#![cfg_attr(target_os = "theseus", allow(internal_features, reason = "personality and `try` are lang items"))]

extern crate alloc;

#[cfg_attr(not(target_os = "theseus"), allow(dead_code, reason = "only tests take steps elsewhere"))]
mod cfi;
mod eh_frame;
#[cfg(any(test, target_os = "theseus"))]
mod lsda;
mod reader;
mod registry;

#[cfg(target_os = "theseus")]
mod backtrace;
#[cfg(target_os = "theseus")]
mod cursor;
#[cfg(target_os = "theseus")]
mod exception;
#[cfg(target_os = "theseus")]
mod fault;
#[cfg(target_os = "theseus")]
mod personality;

use alloc::vec::Vec;
use core::ops::Range;

use cfi::{Function, Known};
use eh_frame::EhFrameHdr;
use reader::Reader;
use registry::{CodeRange, Entry, INITIAL_CAPACITY, Registry};

pub use eh_frame::{EhFrameError, build_eh_frame_hdr};
pub use registry::RegisterError;

#[cfg(target_os = "theseus")]
pub use {
    backtrace::{Frame, backtrace},
    cursor::Cursor,
    exception::{
        UnwindFailed, UnwindFailure, catch_unwind, panic_depth, start_unwinding, start_unwinding_from_fault,
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
            EhFrameHdr::parse(Reader::new(bytes, header.start), header.start, text.start)?;
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
    find_function(pc, &mut Known::new()).map(|function| function.code)
}

/// What the unwind tables say about the function that `pc` lies in.
fn find_function(pc: usize, known: &mut Known) -> Option<Function<'_>> {
    // Frames come in groups of one crate.
    let latest = known.latest.take().filter(|(text, _)| text.contains(&pc));
    let (text, header) = match latest {
        Some(latest) => latest,
        None => {
            let CodeRange { text, header } = REGISTRY.find(pc)?;
            // SAFETY: who registered the tables promised that they are readable while `pc`'s code is registered, and it is
            // while someone executes it or is called by it.
            let reader = Reader::new(unsafe { bytes_at(&header) }, header.start);
            let header = EhFrameHdr::parse(reader, header.start, text.start).ok()?;
            (text, header)
        }
    };
    known.latest = Some((text.clone(), header));
    let offset = header.find(pc)?.checked_sub(header.eh_frame)?;
    // SAFETY: the table refers to an FDE within `.eh_frame`, whose own length fields delimit what is read.
    let section = unsafe { Reader::from_raw(header.eh_frame) };
    let function = Function::read(section, offset, text.start, known).ok()?;
    function.code.contains(&pc).then_some(function)
}

#[cfg(test)]
mod tests;
