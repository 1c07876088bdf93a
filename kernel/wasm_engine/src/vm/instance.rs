//! Instances: the runtime's own data, followed in the same allocation by the `VMContext` that compiled code works with.

use super::{BUILTINS, MemoryInst, SharedHandle, TableInst};
use crate::error::OutOfMemory;
use crate::interrupt;
use crate::store::StoreOpaque;
use crate::{Module, Result};
use alloc::alloc::{Layout, alloc_zeroed, dealloc};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ptr::NonNull;
use core::sync::atomic::Ordering;
use wasm_artifact::module::{ConstExpr, ElemItems, ElemMode};
use wasm_artifact::vmctx::*;
use wasm_artifact::*;

/// What the runtime keeps of an instance. The `VMContext` follows it.
#[repr(C, align(16))]
#[expect(clippy::vec_box, reason = "generated code holds their addresses, which must not change")]
pub(crate) struct InstanceInner {
    store: *mut StoreOpaque,
    /// `None` for the context that stands for the host as a caller.
    module: Option<Module>,
    /// All memories, imported ones first.
    memories: Vec<NonNull<MemoryInst>>,
    /// That of them which the instance exports as `memory`, unless it is shared: what host functions use.
    exported_memory: Option<NonNull<VMMemoryDefinition>>,
    /// All tables, imported ones first.
    tables: Vec<NonNull<TableInst>>,
    own_memories: Vec<Box<MemoryInst>>,
    own_tables: Vec<Box<TableInst>>,
    dropped_elems: Vec<bool>,
    dropped_datas: Vec<bool>,
    layout: Layout,
}

/// The alignment makes this a multiple of 16, so that the context after it is aligned as it must be.
const CONTEXT_OFFSET: usize = size_of::<InstanceInner>();
const _: () = assert!(CONTEXT_OFFSET.is_multiple_of(VMCONTEXT_ALIGN));

/// What an instance is to use for its module's imports, each list in the order of its index space.
#[derive(Default)]
pub(crate) struct Imports {
    pub(crate) functions: Vec<VMFunctionImport>,
    pub(crate) tables: Vec<NonNull<TableInst>>,
    pub(crate) memories: Vec<NonNull<MemoryInst>>,
    pub(crate) globals: Vec<NonNull<VMGlobalDefinition>>,
    pub(crate) tags: Vec<NonNull<VMTagDefinition>>,
}

/// An instance that is owned. Frees everything it defines when dropped.
pub(crate) struct InstanceBox(InstancePtr);

impl Drop for InstanceBox {
    fn drop(&mut self) {
        let inner = self.0.0.as_ptr();
        // SAFETY: the instance is ours and initialised; the allocation was made with this layout.
        unsafe {
            let layout = (*inner).layout;
            inner.drop_in_place();
            dealloc(inner.cast(), layout);
        }
    }
}

/// Address of an instance. Valid as long as its store exists, which who uses it has to make sure of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct InstancePtr(NonNull<InstanceInner>);

/// Copies a slice into a new vector.
fn try_copy<T: Copy>(items: &[T], room_for: usize) -> Result<Vec<T>, OutOfMemory> {
    let mut copy = Vec::new();
    copy.try_reserve_exact(room_for).map_err(|_| OutOfMemory::new(room_for * size_of::<T>()))?;
    copy.extend_from_slice(items);
    Ok(copy)
}

impl InstanceBox {
    /// An instance with a context of `context_size` bytes, of which only the head is filled in.
    fn allocate(store: *mut StoreOpaque, module: Option<Module>, context_size: usize) -> Result<Self> {
        let size = CONTEXT_OFFSET + context_size;
        let layout = Layout::from_size_align(size, VMCONTEXT_ALIGN).map_err(|_| OutOfMemory::new(size))?;
        // SAFETY: the layout's size is not zero.
        let allocation = NonNull::new(unsafe { alloc_zeroed(layout) }).ok_or(OutOfMemory::new(size))?;
        let inner = allocation.cast::<InstanceInner>();
        let type_ids = module.as_ref().map_or(core::ptr::null(), |module| module.type_ids().as_ptr());
        // SAFETY: the allocation is large enough and aligned for the two, which lie one after the other.
        unsafe {
            inner.write(InstanceInner {
                store,
                module,
                memories: Vec::new(),
                exported_memory: None,
                tables: Vec::new(),
                own_memories: Vec::new(),
                own_tables: Vec::new(),
                dropped_elems: Vec::new(),
                dropped_datas: Vec::new(),
                layout,
            });
            let context = inner.cast::<u8>().add(CONTEXT_OFFSET).cast::<VMContext>();
            context.write(VMContext {
                magic: VMCONTEXT_MAGIC,
                reserved: 0,
                store_context: store.cast(),
                builtins: &raw const BUILTINS,
                type_ids,
                host_data: inner.as_ptr().cast(),
            });
        }
        Ok(Self(InstancePtr(inner)))
    }

