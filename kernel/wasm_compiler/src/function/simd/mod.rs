//! Vectors.
//!
//! Wasm has one type of vectors, Cranelift has one for each kind of lanes. A value on the operand stack has the type that its
//! operator gave it, and is cast, which costs no instruction, by the operator that takes it otherwise. Where wasm's type shows
//! (locals, labels, parameters and results) it is [`VECTOR`]; see [`FunctionTranslator::generic`]. Casts are kept few: selection
//! of instructions does not look through all of them.
//!
//! Every operator works on every x86-64 CPU. Cranelift has no code for some where SSE4.1 or SSSE3 is missing; these are made of
//! others here.

mod float;
mod integer;
mod lanes;
mod memory;

use super::FunctionTranslator;
use crate::abi::VECTOR;
use alloc::vec::Vec;
use cranelift_codegen::ir::{
    ConstantData, Endianness, Inst, InstBuilder, InstructionData, MemFlagsData, Opcode, StackSlot,
    StackSlotData, StackSlotKind, Type, Value, ValueDef,
};
use hashbrown::HashMap;
use wasm_artifact::CpuFeatures;
use wasmparser::Operator;

/// What translating vectors needs to know of the function.
pub(super) struct VectorState {
    /// Whether bytes can be shuffled by a vector of indices.
    has_ssse3: bool,
    /// Whether operands in memory need not be aligned.
    has_avx: bool,
    /// Casts of what was loaded: the load, and the cast.
    cast_loads: Vec<(Inst, Inst)>,
    /// Room for what is shuffled by way of memory.
    slot: Option<StackSlot>,
}

impl VectorState {
    pub(super) fn new(cpu: CpuFeatures) -> VectorState {
        VectorState {
            has_ssse3: cpu.contains(CpuFeatures::SSSE3),
            has_avx: cpu.contains(CpuFeatures::AVX),
            cast_loads: Vec::new(),
            slot: None,
        }
    }
}

macro_rules! unary {
    ($self:ident, $ty:expr, $method:ident) => {{
        let value = $self.pop_lanes($ty);
        let result = $self.builder.ins().$method(value);
        $self.push(result);
    }};
}

macro_rules! binary {
    ($self:ident, $ty:expr, $method:ident) => {{
        let [left, right] = $self.pop_two_lanes($ty);
        let result = $self.builder.ins().$method(left, right);
        $self.push(result);
    }};
}

macro_rules! compare {
    ($self:ident, $ty:expr, $method:ident, $condition:expr) => {{
        let [left, right] = $self.pop_two_lanes($ty);
        let result = $self.builder.ins().$method($condition, left, right);
        $self.push(result);
    }};
}

use {binary, compare, unary};

impl FunctionTranslator<'_, '_> {
    /// Translates an operator on vectors; returns whether it is one.
    pub(super) fn vector_operator(&mut self, operator: &Operator<'_>) -> bool {
        self.vector_memory_operator(operator)
            || self.lane_operator(operator)
            || self.vector_integer_operator(operator)
            || self.vector_float_operator(operator)
    }

    /// Pops a vector with lanes of this kind.
    fn pop_lanes(&mut self, ty: Type) -> Value {
        let value = self.pop();
        self.as_lanes(value, ty)
    }

    /// Pops two vectors, in the order they were pushed.
    fn pop_two_lanes(&mut self, ty: Type) -> [Value; 2] {
        self.pop_many().map(|value| self.as_lanes(value, ty))
    }

    /// The value as wasm's type says; vectors may be of any type on the operand stack only.
    pub(super) fn generic(&mut self, value: Value) -> Value {
        match self.builder.func.dfg.value_type(value).is_vector() {
            true => self.as_lanes(value, VECTOR),
            false => value,
        }
    }

    /// The topmost values on the stack as wasm's types say.
    pub(super) fn make_generic(&mut self, num_values: usize) {
        for at in self.stack.len() - num_values..self.stack.len() {
            self.stack[at] = self.generic(self.stack[at]);
        }
    }

