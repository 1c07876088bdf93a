//! What an artifact keeps of a module's debug information (`.wasmc.debug`), all `u32` little-endian:
//! ```text
//! offset in the .wasm file of the code section's content, to which DWARF's addresses are relative
//! lengths of the sections of SECTION_NAMES
//! then the sections, unchanged
//! ```
//! The section is empty when the module has no debug information, and just `u32::MAX` when it was left out.
//!
//! What is not needed to find lines and functions (types of variables, where variables are) is in other sections, which are not
//! kept.

use alloc::string::String;
use alloc::vec::Vec;

/// The sections of DWARF that say which function, file and line code came from.
pub const SECTION_NAMES: [&str; 9] = [
    ".debug_abbrev",
    ".debug_addr",
    ".debug_info",
    ".debug_line",
    ".debug_line_str",
    ".debug_ranges",
    ".debug_rnglists",
    ".debug_str",
    ".debug_str_offsets",
];

/// A function in the source, and where in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Symbol {
    /// Its name, mangled if the compiler mangles.
    pub name: Option<String>,
    /// The source file.
    pub file: Option<String>,
    /// The line, counted from 1.
    pub line: Option<u32>,
    /// The column, counted from 1.
    pub column: Option<u32>,
}

/// What finds the functions of which the instruction at an offset in the `.wasm` file is part, the innermost inlined one
/// first. The reader of debug information is as large as the rest of an engine, and seldom needed; so, like the compiler, it is
/// found at run time.
pub type SymbolsFunction = fn(&DebugInfo<'_>, module_offset: u32) -> Vec<Symbol>;

/// Name of the symbol by which the crate `wasm_dwarf` is used at run time: a `static` of type [`SymbolsFunction`].
pub const SYMBOLS_FUNCTION_SYMBOL: &str = "wasm_dwarf_symbols";

const COUNT: usize = SECTION_NAMES.len();
const HEADER_SIZE: usize = 4 * (1 + COUNT);
const LEFT_OUT: u32 = u32::MAX;

/// A module's debug information, in place.
#[derive(Clone, Copy, Debug)]
pub struct DebugInfo<'a> {
    /// Offset in the `.wasm` file that addresses are relative to.
    pub code_start: u32,
    sections: [&'a [u8]; COUNT],
}

impl<'a> DebugInfo<'a> {
    /// What the artifact's section says; `None` when there is no debug information, or it is shorter than it claims.
    pub fn new(section: &'a [u8]) -> Option<DebugInfo<'a>> {
        let (header, mut rest) = section.split_at_checked(HEADER_SIZE)?;
        let mut numbers = header.as_chunks::<4>().0.iter().map(|bytes| u32::from_le_bytes(*bytes));
        let code_start = numbers.next()?;
        let mut sections = [&[][..]; COUNT];
        for section in &mut sections {
            (*section, rest) = rest.split_at_checked(numbers.next()? as usize)?;
        }
        Some(DebugInfo { code_start, sections })
    }

    /// Whether the module has debug information that the artifact does not have.
    pub fn is_left_out(section: &[u8]) -> bool {
        section == LEFT_OUT.to_le_bytes()
    }

    /// The section of this name, empty if the module has none.
    pub fn section(&self, name: &str) -> &'a [u8] {
        SECTION_NAMES.iter().position(|known| *known == name).map_or(&[], |number| self.sections[number])
    }
}

/// Gathers debug information while a module is read.
#[derive(Clone, Copy, Debug, Default)]
pub struct DebugInfoBuilder<'a> {
    /// Where the code section's content begins in the `.wasm` file.
    pub code_start: u32,
    sections: [&'a [u8]; COUNT],
}

impl<'a> DebugInfoBuilder<'a> {
    /// Takes note of a custom section, if it is one of those that are kept. Of several with one name the first counts.
    pub fn custom_section(&mut self, name: &str, content: &'a [u8]) {
        if let Some(number) = SECTION_NAMES.iter().position(|known| *known == name)
            && self.sections[number].is_empty()
        {
            self.sections[number] = content;
        }
    }

    /// The artifact's section, with the debug information if that is to be kept. `None` when there is no memory for it.
    pub fn encode(&self, keep: bool) -> Option<Vec<u8>> {
        let length = self.sections.iter().map(|section| section.len()).sum::<usize>();
        let mut out = Vec::new();
        match (length, keep) {
            (0, _) => {}
            (_, false) => out.extend(LEFT_OUT.to_le_bytes()),
            (_, true) => {
                out.try_reserve_exact(HEADER_SIZE + length).ok()?;
                out.extend(self.code_start.to_le_bytes());
                self.sections.iter().for_each(|section| out.extend((section.len() as u32).to_le_bytes()));
                self.sections.iter().for_each(|section| out.extend_from_slice(section));
            }
        }
        Some(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_come_back_as_they_were() {
        let mut builder = DebugInfoBuilder { code_start: 77, ..Default::default() };
        assert_eq!(builder.encode(true).unwrap(), []);
        assert_eq!(builder.encode(false).unwrap(), []);
        builder.custom_section(".debug_line", b"lines");
        builder.custom_section(".debug_line", b"again");
        builder.custom_section(".debug_loc", b"not kept");
        builder.custom_section(".debug_info", b"entries");
        let kept = builder.encode(true).unwrap();
        let debug_info = DebugInfo::new(&kept).unwrap();
        assert_eq!(debug_info.code_start, 77);
        assert_eq!(debug_info.section(".debug_line"), b"lines");
        assert_eq!(debug_info.section(".debug_info"), b"entries");
        assert_eq!(debug_info.section(".debug_str"), b"");
        assert_eq!(debug_info.section(".debug_loc"), b"");
        assert!(!DebugInfo::is_left_out(&kept));
        for cut in 0..kept.len() {
            assert!(DebugInfo::new(&kept[..cut]).is_none());
        }
        let left_out = builder.encode(false).unwrap();
        assert!(DebugInfo::is_left_out(&left_out) && DebugInfo::new(&left_out).is_none());
        assert!(DebugInfo::new(&[]).is_none() && !DebugInfo::is_left_out(&[]));
    }
}
