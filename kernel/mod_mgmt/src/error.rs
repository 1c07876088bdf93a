//! Why a crate could not be loaded.

use alloc::string::String;
use core::fmt;

use crate_metadata::{ElfError, LayoutError, RelocationError};
use local_storage_initializer::LocalStorageInitializerError;
use rustc_demangle::demangle;
use unwind::RegisterError;

/// Why a crate could not be loaded or used. Its text is one line that says what and what to do. Nothing is left behind by a
/// load that failed.
#[derive(Debug)]
pub enum LoadError {
    /// A file's contents are no object file of one crate.
    NotAnObject {
        /// The file's name.
        file: String,
        /// What is wrong.
        error: ElfError,
    },
    /// An object file is not as `image_builder` wrote it.
    Damaged {
        /// The file's name.
        file: String,
    },
    /// An object file has not been prepared by `image_builder`, so damage to it could not be seen.
    NotPrepared {
        /// The file's name.
        file: String,
    },
    /// A file could not be read.
    Unreadable {
        /// The file's name.
        file: String,
    },
    /// The object's sections cannot be placed.
    Layout {
        /// The crate's name.
        crate_name: String,
        /// What is wrong.
        error: LayoutError,
    },
    /// No crate defines a symbol.
    MissingSymbol {
        /// The crate that refers to it.
        crate_name: String,
        /// The mangled symbol.
        symbol: String,
    },
    /// A crate needs, perhaps through others, a crate that is being loaded because that one needs it.
    Cycle {
        /// The crate that was wanted a second time.
        crate_name: String,
        /// The mangled symbol it was wanted for.
        symbol: String,
    },
    /// A relocation cannot be carried out.
    Relocation {
        /// The crate.
        crate_name: String,
        /// The mangled symbol concerned; empty if none.
        symbol: String,
        /// What is wrong.
        error: RelocationError,
    },
    /// There is no place for the crate's thread-local variables.
    ThreadLocals {
        /// The crate.
        crate_name: String,
        /// What is wrong.
        error: LocalStorageInitializerError,
    },
    /// The crate's unwind tables cannot be used.
    Unwind {
        /// The crate.
        crate_name: String,
        /// What is wrong.
        error: RegisterError,
    },
    /// There is no crate of this name, or several with different hashes.
    NoSuchCrate {
        /// The name.
        crate_name: String,
        /// How many there are.
        found: usize,
    },
    /// A crate does not have a function.
    NoSuchFunction {
        /// The function's name.
        name: String,
    },
    /// A directory that the loader needs does not exist.
    NoDirectory {
        /// Its path.
        path: &'static str,
    },
    /// A table that `image_builder` makes is missing or damaged.
    BadTable {
        /// Its file name.
        file: &'static str,
    },
    /// Not enough memory, or no room in the address range for code.
    OutOfMemory {
        /// What it was wanted for.
        what: &'static str,
    },
    /// The task that loads is to end.
    Cancelled,
    /// The memory system could not do as asked.
    Memory(&'static str),
    /// The loader has been initialized already, or not yet.
    WrongTime(&'static str),
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LoadError::NotAnObject { file, error } => write!(f, "{file}: {error}"),
            LoadError::Damaged { file } => {
                write!(f, "{file}: the object file is damaged: its checksum is wrong; copy it again")
            }
            LoadError::NotPrepared { file } => {
                write!(f, "{file}: the object file has no checksum; prepare it with image_builder --object")
            }
            LoadError::Unreadable { file } => write!(f, "{file}: cannot be read"),
            LoadError::Layout { crate_name, error } => {
                write!(f, "cannot load {crate_name}: {error}")
            }
            LoadError::MissingSymbol { crate_name, symbol } => write!(
                f,
                "cannot load {crate_name}: no crate defines {:#}; build all crates together",
                demangle(symbol)
            ),
            LoadError::Cycle { crate_name, symbol } => write!(
                f,
                "cannot load {crate_name}: it needs itself, for {:#}; crates must not need each other",
                demangle(symbol)
            ),
            LoadError::Relocation { crate_name, symbol, error } if symbol.is_empty() => {
                write!(f, "cannot link {crate_name}: {error}")
            }
            LoadError::Relocation { crate_name, symbol, error } => {
                write!(f, "cannot link {crate_name} with {:#}: {error}", demangle(symbol))
            }
            LoadError::ThreadLocals { crate_name, error } => {
                write!(f, "cannot load {crate_name}: {error}")
            }
            LoadError::Unwind { crate_name, error } => {
                write!(f, "cannot load {crate_name}: {error}")
            }
            LoadError::NoSuchCrate { crate_name, found: 0 } => {
                write!(f, "there is no crate called {crate_name}")
            }
            LoadError::NoSuchCrate { crate_name, found } => {
                write!(f, "there are {found} crates called {crate_name}: add the hash")
            }
            LoadError::NoSuchFunction { name } => write!(f, "there is no function {name}"),
            LoadError::NoDirectory { path } => {
                write!(f, "there is no directory {path}: the boot archive was not unpacked")
            }
            LoadError::BadTable { file } => {
                write!(f, "{file} is missing or damaged: rebuild the boot archive")
            }
            LoadError::OutOfMemory { what } => write!(f, "not enough memory for {what}"),
            LoadError::Cancelled => f.write_str("loading was given up, because its task is to end"),
            LoadError::Memory(error) => write!(f, "cannot map a crate: {error}"),
            LoadError::WrongTime(what) => f.write_str(what),
        }
    }
}

impl core::error::Error for LoadError {}
