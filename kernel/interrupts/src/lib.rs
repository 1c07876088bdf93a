//! Descriptor tables, interrupt stacks, entry points, and who handles which interrupt.
//!
//! Every vector has a stub that saves all general-purpose registers and the SSE registers, and calls the handler with
//! the saved registers, which the handler may edit: `iretq` then continues elsewhere. The upper halves of YMM and all
//! AVX-512 state stay in the registers, because kernel code never touches them.
//!
//! # Stacks
//! Interrupts and exceptions never use the interrupted task's stack, so a handler has room whatever the task did:
//! interrupts run on IST1, exceptions on IST2, double faults on IST3, NMIs on IST4, machine checks on IST5, each with a
//! guard page. Such a stack starts anew with every entry. So handlers must not block, must not switch to another
//! task, and run with interrupts off; what takes longer is done by editing the saved registers such that the *task* does
//! it, on its own stack, after the handler returned.
//!
//! # What a handler may do
//! Touch atomics and structures behind interrupt-safe locks, and make tasks runnable. It must not allocate, free or
//! unwind.
//!
//! # Several CPUs
//! They share the interrupt table and its handlers; segments, task state and stacks are each CPU's own ([`CpuTables`]). Devices
//! interrupt the boot CPU. Non-maskable interrupts are how CPUs tell each other what cannot wait: to forget translations
//! (`tlb_shootdown`), to stop ([`stop_other_cpus`]).
//!
//! # Relies on
//! `cpu` for the per-CPU block, `memory` and `stack` for the stacks, `apic` for the end-of-interrupt signal.
#![no_std]
extern crate alloc;

mod entry;
mod stop;
mod tables;

use core::fmt::Write;
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

pub use entry::{Resume, SavedRegisters};
pub use stop::stop_other_cpus;
pub use tables::{CpuTables, init};

/// The vector of ISA interrupt 0; the others of the 16 follow. Vectors below belong to the CPU's exceptions.
pub const IRQ_BASE_OFFSET: u8 = 0x20;
/// How many ISA interrupts there are.
const ISA_IRQ_COUNT: u8 = 16;
/// The vector of the non-maskable interrupt.
const NON_MASKABLE: u64 = 2;
/// How many vectors are exceptions (Intel SDM volume 3, 6.2).
const EXCEPTION_COUNT: u8 = 32;

/// Whether a handler told the interrupt controller that it is done. If it did not, it is done for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EoiBehaviour {
    /// The handler called [`eoi`].
    HandlerSentEoi,
    /// [`eoi`] is called after the handler.
    HandlerDidNotSendEoi,
}

/// What handles an interrupt: a function that runs on the interrupt stack, with interrupts off.
pub type InterruptHandler = fn(&mut SavedRegisters) -> EoiBehaviour;
/// What is called with the saved registers at the end of an interrupt.
pub type FrameHook = fn(&mut SavedRegisters);
/// What is called with the saved registers of an exception.
pub type ExceptionHandler = fn(&mut SavedRegisters) -> Resume;

/// The handlers by vector; null where there is none.
static HANDLERS: [AtomicPtr<()>; 256] = [const { AtomicPtr::new(core::ptr::null_mut()) }; 256];
/// An [`ExceptionHandler`]; null before [`set_exception_handler`].
static EXCEPTION_HANDLER: AtomicPtr<()> = AtomicPtr::new(core::ptr::null_mut());
/// A [`FrameHook`]; null before [`set_interrupt_exit_hook`].
static EXIT_HOOK: AtomicPtr<()> = AtomicPtr::new(core::ptr::null_mut());
/// A `fn() -> bool`; null before [`set_nmi_hook`].
static NMI_HOOK: AtomicPtr<()> = AtomicPtr::new(core::ptr::null_mut());
/// Interrupts that nobody had registered for.
static UNHANDLED: AtomicUsize = AtomicUsize::new(0);

