//! The symbols of a loaded crate, and the map from names to them.

use alloc::vec::Vec;

use crate_metadata::{
    Layout, Segment, Symbol, SymbolKind, SymbolValue,
    elf::{SHN_ABS, SymbolTable, SymbolTableLocation},
};
use hashbrown::HashTable;
use str_ref::StrRef;

use crate::{LoadError, object_bytes::ObjectBytes, section::SectionPlace};

/// Where a crate's segments and thread-local variables lie.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Addresses {
    pub text: usize,
    pub rodata: usize,
    pub data: usize,
    /// Offset of the crate's TLS block from the thread pointer.
    pub tls: usize,
}

/// The symbols of one loaded crate: names stay in the object file, addresses are computed.
pub(crate) struct CrateSymbols {
    pub crate_name: StrRef,
    bytes: ObjectBytes,
    location: SymbolTableLocation,
    /// By index of the section in the object file.
    sections: Vec<Option<SectionPlace>>,
}

impl CrateSymbols {
    pub(crate) fn new(
        crate_name: StrRef,
        bytes: ObjectBytes,
        location: SymbolTableLocation,
        layout: &Layout,
        addresses: Addresses,
    ) -> Result<Self, LoadError> {
        let mut sections = Vec::new();
        let count = layout.sections().iter().map(|section| section.index + 1).max().unwrap_or(0);
        sections
            .try_reserve_exact(count)
            .map_err(|_| LoadError::OutOfMemory { what: "a crate's list of sections" })?;
        sections.resize_with(count, || None);
        for section in layout.sections() {
            let address = match section.segment {
                Segment::Text => addresses.text + section.offset,
                Segment::Rodata => addresses.rodata + section.offset,
                Segment::Data => addresses.data + section.offset,
                Segment::TlsZeros => 0,
            };
            let tls_offset = section.kind.is_tls().then_some(addresses.tls + section.tls_offset);
            sections[section.index] =
                Some(SectionPlace { kind: section.kind, address, tls_offset, size: section.size });
        }
        Ok(CrateSymbols { crate_name, bytes, location, sections })
    }

    pub(crate) fn table(&self) -> SymbolTable<'_> {
        // The location was checked when the object was parsed, and the bytes do not change.
        SymbolTable::at(&self.bytes, &self.location).expect("a checked symbol table stays where it is")
    }

    pub(crate) fn sections(&self) -> impl Iterator<Item = (usize, &SectionPlace)> {
        self.sections.iter().enumerate().filter_map(|(index, section)| Some((index, section.as_ref()?)))
    }

    pub(crate) fn section_of(&self, symbol: &Symbol) -> Option<&SectionPlace> {
        self.sections.get(symbol.section as usize)?.as_ref()
    }

    /// What a symbol that is defined in this crate stands for.
    #[inline]
    pub(crate) fn value(&self, symbol: &Symbol) -> SymbolValue {
        if symbol.section == SHN_ABS {
            return SymbolValue::Address(symbol.value);
        }
        match self.section_of(symbol) {
            Some(SectionPlace { tls_offset: Some(offset), .. }) => {
                SymbolValue::ThreadOffset((*offset as u64).wrapping_add(symbol.value) as i64)
            }
            Some(section) => SymbolValue::Address((section.address as u64).wrapping_add(symbol.value)),
            None => SymbolValue::Unresolved,
        }
    }

    /// The function or variable that holds `address`, with its own address.
    pub(crate) fn containing(&self, address: usize) -> Option<(Symbol, usize)> {
        let (section, place) = self.sections().find(|(_, section)| section.contains(address))?;
        let offset = (address - place.address) as u64;
        let holds = |symbol: &Symbol| {
            symbol.section as usize == section
                && matches!(symbol.kind, SymbolKind::Function | SymbolKind::Object)
                && symbol.value <= offset
                && offset - symbol.value < symbol.size.max(1)
        };
        let (_, symbol) = self.table().iter().find(|(_, symbol)| holds(symbol))?;
        Some((symbol, place.address + symbol.value as usize))
    }
}

/// An entry of a [`SymbolMap`].
#[derive(Clone, Copy)]
pub(crate) struct SymbolEntry {
    pub hash: u64,
    /// The crate's slot in its namespace.
    pub slot: u32,
    /// The symbol's index in its crate's table.
    pub symbol: u32,
}

/// From names of global symbols to the crates of one namespace. Names themselves stay in the object files; whoever looks
/// one up compares it there.
#[derive(Default)]
pub(crate) struct SymbolMap {
    entries: HashTable<SymbolEntry>,
}

impl SymbolMap {
    pub(crate) const fn new() -> Self {
        SymbolMap { entries: HashTable::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Makes room for `count` more entries.
    pub(crate) fn reserve(&mut self, count: usize) -> Result<(), LoadError> {
        self.entries
            .try_reserve(count, |entry| entry.hash)
            .map_err(|_| LoadError::OutOfMemory { what: "the symbol map" })
    }

    pub(crate) fn insert(&mut self, entry: SymbolEntry) {
        self.entries.insert_unique(entry.hash, entry, |entry| entry.hash);
    }

    /// All entries for a name with this hash.
    pub(crate) fn candidates(&self, hash: u64) -> impl Iterator<Item = SymbolEntry> + '_ {
        self.entries.iter_hash(hash).filter(move |entry| entry.hash == hash).copied()
    }

    pub(crate) fn remove(&mut self, hash: u64, slot: u32, symbol: u32) {
        let is_it = |entry: &SymbolEntry| entry.hash == hash && entry.slot == slot && entry.symbol == symbol;
        if let Ok(entry) = self.entries.find_entry(hash, is_it) {
            entry.remove();
        }
    }
}
