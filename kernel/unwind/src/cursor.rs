//! A place in a stack that can be moved to the caller, and the two ends of a walk: taking the registers of the code that
//! runs, and giving it others.

use core::arch::naked_asm;

use crate::cfi::{Function, Known, REGISTER_COUNT, RIP, RSP, Registers};
use crate::{EhFrameError, FaultFrame, find_function};

/// A call in progress, or an interrupted function: its registers as they will be when it goes on.
#[derive(Clone, Debug)]
pub struct Cursor {
    registers: Registers,
    is_interrupted: bool,
}

impl Cursor {
    pub(crate) fn new(registers: Registers) -> Self {
        Self { registers, is_interrupted: false }
    }

    /// The function that a fault has interrupted.
    pub fn of_fault(frame: &FaultFrame) -> Self {
        let FaultFrame { rax, rdx, rcx, rbx, rsi, rdi, rbp, rsp, rip, .. } = *frame;
        let FaultFrame { r8, r9, r10, r11, r12, r13, r14, r15, .. } = *frame;
        let registers: [u64; REGISTER_COUNT] =
            [rax, rdx, rcx, rbx, rsi, rdi, rbp, rsp, r8, r9, r10, r11, r12, r13, r14, r15, rip];
        Self { registers: Registers(registers.map(|register| register as usize)), is_interrupted: true }
    }

    /// Where the function goes on: 0 at the end of the stack.
    #[inline]
    pub fn instruction_pointer(&self) -> usize {
        self.registers.0[RIP]
    }

    /// The value of its stack pointer then.
    #[inline]
    pub fn stack_pointer(&self) -> usize {
        self.registers.0[RSP]
    }

    /// The register with this DWARF number (System V psABI for AMD64, figure 3.36), below 16. Of those that calls do not
    /// preserve, only the innermost function's values are known.
    ///
    /// # Panics
    /// If there is no such register.
    pub fn register(&self, number: usize) -> usize {
        self.registers.0[..RIP][number]
    }

    /// Whether the function was interrupted by a fault: it has not made a call.
    #[inline]
    pub fn is_interrupted(&self) -> bool {
        self.is_interrupted
    }

    /// An address that surely lies in the function.
    #[inline]
    pub(crate) fn lookup_address(&self) -> usize {
        self.instruction_pointer().wrapping_sub(usize::from(!self.is_interrupted))
    }

    /// The unwind tables of the function; `None` if there are none, or no function.
    #[inline]
    pub(crate) fn function<'a>(&self, known: &'a mut Known) -> Option<Function<'a>> {
        if self.instruction_pointer() == 0 { None } else { find_function(self.lookup_address(), known) }
    }

    /// Goes on to the caller of `function`, which is what [`Self::function`] gave.
    ///
    /// # Safety
    /// As for [`go_to_caller`](Self::go_to_caller).
    #[inline]
    pub(crate) unsafe fn leave(&mut self, function: &Function<'_>) -> Result<(), EhFrameError> {
        let pc = self.lookup_address();
        // SAFETY: by the caller.
        unsafe { function.step(&mut self.registers, pc)? };
        self.is_interrupted = function.is_signal_frame();
        Ok(())
    }

    /// Goes on to the caller; false if there is none, or no way to find it.
    ///
    /// # Safety
    /// The stack that the cursor is in must be readable, and nobody may use it meanwhile, except below the function that the
    /// cursor is at.
    pub unsafe fn go_to_caller(&mut self) -> bool {
        let mut known = Known::new();
        let Some(function) = self.function(&mut known) else { return false };
        // SAFETY: by the caller.
        unsafe { self.leave(&function) }.is_ok() && self.instruction_pointer() != 0
    }

    /// Lets the function go on at `landing_pad`, with `exception` for it, instead of where it would.
    ///
    /// # Safety
    /// The landing pad must be the function's for what it was doing, and `exception` what it expects. The frames below are
    /// gone then.
    pub(crate) unsafe fn land(mut self, landing_pad: usize, exception: *mut u8) -> ! {
        // Landing pads expect the exception and the selector of the catch, of which Rust has one, in rax and rdx.
        self.registers.0[0] = exception as usize;
        self.registers.0[1] = 0;
        self.registers.0[RIP] = landing_pad;
        // SAFETY: by the caller.
        unsafe { restore(&self.registers) }
    }
}

/// What is called with registers and a pointer that is passed through.
pub(crate) type WithRegisters = unsafe extern "C-unwind" fn(&mut Registers, *mut u8);

/// Bytes of [`Registers`]; with a return address, a multiple of the stack's alignment.
const SIZE: usize = size_of::<Registers>();
const _: () = assert!((SIZE + 8).is_multiple_of(16));

/// Calls `f` with the registers that the caller of this function will have when this function has returned, and `data`.
///
/// Those that calls do not preserve have any value.
#[unsafe(naked)]
pub(crate) unsafe extern "C-unwind" fn with_registers(f: WithRegisters, data: *mut u8) {
    naked_asm!(
        ".cfi_startproc",
        "sub rsp, {size}",
        ".cfi_def_cfa_offset {size} + 8",
        "mov [rsp + 3*8], rbx",
        "mov [rsp + 6*8], rbp",
        "lea rax, [rsp + {size} + 8]",
        "mov [rsp + 7*8], rax",
        "mov [rsp + 12*8], r12",
        "mov [rsp + 13*8], r13",
        "mov [rsp + 14*8], r14",
        "mov [rsp + 15*8], r15",
        "mov rax, [rsp + {size}]",
        "mov [rsp + 16*8], rax",
        "mov rax, rdi",
        "mov rdi, rsp",
        "call rax",
        "add rsp, {size}",
        ".cfi_def_cfa_offset 8",
        "ret",
        ".cfi_endproc",
        size = const SIZE,
    )
}

/// What landing pads call when they are done: unwinding goes on to the caller of the function that the landing pad is in.
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn _Unwind_Resume(_exception: *mut u8) -> ! {
    naked_asm!(
        ".cfi_startproc",
        // As `with_registers(resume, exception)` called in its place.
        "mov rsi, rdi",
        "lea rdi, [rip + {resume}]",
        "jmp {with_registers}",
        ".cfi_endproc",
        resume = sym crate::exception::resume,
        with_registers = sym with_registers,
    )
}

/// Goes on with other registers.
///
/// # Safety
/// They must be those of code that is prepared for it.
#[unsafe(naked)]
unsafe extern "C" fn restore(_registers: &Registers) -> ! {
    naked_asm!(
        "mov rax, [rdi]",
        "mov rdx, [rdi + 1*8]",
        "mov rbx, [rdi + 3*8]",
        "mov rbp, [rdi + 6*8]",
        "mov r12, [rdi + 12*8]",
        "mov r13, [rdi + 13*8]",
        "mov r14, [rdi + 14*8]",
        "mov r15, [rdi + 15*8]",
        "mov rcx, [rdi + 16*8]",
        "mov rsp, [rdi + 7*8]",
        "jmp rcx",
    )
}
