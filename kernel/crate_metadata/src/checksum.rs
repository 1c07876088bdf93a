//! The checksum that `image_builder` puts into an object file, and the loader's check of it.
//!
//! The section [`SECTION_NAME`] holds eight bytes: the sum over the whole file, those eight bytes counted as zeros. A cut
//! file or a flipped bit anywhere is seen. It guards against damage, not against malice.

use crate::elf::ObjectFile;

/// Name of the section with the checksum.
pub const SECTION_NAME: &str = ".theseus.checksum";

/// Multipliers of the four lanes; odd, so that no bit of a word is lost.
const LANES: [u64; 4] =
    [0x9E37_79B9_7F4A_7C15, 0xC2B2_AE3D_27D4_EB4F, 0x1656_67B1_9E37_79F9, 0x27D4_EB2F_1656_67C5];

/// What [`verify`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The file is as `image_builder` wrote it.
    Intact,
    /// The file holds no checksum.
    Absent,
    /// The file is not as it was written.
    Damaged,
}

/// The sum of `bytes`, of which the eight at `hole` count as zeros.
pub fn compute(bytes: &[u8], hole: usize) -> u64 {
    let mut lanes = LANES;
    let end = bytes.len().min(hole.saturating_add(8));
    let hole = hole.min(bytes.len());
    // The parts around the hole go through the same lanes one after the other; the lengths tell them apart.
    for part in [&bytes[..hole], &bytes[end..]] {
        let (blocks, rest) = part.as_chunks::<32>();
        for block in blocks {
            add_block(&mut lanes, block);
        }
        let mut last = [0; 32];
        last[..rest.len()].copy_from_slice(rest);
        add_block(&mut lanes, &last);
    }
    let mut sum = bytes.len() as u64 ^ (hole as u64).rotate_left(32);
    for lane in lanes {
        sum = (sum ^ lane ^ (lane >> 31)).wrapping_mul(LANES[0]).rotate_left(29);
    }
    sum ^ (sum >> 32)
}

#[inline(always)]
fn add_block(lanes: &mut [u64; 4], block: &[u8; 32]) {
    let (words, _) = block.as_chunks::<8>();
    for ((lane, word), multiplier) in lanes.iter_mut().zip(words).zip(LANES) {
        // For a fixed word this is a bijection of the lane, and for a fixed lane one of the word: one changed word
        // always changes the lane, and the lanes after it keep the difference.
        *lane = (*lane ^ u64::from_le_bytes(*word)).wrapping_mul(multiplier).rotate_left(27);
    }
}

/// Compares the checksum in `object` with its bytes.
pub fn verify(object: &ObjectFile<'_>) -> Verdict {
    let Some(section) = object.section_by_name(SECTION_NAME) else { return Verdict::Absent };
    let header = object.section(section);
    let Ok(stored) = <[u8; 8]>::try_from(object.section_data(section)) else { return Verdict::Damaged };
    let sum = compute(object.bytes(), header.offset as usize);
    if sum == u64::from_le_bytes(stored) { Verdict::Intact } else { Verdict::Damaged }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn every_flipped_bit_and_every_cut_changes_the_sum() {
        let bytes: Vec<u8> = (0..333u32).map(|i| (i * i % 251) as u8).collect();
        let sum = compute(&bytes, 100);
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            let in_hole = (100..108).contains(&(bit / 8));
            assert_eq!(compute(&changed, 100) == sum, in_hole, "bit {bit}");
        }
        for length in 0..bytes.len() {
            assert_ne!(compute(&bytes[..length], 100), sum, "length {length}");
        }
    }
}
