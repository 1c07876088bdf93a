//! The compile service: [`CompileService`] by [`wasm_compiler`], in tasks of its own.
//!
//! In the kernel no crate links with this one: the engine has it loaded, by name, when it meets a module that is not compiled
//! yet, finds [`wasm_compile_service`] in it, and lets go of it when the engine is dropped. With it come and go the compiler
//! and all that only the compiler needs. Elsewhere the engine, and the tool `wasmc`, are linked with it.
//!
//! # How a module is compiled
//! The calling task only waits and reports progress. Everything that a module can make large is done by *workers*
//! ([`wasm_platform::run_workers`]), which share a [`Budget`]:
//!
//! ```text
//!   1 worker     text → binary → translate ─┬─ little to do, or one CPU: compile all jobs → finish
//!   n workers                               └─ each takes jobs, the largest first ─┐
//!   1 worker                                                                       └─ finish
//! ```
//!
//! What workers allocate counts against the limit of the request; in the kernel it comes from arenas of theirs, which go back as a
//! whole. A worker that passes the limit, or whose requester has gone, is refused its next allocation, and unwinds. The
//! result is copied out last.
//!
//! # Invariants
//! - The result depends on the module and the settings alone, not on the number of workers or who was faster: code is laid
//!   out in the order of functions, and of several errors the one reported is that of the first function.
//! - No worker is left when a call returns or unwinds.
//! - A panic of the compiler becomes an error of kind `Internal`.
#![cfg_attr(target_os = "theseus", no_std)]

extern crate alloc;

mod compilation;
#[cfg(test)]
mod tests;
mod text;

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use compilation::{Compilation, Task};
use spin::Once;
use wasm_artifact::compile::{
    CompileError, CompileErrorKind, CompileRequest, CompileService, CompileServiceEntry,
};
use wasm_platform::{Budget, WorkersError};

/// The service, by the name under which it is looked for.
#[unsafe(no_mangle)]
#[allow(non_upper_case_globals, reason = "the name of a symbol")]
pub static wasm_compile_service: CompileServiceEntry = &Service;

struct Service;

impl CompileService for Service {
    fn compile(&self, request: &CompileRequest<'_>) -> Result<Vec<u8>, CompileError> {
        run(request, Task::Compile)
    }

    fn validate(&self, request: &CompileRequest<'_>) -> Result<(), CompileError> {
        run(request, Task::Validate).map(drop)
    }
}

/// Does what is asked for in workers, and copies the result to memory of the caller's.
fn run(request: &CompileRequest<'_>, task: Task) -> Result<Vec<u8>, CompileError> {
    let budget = Budget::new(request.limits.memory);
    let binary = Once::new();
    let compilation = Compilation::new(request, task, &budget, &binary);
    let ended = compilation.run(request.progress);
    match compilation.outcome() {
        // Some allocations may fail, and are then said to lack memory, though it is the budget that has no more.
        Some(Err(error)) if error.kind == CompileErrorKind::System && budget.is_exceeded() => {
            Err(failure(request, Err(WorkersError::OverBudget)))
        }
        Some(Err(error)) => Err(error),
        Some(Ok(artifact)) if ended.is_ok() => copy(artifact),
        _ => Err(failure(request, ended)),
    }
}

/// What went wrong, when it was no fault of the module's.
fn failure(request: &CompileRequest<'_>, ended: Result<(), WorkersError>) -> CompileError {
    let report = "report it with the module";
    let (kind, message) = match ended {
        Err(WorkersError::OverBudget) => {
            let limit = size(request.limits.memory);
            (
                CompileErrorKind::Limit,
                format!(
                    "compiling it needs more than {limit} of memory; allow more with --max-compile-memory"
                ),
            )
        }
        Err(WorkersError::OutOfMemory) => (
            CompileErrorKind::System,
            String::from("not enough memory to compile it; free some and try again"),
        ),
        Err(WorkersError::Killed | WorkersError::Cancelled) => {
            (CompileErrorKind::System, String::from("a task of the compiler was killed; compile again"))
        }
        Err(WorkersError::Panicked(message)) => {
            (CompileErrorKind::Internal, format!("the compiler panicked: {message}; {report}"))
        }
        Err(error) => (CompileErrorKind::System, error.to_string()),
        Ok(()) => (CompileErrorKind::Internal, format!("the compiler gave up without a reason; {report}")),
    };
    CompileError::new(kind, &message)
}

/// A number of bytes in the largest unit that leaves no fraction.
fn size(bytes: usize) -> String {
    match bytes {
        bytes if bytes % (1 << 20) == 0 => format!("{} MiB", bytes >> 20),
        bytes if bytes % (1 << 10) == 0 => format!("{} KiB", bytes >> 10),
        bytes => format!("{bytes} bytes"),
    }
}

/// A copy on the caller's heap.
fn copy(bytes: &[u8]) -> Result<Vec<u8>, CompileError> {
    let mut copy = Vec::new();
    match copy.try_reserve_exact(bytes.len()) {
        Ok(()) => {
            copy.extend_from_slice(bytes);
            Ok(copy)
        }
        Err(_) => {
            let message = format!("no memory for {} bytes of compiled code; free some", bytes.len());
            Err(CompileError::new(CompileErrorKind::System, &message))
        }
    }
}
