//! Arithmetic, comparisons and conversions of float lanes.

use super::{binary, compare, unary};
use crate::function::FunctionTranslator;
use crate::function::rounding::Rounding;
use cranelift_codegen::ir::condcodes::FloatCC;
use cranelift_codegen::ir::{ConstantData, InstBuilder, Type, Value, types};
use wasmparser::Operator;

impl FunctionTranslator<'_, '_> {
    pub(super) fn vector_float_operator(&mut self, operator: &Operator<'_>) -> bool {
        use Operator as O;
        match *operator {
            O::F32x4Eq => compare!(self, types::F32X4, fcmp, FloatCC::Equal),
            O::F64x2Eq => compare!(self, types::F64X2, fcmp, FloatCC::Equal),
            O::F32x4Ne => compare!(self, types::F32X4, fcmp, FloatCC::NotEqual),
            O::F64x2Ne => compare!(self, types::F64X2, fcmp, FloatCC::NotEqual),
            O::F32x4Lt => compare!(self, types::F32X4, fcmp, FloatCC::LessThan),
            O::F64x2Lt => compare!(self, types::F64X2, fcmp, FloatCC::LessThan),
            O::F32x4Gt => compare!(self, types::F32X4, fcmp, FloatCC::GreaterThan),
            O::F64x2Gt => compare!(self, types::F64X2, fcmp, FloatCC::GreaterThan),
            O::F32x4Le => compare!(self, types::F32X4, fcmp, FloatCC::LessThanOrEqual),
            O::F64x2Le => compare!(self, types::F64X2, fcmp, FloatCC::LessThanOrEqual),
            O::F32x4Ge => compare!(self, types::F32X4, fcmp, FloatCC::GreaterThanOrEqual),
            O::F64x2Ge => compare!(self, types::F64X2, fcmp, FloatCC::GreaterThanOrEqual),
            O::F32x4Abs => unary!(self, types::F32X4, fabs),
            O::F64x2Abs => unary!(self, types::F64X2, fabs),
            O::F32x4Neg => unary!(self, types::F32X4, fneg),
            O::F64x2Neg => unary!(self, types::F64X2, fneg),
            O::F32x4Sqrt => unary!(self, types::F32X4, sqrt),
            O::F64x2Sqrt => unary!(self, types::F64X2, sqrt),
            O::F32x4Add => binary!(self, types::F32X4, fadd),
            O::F64x2Add => binary!(self, types::F64X2, fadd),
            O::F32x4Sub => binary!(self, types::F32X4, fsub),
            O::F64x2Sub => binary!(self, types::F64X2, fsub),
            O::F32x4Mul => binary!(self, types::F32X4, fmul),
            O::F64x2Mul => binary!(self, types::F64X2, fmul),
            O::F32x4Div => binary!(self, types::F32X4, fdiv),
            O::F64x2Div => binary!(self, types::F64X2, fdiv),
            O::F32x4Min => binary!(self, types::F32X4, fmin),
            O::F64x2Min => binary!(self, types::F64X2, fmin),
            O::F32x4Max => binary!(self, types::F32X4, fmax),
            O::F64x2Max => binary!(self, types::F64X2, fmax),
            O::F32x4PMin => self.second_if_less(types::F32X4, true),
            O::F64x2PMin => self.second_if_less(types::F64X2, true),
            O::F32x4PMax => self.second_if_less(types::F32X4, false),
            O::F64x2PMax => self.second_if_less(types::F64X2, false),
            O::F32x4Ceil => self.round_lanes(types::F32X4, Rounding::Ceil),
            O::F64x2Ceil => self.round_lanes(types::F64X2, Rounding::Ceil),
            O::F32x4Floor => self.round_lanes(types::F32X4, Rounding::Floor),
            O::F64x2Floor => self.round_lanes(types::F64X2, Rounding::Floor),
            O::F32x4Trunc => self.round_lanes(types::F32X4, Rounding::Trunc),
            O::F64x2Trunc => self.round_lanes(types::F64X2, Rounding::Trunc),
            O::F32x4Nearest => self.round_lanes(types::F32X4, Rounding::Nearest),
            O::F64x2Nearest => self.round_lanes(types::F64X2, Rounding::Nearest),
            O::I32x4TruncSatF32x4S => {
                let value = self.pop_lanes(types::F32X4);
                let result = self.builder.ins().fcvt_to_sint_sat(types::I32X4, value);
                self.push(result);
            }
            O::I32x4TruncSatF32x4U => {
                let value = self.pop_lanes(types::F32X4);
                let result = self.builder.ins().fcvt_to_uint_sat(types::I32X4, value);
                self.push(result);
            }
            O::I32x4TruncSatF64x2SZero => {
                let value = self.pop_lanes(types::F64X2);
                let wide = self.builder.ins().fcvt_to_sint_sat(types::I64X2, value);
                let zero = self.vector_constant(types::I64X2, 0);
                let result = self.builder.ins().snarrow(wide, zero);
                self.push(result);
            }
            O::I32x4TruncSatF64x2UZero => {
                let value = self.pop_lanes(types::F64X2);
                let result = match self.has_sse41 {
                    true => {
                        let wide = self.builder.ins().fcvt_to_uint_sat(types::I64X2, value);
                        let zero = self.vector_constant(types::I64X2, 0);
                        self.builder.ins().uunarrow(wide, zero)
                    }
                    false => self.truncate_unsigned_inline(value),
                };
                self.push(result);
            }
            O::F32x4ConvertI32x4S => {
                let value = self.pop_lanes(types::I32X4);
                let result = self.builder.ins().fcvt_from_sint(types::F32X4, value);
                self.push(result);
            }
            O::F32x4ConvertI32x4U => {
                let value = self.pop_lanes(types::I32X4);
                let result = self.builder.ins().fcvt_from_uint(types::F32X4, value);
                self.push(result);
            }
            O::F64x2ConvertLowI32x4S => {
                let value = self.pop_lanes(types::I32X4);
                let wide = self.builder.ins().swiden_low(value);
                let result = self.builder.ins().fcvt_from_sint(types::F64X2, wide);
                self.push(result);
            }
            O::F64x2ConvertLowI32x4U => {
                let value = self.pop_lanes(types::I32X4);
                let wide = self.builder.ins().uwiden_low(value);
                let result = self.builder.ins().fcvt_from_uint(types::F64X2, wide);
                self.push(result);
            }
            O::F32x4DemoteF64x2Zero => unary!(self, types::F64X2, fvdemote),
            O::F64x2PromoteLowF32x4 => unary!(self, types::F32X4, fvpromote_low),
            _ => return false,
        }
        true
    }

