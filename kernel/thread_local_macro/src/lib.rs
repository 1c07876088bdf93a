//! Statics of which every task has its own: [`thread_local!`], with `std`'s syntax.
//!
//! A value is made when its task first uses it, and dropped when the task ends: the first use registers a destructor, and
//! `spawn` runs the destructors that [`take_current_tls_destructors`] gives it as the last thing a task does. Values that
//! need no drop register none.
//!
//! # Relies on
//! The FS segment base pointing at the task's thread-local storage, in which the loader gave each crate's `#[thread_local]`
//! statics their place.
//!
//! # Invariant
//! A crate with such statics is not unloaded while a task that used them lives: the destructors' code is in it.
#![cfg_attr(not(test), no_std)]
#![feature(thread_local, allow_internal_unstable)]
#![allow(internal_features, reason = "so that users of the macro need not enable the feature it expands to")]
extern crate alloc;

use alloc::vec::Vec;
use core::cell::{Cell, RefCell, UnsafeCell};
use core::fmt;

/// A value that a task must drop when it ends, and how.
#[derive(Clone, Copy, Debug)]
pub struct TlsObjectDestructor {
    /// The value.
    pub object_ptr: *mut u8,
    /// What drops it, given `object_ptr`.
    pub dtor: unsafe extern "C-unwind" fn(*mut u8),
}

/// The current task's destructors, in the order in which its values were made.
#[thread_local]
static DESTRUCTORS: RefCell<Vec<TlsObjectDestructor>> = const { RefCell::new(Vec::new()) };

/// Takes the destructors that the current task has to run before it ends. Running them may make new values: call it again
/// until it returns none.
pub fn take_current_tls_destructors() -> Vec<TlsObjectDestructor> {
    DESTRUCTORS.take()
}

/// The value cannot be had, because the task is ending and has dropped it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccessError;

impl fmt::Display for AccessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the task is ending and has dropped this thread-local value already")
    }
}

impl core::error::Error for AccessError {}

/// A static of which every task has its own; [`thread_local!`] makes them.
pub struct LocalKey<T: 'static> {
    /// The current task's value, made if need be; `None` if it was dropped already.
    get: fn() -> Option<&'static T>,
}

impl<T> fmt::Debug for LocalKey<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalKey").finish_non_exhaustive()
    }
}

impl<T: 'static> LocalKey<T> {
    /// For [`thread_local!`].
    ///
    /// # Safety
    /// `get` returns a reference to a value of the current task, which is valid for as long as the task does not run its
    /// destructors.
    #[doc(hidden)]
    pub const unsafe fn new(get: fn() -> Option<&'static T>) -> Self {
        LocalKey { get }
    }

    /// Calls `f` with the current task's value, which is made by the first use.
    ///
    /// # Panics
    /// If the task is ending and has dropped the value.
    #[inline]
    pub fn with<F, R>(&'static self, f: F) -> R
    where
        F: FnOnce(&T) -> R,
    {
        match self.try_with(f) {
            Ok(result) => result,
            Err(error) => panic!("{error}"),
        }
    }

    /// Calls `f` with the current task's value, which is made by the first use.
    ///
    /// # Errors
    /// The task is ending and has dropped the value.
    #[inline]
    pub fn try_with<F, R>(&'static self, f: F) -> Result<R, AccessError>
    where
        F: FnOnce(&T) -> R,
    {
        (self.get)().map(f).ok_or(AccessError)
    }
}

impl<T: 'static> LocalKey<Cell<T>> {
    /// Replaces the value.
    pub fn set(&'static self, value: T) {
        self.with(|cell| cell.set(value));
    }

    /// A copy of the value.
    pub fn get(&'static self) -> T
    where
        T: Copy,
    {
        self.with(Cell::get)
    }

    /// Takes the value and leaves the default.
    pub fn take(&'static self) -> T
    where
        T: Default,
    {
        self.with(Cell::take)
    }

    /// Replaces the value and gives back the former.
    pub fn replace(&'static self, value: T) -> T {
        self.with(|cell| cell.replace(value))
    }
}

impl<T: 'static> LocalKey<RefCell<T>> {
    /// Calls `f` with the value.
    ///
    /// # Panics
    /// If it is borrowed mutably now, or dropped.
    pub fn with_borrow<R>(&'static self, f: impl FnOnce(&T) -> R) -> R {
        self.with(|cell| f(&cell.borrow()))
    }

    /// Calls `f` with the value, to be changed.
    ///
    /// # Panics
    /// If it is borrowed now, or dropped.
    pub fn with_borrow_mut<R>(&'static self, f: impl FnOnce(&mut T) -> R) -> R {
        self.with(|cell| f(&mut cell.borrow_mut()))
    }
}

/// What a task has done with a value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// It did not use it yet.
    Untouched,
    /// It made it.
    Alive,
    /// It is dropping it, or did.
    Dropped,
}

/// Where the macro keeps a task's value. It lies in the task's thread-local storage.
#[doc(hidden)]
pub struct Storage<T> {
    value: UnsafeCell<Option<T>>,
    state: Cell<State>,
}

impl<T> Storage<T> {
    /// Storage without a value.
    #[expect(clippy::new_without_default, reason = "only the macro makes them, in statics")]
    pub const fn new() -> Self {
        Storage { value: UnsafeCell::new(None), state: Cell::new(State::Untouched) }
    }

