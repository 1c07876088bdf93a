//! Blocks, loops, branches and returns.

use super::FunctionTranslator;
use crate::CompileError;
use crate::abi::{trap_code, value_type};
use alloc::vec::Vec;
use cranelift_codegen::ir::{Block, BlockArg, InstBuilder, JumpTableData, Value};
use wasm_artifact::types::ValType;
use wasm_artifact::{Trap, TypeIndex};
use wasmparser::Operator;

/// A label: the function's body, or a block that is not closed yet.
pub(super) struct Frame {
    kind: Kind,
    /// What comes after the block; its parameters are the block's results.
    following: Block,
    num_params: usize,
    num_results: usize,
    /// Height of the operand stack below the block's parameters.
    height: usize,
    /// Whether anything branches to `following`.
    branched: bool,
}

enum Kind {
    Block,
    Loop {
        /// Where branches go; its parameters are the block's.
        header: Block,
    },
    If {
        /// Where the condition's failure goes; without parameters, since they are known here.
        otherwise: Block,
        params: Vec<Value>,
    },
}

impl FunctionTranslator<'_, '_> {
    /// Opens the function's own label.
    pub(super) fn begin_function(&mut self, ty: TypeIndex) {
        let results = &self.env.func_type(ty).results;
        let following = self.block_with(results);
        let num_results = results.len();
        self.frames.push(Frame {
            kind: Kind::Block,
            following,
            num_params: 0,
            num_results,
            height: 0,
            branched: false,
        });
    }

    fn block_with(&mut self, params: &[ValType]) -> Block {
        let block = self.builder.create_block();
        for &ty in params {
            self.builder.append_block_param(block, value_type(ty));
        }
        block
    }

    /// Ends the current block with a jump that passes the topmost values, which stay on the stack.
    fn jump(&mut self, block: Block, num_args: usize) {
        let mut args = self.take_args(num_args);
        self.builder.ins().jump(block, &args);
        args.clear();
        self.branch_args = args;
    }

    fn take_args(&mut self, num_args: usize) -> Vec<BlockArg> {
        let mut args = core::mem::take(&mut self.branch_args);
        args.extend(self.stack[self.stack.len() - num_args..].iter().map(|&value| BlockArg::Value(value)));
        args
    }

    /// Where a branch to a label goes, and with how many values.
    fn branch_target(&mut self, depth: u32) -> (Block, usize) {
        let number = self.frames.len() - 1 - depth as usize;
        let frame = &mut self.frames[number];
        match frame.kind {
            Kind::Loop { header } => (header, frame.num_params),
            Kind::Block | Kind::If { .. } => {
                frame.branched = true;
                (frame.following, frame.num_results)
            }
        }
    }

    fn frame(&mut self) -> &mut Frame {
        self.frames.last_mut().expect("the validator refuses operators after the function's end")
    }

    /// Goes on in a block that has the current one as its only predecessor.
    fn continue_in(&mut self, block: Block) {
        self.builder.switch_to_block(block);
        self.builder.seal_block(block);
    }

