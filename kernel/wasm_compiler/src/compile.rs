//! Compiles one job: a function or a trampoline.

use crate::abi::trap_of_code;
use crate::function::{Effort, FunctionTranslator};
use crate::module::{Job, ModuleTranslation};
use crate::{CompileError, Compiler, trampoline};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use cranelift_codegen::binemit::Reloc;
use cranelift_codegen::control::ControlPlane;
use cranelift_codegen::ir::{ExternalName, UserExternalName};
use cranelift_codegen::isa::TargetIsa;
use cranelift_codegen::isa::unwind::{UnwindInfo, systemv};
use cranelift_codegen::{
    CodegenError, Context, ExceptionContextLoc, FinalizedMachExceptionHandler, FinalizedRelocTarget,
};
use cranelift_frontend::FunctionBuilderContext;
use wasm_artifact::Trap;
use wasm_artifact::builtins::Builtin;
use wasm_artifact::handlers::{self, HandlerClause};
use wasmparser::FuncValidatorAllocations;

/// Allocations that serve one job after another. One per thread.
pub struct Scratch {
    pub(crate) context: Context,
    pub(crate) builder: FunctionBuilderContext,
    pub(crate) validator: FuncValidatorAllocations,
    control: ControlPlane,
}

impl Scratch {
    /// Empty ones.
    pub fn new() -> Scratch {
        Scratch {
            context: Context::new(),
            builder: FunctionBuilderContext::new(),
            validator: FuncValidatorAllocations::default(),
            control: ControlPlane::default(),
        }
    }
}

impl Default for Scratch {
    fn default() -> Self {
        Self::new()
    }
}

/// What a direct call can call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CallTarget {
    /// A defined function, by its number.
    Function(u32),
    /// The trampoline of a builtin.
    Builtin(Builtin),
    /// In an entry trampoline: the function that a copy of it is for.
    Callee,
}

/// What a function with more instructions than this needed is given back, several MB at least: few functions are as large, and the
/// others of the module need less.
const LARGE_FUNCTION: usize = 10_000;

/// Code starts at multiples of this many bytes: what a processor fetches at once.
const CODE_ALIGNMENT: u32 = 16;

/// Namespaces of Cranelift's names.
const FUNCTIONS: u32 = 0;
const BUILTINS: u32 = 1;
const CALLEE: u32 = 2;

impl CallTarget {
    /// Its name in Cranelift's tables.
    pub(crate) fn name(self) -> UserExternalName {
        match self {
            CallTarget::Function(index) => UserExternalName::new(FUNCTIONS, index),
            CallTarget::Builtin(builtin) => UserExternalName::new(BUILTINS, builtin as u32),
            CallTarget::Callee => UserExternalName::new(CALLEE, 0),
        }
    }

    fn from_name(name: &UserExternalName) -> Option<CallTarget> {
        match name.namespace {
            FUNCTIONS => Some(CallTarget::Function(name.index)),
            BUILTINS => Builtin::ALL.get(name.index as usize).copied().map(CallTarget::Builtin),
            CALLEE => Some(CallTarget::Callee),
            _ => None,
        }
    }
}

/// A call to be resolved when the layout is known.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CallSite {
    /// Offset in the job's code of the 32-bit distance.
    pub(crate) offset: u32,
    pub(crate) target: CallTarget,
    pub(crate) addend: i64,
}

/// The code of one job.
pub struct CompiledJob {
    pub(crate) code: Vec<u8>,
    pub(crate) alignment: u32,
    pub(crate) calls: Vec<CallSite>,
    pub(crate) traps: Vec<(u32, Trap)>,
    /// Pairs of code offset and wasm offset, sorted; `u32::MAX` where code belongs to no instruction.
    pub(crate) addresses: Vec<(u32, u32)>,
    /// Calls with handlers; offsets are in the job's code.
    pub(crate) handled_calls: Vec<handlers::Call>,
    pub(crate) unwind: systemv::UnwindInfo,
}

impl Compiler {
    /// Compiles one job of a translation. Its result depends on nothing else, whatever `scratch` was used for before.
    ///
    /// # Errors
    /// When the function is not valid, uses an unknown feature, or is too large for Cranelift.
    ///
    /// # Panics
    /// When there is no such job.
    pub fn compile_job(
        &self,
        translation: &ModuleTranslation<'_>,
        job: usize,
        scratch: &mut Scratch,
    ) -> Result<CompiledJob, CompileError> {
        let job = translation.jobs[job];
        scratch.context.clear();
        let mut isa = &self.isa;
        match job {
            Job::Function(index) => {
                if FunctionTranslator::translate(self, translation, index, scratch)? == Effort::Linear {
                    isa = &self.linear_isa;
                }
            }
            Job::ArrayToWasm(ty) => trampoline::array_to_wasm(&**isa, translation, ty, scratch),
            Job::WasmToArray(ty) => trampoline::wasm_to_array(&**isa, translation, ty, scratch),
        }
        emit(&**isa, scratch, &|| translation.name_of(job))
    }

    /// Compiles the trampoline of a builtin.
    pub(crate) fn compile_builtin(
        &self,
        builtin: Builtin,
        scratch: &mut Scratch,
    ) -> Result<CompiledJob, CompileError> {
        scratch.context.clear();
        trampoline::builtin(&*self.isa, builtin, scratch);
        emit(&*self.isa, scratch, &|| format!("the trampoline of {}", builtin.name()))
    }
}