    /// The instance that stands for the host when it calls a function: it has a store and nothing else.
    pub(crate) fn host_caller(store: *mut StoreOpaque) -> Result<Self> {
        Self::allocate(store, None, size_of::<VMContext>())
    }

    /// Makes an instance of `module`: with its imports, memories, tables, globals and function references, but before
    /// its active segments.
    ///
    /// # Safety
    /// `store` must own what is in `imports`, and it must be what the module asks for.
    pub(crate) unsafe fn new(store: *mut StoreOpaque, module: &Module, imports: &Imports) -> Result<Self> {
        let instance = Self::allocate(store, Some(module.clone()), module.offsets().size() as usize)?;
        let this = instance.0;
        // SAFETY: the instance is ours alone.
        let inner = unsafe { this.inner_mut() };
        let declared = module.declared();
        inner.memories = try_copy(&imports.memories, imports.memories.len() + declared.memories.len())?;
        inner.tables = try_copy(&imports.tables, imports.tables.len() + declared.tables.len())?;
        inner.dropped_elems = try_copy(&[], declared.elems.len())?;
        inner.dropped_elems.resize(declared.elems.len(), false);
        inner.dropped_datas = try_copy(&[], declared.datas.len())?;
        inner.dropped_datas.resize(declared.datas.len(), false);
        let offsets = *module.offsets();
        // SAFETY: the offsets are those of this module's contexts, for which the allocation was made; the pointees of
        // imports live as long as the store, by the caller.
        unsafe {
            for (index, import) in (0..).zip(&imports.functions) {
                let VMFunctionImport { wasm_call, array_call, vmctx } = *import;
                let copy = VMFunctionImport { wasm_call, array_call, vmctx };
                this.field::<VMFunctionImport>(offsets.imported_function(FuncIndex(index))).write(copy);
            }
            for (index, import) in (0..).zip(&imports.tables) {
                let from = import.as_ref().definition().as_ptr();
                this.field::<VMTableImport>(offsets.imported_table(TableIndex(index)))
                    .write(VMTableImport { from });
            }
            for (index, import) in (0..).zip(&imports.memories) {
                let from = import.as_ref().definition().as_ptr();
                this.field::<VMMemoryImport>(offsets.imported_memory(MemoryIndex(index)))
                    .write(VMMemoryImport { from });
            }
            for (index, import) in (0..).zip(&imports.globals) {
                let from = import.as_ptr();
                this.field::<VMGlobalImport>(offsets.imported_global(GlobalIndex(index)))
                    .write(VMGlobalImport { from });
            }
            for (index, import) in (0..).zip(&imports.tags) {
                let from = import.as_ptr();
                this.field::<VMTagImport>(offsets.imported_tag(TagIndex(index))).write(VMTagImport { from });
            }
            for (index, ty) in (0..).map(TagIndex).zip(&declared.tags) {
                if let Some(defined) = declared.defined_tag(index) {
                    let type_index = module.type_ids()[ty.index()];
                    let tag = VMTagDefinition { type_index, reserved: 0 };
                    this.field::<VMTagDefinition>(offsets.tag(defined)).write(tag);
                }
            }
            this.make_func_refs(module);
            this.make_memories(inner, module, &*store)?;
            if let Some(index) = module.exported_memory() {
                let memory = inner.memories[index.index()].as_ref();
                inner.exported_memory = memory.as_shared().is_none().then_some(memory.definition());
            }
            for (index, global) in (0..).zip(&declared.globals) {
                let value = this.evaluate(&global.init);
                this.field::<ValRaw>(offsets.global(DefinedGlobalIndex(index))).write(value);
            }
            this.make_tables(inner, module, &*store)?;
        }
        Ok(instance)
    }

