//! A shared reference with two levels of sharing, for values that are copied on write.
//!
//! A [`CowArc`] counts two things apart:
//! - *owners*: made by `clone()`. Several owners (say, two crate namespaces that hold the same crate) share one value,
//!   and none of them may change it: whoever wants to must first make a copy of its own.
//! - *handles of one owner*: made by [`CowArc::clone_shallow`]. They come and go as code passes the reference around and
//!   do not make the value shared.
//!
//! Invariant: the value is never changed while anyone else can see it. There is no lock inside, so reading a value costs
//! two pointer hops and can be done anywhere, in a panic too.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::sync::{Arc, Weak};
use core::{fmt, ops::Deref};

/// A shared reference to a `T` that is copied on write. See the crate's documentation.
pub struct CowArc<T> {
    #[expect(clippy::redundant_allocation, reason = "the two counts are what this type is for")]
    /// One outer allocation per owner, one inner per value.
    owner: Arc<Arc<T>>,
}

/// A reference that keeps neither the owner nor the value alive.
pub struct CowWeak<T> {
    owner: Weak<Arc<T>>,
}

/// What [`CowArc::lock_as_ref`] gives: the value, borrowed.
pub struct CowArcRef<'a, T> {
    value: &'a T,
}

impl<T> CowArc<T> {
    /// Makes `value` shared, with one owner.
    pub fn new(value: T) -> Self {
        CowArc { owner: Arc::new(Arc::new(value)) }
    }

    /// Makes a value that can hold a reference to its own owner. The reference upgrades once the value is made.
    pub fn new_cyclic(make: impl FnOnce(CowWeak<T>) -> T) -> Self {
        CowArc { owner: Arc::new_cyclic(|owner| Arc::new(make(CowWeak { owner: Weak::clone(owner) }))) }
    }

    /// Borrows the value. Never waits.
    pub fn lock_as_ref(&self) -> CowArcRef<'_, T> {
        CowArcRef { value: &self.owner }
    }

    /// As [`CowArc::lock_as_ref`], and always `Some`: there is no lock that another could hold.
    pub fn try_lock_as_ref(&self) -> Option<CowArcRef<'_, T>> {
        Some(self.lock_as_ref())
    }

    /// The value, to be changed. `None` as long as another owner or handle exists.
    pub fn lock_as_mut(&mut self) -> Option<&mut T> {
        Arc::get_mut(Arc::get_mut(&mut self.owner)?)
    }

    /// Another handle of the same owner.
    pub fn clone_shallow(&self) -> Self {
        CowArc { owner: Arc::clone(&self.owner) }
    }

    /// A reference that does not keep the owner alive.
    pub fn downgrade(&self) -> CowWeak<T> {
        CowWeak { owner: Arc::downgrade(&self.owner) }
    }

    /// Whether the value has more than one owner.
    pub fn is_shared(&self) -> bool {
        Arc::strong_count(Arc::as_ref(&self.owner)) > 1
    }

    /// Whether both refer to the same value.
    pub fn ptr_eq(this: &Self, other: &Self) -> bool {
        Arc::ptr_eq(Arc::as_ref(&this.owner), Arc::as_ref(&other.owner))
    }
}

impl<T> Clone for CowArc<T> {
    /// Adds an owner: from now on the value is shared.
    fn clone(&self) -> Self {
        CowArc { owner: Arc::new(Arc::clone(&self.owner)) }
    }
}

impl<T> Deref for CowArc<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.owner
    }
}

impl<T: fmt::Debug> fmt::Debug for CowArc<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        T::fmt(self, f)
    }
}

impl<T> CowWeak<T> {
    /// The owner's reference again, or `None` once its last handle is gone.
    pub fn upgrade(&self) -> Option<CowArc<T>> {
        self.owner.upgrade().map(|owner| CowArc { owner })
    }
}

impl<T> Clone for CowWeak<T> {
    fn clone(&self) -> Self {
        CowWeak { owner: Weak::clone(&self.owner) }
    }
}

impl<T> Default for CowWeak<T> {
    /// A reference that never upgrades.
    fn default() -> Self {
        CowWeak { owner: Weak::new() }
    }
}

impl<T> Deref for CowArcRef<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        self.value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_share_and_handles_do_not() {
        let mut first = CowArc::new(1);
        assert!(!first.is_shared());
        let handle = first.clone_shallow();
        assert!(!first.is_shared());
        assert!(CowArc::ptr_eq(&first, &handle));
        assert!(first.lock_as_mut().is_none(), "a handle sees the value");
        drop(handle);
        *first.lock_as_mut().unwrap() = 2;
        let second = first.clone();
        assert!(first.is_shared() && second.is_shared());
        assert!(first.lock_as_mut().is_none(), "another owner sees the value");
        assert_eq!(*second.lock_as_ref(), 2);
        drop(second);
        assert!(!first.is_shared());
    }

    #[test]
    fn a_value_can_know_its_owner() {
        struct Node {
            own: CowWeak<Node>,
        }
        let node = CowArc::new_cyclic(|own| Node { own });
        assert!(CowArc::ptr_eq(&node.own.upgrade().unwrap(), &node));
        let weak = node.own.clone();
        drop(node);
        assert!(weak.upgrade().is_none());
    }

    #[test]
    fn a_weak_reference_ends_with_its_owner() {
        let first = CowArc::new(7);
        let weak = first.downgrade();
        let second = first.clone();
        assert_eq!(*weak.upgrade().unwrap(), 7);
        drop(first);
        assert!(weak.upgrade().is_none(), "the other owner has another handle");
        assert_eq!(*second, 7);
    }
}
