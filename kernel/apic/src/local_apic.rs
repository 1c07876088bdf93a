//! The local APIC (Intel SDM volume 3, chapter 11), by memory (xAPIC) or by model-specific registers (x2APIC).

use crate::{ApicError, SPURIOUS_VECTOR};
use acpi::Madt;
use core::arch::x86_64::__cpuid;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use cpu::{CpuId, MAX_CPUS};
use irq_safety::hold_interrupts;
use memory::{MMIO_FLAGS, PhysicalAddress};
use x86_64::registers::model_specific::Msr;

/// Byte offsets of registers from the xAPIC base; the x2APIC's are at [`X2APIC_FIRST_MSR`] plus a sixteenth of these.
#[derive(Clone, Copy)]
#[repr(usize)]
enum Register {
    Id = 0x20,
    TaskPriority = 0x80,
    Eoi = 0xB0,
    SpuriousVector = 0xF0,
    InterruptCommandLow = 0x300,
    InterruptCommandHigh = 0x310,
    LvtTimer = 0x320,
    LvtLint0 = 0x350,
    LvtLint1 = 0x360,
    LvtError = 0x370,
    TimerInitialCount = 0x380,
    TimerCurrentCount = 0x390,
    TimerDivide = 0x3E0,
}

const IA32_APIC_BASE: u32 = 0x1B;
/// IA32_APIC_BASE bit 11: the APIC is on.
const BASE_ENABLED: u64 = 1 << 11;
/// IA32_APIC_BASE bit 10: it is in x2APIC mode.
const BASE_X2APIC: u64 = 1 << 10;
/// IA32_APIC_BASE bits 12 and up: where the registers are.
const BASE_ADDRESS_MASK: u64 = 0x000F_FFFF_FFFF_F000;
const X2APIC_FIRST_MSR: u32 = 0x800;
/// The size of the register page.
const REGISTERS_SIZE: usize = 4096;
/// CPUID leaf 1, ECX bit 21: it has an x2APIC mode.
const CPUID_1_ECX_X2APIC: u32 = 1 << 21;
/// What an xAPIC can address; 255 means all of them (Intel SDM volume 3, 11.6.1).
const LAST_XAPIC_ID: u32 = 254;
/// Interrupt command bits 8-10: how the interrupt is delivered.
const COMMAND_FIXED: u32 = 0b000 << 8;
const COMMAND_NMI: u32 = 0b100 << 8;
const COMMAND_INIT: u32 = 0b101 << 8;
const COMMAND_START_UP: u32 = 0b110 << 8;
/// Interrupt command bit 12: the interrupt has not been accepted yet (xAPIC only).
const COMMAND_PENDING: u32 = 1 << 12;
/// Interrupt command bit 14: assert, which all but a special form of INIT need.
const COMMAND_ASSERT: u32 = 1 << 14;
/// How often the pending bit is looked at before a command is given up: an xAPIC accepts one within microseconds.
const MAX_PENDING_LOOKS: usize = 1_000_000;
/// CPUID leaf 1, EDX bit 9: there is a local APIC.
const CPUID_1_EDX_APIC: u32 = 1 << 9;
/// Spurious-interrupt vector register bit 8: the APIC is enabled by software.
const SOFTWARE_ENABLE: u32 = 1 << 8;
/// Local vector table bit 16: masked.
const LVT_MASKED: u32 = 1 << 16;
/// Local vector table bits 8-10: deliver as a non-maskable interrupt.
const LVT_NMI: u32 = 0b100 << 8;
/// Timer mode (bits 17-18): start again after each interrupt.
const LVT_PERIODIC: u32 = 1 << 17;
/// Divide configuration that makes the timer count every 16th tick of its bus clock.
const DIVIDE_BY_16: u32 = 0b0011;
/// How long the timer is watched to learn its speed. At a typical 60 MHz count, one count more or less is 10 ppm.
const CALIBRATION_NANOSECONDS: u64 = 2_000_000;

