//! Trampolines between the calling conventions of [`wasm_artifact::vmctx`].

use crate::abi::{POINTER, Region, Regions, array_signature, value_type, wasm_signature};
use crate::compile::{CallTarget, Scratch};
use crate::module::ModuleTranslation;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{
    AbiParam, BlockArg, ExceptionTableData, ExceptionTableItem, ExtFuncData, ExternalName, FuncRef, Function,
    InstBuilder, SigRef, Signature, StackSlotData, StackSlotKind, TrapCode, Type, UserFuncName, Value, types,
};
use cranelift_codegen::isa::{CallConv, TargetIsa};
use cranelift_frontend::FunctionBuilder;
use wasm_artifact::builtins::{Builtin, BuiltinParam, BuiltinResult, NUMBER_TRAPPED};
use wasm_artifact::vmctx::{ValRaw, field};
use wasm_artifact::{Trap, TypeIndex};

/// Bytes per value in the array of an array call.
const VALUE_SIZE: i32 = size_of::<ValRaw>() as i32;

/// Begins a function of this signature and hands its parameters to `body`.
fn build(
    isa: &dyn TargetIsa,
    scratch: &mut Scratch,
    signature: Signature,
    body: impl FnOnce(&mut FunctionBuilder<'_>, &Regions, &[Value]),
) {
    let function = &mut scratch.context.func;
    *function = Function::with_name_signature(UserFuncName::default(), signature);
    let regions = Regions::declare(function);
    let mut builder = FunctionBuilder::new(function, &mut scratch.builder);
    let entry = builder.create_block();
    builder.append_block_params_for_function_params(entry);
    builder.switch_to_block(entry);
    let params = builder.block_params(entry).to_vec();
    body(&mut builder, &regions, &params);
    builder.seal_all_blocks();
    builder.finalize(isa.frontend_config());
}

/// Declares a function of the artifact in the function being built.
pub(crate) fn import(builder: &mut FunctionBuilder<'_>, target: CallTarget, signature: SigRef) -> FuncRef {
    let name = builder.func.declare_imported_user_function(target.name());
    // Colocated: called directly, resolved when the code is laid out.
    builder.import_function(ExtFuncData {
        name: ExternalName::user(name),
        signature,
        colocated: true,
        patchable: false,
    })
}

/// Array ABI in, wasm ABI out: how the host calls a function of this type. It calls [`CallTarget::Callee`].
pub(crate) fn array_to_wasm(
    isa: &dyn TargetIsa,
    translation: &ModuleTranslation<'_>,
    ty_index: TypeIndex,
    scratch: &mut Scratch,
) {
    let ty = translation.func_type(ty_index);
    build(isa, scratch, array_signature(), |builder, regions, params| {
        let &[vmctx, caller_vmctx, values, _len] = params else {
            unreachable!("array calls have four parameters")
        };
        let value_flags = regions.trusted(Region::Vm);
        let mut arguments = alloc::vec![vmctx, caller_vmctx];
        for (number, &ty) in ty.params.iter().enumerate() {
            arguments.push(builder.ins().load(
                value_type(ty),
                value_flags,
                values,
                number as i32 * VALUE_SIZE,
            ));
        }

        let call_block = builder.create_block();
        let returned = builder.create_block();
        let trapped = builder.create_block();
        builder.ins().jump(call_block, &[]);

        builder.switch_to_block(call_block);
        let store = builder.ins().load(
            POINTER,
            regions.constant(Region::Vm),
            vmctx,
            field::VMCONTEXT_STORE_CONTEXT as i32,
        );
        let sp = builder.ins().get_stack_pointer(POINTER);
        let fp = builder.ins().get_frame_pointer(POINTER);
        let handler = builder.ins().get_exception_handler_address(POINTER, call_block, 0);
        for (value, offset) in [
            (sp, field::STORE_ENTRY_SP),
            (fp, field::STORE_ENTRY_FP),
            (handler, field::STORE_ENTRY_TRAP_HANDLER),
        ] {
            builder.ins().store(value_flags, value, store, offset as i32);
        }

        let signature = builder.import_signature(translation.signatures[ty_index.index()].clone());
        let callee = import(builder, CallTarget::Callee, signature);
        let results: alloc::vec::Vec<BlockArg> =
            (0..ty.results.len() as u32).map(BlockArg::TryCallRet).collect();
        let normal = builder.func.dfg.block_call(returned, &results);
        let exceptional = builder.func.dfg.block_call(trapped, &[]);
        let table = ExceptionTableData::new(signature, normal, [ExceptionTableItem::Default(exceptional)]);
        let table = builder.func.dfg.exception_tables.push(table);
        builder.ins().try_call(callee, &arguments, table);

        for &ty in &ty.results {
            builder.append_block_param(returned, value_type(ty));
        }
        builder.switch_to_block(returned);
        for (number, &result) in builder.block_params(returned).to_vec().iter().enumerate() {
            builder.ins().store(value_flags, result, values, number as i32 * VALUE_SIZE);
        }
        let success = builder.ins().iconst(types::I8, 1);
        builder.ins().return_(&[success]);

        // Traps land here with this frame's stack and frame pointers and no other register.
        builder.set_cold_block(trapped);
        builder.switch_to_block(trapped);
        let failure = builder.ins().iconst(types::I8, 0);
        builder.ins().return_(&[failure]);
    });
}

/// Notes in the store context of `vmctx` where wasm is left. To be called in a trampoline that wasm called.
fn save_exit(builder: &mut FunctionBuilder<'_>, regions: &Regions, vmctx: Value) {
    let constant = regions.constant(Region::Vm);
    let store = builder.ins().load(POINTER, constant, vmctx, field::VMCONTEXT_STORE_CONTEXT as i32);
    let fp = builder.ins().get_frame_pointer(POINTER);
    let pc = builder.ins().get_return_address(POINTER);
    let flags = regions.trusted(Region::Vm);
    builder.ins().store(flags, fp, store, field::STORE_EXIT_FP as i32);
    builder.ins().store(flags, pc, store, field::STORE_EXIT_PC as i32);
}

/// Calls a builtin through the array of `vmctx`; the results are at most one value.
fn call_builtin(
    builder: &mut FunctionBuilder<'_>,
    regions: &Regions,
    builtin: Builtin,
    vmctx: Value,
    arguments: &[Value],
) -> Option<Value> {
    let signature = builder.import_signature(builtin_signature(builtin, CallConv::SystemV));
    let constant = regions.constant(Region::Vm);
    let array = builder.ins().load(POINTER, constant, vmctx, field::VMCONTEXT_BUILTINS as i32);
    let callee = builder.ins().load(POINTER, constant, array, builtin.offset() as i32);
    let call = builder.ins().call_indirect(signature, callee, arguments);
    builder.inst_results(call).first().copied()
}

/// Raises what is pending in the store.
fn raise(builder: &mut FunctionBuilder<'_>, regions: &Regions, vmctx: Value) {
    call_builtin(builder, regions, Builtin::Raise, vmctx, &[vmctx]);
    // `raise` does not return; this ends the block.
    builder.ins().trap(TrapCode::unwrap_user(Trap::UnreachableCodeReached as u8));
}

/// Goes on in a new block when `failed` is zero, and raises otherwise.
fn raise_if(builder: &mut FunctionBuilder<'_>, regions: &Regions, vmctx: Value, failed: Value) {
    let failure = builder.create_block();
    let success = builder.create_block();
    builder.set_cold_block(failure);
    builder.ins().brif(failed, failure, &[], success, &[]);
    builder.switch_to_block(failure);
    raise(builder, regions, vmctx);
    builder.switch_to_block(success);
}

/// Wasm ABI in, array ABI out: how wasm calls host functions of a type.
pub(crate) fn wasm_to_array(
    isa: &dyn TargetIsa,
    translation: &ModuleTranslation<'_>,
    ty: TypeIndex,
    scratch: &mut Scratch,
) {
    let ty = translation.func_type(ty);
    build(isa, scratch, wasm_signature(ty), |builder, regions, params| {
        let (callee_vmctx, caller_vmctx) = (params[0], params[1]);
        save_exit(builder, regions, caller_vmctx);
        let flags = regions.trusted(Region::Vm);
        let len = ty.array_len();
        let slot = builder.create_sized_stack_slot(StackSlotData::new(
            StackSlotKind::ExplicitSlot,
            len as u32 * VALUE_SIZE as u32,
            VALUE_SIZE.ilog2() as u8,
        ));
        let values = builder.ins().stack_addr(POINTER, slot, 0);
        for (number, &argument) in params[2..].iter().enumerate() {
            builder.ins().store(flags, argument, values, number as i32 * VALUE_SIZE);
        }
        let signature = builder.import_signature(array_signature());
        let callee = builder.ins().load(
            POINTER,
            regions.constant(Region::Vm),
            callee_vmctx,
            field::HOST_FUNC_ARRAY_CALL as i32,
        );
        let len = builder.ins().iconst(POINTER, len as i64);
        let call = builder.ins().call_indirect(signature, callee, &[callee_vmctx, caller_vmctx, values, len]);
        let success = builder.inst_results(call)[0];
        let failed = builder.ins().icmp_imm_u(IntCC::Equal, success, 0);
        raise_if(builder, regions, caller_vmctx, failed);
        let load = |builder: &mut FunctionBuilder<'_>, (number, ty): (usize, &_)| {
            builder.ins().load(value_type(*ty), flags, values, number as i32 * VALUE_SIZE)
        };
        let results: alloc::vec::Vec<Value> =
            ty.results.iter().enumerate().map(|result| load(builder, result)).collect();
        builder.ins().return_(&results);
    });
}

