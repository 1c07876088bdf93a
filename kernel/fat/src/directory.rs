//! Directories as they are on the disk: a sequence of entries, some of which are free.

use crate::DAMAGED;
use crate::cache::Class;
use crate::entry::{self, END, ENTRY_SIZE, FREE, Found, Reader, Record, ShortName};
use crate::volume::Volume;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use fs_node::FsError;
use io::IoError;
use storage_device::BLOCK_SIZE;

/// The most entries that a directory has: 2 MiB of them.
const MAX_ENTRIES: usize = 1 << 16;
const PER_BLOCK: usize = BLOCK_SIZE / ENTRY_SIZE;

const ROOT_FULL: IoError = IoError::Other(
    "the root directory is full: FAT12 and FAT16 have room for so many names there and no more (use a directory in it)",
);
const FULL: IoError = IoError::Other("the directory is full: FAT has room for 65,536 entries in one");

/// Which entries of a directory are in use.
pub(crate) struct Slots {
    /// The directory's number in the volume.
    number: u64,
    used: Vec<bool>,
    shorts: BTreeSet<ShortName>,
    /// The first entry that was never used.
    end: usize,
    /// All before this one are in use.
    hint: usize,
}

/// Where the entries of a name are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) first: usize,
    pub(crate) count: usize,
    /// Where the record is on the device.
    pub(crate) record_at: u64,
}

impl Volume {
    /// Where entry `slot` of a directory is on the device; `None` after its last cluster.
    fn slot_at(&mut self, number: u64, slot: usize) -> Result<Option<u64>, IoError> {
        let offset = slot * ENTRY_SIZE;
        let layout = self.layout;
        let (node, table, cache) = self.chain(number)?;
        if node.chain.first() == 0 {
            // The root of FAT12 and FAT16 is the only one without clusters.
            return Ok((offset < layout.root_size as usize).then_some(layout.root + offset as u64));
        }
        let size = layout.cluster_size as usize;
        let cluster = node.chain.get(table, cache, (offset / size) as u32)?;
        Ok(cluster.map(|cluster| layout.cluster_offset(cluster) + (offset % size) as u64))
    }

    /// Reads a whole directory.
    pub(crate) fn read_directory(&mut self, number: u64) -> Result<(Slots, Vec<(Found, Place)>), IoError> {
        let mut slots =
            Slots { number, used: Vec::new(), shorts: BTreeSet::new(), end: MAX_ENTRIES, hint: 0 };
        let mut reader = Reader::default();
        let mut found = Vec::new();
        for slot in 0..MAX_ENTRIES {
            let Some(at) = self.slot_at(number, slot)? else { break };
            slots.used.try_reserve(1).map_err(|_| IoError::OutOfMemory)?;
            if slot >= slots.end {
                slots.used.push(false);
                continue;
            }
            let mut bytes = [0; ENTRY_SIZE];
            self.cache.read(&mut bytes, at)?;
            slots.used.push(bytes[0] != FREE && bytes[0] != END);
            if bytes[0] == END {
                slots.end = slot;
            } else if let Some(entry) = reader.take(slot, &bytes) {
                slots.shorts.insert(entry.record.short());
                let place = Place { first: entry.first, count: entry.count, record_at: at };
                found.try_reserve(1).map_err(|_| IoError::OutOfMemory)?;
                found.push((entry, place));
            }
        }
        slots.end = slots.end.min(slots.used.len());
        if slots.used.is_empty() {
            return Err(DAMAGED);
        }
        Ok((slots, found))
    }

    /// Reads the record at this place.
    pub(crate) fn record(&mut self, at: u64) -> Result<Record, IoError> {
        let mut bytes = [0; ENTRY_SIZE];
        self.cache.read(&mut bytes, at)?;
        Ok(Record(bytes))
    }

    /// Adds a name with this record. Nothing has changed if that fails.
    pub(crate) fn add(
        &mut self,
        slots: &mut Slots,
        name: &str,
        record: Record,
    ) -> Result<(Place, Record), FsError> {
        entry::check(name)?;
        let entries = entry::entries_for(name, record, |short| slots.shorts.contains(short));
        let count = entries.len();
        let first = match slots.find(count) {
            Some(first) => first,
            None => {
                while slots.find(count).is_none() {
                    self.extend_directory(slots)?;
                }
                slots.find(count).ok_or(FULL)?
            }
        };
        // All places first: so reading is done, and what follows changes what is in the cache.
        let mut places = Vec::new();
        for slot in slots.end.min(first)..(first + count + 1).min(slots.used.len()) {
            places.push((slot, self.slot_at(slots.number, slot)?.ok_or(DAMAGED)?));
        }
        let mut record_at = 0;
        for (slot, at) in places {
            let bytes: &[u8] = match slot.checked_sub(first) {
                // Left free, so that the entries of one name are in one sector and change at once.
                None if slot >= slots.end => &[FREE],
                None => continue,
                Some(index) if index < count => {
                    record_at = at;
                    &entries[index]
                }
                // What follows the last entry in use.
                Some(_) if slot > slots.end => &[END],
                Some(_) => continue,
            };
            self.write_entry(bytes, at)?;
        }
        slots.used[first..first + count].fill(true);
        slots.end = slots.end.max(first + count);
        let mut bytes = [0; ENTRY_SIZE];
        bytes.copy_from_slice(&entries[count - 1]);
        let record = Record(bytes);
        slots.shorts.insert(record.short());
        Ok((Place { first, count, record_at }, record))
    }

