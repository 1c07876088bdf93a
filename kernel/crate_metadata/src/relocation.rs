//! Writing addresses into placed code and data.
//!
//! Crates are compiled with static relocation, the `kernel` code model and `local-exec` TLS; so what occurs is `64`, `32S`,
//! `PC32`, `PLT32` and `TPOFF32`. A few more that other compilers' objects may hold cost nothing to support. All values are
//! range-checked: a symbol that is too far away is an error, never a truncated address.

use core::fmt;

use crate::{
    elf::{RELA_SIZE, read_u64},
    hash::read_u32,
};

/// Types of relocations, from the x86-64 psABI, table 4.10.
pub mod kind {
    /// Nothing.
    pub const R_X86_64_NONE: u32 = 0;
    /// 64 bits: S + A.
    pub const R_X86_64_64: u32 = 1;
    /// 32 bits, signed: S + A - P.
    pub const R_X86_64_PC32: u32 = 2;
    /// 32 bits, signed: as PC32, since every function is in reach.
    pub const R_X86_64_PLT32: u32 = 4;
    /// 32 bits, unsigned: S + A.
    pub const R_X86_64_32: u32 = 10;
    /// 32 bits, signed: S + A.
    pub const R_X86_64_32S: u32 = 11;
    /// 64 bits: offset from the thread pointer + A.
    pub const R_X86_64_TPOFF64: u32 = 18;
    /// 32 bits, signed: offset from the thread pointer + A.
    pub const R_X86_64_TPOFF32: u32 = 23;
    /// 64 bits: S + A - P.
    pub const R_X86_64_PC64: u32 = 24;
}

/// What a symbol stands for when code is linked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SymbolValue {
    /// Nothing: no relocation may use it.
    #[default]
    Unresolved,
    /// An address, or an absolute value.
    Address(u64),
    /// A thread-local variable, by its offset from the thread pointer.
    ThreadOffset(i64),
}

/// One place to be written, as in upstream's crate metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelocationEntry {
    /// One of [`kind`].
    pub typ: u32,
    /// The addend, two's complement.
    pub addend: usize,
    /// Where in the target section.
    pub offset: usize,
}

impl RelocationEntry {
    /// Reads a RELA entry, and the index of the symbol it refers to.
    #[inline(always)]
    pub fn from_elf_relocation(bytes: &[u8; RELA_SIZE]) -> (Self, usize) {
        let entry = RelocationEntry {
            typ: read_u32(&bytes[8..]),
            addend: read_u64(&bytes[16..]) as usize,
            offset: read_u64(bytes) as usize,
        };
        (entry, read_u32(&bytes[12..]) as usize)
    }

    /// Whether the written value does not depend on where it is written.
    pub fn is_absolute(&self) -> bool {
        !matches!(self.typ, kind::R_X86_64_PC32 | kind::R_X86_64_PLT32 | kind::R_X86_64_PC64)
    }
}

/// Why a relocation cannot be carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelocationError {
    /// The place to be written lies outside of its section.
    OutsideOfSection {
        /// Offset of the place in its section.
        offset: usize,
    },
    /// The entry refers to a symbol that the object does not have.
    NoSuchSymbol {
        /// The symbol's index.
        symbol: usize,
    },
    /// The symbol has no value.
    Unresolved {
        /// The symbol's index.
        symbol: usize,
    },
    /// The value does not fit.
    OutOfRange {
        /// Index of the symbol.
        symbol: usize,
        /// What would have to be written.
        value: i64,
    },
    /// A thread-local variable is used like another one, or the other way round.
    WrongStorage {
        /// The symbol's index.
        symbol: usize,
    },
    /// A type of relocation that no crate is compiled to.
    UnknownType {
        /// The type.
        typ: u32,
    },
}

impl RelocationError {
    /// Index of the symbol concerned, if any.
    pub fn symbol(&self) -> Option<usize> {
        match *self {
            RelocationError::NoSuchSymbol { .. }
            | RelocationError::OutsideOfSection { .. }
            | RelocationError::UnknownType { .. } => None,
            RelocationError::Unresolved { symbol }
            | RelocationError::OutOfRange { symbol, .. }
            | RelocationError::WrongStorage { symbol } => Some(symbol),
        }
    }
}

