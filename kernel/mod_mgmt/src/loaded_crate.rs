//! A crate that is loaded.

use alloc::{
    sync::{Arc, Weak},
    vec::Vec,
};
use core::{fmt, ops::Range};

use cow_arc::{CowArc, CowWeak};
use crate_metadata::{
    SectionType, Symbol, SymbolValue,
    base_symbols::{BaseSymbol, BaseSymbolKind, BaseSymbols},
    symbol_hash,
};
use crate_name_utils::crate_name_without_hash;
use fs_node::FileRef;
use local_storage_initializer::TlsSection;
use memory::VirtualAddress;
use rustc_demangle::demangle;
use str_ref::StrRef;

use crate::{
    CrateNamespace, all_crates,
    platform::{AreaMemoryOfPlatform, SegmentPages, UnwindGuard},
    section::{LoadedSection, SectionPlace},
    symbols::CrateSymbols,
};

pub use crate::platform::Protection;

/// A reference to a loaded crate, which stays loaded as long as one exists.
pub type StrongCrateRef = CowArc<LoadedCrate>;
/// A reference that does not keep the crate loaded.
pub type WeakCrateRef = CowWeak<LoadedCrate>;
/// A reference to a function or variable of a loaded crate.
pub type StrongSectionRef = Arc<LoadedSection>;

/// Where a crate's symbols are.
pub(crate) enum SymbolSource {
    /// In its object file.
    Object(Arc<CrateSymbols>),
    /// In the base image's table.
    BaseImage(BaseSymbols<'static>, Range<usize>),
}

/// What makes a crate run. Fields are dropped in this order: first nobody finds the code any more, then it goes.
#[derive(Default)]
pub(crate) struct Parts {
    pub unwind: Option<UnwindGuard>,
    pub tls: Option<TlsSection<AreaMemoryOfPlatform>>,
    pub text: Option<SegmentPages>,
    pub rodata: Option<SegmentPages>,
    pub data: Option<SegmentPages>,
}

/// A loaded crate: its memory, its symbols, and the crates it needs.
///
/// A crate is complete before anybody sees it, and does not change. It holds the crates it was linked with, so they stay
/// as long as it does; since a crate is linked with complete crates only, there are no cycles. Dropping the last reference
/// unloads it: symbols, unwind tables, thread-local variables, pages, then the crates it alone had needed.
pub struct LoadedCrate {
    /// Name and hash, as in `captain-0123456789abcdef`. A program that runs several times has one crate per run, numbered
    /// `.2`, `.3`, … from the second on. The base image is called `nano_core`.
    pub crate_name: StrRef,
    /// The file it was loaded from; `None` for the base image.
    pub object_file: Option<FileRef>,
    pub(crate) own: WeakCrateRef,
    pub(crate) namespace: Weak<CrateNamespace>,
    /// Its place in the namespace's table, and whether its symbols are in the namespace's map.
    pub(crate) slot: u32,
    pub(crate) published: bool,
    pub(crate) symbols: SymbolSource,
    pub(crate) parts: Parts,
    pub(crate) dependencies: Vec<StrongCrateRef>,
}

impl LoadedCrate {
    /// The name without the hash.
    pub fn crate_name_without_hash(&self) -> &str {
        crate_name_without_hash(&self.crate_name)
    }

    /// The name without the hash, with the delimiter: what the names of its versions' files begin with.
    pub fn crate_name_as_prefix(&self) -> &str {
        let length = self.crate_name_without_hash().len();
        self.crate_name.get(..=length).unwrap_or(&self.crate_name)
    }

    /// The namespace it is loaded in.
    pub fn namespace(&self) -> Option<Arc<CrateNamespace>> {
        self.namespace.upgrade()
    }

    /// Whether this is the base image.
    pub fn is_base_image(&self) -> bool {
        matches!(self.symbols, SymbolSource::BaseImage(..))
    }

    /// The addresses of its code.
    pub fn text_range(&self) -> Option<Range<VirtualAddress>> {
        match (&self.symbols, &self.parts.text) {
            (SymbolSource::BaseImage(_, text), _) => Some(addresses(text.clone())),
            (_, Some(text)) => Some(addresses(text.range())),
            _ => None,
        }
    }