/// Where the registers are mapped; 0 before [`init`] and in x2APIC mode.
static REGISTERS: AtomicUsize = AtomicUsize::new(0);
/// Whether the registers are model-specific ones.
static X2APIC: AtomicBool = AtomicBool::new(false);
/// The timer's counts per period, as the boot CPU measured them; 0 before.
static TIMER_COUNT: AtomicU32 = AtomicU32::new(0);
/// No local APIC's number: x2APICs' go up to 2^32 - 2.
const NO_APIC: u32 = u32::MAX;
/// The local APICs' numbers by CPU.
static APIC_IDS: [AtomicU32; MAX_CPUS] = [const { AtomicU32::new(NO_APIC) }; MAX_CPUS];

fn read(register: Register) -> u32 {
    let base = REGISTERS.load(Ordering::Relaxed);
    if base != 0 {
        // SAFETY: `base` is the mapped register page, which is never unmapped; the offset lies in it.
        unsafe { ((base + register as usize) as *const u32).read_volatile() }
    } else if X2APIC.load(Ordering::Relaxed) {
        // SAFETY: in x2APIC mode every register of `Register` exists as this MSR.
        unsafe { Msr::new(X2APIC_FIRST_MSR + register as u32 / 16).read() as u32 }
    } else {
        0
    }
}

fn write(register: Register, value: u32) {
    let base = REGISTERS.load(Ordering::Relaxed);
    if base != 0 {
        // SAFETY: as in `read`; the callers write values that the manual allows for the register.
        unsafe { ((base + register as usize) as *mut u32).write_volatile(value) }
    } else if X2APIC.load(Ordering::Relaxed) {
        // SAFETY: as in `read`.
        unsafe { Msr::new(X2APIC_FIRST_MSR + register as u32 / 16).write(u64::from(value)) }
    }
}

/// Turns on the boot CPU's local APIC with all of its own interrupts masked.
pub(crate) fn init(madt: Option<&Madt>) -> Result<(), ApicError> {
    if __cpuid(1).edx & CPUID_1_EDX_APIC == 0 {
        return Err(ApicError::NoLocalApic);
    }
    let mut base_register = Msr::new(IA32_APIC_BASE);
    // SAFETY: CPUID says that there is an APIC, so the register exists.
    let base = unsafe { base_register.read() };
    let high_ids = madt.is_some_and(|madt| madt.processors.iter().any(|cpu| cpu.apic_id > LAST_XAPIC_ID));
    let can_x2apic = __cpuid(1).ecx & CPUID_1_ECX_X2APIC != 0;
    if base & BASE_X2APIC != 0 || high_ids && can_x2apic {
        // SAFETY: CPUID says that there is this mode, or it is on already; it is entered from the other one (Intel SDM volume
        // 3, 11.12.5).
        unsafe {
            base_register.write(base | BASE_ENABLED);
            base_register.write(base | BASE_ENABLED | BASE_X2APIC);
        }
        X2APIC.store(true, Ordering::Relaxed);
    } else {
        // SAFETY: turning the APIC on at the address where it already is.
        unsafe { base_register.write(base | BASE_ENABLED) };
        let address = match base & BASE_ADDRESS_MASK {
            0 => madt.map_or(0xFEE0_0000, |madt| madt.local_apic_address),
            address => address,
        };
        let address = PhysicalAddress::new_canonical(address as usize);
        let mapping =
            memory::map_frame_range(address, REGISTERS_SIZE, MMIO_FLAGS).map_err(ApicError::NotMapped)?;
        REGISTERS.store(mapping.start_address().value(), Ordering::Relaxed);
        // The registers are used for as long as the kernel runs.
        core::mem::forget(mapping);
    }
    enable_by_software();
    Ok(())
}

