//! Ending a task in the place of a function that it has called.
//!
//! To the calling function, [`called_instead`] is what it called, so its landing pads run as for any call; a function that
//! was *interrupted* has none for where it was. Two kinds of faults end up here: a call of an address where there is no
//! code, and a stack that is used up, which is unwound from a caller that has room.

use crate::fault::{self, INTERRUPT_FLAG};
use core::arch::naked_asm;
use core::mem::offset_of;
use interrupts::SavedRegisters;
use task::KillReason;
use unwind::FaultFrame;

/// Sends the interrupted task to [`called_instead`], in place of the function that it called and that is none. Nothing was
/// executed since the call.
///
/// # Safety
/// As for [`FaultFrame::place`]; and the word at the stack pointer is `return_address`, of a call.
pub(crate) unsafe fn enter(registers: &mut SavedRegisters, mut frame: FaultFrame, return_address: u64) {
    // What is reported as the place is the call.
    frame.rip = return_address - 1;
    frame.handler = end_after_bad_call;
    // SAFETY: the caller promises it.
    registers.rdi = unsafe { place_below(registers.rsp, frame) };
    registers.rip = called_instead as *const () as u64;
    // `called_instead` turns them on again when the frame is not below its stack pointer any more.
    registers.rflags &= !INTERRUPT_FLAG;
}

/// Writes a frame where [`called_instead`] wants it, if it is entered with this stack pointer; gives the frame's address.
///
/// # Safety
/// Below the stack pointer there is unused stack for it.
pub(crate) unsafe fn place_below(stack_pointer: u64, frame: FaultFrame) -> u64 {
    // `called_instead` pushes one word.
    let address = (stack_pointer - 2 * size_of::<u64>() as u64 - size_of::<FaultFrame>() as u64) & !15;
    // SAFETY: the caller promises that the memory is there and unused; it is aligned.
    unsafe { (address as *mut FaultFrame).write(frame) };
    address
}

/// Stands in for a function: at its entry a return address lies at the stack pointer, the callee-saved registers are the
/// caller's, interrupts are off, and `rdi` points to a frame a little below, whose handler it calls.
#[unsafe(naked)]
pub(crate) unsafe extern "C-unwind" fn called_instead(_frame: &mut FaultFrame) -> ! {
    naked_asm!(
        ".cfi_startproc",
        "push rbp",
        ".cfi_def_cfa_offset 16",
        ".cfi_offset rbp, -16",
        "mov rbp, rsp",
        ".cfi_def_cfa_register rbp",
        // What is below the frame is free, and the frame is aligned.
        "mov rsp, rdi",
        "test dword ptr [rdi + {rflags}], {interrupt_flag}",
        "jz 2f",
        "sti",
        "2:",
        "call [rdi + {handler}]",
        "ud2",
        ".cfi_endproc",
        rflags = const offset_of!(FaultFrame, rflags),
        interrupt_flag = const INTERRUPT_FLAG,
        handler = const offset_of!(FaultFrame, handler),
    )
}

/// Reports the task, whose call went nowhere, and unwinds it.
///
/// # Safety
/// For [`called_instead`] only.
unsafe extern "C-unwind" fn end_after_bad_call(frame: &mut FaultFrame) -> ! {
    fault::run_signal_handler(frame);
    panic_wrapper::report_fault(frame);
    panic_wrapper::unwind_from_fault(KillReason::Exception(frame.vector as u8))
}