    pub(crate) fn as_ptr(&self) -> InstancePtr {
        self.0
    }
}

impl InstancePtr {
    /// The instance that a context belongs to.
    ///
    /// # Safety
    /// `context` must be the context of an instance that exists.
    pub(crate) unsafe fn from_context(context: *mut VMContext) -> Self {
        // SAFETY: `allocate` puts the address of the instance there.
        unsafe { Self(NonNull::new_unchecked((*context).host_data.cast())) }
    }

    /// The runtime's data.
    ///
    /// # Safety
    /// The instance must exist, and nobody may change the data meanwhile.
    unsafe fn inner<'a>(self) -> &'a InstanceInner {
        // SAFETY: by the caller.
        unsafe { self.0.as_ref() }
    }

    /// The runtime's data, to be changed.
    ///
    /// # Safety
    /// The instance must exist, and nobody may use the data meanwhile.
    unsafe fn inner_mut<'a>(mut self) -> &'a mut InstanceInner {
        // SAFETY: by the caller.
        unsafe { self.0.as_mut() }
    }

    /// Address of the context.
    pub(crate) fn context(self) -> *mut VMContext {
        // The context is in the same allocation.
        self.0.as_ptr().cast::<u8>().wrapping_add(CONTEXT_OFFSET).cast()
    }

    /// Address of what is at `offset` in the context.
    fn field<T>(self, offset: u32) -> *mut T {
        self.context().cast::<u8>().wrapping_add(offset as usize).cast()
    }

    /// The store that the instance belongs to.
    pub(crate) unsafe fn store(self) -> *mut StoreOpaque {
        // SAFETY: by the caller, the instance exists.
        unsafe { self.inner().store }
    }

    /// The module, unless the instance stands for the host.
    pub(crate) unsafe fn module<'a>(self) -> Option<&'a Module> {
        // SAFETY: by the caller, the instance exists.
        unsafe { self.inner().module.as_ref() }
    }

    /// The module of an instance that is known to have one.
    unsafe fn expect_module<'a>(self) -> &'a Module {
        // SAFETY: by the caller, the instance exists.
        unsafe { self.module() }.expect("only the host's instance has no module")
    }

    /// The bytes of the memory that it exports as `memory`, if there is one that is not shared.
    #[inline]
    pub(crate) unsafe fn exported_memory(self) -> Option<*mut [u8]> {
        // SAFETY: by the caller, the instance exists, and instances keep their memories alive.
        let memory = unsafe { self.inner().exported_memory?.as_ref() };
        let len = memory.current_length.load(Ordering::Relaxed);
        Some(core::ptr::slice_from_raw_parts_mut(memory.base, len))
    }

    pub(crate) unsafe fn memory(self, index: MemoryIndex) -> NonNull<MemoryInst> {
        // SAFETY: by the caller, the instance exists.
        unsafe { self.inner().memories[index.index()] }
    }

    pub(crate) unsafe fn table(self, index: TableIndex) -> NonNull<TableInst> {
        // SAFETY: by the caller, the instance exists.
        unsafe { self.inner().tables[index.index()] }
    }

    /// The memories that the instance itself defines.
    pub(crate) unsafe fn own_memories<'a>(self) -> &'a [Box<MemoryInst>] {
        // SAFETY: by the caller, the instance exists.
        unsafe { &self.inner().own_memories }
    }

    /// The tables that the instance itself defines.
    pub(crate) unsafe fn own_tables<'a>(self) -> &'a [Box<TableInst>] {
        // SAFETY: by the caller, the instance exists.
        unsafe { &self.inner().own_tables }
    }

    pub(crate) unsafe fn global(self, index: GlobalIndex) -> NonNull<VMGlobalDefinition> {
        // SAFETY: by the caller, the instance exists; the offsets are those of its module.
        unsafe {
            let module = self.expect_module();
            let definition = match module.declared().defined_global(index) {
                Some(defined) => self.field(module.offsets().global(defined)),
                None => (*self.field::<VMGlobalImport>(module.offsets().imported_global(index))).from,
            };
            NonNull::new_unchecked(definition)
        }
    }