/// Turns on the local APIC of a CPU that has just started, like the boot CPU's.
///
/// # Errors
/// [`ApicError::NotInitialized`] if the boot CPU's is not on.
pub fn init_ap() -> Result<(), ApicError> {
    let mut base_register = Msr::new(IA32_APIC_BASE);
    // SAFETY: a CPU that was started by an interrupt has an APIC. It is turned on where it is, and in the mode in which the
    // boot CPU's is, which all CPUs of a machine have.
    unsafe {
        let base = base_register.read();
        base_register.write(base | BASE_ENABLED);
        if X2APIC.load(Ordering::Relaxed) {
            base_register.write(base | BASE_ENABLED | BASE_X2APIC);
        } else if REGISTERS.load(Ordering::Relaxed) == 0 {
            return Err(ApicError::NotInitialized);
        }
    }
    enable_by_software();
    Ok(())
}

/// Turns on this CPU's local APIC, whose registers can be accessed, and notes its number.
fn enable_by_software() {
    write(Register::LvtTimer, LVT_MASKED);
    write(Register::LvtLint0, LVT_MASKED);
    // The other pin is where PCs deliver non-maskable interrupts.
    write(Register::LvtLint1, LVT_NMI);
    write(Register::LvtError, LVT_MASKED);
    write(Register::TaskPriority, 0);
    write(Register::SpuriousVector, SOFTWARE_ENABLE | u32::from(SPURIOUS_VECTOR));
    APIC_IDS[cpu::current_cpu().index()].store(apic_id(), Ordering::Release);
}

/// The hardware's number of this CPU, by which interrupts are addressed to it; 0 before `init`.
pub fn apic_id() -> u32 {
    let id = read(Register::Id);
    if X2APIC.load(Ordering::Relaxed) { id } else { id >> 24 }
}

/// Tells this CPU's local APIC that the interrupt in service is done. Does nothing before `init`.
#[inline]
pub fn eoi() {
    write(Register::Eoi, 0);
}

/// Gives the local APIC a command for the one with number `destination`. False if the previous command hangs.
fn command(destination: u32, command: u32) -> bool {
    // A command takes two writes, between which an interrupt handler could give another one.
    let _interrupts = hold_interrupts();
    if X2APIC.load(Ordering::Relaxed) {
        let value = u64::from(destination) << 32 | u64::from(command);
        // SAFETY: the register exists in x2APIC mode, and the callers' commands are valid. Writing it does not wait for earlier
        // stores, which who is interrupted must see: hence the fences (Intel SDM volume 3, 11.12.3).
        unsafe {
            core::arch::asm!("mfence", "lfence", options(nostack, preserves_flags));
            Msr::new(X2APIC_FIRST_MSR + Register::InterruptCommandLow as u32 / 16).write(value);
        }
        return true;
    }
    let idle = (0..MAX_PENDING_LOOKS).any(|_| {
        core::hint::spin_loop();
        read(Register::InterruptCommandLow) & COMMAND_PENDING == 0
    });
    if idle {
        write(Register::InterruptCommandHigh, destination << 24);
        write(Register::InterruptCommandLow, command);
    }
    idle
}

/// The number of the boot CPU's local APIC; 0 before `init`.
pub(crate) fn boot_apic_id() -> u32 {
    match APIC_IDS[0].load(Ordering::Acquire) {
        NO_APIC => 0,
        id => id,
    }
}

/// The number of a CPU's local APIC, if that CPU came up.
fn apic_id_of(cpu: CpuId) -> Option<u32> {
    let id = APIC_IDS[cpu.index()].load(Ordering::Acquire);
    (id != NO_APIC).then_some(id)
}

/// Interrupts another CPU, by interrupt `vector` (32 or more). What was written to memory before is seen by the handler.
/// Does nothing if there is no such CPU. May be called in interrupt handlers.
pub fn send_ipi(cpu: CpuId, vector: u8) {
    if let Some(id) = apic_id_of(cpu) {
        command(id, COMMAND_FIXED | COMMAND_ASSERT | u32::from(vector));
    }
}

/// Interrupts another CPU even if it has interrupts off. Otherwise as [`send_ipi`].
pub fn send_nmi(cpu: CpuId) {
    if let Some(id) = apic_id_of(cpu) {
        command(id, COMMAND_NMI | COMMAND_ASSERT);
    }
}

