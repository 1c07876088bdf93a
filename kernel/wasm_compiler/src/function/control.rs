//! Blocks, loops, branches and returns.

use super::FunctionTranslator;
use super::exception::Clauses;
use super::legacy::Try;
use crate::CompileError;
use crate::abi::{trap_code, value_type};
use alloc::vec::Vec;
use cranelift_codegen::ir::{Block, BlockArg, InstBuilder, JumpTableData, Value};
use hashbrown::HashMap;
use wasm_artifact::types::ValType;
use wasm_artifact::{TagIndex, Trap, TypeIndex};
use wasmparser::Operator;

/// Larger branch tables, and those that pass values, go by steps: the frontend takes the square of a table's size otherwise.
const MAX_DIRECT_TARGETS: u32 = 512;

/// A label: the function's body, or a block that is not closed yet.
pub(super) struct Frame<'a> {
    kind: Kind,
    /// What comes after the block, once something branches there; its parameters are the block's results. Most blocks are
    /// left by their end alone, and then the code just goes on.
    following: Option<Block>,
    num_params: usize,
    results: &'a [ValType],
    /// Height of the operand stack below the block's parameters.
    height: usize,
    /// How many branches there are to the label.
    branches: u32,
    /// How many clauses there are inside, as [`FunctionTranslator::delegate_to`] counts them.
    clauses: usize,
}

enum Kind {
    Block,
    Try(Try),
    TryTable {
        clauses: Clauses,
    },
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

impl<'a> FunctionTranslator<'a, '_> {
    /// Opens the function's own label.
    pub(super) fn begin_function(&mut self, ty: TypeIndex) {
        let env = self.env;
        self.open(Kind::Block, &[], &env.func_type(ty).results);
    }

    pub(super) fn block_with(&mut self, params: &[ValType]) -> Block {
        let block = self.builder.create_block();
        for &ty in params {
            self.builder.append_block_param(block, value_type(ty));
        }
        self.complexity.pass(params.len());
        block
    }

    /// Ends the current block with a jump that passes the topmost values, which stay on the stack.
    pub(super) fn jump(&mut self, block: Block, num_args: usize) {
        let mut args = self.take_args(num_args);
        self.builder.ins().jump(block, &args);
        args.clear();
        self.branch_args = args;
    }

    pub(super) fn take_args(&mut self, num_args: usize) -> Vec<BlockArg> {
        self.make_generic(num_args);
        self.complexity.pass(num_args);
        let mut args = core::mem::take(&mut self.branch_args);
        args.extend(self.stack[self.stack.len() - num_args..].iter().map(|&value| BlockArg::Value(value)));
        args
    }

    /// Where a branch to a label goes, and with how many values.
    pub(super) fn branch_target(&mut self, depth: u32) -> (Block, usize) {
        let number = self.frames.len() - 1 - depth as usize;
        self.frames[number].branches += 1;
        match self.frames[number].kind {
            Kind::Loop { header } => (header, self.frames[number].num_params),
            Kind::Block | Kind::If { .. } | Kind::TryTable { .. } | Kind::Try(_) => {
                (self.following(number), self.frames[number].results.len())
            }
        }
    }

    /// What comes after a block, which something is about to branch to.
    fn following(&mut self, frame: usize) -> Block {
        match self.frames[frame].following {
            Some(following) => following,
            None => {
                let following = self.block_with(self.frames[frame].results);
                self.frames[frame].following = Some(following);
                following
            }
        }
    }

