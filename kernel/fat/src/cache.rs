//! The block cache: what was read stays for a while, and what is written goes to the disk later, many blocks at once.
//!
//! What is written belongs to a [`Class`], and the volume decides when which class goes to the disk: that is what keeps the disk consistent at
//! every moment. Only [`Class::Data`] may go at any time, and does so when the cache is full.
//!
//! # Invariants
//! * A block in the cache is what a reader is to see; a sector of it that is marked as dirty is newer than the disk's.
//! * There are no more than `limit` blocks, unless more than that are dirty and of other classes than data. The volume looks at
//!   [`Cache::is_crowded`] before each change, and commits.
//! * A write that failed leaves the sectors dirty, so that it is tried again.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use io::IoError;
use storage_device::{BLOCK_SIZE, StorageDevice};

/// Sectors of a block of the cache.
const SECTORS: usize = 8;
/// Bytes of a block of the cache.
const SIZE: usize = SECTORS * BLOCK_SIZE;
/// How many blocks are read or written with one request.
const RUN: usize = 32;

/// When something that is written may go to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// At any time: content of files, and whatever else nothing on the disk refers to yet.
    Data,
    /// The allocation table, at the moment at which it is written.
    Table,
    /// Entries of directories: when what they refer to is there.
    Entries,
}

const CLASSES: usize = 3;

struct Block {
    data: Box<[u8; SIZE]>,
    /// A bit for each sector, for each class.
    dirty: [u8; CLASSES],
    /// It was used since the hand passed it.
    recent: bool,
}

impl Block {
    fn is_dirty(&self) -> bool {
        self.dirty != [0; CLASSES]
    }
}

/// The cache, and the device behind it.
pub(crate) struct Cache {
    device: Box<dyn StorageDevice>,
    blocks: BTreeMap<u64, Block>,
    limit: usize,
    /// Where the search for a block that nobody used goes on.
    hand: u64,
    /// What requests are put together in.
    scratch: Vec<u8>,
    /// Something was written to the device since its last flush.
    unflushed: bool,
    /// Something may be dirty.
    dirty: bool,
}

const NO_MEMORY: IoError = IoError::OutOfMemory;

fn new_block() -> Result<Box<[u8; SIZE]>, IoError> {
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(SIZE).map_err(|_| NO_MEMORY)?;
    bytes.resize(SIZE, 0);
    bytes.into_boxed_slice().try_into().map_err(|_| NO_MEMORY)
}

impl Cache {
    /// A cache for `device` with room for so many bytes.
    pub(crate) fn new(device: Box<dyn StorageDevice>, limit: usize) -> Result<Self, IoError> {
        let mut scratch = Vec::new();
        scratch.try_reserve_exact(RUN * SIZE).map_err(|_| NO_MEMORY)?;
        scratch.resize(RUN * SIZE, 0);
        let limit = (limit / SIZE).max(2 * RUN);
        let blocks = BTreeMap::new();
        Ok(Self { device, blocks, limit, hand: 0, scratch, unflushed: false, dirty: false })
    }

    pub(crate) fn is_read_only(&self) -> bool {
        self.device.is_read_only()
    }

