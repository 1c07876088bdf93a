//! Throwing exceptions: finding the handler, and the way to it. See `book/src/exceptions.md`.

use crate::exnref::ExnRef;
use crate::externref::Rooted;
use crate::store::StoreOpaque;
use crate::vm::InstancePtr;
use crate::{Result, error::OutOfMemory};
use core::arch::asm;
use core::fmt;
use core::ops::ControlFlow;
use core::ptr::NonNull;
use wasm_artifact::vmctx::{VMContext, VMTagDefinition, ValRaw};
use wasm_artifact::{TagIndex, Trap};
use wasm_tls::EntryRegisters;

/// The error that says that an exception is pending in the store. Between the host and wasm it takes the exception's way:
/// see [`Store::throw`](crate::Store::throw) and [`Store::take_pending_exception`](crate::Store::take_pending_exception).
#[derive(Debug)]
pub struct ThrownException;

impl fmt::Display for ThrownException {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("thrown Wasm exception")
    }
}

impl core::error::Error for ThrownException {}

/// A place in compiled code at which to go on.
pub(crate) struct Landing {
    pc: usize,
    sp: usize,
    fp: usize,
    /// What landing pads of clauses expect.
    reference: u32,
    fields: *const ValRaw,
}

impl Landing {
    /// The landing pad of the innermost activation, by which wasm is left.
    pub(crate) fn of_activation(store: &StoreOpaque) -> Self {
        // SAFETY: the store is in use by this task.
        let registers = unsafe { EntryRegisters::load(store.context()) };
        Self {
            pc: registers.landing_pad,
            sp: registers.entry_sp,
            fp: registers.entry_fp,
            reference: 0,
            fields: core::ptr::null(),
        }
    }

    /// Goes there.
    ///
    /// # Safety
    /// It must be a landing pad whose frame is on the stack. The frames in between must be compiled code's, or own nothing.
    pub(crate) unsafe fn go(self) -> ! {
        // SAFETY: by the caller. Landing pads expect just these registers.
        unsafe {
            asm!(
                "mov rsp, {sp}",
                "mov rbp, {fp}",
                "jmp {pc}",
                sp = in(reg) self.sp,
                fp = in(reg) self.fp,
                pc = in(reg) self.pc,
                in("rax") u64::from(self.reference),
                in("rdx") self.fields,
                options(noreturn),
            )
        }
    }
}

/// A handler that was found: its landing pad, with its stack and frame pointer.
struct Handler {
    pc: usize,
    sp: usize,
    fp: usize,
    wants_reference: bool,
}

/// The innermost handler for `tag` in the innermost activation. Neither allocates nor locks.
///
/// # Safety
/// Compiled code of the store must have called the host, and wait for it.
unsafe fn find_handler(store: &StoreOpaque, tag: NonNull<VMTagDefinition>) -> Option<Handler> {
    let visit = |pc: usize, fp: usize| {
        let found = wasm_unwind::with_code(pc, |code| {
            let call = code.tables().handlers_at(code.text_offset(pc)?)?;
            let sp = fp - call.frame_size as usize;
            // SAFETY: the compiler says that the context of the frame's instance is there.
            let context = unsafe { *((sp + call.context_offset as usize) as *const *mut VMContext) };
            let clause = call.clauses().find(|clause| match clause.tag {
                None => true,
                // SAFETY: the instance exists, since its code runs, and its module has the tag.
                Some(own) => unsafe { InstancePtr::from_context(context).tag(own) == tag },
            })?;
            let pc = code.address(clause.landing_pad) as usize;
            Some(Handler { pc, sp, fp, wants_reference: clause.wants_reference })
        });
        match found.flatten() {
            Some(handler) => ControlFlow::Break(handler),
            None => ControlFlow::Continue(()),
        }
    };
    // SAFETY: the exit registers are those of the call of the host, by the caller.
    unsafe { wasm_unwind::visit_frames(&EntryRegisters::load(store.context()), visit) }
}

/// Throws an exception of `tag` whose fields are at `fields`, and says where it goes.
///
/// # Safety
/// Code of `instance`, which is of this store, must have called, with an index of its module and the address of as many fields
/// as the tag has.
pub(crate) unsafe fn throw(
    store: &mut StoreOpaque,
    instance: InstancePtr,
    tag: TagIndex,
    fields: *const ValRaw,
) -> Landing {
    // SAFETY: by the caller.
    let (tag, fields) = unsafe {
        let count = instance.tag_fields(tag);
        (instance.tag(tag), core::slice::from_raw_parts(fields, count))
    };
    // SAFETY: by the caller.
    or_failure(store, |store| unsafe { land(store, tag, fields, 0) })
}

