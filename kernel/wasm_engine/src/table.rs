//! Tables.

use crate::interrupt;
use crate::store::{StoreId, StoreOpaque};
use crate::vm::{TableInst, checked_elements};
use crate::{AsContext, AsContextMut, Ref, Result, TableType, bail, error::Context, format_err};
use core::ptr::NonNull;
use wasm_artifact::Trap;

/// A table: references that wasm finds by their number.
#[derive(Debug, Clone, Copy)]
pub struct Table {
    store: StoreId,
    table: NonNull<TableInst>,
}

// SAFETY: the pointer is used only together with the store that owns what it leads to.
unsafe impl Send for Table {}
// SAFETY: as above.
unsafe impl Sync for Table {}

/// Copies `len` elements from `src` of one table to `dst` of another, which may be the same.
///
/// # Safety
/// Both must be of one store that is in use by the current task, with elements that may be mixed.
pub(crate) unsafe fn copy(
    store: &StoreOpaque,
    mut dst_table: NonNull<TableInst>,
    dst: u64,
    src_table: NonNull<TableInst>,
    src: u64,
    len: u64,
) -> Result<(), Trap> {
    // SAFETY: tables live as long as their store; only one reference to a table exists at any time.
    unsafe {
        let from =
            checked_elements(src_table.as_ref().elements().len(), src, len).ok_or(Trap::TableOutOfBounds)?;
        let to =
            checked_elements(dst_table.as_ref().elements().len(), dst, len).ok_or(Trap::TableOutOfBounds)?;
        // Within one table what is read must not have been written before.
        let backwards = dst_table == src_table && to.start > from.start;
        interrupt::in_pieces(store, to.len(), size_of::<u64>(), backwards, |piece| {
            let (start, at) = (from.start + piece.start, to.start + piece.start);
            if dst_table == src_table {
                dst_table.as_mut().elements_mut().copy_within(start..start + piece.len(), at);
            } else {
                let source = &src_table.as_ref().elements()[start..start + piece.len()];
                dst_table.as_mut().elements_mut()[at..at + piece.len()].copy_from_slice(source);
            }
        })?;
    }
    Ok(())
}

impl Table {
    /// Makes a table of its minimum size, with all elements `init`.
    ///
    /// # Errors
    /// Fails if `init` is not of the element type, memory runs out, or the store's limiter refuses.
    pub fn new(mut store: impl AsContextMut, ty: TableType, init: Ref) -> Result<Table> {
        let store = store.as_context_mut().0.opaque_mut();
        let elements = |elements: u64| usize::try_from(elements).unwrap_or(usize::MAX);
        store.allow_table(elements(ty.minimum()), ty.maximum().map(elements))?;
        let init = init.to_element(store, ty.element()).context("invalid initial value for a table")?;
        // SAFETY: it brings its own definition; the value was checked.
        let table = unsafe { TableInst::new(ty.to_artifact(), init, None, &mut interrupt::unless_killed)? };
        let table = store.add_table(table)?;
        Ok(Self::from_parts(store, table))
    }

    pub(crate) fn from_parts(store: &StoreOpaque, table: NonNull<TableInst>) -> Self {
        Self { store: store.id(), table }
    }

    pub(crate) fn is_of(&self, store: &StoreOpaque) -> bool {
        store.owns(self.store)
    }

    /// The runtime's table, whose address is also what imports need.
    pub(crate) fn address(&self, store: &StoreOpaque) -> NonNull<TableInst> {
        store.assert_owns(self.store);
        self.table
    }

