//! The I/O APICs (Intel 82093AA data sheet), which turn interrupt lines of devices into messages to local APICs.

use crate::{ApicError, local_apic};
use acpi::{Madt, Polarity, Trigger};
use alloc::vec::Vec;
use memory::{MMIO_FLAGS, MappedPages, PhysicalAddress};
use sync_irq::IrqSafeMutex;

/// Where a PC without ACPI tables has its I/O APIC.
const DEFAULT_ADDRESS: usize = 0xFEC0_0000;
/// Byte offset of the register that selects which register the window shows.
const SELECT: usize = 0x00;
/// Byte offset of the window.
const WINDOW: usize = 0x10;
/// The two windows' page.
const REGISTERS_SIZE: usize = 4096;
/// Register that tells how many inputs there are: bits 16-23 hold the number of the last one.
const VERSION: u32 = 1;
/// Register with the low half of input 0's redirection entry; each input has two registers.
const FIRST_REDIRECTION: u32 = 0x10;
/// Redirection entry bit 13: the line is active low.
const ACTIVE_LOW: u32 = 1 << 13;
/// Redirection entry bit 15: the line's level counts, not its edge.
const LEVEL_TRIGGERED: u32 = 1 << 15;
/// Redirection entry bit 16: masked.
const MASKED: u32 = 1 << 16;

/// One I/O APIC.
struct IoApic {
    registers: MappedPages,
    /// The system-wide number of its first input.
    first_input: u32,
    input_count: u32,
}

static IO_APICS: IrqSafeMutex<Vec<IoApic>> = IrqSafeMutex::new(Vec::new());

impl IoApic {
    /// Maps the one at `address` and masks all of its inputs.
    fn new(address: usize, first_input: u32) -> Result<Self, ApicError> {
        let registers =
            memory::map_frame_range(PhysicalAddress::new_canonical(address), REGISTERS_SIZE, MMIO_FLAGS)
                .map_err(ApicError::NotMapped)?;
        let mut io_apic = IoApic { registers, first_input, input_count: 0 };
        io_apic.input_count = (io_apic.read(VERSION) >> 16 & 0xFF) + 1;
        for input in 0..io_apic.input_count {
            io_apic.set_entry(input, MASKED, 0);
        }
        Ok(io_apic)
    }

    fn window(&mut self, register: u32) -> *mut u32 {
        let base = self.registers.start_address().value();
        // SAFETY: the page is this I/O APIC's and mapped for as long as `self` lives; `&mut self` keeps the selection and
        // the access that follows together.
        unsafe { ((base + SELECT) as *mut u32).write_volatile(register) };
        (base + WINDOW) as *mut u32
    }

    fn read(&mut self, register: u32) -> u32 {
        // SAFETY: see `window`.
        unsafe { self.window(register).read_volatile() }
    }

    fn write(&mut self, register: u32, value: u32) {
        // SAFETY: see `window`.
        unsafe { self.window(register).write_volatile(value) }
    }

    /// Writes the redirection entry of an input, masked until both halves are there.
    fn set_entry(&mut self, input: u32, low: u32, destination: u32) {
        let register = FIRST_REDIRECTION + 2 * input;
        self.write(register, MASKED);
        self.write(register + 1, destination << 24);
        self.write(register, low);
    }
}

/// Finds all I/O APICs and masks all of their inputs.
pub(crate) fn init(madt: Option<&Madt>) -> Result<(), ApicError> {
    let mut io_apics = Vec::new();
    match madt {
        Some(madt) => {
            for found in &madt.io_apics {
                io_apics.push(IoApic::new(found.address as usize, found.gsi_base)?);
            }
        }
        None => io_apics.push(IoApic::new(DEFAULT_ADDRESS, 0)?),
    }
    *IO_APICS.lock() = io_apics;
    Ok(())
}

/// The system-wide input that carries an ISA interrupt, and the flags of its redirection entry.
fn input_of(irq: u8) -> (u32, u32) {
    match acpi::info().and_then(|info| info.madt.as_ref()) {
        Some(madt) => {
            let route = madt.route_of_irq(irq);
            let polarity = if route.polarity == Polarity::Low { ACTIVE_LOW } else { 0 };
            let trigger = if route.trigger == Trigger::Level { LEVEL_TRIGGERED } else { 0 };
            (route.gsi, polarity | trigger)
        }
        None => (if irq == 0 { 2 } else { u32::from(irq) }, 0),
    }
}

/// Calls `action` with the I/O APIC and the number of its input that carry an ISA interrupt.
fn with_input<R>(irq: u8, action: impl FnOnce(&mut IoApic, u32, u32) -> R) -> Result<R, ApicError> {
    let (input, flags) = input_of(irq);
    let mut io_apics = IO_APICS.lock();
    let io_apic = io_apics
        .iter_mut()
        .find(|io_apic| (io_apic.first_input..io_apic.first_input + io_apic.input_count).contains(&input))
        .ok_or(ApicError::NoInput(irq))?;
    let index = input - io_apic.first_input;
    Ok(action(io_apic, index, flags))
}

/// Delivers ISA interrupt `irq` to the boot CPU as interrupt `vector` from now on, whichever CPU asks for it.
///
/// # Errors
/// [`ApicError::NoInput`] if no I/O APIC carries it.
pub fn route_isa_irq(irq: u8, vector: u8) -> Result<(), ApicError> {
    let destination = local_apic::boot_apic_id();
    with_input(irq, |io_apic, input, flags| io_apic.set_entry(input, flags | u32::from(vector), destination))
}

/// Stops the delivery of ISA interrupt `irq`, if it was delivered.
pub fn mask_isa_irq(irq: u8) {
    // An interrupt that nothing carries is not delivered either.
    let _ = with_input(irq, |io_apic, input, _| io_apic.set_entry(input, MASKED, 0));
}
