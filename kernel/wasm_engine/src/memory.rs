//! Linear memories.

use crate::interrupt;
use crate::store::{StoreId, StoreOpaque};
use crate::vm::{MemoryInst, checked_range};
use crate::{AsContext, AsContextMut, MemoryType, Result, StoreContext, StoreContextMut, bail, format_err};
use core::fmt;
use core::ptr::NonNull;

/// A linear memory: bytes that wasm reads and writes.
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    store: StoreId,
    memory: NonNull<MemoryInst>,
}

// SAFETY: the pointer is used only together with the store that owns what it leads to.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

/// A range of bytes that is not in a memory was to be read or written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryAccessError {
    _private: (),
}

impl fmt::Display for MemoryAccessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("out of bounds memory access")
    }
}

impl core::error::Error for MemoryAccessError {}

impl Memory {
    /// Makes a memory of its minimum size, filled with zeros.
    ///
    /// # Errors
    /// Fails if memory or address space runs out, the store's limiter refuses, or the type is that of a shared memory.
    pub fn new(mut store: impl AsContextMut, ty: MemoryType) -> Result<Memory> {
        let store = store.as_context_mut().0.opaque_mut();
        let ty = ty.to_artifact();
        if ty.shared {
            bail!("a shared memory belongs to no store; make it with `SharedMemory::new`");
        }
        let bytes = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        store.allow_memory(bytes(ty.min_bytes()), ty.limits.max.map(|_| bytes(ty.max_bytes())))?;
        let plan = store.engine().config().tunables.shared_memory_plan(&ty);
        // SAFETY: it brings its own definition.
        let memory = unsafe { MemoryInst::new(ty, plan, None, &mut interrupt::unless_killed)? };
        let memory = store.add_memory(memory)?;
        Ok(Self::from_parts(store, memory))
    }

    pub(crate) fn from_parts(store: &StoreOpaque, memory: NonNull<MemoryInst>) -> Self {
        Self { store: store.id(), memory }
    }

    pub(crate) fn is_of(&self, store: &StoreOpaque) -> bool {
        store.owns(self.store)
    }

    /// The runtime's memory, whose address is also what imports need.
    pub(crate) fn address(&self, store: &StoreOpaque) -> NonNull<MemoryInst> {
        store.assert_owns(self.store);
        self.memory
    }

