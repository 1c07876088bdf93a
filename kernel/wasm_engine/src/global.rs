//! Globals.

use crate::store::{StoreId, StoreOpaque};
use crate::{AsContext, AsContextMut, GlobalType, Result, Val, bail, error::Context};
use core::ptr::NonNull;
use wasm_artifact::types;
use wasm_artifact::vmctx::{VMGlobalDefinition, ValRaw};

/// A global: a value that instances share.
#[derive(Debug, Clone, Copy)]
pub struct Global {
    store: StoreId,
    definition: NonNull<VMGlobalDefinition>,
    ty: types::GlobalType,
}

// SAFETY: the pointer is used only together with the store that owns what it leads to.
unsafe impl Send for Global {}
// SAFETY: as above.
unsafe impl Sync for Global {}

impl Global {
    /// Makes a global with value `val`.
    ///
    /// # Errors
    /// Fails if `val` is not of its type, or there is no memory for it.
    ///
    /// # Panics
    /// If `val` belongs to another store.
    pub fn new(mut store: impl AsContextMut, ty: GlobalType, val: Val) -> Result<Global> {
        let store = store.as_context_mut().0.opaque_mut();
        val.ensure_matches(ty.content())
            .context("type mismatch: initial value provided does not match the type of this global")?;
        let is_handle = ty.content().as_ref().is_some_and(|ty| ty.to_artifact().heap_type.is_handle());
        let raw = val.to_raw_in(store)?;
        let definition = store.add_global(raw, is_handle)?;
        Ok(Self::from_parts(store, definition, ty.to_artifact()))
    }

    pub(crate) fn from_parts(
        store: &StoreOpaque,
        definition: NonNull<VMGlobalDefinition>,
        ty: types::GlobalType,
    ) -> Self {
        Self { store: store.id(), definition, ty }
    }

    pub(crate) fn is_of(&self, store: &StoreOpaque) -> bool {
        store.owns(self.store)
    }

    /// Its address, which is also what imports need.
    pub(crate) fn address(&self, store: &StoreOpaque) -> NonNull<VMGlobalDefinition> {
        store.assert_owns(self.store);
        self.definition
    }

    /// Its type.
    ///
    /// # Panics
    /// If it belongs to another store.
    pub fn ty(&self, store: impl AsContext) -> GlobalType {
        self.ty_in(store.as_context().0.opaque())
    }

    pub(crate) fn ty_in(&self, store: &StoreOpaque) -> GlobalType {
        store.assert_owns(self.store);
        GlobalType::from_artifact(&self.ty)
    }

    /// Its value.
    ///
    /// # Panics
    /// If it belongs to another store, or there is no memory for a reference.
    pub fn get(&self, mut store: impl AsContextMut) -> Val {
        let store = store.as_context_mut().0.opaque_mut();
        let ty = self.ty_in(store);
        // SAFETY: the store owns the global, nobody uses the store meanwhile, and the value is of the global's type.
        unsafe {
            let raw = *self.address(store).cast::<ValRaw>().as_ptr();
            Val::from_raw_in(store, raw, ty.content()).expect("no memory for a reference")
        }
    }

    /// Sets its value.
    ///
    /// # Errors
    /// Fails if it cannot change, or `val` is not of its type.
    ///
    /// # Panics
    /// If it or `val` belongs to another store.
    pub fn set(&self, mut store: impl AsContextMut, val: Val) -> Result<()> {
        let store = store.as_context_mut().0.opaque_mut();
        let ty = self.ty_in(store);
        if ty.mutability().is_const() {
            bail!("immutable global cannot be set");
        }
        val.ensure_matches(ty.content())
            .context("type mismatch: attempt to set global to value of wrong type")?;
        let raw = val.to_raw_in(store)?;
        // SAFETY: the store owns the global, and nobody uses the store meanwhile.
        unsafe { self.address(store).cast::<ValRaw>().write(raw) };
        Ok(())
    }
}
