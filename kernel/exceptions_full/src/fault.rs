//! Ending the task that raised an exception which nobody handles.

use crate::{as_called, spare_stack};
use interrupts::SavedRegisters;
use memory::VirtualAddress;
use signal_handler::{ErrorCode, Signal, SignalContext};
use unwind::FaultFrame;

/// The bits of RFLAGS that reverse string instructions (10) and step through code (8).
const DIRECTION_AND_TRAP_FLAGS: u64 = 1 << 10 | 1 << 8;
/// The bit of RFLAGS that enables interrupts.
pub(crate) const INTERRUPT_FLAG: u64 = 1 << 9;

/// Makes the interrupted task end instead of going on. Stops the CPU if it was not a task that was interrupted.
pub(crate) fn end_task(registers: &mut SavedRegisters) {
    if cpu::this_cpu().on_interrupt_stack(registers.rsp as usize) {
        interrupts::halt_with_registers("in an interrupt handler", registers);
    }
    let task = task::with_current_task(|task| (task.stack_bounds(), task.is_an_idle_task));
    let Ok(((bottom, top), false)) = task else {
        interrupts::halt_with_registers("outside of any task that could end", registers);
    };
    crate::count_fatal_fault();
    let frame = frame_of(registers);
    registers.rflags &= !DIRECTION_AND_TRAP_FLAGS;
    let stack_pointer = registers.rsp as usize;
    let has_room = stack_pointer <= top && stack_pointer >= bottom + FaultFrame::STACK_NEEDED;
    // SAFETY: the task does not go on in any other way. With room, the stack pointer lies within the task's stack, which is
    // mapped, and below it there is as much as is needed; without, the spare stack is there for it.
    unsafe {
        if !has_room {
            spare_stack::enter(registers, frame);
        } else if let Some(return_address) = call_into_nowhere(registers, top) {
            as_called::enter(registers, frame, return_address);
        } else {
            let entry = frame.place();
            registers.rip = entry.rip;
            registers.rsp = entry.rsp;
        }
    }
}

/// If what faulted is a call of an address where there is no code, the address that the call would have returned to.
///
/// # Safety
/// The stack pointer lies within the interrupted task's stack, which ends at `stack_top`.
unsafe fn call_into_nowhere(registers: &SavedRegisters, stack_top: usize) -> Option<u64> {
    if is_code(registers.rip) || registers.rsp as usize + size_of::<u64>() > stack_top {
        return None;
    }
    // SAFETY: the word lies within the stack, which is mapped.
    let return_address = unsafe { (registers.rsp as *const u64).read_unaligned() };
    // A return address is behind the call, which may be a function's last instruction.
    is_code(return_address.wrapping_sub(1)).then_some(return_address)
}

/// Whether an address lies in the base image, a loaded crate, or compiled WebAssembly.
pub(crate) fn is_code(address: u64) -> bool {
    unwind::code_range_containing(address as usize).is_some()
}

/// The interrupted registers as the unwinder wants them.
fn frame_of(registers: &SavedRegisters) -> FaultFrame {
    let SavedRegisters { r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbp, rbx, rdx, rcx, rax, .. } =
        *registers;
    let SavedRegisters { vector, error_code, rip, rsp, rflags, .. } = *registers;
    let fault_address =
        if vector == u64::from(crate::PAGE_FAULT) { interrupts::fault_address() as u64 } else { 0 };
    FaultFrame {
        rax,
        rdx,
        rcx,
        rbx,
        rsi,
        rdi,
        rsp,
        r8,
        r9,
        r10,
        r11,
        r12,
        r13,
        r14,
        r15,
        rbp,
        rip,
        rflags,
        vector,
        error_code,
        fault_address,
        handler: end_by_unwinding,
    }
}

/// Runs on the task's own stack, as if the faulting instruction had called it.
///
/// # Safety
/// For [`FaultFrame::place`] only.
unsafe extern "C-unwind" fn end_by_unwinding(frame: &mut FaultFrame) -> ! {
    run_signal_handler(frame);
    // SAFETY: the frame is the one that `place` put there, and this is its handler.
    unsafe { panic_wrapper::fault_handler(frame) }
}

/// Gives the task's own handler for this kind of fault, if it has one, the chance to unwind the task to where it can go on.
pub(crate) fn run_signal_handler(frame: &FaultFrame) {
    if let Some(signal) = Signal::from_vector(frame.vector as u8)
        && let Some(handler) = signal_handler::take_signal_handler(signal)
    {
        // A handler that returns, whatever it says, has not found the task another way to go on.
        let _ = handler(&context_of(frame, signal));
    }
}

/// The fault as upstream's signal handlers are told of it.
fn context_of(frame: &FaultFrame, signal: Signal) -> SignalContext {
    let error_code = if frame.vector == u64::from(crate::PAGE_FAULT) {
        ErrorCode::PageFaultError {
            accessed_address: frame.fault_address as usize,
            pf_error: frame.error_code,
        }
    } else {
        ErrorCode::Other(frame.error_code)
    };
    SignalContext {
        instruction_pointer: VirtualAddress::new_canonical(frame.rip as usize),
        stack_pointer: VirtualAddress::new_canonical(frame.rsp as usize),
        signal,
        error_code: Some(error_code),
    }
}