    /// `pmin` and `pmax`: the second operand where it is less, or where the first is; else the first. Written as Cranelift expects
    /// it to find that `minps` and its kin do just this.
    fn second_if_less(&mut self, ty: Type, second_is_less: bool) {
        let [first, second] = self.pop_two_lanes(ty);
        let (less, greater) = if second_is_less { (second, first) } else { (first, second) };
        let takes_second = self.builder.ins().fcmp(FloatCC::LessThan, less, greater);
        let takes_second = self.as_lanes(takes_second, ty);
        let result = self.builder.ins().bitselect(takes_second, second, first);
        self.push(result);
    }

    fn round_lanes(&mut self, ty: Type, rounding: Rounding) {
        let value = self.pop_lanes(ty);
        let rounded = match (self.has_sse41, rounding) {
            (true, Rounding::Ceil) => self.builder.ins().ceil(value),
            (true, Rounding::Floor) => self.builder.ins().floor(value),
            (true, Rounding::Trunc) => self.builder.ins().trunc(value),
            (true, Rounding::Nearest) => self.builder.ins().nearest(value),
            (false, _) => self.round_lanes_inline(ty, rounding, value),
        };
        self.push(rounded);
    }

    /// Bits that are the same in each lane: `f32` in those of 32 bits, `f64` in those of 64.
    fn lanes_of(&mut self, ty: Type, f32_bits: u32, f64_bits: u64) -> Value {
        const EACH_32: u128 = 1 << 96 | 1 << 64 | 1 << 32 | 1;
        const EACH_64: u128 = 1 << 64 | 1;
        let bits = match ty {
            types::F32X4 => u128::from(f32_bits) * EACH_32,
            _ => u128::from(f64_bits) * EACH_64,
        };
        self.vector_constant(ty, bits)
    }

