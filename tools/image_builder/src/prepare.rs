//! Making an object small and quick to load, and sealing it with a checksum.
//!
//! Out goes what the loader does not need: debug information, notes, comments, and all local symbols but functions (those
//! stay, for backtraces). Relocations that used a local symbol are rewritten to use the symbol of its section. The result
//! is an ordinary relocatable ELF file: `readelf` and `objdump` read it.

use std::collections::HashMap;

use crate_metadata::{
    ObjectFile, Symbol, SymbolBinding, SymbolKind, checksum,
    elf::{
        EM_X86_64, ET_REL, FILE_HEADER_SIZE, RELA_SIZE, SECTION_HEADER_SIZE, SHN_ABS, SHN_LORESERVE,
        SHT_PROGBITS, SHT_RELA, SHT_STRTAB, SHT_SYMTAB, SectionHeader,
    },
    relocation::RelocationEntry,
};

use crate::Outcome;

/// Returns `object` prepared for the loader.
///
/// # Errors
/// If `object` is no object file of one crate, or uses features that the loader does not know.
pub fn prepare(object: &[u8]) -> Outcome<Vec<u8>> {
    let object = ObjectFile::parse(object)?;
    let mut sections = Sections::keep_allocated(&object);
    let mut symbols = Symbols::keep_needed(&object, &sections)?;
    let relocations = rewrite_relocations(&object, &sections, &mut symbols)?;
    let first_global = symbols.locals;

    let mut writer = Writer::new();
    for (old, _) in sections.kept.clone() {
        let header = object.section(old);
        let name = object.section_name(&header).to_owned();
        writer.section(&name, header, object.section_data(old));
    }
    for (target, entries) in relocations {
        let name = format!(".rela{}", object.section_name(&object.section(target)));
        let header = header_of(SHT_RELA, 8, RELA_SIZE as u64);
        // The symbol table comes right after all relocations; its index is filled in below.
        let info = sections.new_index(target).ok_or("a relocation's section was dropped")? as u32;
        writer.section(&name, SectionHeader { info, flags: 0x40, ..header }, &entries);
    }
    let symbol_section = writer.count();
    let header = SectionHeader {
        link: symbol_section as u32 + 1,
        info: first_global as u32,
        ..header_of(SHT_SYMTAB, 8, crate_metadata::elf::SYMBOL_SIZE as u64)
    };
    writer.section(".symtab", header, &symbols.bytes);
    writer.section(".strtab", header_of(SHT_STRTAB, 1, 0), &symbols.strings.bytes);
    writer.section(checksum::SECTION_NAME, header_of(SHT_PROGBITS, 8, 0), &[0; 8]);
    sections.kept.clear();
    Ok(writer.finish(symbol_section))
}

fn header_of(kind: u32, alignment: u64, entry_size: u64) -> SectionHeader {
    SectionHeader { name: 0, kind, flags: 0, offset: 0, size: 0, link: 0, info: 0, alignment, entry_size }
}

/// Which sections stay, and their new indices.
struct Sections {
    /// Old and new index of each kept section.
    kept: Vec<(usize, usize)>,
}

impl Sections {
    fn keep_allocated(object: &ObjectFile<'_>) -> Self {
        let kept = object.sections().filter(|(_, header)| header.is_allocated()).map(|(index, _)| index);
        Sections { kept: kept.enumerate().map(|(position, index)| (index, position + 1)).collect() }
    }

    fn new_index(&self, old: usize) -> Option<usize> {
        self.kept.iter().find(|(index, _)| *index == old).map(|(_, new)| *new)
    }
}

/// What became of a symbol.
#[derive(Clone, Copy)]
enum Fate {
    /// Not kept; what refers to it would be an error.
    Dropped,
    /// Kept under a new index.
    Kept(usize),
    /// Replaced by a section's symbol, at an offset.
    InSection { symbol: usize, offset: u64 },
}

/// The new symbol table.
struct Symbols {
    bytes: Vec<u8>,
    strings: Strings,
    fates: Vec<Fate>,
    locals: usize,
}

