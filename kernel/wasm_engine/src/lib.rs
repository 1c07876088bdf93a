//! The WebAssembly engine that a program embeds.
//!
//! Names, signatures and messages are those of Wasmtime 48, so that a program written for `wasmtime` compiles with
//! `use wasm_engine::*`. What is not there yet is absent: nothing here does nothing.
//!
//! ```text
//! Engine ─┬─ Module ──── InstancePre ─┐
//!         ├─ Linker<T> ───────────────┴─> Instance ──> Func, Memory, Table, Global, Tag
//!         ├─ Store<T> ── owns all of these
//!         └─ SharedMemory, which belongs to no store
//! ```
//!
//! WebAssembly 2.0; threads: atomic instructions and shared memories (a thread is a task of the embedding program); and the
//! exceptions and tail calls of 3.0.
//! It compiles `.wasm` and `.wat`, and loads what was compiled to a `.cwasm` before. The compiler is no part of it: in the
//! kernel it is loaded when it is first needed; elsewhere a program with the feature `compiler` is linked with it.
//!
//! # How it hangs together
//! - [`vm`](self) (private) holds what compiled code sees: contexts, memories, tables, and the functions it calls.
//! - `trap` is the way into compiled code and all ways out of it. A trap is a jump, made by the trap handler, to the
//!   trampoline by which the host entered; an error that a host function returns takes the same way; a panic unwinds.
//! - `exception` throws: an exception is a jump to the landing pad of the innermost handler, or else an error of that kind.
//! - What it asks of the operating system it asks [`wasm_platform`]; this crate itself knows none.
//!
//! # Invariants
//! - What a store owns keeps its address until the store is dropped. Handles are that address and the number of the store,
//!   which is compared at every use.
//! - Nothing is used by several tasks at once but what is the same for all (engines, modules, linkers) and shared memories, of
//!   which all that changes is atomic, locked, or bytes that nobody takes for more than bytes.
//! - Compiled code runs only while its store is borrowed exclusively, and a host function that it calls borrows the store
//!   from it. So whoever has a `&mut` to a store is the only one who uses it.
//! - Running out of memory is an error wherever a guest chooses how much.
#![cfg_attr(target_os = "theseus", no_std)]
#![feature(allocator_api)]

extern crate alloc;

pub mod error;
pub mod externref;

mod backtrace;
mod cache;
mod code_builder;
mod compile;
mod config;
mod debug_info;
mod engine;
mod exception;
mod exnref;
mod externs;
mod func;
mod func_types;
mod global;
mod instance;
mod interrupt;
mod limits;
mod linker;
mod memory;
mod metering;
mod module;
mod shared_memory;
mod store;
mod table;
mod tag;
mod trap;
mod trust;
mod type_registry;
mod types;
mod v128;
mod values;
mod vm;

pub use backtrace::{FrameInfo, FrameSymbol, MixedBacktrace, MixedFrame, WasmBacktrace};
pub use cache::{Cache, CacheConfig, CacheEntry, CachedModule, Cleared};
pub use code_builder::CodeBuilder;
pub use compile::OptLevel;
pub use config::{Config, WasmBacktraceDetails};
pub use engine::{Engine, EngineWeak, Precompiled};
pub use error::{Error, OutOfMemory, Result};
pub use exception::ThrownException;
pub use exnref::{ExnRef, ExnRefPre};
pub use externref::{ExternRef, OwnedRooted, RootScope, Rooted};
pub use externs::{Export, Extern};
pub use func::{Caller, Func, TypedFunc};
pub use func_types::{IntoFunc, WasmParams, WasmResults, WasmRet, WasmTy, WasmTyList};
pub use global::Global;
pub use instance::{Instance, InstancePre, UnknownImportError};
pub use limits::{
    DEFAULT_INSTANCE_LIMIT, DEFAULT_MEMORY_LIMIT, DEFAULT_TABLE_LIMIT, ResourceLimiter, StoreLimits,
    StoreLimitsBuilder,
};
pub use linker::Linker;
pub use memory::{Memory, MemoryAccessError};
pub use metering::UpdateDeadline;
pub use module::{FilePath, Module, ModuleExport, read_file};
pub use shared_memory::SharedMemory;
pub use store::{AsContext, AsContextMut, Store, StoreContext, StoreContextMut, StoreInner};
pub use table::Table;
pub use tag::Tag;
pub use trust::{read_signing_key, read_trusted_keys, system_signing_key, system_trusted_keys};
pub use types::{
    ExnType, ExportType, ExternType, FieldType, FuncType, GlobalType, HeapType, ImportType, MemoryType,
    MemoryTypeBuilder, Mutability, RefType, StorageType, TableType, TagType, ValType,
};
pub use v128::V128;
pub use values::{Ref, Val};
pub use vm::WaitResult;
pub use wasm_artifact::compile::{
    CompileError, CompileErrorKind, CompileLimits, Progress, RegallocAlgorithm,
};
pub use wasm_artifact::sign::{KeyId, PublicKey, SigningKey, TrustedKeys};
pub use wasm_artifact::vmctx::ValRaw;
pub use wasm_artifact::{CpuFeatures, Trap};
