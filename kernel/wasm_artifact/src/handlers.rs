//! `.wasmc.handlers`: for calls inside of `try_table`, where exceptions that come out of them go.
//!
//! All numbers are `u32`, little-endian:
//! ```text
//! length of the side table
//! side table: offset in .text of a return address -> offset of the call's record, in bytes from the end of the side table
//! records:    frame size, offset of the context, number of clauses;
//!             per clause, innermost first:  tag, offset in .text of the landing pad
//! ```
//! The frame size is what the stack pointer at the call is below the frame pointer. The context is that of the instance whose code
//! calls; it lies so far above the stack pointer. A tag is its index times 2, or [`CATCH_ALL`], plus 1 if the clause wants the reference.
//!
//! A landing pad expects the stack and frame pointer of its function, the reference to the exception in `rax` (or anything, if the clause
//! does not want it), and in `rdx` the address of the exception's fields, an array of [`crate::vmctx::ValRaw`].

use crate::index::TagIndex;
use crate::side_table::{self, SideTable};
use alloc::vec::Vec;

/// Stands for any tag. Greater than any index times 2: modules have at most a million tags.
pub const CATCH_ALL: u32 = 0xffff_fff0;

/// A clause of a `try_table` around a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HandlerClause {
    /// What it catches; `None` for everything.
    pub tag: Option<TagIndex>,
    /// Whether it wants the reference.
    pub wants_reference: bool,
    /// Offset in `.text` of its landing pad.
    pub landing_pad: u32,
}

impl HandlerClause {
    /// The first number of a clause.
    pub fn encode_tag(tag: Option<TagIndex>, wants_reference: bool) -> u32 {
        tag.map_or(CATCH_ALL, |tag| tag.0 * 2) + u32::from(wants_reference)
    }

    /// The clause of these two numbers.
    pub fn decode(tag: u32, landing_pad: u32) -> HandlerClause {
        let index = tag & !1;
        HandlerClause {
            tag: (index != CATCH_ALL).then_some(TagIndex(index / 2)),
            wants_reference: tag & 1 != 0,
            landing_pad,
        }
    }
}

/// A call with handlers.
#[derive(Clone, Copy, Debug)]
pub struct HandledCall<'a> {
    /// What the stack pointer at the call is below the frame pointer, in bytes.
    pub frame_size: u32,
    /// How far above the stack pointer the address of the instance's context is, in bytes.
    pub context_offset: u32,
    clauses: &'a [u8],
}

impl<'a> HandledCall<'a> {
    /// The clauses, innermost first.
    pub fn clauses(&self) -> impl Iterator<Item = HandlerClause> + 'a {
        let clauses = self.clauses.as_chunks::<8>().0;
        clauses.iter().map(|[a, b, c, d, e, f, g, h]| {
            HandlerClause::decode(u32::from_le_bytes([*a, *b, *c, *d]), u32::from_le_bytes([*e, *f, *g, *h]))
        })
    }
}

/// The section, in place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HandlerTable<'a> {
    calls: SideTable<'a>,
    records: &'a [u8],
}

impl<'a> HandlerTable<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Option<HandlerTable<'a>> {
        let (len, rest) = bytes.split_first_chunk::<4>()?;
        let (calls, records) = rest.split_at_checked(u32::from_le_bytes(*len) as usize)?;
        Some(HandlerTable { calls: SideTable::new(calls)?, records })
    }

    pub(crate) fn get(&self, return_address: u32) -> Option<HandledCall<'a>> {
        self.record(self.calls.get(return_address)?)
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = (u32, Option<HandledCall<'a>>)> + 'a {
        self.calls.iter().map(move |(return_address, record)| (return_address, self.record(record)))
    }

    fn record(&self, at: u32) -> Option<HandledCall<'a>> {
        let (head, rest) = self.records.get(at as usize..)?.split_first_chunk::<12>()?;
        let number = |n: usize| u32::from_le_bytes([head[n], head[n + 1], head[n + 2], head[n + 3]]);
        let clauses = rest.get(..(number(8) as usize).checked_mul(8)?)?;
        Some(HandledCall { frame_size: number(0), context_offset: number(4), clauses })
    }
}

/// A call to be encoded.
#[derive(Clone, Debug)]
pub struct Call {
    /// Offset in `.text` to which it returns.
    pub return_address: u32,
    /// As in [`HandledCall`].
    pub frame_size: u32,
    /// As in [`HandledCall`].
    pub context_offset: u32,
    /// Its clauses, innermost first.
    pub clauses: Vec<HandlerClause>,
}

/// Encodes the section; calls must be sorted by return address, without duplicates.
///
/// # Panics
/// When they are not.
pub fn encode(calls: &[Call]) -> Vec<u8> {
    let mut records: Vec<u8> = Vec::new();
    let mut entries = Vec::with_capacity(calls.len());
    let mut latest = 0;
    for call in calls {
        let start = records.len();
        for number in [call.frame_size, call.context_offset, call.clauses.len() as u32] {
            records.extend(number.to_le_bytes());
        }
        for clause in &call.clauses {
            records.extend(HandlerClause::encode_tag(clause.tag, clause.wants_reference).to_le_bytes());
            records.extend(clause.landing_pad.to_le_bytes());
        }
        // The calls of one `try_table` have one record.
        match records[latest..start] == records[start..] {
            true => records.truncate(start),
            false => latest = start,
        }
        entries.push((call.return_address, latest as u32));
    }
    let calls = side_table::encode(&entries);
    let mut out = Vec::with_capacity(4 + calls.len() + records.len());
    out.extend((calls.len() as u32).to_le_bytes());
    out.extend(calls);
    out.extend(records);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calls() -> Vec<Call> {
        let clause = |tag: Option<u32>, wants_reference, landing_pad| HandlerClause {
            tag: tag.map(TagIndex),
            wants_reference,
            landing_pad,
        };
        let first = Call {
            return_address: 5,
            frame_size: 32,
            context_offset: 8,
            clauses: [clause(Some(0), false, 70), clause(None, true, 90)].into(),
        };
        let second = Call { return_address: 11, ..first.clone() };
        let third = Call {
            return_address: 200,
            frame_size: 0,
            context_offset: 0,
            clauses: [clause(Some(7), true, 300)].into(),
        };
        [first, second, third].into()
    }

    #[test]
    fn what_was_put_in_is_found_and_nothing_else() {
        let bytes = encode(&calls());
        let table = HandlerTable::new(&bytes).unwrap();
        for call in calls() {
            let found = table.get(call.return_address).unwrap();
            assert_eq!((found.frame_size, found.context_offset), (call.frame_size, call.context_offset));
            assert_eq!(found.clauses().collect::<Vec<_>>(), call.clauses);
        }
        assert!([0, 4, 6, 12, 199, 201].iter().all(|at| table.get(*at).is_none()));
        assert_eq!(table.iter().map(|call| call.0).collect::<Vec<_>>(), [5, 11, 200]);
    }

    #[test]
    fn equal_records_are_stored_once() {
        let [first, second, third] = <[Call; 3]>::try_from(calls()).unwrap();
        let one = encode(&[first.clone(), third.clone()]).len();
        let two = encode(&[first, second, third]).len();
        assert!(two - one < 12, "{one} {two}");
    }

    #[test]
    fn a_table_cut_anywhere_is_searched_without_panic() {
        let bytes = encode(&calls());
        for cut in 0..bytes.len() {
            if let Some(table) = HandlerTable::new(&bytes[..cut]) {
                for at in 0..210 {
                    let _ = table.get(at).map(|call| call.clauses().count());
                }
            }
        }
    }
}
