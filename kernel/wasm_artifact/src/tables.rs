//! The tables that are read where they lie: functions and trampolines, names, trap sites, the address map.
//!
//! `.wasmc.funcs`, all `u32` little-endian:
//! ```text
//! number of defined functions, number of types
//! per defined function:  code offset, code length, entry trampoline's offset or NONE, offset of the body in the .wasm
//! per type:              offset of the trampoline out of wasm, or NONE
//! ```
//! `.wasmc.names`:
//! ```text
//! number of names; per name, sorted by function: function index, start, length; then the names, UTF-8
//! ```

use crate::handlers::{HandledCall, HandlerTable};
use crate::index::*;
use crate::side_table::SideTable;
use crate::trap::Trap;
use alloc::vec::Vec;
use core::ops::Range;

/// No trampoline.
const NONE: u32 = u32::MAX;

/// Where the code of a defined function is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FunctionCode {
    /// Offset of its first instruction in `.text`.
    pub offset: u32,
    /// Its length in bytes.
    pub len: u32,
    /// Offset in `.text` of the trampoline with the array-call ABI; only escaping functions have one.
    pub array_to_wasm: Option<u32>,
    /// Offset of the function's body in the `.wasm` file.
    pub wasm_offset: u32,
}

impl FunctionCode {
    /// Its code as a range of `.text`.
    pub fn range(&self) -> Range<u32> {
        self.offset..self.offset.saturating_add(self.len)
    }
}

/// All tables of an artifact, in place. Making one costs nothing; keep the bytes and make it where needed.
#[derive(Clone, Copy, Debug)]
pub struct CodeTables<'a> {
    traps: SideTable<'a>,
    address_map: SideTable<'a>,
    handlers: HandlerTable<'a>,
    functions: &'a [u8],
    trampolines: &'a [u8],
    names: &'a [u8],
    name_bytes: &'a [u8],
}

fn u32_at(bytes: &[u8], number: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(number.checked_mul(4)?..)?.first_chunk()?))
}

fn offset(raw: u32) -> Option<u32> {
    (raw != NONE).then_some(raw)
}

