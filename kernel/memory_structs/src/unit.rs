//! Pages and frames of the three sizes.

use crate::{PhysicalAddress, VirtualAddress};
use core::cmp::Ordering;
use core::fmt;
use core::hash::{Hash, Hasher};
use core::iter::Step;
use core::marker::PhantomData;
use core::ops::{Add, AddAssign, Sub, SubAssign};
use kernel_config::memory::{MAX_PAGE_NUMBER, PAGE_SHIFT, PAGE_SIZE};

mod private {
    /// Keeps [`super::PageSize`] to the three sizes the processor has.
    pub trait Sealed {}
}

/// The size of a page or frame, as a type.
pub trait PageSize: Ord + Copy + private::Sealed + 'static {
    /// The same, as a value.
    const SIZE: MemChunkSize;
    /// How many 4 KiB pages one of these is.
    const NUM_4K_PAGES: usize;
    /// Bytes in one of these.
    const SIZE_IN_BYTES: usize = Self::NUM_4K_PAGES * PAGE_SIZE;
}

macro_rules! page_size {
    ($(#[$doc:meta])* $name:ident, $size:ident, $count:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name;
        impl private::Sealed for $name {}
        impl PageSize for $name {
            const SIZE: MemChunkSize = MemChunkSize::$size;
            const NUM_4K_PAGES: usize = $count;
        }
    };
}
page_size!(
    /// 4 KiB, the normal size.
    Page4K, Normal4K, 1
);
page_size!(
    /// 2 MiB: one entry of a level-2 table.
    Page2M, Huge2M, 512
);
page_size!(
    /// 1 GiB: one entry of a level-3 table.
    Page1G, Huge1G, 512 * 512
);

/// The sizes a page or frame can have, as a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MemChunkSize {
    /// 4 KiB.
    Normal4K,
    /// 2 MiB.
    Huge2M,
    /// 1 GiB.
    Huge1G,
}

