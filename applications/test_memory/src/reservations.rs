//! [`ReservedPages`].

use crate::leaks_nothing;
use crate::mappings::{RO, RW, at};
use memory::{Mapper, ReservedPages, reserve_pages, translate};

const KB: usize = 1 << 10;
const MB: usize = 1 << 20;
const GB: usize = 1 << 30;

/// The bytes of a committed part.
fn part(memory: &mut ReservedPages, range: core::ops::Range<usize>) -> &mut [u8] {
    assert!(range.clone().step_by(4096).all(|offset| memory.is_committed(offset)));
    // SAFETY: all of the range is committed, as was just seen, and writable as the callers know; `memory` is
    // borrowed.
    unsafe { core::slice::from_raw_parts_mut(memory.as_mut_ptr().add(range.start), range.len()) }
}

pub fn reservations_take_no_frames() {
    leaks_nothing(|| {
        let before = frame_allocator::free_frames();
        let memories: [_; 100] = core::array::from_fn(|_| reserve_pages(4 * GB + 2 * GB).unwrap());
        assert!(before - frame_allocator::free_frames() < 8, "only the page allocator's books may grow");
        assert!(memories.iter().all(|memory| translate(memory.start_address()).is_none()));
        assert!(memories.iter().all(|memory| memory.start_address().value() % (2 * MB) == 0));
    });
}

pub fn commit_and_decommit() {
    leaks_nothing(|| {
        let mut memory = reserve_pages(4 * GB).unwrap();
        memory.commit(0..64 * KB, RW).unwrap();
        assert!(part(&mut memory, 0..64 * KB).iter().all(|&byte| byte == 0));
        part(&mut memory, 0..64 * KB).fill(1);
        memory.commit(64 * KB..192 * KB, RW).unwrap();
        assert!(part(&mut memory, 64 * KB..192 * KB).iter().all(|&byte| byte == 0));
        part(&mut memory, 0..192 * KB).fill(2);
        memory.decommit(32 * KB..96 * KB).unwrap();
        assert_eq!(memory.committed_bytes(), 128 * KB);
        assert!(!memory.is_committed(32 * KB) && !memory.is_committed(92 * KB));
        assert!(part(&mut memory, 0..32 * KB).iter().all(|&byte| byte == 2));
        assert!(part(&mut memory, 96 * KB..192 * KB).iter().all(|&byte| byte == 2));
        memory.commit(32 * KB..96 * KB, RW).unwrap();
        assert!(part(&mut memory, 32 * KB..96 * KB).iter().all(|&byte| byte == 0));
        assert!(memory.commit(0..4096, RW).is_err(), "committed already");
        assert!(memory.commit(4 * GB - 4096..4 * GB + 4096, RW).is_err(), "beyond the reservation");
        assert!(memory.commit(4 * GB - 4000..4 * GB, RW).is_err(), "no whole page");
        memory.commit(4 * GB - 4096..4 * GB, RW).unwrap();
        part(&mut memory, 4 * GB - 4096..4 * GB)[4095] = 3;
    });
}

pub fn protection_in_part() {
    leaks_nothing(|| {
        let mut memory = reserve_pages(MB).unwrap();
        let base = memory.start_address().value();
        memory.commit(0..64 * KB, RW).unwrap();
        part(&mut memory, 0..64 * KB).fill(7);
        memory.protect(8 * KB..16 * KB, RO).unwrap();
        let writable = |offset: usize| Mapper::current().flags_of(at(base + offset)).unwrap().is_writable();
        assert!(writable(4 * KB) && !writable(8 * KB) && !writable(12 * KB) && writable(16 * KB));
        part(&mut memory, 0..8 * KB).fill(8);
        part(&mut memory, 16 * KB..64 * KB).fill(8);
        memory.protect(8 * KB..16 * KB, RW).unwrap();
        assert!(part(&mut memory, 8 * KB..16 * KB).iter().all(|&byte| byte == 7));
        part(&mut memory, 0..64 * KB).fill(9);
        assert!(memory.protect(60 * KB..68 * KB, RO).is_err(), "not all of it is committed");
        assert!(writable(60 * KB));
        assert!(memory.protect(0..4 * KB, RW.executable(true)).is_err());
        assert!(memory.commit(64 * KB..68 * KB, RW.executable(true)).is_err());
    });
}

pub fn huge_pages() {
    // As much as a small machine has left, too.
    let size = if frame_allocator::free_frames() * 4096 > 128 * MB { 64 * MB } else { 14 * MB };
    leaks_nothing(|| {
        let mut memory = reserve_pages(size + GB).unwrap();
        let base = memory.start_address().value();
        memory.commit(0..size, RW).unwrap();
        let huge = (0..size)
            .step_by(2 * MB)
            .filter(|&n| Mapper::current().flags_of(at(base + n)).unwrap().is_huge())
            .count();
        assert!(huge > 0, "no aligned 2 MiB of physical memory was found");
        for (n, page) in part(&mut memory, 0..size).chunks_mut(4096).enumerate() {
            assert!(page[0] == 0 && page[4095] == 0 && page[n % 4096] == 0);
            page[..8].copy_from_slice(&n.to_le_bytes());
        }
        memory.protect(5 * MB..7 * MB, RO).unwrap();
        memory.decommit(9 * MB..13 * MB + 4096).unwrap();
        assert_eq!(memory.committed_bytes(), size - 4 * MB - 4096);
        memory.protect(5 * MB..7 * MB, RW).unwrap();
        memory.commit(9 * MB..13 * MB + 4096, RW).unwrap();
        for (n, page) in part(&mut memory, 0..size).chunks(4096).enumerate() {
            let fresh = (9 * MB..13 * MB + 4096).contains(&(n * 4096));
            let expected = if fresh { 0 } else { n };
            assert_eq!(page[..8], expected.to_le_bytes());
        }
    });
}

pub fn linear_memories_leak_nothing() {
    leaks_nothing(|| {
        for n in 0..200 {
            let mut memory = reserve_pages(4 * GB + 32 * MB).unwrap();
            let mut size = 0;
            for _ in 0..n % 5 + 1 {
                memory.commit(size..size + 64 * KB, RW).unwrap();
                part(&mut memory, size..size + 64 * KB)[64 * KB - 1] = 1;
                size += 64 * KB;
            }
            if n % 7 == 0 {
                memory.decommit(0..4 * GB).unwrap();
                assert_eq!(memory.committed_bytes(), 0);
            }
        }
    });
}

pub fn too_much_is_an_error() {
    leaks_nothing(|| {
        let total = frame_allocator::statistics().total * 4096;
        let mut memory = reserve_pages(2 * total + 2 * MB).unwrap();
        memory.commit(0..4096, RW).unwrap();
        part(&mut memory, 0..4096).fill(5);
        assert!(memory.commit(4096..total + 8192, RW).is_err());
        assert_eq!(memory.committed_bytes(), 4096);
        assert!(part(&mut memory, 0..4096).iter().all(|&byte| byte == 5));
        assert!(
            reserve_pages(1 << 47).is_err()
                && reserve_pages(usize::MAX).is_err()
                && reserve_pages(0).is_err()
        );
        assert!(memory::create_mapping(2 * total, RW).is_err());
        assert!(memory::create_contiguous_mapping(2 * total, RW).is_err());
    });
}