fn param_type(param: BuiltinParam) -> Type {
    match param {
        BuiltinParam::U32 => types::I32,
        BuiltinParam::U64 => types::I64,
    }
}

/// The signature of a builtin, or of its trampoline, by the calling convention.
fn builtin_signature(builtin: Builtin, call_conv: CallConv) -> Signature {
    let mut signature = Signature::new(call_conv);
    signature.params.push(AbiParam::new(POINTER));
    signature.params.extend(builtin.params().iter().map(|&param| AbiParam::new(param_type(param))));
    match (builtin.result(), call_conv) {
        (BuiltinResult::Number, _) => signature.returns.push(AbiParam::new(types::I64)),
        // The trampoline looks at the result; its caller need not.
        (BuiltinResult::Success, CallConv::SystemV) => signature.returns.push(AbiParam::new(types::I8)),
        (BuiltinResult::Success | BuiltinResult::None | BuiltinResult::Never, _) => {}
    }
    signature
}

/// The signature by which wasm code calls the trampoline of a builtin.
pub(crate) fn builtin_trampoline_signature(builtin: Builtin) -> Signature {
    builtin_signature(builtin, CallConv::Tail)
}

/// How wasm code calls a builtin: notes where wasm was left, calls, and raises when the result says so.
pub(crate) fn builtin(isa: &dyn TargetIsa, builtin: Builtin, scratch: &mut Scratch) {
    build(isa, scratch, builtin_trampoline_signature(builtin), |builder, regions, params| {
        let vmctx = params[0];
        save_exit(builder, regions, vmctx);
        let result = call_builtin(builder, regions, builtin, vmctx, params);
        match (builtin.result(), result) {
            (BuiltinResult::Success, Some(success)) => {
                let failed = builder.ins().icmp_imm_u(IntCC::Equal, success, 0);
                raise_if(builder, regions, vmctx, failed);
                builder.ins().return_(&[]);
            }
            (BuiltinResult::Number, Some(number)) => {
                let failed = builder.ins().icmp_imm_s(IntCC::Equal, number, NUMBER_TRAPPED);
                raise_if(builder, regions, vmctx, failed);
                builder.ins().return_(&[number]);
            }
            _ => {
                builder.ins().return_(&[]);
            }
        }
    });
}
