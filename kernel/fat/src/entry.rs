//! Entries of directories as they are on the disk: 32 bytes with a short name, after those that have the parts of its long name.
//!
//! Layouts: Microsoft, *FAT: General Overview of On-Disk Format* 1.03, and the same in ECMA-107 for what there was before long names.

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;
use fs_node::FsError;
use time::calendar::DateTime;

/// Bytes of an entry.
pub(crate) const ENTRY_SIZE: usize = 32;
/// The first byte of a free entry, and of a free one after which there are none in use.
pub(crate) const FREE: u8 = 0xE5;
pub(crate) const END: u8 = 0;
/// The first byte of a short name that begins with 0xE5.
const KANJI: u8 = 0x05;

pub(crate) const READ_ONLY: u8 = 0x01;
const VOLUME_LABEL: u8 = 0x08;
pub(crate) const DIRECTORY: u8 = 0x10;
pub(crate) const ARCHIVE: u8 = 0x20;
/// The attributes of an entry with a part of a long name, of those in the mask.
const LONG_NAME: u8 = 0x0F;
const LONG_NAME_MASK: u8 = 0x3F;

/// In the first byte of a long name's part: it is the last one, which comes first.
const LAST_PART: u8 = 0x40;
/// UTF-16 code units of a long name: in a part, and at most.
const PART_UNITS: usize = 13;
const MAX_UNITS: usize = 255;
/// Where they are in a part.
const UNIT_OFFSETS: [usize; PART_UNITS] = [1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30];

/// In byte 12: base or extension of the short name are in lower case.
const LOWER_BASE: u8 = 0x08;
const LOWER_EXTENSION: u8 = 0x10;

/// The upper half of code page 437, which short names are in unless somebody said otherwise.
const CODE_PAGE: &str = "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u{a0}";

/// A short name: eight bytes and three, filled with spaces.
pub(crate) type ShortName = [u8; 11];

/// The entry with the short name. The other fields are in it.
#[derive(Clone, Copy)]
pub(crate) struct Record(pub(crate) [u8; ENTRY_SIZE]);

