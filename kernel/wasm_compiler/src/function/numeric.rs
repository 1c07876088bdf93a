//! Arithmetic, comparisons and conversions: one Cranelift instruction each, with few exceptions.
//!
//! Divisions and trapping conversions bring their own trap codes.

use super::FunctionTranslator;
use super::rounding::Rounding;
use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::immediates::{Ieee32, Ieee64};
use cranelift_codegen::ir::{InstBuilder, MemFlagsData, Type, Value, types};
use wasmparser::Operator;

macro_rules! constant {
    ($self:ident, $method:ident, $($argument:expr),*) => {{
        let value = $self.builder.ins().$method($($argument),*);
        $self.push(value);
    }};
}

macro_rules! unary {
    ($self:ident, $method:ident) => {{
        let value = $self.pop();
        let result = $self.builder.ins().$method(value);
        $self.push(result);
    }};
}

macro_rules! binary {
    ($self:ident, $method:ident) => {{
        let [left, right] = $self.pop_many();
        let result = $self.builder.ins().$method(left, right);
        $self.push(result);
    }};
}

macro_rules! compare {
    ($self:ident, $method:ident, $condition:expr) => {{
        let [left, right] = $self.pop_many();
        let result = $self.builder.ins().$method($condition, left, right);
        $self.push_bool(result);
    }};
}

macro_rules! convert {
    ($self:ident, $method:ident, $($argument:expr),*) => {{
        let value = $self.pop();
        let result = $self.builder.ins().$method($($argument,)* value);
        $self.push(result);
    }};
}

