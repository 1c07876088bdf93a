//! Shared memories: linear memories that several tasks use at once, each by instances of its own store.
//!
//! They belong to no store. Whoever uses one has a [`SharedHandle`]; the last one frees it.

use super::memory::{checked_range, make_space};
use crate::error::try_box;
use crate::{OutOfMemory, Result, format_err};
use alloc::boxed::Box;
use core::ops::Deref;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};
use core::time::Duration;
use wasm_artifact::types::WASM_PAGE_SIZE;
use wasm_artifact::vmctx::VMMemoryDefinition;
use wasm_artifact::{MemoryPlan, Trap, types};
use wasm_platform::{Mutex, Reservation, WaitList, Waited};

/// How a wait ended, with the numbers that wasm sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitResult {
    /// The bits at the address were the expected ones, and it was notified.
    Ok = 0,
    /// The bits at the address were not the expected ones, so it did not wait.
    Mismatch = 1,
    /// The bits at the address were the expected ones, and it was not notified before the time was over.
    TimedOut = 2,
}

/// A shared memory.
pub(crate) struct SharedInst {
    /// What compiled code reads, of whatever instance. The length is changed with `space` locked.
    definition: VMMemoryDefinition,
    ty: types::MemoryType,
    plan: MemoryPlan,
    /// Bytes of address space, guard included.
    reserved: usize,
    space: Mutex<Reservation>,
    /// At the addresses of bytes.
    waiters: WaitList,
}

// SAFETY: the pointer in the definition is to memory that belongs to no task, and is used only for atomic accesses and such that are
// made to race (`racy`, compiled code).
unsafe impl Send for SharedInst {}
// SAFETY: as above; all that changes is atomic or locked.
unsafe impl Sync for SharedInst {}

impl SharedInst {
    /// What compiled code is to find.
    pub(crate) fn definition(&self) -> NonNull<VMMemoryDefinition> {
        NonNull::from(&self.definition)
    }

    /// The type it was made with.
    pub(crate) fn ty(&self) -> &types::MemoryType {
        &self.ty
    }

    /// Address of the first byte.
    pub(crate) fn base(&self) -> *mut u8 {
        self.definition.base
    }

    /// Bytes of address space, guard included.
    pub(crate) fn reserved(&self) -> usize {
        self.reserved
    }

    /// Number of accessible bytes. It may be more the next moment, and is never less.
    pub(crate) fn byte_size(&self) -> usize {
        self.definition.current_length.load(Ordering::SeqCst)
    }

    /// Number of pages.
    pub(crate) fn pages(&self) -> u64 {
        self.byte_size() as u64 / WASM_PAGE_SIZE
    }

    /// The accessible bytes.
    pub(crate) fn bytes(&self) -> *mut [u8] {
        core::ptr::slice_from_raw_parts_mut(self.base(), self.byte_size())
    }

    /// Grows from `old` to `new` bytes, a multiple of the page size not below. Returns whether it did: not if it has another size
    /// than `old` by now.
    ///
    /// # Errors
    /// Fails if that is more than the type or the reservation allow, or memory runs out; with [`Trap::Interrupt`] if
    /// `proceed`, which is asked every few milliseconds, says no.
    pub(crate) fn grow_from(
        &self,
        old: usize,
        new: usize,
        proceed: &mut dyn FnMut() -> bool,
    ) -> Result<bool> {
        let mut space = self.space.lock();
        if self.byte_size() != old {
            return Ok(false);
        }
        if new as u64 > self.ty.max_bytes() || new as u64 > self.plan.reservation {
            return Err(format_err!("Memory maximum size exceeded"));
        }
        if !space.commit_in_steps(old, new - old, proceed)? {
            return Err(Trap::Interrupt.into());
        }
        // After the pages are there: who sees the length may access them.
        self.definition.current_length.store(new, Ordering::SeqCst);
        Ok(true)
    }

    /// The address of `size` bytes, a power of two, at the offset `addr`, which must be a multiple of it.
    fn atomic_address(&self, addr: u64, size: u64) -> Result<*mut u8, Trap> {
        checked_atomic_address(self.bytes(), addr, size)
    }

    /// Wakes at most `count` of those who wait at `addr`, and returns how many.
    pub(crate) fn atomic_notify(&self, addr: u64, count: u32) -> Result<u32, Trap> {
        Ok(self.waiters.notify(self.atomic_address(addr, 4)? as usize, count))
    }

