//! The High Precision Event Timer as a clock: its main counter only, none of its comparators.
//!
//! It counts at 10 MHz or more and says itself how fast. Reading it is an access to device memory, which takes about a
//! microsecond. Register layout: IA-PC HPET Specification 1.0a, chapter 2.3.
#![cfg_attr(not(test), no_std)]

use core::fmt;
use memory::{MMIO_FLAGS, MappedPages, PAGE_SIZE, PhysicalAddress};
use spin::Once;
use time::{ClockSource, EarlySleeper, Instant, Monotonic, Period, TickScale, WrappingCounter};

/// Why the timer cannot be used.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum HpetError {
    /// The ACPI tables name no such timer, or could not be read.
    NotPresent,
    /// Its registers could not be mapped, and why.
    Unmappable(&'static str),
    /// It claims an impossible frequency.
    BadPeriod,
    /// It does not advance.
    Stopped,
}

impl fmt::Display for HpetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HpetError::NotPresent => f.write_str("the ACPI tables name no HPET: another clock is used"),
            HpetError::Unmappable(reason) => {
                write!(f, "the HPET's registers cannot be mapped ({reason}): another clock is used")
            }
            HpetError::BadPeriod => {
                f.write_str("the HPET claims an impossible frequency: another clock is used")
            }
            HpetError::Stopped => f.write_str("the HPET does not advance: another clock is used"),
        }
    }
}

impl core::error::Error for HpetError {}

/// Bytes of the registers.
const REGISTERS_LENGTH: usize = 1024;
/// Offset of the capabilities: bits 63..32 the period in femtoseconds, bit 13 whether the counter has 64 bits.
const CAPABILITIES: usize = 0x00;
/// Offset of the configuration: bit 0 makes the counter run.
const CONFIGURATION: usize = 0x10;
/// Offset of the main counter.
const MAIN_COUNTER: usize = 0xF0;
const COUNTER_IS_64_BIT: u64 = 1 << 13;
const ENABLE: u64 = 1;
/// The longest period the specification allows: 100 ns.
const MAX_PERIOD: u64 = 100_000_000;

/// The registers, mapped for ever.
struct Registers {
    mapping: MappedPages,
    /// Where in the mapping the registers begin.
    offset: usize,
}

impl Registers {
    fn map(address: u64) -> Result<Self, &'static str> {
        let offset = address as usize % PAGE_SIZE;
        if !offset.is_multiple_of(8) {
            return Err("their address is not aligned");
        }
        let start = PhysicalAddress::new(address as usize - offset).ok_or("there is no such address")?;
        let mapping = memory::map_frame_range(start, offset + REGISTERS_LENGTH, MMIO_FLAGS)?;
        Ok(Registers { mapping, offset })
    }

    fn pointer(&self, register: usize) -> *mut u64 {
        debug_assert!(register + 8 <= REGISTERS_LENGTH && register.is_multiple_of(8));
        (self.mapping.start_address().value() + self.offset + register) as *mut u64
    }

    fn read(&self, register: usize) -> u64 {
        // SAFETY: the register is one of the constants above, so within the mapping that `self` owns, and aligned to 8.
        // Reading any of them changes nothing.
        unsafe { self.pointer(register).read_volatile() }
    }

    fn write_configuration(&self, value: u64) {
        // SAFETY: as in `read`; the mapping is writable. The configuration register decides about this timer only.
        unsafe { self.pointer(CONFIGURATION).write_volatile(value) }
    }
}

struct State {
    registers: Registers,
    counter: WrappingCounter,
    scale: TickScale,
}

static STATE: Once<State> = Once::new();

/// Finds the timer by the ACPI tables, starts it, and registers it as a clock. `acpi::init` comes before.
///
/// # Errors
/// There is no timer that can be used.
pub fn init() -> Result<(), HpetError> {
    let table = acpi::info().and_then(|info| info.hpet).ok_or(HpetError::NotPresent)?;
    let registers = Registers::map(table.address).map_err(HpetError::Unmappable)?;
    let capabilities = registers.read(CAPABILITIES);
    let femtoseconds = capabilities >> 32;
    if femtoseconds > MAX_PERIOD {
        return Err(HpetError::BadPeriod);
    }
    let scale = TickScale::from_femtoseconds(femtoseconds).ok_or(HpetError::BadPeriod)?;
    registers.write_configuration(registers.read(CONFIGURATION) | ENABLE);
    let bits = if capabilities & COUNTER_IS_64_BIT != 0 { 64 } else { 32 };
    let first = registers.read(MAIN_COUNTER);
    if (0..1000).all(|_| registers.read(MAIN_COUNTER) == first) {
        return Err(HpetError::Stopped);
    }
    STATE.call_once(|| State { registers, counter: WrappingCounter::new(bits, first), scale });
    time::register_clock_source::<Hpet>(Period::new(femtoseconds));
    time::register_early_sleeper::<Hpet>(Period::new(femtoseconds));
    Ok(())
}

/// The High Precision Event Timer. Shows [`Instant::ZERO`] until [`init`] has succeeded.
pub struct Hpet;

impl ClockSource for Hpet {
    type ClockType = Monotonic;

    fn now() -> Instant {
        let Some(state) = STATE.get() else { return Instant::ZERO };
        let ticks = state.counter.extend(state.registers.read(MAIN_COUNTER));
        Instant::from_nanos(state.scale.to_nanos(ticks))
    }
}

impl EarlySleeper for Hpet {}
