//! The reader-writer lock.

use crate::spin;
use core::fmt;
use core::mem::ManuallyDrop;
use core::ops::{Deref, DerefMut};

/// How the waiters of an [`RwLock`] wait, and what its holders are kept from.
pub trait RwLockFlavor {
    /// The initial value of [`LockData`](Self::LockData).
    const INIT: Self::LockData;
    /// What the flavor stores in each lock, such as a queue of waiters.
    type LockData;
    /// What the flavor stores in each guard; dropped after the lock was released.
    type Guard;

    /// Takes the lock for reading if no writer holds it.
    fn try_read<'a, T: ?Sized>(
        rw_lock: &'a spin::RwLock<T>,
        data: &'a Self::LockData,
    ) -> Option<(spin::RwLockReadGuard<'a, T>, Self::Guard)>;

    /// Takes the lock for writing if nobody holds it. May fail spuriously while another task tries to read.
    fn try_write<'a, T: ?Sized>(
        rw_lock: &'a spin::RwLock<T>,
        data: &'a Self::LockData,
    ) -> Option<(spin::RwLockWriteGuard<'a, T>, Self::Guard)>;

    /// Takes the lock for reading, waiting until no writer holds it.
    fn read<'a, T: ?Sized>(
        rw_lock: &'a spin::RwLock<T>,
        data: &'a Self::LockData,
    ) -> (spin::RwLockReadGuard<'a, T>, Self::Guard);

    /// Takes the lock for writing, waiting until nobody holds it.
    fn write<'a, T: ?Sized>(
        rw_lock: &'a spin::RwLock<T>,
        data: &'a Self::LockData,
    ) -> (spin::RwLockWriteGuard<'a, T>, Self::Guard);

    /// Called after a holder released the lock and before the flavor's guard is dropped.
    ///
    /// `is_free` is true if no holder was left when the release was done. Of several readers that leave at the
    /// same time at least one sees `true`, unless somebody else has taken the lock by then.
    fn post_unlock(data: &Self::LockData, is_free: bool);
}

/// A lock that gives many readers, or one writer, access to a `T`.
///
/// It prefers readers: a steady stream of them can keep a writer of a spinning flavor waiting. A reader must not
/// wait for the lock again while it holds it.
pub struct RwLock<T: ?Sized, F: RwLockFlavor> {
    data: F::LockData,
    inner: spin::RwLock<T>,
}

impl<T, F: RwLockFlavor> RwLock<T, F> {
    /// Creates an unlocked lock holding `value`.
    #[inline]
    pub const fn new(value: T) -> Self {
        Self { data: F::INIT, inner: spin::RwLock::new(value) }
    }

    /// Consumes the lock and returns its value. Owning it proves that nobody holds it.
    #[inline]
    pub fn into_inner(self) -> T {
        self.inner.into_inner()
    }
}

