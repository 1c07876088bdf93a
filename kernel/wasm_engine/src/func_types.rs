//! The Rust types that stand for WebAssembly's, alone and as lists: how they are checked, stored and loaded.

use crate::exnref::ExnRef;
use crate::externref::{ExternRef, Rooted};
use crate::func::HostFunc;
use crate::store::StoreOpaque;
use crate::{Caller, Engine, Error, Func, HeapType, RefType, Result, V128, ValType, bail};
use core::mem::MaybeUninit;
use wasm_artifact::vmctx::ValRaw;

/// A slot of an array call.
type Slot = MaybeUninit<ValRaw>;

/// For which direction types are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TypeCheck {
    /// The host gives, so its type must be one of the function's.
    Param,
    /// The function gives, so its type must be one of the host's.
    Result,
}

/// A Rust type that stands for one of WebAssembly's.
///
/// # Safety
/// `load` must accept what `store` or compiled code writes for the type that `valtype` returns.
pub unsafe trait WasmTy: Send + Sized {
    /// The type it stands for.
    #[doc(hidden)]
    fn valtype() -> ValType;

    /// Writes the value for compiled code.
    #[doc(hidden)]
    fn store(self, store: &mut StoreOpaqueRef<'_>, slot: &mut MaybeUninit<ValRaw>) -> Result<()>;

    /// Reads a value of compiled code.
    ///
    /// # Safety
    /// The slot must hold a value of type `valtype()` of this store.
    #[doc(hidden)]
    unsafe fn load(store: &mut StoreOpaqueRef<'_>, slot: &MaybeUninit<ValRaw>) -> Result<Self>;

    /// Fails with what Wasmtime says unless `actual`, which the function has, fits.
    #[doc(hidden)]
    fn typecheck(actual: &ValType, direction: TypeCheck) -> Result<()> {
        let own = Self::valtype();
        let fits = match direction {
            TypeCheck::Param => own.matches(actual),
            TypeCheck::Result => actual.matches(&own),
        };
        if !fits {
            bail!("type mismatch: expected {actual}, found {own}");
        }
        Ok(())
    }
}

/// A store, as the traits here see it; not for use outside of the engine.
#[doc(hidden)]
pub struct StoreOpaqueRef<'a>(&'a mut StoreOpaque);

macro_rules! numbers {
    ($($ty:ident: $valtype:ident, $field:ident, $to:expr, $from:expr;)*) => {$(
        // SAFETY: numbers are written and read in the same field, as compiled code does.
        unsafe impl WasmTy for $ty {
            #[inline]
            fn valtype() -> ValType {
                ValType::$valtype
            }

            #[inline]
            fn store(self, _: &mut StoreOpaqueRef<'_>, slot: &mut MaybeUninit<ValRaw>) -> Result<()> {
                slot.write(ValRaw { $field: $to(self) });
                Ok(())
            }

            #[inline]
            unsafe fn load(_: &mut StoreOpaqueRef<'_>, slot: &MaybeUninit<ValRaw>) -> Result<Self> {
                // SAFETY: the slot holds a value of this type, by the caller; so these bytes of it are initialised.
                Ok($from(unsafe { (*slot.as_ptr()).$field }))
            }
        }
    )*};
}

numbers! {
    i32: I32, i32, |value| value, |value| value;
    u32: I32, i32, |value| value as i32, |value| value as u32;
    i64: I64, i64, |value| value, |value| value;
    u64: I64, i64, |value| value as i64, |value| value as u64;
    f32: F32, f32, f32::to_bits, f32::from_bits;
    f64: F64, f64, f64::to_bits, f64::from_bits;
    V128: V128, v128, u128::from, V128::from;
}

// SAFETY: null stands for `None` on both sides, and the address of the store's function reference for a function.
unsafe impl WasmTy for Option<Func> {
    fn valtype() -> ValType {
        ValType::FUNCREF
    }

