//! Values of which the type is known at run time only.

use crate::exnref::ExnRef;
use crate::externref::{ExternRef, Rooted};
use crate::store::StoreOpaque;
use crate::{AsContext, AsContextMut, Func, HeapType, RefType, Result, V128, ValType, bail};
use wasm_artifact::vmctx::ValRaw;

/// What is said about a reference of another store, in Wasmtime's words.
const CROSS_STORE: &str = "cross-`Store` values are not currently supported";

/// A value.
#[derive(Debug, Clone, Copy)]
pub enum Val {
    /// A 32-bit integer.
    I32(i32),
    /// A 64-bit integer.
    I64(i64),
    /// The bits of a 32-bit floating-point number, so that a NaN stays what it is.
    F32(u32),
    /// The bits of a 64-bit floating-point number.
    F64(u64),
    /// A 128-bit vector.
    V128(V128),
    /// A function or null.
    FuncRef(Option<Func>),
    /// A value of the host or null.
    ExternRef(Option<Rooted<ExternRef>>),
    /// An exception or null.
    ExnRef(Option<Rooted<ExnRef>>),
}

macro_rules! val_accessors {
    ($($get:ident $unwrap:ident $ty:ty, $name:literal: $pattern:pat => $value:expr;)*) => {$(
        #[doc = concat!("The value, if it is ", $name, ".")]
        pub fn $get(&self) -> Option<$ty> {
            match *self {
                $pattern => Some($value),
                _ => None,
            }
        }

        #[doc = concat!("The value.\n\n# Panics\nUnless it is ", $name, ".")]
        pub fn $unwrap(&self) -> $ty {
            self.$get().expect(concat!("expected ", $name))
        }
    )*};
}

impl Val {
    val_accessors! {
        i32 unwrap_i32 i32, "an i32": Val::I32(value) => value;
        i64 unwrap_i64 i64, "an i64": Val::I64(value) => value;
        f32 unwrap_f32 f32, "an f32": Val::F32(bits) => f32::from_bits(bits);
        f64 unwrap_f64 f64, "an f64": Val::F64(bits) => f64::from_bits(bits);
        v128 unwrap_v128 V128, "a v128": Val::V128(value) => value;
    }

    /// The function or null, if it is a function reference.
    pub fn func_ref(&self) -> Option<Option<&Func>> {
        match self {
            Val::FuncRef(func) => Some(func.as_ref()),
            _ => None,
        }
    }

    /// The function or null.
    ///
    /// # Panics
    /// Unless it is a function reference.
    pub fn unwrap_func_ref(&self) -> Option<&Func> {
        self.func_ref().expect("expected a function reference")
    }

    /// See [`func_ref`](Self::func_ref).
    pub fn funcref(&self) -> Option<Option<&Func>> {
        self.func_ref()
    }

    /// See [`unwrap_func_ref`](Self::unwrap_func_ref).
    pub fn unwrap_funcref(&self) -> Option<&Func> {
        self.unwrap_func_ref()
    }

    /// The host's value or null, if it is a reference to one.
    pub fn extern_ref(&self) -> Option<Option<&Rooted<ExternRef>>> {
        match self {
            Val::ExternRef(value) => Some(value.as_ref()),
            _ => None,
        }
    }

    /// The host's value or null.
    ///
    /// # Panics
    /// Unless it is a reference to one.
    pub fn unwrap_extern_ref(&self) -> Option<&Rooted<ExternRef>> {
        self.extern_ref().expect("expected an externref")
    }

    /// See [`extern_ref`](Self::extern_ref).
    pub fn externref(&self) -> Option<Option<&Rooted<ExternRef>>> {
        self.extern_ref()
    }

    /// See [`unwrap_extern_ref`](Self::unwrap_extern_ref).
    pub fn unwrap_externref(&self) -> Option<&Rooted<ExternRef>> {
        self.unwrap_extern_ref()
    }

    /// The exception or null, if it is a reference to one.
    pub fn exnref(&self) -> Option<Option<&Rooted<ExnRef>>> {
        match self {
            Val::ExnRef(value) => Some(value.as_ref()),
            _ => None,
        }
    }

    /// The exception or null.
    ///
    /// # Panics
    /// Unless it is a reference to one.
    pub fn unwrap_exnref(&self) -> Option<&Rooted<ExnRef>> {
        self.exnref().expect("expected an exnref")
    }

