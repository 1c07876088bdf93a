//! A view of a relocatable x86-64 ELF file in which every offset has been checked once.
//!
//! [`ObjectFile::parse`] accepts what rustc writes for one crate: ELF64, little endian, `ET_REL`, one symbol table, RELA
//! relocations, no common symbols, no compressed sections, no more sections than fit the header. Whatever it returns can be
//! read without further checks of file offsets; indices that occur in symbols and relocations are checked where used.

use core::fmt;

use crate::{
    SectionType,
    hash::{hash_c_string, read_u32},
};

/// Size in bytes of the file header (`Elf64_Ehdr`).
pub const FILE_HEADER_SIZE: usize = 64;
/// Size in bytes of a section header (`Elf64_Shdr`).
pub const SECTION_HEADER_SIZE: usize = 64;
/// Size in bytes of a symbol (`Elf64_Sym`).
pub const SYMBOL_SIZE: usize = 24;
/// Size in bytes of a relocation (`Elf64_Rela`).
pub const RELA_SIZE: usize = 24;

/// `ET_REL`: a relocatable file.
pub const ET_REL: u16 = 1;
/// `EM_X86_64`.
pub const EM_X86_64: u16 = 62;
/// Section types (`sh_type`) as in the ELF specification and the x86-64 psABI.
pub const SHT_PROGBITS: u32 = 1;
/// See [`SHT_PROGBITS`].
pub const SHT_SYMTAB: u32 = 2;
/// See [`SHT_PROGBITS`].
pub const SHT_STRTAB: u32 = 3;
/// See [`SHT_PROGBITS`].
pub const SHT_RELA: u32 = 4;
/// See [`SHT_PROGBITS`].
pub const SHT_NOBITS: u32 = 8;
/// See [`SHT_PROGBITS`].
pub const SHT_REL: u32 = 9;
/// Unwind tables of x86-64, as LLVM marks `.eh_frame`.
pub const SHT_X86_64_UNWIND: u32 = 0x7000_0001;
/// Section flag: writable.
pub const SHF_WRITE: u64 = 1;
/// Section flag: occupies memory.
pub const SHF_ALLOC: u64 = 2;
/// Section flag: machine code.
pub const SHF_EXECINSTR: u64 = 4;
/// Section flag: thread-local.
pub const SHF_TLS: u64 = 0x400;
/// Section flag: contents are compressed.
pub const SHF_COMPRESSED: u64 = 0x800;
/// Section index of an undefined symbol.
pub const SHN_UNDEF: u16 = 0;
/// First of the reserved section indices.
pub const SHN_LORESERVE: u16 = 0xff00;
/// Section index of a symbol with an absolute value.
pub const SHN_ABS: u16 = 0xfff1;
/// Largest alignment of a section: a page.
pub const MAX_SECTION_ALIGNMENT: u64 = 4096;

/// Why a file is no object file that can be loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ElfError {
    /// The file does not begin with an ELF header.
    NotElf,
    /// It is ELF, but not 64-bit little-endian relocatable code for x86-64.
    WrongKind,
    /// Headers or section contents lie outside of the file.
    Truncated,
    /// A header holds a value that makes no sense; the text says which.
    Malformed(&'static str),
    /// The file uses a feature that crates are not compiled with; the text says which.
    Unsupported(&'static str),
}

impl fmt::Display for ElfError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ElfError::NotElf => f.write_str("not an ELF file"),
            ElfError::WrongKind => f.write_str("not a relocatable x86-64 object file"),
            ElfError::Truncated => f.write_str("the object file is cut short"),
            ElfError::Malformed(what) => write!(f, "the object file is damaged: {what}"),
            ElfError::Unsupported(what) => {
                write!(f, "the object file has {what}, which crates must not have")
            }
        }
    }
}

impl core::error::Error for ElfError {}