    fn store(self, store: &mut StoreOpaqueRef<'_>, slot: &mut MaybeUninit<ValRaw>) -> Result<()> {
        if self.is_some_and(|func| !func.is_of(store.0)) {
            bail!("attempt to pass cross-`Store` value to Wasm");
        }
        slot.write(ValRaw { funcref: Func::option_to_raw(self, store.0) });
        Ok(())
    }

    unsafe fn load(store: &mut StoreOpaqueRef<'_>, slot: &MaybeUninit<ValRaw>) -> Result<Self> {
        // SAFETY: the slot holds a function reference of this store, by the caller.
        unsafe { Ok(Func::option_from_raw(store.0, (*slot.as_ptr()).funcref)) }
    }
}

// SAFETY: as for `Option<Func>`, without null.
unsafe impl WasmTy for Func {
    fn valtype() -> ValType {
        ValType::Ref(RefType::new(false, HeapType::Func))
    }

    fn store(self, store: &mut StoreOpaqueRef<'_>, slot: &mut MaybeUninit<ValRaw>) -> Result<()> {
        Some(self).store(store, slot)
    }

    unsafe fn load(store: &mut StoreOpaqueRef<'_>, slot: &MaybeUninit<ValRaw>) -> Result<Self> {
        // SAFETY: by the caller.
        let func = unsafe { Option::<Func>::load(store, slot)? };
        Ok(func.expect("a value of a type without null is not null"))
    }
}

// SAFETY: handle 0 stands for `None` on both sides, and others for values of the store.
unsafe impl WasmTy for Option<Rooted<ExternRef>> {
    fn valtype() -> ValType {
        ValType::EXTERNREF
    }

    fn store(self, store: &mut StoreOpaqueRef<'_>, slot: &mut MaybeUninit<ValRaw>) -> Result<()> {
        let handle = match self {
            Some(value) => store.0.handle_of(&value)?,
            None => 0,
        };
        slot.write(ValRaw { externref: handle });
        Ok(())
    }

    unsafe fn load(store: &mut StoreOpaqueRef<'_>, slot: &MaybeUninit<ValRaw>) -> Result<Self> {
        // SAFETY: the slot holds a handle of this store, by the caller.
        store.0.rooted_from_handle(unsafe { (*slot.as_ptr()).externref })
    }
}

// SAFETY: as for `Option<Rooted<ExternRef>>`, without null.
unsafe impl WasmTy for Rooted<ExternRef> {
    fn valtype() -> ValType {
        ValType::Ref(RefType::new(false, HeapType::Extern))
    }

    fn store(self, store: &mut StoreOpaqueRef<'_>, slot: &mut MaybeUninit<ValRaw>) -> Result<()> {
        Some(self).store(store, slot)
    }

    unsafe fn load(store: &mut StoreOpaqueRef<'_>, slot: &MaybeUninit<ValRaw>) -> Result<Self> {
        // SAFETY: by the caller.
        let value = unsafe { Option::<Rooted<ExternRef>>::load(store, slot)? };
        Ok(value.expect("a value of a type without null is not null"))
    }
}

// SAFETY: handle 0 stands for `None` on both sides, and others for exceptions of the store.
unsafe impl WasmTy for Option<Rooted<ExnRef>> {
    fn valtype() -> ValType {
        ValType::EXNREF
    }

    fn store(self, store: &mut StoreOpaqueRef<'_>, slot: &mut MaybeUninit<ValRaw>) -> Result<()> {
        let handle = match self {
            Some(value) => store.0.handle_of(&value)?,
            None => 0,
        };
        slot.write(ValRaw { exnref: handle });
        Ok(())
    }

    unsafe fn load(store: &mut StoreOpaqueRef<'_>, slot: &MaybeUninit<ValRaw>) -> Result<Self> {
        // SAFETY: the slot holds a handle of this store, by the caller.
        store.0.rooted_from_handle(unsafe { (*slot.as_ptr()).exnref })
    }
}

// SAFETY: as for `Option<Rooted<ExnRef>>`, without null.
unsafe impl WasmTy for Rooted<ExnRef> {
    fn valtype() -> ValType {
        ValType::Ref(RefType::new(false, HeapType::Exn))
    }

