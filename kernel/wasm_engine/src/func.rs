//! Functions: of wasm, and of the host.

use crate::error::{try_arc, try_box};
use crate::externs::Extern;
use crate::func_types::{IntoFunc, ListExt, RetExt, TypeCheck, WasmParams, WasmResults, WasmRet, WasmTyList};
use crate::store::{StoreId, StoreInner, StoreOpaque};
use crate::type_registry::RegisteredType;
use crate::vm::InstancePtr;
use crate::{
    AsContext, AsContextMut, Engine, FuncType, Result, StoreContext, StoreContextMut, Val, bail,
    error::Context, trap,
};
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;
use core::ffi::c_void;
use core::marker::PhantomData;
use core::mem::MaybeUninit;
use core::ptr::NonNull;
use wasm_artifact::vmctx::*;

/// A function, of a wasm instance or of the host.
#[derive(Debug, Clone, Copy)]
pub struct Func {
    store: StoreId,
    func_ref: NonNull<VMFuncRef>,
}

// SAFETY: the pointer is used only together with the store that owns what it leads to.
unsafe impl Send for Func {}
// SAFETY: as above.
unsafe impl Sync for Func {}

/// A function of the host, with what it closes over.
#[doc(hidden)]
pub struct HostFunc {
    ty: FuncType,
    array_call: VMArrayCallFunction,
    /// A `HostContext<F>` for some `F`.
    context: Box<dyn Any + Send + Sync>,
    address: NonNull<VMOpaqueContext>,
}

// SAFETY: the address leads into `context`, which is `Send` and `Sync`.
unsafe impl Send for HostFunc {}
// SAFETY: as above.
unsafe impl Sync for HostFunc {}

/// What a host function's `vmctx` points to.
#[repr(C)]
struct HostContext<F> {
    head: VMHostFuncContext,
    function: F,
}

// SAFETY: the head is constant data.
unsafe impl<F: Send> Send for HostContext<F> {}
// SAFETY: as above.
unsafe impl<F: Sync> Sync for HostContext<F> {}

impl HostFunc {
    fn with_array_call<F: Send + Sync + 'static>(
        ty: FuncType,
        array_call: VMArrayCallFunction,
        function: F,
    ) -> Result<Self> {
        let head = VMHostFuncContext { magic: VMHOST_MAGIC, reserved: 0, array_call };
        let mut context = try_box(HostContext { head, function })?;
        let address = NonNull::from(&mut *context).cast();
        Ok(Self { ty, array_call, context, address })
    }

    /// The host function that is `function`, whose types say what it takes and gives.
    pub(crate) fn wrap<T: 'static, Params, Results>(
        engine: &Engine,
        function: impl IntoFunc<T, Params, Results>,
    ) -> Result<Self> {
        function.into_host_func(engine)
    }

    /// The host function of type `ty` that is `function`, which is given its arguments in a slice.
    pub(crate) fn new<T: 'static>(
        ty: FuncType,
        function: impl Fn(Caller<'_, T>, &[Val], &mut [Val]) -> Result<()> + Send + Sync + 'static,
    ) -> Result<Self> {
        let closure = Untyped { ty: ty.clone(), function };
        fn shim<T: 'static, F>(_: &F) -> VMArrayCallFunction
        where
            F: Fn(Caller<'_, T>, &[Val], &mut [Val]) -> Result<()> + Send + Sync + 'static,
        {
            call_untyped::<T, F>
        }
        let array_call = shim::<T, _>(&closure.function);
        Self::with_array_call(ty, array_call, closure)
    }

    /// A host function whose closure was given a type by [`IntoFunc`].
    pub(crate) fn typed<T, F, Args, R>(engine: &Engine, function: F) -> Result<Self>
    where
        T: 'static,
        F: for<'a> Fn(Caller<'a, T>, Args) -> R + Send + Sync + 'static,
        Args: WasmTyList,
        R: WasmRet,
    {
        let ty = FuncType::try_new(engine, Args::valtypes(), R::valtypes())?;
        Self::with_array_call(ty, call_typed::<T, F, Args, R>, function)
    }

    pub(crate) fn ty(&self) -> &FuncType {
        &self.ty
    }

    /// What an instance that imports it needs, given the module's trampoline for its type.
    pub(crate) fn import(&self, wasm_call: *const VMWasmCode) -> VMFunctionImport {
        VMFunctionImport { wasm_call, array_call: Some(self.array_call), vmctx: self.address.as_ptr() }
    }

    /// A reference to it that wasm cannot call yet.
    pub(crate) fn func_ref(&self) -> VMFuncRef {
        let _keeps_the_address_valid = &self.context;
        VMFuncRef {
            array_call: Some(self.array_call),
            wasm_call: core::ptr::null(),
            type_index: self.ty.0.index(),
            reserved: 0,
            vmctx: self.address.as_ptr(),
        }
    }
}

