//! Reads a module: everything but the function bodies is validated and becomes metadata; bodies become jobs.

use crate::abi::wasm_signature;
use crate::image::{self, Segment};
use crate::{CompileError, Compiler, Settings};
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::ToString;
use alloc::vec::Vec;
use cranelift_codegen::ir::Signature;
use hashbrown::HashMap;
use wasm_artifact::EntityIndex;
use wasm_artifact::compile::Features;
use wasm_artifact::debug_info::DebugInfoBuilder;
use wasm_artifact::module::*;
use wasm_artifact::types::*;
use wasm_artifact::vmctx::VMOffsets;
use wasm_artifact::{
    DefinedFuncIndex, FuncIndex, FuncRefIndex, GlobalIndex, MemoryIndex, TableIndex, TagIndex, TypeIndex,
};
use wasmparser::{
    AbstractHeapType, FuncToValidate, FunctionBody, Parser, Payload, ValidPayload, Validator,
    ValidatorResources, WasmFeatures,
};

/// Each type has a trampoline, which takes as long to compile as a small function. Real modules have some hundred types.
const MAX_DIFFERENT_TYPES: usize = 50_000;

/// What modules may use unless the settings say otherwise: all of WebAssembly 2.0, threads, exceptions, also as they were
/// before 3.0, and tail calls.
pub const FEATURES: WasmFeatures = WasmFeatures::WASM2
    .union(WasmFeatures::THREADS)
    .union(WasmFeatures::EXCEPTIONS)
    .union(WasmFeatures::LEGACY_EXCEPTIONS)
    .union(WasmFeatures::TAIL_CALL);

/// What modules may use.
fn features(settings: &Settings) -> WasmFeatures {
    let mut features = FEATURES;
    for (ours, theirs) in [
        (Features::MULTI_VALUE, WasmFeatures::MULTI_VALUE),
        (Features::BULK_MEMORY, WasmFeatures::BULK_MEMORY),
        (Features::REFERENCE_TYPES, WasmFeatures::REFERENCE_TYPES),
        (Features::SIMD, WasmFeatures::SIMD),
        (Features::THREADS, WasmFeatures::THREADS),
        (Features::EXCEPTIONS, WasmFeatures::EXCEPTIONS),
        (Features::LEGACY_EXCEPTIONS, WasmFeatures::LEGACY_EXCEPTIONS),
        (Features::TAIL_CALL, WasmFeatures::TAIL_CALL),
    ] {
        features.set(theirs, settings.features.contains(ours));
    }
    // They have the same tags.
    if !features.contains(WasmFeatures::EXCEPTIONS) {
        features.remove(WasmFeatures::LEGACY_EXCEPTIONS);
    }
    features
}

/// A module that was read, ready for its functions to be compiled.
pub struct ModuleTranslation<'a> {
    pub(crate) module: Module,
    pub(crate) offsets: VMOffsets,
    /// Signature with the wasm ABI, by type.
    pub(crate) signatures: Vec<Signature>,
    /// Types of all tables, imported ones first; and so on. In the module an import's type is to be searched for.
    pub(crate) table_types: Vec<TableType>,
    pub(crate) memory_types: Vec<MemoryType>,
    pub(crate) global_types: Vec<GlobalType>,
    /// For each type the first one equal to it, which has the trampoline for all of them.
    pub(crate) canonical_types: Vec<TypeIndex>,
    pub(crate) bodies: Vec<(FuncToValidate<ValidatorResources>, FunctionBody<'a>)>,
    pub(crate) names: BTreeMap<FuncIndex, &'a str>,
    pub(crate) rodata: Vec<u8>,
    /// As the artifact has it.
    pub(crate) debug_info: Vec<u8>,
    pub(crate) jobs: Vec<Job>,
}

/// A piece of code to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Job {
    /// A function of the module.
    Function(DefinedFuncIndex),
    /// The trampoline by which the host calls functions of a type that the module defines: the pattern of one per function.
    ArrayToWasm(TypeIndex),
    /// The trampoline by which wasm calls host functions of a type.
    WasmToArray(TypeIndex),
}

