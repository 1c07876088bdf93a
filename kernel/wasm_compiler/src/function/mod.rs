//! Translates a function body to Cranelift IR.
//!
//! Wasm's operand stack becomes a stack of SSA values, its locals become variables of the frontend, its structured control
//! becomes blocks whose parameters are the values that labels carry. Each operator is validated before it is translated; so
//! the translator never checks types or stack heights, and never runs on code that is not valid.
//!
//! Code that cannot be reached is validated and not translated: [`FunctionTranslator::unreachable_depth`] counts the blocks
//! that were opened in it.

mod atomic;
mod bulk;
mod call;
mod complexity;
mod control;
mod exception;
mod legacy;
mod memory;
mod metering;
mod numeric;
mod rounding;
mod simd;
mod table;

use crate::abi::{POINTER, Region, Regions, VECTOR, reference_type, trap_code, value_type};
use crate::compile::{CallTarget, Scratch};
use crate::module::{self, Job, ModuleTranslation};
use crate::{CompileError, Compiler, trampoline};
use alloc::vec::Vec;
use complexity::Complexity;
pub(crate) use complexity::Effort;
use control::Frame;
use cranelift_codegen::ir::{
    BlockArg, FuncRef, Function, GlobalValueData, InstBuilder, SigRef, SourceLoc, Type, UserFuncName, Value,
    types,
};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext, Variable};
use hashbrown::HashMap;
use simd::VectorState;
use wasm_artifact::builtins::Builtin;
use wasm_artifact::module::ConstExpr;
use wasm_artifact::types::{HeapType, ValType};
use wasm_artifact::vmctx::field;
use wasm_artifact::{CpuFeatures, DefinedFuncIndex, FuncIndex, GlobalIndex, Trap, Tunables, TypeIndex};
use wasmparser::{FuncToValidate, Operator, OperatorsReader};

/// A function in translation.
pub(crate) struct FunctionTranslator<'a, 'b> {
    builder: FunctionBuilder<'b>,
    env: &'a ModuleTranslation<'a>,
    tunables: &'a Tunables,
    /// Whether the instructions that round floats exist.
    has_sse41: bool,
    regions: Regions,
    body: &'a wasmparser::FunctionBody<'a>,
    vmctx: Value,
    stack: Vec<Value>,
    frames: Vec<Frame<'a>>,
    reachable: bool,
    unreachable_depth: usize,
    locals: Vec<Variable>,
    exceptions: exception::Exceptions,
    functions: HashMap<FuncIndex, FuncRef>,
    builtins: HashMap<Builtin, FuncRef>,
    signatures: HashMap<TypeIndex, SigRef>,
    /// For arguments of branches; empty between uses.
    branch_args: Vec<BlockArg>,
    complexity: Complexity,
    vectors: VectorState,
    metering: metering::Metering,
}

impl<'a, 'b> FunctionTranslator<'a, 'b> {
    /// Validates a function and translates it into the scratch's context. Says how it is to be compiled.
    ///
    /// # Errors
    /// When it is not valid, or exceeds a limit.
    pub(crate) fn translate(
        compiler: &'a Compiler,
        env: &'a ModuleTranslation<'a>,
        index: DefinedFuncIndex,
        scratch: &'b mut Scratch,
    ) -> Result<Effort, CompileError> {
        let Scratch { context, builder: builder_context, validator: allocations, .. } = scratch;
        let (validation, _) = &env.bodies[index.index()];
        let validation = FuncToValidate {
            resources: validation.resources.clone(),
            index: validation.index,
            ty: validation.ty,
            features: validation.features,
        };
        let mut validator = validation.into_validator(core::mem::take(allocations));
        let result =
            Self::translate_body(compiler, env, index, &mut context.func, builder_context, &mut validator);
        if result.is_err() {
            // What a builder leaves behind when it is dropped early would end up in the next function.
            *builder_context = FunctionBuilderContext::new();
        }
        *allocations = validator.into_allocations();
        result
    }

