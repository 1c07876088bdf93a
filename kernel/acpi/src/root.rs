//! From the root pointer (RSDP) to the addresses of all tables (ACPI specification 5.2.5, 5.2.7, 5.2.8).

use crate::table::{HEADER_LENGTH, Table, checksum};
use crate::{AcpiError, PhysicalMemory};
use alloc::vec::Vec;

/// What the root pointer begins with.
const SIGNATURE: &[u8; 8] = b"RSD PTR ";
/// Bytes of the root pointer of ACPI 1.0, to which its first checksum extends.
const LENGTH_1: usize = 20;
/// Bytes of the root pointer since ACPI 2.0.
const LENGTH_2: usize = 36;
/// Where BIOSes put the root pointer, on a boundary of 16 bytes: their read-only memory below 1 MiB …
const BIOS_AREA: core::ops::Range<usize> = 0xE_0000..0x10_0000;
/// … or the first KiB of the extended BIOS data area, whose segment number is stored at this address.
const EBDA_POINTER: usize = 0x40E;

/// The physical addresses of all tables that the root table lists.
pub fn table_addresses(
    memory: &impl PhysicalMemory,
    root_pointer: Option<usize>,
) -> Result<Vec<usize>, AcpiError> {
    let given = root_pointer.and_then(|address| parse_at(memory, address));
    let root = given.or_else(|| search(memory)).ok_or(AcpiError::NoRootPointer)?;
    let (address, signature, entry_size) = match root {
        Root::Rsdt(address) => (address, *b"RSDT", 4),
        Root::Xsdt(address) => (address, *b"XSDT", 8),
    };
    let table = Table::read(memory, address)?;
    if table.signature() != signature {
        return Err(AcpiError::Signature(signature));
    }
    let count = table.body().len() / entry_size;
    let mut addresses = Vec::with_capacity(count);
    for index in 0..count {
        let offset = HEADER_LENGTH + index * entry_size;
        let address = if entry_size == 8 { table.u64(offset)? as usize } else { table.u32(offset)? as usize };
        if address != 0 {
            addresses.push(address);
        }
    }
    Ok(addresses)
}

/// Where the root table is: with 32-bit or 64-bit addresses in it.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Root {
    Rsdt(usize),
    Xsdt(usize),
}

/// Reads the root pointer from bytes that begin with it.
fn parse(bytes: &[u8]) -> Option<Root> {
    if !bytes.starts_with(SIGNATURE) || checksum(bytes.get(..LENGTH_1)?) != 0 {
        return None;
    }
    let rsdt = u32::from_le_bytes(*bytes[16..].first_chunk()?) as usize;
    let revision = bytes[15];
    if revision >= 2
        && let Some(extended) = bytes.get(..LENGTH_2)
        && checksum(extended) == 0
    {
        let xsdt = u64::from_le_bytes(*extended[24..].first_chunk()?) as usize;
        if xsdt != 0 {
            return Some(Root::Xsdt(xsdt));
        }
    }
    (rsdt != 0).then_some(Root::Rsdt(rsdt))
}

fn parse_at(memory: &impl PhysicalMemory, address: usize) -> Option<Root> {
    parse(&memory.read(address, LENGTH_2).ok()?)
}

/// Looks where BIOSes put the root pointer.
fn search(memory: &impl PhysicalMemory) -> Option<Root> {
    let ebda = memory
        .read(EBDA_POINTER, 2)
        .ok()
        .and_then(|bytes| bytes.first_chunk().copied())
        .map(|segment| usize::from(u16::from_le_bytes(segment)) * 16);
    let areas = [Some(BIOS_AREA), ebda.filter(|start| *start != 0).map(|start| start..start + 1024)];
    for area in areas.into_iter().flatten() {
        let Ok(bytes) = memory.read(area.start, area.len()) else { continue };
        let found = (0..bytes.len()).step_by(16).find_map(|offset| parse(&bytes[offset..]));
        if found.is_some() {
            return found;
        }
    }
    None
}