    /// The value, made by `init` if the task did not use it yet; `None` if it is dropped already.
    ///
    /// # Safety
    /// `self` is a `#[thread_local]` static, so that no other task uses it and it stays where it is until the task's
    /// destructors have run.
    #[inline]
    pub unsafe fn get(&'static self, init: impl FnOnce() -> T) -> Option<&'static T> {
        match self.state.get() {
            // SAFETY: a value that is alive is only written to by `make` and the destructor, which change the state.
            State::Alive => unsafe { (*self.value.get()).as_ref() },
            State::Untouched => self.make(init),
            State::Dropped => None,
        }
    }

    #[cold]
    fn make(&'static self, init: impl FnOnce() -> T) -> Option<&'static T> {
        // This may use the value itself, and so make another one; the last one made wins, as in std.
        let value = init();
        if self.state.get() == State::Untouched && core::mem::needs_drop::<T>() {
            DESTRUCTORS.borrow_mut().push(TlsObjectDestructor {
                object_ptr: core::ptr::from_ref(self).cast_mut().cast(),
                dtor: drop_value::<T>,
            });
        }
        self.state.set(State::Alive);
        // SAFETY: nobody else uses the storage (contract of `get`). A value that `init` made meanwhile, by recursion, is given
        // up but not dropped, since references to it may be around.
        unsafe {
            core::mem::forget((*self.value.get()).replace(value));
            (*self.value.get()).as_ref()
        }
    }
}

/// Drops the value of the `Storage<T>` at `storage`.
///
/// # Safety
/// `storage` is a `Storage<T>` of the current task, to whose value no references exist.
unsafe extern "C-unwind" fn drop_value<T>(storage: *mut u8) {
    // SAFETY: the caller promises it.
    let storage = unsafe { &*storage.cast::<Storage<T>>() };
    storage.state.set(State::Dropped);
    // SAFETY: no references exist, and none are given out any more.
    let value = unsafe { (*storage.value.get()).take() };
    drop(value);
}

/// Declares statics of which every task has its own, of type [`LocalKey`]:
/// `thread_local! { static NAME: Type = value; … }`. The value is computed at each task's first use, or at compile time if it
/// is written as `const { value }`.
#[macro_export]
#[allow_internal_unstable(thread_local)]
macro_rules! thread_local {
    () => {};
    ($(#[$attribute:meta])* $visibility:vis static $name:ident: $type:ty = const $init:block; $($rest:tt)*) => {
        $crate::thread_local!(@key $(#[$attribute])* $visibility $name, $type, const { $init });
        $crate::thread_local!($($rest)*);
    };
    ($(#[$attribute:meta])* $visibility:vis static $name:ident: $type:ty = const $init:block) => {
        $crate::thread_local!(@key $(#[$attribute])* $visibility $name, $type, const { $init });
    };
    ($(#[$attribute:meta])* $visibility:vis static $name:ident: $type:ty = $init:expr; $($rest:tt)*) => {
        $crate::thread_local!(@key $(#[$attribute])* $visibility $name, $type, $init);
        $crate::thread_local!($($rest)*);
    };
    ($(#[$attribute:meta])* $visibility:vis static $name:ident: $type:ty = $init:expr) => {
        $crate::thread_local!(@key $(#[$attribute])* $visibility $name, $type, $init);
    };
    (@key $(#[$attribute:meta])* $visibility:vis $name:ident, $type:ty, $init:expr) => {
        $(#[$attribute])*
        $visibility static $name: $crate::LocalKey<$type> = {
            fn get() -> Option<&'static $type> {
                #[thread_local]
                static STORAGE: $crate::Storage<$type> = $crate::Storage::new();
                // SAFETY: STORAGE is a `#[thread_local]` static. Its reference is used by the task that runs this only: it
                // is not given out but to the closure of `LocalKey::try_with`, which cannot keep it.
                unsafe {
                    let storage = &*(&raw const STORAGE);
                    storage.get(|| $init)
                }
            }
            // SAFETY: `get` is as `new` wants it.
            unsafe { $crate::LocalKey::new(get) }
        };
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    static DROPS: AtomicUsize = AtomicUsize::new(0);

    struct Counted(u32);

    impl Drop for Counted {
        fn drop(&mut self) {
            DROPS.fetch_add(1, Ordering::SeqCst);
        }
    }

    thread_local! {
        static NUMBER: Cell<u32> = const { Cell::new(5) };
        static COUNTED: RefCell<Counted> = RefCell::new(Counted(7));
    }

    fn run_destructors() {
        loop {
            let destructors = take_current_tls_destructors();
            if destructors.is_empty() {
                break;
            }
            for TlsObjectDestructor { object_ptr, dtor } in destructors {
                // SAFETY: they are this thread's, and it holds no references to the values.
                unsafe { dtor(object_ptr) };
            }
        }
    }

    #[test]
    fn each_thread_has_its_own_and_drops_it() {
        NUMBER.set(6);
        COUNTED.with_borrow_mut(|counted| counted.0 += 1);
        std::thread::spawn(|| {
            assert_eq!(NUMBER.get(), 5);
            COUNTED.with_borrow(|counted| assert_eq!(counted.0, 7));
            let before = DROPS.load(Ordering::SeqCst);
            run_destructors();
            assert_eq!(DROPS.load(Ordering::SeqCst), before + 1);
            assert_eq!(COUNTED.try_with(|_| ()), Err(AccessError), "dropped values cannot be had");
            assert_eq!(NUMBER.get(), 5, "what needs no drop stays");
        })
        .join()
        .unwrap();
        assert_eq!(NUMBER.get(), 6);
        COUNTED.with_borrow(|counted| assert_eq!(counted.0, 8));
        run_destructors();
    }
}
