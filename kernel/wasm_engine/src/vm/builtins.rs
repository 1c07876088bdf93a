//! What compiled code calls in the runtime.
//!
//! Each function gets the context of the calling instance, whose store it then has for itself: the code that could use
//! it otherwise waits for the function to return. A failure is left pending in the store and told by the result.

use super::{InstancePtr, WaitResult, checked_elements, checked_range};
use crate::Result;
use crate::exception;
use crate::interrupt::in_pieces;
use crate::store::StoreOpaque;
use core::time::Duration;
use wasm_artifact::builtins::{NUMBER_TRAPPED, VMBuiltins};
use wasm_artifact::vmctx::{VMContext, ValRaw};
use wasm_artifact::{DataIndex, ElemIndex, MemoryIndex, TableIndex, TagIndex, Trap};

/// The array that every context points to.
pub(crate) static BUILTINS: VMBuiltins = VMBuiltins {
    memory_grow,
    memory_copy,
    memory_fill,
    memory_init,
    data_drop,
    table_grow,
    table_fill,
    table_copy,
    table_init,
    elem_drop,
    memory_atomic_notify,
    memory_atomic_wait32,
    memory_atomic_wait64,
    raise,
    out_of_fuel,
    new_epoch,
    throw,
    throw_ref,
};

/// The caller and its store.
///
/// # Safety
/// `context` must be the context of an instance whose code is calling.
unsafe fn caller<'a>(context: *mut VMContext) -> (InstancePtr, &'a mut StoreOpaque) {
    // SAFETY: the instance exists, since its code runs; nobody else uses its store, since that code waits for us.
    unsafe {
        let instance = InstancePtr::from_context(context);
        (instance, &mut *instance.store())
    }
}

/// Does the work of a builtin for the instance that calls, and tells whether it succeeded; a failure is left pending.
///
/// # Safety
/// `context` must be the context of an instance whose code is calling.
#[inline]
unsafe fn succeeded(
    context: *mut VMContext,
    work: impl FnOnce(InstancePtr, &mut StoreOpaque) -> Result<()>,
) -> bool {
    // SAFETY: by the caller.
    let (instance, store) = unsafe { caller(context) };
    match store.check_interrupted().and_then(|()| work(instance, store)) {
        Ok(()) => true,
        Err(error) => {
            store.set_pending(error);
            false
        }
    }
}

/// As [`succeeded`], for work that gives a number; or -1, if it is `None`.
///
/// # Safety
/// As for [`succeeded`].
#[inline]
unsafe fn number(
    context: *mut VMContext,
    work: impl FnOnce(InstancePtr, &mut StoreOpaque) -> Result<Option<u64>>,
) -> i64 {
    // SAFETY: by the caller.
    let (instance, store) = unsafe { caller(context) };
    match store.check_interrupted().and_then(|()| work(instance, store)) {
        Ok(Some(number)) => number as i64,
        Ok(None) => -1,
        Err(error) => {
            store.set_pending(error);
            NUMBER_TRAPPED
        }
    }
}

unsafe extern "C-unwind" fn memory_grow(context: *mut VMContext, memory: u32, delta: u64) -> i64 {
    // SAFETY: compiled code calls with its context and an index of its module.
    unsafe {
        number(context, |instance, store| store.grow_memory(instance.memory(MemoryIndex(memory)), delta))
    }
}

unsafe extern "C-unwind" fn memory_copy(
    context: *mut VMContext,
    dst_memory: u32,
    dst: u64,
    src_memory: u32,
    src: u64,
    len: u64,
) -> bool {
    // SAFETY: compiled code calls with its context and indices of its module; the ranges are checked.
    unsafe {
        succeeded(context, |instance, store| {
            let to = instance.memory(MemoryIndex(dst_memory)).as_ref();
            let from = instance.memory(MemoryIndex(src_memory)).as_ref();
            let dst = checked_range(to.bytes(), dst, len).ok_or(Trap::MemoryOutOfBounds)?;
            let src = checked_range(from.bytes(), src, len).ok_or(Trap::MemoryOutOfBounds)?;
            // What is read must not have been written before.
            let backwards = dst.cast_const() > src.cast_const();
            in_pieces(store, len as usize, 1, backwards, |piece| {
                to.copy_from(dst.add(piece.start), from, src.add(piece.start), piece.len());
            })?;
            Ok(())
        })
    }
}