    fn inst<'a>(&self, store: &'a StoreOpaque) -> &'a TableInst {
        // SAFETY: the store owns it and frees it with itself.
        unsafe { self.address(store).as_ref() }
    }

    fn inst_mut<'a>(&self, store: &'a mut StoreOpaque) -> &'a mut TableInst {
        // SAFETY: as for `inst`; the store is borrowed exclusively.
        unsafe { self.address(store).as_mut() }
    }

    /// The type it was made with.
    ///
    /// # Panics
    /// If it belongs to another store.
    pub fn ty(&self, store: impl AsContext) -> TableType {
        self.ty_in(store.as_context().0.opaque())
    }

    pub(crate) fn ty_in(&self, store: &StoreOpaque) -> TableType {
        self.inst(store).ty()
    }

    /// The element `index`; `None` if there is none.
    ///
    /// # Panics
    /// If it belongs to another store, or there is no memory for a reference.
    pub fn get(&self, mut store: impl AsContextMut, index: u64) -> Option<Ref> {
        let store = store.as_context_mut().0.opaque_mut();
        let element = *self.inst(store).elements().get(usize::try_from(index).ok()?)?;
        let ty = self.inst(store).element();
        // SAFETY: it is an element of a table of this type.
        Some(unsafe { Ref::from_element(store, element, &ty) }.expect("no memory for a reference"))
    }

    /// Sets the element `index`.
    ///
    /// # Errors
    /// Fails if there is none, or `val` is not of the element type.
    ///
    /// # Panics
    /// If it or `val` belongs to another store.
    pub fn set(&self, mut store: impl AsContextMut, index: u64, val: Ref) -> Result<()> {
        let store = store.as_context_mut().0.opaque_mut();
        let ty = self.inst(store).element();
        let val = val.to_element(store, &ty).context("value does not match table element type")?;
        let elements = self.inst_mut(store).elements_mut();
        let Some(element) = usize::try_from(index).ok().and_then(|index| elements.get_mut(index)) else {
            bail!("table element index out of bounds");
        };
        *element = val;
        Ok(())
    }

    /// Number of elements.
    ///
    /// # Panics
    /// If it belongs to another store.
    pub fn size(&self, store: impl AsContext) -> u64 {
        self.inst(store.as_context().0.opaque()).elements().len() as u64
    }

    /// Grows the table by `delta` elements `init`, and returns how many there were before.
    ///
    /// # Errors
    /// Fails if that is more than its type allows, `init` is not of the element type, memory runs out, or the store's limiter
    /// refuses.
    ///
    /// # Panics
    /// If it or `init` belongs to another store.
    pub fn grow(&self, mut store: impl AsContextMut, delta: u64, init: Ref) -> Result<u64> {
        let store = store.as_context_mut().0.opaque_mut();
        let ty = self.inst(store).element();
        let init = init.to_element(store, &ty).context("value does not match table element type")?;
        let table = self.address(store);
        // SAFETY: table and value are of this store, and the value was checked.
        let old = unsafe { store.grow_table(table, delta, init)? };
        old.ok_or_else(|| format_err!("failed to grow table by `{delta}`"))
    }

    /// Sets `len` elements from `dst` on.
    ///
    /// # Errors
    /// Fails if they are not all in the table, or `val` is not of the element type.
    ///
    /// # Panics
    /// If it or `val` belongs to another store.
    pub fn fill(&self, mut store: impl AsContextMut, dst: u64, val: Ref, len: u64) -> Result<()> {
        let store = store.as_context_mut().0.opaque_mut();
        let ty = self.inst(store).element();
        let val = val.to_element(store, &ty).context("value does not match table element type")?;
        let elements = self.inst_mut(store).elements_mut();
        let range = checked_elements(elements.len(), dst, len).ok_or(Trap::TableOutOfBounds)?;
        elements[range].fill(val);
        Ok(())
    }

    /// Copies `len` elements from `src_index` of one table to `dst_index` of another, which may be the same.
    ///
    /// # Errors
    /// Fails if they are not all in the tables, or the tables' element types differ.
    ///
    /// # Panics
    /// If one of them belongs to another store.
    pub fn copy(
        mut store: impl AsContextMut,
        dst_table: &Table,
        dst_index: u64,
        src_table: &Table,
        src_index: u64,
        len: u64,
    ) -> Result<()> {
        let store = store.as_context_mut().0.opaque_mut();
        let (dst, src) = (dst_table.inst(store).element(), src_table.inst(store).element());
        if !src.matches(&dst) {
            bail!(
                "type mismatch: source table's element type does not match destination table's element type"
            );
        }
        // SAFETY: both are of this store, and their types were compared.
        unsafe {
            copy(store, dst_table.address(store), dst_index, src_table.address(store), src_index, len)?
        };
        Ok(())
    }
}
