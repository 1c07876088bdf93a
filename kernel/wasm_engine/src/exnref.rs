//! Exceptions as values.

use crate::externref::Rooted;
use crate::store::StoreOpaque;
use crate::type_registry::RegisteredType;
use crate::{
    AsContext, AsContextMut, ExnType, FuncType, HeapType, OutOfMemory, Result, StoreContextMut, Tag, Val,
    ValType, bail, ensure, error::Context,
};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ptr::NonNull;
use wasm_artifact::vmctx::{VMTagDefinition, ValRaw};

/// An exception that wasm can hold a reference to. Only [`Rooted`] references to it exist.
pub struct ExnRef(());

/// An exception in a store.
pub(crate) struct Exn {
    tag: NonNull<VMTagDefinition>,
    ty: RegisteredType,
    fields: Box<[ValRaw]>,
}

impl Exn {
    /// A copy of these fields.
    ///
    /// # Errors
    /// Fails if there is no memory for it.
    pub(crate) fn new(
        store: &StoreOpaque,
        tag: NonNull<VMTagDefinition>,
        fields: &[ValRaw],
    ) -> Result<Self, OutOfMemory> {
        let ty = crate::tag::registered_type(store, tag);
        let mut copy = Vec::new();
        copy.try_reserve_exact(fields.len()).map_err(|_| OutOfMemory::new(size_of_val(fields)))?;
        copy.extend_from_slice(fields);
        // Has no room to give back, so this allocates nothing.
        Ok(Self { tag, ty, fields: copy.into_boxed_slice() })
    }

    pub(crate) fn tag(&self) -> NonNull<VMTagDefinition> {
        self.tag
    }

    pub(crate) fn fields(&self) -> &[ValRaw] {
        &self.fields
    }

    /// How many bytes of memory it takes, about.
    pub(crate) fn bytes(&self) -> usize {
        size_of::<Self>() + size_of_val(&*self.fields)
    }

    /// The handle in a field, if that is a reference which is one.
    pub(crate) fn handle_in(&self, field: usize) -> Option<u32> {
        let ValType::Ref(ty) = &self.ty.params()[field] else { return None };
        // SAFETY: the field is a handle, as its type says; null is one, too.
        ty.to_artifact().heap_type.is_handle().then(|| unsafe { self.fields[field].externref })
    }
}

/// What is needed to make exceptions of a type in a store, found out beforehand.
pub struct ExnRefPre {
    ty: ExnType,
}

impl ExnRefPre {
    /// For exceptions of type `ty`.
    ///
    /// # Panics
    /// If `ty` is of another engine than the store.
    pub fn new(store: impl AsContextMut, ty: ExnType) -> Self {
        let is_same = crate::Engine::same(store.as_context().engine(), ty.engine());
        assert!(is_same, "exception type used with the wrong engine");
        Self { ty }
    }
}

impl ExnRef {
    /// Makes an exception.
    ///
    /// # Errors
    /// Fails if the tag is of another type, the fields are not as that says, or there is no memory.
    ///
    /// # Panics
    /// If the tag or a reference among the fields belongs to another store.
    pub fn new(
        mut store: impl AsContextMut,
        allocator: &ExnRefPre,
        tag: &Tag,
        fields: &[Val],
    ) -> Result<Rooted<ExnRef>> {
        let store = store.as_context_mut().0.opaque_mut();
        let ty = &allocator.ty.ty;
        ensure!(tag.ty_in(store).ty() == ty, "tag signature does not match the exception type");
        let expected = ty.params().len();
        ensure!(fields.len() == expected, "expected {expected} fields, got {}", fields.len());
        let mut raw = Vec::new();
        let oom = |_| OutOfMemory::new(expected * size_of::<ValRaw>());
        raw.try_reserve_exact(expected).map_err(oom)?;
        for (field, ty) in fields.iter().zip(ty.params()) {
            field.ensure_matches(&ty).context("field type mismatch")?;
            raw.push(field.to_raw_in(store)?);
        }
        if store.externs().is_crowded() {
            store.collect_garbage();
        }
        let handle = store.new_exception(tag.address(store), &raw)?;
        let id = store.id();
        Ok(store.externs_mut().root(id, handle)?)
    }