unsafe extern "C-unwind" fn memory_fill(
    context: *mut VMContext,
    memory: u32,
    dst: u64,
    value: u32,
    len: u64,
) -> bool {
    // SAFETY: compiled code calls with its context and an index of its module; the range is checked.
    unsafe {
        succeeded(context, |instance, store| {
            let memory = instance.memory(MemoryIndex(memory)).as_ref();
            let dst = checked_range(memory.bytes(), dst, len).ok_or(Trap::MemoryOutOfBounds)?;
            in_pieces(store, len as usize, 1, false, |piece| {
                memory.fill(dst.add(piece.start), value as u8, piece.len());
            })?;
            Ok(())
        })
    }
}

unsafe extern "C-unwind" fn memory_init(
    context: *mut VMContext,
    memory: u32,
    data: u32,
    dst: u64,
    src: u32,
    len: u32,
) -> bool {
    // SAFETY: compiled code calls with its context and indices of its module.
    unsafe {
        succeeded(context, |instance, store| {
            let memory = instance.memory(MemoryIndex(memory));
            Ok(instance.init_memory(store, memory, DataIndex(data), dst, src, len)?)
        })
    }
}

unsafe extern "C-unwind" fn data_drop(context: *mut VMContext, data: u32) {
    // SAFETY: compiled code calls with its context and an index of its module.
    unsafe { caller(context).0.drop_data(DataIndex(data)) }
}

unsafe extern "C-unwind" fn table_grow(context: *mut VMContext, table: u32, delta: u64, init: u64) -> i64 {
    // SAFETY: compiled code calls with its context and an index of its module.
    unsafe {
        number(context, |instance, store| store.grow_table(instance.table(TableIndex(table)), delta, init))
    }
}

unsafe extern "C-unwind" fn table_fill(
    context: *mut VMContext,
    table: u32,
    dst: u64,
    value: u64,
    len: u64,
) -> bool {
    // SAFETY: compiled code calls with its context and an index of its module.
    unsafe {
        succeeded(context, |instance, store| {
            let mut table = instance.table(TableIndex(table));
            let elements = table.as_mut().elements_mut();
            let range = checked_elements(elements.len(), dst, len).ok_or(Trap::TableOutOfBounds)?;
            let elements = &mut elements[range];
            in_pieces(store, elements.len(), size_of::<u64>(), false, |piece| elements[piece].fill(value))?;
            Ok(())
        })
    }
}

unsafe extern "C-unwind" fn table_copy(
    context: *mut VMContext,
    dst_table: u32,
    dst: u64,
    src_table: u32,
    src: u64,
    len: u64,
) -> bool {
    // SAFETY: compiled code calls with its context and indices of its module.
    unsafe {
        succeeded(context, |instance, store| {
            let to = instance.table(TableIndex(dst_table));
            let from = instance.table(TableIndex(src_table));
            Ok(crate::table::copy(store, to, dst, from, src, len)?)
        })
    }
}

unsafe extern "C-unwind" fn table_init(
    context: *mut VMContext,
    table: u32,
    elem: u32,
    dst: u64,
    src: u32,
    len: u32,
) -> bool {
    // SAFETY: compiled code calls with its context and indices of its module.
    unsafe {
        succeeded(context, |instance, store| {
            let table = instance.table(TableIndex(table));
            Ok(instance.init_table(store, table, ElemIndex(elem), dst, src, len)?)
        })
    }
}

unsafe extern "C-unwind" fn elem_drop(context: *mut VMContext, elem: u32) {
    // SAFETY: compiled code calls with its context and an index of its module.
    unsafe { caller(context).0.drop_elem(ElemIndex(elem)) }
}