/// A closure that is given its arguments in a slice.
struct Untyped<F> {
    ty: FuncType,
    function: F,
}

/// Runs the body of a host function: gives it the store it was called from, and leaves its error pending there.
///
/// # Safety
/// `caller` must be the context of an instance of a store with data of type `T` that is in use by the current task.
#[inline]
unsafe fn enter_host<T: 'static>(
    caller: *mut VMOpaqueContext,
    body: impl FnOnce(&mut StoreInner<T>, InstancePtr) -> Result<()>,
) -> bool {
    // SAFETY: wasm's code waits for us, so the store that it uses is ours meanwhile. It is a `StoreInner<T>`: a host
    // function for data of type `T` can only be put into such a store.
    let (store, instance) = unsafe {
        let instance = InstancePtr::from_context(caller.cast());
        (&mut *instance.store().cast::<StoreInner<T>>(), instance)
    };
    let scope = store.opaque().externs().enter_scope();
    let result = body(store, instance);
    let opaque = store.opaque_mut();
    opaque.externs_mut().leave_scope(scope);
    match result.and_then(|()| opaque.check_interrupted()) {
        Ok(()) => true,
        Err(error) => {
            opaque.set_pending(error);
            false
        }
    }
}

/// The entry of a host function made by [`HostFunc::typed`].
unsafe extern "C-unwind" fn call_typed<T, F, Args, R>(
    callee: *mut VMOpaqueContext,
    caller: *mut VMOpaqueContext,
    values: *mut ValRaw,
    len: usize,
) -> bool
where
    T: 'static,
    F: for<'a> Fn(Caller<'a, T>, Args) -> R + Send + Sync + 'static,
    Args: WasmTyList,
    R: WasmRet,
{
    // SAFETY: who calls has taken both from a function reference made by `HostFunc::with_array_call` for just these
    // types, and gives the array that the function's type asks for.
    unsafe {
        let function = &(*callee.cast::<HostContext<F>>()).function;
        enter_host::<T>(caller, |store, instance| {
            let values = core::slice::from_raw_parts_mut(values.cast::<MaybeUninit<ValRaw>>(), len);
            let args = Args::load_list(store.opaque_mut(), values)?;
            let result = function(Caller { store: StoreContextMut(store), instance }, args);
            result.store_result(store.opaque_mut(), values)
        })
    }
}

/// The entry of a host function made by [`HostFunc::new`].
unsafe extern "C-unwind" fn call_untyped<T, F>(
    callee: *mut VMOpaqueContext,
    caller: *mut VMOpaqueContext,
    values: *mut ValRaw,
    len: usize,
) -> bool
where
    T: 'static,
    F: Fn(Caller<'_, T>, &[Val], &mut [Val]) -> Result<()> + Send + Sync + 'static,
{
    // SAFETY: as for `call_typed`.
    unsafe {
        let Untyped { ty, function } = &(*callee.cast::<HostContext<Untyped<F>>>()).function;
        enter_host::<T>(caller, |store, instance| {
            let values = core::slice::from_raw_parts_mut(values, len);
            let params = ty.params().len();
            let mut vals = Vec::new();
            let count = params + ty.results().len();
            vals.try_reserve_exact(count).map_err(|_| crate::OutOfMemory::new(count * size_of::<Val>()))?;
            for (ty, raw) in ty.params().zip(&*values) {
                vals.push(Val::from_raw_in(store.opaque_mut(), *raw, &ty)?);
            }
            vals.extend(ty.results().map(|ty| Val::default_for_ty(&ty).unwrap_or(Val::I32(0))));
            let (args, results) = vals.split_at_mut(params);
            function(Caller { store: StoreContextMut(store), instance }, args, results)?;
            for ((ty, value), raw) in ty.results().zip(&*results).zip(values) {
                value.ensure_matches(&ty).context("function attempted to return an incompatible value")?;
                *raw = value.to_raw_in(store.opaque_mut())?;
            }
            Ok(())
        })
    }
}

impl Func {
    pub(crate) fn from_parts(store: &StoreOpaque, func_ref: NonNull<VMFuncRef>) -> Self {
        Self { store: store.id(), func_ref }
    }

    pub(crate) fn from_host_func(store: &mut StoreOpaque, function: Arc<HostFunc>) -> Result<Self> {
        let func_ref = store.add_host_func(function)?;
        Ok(Self::from_parts(store, func_ref))
    }

    /// Makes a function of type `ty` of the closure, which is given its arguments in one slice and puts its results into
    /// another. [`wrap`](Self::wrap) is simpler and faster where the type is known.
    ///
    /// # Panics
    /// If there is no memory for it; see [`try_new`](Self::try_new). If `ty` is of another engine than the store.
    pub fn new<T: 'static>(
        store: impl AsContextMut<Data = T>,
        ty: FuncType,
        func: impl Fn(Caller<'_, T>, &[Val], &mut [Val]) -> Result<()> + Send + Sync + 'static,
    ) -> Self {
        Self::try_new(store, ty, func).expect("no memory for a function")
    }

    /// As [`new`](Self::new).
    ///
    /// # Errors
    /// Fails if there is no memory for it.
    ///
    /// # Panics
    /// If `ty` is of another engine than the store.
    pub fn try_new<T: 'static>(
        mut store: impl AsContextMut<Data = T>,
        ty: FuncType,
        func: impl Fn(Caller<'_, T>, &[Val], &mut [Val]) -> Result<()> + Send + Sync + 'static,
    ) -> Result<Self> {
        let store = store.as_context_mut().0.opaque_mut();
        assert!(Engine::same(store.engine(), ty.engine()), "function type used with the wrong engine");
        Self::from_host_func(store, try_arc(HostFunc::new(ty, func)?)?)
    }

    /// Makes a function of a closure, whose parameters and results say what its type is. Its first parameter may be a
    /// [`Caller`]; it may return a [`Result`].
    ///
    /// # Panics
    /// If there is no memory for it; see [`try_wrap`](Self::try_wrap).
    pub fn wrap<T: 'static, Params, Results>(
        store: impl AsContextMut<Data = T>,
        func: impl IntoFunc<T, Params, Results>,
    ) -> Self {
        Self::try_wrap(store, func).expect("no memory for a function")
    }

    /// As [`wrap`](Self::wrap).
    ///
    /// # Errors
    /// Fails if there is no memory for it.
    pub fn try_wrap<T: 'static, Params, Results>(
        mut store: impl AsContextMut<Data = T>,
        func: impl IntoFunc<T, Params, Results>,
    ) -> Result<Self> {
        let store = store.as_context_mut().0.opaque_mut();
        let function = HostFunc::wrap(store.engine(), func)?;
        Self::from_host_func(store, try_arc(function)?)
    }

    /// Its type.
    ///
    /// # Panics
    /// If it belongs to another store.
    pub fn ty(&self, store: impl AsContext) -> FuncType {
        FuncType(self.registered_type(store.as_context().0.opaque()))
    }

    pub(crate) fn registered_type(&self, store: &StoreOpaque) -> RegisteredType {
        let index = self.func_ref(store).type_index;
        RegisteredType::from_index(store.engine(), index)
            .expect("a function's type is registered as long as it exists")
    }

    /// Whether it can be used as a function of type `ty`.
    ///
    /// # Panics
    /// If it belongs to another store.
    pub fn matches_ty(&self, store: impl AsContext, ty: &FuncType) -> bool {
        self.ty(store).matches(ty)
    }

    /// What compiled code has of it.
    ///
    /// # Panics
    /// If it belongs to another store.
    #[inline]
    pub(crate) fn func_ref<'a>(&self, store: &'a StoreOpaque) -> &'a VMFuncRef {
        store.assert_owns(self.store);
        // SAFETY: the store owns it and frees it with itself.
        unsafe { self.func_ref.as_ref() }
    }

    /// What an instance of `module` that imports it needs. `None` if the module does not know the type.
    pub(crate) fn import(&self, store: &StoreOpaque, module: &crate::Module) -> Option<VMFunctionImport> {
        let func_ref = self.func_ref(store);
        let wasm_call = match func_ref.wasm_call.is_null() {
            true => module.trampoline_for(func_ref.type_index)?,
            false => func_ref.wasm_call,
        };
        Some(VMFunctionImport { wasm_call, array_call: func_ref.array_call, vmctx: func_ref.vmctx })
    }

    /// Calls it with `params`, and puts what it returns into `results`, whose values beforehand do not matter.
    ///
    /// # Errors
    /// Fails if the number or the types of the arguments are wrong, or the number of results; if it traps, with a
    /// [`Trap`](crate::Trap) in the error; or if a host function that it calls fails, with that error.
    ///
    /// # Panics
    /// If it or a reference in `params` belongs to another store.
    pub fn call(&self, mut store: impl AsContextMut, params: &[Val], results: &mut [Val]) -> Result<()> {
        let store = store.as_context_mut().0.opaque_mut();
        let ty = self.registered_type(store);
        if params.len() != ty.params().len() {
            bail!("expected {} arguments, got {}", ty.params().len(), params.len());
        }
        if results.len() != ty.results().len() {
            bail!("expected {} results, got {}", ty.results().len(), results.len());
        }
        for (param, ty) in params.iter().zip(ty.params()) {
            param.ensure_matches(ty).context("argument type mismatch")?;
        }
        let len = params.len().max(results.len());
        let mut raw = Vec::new();
        raw.try_reserve_exact(len).map_err(|_| crate::OutOfMemory::new(len * size_of::<ValRaw>()))?;
        for param in params {
            raw.push(param.to_raw_in(store)?);
        }
        raw.resize(len, ValRaw { bytes: [0; 16] });
        let func_ref = self.func_ref(store);
        let (array_call, vmctx) = (func_ref.array_call, func_ref.vmctx);
        let array_call = array_call.expect("every function has an entry for the host");
        // SAFETY: both are of this function, and the array is as its type asks.
        unsafe {
            trap::call(store, array_call, vmctx, raw.as_mut_ptr(), len)?;
            for ((result, raw), ty) in results.iter_mut().zip(raw).zip(ty.results()) {
                *result = Val::from_raw_in(store, raw, ty)?;
            }
        }
        Ok(())
    }

    /// The function as one whose parameters and results are known at compile time, which is much faster to call.
    ///
    /// # Errors
    /// Fails if they are not what the function has.
    ///
    /// # Panics
    /// If it belongs to another store.
    pub fn typed<Params: WasmParams, Results: WasmResults>(
        &self,
        store: impl AsContext,
    ) -> Result<TypedFunc<Params, Results>> {
        let store = store.as_context();
        let ty = self.registered_type(store.0.opaque());
        Params::typecheck(ty.params(), TypeCheck::Param).context("type mismatch with parameters")?;
        Results::typecheck(ty.results(), TypeCheck::Result).context("type mismatch with results")?;
        Ok(TypedFunc { func: *self, _types: PhantomData })
    }

    /// The address that stands for the function in compiled code.
    ///
    /// # Panics
    /// If it belongs to another store.
    pub fn to_raw(&self, mut store: impl AsContextMut) -> *mut c_void {
        Self::option_to_raw(Some(*self), store.as_context_mut().0.opaque_mut())
    }

    pub(crate) fn option_to_raw(func: Option<Func>, store: &StoreOpaque) -> *mut c_void {
        func.map_or(core::ptr::null_mut(), |func| {
            store.assert_owns(func.store);
            func.func_ref.as_ptr().cast()
        })
    }

    /// The function for which [`to_raw`](Self::to_raw) returned `raw`; `None` for null.
    ///
    /// # Safety
    /// `raw` must come from this store.
    pub unsafe fn from_raw(mut store: impl AsContextMut, raw: *mut c_void) -> Option<Func> {
        // SAFETY: by the caller.
        unsafe { Self::option_from_raw(store.as_context_mut().0.opaque_mut(), raw) }
    }

    /// See [`from_raw`](Self::from_raw).
    pub(crate) unsafe fn option_from_raw(store: &StoreOpaque, raw: *mut c_void) -> Option<Func> {
        NonNull::new(raw.cast()).map(|func_ref| Func { store: store.id(), func_ref })
    }

    pub(crate) fn is_of(&self, store: &StoreOpaque) -> bool {
        store.owns(self.store)
    }
}

/// A function whose parameters and results are known at compile time. Made by [`Func::typed`] and
/// [`Instance::get_typed_func`](crate::Instance::get_typed_func).
pub struct TypedFunc<Params, Results> {
    func: Func,
    _types: PhantomData<fn(Params) -> Results>,
}

impl<Params, Results> Clone for TypedFunc<Params, Results> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<Params, Results> Copy for TypedFunc<Params, Results> {}

/// Room for the parameters or the results of any typed function, which have at most 17.
type Values = [MaybeUninit<ValRaw>; 17];

impl<Params: WasmParams, Results: WasmResults> TypedFunc<Params, Results> {
    /// The function, as one of unknown type.
    pub fn func(&self) -> &Func {
        &self.func
    }

    /// Takes it for granted that `func` has these parameters and results.
    ///
    /// # Safety
    /// It must have them.
    pub unsafe fn new_unchecked(func: Func) -> TypedFunc<Params, Results> {
        Self { func, _types: PhantomData }
    }

    /// Calls it.
    ///
    /// # Errors
    /// If it traps, with a [`Trap`](crate::Trap) in the error; or if a host function that it calls fails, with that error.
    ///
    /// # Panics
    /// If it or a reference in `params` belongs to another store.
    #[inline]
    pub fn call(&self, mut store: impl AsContextMut, params: Params) -> Result<Results> {
        let store = store.as_context_mut().0.opaque_mut();
        let func_ref = self.func.func_ref(store);
        let (array_call, vmctx) = (func_ref.array_call, func_ref.vmctx);
        let Some(array_call) = array_call else { unreachable!("every function has an entry for the host") };
        let mut values: Values = [MaybeUninit::uninit(); 17];
        params.store_list(store, &mut values)?;
        let len = Params::COUNT.max(Results::COUNT);
        // SAFETY: both are of this function, whose type was checked; so the array is as that asks.
        unsafe {
            trap::call(store, array_call, vmctx, values.as_mut_ptr().cast(), len)?;
            Results::load_list(store, &values)
        }
    }
}

/// What a host function knows of where it was called from: the store, and the instance whose code called.
pub struct Caller<'a, T: 'static> {
    pub(crate) store: StoreContextMut<'a, T>,
    instance: InstancePtr,
}

impl<T: 'static> Caller<'_, T> {
    /// The export `name` of the calling instance; `None` if there is none, or the host called.
    pub fn get_export(&mut self, name: &str) -> Option<Extern> {
        // SAFETY: the instance that calls exists, and its store is borrowed.
        unsafe { crate::instance::find_export(self.store.0.opaque(), self.instance, name) }
    }

    /// What the calling instance exports as `export`; `None` if that was made by another module, or the host called.
    pub fn get_module_export(&mut self, export: &crate::ModuleExport) -> Option<Extern> {
        // SAFETY: the instance that calls exists, and its store is borrowed.
        unsafe { crate::instance::indexed_export(self.store.0.opaque(), self.instance, export) }
    }

    /// All bytes of the memory that the calling instance exports as `memory`, and the store's data; no bytes if there is no such export, it is
    /// shared, or the host called.
    ///
    /// As [`get_export`](Self::get_export) and then [`Memory::data_and_store_mut`](crate::Memory::data_and_store_mut), in a few
    /// instructions: for host functions that do little. Wasmtime does not have it.
    #[inline]
    pub fn memory_and_data_mut(&mut self) -> (Option<&mut [u8]>, &mut T) {
        // SAFETY: the instance that calls exists. Its bytes are accessible as long as the store exists, which is borrowed, so nobody else uses
        // them. The store's data is not in the memory.
        let bytes = unsafe { self.instance.exported_memory().map(|bytes| &mut *bytes) };
        (bytes, self.store.data_mut())
    }

    /// The store's data.
    pub fn data(&self) -> &T {
        self.store.data()
    }

    /// The store's data, to be changed.
    pub fn data_mut(&mut self) -> &mut T {
        self.store.data_mut()
    }

    /// The store's engine.
    pub fn engine(&self) -> &Engine {
        self.store.engine()
    }

    /// See [`Store::gc`](crate::Store::gc): frees nothing, since the calling function runs.
    pub fn gc(&mut self) {
        self.store.gc();
    }
}

impl<T: 'static> AsContext for Caller<'_, T> {
    type Data = T;

    fn as_context(&self) -> StoreContext<'_, T> {
        self.store.as_context()
    }
}

impl<T: 'static> AsContextMut for Caller<'_, T> {
    fn as_context_mut(&mut self) -> StoreContextMut<'_, T> {
        self.store.as_context_mut()
    }
}

impl<'a, T: 'static> From<Caller<'a, T>> for StoreContextMut<'a, T> {
    fn from(caller: Caller<'a, T>) -> Self {
        caller.store
    }
}