/// A section's header.
#[derive(Clone, Copy, Debug)]
pub struct SectionHeader {
    /// Offset of the name in the table of section names.
    pub name: u32,
    /// `SHT_…`.
    pub kind: u32,
    /// `SHF_…`.
    pub flags: u64,
    /// Where the contents begin in the file.
    pub offset: u64,
    /// Size in bytes, in memory; in the file too unless the kind is `SHT_NOBITS`.
    pub size: u64,
    /// Index of a related section.
    pub link: u32,
    /// More about a related section, or a count.
    pub info: u32,
    /// Alignment in memory, a power of two of at most [`MAX_SECTION_ALIGNMENT`].
    pub alignment: u64,
    /// Size of one entry, for tables.
    pub entry_size: u64,
}

impl SectionHeader {
    fn read(bytes: &[u8; SECTION_HEADER_SIZE]) -> Self {
        let word = |at: usize| read_u32(&bytes[at..]);
        let long = |at: usize| read_u64(&bytes[at..]);
        SectionHeader {
            name: word(0),
            kind: word(4),
            flags: long(8),
            offset: long(24),
            size: long(32),
            link: word(40),
            info: word(44),
            alignment: long(48).max(1),
            entry_size: long(56),
        }
    }

    /// Whether the section has contents in the file.
    pub fn has_contents(&self) -> bool {
        self.kind != SHT_NOBITS && self.kind != 0
    }

    /// Whether the section occupies memory once loaded.
    pub fn is_allocated(&self) -> bool {
        self.flags & SHF_ALLOC != 0
    }
}

/// Who can see a symbol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SymbolBinding {
    /// Its own object only.
    Local,
    /// Every crate.
    Global,
    /// Every crate, and others may define it too.
    Weak,
}

/// What a symbol names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SymbolKind {
    /// Nothing in particular, as for undefined symbols.
    Other,
    /// A variable or constant.
    Object,
    /// A function.
    Function,
    /// A section.
    Section,
    /// A thread-local variable.
    Tls,
}

/// An entry of the symbol table.
#[derive(Clone, Copy, Debug)]
pub struct Symbol {
    /// Offset of the name in the string table.
    pub name: u32,
    /// Who can see it.
    pub binding: SymbolBinding,
    /// What it names.
    pub kind: SymbolKind,
    /// The section it lies in, or `SHN_UNDEF`, or `SHN_ABS`.
    pub section: u16,
    /// Offset in that section, or the absolute value.
    pub value: u64,
    /// Size in bytes.
    pub size: u64,
}

impl Symbol {
    /// Reads a symbol from its bytes in the file.
    #[inline]
    pub fn read(bytes: &[u8; SYMBOL_SIZE]) -> Self {
        Symbol {
            name: read_u32(bytes),
            binding: match bytes[4] >> 4 {
                0 => SymbolBinding::Local,
                2 => SymbolBinding::Weak,
                _ => SymbolBinding::Global,
            },
            kind: match bytes[4] & 0xf {
                1 => SymbolKind::Object,
                2 => SymbolKind::Function,
                3 => SymbolKind::Section,
                6 => SymbolKind::Tls,
                _ => SymbolKind::Other,
            },
            section: u16::from_le_bytes([bytes[6], bytes[7]]),
            value: read_u64(&bytes[8..]),
            size: read_u64(&bytes[16..]),
        }
    }

    /// Whether the symbol is defined in some other object.
    pub fn is_undefined(&self) -> bool {
        self.section == SHN_UNDEF
    }

    /// Whether the symbol is defined here and other objects may refer to it.
    pub fn is_exported(&self) -> bool {
        self.section != SHN_UNDEF && self.binding != SymbolBinding::Local
    }
}

/// The part of an object file that outlives its loading: symbols and their names, as ranges of the file's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SymbolTableLocation {
    /// Offset of the symbols in the file.
    pub symbols: usize,
    /// Their number.
    pub symbol_count: usize,
    /// Index of the first symbol that is not local.
    pub first_global: usize,
    /// Offset of the string table in the file.
    pub strings: usize,
    /// Its size in bytes.
    pub strings_size: usize,
}