impl<'a> CodeTables<'a> {
    /// The tables in these sections; `None` when one is shorter than it claims.
    pub fn new(
        traps: &'a [u8],
        address_map: &'a [u8],
        handlers: &'a [u8],
        funcs: &'a [u8],
        names: &'a [u8],
    ) -> Option<CodeTables<'a>> {
        let (num_functions, num_types) = (u32_at(funcs, 0)? as usize, u32_at(funcs, 1)? as usize);
        let (functions, rest) = funcs.get(8..)?.split_at_checked(num_functions.checked_mul(16)?)?;
        let (names, name_bytes) =
            names.get(4..)?.split_at_checked((u32_at(names, 0)? as usize).checked_mul(12)?)?;
        Some(CodeTables {
            traps: SideTable::new(traps)?,
            address_map: SideTable::new(address_map)?,
            handlers: HandlerTable::new(handlers)?,
            functions,
            trampolines: rest.get(..num_types.checked_mul(4)?)?,
            names,
            name_bytes,
        })
    }

    /// Why the instruction at this offset in `.text` traps when it faults; `None` when it must not fault.
    ///
    /// Neither allocates nor panics: an exception handler may call it.
    pub fn trap_at(&self, text_offset: u32) -> Option<Trap> {
        Trap::from_u8(u8::try_from(self.traps.get(text_offset)?).ok()?)
    }

    /// All trap sites: offset in `.text` and trap.
    pub fn trap_sites(&self) -> impl Iterator<Item = (u32, Trap)> + 'a {
        self.traps.iter().filter_map(|(at, code)| Some((at, Trap::from_u8(u8::try_from(code).ok()?)?)))
    }

    /// Offset in the `.wasm` file of the instruction that the machine code at this offset belongs to. For a return address, ask
    /// for the byte before it. `None` in prologues and trampolines.
    pub fn wasm_offset_at(&self, text_offset: u32) -> Option<u32> {
        self.address_map.floor(text_offset).map(|entry| entry.1).filter(|&at| at != u32::MAX)
    }

    /// The handlers around the call that returns to this offset in `.text`, if there are any. Neither allocates nor panics.
    pub fn handlers_at(&self, return_address: u32) -> Option<HandledCall<'a>> {
        self.handlers.get(return_address)
    }

    /// All calls with handlers: the offset in `.text` to which the call returns, and the handlers, `None` if they are not as they
    /// must be.
    pub fn handled_calls(&self) -> impl Iterator<Item = (u32, Option<HandledCall<'a>>)> + 'a {
        self.handlers.iter()
    }

    /// How many functions the module defines.
    pub fn num_functions(&self) -> usize {
        self.functions.len() / 16
    }

    /// How many types have an entry in the table of trampolines.
    pub fn num_types(&self) -> usize {
        self.trampolines.len() / 4
    }

    /// Where a function's code is; `None` when there is none of this index.
    pub fn function(&self, index: DefinedFuncIndex) -> Option<FunctionCode> {
        let record = self.functions.get(index.index().checked_mul(16)?..)?;
        Some(FunctionCode {
            offset: u32_at(record, 0)?,
            len: u32_at(record, 1)?,
            array_to_wasm: offset(u32_at(record, 2)?),
            wasm_offset: u32_at(record, 3)?,
        })
    }

    /// The function whose code contains this offset in `.text`; `None` for trampolines and padding.
    pub fn function_at(&self, text_offset: u32) -> Option<DefinedFuncIndex> {
        let (mut low, mut high) = (0, self.num_functions());
        while low < high {
            let middle = (low + high) / 2;
            if self.function(DefinedFuncIndex(middle as u32))?.offset <= text_offset {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        let index = DefinedFuncIndex(low.checked_sub(1)? as u32);
        self.function(index)?.range().contains(&text_offset).then_some(index)
    }

    /// Offset in `.text` of the trampoline that wasm code calls to reach a host function of this type: wasm ABI, with the
    /// vmctx of the host function as callee. Every type of a module has one.
    pub fn wasm_to_array(&self, ty: TypeIndex) -> Option<u32> {
        offset(u32_at(self.trampolines, ty.index())?)
    }

    /// A function's name in the name section, if it has one.
    pub fn function_name(&self, index: FuncIndex) -> Option<&'a str> {
        let (mut low, mut high) = (0, self.names.len() / 12);
        while low < high {
            let middle = (low + high) / 2;
            let record = &self.names.get(middle * 12..)?;
            match u32_at(record, 0)?.cmp(&index.0) {
                core::cmp::Ordering::Less => low = middle + 1,
                core::cmp::Ordering::Greater => high = middle,
                core::cmp::Ordering::Equal => {
                    let start = u32_at(record, 1)? as usize;
                    let end = start.checked_add(u32_at(record, 2)? as usize)?;
                    return core::str::from_utf8(self.name_bytes.get(start..end)?).ok();
                }
            }
        }
        None
    }
}

/// Encodes `.wasmc.funcs`; trampolines out of wasm are given by type.
pub fn encode_functions(functions: &[FunctionCode], wasm_to_array: &[Option<u32>]) -> Vec<u8> {
    let mut out = Vec::with_capacity(8 + functions.len() * 16 + wasm_to_array.len() * 4);
    out.extend((functions.len() as u32).to_le_bytes());
    out.extend((wasm_to_array.len() as u32).to_le_bytes());
    for function in functions {
        for field in
            [function.offset, function.len, function.array_to_wasm.unwrap_or(NONE), function.wasm_offset]
        {
            out.extend(field.to_le_bytes());
        }
    }
    for trampoline in wasm_to_array {
        out.extend(trampoline.unwrap_or(NONE).to_le_bytes());
    }
    out
}

/// Encodes `.wasmc.names`; names must be sorted by index without duplicates.
///
/// # Panics
/// When they are not.
pub fn encode_names(names: &[(FuncIndex, &str)]) -> Vec<u8> {
    assert!(names.windows(2).all(|pair| pair[0].0 < pair[1].0), "names must be sorted and unique");
    let mut out = Vec::new();
    out.extend((names.len() as u32).to_le_bytes());
    let mut start = 0u32;
    for (index, name) in names {
        for field in [index.0, start, name.len() as u32] {
            out.extend(field.to_le_bytes());
        }
        start += name.len() as u32;
    }
    for (_, name) in names {
        out.extend(name.as_bytes());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_trampolines_and_names_are_found() {
        let functions = [
            FunctionCode { offset: 0, len: 10, array_to_wasm: Some(100), wasm_offset: 50 },
            FunctionCode { offset: 16, len: 20, array_to_wasm: None, wasm_offset: 70 },
        ];
        let funcs = encode_functions(&functions, &[Some(40), None]);
        let names = encode_names(&[(FuncIndex(1), "eins"), (FuncIndex(4), "vier")]);
        let traps = crate::side_table::encode(&[(3, Trap::UnreachableCodeReached as u32), (5, 200)]);
        let map = crate::side_table::encode(&[(2, 52), (8, u32::MAX)]);
        let handlers = crate::handlers::encode(&[]);
        let tables = CodeTables::new(&traps, &map, &handlers, &funcs, &names).unwrap();
        assert_eq!(tables.function(DefinedFuncIndex(1)), Some(functions[1]));
        assert_eq!(tables.function(DefinedFuncIndex(2)), None);
        let at = |offset| tables.function_at(offset).map(|index| index.0);
        assert_eq!(
            [at(0), at(9), at(10), at(15), at(16), at(35), at(36)],
            [Some(0), Some(0), None, None, Some(1), Some(1), None]
        );
        assert_eq!(
            [tables.wasm_to_array(TypeIndex(0)), tables.wasm_to_array(TypeIndex(1))],
            [Some(40), None]
        );
        let name = |index| tables.function_name(FuncIndex(index));
        assert_eq!([name(0), name(1), name(4), name(5)], [None, Some("eins"), Some("vier"), None]);
        assert_eq!(tables.trap_at(3), Some(Trap::UnreachableCodeReached));
        assert_eq!([tables.trap_at(4), tables.trap_at(5)], [None, None]);
        let wasm = |offset| tables.wasm_offset_at(offset);
        assert_eq!([wasm(1), wasm(2), wasm(7), wasm(8)], [None, Some(52), Some(52), None]);
    }

    #[test]
    fn tables_cut_anywhere_are_refused_or_searched_without_panic() {
        let funcs = encode_functions(
            &[FunctionCode { offset: 0, len: 4, array_to_wasm: None, wasm_offset: 0 }; 3],
            &[None; 3],
        );
        let names = encode_names(&[(FuncIndex(0), "a"), (FuncIndex(1), "b")]);
        let side = crate::side_table::encode(&[(1, 1), (2, 2)]);
        let none = crate::handlers::encode(&[]);
        for cut in 0..funcs.len() {
            assert!(CodeTables::new(&side, &side, &none, &funcs[..cut], &names).is_none());
        }
        for cut in 0..names.len() {
            if let Some(tables) = CodeTables::new(&side, &side, &none, &funcs, &names[..cut]) {
                let _ = (tables.function_name(FuncIndex(0)), tables.function_name(FuncIndex(1)));
            }
        }
    }
}
