//! The functions that compiled code expects to be there for copying, filling and comparing memory: `memcpy`, `memmove`,
//! `memset`, `memcmp` and `bcmp`, by SSE2.
//!
//! The base image exports them under these names, so that it and every crate loaded later use them. `compiler_builtins` has
//! weak ones, which yield to these. Everything is loaded before anything is stored as long as 128 bytes are enough, the
//! head and the tail overlapping in the middle: that needs no loop, and no look at alignment or direction.
//!
//! Long blocks go in steps of 128 bytes; very long ones by `rep movsb` and `rep stosb` where [`init`] has found a processor
//! that is fast at them. Elsewhere they are slow: an emulator executes them byte by byte.
//!
//! They are assembly, since Rust's way to copy memory is to call them, and since they are called so often that a frame would
//! cost a fifth of their time. On a host they are there to be tested, under their paths in this crate.
//!
//! Relies on nothing, and is below everything.
#![cfg_attr(not(test), no_std)]

#[cfg(test)]
mod tests;

use core::arch::{naked_asm, x86_64};
use core::ffi::c_int;
use core::sync::atomic::{AtomicUsize, Ordering};

/// From so many bytes on `rep` is used.
static REP_FROM: AtomicUsize = AtomicUsize::new(usize::MAX);

/// From so many bytes on `rep movsb` and `rep stosb` are faster than a loop, on processors that say that they are fast
/// (CPUID 7, EBX bit 9: "enhanced"). They take a while to start, and then do 32 or 64 bytes per cycle, where a loop stores 16:
/// on an EPYC with that bit 2 KiB take 29 and 21 ns by `rep` and 35 by the loop, 1 KiB 21 and 17 against 17.
const ENHANCED_REP_FROM: usize = 2048;

/// Looks at what the processor is good at. May be called at any time.
pub fn init() {
    const ENHANCED_REP: u32 = 1 << 9;
    const HYPERVISOR: u32 = 1 << 31;
    const HYPERVISOR_NAME: u32 = 0x4000_0000;

    let fast = x86_64::__cpuid(0).eax >= 7 && x86_64::__cpuid_count(7, 0).ebx & ENHANCED_REP != 0;
    // QEMU's emulator claims to be fast, and is not.
    let emulated = x86_64::__cpuid(1).ecx & HYPERVISOR != 0 && {
        let name = x86_64::__cpuid(HYPERVISOR_NAME);
        [name.ebx, name.ecx, name.edx].map(u32::to_le_bytes).as_flattened() == b"TCGTCGTCGTCG"
    };
    REP_FROM.store(if fast && !emulated { ENHANCED_REP_FROM } else { usize::MAX }, Ordering::Relaxed);
}

/// What `memcpy` and `memmove` begin with: up to 128 bytes, after which they return. With more they go on behind it, at
/// which point `rdi`, `rsi`, `rdx` are the arguments and `rax` is the result.
macro_rules! copy_up_to_128 {
    () => {
        "
    mov rax, rdi
    cmp rdx, 16
    jb 3f
    cmp rdx, 32
    ja 2f
    movups xmm0, [rsi]
    movups xmm1, [rsi + rdx - 16]
    movups [rdi], xmm0
    movups [rdi + rdx - 16], xmm1
    ret
2:  cmp rdx, 64
    ja 2f
    movups xmm0, [rsi]
    movups xmm1, [rsi + 16]
    movups xmm2, [rsi + rdx - 32]
    movups xmm3, [rsi + rdx - 16]
    movups [rdi], xmm0
    movups [rdi + 16], xmm1
    movups [rdi + rdx - 32], xmm2
    movups [rdi + rdx - 16], xmm3
    ret
2:  cmp rdx, 128
    ja 6f
    movups xmm0, [rsi]
    movups xmm1, [rsi + 16]
    movups xmm2, [rsi + 32]
    movups xmm3, [rsi + 48]
    movups xmm4, [rsi + rdx - 64]
    movups xmm5, [rsi + rdx - 48]
    movups xmm6, [rsi + rdx - 32]
    movups xmm7, [rsi + rdx - 16]
    movups [rdi], xmm0
    movups [rdi + 16], xmm1
    movups [rdi + 32], xmm2
    movups [rdi + 48], xmm3
    movups [rdi + rdx - 64], xmm4
    movups [rdi + rdx - 48], xmm5
    movups [rdi + rdx - 32], xmm6
    movups [rdi + rdx - 16], xmm7
    ret
3:  cmp edx, 8
    jb 3f
    mov rcx, [rsi]
    mov rsi, [rsi + rdx - 8]
    mov [rdi], rcx
    mov [rdi + rdx - 8], rsi
    ret
3:  cmp edx, 4
    jb 3f
    mov ecx, [rsi]
    mov esi, [rsi + rdx - 4]
    mov [rdi], ecx
    mov [rdi + rdx - 4], esi
    ret
3:  test edx, edx
    je 3f
    mov r8d, edx
    shr r8d
    movzx ecx, byte ptr [rsi]
    movzx r9d, byte ptr [rsi + r8]
    movzx r10d, byte ptr [rsi + rdx - 1]
    mov [rdi], cl
    mov [rdi + r8], r9b
    mov [rdi + rdx - 1], r10b
3:  ret
6:
"
    };
}