impl ModuleTranslation<'_> {
    /// How many jobs there are; they are numbered from 0.
    pub fn num_jobs(&self) -> usize {
        self.jobs.len()
    }

    /// What the module declares.
    pub fn module(&self) -> &Module {
        &self.module
    }

    /// Size of a job's input in bytes, for those who like to begin with the largest; 0 for trampolines.
    ///
    /// # Panics
    /// When there is no such job.
    pub fn job_size(&self, job: usize) -> usize {
        match self.jobs[job] {
            Job::Function(index) => self.bodies[index.index()].1.range().len(),
            Job::ArrayToWasm(_) | Job::WasmToArray(_) => 0,
        }
    }

    /// The defined functions that can become values, and their types.
    pub(crate) fn escaping_functions(&self) -> impl Iterator<Item = (DefinedFuncIndex, TypeIndex)> {
        escaping_functions(&self.module)
    }

    /// The types of the fields of a tag's exceptions.
    pub(crate) fn tag_fields(&self, tag: TagIndex) -> &[ValType] {
        &self.func_type(self.module.tags[tag.index()]).params
    }

    pub(crate) fn func_type(&self, ty: TypeIndex) -> &FuncType {
        &self.module.types[ty.index()]
    }
}

impl Compiler {
    /// Checks a whole module, function bodies included, without compiling it.
    ///
    /// # Errors
    /// When it is not valid, or uses a feature that is not known.
    pub fn validate(settings: &Settings, wasm: &[u8]) -> Result<(), CompileError> {
        Validator::new_with_features(features(settings)).validate_all(wasm)?;
        Ok(())
    }

    /// Reads a module.
    ///
    /// # Errors
    /// When it is not valid, or uses a feature that is not known. Function bodies are not looked at yet.
    pub fn translate<'a>(&self, wasm: &'a [u8]) -> Result<ModuleTranslation<'a>, CompileError> {
        let mut reader = Reader::default();
        let features = features(&self.settings);
        let mut validator = Validator::new_with_features(features);
        let mut parser = Parser::new(0);
        parser.set_features(features);
        for payload in parser.parse_all(wasm) {
            let payload = payload?;
            if let ValidPayload::Func(validation, body) = validator.payload(&payload)? {
                reader.bodies.push((validation, body));
            }
            reader.payload(payload)?;
        }
        reader.finish(self)
    }
}

#[derive(Default)]
struct Reader<'a> {
    module: Module,
    bodies: Vec<(FuncToValidate<ValidatorResources>, FunctionBody<'a>)>,
    names: BTreeMap<FuncIndex, &'a str>,
    segments: Vec<Segment<'a>>,
    debug_info: DebugInfoBuilder<'a>,
}

