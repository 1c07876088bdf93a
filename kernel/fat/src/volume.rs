//! A volume: its cache, its allocation table, and the files and directories that somebody holds.
//!
//! # The order of writes
//! [`Volume::commit`] brings the disk from one consistent state to the next. What can be seen there at each moment in between refers only to
//! what is there:
//! ```text
//! 1  content, and clusters that become used        nothing refers to them
//!    ── flush
//! 2  longer chains                                 the rest of them is there since 1
//!    ── flush
//! 3  entries of directories                        what they refer to is there since 1 and 2
//!    ── flush
//! 4  shorter chains, free clusters                 nothing refers to them since 3
//! ```
//! A crash leaves clusters that are used and belong to nobody, or more clusters at the end of a file than its length needs. A move that
//! needs two writes, between two directories for instance, writes the new name first: a crash leaves both, never none.

use crate::DAMAGED;
use crate::boot_sector::Layout;
use crate::cache::{Cache, Class};
use crate::chain::Chain;
use crate::entry::Record;
use crate::table::{Step, Table};
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::time::Duration;
use fs_node::DirRef;
use io::IoError;
use storage_device::StorageDevice;

/// A file or directory that somebody holds.
pub(crate) struct Node {
    /// Gone when nobody holds it any more.
    held: Weak<()>,
    /// Where its record is; `None` for the root, and once it has been removed.
    record_at: Option<u64>,
    removed: bool,
    /// The directory that it is in, which is there as long as somebody holds this.
    parent: Option<DirRef>,
    pub(crate) record: Record,
    pub(crate) chain: Chain,
    /// How many bytes from the start are on the disk. The rest of the file is zeroes that have not been written yet.
    valid: u32,
}

/// A volume.
pub(crate) struct Volume {
    pub(crate) cache: Cache,
    pub(crate) table: Table,
    pub(crate) layout: Layout,
    nodes: BTreeMap<u64, Node>,
    next_number: u64,
    /// At how many nodes it is time to forget those that nobody holds.
    crowd: usize,
}

/// In the sector with the number of free clusters: two signatures, and where that number and a hint are.
const INFO_SIGNATURES: [(u64, [u8; 4]); 2] = [(0, *b"RRaA"), (484, *b"rrAa")];
const INFO_FREE: u64 = 488;

impl Volume {
    pub(crate) fn new(device: Box<dyn StorageDevice>, cache_size: usize) -> Result<Self, IoError> {
        let mut cache = Cache::new(device, cache_size)?;
        let layout = Layout::read(&mut cache)?;
        let table = Table::new(layout);
        Ok(Self { cache, table, layout, nodes: BTreeMap::new(), next_number: 1, crowd: 64 })
    }

    /// Begins to keep track of the node whose record is at `record_at`; returns its number, and what keeps it.
    pub(crate) fn hold(
        &mut self,
        record: Record,
        record_at: Option<u64>,
        parent: Option<DirRef>,
    ) -> Result<(u64, Arc<()>), IoError> {
        if self.nodes.len() >= self.crowd {
            self.forget_unheld()?;
            self.crowd = 2 * self.nodes.len() + 64;
        }
        let held = Arc::new(());
        let number = self.next_number;
        self.next_number += 1;
        let node = Node {
            held: Arc::downgrade(&held),
            record_at,
            removed: false,
            parent,
            chain: Chain::new(record.cluster()),
            valid: record.size(),
            record,
        };
        self.nodes.insert(number, node);
        Ok((number, held))
    }

    pub(crate) fn node(&mut self, number: u64) -> Result<&mut Node, IoError> {
        // Held, so here.
        self.nodes.get_mut(&number).ok_or(DAMAGED)
    }

    /// What a node needs to follow its chain.
    pub(crate) fn chain(&mut self, number: u64) -> Result<(&mut Node, &mut Table, &mut Cache), IoError> {
        let node = self.nodes.get_mut(&number).ok_or(DAMAGED)?;
        Ok((node, &mut self.table, &mut self.cache))
    }

