//! Fuel and epochs: code that looks, now and then, whether it is to go on.
//!
//! Only if the tunables ask for it; a deadline or a kill needs nothing of this. What is charged, and where code looks, is as in
//! Wasmtime: at the start of functions and loops, and before instructions that work on a number of bytes or elements.
//!
//! **Fuel** is counted in a variable, which is in the store's context whenever other code runs: calls, returns, the runtime. An
//! operator costs 1, and nothing if it makes no code of its own; copying and the like costs 1 more for each byte or element, which is
//! charged before it begins. Costs are added up at compile time until control may go one way or another.
//!
//! **Epochs**: the deadline is kept in a variable, so that all it takes is a load and a comparison.

use super::FunctionTranslator;
use crate::abi::{POINTER, Region};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, InstructionData, Opcode, Value, ValueDef, types};
use cranelift_frontend::Variable;
use wasm_artifact::builtins::Builtin;
use wasm_artifact::vmctx::field;
use wasmparser::Operator;

/// An instruction on so many bytes or elements, if that is known, is not worth a look.
const SMALL_BULK: u64 = 128;

/// What a function keeps for fuel and epochs.
#[derive(Default)]
pub(super) struct Metering {
    fuel: Option<Fuel>,
    /// The variable with the store's deadline.
    epoch_deadline: Option<Variable>,
}

struct Fuel {
    /// The variable with what was consumed.
    consumed: Variable,
    /// What was consumed besides.
    pending: i64,
}

/// What an operator costs without that which depends on numbers it is given.
fn cost(operator: &Operator<'_>) -> i64 {
    match operator {
        Operator::Nop
        | Operator::Drop
        | Operator::Block { .. }
        | Operator::Loop { .. }
        | Operator::Unreachable
        | Operator::Return
        | Operator::Else
        | Operator::End => 0,
        _ => 1,
    }
}

/// What an instruction on many bytes or elements, whose number is on top of the stack, costs for each; `None` for others.
fn cost_of_each(operator: &Operator<'_>) -> Option<u64> {
    match operator {
        Operator::MemoryCopy { .. }
        | Operator::MemoryFill { .. }
        | Operator::MemoryInit { .. }
        | Operator::TableCopy { .. }
        | Operator::TableFill { .. }
        | Operator::TableInit { .. }
        | Operator::TableGrow { .. } => Some(1),
        Operator::MemoryGrow { .. } => Some(0),
        _ => None,
    }
}

impl FunctionTranslator<'_, '_> {
    /// Begins to count, and looks for the first time.
    pub(super) fn meter_entry(&mut self) {
        if self.tunables.consume_fuel {
            // Even an empty function costs something.
            let consumed = self.builder.declare_var(types::I64);
            self.metering.fuel = Some(Fuel { consumed, pending: 1 });
            self.load_fuel();
            self.check_fuel();
        }
        if self.tunables.epoch_interruption {
            let deadline = self.builder.declare_var(types::I64);
            self.metering.epoch_deadline = Some(deadline);
            let value = self.load_from_store(field::STORE_EPOCH_DEADLINE);
            self.builder.def_var(deadline, value);
            self.check_epoch(deadline);
        }
    }

    /// Looks, at the start of a loop.
    pub(super) fn meter_loop(&mut self) {
        if self.metering.fuel.is_some() {
            self.check_fuel();
        }
        if let Some(deadline) = self.metering.epoch_deadline {
            self.check_epoch(deadline);
        }
    }

    /// To be called before an operator is translated.
    pub(super) fn meter_before(&mut self, operator: &Operator<'_>) {
        if !self.reachable || (self.metering.fuel.is_none() && self.metering.epoch_deadline.is_none()) {
            return;
        }
        if let Some(fuel) = &mut self.metering.fuel {
            fuel.pending += cost(operator);
            match operator {
                Operator::Unreachable
                | Operator::Return
                | Operator::Call { .. }
                | Operator::CallIndirect { .. }
                | Operator::ReturnCall { .. }
                | Operator::ReturnCallIndirect { .. }
                | Operator::Throw { .. }
                | Operator::ThrowRef
                | Operator::Rethrow { .. } => {
                    self.settle_fuel();
                    self.save_fuel();
                }
                Operator::Loop { .. }
                | Operator::If { .. }
                | Operator::TryTable { .. }
                | Operator::Try { .. }
                | Operator::Catch { .. }
                | Operator::CatchAll
                | Operator::Delegate { .. }
                | Operator::Br { .. }
                | Operator::BrIf { .. }
                | Operator::BrTable { .. }
                | Operator::End
                | Operator::Else => self.settle_fuel(),
                _ => {}
            }
        }
        if let Some(cost_of_each) = cost_of_each(operator)
            && let Some(&count) = self.stack.last()
        {
            self.meter_bulk(count, cost_of_each);
        }
    }

    /// To be called after an operator was translated.
    pub(super) fn meter_after(&mut self, operator: &Operator<'_>) {
        if self.metering.fuel.is_some()
            && self.reachable
            && matches!(operator, Operator::Call { .. } | Operator::CallIndirect { .. })
        {
            self.load_fuel();
        }
    }

    /// To be called before the function returns.
    pub(super) fn meter_return(&mut self) {
        if self.metering.fuel.is_some() {
            self.settle_fuel();
            self.save_fuel();
        }
    }

