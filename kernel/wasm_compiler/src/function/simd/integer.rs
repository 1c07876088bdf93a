//! Arithmetic and comparisons of integer lanes.

use super::{binary, compare, unary};
use crate::function::FunctionTranslator;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, Type, Value, types};
use wasmparser::Operator;

/// Which lanes of the operands become wider ones, and how.
#[derive(Clone, Copy)]
enum Widening {
    LowSigned,
    LowUnsigned,
    HighSigned,
    HighUnsigned,
}

macro_rules! shift {
    ($self:ident, $ty:expr, $method:ident) => {{
        let amount = $self.pop();
        let value = $self.pop_lanes($ty);
        let result = $self.builder.ins().$method(value, amount);
        $self.push(result);
    }};
}

impl FunctionTranslator<'_, '_> {
    pub(super) fn vector_integer_operator(&mut self, operator: &Operator<'_>) -> bool {
        self.integer_comparison(operator)
            || self.integer_arithmetic(operator)
            || self.integer_widening(operator)
    }

    fn integer_comparison(&mut self, operator: &Operator<'_>) -> bool {
        use IntCC as C;
        use Operator as O;
        let (ty, condition) = match *operator {
            O::I8x16Eq => (types::I8X16, C::Equal),
            O::I8x16Ne => (types::I8X16, C::NotEqual),
            O::I8x16LtS => (types::I8X16, C::SignedLessThan),
            O::I8x16LtU => (types::I8X16, C::UnsignedLessThan),
            O::I8x16GtS => (types::I8X16, C::SignedGreaterThan),
            O::I8x16GtU => (types::I8X16, C::UnsignedGreaterThan),
            O::I8x16LeS => (types::I8X16, C::SignedLessThanOrEqual),
            O::I8x16LeU => (types::I8X16, C::UnsignedLessThanOrEqual),
            O::I8x16GeS => (types::I8X16, C::SignedGreaterThanOrEqual),
            O::I8x16GeU => (types::I8X16, C::UnsignedGreaterThanOrEqual),
            O::I16x8Eq => (types::I16X8, C::Equal),
            O::I16x8Ne => (types::I16X8, C::NotEqual),
            O::I16x8LtS => (types::I16X8, C::SignedLessThan),
            O::I16x8LtU => (types::I16X8, C::UnsignedLessThan),
            O::I16x8GtS => (types::I16X8, C::SignedGreaterThan),
            O::I16x8GtU => (types::I16X8, C::UnsignedGreaterThan),
            O::I16x8LeS => (types::I16X8, C::SignedLessThanOrEqual),
            O::I16x8LeU => (types::I16X8, C::UnsignedLessThanOrEqual),
            O::I16x8GeS => (types::I16X8, C::SignedGreaterThanOrEqual),
            O::I16x8GeU => (types::I16X8, C::UnsignedGreaterThanOrEqual),
            O::I32x4Eq => (types::I32X4, C::Equal),
            O::I32x4Ne => (types::I32X4, C::NotEqual),
            O::I32x4LtS => (types::I32X4, C::SignedLessThan),
            O::I32x4LtU => (types::I32X4, C::UnsignedLessThan),
            O::I32x4GtS => (types::I32X4, C::SignedGreaterThan),
            O::I32x4GtU => (types::I32X4, C::UnsignedGreaterThan),
            O::I32x4LeS => (types::I32X4, C::SignedLessThanOrEqual),
            O::I32x4LeU => (types::I32X4, C::UnsignedLessThanOrEqual),
            O::I32x4GeS => (types::I32X4, C::SignedGreaterThanOrEqual),
            O::I32x4GeU => (types::I32X4, C::UnsignedGreaterThanOrEqual),
            O::I64x2Eq => (types::I64X2, C::Equal),
            O::I64x2Ne => (types::I64X2, C::NotEqual),
            O::I64x2LtS => (types::I64X2, C::SignedLessThan),
            O::I64x2GtS => (types::I64X2, C::SignedGreaterThan),
            O::I64x2LeS => (types::I64X2, C::SignedLessThanOrEqual),
            O::I64x2GeS => (types::I64X2, C::SignedGreaterThanOrEqual),
            _ => return false,
        };
        compare!(self, ty, icmp, condition);
        true
    }

