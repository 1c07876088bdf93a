//! `memory.copy` and `memory.fill` of few bytes, whose number is known: moved through registers instead of calling the runtime.
//!
//! Both must trap without having written anything when a range ends outside of its memory. So all loads come first, then the
//! stores, the one that reaches furthest before all others: a memory ends where a page ends, and a store across that border
//! writes nothing when it faults. That first store has at most 8 bytes, because emulators do larger ones in two steps.

use super::FunctionTranslator;
use super::memory::Address;
use alloc::vec;
use alloc::vec::Vec;
use cranelift_codegen::ir::{
    InstBuilder, InstructionData, MemFlagsData, Opcode, Type, Value, ValueDef, types,
};
use wasm_artifact::MemoryIndex;
use wasmparser::MemArg;

/// The most bytes that are moved so: four vector registers.
const MAX_INLINE: u64 = 64;

/// How `len` bytes are covered: types and offsets of accesses. They may overlap. The last one reaches to the end.
fn pieces(len: u64) -> Vec<(Type, u64)> {
    let ty = match len {
        1 => types::I8,
        2..4 => types::I16,
        4..8 => types::I32,
        _ => types::I64,
    };
    let size = u64::from(ty.bytes());
    if len < 16 {
        return match len == size {
            true => vec![(ty, 0)],
            false => vec![(ty, 0), (ty, len - size)],
        };
    }
    let mut pieces: Vec<_> = (0..len / 16).map(|piece| (types::I8X16, piece * 16)).collect();
    if len % 16 > 8 {
        pieces.push((types::I8X16, len - 16));
    }
    pieces.push((types::I64, len - 8));
    pieces
}

impl FunctionTranslator<'_, '_> {
    /// The number of bytes that this value stands for, if it is known and so few that they are moved inline.
    fn inline_length(&self, len: Value, memories: &[MemoryIndex]) -> Option<u64> {
        let ValueDef::Result(instruction, _) = self.builder.func.dfg.value_def(len) else { return None };
        let InstructionData::UnaryImm { opcode: Opcode::Iconst, imm } =
            self.builder.func.dfg.insts[instruction]
        else {
            return None;
        };
        let len = imm.bits() as u32;
        let len = u64::from(len);
        // Where accesses are checked one by one, the runtime checks faster.
        let unchecked = memories.iter().all(|&memory| self.memory_plan(memory).elides_check(0, MAX_INLINE));
        (unchecked && (1..=MAX_INLINE).contains(&len)).then_some(len)
    }

    fn piece(&mut self, memory: MemoryIndex, base: Value, offset: u64, ty: Type) -> (Address, MemFlagsData) {
        let memarg = MemArg { align: 0, max_align: 0, offset, memory: memory.0 };
        (self.address_of(base, memarg, u64::from(ty.bytes())), self.access_flags())
    }

    /// Copies inline, if the length permits; returns whether it did.
    pub(super) fn copy_inline(
        &mut self,
        (dst_memory, dst): (MemoryIndex, Value),
        (src_memory, src): (MemoryIndex, Value),
        len: Value,
    ) -> bool {
        let Some(len) = self.inline_length(len, &[dst_memory, src_memory]) else { return false };
        let pieces = pieces(len);
        let mut values = Vec::with_capacity(pieces.len());
        for &(ty, offset) in &pieces {
            let (Address(base, offset), flags) = self.piece(src_memory, src, offset, ty);
            values.push(self.builder.ins().load(ty, flags, base, offset));
        }
        for (&(ty, offset), &value) in pieces.iter().zip(&values).rev() {
            let (Address(base, offset), flags) = self.piece(dst_memory, dst, offset, ty);
            self.builder.ins().store(flags, value, base, offset);
        }
        true
    }

    /// Fills inline, if the length permits; returns whether it did.
    pub(super) fn fill_inline(&mut self, memory: MemoryIndex, dst: Value, value: Value, len: Value) -> bool {
        let Some(len) = self.inline_length(len, &[memory]) else { return false };
        let byte = self.builder.ins().ireduce(types::I8, value);
        // A byte times 0x0101… is that byte everywhere.
        let wide = self.builder.ins().uextend(types::I64, byte);
        let wide = self.builder.ins().imul_imm_u(wide, 0x0101_0101_0101_0101);
        for &(ty, offset) in pieces(len).iter().rev() {
            let pattern = match ty {
                types::I64 => wide,
                types::I8X16 => self.builder.ins().splat(ty, byte),
                _ => self.builder.ins().ireduce(ty, wide),
            };
            let (Address(base, offset), flags) = self.piece(memory, dst, offset, ty);
            self.builder.ins().store(flags, pattern, base, offset);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_cover_every_length_exactly() {
        for len in 1..=MAX_INLINE {
            let pieces = pieces(len);
            let mut covered = 0;
            for &(ty, offset) in &pieces {
                assert!(offset <= covered, "{len}: hole before {offset}");
                covered = offset + u64::from(ty.bytes());
            }
            assert_eq!(covered, len);
            assert!(pieces.last().is_some_and(|(ty, _)| ty.bytes() <= 8) && pieces.len() <= 5);
        }
    }
}