    /// The reference, if it is one.
    pub fn ref_(self) -> Option<Ref> {
        match self {
            Val::FuncRef(func) => Some(Ref::Func(func)),
            Val::ExternRef(value) => Some(Ref::Extern(value)),
            Val::ExnRef(value) => Some(Ref::Exn(value)),
            _ => None,
        }
    }

    /// The null reference of type `heap_type`.
    pub fn null_ref(heap_type: &HeapType) -> Val {
        Ref::null(heap_type).into()
    }

    /// The null function reference.
    pub const fn null_func_ref() -> Val {
        Val::FuncRef(None)
    }

    /// The null reference to a value of the host.
    pub const fn null_extern_ref() -> Val {
        Val::ExternRef(None)
    }

    /// Zero, or null; `None` if the type has neither.
    pub fn default_for_ty(ty: &ValType) -> Option<Val> {
        Some(match ty {
            ValType::I32 => Val::I32(0),
            ValType::I64 => Val::I64(0),
            ValType::F32 => Val::F32(0),
            ValType::F64 => Val::F64(0),
            ValType::V128 => Val::V128(V128::from(0)),
            ValType::Ref(ty) if ty.is_nullable() => Val::null_ref(ty.heap_type()),
            ValType::Ref(_) => return None,
        })
    }

    /// Its type.
    ///
    /// # Errors
    /// Never, with the types that this engine has.
    pub fn ty(&self, store: impl AsContext) -> Result<ValType> {
        let _ = store;
        Ok(self.type_of())
    }

    fn type_of(&self) -> ValType {
        match self {
            Val::I32(_) => ValType::I32,
            Val::I64(_) => ValType::I64,
            Val::F32(_) => ValType::F32,
            Val::F64(_) => ValType::F64,
            Val::V128(_) => ValType::V128,
            Val::FuncRef(func) => ValType::Ref(RefType::new(func.is_none(), HeapType::Func)),
            Val::ExternRef(value) => ValType::Ref(RefType::new(value.is_none(), HeapType::Extern)),
            Val::ExnRef(Some(_)) => ValType::Ref(RefType::new(false, HeapType::Exn)),
            Val::ExnRef(None) => ValType::NULLEXNREF,
        }
    }

    /// Whether it is a value of type `ty`.
    ///
    /// # Errors
    /// Never, with the types that this engine has.
    pub fn matches_ty(&self, store: impl AsContext, ty: &ValType) -> Result<bool> {
        let _ = store;
        Ok(self.type_of().matches(ty))
    }

    /// Fails with what Wasmtime says unless it is a value of type `ty`.
    pub(crate) fn ensure_matches(&self, ty: &ValType) -> Result<()> {
        let actual = self.type_of();
        if !actual.matches(ty) {
            bail!("type mismatch: expected {ty}, found {actual}");
        }
        Ok(())
    }

    /// The value as compiled code has it.
    ///
    /// # Errors
    /// Fails if it is a reference whose scope has ended.
    ///
    /// # Panics
    /// If it belongs to another store.
    pub fn to_raw(&self, mut store: impl AsContextMut) -> Result<ValRaw> {
        self.to_raw_in(store.as_context_mut().0.opaque_mut())
    }

    pub(crate) fn to_raw_in(self, store: &mut StoreOpaque) -> Result<ValRaw> {
        let mut raw = ValRaw { bytes: [0; 16] };
        match self {
            Val::I32(value) => raw.i32 = value,
            Val::I64(value) => raw.i64 = value,
            Val::F32(bits) => raw.f32 = bits,
            Val::F64(bits) => raw.f64 = bits,
            Val::V128(value) => raw.v128 = value.as_u128(),
            Val::FuncRef(Some(func)) if !func.is_of(store) => bail!("{CROSS_STORE}"),
            Val::FuncRef(func) => raw.funcref = Func::option_to_raw(func, store),
            Val::ExternRef(Some(value)) if !value.is_of(store) => bail!("{CROSS_STORE}"),
            Val::ExternRef(Some(value)) => raw.externref = store.handle_of(&value)?,
            Val::ExnRef(Some(value)) if !value.is_of(store) => bail!("{CROSS_STORE}"),
            Val::ExnRef(Some(value)) => raw.exnref = store.handle_of(&value)?,
            Val::ExternRef(None) | Val::ExnRef(None) => {}
        }
        Ok(raw)
    }

