//! Vectors as such: constants, lanes in and out, shuffles, bits.

use super::unary;
use crate::abi::{POINTER, VECTOR};
use crate::function::FunctionTranslator;
use cranelift_codegen::ir::{ConstantData, InstBuilder, MemFlagsData, Type, Value, types};
use wasmparser::Operator;

impl FunctionTranslator<'_, '_> {
    pub(super) fn lane_operator(&mut self, operator: &Operator<'_>) -> bool {
        use Operator as O;
        match *operator {
            O::V128Const { value } => {
                let value = self.vector_constant(VECTOR, u128::from_le_bytes(*value.bytes()));
                self.push(value);
            }
            O::I8x16Splat => self.splat(types::I8X16),
            O::I16x8Splat => self.splat(types::I16X8),
            O::I32x4Splat => self.splat(types::I32X4),
            O::I64x2Splat => self.splat(types::I64X2),
            O::F32x4Splat => self.splat(types::F32X4),
            O::F64x2Splat => self.splat(types::F64X2),
            O::I8x16ExtractLaneS { lane } => self.extract_narrow(types::I8X16, lane, true),
            O::I8x16ExtractLaneU { lane } => self.extract_narrow(types::I8X16, lane, false),
            O::I16x8ExtractLaneS { lane } => self.extract_narrow(types::I16X8, lane, true),
            O::I16x8ExtractLaneU { lane } => self.extract_narrow(types::I16X8, lane, false),
            O::I32x4ExtractLane { lane } => self.extract(types::I32X4, lane),
            O::I64x2ExtractLane { lane } => self.extract(types::I64X2, lane),
            O::F32x4ExtractLane { lane } => self.extract(types::F32X4, lane),
            O::F64x2ExtractLane { lane } => self.extract(types::F64X2, lane),
            O::I8x16ReplaceLane { lane } => self.replace(types::I8X16, lane),
            O::I16x8ReplaceLane { lane } => self.replace(types::I16X8, lane),
            O::I32x4ReplaceLane { lane } => self.replace(types::I32X4, lane),
            O::I64x2ReplaceLane { lane } => self.replace(types::I64X2, lane),
            O::F32x4ReplaceLane { lane } => self.replace(types::F32X4, lane),
            O::F64x2ReplaceLane { lane } => self.replace(types::F64X2, lane),
            O::I8x16Shuffle { lanes } => {
                let [low, high] = self.pop_two_lanes(types::I8X16);
                let result = match self.vectors.has_ssse3 || has_instruction(lanes) {
                    true => {
                        let mask = self.builder.func.dfg.immediates.push(ConstantData::from(&lanes[..]));
                        self.builder.ins().shuffle(low, high, mask)
                    }
                    false => self.shuffle_in_memory(low, high, lanes),
                };
                self.push(result);
            }
            O::I8x16Swizzle => {
                let [vector, indices] = self.pop_two_lanes(types::I8X16);
                let result = match self.vectors.has_ssse3 {
                    true => self.builder.ins().swizzle(vector, indices),
                    false => self.swizzle_in_memory(vector, indices),
                };
                self.push(result);
            }
            O::V128Not => {
                let value = self.pop();
                let result = self.builder.ins().bnot(value);
                self.push(result);
            }
            O::V128And => self.bitwise(|this, left, right| this.builder.ins().band(left, right)),
            O::V128AndNot => self.bitwise(|this, left, right| this.builder.ins().band_not(left, right)),
            O::V128Or => self.bitwise(|this, left, right| this.builder.ins().bor(left, right)),
            O::V128Xor => self.bitwise(|this, left, right| this.builder.ins().bxor(left, right)),
            O::V128Bitselect => {
                let [first, second, condition] = self.pop_many();
                let ty = self.builder.func.dfg.value_type(condition);
                // The condition tells more than the others: whether it is a comparison's result.
                let (first, second) = (self.as_lanes(first, ty), self.as_lanes(second, ty));
                let result = self.builder.ins().bitselect(condition, first, second);
                self.push(result);
            }
            O::V128AnyTrue => {
                let value = self.pop();
                let integers = self.builder.func.dfg.value_type(value).as_int();
                let value = self.as_lanes(value, integers);
                let any = self.builder.ins().vany_true(value);
                self.push_bool(any);
            }
            O::I8x16AllTrue => self.all_true(types::I8X16),
            O::I16x8AllTrue => self.all_true(types::I16X8),
            O::I32x4AllTrue => self.all_true(types::I32X4),
            O::I64x2AllTrue => self.all_true(types::I64X2),
            O::I8x16Bitmask => self.bitmask(types::I8X16),
            O::I16x8Bitmask => self.bitmask(types::I16X8),
            O::I32x4Bitmask => self.bitmask(types::I32X4),
            O::I64x2Bitmask => self.bitmask(types::I64X2),
            O::I8x16Popcnt => unary!(self, types::I8X16, popcnt),
            _ => return false,
        }
        true
    }

