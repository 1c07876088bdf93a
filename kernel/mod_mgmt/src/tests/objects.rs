//! Object files for tests, as rustc and `image_builder` would make them.

use crate_metadata::{ObjectFile, checksum, relocation::kind};
use object::{
    Architecture, BinaryFormat, Endianness, RelocationFlags, SectionKind, SymbolFlags, SymbolKind,
    SymbolScope,
    write::{Object, Relocation, StandardSection, Symbol, SymbolId, SymbolSection},
};

/// A crate to be made into an object.
///
/// Its text begins with a call to each of `calls`, 8 bytes apart (relocation at offset 1), and then 16 bytes per function in
/// `functions`. Its data holds the address of each of `calls`.
#[derive(Default)]
pub struct Sample<'a> {
    /// Functions it defines.
    pub functions: &'a [&'a str],
    /// Functions of other crates that it refers to.
    pub calls: &'a [&'a str],
    /// Initial value of a thread-local variable, whose offset is written into the text behind everything else.
    pub thread_local: Option<&'a [u8]>,
    /// More bytes of zeros among the variables.
    pub bss: u64,
}

impl Sample<'_> {
    /// Offset in the text of function `index`.
    pub fn function_offset(&self, index: usize) -> usize {
        self.calls.len() * 8 + index * 16
    }

    /// Offset in the text of the thread-local variable's offset.
    pub fn thread_offset_place(&self) -> usize {
        self.function_offset(self.functions.len()) + 4
    }

    /// The object file, with a checksum.
    pub fn object(&self) -> Vec<u8> {
        let mut object = Object::new(BinaryFormat::Elf, Architecture::X86_64, Endianness::Little);
        let text = object.section_id(StandardSection::Text);
        let data = object.section_id(StandardSection::Data);
        let mut code = vec![0x90; self.function_offset(self.functions.len()) + 16];
        code[self.calls.len() * 8..].fill(0xC3);
        object.append_section_data(text, &code, 16);
        object.append_section_data(data, &vec![0; self.calls.len() * 8], 8);
        if self.bss > 0 {
            let bss = object.section_id(StandardSection::UninitializedData);
            object.append_section_bss(bss, self.bss, 8);
        }
        let mut symbol = |name: &str, kind, section, value, size| -> SymbolId {
            object.add_symbol(Symbol {
                name: name.as_bytes().to_vec(),
                value,
                size,
                kind,
                scope: SymbolScope::Linkage,
                weak: false,
                section,
                flags: SymbolFlags::None,
            })
        };
        for (index, name) in self.functions.iter().enumerate() {
            let offset = self.function_offset(index) as u64;
            symbol(name, SymbolKind::Text, SymbolSection::Section(text), offset, 16);
        }
        let calls: Vec<_> = self
            .calls
            .iter()
            .map(|name| symbol(name, SymbolKind::Unknown, SymbolSection::Undefined, 0, 0))
            .collect();
        let mut relocate = |section, offset, symbol, r_type, addend| {
            let flags = RelocationFlags::Elf { r_type };
            object.add_relocation(section, Relocation { offset, symbol, addend, flags }).unwrap();
        };
        for (index, symbol) in calls.into_iter().enumerate() {
            relocate(text, index as u64 * 8 + 1, symbol, kind::R_X86_64_PLT32, -4);
            relocate(data, index as u64 * 8, symbol, kind::R_X86_64_64, 0);
        }
        if let Some(image) = self.thread_local {
            let tls = object.section_id(StandardSection::Tls);
            object.append_section_data(tls, image, 8);
            let symbol = object.section_symbol(tls);
            let flags = RelocationFlags::Elf { r_type: kind::R_X86_64_TPOFF32 };
            let offset = self.thread_offset_place() as u64;
            object.add_relocation(text, Relocation { offset, symbol, addend: 0, flags }).unwrap();
        }
        let sum = object.add_section(Vec::new(), checksum::SECTION_NAME.into(), SectionKind::Other);
        object.append_section_data(sum, &[0; 8], 8);
        seal(object.write().unwrap())
    }
}

/// Writes the checksum into its section.
pub fn seal(mut file: Vec<u8>) -> Vec<u8> {
    let hole = {
        let object = ObjectFile::parse(&file).unwrap();
        let section = object.section_by_name(checksum::SECTION_NAME).unwrap();
        object.section(section).offset as usize
    };
    file[hole..hole + 8].fill(0);
    let sum = checksum::compute(&file, hole);
    file[hole..hole + 8].copy_from_slice(&sum.to_le_bytes());
    file
}