fn word(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

impl Record {
    pub(crate) fn new(short: ShortName, attributes: u8, now: Duration) -> Self {
        let mut record = Record([0; ENTRY_SIZE]);
        record.set_short(short);
        record.0[11] = attributes;
        record.set_created(now);
        record.set_modified(now);
        record.set_accessed(now);
        record
    }

    pub(crate) fn set_short(&mut self, short: ShortName) {
        self.0[..11].copy_from_slice(&short);
        if self.0[0] == FREE {
            self.0[0] = KANJI;
        }
    }

    pub(crate) fn short(&self) -> ShortName {
        let mut short = [b' '; 11];
        short.copy_from_slice(&self.0[..11]);
        if short[0] == KANJI {
            short[0] = FREE;
        }
        short
    }

    pub(crate) fn is_directory(&self) -> bool {
        self.0[11] & DIRECTORY != 0
    }

    pub(crate) fn is_read_only(&self) -> bool {
        self.0[11] & READ_ONLY != 0
    }

    pub(crate) fn cluster(&self) -> u32 {
        u32::from(word(&self.0, 20)) << 16 | u32::from(word(&self.0, 26))
    }

    pub(crate) fn set_cluster(&mut self, cluster: u32) {
        self.0[20..22].copy_from_slice(&((cluster >> 16) as u16).to_le_bytes());
        self.0[26..28].copy_from_slice(&(cluster as u16).to_le_bytes());
    }

    pub(crate) fn size(&self) -> u32 {
        u32::from_le_bytes([self.0[28], self.0[29], self.0[30], self.0[31]])
    }

    pub(crate) fn set_size(&mut self, size: u32) {
        self.0[28..].copy_from_slice(&size.to_le_bytes());
    }

    pub(crate) fn created(&self) -> Duration {
        let hundredths = Duration::from_millis(10 * u64::from(self.0[13].min(199)));
        moment(word(&self.0, 16), word(&self.0, 14)) + hundredths
    }

    pub(crate) fn set_created(&mut self, time: Duration) {
        let (date, clock) = stamp(time);
        self.0[13] = (time.as_secs() % 2 * 100) as u8 + (time.subsec_millis() / 10) as u8;
        self.0[14..16].copy_from_slice(&clock.to_le_bytes());
        self.0[16..18].copy_from_slice(&date.to_le_bytes());
    }

    pub(crate) fn modified(&self) -> Duration {
        moment(word(&self.0, 24), word(&self.0, 22))
    }

    pub(crate) fn set_modified(&mut self, time: Duration) {
        let (date, clock) = stamp(time);
        self.0[22..24].copy_from_slice(&clock.to_le_bytes());
        self.0[24..26].copy_from_slice(&date.to_le_bytes());
    }

    pub(crate) fn accessed(&self) -> Duration {
        moment(word(&self.0, 18), 0)
    }

    pub(crate) fn set_accessed(&mut self, time: Duration) {
        self.0[18..20].copy_from_slice(&stamp(time).0.to_le_bytes());
    }
}

/// The time since the Unix epoch of a date and a time of day, both in UTC.
fn moment(date: u16, clock: u16) -> Duration {
    let (year, month, day) = (1980 + i64::from(date >> 9), i64::from(date >> 5 & 15), i64::from(date & 31));
    if !(1..=12).contains(&month) || day == 0 {
        return Duration::ZERO;
    }
    // Days since 1970, counted from March so that the leap day is the last one of its year.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1 - 719_468;
    let seconds = i64::from(clock >> 11) * 3600 + i64::from(clock >> 5 & 63) * 60 + i64::from(clock & 31) * 2;
    Duration::from_secs((days * 86_400 + seconds).max(0) as u64)
}

/// Date and time of day; what is before 1980 or after 2107 becomes the first or last moment of these years.
fn stamp(time: Duration) -> (u16, u16) {
    let at = DateTime::from_unix(i64::try_from(time.as_secs()).unwrap_or(i64::MAX / 2));
    if at.year < 1980 {
        return (1 << 5 | 1, 0);
    }
    if at.year > 2107 {
        return (127 << 9 | 12 << 5 | 31, 23 << 11 | 59 << 5 | 29);
    }
    let date = ((at.year - 1980) as u16) << 9 | u16::from(at.month) << 5 | u16::from(at.day);
    (date, u16::from(at.hour) << 11 | u16::from(at.minute) << 5 | u16::from(at.second / 2))
}

/// What was found in a directory.
pub(crate) struct Found {
    pub(crate) name: String,
    /// The first of its entries, and how many there are; the last one is the record.
    pub(crate) first: usize,
    pub(crate) count: usize,
    pub(crate) record: Record,
}

/// Reads the entries of a directory one after the other, and puts long names together.
#[derive(Default)]
pub(crate) struct Reader {
    units: Vec<u16>,
    /// The first entry of the long name, which part comes next, and the checksum that all must have.
    first: usize,
    next: u8,
    checksum: u8,
}

impl Reader {
    /// Takes entry `number`; returns what it completes. Entries that mean nothing are skipped, as everybody does.
    pub(crate) fn take(&mut self, number: usize, bytes: &[u8; ENTRY_SIZE]) -> Option<Found> {
        let attributes = bytes[11];
        if bytes[0] == FREE {
            self.next = 0;
            return None;
        }
        if attributes & LONG_NAME_MASK == LONG_NAME {
            self.take_part(number, bytes);
            return None;
        }
        let long = core::mem::take(&mut self.next) == 1 && self.checksum == checksum(&bytes[..11]);
        if attributes & VOLUME_LABEL != 0 {
            return None;
        }
        let record = Record(*bytes);
        let long = if long { long_name(&self.units) } else { None };
        let (name, first) = match long {
            Some(name) => (name, self.first),
            None => (short_name(&record), number),
        };
        // `.` and `..` are no entries, and what cannot be a name cannot be asked for.
        fs_node::check_name(&name).ok()?;
        Some(Found { name, first, count: number - first + 1, record })
    }

    fn take_part(&mut self, number: usize, bytes: &[u8; ENTRY_SIZE]) {
        let part = bytes[0] & !LAST_PART;
        if bytes[0] & LAST_PART != 0 && (1..=MAX_UNITS.div_ceil(PART_UNITS) as u8).contains(&part) {
            self.units.clear();
            self.units.resize(usize::from(part) * PART_UNITS, 0);
            (self.first, self.checksum) = (number, bytes[13]);
        } else if self.next < 2 || part != self.next - 1 || bytes[13] != self.checksum {
            self.next = 0;
            return;
        }
        self.next = part;
        let units = &mut self.units[(usize::from(part) - 1) * PART_UNITS..][..PART_UNITS];
        for (unit, at) in units.iter_mut().zip(UNIT_OFFSETS) {
            *unit = word(bytes, at);
        }
    }
}

/// The name that these code units are up to the first zero; `None` if they are no text or if that name has more than 255 bytes.
fn long_name(units: &[u16]) -> Option<String> {
    let len = units.iter().position(|&unit| unit == 0).unwrap_or(units.len());
    String::from_utf16(&units[..len]).ok().filter(|name| fs_node::check_name(name).is_ok())
}

/// The short name in one piece: `NAME.EXT`.
fn short_name(record: &Record) -> String {
    let short = record.short();
    let mut name = String::new();
    for (part, lower) in [(&short[..8], LOWER_BASE), (&short[8..], LOWER_EXTENSION)] {
        let len = part.iter().rposition(|&byte| byte != b' ').map_or(0, |last| last + 1);
        if len > 0 && lower == LOWER_EXTENSION {
            name.push('.');
        }
        for &byte in &part[..len] {
            let char = match byte {
                0x80.. => CODE_PAGE.chars().nth(usize::from(byte - 0x80)).unwrap_or('_'),
                _ if record.0[12] & lower != 0 => char::from(byte).to_ascii_lowercase(),
                _ => char::from(byte),
            };
            name.push(char);
        }
    }
    name
}

/// The checksum of a short name that is in each part of its long name.
fn checksum(short: &[u8]) -> u8 {
    short.iter().fold(0, |sum: u8, &byte| sum.rotate_right(1).wrapping_add(byte))
}

/// What names are compared by: two that differ in case only are the same to FAT.
pub(crate) fn fold(name: &str) -> String {
    let upper = |char: char| {
        let mut upper = char.to_uppercase();
        match (upper.next(), upper.next()) {
            (Some(single), None) => single,
            _ => char,
        }
    };
    name.chars().map(upper).collect()
}

/// Checks that FAT can have this name.
pub(crate) fn check(name: &str) -> Result<(), FsError> {
    fs_node::check_name(name)?;
    if name.ends_with(['.', ' ']) || name.chars().any(|char| char < ' ' || "\"*:<>?\\|\x7f".contains(char)) {
        return Err(FsError::UnsupportedName);
    }
    if name.encode_utf16().count() > MAX_UNITS { Err(FsError::NameTooLong) } else { Ok(()) }
}

fn is_short(char: char) -> bool {
    char.is_ascii_uppercase() || char.is_ascii_digit() || "!#$%&'()-@^_`{}~".contains(char)
}

/// The entries for `name`, the record last, with a short name that is not `taken`.
pub(crate) fn entries_for(
    name: &str,
    mut record: Record,
    taken: impl Fn(&ShortName) -> bool,
) -> Vec<[u8; ENTRY_SIZE]> {
    let exact = exact_short(name).filter(|short| !taken(short));
    let short = exact.unwrap_or_else(|| invented_short(name, taken));
    record.set_short(short);
    record.0[12] = 0;
    let mut entries = Vec::new();
    if exact.is_none() {
        let mut units: Vec<u16> = name.encode_utf16().collect();
        let parts = units.len().div_ceil(PART_UNITS);
        if units.len() < parts * PART_UNITS {
            units.push(0);
            units.resize(parts * PART_UNITS, 0xFFFF);
        }
        for part in (1..=parts).rev() {
            let mut entry = [0; ENTRY_SIZE];
            entry[0] = part as u8 | if part == parts { LAST_PART } else { 0 };
            entry[11] = LONG_NAME;
            entry[13] = checksum(&record.0[..11]);
            for (unit, at) in units[(part - 1) * PART_UNITS..].iter().zip(UNIT_OFFSETS) {
                entry[at..at + 2].copy_from_slice(&unit.to_le_bytes());
            }
            entries.push(entry);
        }
    }
    entries.push(record.0);
    entries
}

/// The short name that is the same as `name`, if there is one.
fn exact_short(name: &str) -> Option<ShortName> {
    let (base, extension) = name.split_once('.').unwrap_or((name, ""));
    let fits = |part: &str, most: usize| part.len() <= most && part.chars().all(is_short);
    if base.is_empty() || !fits(base, 8) || !fits(extension, 3) || name.ends_with('.') {
        return None;
    }
    let mut short = [b' '; 11];
    short[..base.len()].copy_from_slice(base.as_bytes());
    short[8..8 + extension.len()].copy_from_slice(extension.as_bytes());
    Some(short)
}

/// A short name for one that is none: its first letters, `~` and a number.
fn invented_short(name: &str, taken: impl Fn(&ShortName) -> bool) -> ShortName {
    let letters = |part: &str, most: usize| -> Vec<u8> {
        let kept = part.chars().filter(|char| !matches!(char, ' ' | '.'));
        let upper = kept.map(|char| char.to_ascii_uppercase());
        upper.map(|char| if is_short(char) { char as u8 } else { b'_' }).take(most).collect()
    };
    let trimmed = name.trim_start_matches('.');
    let (base, extension) = trimmed.rsplit_once('.').unwrap_or((trimmed, ""));
    let (base, extension) = (letters(base, 6), letters(extension, 3));
    // With many names that begin alike, their hashes tell them apart sooner than counting would.
    let hash =
        name.bytes().fold(0x811C_9DC5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    for number in 1_u32.. {
        let mut short = [b' '; 11];
        let mut text = String::new();
        use core::fmt::Write;
        // Writing to a string cannot fail.
        let _ = if number < 5 {
            write!(text, "~{number}")
        } else {
            write!(text, "{:04X}~{}", (hash as u16).wrapping_add((number / 9) as u16), number % 9 + 1)
        };
        let kept = base.len().min(8 - text.len());
        short[..kept].copy_from_slice(&base[..kept]);
        short[kept..kept + text.len()].copy_from_slice(text.as_bytes());
        short[8..8 + extension.len()].copy_from_slice(&extension);
        if !taken(&short) {
            return short;
        }
    }
    // A directory has fewer entries than there are such names.
    [b'~'; 11]
}