    /// The addresses of its constants and tables. Unknown for the base image.
    pub fn rodata_range(&self) -> Option<Range<VirtualAddress>> {
        self.parts.rodata.as_ref().map(|pages| addresses(pages.range()))
    }

    /// The addresses of its variables. Unknown for the base image.
    pub fn data_range(&self) -> Option<Range<VirtualAddress>> {
        self.parts.data.as_ref().map(|pages| addresses(pages.range()))
    }

    /// The offset from the thread pointer and the size in bytes of its thread-local variables.
    pub fn tls_range(&self) -> Option<(usize, usize)> {
        self.parts.tls.as_ref().map(|tls| (tls.offset(), tls.size()))
    }

    /// How its text, rodata and data are mapped.
    pub fn protections(&self) -> [Option<Protection>; 3] {
        let Parts { text, rodata, data, .. } = &self.parts;
        [text, rodata, data].map(|pages| pages.as_ref().map(SegmentPages::protection))
    }

    /// The sections of its object file that occupy memory. None for the base image.
    pub fn sections(&self) -> impl Iterator<Item = &SectionPlace> {
        let symbols = match &self.symbols {
            SymbolSource::Object(symbols) => Some(symbols),
            SymbolSource::BaseImage(..) => None,
        };
        symbols.into_iter().flat_map(|symbols| symbols.sections().map(|(_, section)| section))
    }

    /// The sections that hold variables shared by all tasks.
    pub fn data_sections_iter(&self) -> impl Iterator<Item = &SectionPlace> {
        self.sections().filter(|section| section.kind.is_data_or_bss())
    }

    /// Its function called `path`, as in `captain::init` or `<task::Task>::new`; the name is demangled, without hashes.
    ///
    /// A generic function, or one so small that it is always inlined, has no code of its own to be found.
    pub fn get_function_section(&self, path: &str) -> Option<StrongSectionRef> {
        self.find_section(|name, kind| kind == SectionType::Text && is_called(name, path))
    }

    /// The first global symbol for which `predicate` holds, given its mangled name and what it is.
    pub fn find_section(
        &self,
        mut predicate: impl FnMut(&str, SectionType) -> bool,
    ) -> Option<StrongSectionRef> {
        match &self.symbols {
            SymbolSource::Object(symbols) => {
                let table = symbols.table();
                let (_, symbol) = table.globals().find(|(_, symbol)| {
                    let section = symbols.section_of(symbol).filter(|_| symbol.is_exported());
                    section.is_some_and(|section| predicate(table.name(symbol), section.kind))
                })?;
                self.object_section(symbols, &symbol)
            }
            SymbolSource::BaseImage(symbols, _) => {
                let found = symbols
                    .iter()
                    .filter(|symbol| symbol.exported)
                    .find(|symbol| predicate(symbol.name, base_section_type(symbol.kind)))?;
                self.base_section(&found)
            }
        }
    }

    /// Its global symbol called `name`, mangled.
    pub fn get_symbol(&self, name: &str) -> Option<StrongSectionRef> {
        match &self.symbols {
            SymbolSource::Object(symbols) => {
                let table = symbols.table();
                let is_it = |(index, symbol): &(usize, Symbol)| {
                    symbol.is_exported() && table.has_name(*index, name.as_bytes())
                };
                let (_, symbol) = table.globals().find(is_it)?;
                self.object_section(symbols, &symbol)
            }
            SymbolSource::BaseImage(symbols, _) => {
                self.base_section(&symbols.find(symbol_hash(name.as_bytes()), name.as_bytes())?)
            }
        }
    }

    /// Number of global symbols that it defines.
    pub fn global_symbol_count(&self) -> usize {
        match &self.symbols {
            SymbolSource::Object(symbols) => {
                symbols.table().globals().filter(|(_, symbol)| symbol.is_exported()).count()
            }
            SymbolSource::BaseImage(symbols, _) => symbols.iter().filter(|symbol| symbol.exported).count(),
        }
    }

