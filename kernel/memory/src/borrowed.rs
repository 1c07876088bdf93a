//! A mapping together with a typed view of its contents.

use crate::MappedPages;
use core::borrow::{Borrow, BorrowMut};
use core::fmt;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};
use core::ptr::NonNull;
use zerocopy::{FromBytes, Immutable as NoInteriorMutability, IntoBytes};

mod private {
    pub trait Sealed {}
}

/// Whether a view can be written through.
pub trait Mutability: private::Sealed {}
/// A view that can only be read.
#[derive(Debug)]
pub struct Immutable;
/// A view that can be written to.
#[derive(Debug)]
pub struct Mutable;
impl private::Sealed for Immutable {}
impl private::Sealed for Mutable {}
impl Mutability for Immutable {}
impl Mutability for Mutable {}

/// A mapping (or a borrow of one) seen as a `T`.
pub struct BorrowedMappedPages<T, M: Mutability = Immutable, B: Borrow<MappedPages> = MappedPages> {
    /// Into `mp`; valid for as long as that is kept. Declared first: nothing depends on the order, as it has
    /// no drop.
    pointer: NonNull<T>,
    mp: B,
    _mutability: PhantomData<M>,
}

/// A mapping (or a borrow of one) seen as a slice of `T`.
pub struct BorrowedSliceMappedPages<T, M: Mutability = Immutable, B: Borrow<MappedPages> = MappedPages> {
    pointer: NonNull<[T]>,
    mp: B,
    _mutability: PhantomData<M>,
}

macro_rules! view {
    ($name:ident, $target:ty) => {
        // SAFETY: the view is the mapping (which may be sent) and a pointer into it that acts as a reference
        // to `T`.
        unsafe impl<T: Send, M: Mutability, B: Borrow<MappedPages> + Send> Send for $name<T, M, B> {}
        // SAFETY: as above; sharing the view gives out no more than `&T`.
        unsafe impl<T: Sync, M: Mutability, B: Borrow<MappedPages> + Sync> Sync for $name<T, M, B> {}

        impl<T, M: Mutability, B: Borrow<MappedPages>> $name<T, M, B> {
            /// The mapping, without the view.
            pub fn into_inner(self) -> B {
                self.mp
            }

            /// The mapping that this is a view of. Through it the same bytes can be read as any type, which
            /// would contradict a `T` that changes while it is shared.
            pub fn inner_ref(&self) -> &MappedPages
            where
                T: NoInteriorMutability,
            {
                self.mp.borrow()
            }
        }

        impl<T, M: Mutability, B: Borrow<MappedPages>> Deref for $name<T, M, B> {
            type Target = $target;
            fn deref(&self) -> &$target {
                // SAFETY: the constructors checked bounds, alignment and (for mutable views) writability; any
                // bytes are a valid `T`. The mapping stays, and in its place, while `mp` is kept. An
                // immutable view is of a `T` without interior mutability; of a mutable one this is the only
                // way to the mapping, so that no other reference contradicts.
                unsafe { self.pointer.as_ref() }
            }
        }

        impl<T, B: BorrowMut<MappedPages>> DerefMut for $name<T, Mutable, B> {
            fn deref_mut(&mut self) -> &mut $target {
                // SAFETY: as in `deref`; `&mut self` makes this the only reference.
                unsafe { self.pointer.as_mut() }
            }
        }

        impl<T, M: Mutability, B: Borrow<MappedPages>> fmt::Debug for $name<T, M, B> {
            fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:?} in {:?})"), self.pointer, self.mp.borrow())
            }
        }
    };
}
view!(BorrowedMappedPages, T);
view!(BorrowedSliceMappedPages, [T]);

impl<T: FromBytes + NoInteriorMutability, B: Borrow<MappedPages>> BorrowedMappedPages<T, Immutable, B> {
    /// A view of the bytes at `byte_offset`.
    ///
    /// # Errors
    /// As for [`MappedPages::as_type`]; gives the mapping back.
    pub fn from(mp: B, byte_offset: usize) -> Result<Self, (B, &'static str)> {
        match mp.borrow().as_type::<T>(byte_offset).map(NonNull::from) {
            Ok(pointer) => Ok(Self { pointer, mp, _mutability: PhantomData }),
            Err(error) => Err((mp, error)),
        }
    }
}

