//! The mutual exclusion lock.

use crate::spin;
use core::fmt;
use core::mem::ManuallyDrop;
use core::ops::{Deref, DerefMut};

/// How the waiters of a [`Mutex`] wait, and what its holder is kept from.
pub trait MutexFlavor {
    /// The initial value of [`LockData`](Self::LockData).
    const INIT: Self::LockData;
    /// What the flavor stores in each mutex, such as a queue of waiters.
    type LockData;
    /// What the flavor stores in each guard; dropped after the mutex was released.
    type Guard;

    /// Takes the lock if it is free. Fails only if somebody holds it.
    fn try_lock<'a, T: ?Sized>(
        mutex: &'a spin::Mutex<T>,
        data: &'a Self::LockData,
    ) -> Option<(spin::MutexGuard<'a, T>, Self::Guard)>;

    /// Takes the lock, waiting until it is free.
    fn lock<'a, T: ?Sized>(
        mutex: &'a spin::Mutex<T>,
        data: &'a Self::LockData,
    ) -> (spin::MutexGuard<'a, T>, Self::Guard);

    /// Called after the lock was released and before the flavor's guard is dropped.
    fn post_unlock(data: &Self::LockData);
}

/// A lock that gives one holder at a time access to a `T`.
///
/// It is not reentrant: locking it again while holding it waits forever.
pub struct Mutex<T: ?Sized, F: MutexFlavor> {
    data: F::LockData,
    inner: spin::Mutex<T>,
}

impl<T, F: MutexFlavor> Mutex<T, F> {
    /// Creates an unlocked mutex holding `value`.
    #[inline]
    pub const fn new(value: T) -> Self {
        Self { data: F::INIT, inner: spin::Mutex::new(value) }
    }

    /// Consumes the mutex and returns its value. Owning it proves that nobody holds it.
    #[inline]
    pub fn into_inner(self) -> T {
        self.inner.into_inner()
    }
}

impl<T: ?Sized, F: MutexFlavor> Mutex<T, F> {
    /// Waits until the mutex is free and takes it.
    #[inline]
    pub fn lock(&self) -> MutexGuard<'_, T, F> {
        let (inner, flavor_guard) = F::lock(&self.inner, &self.data);
        MutexGuard { inner: ManuallyDrop::new(inner), mutex: self, _flavor_guard: flavor_guard }
    }

    /// Takes the mutex if it is free, else returns `None` at once.
    #[inline]
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T, F>> {
        let (inner, flavor_guard) = F::try_lock(&self.inner, &self.data)?;
        Some(MutexGuard { inner: ManuallyDrop::new(inner), mutex: self, _flavor_guard: flavor_guard })
    }

    /// Returns the value without locking: the exclusive borrow proves that nobody holds the mutex.
    #[inline]
    pub fn get_mut(&mut self) -> &mut T {
        self.inner.get_mut()
    }

    /// Whether somebody holds the mutex right now. The answer may be outdated as soon as it is given.
    #[inline]
    pub fn is_locked(&self) -> bool {
        self.inner.is_locked()
    }
}

impl<T: Default, F: MutexFlavor> Default for Mutex<T, F> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T, F: MutexFlavor> From<T> for Mutex<T, F> {
    fn from(value: T) -> Self {
        Self::new(value)
    }
}

impl<T: ?Sized + fmt::Debug, F: MutexFlavor> fmt::Debug for Mutex<T, F> {
    /// Prints the value if the mutex is free; never waits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.try_lock() {
            Some(guard) => f.debug_tuple("Mutex").field(&&*guard).finish(),
            None => f.write_str("Mutex(<locked>)"),
        }
    }
}

/// Access to the value of a [`Mutex`], released when dropped.
pub struct MutexGuard<'a, T: ?Sized, F: MutexFlavor> {
    inner: ManuallyDrop<spin::MutexGuard<'a, T>>,
    mutex: &'a Mutex<T, F>,
    // Dropped as the last of the fields, that is after `Drop::drop` released `inner`.
    _flavor_guard: F::Guard,
}

impl<'a, T: ?Sized, F: MutexFlavor> MutexGuard<'a, T, F> {
    /// The mutex that this guard holds. A condition variable needs it to lock again after waiting.
    #[inline]
    pub fn mutex(&self) -> &'a Mutex<T, F> {
        self.mutex
    }
}

impl<T: ?Sized, F: MutexFlavor> Deref for MutexGuard<'_, T, F> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.inner
    }
}

impl<T: ?Sized, F: MutexFlavor> DerefMut for MutexGuard<'_, T, F> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.inner
    }
}

impl<T: ?Sized, F: MutexFlavor> Drop for MutexGuard<'_, T, F> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: `inner` is dropped here and nowhere else, and not used again: the guard itself is going away.
        unsafe { ManuallyDrop::drop(&mut self.inner) };
        F::post_unlock(&self.mutex.data);
    }
}

impl<T: ?Sized + fmt::Debug, F: MutexFlavor> fmt::Debug for MutexGuard<'_, T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl<T: ?Sized + fmt::Display, F: MutexFlavor> fmt::Display for MutexGuard<'_, T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&**self, f)
    }
}