impl<'a> Reader<'a> {
    fn payload(&mut self, payload: Payload<'a>) -> Result<(), CompileError> {
        let module = &mut self.module;
        match payload {
            Payload::TypeSection(types) => {
                for ty in types.into_iter_err_on_gc_types() {
                    module.types.push(func_type(&ty?)?);
                }
            }
            Payload::ImportSection(imports) => {
                for imports in imports {
                    let wasmparser::Imports::Single(offset, import) = imports? else {
                        return Err(CompileError::Limit("compact imports are not supported"));
                    };
                    self.import(offset, import)?;
                }
            }
            Payload::FunctionSection(types) => {
                for ty in types {
                    module.functions.push(Function { ty: TypeIndex(ty?), func_ref: None });
                }
            }
            Payload::TableSection(tables) => {
                for table in tables {
                    let table = table?;
                    let ty = table_type(&table.ty)?;
                    let init = match table.init {
                        wasmparser::TableInit::RefNull => ConstExpr::RefNull(ty.element.heap_type),
                        wasmparser::TableInit::Expr(expression) => self.const_expr(&expression)?,
                    };
                    self.module.tables.push(DefinedTable { ty, init });
                }
            }
            Payload::MemorySection(memories) => {
                for memory in memories {
                    let ty = memory_type(&memory?);
                    // The plan is made when it is known whether the memory is exported.
                    let plan = wasm_artifact::MemoryPlan { reservation: 0, guard: 0 };
                    module.memories.push(DefinedMemory { ty, plan, image: None });
                }
            }
            Payload::TagSection(tags) => {
                for tag in tags {
                    module.tags.push(TypeIndex(tag?.func_type_idx));
                }
            }
            Payload::GlobalSection(globals) => {
                for global in globals {
                    let global = global?;
                    let init = self.const_expr(&global.init_expr)?;
                    self.module.globals.push(DefinedGlobal { ty: global_type(&global.ty)?, init });
                }
            }
            Payload::ExportSection(exports) => {
                for export in exports {
                    self.export(export?)?;
                }
            }
            Payload::StartSection { func, .. } => {
                self.escape(FuncIndex(func));
                self.module.start = Some(FuncIndex(func));
            }
            Payload::ElementSection(elements) => {
                for element in elements {
                    let element = self.element(element?)?;
                    self.module.elems.push(element);
                }
            }
            Payload::DataSection(datas) => {
                for data in datas {
                    let data = data?;
                    let mode = match data.kind {
                        wasmparser::DataKind::Passive => DataMode::Passive,
                        wasmparser::DataKind::Active { memory_index, offset_expr } => DataMode::Active {
                            memory: MemoryIndex(memory_index),
                            offset: self.const_expr(&offset_expr)?,
                        },
                    };
                    self.segments.push(Segment { mode, bytes: data.data });
                }
            }
            Payload::CodeSectionStart { range, .. } => self.debug_info.code_start = range.start as u32,
            Payload::CustomSection(section) => {
                self.debug_info.custom_section(section.name(), section.data());
                if let wasmparser::KnownCustom::Name(names) = section.as_known() {
                    // A name section that is malformed is no reason to refuse the module; what was read of it stays.
                    let _ = self.names(names);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn import(&mut self, offset: usize, import: wasmparser::Import<'_>) -> Result<(), CompileError> {
        let module = &mut self.module;
        let ty = match import.ty {
            wasmparser::TypeRef::Func(ty) => {
                module.functions.push(Function { ty: TypeIndex(ty), func_ref: None });
                module.num_imported_functions += 1;
                EntityType::Func(TypeIndex(ty))
            }
            wasmparser::TypeRef::Table(ty) => {
                module.num_imported_tables += 1;
                EntityType::Table(table_type(&ty)?)
            }
            wasmparser::TypeRef::Memory(ty) => {
                module.num_imported_memories += 1;
                EntityType::Memory(memory_type(&ty))
            }
            wasmparser::TypeRef::Global(ty) => {
                module.num_imported_globals += 1;
                EntityType::Global(global_type(&ty)?)
            }
            wasmparser::TypeRef::Tag(ty) => {
                module.tags.push(TypeIndex(ty.func_type_idx));
                module.num_imported_tags += 1;
                EntityType::Tag(TypeIndex(ty.func_type_idx))
            }
            other => return Err(CompileError::unsupported(offset, &other)),
        };
        module.imports.push(Import { module: import.module.to_string(), name: import.name.to_string(), ty });
        Ok(())
    }

    fn export(&mut self, export: wasmparser::Export<'_>) -> Result<(), CompileError> {
        let entity = match export.kind {
            wasmparser::ExternalKind::Func => {
                self.escape(FuncIndex(export.index));
                EntityIndex::Func(FuncIndex(export.index))
            }
            wasmparser::ExternalKind::Table => EntityIndex::Table(TableIndex(export.index)),
            wasmparser::ExternalKind::Memory => EntityIndex::Memory(MemoryIndex(export.index)),
            wasmparser::ExternalKind::Global => EntityIndex::Global(GlobalIndex(export.index)),
            wasmparser::ExternalKind::Tag => EntityIndex::Tag(TagIndex(export.index)),
            other => return Err(CompileError::unsupported(0, &other)),
        };
        self.module.exports.push(Export { name: export.name.to_string(), entity });
        Ok(())
    }

    fn element(&mut self, element: wasmparser::Element<'a>) -> Result<ElemSegment, CompileError> {
        let mode = match element.kind {
            wasmparser::ElementKind::Active { table_index, offset_expr } => ElemMode::Active {
                table: TableIndex(table_index.unwrap_or(0)),
                offset: self.const_expr(&offset_expr)?,
            },
            wasmparser::ElementKind::Passive => ElemMode::Passive,
            wasmparser::ElementKind::Declared => ElemMode::Declared,
        };
        let (ty, items) = match element.items {
            wasmparser::ElementItems::Functions(functions) => {
                let mut items = Vec::new();
                for function in functions {
                    let function = FuncIndex(function?);
                    self.escape(function);
                    items.push(function);
                }
                (RefType::FUNCREF, ElemItems::Functions(items))
            }
            wasmparser::ElementItems::Expressions(ty, expressions) => {
                let mut items = Vec::new();
                for expression in expressions {
                    items.push(self.const_expr(&expression?)?);
                }
                (ref_type(&ty)?, ElemItems::Expressions(items))
            }
        };
        Ok(ElemSegment { mode, ty, items })
    }

    /// Gives a function a `VMFuncRef`, because it can become a value.
    fn escape(&mut self, index: FuncIndex) {
        let function = &mut self.module.functions[index.index()];
        if function.func_ref.is_none() {
            function.func_ref = Some(FuncRefIndex(self.module.num_func_refs));
            self.module.num_func_refs += 1;
        }
    }

    fn const_expr(&mut self, expression: &wasmparser::ConstExpr<'_>) -> Result<ConstExpr, CompileError> {
        use wasmparser::Operator;
        let mut operators = expression.get_operators_reader();
        let offset = operators.original_position();
        let value = match operators.read()? {
            Operator::I32Const { value } => ConstExpr::I32(value),
            Operator::I64Const { value } => ConstExpr::I64(value),
            Operator::F32Const { value } => ConstExpr::F32(value.bits()),
            Operator::F64Const { value } => ConstExpr::F64(value.bits()),
            Operator::V128Const { value } => ConstExpr::V128(u128::from_le_bytes(*value.bytes())),
            Operator::GlobalGet { global_index } => ConstExpr::GlobalGet(GlobalIndex(global_index)),
            Operator::RefNull { hty } => ConstExpr::RefNull(heap_type(&hty)?),
            Operator::RefFunc { function_index } => {
                // Whatever a constant expression names escapes; `ref.func` in function bodies may name only such functions.
                self.escape(FuncIndex(function_index));
                ConstExpr::RefFunc(FuncIndex(function_index))
            }
            other => return Err(CompileError::unsupported(offset, &other)),
        };
        match operators.read()? {
            Operator::End => Ok(value),
            other => Err(CompileError::unsupported(offset, &other)),
        }
    }

    fn names(&mut self, names: wasmparser::NameSectionReader<'a>) -> wasmparser::Result<()> {
        for name in names {
            match name? {
                wasmparser::Name::Module { name, .. } => self.module.name = Some(name.to_string()),
                wasmparser::Name::Function(functions) => {
                    for naming in functions {
                        let naming = naming?;
                        self.names.insert(FuncIndex(naming.index), naming.name);
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn finish(self, compiler: &Compiler) -> Result<ModuleTranslation<'a>, CompileError> {
        let Reader { mut module, bodies, mut names, segments, debug_info } = self;
        let tunables = &compiler.settings().tunables;
        for number in 0..module.memories.len() as u32 {
            let index = module.memory_index(wasm_artifact::DefinedMemoryIndex(number));
            let exported = module.exports.iter().any(|export| export.entity == EntityIndex::Memory(index));
            let memory = &mut module.memories[number as usize];
            memory.plan = match exported {
                true => tunables.shared_memory_plan(&memory.ty),
                false => tunables.private_memory_plan(&memory.ty),
            };
        }
        let rodata = image::build(&mut module, &segments)?;
        let debug_info = debug_info.encode(compiler.settings().debug_info);
        let debug_info =
            debug_info.ok_or(CompileError::Limit("there is no memory for its debug information"))?;
        names.retain(|index, _| index.index() < module.functions.len());

        let canonical_types = canonical_types(&module.types);
        let distinct = canonical_types.iter().zip(0..).filter(|(canonical, index)| canonical.0 == *index);
        if distinct.count() > MAX_DIFFERENT_TYPES {
            return Err(CompileError::Limit("it has more than 50000 different function types"));
        }
        let defined = (0..module.num_defined_functions()).map(DefinedFuncIndex);
        let entry_types: BTreeSet<TypeIndex> =
            escaping_functions(&module).map(|(_, ty)| canonical_types[ty.index()]).collect();
        let own_trampoline =
            (0..).map(TypeIndex).zip(&canonical_types).filter(|(ty, canonical)| ty == *canonical);
        let jobs = defined
            .map(Job::Function)
            .chain(entry_types.into_iter().map(Job::ArrayToWasm))
            .chain(own_trampoline.map(|(ty, _)| Job::WasmToArray(ty)))
            .collect();
        let offsets =
            module.vm_offsets().ok_or(CompileError::Limit("its context would be larger than 2 GiB"))?;
        let signatures = module.types.iter().map(wasm_signature).collect();
        let imported = module.imports.iter().map(|import| import.ty);
        let imported_tables = imported.clone().filter_map(|ty| match ty {
            EntityType::Table(ty) => Some(ty),
            _ => None,
        });
        let imported_memories = imported.clone().filter_map(|ty| match ty {
            EntityType::Memory(ty) => Some(ty),
            _ => None,
        });
        let imported_globals = imported.filter_map(|ty| match ty {
            EntityType::Global(ty) => Some(ty),
            _ => None,
        });
        Ok(ModuleTranslation {
            offsets,
            signatures,
            table_types: imported_tables.chain(module.tables.iter().map(|table| table.ty)).collect(),
            memory_types: imported_memories.chain(module.memories.iter().map(|memory| memory.ty)).collect(),
            global_types: imported_globals.chain(module.globals.iter().map(|global| global.ty)).collect(),
            canonical_types,
            bodies,
            names,
            rodata,
            debug_info,
            jobs,
            module,
        })
    }
}

/// The defined functions that can become values, and their types.
fn escaping_functions(module: &Module) -> impl Iterator<Item = (DefinedFuncIndex, TypeIndex)> {
    let defined = module.functions.iter().skip(module.num_imported_functions as usize);
    let escaping =
        (0..).map(DefinedFuncIndex).zip(defined).filter(|(_, function)| function.func_ref.is_some());
    escaping.map(|(index, function)| (index, function.ty))
}

/// For each type the first one equal to it.
fn canonical_types(types: &[FuncType]) -> Vec<TypeIndex> {
    let mut first_of = HashMap::new();
    (0..).map(TypeIndex).zip(types).map(|(index, ty)| *first_of.entry(ty).or_insert(index)).collect()
}

fn func_type(ty: &wasmparser::FuncType) -> Result<FuncType, CompileError> {
    let all = |types: &[wasmparser::ValType]| types.iter().map(val_type).collect::<Result<Box<[_]>, _>>();
    Ok(FuncType { params: all(ty.params())?, results: all(ty.results())? })
}

pub(crate) fn val_type(ty: &wasmparser::ValType) -> Result<ValType, CompileError> {
    Ok(match ty {
        wasmparser::ValType::I32 => ValType::I32,
        wasmparser::ValType::I64 => ValType::I64,
        wasmparser::ValType::F32 => ValType::F32,
        wasmparser::ValType::F64 => ValType::F64,
        wasmparser::ValType::V128 => ValType::V128,
        wasmparser::ValType::Ref(ty) => ValType::Ref(ref_type(ty)?),
    })
}

fn ref_type(ty: &wasmparser::RefType) -> Result<RefType, CompileError> {
    Ok(RefType { nullable: ty.is_nullable(), heap_type: heap_type(&ty.heap_type())? })
}

pub(crate) fn heap_type(ty: &wasmparser::HeapType) -> Result<HeapType, CompileError> {
    match *ty {
        wasmparser::HeapType::FUNC => Ok(HeapType::Func),
        wasmparser::HeapType::EXTERN => Ok(HeapType::Extern),
        wasmparser::HeapType::Abstract { shared: false, ty: AbstractHeapType::Exn } => Ok(HeapType::Exn),
        wasmparser::HeapType::Abstract { shared: false, ty: AbstractHeapType::NoExn } => Ok(HeapType::NoExn),
        ref other => Err(CompileError::unsupported(0, other)),
    }
}

fn table_type(ty: &wasmparser::TableType) -> Result<TableType, CompileError> {
    Ok(TableType {
        element: ref_type(&ty.element_type)?,
        limits: Limits { min: ty.initial, max: ty.maximum },
    })
}

fn memory_type(ty: &wasmparser::MemoryType) -> MemoryType {
    MemoryType { limits: Limits { min: ty.initial, max: ty.maximum }, shared: ty.shared }
}

fn global_type(ty: &wasmparser::GlobalType) -> Result<GlobalType, CompileError> {
    Ok(GlobalType { content: val_type(&ty.content_type)?, mutable: ty.mutable })
}