    fn store(self, store: &mut StoreOpaqueRef<'_>, slot: &mut MaybeUninit<ValRaw>) -> Result<()> {
        Some(self).store(store, slot)
    }

    unsafe fn load(store: &mut StoreOpaqueRef<'_>, slot: &MaybeUninit<ValRaw>) -> Result<Self> {
        // SAFETY: by the caller.
        let value = unsafe { Option::<Rooted<ExnRef>>::load(store, slot)? };
        Ok(value.expect("a value of a type without null is not null"))
    }
}

/// A list of types: `()`, one [`WasmTy`], or a tuple of up to 17.
///
/// # Safety
/// As for [`WasmTy`], slot by slot.
pub unsafe trait WasmTyList: Sized {
    /// How many there are.
    #[doc(hidden)]
    const COUNT: usize;

    /// The types.
    fn valtypes() -> impl Iterator<Item = ValType>;

    /// Fails unless `actual` are the same number and fit.
    #[doc(hidden)]
    fn typecheck(actual: &[ValType], direction: TypeCheck) -> Result<()>;

    /// Writes the values.
    #[doc(hidden)]
    fn store_all(self, store: &mut StoreOpaqueRef<'_>, slots: &mut [MaybeUninit<ValRaw>]) -> Result<()>;

    /// Reads values.
    ///
    /// # Safety
    /// The first `COUNT` slots must hold values of these types of this store.
    #[doc(hidden)]
    unsafe fn load_all(store: &mut StoreOpaqueRef<'_>, slots: &[MaybeUninit<ValRaw>]) -> Result<Self>;
}

/// What a typed function can take: see [`WasmTyList`].
///
/// # Safety
/// As for [`WasmTyList`].
pub unsafe trait WasmParams: WasmTyList + Send {}

/// What a typed function can give: see [`WasmTyList`].
///
/// # Safety
/// As for [`WasmTyList`].
pub unsafe trait WasmResults: WasmParams {}

// SAFETY: nothing is added to the list.
unsafe impl<L: WasmTyList + Send> WasmParams for L {}
// SAFETY: nothing is added to the list.
unsafe impl<L: WasmTyList + Send> WasmResults for L {}

/// Lists, as the rest of the engine uses them.
pub(crate) trait ListExt: WasmTyList {
    #[inline]
    fn store_list(self, store: &mut StoreOpaque, slots: &mut [Slot]) -> Result<()> {
        self.store_all(&mut StoreOpaqueRef(store), slots)
    }

    /// See [`WasmTyList::load_all`].
    #[inline]
    unsafe fn load_list(store: &mut StoreOpaque, slots: &[Slot]) -> Result<Self> {
        // SAFETY: by the caller.
        unsafe { Self::load_all(&mut StoreOpaqueRef(store), slots) }
    }
}

impl<L: WasmTyList> ListExt for L {}

fn check_count(expected: usize, actual: &[ValType]) -> Result<()> {
    if actual.len() != expected {
        bail!("expected {} types, found {}", expected, actual.len());
    }
    Ok(())
}

// SAFETY: a single value is the list of it.
unsafe impl<A: WasmTy> WasmTyList for A {
    const COUNT: usize = 1;

    fn valtypes() -> impl Iterator<Item = ValType> {
        core::iter::once(A::valtype())
    }

    fn typecheck(actual: &[ValType], direction: TypeCheck) -> Result<()> {
        check_count(1, actual)?;
        A::typecheck(&actual[0], direction)
    }

    #[inline]
    fn store_all(self, store: &mut StoreOpaqueRef<'_>, slots: &mut [Slot]) -> Result<()> {
        self.store(store, &mut slots[0])
    }

    #[inline]
    unsafe fn load_all(store: &mut StoreOpaqueRef<'_>, slots: &[Slot]) -> Result<Self> {
        // SAFETY: by the caller.
        unsafe { A::load(store, &slots[0]) }
    }
}

/// What a closure can return that is to be a host function: nothing, one [`WasmTy`], a tuple of them, or a [`Result`] of
/// that.
///
/// # Safety
/// As for [`WasmTyList`].
pub unsafe trait WasmRet: Sized {
    /// The types of the results.
    #[doc(hidden)]
    fn valtypes() -> impl Iterator<Item = ValType>;

    /// Writes the results, or fails as the closure did.
    #[doc(hidden)]
    fn store_ret(self, store: &mut StoreOpaqueRef<'_>, slots: &mut [MaybeUninit<ValRaw>]) -> Result<()>;
}

/// What closures return, as the rest of the engine uses it.
pub(crate) trait RetExt: WasmRet {
    #[inline]
    fn store_result(self, store: &mut StoreOpaque, slots: &mut [Slot]) -> Result<()> {
        self.store_ret(&mut StoreOpaqueRef(store), slots)
    }
}

impl<R: WasmRet> RetExt for R {}

// SAFETY: as the list.
unsafe impl<A: WasmTy> WasmRet for A {
    fn valtypes() -> impl Iterator<Item = ValType> {
        <A as WasmTyList>::valtypes()
    }

    #[inline]
    fn store_ret(self, store: &mut StoreOpaqueRef<'_>, slots: &mut [Slot]) -> Result<()> {
        self.store_all(store, slots)
    }
}

// SAFETY: as what it is a result of.
unsafe impl<R: WasmRet> WasmRet for Result<R, Error> {
    fn valtypes() -> impl Iterator<Item = ValType> {
        R::valtypes()
    }

    #[inline]
    fn store_ret(self, store: &mut StoreOpaqueRef<'_>, slots: &mut [Slot]) -> Result<()> {
        self?.store_ret(store, slots)
    }
}

/// A closure that can be a host function for stores with data of type `T`: with parameters that are [`WasmTy`], or a
/// [`Caller`] followed by such, and a result that is [`WasmRet`].
pub trait IntoFunc<T, Params, Results>: Send + Sync + 'static {
    /// Makes the host function.
    #[doc(hidden)]
    fn into_host_func(self, engine: &Engine) -> Result<HostFunc>;
}

macro_rules! lists {
    ($($count:literal: $($name:ident $index:tt)*;)*) => {$(
        // SAFETY: slot by slot the values of the tuple.
        #[allow(unused_variables, unused_unsafe, clippy::unused_unit, reason = "the empty tuple has nothing to store or load")]
        unsafe impl<$($name: WasmTy),*> WasmTyList for ($($name,)*) {
            const COUNT: usize = $count;

            fn valtypes() -> impl Iterator<Item = ValType> {
                <[ValType; $count]>::into_iter([$($name::valtype()),*])
            }

            fn typecheck(actual: &[ValType], direction: TypeCheck) -> Result<()> {
                check_count($count, actual)?;
                $($name::typecheck(&actual[$index], direction)?;)*
                Ok(())
            }

            #[inline]
            fn store_all(self, store: &mut StoreOpaqueRef<'_>, slots: &mut [Slot]) -> Result<()> {
                let slots = first_slots_mut::<$count>(slots);
                $(self.$index.store(store, &mut slots[$index])?;)*
                Ok(())
            }

            #[inline]
            unsafe fn load_all(store: &mut StoreOpaqueRef<'_>, slots: &[Slot]) -> Result<Self> {
                let slots = first_slots::<$count>(slots);
                // SAFETY: by the caller.
                Ok(unsafe { ($($name::load(store, &slots[$index])?,)*) })
            }
        }

        // SAFETY: as the list.
        unsafe impl<$($name: WasmTy),*> WasmRet for ($($name,)*) {
            fn valtypes() -> impl Iterator<Item = ValType> {
                <Self as WasmTyList>::valtypes()
            }

            #[inline]
            fn store_ret(self, store: &mut StoreOpaqueRef<'_>, slots: &mut [Slot]) -> Result<()> {
                self.store_all(store, slots)
            }
        }

        #[allow(non_snake_case, reason = "the names are those of the types")]
        impl<T: 'static, Function, $($name: WasmTy,)* R: WasmRet> IntoFunc<T, ($($name,)*), R> for Function
        where
            Function: Fn($($name),*) -> R + Send + Sync + 'static,
        {
            fn into_host_func(self, engine: &Engine) -> Result<HostFunc> {
                HostFunc::typed::<T, _, ($($name,)*), R>(engine, move |_: Caller<'_, T>, ($($name,)*): ($($name,)*)| {
                    self($($name),*)
                })
            }
        }

        #[allow(non_snake_case, reason = "the names are those of the types")]
        impl<T: 'static, Function, $($name: WasmTy,)* R: WasmRet> IntoFunc<T, (Caller<'_, T>, $($name,)*), R>
            for Function
        where
            Function: Fn(Caller<'_, T>, $($name),*) -> R + Send + Sync + 'static,
        {
            fn into_host_func(self, engine: &Engine) -> Result<HostFunc> {
                HostFunc::typed::<T, _, ($($name,)*), R>(
                    engine,
                    move |caller: Caller<'_, T>, ($($name,)*): ($($name,)*)| self(caller, $($name),*),
                )
            }
        }
    )*};
}

/// The slots of a list of `N` values. One check instead of `N`.
#[inline]
fn first_slots<const N: usize>(slots: &[Slot]) -> &[Slot; N] {
    slots.first_chunk().expect("an array call has a slot for every value")
}

/// As [`first_slots`], to be written.
#[inline]
fn first_slots_mut<const N: usize>(slots: &mut [Slot]) -> &mut [Slot; N] {
    slots.first_chunk_mut().expect("an array call has a slot for every value")
}

lists! {
    0:;
    1: A1 0;
    2: A1 0 A2 1;
    3: A1 0 A2 1 A3 2;
    4: A1 0 A2 1 A3 2 A4 3;
    5: A1 0 A2 1 A3 2 A4 3 A5 4;
    6: A1 0 A2 1 A3 2 A4 3 A5 4 A6 5;
    7: A1 0 A2 1 A3 2 A4 3 A5 4 A6 5 A7 6;
    8: A1 0 A2 1 A3 2 A4 3 A5 4 A6 5 A7 6 A8 7;
    9: A1 0 A2 1 A3 2 A4 3 A5 4 A6 5 A7 6 A8 7 A9 8;
    10: A1 0 A2 1 A3 2 A4 3 A5 4 A6 5 A7 6 A8 7 A9 8 A10 9;
    11: A1 0 A2 1 A3 2 A4 3 A5 4 A6 5 A7 6 A8 7 A9 8 A10 9 A11 10;
    12: A1 0 A2 1 A3 2 A4 3 A5 4 A6 5 A7 6 A8 7 A9 8 A10 9 A11 10 A12 11;
    13: A1 0 A2 1 A3 2 A4 3 A5 4 A6 5 A7 6 A8 7 A9 8 A10 9 A11 10 A12 11 A13 12;
    14: A1 0 A2 1 A3 2 A4 3 A5 4 A6 5 A7 6 A8 7 A9 8 A10 9 A11 10 A12 11 A13 12 A14 13;
    15: A1 0 A2 1 A3 2 A4 3 A5 4 A6 5 A7 6 A8 7 A9 8 A10 9 A11 10 A12 11 A13 12 A14 13 A15 14;
    16: A1 0 A2 1 A3 2 A4 3 A5 4 A6 5 A7 6 A8 7 A9 8 A10 9 A11 10 A12 11 A13 12 A14 13 A15 14 A16 15;
    17: A1 0 A2 1 A3 2 A4 3 A5 4 A6 5 A7 6 A8 7 A9 8 A10 9 A11 10 A12 11 A13 12 A14 13 A15 14 A16 15 A17 16;
}
