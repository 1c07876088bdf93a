//! The `VMContext`: what generated code and the runtime share of an instance, and the calling conventions between them.
//!
//! An instance's `VMContext` is one allocation, aligned to 16 bytes, whose size depends on the module. [`VMOffsets`] is the only
//! place that computes where things are in it; the compiler takes offsets from there and so does the runtime. In order:
//!
//! ```text
//! offset 0   VMContext                          fixed head
//!            VMMemoryDefinition × defined memories; of a shared one a VMMemoryImport, filled up to this size
//!            VMMemoryImport     × imported memories
//!            VMFunctionImport   × imported functions
//!            VMTableImport      × imported tables
//!            VMGlobalImport     × imported globals
//!            VMTagImport        × imported tags
//!            VMTableDefinition  × defined tables
//!            VMTagDefinition    × defined tags
//! align 16   VMGlobalDefinition × defined globals
//!            VMFuncRef          × escaping functions (exported, in element segments, `ref.func`, globals, start)
//! ```
//!
//! # Values
//! `i32 i64 f32 f64 v128` are themselves. A `funcref` is a `*mut VMFuncRef`, null for null. An `externref` or `exnref` is a `u32` handle
//! that the store gives out, 0 for null. Elements of every table are 8 bytes ([`TABLE_ELEMENT_SIZE`]): the pointer, or the handle
//! zero-extended; so table operations need not know the type. Function references are made eagerly: a null element is an
//! uninitialised one.
//!
//! # wasm calls
//! Functions of wasm use Cranelift's `Tail` convention with parameters `(callee_vmctx, caller_vmctx, args…)`: integers in
//! `rdi rsi rdx rcx r8 r9` as far as they go, floats and vectors in `xmm0…`; nothing outside generated code calls them.
//!
//! # array calls
//! [`VMArrayCallFunction`] is the one ABI between Rust and wasm, in both directions. Arguments are read from, and results
//! written to, an array of [`ValRaw`] that has room for [`crate::types::FuncType::array_len`] values. It returns `true`, or
//! `false` when a trap, an error or a panic is pending in the store.
//!
//! * *Into wasm*: the artifact has, for each escaping function, a trampoline with this ABI. It stores its stack pointer, frame
//!   pointer and landing pad into the [`VMStoreContext`] of the *callee's* vmctx, then calls the function. The landing pad
//!   returns `false`. So a trap is: set pc, sp and fp to the three values and go on; no other register needs to be restored, and
//!   the frames in between are all generated code, which owns nothing. **The caller must save** the `last_wasm_*` fields before
//!   and restore them after the call, because activations nest.
//! * *Out of wasm*: a trampoline per function type ([`crate::CodeTables::wasm_to_array`]) has the wasm ABI, with the
//!   callee's vmctx being whatever belongs to the host function. It finds `array_call` in the [`VMFuncRef`]-like head that such
//!   a context must begin with: see [`VMHostFuncContext`]. It stores `last_wasm_exit_fp` and `_pc` into the store context of the
//!   caller's vmctx, calls, and when that returned `false`, calls the builtin `raise`.
//!
//! All generated code keeps frame pointers and has `.eh_frame` entries: backtraces follow the chain from `last_wasm_exit_fp` (or
//! the registers at a trap) until `last_wasm_entry_fp`, panics unwind through it.

use crate::builtins::VMBuiltins;
use crate::index::*;
use core::cell::UnsafeCell;
use core::ffi::c_void;
use core::mem::{align_of, offset_of, size_of};
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize};

// The layout is computed from the structs below as the compiler's own machine lays them out; so that must be one with the
// pointers of the targets.
#[cfg(not(target_pointer_width = "64"))]
compile_error!("wasm_artifact describes 64-bit targets and must be built for a 64-bit machine");

/// Alignment of a `VMContext`'s allocation, in bytes.
pub const VMCONTEXT_ALIGN: usize = 16;

/// What [`VMContext::magic`] holds ("wvmc").
pub const VMCONTEXT_MAGIC: u32 = u32::from_le_bytes(*b"wvmc");

/// What [`VMHostFuncContext::magic`] holds ("whst").
pub const VMHOST_MAGIC: u32 = u32::from_le_bytes(*b"whst");

/// Bytes per table element, whatever its type.
pub const TABLE_ELEMENT_SIZE: u32 = 8;