impl fmt::Display for RelocationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RelocationError::OutsideOfSection { offset } => {
                write!(f, "a relocation at {offset:#x} lies outside of its section")
            }
            RelocationError::NoSuchSymbol { symbol } => {
                write!(f, "a relocation refers to symbol {symbol}, which does not exist")
            }
            RelocationError::Unresolved { symbol } => write!(f, "symbol {symbol} has no value"),
            RelocationError::OutOfRange { value, .. } => {
                write!(f, "{value:#x} does not fit into a relocated field: the symbol is too far away")
            }
            RelocationError::WrongStorage { .. } => {
                f.write_str("a thread-local variable and an ordinary one are taken for each other")
            }
            RelocationError::UnknownType { typ } => {
                write!(f, "relocation type {typ} is unknown: compile for x86_64-theseus, code model kernel")
            }
        }
    }
}

impl core::error::Error for RelocationError {}

/// Carries out one relocation in `target`, a section's bytes that will be executed or read at `target_address`.
///
/// `symbol` is only used to tell in an error which symbol it was.
///
/// # Errors
/// [`RelocationError`]; `target` is then unchanged.
#[inline(always)]
pub fn write_relocation(
    entry: RelocationEntry,
    target: &mut [u8],
    target_address: u64,
    symbol: usize,
    value: SymbolValue,
) -> Result<(), RelocationError> {
    let addend = entry.addend as u64;
    let address = match (value, entry.typ) {
        (_, kind::R_X86_64_NONE) => return Ok(()),
        (SymbolValue::Unresolved, _) => return Err(RelocationError::Unresolved { symbol }),
        (SymbolValue::ThreadOffset(offset), kind::R_X86_64_TPOFF32 | kind::R_X86_64_TPOFF64) => offset as u64,
        (SymbolValue::ThreadOffset(_), _) | (_, kind::R_X86_64_TPOFF32 | kind::R_X86_64_TPOFF64) => {
            return Err(RelocationError::WrongStorage { symbol });
        }
        (SymbolValue::Address(address), _) => address,
    };
    let absolute = address.wrapping_add(addend);
    let relative = absolute.wrapping_sub(target_address.wrapping_add(entry.offset as u64));
    let out_of_range = |value: u64| RelocationError::OutOfRange { symbol, value: value as i64 };
    match entry.typ {
        kind::R_X86_64_PC32 | kind::R_X86_64_PLT32 => {
            let value = i32::try_from(relative as i64).map_err(|_| out_of_range(relative))?;
            write(target, entry.offset, value.to_le_bytes())
        }
        kind::R_X86_64_32S | kind::R_X86_64_TPOFF32 => {
            let value = i32::try_from(absolute as i64).map_err(|_| out_of_range(absolute))?;
            write(target, entry.offset, value.to_le_bytes())
        }
        kind::R_X86_64_32 => {
            let value = u32::try_from(absolute).map_err(|_| out_of_range(absolute))?;
            write(target, entry.offset, value.to_le_bytes())
        }
        kind::R_X86_64_64 | kind::R_X86_64_TPOFF64 => write(target, entry.offset, absolute.to_le_bytes()),
        kind::R_X86_64_PC64 => write(target, entry.offset, relative.to_le_bytes()),
        typ => Err(RelocationError::UnknownType { typ }),
    }
}

#[inline(always)]
fn write<const N: usize>(target: &mut [u8], offset: usize, bytes: [u8; N]) -> Result<(), RelocationError> {
    let outside = RelocationError::OutsideOfSection { offset };
    let place = target.get_mut(offset..).ok_or(outside)?;
    *place.first_chunk_mut().ok_or(outside)? = bytes;
    Ok(())
}

