//! The symbol table of the base image, made by `image_builder` and read in place by the kernel.
//!
//! ```text
//!  0  magic "THBASE\0\1"
//!  8  u32 number of symbols N     12  u32 bytes of names
//! 16  u32 bytes of the hash table  20  u32 unused, 0
//! 24  N records of 24 bytes, sorted by (thread-local, value):
//!       u64 value   u32 size   u32 offset of the name   u8 kind (0 function, 1 object, 2 thread-local)   u8 exported   6 unused
//!  …  the hash table (hash::NameTable): name -> index of the record, exported symbols only
//!  …  names, each ended by a zero byte
//! ```
//! The value of a thread-local symbol is its offset in the base image's TLS block. Symbols that are not exported are there
//! for backtraces.

use alloc::vec::Vec;

use crate::{
    elf::read_u64,
    hash::{NameTable, read_u32, symbol_hash},
};

const MAGIC: &[u8; 8] = b"THBASE\0\x01";
const HEADER_SIZE: usize = 24;
const RECORD_SIZE: usize = 24;

/// What a symbol of the base image names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum BaseSymbolKind {
    /// A function.
    Function,
    /// A variable or constant.
    Object,
    /// A thread-local variable.
    Tls,
}

/// A symbol of the base image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BaseSymbol<'a> {
    /// The mangled name.
    pub name: &'a str,
    /// The address, or the offset in the TLS block.
    pub value: u64,
    /// Size in bytes.
    pub size: u32,
    /// What it names.
    pub kind: BaseSymbolKind,
    /// Whether loaded crates may refer to it.
    pub exported: bool,
}

/// The table, borrowed from its bytes.
#[derive(Clone, Copy)]
pub struct BaseSymbols<'a> {
    records: &'a [[u8; RECORD_SIZE]],
    table: NameTable<'a>,
    names: &'a [u8],
}

