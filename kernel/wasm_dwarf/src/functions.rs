//! Functions, and what was inlined into them, from the tree of entries of a unit.

use crate::units::{self, covers};
use crate::{Budget, Bytes, Dwarf, Result, Stopped, Unit, lines};
use alloc::string::String;
use alloc::vec::Vec;
use gimli::{Attribute, AttributeValue, DwAt, EntriesRaw, UnitOffset};

/// Functions inlined into each other at most; compilers come to some ten.
const MAX_INLINED: usize = 128;
/// References to follow for a name at most; compilers make two.
const MAX_REFERENCES: usize = 8;

/// A function that has code at the address, or was inlined there.
pub(crate) struct Function {
    entry: UnitOffset<usize>,
    depth: isize,
    /// Where it was inlined: number of the file, line, and column.
    pub(crate) call_file: Option<u64>,
    pub(crate) call_line: Option<u32>,
    pub(crate) call_column: Option<u32>,
}

/// The functions that have code at `address`, each inlined into the one before.
pub(crate) fn containing(
    dwarf: &Dwarf<'_>,
    unit: &Unit<'_>,
    address: u64,
    budget: &mut Budget,
) -> Result<Vec<Function>> {
    let mut chain: Vec<Function> = Vec::new();
    let mut entries = unit.entries_raw(None)?;
    while !entries.is_empty() {
        budget.spend(2)?;
        let (entry, depth) = (entries.next_offset(), entries.next_depth());
        let Some(abbreviation) = entries.read_abbreviation()? else { continue };
        if chain.last().is_some_and(|function| depth <= function.depth) {
            // The innermost one is behind us with all that is in it.
            break;
        }
        budget.spend(abbreviation.attributes().len())?;
        let is_function = match abbreviation.tag() {
            gimli::DW_TAG_subprogram => chain.is_empty(),
            gimli::DW_TAG_inlined_subroutine => !chain.is_empty(),
            _ => false,
        };
        if !is_function || chain.len() == MAX_INLINED {
            entries.skip_attributes(abbreviation.attributes())?;
            continue;
        }
        let mut function = Function { entry, depth, call_file: None, call_line: None, call_column: None };
        let specs = abbreviation.attributes();
        if read(dwarf, unit, &mut entries, specs, address, budget, &mut function)? {
            chain.try_reserve(1).map_err(|_| Stopped)?;
            chain.push(function);
        }
    }
    Ok(chain)
}

/// Reads the attributes of a function; says whether it has code at `address`.
fn read<'a>(
    dwarf: &Dwarf<'a>,
    unit: &Unit<'a>,
    entries: &mut EntriesRaw<'_, Bytes<'a>>,
    specs: &[gimli::AttributeSpecification],
    address: u64,
    budget: &mut Budget,
    function: &mut Function,
) -> Result<bool> {
    let (mut low, mut high, mut size, mut ranges) = (None, None, None, None);
    for spec in specs {
        let attribute = entries.read_attribute(*spec)?;
        let value = attribute.value();
        match attribute.name() {
            gimli::DW_AT_low_pc => low = dwarf.attr_address(unit, value)?,
            gimli::DW_AT_high_pc => match attribute.udata_value() {
                Some(length) => size = Some(length),
                None => high = dwarf.attr_address(unit, value)?,
            },
            gimli::DW_AT_ranges => ranges = dwarf.attr_ranges(unit, value)?,
            gimli::DW_AT_call_file => {
                function.call_file = match value {
                    AttributeValue::FileIndex(number) => Some(number),
                    _ => attribute.udata_value(),
                };
            }
            gimli::DW_AT_call_line => function.call_line = small(&attribute),
            gimli::DW_AT_call_column => function.call_column = small(&attribute),
            _ => {}
        }
    }
    if let Some(mut ranges) = ranges {
        return covers(&mut || Ok(ranges.next()?), address, budget);
    }
    let Some(begin) = low else { return Ok(false) };
    let end = high.or(size.and_then(|size| begin.checked_add(size)));
    let mut range = end.map(|end| gimli::Range { begin, end });
    covers(&mut || Ok(range.take()), address, budget)
}

/// The number that an attribute is, unless it is 0, which stands for nothing.
fn small(attribute: &Attribute<Bytes<'_>>) -> Option<u32> {
    attribute.udata_value().and_then(|value| u32::try_from(value).ok()).filter(|value| *value != 0)
}

/// What the entry of a function says about its name.
enum Naming<'a> {
    Name(Bytes<'a>),
    /// It is said elsewhere.
    At(AttributeValue<Bytes<'a>>),
    Nothing,
}

/// The name of a function, for linkers if it has one for them.
pub(crate) fn name(
    dwarf: &Dwarf<'_>,
    unit: &Unit<'_>,
    function: &Function,
    budget: &mut Budget,
) -> Result<Option<String>> {
    let mut entry = function.entry;
    // The unit that a reference led to, when it is another one.
    let mut other: Option<Unit<'_>> = None;
    for _ in 0..MAX_REFERENCES {
        let current = other.as_ref().unwrap_or(unit);
        match naming(dwarf, current, entry, budget)? {
            Naming::Name(bytes) => {
                budget.spend(bytes.slice().len())?;
                let mut name = String::new();
                lines::append(&mut name, bytes.slice())?;
                return Ok(Some(name));
            }
            Naming::At(AttributeValue::UnitRef(offset)) => entry = offset,
            Naming::At(AttributeValue::DebugInfoRef(offset)) => {
                entry = match offset.to_unit_offset(&current.header) {
                    Some(entry) => entry,
                    None => {
                        let found = units::at(dwarf, offset, budget)?;
                        let entry = offset.to_unit_offset(&found.header).ok_or(Stopped)?;
                        other = Some(found);
                        entry
                    }
                };
            }
            _ => return Ok(None),
        }
    }
    Ok(None)
}

fn naming<'a>(
    dwarf: &Dwarf<'a>,
    unit: &Unit<'a>,
    entry: UnitOffset<usize>,
    budget: &mut Budget,
) -> Result<Naming<'a>> {
    let mut entries = unit.entries_raw(Some(entry))?;
    let Some(abbreviation) = entries.read_abbreviation()? else { return Ok(Naming::Nothing) };
    let (mut name, mut elsewhere) = (None, None);
    for spec in abbreviation.attributes() {
        budget.spend(2)?;
        let attribute = entries.read_attribute(*spec)?;
        const LINKAGE_NAMES: [DwAt; 2] = [gimli::DW_AT_linkage_name, gimli::DW_AT_MIPS_linkage_name];
        match attribute.name() {
            kind if LINKAGE_NAMES.contains(&kind) => {
                if let Ok(name) = dwarf.attr_string(unit, attribute.value()) {
                    return Ok(Naming::Name(name));
                }
            }
            gimli::DW_AT_name => name = dwarf.attr_string(unit, attribute.value()).ok(),
            gimli::DW_AT_abstract_origin | gimli::DW_AT_specification => elsewhere = Some(attribute.value()),
            _ => {}
        }
    }
    Ok(match (name, elsewhere) {
        // What it is the instance of may have the name for linkers, which says more.
        (_, Some(place)) => Naming::At(place),
        (Some(name), None) => Naming::Name(name),
        (None, None) => Naming::Nothing,
    })
}