impl FunctionTranslator<'_, '_> {
    /// Translates an operator on numbers; returns whether it is one.
    pub(super) fn numeric_operator(&mut self, operator: &Operator<'_>) -> bool {
        use Operator as O;
        match *operator {
            O::I32Const { value } => constant!(self, iconst, types::I32, i64::from(value as u32)),
            O::I64Const { value } => constant!(self, iconst, types::I64, value),
            O::F32Const { value } => constant!(self, f32const, Ieee32::with_bits(value.bits())),
            O::F64Const { value } => constant!(self, f64const, Ieee64::with_bits(value.bits())),
            O::I32Eqz | O::I64Eqz => {
                let value = self.pop();
                let result = self.builder.ins().icmp_imm_u(IntCC::Equal, value, 0);
                self.push_bool(result);
            }
            O::I32Eq | O::I64Eq => compare!(self, icmp, IntCC::Equal),
            O::I32Ne | O::I64Ne => compare!(self, icmp, IntCC::NotEqual),
            O::I32LtS | O::I64LtS => compare!(self, icmp, IntCC::SignedLessThan),
            O::I32LtU | O::I64LtU => compare!(self, icmp, IntCC::UnsignedLessThan),
            O::I32GtS | O::I64GtS => compare!(self, icmp, IntCC::SignedGreaterThan),
            O::I32GtU | O::I64GtU => compare!(self, icmp, IntCC::UnsignedGreaterThan),
            O::I32LeS | O::I64LeS => compare!(self, icmp, IntCC::SignedLessThanOrEqual),
            O::I32LeU | O::I64LeU => compare!(self, icmp, IntCC::UnsignedLessThanOrEqual),
            O::I32GeS | O::I64GeS => compare!(self, icmp, IntCC::SignedGreaterThanOrEqual),
            O::I32GeU | O::I64GeU => compare!(self, icmp, IntCC::UnsignedGreaterThanOrEqual),
            O::F32Eq | O::F64Eq => compare!(self, fcmp, FloatCC::Equal),
            O::F32Ne | O::F64Ne => compare!(self, fcmp, FloatCC::NotEqual),
            O::F32Lt | O::F64Lt => compare!(self, fcmp, FloatCC::LessThan),
            O::F32Gt | O::F64Gt => compare!(self, fcmp, FloatCC::GreaterThan),
            O::F32Le | O::F64Le => compare!(self, fcmp, FloatCC::LessThanOrEqual),
            O::F32Ge | O::F64Ge => compare!(self, fcmp, FloatCC::GreaterThanOrEqual),
            O::I32Clz | O::I64Clz => unary!(self, clz),
            O::I32Ctz | O::I64Ctz => unary!(self, ctz),
            O::I32Popcnt | O::I64Popcnt => unary!(self, popcnt),
            O::I32Add | O::I64Add => binary!(self, iadd),
            O::I32Sub | O::I64Sub => binary!(self, isub),
            O::I32Mul | O::I64Mul => binary!(self, imul),
            O::I32DivS | O::I64DivS => binary!(self, sdiv),
            O::I32DivU | O::I64DivU => binary!(self, udiv),
            O::I32RemS | O::I64RemS => binary!(self, srem),
            O::I32RemU | O::I64RemU => binary!(self, urem),
            O::I32And | O::I64And => binary!(self, band),
            O::I32Or | O::I64Or => binary!(self, bor),
            O::I32Xor | O::I64Xor => binary!(self, bxor),
            O::I32Shl | O::I64Shl => binary!(self, ishl),
            O::I32ShrS | O::I64ShrS => binary!(self, sshr),
            O::I32ShrU | O::I64ShrU => binary!(self, ushr),
            O::I32Rotl | O::I64Rotl => binary!(self, rotl),
            O::I32Rotr | O::I64Rotr => binary!(self, rotr),
            O::F32Abs | O::F64Abs => unary!(self, fabs),
            O::F32Neg | O::F64Neg => unary!(self, fneg),
            O::F32Sqrt | O::F64Sqrt => unary!(self, sqrt),
            O::F32Ceil | O::F64Ceil => self.round(Rounding::Ceil),
            O::F32Floor | O::F64Floor => self.round(Rounding::Floor),
            O::F32Trunc | O::F64Trunc => self.round(Rounding::Trunc),
            O::F32Nearest | O::F64Nearest => self.round(Rounding::Nearest),
            O::F32Add | O::F64Add => binary!(self, fadd),
            O::F32Sub | O::F64Sub => binary!(self, fsub),
            O::F32Mul | O::F64Mul => binary!(self, fmul),
            O::F32Div | O::F64Div => binary!(self, fdiv),
            O::F32Min | O::F64Min => binary!(self, fmin),
            O::F32Max | O::F64Max => binary!(self, fmax),
            O::F32Copysign | O::F64Copysign => binary!(self, fcopysign),
            O::I32WrapI64 => convert!(self, ireduce, types::I32),
            O::I64ExtendI32S => convert!(self, sextend, types::I64),
            O::I64ExtendI32U => convert!(self, uextend, types::I64),
            O::I32TruncF32S | O::I32TruncF64S => convert!(self, fcvt_to_sint, types::I32),
            O::I32TruncSatF32S | O::I32TruncSatF64S => convert!(self, fcvt_to_sint_sat, types::I32),
            O::I32TruncF32U | O::I32TruncF64U => convert!(self, fcvt_to_uint, types::I32),
            O::I32TruncSatF32U | O::I32TruncSatF64U => convert!(self, fcvt_to_uint_sat, types::I32),
            O::I64TruncF32S | O::I64TruncF64S => convert!(self, fcvt_to_sint, types::I64),
            O::I64TruncSatF32S | O::I64TruncSatF64S => convert!(self, fcvt_to_sint_sat, types::I64),
            O::I64TruncF32U | O::I64TruncF64U => convert!(self, fcvt_to_uint, types::I64),
            O::I64TruncSatF32U | O::I64TruncSatF64U => convert!(self, fcvt_to_uint_sat, types::I64),
            O::F32ConvertI32S | O::F32ConvertI64S => convert!(self, fcvt_from_sint, types::F32),
            O::F32ConvertI32U | O::F32ConvertI64U => convert!(self, fcvt_from_uint, types::F32),
            O::F64ConvertI32S | O::F64ConvertI64S => convert!(self, fcvt_from_sint, types::F64),
            O::F64ConvertI32U | O::F64ConvertI64U => convert!(self, fcvt_from_uint, types::F64),
            O::F32DemoteF64 => convert!(self, fdemote, types::F32),
            O::F64PromoteF32 => convert!(self, fpromote, types::F64),
            O::I32ReinterpretF32 => convert!(self, bitcast, types::I32, MemFlagsData::new()),
            O::I64ReinterpretF64 => convert!(self, bitcast, types::I64, MemFlagsData::new()),
            O::F32ReinterpretI32 => convert!(self, bitcast, types::F32, MemFlagsData::new()),
            O::F64ReinterpretI64 => convert!(self, bitcast, types::F64, MemFlagsData::new()),
            O::I32Extend8S => self.sign_extend(types::I8, types::I32),
            O::I32Extend16S => self.sign_extend(types::I16, types::I32),
            O::I64Extend8S => self.sign_extend(types::I8, types::I64),
            O::I64Extend16S => self.sign_extend(types::I16, types::I64),
            O::I64Extend32S => self.sign_extend(types::I32, types::I64),
            _ => return false,
        }
        true
    }

    pub(super) fn push_bool(&mut self, value: Value) {
        let value = self.builder.ins().uextend(types::I32, value);
        self.push(value);
    }

    fn sign_extend(&mut self, from: Type, to: Type) {
        let value = self.pop();
        let low = self.builder.ins().ireduce(from, value);
        let extended = self.builder.ins().sextend(to, low);
        self.push(extended);
    }
}
