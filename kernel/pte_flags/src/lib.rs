//! Flags of page table entries.
//!
//! [`PteFlags`] says what is wanted of a mapping in words that any architecture has; [`PteFlagsX86_64`] is
//! the same in the bits that the processor reads, and [`PteFlagsArch`] names the one of the architecture
//! compiled for.
//!
//! Two rules live here, because every mapping passes through these types:
//! * a new set of flags is not executable and not writable until asked for, and
//!   [`PteFlagsX86_64::violates_w_xor_x`] is what the mapper refuses;
//! * [`PteFlags::EXCLUSIVE`] is set if and only if the page is the only mapping of its frame. Only then may
//!   unmapping give the frame back. The mapper sets it, never its caller.
#![cfg_attr(not(test), no_std)]

use bitflags::bitflags;

/// Bits of an x86_64 page table entry that hold the frame's address.
pub const PTE_FRAME_MASK: u64 = 0x000F_FFFF_FFFF_F000;

/// The flags type of the architecture compiled for.
pub type PteFlagsArch = PteFlagsX86_64;

bitflags! {
    /// What is wanted of a mapping, on any architecture.
    ///
    /// Bits that exist on x86_64 have that position here, so that converting costs next to nothing.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct PteFlags: u64 {
        /// The page can be accessed at all.
        const VALID = 1 << 0;
        /// The page can be written to.
        const WRITABLE = 1 << 1;
        /// Unprivileged code can access the page. There is none in this system.
        const _USER_ACCESSIBLE = 1 << 2;
        /// Accesses have side effects: uncached, in order, exactly as programmed.
        const DEVICE_MEMORY = 1 << 4;
        /// The page was accessed.
        const ACCESSED = 1 << 5;
        /// The page was written to.
        const DIRTY = 1 << 6;
        /// The page is the only mapping of its frame.
        const EXCLUSIVE = 1 << 55;
        /// No instruction can be fetched from the page.
        const NOT_EXECUTABLE = 1 << 63;
    }
}

bitflags! {
    /// Flags in an x86_64 page table entry (Intel SDM volume 3, 4.5.4).
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct PteFlagsX86_64: u64 {
        /// Present.
        const VALID = 1 << 0;
        /// The page can be written to.
        const WRITABLE = 1 << 1;
        /// User mode can access the page. There is none in this system.
        const _USER_ACCESSIBLE = 1 << 2;
        /// Writes go to memory at once; also bit 0 of the index into the page attribute table.
        const WRITE_THROUGH = 1 << 3;
        /// Bit 0 of the index into the page attribute table.
        const PAT_BIT0 = 1 << 3;
        /// Not cached; also bit 1 of the index into the page attribute table.
        const CACHE_DISABLE = 1 << 4;
        /// What a device's registers need: not cached.
        const DEVICE_MEMORY = 1 << 4;
        /// Bit 1 of the index into the page attribute table.
        const PAT_BIT1 = 1 << 4;
        /// The processor sets it when the page is accessed.
        const ACCESSED = 1 << 5;
        /// The processor sets it when the page is written to.
        const DIRTY = 1 << 6;
        /// In a table of level 2 or 3: the entry maps a huge page instead of pointing to a table.
        const HUGE_PAGE = 1 << 7;
        /// In a table of level 1: bit 2 of the index into the page attribute table.
        const PAT_BIT2_FOR_P1 = 1 << 7;
        /// The translation survives a reload of CR3. Not used: there is one address space, which is never
        /// left.
        const _GLOBAL = 1 << 8;
        /// The page is the only mapping of its frame. The processor ignores this bit.
        const EXCLUSIVE = 1 << 55;
        /// No instruction can be fetched from the page (needs EFER.NXE).
        const NOT_EXECUTABLE = 1 << 63;
        // An entry read back may have any other bit.
        const _ = !0;
    }
}

