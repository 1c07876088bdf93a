//! The multiboot2 protocol, by which GRUB starts the kernel.

use crate::{BootInfo, Error};
use multiboot2::{BootInformation, BootInformationHeader, MemoryAreaType};

/// What a multiboot2 boot loader leaves in EAX.
pub const MAGIC: u32 = multiboot2::MAGIC;

/// Copies what the multiboot2 information at physical address `address` says.
///
/// # Errors
/// [`Error`] when something in it is missing or damaged.
///
/// # Safety
/// `address` is what the boot loader passed in EBX, and physical memory below 4 GiB is mapped at its own address.
pub unsafe fn read(address: usize) -> Result<BootInfo, Error> {
    // SAFETY: the caller passes the boot loader's structure, identity mapped.
    let tags = unsafe { BootInformation::load(address as *const BootInformationHeader) }
        .map_err(|_| Error::Malformed("the multiboot2 tags cannot be read"))?;
    let mut info = BootInfo::empty("multiboot2");
    let map = tags.memory_map_tag().ok_or(Error::Malformed("it has no memory map"))?;
    for area in map.memory_areas() {
        // What only the firmware's boot services used stays reserved in this map under UEFI; GRUB leaves them before it
        // starts the kernel, and reports their memory as available.
        if area.typ() == MemoryAreaType::Available {
            info.push_usable(area.start_address() as usize..area.end_address() as usize)?;
        }
    }
    let module = tags.module_tags().next().ok_or(Error::NoArchive)?;
    info.archive = module.start_address() as usize..module.end_address() as usize;
    info.reserved.push(info.archive.clone());
    // The tags stay readable: the copy of the ACPI root pointer lies in them.
    info.reserved.push(address..address + tags.total_size());
    if let Some(line) = tags.command_line_tag() {
        let line = line.cmdline().map_err(|_| Error::CommandLine)?;
        info.command_line.try_push_str(line).map_err(|_| Error::CommandLine)?;
    }
    // A tag is its type and size (4 bytes each), then the copy of the root pointer.
    const TAG_HEADER: usize = 8;
    info.rsdp = tags
        .rsdp_v2_tag()
        .map(|tag| core::ptr::from_ref(tag) as usize + TAG_HEADER)
        .or_else(|| tags.rsdp_v1_tag().map(|tag| core::ptr::from_ref(tag) as usize + TAG_HEADER));
    Ok(info)
}