    fn inst<'a>(&self, store: &'a StoreOpaque) -> &'a MemoryInst {
        // SAFETY: the store owns it and frees it with itself.
        unsafe { self.address(store).as_ref() }
    }

    /// The type it was made with.
    ///
    /// # Panics
    /// If it belongs to another store.
    pub fn ty(&self, store: impl AsContext) -> MemoryType {
        self.ty_in(store.as_context().0.opaque())
    }

    pub(crate) fn ty_in(&self, store: &StoreOpaque) -> MemoryType {
        self.inst(store).ty()
    }

    /// Copies bytes from `offset` into `buffer`, which says how many.
    ///
    /// # Errors
    /// Fails if they are not all in the memory.
    ///
    /// # Panics
    /// If it belongs to another store.
    pub fn read(
        &self,
        store: impl AsContext,
        offset: usize,
        buffer: &mut [u8],
    ) -> Result<(), MemoryAccessError> {
        let store = store.as_context();
        let bytes = self.inst(store.0.opaque()).bytes();
        let from = checked_range(bytes, offset as u64, buffer.len() as u64);
        let from = from.ok_or(MemoryAccessError { _private: () })?;
        // SAFETY: the range was checked; compiled code of the store does not run while it is borrowed, and the buffer
        // is the host's.
        unsafe { from.copy_to_nonoverlapping(buffer.as_mut_ptr(), buffer.len()) };
        Ok(())
    }

    /// Copies the bytes of `buffer` to `offset`.
    ///
    /// # Errors
    /// Fails if they would not all be in the memory.
    ///
    /// # Panics
    /// If it belongs to another store.
    pub fn write(
        &self,
        mut store: impl AsContextMut,
        offset: usize,
        buffer: &[u8],
    ) -> Result<(), MemoryAccessError> {
        let store = store.as_context_mut();
        let bytes = self.inst(store.0.opaque()).bytes();
        let to = checked_range(bytes, offset as u64, buffer.len() as u64);
        let to = to.ok_or(MemoryAccessError { _private: () })?;
        // SAFETY: as for `read`; the store is borrowed exclusively.
        unsafe { to.copy_from_nonoverlapping(buffer.as_ptr(), buffer.len()) };
        Ok(())
    }

    /// All bytes.
    ///
    /// # Panics
    /// If it belongs to another store.
    pub fn data<'a, T: 'static>(&self, store: impl Into<StoreContext<'a, T>>) -> &'a [u8] {
        // SAFETY: the bytes are accessible as long as the store exists, and do not change while it is borrowed.
        unsafe { &*self.inst(store.into().0.opaque()).bytes() }
    }

    /// All bytes, to be changed.
    ///
    /// # Panics
    /// If it belongs to another store.
    pub fn data_mut<'a, T: 'static>(&self, store: impl Into<StoreContextMut<'a, T>>) -> &'a mut [u8] {
        // SAFETY: the bytes are accessible as long as the store exists, and nobody else uses it while it is borrowed.
        unsafe { &mut *self.inst(store.into().0.opaque()).bytes() }
    }

    /// All bytes, to be changed, and the store's data.
    ///
    /// # Panics
    /// If it belongs to another store.
    pub fn data_and_store_mut<'a, T: 'static>(
        &self,
        store: impl Into<StoreContextMut<'a, T>>,
    ) -> (&'a mut [u8], &'a mut T) {
        let store = store.into();
        // SAFETY: as for `data_mut`; the store's data is not in the memory.
        unsafe { (&mut *self.inst(store.0.opaque()).bytes(), store.0.data_mut()) }
    }

    /// Address of the first byte. The memory never moves.
    ///
    /// # Panics
    /// If it belongs to another store.
    pub fn data_ptr(&self, store: impl AsContext) -> *mut u8 {
        self.inst(store.as_context().0.opaque()).base()
    }

    /// Size in bytes.
    ///
    /// # Panics
    /// If it belongs to another store.
    pub fn data_size(&self, store: impl AsContext) -> usize {
        self.inst(store.as_context().0.opaque()).byte_size()
    }

    /// Size in pages.
    ///
    /// # Panics
    /// If it belongs to another store.
    pub fn size(&self, store: impl AsContext) -> u64 {
        self.inst(store.as_context().0.opaque()).pages()
    }

    /// Bytes of a page.
    ///
    /// # Panics
    /// If it belongs to another store.
    pub fn page_size(&self, store: impl AsContext) -> u64 {
        self.ty(store).page_size()
    }

    /// Binary logarithm of the [`page_size`](Self::page_size).
    ///
    /// # Panics
    /// If it belongs to another store.
    pub fn page_size_log2(&self, store: impl AsContext) -> u8 {
        self.ty(store).page_size_log2()
    }

    /// Grows the memory by `delta` pages of zeros, and returns how many there were before.
    ///
    /// # Errors
    /// Fails if that is more than its type allows, memory runs out, or the store's limiter refuses; with
    /// [`Trap::Interrupt`](crate::Trap::Interrupt) if the store's [deadline](crate::Store::set_deadline) has passed.
    ///
    /// # Panics
    /// If it belongs to another store.
    pub fn grow(&self, mut store: impl AsContextMut, delta: u64) -> Result<u64> {
        let store = store.as_context_mut().0.opaque_mut();
        let memory = self.address(store);
        // SAFETY: it is of this store.
        let old = unsafe { store.grow_memory(memory, delta)? };
        old.ok_or_else(|| format_err!("failed to grow memory by `{delta}`"))
    }
}
