//! Tables: vectors of references.

use crate::error::{OutOfMemory, try_box};
use crate::interrupt;
use crate::{RefType, Result, TableType, format_err};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ptr::NonNull;
use wasm_artifact::vmctx::VMTableDefinition;
use wasm_artifact::{Trap, types};

/// The most elements a table may have: what browsers allow as well. A table takes 8 bytes of the host's heap for each.
pub(crate) const MAX_ELEMENTS: u64 = 10_000_000;

/// How many elements a table grows by between two looks whether to go on: 256 KiB.
const GROWTH_STEP: usize = 32 << 10;

/// A table of a store, at a fixed address for as long as the store lives; its elements are not.
pub(crate) struct TableInst {
    /// What compiled code reads: in the context of the instance that defines the table, or in `_own`.
    definition: NonNull<VMTableDefinition>,
    _own: Option<Box<VMTableDefinition>>,
    elements: Vec<u64>,
    ty: types::TableType,
}

impl TableInst {
    /// Makes a table of its minimum size with all elements `init`. `definition` as for
    /// [`MemoryInst::new`](super::MemoryInst::new).
    ///
    /// # Safety
    /// `definition` must be valid, for writes too, as long as the table exists, and `init` a reference of the table's
    /// element type.
    pub(crate) unsafe fn new(
        ty: types::TableType,
        init: u64,
        definition: Option<NonNull<VMTableDefinition>>,
        proceed: &mut dyn FnMut() -> bool,
    ) -> Result<Box<Self>> {
        if ty.limits.min > MAX_ELEMENTS {
            return Err(format_err!("table minimum size of {} elements exceeds table limits", ty.limits.min));
        }
        let content = VMTableDefinition { base: NonNull::dangling().as_ptr(), current_elements: 0 };
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
        let mut table = try_box(Self { definition, _own: own, elements: Vec::new(), ty })?;
        if let Err(error) = table.grow_to(ty.limits.min, init, proceed) {
            return Err(if error.is::<Trap>() { interrupt::stopped() } else { error });
        }
        Ok(table)
    }

    pub(crate) fn definition(&self) -> NonNull<VMTableDefinition> {
        self.definition
    }

    /// The type it was made with.
    pub(crate) fn ty(&self) -> TableType {
        TableType::from_artifact(&self.ty)
    }

    /// Type of the elements.
    pub(crate) fn element(&self) -> RefType {
        RefType::from_artifact(&self.ty.element)
    }

    /// Whether the elements are handles: references to values of the host or exceptions.
    pub(crate) fn holds_handles(&self) -> bool {
        self.ty.element.heap_type.is_handle()
    }

    /// Number of elements that it can grow to, by its type.
    pub(crate) fn maximum(&self) -> Option<u64> {
        self.ty.limits.max
    }

    /// The elements: pointers to `VMFuncRef`s, or handles.
    pub(crate) fn elements(&self) -> &[u64] {
        &self.elements
    }

    /// As [`elements`](Self::elements), to be written.
    pub(crate) fn elements_mut(&mut self) -> &mut [u64] {
        &mut self.elements
    }

    /// Grows to `size` elements, not fewer than it has, and sets the new ones to `init`.
    ///
    /// # Errors
    /// Fails if that is more than its type or [`MAX_ELEMENTS`] allows, or memory runs out; with [`Trap::Interrupt`] if
    /// `proceed`, which is asked now and then, says no.
    pub(crate) fn grow_to(&mut self, size: u64, init: u64, proceed: &mut dyn FnMut() -> bool) -> Result<()> {
        if size > MAX_ELEMENTS || self.ty.limits.max.is_some_and(|max| size > max) {
            return Err(format_err!("Table maximum size exceeded"));
        }
        // At most `MAX_ELEMENTS`.
        let size = size as usize;
        let (old, mut grown) = (self.elements.len(), true);
        let additional = size - old;
        let reserved = wasm_platform::for_guest(|| self.elements.try_reserve(additional));
        reserved.map_err(|_| OutOfMemory::new(additional * size_of::<u64>()))?;
        while grown && self.elements.len() < size {
            let next = (self.elements.len() + GROWTH_STEP).min(size);
            self.elements.resize(next, init);
            grown = next == size || proceed();
        }
        if !grown {
            self.elements.truncate(old);
        }
        // SAFETY: valid as long as the table exists; compiled code of the store does not run while we do.
        unsafe {
            self.definition.write(VMTableDefinition {
                base: self.elements.as_mut_ptr().cast(),
                current_elements: self.elements.len(),
            });
        }
        if grown { Ok(()) } else { Err(Trap::Interrupt.into()) }
    }
}

/// Whether `start..start + len` is within `0..total`; if so, as a range of `usize`.
pub(crate) fn checked_elements(total: usize, start: u64, len: u64) -> Option<core::ops::Range<usize>> {
    let end = start.checked_add(len)?;
    // In bounds, so it fits `usize`.
    (end <= total as u64).then_some(start as usize..end as usize)
}