    pub(crate) unsafe fn tag(self, index: TagIndex) -> NonNull<VMTagDefinition> {
        // SAFETY: by the caller, the instance exists; the offsets are those of its module.
        unsafe {
            let module = self.expect_module();
            let definition = match module.declared().defined_tag(index) {
                Some(defined) => self.field(module.offsets().tag(defined)),
                None => (*self.field::<VMTagImport>(module.offsets().imported_tag(index))).from,
            };
            NonNull::new_unchecked(definition)
        }
    }

    /// How many fields the exceptions of a tag have.
    pub(crate) unsafe fn tag_fields(self, index: TagIndex) -> usize {
        // SAFETY: by the caller, the instance exists.
        let declared = unsafe { self.expect_module() }.declared();
        declared.types[declared.tags[index.index()].index()].params.len()
    }

    /// The function reference of a function that can become a value.
    pub(crate) unsafe fn func_ref(self, index: FuncIndex) -> NonNull<VMFuncRef> {
        // SAFETY: by the caller, the instance exists; the offsets are those of its module.
        unsafe {
            let module = self.expect_module();
            let slot = module.declared().functions[index.index()].func_ref;
            let slot = slot.expect("compiler and validation agree on which functions can become values");
            NonNull::new_unchecked(self.field(module.offsets().func_ref(slot)))
        }
    }

    /// The handles in the globals that the instance defines.
    pub(crate) unsafe fn handles_in_globals(self, mut visit: impl FnMut(u32)) {
        // SAFETY: by the caller, the instance exists; the offsets are those of its module.
        unsafe {
            let Some(module) = self.module() else { return };
            for (index, global) in (0..).zip(&module.declared().globals) {
                if matches!(global.ty.content, types::ValType::Ref(ty) if ty.heap_type.is_handle()) {
                    visit(
                        (*self.field::<ValRaw>(module.offsets().global(DefinedGlobalIndex(index)))).externref,
                    );
                }
            }
        }
    }

    /// Fills in the function references.
    unsafe fn make_func_refs(self, module: &Module) {
        let declared = module.declared();
        let offsets = module.offsets();
        for (index, function) in (0..).map(FuncIndex).zip(&declared.functions) {
            let Some(slot) = function.func_ref else { continue };
            let type_index = module.type_ids()[function.ty.index()];
            // SAFETY: the context is that of the module, and its imported functions are filled in.
            unsafe {
                let func_ref = match declared.defined_func(index) {
                    Some(defined) => {
                        let (wasm_call, array_call) = module.entries(defined);
                        VMFuncRef {
                            array_call,
                            wasm_call,
                            type_index,
                            reserved: 0,
                            vmctx: self.context().cast(),
                        }
                    }
                    None => {
                        let import = &*self.field::<VMFunctionImport>(offsets.imported_function(index));
                        VMFuncRef {
                            array_call: import.array_call,
                            wasm_call: import.wasm_call,
                            type_index,
                            reserved: 0,
                            vmctx: import.vmctx,
                        }
                    }
                };
                self.field::<VMFuncRef>(offsets.func_ref(slot)).write(func_ref);
            }
        }
    }

    unsafe fn make_memories(
        self,
        inner: &mut InstanceInner,
        module: &Module,
        store: &StoreOpaque,
    ) -> Result<()> {
        let proceed = &mut || !store.must_stop();
        let declared = module.declared();
        let count = declared.memories.len();
        inner
            .own_memories
            .try_reserve_exact(count)
            .map_err(|_| OutOfMemory::new(count * size_of::<usize>()))?;
        for (index, memory) in (0..).zip(&declared.memories) {
            let offset = module.offsets().memory(DefinedMemoryIndex(index));
            let mut made = if memory.ty.shared {
                crate::shared_memory::check_enabled(module.engine())?;
                let made = MemoryInst::of_shared(SharedHandle::new(memory.ty, memory.plan, proceed)?)?;
                let from = made.definition().as_ptr();
                // SAFETY: compiled code looks for this at that offset in the context, where there is room for it.
                unsafe { self.field::<VMMemoryImport>(offset).write(VMMemoryImport { from }) };
                made
            } else {
                // SAFETY: the definition is in the context, which lives as long as the instance that owns the memory.
                unsafe { MemoryInst::new(memory.ty, memory.plan, NonNull::new(self.field(offset)), proceed)? }
            };
            if let Some(image) = &memory.image {
                let start = image.data_offset as usize;
                let data = &module.code().rodata()[start..start + image.len as usize];
                let target = super::checked_range(made.bytes(), image.memory_offset, image.len.into());
                let target =
                    target.ok_or_else(|| crate::format_err!("memory image outside of its memory"))?;
                // SAFETY: the range was checked, and nobody else knows of the memory yet.
                interrupt::in_pieces(store, data.len(), 1, false, |piece| unsafe {
                    let data = &data[piece.clone()];
                    target.add(piece.start).copy_from_nonoverlapping(data.as_ptr(), data.len());
                })?;
            }
            inner.memories.push(NonNull::from(&mut *made));
            inner.own_memories.push(made);
        }
        Ok(())
    }

