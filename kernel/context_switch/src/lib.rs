//! Switching the processor from one task's stack and registers to another's.
//!
//! Two kinds of switches need different care:
//! * A task that *calls* the scheduler has, by the calling convention, only its callee-saved registers to lose: `rbx`,
//!   `rbp`, `r12`-`r15`, and the control words of SSE and x87. [`context_switch`] keeps them on the task's own stack.
//! * A task that is *preempted* can have anything in any register. The preempt trampoline of the `task` crate keeps the
//!   general-purpose registers on the task's stack and all other state in the task's [`ExtendedState`], by [`save`] and
//!   [`restore`] in assembly.
//!
//! # Extended state
//! [`init_cpu`] turns on every state component that the CPU has among x87, SSE, AVX and AVX-512, and chooses the best
//! instruction: `xsaveopt` (skips what is unchanged or unused), else `xsave`, else `fxsave`, which keeps x87 and SSE and
//! is all there is to keep on CPUs without XSAVE. The save area's size comes from CPUID.
//!
//! # Invariants
//! * All CPUs of the machine enable the same components.
//! * A saved stack pointer belongs to a stack whose top words [`context_switch`] or [`initial_stack_pointer`] wrote.
#![cfg_attr(not(test), no_std)]
extern crate alloc;

use alloc::alloc::{Layout, alloc_zeroed, dealloc};
use core::arch::x86_64::{__cpuid, __cpuid_count};
use core::fmt;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU8, AtomicU32, Ordering};

/// Initial value of MXCSR: all exceptions masked, round to nearest (Intel SDM volume 1, 11.6.4).
pub const INITIAL_MXCSR: u32 = 0x1F80;
/// Initial x87 control word: all exceptions masked, 64-bit precision, round to nearest (what `fninit` sets).
pub const INITIAL_X87_CONTROL: u16 = 0x037F;

/// Bytes of an area for `fxsave`, and of the legacy part of an XSAVE area (Intel SDM volume 1, 13.4.1).
const LEGACY_AREA_SIZE: usize = 512;
/// Alignment that XSAVE wants (Intel SDM volume 1, 13.4).
const AREA_ALIGNMENT: usize = 64;
/// Byte offsets of the control words in the legacy area.
const X87_CONTROL_OFFSET: usize = 0;
const MXCSR_OFFSET: usize = 24;

/// State components that tasks may use: x87 (bit 0), SSE (1), AVX (2), AVX-512 (5, 6, 7).
const WANTED_COMPONENTS: u64 = 0b1110_0111;
/// The components that XCR0 must have together: AVX-512 wants all of its bits and AVX.
const AVX512_COMPONENTS: u64 = 0b1110_0000;
const AVX_COMPONENT: u64 = 0b100;

/// Ways to save extended state; values of [`METHOD`], which assembly compares with.
const FXSAVE: u8 = 0;
const XSAVE: u8 = 1;
const XSAVEOPT: u8 = 2;

/// The method in use on all CPUs.
static METHOD: AtomicU8 = AtomicU8::new(FXSAVE);
/// Bytes of one save area.
static AREA_SIZE: AtomicU32 = AtomicU32::new(LEGACY_AREA_SIZE as u32);
/// Whether `wrfsbase` may be used.
static HAS_FSGSBASE: AtomicU8 = AtomicU8::new(0);

/// CPUID leaf 1, ECX bit 26: XSAVE and XCR0 exist.
const CPUID_1_ECX_XSAVE: u32 = 1 << 26;
/// CPUID leaf 7, EBX bit 0: `wrfsbase` and its like exist.
const CPUID_7_EBX_FSGSBASE: u32 = 1;
/// CPUID leaf 13 sub-leaf 1, EAX bit 0: `xsaveopt` exists.
const CPUID_D_1_EAX_XSAVEOPT: u32 = 1;
/// CPUID leaf 13: XSAVE's components and sizes.
const CPUID_XSAVE_LEAF: u32 = 13;

