//! Sorted tables of `(code offset, value)` that are searched where they lie, without decoding them first.
//!
//! ```text
//! u32 number of blocks
//! per block:  u32 first key, u32 offset of its entries from the start of the entries
//! entries:    per entry  ULEB128 (key - previous key of the block), SLEB128 (value - previous value of the block)
//! ```
//! Within a block the key before the first is the block's first key, the value before the first is 0. Blocks have
//! the same number of entries but the last. All numbers are little-endian and unaligned. A look-up is a binary search for the
//! block and a walk through its entries; it neither allocates nor panics, whatever the bytes are, so that it can run in an
//! exception handler.

use alloc::vec::Vec;

/// How many trap sites share a block: what a trap costs depends on it.
pub const TRAPS_PER_BLOCK: usize = 8;

/// How many entries share a block otherwise. A look-up walks through half a block on average, which is most of its work; the index takes
/// 8 bytes per block, half a byte per entry.
pub const ENTRIES_PER_BLOCK: usize = 16;

/// A table in place.
#[derive(Clone, Copy, Debug)]
pub struct SideTable<'a> {
    index: &'a [u8],
    entries: &'a [u8],
}

impl<'a> SideTable<'a> {
    /// The table in these bytes; `None` when they are too short for the number of blocks they claim.
    pub fn new(bytes: &'a [u8]) -> Option<SideTable<'a>> {
        let (count, rest) = bytes.split_first_chunk::<4>()?;
        let index_len = usize::try_from(u32::from_le_bytes(*count)).ok()?.checked_mul(8)?;
        let (index, entries) = rest.split_at_checked(index_len)?;
        Some(SideTable { index, entries })
    }

    /// The entries of the block where `key` is, if it is anywhere.
    #[inline]
    fn block_of(&self, key: u32) -> Option<Walk<'a>> {
        let blocks = self.index.as_chunks::<8>().0;
        let after = blocks.partition_point(|block| first_key(block) <= key);
        let (first, start) = read_block(blocks.get(after.checked_sub(1)?)?);
        let end = blocks.get(after).map_or(self.entries.len(), |block| read_block(block).1 as usize);
        Some(Walk { bytes: self.entries.get(start as usize..end)?, key: first, value: 0 })
    }

    /// The entry with the greatest key that is not above `key`.
    #[inline]
    pub fn floor(&self, key: u32) -> Option<(u32, u32)> {
        self.block_of(key)?.take_while(|entry| entry.0 <= key).last()
    }

    /// The value at exactly this key.
    #[inline]
    pub fn get(&self, key: u32) -> Option<u32> {
        let mut walk = self.block_of(key)?;
        loop {
            let (at, value) = walk.next()?;
            if at >= key {
                return (at == key).then_some(value);
            }
        }
    }

    /// All entries, in the order of their keys.
    pub fn iter(self) -> impl Iterator<Item = (u32, u32)> + 'a {
        let blocks = self.index.as_chunks::<8>().0;
        blocks.iter().enumerate().flat_map(move |(number, block)| {
            let (first, start) = read_block(block);
            let end = blocks.get(number + 1).map_or(self.entries.len(), |block| read_block(block).1 as usize);
            Walk { bytes: self.entries.get(start as usize..end).unwrap_or_default(), key: first, value: 0 }
        })
    }
}

#[inline]
fn first_key(block: &[u8; 8]) -> u32 {
    u32::from_le_bytes([block[0], block[1], block[2], block[3]])
}

/// First key and offset of the entries.
#[inline]
fn read_block(block: &[u8; 8]) -> (u32, u32) {
    (first_key(block), u32::from_le_bytes([block[4], block[5], block[6], block[7]]))
}

/// A way through entries: the ones to come, and the latest one.
#[derive(Clone, Copy)]
struct Walk<'a> {
    bytes: &'a [u8],
    key: u32,
    value: u32,
}

impl Iterator for Walk<'_> {
    type Item = (u32, u32);

    #[inline]
    fn next(&mut self) -> Option<(u32, u32)> {
        // Most entries are two bytes.
        if let [delta, change, rest @ ..] = self.bytes
            && (delta | change) & 0x80 == 0
        {
            self.bytes = rest;
            self.key = self.key.wrapping_add(u32::from(*delta));
            // Sign-extended from the seventh bit.
            let change = (u32::from(*change) << 25).cast_signed().wrapping_shr(25).cast_unsigned();
            self.value = self.value.wrapping_add(change);
        } else {
            *self = self.after_long()?;
        }
        Some((self.key, self.value))
    }
}

