//! What happens when the CPU raises an exception while a task runs.
//!
//! In this order, on the exception stack, with interrupts off:
//! 1. The trap handler (`signal_handler::set_trap_handler`) sees it: compiled WebAssembly raises exceptions on purpose.
//! 2. Breakpoints and single steps print the registers, and the task goes on.
//! 3. What is left is a bug of kernel code, and the task that ran it ends: the CPU is sent to a function on the *task's*
//!    stack, as if the faulting instruction had called it, which prints what happened and unwinds the task, so that what it
//!    owns is dropped. The exit value is `Killed(Exception(vector))`, and the kernel goes on.
//!
//! A task whose stack is used up is unwound from a caller that had more room, and so is one whose stack pointer is nonsense but
//! not its frame pointer. With neither, it ends from a spare stack, and what it owns is lost. A fault in an interrupt handler, in
//! an exception handler, or before there are tasks, and double faults, stop the CPU with a message.
//!
//! # Relies on
//! `interrupts::init`, and `panic_wrapper` for printing and unwinding.
#![no_std]

mod as_called;
mod fault;
mod spare_stack;

use core::fmt::Write;
use core::sync::atomic::{AtomicUsize, Ordering};
use cpu::CpuId;
use interrupts::{Resume, SavedRegisters};

const DEBUG: u8 = 1;
const NON_MASKABLE: u8 = 2;
const BREAKPOINT: u8 = 3;
const DOUBLE_FAULT: u8 = 8;
const PAGE_FAULT: u8 = 14;
const MACHINE_CHECK: u8 = 18;

/// The exceptions that the trap handler sees, as bits by vector: #DE, #OF, #BR, #UD, #SS, #GP, #PF, #MF, #XM.
const TRAPS: u32 = 1 << 0 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 12 | 1 << 13 | 1 << 14 | 1 << 16 | 1 << 19;

/// Exceptions that ended a task.
static FATAL_FAULTS: AtomicUsize = AtomicUsize::new(0);

/// Takes over all CPU exceptions. Call it once, on the boot CPU, after `interrupts::init`.
///
/// # Errors
/// Memory for the spare stack is out.
pub fn init() -> Result<(), &'static str> {
    prepare_cpu(cpu::current_cpu())?;
    interrupts::set_exception_handler(handle);
    Ok(())
}

/// Makes what another CPU needs to handle exceptions, before it comes up.
///
/// # Errors
/// Memory for its spare stack is out.
pub fn prepare_cpu(cpu: CpuId) -> Result<(), &'static str> {
    spare_stack::allocate(cpu)
}

/// How many exceptions ended a task since the system started.
pub fn fatal_faults() -> usize {
    FATAL_FAULTS.load(Ordering::Relaxed)
}

fn handle(registers: &mut SavedRegisters) -> Resume {
    let vector = registers.vector as u8;
    match vector {
        // These have stacks of their own, and may come at any time, so they must not touch the flag below.
        NON_MASKABLE => {
            // Nowhere to report a failure to write to.
            let _ = writeln!(logger::LastWords, "non-maskable interrupt at {:#x}", registers.rip);
            return Resume::All;
        }
        DOUBLE_FAULT => interrupts::halt_with_registers("while the CPU raised another", registers),
        MACHINE_CHECK => interrupts::halt_with_registers("reported by the hardware", registers),
        _ => {}
    }
    let this_cpu = cpu::this_cpu();
    if this_cpu.enter_exception() {
        interrupts::halt_with_registers("while another was handled", registers);
    }
    let trap = if is_trap(vector) { signal_handler::run_trap_handler(registers) } else { None };
    let resume = trap.unwrap_or_else(|| {
        if !is_resolved(registers) {
            fault::end_task(registers);
        }
        Resume::All
    });
    this_cpu.leave_exception();
    resume
}

fn is_trap(vector: u8) -> bool {
    vector < 32 && TRAPS & 1 << vector != 0
}

/// Whether the interrupted code can simply go on.
fn is_resolved(registers: &SavedRegisters) -> bool {
    match registers.vector as u8 {
        // `int3` and single steps are for people who look at what happens.
        DEBUG | BREAKPOINT => {
            let _ = writeln!(
                logger::Sink,
                "{}:\n{registers}",
                exceptions_early::exception_name(registers.vector as u8)
            );
            true
        }
        _ => false,
    }
}

/// Counts a fault that ends a task.
pub(crate) fn count_fatal_fault() {
    FATAL_FAULTS.fetch_add(1, Ordering::Relaxed);
}
