//! Constants of the kernel: how the one address space is divided, how big stacks are, how long a time slice
//! is.
//!
//! Nothing is computed here at run time, and nothing is depended upon: every crate may use this one.
//!
//! # The address space
//!
//! | from                    | what                                                                       |
//! |-------------------------|----------------------------------------------------------------------------|
//! | `0x0`                   | the first 1 MiB is never handed out; page 0 is never mapped                |
//! | [`GENERAL_PAGES_START`] | general pages of `page_allocator`, up to the end of the lower half         |
//! | [`PHYS_MAP_BASE`]       | all RAM, writable and never executable, for the memory crates alone        |
//! | [`KERNEL_HEAP_START`]   | the heap                                                                   |
//! | [`KERNEL_OFFSET`]       | base image, loaded crates and compiled wasm code: everything executable    |
//!
//! [`GENERAL_PAGES_START`]: memory::GENERAL_PAGES_START [`PHYS_MAP_BASE`]: memory::PHYS_MAP_BASE
//! [`KERNEL_HEAP_START`]: memory::KERNEL_HEAP_START [`KERNEL_OFFSET`]: memory::KERNEL_OFFSET
#![no_std]

pub use memory::{PAGE_SIZE, PHYS_MAP_BASE};

/// Pages, address ranges and sizes of stacks and heap.
pub mod memory {
    /// log2 of [`PAGE_SIZE`].
    pub const PAGE_SHIFT: usize = 12;
    /// Bytes in a page and in a frame.
    pub const PAGE_SIZE: usize = 1 << PAGE_SHIFT;
    /// Entries in a page table of any level.
    pub const ENTRIES_PER_PAGE_TABLE: usize = 512;
    /// The highest number a 4 KiB page can have: the page that holds address `usize::MAX`.
    pub const MAX_PAGE_NUMBER: usize = usize::MAX >> PAGE_SHIFT;
    /// Bytes of address space that one entry of the top-level page table covers.
    pub const BYTES_PER_P4_ENTRY: usize = 1 << 39;

    /// Where the general pages begin. What is below (1 MiB) belongs to firmware, application processors'
    /// first instructions, and to catching null pointers with an offset.
    pub const GENERAL_PAGES_START: usize = 0x10_0000;
    /// First address after the general pages: the end of the canonical lower half.
    pub const GENERAL_PAGES_END: usize = 0x0000_8000_0000_0000;

    /// Physical address `p` is also at `PHYS_MAP_BASE + p`, writable and never executable. Only the memory
    /// crates may use this view: it evades the ownership that `MappedPages` stands for.
    pub const PHYS_MAP_BASE: usize = 0xFFFF_8800_0000_0000;
    /// Bytes kept free for the physical map: RAM beyond this physical address is not used.
    pub const PHYS_MAP_MAX_SIZE: usize = 64 << 40;

    /// Start of the heap's address range, which begins at top-level entry 509.
    pub const KERNEL_HEAP_START: usize = 0xFFFF_FE80_0000_0000;
    /// Bytes of address space the heap may grow to: one top-level entry.
    pub const KERNEL_HEAP_MAX_SIZE: usize = BYTES_PER_P4_ENTRY;
    /// Bytes the heap may use at first; it grows on demand and starts with nothing mapped.
    pub const KERNEL_HEAP_INITIAL_SIZE: usize = KERNEL_HEAP_MAX_SIZE;

    /// What the base image's virtual addresses exceed its physical ones by, and the start of the window in
    /// which all code lives.
    pub const KERNEL_OFFSET: usize = 0xFFFF_FFFF_8000_0000;
    /// Start of the window for everything executable, and for the data next to it that code reaches by 32-bit
    /// relocations. Pages in it are handed out only on request (`allocate_pages_in_range`).
    pub const CRATE_WINDOW_START: usize = KERNEL_OFFSET;
    /// The last usable byte of the window. The topmost page stays unused, so that "one past the end" of any
    /// range is still an address.
    pub const CRATE_WINDOW_LAST: usize = 0xFFFF_FFFF_FFFF_EFFF;

    /// Pages of a task's stack, without the guard page beneath.
    pub const KERNEL_STACK_SIZE_IN_PAGES: usize = 64;
}

/// Ticks and slices.
pub mod time {
    /// How long a task may run before another one gets its turn, in microseconds.
    pub const CONFIG_TIMESLICE_DURATION_MICROSECONDS: u32 = 8000;
    /// Time between two timer interrupts, in microseconds.
    pub const CONFIG_TICK_MICROSECONDS: u32 = 1000;
    /// Time between two heartbeat messages, in milliseconds.
    pub const CONFIG_HEARTBEAT_PERIOD_MS: u64 = 10_000;
    /// Frequency that the programmable interval timer is set to, in hertz.
    pub const CONFIG_PIT_FREQUENCY_HZ: u32 = 1000;
}
