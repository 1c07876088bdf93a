//! Instances: modules with their imports filled in, and state of their own.

use crate::error::try_arc;
use crate::externs::{Export, Extern};
use crate::func::HostFunc;
use crate::func_types::{WasmParams, WasmResults};
use crate::store::{StoreId, StoreInner, StoreOpaque};
use crate::types::ExternType;
use crate::vm::{Imports, InstanceBox, InstancePtr};
use crate::{
    AsContextMut, Engine, Func, Global, Memory, MemoryType, Module, ModuleExport, OutOfMemory, Result,
    SharedMemory, Table, Tag, TypedFunc, bail, error::Context, trap,
};
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use wasm_artifact::EntityIndex;
use wasm_artifact::module::EntityType;
use wasm_artifact::vmctx::{VMFunctionImport, ValRaw};

/// A module with its imports filled in, and memories, tables and globals of its own.
#[derive(Debug, Clone, Copy)]
pub struct Instance {
    store: StoreId,
    instance: InstancePtr,
}

// SAFETY: the pointer is used only together with the store that owns what it leads to.
unsafe impl Send for Instance {}
// SAFETY: as above.
unsafe impl Sync for Instance {}

impl core::fmt::Debug for InstancePtr {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{:p}", self.context())
    }
}

/// What is exported as `entity` from an instance.
///
/// # Safety
/// The instance must be of this store and have it.
unsafe fn export(store: &StoreOpaque, instance: InstancePtr, entity: EntityIndex) -> Extern {
    // SAFETY: by the caller.
    unsafe {
        match entity {
            EntityIndex::Func(index) => Func::from_parts(store, instance.func_ref(index)).into(),
            EntityIndex::Table(index) => Table::from_parts(store, instance.table(index)).into(),
            EntityIndex::Memory(index) => {
                let memory = instance.memory(index);
                match memory.as_ref().as_shared() {
                    Some(shared) => SharedMemory::from_parts(store.engine(), shared.clone()).into(),
                    None => Memory::from_parts(store, memory).into(),
                }
            }
            EntityIndex::Global(index) => {
                let ty = instance.module().and_then(|module| module.declared().global_type(index));
                let ty = ty.expect("validation made sure that exports exist");
                Global::from_parts(store, instance.global(index), ty).into()
            }
            EntityIndex::Tag(index) => Tag::from_parts(store, instance.tag(index)).into(),
            other => unreachable!("no artifact of this version has a {other:?}"),
        }
    }
}

/// The export `name` of an instance, if there is one.
///
/// # Safety
/// The instance must be of this store.
pub(crate) unsafe fn find_export(store: &StoreOpaque, instance: InstancePtr, name: &str) -> Option<Extern> {
    // SAFETY: by the caller; the export is one of its module's.
    unsafe { Some(export(store, instance, instance.module()?.find_export(name)?.entity)) }
}

/// What an instance exports as `index`, if its module made that.
///
/// # Safety
/// The instance must be of this store.
pub(crate) unsafe fn indexed_export(
    store: &StoreOpaque,
    instance: InstancePtr,
    index: &ModuleExport,
) -> Option<Extern> {
    // SAFETY: by the caller; the export is one of its module's.
    unsafe { Some(export(store, instance, instance.module()?.entity(index)?)) }
}

/// Something to fill an import in with.
#[derive(Clone)]
pub(crate) enum Definition {
    /// Of a store, with its type, in which the current size takes the place of the minimum.
    Extern(Extern, ExternType),
    /// A function of the host, for any store with the right data.
    HostFunc(Arc<HostFunc>),
}

impl Definition {
    /// # Panics
    /// If `item` belongs to another store.
    pub(crate) fn of(store: &StoreOpaque, item: Extern) -> Self {
        let ty = current_type(store, &item);
        Definition::Extern(item, ty)
    }

    /// A copy, with the current size of a memory or table of this store.
    ///
    /// # Panics
    /// If it is of another store.
    pub(crate) fn with_current_size(&self, store: &StoreOpaque) -> Self {
        match self {
            Definition::Extern(item, _) => Self::of(store, item.clone()),
            Definition::HostFunc(function) => Definition::HostFunc(function.clone()),
        }
    }

