//! Shared memories.

use crate::interrupt;
use crate::types::MemoryType;
use crate::vm::{SharedHandle, WaitResult};
use crate::{Config, Engine, Result, Trap, bail, format_err};
use core::cell::UnsafeCell;
use core::fmt;
use core::time::Duration;
use wasm_artifact::types::WASM_PAGE_SIZE;

/// A linear memory that several tasks use at once, each by instances in a store of its own.
///
/// It belongs to no store: it can be an import of instances in any store of its engine, and is freed with the last one that uses
/// it and the last of these. Cheap to clone; a clone is the same memory. [`Config::shared_memory`] must be on.
#[derive(Clone)]
pub struct SharedMemory {
    memory: SharedHandle,
    engine: Engine,
}

impl Config {
    /// Whether there can be shared memories, made by [`SharedMemory::new`] or instances whose modules define one; no by default.
    pub fn shared_memory(&mut self, enable: bool) -> &mut Self {
        self.shared_memory = enable;
        self
    }
}

/// Fails unless the engine allows shared memories.
pub(crate) fn check_enabled(engine: &Engine) -> Result<()> {
    if !engine.config().shared_memory {
        bail!("shared memory support is disabled for this engine -- see `Config::shared_memory`");
    }
    Ok(())
}

impl SharedMemory {
    /// Makes a memory of its minimum size, filled with zeros.
    ///
    /// # Errors
    /// Fails if the type is not that of a shared memory, the engine does not allow them, or memory or address space runs out.
    pub fn new(engine: &Engine, ty: MemoryType) -> Result<Self> {
        if !ty.is_shared() {
            bail!("shared memory must have the `shared` flag enabled on its memory type");
        }
        check_enabled(engine)?;
        let ty = ty.to_artifact();
        let memory = SharedHandle::new(
            ty,
            engine.config().tunables.shared_memory_plan(&ty),
            &mut interrupt::unless_killed,
        )?;
        Ok(Self::from_parts(engine, memory))
    }

    pub(crate) fn from_parts(engine: &Engine, memory: SharedHandle) -> Self {
        Self { memory, engine: engine.clone() }
    }

    pub(crate) fn handle(&self) -> &SharedHandle {
        &self.memory
    }

    /// The engine it belongs to.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The type it was made with.
    pub fn ty(&self) -> MemoryType {
        MemoryType::from_artifact(self.memory.ty())
    }

    /// Size in pages. It may be more the next moment.
    pub fn size(&self) -> u64 {
        self.memory.pages()
    }

    /// Bytes of a page: 65,536.
    pub fn page_size(&self) -> u64 {
        WASM_PAGE_SIZE
    }

    /// Size in bytes. It may be more the next moment.
    pub fn data_size(&self) -> usize {
        self.memory.byte_size()
    }

    /// The bytes that it has now. Others may change them at any time, so they are to be accessed by atomic instructions only,
    /// for example by `AtomicU8::from_ptr`. They stay accessible as long as the memory exists: it neither moves nor shrinks.
    pub fn data(&self) -> &[UnsafeCell<u8>] {
        // SAFETY: the bytes are accessible as long as `self` keeps the memory, and `UnsafeCell` allows others to change them; it
        // has the layout of what is in it.
        unsafe { &*(self.memory.bytes() as *const [UnsafeCell<u8>]) }
    }

    /// Grows the memory by `delta` pages of zeros, and returns how many there were before.
    ///
    /// # Errors
    /// Fails if that is more than its type allows, or memory runs out.
    pub fn grow(&self, delta: u64) -> Result<u64> {
        let failed = || format_err!("failed to grow memory by `{delta}`");
        loop {
            let old = self.memory.byte_size();
            let pages = old as u64 / WASM_PAGE_SIZE;
            if delta == 0 {
                return Ok(pages);
            }
            let new = delta.checked_mul(WASM_PAGE_SIZE).and_then(|bytes| bytes.checked_add(old as u64));
            let new = new.and_then(|bytes| usize::try_from(bytes).ok()).ok_or_else(failed)?;
            match self.memory.grow_from(old, new, &mut interrupt::unless_killed) {
                Ok(true) => return Ok(pages),
                // Somebody else was quicker.
                Ok(false) => {}
                Err(error) if error.is::<Trap>() => return Err(interrupt::stopped()),
                Err(_) => return Err(failed()),
            }
        }
    }

    /// Wakes those that have waited longest at the byte `addr`, at most `count` of them, and returns how many. What the
    /// instruction `memory.atomic.notify` does.
    ///
    /// # Errors
    /// Fails if `addr` is not a multiple of 4, or not in the memory.
    pub fn atomic_notify(&self, addr: u64, count: u32) -> Result<u32, Trap> {
        self.memory.atomic_notify(addr, count)
    }

    /// If the 32 bits at the byte `addr` are `expected`, waits until it is notified or `timeout` has passed; for ever if that is
    /// `None`. What the instruction `memory.atomic.wait32` does. The task is blocked meanwhile; if it is killed, it unwinds.
    ///
    /// # Errors
    /// Fails if `addr` is not a multiple of 4, or not in the memory.
    pub fn atomic_wait32(
        &self,
        addr: u64,
        expected: u32,
        timeout: Option<Duration>,
    ) -> Result<WaitResult, Trap> {
        self.memory.atomic_wait32(addr, expected, timeout)
    }

    /// As [`atomic_wait32`](Self::atomic_wait32), for 64 bits. What the instruction `memory.atomic.wait64` does.
    ///
    /// # Errors
    /// Fails if `addr` is not a multiple of 8, or not in the memory.
    pub fn atomic_wait64(
        &self,
        addr: u64,
        expected: u64,
        timeout: Option<Duration>,
    ) -> Result<WaitResult, Trap> {
        self.memory.atomic_wait64(addr, expected, timeout)
    }
}

impl fmt::Debug for SharedMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedMemory").finish_non_exhaustive()
    }
}
