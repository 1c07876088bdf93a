//! The base image: which crates are in it, and its symbols.

use std::collections::{BTreeMap, BTreeSet};

use crate_metadata::base_symbols::{BaseSymbol, BaseSymbolKind, BaseSymbols};
use object::{
    LittleEndian, Object, ObjectSymbol, elf,
    read::{archive::ArchiveFile, elf::ElfFile64},
};

use crate::{Outcome, crates::crate_of_member};

/// Names, with hashes, of the crates whose objects are in the static library of the base image.
pub fn crates_of_library(library: &[u8]) -> Outcome<BTreeSet<String>> {
    let archive = ArchiveFile::parse(library)?;
    let mut names = BTreeSet::new();
    for member in archive.members() {
        if let Some(name) = crate_of_member(str::from_utf8(member?.name())?) {
            names.insert(name.to_owned());
        }
    }
    Ok(names)
}

/// The symbol table of the linked base image, in the kernel's format.
///
/// The linker turns *hidden* symbols (all of compiler_builtins, the allocator's) into local ones but leaves their visibility
/// in place; loaded crates need them, so they count as exported.
pub fn symbol_table(image: &[u8]) -> Outcome<Vec<u8>> {
    let image = ElfFile64::<LittleEndian>::parse(image)?;
    check_thread_local_block(&image)?;
    let mut exported = BTreeMap::new();
    let mut private = Vec::new();
    for symbol in image.symbols() {
        let raw = symbol.elf_symbol();
        let (kind, name) = (raw.st_type(), symbol.name()?);
        if raw.st_shndx.get(LittleEndian) == elf::SHN_UNDEF || name.is_empty() {
            continue;
        }
        let is_exported = raw.st_bind() != elf::STB_LOCAL || raw.st_visibility() == elf::STV_HIDDEN;
        let kind = match kind {
            elf::STT_FUNC => BaseSymbolKind::Function,
            elf::STT_TLS => BaseSymbolKind::Tls,
            elf::STT_OBJECT | elf::STT_NOTYPE if is_exported => BaseSymbolKind::Object,
            _ => continue,
        };
        let size = u32::try_from(symbol.size())?;
        let symbol = BaseSymbol { name, value: symbol.address(), size, kind, exported: is_exported };
        if !is_exported {
            private.push(symbol);
        } else if let Some(other) = exported.insert(name, symbol)
            && other.value != symbol.value
        {
            return Err(format!("two symbols are called {name}").into());
        }
    }
    if exported.is_empty() {
        return Err("the base image has no symbols: link it without -s".into());
    }
    private.extend(exported.into_values());
    Ok(BaseSymbols::encode(&private))
}

/// Makes sure that the linker and the kernel agree where thread-local variables are: they do if the block begins at a
/// multiple of its alignment.
fn check_thread_local_block(image: &ElfFile64<'_, LittleEndian>) -> Outcome<()> {
    for header in image.elf_program_headers() {
        let (start, alignment) = (header.p_vaddr.get(LittleEndian), header.p_align.get(LittleEndian).max(1));
        if header.p_type.get(LittleEndian) == elf::PT_TLS && !start.is_multiple_of(alignment) {
            return Err(format!(
                "PT_TLS begins at {start:#x}: align .tdata to {alignment} in the linker script"
            )
            .into());
        }
    }
    Ok(())
}