/// Enables all extended state that tasks may use on this CPU, and fast access to the FS base if there is any.
///
/// Each CPU calls it once before it runs tasks or code compiled for AVX. SSE must be on already, as it has to be for any
/// code of this kernel.
pub fn init_cpu() {
    let highest_leaf = __cpuid(0).eax;
    if highest_leaf >= 7 && __cpuid_count(7, 0).ebx & CPUID_7_EBX_FSGSBASE != 0 {
        hardware::enable_fsgsbase();
        HAS_FSGSBASE.store(1, Ordering::Relaxed);
    }
    if highest_leaf < CPUID_XSAVE_LEAF || __cpuid(1).ecx & CPUID_1_ECX_XSAVE == 0 {
        return;
    }
    let leaf = __cpuid_count(CPUID_XSAVE_LEAF, 0);
    let supported = u64::from(leaf.eax) | u64::from(leaf.edx) << 32;
    hardware::enable_components(components_to_enable(supported));
    // EBX says how much the components enabled *now* need, so it is asked after enabling.
    let size = __cpuid_count(CPUID_XSAVE_LEAF, 0).ebx;
    AREA_SIZE.store(size.max(LEGACY_AREA_SIZE as u32), Ordering::Relaxed);
    let optimised = __cpuid_count(CPUID_XSAVE_LEAF, 1).eax & CPUID_D_1_EAX_XSAVEOPT != 0;
    METHOD.store(if optimised { XSAVEOPT } else { XSAVE }, Ordering::Relaxed);
}

/// Which of the `supported` components to turn on: those wanted, without the combinations that XCR0 refuses.
fn components_to_enable(supported: u64) -> u64 {
    let mut components = supported & WANTED_COMPONENTS;
    if components & AVX512_COMPONENTS != AVX512_COMPONENTS || components & AVX_COMPONENT == 0 {
        components &= !AVX512_COMPONENTS;
    }
    components
}

/// Whether tasks may use AVX (256-bit registers) on this machine. Meaningful after [`init_cpu`].
pub fn avx_enabled() -> bool {
    METHOD.load(Ordering::Relaxed) != FXSAVE && hardware::enabled_components() & AVX_COMPONENT != 0
}

/// What touches control registers.
#[cfg(target_os = "theseus")]
mod hardware {
    use core::arch::asm;

    /// CR4 bit 16: `rdfsbase`, `wrfsbase` and their like are allowed.
    const CR4_FSGSBASE: u64 = 1 << 16;
    /// CR4 bit 18: XSAVE and XCR0 are allowed.
    const CR4_OSXSAVE: u64 = 1 << 18;

    fn set_cr4_bits(bits: u64) {
        // SAFETY: the callers checked by CPUID that the CPU has the features these bits allow to be used; allowing them
        // changes nothing for code that does not use them.
        unsafe {
            asm!("mov {old}, cr4", "or {old}, {bits}", "mov cr4, {old}", old = out(reg) _, bits = in(reg) bits, options(nostack))
        };
    }

    pub fn enable_fsgsbase() {
        set_cr4_bits(CR4_FSGSBASE);
    }

    pub fn enable_components(components: u64) {
        set_cr4_bits(CR4_OSXSAVE);
        // SAFETY: OSXSAVE is set, and `components_to_enable` chose a combination that the CPU supports.
        unsafe {
            asm!("xsetbv", in("ecx") 0, in("eax") components as u32, in("edx") (components >> 32) as u32, options(nostack))
        };
    }

    pub fn enabled_components() -> u64 {
        let (low, high): (u32, u32);
        // SAFETY: the caller checked that XSAVE is in use, so OSXSAVE is set and XCR0 can be read.
        unsafe { asm!("xgetbv", in("ecx") 0, out("eax") low, out("edx") high, options(nomem, nostack)) };
        u64::from(low) | u64::from(high) << 32
    }
}

/// Host tests have nothing to enable.
#[cfg(not(target_os = "theseus"))]
mod hardware {
    pub fn enable_fsgsbase() {}
    pub fn enable_components(_components: u64) {}
    pub fn enabled_components() -> u64 {
        0
    }
}

/// Where a task's extended processor state lies while the task is preempted: the `fxsave` or XSAVE image.
pub struct ExtendedState {
    area: NonNull<u8>,
    layout: Layout,
}

// SAFETY: the area is plain memory that its owner alone frees; the CPU that runs the task writes it.
unsafe impl Send for ExtendedState {}
// SAFETY: no safe method reads or writes the area through a shared reference.
unsafe impl Sync for ExtendedState {}

impl ExtendedState {
    /// An area that holds the initial state; `None` if memory is out.
    pub fn new() -> Option<Self> {
        let layout =
            Layout::from_size_align(AREA_SIZE.load(Ordering::Relaxed) as usize, AREA_ALIGNMENT).ok()?;
        // SAFETY: the size is at least that of the legacy area, so not zero.
        let area = NonNull::new(unsafe { alloc_zeroed(layout) })?;
        // SAFETY: both offsets lie within the legacy area, and the area is aligned to 64.
        unsafe {
            area.add(X87_CONTROL_OFFSET).cast::<u16>().write(INITIAL_X87_CONTROL);
            area.add(MXCSR_OFFSET).cast::<u32>().write(INITIAL_MXCSR);
        }
        Some(ExtendedState { area, layout })
    }

