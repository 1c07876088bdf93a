//! Thread-local storage of the base image before the loader can make any: the heap uses a thread-local variable.
//!
//! `early_tls` replaces it later; what the variables held until then is forgotten.

use crate::layout;
use core::arch::asm;
use core::cell::UnsafeCell;
use core::{ptr, slice};

/// Room for the base image's variables.
const SIZE: usize = 4096;

/// The variables, and above them the word that the thread pointer points at.
#[repr(C, align(4096))]
struct Area {
    variables: UnsafeCell<[u8; SIZE]>,
    thread_pointer: UnsafeCell<usize>,
}

// SAFETY: only the boot CPU uses it, and before there are tasks.
unsafe impl Sync for Area {}

static AREA: Area = Area { variables: UnsafeCell::new([0; SIZE]), thread_pointer: UnsafeCell::new(0) };

/// Makes the area the boot CPU's thread-local storage. To be called once, before the heap is used.
///
/// # Errors
/// If the base image has more variables than there is room for.
pub fn init() -> Result<(), &'static str> {
    /// `IA32_FS_BASE`: Intel SDM volume 4, table 2-2.
    const IA32_FS_BASE: u32 = 0xC000_0100;

    // As the linker does: the block ends at the thread pointer, its beginning is aligned.
    let size = layout::tls_size().next_multiple_of(layout::tls_align());
    if size > SIZE || layout::tls_align() > SIZE {
        return Err("nano_core::tls: the base image has more thread-local variables than there is room for");
    }
    let image = layout::tls_image();
    let thread_pointer = AREA.thread_pointer.get();
    // SAFETY: the linker script puts the initial values there, which are no longer than the block; nobody uses the area yet.
    unsafe {
        let image = slice::from_raw_parts(image.start as *const u8, image.len());
        let start = AREA.variables.get().cast::<u8>().add(SIZE - size);
        ptr::copy_nonoverlapping(image.as_ptr(), start, image.len());
        thread_pointer.write(thread_pointer.addr());
    }
    let address = thread_pointer.addr();
    // SAFETY: the register exists on every 64-bit CPU, and the area stays for ever. Not `nomem`: it must be written first.
    unsafe {
        asm!("wrmsr", in("ecx") IA32_FS_BASE, in("eax") address as u32, in("edx") (address >> 32) as u32, options(nostack));
    }
    Ok(())
}