    unsafe fn make_tables(
        self,
        inner: &mut InstanceInner,
        module: &Module,
        store: &StoreOpaque,
    ) -> Result<()> {
        let declared = module.declared();
        let count = declared.tables.len();
        inner
            .own_tables
            .try_reserve_exact(count)
            .map_err(|_| OutOfMemory::new(count * size_of::<usize>()))?;
        for (index, table) in (0..).zip(&declared.tables) {
            let definition = NonNull::new(self.field(module.offsets().table(DefinedTableIndex(index))));
            // SAFETY: globals are filled in; a validated initial value is of the table's type; the definition is in
            // the context, which lives as long as the instance that owns the table.
            let mut made = unsafe {
                let init = self.evaluate_reference(&table.init);
                TableInst::new(table.ty, init, definition, &mut || !store.must_stop())?
            };
            inner.tables.push(NonNull::from(&mut *made));
            inner.own_tables.push(made);
        }
        Ok(())
    }

    /// Evaluates a constant expression.
    ///
    /// # Safety
    /// Function references and all globals that come before must be filled in.
    pub(crate) unsafe fn evaluate(self, expression: &ConstExpr) -> ValRaw {
        let mut value = ValRaw { bytes: [0; 16] };
        match expression {
            ConstExpr::I32(i32) => value.i32 = *i32,
            ConstExpr::I64(i64) => value.i64 = *i64,
            ConstExpr::F32(bits) => value.f32 = *bits,
            ConstExpr::F64(bits) => value.f64 = *bits,
            ConstExpr::V128(v128) => value.v128 = *v128,
            // SAFETY: the global is filled in, by the caller.
            ConstExpr::GlobalGet(index) => value = unsafe { *self.global(*index).cast::<ValRaw>().as_ptr() },
            // SAFETY: function references are filled in, by the caller.
            ConstExpr::RefFunc(index) => value.funcref = unsafe { self.func_ref(*index) }.as_ptr().cast(),
            // Null references of both kinds are zero.
            _ => {}
        }
        value
    }

    /// As [`evaluate`](Self::evaluate), for a reference as tables hold it. Handles are zero-extended, since `evaluate`
    /// starts from zero bytes and globals are written that way.
    pub(crate) unsafe fn evaluate_reference(self, expression: &ConstExpr) -> u64 {
        // SAFETY: by the caller; any value can be read as bits, which `evaluate` initialises all of.
        unsafe { self.evaluate(expression).f64 }
    }

    /// Copies `len` elements from `start` of segment `elem` to `dst` of `table`.
    pub(crate) unsafe fn init_table(
        self,
        store: &StoreOpaque,
        mut table: NonNull<TableInst>,
        elem: ElemIndex,
        dst: u64,
        start: u32,
        len: u32,
    ) -> Result<(), Trap> {
        // SAFETY: by the caller, the instance exists, and so does the table.
        let (inner, module, table) = unsafe { (self.inner(), self.expect_module(), table.as_mut()) };
        let segment = &module.declared().elems[elem.index()];
        let count = match &segment.items {
            _ if inner.dropped_elems[elem.index()] => 0,
            ElemItems::Functions(functions) => functions.len(),
            ElemItems::Expressions(expressions) => expressions.len(),
        };
        let from = super::checked_elements(count, start.into(), len.into()).ok_or(Trap::TableOutOfBounds)?;
        let to =
            super::checked_elements(table.elements().len(), dst, len.into()).ok_or(Trap::TableOutOfBounds)?;
        let elements = &mut table.elements_mut()[to];
        if from.is_empty() {
            return Ok(());
        }
        interrupt::in_pieces(store, from.len(), size_of::<u64>(), false, |piece| {
            let from = from.start + piece.start..from.start + piece.end;
            let elements = elements[piece].iter_mut();
            match &segment.items {
                ElemItems::Functions(functions) => {
                    for (element, function) in elements.zip(&functions[from]) {
                        // SAFETY: the instance is complete.
                        *element = unsafe { self.func_ref(*function) }.as_ptr() as u64;
                    }
                }
                ElemItems::Expressions(expressions) => {
                    for (element, expression) in elements.zip(&expressions[from]) {
                        // SAFETY: the instance is complete.
                        *element = unsafe { self.evaluate_reference(expression) };
                    }
                }
            }
        })
    }

