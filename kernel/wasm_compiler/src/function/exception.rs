//! Exceptions: `try_table`, `throw`, `throw_ref`, and the calls inside of `try_table`.
//!
//! A clause becomes a block, the landing pad, which loads the fields of the exception and branches to the clause's label. Calls
//! inside become `try_call`s, which name the landing pads of all clauses around them, innermost first, and so end a block. Which of
//! them an exception goes to the runtime finds out: see [`wasm_artifact::handlers`].

use super::FunctionTranslator;
use crate::CompileError;
use crate::abi::{POINTER, Region, trap_code, value_type};
use alloc::vec::Vec;
use cranelift_codegen::ir::{
    Block, BlockArg, ExceptionTableData, ExceptionTableItem, ExceptionTag, FuncRef, InstBuilder, SigRef,
    StackSlot, StackSlotData, StackSlotKind, Value, types,
};
use hashbrown::HashSet;
use wasm_artifact::builtins::Builtin;
use wasm_artifact::handlers::HandlerClause;
use wasm_artifact::vmctx::ValRaw;
use wasm_artifact::{TagIndex, Trap};
use wasmparser::Catch;

/// Bytes per field of an exception.
const FIELD_SIZE: u32 = size_of::<ValRaw>() as u32;

/// What a call goes to.
pub(super) enum Callee {
    Direct(FuncRef),
    Indirect(SigRef, Value),
}

/// The handlers at a place in a function.
#[derive(Default)]
pub(super) struct Exceptions {
    /// Clauses of the `try_table`s that are open, innermost last; of one, the first is last.
    clauses: Vec<Clause>,
    /// How many calls name clauses.
    calls: u32,
    /// Where the fields of an exception are put that is to be thrown; large enough for any so far.
    fields: Option<StackSlot>,
}

#[derive(Clone, Copy)]
struct Clause {
    /// `None` catches everything.
    tag: Option<TagIndex>,
    wants_reference: bool,
    landing_pad: Block,
}

/// What a `try_table` has to remember until its end.
pub(super) struct Clauses {
    /// How many clauses there are around it.
    outer: usize,
    /// How many calls there had been.
    calls: u32,
}

impl FunctionTranslator<'_, '_> {
    /// Makes the landing pads of a `try_table`, and goes on in its body.
    pub(super) fn begin_clauses(&mut self, catches: &[Catch]) -> Result<Clauses, CompileError> {
        let opened = Clauses { outer: self.exceptions.clauses.len(), calls: self.exceptions.calls };
        let body = self.builder.create_block();
        self.builder.ins().jump(body, &[]);
        for catch in catches {
            let (tag, wants_reference, label) = match *catch {
                Catch::One { tag, label } => (Some(TagIndex(tag)), false, label),
                Catch::OneRef { tag, label } => (Some(TagIndex(tag)), true, label),
                Catch::All { label } => (None, false, label),
                Catch::AllRef { label } => (None, true, label),
            };
            let landing_pad = self.landing_pad(tag, wants_reference, label);
            self.exceptions.clauses.push(Clause { tag, wants_reference, landing_pad });
        }
        self.exceptions.clauses[opened.outer..].reverse();
        self.continue_in(body);
        Ok(opened)
    }

    fn landing_pad(&mut self, tag: Option<TagIndex>, wants_reference: bool, label: u32) -> Block {
        let env = self.env;
        let landing_pad = self.builder.create_block();
        self.builder.set_cold_block(landing_pad);
        let reference = self.builder.append_block_param(landing_pad, types::I64);
        let fields = self.builder.append_block_param(landing_pad, POINTER);
        self.builder.switch_to_block(landing_pad);
        self.load_fuel_if_counted();
        let height = self.stack.len();
        let flags = self.regions.trusted(Region::Vm);
        let types = tag.map_or(&[][..], |tag| env.tag_fields(tag));
        for (&ty, number) in types.iter().zip(0..) {
            let at = (number * FIELD_SIZE) as i32;
            let field = self.builder.ins().load(value_type(ty), flags, fields, at);
            self.push(field);
        }
        if wants_reference {
            let reference = self.builder.ins().ireduce(types::I32, reference);
            self.push(reference);
        }
        let (target, num_args) = self.branch_target(label);
        self.jump(target, num_args);
        self.stack.truncate(height);
        landing_pad
    }

    /// Ends the clauses of the innermost `try_table`, of which the end is reached.
    pub(super) fn end_clauses(&mut self, opened: &Clauses) {
        let Exceptions { clauses, calls, .. } = &mut self.exceptions;
        for clause in clauses.drain(opened.outer..) {
            self.builder.seal_block(clause.landing_pad);
            self.complexity.label(*calls - opened.calls);
        }
    }