/// Copies more than 128 bytes upwards, and returns. The last 128 bytes and the first 16 are loaded before anything is stored,
/// so that the source may lie above the destination and overlap with it. In between stores are aligned.
macro_rules! copy_up {
    () => {
        "
    cmp rdx, [rip + {rep_from}]
    jae 7f
    movups xmm8, [rsi + rdx - 128]
    movups xmm9, [rsi + rdx - 112]
    movups xmm10, [rsi + rdx - 96]
    movups xmm11, [rsi + rdx - 80]
    movups xmm12, [rsi + rdx - 64]
    movups xmm13, [rsi + rdx - 48]
    movups xmm14, [rsi + rdx - 32]
    movups xmm15, [rsi + rdx - 16]
    mov r10, [rsi]
    mov r11, [rsi + 8]
    lea r8, [rdi + rdx - 128]
    lea r9, [rsi + rdx - 128]
    lea rcx, [rdi + 16]
    and rcx, -16
    sub rcx, r8
    jge 3f
2:
    movups xmm0, [r9 + rcx]
    movups xmm1, [r9 + rcx + 16]
    movups xmm2, [r9 + rcx + 32]
    movups xmm3, [r9 + rcx + 48]
    movups xmm4, [r9 + rcx + 64]
    movups xmm5, [r9 + rcx + 80]
    movups xmm6, [r9 + rcx + 96]
    movups xmm7, [r9 + rcx + 112]
    movups [r8 + rcx], xmm0
    movups [r8 + rcx + 16], xmm1
    movups [r8 + rcx + 32], xmm2
    movups [r8 + rcx + 48], xmm3
    movups [r8 + rcx + 64], xmm4
    movups [r8 + rcx + 80], xmm5
    movups [r8 + rcx + 96], xmm6
    movups [r8 + rcx + 112], xmm7
    sub rcx, -128
    js 2b
3:
    movups [r8], xmm8
    movups [r8 + 16], xmm9
    movups [r8 + 32], xmm10
    movups [r8 + 48], xmm11
    movups [r8 + 64], xmm12
    movups [r8 + 80], xmm13
    movups [r8 + 96], xmm14
    movups [r8 + 112], xmm15
    mov [rdi], r10
    mov [rdi + 8], r11
    ret
7:  mov rcx, rdx
    rep movsb
    ret
"
    };
}

/// Copies `size` bytes.
///
/// # Safety
/// `from` is readable and `to` writable for as many bytes, and they do not overlap.
#[unsafe(naked)]
#[cfg_attr(target_os = "theseus", unsafe(no_mangle))]
pub unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, size: usize) -> *mut u8 {
    naked_asm!(copy_up_to_128!(), copy_up!(), rep_from = sym REP_FROM)
}

