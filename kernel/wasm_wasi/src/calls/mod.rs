//! The functions, as methods of [`Call`](crate::linker::Call): those of `wasi_snapshot_preview1`, with their names and in their groups.

mod environment;
mod fd;
mod path;
mod poll;
mod socket;

pub(crate) use environment::RANDOM_PIECE;

use crate::Errno;
use crate::fs::{SetTimes, wall_clock_nanos};
use crate::types::FstFlags;

/// The bits of a flags field, if the specification knows them all.
pub(crate) fn flags<F: bitflags::Flags<Bits = u16>>(bits: u32) -> Result<F, Errno> {
    u16::try_from(bits).ok().and_then(F::from_bits).ok_or(Errno::Inval)
}

/// The times that `fd_filestat_set_times` and `path_filestat_set_times` were given.
pub(crate) fn times(accessed: u64, modified: u64, bits: u32) -> Result<SetTimes, Errno> {
    let set = flags::<FstFlags>(bits)?;
    if set.contains(FstFlags::ATIM | FstFlags::ATIM_NOW) || set.contains(FstFlags::MTIM | FstFlags::MTIM_NOW)
    {
        return Err(Errno::Inval);
    }
    let now = wall_clock_nanos();
    let time = |given: FstFlags, present: FstFlags, value: u64| {
        if set.contains(present) { Some(now) } else { set.contains(given).then_some(value) }
    };
    Ok(SetTimes {
        accessed: time(FstFlags::ATIM, FstFlags::ATIM_NOW, accessed),
        modified: time(FstFlags::MTIM, FstFlags::MTIM_NOW, modified),
    })
}