    /// The value that compiled code has as `raw`.
    ///
    /// # Errors
    /// Fails if there is no memory for a reference.
    ///
    /// # Safety
    /// `raw` must be a value of type `ty` of this store.
    pub unsafe fn from_raw(mut store: impl AsContextMut, raw: ValRaw, ty: ValType) -> Result<Val> {
        // SAFETY: by the caller.
        unsafe { Self::from_raw_in(store.as_context_mut().0.opaque_mut(), raw, &ty) }
    }

    /// See [`from_raw`](Self::from_raw).
    pub(crate) unsafe fn from_raw_in(store: &mut StoreOpaque, raw: ValRaw, ty: &ValType) -> Result<Val> {
        // SAFETY: by the caller.
        unsafe {
            Ok(match ty {
                ValType::I32 => Val::I32(raw.i32),
                ValType::I64 => Val::I64(raw.i64),
                ValType::F32 => Val::F32(raw.f32),
                ValType::F64 => Val::F64(raw.f64),
                ValType::V128 => Val::V128(raw.v128.into()),
                ValType::Ref(ty) if ty.heap_type().is_func() => {
                    Val::FuncRef(Func::option_from_raw(store, raw.funcref))
                }
                ValType::Ref(ty) if ty.heap_type().is_extern() => {
                    Val::ExternRef(store.rooted_from_handle(raw.externref)?)
                }
                ValType::Ref(_) => Val::ExnRef(store.rooted_from_handle(raw.exnref)?),
            })
        }
    }
}

impl From<i32> for Val {
    fn from(value: i32) -> Self {
        Val::I32(value)
    }
}

impl From<i64> for Val {
    fn from(value: i64) -> Self {
        Val::I64(value)
    }
}

impl From<f32> for Val {
    fn from(value: f32) -> Self {
        Val::F32(value.to_bits())
    }
}

impl From<f64> for Val {
    fn from(value: f64) -> Self {
        Val::F64(value.to_bits())
    }
}

impl From<u128> for Val {
    fn from(value: u128) -> Self {
        Val::V128(value.into())
    }
}

impl From<V128> for Val {
    fn from(value: V128) -> Self {
        Val::V128(value)
    }
}

impl From<Func> for Val {
    fn from(value: Func) -> Self {
        Val::FuncRef(Some(value))
    }
}

impl From<Option<Func>> for Val {
    fn from(value: Option<Func>) -> Self {
        Val::FuncRef(value)
    }
}

impl From<Rooted<ExternRef>> for Val {
    fn from(value: Rooted<ExternRef>) -> Self {
        Val::ExternRef(Some(value))
    }
}

impl From<Option<Rooted<ExternRef>>> for Val {
    fn from(value: Option<Rooted<ExternRef>>) -> Self {
        Val::ExternRef(value)
    }
}

impl From<Rooted<ExnRef>> for Val {
    fn from(value: Rooted<ExnRef>) -> Self {
        Val::ExnRef(Some(value))
    }
}

impl From<Option<Rooted<ExnRef>>> for Val {
    fn from(value: Option<Rooted<ExnRef>>) -> Self {
        Val::ExnRef(value)
    }
}

impl From<Ref> for Val {
    fn from(value: Ref) -> Self {
        match value {
            Ref::Func(func) => Val::FuncRef(func),
            Ref::Extern(value) => Val::ExternRef(value),
            Ref::Exn(value) => Val::ExnRef(value),
        }
    }
}

/// A reference.
#[derive(Debug, Clone, Copy)]
pub enum Ref {
    /// A function or null.
    Func(Option<Func>),
    /// A value of the host or null.
    Extern(Option<Rooted<ExternRef>>),
    /// An exception or null.
    Exn(Option<Rooted<ExnRef>>),
}

impl Ref {
    /// The null reference of type `heap_type`.
    pub fn null(heap_type: &HeapType) -> Self {
        match heap_type {
            HeapType::Func => Ref::Func(None),
            HeapType::Extern => Ref::Extern(None),
            HeapType::Exn | HeapType::NoExn => Ref::Exn(None),
        }
    }

