//! Devices on the PCI bus: what they are, their memory, and their message-signalled interrupts.
//!
//! Configuration space is reached through ports 0xCF8 and 0xCFC, as every PC still allows. Buses behind bridges are found if the firmware has given
//! them numbers. Firmware usually gives the devices' memory addresses, too; to one that has none, as under QEMU's minimal firmware, this crate
//! gives one below the interrupt controllers ([`PciDevice::map_bar`]).
//!
//! Register layouts: PCI Local Bus Specification 3.0, chapter 6 (configuration space) and 6.8 (MSI-X).
//!
//! # Invariants
//! * The two ports are used by one task at a time.
//! * A base address register's memory is mapped once: who maps it owns its frames.
#![no_std]

extern crate alloc;

use alloc::vec::Vec;
use core::fmt;
use memory::{MMIO_FLAGS, MappedPages, PhysicalAddress};
use sync_irq::IrqSafeMutex;
use x86_64::instructions::port::Port;

const CONFIG_ADDRESS: u16 = 0xCF8;
const CONFIG_DATA: u16 = 0xCFC;
/// In the address: this is one.
const ENABLE: u32 = 1 << 31;

/// Offsets in the configuration space of a device.
const VENDOR_ID: u8 = 0x00;
const COMMAND: u8 = 0x04;
const CLASS: u8 = 0x08;
const HEADER_TYPE: u8 = 0x0C;
const BAR0: u8 = 0x10;
const BUSES: u8 = 0x18;
const CAPABILITIES: u8 = 0x34;

const COMMAND_MEMORY: u32 = 1 << 1;
const COMMAND_IO: u32 = 1;
const COMMAND_BUS_MASTER: u32 = 1 << 2;
const COMMAND_NO_INTX: u32 = 1 << 10;
/// In the status, the upper half of the command's register.
const STATUS_CAPABILITIES: u32 = 1 << 20;

const CAPABILITY_MSIX: u8 = 0x11;
/// In the register with the capability's head: the function is on, and all of its vectors are masked.
const MSIX_ENABLE: u32 = 1 << 31;
const MSIX_MASK_ALL: u32 = 1 << 30;
/// Bytes of an entry of the table of vectors.
const MSIX_ENTRY: usize = 16;
/// Where messages to local APICs go; the APIC's number is in bits 12 to 19.
const MESSAGE_ADDRESS: u32 = 0xFEE0_0000;

/// Where memory of devices goes that the firmware gave no place: below the I/O APIC, where PCs have no RAM.
const WINDOW: core::ops::Range<u32> = 0xFD00_0000..0xFE80_0000;

/// Where the next device's memory goes. Held while the ports are used.
static CONFIGURATION: IrqSafeMutex<u32> = IrqSafeMutex::new(WINDOW.start);

/// Where a device is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PciLocation {
    /// The bus.
    pub bus: u8,
    /// The device on it, below 32.
    pub slot: u8,
    /// The function of the device, below 8.
    pub function: u8,
}

impl fmt::Display for PciLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02x}:{:02x}.{}", self.bus, self.slot, self.function)
    }
}

/// Why a device cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PciError {
    /// The base address register has no memory behind it.
    NoMemory(u8),
    /// There is no room for the device's memory.
    NoRoom,
    /// The memory could not be mapped; the text is the memory subsystem's.
    NotMapped(&'static str),
    /// The device has no message-signalled interrupts.
    NoMsix,
}

impl fmt::Display for PciError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PciError::NoMemory(bar) => write!(f, "its base address register {bar} has no memory"),
            PciError::NoRoom => write!(f, "there is no room for its memory below 4 GiB"),
            PciError::NotMapped(why) => write!(f, "its memory cannot be mapped: {why}"),
            PciError::NoMsix => write!(f, "it has no message-signalled interrupts (MSI-X)"),
        }
    }
}

impl core::error::Error for PciError {}

impl PciLocation {
    fn select(self, offset: u8) {
        let (bus, slot, function) = (u32::from(self.bus), u32::from(self.slot), u32::from(self.function));
        let address = ENABLE | bus << 16 | slot << 11 | function << 8 | u32::from(offset & !3);
        // SAFETY: the port selects a register for the next access to the data port, by whoever holds the lock, and does nothing else.
        unsafe { Port::<u32>::new(CONFIG_ADDRESS).write(address) };
    }

