//! Makes a CPU exception unwindable.
//!
//! An exception handler runs on a stack of its own and returns by `iretq`. To end the faulting computation it does not
//! unwind, it *redirects*: it writes the interrupted registers into a [`FaultFrame`] on the interrupted task's stack,
//! and lets `iretq` go to an entry here instead. To the unwinder that entry is the function which the faulting
//! instruction "called": its unwind information says that every register is to be found in the frame, the stack pointer
//! included, and carries the augmentation for signal frames, so that the instruction pointer is taken as exact and not
//! as a return address.
//!
//! ```text
//! higher addresses      stack of the interrupted computation
//!          interrupted rsp ->  ┌───────────────┐
//!                              │   alignment   │
//!                       CFA -> ├───────────────┤
//!                              │  FaultFrame   │
//!          rsp at the entry -> ├───────────────┤  16-byte aligned
//!                              │ handler's ... │
//! ```

use core::mem::{offset_of, size_of};

/// What runs on the faulting task's stack. It must not return; typically it calls
/// [`start_unwinding_from_fault`](crate::start_unwinding_from_fault).
///
/// The frame is its to read; what it changes in it, the unwinder will see.
pub type FaultHandler = unsafe extern "C-unwind" fn(frame: &mut FaultFrame) -> !;

/// The registers of an interrupted computation, as they are laid out on its stack.
#[repr(C, align(16))]
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "registers are called what they are called")]
pub struct FaultFrame {
    pub rax: u64,
    pub rdx: u64,
    pub rcx: u64,
    pub rbx: u64,
    pub rsi: u64,
    pub rdi: u64,
    /// The stack pointer of the interrupted computation.
    pub rsp: u64,
    pub r8: u64,
    pub r9: u64,
    pub r10: u64,
    pub r11: u64,
    pub r12: u64,
    pub r13: u64,
    pub r14: u64,
    pub r15: u64,
    /// Followed by `rip`: together they look like the head of a frame to who follows frame pointers.
    pub rbp: u64,
    /// Address of the instruction that did not complete.
    pub rip: u64,
    pub rflags: u64,
    /// Number of the exception.
    pub vector: u64,
    /// What the processor pushed as its error code, or 0.
    pub error_code: u64,
    /// CR2 for a page fault, else 0.
    pub fault_address: u64,
    /// Called on the task's stack.
    pub handler: FaultHandler,
}

/// Where `iretq` must go for a [`FaultFrame`] to be handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FaultEntry {
    /// To be the instruction pointer.
    pub rip: u64,
    /// To be the stack pointer.
    pub rsp: u64,
}

impl FaultFrame {
    /// Bytes below the interrupted stack pointer that should be there: the frame, and room for printing a backtrace and
    /// unwinding (measured: 12 KiB for a walk, 15 KiB to throw). With less, end the task without unwinding.
    pub const STACK_NEEDED: usize = 32 * 1024;

    /// Writes the frame to the stack below [`Self::rsp`]. To be called in an exception handler, on another stack.
    ///
    /// The other registers need not be set for the entry, and the flags may stay as they were.
    ///
    /// # Safety
    /// - The frame holds the state of the interrupted computation, which is not continued in any other way.
    /// - [`Self::STACK_NEEDED`] bytes below `rsp` are writable memory of that computation's stack, and unused (there is
    ///   no red zone in this kernel).
    pub unsafe fn place(self) -> FaultEntry {
        let rsp = (self.rsp - size_of::<Self>() as u64) & !15;
        // SAFETY: aligned, and unused memory as the caller promises.
        unsafe { (rsp as *mut Self).write(self) };
        FaultEntry { rip: fault_entry as *const () as u64, rsp }
    }

    /// If the fault is that a function was called where there is no code, goes back to before that call, so that
    /// unwinding begins at the caller instead of ending at once. Says whether it was so.
    ///
    /// # Safety
    /// The frame's stack is readable at its stack pointer.
    pub unsafe fn leave_bad_address(&mut self) -> bool {
        if crate::code_range_containing(self.rip as usize).is_some() {
            return false;
        }
        // SAFETY: the caller promises it. A call has pushed the return address, and nothing was executed since.
        let return_address = unsafe { (self.rsp as *const u64).read() };
        if crate::code_range_containing(return_address.wrapping_sub(1) as usize).is_none() {
            return false;
        }
        // This is taken as the exact address of an instruction, so let it be one of the call's bytes.
        self.rip = return_address - 1;
        self.rsp += 8;
        true
    }
}

/// Address of the function that a fault seems to have called: in a backtrace, its frame separates what has faulted from what
/// deals with that.
pub fn fault_entry_address() -> usize {
    fault_entry as *const () as usize
}

const _: () = assert!(size_of::<FaultFrame>().is_multiple_of(16), "the stack is aligned at the entry's call");

/// Where a task goes on after a fault: calls the frame's handler. `rsp` points to the [`FaultFrame`].
///
/// Never called as a function, only returned to.
#[unsafe(naked)]
unsafe extern "C-unwind" fn fault_entry() -> ! {
    core::arch::naked_asm!(
        ".cfi_startproc",
        ".cfi_signal_frame",
        ".cfi_def_cfa rsp, {size}",
        ".cfi_offset rax, {rax} - {size}",
        ".cfi_offset rdx, {rdx} - {size}",
        ".cfi_offset rcx, {rcx} - {size}",
        ".cfi_offset rbx, {rbx} - {size}",
        ".cfi_offset rsi, {rsi} - {size}",
        ".cfi_offset rdi, {rdi} - {size}",
        ".cfi_offset rbp, {rbp} - {size}",
        ".cfi_offset rsp, {rsp} - {size}",
        ".cfi_offset r8, {r8} - {size}",
        ".cfi_offset r9, {r9} - {size}",
        ".cfi_offset r10, {r10} - {size}",
        ".cfi_offset r11, {r11} - {size}",
        ".cfi_offset r12, {r12} - {size}",
        ".cfi_offset r13, {r13} - {size}",
        ".cfi_offset r14, {r14} - {size}",
        ".cfi_offset r15, {r15} - {size}",
        ".cfi_offset rip, {rip} - {size}",
        "cld",
        // A frame as compiled functions make it: (caller's rbp, return address).
        "lea rbp, [rsp + {rbp}]",
        "mov rdi, rsp",
        "call [rsp + {handler}]",
        "ud2",
        ".cfi_endproc",
        size = const size_of::<FaultFrame>(),
        rax = const offset_of!(FaultFrame, rax),
        rdx = const offset_of!(FaultFrame, rdx),
        rcx = const offset_of!(FaultFrame, rcx),
        rbx = const offset_of!(FaultFrame, rbx),
        rsi = const offset_of!(FaultFrame, rsi),
        rdi = const offset_of!(FaultFrame, rdi),
        rbp = const offset_of!(FaultFrame, rbp),
        rsp = const offset_of!(FaultFrame, rsp),
        r8 = const offset_of!(FaultFrame, r8),
        r9 = const offset_of!(FaultFrame, r9),
        r10 = const offset_of!(FaultFrame, r10),
        r11 = const offset_of!(FaultFrame, r11),
        r12 = const offset_of!(FaultFrame, r12),
        r13 = const offset_of!(FaultFrame, r13),
        r14 = const offset_of!(FaultFrame, r14),
        r15 = const offset_of!(FaultFrame, r15),
        rip = const offset_of!(FaultFrame, rip),
        handler = const offset_of!(FaultFrame, handler),
    )
}