    /// Gives a directory another cluster.
    fn extend_directory(&mut self, slots: &mut Slots) -> Result<(), IoError> {
        let layout = self.layout;
        let more = layout.cluster_size as usize / ENTRY_SIZE;
        if self.node(slots.number)?.chain.first() == 0 {
            return Err(ROOT_FULL);
        }
        if slots.used.len() + more > MAX_ENTRIES {
            return Err(FULL);
        }
        slots.used.try_reserve(more).map_err(|_| IoError::OutOfMemory)?;
        self.make_room(1)?;
        let count = (slots.used.len() / more) as u32;
        let (node, table, cache) = self.chain(slots.number)?;
        node.chain.extend(table, cache, count + 1)?;
        let cluster = node.chain.get(table, cache, count)?.ok_or(DAMAGED)?;
        let zeroed =
            cache.write_zeroes(layout.cluster_size as usize, layout.cluster_offset(cluster), Class::Data);
        if zeroed.is_err() {
            node.chain.cut(table, cache, count)?;
            return zeroed;
        }
        slots.used.resize(slots.used.len() + more, false);
        Ok(())
    }

    /// Frees the entries of a name.
    pub(crate) fn remove(&mut self, slots: &mut Slots, place: Place) -> Result<(), IoError> {
        let short = self.record(place.record_at)?.short();
        let mut places = Vec::new();
        for slot in place.first..place.first + place.count {
            places.push(self.slot_at(slots.number, slot)?.ok_or(DAMAGED)?);
        }
        // The record first: without it the others mean nothing.
        for at in places.into_iter().rev() {
            self.write_entry(&[FREE], at)?;
        }
        slots.used[place.first..place.first + place.count].fill(false);
        slots.shorts.remove(&short);
        slots.hint = slots.hint.min(place.first);
        Ok(())
    }

    /// Writes the first entries of a new directory, `.` and `..`, into its first cluster, all else of which becomes zeroes.
    pub(crate) fn begin_directory(&mut self, mut own: Record, parent: u32) -> Result<(), IoError> {
        let at = self.layout.cluster_offset(own.cluster());
        self.cache.write_zeroes(self.layout.cluster_size as usize, at, Class::Data)?;
        own.set_short(*b".          ");
        own.0[12] = 0;
        self.cache.write(&own.0, at, Class::Data)?;
        own.set_short(*b"..         ");
        own.set_cluster(parent);
        self.cache.write(&own.0, at + ENTRY_SIZE as u64, Class::Data)
    }

    /// The cluster by which `..` names a directory: zero for the root.
    pub(crate) fn parent_cluster(&mut self, number: u64) -> Result<u32, IoError> {
        let first = self.node(number)?.chain.first();
        Ok(if first == self.layout.root_cluster { 0 } else { first })
    }

    /// Has `..` of a directory name another parent.
    pub(crate) fn set_parent(&mut self, cluster: u32, parent: u32) -> Result<(), IoError> {
        if !self.table.is_valid(cluster) {
            return Err(DAMAGED);
        }
        let at = self.layout.cluster_offset(cluster) + ENTRY_SIZE as u64;
        let mut record = self.record(at)?;
        if record.short() != *b"..         " {
            return Err(DAMAGED);
        }
        record.set_cluster(parent);
        self.write_entry(&record.0, at)
    }
}

impl Slots {
    /// `count` free entries in a row, in one sector if they fit into one.
    fn find(&mut self, count: usize) -> Option<usize> {
        while self.used.get(self.hint).is_some_and(|&used| used) {
            self.hint += 1;
        }
        let mut first = self.hint;
        while first + count <= self.used.len() {
            let last = first + count - 1;
            if count <= PER_BLOCK && first / PER_BLOCK != last / PER_BLOCK {
                first = last / PER_BLOCK * PER_BLOCK;
                continue;
            }
            match self.used[first..=last].iter().rposition(|&used| used) {
                None => return Some(first),
                Some(position) => first += position + 1,
            }
        }
        None
    }
}

/// Whether all entries of these two names are in one sector, so that they change at once.
pub(crate) fn same_sector(a: Place, b: Place, both_in_one_directory: bool) -> bool {
    let sectors = |place: Place| (place.first / PER_BLOCK, (place.first + place.count - 1) / PER_BLOCK);
    both_in_one_directory && sectors(a) == sectors(b) && sectors(a).0 == sectors(a).1
}