/// Copies `size` bytes, as if by way of a buffer.
///
/// # Safety
/// `from` is readable and `to` writable for as many bytes.
#[unsafe(naked)]
#[cfg_attr(target_os = "theseus", unsafe(no_mangle))]
pub unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, size: usize) -> *mut u8 {
    naked_asm!(
        copy_up_to_128!(),
        // Downwards if the destination begins within the source.
        "
    mov rcx, rdi
    sub rcx, rsi
    cmp rcx, rdx
    jb 8f
",
        copy_up!(),
        // The first 128 bytes are loaded before anything is stored.
        "
8:
    movups xmm8, [rsi]
    movups xmm9, [rsi + 16]
    movups xmm10, [rsi + 32]
    movups xmm11, [rsi + 48]
    movups xmm12, [rsi + 64]
    movups xmm13, [rsi + 80]
    movups xmm14, [rsi + 96]
    movups xmm15, [rsi + 112]
    mov rcx, rdx
2:  sub rcx, 128
    jbe 3f
    movups xmm0, [rsi + rcx]
    movups xmm1, [rsi + rcx + 16]
    movups xmm2, [rsi + rcx + 32]
    movups xmm3, [rsi + rcx + 48]
    movups xmm4, [rsi + rcx + 64]
    movups xmm5, [rsi + rcx + 80]
    movups xmm6, [rsi + rcx + 96]
    movups xmm7, [rsi + rcx + 112]
    movups [rdi + rcx], xmm0
    movups [rdi + rcx + 16], xmm1
    movups [rdi + rcx + 32], xmm2
    movups [rdi + rcx + 48], xmm3
    movups [rdi + rcx + 64], xmm4
    movups [rdi + rcx + 80], xmm5
    movups [rdi + rcx + 96], xmm6
    movups [rdi + rcx + 112], xmm7
    jmp 2b
3:
    movups [rdi], xmm8
    movups [rdi + 16], xmm9
    movups [rdi + 32], xmm10
    movups [rdi + 48], xmm11
    movups [rdi + 64], xmm12
    movups [rdi + 80], xmm13
    movups [rdi + 96], xmm14
    movups [rdi + 112], xmm15
    ret
",
        rep_from = sym REP_FROM
    )
}

/// Fills `size` bytes with the lowest byte of `byte`.
///
/// # Safety
/// `to` is writable for as many bytes.
#[unsafe(naked)]
#[cfg_attr(target_os = "theseus", unsafe(no_mangle))]
pub unsafe extern "C" fn memset(to: *mut u8, byte: c_int, size: usize) -> *mut u8 {
    naked_asm!(
        "
    mov rax, rdi
    movzx ecx, sil
    movabs r8, 0x0101010101010101
    imul rcx, r8
    cmp rdx, 16
    jb 4f
    movq xmm0, rcx
    punpcklqdq xmm0, xmm0
    movups [rdi], xmm0
    movups [rdi + rdx - 16], xmm0
    cmp rdx, 32
    ja 2f
    ret
2:  cmp rdx, 128
    ja 3f
    movups [rdi + 16], xmm0
    movups [rdi + rdx - 32], xmm0
    cmp rdx, 64
    ja 2f
    ret
2:  movups [rdi + 32], xmm0
    movups [rdi + 48], xmm0
    movups [rdi + rdx - 64], xmm0
    movups [rdi + rdx - 48], xmm0
    ret
3:  cmp rdx, [rip + {rep_from}]
    jae 7f
    lea r8, [rdi + rdx - 128]
    lea rcx, [rdi + 16]
    and rcx, -16
    sub rcx, r8
    jge 3f
2:
    movups [r8 + rcx], xmm0
    movups [r8 + rcx + 16], xmm0
    movups [r8 + rcx + 32], xmm0
    movups [r8 + rcx + 48], xmm0
    movups [r8 + rcx + 64], xmm0
    movups [r8 + rcx + 80], xmm0
    movups [r8 + rcx + 96], xmm0
    movups [r8 + rcx + 112], xmm0
    sub rcx, -128
    js 2b
3:
    movups [r8], xmm0
    movups [r8 + 16], xmm0
    movups [r8 + 32], xmm0
    movups [r8 + 48], xmm0
    movups [r8 + 64], xmm0
    movups [r8 + 80], xmm0
    movups [r8 + 96], xmm0
    ret
4:  cmp edx, 8
    jb 2f
    mov [rdi], rcx
    mov [rdi + rdx - 8], rcx
    ret
2:  cmp edx, 4
    jb 2f
    mov [rdi], ecx
    mov [rdi + rdx - 4], ecx
    ret
2:  test edx, edx
    je 2f
    mov r8d, edx
    shr r8d
    mov [rdi], cl
    mov [rdi + r8], cl
    mov [rdi + rdx - 1], cl
2:  ret
7:  mov r8, rax
    mov eax, ecx
    mov rcx, rdx
    rep stosb
    mov rax, r8
    ret
",
        rep_from = sym REP_FROM
    )
}