    /// Bytes of the area.
    pub fn size_in_bytes(&self) -> usize {
        self.layout.size()
    }

    /// The address of the area, for [`save`] and [`restore`].
    pub fn as_ptr(&self) -> *mut u8 {
        self.area.as_ptr()
    }
}

impl Drop for ExtendedState {
    fn drop(&mut self) {
        // SAFETY: `area` came from `alloc_zeroed` with this layout and is freed once.
        unsafe { dealloc(self.area.as_ptr(), self.layout) };
    }
}

impl fmt::Debug for ExtendedState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ExtendedState({} bytes at {:p})", self.layout.size(), self.area)
    }
}

/// Saves all extended state to the area whose address is in `rdi`. For assembly: clobbers `rax`, `rdx`, `rflags`.
///
/// # Safety
/// `rdi` is the [`ExtendedState::as_ptr`] of a live area.
#[unsafe(naked)]
pub unsafe extern "C" fn save(_area: *mut u8) {
    core::arch::naked_asm!(
        "mov eax, -1",
        "mov edx, -1",
        "cmp byte ptr [rip + {method}], {xsaveopt}",
        "jb 2f",
        "xsaveopt64 [rdi]",
        "ret",
        "2:",
        "cmp byte ptr [rip + {method}], {xsave}",
        "jb 3f",
        "xsave64 [rdi]",
        "ret",
        "3:",
        "fxsave64 [rdi]",
        "ret",
        method = sym METHOD,
        xsaveopt = const XSAVEOPT,
        xsave = const XSAVE,
    )
}

/// Restores what [`save`] saved from the area whose address is in `rdi`. For assembly: clobbers `rax`, `rdx`, `rflags`.
///
/// # Safety
/// `rdi` is the [`ExtendedState::as_ptr`] of a live area. All registers that are not general-purpose change.
#[unsafe(naked)]
pub unsafe extern "C" fn restore(_area: *mut u8) {
    core::arch::naked_asm!(
        "cmp byte ptr [rip + {method}], {fxsave}",
        "je 2f",
        "mov eax, -1",
        "mov edx, -1",
        "xrstor64 [rdi]",
        "ret",
        "2:",
        "fxrstor64 [rdi]",
        "ret",
        method = sym METHOD,
        fxsave = const FXSAVE,
    )
}

/// Leaves the running context and continues one that left earlier, or a new one.
///
/// The leaving context's callee-saved registers go onto its stack, and its stack pointer to `*saved_stack_pointer`; then
/// `next_stack_pointer`, which such a call saved or [`initial_stack_pointer`] made, becomes the stack pointer. `token` is
/// what the continued context sees its own call of this function return (a new context gets it as its argument), so
/// that it can tell who ran before it.
///
/// # Safety
/// Interrupts are off. `saved_stack_pointer` can be written, and `next_stack_pointer` is as said above, of a stack that
/// stays mapped, and is used only once.
#[unsafe(naked)]
pub unsafe extern "C" fn context_switch(
    saved_stack_pointer: *mut usize,
    next_stack_pointer: usize,
    token: usize,
) -> usize {
    core::arch::naked_asm!(
        "push rbp",
        "push rbx",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "sub rsp, 8",
        "stmxcsr [rsp]",
        "fnstcw [rsp + 4]",
        "mov [rdi], rsp",
        "mov rsp, rsi",
        "ldmxcsr [rsp]",
        "fldcw [rsp + 4]",
        "add rsp, 8",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbx",
        "pop rbp",
        "mov rax, rdx",
        "ret",
    )
}

/// What [`context_switch`] finds on a stack, from the stack pointer up.
#[repr(C)]
struct SwitchFrame {
    mxcsr: u32,
    x87_control: u32,
    r15: usize,
    r14: usize,
    r13: usize,
    r12: usize,
    rbx: usize,
    rbp: usize,
    return_address: usize,
    /// Where the entry point's own return address would lie: the end of the stack for a walker.
    end: [usize; 2],
}

/// The first code of a new context: it passes the token that [`context_switch`] brings to the entry point.
#[unsafe(naked)]
unsafe extern "C" fn start_context() {
    core::arch::naked_asm!(
        // The caller of the entry point is "nobody": an undefined return address ends a walk of the stack here.
        ".cfi_startproc",
        ".cfi_undefined rip",
        "mov rdi, rax",
        "xor ebp, ebp",
        "call rbx",
        "ud2",
        ".cfi_endproc",
    )
}

