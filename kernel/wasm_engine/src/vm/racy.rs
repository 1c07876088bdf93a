//! Copying and filling memory that other tasks write to at the same time.
//!
//! To Rust a race of ordinary accesses is undefined behaviour. What several tasks share is the guests' bytes, whose values
//! mean nothing to us; so all that is asked for is that each byte read was written at some time. Machine instructions give that.

use core::arch::asm;

/// Copies `len` bytes, as if by way of a buffer.
///
/// # Safety
/// Both ranges must be accessible, and no Rust reference to `dst` exist. Other tasks may read and write either meanwhile.
pub(crate) unsafe fn copy(src: *const u8, dst: *mut u8, len: usize) {
    if (dst as usize).wrapping_sub(src as usize) >= len {
        // SAFETY: by the caller. Going up, what is written was read before, if it is to be read.
        unsafe {
            asm!(
                "rep movsb",
                inout("rcx") len => _,
                inout("rsi") src => _,
                inout("rdi") dst => _,
                options(nostack, preserves_flags),
            );
        }
        return;
    }
    // SAFETY: by the caller. The end of the destination overlaps nothing that is still to be read, going down.
    unsafe {
        asm!(
            "2:",
            "cmp {len}, 8",
            "jb 3f",
            "sub {len}, 8",
            "mov {word}, [{src} + {len}]",
            "mov [{dst} + {len}], {word}",
            "jmp 2b",
            "3:",
            "test {len}, {len}",
            "jz 4f",
            "dec {len}",
            "mov {byte}, [{src} + {len}]",
            "mov [{dst} + {len}], {byte}",
            "jmp 3b",
            "4:",
            len = inout(reg) len => _,
            src = in(reg) src,
            dst = in(reg) dst,
            word = out(reg) _,
            byte = out(reg_byte) _,
            options(nostack),
        );
    }
}

/// Sets `len` bytes to `value`.
///
/// # Safety
/// The range must be accessible, and no Rust reference to it exist. Other tasks may read and write it meanwhile.
pub(crate) unsafe fn fill(dst: *mut u8, value: u8, len: usize) {
    // SAFETY: by the caller.
    unsafe {
        asm!(
            "rep stosb",
            inout("rcx") len => _,
            inout("rdi") dst => _,
            in("al") value,
            options(nostack, preserves_flags),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_as_by_way_of_a_buffer() {
        let original: Vec<u8> = (0..100).collect();
        for src in [0, 1, 7, 20, 40] {
            for dst in [0, 1, 3, 8, 21, 27, 28, 40, 60] {
                for len in [0, 1, 2, 7, 8, 9, 16, 39, 40] {
                    let (mut bytes, mut expected) = (original.clone(), original.clone());
                    expected.copy_within(src..src + len, dst);
                    let base = bytes.as_mut_ptr();
                    // SAFETY: both ranges end below 100.
                    unsafe { copy(base.add(src), base.add(dst), len) };
                    assert_eq!(bytes, expected, "{len} bytes from {src} to {dst}");
                }
            }
        }
    }

    #[test]
    fn fills_are_exact() {
        let mut bytes = [1u8; 9];
        // SAFETY: the range is in the array.
        unsafe { fill(bytes.as_mut_ptr().add(2), 0xee, 5) };
        assert_eq!(bytes, [1, 1, 0xee, 0xee, 0xee, 0xee, 0xee, 1, 1]);
    }
}