    fn integer_arithmetic(&mut self, operator: &Operator<'_>) -> bool {
        use Operator as O;
        match *operator {
            O::I8x16Abs => unary!(self, types::I8X16, iabs),
            O::I16x8Abs => unary!(self, types::I16X8, iabs),
            O::I32x4Abs => unary!(self, types::I32X4, iabs),
            O::I64x2Abs => unary!(self, types::I64X2, iabs),
            O::I8x16Neg => unary!(self, types::I8X16, ineg),
            O::I16x8Neg => unary!(self, types::I16X8, ineg),
            O::I32x4Neg => unary!(self, types::I32X4, ineg),
            O::I64x2Neg => unary!(self, types::I64X2, ineg),
            O::I8x16Shl => shift!(self, types::I8X16, ishl),
            O::I16x8Shl => shift!(self, types::I16X8, ishl),
            O::I32x4Shl => shift!(self, types::I32X4, ishl),
            O::I64x2Shl => shift!(self, types::I64X2, ishl),
            O::I8x16ShrS => shift!(self, types::I8X16, sshr),
            O::I16x8ShrS => shift!(self, types::I16X8, sshr),
            O::I32x4ShrS => shift!(self, types::I32X4, sshr),
            O::I64x2ShrS => shift!(self, types::I64X2, sshr),
            O::I8x16ShrU => shift!(self, types::I8X16, ushr),
            O::I16x8ShrU => shift!(self, types::I16X8, ushr),
            O::I32x4ShrU => shift!(self, types::I32X4, ushr),
            O::I64x2ShrU => shift!(self, types::I64X2, ushr),
            O::I8x16Add => binary!(self, types::I8X16, iadd),
            O::I16x8Add => binary!(self, types::I16X8, iadd),
            O::I32x4Add => binary!(self, types::I32X4, iadd),
            O::I64x2Add => binary!(self, types::I64X2, iadd),
            O::I8x16Sub => binary!(self, types::I8X16, isub),
            O::I16x8Sub => binary!(self, types::I16X8, isub),
            O::I32x4Sub => binary!(self, types::I32X4, isub),
            O::I64x2Sub => binary!(self, types::I64X2, isub),
            O::I16x8Mul => binary!(self, types::I16X8, imul),
            O::I32x4Mul => binary!(self, types::I32X4, imul),
            O::I64x2Mul => binary!(self, types::I64X2, imul),
            O::I8x16AddSatS => binary!(self, types::I8X16, sadd_sat),
            O::I16x8AddSatS => binary!(self, types::I16X8, sadd_sat),
            O::I8x16AddSatU => binary!(self, types::I8X16, uadd_sat),
            O::I16x8AddSatU => binary!(self, types::I16X8, uadd_sat),
            O::I8x16SubSatS => binary!(self, types::I8X16, ssub_sat),
            O::I16x8SubSatS => binary!(self, types::I16X8, ssub_sat),
            O::I8x16SubSatU => binary!(self, types::I8X16, usub_sat),
            O::I16x8SubSatU => binary!(self, types::I16X8, usub_sat),
            O::I8x16MinS => binary!(self, types::I8X16, smin),
            O::I16x8MinS => binary!(self, types::I16X8, smin),
            O::I32x4MinS => binary!(self, types::I32X4, smin),
            O::I8x16MinU => binary!(self, types::I8X16, umin),
            O::I16x8MinU => binary!(self, types::I16X8, umin),
            O::I32x4MinU => binary!(self, types::I32X4, umin),
            O::I8x16MaxS => binary!(self, types::I8X16, smax),
            O::I16x8MaxS => binary!(self, types::I16X8, smax),
            O::I32x4MaxS => binary!(self, types::I32X4, smax),
            O::I8x16MaxU => binary!(self, types::I8X16, umax),
            O::I16x8MaxU => binary!(self, types::I16X8, umax),
            O::I32x4MaxU => binary!(self, types::I32X4, umax),
            O::I8x16AvgrU => binary!(self, types::I8X16, avg_round),
            O::I16x8AvgrU => binary!(self, types::I16X8, avg_round),
            O::I16x8Q15MulrSatS => binary!(self, types::I16X8, sqmul_round_sat),
            O::I8x16NarrowI16x8S => binary!(self, types::I16X8, snarrow),
            O::I8x16NarrowI16x8U => binary!(self, types::I16X8, unarrow),
            O::I16x8NarrowI32x4S => binary!(self, types::I32X4, snarrow),
            O::I16x8NarrowI32x4U => binary!(self, types::I32X4, unarrow),
            _ => return false,
        }
        true
    }