    pub(crate) fn ty(&self) -> ExternType {
        match self {
            Definition::Extern(_, ty) => ty.clone(),
            Definition::HostFunc(function) => ExternType::Func(function.ty().clone()),
        }
    }
}

/// The type of something, with the current size in place of the minimum.
fn current_type(store: &StoreOpaque, item: &Extern) -> ExternType {
    let mut ty = item.ty_in(store);
    match (&mut ty, item) {
        // SAFETY: looking its type up has made sure that it is of this store.
        (ExternType::Memory(ty), Extern::Memory(memory)) => unsafe {
            ty.set_minimum(memory.address(store).as_ref().pages());
        },
        // SAFETY: as above.
        (ExternType::Table(ty), Extern::Table(table)) => unsafe {
            ty.set_minimum(table.address(store).as_ref().elements().len() as u64);
        },
        (ExternType::Memory(ty), Extern::SharedMemory(memory)) => ty.set_minimum(memory.size()),
        _ => {}
    }
    ty
}

/// Fails unless a memory or table of the size and maximum in `have` can be used where those in `want` are asked for.
fn check_size(what: &str, have: (u64, Option<u64>), want: (u64, Option<u64>)) -> Result<()> {
    let max_fits = want.1.is_none_or(|want| have.1.is_some_and(|have| have <= want));
    if have.0 >= want.0 && max_fits {
        return Ok(());
    }
    let print = |max: Option<u64>| max.map_or(String::from("none"), |max| format!("{max}"));
    bail!(
        "{what} types incompatible: expected minimum {}, maximum {}; found {}, maximum {}",
        want.0,
        print(want.1),
        have.0,
        print(have.1)
    )
}

/// Fails unless what has type `have` can be used where `want` is asked for.
fn check_type(want: &ExternType, have: &ExternType) -> Result<()> {
    match (want, have) {
        (ExternType::Func(want), ExternType::Func(have)) if have.matches(want) => Ok(()),
        (ExternType::Func(want), ExternType::Func(have)) => {
            bail!("types incompatible: expected type `{want}`, found type `{have}`")
        }
        (ExternType::Global(want), ExternType::Global(have)) => {
            if want.mutability() != have.mutability() {
                bail!("global types incompatible: expected and found differ in whether they can change");
            }
            let fits = match want.mutability().is_var() {
                true => have.content() == want.content(),
                false => have.content().matches(want.content()),
            };
            if !fits {
                bail!("global types incompatible: expected {}, found {}", want.content(), have.content());
            }
            Ok(())
        }
        (ExternType::Table(want), ExternType::Table(have)) => {
            if want.element() != have.element() {
                bail!("table types incompatible: expected {}, found {}", want.element(), have.element());
            }
            check_size("table", (have.minimum(), have.maximum()), (want.minimum(), want.maximum()))
        }
        (ExternType::Memory(want), ExternType::Memory(have)) => {
            if want.is_shared() != have.is_shared() {
                let print = |ty: &MemoryType| if ty.is_shared() { "shared" } else { "non-shared" };
                bail!(
                    "memory types incompatible: expected {} memory, found {} memory",
                    print(want),
                    print(have)
                );
            }
            check_size("memory", (have.minimum(), have.maximum()), (want.minimum(), want.maximum()))
        }
        (ExternType::Tag(want), ExternType::Tag(have)) if want == have => Ok(()),
        (ExternType::Tag(want), ExternType::Tag(have)) => {
            bail!("tag types incompatible: expected type `{}`, found type `{}`", want.ty(), have.ty())
        }
        _ => bail!("types incompatible: expected a {}, found a {}", want.describe(), have.describe()),
    }
}

/// Fails unless something of type `have` can be the import `number` of `module`.
fn check_import(module: &Module, number: usize, have: &ExternType) -> Result<()> {
    let import = &module.declared().imports[number];
    check_type(&module.extern_type(&import.ty), have)
        .with_context(|| format!("incompatible import type for `{}::{}`", import.module, import.name))
}

/// Sorts what fills the imports in by kind, as instances need it.
#[derive(Default)]
struct ImportsBuilder(Imports);

