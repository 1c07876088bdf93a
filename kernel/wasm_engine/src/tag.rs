//! Tags: what tells exceptions apart.

use crate::store::{StoreId, StoreOpaque};
use crate::type_registry::RegisteredType;
use crate::{AsContext, AsContextMut, Engine, FuncType, Result, TagType, bail};
use core::ptr::NonNull;
use wasm_artifact::vmctx::VMTagDefinition;

/// A tag: exceptions are thrown with one and caught by it.
#[derive(Debug, Clone, Copy)]
pub struct Tag {
    store: StoreId,
    definition: NonNull<VMTagDefinition>,
}

// SAFETY: the pointer is used only together with the store that owns what it leads to.
unsafe impl Send for Tag {}
// SAFETY: as above.
unsafe impl Sync for Tag {}

impl Tag {
    /// Makes a tag.
    ///
    /// # Errors
    /// Fails if its type has results, or there is no memory for it.
    ///
    /// # Panics
    /// If `ty` is of another engine than the store.
    pub fn new(mut store: impl AsContextMut, ty: &TagType) -> Result<Tag> {
        let store = store.as_context_mut().0.opaque_mut();
        assert!(Engine::same(store.engine(), ty.ty().engine()), "tag type used with the wrong engine");
        if ty.ty().results().len() > 0 {
            bail!("the type of a tag has no results");
        }
        let definition = store.add_tag(ty)?;
        Ok(Self::from_parts(store, definition))
    }

    pub(crate) fn from_parts(store: &StoreOpaque, definition: NonNull<VMTagDefinition>) -> Self {
        Self { store: store.id(), definition }
    }

    pub(crate) fn is_of(&self, store: &StoreOpaque) -> bool {
        store.owns(self.store)
    }

    /// Its address, which is also what imports need.
    pub(crate) fn address(&self, store: &StoreOpaque) -> NonNull<VMTagDefinition> {
        store.assert_owns(self.store);
        self.definition
    }

    /// Its type.
    ///
    /// # Panics
    /// If it belongs to another store.
    pub fn ty(&self, store: impl AsContext) -> TagType {
        self.ty_in(store.as_context().0.opaque())
    }

    pub(crate) fn ty_in(&self, store: &StoreOpaque) -> TagType {
        TagType::new(FuncType(registered_type(store, self.address(store))))
    }

    /// Whether both are the same tag.
    ///
    /// # Panics
    /// If one belongs to another store.
    pub fn eq(a: &Tag, b: &Tag, store: impl AsContext) -> bool {
        let store = store.as_context().0.opaque();
        a.address(store) == b.address(store)
    }
}

/// The type of a tag of the store.
pub(crate) fn registered_type(store: &StoreOpaque, tag: NonNull<VMTagDefinition>) -> RegisteredType {
    // SAFETY: the store owns the tag, or the instance that defines it, and frees it with itself.
    let index = unsafe { tag.as_ref() }.type_index;
    RegisteredType::from_index(store.engine(), index)
        .expect("a tag's type is registered as long as it exists")
}
