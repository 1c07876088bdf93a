//! Entering compiled code, and the ways back out of it: traps, errors of host functions, backtraces.

use crate::interrupt;
use crate::store::StoreOpaque;
use crate::{Error, Result, WasmBacktrace};
use wasm_artifact::Trap;
use wasm_artifact::vmctx::{VMArrayCallFunction, VMOpaqueContext, ValRaw};
use wasm_platform::{NO_ALARM, TrapCause, TrapRegisters};
use wasm_tls::{EntryRegisters, TrapRecord};

/// How many bytes of a stack wasm leaves to the host functions that it calls.
const HOST_STACK: usize = 64 << 10;

/// The trap handler. Runs in exception or signal context: see [`wasm_platform::TrapHandler`].
pub(crate) fn handle(registers: &mut TrapRegisters) -> bool {
    let handled = wasm_tls::with_current(|activation| {
        let pc = registers.pc;
        // The context is the first field of a `StoreOpaque`.
        let store = activation.context().cast_mut().cast::<StoreOpaque>();
        // SAFETY: the innermost activation's store is in use by this task. To be called when it is compiled code that was
        // interrupted: then nobody uses the store until the task goes on.
        let quiet_store = || unsafe { &mut *store };
        let (trap, fault_address) = match registers.cause {
            TrapCause::Exception(fault_address) => {
                // SAFETY: a word of a store that exists, whoever was interrupted. It is null, or leads to the code of a module
                // that the store keeps.
                let latest = unsafe { (&raw const (*store).latest_code).read().as_ref() };
                let trap = match latest.and_then(|code| code.trap_at(pc)) {
                    Some(trap) => trap,
                    None => {
                        let trap = wasm_unwind::with_code(pc, |code| code.trap_at(pc)).flatten();
                        let Some(trap) = trap else { return false };
                        let store = quiet_store();
                        if let Some(module) = store.module_at(pc) {
                            store.latest_code = core::ptr::from_ref::<wasm_unwind::Code>(module.code());
                        }
                        trap
                    }
                };
                // Code may touch a guest's memory and its guards, and the null page where a check failed that may not
                // be speculated past. A fault anywhere else is not the guest's doing.
                let not_the_guests = |address| {
                    address >= wasm_platform::page_size() && !quiet_store().is_guest_memory(address)
                };
                if fault_address.is_some_and(not_the_guests) {
                    return false;
                }
                (trap, fault_address)
            }
            TrapCause::Kill | TrapCause::Alarm => {
                if !interrupt::is_due(registers.cause, activation) {
                    return false;
                }
                // Any instruction of a guest's function will do: what it leaves half done is the guest's own. The
                // trampolines at both ends are not guest code, and the registers that a landing needs may not be those
                // of this activation yet; they are over in an instant.
                if !wasm_unwind::with_code(pc, |code| code.is_in_function(pc)).unwrap_or(false) {
                    return false;
                }
                (Trap::Interrupt, None)
            }
        };
        activation.record_trap(TrapRecord { code: trap.code().get(), pc, fault_address });
        // SAFETY: the code that was interrupted is compiled code, with these registers.
        unsafe { quiet_store().frames_mut().collect_from_trap(activation, pc, registers.fp) };
        // SAFETY: the innermost activation's store is in use by this task.
        let landing = unsafe { EntryRegisters::load(activation.context()) };
        (registers.pc, registers.sp, registers.fp) =
            (landing.landing_pad, landing.entry_sp, landing.entry_fp);
        true
    });
    handled.unwrap_or_else(|| {
        interrupt::without_activation(registers.cause);
        false
    })
}

/// Takes the stack limit away again when wasm is left for good, also by unwinding.
struct ResetStackLimit(*mut usize);

impl Drop for ResetStackLimit {
    #[inline]
    fn drop(&mut self) {
        if !self.0.is_null() {
            // SAFETY: the limit is in a store that is borrowed while this exists.
            unsafe { *self.0 = usize::MAX };
        }
    }
}

/// The lowest stack address that wasm may use if it is entered now.
#[inline]
fn stack_limit(max_wasm_stack: usize) -> usize {
    let here = &raw const max_wasm_stack as usize;
    let lowest = wasm_platform::stack_bounds().start.saturating_add(HOST_STACK);
    here.saturating_sub(max_wasm_stack).max(lowest)
}

/// Calls `function` with `vmctx` and `values`.
///
/// # Errors
/// Fails if it traps, or a host function that it calls fails.
///
/// # Safety
/// `function` and `vmctx` must be of one function of the store, and `values` must have `len` elements, which are its
/// parameters and have room for its results.
#[inline]
pub(crate) unsafe fn call(
    store: &mut StoreOpaque,
    function: VMArrayCallFunction,
    vmctx: *mut VMOpaqueContext,
    values: *mut ValRaw,
    len: usize,
) -> Result<()> {
    let deadline = store.deadline_of_call()?;
    let caller = store.host_caller().context().cast();
    let limit = store.context().stack_limit.get();
    // SAFETY: the limit is changed only by the task that uses the store, which is this one.
    let _reset = unsafe {
        if *limit == usize::MAX {
            *limit = stack_limit(store.engine().config().max_wasm_stack);
            ResetStackLimit(limit)
        } else {
            ResetStackLimit(core::ptr::null_mut())
        }
    };
    // SAFETY: the store is borrowed, so it is this task's alone until we return; the rest is the caller's promise.
    let outcome: Result<Result<(), Option<TrapRecord>>> = unsafe {
        wasm_tls::enter(store.context(), |activation| {
            if deadline != NO_ALARM {
                interrupt::arm(deadline)?;
            }
            Ok(if function(vmctx, caller, values, len) { Ok(()) } else { Err(activation.take_trap()) })
        })
    };
    match outcome? {
        Ok(()) => Ok(()),
        Err(trap) => {
            if trap.is_some_and(|record| record.code == Trap::Interrupt.code().get()) {
                // A task that was killed ends here, by unwinding its host's frames. No program gets to see this trap.
                wasm_platform::end_if_killed();
            }
            Err(store.error_of(trap))
        }
    }
}

impl StoreOpaque {
    /// The error with which compiled code was left.
    #[cold]
    fn error_of(&mut self, trap: Option<TrapRecord>) -> Error {
        match trap.map(|record| Trap::from_u8(record.code)) {
            Some(Some(trap)) => self.with_collected_backtrace(Error::from(trap)),
            Some(None) => unreachable!("the trap handler records known traps"),
            None => self.take_pending().expect("who fails leaves the reason"),
        }
    }

    /// Adds the backtrace that is in the buffer, if it is not empty.
    fn with_collected_backtrace(&self, error: Error) -> Error {
        if self.frames().is_empty() {
            return error;
        }
        match WasmBacktrace::of_frames(self, self.frames()) {
            Some(backtrace) if !backtrace.is_empty() => error.context(backtrace),
            _ => error,
        }
    }

    /// Adds a backtrace, seen from a host function, unless the error has one or backtraces are off.
    pub(crate) fn with_host_backtrace(&mut self, error: Error) -> Error {
        if self.engine().config().backtrace_frames.is_none() || error.is::<WasmBacktrace>() {
            return error;
        }
        let context: *const _ = self.context();
        // SAFETY: the store is in use by this task, which borrows it.
        unsafe { self.frames_mut().collect_from_host(context, 0) };
        self.with_collected_backtrace(error)
    }
}
