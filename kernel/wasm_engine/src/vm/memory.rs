//! Linear memories: reserved once, committed as they grow, never moved.

use super::racy;
use super::shared::{SharedHandle, WaitResult, checked_atomic_address};
use crate::error::try_box;
use crate::interrupt;
use crate::{MemoryType, Result, format_err};
use alloc::boxed::Box;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::time::Duration;
use wasm_artifact::types::WASM_PAGE_SIZE;
use wasm_artifact::vmctx::VMMemoryDefinition;
use wasm_artifact::{MemoryPlan, Trap, types};
use wasm_platform::Reservation;

/// A linear memory of a store, at a fixed address for as long as the store lives: its own, or its use of a shared one.
pub(crate) struct MemoryInst {
    /// What compiled code reads: in the context of the instance that defines the memory, or in `space`.
    definition: NonNull<VMMemoryDefinition>,
    space: Space,
    ty: types::MemoryType,
}

enum Space {
    Own { space: Reservation, plan: MemoryPlan, _definition: Option<Box<VMMemoryDefinition>> },
    Shared(SharedHandle),
}

/// Reserves address space for a memory of this type and commits its minimum size, which is returned in bytes. Gives up if `proceed`,
/// which is asked every few milliseconds, says no.
pub(super) fn make_space(
    ty: &types::MemoryType,
    plan: &MemoryPlan,
    proceed: &mut dyn FnMut() -> bool,
) -> Result<(Reservation, usize)> {
    let too_large = || format_err!("memory minimum size of {} pages exceeds memory limits", ty.limits.min);
    let space = plan.reservation.checked_add(plan.guard).and_then(|bytes| usize::try_from(bytes).ok());
    let minimum = usize::try_from(ty.min_bytes()).map_err(|_| too_large())?;
    if ty.min_bytes() > plan.reservation {
        return Err(too_large());
    }
    let mut space = Reservation::new(space.ok_or_else(too_large)?)?;
    if !space.commit_in_steps(0, minimum, proceed)? {
        return Err(interrupt::stopped());
    }
    Ok((space, minimum))
}

impl MemoryInst {
    /// Makes a memory of its minimum size, which is not shared. `definition` is where compiled code expects to find it; if
    /// `None`, the memory brings its own. `proceed` is asked now and then; if it says no, that is an error.
    ///
    /// # Safety
    /// `definition` must be valid, for writes too, as long as the memory exists.
    pub(crate) unsafe fn new(
        ty: types::MemoryType,
        plan: MemoryPlan,
        definition: Option<NonNull<VMMemoryDefinition>>,
        proceed: &mut dyn FnMut() -> bool,
    ) -> Result<Box<Self>> {
        debug_assert!(!ty.shared);
        let (space, minimum) = make_space(&ty, &plan, proceed)?;
        let content = VMMemoryDefinition { base: space.as_ptr(), current_length: AtomicUsize::new(minimum) };
        let (definition, own) = match definition {
            Some(definition) => {
                // SAFETY: by the caller.
                unsafe { definition.write(content) };
                (definition, None)
            }
            None => {
                let mut own = try_box(content)?;
                (NonNull::from(&mut *own), Some(own))
            }
        };
        Ok(try_box(Self { definition, space: Space::Own { space, plan, _definition: own }, ty })?)
    }

    /// A store's use of a shared memory.
    pub(crate) fn of_shared(shared: SharedHandle) -> Result<Box<Self>> {
        let (definition, ty) = (shared.definition(), *shared.ty());
        Ok(try_box(Self { definition, space: Space::Shared(shared), ty })?)
    }

    /// The shared memory that it is.
    pub(crate) fn as_shared(&self) -> Option<&SharedHandle> {
        match &self.space {
            Space::Own { .. } => None,
            Space::Shared(shared) => Some(shared),
        }
    }

    pub(crate) fn definition(&self) -> NonNull<VMMemoryDefinition> {
        self.definition
    }

    /// Address of the first byte.
    pub(crate) fn base(&self) -> *mut u8 {
        // SAFETY: valid as long as the memory exists; the address never changes.
        unsafe { (*self.definition.as_ptr()).base }
    }

    /// Number of accessible bytes.
    pub(crate) fn byte_size(&self) -> usize {
        // SAFETY: valid as long as the memory exists.
        unsafe { (*self.definition.as_ptr()).current_length.load(Ordering::SeqCst) }
    }

    /// Number of pages.
    pub(crate) fn pages(&self) -> u64 {
        self.byte_size() as u64 / WASM_PAGE_SIZE
    }

    /// The type it was made with.
    pub(crate) fn ty(&self) -> MemoryType {
        MemoryType::from_artifact(&self.ty)
    }

    /// Bytes that it can grow to, by its type.
    pub(crate) fn maximum_bytes(&self) -> Option<usize> {
        self.ty.limits.max.map(|_| usize::try_from(self.ty.max_bytes()).unwrap_or(usize::MAX))
    }

    /// The address space of the memory, of where it could grow to, and of its guard: first address and the one behind the last.
    pub(crate) fn reserved(&self) -> (usize, usize) {
        let start = self.base() as usize;
        let len = match &self.space {
            Space::Own { space, .. } => space.len(),
            Space::Shared(shared) => shared.reserved(),
        };
        (start, start + len)
    }