/// Symbols and their names.
#[derive(Clone, Copy)]
pub struct SymbolTable<'a> {
    symbols: &'a [[u8; SYMBOL_SIZE]],
    first_global: usize,
    strings: &'a [u8],
}

impl<'a> SymbolTable<'a> {
    /// The table at `location` of `file`, or `None` if that lies outside of it.
    pub fn at(file: &'a [u8], location: &SymbolTableLocation) -> Option<Self> {
        let size = location.symbol_count.checked_mul(SYMBOL_SIZE)?;
        let symbols = file.get(location.symbols..location.symbols.checked_add(size)?)?;
        let strings = file.get(location.strings..location.strings.checked_add(location.strings_size)?)?;
        Some(SymbolTable { symbols: symbols.as_chunks().0, first_global: location.first_global, strings })
    }

    /// Number of symbols, with the empty one at index 0.
    pub fn len(&self) -> usize {
        self.symbols.len()
    }

    /// Whether there is no symbol at all.
    pub fn is_empty(&self) -> bool {
        self.symbols.is_empty()
    }

    /// Index of the first symbol that is not local.
    pub fn first_global(&self) -> usize {
        self.first_global
    }

    /// The symbol at `index`.
    #[inline]
    pub fn get(&self, index: usize) -> Option<Symbol> {
        self.symbols.get(index).map(Symbol::read)
    }

    /// All symbols with their indices.
    pub fn iter(&self) -> impl Iterator<Item = (usize, Symbol)> + 'a {
        self.symbols.iter().map(Symbol::read).enumerate()
    }

    /// All symbols that are not local, with their indices.
    pub fn globals(&self) -> impl Iterator<Item = (usize, Symbol)> + 'a {
        let first = self.first_global.min(self.symbols.len());
        self.symbols[first..]
            .iter()
            .map(Symbol::read)
            .enumerate()
            .map(move |(index, symbol)| (first + index, symbol))
    }

    /// The name at `offset` in the string table. Empty if the offset lies outside or the name does not end.
    pub fn name_bytes(&self, offset: u32) -> &'a [u8] {
        let tail = self.strings.get(offset as usize..).unwrap_or_default();
        let end = tail.iter().position(|byte| *byte == 0).unwrap_or(0);
        &tail[..end]
    }

    /// The name of `symbol`, or an empty one if it is no text.
    pub fn name(&self, symbol: &Symbol) -> &'a str {
        core::str::from_utf8(self.name_bytes(symbol.name)).unwrap_or_default()
    }

    /// The name at `offset` with its hash, in one pass. `None` if the offset lies outside or the name does not end.
    #[inline]
    pub fn hashed_name(&self, offset: u32) -> Option<(u64, &'a [u8])> {
        let tail = self.strings.get(offset as usize..)?;
        let (hash, length) = hash_c_string(tail)?;
        Some((hash, &tail[..length]))
    }

    /// Whether the symbol at `index` has the name `name`.
    #[inline]
    pub fn has_name(&self, index: usize, name: &[u8]) -> bool {
        let Some(symbol) = self.symbols.get(index) else { return false };
        let start = read_u32(symbol) as usize;
        let Some(candidate) = self.strings.get(start..) else { return false };
        candidate.get(..name.len()) == Some(name) && candidate.get(name.len()) == Some(&0)
    }

    /// Whether an exported symbol is called `name`.
    pub fn exports(&self, name: &[u8]) -> bool {
        self.globals().any(|(index, symbol)| symbol.is_exported() && self.has_name(index, name))
    }
}

/// A relocatable object file whose headers have been checked.
#[derive(Clone, Copy)]
pub struct ObjectFile<'a> {
    bytes: &'a [u8],
    sections: &'a [[u8; SECTION_HEADER_SIZE]],
    section_names: &'a [u8],
    symbols: SymbolTable<'a>,
    symbol_section: usize,
    location: SymbolTableLocation,
}