    /// The exception for which [`Rooted::to_raw`] returned `raw`; `None` for 0.
    ///
    /// # Panics
    /// If there is no memory for a reference.
    pub fn from_raw(mut store: impl AsContextMut, raw: u32) -> Option<Rooted<ExnRef>> {
        let store = store.as_context_mut().0.opaque_mut();
        store.rooted_from_handle(raw).expect("no memory for a reference")
    }
}

impl StoreOpaque {
    /// Makes an exception, and returns its handle.
    ///
    /// # Errors
    /// Fails if there is no memory, or the store holds too many of them.
    pub(crate) fn new_exception(&mut self, tag: NonNull<VMTagDefinition>, fields: &[ValRaw]) -> Result<u32> {
        wasm_platform::for_guest(|| {
            let exception = Exn::new(self, tag, fields)?;
            self.externs_mut().insert_exception(exception)
        })
    }
}

impl Rooted<ExnRef> {
    fn exception<'a>(&self, store: &'a StoreOpaque) -> Result<&'a Exn> {
        Ok(store.externs().exception(store.handle_of(self)?))
    }

    /// Its type.
    ///
    /// # Errors
    /// Fails if the reference was made in a call or scope that has ended.
    ///
    /// # Panics
    /// If it belongs to another store.
    pub fn ty(&self, store: impl AsContext) -> Result<ExnType> {
        Ok(ExnType { ty: FuncType(self.exception(store.as_context().0.opaque())?.ty.clone()) })
    }

    /// Whether it is a value of type `ty`.
    ///
    /// # Errors
    /// Fails if the reference was made in a call or scope that has ended.
    ///
    /// # Panics
    /// If it belongs to another store.
    pub fn matches_ty(&self, store: impl AsContext, ty: &HeapType) -> Result<bool> {
        store.as_context().0.opaque().handle_of(self)?;
        Ok(ty.is_exn())
    }

    /// Its fields.
    ///
    /// # Errors
    /// Fails if the reference was made in a call or scope that has ended, or there is no memory.
    ///
    /// # Panics
    /// If it belongs to another store.
    pub fn fields<'a, T: 'static>(
        &'a self,
        store: impl Into<StoreContextMut<'a, T>>,
    ) -> Result<impl ExactSizeIterator<Item = Val> + 'a> {
        let store = store.into().0.opaque_mut();
        let count = self.exception(store)?.fields.len();
        let mut fields = Vec::new();
        fields.try_reserve_exact(count).map_err(|_| OutOfMemory::new(count * size_of::<Val>()))?;
        for index in 0..count {
            fields.push(self.field_in(store, index)?);
        }
        Ok(fields.into_iter())
    }

    /// The field `index`.
    ///
    /// # Errors
    /// Fails if there is none, the reference was made in a call or scope that has ended, or there is no memory.
    ///
    /// # Panics
    /// If it belongs to another store.
    pub fn field(&self, mut store: impl AsContextMut, index: usize) -> Result<Val> {
        self.field_in(store.as_context_mut().0.opaque_mut(), index)
    }

    fn field_in(&self, store: &mut StoreOpaque, index: usize) -> Result<Val> {
        let exception = self.exception(store)?;
        let Some(ty) = exception.ty.params().get(index).cloned() else {
            bail!("cannot get field {index}: the exception has {}", exception.fields.len());
        };
        let raw = exception.fields[index];
        // SAFETY: the field is of this type, and of this store.
        unsafe { Val::from_raw_in(store, raw, &ty) }
    }

    /// The tag it was made with.
    ///
    /// # Errors
    /// Fails if the reference was made in a call or scope that has ended.
    ///
    /// # Panics
    /// If it belongs to another store.
    pub fn tag(&self, mut store: impl AsContextMut) -> Result<Tag> {
        let store = store.as_context_mut().0.opaque_mut();
        let tag = self.exception(store)?.tag;
        Ok(Tag::from_parts(store, tag))
    }
}
