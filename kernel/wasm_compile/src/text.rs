//! The text format.

use alloc::borrow::Cow;
use alloc::format;
use alloc::string::{String, ToString};
use wasm_artifact::compile::{CompileError, CompileErrorKind};

/// What every module in the binary format begins with.
const MAGIC: &[u8] = b"\0asm";

/// A module in the binary format: what was given, or what the text that was given stands for.
///
/// # Errors
/// Of kind `Invalid`, with line and column.
pub(crate) fn to_binary(input: &[u8]) -> Result<Cow<'_, [u8]>, CompileError> {
    if input.starts_with(MAGIC) {
        return Ok(Cow::Borrowed(input));
    }
    let invalid = |message: &str| CompileError::new(CompileErrorKind::Invalid, message);
    let Ok(text) = core::str::from_utf8(input) else {
        return Err(invalid(
            "neither a WebAssembly module nor text: it does not begin with \\0asm and is not UTF-8",
        ));
    };
    match wat::parse_str(text) {
        Ok(binary) => Ok(Cow::Owned(binary)),
        Err(error) => Err(invalid(&one_line(&error.to_string()))),
    }
}

/// Errors of the text format show the source below the message; we have one line: message, line and column.
fn one_line(error: &str) -> String {
    let mut lines = error.lines().map(str::trim).filter(|line| !line.is_empty());
    let message = lines.next().unwrap_or("not understood");
    let place = lines.find_map(|line| line.strip_prefix("--> ")).and_then(|place| {
        let mut parts = place.rsplitn(3, ':');
        Some((parts.next()?, parts.next()?))
    });
    match place {
        Some((column, line)) => format!("{message} (line {line}, column {column})"),
        None => message.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_the_text_format_become_one_line() {
        let error = to_binary(b"(module\n  (fnc))").unwrap_err();
        assert!(error.message.ends_with("(line 2, column 4)"), "{error}");
        assert!(!error.message.contains('\n'));
    }

    #[test]
    fn what_is_neither_text_nor_binary_is_named() {
        assert!(to_binary(b"\xff\xfe").unwrap_err().message.contains("UTF-8"));
        assert_eq!(*to_binary(b"\0asm rest").unwrap(), *b"\0asm rest");
    }
}
