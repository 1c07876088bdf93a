//! Finding and opening compilation units.

use crate::{Budget, Bytes, Dwarf, Result, Stopped, Unit};
use alloc::sync::Arc;
use gimli::{AttributeValue, DebugInfoOffset, Reader, Section, UnitHeader};

/// Bytes that an abbreviation takes in memory per byte in its table, at most: an attribute of two bytes becomes 24.
const ABBREVIATION_GROWTH: usize = 64;
/// The same of the header of a line program: a file of a few bytes becomes some 100.
const LINE_HEADER_GROWTH: usize = 64;

/// The unit that has code at `address`.
pub(crate) fn containing<'a>(
    dwarf: &Dwarf<'a>,
    address: u64,
    budget: &mut Budget,
) -> Result<Option<Unit<'a>>> {
    let mut headers = dwarf.units();
    while let Some(header) = headers.next()? {
        budget.spend(16)?;
        // One unit that is not understood does not hide the others.
        let Ok(unit) = open(dwarf, header, budget) else {
            budget.spend(1)?;
            continue;
        };
        let mut ranges = dwarf.unit_ranges(&unit)?;
        if covers(&mut || Ok(ranges.next()?), address, budget)? {
            return Ok(Some(unit));
        }
    }
    Ok(None)
}

/// The unit that the entry at `offset` is in.
pub(crate) fn at<'a>(
    dwarf: &Dwarf<'a>,
    offset: DebugInfoOffset<usize>,
    budget: &mut Budget,
) -> Result<Unit<'a>> {
    let mut headers = dwarf.units();
    while let Some(header) = headers.next()? {
        budget.spend(16)?;
        if offset.to_unit_offset(&header).is_some() {
            return open(dwarf, header, budget);
        }
    }
    Err(Stopped)
}

/// Whether one of the ranges has code at `address`.
pub(crate) fn covers(
    next: &mut dyn FnMut() -> Result<Option<gimli::Range>>,
    address: u64,
    budget: &mut Budget,
) -> Result<bool> {
    while let Some(range) = next()? {
        budget.spend(4)?;
        // A function that the linker has left out may seem to begin at 0, where no function does: the code section begins with
        // the number of functions.
        if range.begin != 0 && (range.begin..range.end).contains(&address) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Reads what a unit says about itself.
fn open<'a>(dwarf: &Dwarf<'a>, header: UnitHeader<Bytes<'a>>, budget: &mut Budget) -> Result<Unit<'a>> {
    let table = dwarf.debug_abbrev.reader();
    let length = abbreviations_length(table.slice(), header.debug_abbrev_offset().0, budget)?;
    budget.spend_memory(length, ABBREVIATION_GROWTH)?;
    let abbreviations = Arc::new(header.abbreviations(&dwarf.debug_abbrev)?);
    // How long the header of the line program is, which is read with the unit.
    let mut entries = header.entries_raw(&abbreviations, None)?;
    let root = entries.read_abbreviation()?.ok_or(Stopped)?;
    for attribute in root.attributes() {
        budget.spend(2)?;
        let attribute = entries.read_attribute(*attribute)?;
        if let (gimli::DW_AT_stmt_list, AttributeValue::DebugLineRef(offset)) =
            (attribute.name(), attribute.value())
        {
            budget.spend_memory(line_header_length(dwarf, offset.0)?, LINE_HEADER_GROWTH)?;
        }
    }
    Ok(Unit::new_with_abbreviations(dwarf, header, abbreviations)?)
}

/// Bytes of the table of abbreviations at `offset`, as far as it goes.
fn abbreviations_length(table: &[u8], offset: usize, budget: &mut Budget) -> Result<usize> {
    let table = table.get(offset..).ok_or(Stopped)?;
    let mut reader = Bytes::new(table, gimli::LittleEndian);
    let before = reader.len();
    while reader.read_uleb128()? != 0 {
        reader.read_uleb128()?; // tag
        reader.read_u8()?; // whether there are children
        loop {
            budget.spend(2)?;
            let (name, form) = (reader.read_uleb128()?, reader.read_uleb128()?);
            if form == u64::from(gimli::DW_FORM_implicit_const.0) {
                reader.read_sleb128()?;
            }
            if name == 0 && form == 0 {
                break;
            }
        }
    }
    Ok(before - reader.len())
}

/// Bytes of the header of the line program at `offset`.
fn line_header_length(dwarf: &Dwarf<'_>, offset: usize) -> Result<usize> {
    let mut reader = *dwarf.debug_line.reader();
    reader.skip(offset)?;
    // 0xffff_ffff announces 64-bit DWARF, which nobody makes of modules that have less than 4 GiB.
    if reader.read_u32()? == u32::MAX {
        return Err(Stopped);
    }
    if reader.read_u16()? >= 5 {
        reader.skip(2)?; // sizes of addresses and segment selectors
    }
    let length = reader.read_u32()? as usize;
    if length > reader.len() { Err(Stopped) } else { Ok(length) }
}