impl<'a> BaseSymbols<'a> {
    /// Reads the table. `None` if `bytes` are none.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let header: &[u8; HEADER_SIZE] = bytes.first_chunk()?;
        if header[..8] != *MAGIC {
            return None;
        }
        let size = |at: usize| read_u32(&header[at..]) as usize;
        let rest = &bytes[HEADER_SIZE..];
        let (records, rest) = rest.split_at_checked(size(8).checked_mul(RECORD_SIZE)?)?;
        let (table, names) = rest.split_at_checked(size(16))?;
        let names = names.get(..size(12))?;
        Some(BaseSymbols { records: records.as_chunks().0, table: NameTable::new(table)?, names })
    }

    /// Number of symbols.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there are no symbols.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The symbol at `index`, in the table's order.
    pub fn get(&self, index: usize) -> Option<BaseSymbol<'a>> {
        let record = self.records.get(index)?;
        let tail = self.names.get(read_u32(&record[12..]) as usize..)?;
        let end = tail.iter().position(|byte| *byte == 0)?;
        Some(BaseSymbol {
            name: core::str::from_utf8(&tail[..end]).ok()?,
            value: read_u64(record),
            size: read_u32(&record[8..]),
            kind: match record[16] {
                0 => BaseSymbolKind::Function,
                2 => BaseSymbolKind::Tls,
                _ => BaseSymbolKind::Object,
            },
            exported: record[17] != 0,
        })
    }

    /// All symbols.
    pub fn iter(&self) -> impl Iterator<Item = BaseSymbol<'a>> + '_ {
        (0..self.len()).filter_map(|index| self.get(index))
    }

    /// The index of the exported symbol `name`, whose [`symbol_hash`] is `hash`.
    pub fn find_index(&self, hash: u64, name: &[u8]) -> Option<usize> {
        let is_name = |index: &usize| {
            let Some(record) = self.records.get(*index) else { return false };
            let tail = self.names.get(read_u32(&record[12..]) as usize..).unwrap_or_default();
            tail.get(..name.len()) == Some(name) && tail.get(name.len()) == Some(&0)
        };
        self.table.candidates(hash).map(|index| index as usize).find(is_name)
    }

    /// The exported symbol `name`, whose [`symbol_hash`] is `hash`.
    pub fn find(&self, hash: u64, name: &[u8]) -> Option<BaseSymbol<'a>> {
        self.get(self.find_index(hash, name)?)
    }

    /// The function or variable that holds `address`.
    pub fn containing(&self, address: u64) -> Option<BaseSymbol<'a>> {
        // Thread-local symbols come last, and their values are no addresses.
        let addresses = self.records.partition_point(|record| record[16] != 2);
        let after = self.records[..addresses].partition_point(|record| read_u64(record) <= address);
        // Several symbols may share an address, or one of size 0 lie inside another: look a little further back.
        (after.saturating_sub(8)..after).rev().find_map(|index| {
            let symbol = self.get(index)?;
            (address < symbol.value + u64::from(symbol.size).max(1)).then_some(symbol)
        })
    }

    /// Makes the bytes of a table.
    ///
    /// # Panics
    /// If there are more than 4 GiB of names.
    pub fn encode(symbols: &[BaseSymbol<'_>]) -> Vec<u8> {
        let mut symbols = symbols.to_vec();
        symbols.sort_by_key(|symbol| (symbol.kind == BaseSymbolKind::Tls, symbol.value, symbol.exported));
        let mut names = Vec::new();
        let mut records = Vec::new();
        let mut entries = Vec::new();
        for (index, symbol) in symbols.iter().enumerate() {
            records.extend(symbol.value.to_le_bytes());
            records.extend(symbol.size.to_le_bytes());
            records.extend(u32::try_from(names.len()).expect("names fit 4 GiB").to_le_bytes());
            let kind = match symbol.kind {
                BaseSymbolKind::Function => 0,
                BaseSymbolKind::Object => 1,
                BaseSymbolKind::Tls => 2,
            };
            records.extend([kind, u8::from(symbol.exported), 0, 0, 0, 0, 0, 0]);
            names.extend(symbol.name.as_bytes());
            names.push(0);
            if symbol.exported {
                entries.push((symbol_hash(symbol.name.as_bytes()), index as u32));
            }
        }
        let table = NameTable::encode(&entries);
        let mut bytes = Vec::new();
        bytes.extend(MAGIC);
        for size in [symbols.len(), names.len(), table.len(), 0] {
            bytes.extend(u32::try_from(size).expect("the table fits 4 GiB").to_le_bytes());
        }
        bytes.extend(records);
        bytes.extend(table);
        bytes.extend(names);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<u8> {
        let symbol = |name, value, size, kind, exported| BaseSymbol { name, value, size, kind, exported };
        BaseSymbols::encode(&[
            symbol("later", 0xFFFF_FFFF_8010_2000, 0x10, BaseSymbolKind::Function, true),
            symbol("CURRENT", 8, 8, BaseSymbolKind::Tls, true),
            symbol("start", 0xFFFF_FFFF_8010_0000, 0x100, BaseSymbolKind::Function, true),
            symbol("private", 0xFFFF_FFFF_8010_0100, 0x20, BaseSymbolKind::Function, false),
        ])
    }

    fn find<'a>(table: &BaseSymbols<'a>, name: &str) -> Option<BaseSymbol<'a>> {
        table.find(symbol_hash(name.as_bytes()), name.as_bytes())
    }

    #[test]
    fn exported_symbols_are_found_by_name() {
        let bytes = sample();
        let table = BaseSymbols::parse(&bytes).unwrap();
        assert_eq!(table.len(), 4);
        assert_eq!(find(&table, "start").unwrap().value, 0xFFFF_FFFF_8010_0000);
        assert_eq!(find(&table, "CURRENT").unwrap().kind, BaseSymbolKind::Tls);
        assert_eq!(find(&table, "private"), None);
        assert_eq!(find(&table, "star"), None);
        assert_eq!(find(&table, "start2"), None);
    }

    #[test]
    fn every_symbol_is_found_by_address() {
        let bytes = sample();
        let table = BaseSymbols::parse(&bytes).unwrap();
        let name = |address| table.containing(address).map(|symbol| symbol.name);
        assert_eq!(name(0xFFFF_FFFF_8010_00FF), Some("start"));
        assert_eq!(name(0xFFFF_FFFF_8010_0100), Some("private"));
        assert_eq!(name(0xFFFF_FFFF_8010_0120), None);
        assert_eq!(name(0xFFFF_FFFF_8010_200F), Some("later"));
        assert_eq!(name(8), None, "a TLS offset is no address");
    }

    #[test]
    fn a_cut_table_is_refused() {
        let bytes = sample();
        for length in 0..bytes.len() {
            assert!(BaseSymbols::parse(&bytes[..length]).is_none(), "length {length}");
        }
    }
}
