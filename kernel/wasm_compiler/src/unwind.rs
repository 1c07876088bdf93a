//! Call frame information: `.eh_frame`, and the table by which `.eh_frame_hdr` makes it searchable.

use crate::CompileError;
use alloc::vec::Vec;
use cranelift_codegen::isa::TargetIsa;
use cranelift_codegen::isa::unwind::systemv::UnwindInfo;
use gimli::write::{Address, EhFrame, EndianVec, FrameTable};
use gimli::{DW_EH_PE_datarel, DW_EH_PE_pcrel, DW_EH_PE_sdata4, DW_EH_PE_udata4, DwEhPe, LittleEndian};
use wasm_artifact::elf::{eh_frame_distance, eh_frame_hdr_distance};

/// Both sections.
pub(crate) struct CallFrames {
    pub(crate) eh_frame: Vec<u8>,
    pub(crate) eh_frame_hdr: Vec<u8>,
}

/// Encodes the frames of code that is `text_len` bytes long; each with its offset in it, in ascending order.
pub(crate) fn encode<'a>(
    isa: &dyn TargetIsa,
    text_len: usize,
    frames: impl Iterator<Item = (u32, &'a UnwindInfo)>,
) -> Result<CallFrames, CompileError> {
    let failed = |error: &dyn core::fmt::Display| CompileError::codegen(&"call frame information", error);
    let mut table = FrameTable::default();
    let mut cie = isa.create_systemv_cie().ok_or_else(|| failed(&"the target has none"))?;
    cie.fde_address_encoding = DwEhPe(DW_EH_PE_pcrel.0 | DW_EH_PE_sdata4.0);
    let cie = table.add_cie(cie);
    // Addresses count from the start of `.eh_frame`, which lies this far after the code; distances come out negative.
    let text = (eh_frame_distance(text_len) as u64).wrapping_neg();
    let mut offsets = Vec::new();
    for (offset, unwind) in frames {
        table.add_fde(cie, unwind.to_fde(Address::Constant(text.wrapping_add(u64::from(offset)))));
        offsets.push(offset);
    }
    let mut eh_frame = EhFrame(EndianVec::new(LittleEndian));
    table.write_eh_frame(&mut eh_frame).map_err(|error| failed(&error))?;
    let mut eh_frame = eh_frame.0.into_vec();
    // An entry of length zero ends the section.
    eh_frame.extend([0; 4]);

    let entries = entry_offsets(&eh_frame);
    if entries.len() != offsets.len() {
        return Err(failed(&"the section does not have one entry per function"));
    }
    let distance = eh_frame_hdr_distance(eh_frame.len());
    let eh_frame_hdr = encode_header(distance, eh_frame_distance(text_len), &offsets, &entries)
        .ok_or(CompileError::Limit("its code exceeds 2 GiB"))?;
    Ok(CallFrames { eh_frame, eh_frame_hdr })
}

/// Offsets in `.eh_frame` of the frame descriptions, in order.
fn entry_offsets(eh_frame: &[u8]) -> Vec<usize> {
    let word =
        |at: usize| u32::from_le_bytes([eh_frame[at], eh_frame[at + 1], eh_frame[at + 2], eh_frame[at + 3]]);
    let mut offsets = Vec::new();
    let mut at = 0;
    while word(at) != 0 {
        // The second word is zero in a CIE, and the distance to its CIE in a frame description.
        if word(at + 4) != 0 {
            offsets.push(at);
        }
        at += 4 + word(at) as usize;
    }
    offsets
}

/// The search table: `.eh_frame` lies `distance` before it, the code `text_distance` before `.eh_frame`. `None` when a distance
/// does not fit in 32 bits.
fn encode_header(
    distance: usize,
    text_distance: usize,
    functions: &[u32],
    entries: &[usize],
) -> Option<Vec<u8>> {
    let relative = DW_EH_PE_sdata4.0;
    let mut header =
        alloc::vec![1, DW_EH_PE_pcrel.0 | relative, DW_EH_PE_udata4.0, DW_EH_PE_datarel.0 | relative];
    // The pointer is relative to itself, four bytes into the section; the table to the section's start.
    header.extend(i32::try_from(-(distance as i64) - 4).ok()?.to_le_bytes());
    header.extend(u32::try_from(functions.len()).ok()?.to_le_bytes());
    for (&function, &entry) in functions.iter().zip(entries) {
        let function = i64::from(function) - text_distance as i64 - distance as i64;
        header.extend(i32::try_from(function).ok()?.to_le_bytes());
        header.extend(i32::try_from(entry as i64 - distance as i64).ok()?.to_le_bytes());
    }
    Some(header)
}
