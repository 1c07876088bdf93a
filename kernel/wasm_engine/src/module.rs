//! Modules: compiled code with what it declares, ready to be instantiated.

use crate::error::{OutOfMemory, try_arc};
use crate::type_registry::RegisteredType;
use crate::types::{
    ExportType, ExternType, FuncType, GlobalType, ImportType, MemoryType, TableType, TagType, ValType,
};
use crate::{Engine, Result, format_err};
use alloc::format;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::fmt;
use wasm_artifact::module::{EntityType, Export};
use wasm_artifact::vmctx::{VMArrayCallFunction, VMOffsets, VMWasmCode};
use wasm_artifact::{Artifact, DefinedFuncIndex, EntityIndex, MemoryIndex, Trust, TypeIndex};
use wasm_unwind::LoadedCode;

/// What names a file: a path on Linux, its text in the kernel.
#[cfg(target_os = "linux")]
pub type FilePath = std::path::Path;
/// What names a file: a path on Linux, its text in the kernel.
#[cfg(not(target_os = "linux"))]
pub type FilePath = str;

/// Compiled code with what it declares, ready to be instantiated any number of times. Cheap to clone; a clone is the
/// same module.
#[derive(Clone)]
pub struct Module(Arc<Inner>);

struct Inner {
    engine: Engine,
    declared: wasm_artifact::Module,
    offsets: VMOffsets,
    /// By `TypeIndex`.
    types: Vec<RegisteredType>,
    type_ids: Vec<u32>,
    /// Types' numbers in the engine with the trampoline out of wasm for them, sorted.
    trampolines: Vec<(u32, *const VMWasmCode)>,
    /// Indices of exports, sorted by name.
    exports_by_name: Vec<u32>,
    /// The export `memory`, which instances look up for host functions.
    exported_memory: Option<MemoryIndex>,
    code: LoadedCode,
}

// SAFETY: the pointers lead into `code`, which belongs to no thread and never changes.
unsafe impl Send for Inner {}
// SAFETY: as above.
unsafe impl Sync for Inner {}

/// The name that the memory has which a module shares with host functions.
const MEMORY: &str = "memory";

fn reserved<T>(count: usize) -> Result<Vec<T>, OutOfMemory> {
    let mut items = Vec::new();
    items.try_reserve_exact(count).map_err(|_| OutOfMemory::new(count * size_of::<T>()))?;
    Ok(items)
}

/// The content of a file. An error says why it cannot be read.
///
/// # Errors
/// Fails if it cannot be read.
pub fn read_file(file: impl AsRef<FilePath>) -> Result<Vec<u8>> {
    read(file.as_ref())
}

/// See [`read_file`].
pub(crate) fn read(file: &FilePath) -> Result<Vec<u8>> {
    #[cfg(target_os = "linux")]
    let path =
        file.to_str().ok_or_else(|| format_err!("the file name {file:?} is not UTF-8; rename the file"))?;
    #[cfg(not(target_os = "linux"))]
    let path = file;
    wasm_platform::read_file(path)
        .map_err(|reason| crate::Error::msg(reason).context(format!("failed to read {path}")))
}

impl Module {
    /// Loads a module from an artifact that was compiled before, here or on another machine.
    ///
    /// # Errors
    /// Says what is wrong if the artifact is damaged, was compiled for another system, engine or CPU, or is signed by nobody whom
    /// the engine [trusts](crate::Config::trusted_keys).
    ///
    /// # Safety
    /// The artifact must come from the compiler, unaltered: it is machine code that will run with the host's rights. If the
    /// engine has trusted keys, as it has in the kernel unless its configuration says otherwise, the signature shows that, as
    /// far as whoever has these keys signs what the compiler makes and nothing else. If it has none, the caller vouches for the
    /// artifact: the hash in it shows accidents, not forgery. Either way `bytes` must give the same bytes each time, and nobody may write to
    /// them meanwhile, as with every reference to bytes.
    pub unsafe fn deserialize(engine: &Engine, bytes: impl AsRef<[u8]>) -> Result<Module> {
        let bytes = bytes.as_ref();
        let artifact = engine.parse_foreign(bytes)?;
        // SAFETY: the artifact is signed by somebody who is trusted, or is as the caller says.
        unsafe { Self::load(engine, bytes, artifact) }
    }