unsafe extern "C-unwind" fn memory_atomic_notify(
    context: *mut VMContext,
    memory: u32,
    addr: u64,
    count: u32,
) -> i64 {
    // SAFETY: compiled code calls with its context and an index of its module.
    unsafe {
        number(context, |instance, _| {
            let memory = instance.memory(MemoryIndex(memory)).as_ref();
            Ok(Some(memory.atomic_notify(addr, count)?.into()))
        })
    }
}

unsafe extern "C-unwind" fn memory_atomic_wait32(
    context: *mut VMContext,
    memory: u32,
    addr: u64,
    expected: u32,
    timeout: u64,
) -> i64 {
    // SAFETY: compiled code calls with its context and an index of its module.
    unsafe {
        number(context, |instance, store| {
            let memory = instance.memory(MemoryIndex(memory)).as_ref();
            waited(store, timeout, |timeout| memory.atomic_wait32(addr, expected, timeout))
        })
    }
}

unsafe extern "C-unwind" fn memory_atomic_wait64(
    context: *mut VMContext,
    memory: u32,
    addr: u64,
    expected: u64,
    timeout: u64,
) -> i64 {
    // SAFETY: compiled code calls with its context and an index of its module.
    unsafe {
        number(context, |instance, store| {
            let memory = instance.memory(MemoryIndex(memory)).as_ref();
            waited(store, timeout, |timeout| memory.atomic_wait64(addr, expected, timeout))
        })
    }
}

/// Waits, but not past the deadline of the store.
fn waited(
    store: &StoreOpaque,
    timeout: u64,
    wait: impl FnOnce(Option<Duration>) -> Result<WaitResult, Trap>,
) -> Result<Option<u64>> {
    let timeout = as_duration(timeout);
    let time_left = store.time_left().filter(|left| timeout.is_none_or(|timeout| *left < timeout));
    match wait(time_left.or(timeout))? {
        WaitResult::TimedOut if time_left.is_some() => Err(Trap::Interrupt.into()),
        result => Ok(Some(result as u64)),
    }
}

/// A timeout as wasm gives it: nanoseconds, of which a negative number (of 64 bits, signed) means for ever.
fn as_duration(timeout: u64) -> Option<Duration> {
    (timeout as i64 >= 0).then(|| Duration::from_nanos(timeout))
}

unsafe extern "C-unwind" fn out_of_fuel(context: *mut VMContext) -> bool {
    // SAFETY: compiled code calls with its context.
    unsafe { succeeded(context, |_, store| store.refuel()) }
}

unsafe extern "C-unwind" fn new_epoch(context: *mut VMContext) -> bool {
    // SAFETY: compiled code calls with its context.
    unsafe { succeeded(context, |_, store| store.new_epoch()) }
}

/// Goes on where what is pending says: to a handler if that is an exception for which there is one, or else to the landing pad of the
/// innermost activation. The frames in between are this function's, which owns nothing, and compiled code's, which never does.
unsafe extern "C-unwind" fn raise(context: *mut VMContext) -> ! {
    // SAFETY: compiled code calls with its context, while it is active: so the entry registers are those of the
    // trampoline by which it was entered, whose frame is still on the stack, and the exit registers those of the trampoline
    // that calls.
    unsafe { exception::raise(caller(context).1).go() }
}

unsafe extern "C-unwind" fn throw(context: *mut VMContext, tag: u32, fields: u64) -> ! {
    // SAFETY: compiled code calls with its context, an index of its module, and fields as the tag's type says; otherwise as `raise`.
    unsafe {
        let (instance, store) = caller(context);
        exception::throw(store, instance, TagIndex(tag), fields as *const ValRaw).go()
    }
}

unsafe extern "C-unwind" fn throw_ref(context: *mut VMContext, exception: u32) -> ! {
    // SAFETY: compiled code calls with its context and a reference of its store; otherwise as `raise`.
    unsafe { exception::throw_ref(caller(context).1, exception).go() }
}