    /// The 32 bits of configuration space at `offset`, which is rounded down to a multiple of four. All ones where no device is.
    pub fn pci_read_32(self, offset: u8) -> u32 {
        let _configuration = CONFIGURATION.lock();
        self.select(offset);
        // SAFETY: reading configuration space has no effect on the devices there are.
        unsafe { Port::<u32>::new(CONFIG_DATA).read() }
    }

    /// Writes the 32 bits of configuration space at `offset`.
    fn pci_write(self, offset: u8, value: u32) {
        let _configuration = CONFIGURATION.lock();
        self.select(offset);
        // SAFETY: the callers write to the registers of this crate's constants, with values that the specification gives; none of them makes
        // the device write to memory by itself. (A device that may do so is told by its driver where.)
        unsafe { Port::<u32>::new(CONFIG_DATA).write(value) }
    }
}

/// A device.
#[derive(Debug, Clone, Copy)]
pub struct PciDevice {
    /// Where it is.
    pub location: PciLocation,
    /// Who made it.
    pub vendor_id: u16,
    /// What it is to whoever made it.
    pub device_id: u16,
    /// What kind of device it is.
    pub class: u8,
    /// And what kind of these.
    pub subclass: u8,
}

/// A capability: its kind and where it is in configuration space.
#[derive(Debug, Clone, Copy)]
pub struct Capability {
    /// The kind.
    pub id: u8,
    /// Where it begins.
    pub offset: u8,
}

/// All devices: those on bus 0, and on the buses behind its bridges that have numbers.
pub fn pci_device_iter() -> impl Iterator<Item = PciDevice> {
    let mut seen = [0_u64; 4];
    let mut buses = Vec::from([0_u8]);
    let mut found = Vec::new();
    while let Some(bus) = buses.pop() {
        let (word, bit) = (usize::from(bus / 64), 1 << (bus % 64));
        if seen[word] & bit != 0 {
            continue;
        }
        seen[word] |= bit;
        for slot in 0..32 {
            let first = PciLocation { bus, slot, function: 0 };
            let functions = if first.pci_read_32(HEADER_TYPE) & 0x80_0000 != 0 { 8 } else { 1 };
            for function in 0..functions {
                let location = PciLocation { function, ..first };
                let id = location.pci_read_32(VENDOR_ID);
                if id as u16 == u16::MAX {
                    if function == 0 {
                        break;
                    }
                    continue;
                }
                let class = location.pci_read_32(CLASS);
                if location.pci_read_32(HEADER_TYPE) >> 16 & 0x7F == 1 {
                    buses.push((location.pci_read_32(BUSES) >> 8) as u8);
                }
                found.push(PciDevice {
                    location,
                    vendor_id: id as u16,
                    device_id: (id >> 16) as u16,
                    class: (class >> 24) as u8,
                    subclass: (class >> 16) as u8,
                });
            }
        }
    }
    found.into_iter()
}

impl PciDevice {
    /// Its capabilities.
    pub fn capabilities(&self) -> impl Iterator<Item = Capability> {
        let location = self.location;
        let has_any = location.pci_read_32(COMMAND) & STATUS_CAPABILITIES != 0;
        let mut next = if has_any { location.pci_read_32(CAPABILITIES) as u8 & !3 } else { 0 };
        // There is room for so many; a list that comes back to itself ends as well.
        let mut left = 48;
        core::iter::from_fn(move || {
            left -= 1;
            if next == 0 || left == 0 {
                return None;
            }
            let offset = next;
            let head = location.pci_read_32(offset);
            next = (head >> 8) as u8 & !3;
            Some(Capability { id: head as u8, offset })
        })
    }

    /// The physical address of base address register `bar` and its size in bytes. The device must not decode addresses meanwhile.
    fn sized_bar(&self, bar: u8) -> Result<(u64, u64, bool), PciError> {
        let offset = BAR0 + 4 * bar;
        let low = self.location.pci_read_32(offset);
        // Bit 0: ports, not memory. Bits 1 and 2: 64 bits of address, which the next register has the rest of.
        let wide = low & 0b110 == 0b100;
        if low & 1 != 0 || (wide && bar >= 5) {
            return Err(PciError::NoMemory(bar));
        }
        let high = if wide { self.location.pci_read_32(offset + 4) } else { 0 };
        self.location.pci_write(offset, u32::MAX);
        let mut mask = u64::from(self.location.pci_read_32(offset) & !0xF) | 0xFFFF_FFFF_0000_0000;
        self.location.pci_write(offset, low);
        if wide {
            self.location.pci_write(offset + 4, u32::MAX);
            mask &= u64::from(self.location.pci_read_32(offset + 4)) << 32 | 0xFFFF_FFFF;
            self.location.pci_write(offset + 4, high);
        }
        let size = (!mask).wrapping_add(1);
        if mask as u32 == 0 && !wide || size == 0 {
            return Err(PciError::NoMemory(bar));
        }
        Ok((u64::from(high) << 32 | u64::from(low & !0xF), size, wide))
    }

