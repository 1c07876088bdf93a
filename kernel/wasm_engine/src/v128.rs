//! Vectors as values of the host.

use core::fmt;

/// A value of type `v128`: 128 bits, lane 0 in the lowest. To be made from, and turned into, a `u128`.
///
/// Where it lies it need not be aligned, so that it makes a [`Val`](crate::Val) no larger than it must.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub struct V128([u8; 16]);

impl V128 {
    /// The bits.
    pub fn as_u128(&self) -> u128 {
        u128::from_ne_bytes(self.0)
    }
}

impl From<u128> for V128 {
    fn from(bits: u128) -> Self {
        Self(bits.to_ne_bytes())
    }
}

impl From<V128> for u128 {
    fn from(value: V128) -> Self {
        value.as_u128()
    }
}

/// In the order of the numbers that the bits are.
impl Ord for V128 {
    fn cmp(&self, other: &Self) -> core::cmp::Ordering {
        self.as_u128().cmp(&other.as_u128())
    }
}

impl PartialOrd for V128 {
    fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Debug for V128 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_u128().fmt(f)
    }
}
