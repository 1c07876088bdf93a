//! What the firmware's ACPI tables say about this machine: processors and interrupt controllers (MADT), power
//! management and reset (FADT, and one value of the DSDT), and the HPET.
//!
//! The tables are read once, by [`init`], into plain Rust values that [`info`] gives to everybody. Offsets and encodings
//! are those of the ACPI Specification 6.5, chapter 5.
//!
//! # Why not the crate of the same name
//! The well-known `acpi` crate overlays Rust structs on physical memory and believes the lengths it finds there: a
//! MADT entry of length 0 makes its iterator endless, a short table is read beyond its end. Here each table is first
//! copied out of physical memory and then read by offset with a check each time, without `unsafe`. Damaged tables
//! lead to an error, or to less information, never to a fault; and every parser is tested on byte images.
//!
//! Nothing here interprets AML. The one value needed from it, the sleep type of state S5, is a constant in a
//! package whose encoding can be recognised; see `s5`.
//!
//! # Invariants
//! - A table is parsed only after its checksum was found right.
//! - Physical memory is mapped read-only, and only while it is copied.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

use alloc::vec::Vec;
use core::fmt;
use memory::{PAGE_SIZE, PhysicalAddress, PteFlags};

mod fadt;
mod hpet;
mod madt;
mod root;
mod s5;
mod table;

pub use fadt::{Fadt, Register, RegisterSpace};
pub use hpet::HpetTable;
pub use madt::{InterruptOverride, IoApic, Madt, Polarity, Processor, Trigger};
pub use s5::SleepType;

use table::Table;

/// Everything that was read from the tables. A part is `None` if the machine has no such table or it is damaged.
#[derive(Clone, Debug, Default)]
pub struct AcpiInfo {
    /// Processors and interrupt controllers.
    pub madt: Option<Madt>,
    /// Power management and reset.
    pub fadt: Option<Fadt>,
    /// The High Precision Event Timer.
    pub hpet: Option<HpetTable>,
    /// How to ask for the state S5, that is, to be switched off.
    pub s5: Option<SleepType>,
}

/// Why the tables cannot be read.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum AcpiError {
    /// There is no root pointer where the boot loader said, nor anywhere in the firmware's memory.
    NoRootPointer,
    /// A table, named by its signature, is shorter than what it must contain.
    TooShort([u8; 4]),
    /// A table, named by its signature, claims to be larger than any table is.
    TooLong([u8; 4]),
    /// The checksum of a table, named by its signature, is wrong.
    Checksum([u8; 4]),
    /// A table has another signature than it should have; this one was expected.
    Signature([u8; 4]),
    /// Physical memory could not be mapped: its address, and the reason.
    Unmappable(usize, &'static str),
}

impl fmt::Display for AcpiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name =
            |signature: &[u8; 4]| signature.map(|byte| if byte.is_ascii_graphic() { byte } else { b'?' });
        let text = |signature: &[u8; 4], f: &mut fmt::Formatter<'_>, what: &str| {
            let name = name(signature);
            write!(f, "the ACPI table {} {what}", core::str::from_utf8(&name).unwrap_or("????"))
        };
        match self {
            AcpiError::NoRootPointer => {
                f.write_str("the firmware has no ACPI tables: boot with ACPI enabled")
            }
            AcpiError::TooShort(signature) => text(signature, f, "is cut short by the firmware"),
            AcpiError::TooLong(signature) => text(signature, f, "claims an impossible length"),
            AcpiError::Checksum(signature) => text(signature, f, "has a wrong checksum"),
            AcpiError::Signature(signature) => text(signature, f, "is not where the firmware says"),
            AcpiError::Unmappable(address, reason) => {
                write!(f, "the ACPI tables at physical address {address:#x} cannot be mapped: {reason}")
            }
        }
    }
}

impl core::error::Error for AcpiError {}

/// Where table bytes come from: physical memory, or a test's image of it.
trait PhysicalMemory {
    /// Copies `length` bytes from a physical address.
    fn read(&self, address: usize, length: usize) -> Result<Vec<u8>, AcpiError>;
}

/// The machine's memory, mapped for as long as it is copied.
struct MappedMemory;

impl PhysicalMemory for MappedMemory {
    fn read(&self, address: usize, length: usize) -> Result<Vec<u8>, AcpiError> {
        let unmappable = |reason| AcpiError::Unmappable(address, reason);
        let offset = address % PAGE_SIZE;
        let start = PhysicalAddress::new(address - offset).ok_or(unmappable("there is no such address"))?;
        let mapping = memory::map_frame_range(start, offset + length, PteFlags::new().valid(true))
            .map_err(unmappable)?;
        let bytes = mapping.as_slice::<u8>(offset, length).map_err(unmappable)?;
        Ok(bytes.to_vec())
    }
}

static INFO: spin::Once<AcpiInfo> = spin::Once::new();

/// Reads the tables. `root_pointer` is the physical address of the RSDP if the boot loader knows it; otherwise the
/// places are searched where BIOSes put it. Later calls return what the first one that succeeded has read.
///
/// # Errors
/// The root of the tables cannot be found or read. Damage further down leaves that part of [`AcpiInfo`] out and is
/// logged.
pub fn init(root_pointer: Option<usize>) -> Result<&'static AcpiInfo, AcpiError> {
    INFO.try_call_once(|| {
        let info = read_all(&MappedMemory, root_pointer)?;
        let (processors, io_apics) =
            info.madt.as_ref().map_or((0, 0), |madt| (madt.processors.len(), madt.io_apics.len()));
        log::info!(
            "ACPI tables: {processors} processors, {io_apics} I/O APICs, HPET {}, S5 {}",
            if info.hpet.is_some() { "present" } else { "absent" },
            if info.s5.is_some() { "known" } else { "unknown" },
        );
        Ok(info)
    })
}

/// What [`init`] has read.
pub fn info() -> Option<&'static AcpiInfo> {
    INFO.get()
}

fn read_all(memory: &impl PhysicalMemory, root_pointer: Option<usize>) -> Result<AcpiInfo, AcpiError> {
    let mut info = AcpiInfo::default();
    for address in root::table_addresses(memory, root_pointer)? {
        if let Err(error) = read_one(memory, address, &mut info) {
            log::warn!("{error}: going on without it");
        }
    }
    if let Some(dsdt) = info.fadt.as_ref().and_then(|fadt| fadt.dsdt) {
        match Table::read(memory, dsdt) {
            Ok(table) if table.signature() == *b"DSDT" => info.s5 = s5::find(table.body()),
            Ok(_) => log::warn!("{}: going on without it", AcpiError::Signature(*b"DSDT")),
            Err(error) => log::warn!("{error}: going on without it"),
        }
    }
    Ok(info)
}

fn read_one(memory: &impl PhysicalMemory, address: usize, info: &mut AcpiInfo) -> Result<(), AcpiError> {
    let signature = Table::peek_signature(memory, address)?;
    if ![*b"APIC", *b"FACP", *b"HPET"].contains(&signature) {
        return Ok(());
    }
    let table = Table::read(memory, address)?;
    match &signature {
        b"APIC" => info.madt = Some(Madt::parse(&table)?),
        b"FACP" => info.fadt = Some(Fadt::parse(&table)?),
        _ => info.hpet = Some(HpetTable::parse(&table)?),
    }
    Ok(())
}

#[cfg(test)]
mod tests;
