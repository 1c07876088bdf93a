//! The index from global symbols to object files, made by `image_builder` and read in place by the kernel.
//!
//! ```text
//!  0  magic "THINDEX\1"
//!  8  u32 number of files F    12  u32 bytes of the hash table
//! 16  F records of 8 bytes: u32 offset, u32 length of the file's name among the names
//!  …  the hash table (hash::NameTable): symbol's name -> index of the file that defines it
//!  …  names, as in `_kernel/captain-0123456789abcdef.o`: below the directory of all namespaces
//! ```
//! Symbols' names are not stored: a hit says which file to look into, and the linker looks.

use alloc::vec::Vec;

use crate::hash::{NameTable, read_u32, symbol_hash};

const MAGIC: &[u8; 8] = b"THINDEX\x01";
const HEADER_SIZE: usize = 16;
const RECORD_SIZE: usize = 8;

/// The index, borrowed from its bytes.
#[derive(Clone, Copy)]
pub struct SymbolIndex<'a> {
    files: &'a [[u8; RECORD_SIZE]],
    table: NameTable<'a>,
    names: &'a [u8],
}

impl<'a> SymbolIndex<'a> {
    /// Reads an index. `None` if `bytes` are none.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let header: &[u8; HEADER_SIZE] = bytes.first_chunk()?;
        if header[..8] != *MAGIC {
            return None;
        }
        let rest = &bytes[HEADER_SIZE..];
        let (files, rest) =
            rest.split_at_checked((read_u32(&header[8..]) as usize).checked_mul(RECORD_SIZE)?)?;
        let (table, names) = rest.split_at_checked(read_u32(&header[12..]) as usize)?;
        Some(SymbolIndex { files: files.as_chunks().0, table: NameTable::new(table)?, names })
    }

    /// Number of files.
    pub fn file_count(&self) -> usize {
        self.files.len()
    }

    /// The name of file `index`.
    pub fn file(&self, index: u32) -> Option<&'a str> {
        let record = self.files.get(index as usize)?;
        let (start, length) = (read_u32(record) as usize, read_u32(&record[4..]) as usize);
        core::str::from_utf8(self.names.get(start..)?.get(..length)?).ok()
    }

    /// The files that may define a symbol whose [`symbol_hash`] is `hash`: one, but for chance and duplicates.
    pub fn candidates(&self, hash: u64) -> impl Iterator<Item = &'a str> + '_ {
        self.table.candidates(hash).filter_map(|index| self.file(index))
    }

    /// Makes the bytes of an index of `files`, each with the names of its exported symbols.
    ///
    /// # Panics
    /// If there are more than 4 GiB of file names.
    pub fn encode<'s>(files: impl IntoIterator<Item = (&'s str, &'s [&'s str])>) -> Vec<u8> {
        let (mut records, mut names, mut count) = (Vec::new(), Vec::<u8>::new(), 0u32);
        let mut entries: Vec<(u64, u32)> = Vec::new();
        for (file, symbols) in files {
            for number in [names.len(), file.len()] {
                records.extend(u32::try_from(number).expect("file names fit 4 GiB").to_le_bytes());
            }
            names.extend(file.as_bytes());
            entries.extend(symbols.iter().map(|symbol| (symbol_hash(symbol.as_bytes()), count)));
            count += 1;
        }
        let table = NameTable::encode(&entries);
        let mut bytes = Vec::new();
        bytes.extend(MAGIC);
        bytes.extend(count.to_le_bytes());
        bytes.extend(u32::try_from(table.len()).expect("the table fits 4 GiB").to_le_bytes());
        bytes.extend(records);
        bytes.extend(table);
        bytes.extend(names);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_lead_to_their_files() {
        let files: [(&str, &[&str]); 3] =
            [("_kernel/a-1.o", &["one", "two"]), ("_kernel/a-2.o", &["three"]), ("_applications/b-3.o", &[])];
        let bytes = SymbolIndex::encode(files);
        let index = SymbolIndex::parse(&bytes).unwrap();
        assert_eq!(index.file_count(), 3);
        let of = |name: &str| index.candidates(symbol_hash(name.as_bytes())).collect::<Vec<_>>();
        assert_eq!(of("two"), ["_kernel/a-1.o"]);
        assert_eq!(of("three"), ["_kernel/a-2.o"]);
        assert!(of("four").is_empty());
        assert_eq!(index.file(2), Some("_applications/b-3.o"));
        assert_eq!(index.file(3), None);
        assert!(SymbolIndex::parse(&bytes[..20]).is_none());
        assert!(SymbolIndex::parse(b"THINDEX\x02\0\0\0\0\0\0\0\0").is_none());
    }
}