    /// Loads a module from an artifact whose origin is known: the compiler has just made it, or it is from the cache.
    ///
    /// # Errors
    /// As [`deserialize`](Self::deserialize), but for who made it.
    ///
    /// # Safety
    /// The compiler must have made the artifact, unaltered or, unless `trust` is [`Trust::JustCompiled`], altered by accident.
    pub(crate) unsafe fn load_own(engine: &Engine, bytes: &[u8], trust: Trust<'_>) -> Result<Module> {
        let artifact = Artifact::parse(bytes, &engine.host(), trust)?;
        // SAFETY: by the caller.
        unsafe { Self::load(engine, bytes, artifact) }
    }

    /// Makes a module of an artifact and what was read of it.
    ///
    /// # Safety
    /// The compiler must have made the artifact, and `artifact` must have been parsed from it.
    unsafe fn load(engine: &Engine, bytes: &[u8], artifact: Artifact) -> Result<Module> {
        let Artifact { sections, module: declared, .. } = artifact;
        // SAFETY: the artifact is as the caller says, and its sections are what was just read from it.
        let code = unsafe { LoadedCode::new(bytes, sections)? };
        let offsets = declared.vm_offsets().ok_or_else(|| format_err!("the module declares too much"))?;
        let mut types = reserved(declared.types.len())?;
        for ty in &declared.types {
            let (params, results) = (ty.params.iter(), ty.results.iter());
            let (params, results) = (params.map(ValType::from_artifact), results.map(ValType::from_artifact));
            types.push(RegisteredType::new(engine, params, results)?);
        }
        let mut type_ids = reserved(types.len())?;
        type_ids.extend(types.iter().map(RegisteredType::index));
        let tables = code.tables();
        let mut trampolines = reserved(types.len())?;
        for (index, id) in (0..).map(TypeIndex).zip(&type_ids) {
            if let Some(offset) = tables.wasm_to_array(index) {
                trampolines.push((*id, code.address(offset).cast::<VMWasmCode>()));
            }
        }
        trampolines.sort_unstable();
        trampolines.dedup_by_key(|trampoline| trampoline.0);
        let mut exports_by_name = reserved(declared.exports.len())?;
        exports_by_name.extend(0..declared.exports.len() as u32);
        exports_by_name.sort_unstable_by_key(|index| &declared.exports[*index as usize].name);
        let exported_memory = declared.exports.iter().find(|export| export.name == MEMORY);
        let exported_memory = exported_memory.and_then(|export| match export.entity {
            EntityIndex::Memory(index) => Some(index),
            _ => None,
        });
        Ok(Module(try_arc(Inner {
            engine: engine.clone(),
            exported_memory,
            declared,
            offsets,
            types,
            type_ids,
            trampolines,
            exports_by_name,
            code,
        })?))
    }

    /// Loads a module from a file with an artifact.
    ///
    /// # Errors
    /// As [`deserialize`](Self::deserialize), and if the file cannot be read.
    ///
    /// # Safety
    /// As [`deserialize`](Self::deserialize).
    pub unsafe fn deserialize_file(engine: &Engine, path: impl AsRef<FilePath>) -> Result<Module> {
        // SAFETY: by the caller.
        unsafe { Self::deserialize(engine, read(path.as_ref())?) }
    }

    /// The artifact, to be kept for [`deserialize`](Self::deserialize), signed if the engine signs or somebody has signed it.
    ///
    /// # Errors
    /// Fails if there is no memory for a copy.
    pub fn serialize(&self) -> Result<Vec<u8>> {
        let image = self.code().image();
        let mut copy = reserved(image.len())?;
        copy.extend_from_slice(image);
        self.sign_copy(&mut copy)?;
        Ok(copy)
    }

    /// Its name, if it was given one.
    pub fn name(&self) -> Option<&str> {
        self.declared().name.as_deref()
    }

    /// The engine it was made for.
    pub fn engine(&self) -> &Engine {
        &self.0.engine
    }

    /// Whether both are the same module.
    pub fn same(a: &Module, b: &Module) -> bool {
        Arc::ptr_eq(&a.0, &b.0)
    }

    /// What it needs, in the order in which it declares it.
    pub fn imports(&self) -> impl ExactSizeIterator<Item = ImportType<'_>> + '_ {
        self.declared().imports.iter().map(|import| ImportType {
            module: &import.module,
            name: &import.name,
            ty: self.extern_type(&import.ty),
        })
    }

