//! What a function will cost to compile, told while it is translated.
//!
//! Some passes of Cranelift take time, or memory, that grows with the square of something. Ordinary code has little of that
//! something; a module made by someone who means harm, or by a careless generator, can have so much of it that compiling
//! takes hours. Each such quantity has a number here. Past the first kind of limit a function is compiled by
//! [`Effort::Linear`] means, which take a time proportional to its size, and whose code is as correct, but larger and slower;
//! past the second kind it is refused.
//!
//! The limits are far above what compilers emit. The largest functions known from real modules are the loops of interpreters, which
//! LLVM makes one `br_table` in a nest of blocks of; these reach, as measured by this module:
//!
//! | | `sqlite3VdbeExec` | `JS_CallInternal` (QuickJS) | limit |
//! |---|---|---|---|
//! | instructions, values | 67,000 | 131,000 | 1 million; refused from 16 million |
//! | locals × blocks | 260,000 | 550,000 | refused from 268 million |
//! | hoisting | 45,000 | 175,000 | 1,000 million |
//! | branches to a label, squared | 97,000 | 67,000 | 2,000 million |
//! | live spans | 1.5 million | 6.4 million | 210 million |
//! | arguments of blocks | 14,000 | 23,000 | 520,000 |
//! | scans of such arguments | 190 million | 320 million | 3,200 million |
//!
//! How a limit was found: the worst module known for each takes one or two seconds at the limit, on a processor of 2020. These
//! modules, and more, are in `tests/hostile`.

use crate::CompileError;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use cranelift_codegen::ir::{Function, Value, ValueDef};

/// How a function is to be compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effort {
    /// As the settings say.
    Full,
    /// By passes that take linear time only: no optimisation, registers are allocated block by block.
    Linear,
}

/// The most parts of IR of one function: instructions, values, and values that are passed to calls and branches. Compiling so many
/// takes some seconds and about 2 GB even without optimisation. A function of 7.6 MB, the most that the validator lets
/// pass, has seldom more than twice as many; one of 2 MB, the most by default, seldom half.
const MAX_PARTS: u64 = 16 << 20;

/// What an entry of a branch table counts for; it takes about 1 kB.
const PARTS_PER_ENTRY: u64 = 16;

/// The same, for optimisation.
const MAX_PARTS_OPTIMISED: u64 = 1 << 20;

/// The most entries of the frontend's table of locals and blocks, of 4 bytes each.
const MAX_LOCAL_ENTRIES: u64 = 256 << 20;

/// For optimisation: hoisting code out of loops takes the square of their depth for each instruction.
const MAX_HOIST_STEPS: u64 = 1 << 30;

/// For optimisation: removing one of a block's predecessors takes as long as it has predecessors.
const MAX_BRANCH_SQUARES: u64 = 2 << 30;

/// For optimisation: every result of a call is connected with every argument.
const MAX_CALL_PRODUCTS: u64 = 32 << 20;

/// What a clause around a call counts for: an edge between blocks, with a block of its own and two arguments.
const PARTS_PER_HANDLER: u64 = 16;

/// For optimisation: clauses around calls, each counted for each call. Registers are allocated in a time that grows with the square.
const MAX_HANDLERS: u64 = 16 << 10;

/// For optimisation: the sum of the lengths, in instructions, for which values are live. Registers are allocated by looking
/// at all that is live beside a value, for as long as it is.
const MAX_LIVE_SPANS: u64 = 200 << 20;

/// For optimisation: values that are passed to parameters of blocks, the frontend's included.
const MAX_BLOCK_ARGUMENTS: u64 = 512 << 10;

/// For optimisation: where a value is live at the beginning of a block, the register allocator passes over all arguments of
/// earlier blocks' parameters, since the last value that did not stay in one place.
const MAX_ARGUMENT_SCANS: u64 = 3 << 30;

/// Functions with fewer instructions cannot have enough of the last three for it to be counted.
const FEW_INSTRUCTIONS: usize = 10_000;

/// What is counted of a function.
#[derive(Default)]
pub(super) struct Complexity {
    /// Values that calls and branches pass, parameters of blocks, and entries of branch tables.
    passed: u64,
    call_products: u64,
    /// Clauses around calls.
    handlers: u64,
    branch_squares: u64,
    hoist_steps: u64,
    /// Sum of `local_blocks`, and what closing loops adds.
    local_entries: u64,
    /// For each local how many blocks there were when it was used last.
    local_blocks: Vec<u32>,
    /// Loops in the order of their starts.
    loops: Vec<Loop>,
    /// Numbers of the loops that are open.
    open_loops: Vec<usize>,
    /// How many instructions there were when `open_loops` changed.
    counted_to: usize,
    /// How often locals were used.
    local_uses: u64,
}

