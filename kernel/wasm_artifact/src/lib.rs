//! What the WebAssembly compiler and the runtime both know, and nothing more.
//!
//! The compiler writes, the runtime reads; they meet here and nowhere else, so either works without the other. This crate
//! knows no operating system and has no state.
//!
//! * [`module`]: what a module declares ([`Module`]), with its types ([`types`]) and index spaces ([`index`]).
//! * [`vmctx`]: the memory that generated code and runtime share, and the **calling conventions**. Read this first.
//! * [`builtins`]: the runtime's functions that generated code calls.
//! * [`trap`]: why code traps. [`tunables`]: what both sides assumed about memories. [`cpu`]: what instructions code uses.
//! * [`compile`]: what the engine knows of the compiler.
//! * [`elf`]: the file; [`sign`]: who made it. [`side_table`], [`tables`], [`handlers`]: what is looked up by pc, in place.
//!
//! # The `.cwasm` file
//! An ELF64 file without relocations and program headers. Sections have a fixed order, and addresses equal to their file
//! offsets: whoever copies or maps the file as a whole, page-aligned, keeps all distances and need only make `.text` executable.
//!
//! ```text
//! 0x0000        ELF header; OSABI 201, ABI version = FORMAT_VERSION, e_flags 1 = module
//! page aligned  .text          functions in index order, then trampolines; filled up to a whole page
//! directly      .eh_frame      call frame information of all of .text, zero-terminated, pc-relative
//! aligned 8     .eh_frame_hdr  binary-search table of it
//!               .wasmc.traps   side table: offset in .text -> trap code, for instructions that may fault
//!               .wasmc.addrmap side table: offset in .text -> offset in the .wasm, the latter of the instruction that the code
//!                              from there on belongs to
//!               .wasmc.handlers  calls that exceptions are caught at; see handlers
//!               .wasmc.funcs   where functions and trampolines are
//!               .wasmc.names   function names
//!               .wasmc.info    bincode of Module
//!               .wasmc.engine  bincode of EngineInfo: version, target, CPU features, tunables
//! page aligned  .rodata.wasm   data segments and memory images; filled up to a whole page
//!               .shstrtab, section headers
//!               .wasmc.seal    128 bytes; then the file ends
//! ```
//!
//! # The seal
//! ```text
//! 32 bytes   BLAKE3 of everything before the seal: headers and padding too
//! 32 bytes   Ed25519 public key of the signer
//! 64 bytes   its signature of sign::DOMAIN and the hash; key and signature are zeros in a file that nobody signed
//! ```
//! The hash finds damage, the signature forgery: a `.cwasm` is machine code and as trusted as who made it. Both cover every byte of the
//! file. To find the seal takes the file's length alone, so nothing of the file need be believed before: a reader first looks for the
//! magic number and the format version (for a helpful refusal only), then checks the seal, and only then reads the rest. Nothing of a
//! file but what is before its seal has any influence on what is loaded.
//!
//! Then the runtime refuses a file whose version, target, CPU features or tunables are not right, before it maps anything
//! executable. Signing changes the seal only: two artifacts of the same code differ in their last 96 bytes at most.
//!
//! Calls between functions of a module are direct (`call rel32`), indirect through a `VMFuncRef` or a `VMFunctionImport`. A later
//! compiler may route direct calls through a table instead: the function table gives every function's entry, so nothing else
//! in the format depends on it.

#![cfg_attr(not(test), no_std)]

extern crate alloc;

pub mod builtins;
pub mod compile;
pub mod cpu;
pub mod debug_info;
pub mod elf;
mod fallible;
pub mod handlers;
pub mod index;
pub mod module;
pub mod side_table;
pub mod sign;
pub mod tables;
pub mod trap;
pub mod tunables;
pub mod types;
pub mod vmctx;

pub use cpu::CpuFeatures;
pub use elf::{Artifact, ArtifactError, EngineInfo, Host, OptLevel, Parts, Seal, Sections, Trust};
pub use index::*;
pub use module::Module;
pub use tables::CodeTables;
pub use trap::Trap;
pub use tunables::{MemoryPlan, Tunables};
