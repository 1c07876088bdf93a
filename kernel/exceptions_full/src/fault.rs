//! Ending the task that raised an exception which nobody handles.

use core::cell::UnsafeCell;
use core::fmt::Write;
use core::mem::MaybeUninit;
use core::sync::atomic::{AtomicUsize, Ordering};
use interrupts::SavedRegisters;
use logger::Sink;
use memory::VirtualAddress;
use signal_handler::{ErrorCode, Signal, SignalContext};
use task::{ExitableTaskRef, KillReason};
use unwind::FaultFrame;

/// Pages of the stack on which tasks end whose own stack is unusable: they print a backtrace there.
const SPARE_STACK_PAGES: usize = 16;
/// The bits of RFLAGS that reverse string instructions (10) and step through code (8).
const DIRECTION_AND_TRAP_FLAGS: u64 = 1 << 10 | 1 << 8;
/// The bit of RFLAGS that enables interrupts.
const INTERRUPT_FLAG: u64 = 1 << 9;

/// The address above the spare stack; 0 before there is one. One CPU runs tasks, and it uses the stack with interrupts off
/// from beginning to end, so one is enough.
static SPARE_STACK_TOP: AtomicUsize = AtomicUsize::new(0);
/// What happened to the task that ends on the spare stack.
static SPARE_FRAME: SpareFrame = SpareFrame(UnsafeCell::new(MaybeUninit::uninit()));

struct SpareFrame(UnsafeCell<MaybeUninit<FaultFrame>>);

// SAFETY: it is used together with the spare stack, so by one task at a time: see `SPARE_STACK_TOP`.
unsafe impl Sync for SpareFrame {}

/// Makes the spare stack.
pub(crate) fn allocate_spare_stack() -> Result<(), &'static str> {
    let mmi = memory::get_kernel_mmi_ref().ok_or("exceptions_full needs memory::init first")?;
    let stack = stack::alloc_stack(SPARE_STACK_PAGES, &mut mmi.lock().page_table)
        .ok_or("not enough memory for the spare stack of exceptions_full")?;
    SPARE_STACK_TOP.store(stack.top_unusable().value(), Ordering::Release);
    // It is needed for as long as the kernel runs.
    core::mem::forget(stack);
    Ok(())
}

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
    let stack_pointer = registers.rsp as usize;
    let room = (bottom..=top).contains(&stack_pointer).then(|| stack_pointer - bottom);
    if room.is_some_and(|room| room >= FaultFrame::STACK_NEEDED) {
        registers.rflags &= !DIRECTION_AND_TRAP_FLAGS;
        // SAFETY: the stack pointer lies within the task's stack, which is mapped, and below it there is as much as is
        // needed. The task does not go on in any other way.
        unsafe {
            match call_into_nowhere(registers, top) {
                Some(return_address) => enter_as_called(registers, frame, return_address),
                None => {
                    let entry = frame.place();
                    registers.rip = entry.rip;
                    registers.rsp = entry.rsp;
                }
            }
        }
    } else {
        // SAFETY: interrupts are off and stay so until the task that uses the spare frame and stack has ended.
        let frame = unsafe { (*SPARE_FRAME.0.get()).write(frame) };
        registers.rip = end_on_spare_stack as *const () as u64;
        registers.rdi = core::ptr::from_ref(frame) as u64;
        // As after a call: 8 less than a multiple of 16.
        registers.rsp = (SPARE_STACK_TOP.load(Ordering::Acquire) & !15) as u64 - 8;
        registers.rbp = 0;
        registers.rflags &= !(DIRECTION_AND_TRAP_FLAGS | INTERRUPT_FLAG);
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

fn is_code(address: u64) -> bool {
    unwind::code_range_containing(address as usize).is_some()
}

/// Lets the task go on in [`called_instead`], in place of the function that it called and that is none. Nothing was executed
/// since the call, so to the caller it is a call like any other, whose landing pads run.
///
/// # Safety
/// As for [`FaultFrame::place`]; and the word at the stack pointer is the return address of a call.
unsafe fn enter_as_called(registers: &mut SavedRegisters, mut frame: FaultFrame, return_address: u64) {
    // What is reported as the place is the call.
    frame.rip = return_address - 1;
    // The word below the return address is for `called_instead` to push to.
    let address = (registers.rsp - 2 * size_of::<u64>() as u64 - size_of::<FaultFrame>() as u64) & !15;
    // SAFETY: unused memory of the task's stack, as the caller promises, and aligned.
    unsafe { (address as *mut FaultFrame).write(frame) };
    registers.rdi = address;
    registers.rip = called_instead as *const () as u64;
}

/// Stands in for a function that does not exist; the frame at `rdi` says who called it. It is on the stack, a little below the
/// return address.
#[unsafe(naked)]
unsafe extern "C-unwind" fn called_instead(_frame: &mut FaultFrame) -> ! {
    core::arch::naked_asm!(
        ".cfi_startproc",
        "push rbp",
        ".cfi_def_cfa_offset 16",
        ".cfi_offset rbp, -16",
        "mov rbp, rsp",
        ".cfi_def_cfa_register rbp",
        // What is below the frame is free, and the frame is aligned.
        "mov rsp, rdi",
        "call {handler}",
        "ud2",
        ".cfi_endproc",
        handler = sym end_as_called,
    )
}

/// Reports the task and unwinds it, from [`called_instead`].
extern "C-unwind" fn end_as_called(frame: &mut FaultFrame) -> ! {
    run_signal_handler(frame);
    panic_wrapper::report_fault(frame);
    catch_unwind::resume_unwind(KillReason::Exception(frame.vector as u8))
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
fn run_signal_handler(frame: &FaultFrame) {
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

/// Runs on the spare stack, with interrupts off: says what happened and ends the task as it is.
extern "C" fn end_on_spare_stack(frame: &FaultFrame) -> ! {
    report(frame);
    let reason = KillReason::Exception(frame.vector as u8);
    match task::get_my_current_task().and_then(ExitableTaskRef::obtain_for_unwinder) {
        Some((task, end)) => end(task, reason),
        None => panic_entry::halt(format_args!("the current task cannot be ended: {reason}")),
    }
}

/// Writes to the log what happened to the current task.
fn report(frame: &FaultFrame) {
    panic_wrapper::report_fault(frame);
    let stack_bottom = task::with_current_task(|task| task.stack_bounds().0).unwrap_or(0);
    let below = stack_bottom.saturating_sub(frame.fault_address as usize);
    let why = if (1..=memory::PAGE_SIZE).contains(&below) {
        "its stack is used up"
    } else {
        "its stack is unusable"
    };
    // There is nowhere to report a failure to write to.
    let _ = writeln!(Sink, "{why}: the task ends without dropping what it owns");
}