impl ImportsBuilder {
    fn push(&mut self, store: &mut StoreOpaque, module: &Module, item: &Extern) -> Result<()> {
        fn add<T>(list: &mut Vec<T>, item: T) -> Result<()> {
            list.try_reserve(1).map_err(|_| OutOfMemory::new((list.len() + 1) * size_of::<T>()))?;
            list.push(item);
            Ok(())
        }
        match item {
            Extern::Func(func) => {
                let import = func.import(store, module);
                add(&mut self.0.functions, import.expect("a module has trampolines for all its types"))
            }
            Extern::Table(table) => add(&mut self.0.tables, table.address(store)),
            Extern::Memory(memory) => add(&mut self.0.memories, memory.address(store)),
            Extern::SharedMemory(memory) => {
                if !Engine::same(memory.engine(), store.engine()) {
                    bail!("cross-`Engine` instantiation is not currently supported");
                }
                add(&mut self.0.memories, store.use_shared_memory(memory.handle())?)
            }
            Extern::Global(global) => add(&mut self.0.globals, global.address(store)),
            Extern::Tag(tag) => add(&mut self.0.tags, tag.address(store)),
        }
    }
}

/// Makes an instance, applies its active segments and runs its start function.
///
/// # Safety
/// `imports` must be of this store and what the module asks for.
unsafe fn instantiate(store: &mut StoreOpaque, module: &Module, imports: &Imports) -> Result<Instance> {
    let declared = module.declared();
    store.check_deadline()?;
    store.count_instance(declared.memories.len(), declared.tables.len())?;
    let in_usize = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    for memory in &declared.memories {
        let maximum = memory.ty.limits.max.map(|_| in_usize(memory.ty.max_bytes()));
        store.allow_memory(in_usize(memory.ty.min_bytes()), maximum)?;
    }
    for table in &declared.tables {
        store.allow_table(in_usize(table.ty.limits.min), table.ty.limits.max.map(in_usize))?;
    }
    let instance = wasm_platform::for_guest(|| {
        store.register_module(module)?;
        // SAFETY: by the caller.
        let instance = unsafe { InstanceBox::new(store, module, imports)? };
        // From here on others may see parts of the instance, so the store keeps it whatever happens.
        store.add_instance(instance)
    })?;
    // SAFETY: the instance is complete and was just made; nobody else uses it. The start function has no parameters
    // and no results.
    unsafe {
        instance.apply_segments(store)?;
        if let Some(start) = declared.start {
            let func_ref = instance.func_ref(start).as_ref();
            let array_call = func_ref.array_call.expect("every function has an entry for the host");
            let mut values = [ValRaw { bytes: [0; 16] }; 1];
            trap::call(store, array_call, func_ref.vmctx, values.as_mut_ptr(), 0)?;
        }
    }
    Ok(Instance { store: store.id(), instance })
}

impl Instance {
    /// Makes an instance of `module` with `imports` in the order in which the module declares them, and runs its start
    /// function.
    ///
    /// # Errors
    /// Fails if the imports are not what the module asks for, an active segment does not fit, the start function traps,
    /// memory runs out, or the store's limiter refuses.
    ///
    /// # Panics
    /// If one of the imports belongs to another store.
    pub fn new(mut store: impl AsContextMut, module: &Module, imports: &[Extern]) -> Result<Instance> {
        let store = store.as_context_mut().0.opaque_mut();
        check_engine(store, module)?;
        let expected = module.declared().imports.len();
        if imports.len() != expected {
            bail!("expected {expected} imports, found {}", imports.len());
        }
        let mut builder = ImportsBuilder::default();
        for (number, import) in imports.iter().enumerate() {
            check_import(module, number, &current_type(store, import))?;
            builder.push(store, module, import)?;
        }
        // SAFETY: the imports were checked.
        unsafe { instantiate(store, module, &builder.0) }
    }

    fn assert_of(&self, store: &StoreOpaque) -> InstancePtr {
        store.assert_owns(self.store);
        self.instance
    }