    /// An operator that does not care for lanes. Its result has the type of its first operand.
    fn bitwise(&mut self, operation: impl FnOnce(&mut Self, Value, Value) -> Value) {
        let [left, right] = self.pop_many();
        let ty = self.builder.func.dfg.value_type(left);
        let right = self.as_lanes(right, ty);
        let result = operation(self, left, right);
        self.push(result);
    }

    /// Pops a value as a lane of `ty`: `i8` and `i16` are the low bits of an `i32`.
    fn pop_lane(&mut self, ty: Type) -> Value {
        let value = self.pop();
        match ty.lane_type() {
            lane @ (types::I8 | types::I16) => self.builder.ins().ireduce(lane, value),
            _ => value,
        }
    }

    fn splat(&mut self, ty: Type) {
        let value = self.pop_lane(ty);
        let result = self.builder.ins().splat(ty, value);
        self.push(result);
    }

    fn extract(&mut self, ty: Type, lane: u8) {
        let vector = self.pop_lanes(ty);
        let value = self.builder.ins().extractlane(vector, lane);
        self.push(value);
    }

    fn extract_narrow(&mut self, ty: Type, lane: u8, is_signed: bool) {
        let vector = self.pop_lanes(ty);
        let value = self.builder.ins().extractlane(vector, lane);
        let value = match is_signed {
            true => self.builder.ins().sextend(types::I32, value),
            false => self.builder.ins().uextend(types::I32, value),
        };
        self.push(value);
    }

    fn replace(&mut self, ty: Type, lane: u8) {
        let value = self.pop_lane(ty);
        let vector = self.pop_lanes(ty);
        let result = self.builder.ins().insertlane(vector, value, lane);
        self.push(result);
    }

    fn all_true(&mut self, ty: Type) {
        let value = self.pop_lanes(ty);
        let all = self.builder.ins().vall_true(value);
        self.push_bool(all);
    }

    fn bitmask(&mut self, ty: Type) {
        let value = self.pop_lanes(ty);
        let bits = self.builder.ins().vhigh_bits(types::I32, value);
        self.push(bits);
    }

    /// Shuffles with neither an instruction for just these lanes nor one for any: copies pieces, as large as they can be.
    fn shuffle_in_memory(&mut self, low: Value, high: Value, lanes: [u8; 16]) -> Value {
        let (base, flags) = self.vector_room();
        self.builder.ins().store(flags, low, base, 0);
        self.builder.ins().store(flags, high, base, 16);
        let piece = [types::I64, types::I32, types::I16].into_iter().find(|ty| {
            let mut pieces = lanes.chunks_exact(ty.bytes() as usize);
            pieces.all(|piece| piece.windows(2).all(|pair| pair[0] + 1 == pair[1]))
        });
        let piece = piece.unwrap_or(types::I8);
        for to in (0..16).step_by(piece.bytes() as usize) {
            let value = self.builder.ins().load(piece, flags, base, i32::from(lanes[to]));
            self.builder.ins().store(flags, value, base, 32 + to as i32);
        }
        self.builder.ins().load(types::I8X16, flags, base, 32)
    }

    /// Picks byte by byte. Every index past the vector is made that of a zero behind it.
    fn swizzle_in_memory(&mut self, vector: Value, indices: Value) -> Value {
        let (base, flags) = self.vector_room();
        let zero = self.vector_constant(types::I8X16, 0);
        let past_end = self.vector_constant(types::I8X16, u128::from_le_bytes([16; 16]));
        let indices = self.builder.ins().umin(indices, past_end);
        self.builder.ins().store(flags, vector, base, 0);
        self.builder.ins().store(flags, zero, base, 16);
        self.builder.ins().store(flags, indices, base, 32);
        for lane in 0..16 {
            let index = self.builder.ins().uload8(POINTER, flags, base, 32 + lane);
            let address = self.builder.ins().iadd(base, index);
            let value = self.builder.ins().load(types::I8, flags, address, 0);
            self.builder.ins().store(flags, value, base, 48 + lane);
        }
        self.builder.ins().load(types::I8X16, flags, base, 48)
    }