/// A value of any type as array calls pass it: 16 bytes, the value in the lowest.
#[derive(Clone, Copy)]
#[repr(C, align(16))]
pub union ValRaw {
    /// An `i32`.
    pub i32: i32,
    /// An `i64`.
    pub i64: i64,
    /// The bits of an `f32`.
    pub f32: u32,
    /// The bits of an `f64`.
    pub f64: u64,
    /// A `v128`, lane 0 in the lowest bits.
    pub v128: u128,
    /// A `funcref`: pointer to a [`VMFuncRef`] or null.
    pub funcref: *mut c_void,
    /// An `externref`: handle of the store, 0 for null.
    pub externref: u32,
    /// An `exnref`: handle of the store, 0 for null.
    pub exnref: u32,
    /// All bytes.
    pub bytes: [u8; 16],
}

/// A `vmctx` of unknown kind: a [`VMContext`] or a [`VMHostFuncContext`], told apart by the magic at offset 0.
#[repr(C)]
pub struct VMOpaqueContext {
    /// [`VMCONTEXT_MAGIC`] or [`VMHOST_MAGIC`].
    pub magic: u32,
}

/// The ABI between Rust and wasm: `(callee_vmctx, caller_vmctx, values, number of values) -> success`.
pub type VMArrayCallFunction =
    unsafe extern "C-unwind" fn(*mut VMOpaqueContext, *mut VMOpaqueContext, *mut ValRaw, usize) -> bool;

/// Code with the wasm ABI; only generated code can call it.
#[repr(C)]
pub struct VMWasmCode {
    _code: [u8; 0],
}

/// The fixed head of an instance's context.
#[repr(C)]
pub struct VMContext {
    /// [`VMCONTEXT_MAGIC`].
    pub magic: u32,
    /// Zero.
    pub reserved: u32,
    /// The store's part of the shared state.
    pub store_context: *mut VMStoreContext,
    /// The runtime's functions.
    pub builtins: *const VMBuiltins,
    /// For each type of the module, by [`TypeIndex`], the number that stands for it in the whole engine: equal types have equal
    /// numbers.
    pub type_ids: *const u32,
    /// For the runtime's use: its own data of the instance.
    pub host_data: *mut c_void,
}

/// What generated code and the runtime share of a store. One per store, at a fixed address.
#[derive(Default)]
#[repr(C)]
pub struct VMStoreContext {
    /// Wasm functions trap with `StackOverflow` when their frame would reach below this address.
    pub stack_limit: UnsafeCell<usize>,
    /// Frame pointer of the trampoline by which wasm was last left for the host.
    pub last_wasm_exit_fp: UnsafeCell<usize>,
    /// Return address into wasm of that call.
    pub last_wasm_exit_pc: UnsafeCell<usize>,
    /// Frame pointer of the trampoline by which wasm was last entered.
    pub last_wasm_entry_fp: UnsafeCell<usize>,
    /// Stack pointer of that trampoline.
    pub last_wasm_entry_sp: UnsafeCell<usize>,
    /// Address of that trampoline's landing pad.
    pub last_wasm_entry_trap_handler: UnsafeCell<usize>,
    /// Fuel that was consumed, minus that which was given: what is left is negative. Of code that consumes fuel.
    pub fuel_consumed: UnsafeCell<i64>,
    /// The engine's epoch from which on code stops. Of code that looks at epochs.
    pub epoch_deadline: UnsafeCell<u64>,
    /// The engine's epoch, which any task may increment. Never null in a store.
    pub epoch: AtomicPtr<AtomicU64>,
    /// For the runtime's use: when the store's code is to be interrupted, in nanoseconds of the platform's clock.
    pub deadline: AtomicU64,
    /// For the runtime's use: the code was to be interrupted while the host ran; to be looked at on the way back.
    pub interrupted: AtomicBool,
}

/// The start of the context of a host function: what [`VMFuncRef::vmctx`] and [`VMFunctionImport::vmctx`] point to for one.
#[repr(C)]
pub struct VMHostFuncContext {
    /// [`VMHOST_MAGIC`].
    pub magic: u32,
    /// Zero.
    pub reserved: u32,
    /// The host function. The trampolines out of wasm call it with this context as `callee_vmctx`.
    pub array_call: VMArrayCallFunction,
}

