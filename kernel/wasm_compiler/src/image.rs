//! Data segments: where their bytes go in `.rodata.wasm`, and memory images.
//!
//! When all active segments of a memory have constant offsets within its minimum size, what they amount to is known now. Then
//! they become one image of whole pages that the runtime can map copy-on-write instead of copying segment by segment.

use crate::CompileError;
use alloc::vec::Vec;
use wasm_artifact::elf::PAGE_SIZE;
use wasm_artifact::module::*;
use wasm_artifact::{DefinedMemoryIndex, MemoryIndex};

/// An image may always have this many bytes, however few of them are not zero; 1 MiB.
const MAX_SPARSE_IMAGE: u64 = 1 << 20;

/// A larger image must not have more than this many bytes per byte of its segments.
const MAX_BYTES_PER_BYTE: u64 = 2;

/// A data segment as read.
pub(crate) struct Segment<'a> {
    pub(crate) mode: DataMode,
    pub(crate) bytes: &'a [u8],
}

/// Fills in the module's data segments and memory images, and returns the contents of `.rodata.wasm`.
pub(crate) fn build(module: &mut Module, segments: &[Segment<'_>]) -> Result<Vec<u8>, CompileError> {
    let mut rodata = Vec::new();
    for number in 0..module.memories.len() {
        let memory = module.memory_index(DefinedMemoryIndex(number as u32));
        if let Some(image) = image(memory, module.memories[number].ty.min_bytes(), segments, &mut rodata)? {
            module.memories[number].image = Some(image);
        }
    }
    for segment in segments {
        let in_image = match segment.mode {
            DataMode::Active { memory, .. } => module
                .defined_memory(memory)
                .is_some_and(|defined| module.memories[defined.index()].image.is_some()),
            _ => false,
        };
        if in_image {
            module.datas.push(DataSegment { mode: DataMode::InImage, data: 0..0 });
            continue;
        }
        let start = rodata.len() as u32;
        append(&mut rodata, segment.bytes)?;
        module.datas.push(DataSegment { mode: segment.mode, data: start..rodata.len() as u32 });
    }
    Ok(rodata)
}

fn append(rodata: &mut Vec<u8>, bytes: &[u8]) -> Result<(), CompileError> {
    const TOO_MUCH: CompileError = CompileError::Limit("its data segments exceed 2 GiB");
    let end = rodata.len() + bytes.len();
    i32::try_from(end).map_err(|_| TOO_MUCH)?;
    rodata.try_reserve(bytes.len()).map_err(|_| wasm_artifact::elf::WriteError::OutOfMemory(end))?;
    rodata.extend_from_slice(bytes);
    Ok(())
}

/// The image of a memory, appended to `rodata`; `None` when its contents are not known, empty, or too sparse.
fn image(
    memory: MemoryIndex,
    min_bytes: u64,
    segments: &[Segment<'_>],
    rodata: &mut Vec<u8>,
) -> Result<Option<MemoryImage>, CompileError> {
    let (mut start, mut end, mut sum) = (u64::MAX, 0, 0);
    let mut pieces = Vec::new();
    for segment in segments {
        match segment.mode {
            DataMode::Active { memory: target, offset } if target == memory => {
                let ConstExpr::I32(offset) = offset else { return Ok(None) };
                // The bits are an unsigned address.
                let offset = u64::from(offset as u32);
                let segment_end = offset + segment.bytes.len() as u64;
                if segment_end > min_bytes {
                    return Ok(None);
                }
                if !segment.bytes.is_empty() {
                    (start, end) = (start.min(offset), end.max(segment_end));
                    sum += segment.bytes.len() as u64;
                    pieces.push((offset, segment.bytes));
                }
            }
            _ => {}
        }
    }
    if pieces.is_empty() {
        return Ok(None);
    }
    let page = PAGE_SIZE as u64;
    let start = start / page * page;
    // The minimum size is a multiple of the page size, so rounding up stays within it.
    let len = end.next_multiple_of(page) - start;
    if len > MAX_SPARSE_IMAGE.max(sum.saturating_mul(MAX_BYTES_PER_BYTE)) {
        return Ok(None);
    }
    // Images are all made before other data, so `rodata` ends at a page boundary.
    let data_offset = rodata.len();
    let image_end = data_offset as u64 + len;
    i32::try_from(image_end).map_err(|_| CompileError::Limit("its data segments exceed 2 GiB"))?;
    let image_end = image_end as usize;
    rodata.try_reserve(len as usize).map_err(|_| wasm_artifact::elf::WriteError::OutOfMemory(image_end))?;
    rodata.resize(image_end, 0);
    for (offset, bytes) in pieces {
        let at = data_offset + (offset - start) as usize;
        rodata[at..at + bytes.len()].copy_from_slice(bytes);
    }
    Ok(Some(MemoryImage { data_offset: data_offset as u32, len: len as u32, memory_offset: start }))
}
