//! Loads, links and unloads crates.
//!
//! Each crate of the kernel and each program is one relocatable object file, in a directory below `/namespaces`. The *base
//! image* holds what it takes to load one; everything else comes through here, when it is first needed:
//!
//! ```text
//!  load_crate(file)
//!    parse, verify checksum, place           crate_metadata
//!    map text, rodata, data: writable        platform
//!    for each undefined symbol:
//!      this namespace ▸ its parents ▸ base image ▸ symbols.idx ▸ crates named in the symbol
//!                                                  └── load that crate first ──┘
//!    copy, relocate
//!    thread-local variables into the areas of all tasks      local_storage_initializer
//!    remap: text R-X, rodata R                               never writable and executable
//!    register unwind tables                                  unwind
//!    enter into the namespace: only now can others see it
//! ```
//!
//! # Ownership
//! A [`StrongCrateRef`] keeps a crate loaded. A crate holds those it was linked with; a namespace holds none. So what a
//! program brought along goes when the program goes: when the last [`AppCrateRef`] is dropped, it is unloaded with all crates
//! that nobody else holds, and pages, symbols, thread-local offsets and unwind tables are given back. The kernel's own
//! crates stay because their user is held: `captain`, by the base image.
//!
//! Crates cannot hold each other in a circle: a crate becomes visible when it is complete, and is complete when all it needs
//! is. Objects that need each other are refused.
//!
//! *What whoever unloads a crate promises:* that no pointer into it is left. Values that are used after a program's end
//! (say, what it returned) must not have code of the program behind them; callbacks are withdrawn by their owners' `Drop`.
//! Static variables are not dropped, as everywhere in Rust: what they own on the heap when their crate goes is lost, so a crate
//! that may go must give that back by itself.
//!
//! # One crate, one copy; one program, one copy per run
//! Crates that others link with exist once, with one set of variables. Programs are loaded anew for each run and are never
//! linked with, so two runs of a program do not share variables. (Upstream Theseus refuses the second run.)
//!
//! # Compared with upstream
//! Names and signatures are upstream Theseus' where the meaning is the same; so some functions take an `MmiRef` that is not
//! needed, since there is one address space. Errors are a [`LoadError`]. Symbols are looked up by their mangled names, and a
//! [`LoadedSection`] is made when one is asked for, instead of one for each of a crate's thousands of symbols.
//!
//! # Locks
//! One task loads at a time ([`set_wait_hook`] says what the others do meanwhile, [`set_cancel_hook`] whether it is to give up). The tables themselves are locked for
//! microseconds, with interrupts disabled; dropping a crate takes those locks, so no crate is dropped under them.
//! [`symbolize`] never waits.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

mod base;
mod error;
mod loaded_crate;
mod loader;
mod namespace;
mod object_bytes;
mod platform;
mod registry;
mod section;
mod symbols;
#[cfg(test)]
mod tests;

use alloc::{string::String, sync::Arc, vec::Vec};

use cow_arc::CowArc;
use crate_metadata::{
    BASE_IMAGE_CRATE_NAME, BASE_SYMBOLS_FILE_NAME, CrateType, SYMBOL_INDEX_FILE_NAME,
    base_symbols::BaseSymbols, symbol_index::SymbolIndex,
};
use fs_node::DirRef;
use local_storage_initializer::TlsUsage;
use spin::Once;

use base::{Base, keep_for_ever};
use loaded_crate::{Parts, SymbolSource};
use object_bytes::ObjectBytes;
use platform::AreaMemoryOfPlatform;
use registry::BASE;

pub use base::BaseImage;
pub use crate_metadata::{NAMESPACES_DIRECTORY_NAME, SectionType};
pub use error::LoadError;
pub use loaded_crate::{LoadedCrate, Protection, StrongCrateRef, StrongSectionRef, WeakCrateRef};
pub use loader::{set_cancel_hook, set_wait_hook};
pub use namespace::{AppCrateRef, CrateNamespace, NamespaceDir};
pub use registry::{SymbolInfo, all_crates, load_counts, symbolize};
pub use section::{LoadedSection, SectionPlace};

/// Thread-local storage of one task, as [`CrateNamespace::get_tls_initializer_data`] makes it.
pub type TlsDataImage = local_storage_initializer::TlsDataImage<AreaMemoryOfPlatform>;

/// Layout and live areas of thread-local storage; offsets are the same in all namespaces.
static TLS_INITIALIZER: local_storage_initializer::TlsInitializer<AreaMemoryOfPlatform> =
    local_storage_initializer::TlsInitializer::new();