    /// Its module.
    ///
    /// # Panics
    /// If it belongs to another store.
    pub fn module<'a, T: 'static>(&self, store: impl Into<crate::StoreContext<'a, T>>) -> &'a Module {
        let instance = self.assert_of(store.into().0.opaque());
        // SAFETY: the store owns the instance and is borrowed for as long as the result.
        unsafe { instance.module() }.expect("only the host's instance has no module")
    }

    /// What it exports, in the order in which its module declares it.
    ///
    /// # Panics
    /// If it belongs to another store.
    pub fn exports<'a, T: 'static>(
        &'a self,
        store: impl Into<crate::StoreContextMut<'a, T>>,
    ) -> impl ExactSizeIterator<Item = Export<'a>> + 'a {
        let store: &'a StoreInner<T> = store.into().0;
        let instance = self.assert_of(store.opaque());
        // SAFETY: the store owns the instance and is borrowed for as long as the result.
        let module: &'a Module =
            unsafe { instance.module() }.expect("only the host's instance has no module");
        module.declared().exports.iter().map(move |declared| {
            // SAFETY: as above; the export is one of its module's.
            Export::new(&declared.name, unsafe { export(store.opaque(), instance, declared.entity) })
        })
    }

    /// Its export `name`, if there is one.
    ///
    /// # Panics
    /// If it belongs to another store.
    pub fn get_export(&self, mut store: impl AsContextMut, name: &str) -> Option<Extern> {
        self.find(store.as_context_mut().0.opaque(), name)
    }

    /// What it exports as `export`; `None` if that was made by another module.
    ///
    /// # Panics
    /// If it belongs to another store.
    pub fn get_module_export(&self, mut store: impl AsContextMut, export: &ModuleExport) -> Option<Extern> {
        let store = store.as_context_mut().0.opaque_mut();
        // SAFETY: the instance is of this store, which is checked.
        unsafe { indexed_export(store, self.assert_of(store), export) }
    }

    pub(crate) fn find(&self, store: &StoreOpaque, name: &str) -> Option<Extern> {
        // SAFETY: the instance is of this store, which is checked.
        unsafe { find_export(store, self.assert_of(store), name) }
    }

    /// Its exported function `name`, if there is one.
    ///
    /// # Panics
    /// If it belongs to another store.
    pub fn get_func(&self, store: impl AsContextMut, name: &str) -> Option<Func> {
        self.get_export(store, name)?.into_func()
    }

    /// Its exported function `name` as one with parameters and results known at compile time.
    ///
    /// # Errors
    /// Fails if there is none, or it has others.
    ///
    /// # Panics
    /// If it belongs to another store.
    pub fn get_typed_func<Params: WasmParams, Results: WasmResults>(
        &self,
        mut store: impl AsContextMut,
        name: &str,
    ) -> Result<TypedFunc<Params, Results>> {
        let func = self
            .get_export(store.as_context_mut(), name)
            .and_then(Extern::into_func)
            .with_context(|| format!("failed to find function export `{name}`"))?;
        func.typed::<Params, Results>(&store)
            .with_context(|| format!("failed to convert function `{name}` to given type"))
    }

    /// Its exported table `name`, if there is one.
    ///
    /// # Panics
    /// If it belongs to another store.
    pub fn get_table(&self, store: impl AsContextMut, name: &str) -> Option<Table> {
        self.get_export(store, name)?.into_table()
    }

    /// Its exported linear memory `name`, if there is one.
    ///
    /// # Panics
    /// If it belongs to another store.
    pub fn get_memory(&self, store: impl AsContextMut, name: &str) -> Option<Memory> {
        self.get_export(store, name)?.into_memory()
    }

    /// Its exported shared memory `name`, if there is one.
    ///
    /// # Panics
    /// If it belongs to another store.
    pub fn get_shared_memory(&self, store: impl AsContextMut, name: &str) -> Option<SharedMemory> {
        self.get_export(store, name)?.into_shared_memory()
    }

    /// Its exported global `name`, if there is one.
    ///
    /// # Panics
    /// If it belongs to another store.
    pub fn get_global(&self, store: impl AsContextMut, name: &str) -> Option<Global> {
        self.get_export(store, name)?.into_global()
    }

    /// Its exported tag `name`, if there is one.
    ///
    /// # Panics
    /// If it belongs to another store.
    pub fn get_tag(&self, store: impl AsContextMut, name: &str) -> Option<Tag> {
        self.get_export(store, name)?.into_tag()
    }
}

fn check_engine(store: &StoreOpaque, module: &Module) -> Result<()> {
    if !Engine::same(store.engine(), module.engine()) {
        bail!("cross-`Engine` instantiation is not currently supported");
    }
    Ok(())
}

/// A module whose imports were found and checked, so that instances of it are made faster. Made by
/// [`Linker::instantiate_pre`](crate::Linker::instantiate_pre).
pub struct InstancePre<T> {
    pre: Arc<Pre>,
    _data: core::marker::PhantomData<fn() -> T>,
}

impl<T> Clone for InstancePre<T> {
    fn clone(&self) -> Self {
        Self { pre: self.pre.clone(), _data: core::marker::PhantomData }
    }
}

struct Pre {
    module: Module,
    definitions: Vec<Definition>,
    has_host_funcs: bool,
}

impl<T: 'static> InstancePre<T> {
    /// # Safety
    /// Host functions among the definitions must be for stores with data of type `T`.
    pub(crate) unsafe fn new(module: &Module, definitions: Vec<Definition>) -> Result<Self> {
        for (number, definition) in definitions.iter().enumerate() {
            check_import(module, number, &definition.ty())?;
        }
        let has_host_funcs =
            definitions.iter().any(|definition| matches!(definition, Definition::HostFunc(_)));
        let pre = try_arc(Pre { module: module.clone(), definitions, has_host_funcs })?;
        Ok(Self { pre, _data: core::marker::PhantomData })
    }

