//! Linear memories: reserved once, committed as they grow, never moved.

use crate::error::try_box;
use crate::{MemoryType, Result, format_err};
use alloc::boxed::Box;
use core::ptr::NonNull;
use wasm_artifact::types::WASM_PAGE_SIZE;
use wasm_artifact::vmctx::VMMemoryDefinition;
use wasm_artifact::{MemoryPlan, types};
use wasm_platform::Reservation;

/// A linear memory of a store, at a fixed address for as long as the store lives.
pub(crate) struct MemoryInst {
    /// What compiled code reads: in the context of the instance that defines the memory, or in `_own`.
    definition: NonNull<VMMemoryDefinition>,
    _own: Option<Box<VMMemoryDefinition>>,
    space: Reservation,
    plan: MemoryPlan,
    ty: types::MemoryType,
}

impl MemoryInst {
    /// Makes a memory of its minimum size. `definition` is where compiled code expects to find it; if `None`, the memory
    /// brings its own.
    ///
    /// # Safety
    /// `definition` must be valid, for writes too, as long as the memory exists.
    pub(crate) unsafe fn new(
        ty: types::MemoryType,
        plan: MemoryPlan,
        definition: Option<NonNull<VMMemoryDefinition>>,
    ) -> Result<Box<Self>> {
        let too_large =
            || format_err!("memory minimum size of {} pages exceeds memory limits", ty.limits.min);
        let space = plan.reservation.checked_add(plan.guard).and_then(|bytes| usize::try_from(bytes).ok());
        let minimum = usize::try_from(ty.min_bytes()).map_err(|_| too_large())?;
        if ty.min_bytes() > plan.reservation {
            return Err(too_large());
        }
        let mut space = Reservation::new(space.ok_or_else(too_large)?)?;
        space.commit(0, minimum)?;
        let content = VMMemoryDefinition { base: space.as_ptr(), current_length: minimum };
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
        Ok(try_box(Self { definition, _own: own, space, plan, ty })?)
    }

    pub(crate) fn definition(&self) -> NonNull<VMMemoryDefinition> {
        self.definition
    }

    /// Address of the first byte.
    pub(crate) fn base(&self) -> *mut u8 {
        self.space.as_ptr()
    }

    /// Number of accessible bytes.
    pub(crate) fn byte_size(&self) -> usize {
        // SAFETY: valid as long as the memory exists, and changed only through `&mut self`.
        unsafe { (*self.definition.as_ptr()).current_length }
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

    /// Whether `address` is in the memory or where it could grow to, or in its guard.
    pub(crate) fn covers(&self, address: usize) -> bool {
        let start = self.base() as usize;
        address >= start && address - start < self.space.len()
    }

    /// Grows to `bytes`, a multiple of the page size not below the current size.
    ///
    /// # Errors
    /// Fails if that is more than the type or the reservation allow, or memory runs out.
    pub(crate) fn grow_to(&mut self, bytes: usize) -> Result<()> {
        let old = self.byte_size();
        if bytes as u64 > self.ty.max_bytes() || bytes as u64 > self.plan.reservation {
            return Err(format_err!("Memory maximum size exceeded"));
        }
        self.space.commit(old, bytes - old)?;
        // SAFETY: valid as long as the memory exists; compiled code of the store does not run while we do.
        unsafe { (*self.definition.as_ptr()).current_length = bytes };
        Ok(())
    }

    /// The accessible bytes, to be read and written by raw pointer.
    pub(crate) fn bytes(&self) -> *mut [u8] {
        core::ptr::slice_from_raw_parts_mut(self.base(), self.byte_size())
    }
}

/// The part of `memory` from `start` with `len` bytes, if it is in bounds.
pub(crate) fn checked_range(memory: *mut [u8], start: u64, len: u64) -> Option<*mut u8> {
    let end = start.checked_add(len)?;
    // In bounds, so it fits `usize`.
    (end <= memory.len() as u64).then(|| memory.cast::<u8>().wrapping_add(start as usize))
}