    /// The bits of a vector as a vector of type `ty`.
    fn as_lanes(&mut self, mut value: Value, ty: Type) -> Value {
        let dfg = &self.builder.func.dfg;
        if dfg.value_type(value) == ty {
            return value;
        }
        let mut load = None;
        if let ValueDef::Result(definition, _) = dfg.value_def(value) {
            match dfg.insts[definition] {
                InstructionData::LoadNoOffset { opcode: Opcode::Bitcast, arg, .. }
                    if dfg.value_type(arg).is_vector() =>
                {
                    if dfg.value_type(arg) == ty {
                        return arg;
                    }
                    value = arg;
                }
                InstructionData::UnaryConst { opcode: Opcode::Vconst, constant_handle } => {
                    return self.builder.ins().vconst(ty, constant_handle);
                }
                InstructionData::Load { opcode: Opcode::Load, .. } => load = Some(definition),
                _ => {}
            }
        }
        let flags = MemFlagsData::new().with_endianness(Endianness::Little);
        let cast = self.builder.ins().bitcast(ty, flags, value);
        if let Some(load) = load {
            let cast = self.builder.func.dfg.value_def(cast).unwrap_inst();
            self.vectors.cast_loads.push((load, cast));
        }
        cast
    }

    /// A vector of these bits, lane 0 in the lowest.
    pub(super) fn vector_constant(&mut self, ty: Type, bits: u128) -> Value {
        let bytes = bits.to_le_bytes();
        let constant = self.builder.func.dfg.constants.insert(ConstantData::from(&bytes[..]));
        self.builder.ins().vconst(ty, constant)
    }

    /// Room for four vectors in the frame, whose content nobody relies on after an operator.
    fn vector_slot(&mut self) -> StackSlot {
        let builder = &mut self.builder;
        *self.vectors.slot.get_or_insert_with(|| {
            builder.create_sized_stack_slot(StackSlotData::new(StackSlotKind::ExplicitSlot, 64, 4))
        })
    }

    /// Gives loads the type that all their users cast them to, and removes the casts: a load becomes part of an instruction only
    /// when it is its operand directly. To be called when the function is complete.
    ///
    /// Not without AVX: there, operands in memory must be aligned, so loads remain instructions of their own. And Cranelift 0.135
    /// forgets that for `cmpps` and `cmppd`; a cast in between keeps loads out of these.
    pub(super) fn type_loads_by_use(&mut self) {
        let casts = core::mem::take(&mut self.vectors.cast_loads);
        if casts.is_empty() || !self.vectors.has_avx {
            return;
        }
        let function = &mut self.builder.func.stencil;
        let dfg = &mut function.dfg;
        let mut uses: HashMap<Value, usize> =
            casts.iter().map(|&(load, _)| (dfg.first_result(load), 0)).collect();
        for block in function.layout.blocks() {
            for instruction in function.layout.block_insts(block) {
                for value in dfg.inst_values(instruction) {
                    if let Some(uses) = uses.get_mut(&dfg.resolve_aliases(value)) {
                        *uses += 1;
                    }
                }
            }
        }
        // Casts were noted in the order of the code, not by their loads.
        let mut casts_of: HashMap<Inst, Vec<Inst>> = HashMap::new();
        for &(load, cast) in &casts {
            casts_of.entry(load).or_default().push(cast);
        }
        for &(load, _) in &casts {
            let Some(casts) = casts_of.remove(&load) else { continue };
            let loaded = dfg.first_result(load);
            let ty = dfg.value_type(dfg.first_result(casts[0]));
            let same_type = casts.iter().all(|&cast| dfg.value_type(dfg.first_result(cast)) == ty);
            if !same_type || uses[&loaded] != casts.len() {
                continue;
            }
            let mut typed = None;
            for cast in casts {
                let result = dfg.first_result(cast);
                function.layout.remove_inst(cast);
                dfg.detach_inst_results(cast);
                match typed {
                    None => {
                        dfg.make_inst_results_reusing(load, ty, core::iter::once(Some(result)));
                        typed = Some(result);
                    }
                    Some(typed) => dfg.change_to_alias(result, typed),
                }
            }
        }
    }
}
