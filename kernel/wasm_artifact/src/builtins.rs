//! The functions of the runtime that generated code calls.
//!
//! A `VMContext` points to one [`VMBuiltins`], an array of function pointers in the order of [`Builtin`]. Code reaches them
//! through trampolines that are part of the artifact: a trampoline notes where wasm was left
//! ([`crate::vmctx::VMStoreContext::last_wasm_exit_fp`] and `_pc`), calls through the array, and looks at the result.
//!
//! **Failure.** No trap ever unwinds a Rust frame. A builtin that fails records why in its store and *returns* a value that
//! says so (see [`BuiltinResult`]); the trampoline then calls `raise`, which jumps to the landing pad. A builtin that panics
//! does unwind, through the frames of generated code, which have unwind information.
//!
//! **Arguments.** The first is always the `vmctx` of the calling instance. Indices are those of the module's index spaces.
//! Everything is passed as `u32`, `u64` or a reference widened to `u64` (`externref`: zero-extended handle; `funcref`: pointer).

use crate::vmctx::VMContext;

/// How generated code learns that a builtin failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BuiltinResult {
    /// Returns nothing and cannot fail.
    None,
    /// Returns `true`, or `false` when a trap is pending in the store.
    Success,
    /// Returns a number that is not less than -1 (which says that a size cannot be changed, and is a value for wasm), or
    /// [`NUMBER_TRAPPED`] when a trap is pending in the store.
    Number,
    /// Does not return.
    Never,
}

/// What builtins with a number as result return when a trap (or an error of a resource limiter) is pending in the store.
pub const NUMBER_TRAPPED: i64 = -2;

/// The machine type of a builtin's argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BuiltinParam {
    /// 32 bits.
    U32,
    /// 64 bits.
    U64,
}

macro_rules! param {
    (u32) => {
        BuiltinParam::U32
    };
    (u64) => {
        BuiltinParam::U64
    };
}

macro_rules! result_type {
    (None) => { () };
    (Success) => { bool };
    (Number) => { i64 };
    (Never) => { ! };
}

