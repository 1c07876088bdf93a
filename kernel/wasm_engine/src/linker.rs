//! Linkers: names for what modules import.

use crate::error::{OutOfMemory, try_arc, try_text};
use crate::func::HostFunc;
use crate::func_types::IntoFunc;
use crate::instance::{Definition, UnknownImportError};
use crate::types::ExternType;
use crate::{
    AsContext, AsContextMut, Caller, Engine, Extern, Func, FuncType, Global, ImportType, Instance,
    InstancePre, Memory, Module, Ref, Result, SharedMemory, Table, Tag, Val, bail, error::Context,
    format_err,
};
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::marker::PhantomData;

/// A definition with the two parts of its name.
#[derive(Clone)]
struct Named {
    module: Box<str>,
    name: Box<str>,
    definition: Definition,
}

/// Names for what modules import, and instances made with them.
///
/// Functions of the host that are defined here are of no store, so one linker serves many stores; with
/// [`define`](Self::define) and [`instance`](Self::instance) it is bound to one.
pub struct Linker<T> {
    engine: Engine,
    /// Sorted by the two parts of the name.
    definitions: Vec<Named>,
    allow_shadowing: bool,
    allow_unknown_exports: bool,
    _data: PhantomData<fn() -> T>,
}

impl<T> Clone for Linker<T> {
    fn clone(&self) -> Self {
        Self {
            engine: self.engine.clone(),
            definitions: self.definitions.clone(),
            allow_shadowing: self.allow_shadowing,
            allow_unknown_exports: self.allow_unknown_exports,
            _data: PhantomData,
        }
    }
}

