//! The page below 1 MiB where CPUs start, and the page tables with which they get from there to the kernel.

use core::arch::global_asm;
use core::sync::atomic::{AtomicU64, Ordering};
use kernel_config::memory::{ENTRIES_PER_PAGE_TABLE, PAGE_SIZE, PHYS_MAP_BASE};
use memory::{AllocatedFrames, PhysicalAddress};
use x86_64::registers::control::{Cr0, Cr4, Cr4Flags, Efer, EferFlags};

global_asm!(include_str!("trampoline.s"));

unsafe extern "C" {
    safe static ap_trampoline_start: u8;
    safe static ap_trampoline_end: u8;
    safe static ap_trampoline_far32: u8;
    safe static ap_trampoline_far64: u8;
    safe static ap_trampoline_gdt_address: u8;
}

/// Offsets of the words that are filled in, as in `trampoline.s`.
mod word {
    pub const CLAIM: usize = 8;
    pub const CR0: usize = 16;
    pub const CR3: usize = 24;
    pub const CR4: usize = 32;
    pub const EFER: usize = 40;
    pub const ARGUMENT: usize = 48;
    pub const STACK: usize = 56;
    pub const KERNEL_CR3: usize = 64;
    pub const ENTRY: usize = 72;
}

/// The frames: the code, and page tables of levels 4, 3 and 2.
const FRAMES: usize = 4;
/// Where a start-up interrupt can begin, without the page of the BIOS' data and what is above conventional memory.
const CONVENTIONAL_MEMORY: core::ops::Range<usize> = 0x1000..0xA_0000;

/// Page table entry: present and writable.
const PRESENT_WRITABLE: u64 = 0b11;
/// Page table entry of level 2: a page of 2 MiB.
const LARGE: u64 = 1 << 7;

/// The trampoline in its place. Its frames are given back when it is dropped.
pub(crate) struct Trampoline {
    frames: AllocatedFrames,
}

/// Where a started CPU goes.
pub(crate) struct Destination {
    /// The function that gets the following, in this order, in RDI, RSI and RDX, on no stack.
    pub entry: usize,
    /// Whatever the function expects.
    pub argument: usize,
    /// The stack pointer that it shall have.
    pub stack: usize,
}

impl Trampoline {
    /// Puts the trampoline into a free place below 1 MiB.
    ///
    /// # Errors
    /// There is none.
    pub fn new() -> Result<Self, &'static str> {
        let usable = &boot_info::get().ok_or("the memory map is not known")?.usable;
        let place = |range: &core::ops::Range<usize>| {
            let start = range.start.max(CONVENTIONAL_MEMORY.start).next_multiple_of(PAGE_SIZE);
            let end = range.end.min(CONVENTIONAL_MEMORY.end);
            (start..end.saturating_sub(FRAMES * PAGE_SIZE - 1)).step_by(PAGE_SIZE).find_map(|start| {
                memory::allocate_frames_at(PhysicalAddress::new_canonical(start), FRAMES).ok()
            })
        };
        let frames = usable.iter().find_map(place).ok_or("no free memory below 1 MiB to start CPUs in")?;
        let trampoline = Trampoline { frames };
        trampoline.fill();
        Ok(trampoline)
    }

    /// The number of the page where CPUs start.
    pub fn page(&self) -> u8 {
        // Below 1 MiB.
        self.frames.start().number() as u8
    }

    fn physical(&self, frame: usize) -> usize {
        self.frames.start_address().value() + frame * PAGE_SIZE
    }

    /// Where a word or table of these frames can be accessed: they are usable RAM, which is in the physical map.
    fn pointer(&self, frame: usize) -> *mut u64 {
        (PHYS_MAP_BASE + self.physical(frame)) as *mut u64
    }

    /// The place of one of the trampoline's own symbols.
    fn offset(symbol: &u8) -> usize {
        (&raw const *symbol) as usize - (&raw const ap_trampoline_start) as usize
    }

    fn word(&self, offset: usize) -> &AtomicU64 {
        // SAFETY: the offsets that this is called with are those of aligned words in the trampoline, which lies in the first frame;
        // the frames are owned by `self`, and CPUs that start read and write such a word only by whole instructions.
        unsafe { AtomicU64::from_ptr(self.pointer(0).byte_add(offset)) }
    }

    /// Copies the code, completes the addresses in it, and makes page tables.
    fn fill(&self) {
        let size = Self::offset(&ap_trampoline_end);
        assert!(size <= PAGE_SIZE, "the trampoline is larger than a page");
        // SAFETY: source and destination are as large as said, and the destination's frames are owned here. The page tables in use
        // are read by way of the physical map; what is read is copied and not followed.
        unsafe {
            let code = self.pointer(0).cast::<u8>();
            code.copy_from_nonoverlapping(&raw const ap_trampoline_start, size);
            for relative in [&ap_trampoline_far32, &ap_trampoline_far64, &ap_trampoline_gdt_address] {
                let field = code.add(Self::offset(relative)).cast::<u32>();
                field.write_unaligned(field.read_unaligned() + self.physical(0) as u32);
            }
            let kernel_p4 = PHYS_MAP_BASE + memory::get_current_p4().start_address().value();
            self.pointer(1).copy_from_nonoverlapping(kernel_p4 as *const u64, ENTRIES_PER_PAGE_TABLE);
            self.pointer(2).write_bytes(0, ENTRIES_PER_PAGE_TABLE);
            self.pointer(3).write_bytes(0, ENTRIES_PER_PAGE_TABLE);
            self.pointer(1).write(self.physical(2) as u64 | PRESENT_WRITABLE);
            self.pointer(2).write(self.physical(3) as u64 | PRESENT_WRITABLE);
            // The first 2 MiB at their own addresses.
            self.pointer(3).write(PRESENT_WRITABLE | LARGE);
        }
        let cr4 = Cr4::read() - (Cr4Flags::PCID | Cr4Flags::VIRTUAL_MACHINE_EXTENSIONS);
        self.word(word::CR0).store(Cr0::read().bits(), Ordering::Relaxed);
        self.word(word::CR3).store(self.physical(1) as u64, Ordering::Relaxed);
        self.word(word::CR4).store(cr4.bits(), Ordering::Relaxed);
        // The bit that says that long mode is active is the CPU's to set.
        let efer = (Efer::read() - EferFlags::LONG_MODE_ACTIVE).bits();
        self.word(word::EFER).store(efer, Ordering::Relaxed);
        let kernel_cr3 = memory::get_current_p4().start_address().value() as u64;
        self.word(word::KERNEL_CR3).store(kernel_cr3, Ordering::Relaxed);
    }

    /// Lets one CPU through.
    pub fn open(&self, destination: &Destination) {
        self.word(word::ARGUMENT).store(destination.argument as u64, Ordering::Relaxed);
        self.word(word::STACK).store(destination.stack as u64, Ordering::Relaxed);
        self.word(word::ENTRY).store(destination.entry as u64, Ordering::Relaxed);
        self.word(word::CLAIM).store(1, Ordering::SeqCst);
    }

    /// Whether nobody has come since [`Self::open`].
    pub fn is_open(&self) -> bool {
        self.word(word::CLAIM).load(Ordering::SeqCst) != 0
    }

    /// Lets nobody through any more. True if nobody had come.
    pub fn close(&self) -> bool {
        self.word(word::CLAIM).swap(0, Ordering::SeqCst) != 0
    }
}
