//! What only the processor can do: which page table it uses, and forgetting translations.
//!
//! On a host, where the crate's logic is tested, the processor is a variable and physical memory a buffer.

use memory_structs::{Frame, PhysicalAddress};

#[cfg(target_os = "theseus")]
mod processor {
    use super::*;
    use core::arch::asm;
    use core::arch::x86_64::__cpuid;
    use memory_structs::VirtualAddress;

    /// Where physical address 0 is mapped.
    pub(crate) fn phys_map_base() -> usize {
        kernel_config::PHYS_MAP_BASE
    }

    /// The frame of the top-level page table in use.
    pub(crate) fn current_p4() -> Frame {
        let cr3: usize;
        // SAFETY: reading CR3 changes nothing.
        unsafe { asm!("mov {}, cr3", out(reg) cr3, options(nomem, nostack, preserves_flags)) };
        Frame::containing_address(PhysicalAddress::new_canonical(cr3))
    }

    /// Uses another top-level page table from now on.
    ///
    /// # Safety
    /// It maps everything that is in use (code, stack, data) as before.
    pub(crate) unsafe fn set_p4(p4: Frame) {
        // SAFETY: by this function's contract nothing that is in use changes. Not `nomem`: memory accesses
        // must not move across.
        unsafe { asm!("mov cr3, {}", in(reg) p4.start_address().value(), options(nostack, preserves_flags)) };
    }

    /// Forgets the translation of one address, and all cached pointers between page tables.
    pub(crate) fn flush_page(vaddr: VirtualAddress) {
        // SAFETY: a translation that is forgotten is looked up again. Not `nomem`, as in `set_p4`.
        unsafe { asm!("invlpg [{}]", in(reg) vaddr.value(), options(nostack, preserves_flags)) };
    }

    /// Forgets all translations. There are no global ones.
    pub(crate) fn flush_all() {
        // SAFETY: the same page table is used as before.
        unsafe { set_p4(current_p4()) };
    }

    /// Whether level-3 entries can map 1 GiB (CPUID 8000_0001h, EDX bit 26; Intel SDM volume 2, CPUID).
    pub(crate) fn has_1g_pages() -> bool {
        __cpuid(0x8000_0000).eax >= 0x8000_0001 && __cpuid(0x8000_0001).edx & 1 << 26 != 0
    }

    /// Makes the processor obey the bits that page tables rely on: EFER.NXE and CR0.WP.
    pub(crate) fn enable_protection() {
        const EFER: u32 = 0xC000_0080;
        const NXE: u32 = 1 << 11;
        const WP: usize = 1 << 16;
        // SAFETY: EFER exists wherever long mode does. NXE gives meaning to bit 63 of entries, which is in no
        // entry of the boot tables; WP makes ring 0 obey read-only entries, of which the boot tables have
        // none.
        unsafe {
            let (low, high): (u32, u32);
            asm!("rdmsr", in("ecx") EFER, out("eax") low, out("edx") high, options(nomem, nostack));
            asm!("wrmsr", in("ecx") EFER, in("eax") low | NXE, in("edx") high, options(nostack));
            let cr0: usize;
            asm!("mov {}, cr0", out(reg) cr0, options(nomem, nostack, preserves_flags));
            asm!("mov cr0, {}", in(reg) cr0 | WP, options(nostack, preserves_flags));
        }
    }
}

#[cfg(not(target_os = "theseus"))]
mod processor {
    use super::*;
    use core::sync::atomic::{AtomicUsize, Ordering};
    use memory_structs::VirtualAddress;

    /// Where the buffer that stands for physical memory is, less the physical address it begins with.
    pub(crate) static PHYS_MAP_BASE: AtomicUsize = AtomicUsize::new(0);
    static P4: AtomicUsize = AtomicUsize::new(0);
    /// How many times translations were forgotten, for tests.
    pub(crate) static FLUSHES: AtomicUsize = AtomicUsize::new(0);

    pub(crate) fn phys_map_base() -> usize {
        PHYS_MAP_BASE.load(Ordering::Relaxed)
    }

    pub(crate) fn current_p4() -> Frame {
        Frame::containing_address(PhysicalAddress::new_canonical(P4.load(Ordering::Relaxed)))
    }

    pub(crate) unsafe fn set_p4(p4: Frame) {
        P4.store(p4.start_address().value(), Ordering::Relaxed);
    }

    pub(crate) fn flush_page(_vaddr: VirtualAddress) {
        FLUSHES.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn flush_all() {
        FLUSHES.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn has_1g_pages() -> bool {
        true
    }

    pub(crate) fn enable_protection() {}
}

pub(crate) use processor::*;

/// Where a physical address can be written and read.
///
/// The pointer is valid for RAM that `init` was told of; whose memory it is, is the caller's to know.
pub(crate) fn phys_to_virt(paddr: PhysicalAddress) -> *mut u8 {
    (phys_map_base() + paddr.value()) as *mut u8
}

/// Fills frames with zeroes.
///
/// # Safety
/// They are RAM in the physical map, and the caller owns them: nothing else reads or writes them.
pub(crate) unsafe fn zero_frames(frames: &memory_structs::FrameRange) {
    // SAFETY: by this function's contract.
    unsafe { phys_to_virt(frames.start_address()).write_bytes(0, frames.size_in_bytes()) };
}