    /// Calls, and returns the results. An exception that comes out of the call goes to the clauses around it.
    pub(super) fn emit_call(&mut self, callee: Callee, arguments: &[Value]) -> Vec<Value> {
        if self.exceptions.clauses.is_empty() {
            let call = match callee {
                Callee::Direct(function) => self.builder.ins().call(function, arguments),
                Callee::Indirect(signature, code) => {
                    self.builder.ins().call_indirect(signature, code, arguments)
                }
            };
            return self.builder.inst_results(call).to_vec();
        }
        let signature = match callee {
            Callee::Direct(function) => self.builder.func.dfg.ext_funcs[function].signature,
            Callee::Indirect(signature, _) => signature,
        };
        let returned = self.builder.create_block();
        let types = &self.builder.func.dfg.signatures[signature].returns;
        let types = types.iter().map(|result| result.value_type).collect::<Vec<_>>();
        let mut results = Vec::with_capacity(types.len());
        for ty in types {
            results.push(self.builder.append_block_param(returned, ty));
        }
        let passed: Vec<BlockArg> = (0..results.len() as u32).map(BlockArg::TryCallRet).collect();
        let normal = self.builder.func.dfg.block_call(returned, &passed);
        let items = self.handlers();
        self.complexity.pass(results.len());
        self.complexity.handlers(items.len());
        let table = ExceptionTableData::new(signature, normal, items);
        let table = self.builder.func.dfg.exception_tables.push(table);
        match callee {
            Callee::Direct(function) => self.builder.ins().try_call(function, arguments, table),
            Callee::Indirect(_, code) => self.builder.ins().try_call_indirect(code, arguments, table),
        };
        self.exceptions.calls += 1;
        self.continue_in(returned);
        results
    }

    /// What a call here has to know of the clauses around it. Those that an inner one leaves nothing to are left out.
    fn handlers(&mut self) -> Vec<ExceptionTableItem> {
        let mut items = Vec::with_capacity(self.exceptions.clauses.len() + 1);
        items.push(ExceptionTableItem::Context(self.vmctx));
        let mut caught = HashSet::new();
        for clause in self.exceptions.clauses.iter().rev() {
            if !caught.insert(clause.tag) {
                continue;
            }
            let payload = [BlockArg::TryCallExn(0), BlockArg::TryCallExn(1)];
            let target = self.builder.func.dfg.block_call(clause.landing_pad, &payload);
            let tag = HandlerClause::encode_tag(clause.tag, clause.wants_reference);
            items.push(ExceptionTableItem::Tag(ExceptionTag::from_u32(tag), target));
            if clause.tag.is_none() {
                break;
            }
        }
        items
    }

    /// Throws an exception with the topmost values as its fields.
    pub(super) fn throw(&mut self, tag: TagIndex) {
        let count = self.env.tag_fields(tag).len();
        self.make_generic(count);
        let fields = self.stack.split_off(self.stack.len() - count);
        let size = (count as u32 * FIELD_SIZE).max(FIELD_SIZE);
        let slot = *self.exceptions.fields.get_or_insert_with(|| {
            let align = FIELD_SIZE.ilog2() as u8;
            let slot = StackSlotData::new(StackSlotKind::ExplicitSlot, size, align);
            self.builder.create_sized_stack_slot(slot)
        });
        let slot_size = &mut self.builder.func.sized_stack_slots[slot].size;
        *slot_size = size.max(*slot_size);
        let address = self.builder.ins().stack_addr(POINTER, slot, 0);
        let flags = self.regions.trusted(Region::Vm);
        for (&field, number) in fields.iter().zip(0..) {
            self.builder.ins().store(flags, field, address, (number * FIELD_SIZE) as i32);
        }
        let tag = self.i32(tag.0);
        self.call_thrower(Builtin::Throw, &[self.vmctx, tag, address]);
    }

    /// Throws the exception on top of the stack.
    pub(super) fn throw_ref(&mut self) {
        let exception = self.pop();
        self.call_thrower(Builtin::ThrowRef, &[self.vmctx, exception]);
    }

    fn call_thrower(&mut self, builtin: Builtin, arguments: &[Value]) {
        let callee = self.builtin(builtin);
        self.emit_call(Callee::Direct(callee), arguments);
        // It does not return; this ends the block.
        self.builder.ins().trap(trap_code(Trap::UnreachableCodeReached));
    }
}
