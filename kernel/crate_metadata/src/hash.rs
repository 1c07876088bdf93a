//! Symbol names as numbers: the hash that all symbol tables share, and the table that is read in place.

use alloc::{vec, vec::Vec};

/// Odd, with its one bits spread: 2^64 divided by the golden ratio.
const MULTIPLIER: u64 = 0x9E37_79B9_7F4A_7C15;
const SEED: u64 = 0x5448_4553_4555_5331;
const LOW_BITS: u64 = 0x0101_0101_0101_0101;
const HIGH_BITS: u64 = 0x8080_8080_8080_8080;

#[inline(always)]
fn add_word(hash: u64, word: u64) -> u64 {
    (hash.rotate_left(23) ^ word).wrapping_mul(MULTIPLIER)
}

#[inline(always)]
fn finish(hash: u64, length: usize) -> u64 {
    let mixed = (hash ^ (hash >> 32) ^ length as u64).wrapping_mul(MULTIPLIER);
    mixed ^ (mixed >> 29)
}

/// The hash of a symbol's name, as stored in all tables: 64 bits, eight bytes of name at a time.
///
/// Part of the formats of [`crate::base_symbols`] and [`crate::symbol_index`]; not meant to resist an attacker.
pub fn symbol_hash(name: &[u8]) -> u64 {
    let (words, rest) = name.as_chunks::<8>();
    let mut hash = SEED;
    for word in words {
        hash = add_word(hash, u64::from_le_bytes(*word));
    }
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    finish(add_word(hash, u64::from_le_bytes(last)), name.len())
}

/// Hash and length of the zero-terminated name at the beginning of `bytes`: one pass over it instead of two.
/// `None` if there is no terminator.
pub fn hash_c_string(bytes: &[u8]) -> Option<(u64, usize)> {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut hash = SEED;
    for (index, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        // The lowest set bit marks the first zero byte.
        let zeros = word.wrapping_sub(LOW_BITS) & !word & HIGH_BITS;
        if zeros != 0 {
            let bits = zeros.trailing_zeros() & !7;
            let length = index * 8 + bits as usize / 8;
            let kept = word & !(u64::MAX << bits);
            return Some((finish(add_word(hash, kept), length), length));
        }
        hash = add_word(hash, word);
    }
    let end = rest.iter().position(|byte| *byte == 0)?;
    let mut last = [0; 8];
    last[..end].copy_from_slice(&rest[..end]);
    let length = words.len() * 8 + end;
    Some((finish(add_word(hash, u64::from_le_bytes(last)), length), length))
}

/// A hash table in a file: from a name's hash to a number below `u32::MAX`.
///
/// Open addressing with linear probing over a power of two of slots, 8 bytes each, little endian:
/// `tag: u32` (the hash's upper half), `value + 1: u32` (0 = empty slot). Names are not stored, so a hit is a
/// candidate that the caller compares.
#[derive(Clone, Copy)]
pub struct NameTable<'a> {
    slots: &'a [[u8; 8]],
}

impl<'a> NameTable<'a> {
    /// Reads a table from `bytes`. `None` if their number is no power of two of slots.
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        let (slots, rest) = bytes.as_chunks::<8>();
        (rest.is_empty() && slots.len().is_power_of_two()).then_some(NameTable { slots })
    }

    /// All values stored for a name with this hash (and, rarely, others).
    pub fn candidates(self, hash: u64) -> impl Iterator<Item = u32> + 'a {
        let mask = self.slots.len() - 1;
        let tag = (hash >> 32) as u32;
        let start = hash as usize;
        (0..self.slots.len())
            .map(move |distance| {
                let slot = &self.slots[(start + distance) & mask];
                let (tag_bytes, value) = slot.split_at(4);
                (read_u32(tag_bytes), read_u32(value))
            })
            .take_while(|(_, value)| *value != 0)
            .filter(move |(slot_tag, _)| *slot_tag == tag)
            .map(|(_, value)| value - 1)
    }

    /// Makes the bytes of a table that maps each hash to its value, at most two thirds full.
    ///
    /// # Panics
    /// If a value is `u32::MAX`.
    pub fn encode(entries: &[(u64, u32)]) -> Vec<u8> {
        let slot_count = (entries.len() * 3 / 2 + 1).next_power_of_two();
        let mut slots = vec![(0u32, 0u32); slot_count];
        for (hash, value) in entries {
            let mut index = *hash as usize & (slot_count - 1);
            while slots[index].1 != 0 {
                index = (index + 1) & (slot_count - 1);
            }
            slots[index] =
                ((hash >> 32) as u32, value.checked_add(1).expect("the value leaves room for a marker"));
        }
        slots.iter().flat_map(|(tag, value)| [tag.to_le_bytes(), value.to_le_bytes()]).flatten().collect()
    }
}

/// Reads the first four bytes of `bytes` as a little-endian number.
pub(crate) fn read_u32(bytes: &[u8]) -> u32 {
    u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_of_hashing_agree_for_every_length() {
        let text: Vec<u8> = (0..200u32).map(|i| (i * 7 % 255 + 1) as u8).collect();
        for length in 0..text.len() {
            let mut terminated = text[..length].to_vec();
            assert_eq!(hash_c_string(&terminated), None);
            terminated.extend_from_slice(b"\0more\0");
            assert_eq!(
                hash_c_string(&terminated),
                Some((symbol_hash(&text[..length]), length)),
                "length {length}"
            );
        }
    }

    #[test]
    fn a_byte_of_128_or_more_does_not_look_like_an_end() {
        let name = b"\xFF\x80\x81\x01\x80\x01\x01\x80\x80";
        let mut terminated = name.to_vec();
        terminated.extend([0; 9]);
        assert_eq!(hash_c_string(&terminated), Some((symbol_hash(name), name.len())));
    }

    #[test]
    fn a_table_finds_what_it_was_made_of_and_nothing_else() {
        let name = |i: u32| std::format!("_RNvCs_{i}_name");
        let entries: Vec<_> = (0..1000).map(|i| (symbol_hash(name(i).as_bytes()), i)).collect();
        let bytes = NameTable::encode(&entries);
        let table = NameTable::new(&bytes).unwrap();
        for i in 0..1000 {
            assert!(table.candidates(symbol_hash(name(i).as_bytes())).any(|value| value == i));
        }
        for i in 1000..3000 {
            assert_eq!(table.candidates(symbol_hash(name(i).as_bytes())).count(), 0);
        }
        assert!(NameTable::new(&bytes[8..]).is_none());
        assert_eq!(NameTable::new(&NameTable::encode(&[])).unwrap().candidates(5).count(), 0);
    }

    #[test]
    fn a_table_without_an_empty_slot_ends_the_search() {
        let full: Vec<u8> = [[1u8, 0, 0, 0, 9, 0, 0, 0]; 4].concat();
        assert_eq!(NameTable::new(&full).unwrap().candidates(0).count(), 0);
    }
}