impl ModuleTranslation<'_> {
    /// What a job makes, in a person's words: `function 3 main`.
    ///
    /// # Panics
    /// When there is no such job.
    pub fn job_name(&self, job: usize) -> String {
        self.name_of(self.jobs[job])
    }

    pub(crate) fn name_of(&self, job: Job) -> String {
        match job {
            Job::Function(index) => {
                let index = self.module.func_index(index);
                match self.names.get(&index) {
                    Some(name) => format!("function {} {name}", index.0),
                    None => format!("function {}", index.0),
                }
            }
            Job::ArrayToWasm(ty) => format!("the entry trampoline of type {}", ty.0),
            Job::WasmToArray(ty) => format!("the exit trampoline of type {}", ty.0),
        }
    }
}

/// Generates code for the function in the scratch's context.
fn emit(
    isa: &dyn TargetIsa,
    scratch: &mut Scratch,
    what: &dyn Fn() -> String,
) -> Result<CompiledJob, CompileError> {
    let failed = |message: &dyn core::fmt::Display| CompileError::codegen(&what(), message);
    let context = &mut scratch.context;
    if let Err(error) = context.compile(isa, &mut scratch.control) {
        return Err(match error.inner {
            CodegenError::ImplLimitExceeded | CodegenError::CodeTooLarge => {
                CompileError::TooMuchCode { function: what() }
            }
            inner => failed(&cranelift_codegen::print_errors::pretty_error(error.func, inner)),
        });
    }
    let compiled = context.take_compiled_code().ok_or_else(|| failed(&"there is no code"))?;
    let buffer = &compiled.buffer;
    let mut calls = Vec::with_capacity(buffer.relocs().len());
    for reloc in buffer.relocs() {
        let target = match (&reloc.kind, &reloc.target) {
            (Reloc::X86CallPCRel4, FinalizedRelocTarget::ExternalName(ExternalName::User(name))) => {
                CallTarget::from_name(&context.func.params.user_named_funcs()[*name])
            }
            _ => None,
        };
        let target = target.ok_or_else(|| failed(&format!("unexpected relocation {reloc:?}")))?;
        calls.push(CallSite { offset: reloc.offset, target, addend: reloc.addend });
    }
    let mut traps = Vec::with_capacity(buffer.traps().len());
    for trap in buffer.traps() {
        let reason =
            trap_of_code(trap.code).ok_or_else(|| failed(&format!("unexpected trap code {}", trap.code)))?;
        traps.push((trap.offset, reason));
    }
    let handled_calls = handled_calls(&compiled).map_err(|problem| failed(&problem))?;
    // One instruction has one reason.
    traps.sort_by_key(|trap| trap.0);
    traps.dedup_by_key(|trap| trap.0);
    let unwind = match compiled.create_unwind_info(isa).map_err(|error| failed(&error))? {
        Some(UnwindInfo::SystemV(unwind)) => unwind,
        _ => return Err(failed(&"there is no unwind information")),
    };
    let job = CompiledJob {
        code: buffer.data().to_vec(),
        alignment: buffer.alignment.max(CODE_ALIGNMENT),
        calls,
        traps,
        addresses: addresses(&compiled),
        handled_calls,
        unwind,
    };
    if context.func.dfg.num_insts() > LARGE_FUNCTION {
        scratch.context = Context::new();
        scratch.builder = FunctionBuilderContext::new();
    }
    Ok(job)
}

/// The calls with clauses of `try_table` around them. The landing pad of an entry trampoline is none of those.
fn handled_calls(compiled: &cranelift_codegen::CompiledCode) -> Result<Vec<handlers::Call>, &'static str> {
    let mut calls = Vec::new();
    for site in compiled.buffer.call_sites() {
        let mut context_offset = None;
        let mut clauses = Vec::new();
        for handler in site.exception_handlers {
            match *handler {
                FinalizedMachExceptionHandler::Tag(tag, landing_pad) => {
                    clauses.push(HandlerClause::decode(tag.as_u32(), landing_pad));
                }
                FinalizedMachExceptionHandler::Context(ExceptionContextLoc::SPOffset(offset)) => {
                    context_offset = Some(offset);
                }
                FinalizedMachExceptionHandler::Context(_) => return Err("a context is not on the stack"),
                FinalizedMachExceptionHandler::Default(_) => {}
            }
        }
        if !clauses.is_empty() {
            calls.push(handlers::Call {
                return_address: site.ret_addr,
                frame_size: site.frame_offset.ok_or("a frame's size is not known")?,
                context_offset: context_offset.ok_or("a call with handlers has no context")?,
                clauses,
            });
        }
    }
    calls.sort_by_key(|call| call.return_address);
    Ok(calls)
}

/// The address map: one entry wherever the wasm offset changes.
fn addresses(compiled: &cranelift_codegen::CompiledCode) -> Vec<(u32, u32)> {
    let mut addresses: Vec<(u32, u32)> = Vec::new();
    let mut end = 0;
    let mut push = |start, wasm| match addresses.last_mut() {
        Some(last) if last.1 == wasm => {}
        Some(last) if last.0 == start => last.1 = wasm,
        _ => addresses.push((start, wasm)),
    };
    for location in compiled.buffer.get_srclocs_sorted() {
        if location.start > end {
            push(end, u32::MAX);
        }
        let wasm = if location.loc.is_default() { u32::MAX } else { location.loc.bits() };
        push(location.start, wasm);
        end = location.end;
    }
    push(end, u32::MAX);
    addresses
}