/// A function as a value: what a `funcref` points to.
#[repr(C)]
pub struct VMFuncRef {
    /// Entry for the host.
    pub array_call: Option<VMArrayCallFunction>,
    /// Entry for wasm. Null for a host function for which no loaded module has a trampoline of its type yet: then no code that
    /// could call it exists either, since a module has trampolines for all types it names.
    pub wasm_call: *const VMWasmCode,
    /// The engine-wide number of the function's type, as in [`VMContext::type_ids`].
    pub type_index: u32,
    /// Zero.
    pub reserved: u32,
    /// First argument of either entry.
    pub vmctx: *mut VMOpaqueContext,
}

/// An imported function.
#[repr(C)]
pub struct VMFunctionImport {
    /// Entry for wasm, never null.
    pub wasm_call: *const VMWasmCode,
    /// Entry for the host.
    pub array_call: Option<VMArrayCallFunction>,
    /// First argument of either entry.
    pub vmctx: *mut VMOpaqueContext,
}

/// A linear memory. Its address does not change while the store lives.
///
/// That of a shared memory belongs to no store but lives with the memory, and is used by several tasks at once: so even the
/// instance that defines the memory has just a [`VMMemoryImport`] of it.
#[repr(C)]
pub struct VMMemoryDefinition {
    /// First byte. Never changes: a memory does not move.
    pub base: *mut u8,
    /// Accessible bytes. Never decreases. Of a shared memory it is read and written atomically, by generated code too; of
    /// others there is one user at a time.
    pub current_length: AtomicUsize,
}

/// A memory that is imported or shared.
#[repr(C)]
pub struct VMMemoryImport {
    /// The definition, in another instance's context or the host's.
    pub from: *mut VMMemoryDefinition,
}

/// A table. Its address does not change while the store lives.
#[repr(C)]
pub struct VMTableDefinition {
    /// First element; each has [`TABLE_ELEMENT_SIZE`] bytes. May change when the table grows.
    pub base: *mut u8,
    /// Number of elements.
    pub current_elements: usize,
}

/// An imported table.
#[repr(C)]
pub struct VMTableImport {
    /// The definition, in another instance's context or the host's.
    pub from: *mut VMTableDefinition,
}

/// A global: its value as in [`ValRaw`].
#[repr(C, align(16))]
pub struct VMGlobalDefinition {
    /// The value in the lowest bytes.
    pub storage: UnsafeCell<[u8; 16]>,
}

/// An imported global.
#[repr(C)]
pub struct VMGlobalImport {
    /// The definition, in another instance's context or the host's.
    pub from: *mut VMGlobalDefinition,
}

/// A tag. Its address is what tells it from others.
#[repr(C)]
pub struct VMTagDefinition {
    /// The engine-wide number of its type, as in [`VMContext::type_ids`].
    pub type_index: u32,
    /// Zero.
    pub reserved: u32,
}

/// An imported tag.
#[repr(C)]
pub struct VMTagImport {
    /// The definition, in another instance's context or the host's.
    pub from: *mut VMTagDefinition,
}

/// How many entities of each kind a module has: what the layout of its `VMContext` depends on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is what its name says")]
pub struct VMCounts {
    pub imported_functions: u32,
    pub imported_tables: u32,
    pub imported_memories: u32,
    pub imported_globals: u32,
    pub imported_tags: u32,
    pub defined_tables: u32,
    pub defined_memories: u32,
    pub defined_globals: u32,
    pub defined_tags: u32,
    pub func_refs: u32,
}

/// Where everything is in a module's `VMContext`, in bytes from its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VMOffsets {
    counts: VMCounts,
    memories: u32,
    imported_memories: u32,
    imported_functions: u32,
    imported_tables: u32,
    imported_globals: u32,
    imported_tags: u32,
    tables: u32,
    tags: u32,
    globals: u32,
    func_refs: u32,
    size: u32,
}