/// What `memcmp` and `bcmp` do with at least 16 bytes: 64 in a step as long as they are equal, then 16 in a step, the last
/// step overlapping with the one before. Returns the difference of the first bytes that differ.
macro_rules! compare_16_or_more {
    () => {
        "
    xor ecx, ecx
    lea r8, [rdx - 64]
    cmp rdx, 64
    jb 3f
2:  movups xmm0, [rdi + rcx]
    movups xmm1, [rsi + rcx]
    movups xmm2, [rdi + rcx + 16]
    movups xmm3, [rsi + rcx + 16]
    pcmpeqb xmm0, xmm1
    pcmpeqb xmm2, xmm3
    movups xmm4, [rdi + rcx + 32]
    movups xmm5, [rsi + rcx + 32]
    pand xmm0, xmm2
    movups xmm6, [rdi + rcx + 48]
    movups xmm7, [rsi + rcx + 48]
    pcmpeqb xmm4, xmm5
    pcmpeqb xmm6, xmm7
    pand xmm0, xmm4
    pand xmm0, xmm6
    pmovmskb eax, xmm0
    cmp eax, 0xffff
    jne 3f
    add rcx, 64
    cmp rcx, r8
    jbe 2b
3:  lea r8, [rdx - 16]
2:  cmp rcx, r8
    jae 3f
    movups xmm0, [rdi + rcx]
    movups xmm1, [rsi + rcx]
    pcmpeqb xmm0, xmm1
    pmovmskb eax, xmm0
    xor eax, 0xffff
    jne 4f
    add rcx, 16
    jmp 2b
3:  mov rcx, r8
    movups xmm0, [rdi + rcx]
    movups xmm1, [rsi + rcx]
    pcmpeqb xmm0, xmm1
    pmovmskb eax, xmm0
    xor eax, 0xffff
    jne 4f
    ret
4:  bsf eax, eax
    add rcx, rax
    movzx eax, byte ptr [rdi + rcx]
    movzx ecx, byte ptr [rsi + rcx]
    sub eax, ecx
    ret
"
    };
}

/// Compares `size` bytes as unsigned numbers: 0 if all are equal, else negative or positive as the first that differs is
/// less or greater in `a`.
///
/// # Safety
/// Both are readable for as many bytes.
#[unsafe(naked)]
#[cfg_attr(target_os = "theseus", unsafe(no_mangle))]
pub unsafe extern "C" fn memcmp(a: *const u8, b: *const u8, size: usize) -> c_int {
    naked_asm!(
        "
    cmp rdx, 16
    jb 5f
",
        compare_16_or_more!(),
        "
5:  cmp edx, 8
    jb 5f
    mov rax, [rdi]
    mov rcx, [rsi]
    cmp rax, rcx
    jne 6f
    mov rax, [rdi + rdx - 8]
    mov rcx, [rsi + rdx - 8]
    cmp rax, rcx
    jne 6f
    xor eax, eax
    ret
5:  cmp edx, 4
    jb 5f
    mov eax, [rdi]
    mov ecx, [rsi]
    cmp eax, ecx
    jne 6f
    mov eax, [rdi + rdx - 4]
    mov ecx, [rsi + rdx - 4]
    cmp eax, ecx
    jne 6f
    xor eax, eax
    ret
6:  bswap rax
    bswap rcx
    cmp rax, rcx
    sbb eax, eax
    or eax, 1
    ret
5:  xor eax, eax
    xor ecx, ecx
6:  cmp ecx, edx
    je 5f
    movzx eax, byte ptr [rdi + rcx]
    movzx r8d, byte ptr [rsi + rcx]
    inc ecx
    sub eax, r8d
    je 6b
5:  ret
"
    )
}

/// Compares `size` bytes: 0 if all are equal.
///
/// # Safety
/// Both are readable for as many bytes.
#[unsafe(naked)]
#[cfg_attr(target_os = "theseus", unsafe(no_mangle))]
pub unsafe extern "C" fn bcmp(a: *const u8, b: *const u8, size: usize) -> c_int {
    naked_asm!(
        "
    cmp rdx, 16
    jb 5f
",
        compare_16_or_more!(),
        "
5:  cmp edx, 8
    jb 5f
    mov rax, [rdi]
    mov rcx, [rdi + rdx - 8]
    xor rax, [rsi]
    xor rcx, [rsi + rdx - 8]
    or rcx, rax
    setne al
    movzx eax, al
    ret
5:  cmp edx, 4
    jb 5f
    mov eax, [rdi]
    mov ecx, [rdi + rdx - 4]
    xor eax, [rsi]
    xor ecx, [rsi + rdx - 4]
    or eax, ecx
    ret
5:  xor eax, eax
    test edx, edx
    je 5f
    mov r8d, edx
    shr r8d
    movzx eax, byte ptr [rdi]
    xor al, [rsi]
    movzx ecx, byte ptr [rdi + r8]
    xor cl, [rsi + r8]
    or eax, ecx
    movzx ecx, byte ptr [rdi + rdx - 1]
    xor cl, [rsi + rdx - 1]
    or eax, ecx
5:  ret
"
    )
}
