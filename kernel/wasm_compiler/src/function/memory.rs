//! Linear memories.
//!
//! Most accesses need no check: see [`wasm_artifact::MemoryPlan::elides_check`]. An access that is out of bounds then
//! faults in the reservation or the guard behind it.

use super::FunctionTranslator;
use crate::abi::{POINTER, Region};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, MemFlagsData, Type, Value, types};
use wasm_artifact::builtins::Builtin;
use wasm_artifact::types::WASM_PAGE_SIZE;
use wasm_artifact::vmctx::field;
use wasm_artifact::{MemoryIndex, MemoryPlan, Trap};
use wasmparser::{MemArg, Operator};

/// An address that was checked as far as needed: base and constant offset.
pub(super) struct Address(pub(super) Value, pub(super) i32);

macro_rules! load {
    ($self:ident, $memarg:expr, $size:literal, $method:ident $(, $ty:expr)?) => {{
        let Address(base, offset) = $self.address($memarg, $size);
        let flags = $self.access_flags();
        let value = $self.builder.ins().$method($($ty,)? flags, base, offset);
        $self.push(value);
    }};
}

macro_rules! store {
    ($self:ident, $memarg:expr, $size:literal, $method:ident) => {{
        let value = $self.pop();
        let Address(base, offset) = $self.address($memarg, $size);
        let flags = $self.access_flags();
        $self.builder.ins().$method(flags, value, base, offset);
    }};
}

impl FunctionTranslator<'_, '_> {
    /// Translates an operator on memories; returns whether it is one.
    pub(super) fn memory_operator(&mut self, operator: &Operator<'_>) -> bool {
        use Operator as O;
        match *operator {
            O::I32Load { memarg } => load!(self, memarg, 4, load, types::I32),
            O::I64Load { memarg } => load!(self, memarg, 8, load, types::I64),
            O::F32Load { memarg } => load!(self, memarg, 4, load, types::F32),
            O::F64Load { memarg } => load!(self, memarg, 8, load, types::F64),
            O::I32Load8S { memarg } => load!(self, memarg, 1, sload8, types::I32),
            O::I32Load8U { memarg } => load!(self, memarg, 1, uload8, types::I32),
            O::I32Load16S { memarg } => load!(self, memarg, 2, sload16, types::I32),
            O::I32Load16U { memarg } => load!(self, memarg, 2, uload16, types::I32),
            O::I64Load8S { memarg } => load!(self, memarg, 1, sload8, types::I64),
            O::I64Load8U { memarg } => load!(self, memarg, 1, uload8, types::I64),
            O::I64Load16S { memarg } => load!(self, memarg, 2, sload16, types::I64),
            O::I64Load16U { memarg } => load!(self, memarg, 2, uload16, types::I64),
            O::I64Load32S { memarg } => load!(self, memarg, 4, sload32),
            O::I64Load32U { memarg } => load!(self, memarg, 4, uload32),
            O::I32Store { memarg } | O::F32Store { memarg } => store!(self, memarg, 4, store),
            O::I64Store { memarg } | O::F64Store { memarg } => store!(self, memarg, 8, store),
            O::I32Store8 { memarg } | O::I64Store8 { memarg } => store!(self, memarg, 1, istore8),
            O::I32Store16 { memarg } | O::I64Store16 { memarg } => store!(self, memarg, 2, istore16),
            O::I64Store32 { memarg } => store!(self, memarg, 4, istore32),
            O::MemorySize { mem } => {
                let length = self.memory_length(MemoryIndex(mem));
                let pages = self.builder.ins().ushr_imm_u(length, i64::from(WASM_PAGE_SIZE.ilog2()));
                let pages = self.builder.ins().ireduce(types::I32, pages);
                self.push(pages);
            }
            O::MemoryGrow { mem } => {
                let delta = self.pop();
                let arguments = [self.i32(mem), self.widen(delta)];
                let pages = self.call_builtin(Builtin::MemoryGrow, &arguments).expect("growing has a result");
                let pages = self.builder.ins().ireduce(types::I32, pages);
                self.push(pages);
            }
            O::MemoryCopy { dst_mem, src_mem } => {
                let [dst, src, len] = self.pop_many();
                if self.copy_inline((MemoryIndex(dst_mem), dst), (MemoryIndex(src_mem), src), len) {
                    return true;
                }
                let arguments =
                    [self.i32(dst_mem), self.widen(dst), self.i32(src_mem), self.widen(src), self.widen(len)];
                self.call_builtin(Builtin::MemoryCopy, &arguments);
            }
            O::MemoryFill { mem } => {
                let [dst, value, len] = self.pop_many();
                if self.fill_inline(MemoryIndex(mem), dst, value, len) {
                    return true;
                }
                let arguments = [self.i32(mem), self.widen(dst), value, self.widen(len)];
                self.call_builtin(Builtin::MemoryFill, &arguments);
            }
            O::MemoryInit { data_index, mem } => {
                let [dst, src, len] = self.pop_many();
                let arguments = [self.i32(mem), self.i32(data_index), self.widen(dst), src, len];
                self.call_builtin(Builtin::MemoryInit, &arguments);
            }
            O::DataDrop { data_index } => {
                let data = self.i32(data_index);
                self.call_builtin(Builtin::DataDrop, &[data]);
            }
            _ => return false,
        }
        true
    }

