//! Taking the CPU from a task at an arbitrary instruction.
//!
//! The interrupt handler, on the interrupt stack, does not switch. It edits the saved registers such that the CPU
//! "returns" to [`preempt_trampoline`] on the task's own stack, below what the task uses there. The trampoline saves
//! everything the task could have in registers, calls the scheduler like any task would, and, when the task's turn comes
//! again, restores all and goes on at the interrupted instruction.
//!
//! ```text
//! higher addresses    stack of the preempted task
//!      interrupted rsp -> ┌─────────────────────────┐
//!                         │ gap (alignment)         │
//!                         │ ss rsp rflags cs rip    │  what `iretq` takes
//!  rsp at trampoline  ->  ├─────────────────────────┤
//!                         │ rax … r15               │
//!                         │ frames of the scheduler │
//! ```
//! Extended state (x87, SSE, AVX…) goes to the task's own save area. One is enough: from the trampoline's first instruction
//! to its last, interrupts are off, so it cannot be preempted itself before it used the area up.

use crate::scheduler;
use core::arch::naked_asm;
use core::sync::atomic::Ordering;
use cpu::offset;
use interrupts::SavedRegisters;

/// Bytes that must be left below a task's stack pointer for it to be preempted there: the trampoline's registers and the
/// scheduler's frames, with a wide margin. With less, the task goes on until the next tick.
const STACK_NEEDED: usize = 4096;
/// Bit 1 of RFLAGS, which is always set; all others clear means: interrupts off, direction forward, no single step.
const RFLAGS_RESERVED: u64 = 1 << 1;
/// Bit 9 of RFLAGS: interrupts are enabled.
const RFLAGS_INTERRUPT_FLAG: u64 = 1 << 9;

/// What `iretq` takes from the stack.
#[repr(C)]
struct ReturnFrame {
    rip: u64,
    cs: u64,
    rflags: u64,
    rsp: u64,
    ss: u64,
}

/// The hook at the end of every interrupt.
pub(crate) fn preempt_if_due(registers: &mut SavedRegisters) {
    if !cpu::reschedule_requested() || cpu::preemption_count() != 0 {
        return;
    }
    if !scheduler::others_are_ready() {
        // An idle task looks at the request itself: there may be something to do for this CPU in another's queue.
        if !scheduler::current_is_idle() {
            cpu::clear_reschedule();
            scheduler::restart_timeslice();
        }
        return;
    }
    let current = crate::current_pointer();
    if current.is_null() || registers.rflags & RFLAGS_INTERRUPT_FLAG == 0 {
        return;
    }
    // SAFETY: the current task lives while it runs, and it cannot stop to run during its own interrupt.
    let internals = unsafe { &*current }.internals();
    let bottom = internals.stack_bottom.load(Ordering::Relaxed);
    let top = internals.stack_top.load(Ordering::Relaxed);
    let frame = (registers.rsp as usize).wrapping_sub(size_of::<ReturnFrame>()) & !15;
    if frame < bottom + STACK_NEEDED || frame >= top {
        return;
    }
    let SavedRegisters { rip, cs, rflags, rsp, ss, .. } = *registers;
    // SAFETY: the frame lies within the task's stack, which is mapped and writable, and below its stack pointer, where
    // nothing lives: no code in this kernel uses a red zone.
    unsafe { (frame as *mut ReturnFrame).write(ReturnFrame { rip, cs, rflags, rsp, ss }) };
    registers.rip = preempt_trampoline as *const () as u64;
    registers.rsp = frame as u64;
    registers.rflags = RFLAGS_RESERVED;
}

/// Where a preempted task's `iretq` goes: see the module's documentation. The stack pointer points at a [`ReturnFrame`] and
/// is a multiple of 16; interrupts are off.
#[unsafe(naked)]
unsafe extern "C" fn preempt_trampoline() {
    naked_asm!(
        "push rax",
        "push rcx",
        "push rdx",
        "push rbx",
        "push rbp",
        "push rsi",
        "push rdi",
        "push r8",
        "push r9",
        "push r10",
        "push r11",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        // Fifteen registers: one more word aligns the stack for calls.
        "sub rsp, 8",
        "mov rdi, gs:[{extended_state}]",
        "call {save}",
        "call {switch}",
        // Back again, perhaps on another CPU: the area is the task's, whichever CPU says so.
        "mov rdi, gs:[{extended_state}]",
        "call {restore}",
        "add rsp, 8",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop r11",
        "pop r10",
        "pop r9",
        "pop r8",
        "pop rdi",
        "pop rsi",
        "pop rbp",
        "pop rbx",
        "pop rdx",
        "pop rcx",
        "pop rax",
        "iretq",
        extended_state = const offset::EXTENDED_STATE,
        save = sym context_switch::save,
        restore = sym context_switch::restore,
        switch = sym switch_from_trampoline,
    )
}

/// The scheduler as the trampoline calls it.
extern "C" fn switch_from_trampoline() {
    scheduler::switch_to_next(scheduler::Why::Preempted);
}