    fn translate_body(
        compiler: &Compiler,
        env: &ModuleTranslation<'_>,
        index: DefinedFuncIndex,
        function: &mut Function,
        builder_context: &mut FunctionBuilderContext,
        validator: &mut wasmparser::FuncValidator<wasmparser::ValidatorResources>,
    ) -> Result<Effort, CompileError> {
        let (_, body) = &env.bodies[index.index()];
        let ty = env.module.functions[env.module.func_index(index).index()].ty;
        *function = Function::with_name_signature(
            UserFuncName::User(CallTarget::Function(index.0).name()),
            env.signatures[ty.index()].clone(),
        );
        let regions = Regions::declare(function);
        declare_stack_limit(function, &regions);

        let mut reader = body.get_binary_reader();
        validator.read_locals(&mut reader)?;
        let mut builder = FunctionBuilder::new(function, builder_context);
        let entry = builder.create_block();
        builder.append_block_params_for_function_params(entry);
        builder.switch_to_block(entry);
        builder.seal_block(entry);
        let params = builder.block_params(entry);
        let (vmctx, arguments) = (params[0], params[2..].to_vec());
        let mut translator = FunctionTranslator {
            builder,
            env,
            tunables: &compiler.settings().tunables,
            has_sse41: compiler.settings().cpu.contains(CpuFeatures::SSE41),
            regions,
            body,
            vmctx,
            stack: Vec::new(),
            frames: Vec::new(),
            reachable: true,
            unreachable_depth: 0,
            locals: Vec::new(),
            exceptions: exception::Exceptions::default(),
            functions: HashMap::new(),
            builtins: HashMap::new(),
            signatures: HashMap::new(),
            branch_args: Vec::new(),
            complexity: Complexity::default(),
            vectors: VectorState::new(compiler.settings().cpu),
            metering: metering::Metering::default(),
        };
        translator.declare_locals(ty, &arguments, body)?;
        translator.begin_function(ty);
        translator.meter_entry();
        let name = || env.name_of(Job::Function(index));
        let mut operators = OperatorsReader::new(reader);
        while !operators.eof() {
            let (operator, offset) = operators.read_with_offset()?;
            validator.op(offset, &operator)?;
            translator.builder.set_srcloc(SourceLoc::new(offset as u32));
            translator.meter_before(&operator);
            translator.operator(&operator, offset)?;
            translator.meter_after(&operator);
            translator.complexity.check(translator.builder.func, &name)?;
        }
        operators.finish()?;
        translator.type_loads_by_use();
        let effort = translator.complexity.effort(translator.builder.func);
        translator.builder.finalize(compiler.isa.frontend_config());
        Ok(effort)
    }

    fn declare_locals(
        &mut self,
        ty: TypeIndex,
        arguments: &[Value],
        body: &wasmparser::FunctionBody<'_>,
    ) -> Result<(), CompileError> {
        for (&ty, &argument) in self.env.func_type(ty).params.iter().zip(arguments) {
            let local = self.builder.declare_var(value_type(ty));
            self.builder.def_var(local, argument);
            self.locals.push(local);
            self.complexity.declare_local();
        }
        for group in body.get_locals_reader()? {
            let (count, ty) = group?;
            let ty = value_type(module::val_type(&ty)?);
            let zero = self.zero(ty);
            for _ in 0..count {
                let local = self.builder.declare_var(ty);
                self.builder.def_var(local, zero);
                self.locals.push(local);
                self.complexity.declare_local();
            }
        }
        Ok(())
    }

    /// Zero, or null.
    fn zero(&mut self, ty: Type) -> Value {
        match ty {
            types::F32 => self.builder.ins().f32const(0.0),
            types::F64 => self.builder.ins().f64const(0.0),
            VECTOR => self.vector_constant(VECTOR, 0),
            _ => self.builder.ins().iconst(ty, 0),
        }
    }

    fn push(&mut self, value: Value) {
        self.stack.push(value);
    }

    fn pop(&mut self) -> Value {
        self.stack.pop().expect("the validator keeps track of the stack's height")
    }

    /// The topmost values in the order they were pushed.
    fn pop_many<const N: usize>(&mut self) -> [Value; N] {
        let mut values = [self.vmctx; N];
        let rest = self.stack.len() - N;
        values.copy_from_slice(&self.stack[rest..]);
        self.stack.truncate(rest);
        values
    }

    fn i32(&mut self, value: u32) -> Value {
        self.builder.ins().iconst(types::I32, i64::from(value))
    }

    /// An `i32` as an unsigned 64-bit number.
    fn widen(&mut self, value: Value) -> Value {
        self.builder.ins().uextend(types::I64, value)
    }

