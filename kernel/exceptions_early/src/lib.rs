//! Says what went wrong when the CPU raises an exception before `exceptions_full` is there, and halts.
//!
//! Until the task infrastructure exists nobody can survive a fault, but a silent reset of the machine (a triple fault)
//! would tell nothing. [`init`] installs a table whose handlers print vector, error code and registers to the log and the
//! serial line, and stop.
//!
//! # Relies on
//! The logger being up (without it the machine still halts, silently). Handlers run on the stack that was in use, since
//! there is no task state segment yet: an overflow of the boot stack remains a triple fault.
#![no_std]

use core::arch::{asm, global_asm};
use core::fmt::Write;
use core::ptr::addr_of_mut;
use x86_64::VirtAddr;
use x86_64::structures::idt::InterruptDescriptorTable;

/// How many vectors the CPU reserves for exceptions (Intel SDM volume 3, 6.2).
const EXCEPTION_COUNT: usize = 32;
/// Bytes between two entries of the stubs: each is aligned to this.
const STUB_SIZE: usize = 16;

// Stubs make the stack look the same for all vectors: an error code (0 if the CPU pushed none), then the vector. The
// vectors for which the CPU pushes an error code are 8, 10-14, 17, 21, 29 and 30 (AMD64 APM volume 2, 8.2).
global_asm!(
    ".balign 16",
    ".globl exceptions_early_stubs",
    "exceptions_early_stubs:",
    ".set vector, 0",
    ".rept {count}",
    "    .balign {stub_size}",
    "    .if !((vector == 8) | ((vector >= 10) & (vector <= 14)) | (vector == 17) | (vector == 21) | (vector == 29) | (vector == 30))",
    "        push 0",
    "    .endif",
    "    push vector",
    "    jmp exceptions_early_common",
    "    .set vector, vector + 1",
    ".endr",
    "exceptions_early_common:",
    "    mov rdi, rsp",
    "    mov rsi, rbp",
    "    and rsp, -16",
    "    cld",
    "    call {report}",
    "    ud2",
    count = const EXCEPTION_COUNT,
    stub_size = const STUB_SIZE,
    report = sym report_and_halt,
);

unsafe extern "C" {
    safe static exceptions_early_stubs: u8;
}

/// What stub and CPU leave on the stack.
#[repr(C)]
struct Frame {
    vector: u64,
    error_code: u64,
    rip: u64,
    cs: u64,
    rflags: u64,
    rsp: u64,
    ss: u64,
}

static mut IDT: InterruptDescriptorTable = InterruptDescriptorTable::new();

/// Short names of the CPU's exceptions by vector (Intel SDM volume 3, table 6-1).
const NAMES: [&str; EXCEPTION_COUNT] = [
    "divide error",
    "debug",
    "non-maskable interrupt",
    "breakpoint",
    "overflow",
    "bound range exceeded",
    "invalid opcode",
    "device not available",
    "double fault",
    "coprocessor segment overrun",
    "invalid TSS",
    "segment not present",
    "stack-segment fault",
    "general protection fault",
    "page fault",
    "reserved exception 15",
    "x87 floating-point error",
    "alignment check",
    "machine check",
    "SIMD floating-point error",
    "virtualization exception",
    "control protection exception",
    "reserved exception 22",
    "reserved exception 23",
    "reserved exception 24",
    "reserved exception 25",
    "reserved exception 26",
    "reserved exception 27",
    "hypervisor injection exception",
    "VMM communication exception",
    "security exception",
    "reserved exception 31",
];

/// The name of a CPU exception; vectors of 32 and above are interrupts.
pub fn exception_name(vector: u8) -> &'static str {
    NAMES.get(usize::from(vector)).copied().unwrap_or("interrupt")
}

/// Installs the early handlers on the boot CPU. `interrupts::init` replaces them later.
///
/// Call it once, on the boot CPU, as soon as 64-bit code runs on the kernel's own code segment.
pub fn init() {
    let idt = addr_of_mut!(IDT);
    let stubs = &raw const exceptions_early_stubs as u64;
    let handler = |vector: usize| VirtAddr::new(stubs + (vector * STUB_SIZE) as u64);
    // SAFETY: called once, before other CPUs run and with nobody else naming IDT, so this reference is the only one while
    // it lives. Each stub is code for exactly its vector; the table is a static, so it stays where the CPU is told it is.
    unsafe {
        let idt = &mut *idt;
        idt.divide_error.set_handler_addr(handler(0));
        idt.debug.set_handler_addr(handler(1));
        idt.non_maskable_interrupt.set_handler_addr(handler(2));
        idt.breakpoint.set_handler_addr(handler(3));
        idt.overflow.set_handler_addr(handler(4));
        idt.bound_range_exceeded.set_handler_addr(handler(5));
        idt.invalid_opcode.set_handler_addr(handler(6));
        idt.device_not_available.set_handler_addr(handler(7));
        idt.double_fault.set_handler_addr(handler(8));
        idt.invalid_tss.set_handler_addr(handler(10));
        idt.segment_not_present.set_handler_addr(handler(11));
        idt.stack_segment_fault.set_handler_addr(handler(12));
        idt.general_protection_fault.set_handler_addr(handler(13));
        idt.page_fault.set_handler_addr(handler(14));
        idt.x87_floating_point.set_handler_addr(handler(16));
        idt.alignment_check.set_handler_addr(handler(17));
        idt.machine_check.set_handler_addr(handler(18));
        idt.simd_floating_point.set_handler_addr(handler(19));
        idt.virtualization.set_handler_addr(handler(20));
        idt.cp_protection_exception.set_handler_addr(handler(21));
        idt.load_unsafe();
    }
}

/// Prints what the CPU said and stops this CPU for good.
extern "C" fn report_and_halt(frame: &Frame, rbp: u64) -> ! {
    let cr2: u64;
    // SAFETY: reading CR2 has no effect.
    unsafe { asm!("mov {}, cr2", out(reg) cr2, options(nomem, nostack, preserves_flags)) };
    // Nowhere to report a failure to write to.
    let _ = write!(
        logger::LastWords,
        "\nCPU exception {} ({}) before tasks exist, error code {:#x}: the kernel stops.\n\
         rip {:#018x} rsp {:#018x} rbp {:#018x} cr2 {:#018x} rflags {:#x} cs {:#x} ss {:#x}\n",
        frame.vector,
        exception_name(frame.vector as u8),
        frame.error_code,
        frame.rip,
        frame.rsp,
        rbp,
        cr2,
        frame.rflags,
        frame.cs,
        frame.ss,
    );
    loop {
        // SAFETY: with interrupts off, `hlt` only waits; a non-maskable interrupt comes back to the loop.
        unsafe { asm!("cli", "hlt", options(nomem, nostack)) };
    }
}
