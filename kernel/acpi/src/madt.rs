//! The Multiple APIC Description Table (signature "APIC"; ACPI specification 5.2.12).

use crate::AcpiError;
use crate::table::Table;
use alloc::vec::Vec;

/// Processors and interrupt controllers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Madt {
    /// Physical address of each processor's own local APIC.
    pub local_apic_address: u64,
    /// Whether there are also two 8259 PICs, which must be masked when the APICs are used.
    pub has_8259: bool,
    /// The processors, the boot processor usually first.
    pub processors: Vec<Processor>,
    /// The I/O APICs, whose inputs the devices' interrupts are.
    pub io_apics: Vec<IoApic>,
    /// ISA interrupts that arrive elsewhere, or otherwise, than one would think.
    pub overrides: Vec<InterruptOverride>,
}

/// A processor.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Processor {
    /// The number of its local APIC.
    pub apic_id: u32,
    /// Whether it can be started.
    pub enabled: bool,
    /// Whether it is not there yet, but may be plugged in.
    pub online_capable: bool,
}

/// An I/O APIC.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct IoApic {
    /// Its number.
    pub id: u8,
    /// Physical address of its registers.
    pub address: u64,
    /// The global interrupt number of its first input.
    pub gsi_base: u32,
}

/// The level at which an interrupt line is active.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Polarity {
    /// Active high, the custom of the ISA bus.
    High,
    /// Active low.
    Low,
}

/// How an interrupt line announces an interrupt.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// By becoming active, the custom of the ISA bus.
    Edge,
    /// By being active.
    Level,
}

/// Where, and how, an ISA interrupt arrives.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct InterruptOverride {
    /// The ISA interrupt number, 0 to 15.
    pub irq: u8,
    /// The global interrupt number: an input of one of the I/O APICs.
    pub gsi: u32,
    /// The level at which the line is active.
    pub polarity: Polarity,
    /// How the line announces an interrupt.
    pub trigger: Trigger,
}

/// Offset of the first entry.
const ENTRIES: usize = 44;
/// Processor flag: it can be used.
const ENABLED: u32 = 1;
/// Processor flag: if not enabled, it can become so.
const ONLINE_CAPABLE: u32 = 2;

impl Madt {
    /// Where an ISA interrupt arrives: at the I/O APIC input of the same number, edge-triggered and active high, unless
    /// the table says otherwise.
    pub fn route_of_irq(&self, irq: u8) -> InterruptOverride {
        let usual =
            InterruptOverride { irq, gsi: u32::from(irq), polarity: Polarity::High, trigger: Trigger::Edge };
        self.overrides.iter().find(|entry| entry.irq == irq).copied().unwrap_or(usual)
    }

    pub(crate) fn parse(table: &Table) -> Result<Self, AcpiError> {
        let mut madt = Madt {
            local_apic_address: u64::from(table.u32(36)?),
            has_8259: table.u32(40)? & 1 != 0,
            processors: Vec::new(),
            io_apics: Vec::new(),
            overrides: Vec::new(),
        };
        let mut rest = table.after(ENTRIES);
        // Each entry begins with its kind and its length. One that is shorter than that, or does not fit into the table,
        // ends the list: what comes after it cannot be found.
        while let [kind, length, ..] = *rest {
            let length = usize::from(length);
            if length < 2 || length > rest.len() {
                return Err(AcpiError::TooShort(table.signature()));
            }
            let (entry, after) = rest.split_at(length);
            madt.add_entry(kind, entry).ok_or(AcpiError::TooShort(table.signature()))?;
            rest = after;
        }
        Ok(madt)
    }

    /// Adds what an entry says; `None` if it is too short for its kind.
    fn add_entry(&mut self, kind: u8, entry: &[u8]) -> Option<()> {
        match kind {
            // Processor with local APIC.
            0 => self.add_processor(u32::from(*entry.get(3)?), u32_at(entry, 4)?),
            // I/O APIC.
            1 => self.io_apics.push(IoApic {
                id: *entry.get(2)?,
                address: u64::from(u32_at(entry, 4)?),
                gsi_base: u32_at(entry, 8)?,
            }),
            // Interrupt source override. Bits 0 and 1 are the polarity, bits 2 and 3 the trigger: 0 as the bus has it, 3 is
            // low or level.
            2 => {
                let flags = *entry.get(8)?;
                self.overrides.push(InterruptOverride {
                    irq: *entry.get(3)?,
                    gsi: u32_at(entry, 4)?,
                    polarity: if flags & 0b11 == 0b11 { Polarity::Low } else { Polarity::High },
                    trigger: if flags & 0b1100 == 0b1100 { Trigger::Level } else { Trigger::Edge },
                });
            }
            // Local APIC address, if it does not fit into 32 bits.
            5 => self.local_apic_address = u64::from_le_bytes(*entry.get(4..)?.first_chunk()?),
            // Processor with local x2APIC.
            9 => self.add_processor(u32_at(entry, 4)?, u32_at(entry, 8)?),
            _ => {}
        }
        Some(())
    }

    fn add_processor(&mut self, apic_id: u32, flags: u32) {
        self.processors.push(Processor {
            apic_id,
            enabled: flags & ENABLED != 0,
            online_capable: flags & ONLINE_CAPABLE != 0,
        });
    }
}

fn u32_at(entry: &[u8], offset: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*entry.get(offset..)?.first_chunk()?))
}
