//! The PVH protocol: `struct hvm_start_info` of Xen's public header `arch-x86/hvm/start_info.h`, which QEMU passes in
//! EBX when it is given an ELF file with a `XEN_ELFNOTE_PHYS32_ENTRY` note by `-kernel`.

use crate::{BootInfo, Error};
use core::ffi::{CStr, c_char};
use core::ops::Range;

/// The first word of `hvm_start_info`: "xEn3" with the high bit of the E set.
pub const MAGIC: u32 = 0x336e_c578;

/// `XEN_HVM_MEMMAP_TYPE_RAM`.
const TYPE_RAM: u32 = 1;

#[repr(C)]
struct StartInfo {
    magic: u32,
    version: u32,
    flags: u32,
    module_count: u32,
    modules: u64,
    command_line: u64,
    rsdp: u64,
    memory_map: u64,
    memory_map_entries: u32,
    _reserved: u32,
}

#[repr(C)]
struct ModuleEntry {
    address: u64,
    size: u64,
    _command_line: u64,
    _reserved: u64,
}

#[repr(C)]
struct MemoryMapEntry {
    address: u64,
    size: u64,
    kind: u32,
    _reserved: u32,
}

fn range(address: u64, size: u64) -> Result<Range<usize>, Error> {
    let end = address.checked_add(size).ok_or(Error::Malformed("a range ends beyond 2^64"))?;
    Ok(address as usize..end as usize)
}

/// Copies what `hvm_start_info` at physical address `address` says.
///
/// # Errors
/// [`Error`] when something in it is missing or damaged.
///
/// # Safety
/// `address` is what the boot loader passed in EBX, and physical memory below 4 GiB is mapped at its own address.
pub unsafe fn read(address: usize) -> Result<BootInfo, Error> {
    // SAFETY: the caller passes the boot loader's structure, identity mapped; it is at least version 1, checked below
    // before the fields that version 0 lacks are used.
    let start = unsafe { &*(address as *const StartInfo) };
    if start.magic != MAGIC {
        return Err(Error::UnknownProtocol);
    }
    if start.version < 1 {
        return Err(Error::Malformed("PVH start info of version 0 has no memory map"));
    }
    let mut info = BootInfo::empty("PVH");
    // SAFETY: the protocol promises `memory_map_entries` entries at `memory_map`.
    let map = unsafe {
        core::slice::from_raw_parts(
            start.memory_map as *const MemoryMapEntry,
            start.memory_map_entries as usize,
        )
    };
    for entry in map.iter().filter(|entry| entry.kind == TYPE_RAM) {
        info.push_usable(range(entry.address, entry.size)?)?;
    }
    if start.module_count == 0 {
        return Err(Error::NoArchive);
    }
    // SAFETY: the protocol promises `module_count` (not 0) entries at `modules`.
    let archive = unsafe { &*(start.modules as *const ModuleEntry) };
    info.archive = range(archive.address, archive.size)?;
    info.reserved.push(info.archive.clone());
    if start.command_line != 0 {
        // SAFETY: the protocol promises a zero-terminated string.
        let line = unsafe { CStr::from_ptr(start.command_line as *const c_char) };
        let line = line.to_str().map_err(|_| Error::CommandLine)?;
        info.command_line.try_push_str(line).map_err(|_| Error::CommandLine)?;
    }
    info.rsdp = (start.rsdp != 0).then_some(start.rsdp as usize);
    Ok(info)
}