    /// Says that the record of a node is elsewhere now.
    pub(crate) fn moved(
        &mut self,
        number: u64,
        record_at: u64,
        record: Record,
        parent: DirRef,
    ) -> Result<(), IoError> {
        let node = self.node(number)?;
        node.parent = Some(parent);
        node.record_at = Some(record_at);
        node.record = record;
        Ok(())
    }

    /// Says that a node has no name any more. A file's clusters become free when nobody holds it; a directory's at once, as it is empty.
    pub(crate) fn removed(&mut self, number: u64) -> Result<(), IoError> {
        let (node, table, cache) = self.chain(number)?;
        (node.record_at, node.removed) = (None, true);
        if node.record.is_directory() {
            // If the chain is damaged, the rest of it stays used.
            let _ = node.chain.cut(table, cache, 0);
        }
        Ok(())
    }

    /// Finishes and forgets a node that nobody holds any more, so that it can be held anew.
    pub(crate) fn settle(&mut self, number: u64) -> Result<(), IoError> {
        if self.nodes.contains_key(&number) {
            self.fill_rest(number)?;
            self.nodes.remove(&number);
        }
        Ok(())
    }

    /// To be called before each change: commits when too much has piled up.
    pub(crate) fn before_change(&mut self) -> Result<(), IoError> {
        if self.cache.is_read_only() {
            return Err(IoError::ReadOnly);
        }
        if self.cache.is_crowded() || self.table.has_many_changes() { self.commit() } else { Ok(()) }
    }

    /// Makes sure that `clusters` more can be taken.
    pub(crate) fn make_room(&mut self, clusters: u32) -> Result<(), IoError> {
        if self.table.free_count(&mut self.cache)? >= clusters {
            return Ok(());
        }
        // Some may be free once that is written.
        self.forget_unheld()?;
        if self.table.free_after_commit(&mut self.cache)? >= clusters {
            self.commit()?;
        }
        if self.table.free_count(&mut self.cache)? >= clusters { Ok(()) } else { Err(IoError::NoSpace) }
    }

    /// In which class an entry of a directory at this offset is written: nothing refers to a cluster that is free on the disk.
    pub(crate) fn write_entry(&mut self, bytes: &[u8], offset: u64) -> Result<(), IoError> {
        let fresh = match offset.checked_sub(self.layout.data) {
            Some(within) => {
                let cluster = (within / u64::from(self.layout.cluster_size)) as u32 + 2;
                self.table.is_fresh(&mut self.cache, cluster)?
            }
            None => false,
        };
        self.cache.write(bytes, offset, if fresh { Class::Data } else { Class::Entries })
    }

    /// Writes a node's record to its place.
    pub(crate) fn store(&mut self, number: u64) -> Result<(), IoError> {
        let node = self.node(number)?;
        let record = node.record;
        match node.record_at {
            Some(at) => self.write_entry(&record.0, at),
            None => Ok(()),
        }
    }

    /// Reads a file's content.
    pub(crate) fn read(&mut self, number: u64, buffer: &mut [u8], offset: usize) -> Result<usize, IoError> {
        let cluster_size = self.layout.cluster_size as usize;
        let node = self.node(number)?;
        let (size, valid) = (node.record.size() as usize, node.valid as usize);
        let count = size.saturating_sub(offset).min(buffer.len());
        let on_disk = valid.saturating_sub(offset).min(count);
        buffer[on_disk..count].fill(0);
        let mut done = 0;
        while done < on_disk {
            let (at, piece) = self.piece(number, offset + done, on_disk - done, cluster_size)?;
            self.cache.read(&mut buffer[done..done + piece], at)?;
            done += piece;
        }
        Ok(count)
    }

    /// Where byte `position` of a file is on the device, and how many of the `wanted` next ones follow there.
    fn piece(
        &mut self,
        number: u64,
        position: usize,
        wanted: usize,
        cluster_size: usize,
    ) -> Result<(u64, usize), IoError> {
        let layout = self.layout;
        let (node, table, cache) = self.chain(number)?;
        let index = position / cluster_size;
        let within = position % cluster_size;
        // A chain that is shorter than the file's length says.
        let mut get = |index: usize| node.chain.get(table, cache, index as u32)?.ok_or(DAMAGED);
        let first = get(index)?;
        let mut len = cluster_size - within;
        let mut clusters = 1;
        while len < wanted && get(index + clusters)? == first + clusters as u32 {
            (len, clusters) = (len + cluster_size, clusters + 1);
        }
        Ok((layout.cluster_offset(first) + within as u64, len.min(wanted)))
    }

    /// Writes a file's content.
    pub(crate) fn write(
        &mut self,
        number: u64,
        bytes: &[u8],
        offset: usize,
        now: Duration,
    ) -> Result<usize, IoError> {
        if bytes.is_empty() {
            return Ok(0);
        }
        self.before_change()?;
        let end = offset.checked_add(bytes.len()).ok_or(IoError::InvalidInput)?;
        self.make_long(number, end)?;
        let (valid, size) = {
            let node = self.node(number)?;
            (node.valid as usize, node.record.size() as usize)
        };
        let written =
            self.fill(number, valid, offset).and_then(|()| self.write_content(number, bytes, offset));
        if let Err(error) = written {
            // As long as before, and with as many clusters as that needs.
            let count = (size as u64).div_ceil(u64::from(self.layout.cluster_size)) as u32;
            let (node, table, cache) = self.chain(number)?;
            node.valid = valid as u32;
            // If that fails too, there are some more.
            let _ = node.chain.cut(table, cache, count);
            node.record.set_cluster(node.chain.first());
            let _ = self.store(number);
            return Err(error);
        }
        let node = self.node(number)?;
        node.valid = node.valid.max(end as u32);
        node.record.set_size(size.max(end) as u32);
        node.record.set_modified(now);
        self.store(number)?;
        Ok(bytes.len())
    }

    fn write_content(&mut self, number: u64, bytes: &[u8], offset: usize) -> Result<(), IoError> {
        let mut done = 0;
        while done < bytes.len() {
            let (at, piece) =
                self.piece(number, offset + done, bytes.len() - done, self.layout.cluster_size as usize)?;
            self.cache.write(&bytes[done..done + piece], at, Class::Data)?;
            done += piece;
        }
        Ok(())
    }

    /// Writes the zeroes of a file from `from` up to `to`, if there are any.
    fn fill(&mut self, number: u64, from: usize, to: usize) -> Result<(), IoError> {
        let mut at = from;
        while at < to {
            let (offset, piece) = self.piece(number, at, to - at, self.layout.cluster_size as usize)?;
            self.cache.write_zeroes(piece, offset, Class::Data)?;
            at += piece;
            let node = self.node(number)?;
            node.valid = node.valid.max(at as u32);
        }
        Ok(())
    }

    /// Gives a file clusters for `len` bytes.
    fn make_long(&mut self, number: u64, len: usize) -> Result<(), IoError> {
        let len = u32::try_from(len).map_err(|_| IoError::TooLarge)?;
        let count = len.div_ceil(self.layout.cluster_size);
        let (node, table, cache) = self.chain(number)?;
        let before = node.chain.first();
        let missing = match node.chain.last(table, cache)? {
            Some((_, index)) => count.saturating_sub(index + 1),
            None => count,
        };
        if missing == 0 {
            return Ok(());
        }
        self.make_room(missing)?;
        let (node, table, cache) = self.chain(number)?;
        node.chain.extend(table, cache, count)?;
        if before != node.chain.first() {
            node.record.set_cluster(node.chain.first());
            self.store(number)?;
        }
        Ok(())
    }