    /// Waits at `addr` if the 32 bits there are `expected`.
    pub(crate) fn atomic_wait32(
        &self,
        addr: u64,
        expected: u32,
        timeout: Option<Duration>,
    ) -> Result<WaitResult, Trap> {
        let address = self.atomic_address(addr, 4)?;
        // SAFETY: in bounds and aligned; the memory lives as long as we do, and never shrinks.
        let value = unsafe { AtomicU32::from_ptr(address.cast()) };
        Ok(self.wait(address, timeout, || value.load(Ordering::SeqCst) == expected.to_le()))
    }

    /// Waits at `addr` if the 64 bits there are `expected`.
    pub(crate) fn atomic_wait64(
        &self,
        addr: u64,
        expected: u64,
        timeout: Option<Duration>,
    ) -> Result<WaitResult, Trap> {
        let address = self.atomic_address(addr, 8)?;
        // SAFETY: as for 32 bits.
        let value = unsafe { AtomicU64::from_ptr(address.cast()) };
        Ok(self.wait(address, timeout, || value.load(Ordering::SeqCst) == expected.to_le()))
    }

    fn wait(
        &self,
        address: *mut u8,
        timeout: Option<Duration>,
        as_expected: impl Fn() -> bool,
    ) -> WaitResult {
        match self.waiters.wait(address as usize, timeout, as_expected) {
            Waited::NotNeeded => WaitResult::Mismatch,
            Waited::Notified => WaitResult::Ok,
            Waited::TimedOut => WaitResult::TimedOut,
        }
    }
}

/// The address of `size` bytes (a power of two) of `memory` at the offset `addr`, which must be a multiple of it. Memories are
/// aligned to pages.
pub(super) fn checked_atomic_address(memory: *mut [u8], addr: u64, size: u64) -> Result<*mut u8, Trap> {
    if !addr.is_multiple_of(size) {
        return Err(Trap::HeapMisaligned);
    }
    checked_range(memory, addr, size).ok_or(Trap::MemoryOutOfBounds)
}

struct Counted {
    users: AtomicUsize,
    memory: SharedInst,
}

/// A user of a shared memory: what `Arc` is, made without a panic when there is no memory.
pub(crate) struct SharedHandle(NonNull<Counted>);

// SAFETY: what it leads to is `Send` and `Sync`, and the count is atomic.
unsafe impl Send for SharedHandle {}
// SAFETY: as above.
unsafe impl Sync for SharedHandle {}

impl SharedHandle {
    /// Makes a shared memory of its minimum size, filled with zeros.
    ///
    /// # Errors
    /// Fails if memory or address space runs out, or `proceed`, which is asked every few milliseconds, says no.
    pub(crate) fn new(
        ty: types::MemoryType,
        plan: MemoryPlan,
        proceed: &mut dyn FnMut() -> bool,
    ) -> Result<Self> {
        let (space, minimum) = make_space(&ty, &plan, proceed)?;
        let definition =
            VMMemoryDefinition { base: space.as_ptr(), current_length: AtomicUsize::new(minimum) };
        let reserved = space.len();
        let memory = SharedInst {
            definition,
            ty,
            plan,
            reserved,
            space: Mutex::new(space),
            waiters: WaitList::default(),
        };
        let counted: Result<_, OutOfMemory> = try_box(Counted { users: AtomicUsize::new(1), memory });
        Ok(Self(NonNull::from(Box::leak(counted?))))
    }

    /// Whether both are of one memory.
    pub(crate) fn same(a: &Self, b: &Self) -> bool {
        a.0 == b.0
    }
}

impl Clone for SharedHandle {
    fn clone(&self) -> Self {
        // SAFETY: it exists as long as a handle does. The count cannot overflow: each handle takes memory.
        unsafe { self.0.as_ref() }.users.fetch_add(1, Ordering::Relaxed);
        Self(self.0)
    }
}

impl Deref for SharedHandle {
    type Target = SharedInst;

    fn deref(&self) -> &SharedInst {
        // SAFETY: it exists as long as a handle does.
        unsafe { &self.0.as_ref().memory }
    }
}

impl Drop for SharedHandle {
    fn drop(&mut self) {
        // SAFETY: it exists until the last handle, which finds a count of 1, frees it; it came from a box.
        unsafe {
            if self.0.as_ref().users.fetch_sub(1, Ordering::Release) == 1 {
                // What other users did happened before.
                fence(Ordering::Acquire);
                drop(Box::from_raw(self.0.as_ptr()));
            }
        }
    }
}
