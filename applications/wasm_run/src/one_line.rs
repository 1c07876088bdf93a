//! Errors in one line that names a remedy.

use alloc::format;
use alloc::string::{String, ToString};
use wasm_engine::{CompileError, CompileErrorKind, Error, OutOfMemory, UnknownImportError};

/// An error and its causes in one line, with a remedy where it does not name one.
pub(crate) fn of(error: &Error) -> String {
    if let Some(unknown) = error.downcast_ref::<UnknownImportError>() {
        return format!(
            "{unknown}; link the module without it: there is only `host::hello`, a function with an i32"
        );
    }
    let text = format!("{error:#}");
    let line = text.lines().next().unwrap_or_default().to_string();
    if line.contains("; ") {
        return line;
    }
    let kind = error.downcast_ref::<CompileError>().map(|error| error.kind);
    let remedy = match kind {
        _ if error.is::<OutOfMemory>() => "free some memory and try again",
        Some(CompileErrorKind::Limit) => "make the module smaller, or allow more (see wasm_run --help)",
        Some(CompileErrorKind::System) => "free some memory and try again",
        Some(CompileErrorKind::Internal) => "report it with the module",
        _ => "correct the module",
    };
    format!("{line}; {remedy}")
}