/// Carries out all relocations of one section, whose bytes are `target` and whose final address is `target_address`.
/// `symbols` holds the value of each symbol of the object, by index.
///
/// # Errors
/// The first [`RelocationError`].
pub fn relocate_section(
    target: &mut [u8],
    target_address: u64,
    entries: &[[u8; RELA_SIZE]],
    symbols: &[SymbolValue],
) -> Result<(), RelocationError> {
    for entry in entries {
        let (entry, symbol) = RelocationEntry::from_elf_relocation(entry);
        let value = *symbols.get(symbol).ok_or(RelocationError::NoSuchSymbol { symbol })?;
        write_relocation(entry, target, target_address, symbol, value)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET: u64 = 0xFFFF_FFFF_8020_0000;

    fn relocate(
        typ: u32,
        offset: usize,
        addend: i64,
        value: SymbolValue,
    ) -> Result<[u8; 16], RelocationError> {
        let mut bytes = [0xAA; 16];
        let entry = RelocationEntry { typ, addend: addend as usize, offset };
        write_relocation(entry, &mut bytes, TARGET, 3, value).map(|()| bytes)
    }

    fn field(bytes: [u8; 16], offset: usize) -> i32 {
        i32::from_le_bytes(bytes[offset..offset + 4].try_into().unwrap())
    }

    #[test]
    fn values_are_those_of_the_abi() {
        let near = SymbolValue::Address(TARGET + 0x1000);
        assert_eq!(field(relocate(kind::R_X86_64_PC32, 4, -4, near).unwrap(), 4), 0x1000 - 4 - 4);
        assert_eq!(field(relocate(kind::R_X86_64_PLT32, 4, -4, near).unwrap(), 4), 0x1000 - 4 - 4);
        assert_eq!(field(relocate(kind::R_X86_64_32S, 12, 1, near).unwrap(), 12), 0x8020_1001u32 as i32);
        assert_eq!(
            field(relocate(kind::R_X86_64_32, 0, 1, SymbolValue::Address(0xFFFF_FFFE)).unwrap(), 0),
            -1
        );
        let bytes = relocate(kind::R_X86_64_64, 8, 16, near).unwrap();
        assert_eq!(bytes[..8], [0xAA; 8]);
        assert_eq!(bytes[8..], (TARGET + 0x1010).to_le_bytes());
        let bytes = relocate(kind::R_X86_64_PC64, 8, 0, SymbolValue::Address(0)).unwrap();
        assert_eq!(bytes[8..], (TARGET + 8).wrapping_neg().to_le_bytes());
        assert_eq!(
            field(relocate(kind::R_X86_64_TPOFF32, 0, 8, SymbolValue::ThreadOffset(-64)).unwrap(), 0),
            -56
        );
        let bytes = relocate(kind::R_X86_64_TPOFF64, 0, 8, SymbolValue::ThreadOffset(64)).unwrap();
        assert_eq!(bytes[..8], 72u64.to_le_bytes());
        assert_eq!(relocate(kind::R_X86_64_NONE, 99, 0, SymbolValue::Unresolved).unwrap(), [0xAA; 16]);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        use RelocationError::*;
        use kind::*;
        let at = SymbolValue::Address;
        let far = TARGET.wrapping_sub(1 << 31);
        assert!(relocate(R_X86_64_PC32, 0, 0, at(far)).is_ok());
        assert!(matches!(relocate(R_X86_64_PC32, 0, -1, at(far)), Err(OutOfRange { symbol: 3, .. })));
        assert!(matches!(relocate(R_X86_64_PLT32, 0, 0, at(1 << 32)), Err(OutOfRange { .. })));
        assert!(matches!(relocate(R_X86_64_32S, 0, 0, at(1 << 31)), Err(OutOfRange { .. })));
        assert!(matches!(relocate(R_X86_64_32, 0, 0, at(TARGET)), Err(OutOfRange { .. })));
        assert!(matches!(relocate(R_X86_64_32, 0, -1, at(0)), Err(OutOfRange { .. })));
        assert_eq!(relocate(R_X86_64_32S, 13, 0, at(0)), Err(OutsideOfSection { offset: 13 }));
        assert_eq!(relocate(R_X86_64_64, usize::MAX, 0, at(0)), Err(OutsideOfSection { offset: usize::MAX }));
        assert_eq!(relocate(R_X86_64_64, 0, 0, SymbolValue::Unresolved), Err(Unresolved { symbol: 3 }));
        assert_eq!(
            relocate(R_X86_64_64, 0, 0, SymbolValue::ThreadOffset(8)),
            Err(WrongStorage { symbol: 3 })
        );
        assert_eq!(relocate(R_X86_64_TPOFF32, 0, 0, at(8)), Err(WrongStorage { symbol: 3 }));
        assert_eq!(relocate(9, 0, 0, at(8)), Err(UnknownType { typ: 9 }));
        let mut entry = [0; RELA_SIZE];
        entry[12] = 1;
        let result = relocate_section(&mut [0; 8], TARGET, &[entry], &[SymbolValue::Unresolved]);
        assert_eq!(result, Err(NoSuchSymbol { symbol: 1 }));
    }
}