macro_rules! unit {
    ($(#[$doc:meta])* $name:ident, $address:ident, $last:expr) => {
        $(#[$doc])*
        pub struct $name<P: PageSize = Page4K> {
            /// In units of 4 KiB, whatever `P`; always a multiple of `P::NUM_4K_PAGES`.
            number: usize,
            size: PhantomData<P>,
        }

        impl<P: PageSize> $name<P> {
            pub(crate) const fn from_number(number: usize) -> Self {
                Self { number: number & !(P::NUM_4K_PAGES - 1), size: PhantomData }
            }

            /// The one that the address lies in.
            pub const fn containing_address(addr: $address) -> Self {
                Self::from_number(addr.value() >> PAGE_SHIFT)
            }

            /// Its number, in units of 4 KiB whatever its size.
            pub const fn number(&self) -> usize {
                self.number
            }

            /// Its first byte.
            pub const fn start_address(&self) -> $address {
                $address::new_canonical(self.number << PAGE_SHIFT)
            }

            /// Its size, as a value.
            pub const fn page_size(&self) -> MemChunkSize {
                P::SIZE
            }

            /// The 4 KiB one it begins with.
            pub const fn as_4k(&self) -> $name<Page4K> {
                $name::from_number(self.number)
            }
        }

        impl $name<Page4K> {
            /// The first one at or after this one whose number is a multiple of `alignment_4k`.
            ///
            /// An alignment of 0 or 1 changes nothing.
            pub const fn align_up(&self, alignment_4k: usize) -> Self {
                if alignment_4k <= 1 {
                    return *self;
                }
                match self.number.checked_next_multiple_of(alignment_4k) {
                    Some(number) => Self::from_number(number),
                    None => Self::from_number($last),
                }
            }
        }

        // Written out, because `derive` would demand the same of `P`.
        impl<P: PageSize> Clone for $name<P> {
            fn clone(&self) -> Self {
                *self
            }
        }
        impl<P: PageSize> Copy for $name<P> {}
        impl<P: PageSize> PartialEq for $name<P> {
            fn eq(&self, other: &Self) -> bool {
                self.number == other.number
            }
        }
        impl<P: PageSize> Eq for $name<P> {}
        impl<P: PageSize> PartialOrd for $name<P> {
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }
        impl<P: PageSize> Ord for $name<P> {
            fn cmp(&self, other: &Self) -> Ordering {
                self.number.cmp(&other.number)
            }
        }
        impl<P: PageSize> Hash for $name<P> {
            fn hash<H: Hasher>(&self, state: &mut H) {
                self.number.hash(state);
            }
        }
        impl<P: PageSize> fmt::Debug for $name<P> {
            fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:?}, {:?})"), self.start_address(), P::SIZE)
            }
        }

        // Arithmetic counts in units of `P`, and saturates at both ends.
        impl<P: PageSize> Add<usize> for $name<P> {
            type Output = Self;
            fn add(self, rhs: usize) -> Self {
                let sum = self.number.saturating_add(rhs.saturating_mul(P::NUM_4K_PAGES));
                Self::from_number(if sum > $last { $last } else { sum })
            }
        }
        impl<P: PageSize> Sub<usize> for $name<P> {
            type Output = Self;
            fn sub(self, rhs: usize) -> Self {
                Self::from_number(self.number.saturating_sub(rhs.saturating_mul(P::NUM_4K_PAGES)))
            }
        }
        impl<P: PageSize> Sub for $name<P> {
            type Output = usize;
            /// How many units of this size lie between the two, or 0 if `rhs` is the higher one.
            #[allow(clippy::suspicious_arithmetic_impl, reason = "numbers count 4 KiB, this counts `P`")]
            fn sub(self, rhs: Self) -> usize {
                self.number.saturating_sub(rhs.number) / P::NUM_4K_PAGES
            }
        }
        impl<P: PageSize> AddAssign<usize> for $name<P> {
            fn add_assign(&mut self, rhs: usize) {
                *self = *self + rhs;
            }
        }
        impl<P: PageSize> SubAssign<usize> for $name<P> {
            fn sub_assign(&mut self, rhs: usize) {
                *self = *self - rhs;
            }
        }

        impl<P: PageSize> Step for $name<P> {
            fn steps_between(start: &Self, end: &Self) -> (usize, Option<usize>) {
                match end.number.checked_sub(start.number) {
                    Some(n) => (n / P::NUM_4K_PAGES, Some(n / P::NUM_4K_PAGES)),
                    None => (0, None),
                }
            }
            fn forward_checked(start: Self, count: usize) -> Option<Self> {
                let number = start.number.checked_add(count.checked_mul(P::NUM_4K_PAGES)?)?;
                (number <= $last).then(|| Self::from_number(number))
            }
            fn backward_checked(start: Self, count: usize) -> Option<Self> {
                Some(Self::from_number(start.number.checked_sub(count.checked_mul(P::NUM_4K_PAGES)?)?))
            }
        }
    };
}

unit! {
    /// A page: a unit of virtual memory.
    Page, VirtualAddress, MAX_PAGE_NUMBER
}
unit! {
    /// A frame: a unit of physical memory.
    Frame, PhysicalAddress, MAX_PAGE_NUMBER >> PAGE_SHIFT
}

impl<P: PageSize> Page<P> {
    /// Index into the top-level page table.
    pub const fn p4_index(&self) -> usize {
        (self.number >> 27) & 0x1FF
    }

    /// Index into the level-3 page table.
    pub const fn p3_index(&self) -> usize {
        (self.number >> 18) & 0x1FF
    }

    /// Index into the level-2 page table.
    pub const fn p2_index(&self) -> usize {
        (self.number >> 9) & 0x1FF
    }

    /// Index into the level-1 page table, whose entries are 4 KiB pages.
    pub const fn p1_index(&self) -> usize {
        self.number & 0x1FF
    }
}