impl<T: ?Sized, F: RwLockFlavor> RwLock<T, F> {
    /// Waits until no writer holds the lock and takes it for reading.
    #[inline]
    pub fn read(&self) -> RwLockReadGuard<'_, T, F> {
        let (inner, flavor_guard) = F::read(&self.inner, &self.data);
        RwLockReadGuard { inner: ManuallyDrop::new(inner), lock: self, _flavor_guard: flavor_guard }
    }

    /// Waits until nobody holds the lock and takes it for writing.
    #[inline]
    pub fn write(&self) -> RwLockWriteGuard<'_, T, F> {
        let (inner, flavor_guard) = F::write(&self.inner, &self.data);
        RwLockWriteGuard { inner: ManuallyDrop::new(inner), lock: self, _flavor_guard: flavor_guard }
    }

    /// Takes the lock for reading if no writer holds it, else returns `None` at once.
    #[inline]
    pub fn try_read(&self) -> Option<RwLockReadGuard<'_, T, F>> {
        let (inner, flavor_guard) = F::try_read(&self.inner, &self.data)?;
        Some(RwLockReadGuard { inner: ManuallyDrop::new(inner), lock: self, _flavor_guard: flavor_guard })
    }

    /// Takes the lock for writing if nobody holds it, else returns `None` at once. It may also fail while
    /// another task is just trying to read.
    #[inline]
    pub fn try_write(&self) -> Option<RwLockWriteGuard<'_, T, F>> {
        let (inner, flavor_guard) = F::try_write(&self.inner, &self.data)?;
        Some(RwLockWriteGuard { inner: ManuallyDrop::new(inner), lock: self, _flavor_guard: flavor_guard })
    }

    /// Returns the value without locking: the exclusive borrow proves that nobody holds the lock.
    #[inline]
    pub fn get_mut(&mut self) -> &mut T {
        self.inner.get_mut()
    }

    /// How many readers hold the lock right now, counting those that are about to find that they cannot.
    #[inline]
    pub fn reader_count(&self) -> usize {
        self.inner.reader_count()
    }

    /// How many writers hold the lock right now: 0 or 1.
    #[inline]
    pub fn writer_count(&self) -> usize {
        self.inner.writer_count()
    }
}

impl<T: Default, F: RwLockFlavor> Default for RwLock<T, F> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T, F: RwLockFlavor> From<T> for RwLock<T, F> {
    fn from(value: T) -> Self {
        Self::new(value)
    }
}

impl<T: ?Sized + fmt::Debug, F: RwLockFlavor> fmt::Debug for RwLock<T, F> {
    /// Prints the value if no writer holds the lock; never waits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.try_read() {
            Some(guard) => f.debug_tuple("RwLock").field(&&*guard).finish(),
            None => f.write_str("RwLock(<locked>)"),
        }
    }
}

/// Shared access to the value of an [`RwLock`], released when dropped.
pub struct RwLockReadGuard<'a, T: ?Sized, F: RwLockFlavor> {
    inner: ManuallyDrop<spin::RwLockReadGuard<'a, T>>,
    lock: &'a RwLock<T, F>,
    // Dropped as the last of the fields, that is after `Drop::drop` released `inner`.
    _flavor_guard: F::Guard,
}

impl<T: ?Sized, F: RwLockFlavor> Deref for RwLockReadGuard<'_, T, F> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.inner
    }
}

impl<T: ?Sized, F: RwLockFlavor> Drop for RwLockReadGuard<'_, T, F> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: `inner` is dropped here and nowhere else, and not used again: the guard itself is going away.
        unsafe { ManuallyDrop::drop(&mut self.inner) };
        F::post_unlock(&self.lock.data, self.lock.inner.reader_count() == 0);
    }
}

impl<T: ?Sized + fmt::Debug, F: RwLockFlavor> fmt::Debug for RwLockReadGuard<'_, T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

/// Exclusive access to the value of an [`RwLock`], released when dropped.
pub struct RwLockWriteGuard<'a, T: ?Sized, F: RwLockFlavor> {
    inner: ManuallyDrop<spin::RwLockWriteGuard<'a, T>>,
    lock: &'a RwLock<T, F>,
    // Dropped as the last of the fields, that is after `Drop::drop` released `inner`.
    _flavor_guard: F::Guard,
}

impl<T: ?Sized, F: RwLockFlavor> Deref for RwLockWriteGuard<'_, T, F> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.inner
    }
}

impl<T: ?Sized, F: RwLockFlavor> DerefMut for RwLockWriteGuard<'_, T, F> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.inner
    }
}

impl<T: ?Sized, F: RwLockFlavor> Drop for RwLockWriteGuard<'_, T, F> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: `inner` is dropped here and nowhere else, and not used again: the guard itself is going away.
        unsafe { ManuallyDrop::drop(&mut self.inner) };
        F::post_unlock(&self.lock.data, true);
    }
}

impl<T: ?Sized + fmt::Debug, F: RwLockFlavor> fmt::Debug for RwLockWriteGuard<'_, T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}
