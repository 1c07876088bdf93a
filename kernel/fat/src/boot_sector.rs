//! The first sector: where everything is.

use crate::cache::Cache;
use io::IoError;

/// Which of the three this is: it follows from the number of clusters, and from nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Fat12,
    Fat16,
    Fat32,
}

/// Where a volume has what; offsets and lengths in bytes from the start of the device.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layout {
    pub(crate) kind: Kind,
    pub(crate) cluster_size: u32,
    /// The first copy of the allocation table, the distance between two, how many there are, and which one is read. With only one
    /// that counts, `copies` is 1.
    pub(crate) table: u64,
    pub(crate) table_size: u64,
    pub(crate) copies: u32,
    /// The root directory: its place and length if it has a place of its own (FAT12, FAT16), else its first cluster.
    pub(crate) root: u64,
    pub(crate) root_size: u32,
    pub(crate) root_cluster: u32,
    /// Where cluster 2 begins.
    pub(crate) data: u64,
    /// How many clusters there are, the first one being number 2.
    pub(crate) clusters: u32,
    /// The sector with the number of free clusters.
    pub(crate) info: Option<u64>,
}

const BLANK: IoError =
    IoError::Other("there is no file system on it: make one on the host with `mkfs.fat FILE`");
const NOT_FAT: IoError =
    IoError::Other("its file system is not FAT12, FAT16 or FAT32: make one on the host with `mkfs.fat FILE`");
const IMPOSSIBLE: IoError = IoError::Other("its first sector is damaged: check it on the host with fsck.fat");
const CUT: IoError = IoError::Other("it is smaller than its file system says: was the image cut off?");

/// Clusters of which there are fewer in FAT12, and in FAT16.
const FAT12_END: u32 = 4085;
const FAT16_END: u32 = 65525;
const FAT32_END: u32 = 0x0FFF_FFF5;

fn word(sector: &[u8], at: usize) -> u32 {
    u32::from(u16::from_le_bytes([sector[at], sector[at + 1]]))
}

fn long(sector: &[u8], at: usize) -> u32 {
    word(sector, at) | word(sector, at + 2) << 16
}

impl Layout {
    /// Finds the volume: on the whole device, or in the first partition that is FAT.
    pub(crate) fn read(cache: &mut Cache) -> Result<Self, IoError> {
        let mut sector = [0; 512];
        if cache.size() < sector.len() as u64 {
            return Err(BLANK);
        }
        cache.read(&mut sector, 0)?;
        if sector == [0; 512] {
            return Err(BLANK);
        }
        match Self::parse(&sector, 0, cache.size()) {
            Err(NOT_FAT) if sector[510..] == [0x55, 0xAA] => {}
            result => return result,
        }
        for partition in sector[446..510].chunks(16) {
            if matches!(partition[4], 1 | 4 | 6 | 0xB | 0xC | 0xE) {
                let start = u64::from(long(partition, 8)) * 512;
                let end = start.saturating_add(u64::from(long(partition, 12)) * 512).min(cache.size());
                if start == 0 || start + 512 > end {
                    return Err(IMPOSSIBLE);
                }
                cache.read(&mut sector, start)?;
                return Self::parse(&sector, start, end);
            }
        }
        Err(NOT_FAT)
    }

    fn parse(sector: &[u8; 512], start: u64, end: u64) -> Result<Self, IoError> {
        let sector_size = word(sector, 11);
        let sectors_per_cluster = u32::from(sector[13]);
        let reserved = word(sector, 14);
        let copies = u32::from(sector[16]);
        let jumps = matches!(sector[0], 0xEB | 0xE9);
        let plausible = matches!(sector_size, 512 | 1024 | 2048 | 4096)
            && sectors_per_cluster.is_power_of_two()
            && reserved > 0
            && matches!(copies, 1 | 2);
        if !plausible {
            let says_fat = sector[510..] == [0x55, 0xAA]
                && jumps
                && (&sector[54..57] == b"FAT" || &sector[82..85] == b"FAT");
            return Err(if says_fat { IMPOSSIBLE } else { NOT_FAT });
        }
        let root_entries = word(sector, 17);
        let total = match word(sector, 19) {
            0 => long(sector, 32),
            total => total,
        };
        let (table_sectors, wide) = match word(sector, 22) {
            0 => (long(sector, 36), true),
            sectors => (sectors, false),
        };
        let bytes = |sectors: u64| sectors * u64::from(sector_size);
        let root_sectors = (root_entries * 32).div_ceil(sector_size);
        let data_sector =
            u64::from(reserved) + u64::from(copies) * u64::from(table_sectors) + u64::from(root_sectors);
        let data_sectors = u64::from(total).checked_sub(data_sector).ok_or(IMPOSSIBLE)?;
        let clusters = (data_sectors / u64::from(sectors_per_cluster)) as u32;
        let kind = match clusters {
            0 => return Err(IMPOSSIBLE),
            ..FAT12_END if !wide => Kind::Fat12,
            ..FAT16_END if !wide => Kind::Fat16,
            // Small volumes with FAT32's layout exist: made by force, but everybody reads them.
            ..FAT32_END if wide => Kind::Fat32,
            _ => return Err(IMPOSSIBLE),
        };
        let needed = match kind {
            Kind::Fat12 => (u64::from(clusters) + 2) * 3 / 2,
            Kind::Fat16 => (u64::from(clusters) + 2) * 2,
            Kind::Fat32 => (u64::from(clusters) + 2) * 4,
        };
        if bytes(u64::from(table_sectors)) < needed
            || (wide && (root_entries != 0 || word(sector, 42) != 0))
            || (!wide && root_entries == 0)
        {
            return Err(IMPOSSIBLE);
        }
        if start + bytes(u64::from(total)) > end {
            return Err(CUT);
        }
        let mut table = start + bytes(u64::from(reserved));
        let table_size = bytes(u64::from(table_sectors));
        let mut counting = copies;
        let root_cluster = if wide { long(sector, 44) } else { 0 };
        if wide {
            if !(2..clusters + 2).contains(&root_cluster) {
                return Err(IMPOSSIBLE);
            }
            // Bit 7: only the copy in the low bits counts.
            let flags = word(sector, 40);
            if flags & 0x80 != 0 {
                if flags & 15 >= copies {
                    return Err(IMPOSSIBLE);
                }
                table += u64::from(flags & 15) * table_size;
                counting = 1;
            }
        }
        let info = word(sector, 48);
        Ok(Self {
            kind,
            cluster_size: sector_size * sectors_per_cluster,
            table,
            table_size,
            copies: counting,
            root: start + bytes(u64::from(reserved) + u64::from(copies) * u64::from(table_sectors)),
            root_size: root_entries * 32,
            root_cluster,
            data: start + bytes(data_sector),
            clusters,
            info: (wide && info > 0 && info < reserved).then(|| start + bytes(u64::from(info))),
        })
    }

    /// Where a cluster begins.
    pub(crate) fn cluster_offset(&self, cluster: u32) -> u64 {
        self.data + u64::from(cluster - 2) * u64::from(self.cluster_size)
    }
}
