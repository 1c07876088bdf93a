//! Where the base image lies, as the linker script says.

use core::ops::Range;

unsafe extern "C" {
    static __boot_start: u8;
    static __text_start: u8;
    static __text_end: u8;
    static __rodata_start: u8;
    static __rodata_end: u8;
    static __data_start: u8;
    static __data_end: u8;
    static __stack_guard: u8;
    static __stack_start: u8;
    static __stack_end: u8;
    static __image_end: u8;
    static __eh_frame_hdr_start: u8;
    static __eh_frame_hdr_end: u8;
    static __tdata_start: u8;
    static __tdata_end: u8;
    static __tls_size: u8;
    static __tls_align: u8;
}

/// The addresses between two symbols of the linker script.
macro_rules! between {
    ($start:ident, $end:ident) => {
        (&raw const $start) as usize..(&raw const $end) as usize
    };
}

/// Executable code.
pub fn text() -> Range<usize> {
    between!(__text_start, __text_end)
}

/// Constants, unwind tables and the initial values of thread-local variables.
pub fn rodata() -> Range<usize> {
    between!(__rodata_start, __rodata_end)
}

/// Variables.
pub fn data() -> Range<usize> {
    between!(__data_start, __data_end)
}

/// The page below the first stack that is to be unmapped.
pub fn stack_guard() -> Range<usize> {
    between!(__stack_guard, __stack_start)
}

/// The first stack.
pub fn stack() -> Range<usize> {
    between!(__stack_start, __stack_end)
}

/// The sorted table over `.eh_frame` that the linker made.
pub fn eh_frame_hdr() -> Range<usize> {
    between!(__eh_frame_hdr_start, __eh_frame_hdr_end)
}

/// The initial values of thread-local variables, without those that begin as zero.
pub fn tls_image() -> Range<usize> {
    between!(__tdata_start, __tdata_end)
}

/// The bytes that all thread-local variables of the base image need.
pub fn tls_size() -> usize {
    // The linker script defines the symbol's address to be the number.
    (&raw const __tls_size) as usize
}

/// The alignment of the base image's thread-local variables.
pub fn tls_align() -> usize {
    ((&raw const __tls_align) as usize).max(1)
}

/// The physical memory of the whole image, the first page tables in it included.
pub fn physical() -> Range<usize> {
    // The boot part is linked where it is loaded, the rest KERNEL_OFFSET above.
    (&raw const __boot_start) as usize
        ..(&raw const __image_end) as usize - kernel_config::memory::KERNEL_OFFSET
}