    /// Traps when the condition is not zero.
    fn trap_if(&mut self, condition: Value, trap: Trap) {
        self.builder.ins().trapnz(condition, trap_code(trap));
    }

    /// Loads from the `VMContext` what never changes while the instance lives.
    fn vmctx_constant(&mut self, ty: Type, offset: u32) -> Value {
        self.builder.ins().load(ty, self.regions.constant(Region::Vm), self.vmctx, offset as i32)
    }

    fn operator(&mut self, operator: &Operator<'_>, offset: usize) -> Result<(), CompileError> {
        if self.control_operator(operator)? || !self.reachable {
            return Ok(());
        }
        let known = self.variable_operator(operator)?
            || self.numeric_operator(operator)
            || self.memory_operator(operator)
            || self.atomic_operator(operator)
            || self.table_operator(operator)
            || self.call_operator(operator)
            || self.vector_operator(operator);
        if known { Ok(()) } else { Err(CompileError::unsupported(offset, operator)) }
    }

    /// Locals, globals, references and the stack itself.
    fn variable_operator(&mut self, operator: &Operator<'_>) -> Result<bool, CompileError> {
        match *operator {
            Operator::Nop => {}
            Operator::Drop => {
                self.pop();
            }
            Operator::Select | Operator::TypedSelect { .. } => {
                let [first, second, condition] = self.pop_many();
                let [first, second] = [first, second].map(|value| self.generic(value));
                let value = self.builder.ins().select(condition, first, second);
                self.push(value);
            }
            Operator::LocalGet { local_index } => {
                let local = self.local(local_index);
                let value = self.builder.use_var(local);
                self.push(value);
            }
            Operator::LocalSet { local_index } => {
                let local = self.local(local_index);
                let value = self.pop();
                let value = self.generic(value);
                self.builder.def_var(local, value);
            }
            Operator::LocalTee { local_index } => {
                let local = self.local(local_index);
                let value = self.pop();
                let generic = self.generic(value);
                self.builder.def_var(local, generic);
                self.push(value);
            }
            Operator::GlobalGet { global_index } => {
                let value = self.global_get(GlobalIndex(global_index));
                self.push(value);
            }
            Operator::GlobalSet { global_index } => {
                let value = self.pop();
                let (base, offset) = self.global_address(GlobalIndex(global_index));
                self.builder.ins().store(self.regions.trusted(Region::Global), value, base, offset);
            }
            Operator::RefNull { hty } => {
                let ty = reference_type(module::heap_type(&hty)?);
                let null = self.zero(ty);
                self.push(null);
            }
            Operator::RefIsNull => {
                let value = self.pop();
                let is_null =
                    self.builder.ins().icmp_imm_u(cranelift_codegen::ir::condcodes::IntCC::Equal, value, 0);
                let is_null = self.builder.ins().uextend(types::I32, is_null);
                self.push(is_null);
            }
            Operator::RefFunc { function_index } => {
                let reference = self.func_ref(FuncIndex(function_index));
                self.push(reference);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn local(&mut self, index: u32) -> Variable {
        self.complexity.use_local(self.builder.func, index);
        self.locals[index as usize]
    }

    /// The address of an escaping function's `VMFuncRef`.
    fn func_ref(&mut self, index: FuncIndex) -> Value {
        let slot = self.env.module.functions[index.index()].func_ref;
        let slot = slot.expect("`ref.func` names declared functions only, and these escape");
        let offset = self.env.offsets.func_ref(slot);
        self.builder.ins().iadd_imm_u(self.vmctx, i64::from(offset))
    }

    /// Where a global is: base address and offset.
    fn global_address(&mut self, index: GlobalIndex) -> (Value, i32) {
        match self.env.module.defined_global(index) {
            Some(defined) => (self.vmctx, self.env.offsets.global(defined) as i32),
            None => {
                let import = self.env.offsets.imported_global(index) + field::GLOBAL_IMPORT_FROM;
                (self.vmctx_constant(POINTER, import), 0)
            }
        }
    }

    fn global_get(&mut self, index: GlobalIndex) -> Value {
        let ty = self.env.global_types[index.index()];
        if !ty.mutable
            && let Some(defined) = self.env.module.defined_global(index)
        {
            match self.env.module.globals[defined.index()].init {
                ConstExpr::I32(value) => {
                    return self.builder.ins().iconst(types::I32, i64::from(value as u32));
                }
                ConstExpr::I64(value) => return self.builder.ins().iconst(types::I64, value),
                ConstExpr::F32(bits) => {
                    return self
                        .builder
                        .ins()
                        .f32const(cranelift_codegen::ir::immediates::Ieee32::with_bits(bits));
                }
                ConstExpr::V128(bits) => return self.vector_constant(VECTOR, bits),
                ConstExpr::F64(bits) => {
                    return self
                        .builder
                        .ins()
                        .f64const(cranelift_codegen::ir::immediates::Ieee64::with_bits(bits));
                }
                _ => {}
            }
        }
        let flags = match ty.mutable {
            true => self.regions.trusted(Region::Global),
            false => self.regions.constant(Region::Global),
        };
        let (base, offset) = self.global_address(index);
        self.builder.ins().load(value_type(ty.content), flags, base, offset)
    }

    /// A reference of either kind as the 64 bits of a table element.
    fn widen_reference(&mut self, heap_type: HeapType, value: Value) -> Value {
        match reference_type(heap_type) {
            types::I32 => self.widen(value),
            _ => value,
        }
    }

    fn builtin(&mut self, builtin: Builtin) -> FuncRef {
        *self.builtins.entry(builtin).or_insert_with(|| {
            let signature = trampoline::builtin_trampoline_signature(builtin);
            let signature = self.builder.import_signature(signature);
            trampoline::import(&mut self.builder, CallTarget::Builtin(builtin), signature)
        })
    }

    /// Calls the trampoline of a builtin and returns its result, if it has one.
    fn call_builtin(&mut self, builtin: Builtin, arguments: &[Value]) -> Option<Value> {
        let callee = self.builtin(builtin);
        let mut all = Vec::with_capacity(arguments.len() + 1);
        all.push(self.vmctx);
        all.extend_from_slice(arguments);
        let call = self.builder.ins().call(callee, &all);
        self.builder.inst_results(call).first().copied()
    }

    fn types_of(&self, ty: wasmparser::BlockType) -> Result<(&'a [ValType], &'a [ValType]), CompileError> {
        Ok(match ty {
            wasmparser::BlockType::Empty => (&[], &[]),
            wasmparser::BlockType::Type(ty) => (&[], single(module::val_type(&ty)?)),
            wasmparser::BlockType::FuncType(index) => {
                let ty = self.env.func_type(TypeIndex(index));
                (&ty.params, &ty.results)
            }
        })
    }
}

/// A list of one type.
fn single(ty: ValType) -> &'static [ValType] {
    use wasm_artifact::types::RefType;
    const SINGLES: [ValType; 13] = [
        ValType::I32,
        ValType::I64,
        ValType::F32,
        ValType::F64,
        ValType::V128,
        ValType::Ref(RefType::FUNCREF),
        ValType::Ref(RefType::EXTERNREF),
        ValType::Ref(RefType { nullable: false, heap_type: HeapType::Func }),
        ValType::Ref(RefType { nullable: false, heap_type: HeapType::Extern }),
        ValType::Ref(RefType::EXNREF),
        ValType::Ref(RefType { nullable: false, heap_type: HeapType::Exn }),
        ValType::Ref(RefType { nullable: true, heap_type: HeapType::NoExn }),
        ValType::Ref(RefType { nullable: false, heap_type: HeapType::NoExn }),
    ];
    let position = SINGLES.iter().position(|&other| other == ty).expect("all types are listed");
    &SINGLES[position..=position]
}

/// Makes the prologue compare the stack pointer with the store's limit.
fn declare_stack_limit(function: &mut Function, regions: &Regions) {
    let constant = function.dfg.mem_flags.insert_unchecked(regions.constant(Region::Vm));
    let vmctx = function.create_global_value(GlobalValueData::VMContext);
    let store = function.create_global_value(GlobalValueData::Load {
        base: vmctx,
        offset: (field::VMCONTEXT_STORE_CONTEXT as i32).into(),
        global_type: POINTER,
        flags: constant,
    });
    // The limit changes only between activations.
    let limit = function.create_global_value(GlobalValueData::Load {
        base: store,
        offset: (field::STORE_STACK_LIMIT as i32).into(),
        global_type: POINTER,
        flags: constant,
    });
    function.stack_limit = Some(limit);
}
