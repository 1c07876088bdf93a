//! The local APIC (Intel SDM volume 3, chapter 11), by memory (xAPIC) or by model-specific registers (x2APIC).

use crate::{ApicError, SPURIOUS_VECTOR};
use acpi::Madt;
use core::arch::x86_64::__cpuid;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
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

/// Turns on this CPU's local APIC with all of its own interrupts masked.
pub(crate) fn init(madt: Option<&Madt>) -> Result<(), ApicError> {
    if __cpuid(1).edx & CPUID_1_EDX_APIC == 0 {
        return Err(ApicError::NoLocalApic);
    }
    let mut base_register = Msr::new(IA32_APIC_BASE);
    // SAFETY: CPUID says that there is an APIC, so the register exists.
    let base = unsafe { base_register.read() };
    if base & BASE_X2APIC != 0 {
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
    write(Register::LvtTimer, LVT_MASKED);
    write(Register::LvtLint0, LVT_MASKED);
    // The other pin is where PCs deliver non-maskable interrupts.
    write(Register::LvtLint1, LVT_NMI);
    write(Register::LvtError, LVT_MASKED);
    write(Register::TaskPriority, 0);
    write(Register::SpuriousVector, SOFTWARE_ENABLE | u32::from(SPURIOUS_VECTOR));
    Ok(())
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
    write(Register::LvtTimer, LVT_PERIODIC | u32::from(vector));
    write(Register::TimerInitialCount, count);
    Ok(())
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