impl Walk<'_> {
    /// One entry further, of any length. By value, so that a walk along short entries needs no memory.
    fn after_long(mut self) -> Option<Self> {
        let delta = self.read_leb()?.0;
        let (raw, bits) = self.read_leb()?;
        // Sign-extend from the last bit that was read.
        let change = if bits < 32 && raw >> (bits - 1) & 1 == 1 { raw | u32::MAX << bits } else { raw };
        self.key = self.key.wrapping_add(delta);
        self.value = self.value.wrapping_add(change);
        Some(self)
    }

    /// A LEB128 number's low 32 bits and how many bits were read.
    fn read_leb(&mut self) -> Option<(u32, u32)> {
        let (mut value, mut bits) = (0u32, 0);
        loop {
            let (&byte, rest) = self.bytes.split_first()?;
            self.bytes = rest;
            if bits < 32 {
                value |= u32::from(byte & 0x7f) << bits;
            }
            bits = (bits + 7).min(35);
            if byte & 0x80 == 0 {
                return Some((value, bits));
            }
        }
    }
}

/// Encodes entries, which must be sorted by key without duplicates.
///
/// # Panics
/// When they are not.
pub fn encode(entries: &[(u32, u32)]) -> Vec<u8> {
    encode_blocks(entries, ENTRIES_PER_BLOCK)
}

/// As [`encode`], with so many entries in a block.
///
/// # Panics
/// As [`encode`].
pub fn encode_blocks(entries: &[(u32, u32)], entries_per_block: usize) -> Vec<u8> {
    assert!(
        entries.windows(2).all(|pair| pair[0].0 < pair[1].0),
        "side table entries must be sorted and unique"
    );
    let blocks = entries.chunks(entries_per_block);
    let mut index = Vec::with_capacity(4 + blocks.len() * 8);
    index.extend((blocks.len() as u32).to_le_bytes());
    let mut data = Vec::with_capacity(entries.len() * 3);
    for block in blocks {
        let (mut key, mut value) = (block[0].0, 0u32);
        index.extend(key.to_le_bytes());
        index.extend((data.len() as u32).to_le_bytes());
        for entry in block {
            write_uleb(&mut data, entry.0 - key);
            write_sleb(&mut data, entry.1.wrapping_sub(value) as i32);
            (key, value) = *entry;
        }
    }
    index.extend(data);
    index
}

fn write_uleb(out: &mut Vec<u8>, mut value: u32) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn write_sleb(out: &mut Vec<u8>, mut value: i32) {
    while !(-64..64).contains(&value) {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8 & 0x7f);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers that look random, the same on every run.
    fn numbers(mut state: u64) -> impl FnMut() -> u32 {
        move || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) as u32
        }
    }

    #[test]
    fn finds_what_was_put_in_and_nothing_else() {
        let mut random = numbers(1);
        for count in [0, 1, 2, 31, 32, 33, 64, 1000] {
            let mut key = random() % 100;
            let entries: Vec<(u32, u32)> = (0..count)
                .map(|_| {
                    key += 1 + random() % 300;
                    (key, if random().is_multiple_of(4) { random() << 1 } else { random() % 20 })
                })
                .collect();
            let bytes = encode(&entries);
            let table = SideTable::new(&bytes).unwrap();
            assert_eq!(table.iter().collect::<Vec<_>>(), entries);
            for probe in 0..key + 2 {
                let expected = entries.iter().rev().find(|entry| entry.0 <= probe).copied();
                assert_eq!(table.floor(probe), expected, "{count} entries, probe {probe}");
                assert_eq!(table.get(probe), expected.filter(|e| e.0 == probe).map(|e| e.1));
            }
        }
    }

    #[test]
    fn extreme_values_survive() {
        let entries = [(0, u32::MAX), (1, 0), (2, 0x8000_0000), (3, 0x7fff_ffff), (u32::MAX, 63)];
        let bytes = encode(&entries);
        assert_eq!(SideTable::new(&bytes).unwrap().iter().collect::<Vec<_>>(), entries);
    }

    #[test]
    fn random_bytes_are_searched_without_panic() {
        let mut random = numbers(7);
        for round in 0..2000u32 {
            let mut bytes: Vec<u8> = (0..random() % 200).map(|_| random() as u8).collect();
            if let Some(count) = bytes.first_chunk_mut::<4>() {
                *count = (round % 12).to_le_bytes();
            }
            if let Some(table) = SideTable::new(&bytes) {
                let _ = table.floor(random());
                let _ = table.floor(random() & 0xffff);
                let _ = table.iter().count();
            }
        }
    }
}