impl Symbols {
    fn keep_needed(object: &ObjectFile<'_>, sections: &Sections) -> Outcome<Self> {
        let table = object.symbols();
        // Undefined symbols that only dropped sections referred to are dropped as well.
        let mut is_used = vec![false; table.len()];
        for (_, header, entries) in object.relocation_sections() {
            if sections.new_index(header.info as usize).is_none() {
                continue;
            }
            for entry in entries {
                let (_, symbol) = RelocationEntry::from_elf_relocation(entry);
                *is_used.get_mut(symbol).ok_or("a relocation refers to a symbol that does not exist")? = true;
            }
        }
        let mut symbols = Symbols {
            bytes: Vec::new(),
            strings: Strings::default(),
            fates: vec![Fate::Dropped; table.len()],
            locals: 0,
        };
        let null = Symbol {
            name: 0,
            binding: SymbolBinding::Local,
            kind: SymbolKind::Other,
            section: 0,
            value: 0,
            size: 0,
        };
        symbols.push("", null);
        let mut section_symbols = HashMap::new();
        for (old, new) in &sections.kept {
            let symbol = Symbol { kind: SymbolKind::Section, section: *new as u16, ..null };
            section_symbols.insert(*old as u16, symbols.push("", symbol));
        }
        symbols.fates[0] = Fate::Kept(0);
        for (index, symbol) in table.iter().skip(1).take(table.first_global().saturating_sub(1)) {
            let Some(section) = sections.new_index(symbol.section as usize) else {
                if is_used[index] {
                    return Err(format!("{} is local but in no section", table.name(&symbol)).into());
                }
                continue;
            };
            symbols.fates[index] = if symbol.kind == SymbolKind::Function {
                Fate::Kept(symbols.push(table.name(&symbol), Symbol { section: section as u16, ..symbol }))
            } else {
                Fate::InSection { symbol: section_symbols[&symbol.section], offset: symbol.value }
            };
        }
        symbols.locals = symbols.count();
        for (index, symbol) in table.globals() {
            if symbol.is_undefined() && !is_used[index] {
                continue;
            }
            let section = match sections.new_index(symbol.section as usize) {
                Some(section) => section as u16,
                None if symbol.is_undefined() || symbol.section == SHN_ABS => symbol.section,
                None if symbol.section >= SHN_LORESERVE => {
                    return Err(format!("{} is a common symbol", table.name(&symbol)).into());
                }
                None => continue,
            };
            symbols.fates[index] =
                Fate::Kept(symbols.push(table.name(&symbol), Symbol { section, ..symbol }));
        }
        Ok(symbols)
    }

    fn count(&self) -> usize {
        self.bytes.len() / crate_metadata::elf::SYMBOL_SIZE
    }

    fn push(&mut self, name: &str, symbol: Symbol) -> usize {
        let index = self.count();
        let binding = match symbol.binding {
            SymbolBinding::Local => 0,
            SymbolBinding::Global => 1,
            SymbolBinding::Weak => 2,
        };
        let kind = match symbol.kind {
            SymbolKind::Other => 0,
            SymbolKind::Object => 1,
            SymbolKind::Function => 2,
            SymbolKind::Section => 3,
            SymbolKind::Tls => 6,
        };
        self.bytes.extend(self.strings.add(name).to_le_bytes());
        self.bytes.extend([binding << 4 | kind, 0]);
        self.bytes.extend(symbol.section.to_le_bytes());
        self.bytes.extend(symbol.value.to_le_bytes());
        self.bytes.extend(symbol.size.to_le_bytes());
        index
    }
}

/// The relocations of each kept section, by the section's old index.
fn rewrite_relocations(
    object: &ObjectFile<'_>,
    sections: &Sections,
    symbols: &mut Symbols,
) -> Outcome<Vec<(usize, Vec<u8>)>> {
    let mut rewritten = Vec::new();
    for (_, header, entries) in object.relocation_sections() {
        let target = header.info as usize;
        if sections.new_index(target).is_none() || entries.is_empty() {
            continue;
        }
        let mut bytes = Vec::with_capacity(entries.len() * RELA_SIZE);
        for entry in entries {
            let (entry, symbol) = RelocationEntry::from_elf_relocation(entry);
            let (symbol, addend) = match symbols.fates[symbol] {
                Fate::Kept(symbol) => (symbol, entry.addend as u64),
                Fate::InSection { symbol, offset } => (symbol, (entry.addend as u64).wrapping_add(offset)),
                Fate::Dropped => return Err("a relocation refers to a symbol in a dropped section".into()),
            };
            bytes.extend((entry.offset as u64).to_le_bytes());
            bytes.extend(entry.typ.to_le_bytes());
            bytes.extend((symbol as u32).to_le_bytes());
            bytes.extend(addend.to_le_bytes());
        }
        rewritten.push((target, bytes));
    }
    Ok(rewritten)
}