/// A loop, by numbers of instructions, which increase as code is translated.
struct Loop {
    start: u32,
    end: u32,
    /// How many blocks there were at the start.
    blocks: u32,
    /// How often locals had been used.
    local_uses: u64,
}

impl Complexity {
    pub(super) fn declare_local(&mut self) {
        self.local_blocks.push(1);
        self.local_entries += 1;
    }

    pub(super) fn use_local(&mut self, function: &Function, local: u32) {
        let blocks = function.dfg.num_blocks() as u32;
        let before = core::mem::replace(&mut self.local_blocks[local as usize], blocks);
        self.local_entries += u64::from(blocks - before);
        self.local_uses += 1;
    }

    /// Notes that so many values are passed to a block, or a block gets so many parameters.
    pub(super) fn pass(&mut self, values: usize) {
        self.passed += values as u64;
    }

    /// Notes a branch table of so many entries, each of which becomes a block at last.
    pub(super) fn branch_table(&mut self, entries: u32) {
        self.passed += u64::from(entries) * PARTS_PER_ENTRY;
    }

    pub(super) fn call(&mut self, arguments: usize, results: usize) {
        self.passed += (arguments + results) as u64;
        self.call_products += (arguments * results) as u64;
    }

    /// Notes that a call has so many clauses around it, of which `relevant` are not hidden by others.
    pub(super) fn handlers(&mut self, clauses: usize, relevant: usize) {
        self.handlers += clauses as u64;
        self.passed += clauses as u64 + relevant as u64 * PARTS_PER_HANDLER;
    }

    /// Notes that a label is complete that was the target of so many branches.
    pub(super) fn label(&mut self, branches: u32) {
        self.branch_squares += u64::from(branches) * u64::from(branches);
    }

    pub(super) fn open_loop(&mut self, function: &Function) {
        self.count_hoist_steps(function);
        self.open_loops.push(self.loops.len());
        self.loops.push(Loop {
            start: function.dfg.num_insts() as u32,
            end: u32::MAX,
            blocks: function.dfg.num_blocks() as u32,
            local_uses: self.local_uses,
        });
    }

    pub(super) fn close_loop(&mut self, function: &Function) {
        self.count_hoist_steps(function);
        let Some(number) = self.open_loops.pop() else { return };
        let closed = &mut self.loops[number];
        closed.end = function.dfg.num_insts() as u32;
        // Values of the locals used in it are looked up all over it once it is closed.
        let locals = (self.local_uses - closed.local_uses).min(self.local_blocks.len() as u64);
        self.local_entries += locals * u64::from(function.dfg.num_blocks() as u32 - closed.blocks);
    }

    fn count_hoist_steps(&mut self, function: &Function) {
        let (instructions, depth) = (function.dfg.num_insts(), self.open_loops.len() as u64);
        self.hoist_steps += (instructions - self.counted_to) as u64 * depth * depth;
        self.counted_to = instructions;
    }

    /// Parts of IR so far.
    fn parts(&self, function: &Function) -> u64 {
        (function.dfg.num_insts() + function.dfg.num_values()) as u64 + self.passed
    }

    /// Whether the function can be compiled at all, as far as it is known.
    #[inline]
    pub(super) fn check(&self, function: &Function, name: &dyn Fn() -> String) -> Result<(), CompileError> {
        if self.parts(function) > MAX_PARTS || self.local_entries > MAX_LOCAL_ENTRIES {
            return Err(self.refusal(function, name));
        }
        Ok(())
    }

    #[cold]
    fn refusal(&self, function: &Function, name: &dyn Fn() -> String) -> CompileError {
        let (found, limit, measure) = match self.parts(function) {
            parts if parts > MAX_PARTS => (parts, MAX_PARTS, "instructions and values"),
            _ => (self.local_entries, MAX_LOCAL_ENTRIES, "combinations of a local and a block"),
        };
        CompileError::FunctionLimit { function: name(), found, limit, measure }
    }

    /// How the function, which is translated to its end, is to be compiled.
    pub(super) fn effort(&self, function: &Function) -> Effort {
        let is_simple = self.parts(function) <= MAX_PARTS_OPTIMISED
            && self.call_products <= MAX_CALL_PRODUCTS
            && self.branch_squares <= MAX_BRANCH_SQUARES
            && self.handlers <= MAX_HANDLERS
            && self.hoist_steps <= MAX_HOIST_STEPS
            && (function.dfg.num_insts() <= FEW_INSTRUCTIONS || self.liveness(function).is_simple());
        if is_simple { Effort::Full } else { Effort::Linear }
    }

