//! [`NoDrop`]: a value that must not be dropped implicitly.
//!
//! The mappings of the kernel's own code and data are such values: dropping one would unmap the ground under
//! one's feet. The wrapper makes the only way to a drop an explicit one: [`NoDrop::into_inner`].
#![cfg_attr(not(test), no_std)]

use core::mem::ManuallyDrop;
use core::ops::{Deref, DerefMut};

/// Holds a `T` and never drops it.
#[derive(Debug)]
#[repr(transparent)]
pub struct NoDrop<T>(ManuallyDrop<T>);

impl<T> NoDrop<T> {
    /// From now on, `value` is dropped only after [`NoDrop::into_inner`].
    pub const fn new(value: T) -> Self {
        Self(ManuallyDrop::new(value))
    }

    /// The value, to be dropped in the usual way.
    pub const fn into_inner(self) -> T {
        ManuallyDrop::into_inner(self.0)
    }
}

impl<T> Deref for NoDrop<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for NoDrop<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

#[cfg(test)]
mod tests {
    use super::NoDrop;
    use std::rc::Rc;

    #[test]
    fn dropped_only_when_taken_out() {
        let counted = Rc::new(());
        {
            let _kept = NoDrop::new(counted.clone());
        }
        assert_eq!(Rc::strong_count(&counted), 2);
        drop(NoDrop::new(counted.clone()).into_inner());
        assert_eq!(Rc::strong_count(&counted), 2);
    }
}