    fn frame(&mut self) -> &mut Frame<'a> {
        self.frames.last_mut().expect("the validator refuses operators after the function's end")
    }

    /// Goes on in a block that has the current one as its only predecessor.
    pub(super) fn continue_in(&mut self, block: Block) {
        self.builder.switch_to_block(block);
        self.builder.seal_block(block);
    }

    /// Translates an operator of control, reachable or not; returns whether it is one.
    pub(super) fn control_operator(&mut self, operator: &Operator<'_>) -> Result<bool, CompileError> {
        if let Operator::Try { .. } = operator {
            self.exceptions.legacy.pass();
        }
        match operator {
            Operator::Block { .. }
            | Operator::Loop { .. }
            | Operator::If { .. }
            | Operator::TryTable { .. }
            | Operator::Try { .. }
                if !self.reachable =>
            {
                self.unreachable_depth += 1;
            }
            Operator::End | Operator::Delegate { .. } if self.unreachable_depth > 0 => {
                self.unreachable_depth -= 1;
            }
            Operator::Else | Operator::Catch { .. } | Operator::CatchAll if self.unreachable_depth > 0 => {}
            Operator::End | Operator::Delegate { .. } => self.end(),
            Operator::Else => self.begin_else(),
            Operator::Catch { .. } | Operator::CatchAll => self.begin_catch(),
            _ if !self.reachable => return Ok(false),
            Operator::Block { blockty } => {
                let (params, results) = self.types_of(*blockty)?;
                self.open(Kind::Block, params, results);
            }
            Operator::Loop { blockty } => {
                let (params, results) = self.types_of(*blockty)?;
                let header = self.block_with(params);
                self.jump(header, params.len());
                self.complexity.open_loop(self.builder.func);
                self.open(Kind::Loop { header }, params, results);
                self.builder.switch_to_block(header);
                self.replace_top(header);
                self.meter_loop();
            }
            Operator::If { blockty } => {
                let (params, results) = self.types_of(*blockty)?;
                let condition = self.pop();
                let then = self.builder.create_block();
                let otherwise = self.builder.create_block();
                self.builder.ins().brif(condition, then, &[], otherwise, &[]);
                let values = self.stack[self.stack.len() - params.len()..].to_vec();
                self.complexity.pass(values.len());
                self.open(Kind::If { otherwise, params: values }, params, results);
                self.continue_in(then);
            }
            Operator::TryTable { try_table } => {
                let (params, results) = self.types_of(try_table.ty)?;
                let clauses = self.begin_clauses(&try_table.catches)?;
                self.open(Kind::TryTable { clauses }, params, results);
            }
            Operator::Try { blockty } => {
                let (params, results) = self.types_of(*blockty)?;
                let legacy = self.begin_try()?;
                self.open(Kind::Try(legacy), params, results);
            }
            Operator::Rethrow { relative_depth } => {
                let number = self.frames.len() - 1 - *relative_depth as usize;
                if let Kind::Try(legacy) = &self.frames[number].kind {
                    let exception = legacy.caught();
                    self.throw_again(exception);
                }
                self.reachable = false;
            }
            Operator::Throw { tag_index } => {
                self.throw(TagIndex(*tag_index));
                self.reachable = false;
            }
            Operator::ThrowRef => {
                self.throw_ref();
                self.reachable = false;
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
                let num_results = self.frames[0].results.len();
                self.return_top(num_results);
                self.reachable = false;
            }
            Operator::ReturnCall { .. } | Operator::ReturnCallIndirect { .. } => {
                self.return_call_operator(operator);
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

    fn open(&mut self, kind: Kind, params: &[ValType], results: &'a [ValType]) {
        let height = self.stack.len() - params.len();
        self.frames.push(Frame {
            kind,
            following: None,
            num_params: params.len(),
            results,
            height,
            branches: 0,
            clauses: self.num_clauses(),
        });
    }

    /// Puts a block's parameters on the stack in place of the values that were passed for them.
    fn replace_top(&mut self, block: Block) {
        let params = self.builder.block_params(block);
        let rest = self.stack.len() - params.len();
        self.stack.truncate(rest);
        self.stack.extend_from_slice(params);
    }

    fn return_top(&mut self, num_results: usize) {
        self.meter_return();
        self.make_generic(num_results);
        self.complexity.pass(num_results);
        let results = &self.stack[self.stack.len() - num_results..];
        self.builder.ins().return_(results);
    }

    /// Jumps from the end of a block to what follows it.
    fn jump_to_following(&mut self) {
        let number = self.frames.len() - 1;
        let following = self.following(number);
        self.jump(following, self.frames[number].results.len());
    }

    fn begin_else(&mut self) {
        if self.reachable {
            self.jump_to_following();
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

    /// The clauses that see an exception thrown in the block of a label, as [`FunctionTranslator::delegate_to`] counts them.
    pub(super) fn clauses_at(&self, depth: u32) -> usize {
        let number = self.frames.len().checked_sub(1 + depth as usize);
        // The validator has not seen the depth yet.
        number.map_or(0, |number| self.frames[number].clauses)
    }

    /// Goes on with the next `catch` of the innermost `try`.
    fn begin_catch(&mut self) {
        if self.reachable {
            self.jump_to_following();
        }
        let frame = self.frame();
        let height = frame.height;
        if let Kind::Try(legacy) = core::mem::replace(&mut frame.kind, Kind::Block) {
            self.stack.truncate(height);
            let legacy = self.enter_catch(legacy);
            let clauses = self.num_clauses();
            let frame = self.frame();
            frame.kind = Kind::Try(legacy);
            frame.clauses = clauses;
            self.reachable = true;
        }
    }

    fn end(&mut self) {
        if matches!(self.frame().kind, Kind::If { .. }) {
            // No `else`: the parameters are the results.
            self.begin_else();
        }
        if self.reachable && self.frame().following.is_some() {
            self.jump_to_following();
        }
        let Some(frame) = self.frames.pop() else { return };
        self.complexity.label(frame.branches);
        if let Kind::Loop { header } = frame.kind {
            self.complexity.close_loop(self.builder.func);
            self.builder.seal_block(header);
        }
        match &frame.kind {
            Kind::TryTable { clauses } => self.end_clauses(clauses),
            Kind::Try(legacy) => self.end_try(legacy),
            _ => {}
        }
        // Where nothing branches to what follows, the results are on the stack already, if the end is reached at all.
        if let Some(following) = frame.following {
            self.continue_in(following);
            self.stack.truncate(frame.height);
            self.stack.extend_from_slice(self.builder.block_params(following));
            self.reachable = true;
        } else if !self.reachable {
            self.stack.truncate(frame.height);
        }
        if self.frames.is_empty() && self.reachable {
            self.return_top(frame.results.len());
            self.reachable = false;
        }
    }

    fn br_table(&mut self, targets: &wasmparser::BrTable<'_>) -> Result<(), CompileError> {
        let index = self.pop();
        let (default, num_args) = self.branch_target(targets.default());
        if targets.is_empty() {
            self.jump(default, num_args);
            self.reachable = false;
            return Ok(());
        }
        self.complexity.branch_table(targets.len());
        if num_args > 0 || targets.len() > MAX_DIRECT_TARGETS {
            return self.br_table_by_steps(index, targets);
        }
        let mut calls = Vec::with_capacity(targets.len() as usize);
        for depth in targets.targets() {
            let (block, _) = self.branch_target(depth?);
            calls.push(self.builder.func.dfg.block_call(block, &[]));
        }
        let default = self.builder.func.dfg.block_call(default, &[]);
        let table = self.builder.create_jump_table(JumpTableData::new(default, &calls));
        self.builder.ins().br_table(index, table);
        self.reachable = false;
        Ok(())
    }

    /// A branch table with a block for each label, from which a jump leads there: so what is passed to a label is noted
    /// once for the label, and not once for each entry of the table. Such jumps cost nothing in the end.
    fn br_table_by_steps(
        &mut self,
        index: Value,
        targets: &wasmparser::BrTable<'_>,
    ) -> Result<(), CompileError> {
        let mut steps = Vec::new();
        let mut step_of = HashMap::new();
        let mut calls = Vec::with_capacity(targets.len() as usize + 1);
        for depth in targets.targets().chain([Ok(targets.default())]) {
            let depth = depth?;
            let step = *step_of.entry(depth).or_insert_with(|| {
                let step = self.builder.create_block();
                steps.push((depth, step));
                step
            });
            calls.push(self.builder.func.dfg.block_call(step, &[]));
        }
        let default = calls.pop().expect("the default is always there");
        let table = self.builder.create_jump_table(JumpTableData::new(default, &calls));
        self.builder.ins().br_table(index, table);
        for (depth, step) in steps {
            self.continue_in(step);
            let (block, num_args) = self.branch_target(depth);
            self.jump(block, num_args);
        }
        self.reachable = false;
        Ok(())
    }
}