    /// Operators that make lanes twice as wide before they do what they do.
    fn integer_widening(&mut self, operator: &Operator<'_>) -> bool {
        use Operator as O;
        use Widening as W;
        match *operator {
            O::I16x8ExtendLowI8x16S => unary!(self, types::I8X16, swiden_low),
            O::I32x4ExtendLowI16x8S => unary!(self, types::I16X8, swiden_low),
            O::I64x2ExtendLowI32x4S => unary!(self, types::I32X4, swiden_low),
            O::I16x8ExtendLowI8x16U => unary!(self, types::I8X16, uwiden_low),
            O::I32x4ExtendLowI16x8U => unary!(self, types::I16X8, uwiden_low),
            O::I64x2ExtendLowI32x4U => unary!(self, types::I32X4, uwiden_low),
            O::I16x8ExtendHighI8x16S => unary!(self, types::I8X16, swiden_high),
            O::I32x4ExtendHighI16x8S => unary!(self, types::I16X8, swiden_high),
            O::I64x2ExtendHighI32x4S => unary!(self, types::I32X4, swiden_high),
            O::I16x8ExtendHighI8x16U => unary!(self, types::I8X16, uwiden_high),
            O::I32x4ExtendHighI16x8U => unary!(self, types::I16X8, uwiden_high),
            O::I64x2ExtendHighI32x4U => unary!(self, types::I32X4, uwiden_high),
            O::I16x8ExtMulLowI8x16S => self.multiply_wide(types::I8X16, W::LowSigned),
            O::I32x4ExtMulLowI16x8S => self.multiply_wide(types::I16X8, W::LowSigned),
            O::I64x2ExtMulLowI32x4S => self.multiply_wide(types::I32X4, W::LowSigned),
            O::I16x8ExtMulLowI8x16U => self.multiply_wide(types::I8X16, W::LowUnsigned),
            O::I32x4ExtMulLowI16x8U => self.multiply_wide(types::I16X8, W::LowUnsigned),
            O::I64x2ExtMulLowI32x4U => self.multiply_wide(types::I32X4, W::LowUnsigned),
            O::I16x8ExtMulHighI8x16S => self.multiply_wide(types::I8X16, W::HighSigned),
            O::I32x4ExtMulHighI16x8S => self.multiply_wide(types::I16X8, W::HighSigned),
            O::I64x2ExtMulHighI32x4S => self.multiply_wide(types::I32X4, W::HighSigned),
            O::I16x8ExtMulHighI8x16U => self.multiply_wide(types::I8X16, W::HighUnsigned),
            O::I32x4ExtMulHighI16x8U => self.multiply_wide(types::I16X8, W::HighUnsigned),
            O::I64x2ExtMulHighI32x4U => self.multiply_wide(types::I32X4, W::HighUnsigned),
            O::I16x8ExtAddPairwiseI8x16S => self.add_pairs(types::I8X16, W::LowSigned, W::HighSigned),
            O::I32x4ExtAddPairwiseI16x8S => self.add_pairs(types::I16X8, W::LowSigned, W::HighSigned),
            O::I16x8ExtAddPairwiseI8x16U => self.add_pairs(types::I8X16, W::LowUnsigned, W::HighUnsigned),
            O::I32x4ExtAddPairwiseI16x8U => self.add_pairs(types::I16X8, W::LowUnsigned, W::HighUnsigned),
            O::I32x4DotI16x8S => {
                let [left, right] = self.pop_two_lanes(types::I16X8);
                let [low, high] = [W::LowSigned, W::HighSigned].map(|widening| {
                    let (left, right) = (self.wide(left, widening), self.wide(right, widening));
                    self.builder.ins().imul(left, right)
                });
                let result = self.builder.ins().iadd_pairwise(low, high);
                self.push(result);
            }
            _ => return false,
        }
        true
    }

    fn wide(&mut self, value: Value, widening: Widening) -> Value {
        match widening {
            Widening::LowSigned => self.builder.ins().swiden_low(value),
            Widening::LowUnsigned => self.builder.ins().uwiden_low(value),
            Widening::HighSigned => self.builder.ins().swiden_high(value),
            Widening::HighUnsigned => self.builder.ins().uwiden_high(value),
        }
    }

    fn multiply_wide(&mut self, ty: Type, widening: Widening) {
        let [left, right] = self.pop_two_lanes(ty).map(|value| self.wide(value, widening));
        let result = self.builder.ins().imul(left, right);
        self.push(result);
    }

    /// Adds neighbouring lanes.
    fn add_pairs(&mut self, ty: Type, low: Widening, high: Widening) {
        let value = self.pop_lanes(ty);
        let [low, high] = [low, high].map(|widening| self.wide(value, widening));
        let result = self.builder.ins().iadd_pairwise(low, high);
        self.push(result);
    }
}
