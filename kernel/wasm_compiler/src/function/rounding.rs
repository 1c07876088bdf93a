//! Rounding floats to integral floats where the CPU has no instruction for it (before SSE4.1).
//!
//! A number of magnitude 2^52 (`f32`: 2^23) or more is integral already. Below, adding and subtracting that power of two
//! rounds to the nearest integral number, ties to even, in the CPU's default rounding mode.

use super::FunctionTranslator;
use cranelift_codegen::ir::condcodes::FloatCC;
use cranelift_codegen::ir::{InstBuilder, Type, Value, types};

/// Which integral number is wanted.
#[derive(Clone, Copy)]
pub(super) enum Rounding {
    Ceil,
    Floor,
    Trunc,
    Nearest,
}

impl FunctionTranslator<'_, '_> {
    /// Rounds the topmost value.
    pub(super) fn round(&mut self, rounding: Rounding) {
        let value = self.pop();
        let rounded = match (self.has_sse41, rounding) {
            (true, Rounding::Ceil) => self.builder.ins().ceil(value),
            (true, Rounding::Floor) => self.builder.ins().floor(value),
            (true, Rounding::Trunc) => self.builder.ins().trunc(value),
            (true, Rounding::Nearest) => self.builder.ins().nearest(value),
            (false, _) => self.round_inline(rounding, value),
        };
        self.push(rounded);
    }

    fn float(&mut self, ty: Type, value: f32) -> Value {
        match ty {
            types::F32 => self.builder.ins().f32const(value),
            _ => self.builder.ins().f64const(f64::from(value)),
        }
    }

    fn round_inline(&mut self, rounding: Rounding, value: Value) -> Value {
        let ty = self.builder.func.dfg.value_type(value);
        // Both powers are exact in `f32`.
        let integral_from =
            self.float(ty, if ty == types::F32 { 8_388_608.0 } else { 4_503_599_627_370_496.0 });
        let one = self.float(ty, 1.0);
        let zero = self.float(ty, 0.0);
        let magnitude = self.builder.ins().fabs(value);
        let sum = self.builder.ins().fadd(magnitude, integral_from);
        let nearest = self.builder.ins().fsub(sum, integral_from);
        let rounded = match rounding {
            Rounding::Nearest => nearest,
            Rounding::Trunc => self.step_if(FloatCC::GreaterThan, nearest, magnitude, one, false),
            Rounding::Floor | Rounding::Ceil => {
                let nearest = self.builder.ins().fcopysign(nearest, value);
                match rounding {
                    Rounding::Floor => self.step_if(FloatCC::GreaterThan, nearest, value, one, false),
                    _ => self.step_if(FloatCC::LessThan, nearest, value, one, true),
                }
            }
        };
        // Results have the sign of the argument, zeros too.
        let rounded = self.builder.ins().fcopysign(rounded, value);
        // A large number stays itself; so does a NaN, but adding makes it a quiet one.
        let itself = self.builder.ins().fadd(value, zero);
        let is_small = self.builder.ins().fcmp(FloatCC::LessThan, magnitude, integral_from);
        self.builder.ins().select(is_small, rounded, itself)
    }

    /// `rounded`, or one more (`up`) or less, when it compares so with `exact`.
    fn step_if(&mut self, comparison: FloatCC, rounded: Value, exact: Value, one: Value, up: bool) -> Value {
        let stepped = match up {
            true => self.builder.ins().fadd(rounded, one),
            false => self.builder.ins().fsub(rounded, one),
        };
        let too_far = self.builder.ins().fcmp(comparison, rounded, exact);
        self.builder.ins().select(too_far, stepped, rounded)
    }
}