/// From symbols to the files of crates that are not loaded yet.
static SYMBOL_INDEX: Once<SymbolIndex<'static>> = Once::new();
static KERNEL_NAMESPACE: Once<Arc<CrateNamespace>> = Once::new();
static NAMESPACES_DIRECTORY: Once<DirRef> = Once::new();

/// Prepares the loader: reads the base image's symbols and the symbol index from `/namespaces` below `root`, and makes the
/// kernel's namespace.
///
/// Needs the heap, the memory system, the boot archive's files in `root`, and the base image's unwind tables registered.
///
/// # Errors
/// If it was called before, or if the directories or the tables are missing.
pub fn init(root: &DirRef, base_image: BaseImage) -> Result<&'static Arc<CrateNamespace>, LoadError> {
    if KERNEL_NAMESPACE.is_completed() {
        return Err(LoadError::WrongTime("the loader is initialized already"));
    }
    let no_directory = LoadError::NoDirectory { path: "/namespaces/_kernel" };
    let namespaces = root.lock().get_dir(NAMESPACES_DIRECTORY_NAME);
    let namespaces = namespaces.ok_or(LoadError::NoDirectory { path: "/namespaces" })?;
    let kernel_name = CrateType::Kernel.default_namespace_name();
    let kernel = namespaces.lock().get_dir(kernel_name).ok_or(no_directory)?;

    let table = |dir: &DirRef, file: &'static str| -> Result<&'static [u8], LoadError> {
        let found = dir.lock().get_file(file).ok_or(LoadError::BadTable { file })?;
        Ok(keep_for_ever(ObjectBytes::of_file(&found)?))
    };
    let symbols = BaseSymbols::parse(table(&kernel, BASE_SYMBOLS_FILE_NAME)?)
        .ok_or(LoadError::BadTable { file: BASE_SYMBOLS_FILE_NAME })?;
    let index = SymbolIndex::parse(table(&namespaces, SYMBOL_INDEX_FILE_NAME)?)
        .ok_or(LoadError::BadTable { file: SYMBOL_INDEX_FILE_NAME })?;
    TLS_INITIALIZER
        .set_static_block(base_image.tls_image, base_image.tls_size, base_image.tls_align)
        .map_err(|error| LoadError::ThreadLocals { crate_name: BASE_IMAGE_CRATE_NAME.into(), error })?;

    let namespace = Arc::new(CrateNamespace::new(String::from(kernel_name), NamespaceDir::new(kernel), None));
    let text = base_image.text;
    let crate_ref = CowArc::new_cyclic(|own| LoadedCrate {
        crate_name: BASE_IMAGE_CRATE_NAME.into(),
        object_file: None,
        own,
        namespace: Arc::downgrade(&namespace),
        slot: u32::MAX,
        published: false,
        symbols: SymbolSource::BaseImage(symbols, text.clone()),
        parts: Parts::default(),
        dependencies: Vec::new(),
    });
    BASE.call_once(|| Base { symbols, text, crate_ref });
    SYMBOL_INDEX.call_once(|| index);
    NAMESPACES_DIRECTORY.call_once(|| namespaces);
    Ok(KERNEL_NAMESPACE.call_once(|| namespace))
}

/// The kernel's namespace, once [`init`] has made it.
pub fn get_initial_kernel_namespace() -> Option<&'static Arc<CrateNamespace>> {
    KERNEL_NAMESPACE.get()
}

/// The directory `/namespaces`, once [`init`] has found it.
pub fn get_namespaces_directory() -> Option<DirRef> {
    NAMESPACES_DIRECTORY.get().cloned()
}

/// A new namespace for programs, with the files in `/namespaces/_applications`, below `recursive_namespace` or the kernel's.
///
/// # Errors
/// Before [`init`], or if there is no such directory.
pub fn create_application_namespace(
    recursive_namespace: Option<Arc<CrateNamespace>>,
) -> Result<Arc<CrateNamespace>, LoadError> {
    let not_yet = || LoadError::WrongTime("the loader is not initialized yet");
    let parent = recursive_namespace.or_else(|| KERNEL_NAMESPACE.get().cloned()).ok_or_else(not_yet)?;
    let name = CrateType::Application.default_namespace_name();
    let dir = NAMESPACES_DIRECTORY.get().ok_or_else(not_yet)?.lock().get_dir(name);
    let dir = dir.ok_or(LoadError::NoDirectory { path: "/namespaces/_applications" })?;
    Ok(Arc::new(CrateNamespace::new(String::from(name), NamespaceDir::new(dir), Some(parent))))
}

/// How much thread-local storage is in use.
pub fn tls_usage() -> TlsUsage {
    TLS_INITIALIZER.usage()
}