    pub(crate) unsafe fn drop_elem(self, elem: ElemIndex) {
        // SAFETY: by the caller, the instance exists and nobody else uses it.
        unsafe { self.inner_mut().dropped_elems[elem.index()] = true };
    }

    /// Copies `len` bytes from `start` of segment `data` to `dst` of `memory`.
    pub(crate) unsafe fn init_memory(
        self,
        store: &StoreOpaque,
        memory: NonNull<MemoryInst>,
        data: DataIndex,
        dst: u64,
        start: u32,
        len: u32,
    ) -> Result<(), Trap> {
        // SAFETY: by the caller, the instance exists, and so does the memory.
        let (inner, module, memory) = unsafe { (self.inner(), self.expect_module(), memory.as_ref()) };
        let range = &module.declared().datas[data.index()].data;
        let bytes = &module.code().rodata()[range.start as usize..range.end as usize];
        let bytes = if inner.dropped_datas[data.index()] { &[] } else { bytes };
        let from =
            super::checked_elements(bytes.len(), start.into(), len.into()).ok_or(Trap::MemoryOutOfBounds)?;
        let to = super::checked_range(memory.bytes(), dst, len.into()).ok_or(Trap::MemoryOutOfBounds)?;
        let bytes = &bytes[from];
        interrupt::in_pieces(store, bytes.len(), 1, false, |piece| {
            // SAFETY: both ranges were checked; an artifact is never in a linear memory.
            unsafe { memory.write(to.add(piece.start), &bytes[piece]) };
        })
    }

    pub(crate) unsafe fn drop_data(self, data: DataIndex) {
        // SAFETY: by the caller, the instance exists and nobody else uses it.
        unsafe { self.inner_mut().dropped_datas[data.index()] = true };
    }

    /// Applies the active segments, in their order, and drops them and the declared ones.
    ///
    /// # Errors
    /// Ends with the first segment that does not fit, or when the store's deadline has passed; what came before stays.
    ///
    /// # Safety
    /// The instance must be complete and belong to its store, and nobody else use it meanwhile.
    pub(crate) unsafe fn apply_segments(self, store: &StoreOpaque) -> Result<(), Trap> {
        // SAFETY: by the caller, for all of it.
        unsafe {
            let declared = self.expect_module().declared();
            for (index, segment) in (0..).map(ElemIndex).zip(&declared.elems) {
                match &segment.mode {
                    ElemMode::Active { table, offset } => {
                        let count = match &segment.items {
                            ElemItems::Functions(functions) => functions.len(),
                            ElemItems::Expressions(expressions) => expressions.len(),
                        };
                        let offset = self.evaluate(offset).i32 as u32;
                        self.init_table(store, self.table(*table), index, offset.into(), 0, count as u32)?;
                        self.drop_elem(index);
                    }
                    ElemMode::Declared => self.drop_elem(index),
                    ElemMode::Passive => {}
                }
            }
            for (index, segment) in (0..).map(DataIndex).zip(&declared.datas) {
                match &segment.mode {
                    module::DataMode::Active { memory, offset } => {
                        let offset = self.evaluate(offset).i32 as u32;
                        let len = segment.data.end - segment.data.start;
                        self.init_memory(store, self.memory(*memory), index, offset.into(), 0, len)?;
                        self.drop_data(index);
                    }
                    module::DataMode::InImage => self.drop_data(index),
                    module::DataMode::Passive => {}
                }
            }
        }
        Ok(())
    }
}
