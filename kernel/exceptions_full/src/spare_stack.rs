//! Ending a task whose own stack is used up, or whose stack pointer is nonsense.
//!
//! On its CPU's spare stack, with interrupts off, the fault is reported, and the frames of the task are walked from the innermost
//! out, until there is one with enough stack below it to unwind the task from there: the CPU is sent there as if that
//! function's callee had ended the task. What the frames further in own is lost; usually that is the same few things a
//! thousand times. If there is no such frame, the task ends as it is.

use crate::as_called::{called_instead, place_below};
use crate::fault::{self, INTERRUPT_FLAG};
use core::arch::naked_asm;
use core::mem::offset_of;
use core::ops::Range;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use cpu::{CpuId, MAX_CPUS};
use interrupts::SavedRegisters;
use task::{ExitableTaskRef, KillReason};
use unwind::{Cursor, FaultFrame};

/// Pages of the spare stack: walking frames and printing them takes half of it.
const SPARE_STACK_PAGES: usize = 16;
/// A stack overflow leaves the stack pointer at most this far below the stack: compilers touch a large frame page by page.
const OVERSHOOT: usize = 64 << 10;

/// The spare stack of one CPU. Whoever is on it has interrupts off from beginning to end, and so stays on its CPU.
struct SpareStack {
    /// The lowest address of the stack and the one above it; 0 before there is one.
    bottom: AtomicUsize,
    top: AtomicUsize,
    /// Whether the report or the walk has begun: a fault while the stack is in use then comes from there.
    in_use: AtomicBool,
}

/// The spare stacks by CPU.
static STACKS: [SpareStack; MAX_CPUS] = [const {
    SpareStack { bottom: AtomicUsize::new(0), top: AtomicUsize::new(0), in_use: AtomicBool::new(false) }
}; MAX_CPUS];

/// The spare stack of this CPU, interrupts being off.
fn this_cpus() -> &'static SpareStack {
    &STACKS[cpu::current_cpu().index()]
}

/// Makes the spare stack of a CPU, unless it has one.
pub(crate) fn allocate(cpu: CpuId) -> Result<(), &'static str> {
    let spare = &STACKS[cpu.index()];
    if spare.top.load(Ordering::Relaxed) != 0 {
        return Ok(());
    }
    let mmi = memory::get_kernel_mmi_ref().ok_or("exceptions_full needs memory::init first")?;
    let stack = stack::alloc_stack(SPARE_STACK_PAGES, &mut mmi.lock().page_table)
        .ok_or("not enough memory for the spare stack of exceptions_full")?;
    spare.bottom.store(stack.bottom().value(), Ordering::Relaxed);
    spare.top.store(stack.top_unusable().value(), Ordering::Release);
    // It is needed for as long as the kernel runs.
    core::mem::forget(stack);
    Ok(())
}

/// Sends the interrupted task to [`end_on_spare_stack`].
///
/// # Safety
/// The task does not go on in any other way.
pub(crate) unsafe fn enter(registers: &mut SavedRegisters, mut frame: FaultFrame) {
    let spare = this_cpus();
    let top = spare.top.load(Ordering::Acquire);
    let stack = spare.bottom.load(Ordering::Relaxed)..top;
    let again = stack.contains(&(registers.rsp as usize)) && spare.in_use.load(Ordering::Relaxed);
    frame.handler = if again { end_at_once } else { end_on_spare_stack };
    let address = (top - size_of::<FaultFrame>()) & !15;
    // SAFETY: the spare stack is mapped. Nothing on it is needed any more: either it is unused, or what used it has faulted.
    unsafe { (address as *mut FaultFrame).write(frame) };
    // This entry takes the registers of the interrupted function, its stack pointer included, from the frame, wherever that
    // is. So the walk goes from this stack to the task's.
    registers.rip = unwind::fault_entry_address() as u64;
    registers.rsp = address as u64;
    registers.rflags &= !INTERRUPT_FLAG;
}

/// Runs on the spare stack: reports the fault and ends the task, by unwinding if possible.
///
/// # Safety
/// For the fault entry only.
unsafe extern "C-unwind" fn end_on_spare_stack(frame: &mut FaultFrame) -> ! {
    this_cpus().in_use.store(true, Ordering::Relaxed);
    panic_wrapper::report_fault(frame);
    let bounds = task::with_current_task(|task| task.stack_bounds());
    let caller = bounds.ok().and_then(|(bottom, top)| {
        // A function that keeps a frame pointer, as all of the kernel's do, is found by that, whatever became of its stack
        // pointer. With neither there are no frames that could be walked.
        let can_be_walked = (bottom.saturating_sub(OVERSHOOT)..top).contains(&(frame.rsp as usize))
            || (bottom..top).contains(&(frame.rbp as usize)) && fault::is_code(frame.rip);
        can_be_walked.then(|| find_caller(frame, bottom + FaultFrame::STACK_NEEDED..top)).flatten()
    });
    let Some(mut caller) = caller else { end(frame, "its stack is unusable") };
    panic_wrapper::note(format_args!(
        "its stack is used up or its stack pointer lost: it is unwound from where there was room"
    ));
    let mut frame = frame.clone();
    frame.handler = end_after_overflow;
    // SAFETY: the function whose registers these are had called another one, which together with all further calls is given
    // up. Below its stack pointer there is the room that was asked for.
    unsafe {
        caller.frame = place_below(caller.stack_pointer, frame);
        this_cpus().in_use.store(false, Ordering::Relaxed);
        go_on_as_called(&caller)
    }
}