/// As [`throw`], for an exception that there is, or null.
///
/// # Safety
/// Code of this store must have called with one of its handles.
pub(crate) unsafe fn throw_ref(store: &mut StoreOpaque, handle: u32) -> Landing {
    or_failure(store, |store| {
        if handle == 0 {
            return Err(Trap::NullReference.into());
        }
        // SAFETY: by the caller.
        unsafe { land_handle(store, handle) }
    })
}

/// Where compiled code goes on that called the host, for which something is pending that is not a value.
///
/// # Safety
/// Code of this store must have called the host and wait for it.
pub(crate) unsafe fn raise(store: &mut StoreOpaque) -> Landing {
    let handle = store.pending_exception;
    if handle == 0 || !store.pending().is_some_and(|error| error.is::<ThrownException>()) {
        return Landing::of_activation(store);
    }
    let tag = store.externs().exception(handle).tag();
    // SAFETY: by the caller.
    if unsafe { find_handler(store, tag) }.is_none() {
        // It stays pending, and so does the error with its backtrace.
        return Landing::of_activation(store);
    }
    store.pending_exception = 0;
    drop(store.take_pending());
    // SAFETY: by the caller.
    or_failure(store, |store| unsafe { land_handle(store, handle) })
}

/// Where `find` says, or to the landing pad of the activation if it fails.
fn or_failure(store: &mut StoreOpaque, find: impl FnOnce(&mut StoreOpaque) -> Result<Landing>) -> Landing {
    match store.check_interrupted().and_then(|()| find(store)) {
        Ok(landing) => landing,
        Err(error) => {
            store.set_pending(error);
            Landing::of_activation(store)
        }
    }
}

/// # Safety
/// As for [`find_handler`]; the handle must not be 0.
unsafe fn land_handle(store: &mut StoreOpaque, handle: u32) -> Result<Landing> {
    let exception = store.externs().exception(handle);
    let (tag, fields) = (exception.tag(), core::ptr::from_ref(exception.fields()));
    // SAFETY: nothing is freed while code of the store runs, and an exception's fields keep their place.
    unsafe { land(store, tag, &*fields, handle) }
}

/// The landing for an exception; `handle` is 0 if it has none yet.
///
/// # Safety
/// As for [`find_handler`].
unsafe fn land(
    store: &mut StoreOpaque,
    tag: NonNull<VMTagDefinition>,
    fields: &[ValRaw],
    handle: u32,
) -> Result<Landing> {
    // SAFETY: by the caller.
    let handler = unsafe { find_handler(store, tag) };
    let needs_handle = handle == 0 && handler.as_ref().is_none_or(|handler| handler.wants_reference);
    let handle = if needs_handle { store.new_exception(tag, fields)? } else { handle };
    let Some(Handler { pc, sp, fp, .. }) = handler else {
        store.pending_exception = handle;
        return Err(ThrownException.into());
    };
    let fields = match handle {
        // They are in a frame that is about to go.
        0 => {
            let kept = &mut store.thrown_fields;
            kept.clear();
            kept.try_reserve(fields.len()).map_err(|_| OutOfMemory::new(size_of_val(fields)))?;
            kept.extend_from_slice(fields);
            kept.as_ptr()
        }
        handle => store.externs().exception(handle).fields().as_ptr(),
    };
    Ok(Landing { pc, sp, fp, reference: handle, fields })
}

impl StoreOpaque {
    /// See [`Store::throw`](crate::Store::throw).
    pub(crate) fn throw<R>(&mut self, exception: &Rooted<ExnRef>) -> Result<R> {
        self.pending_exception = self.handle_of(exception)?;
        Err(ThrownException.into())
    }

    /// See [`Store::take_pending_exception`](crate::Store::take_pending_exception).
    pub(crate) fn take_pending_exception(&mut self) -> Option<Rooted<ExnRef>> {
        let rooted = self.rooted_from_handle(self.pending_exception).expect("no memory for a reference");
        self.pending_exception = 0;
        rooted
    }
}