macro_rules! builders {
    ($name:ident) => {
        impl $name {
            /// Accessed, and nothing else allowed: not valid, not writable, not executable.
            pub const fn new() -> Self {
                Self::from_bits_retain(Self::ACCESSED.bits() | Self::NOT_EXECUTABLE.bits())
            }

            const fn with(self, flag: Self, enable: bool) -> Self {
                if enable {
                    Self::from_bits_retain(self.bits() | flag.bits())
                } else {
                    Self::from_bits_retain(self.bits() & !flag.bits())
                }
            }

            /// With [`Self::VALID`] set or cleared.
            #[must_use]
            pub const fn valid(self, enable: bool) -> Self {
                self.with(Self::VALID, enable)
            }

            /// With [`Self::WRITABLE`] set or cleared.
            #[must_use]
            pub const fn writable(self, enable: bool) -> Self {
                self.with(Self::WRITABLE, enable)
            }

            /// With [`Self::NOT_EXECUTABLE`] cleared (if `enable`) or set.
            #[must_use]
            pub const fn executable(self, enable: bool) -> Self {
                self.with(Self::NOT_EXECUTABLE, !enable)
            }

            /// With [`Self::DEVICE_MEMORY`] set or cleared.
            #[must_use]
            pub const fn device_memory(self, enable: bool) -> Self {
                self.with(Self::DEVICE_MEMORY, enable)
            }

            /// With [`Self::EXCLUSIVE`] set or cleared.
            #[must_use]
            pub const fn exclusive(self, enable: bool) -> Self {
                self.with(Self::EXCLUSIVE, enable)
            }

            /// With [`Self::ACCESSED`] set or cleared.
            #[must_use]
            pub const fn accessed(self, enable: bool) -> Self {
                self.with(Self::ACCESSED, enable)
            }

            /// With [`Self::DIRTY`] set or cleared.
            #[must_use]
            pub const fn dirty(self, enable: bool) -> Self {
                self.with(Self::DIRTY, enable)
            }

            /// Whether the page can be accessed at all.
            pub const fn is_valid(&self) -> bool {
                self.contains(Self::VALID)
            }

            /// Whether the page can be written to.
            pub const fn is_writable(&self) -> bool {
                self.contains(Self::WRITABLE)
            }

            /// Whether instructions can be fetched from the page.
            pub const fn is_executable(&self) -> bool {
                !self.contains(Self::NOT_EXECUTABLE)
            }

            /// Whether accesses bypass the caches.
            pub const fn is_device_memory(&self) -> bool {
                self.contains(Self::DEVICE_MEMORY)
            }

            /// Whether the page was written to.
            pub const fn is_dirty(&self) -> bool {
                self.contains(Self::DIRTY)
            }

            /// Whether the page was accessed.
            pub const fn is_accessed(&self) -> bool {
                self.contains(Self::ACCESSED)
            }

            /// Whether the page is the only mapping of its frame.
            pub const fn is_exclusive(&self) -> bool {
                self.contains(Self::EXCLUSIVE)
            }

            /// Whether code could be written and then run: what no mapping may allow.
            pub const fn violates_w_xor_x(&self) -> bool {
                self.is_writable() && self.is_executable()
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self::new()
            }
        }
    };
}
builders!(PteFlags);
builders!(PteFlagsX86_64);

impl PteFlagsX86_64 {
    /// With [`Self::HUGE_PAGE`] set or cleared.
    #[must_use]
    pub const fn huge(self, enable: bool) -> Self {
        self.with(Self::HUGE_PAGE, enable)
    }

    /// Whether an entry of a level-2 or level-3 table maps a huge page.
    pub const fn is_huge(&self) -> bool {
        self.contains(Self::HUGE_PAGE)
    }

    /// The flags of an entry, without the address of its frame.
    pub const fn from_entry(entry: u64) -> Self {
        Self::from_bits_retain(entry & !PTE_FRAME_MASK)
    }
}

impl From<PteFlags> for PteFlagsX86_64 {
    fn from(flags: PteFlags) -> Self {
        // The neutral flags were given x86_64's positions.
        Self::from_bits_retain(flags.bits())
    }
}

impl From<PteFlagsX86_64> for PteFlags {
    fn from(flags: PteFlagsX86_64) -> Self {
        Self::from_bits_truncate(flags.bits())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_flags_allow_nothing() {
        let f = PteFlags::new();
        assert!(!f.is_valid() && !f.is_writable() && !f.is_executable() && f.is_accessed());
        assert_eq!(PteFlagsArch::from(f), PteFlagsArch::new());
    }

    #[test]
    fn builders_set_and_clear() {
        let f = PteFlags::new().valid(true).writable(true).device_memory(true).exclusive(true).dirty(true);
        assert!(f.is_valid() && f.is_writable() && f.is_device_memory() && f.is_exclusive() && f.is_dirty());
        let g = f.valid(false).writable(false).device_memory(false).exclusive(false).dirty(false);
        assert_eq!(g, PteFlags::new());
        assert_eq!(PteFlagsArch::from(f).bits(), 1 | 2 | 16 | 32 | 64 | 1 << 55 | 1 << 63);
    }

    #[test]
    fn every_flag_converts_both_ways() {
        for flag in PteFlags::all().iter() {
            assert_eq!(PteFlags::from(PteFlagsArch::from(flag)), flag);
        }
        // What only x86_64 has is dropped.
        let arch = PteFlagsArch::new().huge(true);
        assert_eq!(PteFlags::from(arch), PteFlags::new());
        assert!(arch.is_huge() && !arch.huge(false).is_huge());
    }

    #[test]
    fn writable_and_executable_is_a_violation() {
        let f = PteFlags::new().valid(true);
        assert!(!f.violates_w_xor_x());
        assert!(!f.writable(true).violates_w_xor_x());
        assert!(!f.executable(true).violates_w_xor_x());
        assert!(f.writable(true).executable(true).violates_w_xor_x());
    }

    #[test]
    fn entry_flags_leave_the_address_out() {
        let f = PteFlagsX86_64::from_entry(0x8000_0000_1234_5063);
        assert_eq!(f.bits(), 0x8000_0000_0000_0063);
    }
}
