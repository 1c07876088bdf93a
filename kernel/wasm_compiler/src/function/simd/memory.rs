//! Loads and stores of vectors and of their lanes.
//!
//! A store that reaches past the end of a memory writes nothing: processors look at both pages before they write to one. (Emulators
//! that do 16 bytes in two steps write the first half; QEMU 7.2 does.)

use crate::abi::VECTOR;
use crate::function::FunctionTranslator;
use crate::function::memory::Address;
use cranelift_codegen::ir::{InstBuilder, MemFlagsData, Type, Value, types};
use wasmparser::{MemArg, Operator};

macro_rules! load {
    ($self:ident, $memarg:expr, $size:literal, $method:ident $(, $ty:expr)?) => {{
        let (flags, Address(base, offset)) = $self.vector_access($memarg, $size);
        let value = $self.builder.ins().$method($($ty,)? flags, base, offset);
        $self.push(value);
    }};
}

impl FunctionTranslator<'_, '_> {
    pub(super) fn vector_memory_operator(&mut self, operator: &Operator<'_>) -> bool {
        use Operator as O;
        match *operator {
            O::V128Load { memarg } => load!(self, memarg, 16, load, VECTOR),
            O::V128Load8x8S { memarg } => load!(self, memarg, 8, sload8x8),
            O::V128Load8x8U { memarg } => load!(self, memarg, 8, uload8x8),
            O::V128Load16x4S { memarg } => load!(self, memarg, 8, sload16x4),
            O::V128Load16x4U { memarg } => load!(self, memarg, 8, uload16x4),
            O::V128Load32x2S { memarg } => load!(self, memarg, 8, sload32x2),
            O::V128Load32x2U { memarg } => load!(self, memarg, 8, uload32x2),
            O::V128Load8Splat { memarg } => self.load_splat(memarg, types::I8X16),
            O::V128Load16Splat { memarg } => self.load_splat(memarg, types::I16X8),
            O::V128Load32Splat { memarg } => self.load_splat(memarg, types::I32X4),
            O::V128Load64Splat { memarg } => self.load_splat(memarg, types::I64X2),
            O::V128Load32Zero { memarg } => self.load_first(memarg, types::I32X4),
            O::V128Load64Zero { memarg } => self.load_first(memarg, types::I64X2),
            O::V128Store { memarg } => {
                let value = self.pop();
                let (flags, Address(base, offset)) = self.vector_access(memarg, 16);
                self.builder.ins().store(flags, value, base, offset);
            }
            O::V128Load8Lane { memarg, lane } => self.load_lane(memarg, types::I8X16, lane),
            O::V128Load16Lane { memarg, lane } => self.load_lane(memarg, types::I16X8, lane),
            O::V128Load32Lane { memarg, lane } => self.load_lane(memarg, types::I32X4, lane),
            O::V128Load64Lane { memarg, lane } => self.load_lane(memarg, types::I64X2, lane),
            O::V128Store8Lane { memarg, lane } => self.store_lane(memarg, types::I8X16, lane),
            O::V128Store16Lane { memarg, lane } => self.store_lane(memarg, types::I16X8, lane),
            O::V128Store32Lane { memarg, lane } => self.store_lane(memarg, types::I32X4, lane),
            O::V128Store64Lane { memarg, lane } => self.store_lane(memarg, types::I64X2, lane),
            _ => return false,
        }
        true
    }

    /// Pops an address and prepares it for an access of `size` bytes.
    fn vector_access(&mut self, memarg: MemArg, size: u64) -> (MemFlagsData, Address) {
        let index = self.pop();
        let address = self.address_of(index, memarg, size);
        (self.access_flags(), address)
    }

    /// Loads one lane.
    fn load_one(&mut self, memarg: MemArg, ty: Type) -> Value {
        let lane = ty.lane_type();
        let (flags, Address(base, offset)) = self.vector_access(memarg, u64::from(lane.bytes()));
        self.builder.ins().load(lane, flags, base, offset)
    }

    /// Loads a lane into all lanes.
    fn load_splat(&mut self, memarg: MemArg, ty: Type) {
        let value = self.load_one(memarg, ty);
        let vector = self.builder.ins().splat(ty, value);
        self.push(vector);
    }

    /// Loads lane 0; the others become zero.
    fn load_first(&mut self, memarg: MemArg, ty: Type) {
        let value = self.load_one(memarg, ty);
        let vector = self.builder.ins().scalar_to_vector(ty, value);
        self.push(vector);
    }

    fn load_lane(&mut self, memarg: MemArg, ty: Type, lane: u8) {
        let vector = self.pop_lanes(ty);
        let value = self.load_one(memarg, ty);
        let vector = self.builder.ins().insertlane(vector, value, lane);
        self.push(vector);
    }

    fn store_lane(&mut self, memarg: MemArg, ty: Type, lane: u8) {
        let vector = self.pop_lanes(ty);
        let (flags, Address(base, offset)) = self.vector_access(memarg, u64::from(ty.lane_type().bytes()));
        let value = self.builder.ins().extractlane(vector, lane);
        self.builder.ins().store(flags, value, base, offset);
    }
}