    /// The function or variable that holds `address`, and the offset in it.
    pub fn get_section_containing_address(
        &self,
        address: VirtualAddress,
    ) -> Option<(StrongSectionRef, usize)> {
        let address = address.value();
        match &self.symbols {
            SymbolSource::Object(symbols) => {
                let (symbol, start) = symbols.containing(address)?;
                Some((self.object_section(symbols, &symbol)?, address - start))
            }
            SymbolSource::BaseImage(symbols, _) => {
                let symbol = symbols.containing(address as u64)?;
                Some((self.base_section(&symbol)?, address - symbol.value as usize))
            }
        }
    }

    /// Whether `address` lies in its code, or, if `all`, in its constants or variables.
    pub fn contains_address(&self, address: VirtualAddress, all: bool) -> bool {
        let contains =
            |range: Option<Range<VirtualAddress>>| range.is_some_and(|range| range.contains(&address));
        contains(self.text_range()) || all && (contains(self.rodata_range()) || contains(self.data_range()))
    }

    /// The crates it was linked with.
    pub fn crates_i_depend_on(&self) -> Vec<WeakCrateRef> {
        self.dependencies.iter().map(StrongCrateRef::downgrade).collect()
    }

    /// The crates that were linked with it.
    pub fn crates_dependent_on_me(&self) -> Vec<WeakCrateRef> {
        let is_me = |other: &StrongCrateRef| core::ptr::eq::<LoadedCrate>(&**other, self);
        let dependents = all_crates().into_iter().filter(|other| other.dependencies.iter().any(is_me));
        dependents.map(|other| other.downgrade()).collect()
    }

    pub(crate) fn object_section(&self, symbols: &CrateSymbols, symbol: &Symbol) -> Option<StrongSectionRef> {
        let section = symbols.section_of(symbol)?;
        let address = match symbols.value(symbol) {
            SymbolValue::Address(address) => address as usize,
            SymbolValue::ThreadOffset(offset) => offset as usize,
            SymbolValue::Unresolved => return None,
        };
        let name = symbols.table().name(symbol);
        let (size, global) = (symbol.size as usize, symbol.is_exported());
        Some(Arc::new(LoadedSection::new(name, section.kind, global, address, size, self.own.upgrade()?)))
    }

    fn base_section(&self, symbol: &BaseSymbol<'_>) -> Option<StrongSectionRef> {
        let typ = base_section_type(symbol.kind);
        let (address, size) = (symbol.value as usize, symbol.size as usize);
        let own = self.own.upgrade()?;
        Some(Arc::new(LoadedSection::new(symbol.name, typ, symbol.exported, address, size, own)))
    }
}

impl Drop for LoadedCrate {
    fn drop(&mut self) {
        if let SymbolSource::Object(symbols) = &self.symbols {
            crate::registry::remove(symbols);
            if let Some(namespace) = self.namespace.upgrade() {
                namespace.forget_crate(self.slot, self.published.then_some(&**symbols));
            }
        }
        // What remains is dropped in the order of the fields.
    }
}

impl fmt::Debug for LoadedCrate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LoadedCrate({}, text {:x?})", self.crate_name, self.text_range())
    }
}

fn addresses(range: Range<usize>) -> Range<VirtualAddress> {
    VirtualAddress::new_canonical(range.start)..VirtualAddress::new_canonical(range.end)
}

fn base_section_type(kind: BaseSymbolKind) -> SectionType {
    match kind {
        BaseSymbolKind::Function => SectionType::Text,
        BaseSymbolKind::Object => SectionType::Data,
        BaseSymbolKind::Tls => SectionType::TlsData,
    }
}

/// Whether the mangled symbol `mangled` reads `path` once demangled. Allocates nothing.
pub(crate) fn is_called(mangled: &str, path: &str) -> bool {
    /// Takes away from the expected text what is written.
    struct Expect<'a>(&'a str);
    impl fmt::Write for Expect<'_> {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0 = self.0.strip_prefix(text).ok_or(fmt::Error)?;
            Ok(())
        }
    }
    // The last part of a path stands in its symbol as it is, so most symbols are told apart without demangling.
    let last = path.rsplit("::").next().unwrap_or(path);
    let mut expected = Expect(path);
    mangled.contains(last)
        && fmt::write(&mut expected, format_args!("{:#}", demangle(mangled))).is_ok()
        && expected.0.is_empty()
}
