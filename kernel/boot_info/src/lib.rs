//! What the boot loader said: which memory there is, where the boot archive lies, the command line, and where to
//! find the ACPI tables.
//!
//! Two protocols lead into the same kernel: PVH (QEMU's `-kernel`; [`pvh`]) and multiboot2 (GRUB; [`multiboot`]). Both are
//! copied into one [`BootInfo`] before anything else may overwrite them, so nobody later needs to know which it was.
//! All addresses are physical.
//!
//! The information is written once by the base image with [`set`] and read with [`get`].
#![cfg_attr(not(test), no_std)]

pub mod multiboot;
pub mod phases;
pub mod pvh;

use arrayvec::{ArrayString, ArrayVec};
use core::fmt;
use core::ops::Range;

/// The most memory regions that are kept. UEFI firmware reports up to about 150, which merging brings below 40.
pub const MAX_REGIONS: usize = 128;
/// The longest command line that is kept, in bytes. QEMU's own limit is 4,095.
pub const MAX_COMMAND_LINE: usize = 4096;

/// What a boot loader told the kernel. Addresses are physical.
pub struct BootInfo {
    /// Ranges of usable RAM, sorted, without overlaps, adjacent ones merged.
    pub usable: ArrayVec<Range<usize>, MAX_REGIONS>,
    /// Ranges that lie in RAM and must not be handed out: the archive, and what the boot loader left to be read later.
    pub reserved: ArrayVec<Range<usize>, 8>,
    /// The boot archive with the kernel's crates and files.
    pub archive: Range<usize>,
    /// The kernel's command line.
    pub command_line: ArrayString<MAX_COMMAND_LINE>,
    /// Where the ACPI root pointer (or the boot loader's copy of it) is, if the boot loader knew.
    pub rsdp: Option<usize>,
    /// The protocol that was used, for people to read.
    pub protocol: &'static str,
}

/// Why the boot loader's information cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Error {
    /// Neither protocol's signature was found.
    UnknownProtocol,
    /// The structure is damaged or says something that cannot be.
    Malformed(&'static str),
    /// There are more memory regions than [`MAX_REGIONS`].
    TooManyRegions,
    /// No module was passed.
    NoArchive,
    /// The command line is longer than [`MAX_COMMAND_LINE`] or is not UTF-8.
    CommandLine,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::UnknownProtocol => {
                f.write_str("started by neither PVH nor multiboot2: boot with QEMU's -kernel or GRUB")
            }
            Error::Malformed(what) => write!(f, "the boot loader's information is damaged: {what}"),
            Error::TooManyRegions => write!(f, "the memory map has more than {MAX_REGIONS} regions"),
            Error::NoArchive => f.write_str("no boot archive: pass it with QEMU's -initrd or GRUB's module2"),
            Error::CommandLine => {
                write!(f, "the command line is not UTF-8 or longer than {MAX_COMMAND_LINE} bytes")
            }
        }
    }
}

impl core::error::Error for Error {}

impl BootInfo {
    fn empty(protocol: &'static str) -> Self {
        BootInfo {
            usable: ArrayVec::new(),
            reserved: ArrayVec::new(),
            archive: 0..0,
            command_line: ArrayString::new(),
            rsdp: None,
            protocol,
        }
    }

    /// The value of `key=value` on the command line. A value with spaces is put in double quotes, inside of which a
    /// backslash protects the next character; `None` if the key is not there.
    pub fn option(&self, key: &str) -> Option<ArrayString<MAX_COMMAND_LINE>> {
        option_of(&self.command_line, key)
    }

    fn push_usable(&mut self, range: Range<usize>) -> Result<(), Error> {
        if range.is_empty() {
            return Ok(());
        }
        self.usable.try_push(range).map_err(|_| Error::TooManyRegions)?;
        normalize(&mut self.usable);
        Ok(())
    }
}

/// Sorts ranges and merges those that touch or overlap.
fn normalize<const N: usize>(ranges: &mut ArrayVec<Range<usize>, N>) {
    ranges.sort_unstable_by_key(|range| range.start);
    let mut kept = 0;
    for index in 1..ranges.len() {
        let next = ranges[index].clone();
        if next.start <= ranges[kept].end {
            ranges[kept].end = ranges[kept].end.max(next.end);
        } else {
            kept += 1;
            ranges[kept] = next;
        }
    }
    if !ranges.is_empty() {
        ranges.truncate(kept + 1);
    }
}

/// Finds `key=value` among the words of a command line; see [`BootInfo::option`].
fn option_of(line: &str, key: &str) -> Option<ArrayString<MAX_COMMAND_LINE>> {
    let mut characters = line.chars().peekable();
    loop {
        while characters.next_if(|c| c.is_whitespace()).is_some() {}
        characters.peek()?;
        let mut name = ArrayString::<MAX_COMMAND_LINE>::new();
        while let Some(c) = characters.next_if(|c| !c.is_whitespace() && *c != '=') {
            name.push(c);
        }
        let mut value = ArrayString::<MAX_COMMAND_LINE>::new();
        if characters.next_if_eq(&'=').is_some() {
            let mut quoted = false;
            while let Some(c) = characters.next_if(|c| quoted || !c.is_whitespace()) {
                match c {
                    '"' => quoted = !quoted,
                    '\\' => value.push(characters.next().unwrap_or('\\')),
                    other => value.push(other),
                }
            }
        }
        if name.as_str() == key {
            return Some(value);
        }
    }
}

static BOOT_INFO: spin::Once<BootInfo> = spin::Once::new();

/// Stores what the boot loader said. Later calls change nothing and return the first one's value.
pub fn set(info: BootInfo) -> &'static BootInfo {
    BOOT_INFO.call_once(|| info)
}

/// What the boot loader said, once the base image has stored it.
pub fn get() -> Option<&'static BootInfo> {
    BOOT_INFO.get()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_sorted_and_merged() {
        let mut info = BootInfo::empty("test");
        for range in [0x5000..0x6000, 0x1000..0x2000, 0x2000..0x3000, 0x2800..0x2900, 0x9000..0x9000] {
            info.push_usable(range).unwrap();
        }
        assert_eq!(&info.usable[..], &[0x1000..0x3000, 0x5000..0x6000]);
    }

    #[test]
    fn options_are_words_with_quotes() {
        let line = r#"quiet log=serial cmd="echo \"a b\"; ls \\x" x="#;
        assert_eq!(option_of(line, "log").unwrap().as_str(), "serial");
        assert_eq!(option_of(line, "cmd").unwrap().as_str(), r#"echo "a b"; ls \x"#);
        assert_eq!(option_of(line, "x").unwrap().as_str(), "");
        assert_eq!(option_of(line, "quiet").unwrap().as_str(), "");
        assert!(option_of(line, "lo").is_none());
        assert!(option_of("", "x").is_none());
    }
}
