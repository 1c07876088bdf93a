# From the boot loader's 32-bit protected mode to 64-bit code in the higher half.
#
# Entered by PVH (QEMU -kernel; the note below) or multiboot2 (GRUB), in both cases with paging off, interrupts off, flat 4 GiB
# segments, and EBX = the physical address of the boot loader's information. Multiboot2 says so in EAX; PVH's information
# begins with a word of its own.
#
# The page tables made here last until memory::init makes better ones. They map, by 2 MiB pages, readable, writable and
# executable: the first 4 GiB at their own addresses and at PHYS_MAP_BASE, the first 1 GiB at KERNEL_OFFSET.


.set KERNEL_OFFSET, 0xFFFFFFFF80000000
# P4 entry of PHYS_MAP_BASE (0xFFFF880000000000) and of KERNEL_OFFSET, P3 entry of KERNEL_OFFSET.
.set PHYS_MAP_P4, 272
.set KERNEL_P4, 511
.set KERNEL_P3, 510
.set PRESENT_WRITABLE, 3
.set HUGE, 0x80

.set MULTIBOOT2_MAGIC, 0xE85250D6

.section .boot.header, "a"
.balign 8
multiboot2_header:
    .long MULTIBOOT2_MAGIC
    .long 0                                     # architecture: 32-bit protected mode of x86
    .long multiboot2_header_end - multiboot2_header
    .long -(MULTIBOOT2_MAGIC + (multiboot2_header_end - multiboot2_header))
    # Modules on page boundaries: files of the archive are mapped, not copied.
    .balign 8
    .short 6, 0
    .long 8
    .balign 8
    .short 0, 0
    .long 8
multiboot2_header_end:

# XEN_ELFNOTE_PHYS32_ENTRY: where PVH enters.
.section .note.pvh, "a", @note
.balign 4
    .long 4, 4, 18
    .asciz "Xen"
    .long _start

.section .boot.text, "ax"
.code32
.global _start
_start:
    cld
    cli
    mov esi, eax                                # the boot protocol's magic number
    mov edi, ebx                                # its information
    mov esp, offset boot_stack_top

    # Long mode, and CPUID's leaf that says so?
    mov eax, 0x80000000
    cpuid
    cmp eax, 0x80000001
    jb no_long_mode
    mov eax, 0x80000001
    cpuid
    bt edx, 29
    jnc no_long_mode
    bt edx, 20                                  # NX: without it no page could be data only
    jnc no_long_mode

    # Four P2 tables: 2,048 pages of 2 MiB.
    mov ecx, 0
    mov eax, PRESENT_WRITABLE | HUGE
2:  mov [boot_p2 + ecx * 8], eax
    mov dword ptr [boot_p2 + ecx * 8 + 4], 0
    add eax, 0x200000
    inc ecx
    cmp ecx, 2048
    jb 2b

    mov ecx, 0
    mov eax, offset boot_p2 + PRESENT_WRITABLE
3:  mov [boot_p3_low + ecx * 8], eax
    add eax, 4096
    inc ecx
    cmp ecx, 4
    jb 3b

    mov dword ptr [boot_p3_high + KERNEL_P3 * 8], offset boot_p2 + PRESENT_WRITABLE
    mov dword ptr [boot_p4], offset boot_p3_low + PRESENT_WRITABLE
    mov dword ptr [boot_p4 + PHYS_MAP_P4 * 8], offset boot_p3_low + PRESENT_WRITABLE
    mov dword ptr [boot_p4 + KERNEL_P4 * 8], offset boot_p3_high + PRESENT_WRITABLE

    # CR4: PAE, PGE, OSFXSR, OSXMMEXCPT. Kernel code uses SSE from its first instruction.
    mov eax, cr4
    or eax, (1 << 5) | (1 << 7) | (1 << 9) | (1 << 10)
    mov cr4, eax
    mov eax, offset boot_p4
    mov cr3, eax
    # EFER: LME, NXE.
    mov ecx, 0xC0000080
    rdmsr
    or eax, (1 << 8) | (1 << 11)
    wrmsr
    # CR0: PG, WP, NE, MP; not EM, not TS.
    mov eax, cr0
    and eax, ~((1 << 2) | (1 << 3))
    or eax, (1 << 31) | (1 << 16) | (1 << 5) | (1 << 1)
    mov cr0, eax
    lgdt [boot_gdt_pointer]
    # A far jump into the 64-bit code segment; the assembler's Intel syntax has no spelling for one that all versions take.
    .byte 0xEA
    .long long_mode
    .short 8

no_long_mode:
    # Nothing works yet: say so on COM1 as it is, then stop.
    mov edx, 0x3F8
    mov esi, offset no_long_mode_text
4:  lodsb
    test al, al
    jz 5f
    out dx, al
    jmp 4b
5:  hlt
    jmp 5b

.code64
long_mode:
    mov eax, 16
    mov ds, eax
    mov es, eax
    mov ss, eax
    xor eax, eax
    mov fs, eax
    mov gs, eax
    fninit
    push 0x1F80                                 # MXCSR: all exceptions masked, round to nearest
    ldmxcsr [rsp]
    movabs rsp, offset __stack_end
    xor ebp, ebp                                # the end of the chain of frames
    mov eax, esi
    mov esi, edi                                # second argument: the information's address
    mov edi, eax                                # first argument: the magic number
    movabs rax, offset nano_core_start
    call rax
    ud2

.section .boot.data, "aw"
no_long_mode_text:
    .asciz "Theseus needs a 64-bit x86 processor with NX.\r\n"
.balign 8
boot_gdt:
    .quad 0
    .quad 0x00AF9A000000FFFF                    # 64-bit code, ring 0
    .quad 0x00CF92000000FFFF                    # data
boot_gdt_pointer:
    .short 23
    .long boot_gdt
    .long 0

.section .boot.bss, "aw", @nobits
.balign 4096
boot_p4:      .skip 4096
boot_p3_low:  .skip 4096
boot_p3_high: .skip 4096
boot_p2:      .skip 4 * 4096
              .skip 256
boot_stack_top:
