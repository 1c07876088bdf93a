//! Stores: everything that belongs together, with the data of the program that embeds it.

use crate::error::{OutOfMemory, try_box};
use crate::externref::ExternTable;
use crate::func::HostFunc;
use crate::interrupt;
use crate::limits::{DEFAULT_INSTANCE_LIMIT, DEFAULT_MEMORY_LIMIT, DEFAULT_TABLE_LIMIT};
use crate::metering::{EpochCallback, UpdateDeadline, update_of};
use crate::vm::{InstanceBox, InstancePtr, MemoryInst, SharedHandle, TableInst};
use crate::{Engine, Error, ExnRef, Module, ResourceLimiter, Result, Rooted, TagType, bail};
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;
use core::fmt;
use core::num::NonZeroU64;
use core::ops::Range;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU64, Ordering};
use wasm_artifact::Trap;
use wasm_artifact::types::WASM_PAGE_SIZE;
use wasm_artifact::vmctx::{VMFuncRef, VMGlobalDefinition, VMStoreContext, VMTagDefinition, ValRaw};
use wasm_unwind::{Code, Frames};

/// Tells stores apart. Never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct StoreId(NonZeroU64);

impl StoreId {
    fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self(NonZeroU64::new(number).expect("fewer than 2^64 stores"))
    }
}

/// A collection of instances, memories, tables, globals and functions that can refer to each other, and `T`, the data that
/// the embedding program gives to its host functions.
///
/// What is in a store stays in it until the store is dropped. It is for one task at a time: nearly everything needs
/// `&mut`. Functions, memories and so on of one store cannot be used with another: that panics.
pub struct Store<T: 'static> {
    inner: Box<StoreInner<T>>,
}

/// A store's content, at a fixed address.
///
/// `repr(C)`: whoever has the address of the first part has that of the whole.
#[repr(C)]
pub struct StoreInner<T: 'static> {
    opaque: StoreOpaque,
    limiter: Option<Box<Limiter<T>>>,
    pub(crate) epoch_callback: Option<Box<EpochCallback<T>>>,
    data: T,
}

type Limiter<T> = dyn (FnMut(&mut T) -> &mut dyn ResourceLimiter) + Send + Sync;

/// The part of a store that does not depend on its data.
///
/// `repr(C)`: compiled code and the trap handler know the address of the first field, and so find the store.
#[repr(C)]
#[expect(clippy::vec_box, reason = "generated code holds their addresses, which must not change")]
pub(crate) struct StoreOpaque {
    context: VMStoreContext,
    id: StoreId,
    engine: Engine,
    /// Gives access to the limiter of a `StoreInner<T>`, whose `T` only it knows.
    limiter: unsafe fn(&mut StoreOpaque) -> Option<&mut dyn ResourceLimiter>,
    /// As `limiter`: what a `StoreInner<T>` does when its epoch has come.
    pub(crate) epoch_update: unsafe fn(&mut StoreOpaque) -> Result<UpdateDeadline>,
    /// Fuel that does not fit into what code counts.
    pub(crate) fuel_reserve: u64,
    host_caller: Option<InstanceBox>,
    /// With the addresses of their code, sorted by these, each once. None is taken out as long as the store lives.
    modules: Vec<(Range<usize>, Module)>,
    /// The code of one of `modules`, that of the latest trap or else the latest module; null if there is none.
    pub(crate) latest_code: *const Code,
    instances: Vec<InstanceBox>,
    host_funcs: Vec<Box<StoreFunc>>,
    /// Functions of the host that wasm has no way to call yet.
    without_wasm_call: Vec<NonNull<VMFuncRef>>,
    host_memories: Vec<Box<MemoryInst>>,
    host_tables: Vec<Box<TableInst>>,
    host_globals: Vec<Box<HostGlobal>>,
    /// Where linear memories and their guards are, sorted: first address and the one behind the last.
    guest_memory: Vec<(usize, usize)>,
    /// What instances use without knowing.
    kept_alive: Vec<Arc<dyn Any + Send + Sync>>,
    externs: ExternTable,
    pending: Option<Error>,
    host_tags: Vec<Box<HostTag>>,
    /// The fields of the exception that was thrown last; kept for its memory.
    pub(crate) thrown_fields: Vec<ValRaw>,
    /// The handle of the exception that is on its way through the host, or 0.
    pub(crate) pending_exception: u32,
    frames: Frames,
    memories: usize,
    tables: usize,
}

/// A function of the host in a store.
struct StoreFunc {
    func_ref: VMFuncRef,
    _function: Arc<HostFunc>,
}

/// A global that the host made.
struct HostGlobal {
    definition: VMGlobalDefinition,
    is_handle: bool,
}

/// A tag that the host made.
struct HostTag {
    definition: VMTagDefinition,
    /// Keeps the type's number.
    _ty: TagType,
}

// SAFETY: the pointers in it lead to what the store owns, and nobody else has access to that except through the store.
unsafe impl Send for StoreOpaque {}
// SAFETY: through a shared reference nothing is changed.
unsafe impl Sync for StoreOpaque {}

impl<T: 'static> Store<T> {
    /// Makes an empty store with `data`.
    ///
    /// # Panics
    /// If there is no memory for it; see [`try_new`](Self::try_new).
    pub fn new(engine: &Engine, data: T) -> Self {
        Self::try_new(engine, data).expect("no memory for a store")
    }

    /// Makes an empty store with `data`.
    ///
    /// # Errors
    /// Fails if there is no memory for it.
    pub fn try_new(engine: &Engine, data: T) -> Result<Self> {
        wasm_platform::for_guest(|| Self::allocate(engine, data))
    }

    fn allocate(engine: &Engine, data: T) -> Result<Self> {
        let frames = engine.config().backtrace_frames.map_or(0, |limit| limit.get());
        let opaque = StoreOpaque {
            context: VMStoreContext::default(),
            id: StoreId::next(),
            engine: engine.clone(),
            limiter: limiter_of::<T>,
            epoch_update: update_of::<T>,
            fuel_reserve: 0,
            host_caller: None,
            modules: Vec::new(),
            latest_code: core::ptr::null(),
            instances: Vec::new(),
            host_funcs: Vec::new(),
            without_wasm_call: Vec::new(),
            host_memories: Vec::new(),
            host_tables: Vec::new(),
            host_globals: Vec::new(),
            guest_memory: Vec::new(),
            kept_alive: Vec::new(),
            externs: ExternTable::default(),
            pending: None,
            host_tags: Vec::new(),
            thrown_fields: Vec::new(),
            pending_exception: 0,
            frames: Frames::with_limit(frames)?,
            memories: 0,
            tables: 0,
        };
        let mut inner = try_box(StoreInner { opaque, limiter: None, epoch_callback: None, data })?;
        *inner.opaque.context.stack_limit.get_mut() = usize::MAX;
        *inner.opaque.context.epoch.get_mut() = core::ptr::from_ref(engine.epoch()).cast_mut();
        *inner.opaque.context.deadline.get_mut() = wasm_platform::NO_ALARM;
        let store: *mut StoreOpaque = &raw mut inner.opaque;
        inner.opaque.host_caller = Some(InstanceBox::host_caller(store)?);
        Ok(Self { inner })
    }

    pub(crate) fn inner_mut(&mut self) -> &mut StoreInner<T> {
        &mut self.inner
    }

    /// The data it was made with.
    pub fn data(&self) -> &T {
        &self.inner.data
    }

    /// The data it was made with, to be changed.
    pub fn data_mut(&mut self) -> &mut T {
        &mut self.inner.data
    }

    /// Gives up the store for its data.
    pub fn into_data(self) -> T {
        let inner = *self.inner;
        inner.data
    }

    /// The engine it belongs to.
    pub fn engine(&self) -> &Engine {
        &self.inner.opaque.engine
    }

    /// Has `limiter` asked from now on before the store's guests are given more memory, tables or instances.
    pub fn limiter(
        &mut self,
        limiter: impl (FnMut(&mut T) -> &mut dyn ResourceLimiter) + Send + Sync + 'static,
    ) {
        self.inner.limiter = Some(Box::new(limiter));
    }

    /// Frees the values of [`ExternRef`](crate::ExternRef)s that nobody refers to any more. Frees nothing if a function
    /// of the store is running.
    pub fn gc(&mut self) {
        self.inner.opaque.collect_garbage();
    }

    /// Makes `exception` the pending one and returns the error by which a host function throws it.
    ///
    /// # Errors
    /// Always, with a [`ThrownException`](crate::ThrownException); or if `exception` was made in a call or scope that has ended.
    ///
    /// # Panics
    /// If it belongs to another store.
    pub fn throw<R>(&mut self, exception: Rooted<ExnRef>) -> Result<R> {
        self.inner.opaque.throw(&exception)
    }

    /// The exception that came to the host, or that it was about to throw, which then is pending no longer.
    ///
    /// # Panics
    /// If there is no memory for a reference.
    pub fn take_pending_exception(&mut self) -> Option<Rooted<ExnRef>> {
        self.inner.opaque.take_pending_exception()
    }

    /// Whether there is one.
    pub fn has_pending_exception(&self) -> bool {
        self.inner.opaque.pending_exception != 0
    }
}

impl<T: fmt::Debug> fmt::Debug for Store<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("data", &self.inner.data).finish_non_exhaustive()
    }
}

/// See [`StoreOpaque::limiter`].
///
/// # Safety
/// `store` must be the first part of a `StoreInner<T>`, all of which is borrowed with it.
unsafe fn limiter_of<T: 'static>(store: &mut StoreOpaque) -> Option<&mut dyn ResourceLimiter> {
    // SAFETY: by the caller; the first field's address is that of the whole.
    let store = unsafe { &mut *core::ptr::from_mut(store).cast::<StoreInner<T>>() };
    let limiter = store.limiter.as_mut()?;
    Some(limiter(&mut store.data))
}

impl<T: 'static> StoreInner<T> {
    pub(crate) fn data_mut(&mut self) -> &mut T {
        &mut self.data
    }

    pub(crate) fn opaque(&self) -> &StoreOpaque {
        &self.opaque
    }

    pub(crate) fn opaque_mut(&mut self) -> &mut StoreOpaque {
        &mut self.opaque
    }
}

impl StoreOpaque {
    pub(crate) fn id(&self) -> StoreId {
        self.id
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    pub(crate) fn context(&self) -> &VMStoreContext {
        &self.context
    }

    pub(crate) fn externs(&self) -> &ExternTable {
        &self.externs
    }

    pub(crate) fn externs_mut(&mut self) -> &mut ExternTable {
        &mut self.externs
    }

    pub(crate) fn frames_mut(&mut self) -> &mut Frames {
        &mut self.frames
    }

    pub(crate) fn frames(&self) -> &Frames {
        &self.frames
    }

    /// Panics unless what has `id` belongs to this store.
    #[inline]
    pub(crate) fn assert_owns(&self, id: StoreId) {
        if self.id != id {
            wrong_store();
        }
    }

    pub(crate) fn owns(&self, id: StoreId) -> bool {
        self.id == id
    }

    /// The instance that stands for the host as a caller.
    #[inline]
    pub(crate) fn host_caller(&self) -> InstancePtr {
        match &self.host_caller {
            Some(instance) => instance.as_ptr(),
            None => unreachable!("every store is made with one"),
        }
    }

    /// Leaves an error for the host that called wasm, to be found when that returns.
    pub(crate) fn set_pending(&mut self, error: Error) {
        self.pending = Some(self.with_host_backtrace(error));
    }

    pub(crate) fn pending(&self) -> Option<&Error> {
        self.pending.as_ref()
    }

    pub(crate) fn take_pending(&mut self) -> Option<Error> {
        self.pending.take()
    }

    /// The limiter, if there is one.
    fn resource_limiter(&mut self) -> Option<&mut dyn ResourceLimiter> {
        // SAFETY: every `StoreOpaque` is the first part of a `StoreInner`, for whose type `limiter` was made, and is
        // borrowed mutably only together with it.
        unsafe { (self.limiter)(self) }
    }

    /// Whether one of the store's functions runs.
    pub(crate) fn is_running(&self) -> bool {
        // SAFETY: the field is written only by the task that uses the store.
        unsafe { *self.context.stack_limit.get() != usize::MAX }
    }

    /// See [`Store::gc`].
    pub(crate) fn collect_garbage(&mut self) {
        if self.is_running() || self.externs.len() == 0 {
            return;
        }
        self.externs.mark_roots();
        self.externs.mark(self.pending_exception);
        let externs = &mut self.externs;
        let mut mark_table = |table: &TableInst| {
            if table.holds_handles() {
                table.elements().iter().for_each(|element| externs.mark(*element as u32));
            }
        };
        self.host_tables.iter().for_each(|table| mark_table(table));
        for instance in &self.instances {
            // SAFETY: the instance exists, since the store owns it, and none of its code runs.
            unsafe {
                instance.as_ptr().own_tables().iter().for_each(|table| mark_table(table));
            }
        }
        for instance in &self.instances {
            // SAFETY: as above.
            unsafe { instance.as_ptr().handles_in_globals(|handle| self.externs.mark(handle)) };
        }
        for global in &self.host_globals {
            if global.is_handle {
                // SAFETY: a global's bytes are initialised, and none of the store's code runs.
                let value = unsafe { *global.definition.storage.get().cast::<ValRaw>() };
                // SAFETY: any bytes are a handle.
                self.externs.mark(unsafe { value.externref });
            }
        }
        self.externs.sweep();
    }

    /// Takes note of a module, keeps it alive, and makes the host's functions callable for its code.
    pub(crate) fn register_module(&mut self, module: &Module) -> Result<()> {
        let text = module.code().text();
        let at = self.modules.partition_point(|(other, _)| other.start < text.start);
        if self.modules[at..]
            .iter()
            .take_while(|(other, _)| other.start == text.start)
            .any(|(_, other)| Module::same(other, module))
        {
            return Ok(());
        }
        self.modules.try_reserve(1).map_err(|_| OutOfMemory::new(size_of::<(Range<usize>, Module)>()))?;
        self.modules.insert(at, (text, module.clone()));
        self.latest_code = core::ptr::from_ref::<Code>(module.code());
        self.without_wasm_call.retain(|func_ref| {
            // SAFETY: the function references of host functions live as long as the store, which owns them.
            let func_ref = unsafe { &mut *func_ref.as_ptr() };
            match module.trampoline_for(func_ref.type_index) {
                Some(wasm_call) => {
                    func_ref.wasm_call = wasm_call;
                    false
                }
                None => true,
            }
        });
        Ok(())
    }

    /// The module whose code is at `pc`.
    pub(crate) fn module_at(&self, pc: usize) -> Option<&Module> {
        let after = self.modules.partition_point(|(text, _)| text.start <= pc);
        self.modules[..after].iter().rev().find(|(text, _)| text.contains(&pc)).map(|(_, module)| module)
    }

    /// Puts a function of the host into the store.
    pub(crate) fn add_host_func(&mut self, function: Arc<HostFunc>) -> Result<NonNull<VMFuncRef>> {
        let oom = |_| OutOfMemory::new(size_of::<StoreFunc>());
        self.host_funcs.try_reserve(1).map_err(oom)?;
        self.without_wasm_call.try_reserve(1).map_err(oom)?;
        let mut func_ref = function.func_ref();
        let trampoline =
            self.modules.iter().find_map(|(_, module)| module.trampoline_for(func_ref.type_index));
        if let Some(wasm_call) = trampoline {
            func_ref.wasm_call = wasm_call;
        }
        let mut made = try_box(StoreFunc { func_ref, _function: function })?;
        let func_ref = NonNull::from(&mut made.func_ref);
        if trampoline.is_none() {
            self.without_wasm_call.push(func_ref);
        }
        self.host_funcs.push(made);
        Ok(func_ref)
    }

    /// Keeps something alive as long as the store.
    pub(crate) fn keep_alive(&mut self, object: Arc<dyn Any + Send + Sync>) -> Result<()> {
        if self.kept_alive.iter().rev().take(16).any(|kept| Arc::ptr_eq(kept, &object)) {
            return Ok(());
        }
        self.kept_alive.try_reserve(1).map_err(|_| OutOfMemory::new(size_of::<Arc<()>>()))?;
        self.kept_alive.push(object);
        Ok(())
    }

    /// Takes an instance over.
    pub(crate) fn add_instance(&mut self, instance: InstanceBox) -> Result<InstancePtr> {
        self.instances.try_reserve(1).map_err(|_| OutOfMemory::new(size_of::<InstanceBox>()))?;
        let address = instance.as_ptr();
        // SAFETY: the instance exists, and none of its code runs.
        let memories = unsafe { address.own_memories() };
        self.guest_memory
            .try_reserve(memories.len())
            .map_err(|_| OutOfMemory::new(size_of::<(usize, usize)>()))?;
        memories.iter().for_each(|memory| self.note_guest_memory(memory));
        self.instances.push(instance);
        Ok(address)
    }

    /// Takes a memory over that the host made.
    pub(crate) fn add_memory(&mut self, mut memory: Box<MemoryInst>) -> Result<NonNull<MemoryInst>> {
        self.host_memories.try_reserve(1).map_err(|_| OutOfMemory::new(size_of::<usize>()))?;
        self.guest_memory.try_reserve(1).map_err(|_| OutOfMemory::new(size_of::<(usize, usize)>()))?;
        self.note_guest_memory(&memory);
        let address = NonNull::from(&mut *memory);
        self.host_memories.push(memory);
        Ok(address)
    }

    /// Makes a memory, which the store is about to own, known to the trap handler. There must be room for it in the list.
    fn note_guest_memory(&mut self, memory: &MemoryInst) {
        let (start, end) = memory.reserved();
        if start < end {
            let at = self.guest_memory.partition_point(|other| other.0 < start);
            self.guest_memory.insert(at, (start, end));
        }
    }

    /// The store's use of a shared memory.
    pub(crate) fn use_shared_memory(&mut self, shared: &SharedHandle) -> Result<NonNull<MemoryInst>> {
        let is_used = |memory: &&mut Box<MemoryInst>| {
            memory.as_shared().is_some_and(|other| SharedHandle::same(other, shared))
        };
        if let Some(memory) = self.host_memories.iter_mut().find(is_used) {
            return Ok(NonNull::from(&mut **memory));
        }
        self.add_memory(MemoryInst::of_shared(shared.clone())?)
    }

    /// Takes a table over that the host made.
    pub(crate) fn add_table(&mut self, mut table: Box<TableInst>) -> Result<NonNull<TableInst>> {
        self.host_tables.try_reserve(1).map_err(|_| OutOfMemory::new(size_of::<usize>()))?;
        let address = NonNull::from(&mut *table);
        self.host_tables.push(table);
        Ok(address)
    }

    /// Makes a global for the host.
    pub(crate) fn add_global(
        &mut self,
        value: ValRaw,
        is_handle: bool,
    ) -> Result<NonNull<VMGlobalDefinition>> {
        self.host_globals.try_reserve(1).map_err(|_| OutOfMemory::new(size_of::<usize>()))?;
        // SAFETY: raw values are made from zero bytes, so all are initialised.
        let storage = unsafe { value.bytes }.into();
        let mut global = try_box(HostGlobal { definition: VMGlobalDefinition { storage }, is_handle })?;
        let address = NonNull::from(&mut global.definition);
        self.host_globals.push(global);
        Ok(address)
    }

    /// Makes a tag for the host.
    pub(crate) fn add_tag(&mut self, ty: &TagType) -> Result<NonNull<VMTagDefinition>> {
        self.host_tags.try_reserve(1).map_err(|_| OutOfMemory::new(size_of::<usize>()))?;
        let definition = VMTagDefinition { type_index: ty.ty().0.index(), reserved: 0 };
        let mut tag = try_box(HostTag { definition, _ty: ty.clone() })?;
        let address = NonNull::from(&mut tag.definition);
        self.host_tags.push(tag);
        Ok(address)
    }

    /// Whether `address` is in, or around, a linear memory of the store: where compiled code may fault. Called by the
    /// trap handler.
    #[inline]
    pub(crate) fn is_guest_memory(&self, address: usize) -> bool {
        // Reservations do not overlap. (A store's use of a shared memory is noted once, since it is made once.)
        let after = self.guest_memory.partition_point(|memory| memory.0 <= address);
        after.checked_sub(1).is_some_and(|index| address < self.guest_memory[index].1)
    }

    /// Asks the limiter about one more instance of a module with so many memories and tables, and counts it.
    pub(crate) fn count_instance(&mut self, memories: usize, tables: usize) -> Result<()> {
        let limits = self
            .resource_limiter()
            .map_or((DEFAULT_INSTANCE_LIMIT, DEFAULT_MEMORY_LIMIT, DEFAULT_TABLE_LIMIT), |limiter| {
                (limiter.instances(), limiter.memories(), limiter.tables())
            });
        let wanted = [
            (self.instances.len() + 1, limits.0, "instance"),
            (self.memories + memories, limits.1, "memory"),
            (self.tables + tables, limits.2, "table"),
        ];
        for (desired, limit, what) in wanted {
            if desired > limit {
                bail!("resource limit exceeded: {what} count too high at {desired}");
            }
        }
        self.memories += memories;
        self.tables += tables;
        Ok(())
    }

    /// Asks the limiter about a memory of `minimum` bytes.
    pub(crate) fn allow_memory(&mut self, minimum: usize, maximum: Option<usize>) -> Result<()> {
        if let Some(limiter) = self.resource_limiter()
            && !limiter.memory_growing(0, minimum, maximum)?
        {
            let pages = minimum as u64 / WASM_PAGE_SIZE;
            bail!("memory minimum size of {pages} pages exceeds memory limits");
        }
        Ok(())
    }

    /// Asks the limiter about a table of `minimum` elements.
    pub(crate) fn allow_table(&mut self, minimum: usize, maximum: Option<usize>) -> Result<()> {
        if let Some(limiter) = self.resource_limiter()
            && !limiter.table_growing(0, minimum, maximum)?
        {
            bail!("table minimum size of {minimum} elements exceeds table limits");
        }
        Ok(())
    }

    /// Grows a memory by `delta` pages. Returns the old number of pages, or `None` if it cannot grow.
    ///
    /// # Errors
    /// Fails if the limiter says so.
    ///
    /// # Safety
    /// The memory must be of this store.
    pub(crate) unsafe fn grow_memory(
        &mut self,
        memory: NonNull<MemoryInst>,
        delta: u64,
    ) -> Result<Option<u64>> {
        // SAFETY: by the caller; memories live as long as their store, and nobody else uses this one now.
        let memory = unsafe { &mut *memory.as_ptr() };
        loop {
            let old = memory.byte_size();
            let old_pages = old as u64 / WASM_PAGE_SIZE;
            if delta == 0 {
                return Ok(Some(old_pages));
            }
            let pages = old_pages.saturating_add(delta);
            let desired = usize::try_from(pages.saturating_mul(WASM_PAGE_SIZE)).unwrap_or(usize::MAX);
            if let Some(limiter) = self.resource_limiter()
                && !limiter.memory_growing(old, desired, memory.maximum_bytes())?
            {
                return Ok(None);
            }
            // Nothing is left half grown, whoever uses the memory next.
            match memory.grow_from(old, desired, &mut || !self.must_stop()) {
                Ok(true) => return Ok(Some(old_pages)),
                // Shared, and somebody else was quicker: what the limiter was asked about is no more.
                Ok(false) => {}
                Err(error) if error.is::<Trap>() => return Err(interrupt::stopped()),
                Err(error) => {
                    if let Some(limiter) = self.resource_limiter() {
                        limiter.memory_grow_failed(error)?;
                    }
                    return Ok(None);
                }
            }
        }
    }

    /// Grows a table by `delta` elements `init`. Returns the old number, or `None` if it cannot grow.
    ///
    /// # Errors
    /// Fails if the limiter says so.
    ///
    /// # Safety
    /// The table must be of this store and `init` one of its references, of the table's element type.
    pub(crate) unsafe fn grow_table(
        &mut self,
        table: NonNull<TableInst>,
        delta: u64,
        init: u64,
    ) -> Result<Option<u64>> {
        // SAFETY: by the caller; tables live as long as their store, and nobody else uses this one now.
        let table = unsafe { &mut *table.as_ptr() };
        let old = table.elements().len();
        if delta == 0 {
            return Ok(Some(old as u64));
        }
        let desired = (old as u64).saturating_add(delta);
        let maximum = table.maximum().map(|max| usize::try_from(max).unwrap_or(usize::MAX));
        if let Some(limiter) = self.resource_limiter()
            && !limiter.table_growing(old, usize::try_from(desired).unwrap_or(usize::MAX), maximum)?
        {
            return Ok(None);
        }
        match table.grow_to(desired, init, &mut || !self.must_stop()) {
            Ok(()) => Ok(Some(old as u64)),
            Err(error) if error.is::<Trap>() => Err(interrupt::stopped()),
            Err(error) => {
                if let Some(limiter) = self.resource_limiter() {
                    limiter.table_grow_failed(error)?;
                }
                Ok(None)
            }
        }
    }
}

#[cold]
fn wrong_store() -> ! {
    panic!("object used with the wrong store")
}

/// What a store can be read through.
pub trait AsContext {
    /// The store's data.
    type Data: 'static;

    /// The store.
    fn as_context(&self) -> StoreContext<'_, Self::Data>;
}

/// What a store can be used through.
pub trait AsContextMut: AsContext {
    /// The store.
    fn as_context_mut(&mut self) -> StoreContextMut<'_, Self::Data>;
}

/// A shared borrow of a store.
#[repr(transparent)]
pub struct StoreContext<'a, T: 'static>(pub(crate) &'a StoreInner<T>);

/// An exclusive borrow of a store.
#[repr(transparent)]
pub struct StoreContextMut<'a, T: 'static>(pub(crate) &'a mut StoreInner<T>);

impl<T> Clone for StoreContext<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for StoreContext<'_, T> {}

impl<'a, T> StoreContext<'a, T> {
    /// See [`Store::data`].
    pub fn data(&self) -> &'a T {
        &self.0.data
    }

    /// See [`Store::engine`].
    pub fn engine(&self) -> &Engine {
        &self.0.opaque.engine
    }
}

impl<T> StoreContextMut<'_, T> {
    /// See [`Store::data`].
    pub fn data(&self) -> &T {
        &self.0.data
    }

    /// See [`Store::data_mut`].
    pub fn data_mut(&mut self) -> &mut T {
        &mut self.0.data
    }

    /// See [`Store::engine`].
    pub fn engine(&self) -> &Engine {
        &self.0.opaque.engine
    }

    /// See [`Store::gc`].
    pub fn gc(&mut self) {
        self.0.opaque.collect_garbage();
    }

    /// See [`Store::throw`].
    ///
    /// # Errors
    /// As that.
    ///
    /// # Panics
    /// As that.
    pub fn throw<R>(&mut self, exception: Rooted<ExnRef>) -> Result<R> {
        self.0.opaque.throw(&exception)
    }

    /// See [`Store::take_pending_exception`].
    ///
    /// # Panics
    /// As that.
    pub fn take_pending_exception(&mut self) -> Option<Rooted<ExnRef>> {
        self.0.opaque.take_pending_exception()
    }

    /// See [`Store::has_pending_exception`].
    pub fn has_pending_exception(&self) -> bool {
        self.0.opaque.pending_exception != 0
    }
}

impl<T: 'static> AsContext for Store<T> {
    type Data = T;

    fn as_context(&self) -> StoreContext<'_, T> {
        StoreContext(&self.inner)
    }
}

impl<T: 'static> AsContextMut for Store<T> {
    fn as_context_mut(&mut self) -> StoreContextMut<'_, T> {
        StoreContextMut(&mut self.inner)
    }
}

impl<T: 'static> AsContext for StoreContext<'_, T> {
    type Data = T;

    fn as_context(&self) -> StoreContext<'_, T> {
        StoreContext(self.0)
    }
}

impl<T: 'static> AsContext for StoreContextMut<'_, T> {
    type Data = T;

    fn as_context(&self) -> StoreContext<'_, T> {
        StoreContext(self.0)
    }
}

impl<T: 'static> AsContextMut for StoreContextMut<'_, T> {
    fn as_context_mut(&mut self) -> StoreContextMut<'_, T> {
        StoreContextMut(self.0)
    }
}

impl<C: AsContext> AsContext for &'_ C {
    type Data = C::Data;

    fn as_context(&self) -> StoreContext<'_, C::Data> {
        C::as_context(self)
    }
}

impl<C: AsContext> AsContext for &'_ mut C {
    type Data = C::Data;

    fn as_context(&self) -> StoreContext<'_, C::Data> {
        C::as_context(self)
    }
}

impl<C: AsContextMut> AsContextMut for &'_ mut C {
    fn as_context_mut(&mut self) -> StoreContextMut<'_, C::Data> {
        C::as_context_mut(self)
    }
}

impl<'a, C: AsContext> From<&'a C> for StoreContext<'a, C::Data> {
    fn from(store: &'a C) -> Self {
        store.as_context()
    }
}

impl<'a, C: AsContext> From<&'a mut C> for StoreContext<'a, C::Data> {
    fn from(store: &'a mut C) -> Self {
        C::as_context(store)
    }
}

impl<'a, C: AsContextMut> From<&'a mut C> for StoreContextMut<'a, C::Data> {
    fn from(store: &'a mut C) -> Self {
        store.as_context_mut()
    }
}
