//! Who called whom, from the unwind tables.

use core::{ffi::c_void, ops::ControlFlow};

use unwinding::abi::{
    _Unwind_Backtrace, _Unwind_GetCFA, _Unwind_GetIPInfo, _Unwind_GetRegionStart, UnwindContext,
    UnwindReasonCode,
};

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
/// Takes no lock and allocates nothing; needs about 12 KiB of stack.
#[inline(never)]
pub fn backtrace(f: &mut dyn FnMut(&Frame) -> ControlFlow<()>) {
    struct State<'a> {
        f: &'a mut dyn FnMut(&Frame) -> ControlFlow<()>,
        /// Frames of the unwinder and of this function come first.
        found_self: bool,
    }

    extern "C" fn step(context: &UnwindContext<'_>, state: *mut c_void) -> UnwindReasonCode {
        // SAFETY: the pointer that `backtrace` handed over, to a value that nobody else uses meanwhile.
        let state = unsafe { &mut *state.cast::<State<'_>>() };
        let mut is_interrupted = 0;
        let instruction_pointer = _Unwind_GetIPInfo(context, &mut is_interrupted);
        let function = Some(_Unwind_GetRegionStart(context)).filter(|start| *start != 0);
        if !state.found_self {
            state.found_self = function == Some(backtrace as *const () as usize);
            return UnwindReasonCode::NO_REASON;
        }
        if instruction_pointer == 0 {
            return UnwindReasonCode::END_OF_STACK;
        }
        let frame = Frame {
            instruction_pointer,
            stack_pointer: _Unwind_GetCFA(context),
            is_interrupted: is_interrupted != 0,
            function,
        };
        match (state.f)(&frame) {
            ControlFlow::Continue(()) => UnwindReasonCode::NO_REASON,
            ControlFlow::Break(()) => UnwindReasonCode::NORMAL_STOP,
        }
    }

    let mut state = State { f, found_self: false };
    _Unwind_Backtrace(step, (&raw mut state).cast());
}