macro_rules! array_accessors {
    ($($(#[$doc:meta])* $name:ident($index:ty): $field:ident / $count:ident of $element:ty;)*) => {$(
        $(#[$doc])*
        ///
        /// # Panics
        /// When the module has no such entity.
        pub fn $name(&self, index: $index) -> u32 {
            assert!(index.0 < self.counts.$count, concat!(stringify!($name), ": index out of range"));
            self.$field + index.0 * size_of::<$element>() as u32
        }
    )*};
}

impl VMOffsets {
    /// Lays out the context of a module with these counts. `None` when it would not fit into 2 GiB, which the implementation
    /// limits of validation exclude.
    pub fn new(counts: VMCounts) -> Option<VMOffsets> {
        let mut end = size_of::<VMContext>() as u64;
        let mut place = |count: u32, size: usize, align: usize| {
            let start = end.next_multiple_of(align as u64);
            end = start + u64::from(count) * size as u64;
            start
        };
        macro_rules! array {
            ($count:ident, $element:ty) => {
                place(counts.$count, size_of::<$element>(), align_of::<$element>())
            };
        }
        let memories = array!(defined_memories, VMMemoryDefinition);
        let imported_memories = array!(imported_memories, VMMemoryImport);
        let imported_functions = array!(imported_functions, VMFunctionImport);
        let imported_tables = array!(imported_tables, VMTableImport);
        let imported_globals = array!(imported_globals, VMGlobalImport);
        let imported_tags = array!(imported_tags, VMTagImport);
        let tables = array!(defined_tables, VMTableDefinition);
        let tags = array!(defined_tags, VMTagDefinition);
        let globals = array!(defined_globals, VMGlobalDefinition);
        let func_refs = array!(func_refs, VMFuncRef);
        // Offsets are signed 32-bit displacements in machine code.
        i32::try_from(end).ok()?;
        Some(VMOffsets {
            counts,
            memories: memories as u32,
            imported_memories: imported_memories as u32,
            imported_functions: imported_functions as u32,
            imported_tables: imported_tables as u32,
            imported_globals: imported_globals as u32,
            imported_tags: imported_tags as u32,
            tables: tables as u32,
            tags: tags as u32,
            globals: globals as u32,
            func_refs: func_refs as u32,
            size: end as u32,
        })
    }

    /// The counts it was made from.
    pub fn counts(&self) -> &VMCounts {
        &self.counts
    }

    /// Size of the whole context in bytes.
    pub fn size(&self) -> u32 {
        self.size
    }

    array_accessors! {
        /// Offset of a defined memory's [`VMMemoryDefinition`], or [`VMMemoryImport`] if it is shared.
        memory(DefinedMemoryIndex): memories / defined_memories of VMMemoryDefinition;
        /// Offset of an imported memory's [`VMMemoryImport`].
        imported_memory(MemoryIndex): imported_memories / imported_memories of VMMemoryImport;
        /// Offset of an imported function's [`VMFunctionImport`].
        imported_function(FuncIndex): imported_functions / imported_functions of VMFunctionImport;
        /// Offset of an imported table's [`VMTableImport`].
        imported_table(TableIndex): imported_tables / imported_tables of VMTableImport;
        /// Offset of an imported global's [`VMGlobalImport`].
        imported_global(GlobalIndex): imported_globals / imported_globals of VMGlobalImport;
        /// Offset of an imported tag's [`VMTagImport`].
        imported_tag(TagIndex): imported_tags / imported_tags of VMTagImport;
        /// Offset of a defined table's [`VMTableDefinition`].
        table(DefinedTableIndex): tables / defined_tables of VMTableDefinition;
        /// Offset of a defined tag's [`VMTagDefinition`].
        tag(DefinedTagIndex): tags / defined_tags of VMTagDefinition;
        /// Offset of a defined global's [`VMGlobalDefinition`].
        global(DefinedGlobalIndex): globals / defined_globals of VMGlobalDefinition;
        /// Offset of an escaping function's [`VMFuncRef`].
        func_ref(FuncRefIndex): func_refs / func_refs of VMFuncRef;
    }
}

/// Byte offsets of fields that generated code accesses, within the structs above.
pub mod field {
    use super::*;

    macro_rules! fields {
        ($($name:ident = $ty:ident.$field:ident;)*) => {$(
            #[doc = concat!("Offset of [`", stringify!($ty), "::", stringify!($field), "`].")]
            pub const $name: u32 = offset_of!($ty, $field) as u32;
        )*};
    }

    fields! {
        VMCONTEXT_STORE_CONTEXT = VMContext.store_context;
        VMCONTEXT_BUILTINS = VMContext.builtins;
        VMCONTEXT_TYPE_IDS = VMContext.type_ids;
        STORE_STACK_LIMIT = VMStoreContext.stack_limit;
        STORE_EXIT_FP = VMStoreContext.last_wasm_exit_fp;
        STORE_EXIT_PC = VMStoreContext.last_wasm_exit_pc;
        STORE_ENTRY_FP = VMStoreContext.last_wasm_entry_fp;
        STORE_ENTRY_SP = VMStoreContext.last_wasm_entry_sp;
        STORE_FUEL_CONSUMED = VMStoreContext.fuel_consumed;
        STORE_EPOCH_DEADLINE = VMStoreContext.epoch_deadline;
        STORE_EPOCH = VMStoreContext.epoch;
        STORE_ENTRY_TRAP_HANDLER = VMStoreContext.last_wasm_entry_trap_handler;
        HOST_FUNC_ARRAY_CALL = VMHostFuncContext.array_call;
        FUNC_REF_WASM_CALL = VMFuncRef.wasm_call;
        FUNC_REF_TYPE_INDEX = VMFuncRef.type_index;
        FUNC_REF_VMCTX = VMFuncRef.vmctx;
        FUNCTION_IMPORT_WASM_CALL = VMFunctionImport.wasm_call;
        FUNCTION_IMPORT_VMCTX = VMFunctionImport.vmctx;
        MEMORY_BASE = VMMemoryDefinition.base;
        MEMORY_LENGTH = VMMemoryDefinition.current_length;
        MEMORY_IMPORT_FROM = VMMemoryImport.from;
        TABLE_BASE = VMTableDefinition.base;
        TABLE_ELEMENTS = VMTableDefinition.current_elements;
        TABLE_IMPORT_FROM = VMTableImport.from;
        GLOBAL_IMPORT_FROM = VMGlobalImport.from;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixed_parts_have_the_documented_sizes() {
        assert_eq!(size_of::<ValRaw>(), 16);
        assert_eq!(size_of::<VMContext>(), 40);
        assert_eq!(size_of::<VMFuncRef>(), 32);
        assert_eq!(size_of::<VMFunctionImport>(), 24);
        assert_eq!(size_of::<VMGlobalDefinition>(), 16);
        assert_eq!(field::STORE_STACK_LIMIT, 0);
        assert_eq!(field::HOST_FUNC_ARRAY_CALL, 8);
    }

    #[test]
    fn arrays_follow_each_other_without_overlap_and_globals_are_aligned() {
        let counts = VMCounts {
            imported_functions: 3,
            imported_tables: 1,
            imported_memories: 2,
            imported_globals: 1,
            imported_tags: 1,
            defined_tables: 2,
            defined_memories: 1,
            defined_globals: 3,
            defined_tags: 1,
            func_refs: 2,
        };
        let offsets = VMOffsets::new(counts).unwrap();
        assert_eq!(offsets.memory(DefinedMemoryIndex(0)), 40);
        assert_eq!(offsets.imported_memory(MemoryIndex(0)), 56);
        assert_eq!(offsets.imported_function(FuncIndex(0)), 72);
        assert_eq!(offsets.imported_function(FuncIndex(2)), 72 + 48);
        assert_eq!(offsets.imported_table(TableIndex(0)), 144);
        assert_eq!(offsets.imported_global(GlobalIndex(0)), 152);
        assert_eq!(offsets.imported_tag(TagIndex(0)), 160);
        assert_eq!(offsets.table(DefinedTableIndex(1)), 184);
        assert_eq!(offsets.tag(DefinedTagIndex(0)), 200);
        assert_eq!(offsets.global(DefinedGlobalIndex(0)), 208);
        assert_eq!(offsets.func_ref(FuncRefIndex(0)), 256);
        assert_eq!(offsets.size(), 256 + 64);
    }

    #[test]
    #[should_panic(expected = "index out of range")]
    fn an_index_past_its_array_is_refused() {
        VMOffsets::new(VMCounts::default()).unwrap().memory(DefinedMemoryIndex(0));
    }

    #[test]
    fn a_context_past_two_gigabytes_is_refused() {
        assert!(VMOffsets::new(VMCounts { defined_globals: u32::MAX, ..VMCounts::default() }).is_none());
    }
}
