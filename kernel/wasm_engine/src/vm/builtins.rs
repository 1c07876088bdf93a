//! What compiled code calls in the runtime.
//!
//! Each function gets the context of the calling instance, whose store it then has for itself: the code that could use
//! it otherwise waits for the function to return. A failure is left pending in the store and told by the result.

use super::{InstancePtr, checked_elements, checked_range};
use crate::store::StoreOpaque;
use crate::{Error, Result};
use core::arch::asm;
use core::time::Duration;
use wasm_artifact::builtins::{NUMBER_TRAPPED, VMBuiltins};
use wasm_artifact::vmctx::VMContext;
use wasm_artifact::{DataIndex, ElemIndex, MemoryIndex, TableIndex, Trap};
use wasm_tls::EntryRegisters;

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

/// Leaves a failure pending in the store.
fn succeeded(store: &mut StoreOpaque, result: Result<(), Trap>) -> bool {
    match result {
        Ok(()) => true,
        Err(trap) => {
            store.set_pending(Error::from(trap));
            false
        }
    }
}

/// Tells the result of a growth.
fn grown(store: &mut StoreOpaque, result: Result<Option<u64>>) -> i64 {
    match result {
        Ok(Some(old)) => old as i64,
        Ok(None) => -1,
        Err(error) => {
            store.set_pending(error);
            NUMBER_TRAPPED
        }
    }
}

/// Tells a number, or leaves a trap pending in the store.
fn number(store: &mut StoreOpaque, result: Result<u32, Trap>) -> i64 {
    match result {
        Ok(number) => number.into(),
        Err(trap) => {
            store.set_pending(Error::from(trap));
            NUMBER_TRAPPED
        }
    }
}

unsafe extern "C-unwind" fn memory_grow(context: *mut VMContext, memory: u32, delta: u64) -> i64 {
    // SAFETY: compiled code calls with its context and an index of its module.
    unsafe {
        let (instance, store) = caller(context);
        let result = store.grow_memory(instance.memory(MemoryIndex(memory)), delta);
        grown(store, result)
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
        let (instance, store) = caller(context);
        let to = instance.memory(MemoryIndex(dst_memory)).as_ref();
        let from = instance.memory(MemoryIndex(src_memory)).as_ref();
        let dst = checked_range(to.bytes(), dst, len);
        let src = checked_range(from.bytes(), src, len);
        let (Some(dst), Some(src)) = (dst, src) else {
            return succeeded(store, Err(Trap::MemoryOutOfBounds));
        };
        to.copy_from(dst, from, src, len as usize);
        true
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
        let (instance, store) = caller(context);
        let memory = instance.memory(MemoryIndex(memory)).as_ref();
        let Some(dst) = checked_range(memory.bytes(), dst, len) else {
            return succeeded(store, Err(Trap::MemoryOutOfBounds));
        };
        memory.fill(dst, value as u8, len as usize);
        true
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
        let (instance, store) = caller(context);
        let memory = instance.memory(MemoryIndex(memory));
        succeeded(store, instance.init_memory(memory, DataIndex(data), dst, src, len))
    }
}

unsafe extern "C-unwind" fn data_drop(context: *mut VMContext, data: u32) {
    // SAFETY: compiled code calls with its context and an index of its module.
    unsafe { caller(context).0.drop_data(DataIndex(data)) }
}

unsafe extern "C-unwind" fn table_grow(context: *mut VMContext, table: u32, delta: u64, init: u64) -> i64 {
    // SAFETY: compiled code calls with its context and an index of its module.
    unsafe {
        let (instance, store) = caller(context);
        let result = store.grow_table(instance.table(TableIndex(table)), delta, init);
        grown(store, result)
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
        let (instance, store) = caller(context);
        let mut table = instance.table(TableIndex(table));
        let elements = table.as_mut().elements_mut();
        let Some(range) = checked_elements(elements.len(), dst, len) else {
            return succeeded(store, Err(Trap::TableOutOfBounds));
        };
        elements[range].fill(value);
        true
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
        let (instance, store) = caller(context);
        let (dst_table, src_table) =
            (instance.table(TableIndex(dst_table)), instance.table(TableIndex(src_table)));
        succeeded(store, crate::table::copy(dst_table, dst, src_table, src, len))
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
        let (instance, store) = caller(context);
        let table = instance.table(TableIndex(table));
        succeeded(store, instance.init_table(table, ElemIndex(elem), dst, src, len))
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
        let (instance, store) = caller(context);
        let result = instance.memory(MemoryIndex(memory)).as_ref().atomic_notify(addr, count);
        number(store, result)
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
        let (instance, store) = caller(context);
        let memory = instance.memory(MemoryIndex(memory)).as_ref();
        number(store, memory.atomic_wait32(addr, expected, as_duration(timeout)).map(|result| result as u32))
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
        let (instance, store) = caller(context);
        let memory = instance.memory(MemoryIndex(memory)).as_ref();
        number(store, memory.atomic_wait64(addr, expected, as_duration(timeout)).map(|result| result as u32))
    }
}

/// A timeout as wasm gives it: nanoseconds, of which a negative number (of 64 bits, signed) means for ever.
fn as_duration(timeout: u64) -> Option<Duration> {
    (timeout as i64 >= 0).then(|| Duration::from_nanos(timeout))
}

/// Goes to the landing pad of the innermost activation. The frames in between are this function's, which owns
/// nothing, and compiled code's, which never does.
unsafe extern "C-unwind" fn raise(context: *mut VMContext) -> ! {
    // SAFETY: compiled code calls with its context, while it is active: so the entry registers are those of the
    // trampoline by which it was entered, whose frame is still on the stack, and whose landing pad expects just stack and
    // frame pointer.
    unsafe {
        let registers = EntryRegisters::load((*context).store_context);
        asm!(
            "mov rsp, {sp}",
            "mov rbp, {fp}",
            "jmp {landing_pad}",
            sp = in(reg) registers.entry_sp,
            fp = in(reg) registers.entry_fp,
            landing_pad = in(reg) registers.landing_pad,
            options(noreturn),
        )
    }
}