/// Runs on the spare stack when the report or the walk has faulted itself.
///
/// # Safety
/// For the fault entry only.
unsafe extern "C-unwind" fn end_at_once(frame: &mut FaultFrame) -> ! {
    end(frame, "its frames cannot be walked")
}

/// Ends the task as it is.
fn end(frame: &FaultFrame, why: &str) -> ! {
    panic_wrapper::note(format_args!("{why}: the task ends without dropping what it owns"));
    this_cpus().in_use.store(false, Ordering::Relaxed);
    let reason = KillReason::Exception(frame.vector as u8);
    match task::get_my_current_task().and_then(ExitableTaskRef::obtain_for_unwinder) {
        Some((task, end)) => end(task, reason),
        None => panic_entry::halt(format_args!("the current task cannot be ended: {reason}")),
    }
}

/// Unwinds the task, from [`called_instead`], on its own stack.
///
/// # Safety
/// For [`called_instead`] only.
unsafe extern "C-unwind" fn end_after_overflow(frame: &mut FaultFrame) -> ! {
    fault::run_signal_handler(frame);
    panic_wrapper::unwind_from_fault(KillReason::Exception(frame.vector as u8))
}

/// The registers of a function at the moment when it has just called another one.
#[repr(C)]
#[derive(Default)]
struct Caller {
    rbx: u64,
    rbp: u64,
    r12: u64,
    r13: u64,
    r14: u64,
    r15: u64,
    /// Where the return address lies.
    stack_pointer: u64,
    /// The frame for [`called_instead`].
    frame: u64,
}

/// Finds the innermost function, of those that led to the fault, that has its stack pointer in `range`.
fn find_caller(frame: &FaultFrame, range: Range<usize>) -> Option<Caller> {
    let mut cursor = Cursor::of_fault(frame);
    // SAFETY: the task does not run but for this. Should it not be its stack that the registers lead to, a fault ends the walk:
    // see `enter`.
    while unsafe { cursor.go_to_caller() } {
        let return_address = cursor.instruction_pointer() as u64;
        // The stack pointer as it is when the call has returned.
        let stack_pointer = cursor.stack_pointer();
        if cursor.is_interrupted()
            || !range.contains(&stack_pointer)
            || !fault::is_code(return_address.wrapping_sub(1))
        {
            continue;
        }
        let stack_pointer = stack_pointer - size_of::<u64>();
        // SAFETY: the word is in the task's stack. That it is the return address shows that it was a call.
        if unsafe { (stack_pointer as *const u64).read_unaligned() } != return_address {
            continue;
        }
        // The registers' numbers are DWARF's (System V psABI for AMD64, figure 3.36).
        let register = |number| cursor.register(number) as u64;
        return Some(Caller {
            rbx: register(3),
            rbp: register(6),
            r12: register(12),
            r13: register(13),
            r14: register(14),
            r15: register(15),
            stack_pointer: stack_pointer as u64,
            frame: 0,
        });
    }
    None
}

/// Makes the registers those of `caller` and goes to [`called_instead`].
///
/// # Safety
/// As for [`called_instead`]. Interrupts are off; nothing on the present stack is needed any more.
#[unsafe(naked)]
unsafe extern "C" fn go_on_as_called(_caller: &Caller) -> ! {
    naked_asm!(
        "mov rbx, [rdi + {rbx}]",
        "mov rbp, [rdi + {rbp}]",
        "mov r12, [rdi + {r12}]",
        "mov r13, [rdi + {r13}]",
        "mov r14, [rdi + {r14}]",
        "mov r15, [rdi + {r15}]",
        "mov rsp, [rdi + {stack_pointer}]",
        "mov rdi, [rdi + {frame}]",
        "jmp {called_instead}",
        rbx = const offset_of!(Caller, rbx),
        rbp = const offset_of!(Caller, rbp),
        r12 = const offset_of!(Caller, r12),
        r13 = const offset_of!(Caller, r13),
        r14 = const offset_of!(Caller, r14),
        r15 = const offset_of!(Caller, r15),
        stack_pointer = const offset_of!(Caller, stack_pointer),
        frame = const offset_of!(Caller, frame),
        called_instead = sym called_instead,
    )
}