    /// Grows from `old` to `new` bytes, a multiple of the page size not below. Returns whether it did: not if it is shared and
    /// has another size than `old` by now.
    ///
    /// # Errors
    /// Fails if that is more than the type or the reservation allow, or memory runs out; with [`Trap::Interrupt`] if
    /// `proceed`, which is asked every few milliseconds, says no.
    pub(crate) fn grow_from(
        &mut self,
        old: usize,
        new: usize,
        proceed: &mut dyn FnMut() -> bool,
    ) -> Result<bool> {
        let (space, plan) = match &mut self.space {
            Space::Own { space, plan, .. } => (space, plan),
            Space::Shared(shared) => return shared.grow_from(old, new, proceed),
        };
        if new as u64 > self.ty.max_bytes() || new as u64 > plan.reservation {
            return Err(format_err!("Memory maximum size exceeded"));
        }
        if !space.commit_in_steps(old, new - old, proceed)? {
            return Err(Trap::Interrupt.into());
        }
        // SAFETY: valid as long as the memory exists.
        unsafe { (*self.definition.as_ptr()).current_length.store(new, Ordering::Relaxed) };
        Ok(true)
    }

    /// The accessible bytes, to be read and written by raw pointer; if the memory is shared, only in ways that may race.
    pub(crate) fn bytes(&self) -> *mut [u8] {
        core::ptr::slice_from_raw_parts_mut(self.base(), self.byte_size())
    }

    /// Copies `len` bytes from `src` to `dst`, as if by way of a buffer.
    ///
    /// # Safety
    /// `dst` must be of this memory and in bounds, as must `src` be of `from`; nobody else may use them, except if the memories
    /// are shared.
    pub(crate) unsafe fn copy_from(&self, dst: *mut u8, from: &MemoryInst, src: *const u8, len: usize) {
        // SAFETY: by the caller.
        unsafe {
            match (&self.space, &from.space) {
                (Space::Own { .. }, Space::Own { .. }) => src.copy_to(dst, len),
                _ => racy::copy(src, dst, len),
            }
        }
    }

    /// Sets `len` bytes at `dst` to `value`.
    ///
    /// # Safety
    /// `dst` must be of this memory and in bounds; nobody else may use it, except if the memory is shared.
    pub(crate) unsafe fn fill(&self, dst: *mut u8, value: u8, len: usize) {
        // SAFETY: by the caller.
        unsafe {
            match &self.space {
                Space::Own { .. } => dst.write_bytes(value, len),
                Space::Shared(_) => racy::fill(dst, value, len),
            }
        }
    }

    /// Copies `bytes`, which are in no linear memory, to `dst`.
    ///
    /// # Safety
    /// As for [`fill`](Self::fill).
    pub(crate) unsafe fn write(&self, dst: *mut u8, bytes: &[u8]) {
        // SAFETY: by the caller.
        unsafe {
            match &self.space {
                Space::Own { .. } => dst.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()),
                Space::Shared(_) => racy::copy(bytes.as_ptr(), dst, bytes.len()),
            }
        }
    }

    /// See [`SharedMemory::atomic_notify`](crate::SharedMemory::atomic_notify). Nobody waits in a memory that is not shared.
    pub(crate) fn atomic_notify(&self, addr: u64, count: u32) -> Result<u32, Trap> {
        match &self.space {
            Space::Own { .. } => checked_atomic_address(self.bytes(), addr, 4).map(|_| 0),
            Space::Shared(shared) => shared.atomic_notify(addr, count),
        }
    }

    /// See [`SharedMemory::atomic_wait32`](crate::SharedMemory::atomic_wait32).
    pub(crate) fn atomic_wait32(
        &self,
        addr: u64,
        expected: u32,
        timeout: Option<Duration>,
    ) -> Result<WaitResult, Trap> {
        match &self.space {
            Space::Own { .. } => {
                checked_atomic_address(self.bytes(), addr, 4)?;
                Err(Trap::AtomicWaitNonSharedMemory)
            }
            Space::Shared(shared) => shared.atomic_wait32(addr, expected, timeout),
        }
    }

    /// See [`SharedMemory::atomic_wait64`](crate::SharedMemory::atomic_wait64).
    pub(crate) fn atomic_wait64(
        &self,
        addr: u64,
        expected: u64,
        timeout: Option<Duration>,
    ) -> Result<WaitResult, Trap> {
        match &self.space {
            Space::Own { .. } => {
                checked_atomic_address(self.bytes(), addr, 8)?;
                Err(Trap::AtomicWaitNonSharedMemory)
            }
            Space::Shared(shared) => shared.atomic_wait64(addr, expected, timeout),
        }
    }
}

/// The part of `memory` from `start` with `len` bytes, if it is in bounds.
pub(crate) fn checked_range(memory: *mut [u8], start: u64, len: u64) -> Option<*mut u8> {
    let end = start.checked_add(len)?;
    // In bounds, so it fits `usize`.
    (end <= memory.len() as u64).then(|| memory.cast::<u8>().wrapping_add(start as usize))
}