    /// Translates an operator of control, reachable or not; returns whether it is one.
    pub(super) fn control_operator(&mut self, operator: &Operator<'_>) -> Result<bool, CompileError> {
        match operator {
            Operator::Block { .. } | Operator::Loop { .. } | Operator::If { .. } if !self.reachable => {
                self.unreachable_depth += 1;
            }
            Operator::End if self.unreachable_depth > 0 => self.unreachable_depth -= 1,
            Operator::Else if self.unreachable_depth > 0 => {}
            Operator::End => self.end(),
            Operator::Else => self.begin_else(),
            _ if !self.reachable => return Ok(false),
            Operator::Block { blockty } => {
                let (params, results) = self.types_of(*blockty)?;
                self.open(Kind::Block, params, results);
            }
            Operator::Loop { blockty } => {
                let (params, results) = self.types_of(*blockty)?;
                let header = self.block_with(params);
                self.jump(header, params.len());
                self.open(Kind::Loop { header }, params, results);
                self.builder.switch_to_block(header);
                self.replace_top(header);
            }
            Operator::If { blockty } => {
                let (params, results) = self.types_of(*blockty)?;
                let condition = self.pop();
                let then = self.builder.create_block();
                let otherwise = self.builder.create_block();
                self.builder.ins().brif(condition, then, &[], otherwise, &[]);
                let values = self.stack[self.stack.len() - params.len()..].to_vec();
                self.open(Kind::If { otherwise, params: values }, params, results);
                self.continue_in(then);
            }
            Operator::Br { relative_depth } => {
                let (block, num_args) = self.branch_target(*relative_depth);
                self.jump(block, num_args);
                self.reachable = false;
            }
            Operator::BrIf { relative_depth } => {
                let condition = self.pop();
                let (block, num_args) = self.branch_target(*relative_depth);
                let next = self.builder.create_block();
                let mut args = self.take_args(num_args);
                self.builder.ins().brif(condition, block, &args, next, &[]);
                args.clear();
                self.branch_args = args;
                self.continue_in(next);
            }
            Operator::BrTable { targets } => self.br_table(targets)?,
            Operator::Return => {
                let num_results = self.frames[0].num_results;
                self.return_top(num_results);
                self.reachable = false;
            }
            Operator::Unreachable => {
                self.builder.ins().trap(trap_code(Trap::UnreachableCodeReached));
                self.reachable = false;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn open(&mut self, kind: Kind, params: &[ValType], results: &[ValType]) {
        let following = self.block_with(results);
        let (num_params, num_results) = (params.len(), results.len());
        let height = self.stack.len() - num_params;
        self.frames.push(Frame { kind, following, num_params, num_results, height, branched: false });
    }

    /// Puts a block's parameters on the stack in place of the values that were passed for them.
    fn replace_top(&mut self, block: Block) {
        let params = self.builder.block_params(block);
        let rest = self.stack.len() - params.len();
        self.stack.truncate(rest);
        self.stack.extend_from_slice(params);
    }

    fn return_top(&mut self, num_results: usize) {
        let results = &self.stack[self.stack.len() - num_results..];
        self.builder.ins().return_(results);
    }

    /// Jumps from the end of a block to what follows it.
    fn fall_through(&mut self) {
        let frame = self.frame();
        frame.branched = true;
        let (following, num_results) = (frame.following, frame.num_results);
        self.jump(following, num_results);
    }

    fn begin_else(&mut self) {
        if self.reachable {
            self.fall_through();
        }
        let frame = self.frame();
        let height = frame.height;
        if let Kind::If { otherwise, params } = core::mem::replace(&mut frame.kind, Kind::Block) {
            self.continue_in(otherwise);
            self.stack.truncate(height);
            self.stack.extend(params);
            self.reachable = true;
        }
    }

    fn end(&mut self) {
        if self.frames.len() == 1 {
            return self.end_function();
        }
        if matches!(self.frame().kind, Kind::If { .. }) {
            // No `else`: the parameters are the results.
            self.begin_else();
        }
        if self.reachable {
            self.fall_through();
        }
        let Some(frame) = self.frames.pop() else { return };
        if let Kind::Loop { header } = frame.kind {
            self.builder.seal_block(header);
        }
        self.stack.truncate(frame.height);
        self.reachable = frame.branched;
        if frame.branched {
            self.continue_in(frame.following);
            self.stack.extend_from_slice(self.builder.block_params(frame.following));
        }
    }

    fn end_function(&mut self) {
        let Some(frame) = self.frames.pop() else { return };
        if frame.branched {
            if self.reachable {
                self.jump(frame.following, frame.num_results);
            }
            self.continue_in(frame.following);
            self.stack.truncate(frame.height);
            self.stack.extend_from_slice(self.builder.block_params(frame.following));
            self.reachable = true;
        }
        if self.reachable {
            self.return_top(frame.num_results);
        }
        self.reachable = false;
    }

    fn br_table(&mut self, targets: &wasmparser::BrTable<'_>) -> Result<(), CompileError> {
        let index = self.pop();
        let (default, num_args) = self.branch_target(targets.default());
        if targets.is_empty() {
            self.jump(default, num_args);
            self.reachable = false;
            return Ok(());
        }
        let mut args = self.take_args(num_args);
        let mut calls = Vec::with_capacity(targets.len() as usize);
        for depth in targets.targets() {
            let (block, _) = self.branch_target(depth?);
            calls.push(self.builder.func.dfg.block_call(block, &args));
        }
        let default = self.builder.func.dfg.block_call(default, &args);
        let table = self.builder.create_jump_table(JumpTableData::new(default, &calls));
        self.builder.ins().br_table(index, table);
        args.clear();
        self.branch_args = args;
        self.reachable = false;
        Ok(())
    }
}