/// Makes the CPU with this local APIC wait for [`send_start_up`].
pub fn send_init(apic_id: u32) {
    command(apic_id, COMMAND_INIT | COMMAND_ASSERT);
}

/// Starts the CPU with this local APIC, which waits for it, in real mode at physical address `page` times 4096.
pub fn send_start_up(apic_id: u32, page: u8) {
    command(apic_id, COMMAND_START_UP | COMMAND_ASSERT | u32::from(page));
}

/// Makes this CPU's timer raise interrupt `vector` every `period_microseconds`.
///
/// `clock` is a running monotonic clock in nanoseconds; the timer's speed is measured against it for two milliseconds.
/// Interrupts should be off meanwhile.
///
/// # Errors
/// [`ApicError::NotInitialized`], or [`ApicError::TimerStuck`] if the timer does not count.
pub fn start_timer(vector: u8, period_microseconds: u32, clock: impl Fn() -> u64) -> Result<(), ApicError> {
    if REGISTERS.load(Ordering::Relaxed) == 0 && !X2APIC.load(Ordering::Relaxed) {
        return Err(ApicError::NotInitialized);
    }
    write(Register::TimerDivide, DIVIDE_BY_16);
    write(Register::LvtTimer, LVT_MASKED);
    let start = clock();
    write(Register::TimerInitialCount, u32::MAX);
    let mut elapsed = 0;
    while elapsed < CALIBRATION_NANOSECONDS {
        core::hint::spin_loop();
        elapsed = clock().saturating_sub(start);
    }
    let counted = u32::MAX - read(Register::TimerCurrentCount);
    let count = period_count(counted, elapsed, period_microseconds).ok_or(ApicError::TimerStuck)?;
    TIMER_COUNT.store(count, Ordering::Release);
    start_timer_ap(vector)
}

/// Makes this CPU's timer raise interrupt `vector` with the period that [`start_timer`] has set on the boot CPU: the timers of
/// all CPUs count the same clock.
///
/// # Errors
/// [`ApicError::NotInitialized`] if [`start_timer`] was not called.
pub fn start_timer_ap(vector: u8) -> Result<(), ApicError> {
    let count = TIMER_COUNT.load(Ordering::Acquire);
    if count == 0 {
        return Err(ApicError::NotInitialized);
    }
    write(Register::TimerDivide, DIVIDE_BY_16);
    write(Register::LvtTimer, LVT_PERIODIC | u32::from(vector));
    write(Register::TimerInitialCount, count);
    Ok(())
}

/// Stops this CPU's timer. [`start_timer_ap`] starts it again.
pub fn stop_timer() {
    write(Register::LvtTimer, LVT_MASKED);
    write(Register::TimerInitialCount, 0);
}

/// How many counts a period takes if the timer `counted` that many in `elapsed_nanoseconds`. `None` if it is none.
fn period_count(counted: u32, elapsed_nanoseconds: u64, period_microseconds: u32) -> Option<u32> {
    let product = u128::from(counted) * u128::from(period_microseconds) * 1000;
    let count = u32::try_from(product / u128::from(elapsed_nanoseconds.max(1))).ok()?;
    (count != 0).then_some(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_scale_with_what_was_counted() {
        // 62.5 MHz, watched for exactly 2 ms: a millisecond is 62,500 counts.
        assert_eq!(period_count(125_000, 2_000_000, 1000), Some(62_500));
        // The watch ended late: the same speed.
        assert_eq!(period_count(250_000, 4_000_000, 1000), Some(62_500));
        assert_eq!(period_count(125_000, 2_000_000, 10), Some(625));
    }

    #[test]
    fn a_timer_that_stands_or_a_period_out_of_range_is_refused() {
        assert_eq!(period_count(0, 2_000_000, 1000), None);
        assert_eq!(period_count(u32::MAX, 2_000_000, 1_000_000_000), None);
    }
}
