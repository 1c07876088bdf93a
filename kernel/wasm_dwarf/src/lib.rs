//! Which function, file and line a WebAssembly instruction came from, by the module's DWARF: what compilers say about that in
//! custom sections of a module (`clang -g`, a debug build of `rustc`), and artifacts keep ([`wasm_artifact::debug_info`]).
//!
//! [`symbols`] reads the sections where they lie, with `gimli`, for one instruction: it finds the compilation unit, in its line
//! program the line, and in its tree of entries the function and what was inlined into it.
//!
//! The engine does not link with it but loads it when somebody looks at the first backtrace with debug information.
//!
//! # Invariants
//! The sections come from whoever wrote the module, who need not mean well. So
//! - every step is paid for from a [`Budget`], before it is made where it can be long: units that share a table which is then read
//!   again for each, entries that refer to the same long list, references in circles all come to an end;
//! - what `gimli` allocates by itself (a unit's abbreviations, a line program's files) is measured before, and not read
//!   unless there is memory for it; this crate's own allocations may fail;
//! - whatever is malformed ends the search; what was found so far is the result.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

mod functions;
mod lines;
mod units;

use alloc::vec::Vec;
use gimli::{EndianSlice, LittleEndian};
use wasm_artifact::debug_info::{DebugInfo, Symbol, SymbolsFunction};

type Bytes<'a> = EndianSlice<'a, LittleEndian>;
type Dwarf<'a> = gimli::Dwarf<Bytes<'a>>;
type Unit<'a> = gimli::Unit<Bytes<'a>>;

/// Steps that one look-up may take: bytes of tables and entries that are looked at, more or less. Enough for the debug
/// information of a program of some ten megabytes, and over in less than a second.
pub const DEFAULT_BUDGET: usize = 50_000_000;

/// [`symbols`], for who finds it at run time.
#[unsafe(no_mangle)]
pub static wasm_dwarf_symbols: SymbolsFunction =
    |debug_info, module_offset| symbols(debug_info, module_offset, DEFAULT_BUDGET);

/// Why a search ended early. There is nobody who would want to know more.
pub(crate) struct Stopped;

impl From<gimli::Error> for Stopped {
    fn from(_: gimli::Error) -> Self {
        Stopped
    }
}

pub(crate) type Result<T> = core::result::Result<T, Stopped>;

/// What is left of the steps.
pub(crate) struct Budget(usize);

impl Budget {
    #[inline]
    pub(crate) fn spend(&mut self, steps: usize) -> Result<()> {
        self.0 = self.0.checked_sub(steps).ok_or(Stopped)?;
        Ok(())
    }

    /// As [`spend`](Self::spend), for what `gimli` makes a list of, whose elements take at most `size` bytes per step.
    pub(crate) fn spend_memory(&mut self, steps: usize, size: usize) -> Result<()> {
        self.spend(steps)?;
        let mut probe: Vec<u8> = Vec::new();
        // It is given back at once, and `gimli` asks for it in pieces; but if there is so much, there are the pieces.
        probe.try_reserve_exact(steps.saturating_mul(size)).map_err(|_| Stopped)
    }
}

/// The functions of which the instruction at `module_offset` of the `.wasm` file is part: the innermost inlined one first, the
/// one that is a function of the module last. Empty if the debug information does not say.
///
/// Takes no more than `budget` steps; see [`DEFAULT_BUDGET`].
pub fn symbols(debug_info: &DebugInfo<'_>, module_offset: u32, budget: usize) -> Vec<Symbol> {
    let mut symbols = Vec::new();
    let Some(address) = module_offset.checked_sub(debug_info.code_start) else { return symbols };
    let load = |id: gimli::SectionId| Ok(EndianSlice::new(debug_info.section(id.name()), LittleEndian));
    let loaded: core::result::Result<Dwarf<'_>, core::convert::Infallible> = gimli::Dwarf::load(load);
    let Ok(dwarf) = loaded;
    // What was found until the search stopped is the result.
    let _ = find(&dwarf, u64::from(address), &mut Budget(budget), &mut symbols);
    symbols
}

fn find(dwarf: &Dwarf<'_>, address: u64, budget: &mut Budget, symbols: &mut Vec<Symbol>) -> Result<()> {
    let Some(unit) = units::containing(dwarf, address, budget)? else { return Ok(()) };
    symbols.try_reserve(1).map_err(|_| Stopped)?;
    let mut innermost = Symbol::default();
    // A unit may have entries without lines, or lines without entries.
    let _ = lines::place(dwarf, &unit, address, budget, &mut innermost);
    let chain = functions::containing(dwarf, &unit, address, budget);
    let chain = match chain {
        Ok(chain) if !chain.is_empty() => chain,
        _ => {
            if innermost != Symbol::default() {
                symbols.push(innermost);
            }
            return Ok(());
        }
    };
    // Each function's place is where what was inlined into it was called; of the innermost one, the instruction's.
    symbols.try_reserve(chain.len()).map_err(|_| Stopped)?;
    let mut place = innermost;
    for function in chain.into_iter().rev() {
        let name = functions::name(dwarf, &unit, &function, budget).unwrap_or_default();
        let mut outer =
            Symbol { line: function.call_line, column: function.call_column, ..Symbol::default() };
        if let Some(file) = function.call_file {
            outer.file = lines::file(dwarf, &unit, file, budget).unwrap_or_default();
        }
        symbols.push(Symbol { name, ..core::mem::replace(&mut place, outer) });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
