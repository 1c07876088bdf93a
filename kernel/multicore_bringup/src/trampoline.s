# The first instructions of a CPU that was started: from real mode to 64-bit code.
#
# Copied to a page below 1 MiB, where the CPU enters it in real mode with CS = address / 16, IP = 0. The words behind its
# first instruction are what `trampoline.rs` fills in; their offsets, are the same there. The page tables map this
# page at its own address, and everything else as the kernel's do.

.set AP_CLAIM, 8
.set AP_CR0, 16
.set AP_CR3, 24
.set AP_CR4, 32
.set AP_EFER, 40
.set AP_ARGUMENT, 48
.set AP_STACK, 56
.set AP_KERNEL_CR3, 64
.set AP_ENTRY, 72

.code16
.balign 16
.globl ap_trampoline_start
ap_trampoline_start:
    jmp 1f
    .balign 8
    .fill 9, 8, 0
1:  cli
    cld
    mov ax, cs
    mov ds, ax
    # Only one CPU goes on per time that the boot CPU wrote a 1 here; one that comes late stays.
    xor ax, ax
    xchg word ptr [AP_CLAIM], ax
    test ax, ax
    jz 9f
    xor ebx, ebx
    mov bx, cs
    shl ebx, 4
    lgdtd [AP_GDT_POINTER]
    mov eax, cr0
    or al, 1
    mov cr0, eax
    # Far jump, 32-bit operands, to the 32-bit code segment. The address is filled in.
    .byte 0x66, 0xEA
.globl ap_trampoline_far32
ap_trampoline_far32:
    .long ap_trampoline_32 - ap_trampoline_start
    .short 0x18
9:  hlt
    jmp 9b

.code32
.globl ap_trampoline_32
ap_trampoline_32:
    mov eax, 0x10
    mov ds, eax
    mov es, eax
    mov ss, eax
    mov eax, [ebx + AP_CR4]
    mov cr4, eax
    mov eax, [ebx + AP_CR3]
    mov cr3, eax
    mov eax, [ebx + AP_EFER]
    mov edx, [ebx + AP_EFER + 4]
    mov ecx, 0xC0000080
    wrmsr
    mov eax, [ebx + AP_CR0]
    mov cr0, eax
    # Far jump to the 64-bit code segment.
    .byte 0xEA
.globl ap_trampoline_far64
ap_trampoline_far64:
    .long ap_trampoline_64 - ap_trampoline_start
    .short 0x08

.code64
.globl ap_trampoline_64
ap_trampoline_64:
    mov rdi, [rbx + AP_ARGUMENT]
    mov rsi, [rbx + AP_STACK]
    mov rdx, [rbx + AP_KERNEL_CR3]
    mov rax, [rbx + AP_ENTRY]
    jmp rax

.set AP_GDT_POINTER, 0x100
.org ap_trampoline_start + AP_GDT_POINTER
ap_trampoline_gdt_pointer:
    .short 31
.globl ap_trampoline_gdt_address
ap_trampoline_gdt_address:
    .long ap_trampoline_gdt - ap_trampoline_start
.balign 8
ap_trampoline_gdt:
    .quad 0
    .quad 0x00AF9A000000FFFF                    # 08: 64-bit code, ring 0
    .quad 0x00CF92000000FFFF                    # 10: data
    .quad 0x00CF9A000000FFFF                    # 18: 32-bit code
.globl ap_trampoline_end
ap_trampoline_end:
