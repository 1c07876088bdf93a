//! The file allocation table: for each cluster which one comes next.
//!
//! Changes are kept aside until they are committed, in the order in which they must reach the disk ([`Step`]). What has been freed is not used
//! again before the commit that frees it on the disk, so no cluster ever belongs to two files there.

use crate::DAMAGED;
use crate::boot_sector::{Kind, Layout};
use crate::cache::{Cache, Class};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use io::IoError;

/// The value of a cluster that is free, and of the last one of a chain (or above).
const FREE: u32 = 0;
const END: u32 = 0x0FFF_FFFF;
const FIRST_END: u32 = 0x0FFF_FFF8;

/// How many changes are kept before it is time to commit.
const MANY: usize = 1 << 16;

/// When a change of the table may go to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Clusters that become used: first of all. Nothing refers to them yet.
    Allocate,
    /// Chains that become longer: when the rest of the chain is there.
    Link,
    /// Chains that become shorter, and clusters that become free: when nothing refers to them any more.
    Free,
}

/// The allocation table of a volume.
pub(crate) struct Table {
    layout: Layout,
    changes: BTreeMap<u32, u32>,
    /// Freed, but not on the disk yet.
    freed: BTreeSet<u32>,
    /// A bit for each cluster that can be taken; made when first needed.
    free: Option<Vec<u64>>,
    free_count: u32,
    /// Where the search for a free one begins.
    hint: u32,
}

impl Table {
    pub(crate) fn new(layout: Layout) -> Self {
        Self { layout, changes: BTreeMap::new(), freed: BTreeSet::new(), free: None, free_count: 0, hint: 2 }
    }

    pub(crate) fn has_many_changes(&self) -> bool {
        self.changes.len() > MANY
    }

    pub(crate) fn has_changes(&self) -> bool {
        !self.changes.is_empty()
    }

    /// How many clusters there are.
    pub(crate) fn clusters(&self) -> u32 {
        self.layout.clusters
    }

    pub(crate) fn is_valid(&self, cluster: u32) -> bool {
        cluster >= 2 && cluster - 2 < self.layout.clusters
    }

    /// The value on the disk.
    fn on_disk(&self, cache: &mut Cache, cluster: u32) -> Result<u32, IoError> {
        let mut bytes = [0; 4];
        let table = self.layout.table;
        let cluster_number = u64::from(cluster);
        Ok(match self.layout.kind {
            Kind::Fat12 => {
                cache.read(&mut bytes[..2], table + cluster_number * 3 / 2)?;
                let both = u32::from(u16::from_le_bytes([bytes[0], bytes[1]]));
                let value = if cluster.is_multiple_of(2) { both & 0xFFF } else { both >> 4 };
                if value >= 0xFF8 { END } else { value }
            }
            Kind::Fat16 => {
                cache.read(&mut bytes[..2], table + cluster_number * 2)?;
                let value = u32::from(u16::from_le_bytes([bytes[0], bytes[1]]));
                if value >= 0xFFF8 { END } else { value }
            }
            Kind::Fat32 => {
                cache.read(&mut bytes, table + cluster_number * 4)?;
                u32::from_le_bytes(bytes) & END
            }
        })
    }

    /// Writes a value to all copies.
    fn put(&self, cache: &mut Cache, cluster: u32, value: u32) -> Result<(), IoError> {
        let mut bytes = [0; 4];
        let cluster_number = u64::from(cluster);
        let (at, len) = match self.layout.kind {
            Kind::Fat12 => {
                let at = cluster_number * 3 / 2;
                cache.read(&mut bytes[..2], self.layout.table + at)?;
                let both = u16::from_le_bytes([bytes[0], bytes[1]]);
                let value = value as u16 & 0xFFF;
                let both =
                    if cluster.is_multiple_of(2) { both & 0xF000 | value } else { both & 0xF | value << 4 };
                bytes[..2].copy_from_slice(&both.to_le_bytes());
                (at, 2)
            }
            Kind::Fat16 => {
                bytes[..2].copy_from_slice(&(value as u16).to_le_bytes());
                (cluster_number * 2, 2)
            }
            Kind::Fat32 => {
                let at = cluster_number * 4;
                cache.read(&mut bytes, self.layout.table + at)?;
                // The highest four bits are nobody's.
                let kept = u32::from_le_bytes(bytes) & !END;
                bytes = (kept | value).to_le_bytes();
                (at, 4)
            }
        };
        for copy in 0..self.layout.copies {
            let table = self.layout.table + u64::from(copy) * self.layout.table_size;
            cache.write(&bytes[..len], table + at, Class::Table)?;
        }
        Ok(())
    }

    /// Whether nothing on the disk refers to the cluster, because it is free there.
    pub(crate) fn is_fresh(&self, cache: &mut Cache, cluster: u32) -> Result<bool, IoError> {
        Ok(self.changes.contains_key(&cluster) && self.on_disk(cache, cluster)? == FREE)
    }

    /// The cluster after this one; `None` at the end of the chain.
    pub(crate) fn next(&self, cache: &mut Cache, cluster: u32) -> Result<Option<u32>, IoError> {
        if !self.is_valid(cluster) {
            return Err(DAMAGED);
        }
        let value = match self.changes.get(&cluster) {
            Some(&value) => value,
            None => self.on_disk(cache, cluster)?,
        };
        match value {
            FIRST_END.. => Ok(None),
            next if self.is_valid(next) => Ok(Some(next)),
            // Free, bad, or none of this volume's.
            _ => Err(DAMAGED),
        }
    }

    /// How many clusters can be taken.
    pub(crate) fn free_count(&mut self, cache: &mut Cache) -> Result<u32, IoError> {
        if self.free.is_none() {
            let words = (self.layout.clusters as usize).div_ceil(64);
            let mut free: Vec<u64> = Vec::new();
            free.try_reserve_exact(words).map_err(|_| IoError::OutOfMemory)?;
            free.resize(words, 0);
            let mut count = 0;
            for number in 0..self.layout.clusters {
                let cluster = number + 2;
                let is_free = !self.changes.contains_key(&cluster) && self.on_disk(cache, cluster)? == FREE;
                if is_free {
                    free[number as usize / 64] |= 1 << (number % 64);
                    count += 1;
                }
            }
            (self.free, self.free_count) = (Some(free), count);
        }
        Ok(self.free_count)
    }

    /// What clusters there will be once what was freed is free on the disk too.
    pub(crate) fn free_after_commit(&mut self, cache: &mut Cache) -> Result<u32, IoError> {
        Ok(self.free_count(cache)? + self.freed.len() as u32)
    }

    /// Takes a free cluster, near `after` if possible, and makes it the end of a chain: that of `after`, or a new one.
    pub(crate) fn allocate(&mut self, cache: &mut Cache, after: Option<u32>) -> Result<u32, IoError> {
        if self.free_count(cache)? == 0 {
            return Err(IoError::NoSpace);
        }
        let clusters = self.layout.clusters;
        let start = after.map_or(self.hint, |after| after + 1) - 2;
        let start = if start < clusters { start } else { 0 };
        let free = self.free.as_mut().ok_or(IoError::NoSpace)?;
        let bits = |word: usize, from: u32| free[word] & (u64::MAX << from);
        let words = free.len();
        let first = start as usize / 64;
        let found = core::iter::once((first, start % 64))
            .chain((1..=words).map(|step| ((first + step) % words, 0)))
            .find(|&(word, from)| bits(word, from) != 0)
            .map(|(word, from)| word as u32 * 64 + bits(word, from).trailing_zeros());
        let number = found.ok_or(IoError::NoSpace)?;
        free[number as usize / 64] &= !(1 << (number % 64));
        self.free_count -= 1;
        let cluster = number + 2;
        self.hint = cluster + 1;
        self.changes.insert(cluster, END);
        if let Some(after) = after {
            self.changes.insert(after, cluster);
        }
        Ok(cluster)
    }

    /// Ends the chain at `last`, and frees what follows.
    pub(crate) fn cut_after(&mut self, cache: &mut Cache, last: u32) -> Result<(), IoError> {
        if let Some(rest) = self.next(cache, last)? {
            self.changes.insert(last, END);
            self.free_chain(cache, rest)?;
        }
        Ok(())
    }

    /// Frees a chain from `cluster` on. What of it is damaged stays as it is.
    pub(crate) fn free_chain(&mut self, cache: &mut Cache, cluster: u32) -> Result<(), IoError> {
        let mut current = Some(cluster);
        while let Some(cluster) = current {
            // A chain that comes back to itself, or to another file's that was freed, meets a free cluster, which is an error.
            current = self.next(cache, cluster)?;
            let was_free = self.on_disk(cache, cluster)? == FREE;
            if was_free {
                self.changes.remove(&cluster);
                self.give_back(cluster);
            } else {
                self.changes.insert(cluster, FREE);
                self.freed.insert(cluster);
            }
        }
        Ok(())
    }

    fn give_back(&mut self, cluster: u32) {
        if let Some(free) = &mut self.free {
            let number = cluster - 2;
            free[number as usize / 64] |= 1 << (number % 64);
            self.free_count += 1;
        }
    }

    /// Which changes belong to this step.
    fn changes_of(&self, cache: &mut Cache, step: Step) -> Result<Vec<(u32, u32)>, IoError> {
        let mut found = Vec::new();
        for (&cluster, &value) in &self.changes {
            let old = self.on_disk(cache, cluster)?;
            let its_step = match (old, value) {
                (FREE, _) => Step::Allocate,
                (_, FREE | FIRST_END..) => Step::Free,
                _ => Step::Link,
            };
            if its_step == step {
                found.try_reserve(1).map_err(|_| IoError::OutOfMemory)?;
                found.push((cluster, value));
            }
        }
        Ok(found)
    }

    /// Puts the changes of a step into the cache, and from there to the disk. Returns whether there were any.
    pub(crate) fn commit(&mut self, cache: &mut Cache, step: Step) -> Result<bool, IoError> {
        let changes = self.changes_of(cache, step)?;
        for &(cluster, value) in &changes {
            self.put(cache, cluster, value)?;
        }
        cache.write_out(Class::Table)?;
        for (cluster, _) in &changes {
            self.changes.remove(cluster);
            if self.freed.remove(cluster) {
                self.give_back(*cluster);
            }
        }
        Ok(!changes.is_empty())
    }
}