/// Registers who handles interrupt `vector`.
///
/// # Errors
/// The address of the present handler if there is one, and [`usize::MAX`] if the vector is a CPU exception's.
pub fn register_interrupt(vector: u8, handler: InterruptHandler) -> Result<(), usize> {
    if vector < EXCEPTION_COUNT {
        return Err(usize::MAX);
    }
    HANDLERS[usize::from(vector)]
        .compare_exchange(core::ptr::null_mut(), handler as *mut (), Ordering::AcqRel, Ordering::Acquire)
        .map(|_| ())
        .map_err(|present| present as usize)
}

/// The vectors for interrupts that devices send as messages.
const MESSAGE_VECTORS: core::ops::Range<u8> = 0x30..0xF0;

/// Registers who handles an interrupt that a device sends as a message; returns the vector for it. Several devices may have the same
/// handler, which is told the vector.
///
/// # Errors
/// There is no free vector.
pub fn register_msi_interrupt(handler: InterruptHandler) -> Result<u8, &'static str> {
    MESSAGE_VECTORS
        .into_iter()
        .find(|&vector| register_interrupt(vector, handler).is_ok())
        .ok_or("all interrupt vectors are taken")
}

/// Undoes [`register_interrupt`] with the same arguments. An interrupt that is being handled on another CPU may still
/// be in `handler` when this returns.
///
/// # Errors
/// The address of the handler that is registered instead, 0 if none is.
pub fn deregister_interrupt(vector: u8, handler: InterruptHandler) -> Result<(), usize> {
    HANDLERS[usize::from(vector)]
        .compare_exchange(handler as *mut (), core::ptr::null_mut(), Ordering::AcqRel, Ordering::Acquire)
        .map(|_| ())
        .map_err(|present| present as usize)
}

/// Registers who handles ISA interrupt `irq` (0 to 15; COM1 is 4), and lets it through to the boot CPU.
///
/// # Errors
/// As [`register_interrupt`]; also [`usize::MAX`] if there is no such interrupt, or no I/O APIC that carries it.
pub fn register_isa_interrupt(irq: u8, handler: InterruptHandler) -> Result<(), usize> {
    if irq >= ISA_IRQ_COUNT {
        return Err(usize::MAX);
    }
    let vector = IRQ_BASE_OFFSET + irq;
    register_interrupt(vector, handler)?;
    apic::route_isa_irq(irq, vector).map_err(|_| {
        // Nothing else can have replaced the handler that was just registered.
        let _ = deregister_interrupt(vector, handler);
        usize::MAX
    })
}

/// Undoes [`register_isa_interrupt`] with the same arguments.
///
/// # Errors
/// As [`deregister_interrupt`].
pub fn deregister_isa_interrupt(irq: u8, handler: InterruptHandler) -> Result<(), usize> {
    if irq >= ISA_IRQ_COUNT {
        return Err(usize::MAX);
    }
    apic::mask_isa_irq(irq);
    deregister_interrupt(IRQ_BASE_OFFSET + irq, handler)
}

/// Tells the interrupt controller that the handler of the interrupt in service on this CPU is done with it. The
/// local APIC knows which one that is; `_irq` is there for controllers that do not.
pub fn eoi(_irq: u8) {
    apic::eoi();
}

/// Says who handles CPU exceptions. For `exceptions_full`.
pub fn set_exception_handler(handler: ExceptionHandler) {
    EXCEPTION_HANDLER.store(handler as *mut (), Ordering::Release);
}

/// Says what is called at the end of every interrupt, after its handler. For the scheduler, which preempts there.
pub fn set_interrupt_exit_hook(hook: FrameHook) {
    EXIT_HOOK.store(hook as *mut (), Ordering::Release);
}

/// Says what is called first of all when a non-maskable interrupt comes: it returns whether it was what the interrupt was for.
/// For `tlb_shootdown`. It may run at any instruction, also of code that has interrupts off and holds locks.
pub fn set_nmi_hook(hook: fn() -> bool) {
    NMI_HOOK.store(hook as *mut (), Ordering::Release);
}

