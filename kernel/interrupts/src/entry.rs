//! The stubs that the CPU enters, and the registers they save.

use core::arch::global_asm;
use core::fmt;

/// Bytes between the stubs of two vectors.
const STUB_SIZE: usize = 16;
/// Bytes for the SSE registers, and for MXCSR with what keeps the stack aligned to 16.
const SSE_AREA_SIZE: usize = 16 * 16 + 16;

/// All general-purpose registers of what an interrupt or exception interrupted, and where it was.
///
/// A handler may change any of them except `vector`, `cs` and `ss`; the CPU has the new values when it continues.
#[repr(C)]
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the fields are the registers of the same names")]
pub struct SavedRegisters {
    pub r15: u64,
    pub r14: u64,
    pub r13: u64,
    pub r12: u64,
    pub r11: u64,
    pub r10: u64,
    pub r9: u64,
    pub r8: u64,
    pub rdi: u64,
    pub rsi: u64,
    pub rbp: u64,
    pub rbx: u64,
    pub rdx: u64,
    pub rcx: u64,
    pub rax: u64,
    /// Which interrupt or exception this is.
    pub vector: u64,
    /// What the CPU says about the exception; 0 for interrupts and for exceptions that have none.
    pub error_code: u64,
    pub rip: u64,
    pub cs: u64,
    pub rflags: u64,
    pub rsp: u64,
    pub ss: u64,
}

impl fmt::Display for SavedRegisters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbp, rbx, rdx, rcx, rax, .. } = self;
        let Self { rip, rsp, rflags, cs, ss, .. } = self;
        writeln!(
            f,
            "rip {rip:#018x} rsp {rsp:#018x} rbp {rbp:#018x} rflags {rflags:#x} cs {cs:#x} ss {ss:#x}"
        )?;
        writeln!(f, "rax {rax:#018x} rbx {rbx:#018x} rcx {rcx:#018x} rdx {rdx:#018x}")?;
        writeln!(f, "rsi {rsi:#018x} rdi {rdi:#018x} r8  {r8:#018x} r9  {r9:#018x}")?;
        writeln!(f, "r10 {r10:#018x} r11 {r11:#018x} r12 {r12:#018x} r13 {r13:#018x}")?;
        write!(f, "r14 {r14:#018x} r15 {r15:#018x}")
    }
}

/// With which registers the code goes on that an exception has interrupted.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resume {
    /// With all of them, as they are in the [`SavedRegisters`].
    All = 0,
    /// With `rip`, `rsp`, `rbp` and the flags as they are there (and MXCSR as it was). It expects nothing in any other register:
    /// they are not loaded, which is half of what leaving an exception costs.
    Control = 1,
}

/// What MXCSR is while a handler runs: all exceptions masked, whatever the interrupted code chose.
static HANDLER_MXCSR: u32 = 0x1F80;

