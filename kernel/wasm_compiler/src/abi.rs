//! Machine types of wasm values, signatures of the two calling conventions, and trap codes.

use cranelift_codegen::ir::{
    AbiParam, AliasRegion, AliasRegionData, ArgumentPurpose, Function, MemFlagsData, Signature,
};
use cranelift_codegen::ir::{TrapCode, Type, types};
use cranelift_codegen::isa::CallConv;
use wasm_artifact::Trap;
use wasm_artifact::types::{FuncType, HeapType, ValType};

/// The type of pointers.
pub(crate) const POINTER: Type = types::I64;

/// The type of vectors wherever it must be one: in locals, parameters, results and at labels. Operators take them as vectors of
/// other lanes.
pub(crate) const VECTOR: Type = types::I8X16;

/// The machine type of a wasm value.
pub(crate) fn value_type(ty: ValType) -> Type {
    match ty {
        ValType::I32 => types::I32,
        ValType::I64 => types::I64,
        ValType::F32 => types::F32,
        ValType::F64 => types::F64,
        ValType::V128 => VECTOR,
        ValType::Ref(ty) => reference_type(ty.heap_type),
        other => unreachable!("the validator admits no {other}"),
    }
}

/// The machine type of a reference.
pub(crate) fn reference_type(heap_type: HeapType) -> Type {
    match heap_type {
        HeapType::Func => POINTER,
        HeapType::Extern | HeapType::Exn | HeapType::NoExn => types::I32,
        other => unreachable!("the validator admits no {other:?}"),
    }
}

/// The signature of a function with the wasm ABI.
pub(crate) fn wasm_signature(ty: &FuncType) -> Signature {
    let mut signature = Signature::new(CallConv::Tail);
    signature.params.push(AbiParam::special(POINTER, ArgumentPurpose::VMContext));
    signature.params.push(AbiParam::new(POINTER));
    signature.params.extend(ty.params.iter().map(|&ty| AbiParam::new(value_type(ty))));
    signature.returns.extend(ty.results.iter().map(|&ty| AbiParam::new(value_type(ty))));
    signature
}

/// The signature of a function with the array-call ABI.
pub(crate) fn array_signature() -> Signature {
    let mut signature = Signature::new(CallConv::SystemV);
    signature.params.extend([AbiParam::new(POINTER); 4]);
    signature.returns.push(AbiParam::new(types::I8));
    signature
}

/// The trap as Cranelift knows it.
pub(crate) const fn trap_code(trap: Trap) -> TrapCode {
    TrapCode::unwrap_user(trap as u8)
}

/// The trap of a code that Cranelift reports, its own ones included.
pub(crate) fn trap_of_code(code: TrapCode) -> Option<Trap> {
    match code {
        TrapCode::STACK_OVERFLOW => Some(Trap::StackOverflow),
        TrapCode::HEAP_OUT_OF_BOUNDS => Some(Trap::MemoryOutOfBounds),
        TrapCode::INTEGER_OVERFLOW => Some(Trap::IntegerOverflow),
        TrapCode::INTEGER_DIVISION_BY_ZERO => Some(Trap::IntegerDivisionByZero),
        TrapCode::BAD_CONVERSION_TO_INTEGER => Some(Trap::BadConversionToInteger),
        other => Trap::from_u8(other.as_raw().get()),
    }
}

/// Kinds of memory that never overlap, for Cranelift's alias analysis: a store to one does not invalidate loads of another.
#[derive(Clone, Copy)]
pub(crate) enum Region {
    /// The `VMContext`'s own fields, `VMFuncRef`s and the store context.
    Vm,
    /// Linear memories.
    Memory,
    /// Elements of tables.
    Table,
    /// Globals.
    Global,
}

/// The regions of one function.
pub(crate) struct Regions([AliasRegion; 4]);

impl Regions {
    /// Declares them in a function.
    pub(crate) fn declare(function: &mut Function) -> Regions {
        let mut user_id = 0;
        Regions(["vm", "memory", "table", "global"].map(|description| {
            let region = AliasRegionData { user_id, description: description.into() };
            user_id += 1;
            function.dfg.alias_regions.insert(region)
        }))
    }

    /// Flags of an access that cannot fault and is aligned.
    pub(crate) fn trusted(&self, region: Region) -> MemFlagsData {
        MemFlagsData::trusted().with_alias_region(Some(self.0[region as usize]))
    }

    /// Flags of a load that always yields the same value while the function runs, so that it can be moved and merged freely.
    pub(crate) fn constant(&self, region: Region) -> MemFlagsData {
        self.trusted(region).with_readonly().with_can_move()
    }

    /// Flags of an access that raises this trap when it faults.
    pub(crate) fn trapping(&self, region: Region, trap: Trap) -> MemFlagsData {
        MemFlagsData::new()
            .with_endianness(cranelift_codegen::ir::Endianness::Little)
            .with_trap_code(Some(trap_code(trap)))
            .with_alias_region(Some(self.0[region as usize]))
    }
}