impl<T: 'static> Linker<T> {
    /// An empty linker.
    pub fn new(engine: &Engine) -> Linker<T> {
        Self {
            engine: engine.clone(),
            definitions: Vec::new(),
            allow_shadowing: false,
            allow_unknown_exports: false,
            _data: PhantomData,
        }
    }

    /// The engine it is for.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Whether a name may be defined again, which replaces the earlier definition; no by default.
    pub fn allow_shadowing(&mut self, allow: bool) -> &mut Self {
        self.allow_shadowing = allow;
        self
    }

    /// Whether [`module`](Self::module) accepts programs (with `_start`) that export other things than functions and their
    /// memory; no by default.
    pub fn allow_unknown_exports(&mut self, allow: bool) -> &mut Self {
        self.allow_unknown_exports = allow;
        self
    }

    fn insert(&mut self, module: &str, name: &str, definition: Definition) -> Result<&mut Self> {
        match self.place(module, name) {
            Ok(_) if !self.allow_shadowing => bail!("import of `{module}::{name}` defined twice"),
            Ok(at) => self.definitions[at].definition = definition,
            Err(at) => {
                let named = Named { module: try_text(module)?, name: try_text(name)?, definition };
                let oom = OutOfMemory::new((self.definitions.len() + 1) * size_of::<Named>());
                self.definitions.try_reserve(1).map_err(|_| oom)?;
                self.definitions.insert(at, named);
            }
        }
        Ok(self)
    }

    /// Where a name is among the definitions, or where it would be.
    fn place(&self, module: &str, name: &str) -> Result<usize, usize> {
        self.definitions.binary_search_by(|named| (&*named.module, &*named.name).cmp(&(module, name)))
    }

    fn find(&self, module: &str, name: &str) -> Option<&Definition> {
        Some(&self.definitions[self.place(module, name).ok()?].definition)
    }

    /// Defines a name as something of a store.
    ///
    /// # Errors
    /// Fails if the name is defined already.
    ///
    /// # Panics
    /// If `item` belongs to another store.
    pub fn define(
        &mut self,
        store: impl AsContext<Data = T>,
        module: &str,
        name: &str,
        item: impl Into<Extern>,
    ) -> Result<&mut Self> {
        let definition = Definition::of(store.as_context().0.opaque(), item.into());
        self.insert(module, name, definition)
    }

    /// Defines a function of the host of type `ty`; see [`Func::new`].
    ///
    /// # Errors
    /// Fails if the name is defined already, or there is no memory.
    ///
    /// # Panics
    /// If `ty` is of another engine.
    pub fn func_new(
        &mut self,
        module: &str,
        name: &str,
        ty: FuncType,
        func: impl Fn(Caller<'_, T>, &[Val], &mut [Val]) -> Result<()> + Send + Sync + 'static,
    ) -> Result<&mut Self> {
        assert!(Engine::same(ty.engine(), &self.engine), "function type used with the wrong engine");
        self.insert(module, name, Definition::HostFunc(try_arc(HostFunc::new(ty, func)?)?))
    }

    /// Defines a function of the host, whose type is that of the closure; see [`Func::wrap`].
    ///
    /// # Errors
    /// Fails if the name is defined already, or there is no memory.
    pub fn func_wrap<Params, Results>(
        &mut self,
        module: &str,
        name: &str,
        func: impl IntoFunc<T, Params, Results>,
    ) -> Result<&mut Self> {
        let function = HostFunc::wrap(&self.engine, func)?;
        self.insert(module, name, Definition::HostFunc(try_arc(function)?))
    }

    /// Defines everything that `instance` exports, under `module_name`.
    ///
    /// # Errors
    /// Fails if one of the names is defined already.
    ///
    /// # Panics
    /// If the instance belongs to another store.
    pub fn instance(
        &mut self,
        mut store: impl AsContextMut<Data = T>,
        module_name: &str,
        instance: Instance,
    ) -> Result<&mut Self> {
        let mut store = store.as_context_mut();
        let exports =
            instance.exports(&mut store).map(|export| (String::from(export.name()), export.into_extern()));
        for (name, item) in exports.collect::<Vec<_>>() {
            self.define(&store, module_name, &name, item)?;
        }
        Ok(self)
    }

    /// Makes an instance of `module` and defines what it exports, under `module_name`.
    ///
    /// A module that exports a function `_start` is a program: each call of one of its functions makes a new instance,
    /// which is run by that call. Any other is a library: its function `_initialize` is called, if there is one.
    ///
    /// # Errors
    /// Fails if an import is not defined or does not fit, as [`Instance::new`], or if one of the names is defined already.
    pub fn module(
        &mut self,
        mut store: impl AsContextMut<Data = T>,
        module_name: &str,
        module: &Module,
    ) -> Result<&mut Self> {
        let is_program = matches!(module.get_export("_start"), Some(ExternType::Func(_)));
        if is_program {
            return self.program(module_name, module);
        }
        let instance = self.instantiate(&mut store, module)?;
        if let Some(initialize) = instance.get_func(&mut store, "_initialize") {
            let initialize =
                initialize.typed::<(), ()>(&store).context("loading the Reactor initialization function")?;
            initialize.call(&mut store, ()).context("calling the Reactor initialization function")?;
        }
        self.instance(store, module_name, instance)
    }

    /// Defines the functions of a program, see [`module`](Self::module).
    fn program(&mut self, module_name: &str, module: &Module) -> Result<&mut Self> {
        for export in module.exports() {
            let name = export.name();
            let ExternType::Func(ty) = export.ty() else {
                let ignored = name == "memory" || name.starts_with("__") || self.allow_unknown_exports;
                if !ignored {
                    bail!("command export '{name}' is not a function");
                }
                continue;
            };
            let pre = self.instantiate_pre(module)?;
            let export_name = String::from(name);
            self.func_new(module_name, name, ty, move |mut caller, params, results| {
                let instance = pre.instantiate(&mut caller)?;
                let func = instance.get_func(&mut caller, &export_name);
                func.context("the export of a new instance is gone")?.call(&mut caller, params, results)
            })?;
        }
        Ok(self)
    }

    /// Gives something a second name.
    ///
    /// # Errors
    /// Fails if there is no such thing, or the new name is defined already.
    pub fn alias(&mut self, module: &str, name: &str, as_module: &str, as_name: &str) -> Result<&mut Self> {
        let found = self.find(module, name).cloned();
        let found = found.with_context(|| format!("no item named `{module}::{name}` defined in linker"))?;
        self.insert(as_module, as_name, found)
    }

    /// Gives everything under `module` a second name, under `as_module`.
    ///
    /// # Errors
    /// Fails if one of the new names is defined already.
    pub fn alias_module(&mut self, module: &str, as_module: &str) -> Result<()> {
        let start = self.definitions.partition_point(|named| &*named.module < module);
        let of_module = self.definitions[start..].iter().take_while(|named| &*named.module == module);
        let all: Vec<Named> = of_module.cloned().collect();
        for Named { name, definition, .. } in all {
            self.insert(as_module, &name, definition)?;
        }
        Ok(())
    }

    /// Defines each function that `module` imports and that is not defined as one that fails when it is called, with an
    /// [`UnknownImportError`].
    ///
    /// # Errors
    /// Fails if there is no memory.
    pub fn define_unknown_imports_as_traps(&mut self, module: &Module) -> Result<()> {
        for import in module.imports() {
            if let ExternType::Func(ty) = import.ty()
                && self.find(import.module(), import.name()).is_none()
            {
                let error = UnknownImportError::new(&import);
                self.func_new(import.module(), import.name(), ty, move |_, _, _| Err(error.clone().into()))?;
            }
        }
        Ok(())
    }

    /// Defines everything that `module` imports and that is not defined: functions that return zeros and nulls, globals of
    /// value zero or null, empty memories and tables of their minimum size.
    ///
    /// # Errors
    /// Fails if a type has no such value, or there is no memory.
    pub fn define_unknown_imports_as_default_values(
        &mut self,
        mut store: impl AsContextMut<Data = T>,
        module: &Module,
    ) -> Result<()> {
        for import in module.imports() {
            if self.find(import.module(), import.name()).is_some() {
                continue;
            }
            let no_default =
                || format!("no default value exists for type of `{}::{}`", import.module(), import.name());
            let item: Extern = match import.ty() {
                ExternType::Func(ty) => {
                    let defaults = ty.results().map(|ty| Val::default_for_ty(&ty));
                    let defaults = defaults.collect::<Option<Vec<Val>>>().with_context(no_default)?;
                    self.func_new(import.module(), import.name(), ty, move |_, _, results| {
                        results.copy_from_slice(&defaults);
                        Ok(())
                    })?;
                    continue;
                }
                ExternType::Global(ty) => {
                    let value = Val::default_for_ty(ty.content()).with_context(no_default)?;
                    Global::new(&mut store, ty, value)?.into()
                }
                ExternType::Table(ty) => {
                    let value = Ref::null(ty.element().heap_type());
                    Table::new(&mut store, ty, value)?.into()
                }
                ExternType::Tag(ty) => Tag::new(&mut store, &ty)?.into(),
                ExternType::Memory(ty) if ty.is_shared() => SharedMemory::new(&self.engine, ty)?.into(),
                ExternType::Memory(ty) => Memory::new(&mut store, ty)?.into(),
            };
            self.define(&store, import.module(), import.name(), item)?;
        }
        Ok(())
    }

    /// Makes an instance of `module` with the definitions here, and runs its start function.
    ///
    /// # Errors
    /// Fails with an [`UnknownImportError`] if an import is not defined, and as [`Instance::new`].
    ///
    /// # Panics
    /// If one of the definitions is of another store.
    pub fn instantiate(&self, mut store: impl AsContextMut<Data = T>, module: &Module) -> Result<Instance> {
        let mut store = store.as_context_mut();
        // A memory or table may have grown since it was defined, and be large enough now.
        self.prepare(module, |definition| definition.with_current_size(store.0.opaque()))?
            .instantiate(&mut store)
    }

    /// Finds and checks the definitions for `module`, to make many instances of it.
    ///
    /// # Errors
    /// Fails with an [`UnknownImportError`] if an import is not defined, and if one does not fit.
    pub fn instantiate_pre(&self, module: &Module) -> Result<InstancePre<T>> {
        self.prepare(module, Definition::clone)
    }

    /// See [`instantiate_pre`](Self::instantiate_pre); `take` copies a definition.
    fn prepare(&self, module: &Module, take: impl Fn(&Definition) -> Definition) -> Result<InstancePre<T>> {
        if !Engine::same(&self.engine, module.engine()) {
            bail!("cross-`Engine` instantiation is not currently supported");
        }
        let imports = module.imports();
        let mut definitions = Vec::new();
        let oom = OutOfMemory::new(imports.len() * size_of::<Definition>());
        definitions.try_reserve_exact(imports.len()).map_err(|_| oom)?;
        for import in imports {
            let found = self.find(import.module(), import.name());
            definitions.push(take(found.ok_or_else(|| UnknownImportError::new(&import))?));
        }
        // SAFETY: host functions get into a linker only by closures for data of type `T`.
        unsafe { InstancePre::new(module, definitions) }
    }

    fn materialize(
        &self,
        store: &mut impl AsContextMut<Data = T>,
        definition: &Definition,
    ) -> Result<Extern> {
        match definition {
            Definition::Extern(item, _) => Ok(item.clone()),
            Definition::HostFunc(function) => {
                let store = store.as_context_mut().0.opaque_mut();
                Ok(Func::from_host_func(store, function.clone())?.into())
            }
        }
    }

    /// All definitions: the two parts of the name and what it stands for.
    ///
    /// # Panics
    /// If there is no memory for functions of the host in the store.
    pub fn iter<'a: 'p, 'p>(
        &'a self,
        mut store: impl AsContextMut<Data = T> + 'p,
    ) -> impl Iterator<Item = (&'a str, &'a str, Extern)> + 'p {
        self.definitions.iter().map(move |Named { module, name, definition }| {
            let item = self.materialize(&mut store, definition).expect("no memory for a function");
            (&**module, &**name, item)
        })
    }

    /// What a name stands for, if it is defined.
    ///
    /// # Panics
    /// If there is no memory for a function of the host in the store.
    pub fn get(&self, mut store: impl AsContextMut<Data = T>, module: &str, name: &str) -> Option<Extern> {
        let definition = self.find(module, name)?;
        Some(self.materialize(&mut store, definition).expect("no memory for a function"))
    }

    /// What an import would be filled in with, if it is defined.
    ///
    /// # Panics
    /// If there is no memory for a function of the host in the store.
    pub fn get_by_import(
        &self,
        store: impl AsContextMut<Data = T>,
        import: &ImportType<'_>,
    ) -> Option<Extern> {
        self.get(store, import.module(), import.name())
    }

    /// The function to run for `module`: the one with the empty name, else `_start`, else one that does nothing.
    ///
    /// # Errors
    /// Fails if the one with the empty name is no function.
    pub fn get_default(&self, mut store: impl AsContextMut<Data = T>, module: &str) -> Result<Func> {
        for name in ["", "_start"] {
            if let Some(item) = self.get(&mut store, module, name) {
                return item
                    .into_func()
                    .ok_or_else(|| format_err!("default export in '{module}' is not a function"));
            }
        }
        Func::try_wrap(store, || {})
    }
}