    /// What its instances offer, in the order in which it declares it.
    pub fn exports(&self) -> impl ExactSizeIterator<Item = ExportType<'_>> + '_ {
        self.declared()
            .exports
            .iter()
            .map(|export| ExportType { name: &export.name, ty: self.type_of(export.entity) })
    }

    /// The type of the export `name`, if there is one.
    pub fn get_export(&self, name: &str) -> Option<ExternType> {
        self.find_export(name).map(|export| self.type_of(export.entity))
    }

    /// The export `name`, if there is one, in a form that is found in instances without looking the name up again.
    pub fn get_export_index(&self, name: &str) -> Option<ModuleExport> {
        let entity = self.find_export(name)?.entity;
        Some(ModuleExport { module: Arc::downgrade(&self.0), entity })
    }

    /// What an index made by this module stands for; `None` if another module made it.
    pub(crate) fn entity(&self, export: &ModuleExport) -> Option<EntityIndex> {
        // As long as the weak reference exists no other module can have the address.
        core::ptr::eq(export.module.as_ptr(), Arc::as_ptr(&self.0)).then_some(export.entity)
    }

    /// The memory that it exports as `memory`.
    pub(crate) fn exported_memory(&self) -> Option<MemoryIndex> {
        self.0.exported_memory
    }

    pub(crate) fn find_export(&self, name: &str) -> Option<&Export> {
        let exports = &self.declared().exports;
        let sorted = &self.0.exports_by_name;
        let at = sorted.binary_search_by(|index| exports[*index as usize].name.as_str().cmp(name)).ok()?;
        Some(&exports[sorted[at] as usize])
    }

    fn type_of(&self, entity: EntityIndex) -> ExternType {
        let ty = self.declared().entity_type(entity).expect("validation made sure that exports exist");
        self.extern_type(&ty)
    }

    pub(crate) fn extern_type(&self, ty: &EntityType) -> ExternType {
        match ty {
            EntityType::Func(index) => FuncType(self.0.types[index.index()].clone()).into(),
            EntityType::Table(ty) => TableType::from_artifact(ty).into(),
            EntityType::Memory(ty) => MemoryType::from_artifact(ty).into(),
            EntityType::Global(ty) => GlobalType::from_artifact(ty).into(),
            EntityType::Tag(index) => TagType::new(FuncType(self.0.types[index.index()].clone())).into(),
            other => unreachable!("no artifact of this version has a {other:?}"),
        }
    }

    pub(crate) fn declared(&self) -> &wasm_artifact::Module {
        &self.0.declared
    }

    pub(crate) fn offsets(&self) -> &VMOffsets {
        &self.0.offsets
    }

    /// The engine's number of each type.
    pub(crate) fn type_ids(&self) -> &[u32] {
        &self.0.type_ids
    }

    pub(crate) fn code(&self) -> &LoadedCode {
        &self.0.code
    }

    /// The trampoline by which the module's code calls functions of the host with the type that has this number.
    pub(crate) fn trampoline_for(&self, type_index: u32) -> Option<*const VMWasmCode> {
        let trampolines = &self.0.trampolines;
        let at = trampolines.binary_search_by_key(&type_index, |trampoline| trampoline.0).ok()?;
        Some(trampolines[at].1)
    }

    /// Where wasm and the host enter a function that the module defines.
    pub(crate) fn entries(
        &self,
        index: DefinedFuncIndex,
    ) -> (*const VMWasmCode, Option<VMArrayCallFunction>) {
        let code = self.code();
        let function = code.tables().function(index).expect("the artifact was checked to have all functions");
        let array_call = function.array_to_wasm.map(|offset| {
            let address = code.address(offset);
            // SAFETY: the artifact's trampoline at this offset has this type.
            unsafe { core::mem::transmute::<*const u8, VMArrayCallFunction>(address) }
        });
        (code.address(function.offset).cast(), array_call)
    }
}

/// An export of a module, found by [`Module::get_export_index`], to be looked up in its instances.
#[derive(Clone)]
pub struct ModuleExport {
    module: Weak<Inner>,
    entity: EntityIndex,
}

impl fmt::Debug for ModuleExport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ModuleExport").field(&self.entity).finish()
    }
}

impl fmt::Debug for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Module").field("name", &self.name()).finish_non_exhaustive()
    }
}
