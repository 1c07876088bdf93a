//! Tables.

use super::FunctionTranslator;
use crate::abi::{POINTER, Region, reference_type};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, Value, types};
use wasm_artifact::builtins::Builtin;
use wasm_artifact::types::HeapType;
use wasm_artifact::vmctx::{TABLE_ELEMENT_SIZE, field};
use wasm_artifact::{TableIndex, Trap};
use wasmparser::Operator;

impl FunctionTranslator<'_, '_> {
    /// Translates an operator on tables; returns whether it is one.
    pub(super) fn table_operator(&mut self, operator: &Operator<'_>) -> bool {
        match *operator {
            Operator::TableGet { table } => {
                let index = self.pop();
                let element = self.table_element(TableIndex(table), index);
                let ty = reference_type(self.element_type(table));
                let value = self.builder.ins().load(ty, self.regions.trusted(Region::Table), element, 0);
                self.push(value);
            }
            Operator::TableSet { table } => {
                let [index, value] = self.pop_many();
                let value = self.widen_reference(self.element_type(table), value);
                let element = self.table_element(TableIndex(table), index);
                self.builder.ins().store(self.regions.trusted(Region::Table), value, element, 0);
            }
            Operator::TableSize { table } => {
                let (definition, offset) = self.table_definition(TableIndex(table));
                let flags = self.regions.trusted(Region::Vm);
                let offset = offset + field::TABLE_ELEMENTS as i32;
                let size = self.builder.ins().load(types::I64, flags, definition, offset);
                let size = self.builder.ins().ireduce(types::I32, size);
                self.push(size);
            }
            Operator::TableGrow { table } => {
                let [init, delta] = self.pop_many();
                let init = self.widen_reference(self.element_type(table), init);
                let arguments = [self.i32(table), self.widen(delta), init];
                let size = self.call_builtin(Builtin::TableGrow, &arguments).expect("growing has a result");
                let size = self.builder.ins().ireduce(types::I32, size);
                self.push(size);
            }
            Operator::TableFill { table } => {
                let [start, value, len] = self.pop_many();
                let value = self.widen_reference(self.element_type(table), value);
                let arguments = [self.i32(table), self.widen(start), value, self.widen(len)];
                self.call_builtin(Builtin::TableFill, &arguments);
            }
            Operator::TableCopy { dst_table, src_table } => {
                let [dst, src, len] = self.pop_many();
                let arguments = [
                    self.i32(dst_table),
                    self.widen(dst),
                    self.i32(src_table),
                    self.widen(src),
                    self.widen(len),
                ];
                self.call_builtin(Builtin::TableCopy, &arguments);
            }
            Operator::TableInit { elem_index, table } => {
                let [dst, src, len] = self.pop_many();
                let arguments = [self.i32(table), self.i32(elem_index), self.widen(dst), src, len];
                self.call_builtin(Builtin::TableInit, &arguments);
            }
            Operator::ElemDrop { elem_index } => {
                let elem = self.i32(elem_index);
                self.call_builtin(Builtin::ElemDrop, &[elem]);
            }
            _ => return false,
        }
        true
    }

    fn element_type(&self, table: u32) -> HeapType {
        self.env.table_types[table as usize].element.heap_type
    }

    /// Where a table's definition is: base address and offset.
    fn table_definition(&mut self, index: TableIndex) -> (Value, i32) {
        match self.env.module.defined_table(index) {
            Some(defined) => (self.vmctx, self.env.offsets.table(defined) as i32),
            None => {
                let import = self.env.offsets.imported_table(index) + field::TABLE_IMPORT_FROM;
                (self.vmctx_constant(POINTER, import), 0)
            }
        }
    }

    /// The address of an element; traps when there is none of this index.
    pub(super) fn table_element(&mut self, table: TableIndex, index: Value) -> Value {
        let limits = self.env.table_types[table.index()].limits;
        let (definition, offset) = self.table_definition(table);
        // A table whose minimum is its maximum never changes, whoever made it.
        let is_fixed = limits.max == Some(limits.min);
        let base_flags =
            if is_fixed { self.regions.constant(Region::Vm) } else { self.regions.trusted(Region::Vm) };
        let index = self.widen(index);
        let outside = match is_fixed {
            true => {
                self.builder.ins().icmp_imm_u(IntCC::UnsignedGreaterThanOrEqual, index, limits.min as i64)
            }
            false => {
                let offset = offset + field::TABLE_ELEMENTS as i32;
                let size = self.builder.ins().load(types::I64, base_flags, definition, offset);
                self.builder.ins().icmp(IntCC::UnsignedGreaterThanOrEqual, index, size)
            }
        };
        self.trap_if(outside, Trap::TableOutOfBounds);
        let base =
            self.builder.ins().load(POINTER, base_flags, definition, offset + field::TABLE_BASE as i32);
        let distance = self.builder.ins().ishl_imm_u(index, i64::from(TABLE_ELEMENT_SIZE.ilog2()));
        let element = self.builder.ins().iadd(base, distance);
        // While the processor speculates past the check above, it shall not read outside of the table either.
        self.builder.ins().select_spectre_guard(outside, base, element)
    }
}