    /// The module.
    pub fn module(&self) -> &Module {
        &self.pre.module
    }

    /// Makes an instance.
    ///
    /// # Errors
    /// As [`Instance::new`].
    ///
    /// # Panics
    /// If one of the imports is of another store.
    pub fn instantiate(&self, mut store: impl AsContextMut<Data = T>) -> Result<Instance> {
        let store = store.as_context_mut().0.opaque_mut();
        let Pre { module, definitions, has_host_funcs } = &*self.pre;
        check_engine(store, module)?;
        let mut builder = ImportsBuilder::default();
        let functions = module.declared().num_imported_functions as usize;
        let oom = |_| OutOfMemory::new(functions * size_of::<VMFunctionImport>());
        builder.0.functions.try_reserve_exact(functions).map_err(oom)?;
        for (definition, import) in definitions.iter().zip(&module.declared().imports) {
            match (definition, &import.ty) {
                (Definition::Extern(item, _), _) => {
                    assert!(item.is_of(store), "object used with the wrong store");
                    builder.push(store, module, item)?;
                }
                (Definition::HostFunc(function), EntityType::Func(ty)) => {
                    let trampoline = module.trampoline_for(module.type_ids()[ty.index()]);
                    let trampoline = trampoline.expect("a module has trampolines for all its types");
                    builder.0.functions.push(function.import(trampoline));
                }
                (Definition::HostFunc(_), _) => unreachable!("the types of the definitions were checked"),
            }
        }
        if *has_host_funcs {
            store.keep_alive(self.pre.clone())?;
        }
        // SAFETY: types were checked when this was made, and can only have grown since; whose the items are was checked
        // above; host functions are kept alive by the store.
        unsafe { instantiate(store, module, &builder.0) }
    }
}

/// An import for which there is no definition.
#[derive(Debug, Clone)]
pub struct UnknownImportError {
    module: String,
    name: String,
    ty: ExternType,
}

impl UnknownImportError {
    pub(crate) fn new(import: &crate::ImportType<'_>) -> Self {
        Self { module: import.module().into(), name: import.name().into(), ty: import.ty() }
    }

    /// First part of its name.
    pub fn module(&self) -> &str {
        &self.module
    }

    /// Second part of its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it must be.
    pub fn ty(&self) -> ExternType {
        self.ty.clone()
    }
}

impl core::fmt::Display for UnknownImportError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "unknown import: `{}::{}` has not been defined", self.module, self.name)
    }
}

impl core::error::Error for UnknownImportError {}
