//! Who called whom.
//!
//! There are two ways to walk a stack. [`stack_trace`] goes by the unwind tables: exact, through frames of any compiler,
//! through faults, and only over the stack of the caller. [`walk_frame_pointers`] follows the chain of frame pointers
//! that all code of this kernel keeps: it needs no tables and begins at any frame pointer, so it serves for a stack that
//! is broken or belongs to something that was interrupted; each step is checked against the bounds of that stack.
//!
//! Names come from the loader, which knows the symbols of the base image and of every loaded crate, and from whoever has
//! made code at run time and registered a [`Symbolizer`] for it, as the WebAssembly engine does.
//!
//! All of this happens while a task panics. Nothing here allocates, and look-ups that would have to wait for a lock find
//! nothing instead.

#![cfg_attr(not(test), no_std)]

mod frame_pointers;
#[cfg_attr(
    not(any(test, target_os = "theseus")),
    allow(dead_code, reason = "lines are printed in the kernel")
)]
mod line;
mod symbol;

#[cfg(target_os = "theseus")]
mod trace;

pub use frame_pointers::walk_frame_pointers;
pub use symbol::{Symbol, Symbolizer, SymbolizerGuard, TooManySymbolizers, register_symbolizer, symbolize};
#[cfg(target_os = "theseus")]
pub use trace::{print_stack_trace, print_stack_trace_after, stack_trace, write_location};
