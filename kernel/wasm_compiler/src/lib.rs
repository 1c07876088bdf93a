//! Compiles WebAssembly modules: wasm → Cranelift IR → x86-64 machine code → artifact (`.cwasm`).
//!
//! It knows no operating system, so the tool `wasmc` runs it on a developer's machine and the engine in the kernel. What it
//! produces is described in [`wasm_artifact`]; the runtime needs nothing of this crate to run it.
//!
//! # Features
//! WebAssembly 2.0: 1.0 with multi-value, sign extension, saturating conversions, bulk memory, reference types and vectors; threads; and
//! the exceptions, also as they were before, and the tail calls of 3.0 ([`FEATURES`]). The validator refuses everything else, so the
//! translator meets only what it knows.
//!
//! # How a module goes through
//! 1. [`Compiler::translate`] reads the module, validates all but the function bodies, and yields a [`ModuleTranslation`]: the
//!    metadata, and a list of *jobs*. A job is one function or trampoline.
//! 2. [`Compiler::compile_job`] validates, translates and compiles one job. It is a pure function of the translation and the
//!    job's number; so the caller can run jobs on as many threads as it has, in any order. A thread keeps one [`Scratch`], whose
//!    allocations serve job after job.
//! 3. [`Compiler::finish`] takes the results in job order, lays out the code, resolves calls between functions, and writes
//!    the artifact. The same module and settings give the same bytes.
//!
//! [`Compiler::compile`] does all three on the calling thread.
//!
//! # Limits
//! A module may be anything; compiling it takes a time and an amount of memory that have limits, and a stack of less than 128 KiB.
//!
//! * The validator's: a function has at most 7,654,321 bytes, 50,000 locals, 1,000 parameters and 1,000 results; a module at most
//!   1,000,000 types, functions, imports, exports and globals, 100,000 segments of each kind, 100 tables.
//! * A function for which Cranelift would take the square of some time is compiled without optimisation, one that would take
//!   gigabytes is refused; `function/complexity.rs` says where the limits are and how far real programs are from them.
//! * At most 50,000 different function types, 2 GiB of code, and 2 GiB of data segments.
//!
//! Where memory is lacking, an allocation panics, and nothing is left but what the caller owns: no drop panics, nothing aborts. That holds
//! if it is a large block that is refused, for a vector or a hash table; the standard library's trees need each of their nodes.
//!
//! # Determinism
//! Code depends on the module and the settings alone. Hash tables, whose order may differ from run to run, are looked up in and
//! never iterated over; nothing depends on addresses, on the order of jobs, or on what a [`Scratch`] was used for.
//!
//! # Invariants of the generated code
//! * Every function and trampoline keeps a frame pointer and has call frame information.
//! * Every instruction that may fault is in the trap table; nothing else may fault.
//! * Every call inside of a `try_table` or `try` that has a clause for what it may throw is in the handler table, with its landing pads.
//! * No relocation is left, and nothing outside of the code is reached but through the `VMContext`.
//! * A memory's base never changes, so its load can be hoisted; the length is read when it is needed.

#![cfg_attr(not(test), no_std)]

extern crate alloc;

mod abi;
mod compile;
mod error;
mod function;
mod image;
mod isa;
mod link;
mod module;
mod trampoline;
mod unwind;

pub use compile::{CompiledJob, Scratch};
pub use error::CompileError;
pub use module::{FEATURES, ModuleTranslation};
pub use wasm_artifact::compile::{Settings, Target};

use alloc::vec::Vec;
use cranelift_codegen::isa::OwnedTargetIsa;
use function::Effort;

/// A compiler for given settings. Stateless: any number of threads can share one.
pub struct Compiler {
    isa: OwnedTargetIsa,
    /// The same processor, for functions that would take too long.
    linear_isa: OwnedTargetIsa,
    settings: Settings,
}

impl Compiler {
    /// A compiler for these settings.
    ///
    /// # Errors
    /// When Cranelift does not support the settings; it supports all that [`Settings`] can express.
    pub fn new(settings: Settings) -> Result<Compiler, CompileError> {
        let isa = isa::build(&settings, Effort::Full)?;
        Ok(Compiler { isa, linear_isa: isa::build(&settings, Effort::Linear)?, settings })
    }

    /// What it compiles for.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Compiles a module on the calling thread and returns the artifact.
    ///
    /// # Errors
    /// When the module is not valid, uses an unknown feature, or exceeds a limit of the implementation.
    pub fn compile(&self, wasm: &[u8]) -> Result<Vec<u8>, CompileError> {
        let translation = self.translate(wasm)?;
        let mut scratch = Scratch::new();
        let mut jobs = Vec::new();
        for job in 0..translation.num_jobs() {
            jobs.push(self.compile_job(&translation, job, &mut scratch)?);
        }
        self.finish(&translation, jobs, &mut scratch)
    }
}

#[cfg(test)]
mod tests;
