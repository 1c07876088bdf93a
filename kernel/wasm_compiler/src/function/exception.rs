//! Exceptions: `try_table`, `throw`, `throw_ref`, and the calls inside of `try_table` and of the legacy `try` (see `legacy`).
//!
//! A clause becomes a block, the landing pad, which loads the fields of the exception and branches to the clause's label. Calls
//! inside become `try_call`s, which name the landing pads of all clauses around them, innermost first, and so end a block. Which of
//! them an exception goes to the runtime finds out: see [`wasm_artifact::handlers`].

use super::FunctionTranslator;
use super::legacy::LegacyTries;
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
    /// Clauses of the `try_table`s and `try`s that are open, innermost last; of one, the first is last.
    clauses: Vec<Entry>,
    /// How many calls name clauses.
    calls: u32,
    /// Where the fields of an exception are put that is to be thrown; large enough for any so far.
    fields: Option<StackSlot>,
    /// The function's legacy `try`s.
    pub(super) legacy: LegacyTries,
}

#[derive(Clone, Copy)]
enum Entry {
    Clause(Clause),
    /// Goes on with the first so many: what is in between does not see the exceptions of what is inside.
    Delegate(usize),
}

#[derive(Clone, Copy)]
pub(super) struct Clause {
    /// `None` catches everything.
    pub(super) tag: Option<TagIndex>,
    pub(super) wants_reference: bool,
    pub(super) landing_pad: Block,
}

/// What a `try_table` or `try` has to remember until the end of its clauses.
pub(super) struct Clauses {
    /// How many clauses there are around it.
    outer: usize,
    /// How many calls there had been.
    calls: u32,
}

impl FunctionTranslator<'_, '_> {
    /// Makes the landing pads of a `try_table`, and goes on in its body.
    pub(super) fn begin_clauses(&mut self, catches: &[Catch]) -> Result<Clauses, CompileError> {
        let opened = self.open_clauses();
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
            self.push_clause(Clause { tag, wants_reference, landing_pad });
        }
        self.exceptions.clauses[opened.outer..].reverse();
        self.continue_in(body);
        Ok(opened)
    }

    /// Clauses that are to be pushed, around what comes next.
    pub(super) fn open_clauses(&self) -> Clauses {
        Clauses { outer: self.num_clauses(), calls: self.exceptions.calls }
    }

    /// How many clauses there are here, as [`FunctionTranslator::delegate_to`] counts them.
    pub(super) fn num_clauses(&self) -> usize {
        self.exceptions.clauses.len()
    }

    /// A clause inside of all others.
    pub(super) fn push_clause(&mut self, clause: Clause) {
        self.exceptions.clauses.push(Entry::Clause(clause));
    }

    /// From here on exceptions go to the outermost `clauses` of the clauses, and not to others.
    pub(super) fn delegate_to(&mut self, clauses: usize) {
        self.exceptions.clauses.push(Entry::Delegate(clauses));
    }

    /// A landing pad without contents.
    pub(super) fn create_landing_pad(&mut self) -> Block {
        let landing_pad = self.builder.create_block();
        self.builder.set_cold_block(landing_pad);
        self.builder.append_block_param(landing_pad, types::I64);
        self.builder.append_block_param(landing_pad, POINTER);
        landing_pad
    }

    /// Begins the contents of a landing pad: the exception's fields are pushed. Returns the reference to it, if there is one.
    pub(super) fn enter_landing_pad(&mut self, clause: &Clause) -> Option<Value> {
        let env = self.env;
        self.builder.switch_to_block(clause.landing_pad);
        let [reference, fields] = self.builder.block_params(clause.landing_pad)[..] else {
            unreachable!("a landing pad is given these two")
        };
        self.load_fuel_if_counted();
        let flags = self.regions.trusted(Region::Vm);
        let types = clause.tag.map_or(&[][..], |tag| env.tag_fields(tag));
        for (&ty, number) in types.iter().zip(0..) {
            let at = (number * FIELD_SIZE) as i32;
            let field = self.builder.ins().load(value_type(ty), flags, fields, at);
            self.push(field);
        }
        clause.wants_reference.then(|| self.builder.ins().ireduce(types::I32, reference))
    }

    fn landing_pad(&mut self, tag: Option<TagIndex>, wants_reference: bool, label: u32) -> Block {
        let landing_pad = self.create_landing_pad();
        let height = self.stack.len();
        let reference = self.enter_landing_pad(&Clause { tag, wants_reference, landing_pad });
        self.stack.extend(reference);
        let (target, num_args) = self.branch_target(label);
        self.jump(target, num_args);
        self.stack.truncate(height);
        landing_pad
    }

    /// Ends the innermost clauses.
    pub(super) fn end_clauses(&mut self, opened: &Clauses) {
        let Exceptions { clauses, calls, .. } = &mut self.exceptions;
        for entry in clauses.drain(opened.outer..) {
            if let Entry::Clause(clause) = entry {
                self.builder.seal_block(clause.landing_pad);
                self.complexity.label(*calls - opened.calls);
            }
        }
    }

    /// Calls, and returns the results. An exception that comes out of the call goes to the clauses around it.
    pub(super) fn emit_call(&mut self, callee: Callee, arguments: &[Value]) -> Vec<Value> {
        let items = if self.exceptions.clauses.is_empty() { Vec::new() } else { self.handlers() };
        // The context alone: an exception goes on to the caller.
        if items.len() <= 1 {
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
        self.complexity.pass(results.len());
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

    /// What a call here has to know of the clauses around it: where the context is, and they. Those that an inner one leaves nothing to are
    /// left out.
    fn handlers(&mut self) -> Vec<ExceptionTableItem> {
        let mut items = Vec::with_capacity(self.exceptions.clauses.len() + 1);
        items.push(ExceptionTableItem::Context(self.vmctx));
        let mut caught = HashSet::new();
        let mut clauses = 0;
        let mut rest = self.exceptions.clauses.len();
        while rest > 0 {
            rest -= 1;
            clauses += 1;
            let clause = match self.exceptions.clauses[rest] {
                Entry::Clause(clause) => clause,
                Entry::Delegate(outermost) => {
                    rest = outermost;
                    continue;
                }
            };
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
        self.complexity.handlers(clauses, items.len() - 1);
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
        self.throw_again(exception);
    }

    /// Throws the exception that is referred to.
    pub(super) fn throw_again(&mut self, exception: Value) {
        self.call_thrower(Builtin::ThrowRef, &[self.vmctx, exception]);
    }

    fn call_thrower(&mut self, builtin: Builtin, arguments: &[Value]) {
        let callee = self.builtin(builtin);
        self.emit_call(Callee::Direct(callee), arguments);
        // It does not return; this ends the block.
        self.builder.ins().trap(trap_code(Trap::UnreachableCodeReached));
    }
}
