//! Exceptions as they were before WebAssembly 3.0: `try`, `catch`, `catch_all`, `delegate` and `rethrow`.
//!
//! They become what `try_table` becomes. Two things differ. Which clauses a `try` has is known to the calls inside only if one has
//! read on to its `catch`es; so a function with a `try` is read once more when the first comes ([`LegacyTries::scan`]). And a
//! `catch` is not a branch: what follows it is the landing pad.

use super::FunctionTranslator;
use super::exception::{Clause, Clauses};
use crate::CompileError;
use alloc::vec::Vec;
use cranelift_codegen::ir::Value;
use wasm_artifact::TagIndex;
use wasmparser::Operator;

/// A `try` that is open.
pub(super) struct Try {
    /// Those of its `catch`es; `None` behind the first of them.
    clauses: Option<Clauses>,
    /// Those whose `catch` was not reached yet, the next one last.
    pending: Vec<Clause>,
    /// The exception that was caught, if a `rethrow` wants it.
    caught: Option<Value>,
}

impl Try {
    /// The exception that was caught; there is one where the validator has allowed a `rethrow`.
    pub(super) fn caught(&self) -> Value {
        self.caught.expect("the scan has found the `rethrow`")
    }
}

/// What was found out of a `try` by reading on.
#[derive(Clone, Default)]
struct Shape {
    catches: Vec<Catch>,
    /// The label to whose block exceptions go, if it ends with `delegate`.
    delegate: Option<u32>,
}

#[derive(Clone, Copy)]
struct Catch {
    tag: Option<TagIndex>,
    /// Whether there is a `rethrow` for it.
    rethrown: bool,
}

/// A function's `try`s, in their order.
#[derive(Default)]
pub(super) struct LegacyTries {
    shapes: Option<Vec<Shape>>,
    /// How many there were until here.
    passed: usize,
}

impl LegacyTries {
    /// To be told of each `try`, reachable or not.
    pub(super) fn pass(&mut self) {
        self.passed += 1;
    }

    /// Reads a function to its end, or to where it cannot be valid: that the validator finds when it gets there, and up to there this
    /// has seen what it sees.
    fn scan(body: &wasmparser::FunctionBody<'_>, num_tags: usize) -> Result<Vec<Shape>, CompileError> {
        let mut shapes: Vec<Shape> = Vec::new();
        // The open blocks; of a `try`, its number.
        let mut open: Vec<Option<usize>> = Vec::new();
        let mut reader = body.get_operators_reader()?;
        while !reader.eof() {
            let Ok(operator) = reader.read() else { break };
            match operator {
                Operator::Block { .. }
                | Operator::Loop { .. }
                | Operator::If { .. }
                | Operator::TryTable { .. } => {
                    open.push(None);
                }
                Operator::Try { .. } => {
                    open.push(Some(shapes.len()));
                    shapes.push(Shape::default());
                }
                Operator::Catch { .. } | Operator::CatchAll => {
                    let tag = match operator {
                        Operator::Catch { tag_index } if tag_index as usize >= num_tags => break,
                        Operator::Catch { tag_index } => Some(TagIndex(tag_index)),
                        _ => None,
                    };
                    let Some(&Some(number)) = open.last() else { break };
                    shapes[number].catches.push(Catch { tag, rethrown: false });
                }
                Operator::Rethrow { relative_depth } => {
                    let target = open.len().checked_sub(1 + relative_depth as usize).and_then(|at| open[at]);
                    let Some(catch) = target.and_then(|number| shapes[number].catches.last_mut()) else {
                        break;
                    };
                    catch.rethrown = true;
                }
                Operator::Delegate { relative_depth } => {
                    let Some(Some(number)) = open.pop() else { break };
                    shapes[number].delegate = Some(relative_depth);
                }
                // The last one is the function's own.
                Operator::End if open.pop().is_none() => break,
                _ => {}
            }
        }
        Ok(shapes)
    }
}

impl FunctionTranslator<'_, '_> {
    /// Makes the clauses of the `try` that was passed last, whose body comes next.
    pub(super) fn begin_try(&mut self) -> Result<Try, CompileError> {
        let shapes = match self.exceptions.legacy.shapes.take() {
            Some(shapes) => shapes,
            None => LegacyTries::scan(self.body, self.env.module.tags.len())?,
        };
        // A `try` that the scan did not come to is not valid, or what follows it is not.
        let shape = shapes.get(self.exceptions.legacy.passed - 1).cloned().unwrap_or_default();
        self.exceptions.legacy.shapes = Some(shapes);

        let clauses = self.open_clauses();
        if let Some(depth) = shape.delegate {
            let target = self.clauses_at(depth);
            self.delegate_to(target);
        }
        let mut pending = Vec::with_capacity(shape.catches.len());
        for catch in shape.catches.iter().rev() {
            let landing_pad = self.create_landing_pad();
            let clause = Clause { tag: catch.tag, wants_reference: catch.rethrown, landing_pad };
            self.push_clause(clause);
            pending.push(clause);
        }
        Ok(Try { clauses: Some(clauses), pending, caught: None })
    }

    /// Goes on with the landing pad of the next `catch` of a `try`.
    pub(super) fn enter_catch(&mut self, mut legacy: Try) -> Try {
        self.end_try(&legacy);
        legacy.clauses = None;
        let clause = legacy.pending.pop().expect("the scan has found each `catch`");
        legacy.caught = self.enter_landing_pad(&clause);
        legacy
    }

    /// Ends the clauses of a `try` that has had no `catch` so far.
    pub(super) fn end_try(&mut self, legacy: &Try) {
        if let Some(clauses) = &legacy.clauses {
            self.end_clauses(clauses);
        }
    }
}