impl<T: FromBytes + IntoBytes, B: BorrowMut<MappedPages>> BorrowedMappedPages<T, Mutable, B> {
    /// A view of the bytes at `byte_offset` that can be written to.
    ///
    /// # Errors
    /// As for [`MappedPages::as_type_mut`]; gives the mapping back.
    pub fn from_mut(mut mp: B, byte_offset: usize) -> Result<Self, (B, &'static str)> {
        match mp.borrow_mut().as_type_mut::<T>(byte_offset).map(NonNull::from) {
            Ok(pointer) => Ok(Self { pointer, mp, _mutability: PhantomData }),
            Err(error) => Err((mp, error)),
        }
    }
}

impl<T: FromBytes + NoInteriorMutability, B: Borrow<MappedPages>> BorrowedSliceMappedPages<T, Immutable, B> {
    /// A view of `length` values from `byte_offset` on.
    ///
    /// # Errors
    /// As for [`MappedPages::as_slice`]; gives the mapping back.
    pub fn from(mp: B, byte_offset: usize, length: usize) -> Result<Self, (B, &'static str)> {
        match mp.borrow().as_slice::<T>(byte_offset, length).map(NonNull::from) {
            Ok(pointer) => Ok(Self { pointer, mp, _mutability: PhantomData }),
            Err(error) => Err((mp, error)),
        }
    }
}

impl<T: FromBytes + IntoBytes, B: BorrowMut<MappedPages>> BorrowedSliceMappedPages<T, Mutable, B> {
    /// A view of `length` values from `byte_offset` on that can be written to.
    ///
    /// # Errors
    /// As for [`MappedPages::as_slice_mut`]; gives the mapping back.
    pub fn from_mut(mut mp: B, byte_offset: usize, length: usize) -> Result<Self, (B, &'static str)> {
        match mp.borrow_mut().as_slice_mut::<T>(byte_offset, length).map(NonNull::from) {
            Ok(pointer) => Ok(Self { pointer, mp, _mutability: PhantomData }),
            Err(error) => Err((mp, error)),
        }
    }
}

impl MappedPages {
    /// This mapping, seen as the `T` at `byte_offset`.
    ///
    /// # Errors
    /// As for [`MappedPages::as_type`]; gives the mapping back.
    pub fn into_borrowed<T: FromBytes + NoInteriorMutability>(
        self,
        byte_offset: usize,
    ) -> Result<BorrowedMappedPages<T, Immutable>, (MappedPages, &'static str)> {
        BorrowedMappedPages::<T, Immutable>::from(self, byte_offset)
    }

    /// This mapping, seen as the `T` at `byte_offset`, which can be changed.
    ///
    /// # Errors
    /// As for [`MappedPages::as_type_mut`]; gives the mapping back.
    pub fn into_borrowed_mut<T: FromBytes + IntoBytes>(
        self,
        byte_offset: usize,
    ) -> Result<BorrowedMappedPages<T, Mutable>, (MappedPages, &'static str)> {
        BorrowedMappedPages::<T, Mutable>::from_mut(self, byte_offset)
    }

    /// This mapping, seen as `length` values from `byte_offset` on.
    ///
    /// # Errors
    /// As for [`MappedPages::as_slice`]; gives the mapping back.
    pub fn into_borrowed_slice<T: FromBytes + NoInteriorMutability>(
        self,
        byte_offset: usize,
        length: usize,
    ) -> Result<BorrowedSliceMappedPages<T, Immutable>, (MappedPages, &'static str)> {
        BorrowedSliceMappedPages::<T, Immutable>::from(self, byte_offset, length)
    }

    /// This mapping, seen as `length` values from `byte_offset` on, which can be changed.
    ///
    /// # Errors
    /// As for [`MappedPages::as_slice_mut`]; gives the mapping back.
    pub fn into_borrowed_slice_mut<T: FromBytes + IntoBytes>(
        self,
        byte_offset: usize,
        length: usize,
    ) -> Result<BorrowedSliceMappedPages<T, Mutable>, (MappedPages, &'static str)> {
        BorrowedSliceMappedPages::<T, Mutable>::from_mut(self, byte_offset, length)
    }
}