    /// Maps the memory behind base address register `bar` (0 to 5), which is given a place if it has none, and lets the device answer there.
    ///
    /// # Errors
    /// See [`PciError`].
    pub fn map_bar(&self, bar: u8) -> Result<MappedPages, PciError> {
        if bar > 5 {
            return Err(PciError::NoMemory(bar));
        }
        let command = self.location.pci_read_32(COMMAND) & 0xFFFF;
        self.location.pci_write(COMMAND, command & !(COMMAND_MEMORY | COMMAND_IO));
        let placed = self.sized_bar(bar).and_then(|(address, size, wide)| {
            let address = if address != 0 { address } else { self.place(bar, size, wide)? };
            Ok((address, size))
        });
        self.location.pci_write(COMMAND, command | COMMAND_MEMORY);
        let (address, size) = placed?;
        let start = PhysicalAddress::new(address as usize).ok_or(PciError::NoRoom)?;
        memory::map_frame_range(start, size as usize, MMIO_FLAGS).map_err(PciError::NotMapped)
    }

    /// Gives the memory of a base address register a place.
    fn place(&self, bar: u8, size: u64, wide: bool) -> Result<u64, PciError> {
        // A page at least: nobody else's registers are to be in it.
        let size = u32::try_from(size.max(0x1000)).map_err(|_| PciError::NoRoom)?;
        let address = {
            let mut next = CONFIGURATION.lock();
            let address = next.checked_next_multiple_of(size).ok_or(PciError::NoRoom)?;
            let end = address.checked_add(size).filter(|end| *end <= WINDOW.end).ok_or(PciError::NoRoom)?;
            *next = end;
            address
        };
        self.location.pci_write(BAR0 + 4 * bar, address);
        if wide {
            self.location.pci_write(BAR0 + 4 * bar + 4, 0);
        }
        Ok(u64::from(address))
    }

    /// Lets the device read and write memory by itself.
    pub fn pci_set_command_bus_master_bit(&self) {
        let command = self.location.pci_read_32(COMMAND) & 0xFFFF;
        self.location.pci_write(COMMAND, command | COMMAND_BUS_MASTER);
    }

    /// Where the table of interrupt messages is: its base address register and its offset there.
    ///
    /// # Errors
    /// [`PciError::NoMsix`].
    pub fn msix_table(&self) -> Result<(u8, usize), PciError> {
        let capability = self.msix()?;
        let table = self.location.pci_read_32(capability.offset + 4);
        Ok((table as u8 & 7, (table & !7) as usize))
    }

    fn msix(&self) -> Result<Capability, PciError> {
        self.capabilities().find(|capability| capability.id == CAPABILITY_MSIX).ok_or(PciError::NoMsix)
    }

    /// Has the device send message 0 as interrupt `vector` to this CPU, and no other interrupts. `table` is the mapped memory that the table of
    /// messages is in, from `offset` on: see [`msix_table`](Self::msix_table).
    ///
    /// # Errors
    /// [`PciError::NoMsix`], or the table is not in that memory.
    pub fn pci_enable_msix(
        &self,
        table: &mut MappedPages,
        offset: usize,
        vector: u8,
    ) -> Result<(), PciError> {
        let capability = self.msix()?;
        let entry = offset.checked_add(MSIX_ENTRY).filter(|end| *end <= table.size_in_bytes());
        entry.filter(|end| end % 4 == 0).ok_or(PciError::NoMsix)?;
        let destination = apic::apic_id();
        let address = MESSAGE_ADDRESS | (destination & 0xFF) << 12;
        let first = (table.start_address().value() + offset) as *mut u32;
        for (index, value) in [address, 0, u32::from(vector), 0].into_iter().enumerate() {
            // SAFETY: the four words are in the mapping, as was checked, which is device memory and borrowed here alone. The message is one
            // to a local APIC.
            unsafe { first.add(index).write_volatile(value) };
        }
        let head = self.location.pci_read_32(capability.offset);
        self.location.pci_write(capability.offset, (head | MSIX_ENABLE) & !MSIX_MASK_ALL);
        let command = self.location.pci_read_32(COMMAND) & 0xFFFF;
        self.location.pci_write(COMMAND, command | COMMAND_NO_INTX);
        Ok(())
    }
}
