//! Inclusive ranges of pages and of frames.

use crate::{Frame, Page, Page4K, PageSize, PhysicalAddress, VirtualAddress};
use core::fmt;
use core::ops::{Deref, DerefMut, RangeInclusive};

macro_rules! range {
    (
        $(#[$doc:meta])* $name:ident, $unit:ident, $address:ident, $from:ident, $count:ident, $into_4k:ident
    ) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash)]
        pub struct $name<P: PageSize = Page4K>(RangeInclusive<$unit<P>>);

        impl<P: PageSize> $name<P> {
            /// From `start` to `end`, both included; empty if `end` is below `start`.
            pub const fn new(start: $unit<P>, end: $unit<P>) -> Self {
                Self(RangeInclusive::new(start, end))
            }

            /// The range with nothing in it.
            pub const fn empty() -> Self {
                Self::new($unit::from_number(P::NUM_4K_PAGES), $unit::from_number(0))
            }

            /// All units that hold one of the `size_in_bytes` bytes from `addr` on; empty if there are none.
            pub fn $from(addr: $address, size_in_bytes: usize) -> Self {
                if size_in_bytes == 0 {
                    return Self::empty();
                }
                let last = addr + (size_in_bytes - 1);
                Self::new($unit::containing_address(addr), $unit::containing_address(last))
            }

            /// The first one.
            pub const fn start(&self) -> &$unit<P> {
                self.0.start()
            }

            /// The last one.
            pub const fn end(&self) -> &$unit<P> {
                self.0.end()
            }

            /// Address of the first byte.
            pub const fn start_address(&self) -> $address {
                self.0.start().start_address()
            }

            /// How many units, of this range's own page size.
            pub const fn $count(&self) -> usize {
                let (start, end) = (self.0.start().number(), self.0.end().number());
                if end < start { 0 } else { (end - start) / P::NUM_4K_PAGES + 1 }
            }

            /// How many bytes.
            pub const fn size_in_bytes(&self) -> usize {
                self.$count() * P::SIZE_IN_BYTES
            }

            /// Whether there is nothing in it.
            pub const fn is_empty(&self) -> bool {
                self.$count() == 0
            }

            /// Whether the byte at `addr` is in it.
            pub fn contains_address(&self, addr: $address) -> bool {
                self.0.contains(&$unit::containing_address(addr))
            }

            /// Bytes from the start of the range to `addr`, or `None` if that is outside.
            pub fn offset_of_address(&self, addr: $address) -> Option<usize> {
                self.contains_address(addr).then(|| addr.value() - self.start_address().value())
            }

            /// The address `offset` bytes into the range, or `None` if that is outside.
            pub fn address_at_offset(&self, offset: usize) -> Option<$address> {
                (offset < self.size_in_bytes()).then(|| self.start_address() + offset)
            }

            /// The smallest range that holds both this one and `to_include`.
            pub fn to_extended(&self, to_include: $unit<P>) -> Self {
                if self.is_empty() {
                    return Self::new(to_include, to_include);
                }
                Self::new(*self.start().min(&to_include), *self.end().max(&to_include))
            }

            /// Whether all of `other` is in this one. An empty range is in none.
            pub fn contains_range(&self, other: &Self) -> bool {
                !other.is_empty() && self.0.contains(other.start()) && self.0.contains(other.end())
            }

            /// What both have in common, or `None` if that is nothing.
            pub fn overlap(&self, other: &Self) -> Option<Self> {
                let start = *self.start().max(other.start());
                let end = *self.end().min(other.end());
                (start <= end && !self.is_empty() && !other.is_empty()).then(|| Self::new(start, end))
            }

            /// The same bytes, in units of 4 KiB.
            pub const fn $into_4k(&self) -> $name<Page4K> {
                if self.is_empty() {
                    return $name::empty();
                }
                $name::new(
                    $unit::from_number(self.start().number()),
                    $unit::from_number(self.end().number() + P::NUM_4K_PAGES - 1),
                )
            }
        }

        impl $name<Page4K> {
            /// The same bytes in units of `P`, or `None` if they do not begin and end at a unit of that size.
            pub fn try_into_size<P: PageSize>(&self) -> Option<$name<P>> {
                if self.is_empty() {
                    return Some($name::empty());
                }
                let (start, past_end) = (self.start().number(), self.end().number() + 1);
                (start % P::NUM_4K_PAGES == 0 && past_end % P::NUM_4K_PAGES == 0)
                    .then(|| $name::new($unit::from_number(start), $unit::from_number(past_end - 1)))
            }

            /// `count` units from `start` on.
            pub fn from_start_and_count(start: $unit<Page4K>, count: usize) -> Self {
                if count == 0 { Self::empty() } else { Self::new(start, start + (count - 1)) }
            }
        }

        impl<P: PageSize> fmt::Debug for $name<P> {
            fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:?}..={:?})"), self.0.start(), self.0.end())
            }
        }

        impl<P: PageSize> Deref for $name<P> {
            type Target = RangeInclusive<$unit<P>>;
            fn deref(&self) -> &Self::Target {
                &self.0
            }
        }
        impl<P: PageSize> DerefMut for $name<P> {
            fn deref_mut(&mut self) -> &mut Self::Target {
                &mut self.0
            }
        }

        impl<P: PageSize> IntoIterator for $name<P> {
            type Item = $unit<P>;
            type IntoIter = RangeInclusive<$unit<P>>;
            fn into_iter(self) -> Self::IntoIter {
                self.0
            }
        }
        impl<P: PageSize> IntoIterator for &$name<P> {
            type Item = $unit<P>;
            type IntoIter = RangeInclusive<$unit<P>>;
            fn into_iter(self) -> Self::IntoIter {
                self.0.clone()
            }
        }
    };
}

range! {
    /// A range of virtual pages; owns nothing.
    PageRange, Page, VirtualAddress, from_virt_addr, size_in_pages, into_4k_pages
}
range! {
    /// A range of physical frames; owns nothing.
    FrameRange, Frame, PhysicalAddress, from_phys_addr, size_in_frames, into_4k_frames
}
