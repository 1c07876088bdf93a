//! Why a module was not compiled.

use alloc::format;
use alloc::string::{String, ToString};
use core::fmt;
use wasm_artifact::compile::CompileErrorKind;
use wasm_artifact::elf::WriteError;

/// Why a module was not compiled. Each text names the cause in one line.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CompileError {
    /// The module is not valid, or uses a feature that is not known.
    Invalid {
        /// Where, in bytes from the start of the `.wasm` file.
        offset: usize,
        /// What is wrong there.
        message: String,
    },
    /// The module is valid but exceeds a limit of this implementation.
    Limit(&'static str),
    /// A function is valid but too large to be compiled in reasonable time and memory.
    FunctionLimit {
        /// The function.
        function: String,
        /// How much of it there is up to where it was given up.
        found: u64,
        /// How much there may be.
        limit: u64,
        /// Of what.
        measure: &'static str,
    },
    /// A function exceeds a limit of Cranelift: it has about two million values, or its code would exceed 2 GiB.
    TooMuchCode {
        /// The function.
        function: String,
    },
    /// Cranelift did not compile a function: it exceeds one of Cranelift's limits, or there is a bug here.
    Codegen {
        /// The function or trampoline.
        what: String,
        /// What Cranelift said.
        message: String,
    },
    /// The artifact could not be written.
    Write(WriteError),
}

impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CompileError::Invalid { offset, message } => write!(f, "{message} (at offset {offset:#x})"),
            CompileError::Limit(what) => write!(f, "the module is too large: {what}; split it"),
            CompileError::FunctionLimit { function, found, limit, measure } => {
                write!(
                    f,
                    "{function} is too large to be compiled: {found} {measure}, of at most {limit}; split it"
                )
            }
            CompileError::TooMuchCode { function } => {
                write!(
                    f,
                    "{function} is too large to be compiled: it exceeds a limit of the code generator; split it"
                )
            }
            CompileError::Codegen { what, message } => {
                write!(f, "cannot generate code for {what}: {message}")
            }
            CompileError::Write(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for CompileError {}

impl From<wasmparser::Error> for CompileError {
    fn from(error: wasmparser::Error) -> Self {
        // Messages of the validator may span lines; ours are one line.
        let message = error.message().lines().map(str::trim).collect::<alloc::vec::Vec<_>>().join(" ");
        CompileError::Invalid { offset: error.offset(), message }
    }
}

impl From<WriteError> for CompileError {
    fn from(error: WriteError) -> Self {
        CompileError::Write(error)
    }
}

impl From<CompileError> for wasm_artifact::compile::CompileError {
    fn from(error: CompileError) -> Self {
        let kind = match error {
            CompileError::Invalid { .. } => CompileErrorKind::Invalid,
            CompileError::Limit(_)
            | CompileError::FunctionLimit { .. }
            | CompileError::TooMuchCode { .. } => CompileErrorKind::Limit,
            CompileError::Codegen { .. } => CompileErrorKind::Internal,
            CompileError::Write(WriteError::OutOfMemory(_)) => CompileErrorKind::System,
            CompileError::Write(_) => CompileErrorKind::Limit,
        };
        Self::new(kind, &error.to_string())
    }
}

impl CompileError {
    /// What was valid for the validator but is not known to the translator.
    pub(crate) fn unsupported(offset: usize, what: &dyn fmt::Debug) -> Self {
        CompileError::Invalid { offset, message: format!("{what:?} is not supported") }
    }

    pub(crate) fn codegen(what: &dyn fmt::Display, message: &dyn fmt::Display) -> Self {
        let message = message.to_string().lines().collect::<alloc::vec::Vec<_>>().join(" ");
        CompileError::Codegen { what: what.to_string(), message }
    }
}