    /// Estimates for how long values are live.
    fn liveness(&self, function: &Function) -> Liveness {
        let dfg = &function.dfg;
        let mut liveness = Liveness::default();
        // For each instruction the number of its block, in layout order, and how many calls come before it.
        let mut places = vec![(0u32, 0u32); dfg.num_insts()];
        let mut arguments_of = vec![0u32; dfg.num_blocks()];
        let mut last_use = vec![0u32; dfg.num_values()];
        let mut used_by_instruction = vec![false; dfg.num_values()];
        let definition = |value: Value| match dfg.value_def(value) {
            ValueDef::Result(instruction, _) => instruction.as_u32(),
            ValueDef::Param(block, _) => function.layout.first_inst(block).map_or(0, |first| first.as_u32()),
            ValueDef::Union(..) => 0,
        };
        // Loops around the current instruction, and the number of the next one.
        let (mut around, mut next) = (Vec::<&Loop>::new(), 0);
        let mut calls = 0;
        for (number, block) in (0..).zip(function.layout.blocks()) {
            for instruction in function.layout.block_insts(block) {
                let at = instruction.as_u32();
                places[at as usize] = (number, calls);
                let data = &dfg.insts[instruction];
                calls += u32::from(data.opcode().is_call());
                while let Some(opened) = self.loops.get(next).filter(|opened| opened.start <= at) {
                    around.push(opened);
                    next += 1;
                }
                while around.pop_if(|innermost| innermost.end <= at).is_some() {}
                for value in dfg.inst_values(instruction) {
                    // A value that is used in a loop and comes from outside is live to the loop's end.
                    let value = dfg.resolve_aliases(value);
                    let defined = definition(value);
                    let entered = around.partition_point(|around| around.start <= defined);
                    let end = around.get(entered).map_or(at, |outermost| outermost.end.saturating_sub(1));
                    let last = &mut last_use[value.as_u32() as usize];
                    *last = (*last).max(end);
                    used_by_instruction[value.as_u32() as usize] |= !data.opcode().is_branch();
                }
                for branch in data.branch_destination(&dfg.jump_tables, &dfg.exception_tables) {
                    arguments_of[branch.block(&dfg.value_lists).as_u32() as usize] += 1;
                    liveness.block_arguments += branch.len(&dfg.value_lists) as u64;
                }
            }
        }
        let mut passed_over = 0;
        for (value, &last) in dfg.values().zip(&last_use) {
            if last == 0 || dfg.value_is_alias(value) {
                continue;
            }
            let defined = definition(value);
            liveness.spans += u64::from(last.saturating_sub(defined));
            let mut is_parameter = false;
            // Calls that the value is live at, its own one not counted.
            let mut own_call = 0;
            let is_needed = match dfg.value_def(value) {
                ValueDef::Param(block, _) => {
                    is_parameter = true;
                    passed_over += u64::from(arguments_of[block.as_u32() as usize]);
                    used_by_instruction[value.as_u32() as usize]
                }
                ValueDef::Result(instruction, _) => {
                    let opcode = dfg.insts[instruction].opcode();
                    own_call = u32::from(opcode.is_call());
                    opcode.is_call() || opcode.can_load()
                }
                ValueDef::Union(..) => false,
            };
            let place = |at: u32| places.get(at as usize).copied().unwrap_or_default();
            let ((first_block, calls_before), (last_block, calls_after)) = (place(defined), place(last));
            if is_needed && calls_after > calls_before + own_call {
                // A call leaves nothing in registers, so this one has to be moved to the stack or back from it.
                passed_over = 0;
            }
            let blocks = u64::from(last_block.saturating_sub(first_block)) + u64::from(is_parameter);
            liveness.argument_scans += blocks * passed_over;
        }
        liveness
    }
}

/// What is estimated of when values are live.
#[derive(Default)]
struct Liveness {
    spans: u64,
    block_arguments: u64,
    argument_scans: u64,
}

impl Liveness {
    fn is_simple(&self) -> bool {
        self.spans <= MAX_LIVE_SPANS
            && self.block_arguments <= MAX_BLOCK_ARGUMENTS
            && self.argument_scans <= MAX_ARGUMENT_SCANS
    }
}