    /// The address of room for four vectors in the frame, and flags to access it.
    fn vector_room(&mut self) -> (Value, MemFlagsData) {
        let slot = self.vector_slot();
        (self.builder.ins().stack_addr(POINTER, slot, 0), MemFlagsData::trusted())
    }
}

/// Whether Cranelift knows an instruction of SSE2 that shuffles so. Indices are below 32.
fn has_instruction(lanes: [u8; 16]) -> bool {
    is_interleaving(lanes) || is_shuffle_of_doublewords(lanes) || is_shuffle_of_half(lanes)
}

/// The pieces of this many bytes that the lanes consist of, numbered through both operands; `None` if they do not.
fn pieces<const N: usize>(lanes: [u8; 16]) -> Option<[u8; N]> {
    let size = 16 / N as u8;
    let mut numbers = [0; N];
    for (number, piece) in numbers.iter_mut().zip(lanes.chunks_exact(size as usize)) {
        let in_order = piece.windows(2).all(|pair| pair[0] + 1 == pair[1]);
        if !in_order || piece[0] % size != 0 {
            return None;
        }
        *number = piece[0] / size;
    }
    Some(numbers)
}

/// `punpckl*` and `punpckh*`: pieces of the first operand's low or high half, alternating with those of the second's.
fn is_interleaving(lanes: [u8; 16]) -> bool {
    fn check<const N: usize>(lanes: [u8; 16]) -> bool {
        let total = N as u8;
        let from = |start| (0..total).map(move |at| start + at / 2 + at % 2 * total);
        let numbers = pieces::<N>(lanes);
        numbers.is_some_and(|numbers| {
            from(0).eq(numbers.iter().copied()) || from(total / 2).eq(numbers.iter().copied())
        })
    }
    check::<16>(lanes) || check::<8>(lanes) || check::<4>(lanes) || check::<2>(lanes)
}

/// `pshufd` takes all from one operand; `shufps` two from one, then two from the other.
fn is_shuffle_of_doublewords(lanes: [u8; 16]) -> bool {
    pieces::<4>(lanes).is_some_and(|numbers| {
        let operands = numbers.map(|number| number / 4);
        operands[0] == operands[1] && operands[2] == operands[3]
    })
}

/// `pshuflw` and `pshufhw`: words of one half of one operand, the other half as it is.
fn is_shuffle_of_half(lanes: [u8; 16]) -> bool {
    pieces::<8>(lanes).is_some_and(|numbers| {
        [0, 8].into_iter().any(|operand| {
            let kept = |half: u8| (0..4).all(|at| numbers[usize::from(half + at)] == operand + half + at);
            let within = |half: u8| {
                numbers[usize::from(half)..][..4]
                    .iter()
                    .all(|number| (operand + half..operand + half + 4).contains(number))
            };
            (within(0) && kept(4)) || (kept(0) && within(4))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes<const N: usize>(numbers: [u8; N]) -> [u8; 16] {
        let size = 16 / N;
        core::array::from_fn(|byte| numbers[byte / size] * size as u8 + (byte % size) as u8)
    }

    #[test]
    fn shuffles_with_an_instruction_are_told_from_others() {
        for known in [
            bytes([0, 2]),
            bytes([1, 3]),
            bytes([0, 1]),
            bytes([2, 2]),
            bytes([0, 4, 1, 5]),
            bytes([2, 6, 3, 7]),
            bytes([3, 0, 0, 1]),
            bytes([7, 6, 5, 4]),
            bytes([3, 0, 4, 7]),
            bytes([4, 7, 3, 0]),
            bytes([0, 8, 1, 9, 2, 10, 3, 11]),
            bytes([3, 2, 1, 0, 4, 5, 6, 7]),
            bytes([8, 9, 10, 11, 15, 15, 15, 12]),
            bytes([0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23]),
            bytes([8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31]),
        ] {
            assert!(has_instruction(known), "{known:?}");
        }
        for unknown in [
            bytes([0, 4, 5, 1]),
            bytes([1, 0, 2, 3, 5, 4, 6, 7]),
            bytes([0, 1, 2, 4, 4, 5, 6, 7]),
            bytes([0, 1, 2, 11, 4, 5, 6, 7]),
            bytes([1; 16]),
            bytes([15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0]),
            bytes([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]),
        ] {
            assert!(!has_instruction(unknown), "{unknown:?}");
        }
    }
}