    /// The device's size in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.device.size_in_blocks().saturating_mul(BLOCK_SIZE as u64)
    }

    /// Whether something waits to be written.
    pub(crate) fn is_dirty(&self) -> bool {
        self.dirty
    }

    /// Whether it is time to commit: most blocks are dirty and none of those could go.
    pub(crate) fn is_crowded(&self) -> bool {
        self.dirty
            && self.blocks.len() >= self.limit
            && self.blocks.values().filter(|block| block.is_dirty()).count() > self.limit / 2
    }

    /// The bytes that block `index` has on the device: fewer than others if it is the last one.
    fn len_of(&self, index: u64) -> usize {
        self.size().saturating_sub(index * SIZE as u64).min(SIZE as u64) as usize
    }

    /// Reads the bytes from `offset` on.
    pub(crate) fn read(&mut self, buffer: &mut [u8], offset: u64) -> Result<(), IoError> {
        self.check(offset, buffer.len())?;
        let mut done = 0;
        while done < buffer.len() {
            let at = offset + done as u64;
            let (index, within) = (at / SIZE as u64, (at % SIZE as u64) as usize);
            let count = (SIZE - within).min(buffer.len() - done);
            let last = (offset + buffer.len() as u64 - 1) / SIZE as u64;
            let block = self.block(index, last - index + 1)?;
            buffer[done..done + count].copy_from_slice(&block.data[within..within + count]);
            done += count;
        }
        Ok(())
    }

    /// Writes the bytes from `offset` on.
    pub(crate) fn write(&mut self, bytes: &[u8], offset: u64, class: Class) -> Result<(), IoError> {
        self.write_pieces(bytes.len(), offset, class, |done, piece| {
            piece.copy_from_slice(&bytes[done..done + piece.len()]);
        })
    }

    /// Writes so many zeroes from `offset` on.
    pub(crate) fn write_zeroes(&mut self, len: usize, offset: u64, class: Class) -> Result<(), IoError> {
        self.write_pieces(len, offset, class, |_, piece| piece.fill(0))
    }

    fn write_pieces(
        &mut self,
        len: usize,
        offset: u64,
        class: Class,
        fill: impl Fn(usize, &mut [u8]),
    ) -> Result<(), IoError> {
        self.check(offset, len)?;
        if self.is_read_only() {
            return Err(IoError::ReadOnly);
        }
        let mut done = 0;
        while done < len {
            let at = offset + done as u64;
            let (index, within) = (at / SIZE as u64, (at % SIZE as u64) as usize);
            let count = (SIZE - within).min(len - done);
            let block = if count >= self.len_of(index) && !self.blocks.contains_key(&index) {
                self.make_room(1)?;
                self.blocks.entry(index).or_insert(Block {
                    data: new_block()?,
                    dirty: [0; CLASSES],
                    recent: true,
                })
            } else {
                self.block(index, 1)?
            };
            fill(done, &mut block.data[within..within + count]);
            for sector in within / BLOCK_SIZE..(within + count).div_ceil(BLOCK_SIZE) {
                block.dirty[class as usize] |= 1 << sector;
            }
            self.dirty = true;
            done += count;
        }
        Ok(())
    }

    fn check(&self, offset: u64, len: usize) -> Result<(), IoError> {
        match offset.checked_add(len as u64) {
            Some(end) if end <= self.size() => Ok(()),
            _ => Err(crate::DAMAGED),
        }
    }

    /// The block `index`, read if it is not there, and then the `wanted` next ones with it.
    fn block(&mut self, index: u64, wanted: u64) -> Result<&mut Block, IoError> {
        if !self.blocks.contains_key(&index) {
            let most = wanted.min(RUN as u64);
            let mut count = 1;
            while count < most && !self.blocks.contains_key(&(index + count)) {
                count += 1;
            }
            self.make_room(count as usize)?;
            let len = (index..index + count).map(|index| self.len_of(index)).sum();
            self.device.read_blocks(&mut self.scratch[..len], index * SECTORS as u64)?;
            for (number, bytes) in self.scratch[..len].chunks(SIZE).enumerate() {
                let mut data = new_block()?;
                data[..bytes.len()].copy_from_slice(bytes);
                let block = Block { data, dirty: [0; CLASSES], recent: false };
                self.blocks.insert(index + number as u64, block);
            }
        }
        let block = self.blocks.get_mut(&index).ok_or(NO_MEMORY)?;
        block.recent = true;
        Ok(block)
    }

    /// Makes room for `count` more blocks, if that is possible without writing what must wait.
    fn make_room(&mut self, count: usize) -> Result<(), IoError> {
        if self.blocks.len() + count <= self.limit || self.evict(count) {
            return Ok(());
        }
        // If that fails, what was to be written is not lost, but nothing can be added to it.
        self.write_out(Class::Data)?;
        self.evict(count);
        Ok(())
    }

    /// Forgets blocks until there is room for `count` more; returns whether there is.
    fn evict(&mut self, count: usize) -> bool {
        let mut looks = 2 * self.blocks.len();
        while self.blocks.len() + count > self.limit {
            if looks == 0 {
                return false;
            }
            looks -= 1;
            let hand = self.hand;
            let next = self.blocks.range_mut(hand..).next();
            let Some((&index, block)) = next else {
                self.hand = 0;
                continue;
            };
            self.hand = index + 1;
            if block.recent {
                block.recent = false;
            } else if !block.is_dirty() {
                self.blocks.remove(&index);
            }
        }
        true
    }

    /// Writes everything of this class to the device.
    pub(crate) fn write_out(&mut self, class: Class) -> Result<(), IoError> {
        let mut from = 0;
        loop {
            // A run of adjacent sectors: its first one, and how many there are in `scratch`.
            let mut run: Option<(u64, usize)> = None;
            'blocks: for (&index, block) in self.blocks.range(from / SECTORS as u64..) {
                for sector in 0..SECTORS {
                    let number = index * SECTORS as u64 + sector as u64;
                    if number < from || block.dirty[class as usize] & (1 << sector) == 0 {
                        continue;
                    }
                    let (first, count) = *run.get_or_insert((number, 0));
                    if number != first + count as u64 || count == RUN * SECTORS {
                        break 'blocks;
                    }
                    self.scratch[count * BLOCK_SIZE..][..BLOCK_SIZE]
                        .copy_from_slice(&block.data[sector * BLOCK_SIZE..][..BLOCK_SIZE]);
                    run = Some((first, count + 1));
                }
            }
            let Some((first, count)) = run else { break };
            self.unflushed = true;
            self.device.write_blocks(&self.scratch[..count * BLOCK_SIZE], first)?;
            from = first + count as u64;
            for number in first..from {
                if let Some(block) = self.blocks.get_mut(&(number / SECTORS as u64)) {
                    block.dirty[class as usize] &= !(1 << (number % SECTORS as u64));
                }
            }
        }
        self.dirty = self.blocks.values().any(Block::is_dirty);
        Ok(())
    }

    /// Makes sure that what was written to the device outlasts a power failure.
    pub(crate) fn flush(&mut self) -> Result<(), IoError> {
        if self.unflushed {
            self.device.flush()?;
            self.unflushed = false;
        }
        Ok(())
    }
}
