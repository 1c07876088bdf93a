//! What an object file of one crate holds, and how it is placed in memory and linked.
//!
//! A crate is compiled to one relocatable ELF object, and that object is the unit of loading. Everything here is about
//! bytes and numbers only: no memory is mapped and no kernel crate is needed, so the same code runs in the kernel's
//! loader (`mod_mgmt`), in the host's `image_builder`, and in tests on Linux.
//!
//! ```text
//!  .o file ──ObjectFile::parse──▶ sections, symbols, relocations    (elf: every offset checked once, here)
//!                │
//!                ├─Layout::new──▶ text | read-only | data segments, one TLS block     (layout)
//!                │                     copied by Layout::copy_contents
//!                ├─symbol_hash of each undefined name ──▶ NameTable of the base image, of the archive, of the namespace
//!                └─relocate_section──▶ final bytes                                    (relocation)
//! ```
//!
//! [`base_symbols`] and [`symbol_index`] are the two tables that `image_builder` makes and the kernel reads in place.
//! [`checksum`] is how a damaged file is told from a good one before anything of it is believed.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod base_symbols;
pub mod checksum;
pub mod elf;
pub mod hash;
pub mod layout;
pub mod relocation;
pub mod symbol_index;

pub use elf::{ElfError, ObjectFile, Symbol, SymbolBinding, SymbolKind};
pub use hash::symbol_hash;
pub use layout::{Layout, LayoutError, PlacedSection, Segment};
pub use relocation::{RelocationEntry, RelocationError, SymbolValue, relocate_section, write_relocation};

use core::fmt;

/// Between a crate's name and its hash in a file name: `captain-0123456789abcdef.o`.
pub const CRATE_HASH_DELIMITER: &str = "-";
/// How the file name of a crate's object ends.
pub const CRATE_OBJECT_EXTENSION: &str = ".o";
/// The crate under whose name everything in the base image is known.
pub const BASE_IMAGE_CRATE_NAME: &str = "nano_core";
/// File name, in the kernel namespace's directory, of the base image's symbol table.
pub const BASE_SYMBOLS_FILE_NAME: &str = "nano_core.sym";
/// File name, in the directory of all namespaces, of the index from symbols to object files.
pub const SYMBOL_INDEX_FILE_NAME: &str = "symbols.idx";
/// The directory below the root that holds one directory per namespace.
pub const NAMESPACES_DIRECTORY_NAME: &str = "namespaces";

/// What a section of an object file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SectionType {
    /// Machine code.
    Text,
    /// Constants.
    Rodata,
    /// Variables with an initial value.
    Data,
    /// Variables that begin as zeros.
    Bss,
    /// Initial values of thread-local variables.
    TlsData,
    /// Thread-local variables that begin as zeros.
    TlsBss,
    /// Landing pads and cleanup actions (language-specific data of the unwind tables).
    GccExceptTable,
    /// How to unwind each function.
    EhFrame,
}

impl SectionType {
    /// The section's usual name in an ELF file.
    pub const fn name(&self) -> &'static str {
        match self {
            SectionType::Text => ".text",
            SectionType::Rodata => ".rodata",
            SectionType::Data => ".data",
            SectionType::Bss => ".bss",
            SectionType::TlsData => ".tdata",
            SectionType::TlsBss => ".tbss",
            SectionType::GccExceptTable => ".gcc_except_table",
            SectionType::EhFrame => ".eh_frame",
        }
    }

    /// Whether the section holds variables that all tasks share.
    pub const fn is_data_or_bss(&self) -> bool {
        matches!(self, SectionType::Data | SectionType::Bss)
    }

    /// Whether the section holds thread-local variables.
    pub const fn is_tls(&self) -> bool {
        matches!(self, SectionType::TlsData | SectionType::TlsBss)
    }
}

impl fmt::Display for SectionType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Which namespace a crate belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CrateType {
    /// Part of the kernel, or a library that anything may use.
    Kernel,
    /// A program that the shell can run.
    Application,
}

impl CrateType {
    /// The name of the directory below `/namespaces` where such crates lie.
    pub const fn default_namespace_name(&self) -> &'static str {
        match self {
            CrateType::Kernel => "_kernel",
            CrateType::Application => "_applications",
        }
    }
}