    /// Makes a file `len` bytes long.
    pub(crate) fn truncate(&mut self, number: u64, len: usize, now: Duration) -> Result<(), IoError> {
        self.before_change()?;
        let size = self.node(number)?.record.size() as usize;
        if len > size {
            self.make_long(number, len)?;
        }
        let count = (len as u64).div_ceil(u64::from(self.layout.cluster_size)) as u32;
        let node = self.node(number)?;
        node.record.set_size(len as u32);
        node.record.set_modified(now);
        node.valid = node.valid.min(len as u32);
        if len < size {
            let (node, table, cache) = self.chain(number)?;
            let cut = node.chain.cut(table, cache, count);
            node.record.set_cluster(node.chain.first());
            self.store(number)?;
            return cut;
        }
        self.store(number)
    }

    /// Frees what was removed and nobody holds any more, and forgets everything else that nobody holds: the directories, too, that only what was
    /// in them has held.
    fn forget_unheld(&mut self) -> Result<(), IoError> {
        let unheld = |(&number, node): (&u64, &Node)| (node.held.strong_count() == 0).then_some(number);
        let mut result = Ok(());
        while result.is_ok() {
            let numbers: Vec<u64> = self.nodes.iter().filter_map(unheld).collect();
            if numbers.is_empty() {
                break;
            }
            for number in numbers {
                let filled = self.fill_rest(number);
                let Some(mut node) = self.nodes.remove(&number) else { continue };
                if node.removed {
                    // If the chain is damaged, the rest of it stays used.
                    result = result.and(node.chain.cut(&mut self.table, &mut self.cache, 0));
                } else if filled.is_err() {
                    // The zeroes could not be written: tried again next time.
                    self.nodes.insert(number, node);
                    result = result.and(filled);
                }
            }
        }
        result
    }

    /// Writes the zeroes at a file's end that have not been written yet.
    fn fill_rest(&mut self, number: u64) -> Result<(), IoError> {
        let node = self.node(number)?;
        let (valid, size) = (node.valid as usize, node.record.size() as usize);
        if node.removed || node.record.is_directory() { Ok(()) } else { self.fill(number, valid, size) }
    }

    /// Whether something is not on the disk yet.
    pub(crate) fn is_dirty(&self) -> bool {
        self.cache.is_dirty()
            || self.table.has_changes()
            || self.nodes.values().any(|node| {
                let unfilled = node.valid < node.record.size() && !node.record.is_directory();
                if node.removed { node.held.strong_count() == 0 } else { unfilled }
            })
    }

    /// Brings everything to the disk; see the module's documentation. If it fails, what is not there yet is tried again by the next one.
    pub(crate) fn commit(&mut self) -> Result<(), IoError> {
        if !self.is_dirty() {
            return self.cache.flush();
        }
        let numbers: Vec<u64> = self.nodes.keys().copied().collect();
        for number in numbers {
            self.fill_rest(number)?;
        }
        self.forget_unheld()?;
        let count_changes = self.table.has_changes();
        self.table.commit(&mut self.cache, Step::Allocate)?;
        self.cache.write_out(Class::Data)?;
        if self.cache.is_dirty() || self.table.has_changes() {
            self.cache.flush()?;
        }
        if self.table.commit(&mut self.cache, Step::Link)? {
            self.cache.flush()?;
        }
        self.cache.write_out(Class::Entries)?;
        self.cache.flush()?;
        if self.table.has_changes() {
            self.table.commit(&mut self.cache, Step::Free)?;
        }
        if count_changes {
            self.store_free_count()?;
            self.cache.write_out(Class::Table)?;
        }
        Ok(())
    }

    fn store_free_count(&mut self) -> Result<(), IoError> {
        let Some(info) = self.layout.info else { return Ok(()) };
        for (at, signature) in INFO_SIGNATURES {
            let mut bytes = [0; 4];
            self.cache.read(&mut bytes, info + at)?;
            if bytes != signature {
                return Ok(());
            }
        }
        let free = self.table.free_count(&mut self.cache)?;
        self.cache.write(&free.to_le_bytes(), info + INFO_FREE, Class::Table)
    }
}
