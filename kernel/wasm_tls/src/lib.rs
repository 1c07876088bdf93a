//! Which activations of WebAssembly code the current task has, innermost first.
//!
//! An *activation* is one call from the host into compiled code. Calls nest (host, wasm, host, wasm, …), so a task has
//! a list of them, whose head is the one pointer that the platform keeps per task. The trap handler finds there what
//! it has to know about the code it interrupted; a backtrace follows the list outwards.
//!
//! Invariants:
//! - An activation is in the list of its task exactly as long as [`enter`] runs, however that is left: by returning or
//!   by unwinding. It lives on the stack of that call and never moves.
//! - While it is innermost, the entry and exit registers in its store's [`VMStoreContext`] are its own; those of the next
//!   outer activation of the same store are kept in it and put back when it ends.
//! - Everything here may be read by a trap handler that interrupted compiled code: the list does not change while
//!   compiled code runs.
#![cfg_attr(not(test), no_std)]

use core::cell::Cell;
use core::ptr;
use wasm_artifact::vmctx::VMStoreContext;

/// One call from the host into compiled code.
pub struct Activation {
    outer: *const Activation,
    context: *const VMStoreContext,
    /// What was in `context` before.
    saved: EntryRegisters,
    trap: Cell<Option<TrapRecord>>,
}

/// What compiled code left in a [`VMStoreContext`] about where it was entered, and where it last called the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryRegisters {
    /// Frame pointer of the trampoline through which the host was last called.
    pub exit_fp: usize,
    /// Where that call returns to in compiled code.
    pub exit_pc: usize,
    /// Stack pointer of the entry trampoline, for its landing pad.
    pub entry_sp: usize,
    /// Frame pointer of the entry trampoline.
    pub entry_fp: usize,
    /// The landing pad: where a trap continues.
    pub landing_pad: usize,
}

impl EntryRegisters {
    /// Reads them.
    ///
    /// # Safety
    /// `context` must point to the context of a store in use by the current task.
    #[inline]
    pub unsafe fn load(context: *const VMStoreContext) -> Self {
        // SAFETY: by the caller.
        unsafe {
            Self {
                exit_fp: *(*context).last_wasm_exit_fp.get(),
                exit_pc: *(*context).last_wasm_exit_pc.get(),
                entry_sp: *(*context).last_wasm_entry_sp.get(),
                entry_fp: *(*context).last_wasm_entry_fp.get(),
                landing_pad: *(*context).last_wasm_entry_trap_handler.get(),
            }
        }
    }

    /// Writes them.
    #[inline]
    unsafe fn store(self, context: *const VMStoreContext) {
        // SAFETY: by the caller, as for `load`.
        unsafe {
            *(*context).last_wasm_exit_fp.get() = self.exit_fp;
            *(*context).last_wasm_exit_pc.get() = self.exit_pc;
            *(*context).last_wasm_entry_sp.get() = self.entry_sp;
            *(*context).last_wasm_entry_fp.get() = self.entry_fp;
            *(*context).last_wasm_entry_trap_handler.get() = self.landing_pad;
        }
    }
}

/// A trap that the trap handler recorded for the code to which it sends the task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrapRecord {
    /// Number of the trap, as [`wasm_artifact::Trap`] has it.
    pub code: u8,
    /// The instruction that trapped.
    pub pc: usize,
    /// The address that could not be accessed, for a memory fault.
    pub fault_address: Option<usize>,
}

impl Activation {
    /// The activation from which, through the host, this one came.
    pub fn outer(&self) -> Option<&Activation> {
        // SAFETY: an outer activation stays in its place until all inner ones have ended.
        unsafe { self.outer.as_ref() }
    }

    /// This activation, the one from which it came, and so on outwards.
    pub fn and_outer(&self) -> impl Iterator<Item = &Activation> {
        core::iter::successors(Some(self), |activation| activation.outer())
    }

    /// Context of the store that this activation runs in.
    pub fn context(&self) -> *const VMStoreContext {
        self.context
    }

    /// The registers of the activation of the same store around this one, as they were when this one began.
    pub fn saved(&self) -> &EntryRegisters {
        &self.saved
    }

    /// Leaves word of a trap. Does nothing else: may be called by the trap handler.
    pub fn record_trap(&self, trap: TrapRecord) {
        self.trap.set(Some(trap));
    }

    /// The trap that was recorded since the last call.
    pub fn take_trap(&self) -> Option<TrapRecord> {
        self.trap.take()
    }
}

/// The innermost activation of the current task.
pub fn with_current<R>(look: impl FnOnce(&Activation) -> R) -> Option<R> {
    // SAFETY: the slot holds null or the activation of an `enter` that has not ended, and cannot end before `look`
    // does: both run on this task.
    unsafe { wasm_platform::tls_get().cast::<Activation>().as_ref() }.map(look)
}

/// Takes the activation out of the list, also when the call is left by unwinding.
struct Leave<'a>(&'a Activation);

impl Drop for Leave<'_> {
    #[inline]
    fn drop(&mut self) {
        wasm_platform::tls_set(self.0.outer.cast_mut().cast());
        // SAFETY: `enter`'s caller vouches that the context lives until `enter` ends.
        unsafe { self.0.saved.store(self.0.context) };
    }
}

/// Runs `call`, which enters compiled code, as a new activation.
///
/// # Safety
/// `context` must point to the context of a store that only the current task uses, and that lives until this
/// function returns or is unwound.
#[inline]
pub unsafe fn enter<R>(context: *const VMStoreContext, call: impl FnOnce(&Activation) -> R) -> R {
    let activation = Activation {
        outer: wasm_platform::tls_get().cast_const().cast(),
        context,
        // SAFETY: by the caller.
        saved: unsafe { EntryRegisters::load(context) },
        trap: Cell::new(None),
    };
    wasm_platform::tls_set(ptr::from_ref(&activation).cast_mut().cast());
    let leave = Leave(&activation);
    call(leave.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn activations_nest_and_put_back_what_they_found() {
        let context = VMStoreContext::default();
        assert!(with_current(|_| ()).is_none());
        // SAFETY: the context is used by this test alone.
        unsafe {
            enter(&context, |outer| {
                *context.last_wasm_entry_fp.get() = 1;
                assert!(outer.outer().is_none());
                enter(&context, |inner| {
                    *context.last_wasm_entry_fp.get() = 2;
                    assert!(inner.outer().is_some_and(|found| ptr::eq(found, outer)));
                    assert_eq!(inner.saved().entry_fp, 1);
                    inner.record_trap(TrapRecord { code: 3, pc: 4, fault_address: None });
                });
                assert_eq!(outer.take_trap(), None);
                assert_eq!(EntryRegisters::load(&context).entry_fp, 1);
                assert!(with_current(|found| ptr::eq(found, outer)).unwrap());
            });
            assert_eq!(EntryRegisters::load(&context).entry_fp, 0);
        }
        assert!(with_current(|_| ()).is_none());
    }

    #[test]
    fn a_panic_ends_an_activation() {
        let context = VMStoreContext::default();
        // SAFETY: the context is used by this test alone.
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| unsafe {
            enter(&context, |_| std::panic::resume_unwind(Box::new(1)))
        }));
        assert!(result.is_err());
        assert!(with_current(|_| ()).is_none());
    }
}