macro_rules! builtins {
    ($($(#[$doc:meta])* fn $name:ident / $variant:ident ($($arg:ident: $ty:tt),*) -> $result:tt;)*) => {
        /// A builtin: its number is its index in [`VMBuiltins`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        #[allow(missing_docs, reason = "documented as the fields of `VMBuiltins`")]
        pub enum Builtin { $($variant,)* }

        impl Builtin {
            /// Every builtin, in the order of the array.
            pub const ALL: &'static [Builtin] = &[$(Builtin::$variant),*];

            /// Its parameters after the `vmctx`.
            pub const fn params(self) -> &'static [BuiltinParam] {
                match self { $(Builtin::$variant => &[$(param!($ty)),*],)* }
            }

            /// Its result.
            pub const fn result(self) -> BuiltinResult {
                match self { $(Builtin::$variant => BuiltinResult::$result,)* }
            }

            /// Its name.
            pub const fn name(self) -> &'static str {
                match self { $(Builtin::$variant => stringify!($name),)* }
            }

            /// Offset of its pointer in [`VMBuiltins`], in bytes.
            pub const fn offset(self) -> u32 {
                self as u32 * 8
            }
        }

        /// The array of builtins, filled by the runtime. All are called with the System V ABI.
        #[repr(C)]
        pub struct VMBuiltins {
            $($(#[$doc])* pub $name: unsafe extern "C-unwind" fn(vmctx: *mut VMContext, $($arg: $ty),*) -> result_type!($result),)*
        }
    };
}

builtins! {
    /// `memory.grow`: grows `memory` by `delta` pages and returns its old size in pages.
    fn memory_grow / MemoryGrow (memory: u32, delta: u64) -> Number;
    /// `memory.copy`: copies `len` bytes at `src` of one memory to `dst` of another, as if by way of a buffer. Both ranges are
    /// checked before anything is written.
    fn memory_copy / MemoryCopy (dst_memory: u32, dst: u64, src_memory: u32, src: u64, len: u64) -> Success;
    /// `memory.fill`: sets `len` bytes at `dst` to the low byte of `value`.
    fn memory_fill / MemoryFill (memory: u32, dst: u64, value: u32, len: u64) -> Success;
    /// `memory.init`: copies `len` bytes from offset `src` of data segment `data` to `dst`. A dropped segment has length 0.
    fn memory_init / MemoryInit (memory: u32, data: u32, dst: u64, src: u32, len: u32) -> Success;
    /// `data.drop`.
    fn data_drop / DataDrop (data: u32) -> None;
    /// `table.grow`: appends `delta` elements of value `init` and returns the old size.
    fn table_grow / TableGrow (table: u32, delta: u64, init: u64) -> Number;
    /// `table.fill`: sets `len` elements at `dst` to `value`.
    fn table_fill / TableFill (table: u32, dst: u64, value: u64, len: u64) -> Success;
    /// `table.copy`: copies `len` elements at `src` of one table to `dst` of another.
    fn table_copy / TableCopy (dst_table: u32, dst: u64, src_table: u32, src: u64, len: u64) -> Success;
    /// `table.init`: copies `len` elements from offset `src` of element segment `elem` to `dst`. A dropped segment has length 0.
    fn table_init / TableInit (table: u32, elem: u32, dst: u64, src: u32, len: u32) -> Success;
    /// `elem.drop`.
    fn elem_drop / ElemDrop (elem: u32) -> None;
    /// `memory.atomic.notify`: wakes at most `count` of those who wait at the address `addr`, and returns how many.
    fn memory_atomic_notify / MemoryAtomicNotify (memory: u32, addr: u64, count: u32) -> Number;
    /// `memory.atomic.wait32`: if the 32 bits at `addr` are `expected`, waits until it is notified or `timeout` nanoseconds have
    /// passed, where a negative number (of 64 bits, signed) means for ever. Returns 0 when it was notified, 1 when the bits
    /// are others, 2 when the time is over.
    fn memory_atomic_wait32 / MemoryAtomicWait32 (memory: u32, addr: u64, expected: u32, timeout: u64) -> Number;
    /// `memory.atomic.wait64`: as the former, for 64 bits.
    fn memory_atomic_wait64 / MemoryAtomicWait64 (memory: u32, addr: u64, expected: u64, timeout: u64) -> Number;
    /// Jumps to the landing pad of the innermost activation, `(last_wasm_entry_trap_handler, _sp, _fp)`, because of the trap,
    /// error or panic that is pending in the store; or, if it is an exception that is pending, to that of its handler.
    fn raise / Raise () -> Never;
    /// The store's fuel is used up: fails, unless there is a reserve, which is then in the store's context.
    fn out_of_fuel / OutOfFuel () -> Success;
    /// The engine's epoch has come to the store's deadline: fails, or sets another deadline in the store's context.
    fn new_epoch / NewEpoch () -> Success;
    /// `throw`: throws an exception of `tag`, whose fields are in the array of values at address `fields`.
    fn throw / Throw (tag: u32, fields: u64) -> Never;
    /// `throw_ref`: throws an exception that there is already; traps if it is null.
    fn throw_ref / ThrowRef (exception: u32) -> Never;
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::mem::{offset_of, size_of};

    #[test]
    fn the_array_has_one_pointer_per_builtin_in_order() {
        assert_eq!(size_of::<VMBuiltins>(), 8 * Builtin::ALL.len());
        assert_eq!(offset_of!(VMBuiltins, memory_grow), Builtin::MemoryGrow.offset() as usize);
        assert_eq!(offset_of!(VMBuiltins, table_init), Builtin::TableInit.offset() as usize);
        assert_eq!(offset_of!(VMBuiltins, raise), Builtin::Raise.offset() as usize);
        assert_eq!(Builtin::MemoryCopy.params().len(), 5);
    }
}
