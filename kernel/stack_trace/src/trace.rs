//! Walks by the unwind tables, and their print.

use core::{
    fmt::{self, Write},
    ops::ControlFlow,
};

use unwind::Frame;

use crate::{line::Buffered, symbolize};

/// Calls `on_each_frame` with each frame of the current stack, beginning with the caller's, until it returns false, the
/// stack ends, or `max_recursion` frames were visited.
#[inline(never)]
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
    // Of the frames that `stack_trace` shows, the first is this function's.
    print_frames(output, max_recursion, 1)
}

/// Like [`print_stack_trace`], beginning with the frame after the first one of which `is_last_skipped` is true. If there
/// is none, nothing is left out.
///
/// # Errors
/// Those of `output`.
#[inline(never)]
pub fn print_stack_trace_after(
    output: &mut dyn fmt::Write,
    max_recursion: usize,
    is_last_skipped: &dyn Fn(&Frame) -> bool,
) -> fmt::Result {
    let mut visited = 0;
    let mut skipped = 1;
    stack_trace(
        &mut |frame| {
            visited += 1;
            if is_last_skipped(frame) {
                skipped = visited;
                return false;
            }
            true
        },
        None,
    );
    print_frames(output, max_recursion, skipped)
}

/// Writes at most `max_recursion` frames, without the first `skipped` ones, the first of which is the caller's.
#[inline(always)]
fn print_frames(output: &mut dyn fmt::Write, max_recursion: usize, skipped: usize) -> fmt::Result {
    let mut result = Ok(());
    let mut visited = 0;
    stack_trace(
        &mut |frame| {
            visited += 1;
            if visited <= skipped {
                return true;
            }
            let number = visited - skipped - 1;
            if number == max_recursion {
                result = output.write_str("  ...: and so on\n");
                return false;
            }
            result = print_frame(output, number, frame);
            result.is_ok()
        },
        None,
    );
    result
}

fn print_frame(output: &mut dyn fmt::Write, number: usize, frame: &Frame) -> fmt::Result {
    let mut line = Buffered::new(output);
    write!(line, "{number:5}: ")?;
    write_location(&mut line, frame.lookup_address())?;
    writeln!(line, "{}", if frame.is_interrupted { ", interrupted" } else { "" })?;
    line.flush()
}

/// Writes what is known of an address: `function+0x12 (module) at 0xffffffff80001234`.
///
/// # Errors
/// Those of `output`.
pub fn write_location(output: &mut dyn fmt::Write, address: usize) -> fmt::Result {
    let mut result = Ok(());
    let known = symbolize(address, &mut |symbol| result = write!(output, "{symbol}"));
    result?;
    if !known {
        output.write_str("unknown code")?;
    }
    write!(output, " at {address:#x}")
}
