//! Calls.

use super::FunctionTranslator;
use super::exception::Callee;
use crate::abi::{POINTER, Region};
use crate::compile::CallTarget;
use crate::trampoline;
use alloc::vec::Vec;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, SigRef, Value, types};
use wasm_artifact::vmctx::field;
use wasm_artifact::{FuncIndex, TableIndex, Trap, TypeIndex};
use wasmparser::Operator;

impl FunctionTranslator<'_, '_> {
    /// Translates a call; returns whether the operator is one.
    pub(super) fn call_operator(&mut self, operator: &Operator<'_>) -> bool {
        let (callee, arguments) = match *operator {
            Operator::Call { function_index } => self.callee(FuncIndex(function_index)),
            Operator::CallIndirect { type_index, table_index } => {
                self.indirect_callee(TypeIndex(type_index), TableIndex(table_index))
            }
            _ => return false,
        };
        self.call(callee, &arguments);
        true
    }

    fn signature(&mut self, ty: TypeIndex) -> SigRef {
        let canonical = self.env.canonical_types[ty.index()];
        let env = self.env;
        *self
            .signatures
            .entry(canonical)
            .or_insert_with(|| self.builder.import_signature(env.signatures[canonical.index()].clone()))
    }

    /// Both vmctx arguments, then the topmost values, which are popped.
    fn call_arguments(&mut self, callee_vmctx: Value, num_params: usize) -> Vec<Value> {
        self.make_generic(num_params);
        let mut arguments = Vec::with_capacity(num_params + 2);
        arguments.push(callee_vmctx);
        arguments.push(self.vmctx);
        arguments.extend(self.stack.drain(self.stack.len() - num_params..));
        arguments
    }

    fn push_results(&mut self, results: &[Value], arguments: usize) {
        self.stack.extend_from_slice(results);
        self.complexity.call(arguments, results.len());
    }

    /// What a call goes to, and what it passes: the topmost values, which are popped.
    fn callee(&mut self, index: FuncIndex) -> (Callee, Vec<Value>) {
        let env = self.env;
        let ty = env.module.functions[index.index()].ty;
        let num_params = env.func_type(ty).params.len();
        match env.module.defined_func(index) {
            Some(defined) => {
                let callee = match self.functions.get(&index) {
                    Some(&callee) => callee,
                    None => {
                        let signature = self.signature(ty);
                        let target = CallTarget::Function(defined.0);
                        let callee = trampoline::import(&mut self.builder, target, signature);
                        self.functions.insert(index, callee);
                        callee
                    }
                };
                (Callee::Direct(callee), self.call_arguments(self.vmctx, num_params))
            }
            None => {
                let import = env.offsets.imported_function(index);
                let code = self.vmctx_constant(POINTER, import + field::FUNCTION_IMPORT_WASM_CALL);
                let callee_vmctx = self.vmctx_constant(POINTER, import + field::FUNCTION_IMPORT_VMCTX);
                let signature = self.signature(ty);
                (Callee::Indirect(signature, code), self.call_arguments(callee_vmctx, num_params))
            }
        }
    }

    /// As [`callee`](Self::callee), for the function in a table at the index on top of the stack.
    fn indirect_callee(&mut self, ty: TypeIndex, table: TableIndex) -> (Callee, Vec<Value>) {
        let index = self.pop();
        let element = self.table_element(table, index);
        let func_ref = self.builder.ins().load(POINTER, self.regions.trusted(Region::Table), element, 0);
        // A null reference faults here, on the page at address 0, which is never mapped: that saves a comparison per call.
        let found = self.builder.ins().load(
            types::I32,
            self.regions.trapping(Region::Vm, Trap::IndirectCallToNull).with_aligned(),
            func_ref,
            field::FUNC_REF_TYPE_INDEX as i32,
        );
        let type_ids = self.vmctx_constant(POINTER, field::VMCONTEXT_TYPE_IDS);
        let expected =
            self.builder.ins().load(types::I32, self.regions.constant(Region::Vm), type_ids, ty.0 as i32 * 4);
        let differs = self.builder.ins().icmp(IntCC::NotEqual, found, expected);
        self.trap_if(differs, Trap::BadSignature);
        let flags = self.regions.trusted(Region::Vm);
        let code = self.builder.ins().load(POINTER, flags, func_ref, field::FUNC_REF_WASM_CALL as i32);
        let callee_vmctx = self.builder.ins().load(POINTER, flags, func_ref, field::FUNC_REF_VMCTX as i32);
        let signature = self.signature(ty);
        let num_params = self.env.func_type(ty).params.len();
        (Callee::Indirect(signature, code), self.call_arguments(callee_vmctx, num_params))
    }

    fn call(&mut self, callee: Callee, arguments: &[Value]) {
        let results = self.emit_call(callee, arguments);
        self.push_results(&results, arguments.len());
    }

    /// Calls in place of the function itself, whose frame is left first; so the handlers in it are, too.
    fn return_call(&mut self, callee: Callee, arguments: &[Value]) {
        self.complexity.call(arguments.len(), 0);
        match callee {
            Callee::Direct(function) => self.builder.ins().return_call(function, arguments),
            Callee::Indirect(signature, code) => {
                self.builder.ins().return_call_indirect(signature, code, arguments)
            }
        };
    }

    /// Translates a tail call; returns whether the operator is one.
    pub(super) fn return_call_operator(&mut self, operator: &Operator<'_>) -> bool {
        let (callee, arguments) = match *operator {
            Operator::ReturnCall { function_index } => self.callee(FuncIndex(function_index)),
            Operator::ReturnCallIndirect { type_index, table_index } => {
                self.indirect_callee(TypeIndex(type_index), TableIndex(table_index))
            }
            _ => return false,
        };
        self.return_call(callee, &arguments);
        true
    }
}