/// A string table being written.
struct Strings {
    bytes: Vec<u8>,
    offsets: HashMap<String, u32>,
}

impl Default for Strings {
    fn default() -> Self {
        Strings { bytes: vec![0], offsets: HashMap::from([(String::new(), 0)]) }
    }
}

impl Strings {
    fn add(&mut self, text: &str) -> u32 {
        if let Some(offset) = self.offsets.get(text) {
            return *offset;
        }
        let offset = self.bytes.len() as u32;
        self.bytes.extend(text.bytes());
        self.bytes.push(0);
        self.offsets.insert(text.to_owned(), offset);
        offset
    }
}

/// An ELF file being written: header, contents of sections, section headers.
struct Writer {
    bytes: Vec<u8>,
    headers: Vec<SectionHeader>,
    names: Strings,
}

impl Writer {
    fn new() -> Self {
        let null = SectionHeader { alignment: 0, ..header_of(0, 0, 0) };
        Writer { bytes: vec![0; FILE_HEADER_SIZE], headers: vec![null], names: Strings::default() }
    }

    /// Index of the next section.
    fn count(&self) -> usize {
        self.headers.len()
    }

    fn section(&mut self, name: &str, header: SectionHeader, contents: &[u8]) {
        // Sixteen bytes are enough for the reader, who copies contents to where they are aligned as they must be.
        let alignment = header.alignment.clamp(1, 16) as usize;
        self.bytes.resize(self.bytes.len().next_multiple_of(alignment), 0);
        let offset = self.bytes.len() as u64;
        self.bytes.extend(contents);
        let size = if header.has_contents() { contents.len() as u64 } else { header.size };
        let name = self.names.add(name);
        self.headers.push(SectionHeader { name, offset, size, ..header });
    }

    fn finish(mut self, symbol_section: usize) -> Vec<u8> {
        self.names.add(".shstrtab");
        let names = self.names.bytes.clone();
        self.section(".shstrtab", header_of(SHT_STRTAB, 1, 0), &names);
        self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
        let table = self.bytes.len() as u64;
        let checksum_name = self.names.add(checksum::SECTION_NAME);
        let mut hole = 0;
        for header in &self.headers {
            if header.name == checksum_name {
                hole = header.offset as usize;
            }
            let link = if header.kind == SHT_RELA { symbol_section as u32 } else { header.link };
            for word in [header.name, header.kind] {
                self.bytes.extend(word.to_le_bytes());
            }
            for long in [header.flags, 0, header.offset, header.size] {
                self.bytes.extend(long.to_le_bytes());
            }
            for word in [link, header.info] {
                self.bytes.extend(word.to_le_bytes());
            }
            for long in [header.alignment, header.entry_size] {
                self.bytes.extend(long.to_le_bytes());
            }
        }
        let count = self.headers.len() as u16;
        // 64 bits, little endian, version 1, no particular OS.
        let mut header = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
        header.extend(ET_REL.to_le_bytes());
        header.extend(EM_X86_64.to_le_bytes());
        header.extend(1u32.to_le_bytes());
        for long in [0, 0, table] {
            header.extend(long.to_le_bytes());
        }
        header.extend(0u32.to_le_bytes());
        for half in [FILE_HEADER_SIZE as u16, 0, 0, SECTION_HEADER_SIZE as u16, count, count - 1] {
            header.extend(half.to_le_bytes());
        }
        self.bytes[..FILE_HEADER_SIZE].copy_from_slice(&header);
        let sum = checksum::compute(&self.bytes, hole);
        self.bytes[hole..hole + 8].copy_from_slice(&sum.to_le_bytes());
        self.bytes
    }
}

#[cfg(test)]
mod tests;
