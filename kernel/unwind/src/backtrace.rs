//! Who called whom, from the unwind tables.

use core::ops::ControlFlow;

use crate::cfi::{Known, Registers};
use crate::cursor::{Cursor, with_registers};

/// A call in progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Where the function goes on: the address after its call or, if [`Self::is_interrupted`], of the instruction that
    /// did not complete.
    pub instruction_pointer: usize,
    /// The value of its stack pointer then.
    pub stack_pointer: usize,
    /// The function was interrupted by a fault; it has not made a call.
    pub is_interrupted: bool,
    /// Where the function starts; `None` if there are no unwind tables for it, in which case it is the last frame.
    pub function: Option<usize>,
}

impl Frame {
    /// An address that surely lies in the function: what to look up for a symbol. (A return address may lie just behind
    /// a function that ends with a call.)
    pub fn lookup_address(&self) -> usize {
        if self.is_interrupted { self.instruction_pointer } else { self.instruction_pointer.wrapping_sub(1) }
    }
}

/// Calls `f` with each frame of the current stack, beginning with the caller's, until it breaks or the stack ends.
///
/// Takes no lock and allocates nothing; needs about 2 KiB of stack.
#[inline(never)]
pub fn backtrace(f: &mut dyn FnMut(&Frame) -> ControlFlow<()>) {
    unsafe extern "C-unwind" fn walk(registers: &mut Registers, f: *mut u8) {
        // SAFETY: the pointer that `backtrace` handed over, to a value that nobody else uses meanwhile.
        let f = unsafe { &mut *f.cast::<&mut dyn FnMut(&Frame) -> ControlFlow<()>>() };
        let mut cursor = Cursor::new(registers.clone());
        // The first frame is that of `backtrace`.
        // SAFETY: here and below, the stack is this task's own, whose frames stay while this function runs.
        let mut goes_on = unsafe { cursor.go_to_caller() };
        let mut known = Known::new();
        while goes_on {
            let function = cursor.function(&mut known);
            let frame = Frame {
                instruction_pointer: cursor.instruction_pointer(),
                stack_pointer: cursor.stack_pointer(),
                is_interrupted: cursor.is_interrupted(),
                function: function.as_ref().map(|function| function.code.start),
            };
            if f(&frame).is_break() {
                return;
            }
            goes_on = function.is_some_and(|function| {
                // SAFETY: as above.
                unsafe { cursor.leave(&function) }.is_ok() && cursor.instruction_pointer() != 0
            });
        }
    }

    let mut f = f;
    // SAFETY: `walk` expects the pointer that it is given.
    unsafe { with_registers(walk, (&raw mut f).cast()) };
}
