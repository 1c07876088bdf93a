//! Lines and files, from the line program of a unit.

use crate::{Budget, Dwarf, Result, Stopped, Unit};
use alloc::string::String;
use gimli::{AttributeValue, ColumnType};
use wasm_artifact::debug_info::Symbol;

/// The longest path that is made up.
const MAX_PATH: usize = 4096;

/// Says into `symbol` which file, line and column the instruction at `address` came from.
pub(crate) fn place(
    dwarf: &Dwarf<'_>,
    unit: &Unit<'_>,
    address: u64,
    budget: &mut Budget,
    symbol: &mut Symbol,
) -> Result<()> {
    let Some(program) = unit.line_program.clone() else { return Ok(()) };
    // A byte of the program is one row at most.
    budget.spend(program.header().raw_program_buf().slice().len())?;
    let mut rows = program.rows();
    // The last row at or before the address, in a sequence of rows that goes on beyond it.
    let mut best: Option<(u64, Option<u64>, ColumnType)> = None;
    let mut sequence_start = None;
    while let Some((_, row)) = rows.next_row()? {
        let start = *sequence_start.get_or_insert(row.address());
        // As for functions: what seems to begin at 0 was left out by the linker.
        if start != 0 && row.address() > address && best.is_some() {
            break;
        }
        if row.end_sequence() {
            (sequence_start, best) = (None, None);
        } else if start != 0 && row.address() <= address {
            best = Some((row.file_index(), row.line().map(u64::from), row.column()));
        }
    }
    let Some((file_index, line, column)) = best else { return Ok(()) };
    symbol.line = line.and_then(|line| u32::try_from(line).ok());
    symbol.column = match column {
        ColumnType::LeftEdge => None,
        ColumnType::Column(column) => u32::try_from(column.get()).ok(),
    };
    symbol.file = file(dwarf, unit, file_index, budget)?;
    Ok(())
}

/// The path of the file that has this number in the unit's line program.
pub(crate) fn file(
    dwarf: &Dwarf<'_>,
    unit: &Unit<'_>,
    number: u64,
    budget: &mut Budget,
) -> Result<Option<String>> {
    let Some(program) = &unit.line_program else { return Ok(None) };
    let header = program.header();
    let Some(file) = header.file(number) else { return Ok(None) };
    let mut path = String::new();
    if let Some(directory) = &unit.comp_dir {
        join(&mut path, directory.slice(), budget)?;
    }
    // Up to version 4, directory 0 is the one that the compiler ran in.
    if (file.directory_index() != 0 || header.version() >= 5)
        && let Some(directory) = file.directory(header)
    {
        join(&mut path, text(dwarf, unit, directory)?, budget)?;
    }
    join(&mut path, text(dwarf, unit, file.path_name())?, budget)?;
    Ok(Some(path))
}

fn text<'a>(dwarf: &Dwarf<'a>, unit: &Unit<'a>, value: AttributeValue<crate::Bytes<'a>>) -> Result<&'a [u8]> {
    Ok(dwarf.attr_string(unit, value)?.slice())
}

/// Goes from the directory `path` to `to`, which may be absolute.
fn join(path: &mut String, to: &[u8], budget: &mut Budget) -> Result<()> {
    budget.spend(to.len())?;
    let is_absolute = to.starts_with(b"/") || to.starts_with(b"\\") || to.get(1..3) == Some(b":\\");
    if is_absolute {
        path.clear();
    }
    append(path, if path.is_empty() || path.ends_with('/') { "" } else { "/" }.as_bytes())?;
    append(path, to)
}

/// Appends what is UTF-8 of `bytes`, with marks for what is not.
pub(crate) fn append(to: &mut String, bytes: &[u8]) -> Result<()> {
    let marks = bytes.utf8_chunks().map(|chunk| usize::from(!chunk.invalid().is_empty()) * 3);
    let length = bytes.len() + marks.sum::<usize>();
    if to.len().saturating_add(length) > MAX_PATH {
        return Err(Stopped);
    }
    to.try_reserve(length).map_err(|_| Stopped)?;
    for chunk in bytes.utf8_chunks() {
        to.push_str(chunk.valid());
        if !chunk.invalid().is_empty() {
            to.push(char::REPLACEMENT_CHARACTER);
        }
    }
    Ok(())
}