impl<'a> ObjectFile<'a> {
    /// Checks the headers in `bytes`.
    ///
    /// # Errors
    /// [`ElfError`] if `bytes` are no object file of one crate, or not all of one.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ElfError> {
        if bytes.get(..4) != Some(b"\x7fELF") {
            return Err(ElfError::NotElf);
        }
        let header: &[u8; FILE_HEADER_SIZE] = bytes.first_chunk().ok_or(ElfError::Truncated)?;
        let half = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
        // Class 2 is 64 bits, data 1 is little endian, version 1 is the only one.
        if header[4..7] != [2, 1, 1] || half(16) != ET_REL || half(18) != EM_X86_64 {
            return Err(ElfError::WrongKind);
        }
        if half(58) as usize != SECTION_HEADER_SIZE {
            return Err(ElfError::Malformed("size of a section header"));
        }
        let count = half(60) as usize;
        if count == 0 || count >= SHN_LORESERVE as usize {
            return Err(ElfError::Unsupported("an extended section count"));
        }
        let table = slice(bytes, read_u64(&header[40..]), (count * SECTION_HEADER_SIZE) as u64)?;
        let (sections, _) = table.as_chunks::<SECTION_HEADER_SIZE>();
        let mut symbol_section = None;
        for (index, section) in sections.iter().enumerate() {
            let section = SectionHeader::read(section);
            if section.has_contents() {
                slice(bytes, section.offset, section.size)?;
            }
            if !section.alignment.is_power_of_two() || section.alignment > MAX_SECTION_ALIGNMENT {
                return Err(ElfError::Malformed("alignment of a section"));
            }
            if section.flags & SHF_COMPRESSED != 0 {
                return Err(ElfError::Unsupported("a compressed section"));
            }
            if section.kind == SHT_SYMTAB && symbol_section.replace(index).is_some() {
                return Err(ElfError::Unsupported("more than one symbol table"));
            }
            if section.kind == SHT_REL && section.size != 0 {
                return Err(ElfError::Unsupported("relocations without addends"));
            }
        }
        let string_table = |index: usize| -> Result<(usize, &'a [u8]), ElfError> {
            let section = sections.get(index).map(SectionHeader::read);
            let section = section.filter(|section| section.kind == SHT_STRTAB);
            let section = section.ok_or(ElfError::Malformed("index of a string table"))?;
            let strings = slice(bytes, section.offset, section.size)?;
            if strings.last().is_some_and(|byte| *byte != 0) {
                return Err(ElfError::Malformed("end of a string table"));
            }
            Ok((section.offset as usize, strings))
        };
        let (_, section_names) = string_table(half(62) as usize)?;
        let symbol_section = symbol_section.ok_or(ElfError::Malformed("no symbol table"))?;
        let table = SectionHeader::read(&sections[symbol_section]);
        let (strings_offset, strings) = string_table(table.link as usize)?;
        let (symbols, rest) = slice(bytes, table.offset, table.size)?.as_chunks::<SYMBOL_SIZE>();
        if table.entry_size != SYMBOL_SIZE as u64 || !rest.is_empty() {
            return Err(ElfError::Malformed("size of a symbol"));
        }
        let first_global = table.info as usize;
        if first_global > symbols.len() {
            return Err(ElfError::Malformed("number of local symbols"));
        }
        let location = SymbolTableLocation {
            symbols: table.offset as usize,
            symbol_count: symbols.len(),
            first_global,
            strings: strings_offset,
            strings_size: strings.len(),
        };
        let object = ObjectFile {
            bytes,
            sections,
            section_names,
            symbols: SymbolTable { symbols, first_global, strings },
            symbol_section,
            location,
        };
        for (_, header, _) in object.relocation_sections() {
            if header.entry_size != RELA_SIZE as u64 || header.size % RELA_SIZE as u64 != 0 {
                return Err(ElfError::Malformed("size of a relocation"));
            }
            if header.link as usize != symbol_section || header.info as usize >= count {
                return Err(ElfError::Malformed("section of a relocation"));
            }
        }
        Ok(object)
    }

    /// The whole file.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Number of sections, with the empty one at index 0.
    pub fn section_count(&self) -> usize {
        self.sections.len()
    }

    /// The header of section `index`.
    ///
    /// # Panics
    /// If there is no such section.
    pub fn section(&self, index: usize) -> SectionHeader {
        SectionHeader::read(&self.sections[index])
    }

    /// All section headers with their indices.
    pub fn sections(&self) -> impl Iterator<Item = (usize, SectionHeader)> + 'a {
        self.sections.iter().map(SectionHeader::read).enumerate()
    }

    /// The contents of section `index` in the file; empty for a section of zeros.
    ///
    /// # Panics
    /// If there is no such section.
    pub fn section_data(&self, index: usize) -> &'a [u8] {
        let section = self.section(index);
        if !section.has_contents() {
            return &[];
        }
        // Checked by `parse`.
        &self.bytes[section.offset as usize..][..section.size as usize]
    }

    /// The name of a section, or an empty one if it is no text.
    pub fn section_name(&self, section: &SectionHeader) -> &'a str {
        let tail = self.section_names.get(section.name as usize..).unwrap_or_default();
        let end = tail.iter().position(|byte| *byte == 0).unwrap_or(0);
        core::str::from_utf8(&tail[..end]).unwrap_or_default()
    }

    /// Index of the first section called `name`.
    pub fn section_by_name(&self, name: &str) -> Option<usize> {
        self.sections().find(|(_, section)| self.section_name(section) == name).map(|(index, _)| index)
    }

    /// The symbols.
    pub fn symbols(&self) -> SymbolTable<'a> {
        self.symbols
    }

    /// Index of the section that holds the symbols.
    pub fn symbol_section(&self) -> usize {
        self.symbol_section
    }

    /// Where in the file the symbols and their names lie.
    pub fn symbol_table_location(&self) -> SymbolTableLocation {
        self.location
    }

    /// All sections with relocations: index, header and entries.
    pub fn relocation_sections(
        &self,
    ) -> impl Iterator<Item = (usize, SectionHeader, &'a [[u8; RELA_SIZE]])> + '_ {
        self.sections().filter(|(_, section)| section.kind == SHT_RELA).map(|(index, section)| {
            let (entries, _) = self.section_data(index).as_chunks();
            (index, section, entries)
        })
    }

    /// What a section is for; `None` if it occupies no memory.
    pub fn section_type(&self, section: &SectionHeader) -> Option<SectionType> {
        if !section.is_allocated() {
            return None;
        }
        let zeros = section.kind == SHT_NOBITS;
        let executable = section.flags & SHF_EXECINSTR != 0;
        let writable = section.flags & SHF_WRITE != 0;
        let tls = section.flags & SHF_TLS != 0;
        Some(match (executable, tls, writable, zeros) {
            (true, ..) => SectionType::Text,
            (_, true, _, false) => SectionType::TlsData,
            (_, true, _, true) => SectionType::TlsBss,
            (_, _, true, false) => SectionType::Data,
            (_, _, _, true) => SectionType::Bss,
            (_, _, false, false) => match self.section_name(section) {
                ".eh_frame" => SectionType::EhFrame,
                name if name.starts_with(".gcc_except_table") => SectionType::GccExceptTable,
                _ => SectionType::Rodata,
            },
        })
    }
}

/// The bytes `offset..offset + size`.
fn slice(bytes: &[u8], offset: u64, size: u64) -> Result<&[u8], ElfError> {
    let end = offset.checked_add(size).ok_or(ElfError::Truncated)?;
    let (start, end) = (usize::try_from(offset), usize::try_from(end));
    let (Ok(start), Ok(end)) = (start, end) else { return Err(ElfError::Truncated) };
    bytes.get(start..end).ok_or(ElfError::Truncated)
}

/// Reads the first eight bytes of `bytes` as a little-endian number.
#[inline(always)]
pub(crate) fn read_u64(bytes: &[u8]) -> u64 {
    u64::from(read_u32(bytes)) | u64::from(read_u32(&bytes[4..])) << 32
}