// A stub makes the stack look the same for all vectors: an error code (0 if the CPU pushed none), then the vector. The
// vectors for which the CPU pushes an error code are 8, 10-14, 17, 21, 29 and 30 (AMD64 APM volume 2, 8.2).
//
// The CPU aligns an IST stack to 16 before it pushes; 5 words from the CPU, 2 from the stub and 15 registers keep that.
global_asm!(
    ".balign 16",
    ".globl interrupts_stubs",
    "interrupts_stubs:",
    ".set interrupts_vector, 0",
    ".rept 256",
    "    .balign {stub_size}",
    "    .if !((interrupts_vector == 8) | ((interrupts_vector >= 10) & (interrupts_vector <= 14)) | (interrupts_vector == 17) | (interrupts_vector == 21) | (interrupts_vector == 29) | (interrupts_vector == 30))",
    "        push 0",
    "    .endif",
    "    push interrupts_vector",
    "    jmp interrupts_common",
    "    .set interrupts_vector, interrupts_vector + 1",
    ".endr",
    "interrupts_common:",
    "    push rax",
    "    push rcx",
    "    push rdx",
    "    push rbx",
    "    push rbp",
    "    push rsi",
    "    push rdi",
    "    push r8",
    "    push r9",
    "    push r10",
    "    push r11",
    "    push r12",
    "    push r13",
    "    push r14",
    "    push r15",
    "    mov rdi, rsp",
    "    sub rsp, {sse_area_size}",
    "    movaps [rsp], xmm0",
    "    movaps [rsp + 16], xmm1",
    "    movaps [rsp + 32], xmm2",
    "    movaps [rsp + 48], xmm3",
    "    movaps [rsp + 64], xmm4",
    "    movaps [rsp + 80], xmm5",
    "    movaps [rsp + 96], xmm6",
    "    movaps [rsp + 112], xmm7",
    "    movaps [rsp + 128], xmm8",
    "    movaps [rsp + 144], xmm9",
    "    movaps [rsp + 160], xmm10",
    "    movaps [rsp + 176], xmm11",
    "    movaps [rsp + 192], xmm12",
    "    movaps [rsp + 208], xmm13",
    "    movaps [rsp + 224], xmm14",
    "    movaps [rsp + 240], xmm15",
    "    stmxcsr [rsp + 256]",
    "    ldmxcsr [rip + {handler_mxcsr}]",
    "    cld",
    "    cmp qword ptr [rdi + {vector_offset}], 32",
    "    jb 2f",
    "    call {handle_interrupt}",
    "    jmp 3f",
    "2:",
    "    call {handle_exception}",
    "    test al, al",
    "    jnz 4f",
    "3:",
    "    ldmxcsr [rsp + 256]",
    "    movaps xmm0, [rsp]",
    "    movaps xmm1, [rsp + 16]",
    "    movaps xmm2, [rsp + 32]",
    "    movaps xmm3, [rsp + 48]",
    "    movaps xmm4, [rsp + 64]",
    "    movaps xmm5, [rsp + 80]",
    "    movaps xmm6, [rsp + 96]",
    "    movaps xmm7, [rsp + 112]",
    "    movaps xmm8, [rsp + 128]",
    "    movaps xmm9, [rsp + 144]",
    "    movaps xmm10, [rsp + 160]",
    "    movaps xmm11, [rsp + 176]",
    "    movaps xmm12, [rsp + 192]",
    "    movaps xmm13, [rsp + 208]",
    "    movaps xmm14, [rsp + 224]",
    "    movaps xmm15, [rsp + 240]",
    "    add rsp, {sse_area_size}",
    "    pop r15",
    "    pop r14",
    "    pop r13",
    "    pop r12",
    "    pop r11",
    "    pop r10",
    "    pop r9",
    "    pop r8",
    "    pop rdi",
    "    pop rsi",
    "    pop rbp",
    "    pop rbx",
    "    pop rdx",
    "    pop rcx",
    "    pop rax",
    "    add rsp, 16",
    "    iretq",
    "4:",
    "    ldmxcsr [rsp + 256]",
    "    mov rbp, [rsp + {sse_area_size} + {rbp_offset}]",
    "    add rsp, {sse_area_size} + {rip_offset}",
    "    iretq",
    stub_size = const STUB_SIZE,
    sse_area_size = const SSE_AREA_SIZE,
    vector_offset = const core::mem::offset_of!(SavedRegisters, vector),
    rbp_offset = const core::mem::offset_of!(SavedRegisters, rbp),
    rip_offset = const core::mem::offset_of!(SavedRegisters, rip),
    handler_mxcsr = sym HANDLER_MXCSR,
    handle_interrupt = sym crate::handle_interrupt,
    handle_exception = sym crate::handle_exception,
);

unsafe extern "C" {
    safe static interrupts_stubs: u8;
}

/// The address of the code that the CPU must enter for `vector`.
pub(crate) fn stub_address(vector: u8) -> u64 {
    (&raw const interrupts_stubs) as u64 + u64::from(vector) * STUB_SIZE as u64
}