    /// As for scalars: see [`crate::function::rounding`]. What is chosen there by `select` is chosen here by masks.
    fn round_lanes_inline(&mut self, ty: Type, rounding: Rounding, value: Value) -> Value {
        let integral_from = self.lanes_of(ty, 8_388_608.0f32.to_bits(), 4_503_599_627_370_496.0f64.to_bits());
        let one = self.lanes_of(ty, 1.0f32.to_bits(), 1.0f64.to_bits());
        let sign_bit = self.lanes_of(ty, 1 << 31, 1 << 63);
        let zero = self.lanes_of(ty, 0, 0);
        let sign = self.builder.ins().band(value, sign_bit);
        let magnitude = self.builder.ins().fabs(value);
        let sum = self.builder.ins().fadd(magnitude, integral_from);
        let nearest = self.builder.ins().fsub(sum, integral_from);
        // Of a NaN or a large number this makes nonsense, which is replaced below.
        let rounded = match rounding {
            Rounding::Nearest => nearest,
            Rounding::Trunc => {
                let step = self.one_where(ty, FloatCC::GreaterThan, nearest, magnitude, one);
                self.builder.ins().fsub(nearest, step)
            }
            Rounding::Floor => {
                let nearest = self.builder.ins().bor(nearest, sign);
                let step = self.one_where(ty, FloatCC::GreaterThan, nearest, value, one);
                self.builder.ins().fsub(nearest, step)
            }
            Rounding::Ceil => {
                let nearest = self.builder.ins().bor(nearest, sign);
                let step = self.one_where(ty, FloatCC::LessThan, nearest, value, one);
                self.builder.ins().fadd(nearest, step)
            }
        };
        // Results have the sign of the argument, zeros too.
        let rounded = self.builder.ins().fabs(rounded);
        let rounded = self.builder.ins().bor(rounded, sign);
        // A large number stays itself; so does a NaN, but adding makes it a quiet one.
        let itself = self.builder.ins().fadd(value, zero);
        let is_small = self.builder.ins().fcmp(FloatCC::LessThan, magnitude, integral_from);
        let is_small = self.as_lanes(is_small, ty);
        self.builder.ins().bitselect(is_small, rounded, itself)
    }

    /// `i32x4.trunc_sat_f64x2_u_zero`. What is below 2^52 and integral has its bits in the lowest of the sum with 2^52.
    fn truncate_unsigned_inline(&mut self, value: Value) -> Value {
        let ty = types::F64X2;
        let zero = self.lanes_of(ty, 0, 0);
        let largest = self.lanes_of(ty, 0, f64::from(u32::MAX).to_bits());
        let power = self.lanes_of(ty, 0, 4_503_599_627_370_496.0f64.to_bits());
        // A NaN is not greater than zero.
        let is_positive = self.builder.ins().fcmp(FloatCC::LessThan, zero, value);
        let is_positive = self.as_lanes(is_positive, ty);
        let value = self.builder.ins().bitselect(is_positive, value, zero);
        let fits = self.builder.ins().fcmp(FloatCC::LessThan, value, largest);
        let fits = self.as_lanes(fits, ty);
        let value = self.builder.ins().bitselect(fits, value, largest);
        let value = self.round_lanes_inline(ty, Rounding::Trunc, value);
        let sum = self.builder.ins().fadd(value, power);
        let [sum, zero] = [sum, zero].map(|value| self.as_lanes(value, types::I8X16));
        let lowest_halves = [0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 16, 17, 18, 19];
        let mask = self.builder.func.dfg.immediates.push(ConstantData::from(&lowest_halves[..]));
        self.builder.ins().shuffle(sum, zero, mask)
    }

    /// 1 in the lanes that compare so, 0 in the others.
    fn one_where(&mut self, ty: Type, comparison: FloatCC, left: Value, right: Value, one: Value) -> Value {
        let mask = self.builder.ins().fcmp(comparison, left, right);
        let mask = self.as_lanes(mask, ty);
        self.builder.ins().band(mask, one)
    }
}