    fn meter_bulk(&mut self, count: Value, cost_of_each: u64) {
        let known = self.known_count(count);
        if let Some(fuel) = &mut self.metering.fuel
            && cost_of_each > 0
        {
            match known {
                Some(count) => fuel.pending = fuel.pending.saturating_add((count * cost_of_each) as i64),
                None => {
                    let consumed = fuel.consumed;
                    self.settle_fuel();
                    // At most 2^32, so nothing overflows.
                    let count = self.widen(count);
                    let cost = self.builder.ins().imul_imm_u(count, cost_of_each as i64);
                    let before = self.builder.use_var(consumed);
                    let after = self.builder.ins().iadd(before, cost);
                    self.builder.def_var(consumed, after);
                }
            }
        }
        if known.is_none_or(|count| count * cost_of_each > SMALL_BULK) {
            self.meter_loop();
        }
    }

    /// The number that a 32-bit value is, if that is known.
    fn known_count(&self, value: Value) -> Option<u64> {
        let ValueDef::Result(instruction, _) = self.builder.func.dfg.value_def(value) else { return None };
        match self.builder.func.dfg.insts[instruction] {
            InstructionData::UnaryImm { opcode: Opcode::Iconst, imm } => Some(u64::from(imm.bits() as u32)),
            _ => None,
        }
    }

    fn store_context(&mut self) -> Value {
        self.vmctx_constant(POINTER, field::VMCONTEXT_STORE_CONTEXT)
    }

    fn load_from_store(&mut self, field: u32) -> Value {
        let store = self.store_context();
        self.builder.ins().load(types::I64, self.regions.trusted(Region::Vm), store, field as i32)
    }

    fn load_fuel(&mut self) {
        let value = self.load_from_store(field::STORE_FUEL_CONSUMED);
        if let Some(fuel) = &self.metering.fuel {
            self.builder.def_var(fuel.consumed, value);
        }
    }

    fn save_fuel(&mut self) {
        let Some(fuel) = &self.metering.fuel else { return };
        let value = self.builder.use_var(fuel.consumed);
        let store = self.store_context();
        let flags = self.regions.trusted(Region::Vm);
        self.builder.ins().store(flags, value, store, field::STORE_FUEL_CONSUMED as i32);
    }

    /// Adds to the variable what was consumed besides.
    fn settle_fuel(&mut self) {
        let Some(fuel) = &mut self.metering.fuel else { return };
        let pending = core::mem::take(&mut fuel.pending);
        if pending != 0 {
            let before = self.builder.use_var(fuel.consumed);
            let after = self.builder.ins().iadd_imm_s(before, pending);
            self.builder.def_var(fuel.consumed, after);
        }
    }

    fn check_fuel(&mut self) {
        self.settle_fuel();
        let Some(fuel) = &self.metering.fuel else { return };
        let consumed = self.builder.use_var(fuel.consumed);
        let used_up = self.builder.ins().icmp_imm_s(IntCC::SignedGreaterThanOrEqual, consumed, 0);
        let (stop, next) = (self.builder.create_block(), self.builder.create_block());
        self.builder.set_cold_block(stop);
        self.builder.ins().brif(used_up, stop, &[], next, &[]);
        self.continue_in(stop);
        self.save_fuel();
        self.call_builtin(Builtin::OutOfFuel, &[]);
        self.load_fuel();
        self.builder.ins().jump(next, &[]);
        self.continue_in(next);
    }

    fn check_epoch(&mut self, deadline: Variable) {
        let store = self.store_context();
        let epoch = self.builder.ins().load(
            POINTER,
            self.regions.constant(Region::Vm),
            store,
            field::STORE_EPOCH as i32,
        );
        // Others write it: each look must be one.
        let now = self.builder.ins().atomic_load(types::I64, self.regions.trusted(Region::Vm), epoch);
        let (reload, ask, next) =
            (self.builder.create_block(), self.builder.create_block(), self.builder.create_block());
        self.builder.set_cold_block(reload);
        self.builder.set_cold_block(ask);
        let known = self.builder.use_var(deadline);
        let come = self.builder.ins().icmp(IntCC::UnsignedGreaterThanOrEqual, now, known);
        self.builder.ins().brif(come, reload, &[], next, &[]);
        // A function that was called may have set another deadline.
        self.continue_in(reload);
        let current = self.load_from_store(field::STORE_EPOCH_DEADLINE);
        self.builder.def_var(deadline, current);
        let come = self.builder.ins().icmp(IntCC::UnsignedGreaterThanOrEqual, now, current);
        self.builder.ins().brif(come, ask, &[], next, &[]);
        self.continue_in(ask);
        if self.metering.fuel.is_some() {
            // A callback may look at it.
            self.settle_fuel();
            self.save_fuel();
        }
        self.call_builtin(Builtin::NewEpoch, &[]);
        self.load_fuel_if_counted();
        let current = self.load_from_store(field::STORE_EPOCH_DEADLINE);
        self.builder.def_var(deadline, current);
        self.builder.ins().jump(next, &[]);
        self.continue_in(next);
    }

    pub(super) fn load_fuel_if_counted(&mut self) {
        if self.metering.fuel.is_some() {
            self.load_fuel();
        }
    }
}