/// Prepares a fresh stack such that switching to the returned stack pointer calls `entry` on it, with the token as its
/// argument, interrupts off, and the control words at their initial values.
///
/// # Safety
/// The kilobyte below `stack_top` is mapped, writable, unused, and `stack_top` is a multiple of 16.
pub unsafe fn initial_stack_pointer(stack_top: usize, entry: extern "C-unwind" fn(usize) -> !) -> usize {
    // `start_context` is entered by a `ret`, after which the stack pointer is at `end`, a multiple of 16, so that its
    // own call leaves `entry` with the alignment that the calling convention promises.
    let frame = (stack_top - size_of::<SwitchFrame>()) as *mut SwitchFrame;
    // SAFETY: the caller promises that the memory is there and unused; the size is a multiple of 8, as is the top.
    unsafe {
        frame.write(SwitchFrame {
            mxcsr: INITIAL_MXCSR,
            x87_control: u32::from(INITIAL_X87_CONTROL),
            r15: 0,
            r14: 0,
            r13: 0,
            r12: 0,
            rbx: entry as usize,
            rbp: 0,
            return_address: start_context as *const () as usize,
            end: [0; 2],
        });
    }
    frame as usize
}

/// Makes `base` this CPU's FS base: the address of the running task's thread-local storage.
///
/// # Safety
/// `base` is the thread pointer of a thread-local area that lives while it is set; code that runs now must not hold
/// references into the former area that it means to be the current one's.
#[cfg(target_os = "theseus")]
#[inline]
pub unsafe fn set_fs_base(base: usize) {
    /// Model-specific register that holds the FS segment base (Intel SDM volume 4).
    const IA32_FS_BASE: u32 = 0xC000_0100;
    if HAS_FSGSBASE.load(Ordering::Relaxed) != 0 {
        // SAFETY: `init_cpu` enabled the instruction; the caller vouches for the value.
        unsafe { core::arch::asm!("wrfsbase {}", in(reg) base, options(nostack, preserves_flags)) };
    } else {
        // SAFETY: the register exists on every 64-bit CPU; the caller vouches for the value.
        unsafe {
            core::arch::asm!(
                "wrmsr",
                in("ecx") IA32_FS_BASE,
                in("eax") base as u32,
                in("edx") (base >> 32) as u32,
                options(nostack, preserves_flags),
            )
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn avx512_only_as_a_whole_and_with_avx() {
        assert_eq!(components_to_enable(0b11), 0b11);
        assert_eq!(components_to_enable(0b111), 0b111);
        assert_eq!(components_to_enable(0b1110_0111), 0b1110_0111);
        assert_eq!(components_to_enable(0b0110_0111), 0b111, "a part of AVX-512 is refused by the CPU");
        assert_eq!(components_to_enable(0b1110_0011), 0b11, "AVX-512 without AVX is refused by the CPU");
        // AMX (17, 18), protection keys (9) and MPX (3, 4) stay off.
        assert_eq!(components_to_enable(u64::MAX), 0b1110_0111);
    }

    #[test]
    fn a_new_area_holds_the_initial_state() {
        let state = ExtendedState::new().unwrap();
        assert_eq!(state.as_ptr() as usize % AREA_ALIGNMENT, 0);
        // SAFETY: `restore` with `fxrstor` (no `init_cpu` here) loads an initial state; `save` writes it back.
        unsafe {
            restore(state.as_ptr());
            save(state.as_ptr());
            assert_eq!(state.as_ptr().add(MXCSR_OFFSET).cast::<u32>().read(), INITIAL_MXCSR);
            assert_eq!(state.as_ptr().cast::<u16>().read(), INITIAL_X87_CONTROL);
        }
    }

    /// Stack pointers of the test's two contexts.
    static mut OUTER: usize = 0;
    static mut INNER: usize = 0;

    extern "C-unwind" fn echo(mut token: usize) -> ! {
        loop {
            // SAFETY: the test's thread is the only one, and OUTER was saved by the switch that led here.
            token = unsafe { context_switch(&raw mut INNER, OUTER, token * 2) };
        }
    }

    #[test]
    fn switches_there_and_back() {
        let mut stack = vec![0u128; 4096];
        let top = stack.as_mut_ptr_range().end as usize;
        // SAFETY: the stack is fresh, aligned to 16, and lives to the end of the test; each saved pointer is used once.
        unsafe {
            INNER = initial_stack_pointer(top, echo);
            for token in [21, 4] {
                let answer = context_switch(&raw mut OUTER, INNER, token);
                assert_eq!(answer, token * 2);
            }
        }
    }
}