    /// Whether it is null.
    pub fn is_null(&self) -> bool {
        matches!(self, Ref::Func(None) | Ref::Extern(None) | Ref::Exn(None))
    }

    /// Whether it is not null.
    pub fn is_non_null(&self) -> bool {
        !self.is_null()
    }

    /// Whether it is a function reference.
    pub fn is_func(&self) -> bool {
        matches!(self, Ref::Func(_))
    }

    /// Whether it is a reference to a value of the host.
    pub fn is_extern(&self) -> bool {
        matches!(self, Ref::Extern(_))
    }

    /// The function or null, if it is a function reference.
    pub fn as_func(&self) -> Option<Option<&Func>> {
        match self {
            Ref::Func(func) => Some(func.as_ref()),
            Ref::Extern(_) | Ref::Exn(_) => None,
        }
    }

    /// The function or null.
    ///
    /// # Panics
    /// Unless it is a function reference.
    pub fn unwrap_func(&self) -> Option<&Func> {
        self.as_func().expect("Ref::unwrap_func on non-func reference")
    }

    /// The host's value or null, if it is a reference to one.
    pub fn as_extern(&self) -> Option<Option<&Rooted<ExternRef>>> {
        match self {
            Ref::Extern(value) => Some(value.as_ref()),
            Ref::Func(_) | Ref::Exn(_) => None,
        }
    }

    /// The host's value or null.
    ///
    /// # Panics
    /// Unless it is a reference to one.
    pub fn unwrap_extern(&self) -> Option<&Rooted<ExternRef>> {
        self.as_extern().expect("Ref::unwrap_extern on non-extern reference")
    }

    /// Whether it is a reference to an exception.
    pub fn is_exn(&self) -> bool {
        matches!(self, Ref::Exn(_))
    }

    /// The exception or null, if it is a reference to one.
    pub fn as_exn(&self) -> Option<Option<&Rooted<ExnRef>>> {
        match self {
            Ref::Exn(value) => Some(value.as_ref()),
            Ref::Func(_) | Ref::Extern(_) => None,
        }
    }

    /// The exception or null.
    ///
    /// # Panics
    /// Unless it is a reference to one.
    pub fn unwrap_exn(&self) -> Option<&Rooted<ExnRef>> {
        self.as_exn().expect("Ref::unwrap_exn on non-exn reference")
    }

    /// As an element of a table of `ty`, in compiled code's representation.
    pub(crate) fn to_element(self, store: &mut StoreOpaque, ty: &RefType) -> Result<u64> {
        let value = Val::from(self);
        value.ensure_matches(&ValType::Ref(ty.clone()))?;
        // SAFETY: raw values are made from zero bytes, so all are initialised, and handles zero-extended.
        Ok(unsafe { value.to_raw_in(store)?.f64 })
    }

    /// The element `raw` of a table of `ty`.
    ///
    /// # Safety
    /// It must be one.
    pub(crate) unsafe fn from_element(store: &mut StoreOpaque, raw: u64, ty: &RefType) -> Result<Ref> {
        let raw = ValRaw { f64: raw };
        // SAFETY: by the caller. A table of a non-null type still has null where it was not set.
        let value = unsafe { Val::from_raw_in(store, raw, &ValType::Ref(ty.clone()))? };
        Ok(value.ref_().expect("a value of a reference type is a reference"))
    }
}

impl From<Func> for Ref {
    fn from(value: Func) -> Self {
        Ref::Func(Some(value))
    }
}

impl From<Option<Func>> for Ref {
    fn from(value: Option<Func>) -> Self {
        Ref::Func(value)
    }
}

impl From<Rooted<ExternRef>> for Ref {
    fn from(value: Rooted<ExternRef>) -> Self {
        Ref::Extern(Some(value))
    }
}

impl From<Option<Rooted<ExternRef>>> for Ref {
    fn from(value: Option<Rooted<ExternRef>>) -> Self {
        Ref::Extern(value)
    }
}

impl From<Rooted<ExnRef>> for Ref {
    fn from(value: Rooted<ExnRef>) -> Self {
        Ref::Exn(Some(value))
    }
}

impl From<Option<Rooted<ExnRef>>> for Ref {
    fn from(value: Option<Rooted<ExnRef>>) -> Self {
        Ref::Exn(value)
    }
}