    pub(super) fn access_flags(&self) -> MemFlagsData {
        self.regions.trapping(Region::Memory, Trap::MemoryOutOfBounds)
    }

    /// Where a memory's definition is: base address and offset.
    fn memory_definition(&mut self, index: MemoryIndex) -> (Value, i32) {
        let import = match self.env.module.defined_memory(index) {
            Some(defined) => {
                let offset = self.env.offsets.memory(defined);
                if !self.is_shared(index) {
                    return (self.vmctx, offset as i32);
                }
                offset
            }
            None => self.env.offsets.imported_memory(index),
        };
        (self.vmctx_constant(POINTER, import + field::MEMORY_IMPORT_FROM), 0)
    }

    fn memory_field(&mut self, index: MemoryIndex, field: u32, ty: Type, flags: MemFlagsData) -> Value {
        let (definition, offset) = self.memory_definition(index);
        self.builder.ins().load(ty, flags, definition, offset + field as i32)
    }

    fn is_shared(&self, index: MemoryIndex) -> bool {
        self.env.memory_types[index.index()].shared
    }

    /// The memory's size in bytes, now.
    fn memory_length(&mut self, index: MemoryIndex) -> Value {
        let flags = self.regions.trusted(Region::Vm);
        if self.is_shared(index) {
            // Another task may have grown it since the last look, and told us so; an atomic load is not merged with an earlier one.
            let (definition, offset) = self.memory_definition(index);
            let address = self
                .builder
                .ins()
                .iadd_imm_u(definition, i64::from(offset) + i64::from(field::MEMORY_LENGTH));
            return self.builder.ins().atomic_load(types::I64, flags, address);
        }
        self.memory_field(index, field::MEMORY_LENGTH, types::I64, flags)
    }

    pub(super) fn memory_plan(&self, index: MemoryIndex) -> MemoryPlan {
        match self.env.module.defined_memory(index) {
            Some(defined) => self.env.module.memories[defined.index()].plan,
            None => {
                let ty = self.env.memory_types[index.index()];
                self.tunables.shared_memory_plan(&ty)
            }
        }
    }

    /// Pops an address and prepares it for an access of `size` bytes.
    fn address(&mut self, memarg: MemArg, size: u64) -> Address {
        let index = self.pop();
        self.address_of(index, memarg, size)
    }

    /// Prepares an address for an access of `size` bytes.
    pub(super) fn address_of(&mut self, index: Value, memarg: MemArg, size: u64) -> Address {
        let memory = MemoryIndex(memarg.memory);
        let flags = self.regions.constant(Region::Vm);
        let base = self.memory_field(memory, field::MEMORY_BASE, POINTER, flags);
        let index = self.widen(index);
        if self.memory_plan(memory).elides_check(memarg.offset, size)
            && let Ok(offset) = i32::try_from(memarg.offset)
        {
            return Address(self.builder.ins().iadd(base, index), offset);
        }
        // Neither sum overflows: each summand is below 2^32 or a small constant.
        let end = self.builder.ins().iadd_imm_u(index, (memarg.offset + size) as i64);
        let length = self.memory_length(memory);
        let outside = self.builder.ins().icmp(IntCC::UnsignedGreaterThan, end, length);
        self.trap_if(outside, Trap::MemoryOutOfBounds);
        let start = self.builder.ins().iadd_imm_u(index, memarg.offset as i64);
        let address = self.builder.ins().iadd(base, start);
        // While the processor speculates past the check above, it shall not read outside of the memory either.
        Address(self.builder.ins().select_spectre_guard(outside, base, address), 0)
    }
}
