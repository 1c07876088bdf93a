//! The local APIC of each CPU, with its timer, and the I/O APICs that carry device interrupts to it.
//!
//! [`init`] silences the two 8259 controllers of the PC, turns on the boot CPU's local APIC, and masks every input of
//! every I/O APIC; [`route_isa_irq`] then lets single interrupts through, [`start_timer`] makes the timer tick. [`init_ap`] and
//! [`start_timer_ap`] do the same for another CPU. [`send_ipi`] and its like interrupt other CPUs.
//!
//! # Relies on
//! `acpi` for where the I/O APICs are and which inputs carry which ISA interrupts. Without ACPI tables it takes what all
//! PCs have had since the first ones with APICs: one I/O APIC at 0xFEC0_0000, whose input *n* carries ISA interrupt *n*,
//! except the timer's, which is on input 2.
//!
//! # Invariants
//! The registers are mapped once, as device memory, and stay mapped. A local APIC register is touched by its own CPU. All CPUs'
//! local APICs are in the same mode: xAPIC, unless the firmware chose x2APIC or a CPU's number takes it.
#![cfg_attr(not(test), no_std)]
extern crate alloc;

mod io_apic;
mod local_apic;
mod pic8259;

pub use io_apic::{mask_isa_irq, route_isa_irq};
pub use local_apic::{
    apic_id, eoi, init_ap, send_init, send_ipi, send_nmi, send_start_up, start_timer, start_timer_ap,
    stop_timer,
};

use core::fmt;

/// The vector on which the local APIC reports that an interrupt went away while it was delivered.
pub const SPURIOUS_VECTOR: u8 = 0xFF;

/// Why interrupts cannot be set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApicError {
    /// CPUID says that there is no local APIC.
    NoLocalApic,
    /// The registers could not be mapped; the text is the memory subsystem's.
    NotMapped(&'static str),
    /// [`init`] has not run.
    NotInitialized,
    /// No I/O APIC has an input for this ISA interrupt.
    NoInput(u8),
    /// The timer did not count while the clock ran.
    TimerStuck,
}

impl fmt::Display for ApicError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoLocalApic => {
                write!(f, "the CPU has no local APIC, which this kernel needs for its timer")
            }
            Self::NotMapped(why) => write!(f, "the APIC's registers cannot be mapped: {why}"),
            Self::NotInitialized => write!(f, "the APIC is used before apic::init"),
            Self::NoInput(irq) => write!(f, "no I/O APIC has an input for ISA interrupt {irq}"),
            Self::TimerStuck => write!(f, "the local APIC's timer does not count"),
        }
    }
}

impl core::error::Error for ApicError {}

/// Sets up the boot CPU's local APIC and all I/O APICs, with every interrupt masked. Interrupts must be off; afterwards
/// they may be turned on. Call it once, after `acpi::init` and `interrupts::init`.
///
/// # Errors
/// See [`ApicError`].
pub fn init() -> Result<(), ApicError> {
    pic8259::silence();
    let madt = acpi::info().and_then(|info| info.madt.as_ref());
    local_apic::init(madt)?;
    io_apic::init(madt)
}
