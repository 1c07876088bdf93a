//! The sleeping locks with the signatures of `std::sync`, for code that was written for those.
//!
//! Locks are never poisoned, so none of the results is ever an error.

use crate::{MutexGuard, RwLockReadGuard, RwLockWriteGuard};

/// A [`crate::Mutex`] with the signatures of `std::sync::Mutex`.
#[derive(Default)]
pub struct Mutex<T: ?Sized>(crate::Mutex<T>);

#[allow(clippy::result_unit_err, reason = "the error exists for the signature's sake only")]
impl<T> Mutex<T> {
    /// Creates an unlocked mutex holding `value`.
    pub const fn new(value: T) -> Self {
        Self(crate::Mutex::new(value))
    }

    /// Consumes the mutex and returns its value.
    ///
    /// # Errors
    /// None.
    pub fn into_inner(self) -> Result<T, ()> {
        Ok(self.0.into_inner())
    }
}

#[allow(clippy::result_unit_err, reason = "the error exists for the signature's sake only")]
impl<T: ?Sized> Mutex<T> {
    /// Waits until the mutex is free and takes it.
    ///
    /// # Errors
    /// None.
    pub fn lock(&self) -> Result<MutexGuard<'_, T>, ()> {
        Ok(self.0.lock())
    }

    /// Takes the mutex if it is free.
    ///
    /// # Errors
    /// The mutex is held.
    pub fn try_lock(&self) -> Result<MutexGuard<'_, T>, ()> {
        self.0.try_lock().ok_or(())
    }

    /// Returns the value without locking.
    ///
    /// # Errors
    /// None.
    pub fn get_mut(&mut self) -> Result<&mut T, ()> {
        Ok(self.0.get_mut())
    }
}

impl<T: ?Sized + core::fmt::Debug> core::fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.fmt(f)
    }
}

/// A [`crate::RwLock`] with the signatures of `std::sync::RwLock`.
#[derive(Default)]
pub struct RwLock<T: ?Sized>(crate::RwLock<T>);

#[allow(clippy::result_unit_err, reason = "the error exists for the signature's sake only")]
impl<T> RwLock<T> {
    /// Creates an unlocked lock holding `value`.
    pub const fn new(value: T) -> Self {
        Self(crate::RwLock::new(value))
    }

    /// Consumes the lock and returns its value.
    ///
    /// # Errors
    /// None.
    pub fn into_inner(self) -> Result<T, ()> {
        Ok(self.0.into_inner())
    }
}

#[allow(clippy::result_unit_err, reason = "the error exists for the signature's sake only")]
impl<T: ?Sized> RwLock<T> {
    /// Waits until no writer holds the lock and takes it for reading.
    ///
    /// # Errors
    /// None.
    pub fn read(&self) -> Result<RwLockReadGuard<'_, T>, ()> {
        Ok(self.0.read())
    }

    /// Waits until nobody holds the lock and takes it for writing.
    ///
    /// # Errors
    /// None.
    pub fn write(&self) -> Result<RwLockWriteGuard<'_, T>, ()> {
        Ok(self.0.write())
    }

    /// Takes the lock for reading if no writer holds it.
    ///
    /// # Errors
    /// A writer holds the lock.
    pub fn try_read(&self) -> Result<RwLockReadGuard<'_, T>, ()> {
        self.0.try_read().ok_or(())
    }

    /// Takes the lock for writing if nobody holds it.
    ///
    /// # Errors
    /// Somebody holds the lock.
    pub fn try_write(&self) -> Result<RwLockWriteGuard<'_, T>, ()> {
        self.0.try_write().ok_or(())
    }

    /// Returns the value without locking.
    ///
    /// # Errors
    /// None.
    pub fn get_mut(&mut self) -> Result<&mut T, ()> {
        Ok(self.0.get_mut())
    }
}

impl<T: ?Sized + core::fmt::Debug> core::fmt::Debug for RwLock<T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.fmt(f)
    }
}
