//! Walks by the unwind tables, and their print.

use core::{fmt, ops::ControlFlow};

use unwind::Frame;

use crate::symbolize;

/// Calls `on_each_frame` with each frame of the current stack, beginning with the caller's, until it returns false, the
/// stack ends, or `max_recursion` frames were visited.
pub fn stack_trace(on_each_frame: &mut dyn FnMut(&Frame) -> bool, max_recursion: Option<usize>) {
    let mut left = max_recursion.unwrap_or(usize::MAX);
    // This function's own frame comes first.
    let mut first = true;
    unwind::backtrace(&mut |frame| {
        if core::mem::take(&mut first) {
            return ControlFlow::Continue(());
        }
        if left == 0 || !on_each_frame(frame) {
            return ControlFlow::Break(());
        }
        left -= 1;
        ControlFlow::Continue(())
    });
}

/// Writes the current stack, a frame a line, to `output`: at most `max_recursion` frames, beginning with the caller's.
///
/// ```text
///    0: test_unwind::deep+0x1c (test_unwind-3f2a…) at 0xffffffff80a01c1c
/// ```
///
/// # Errors
/// Those of `output`.
#[inline(never)]
pub fn print_stack_trace(output: &mut dyn fmt::Write, max_recursion: usize) -> fmt::Result {
    let mut result = Ok(());
    let mut number = 0usize;
    let mut own = true;
    stack_trace(
        &mut |frame| {
            // The first frame is this function's.
            if core::mem::take(&mut own) {
                return true;
            }
            if number == max_recursion {
                result = output.write_str("  ...: and so on\n");
                return false;
            }
            result = print_frame(output, number, frame);
            number += 1;
            result.is_ok()
        },
        None,
    );
    result
}

fn print_frame(output: &mut dyn fmt::Write, number: usize, frame: &Frame) -> fmt::Result {
    let mut result = write!(output, "{number:5}: ");
    let address = frame.lookup_address();
    let known = symbolize(address, &mut |symbol| result = result.and_then(|()| write!(output, "{symbol}")));
    result?;
    if !known {
        output.write_str("unknown code")?;
    }
    let how = if frame.is_interrupted { ", interrupted" } else { "" };
    writeln!(output, " at {address:#x}{how}")
}