/// How many interrupts came for which nobody had registered.
pub fn unhandled_interrupts() -> usize {
    UNHANDLED.load(Ordering::Relaxed)
}

/// Called by the stubs of vectors 32 and above.
extern "C" fn handle_interrupt(registers: &mut SavedRegisters) {
    awake();
    let vector = registers.vector as u8;
    let handler = HANDLERS[usize::from(vector)].load(Ordering::Acquire);
    let behaviour = if handler.is_null() {
        UNHANDLED.fetch_add(1, Ordering::Relaxed);
        EoiBehaviour::HandlerDidNotSendEoi
    } else {
        // SAFETY: only `register_interrupt` writes other values than null, and only `InterruptHandler`s.
        let handler = unsafe { core::mem::transmute::<*mut (), InterruptHandler>(handler) };
        handler(registers)
    };
    // A spurious interrupt is not in service, so it must not be ended (Intel SDM volume 3, 11.9).
    if behaviour == EoiBehaviour::HandlerDidNotSendEoi && vector != apic::SPURIOUS_VECTOR {
        apic::eoi();
    }
    let hook = EXIT_HOOK.load(Ordering::Acquire);
    if !hook.is_null() {
        // SAFETY: only `set_interrupt_exit_hook` writes other values than null, and only `FrameHook`s.
        let hook = unsafe { core::mem::transmute::<*mut (), FrameHook>(hook) };
        hook(registers);
    }
}

/// Called by the stubs of vectors below 32.
extern "C" fn handle_exception(registers: &mut SavedRegisters) -> Resume {
    awake();
    if registers.vector == NON_MASKABLE && handle_nmi() {
        return Resume::All;
    }
    let handler = EXCEPTION_HANDLER.load(Ordering::Acquire);
    if handler.is_null() {
        halt_with_registers("before tasks exist", registers);
    }
    // SAFETY: only `set_exception_handler` writes other values than null, and only `ExceptionHandler`s.
    let handler = unsafe { core::mem::transmute::<*mut (), ExceptionHandler>(handler) };
    handler(registers)
}

/// If this CPU slept while page tables changed, it forgets what it knew of them, before anything else. The stubs touch only
/// what is never unmapped.
#[inline]
fn awake() {
    if cpu::this_cpu().awake() {
        memory::flush_all_translations();
    }
}

/// Whether a non-maskable interrupt was meant for the kernel itself.
fn handle_nmi() -> bool {
    stop::stop_if_asked();
    let hook = NMI_HOOK.load(Ordering::Acquire);
    // SAFETY: only `set_nmi_hook` writes the slot, and only `fn() -> bool`s.
    !hook.is_null() && unsafe { core::mem::transmute::<*mut (), fn() -> bool>(hook) }()
}

/// Prints an exception's registers as the kernel's last words, and stops all CPUs.
pub fn halt_with_registers(when: &str, registers: &SavedRegisters) -> ! {
    stop_other_cpus();
    // Nowhere to report a failure to write to.
    let _ = write!(
        logger::LastWords,
        "\nCPU exception {} ({}) {when}, error code {:#x}, address {:#018x}: the kernel stops.\n{registers}\n",
        registers.vector,
        exceptions_early::exception_name(registers.vector as u8),
        registers.error_code,
        fault_address(),
    );
    loop {
        // SAFETY: with interrupts off, `hlt` only waits; a non-maskable interrupt comes back to the loop.
        unsafe { core::arch::asm!("cli", "hlt", options(nomem, nostack)) };
    }
}

/// The address whose access raised the last page fault on this CPU (register CR2).
pub fn fault_address() -> usize {
    let address: usize;
    // SAFETY: reading CR2 has no effect.
    unsafe { core::arch::asm!("mov {}, cr2", out(reg) address, options(nomem, nostack, preserves_flags)) };
    address
}
