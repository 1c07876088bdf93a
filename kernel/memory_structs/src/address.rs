//! The two kinds of address.

use core::fmt;
use core::ops::{Add, AddAssign, Sub, SubAssign};
use kernel_config::memory::PAGE_SIZE;

/// Bits that a physical address may have on x86_64.
const PHYSICAL_MASK: usize = 0x000F_FFFF_FFFF_FFFF;

/// Sign-extends bit 47, which is what makes an address canonical.
const fn canonical_virtual(addr: usize) -> usize {
    ((addr << 16) as isize >> 16) as usize
}

const fn canonical_physical(addr: usize) -> usize {
    addr & PHYSICAL_MASK
}

macro_rules! address {
    ($(#[$doc:meta])* $name:ident, $letter:literal, $canonical:ident, $offset:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
        #[repr(transparent)]
        pub struct $name(usize);

        impl $name {
            /// The address, or `None` if the value is not a canonical address.
            pub const fn new(addr: usize) -> Option<Self> {
                if $canonical(addr) == addr { Some(Self(addr)) } else { None }
            }

            /// The canonical address that agrees with the value in all bits that are significant.
            pub const fn new_canonical(addr: usize) -> Self {
                Self($canonical(addr))
            }

            /// Address zero.
            pub const fn zero() -> Self {
                Self(0)
            }

            /// The address as an integer.
            pub const fn value(&self) -> usize {
                self.0
            }

            /// Bytes from the start of the 4 KiB unit that the address lies in.
            pub const fn $offset(&self) -> usize {
                self.0 & (PAGE_SIZE - 1)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
                write!(f, concat!($letter, "{:#X}"), self.0)
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
                fmt::Debug::fmt(self, f)
            }
        }
        impl fmt::Pointer for $name {
            fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
                fmt::Debug::fmt(self, f)
            }
        }
        impl fmt::LowerHex for $name {
            fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
                fmt::LowerHex::fmt(&self.0, f)
            }
        }
        impl fmt::UpperHex for $name {
            fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
                fmt::UpperHex::fmt(&self.0, f)
            }
        }

        // Arithmetic saturates and then canonicalises, so that no operator can make an address that is none.
        impl Add<usize> for $name {
            type Output = Self;
            fn add(self, rhs: usize) -> Self {
                Self::new_canonical(self.0.saturating_add(rhs))
            }
        }
        impl Add for $name {
            type Output = Self;
            fn add(self, rhs: Self) -> Self {
                self + rhs.0
            }
        }
        impl Sub<usize> for $name {
            type Output = Self;
            fn sub(self, rhs: usize) -> Self {
                Self::new_canonical(self.0.saturating_sub(rhs))
            }
        }
        impl Sub for $name {
            type Output = Self;
            fn sub(self, rhs: Self) -> Self {
                self - rhs.0
            }
        }
        impl AddAssign<usize> for $name {
            fn add_assign(&mut self, rhs: usize) {
                *self = *self + rhs;
            }
        }
        impl SubAssign<usize> for $name {
            fn sub_assign(&mut self, rhs: usize) {
                *self = *self - rhs;
            }
        }
        impl From<$name> for usize {
            fn from(addr: $name) -> usize {
                addr.0
            }
        }
    };
}

address! {
    /// A canonical virtual address: bits 63 to 47 are all equal.
    VirtualAddress, "v", canonical_virtual, page_offset
}
address! {
    /// A physical address, of at most 52 bits.
    PhysicalAddress, "p", canonical_physical, frame_offset
}
