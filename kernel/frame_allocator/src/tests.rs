//! The global allocator is one per process, so that tests of the public functions take turns.

use super::*;
use crate::allocator::{Allocator, place};
use crate::bitmap::Bitmap;
use crate::reserved::RangeList;
use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard};

/// xorshift64*, seeded: the same run every time.
struct Random(u64);
impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % n
    }
}

fn region(start: usize, count: usize, typ: MemoryRegionType) -> PhysicalMemoryRegion {
    PhysicalMemoryRegion::new(allocator::range((start, count)), typ)
}

/// 16 MiB from 1 MiB on, with a hole and a reserved part.
fn initialised() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    let guard = TURN.lock().unwrap_or_else(|e| e.into_inner());
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let free = [region(0, 0x80, MemoryRegionType::Free), region(0x100, 0x1000, MemoryRegionType::Free)];
        let reserved = [region(0x100, 0x40, MemoryRegionType::Reserved)];
        init(free.iter(), reserved.iter()).unwrap();
        assert!(init(free.iter(), reserved.iter()).is_err(), "twice");
    });
    guard
}

#[test]
fn only_usable_and_unreserved_frames_are_general() {
    let _turn = initialised();
    let FrameStatistics { free, total, .. } = statistics();
    assert_eq!((free, total), (0x1000 - 0x40, 0x1000 - 0x40));
    let first = allocate_frames(1).unwrap();
    assert_eq!(first.start().number(), 0x140);
    for (start, count, expected) in
        [(0x140, 0xFC0, true), (0x13F, 2, false), (0x10FF, 2, false), (0xFEE00, 1, false), (0x200, 0, false)]
    {
        assert_eq!(is_general(&allocator::range((start, count))), expected, "{start:#x}+{count}");
    }
}

#[test]
fn dropped_frames_come_back() {
    let _turn = initialised();
    let before = statistics();
    let frames = allocate_frames(10).unwrap();
    assert_eq!(statistics().free, before.free - 10);
    let (low, high) =
        frames.split_at(Frame::containing_address(PhysicalAddress::new_canonical(0x144 << 12))).unwrap();
    drop(low);
    assert_eq!(statistics().free, before.free - 6);
    drop(high);
    assert_eq!(statistics(), before);
}

#[test]
fn reserved_frames_have_one_owner_at_a_time() {
    let _turn = initialised();
    let before = statistics();
    let device = PhysicalAddress::new_canonical(0xFEE0_0000);
    let held = allocate_frames_by_bytes_at(device + 0x10, 0x1000).unwrap();
    assert_eq!(held.size_in_frames(), 2);
    assert!(allocate_frames_at(device + 0x1000, 1).is_err());
    assert!(
        allocate_frames_at(PhysicalAddress::new_canonical(0x13F << 12), 2).is_err(),
        "reserved and general"
    );
    assert_eq!(statistics().free, before.free, "reserved frames are not counted as free");
    drop(held);
    let again = allocate_frames_at(device + 0x1000, 1).unwrap();
    drop(again);
    assert_eq!(statistics(), before);
}

#[test]
fn low_memory_is_only_given_by_address() {
    let _turn = initialised();
    let trampoline = allocate_frames_at(PhysicalAddress::new_canonical(0x8000), 1).unwrap();
    assert_eq!(trampoline.start().number(), 8);
}

#[test]
#[should_panic(expected = "mapped frames were dropped")]
fn mapped_frames_may_not_be_dropped() {
    let _turn = initialised();
    let mapped =
        allocate_frames_at(PhysicalAddress::new_canonical(0xFED0_0000), 1).unwrap().into_mapped_frames();
    drop(mapped);
}

#[test]
fn mapped_frames_come_back_as_unmapped() {
    let _turn = initialised();
    let before = statistics();
    let mapped = allocate_frames(3).unwrap().into_mapped_frames();
    let range = (*mapped).clone();
    core::mem::forget(mapped);
    assert_eq!(statistics().free, before.free - 3);
    let allocated = frames::into_unmapped_frames(range).into_allocated_frames();
    assert_eq!(statistics().free, before.free - 3);
    drop(allocated);
    assert_eq!(statistics(), before);
}

#[test]
fn merge_and_split() {
    let _turn = initialised();
    let whole = allocate_frames(10).unwrap();
    let range = (*whole).clone();
    let inner = FrameRange::new(*range.start() + 3, *range.start() + 5);
    let parts = whole.split_range(inner).unwrap();
    let (mut low, mid, high) = (parts.before_start.unwrap(), parts.start_to_end, parts.after_end.unwrap());
    assert_eq!((low.size_in_frames(), mid.size_in_frames(), high.size_in_frames()), (3, 3, 4));
    let high = low.merge(high).unwrap_err();
    low.merge(mid).unwrap();
    low.merge(high).unwrap();
    assert_eq!(*low, range);
    let mut nothing = AllocatedFrames::<Page4K>::empty();
    nothing.merge(low).unwrap();
    let nothing = nothing.split_range(FrameRange::empty()).unwrap_err();
    let outside = FrameRange::new(*range.start(), *range.end() + 1);
    let whole = nothing.split_range(outside).unwrap_err();
    let (none, whole) = whole.split_at(*range.start()).unwrap();
    assert!(none.is_empty());
    assert_eq!(whole.into_iter().count(), 10);
}

#[test]
fn aligned_and_exhausted() {
    let _turn = initialised();
    let before = statistics();
    let huge = allocate_frames_aligned(512, 512).unwrap();
    assert_eq!(huge.start().number() % 512, 0);
    let huge = huge.try_into_size::<memory_structs::Page2M>().unwrap();
    assert_eq!(huge.size_in_frames(), 1);
    assert!(huge.into_4k().split_range(allocator::range((0x200, 1))).is_ok());
    assert!(allocate_frames(0).is_none());
    assert!(allocate_frames(0x1000).is_none());
    let mut all = Vec::new();
    while let Some(some) = allocate_frames_up_to(100) {
        assert!(some.size_in_frames() <= 100);
        all.push(some);
    }
    assert_eq!(statistics().free, 0);
    assert!(allocate_frames(1).is_none());
    drop(all);
    assert_eq!(statistics(), before);
}

#[test]
fn inspectors_choose() {
    let _turn = initialised();
    let before = statistics();
    let chosen = inspect_then_allocate_free_frames(&mut |run| FramesIteratorRequest::AllocateAt {
        requested_frame: *run.end() - 1,
        num_frames: 2,
    });
    assert_eq!(chosen.unwrap().unwrap().end().number(), 0x10FF);
    let beyond = inspect_then_allocate_free_frames(&mut |run| FramesIteratorRequest::AllocateAt {
        requested_frame: *run.end(),
        num_frames: 2,
    });
    assert!(beyond.is_err());
    assert!(inspect_then_allocate_free_frames(&mut |_| FramesIteratorRequest::Next).unwrap().is_none());
    assert!(inspect_then_allocate_free_frames(&mut |_| FramesIteratorRequest::Stop).unwrap().is_none());
    assert_eq!(statistics(), before);
}

#[test]
fn random_allocations_never_overlap() {
    let _turn = initialised();
    let before = statistics();
    let mut random = Random(0x1234_5678_9ABC_DEF1);
    let mut held: Vec<AllocatedFrames> = Vec::new();
    let mut model = BTreeSet::new();
    for _ in 0..20_000 {
        if random.below(2) == 0 {
            let (count, alignment) = (1 + random.below(40), 1 << random.below(5));
            if let Some(frames) = allocate_frames_aligned(count, alignment) {
                assert_eq!((frames.size_in_frames(), frames.start().number() % alignment), (count, 0));
                for frame in frames.clone_range() {
                    assert!(model.insert(frame.number()), "given out twice");
                }
                held.push(frames);
            }
        } else if !held.is_empty() {
            let frames = held.swap_remove(random.below(held.len()));
            for frame in frames.clone_range() {
                assert!(model.remove(&frame.number()));
            }
        }
        assert_eq!(
            (statistics().free, free_frames()),
            (before.free - model.len(), before.free - model.len())
        );
    }
    held.clear();
    assert_eq!(statistics(), before);
}

trait CloneRange {
    fn clone_range(&self) -> FrameRange;
}
impl CloneRange for AllocatedFrames {
    fn clone_range(&self) -> FrameRange {
        (**self).clone()
    }
}

#[test]
fn bitmap_agrees_with_a_set() {
    const N: usize = 10_000;
    let (words, summary) = Bitmap::words_needed(N);
    let mut bitmap = Bitmap::new(vec![0; words].leak(), vec![0; summary].leak());
    let mut model = BTreeSet::new();
    let mut random = Random(42);
    for _ in 0..20_000 {
        let start = random.below(N);
        let end = (start + 1 + random.below(300)).min(N);
        match random.below(4) {
            0 => {
                let added = (start..end).filter(|&n| model.insert(n)).count();
                assert_eq!(bitmap.set(start, end), added);
            }
            1 => {
                let removed = (start..end).filter(|n| model.remove(n)).count();
                assert_eq!(bitmap.clear(start, end), removed);
            }
            2 => {
                assert_eq!(bitmap.next_set(start), model.range(start..).next().copied());
                let clear = (start..end).find(|n| !model.contains(n)).unwrap_or(end);
                assert_eq!(bitmap.next_clear(start, end), clear);
                assert_eq!(bitmap.get(start), model.contains(&start));
            }
            _ => {
                let (count, alignment) = (1 + random.below(70), 1 << random.below(7));
                let fits = |&n: &usize| n % alignment == 0 && (n..n + count).all(|m| model.contains(&m));
                assert_eq!(bitmap.find_run(count, alignment), model.iter().copied().find(fits));
                assert_eq!(bitmap.first(), model.first().copied());
            }
        }
        assert_eq!(bitmap.free(), model.len());
    }
}

#[test]
fn range_list_agrees_with_a_set() {
    let mut list = RangeList::new();
    let mut model = BTreeSet::new();
    let mut random = Random(7);
    for _ in 0..20_000 {
        let start = random.below(300);
        let end = start + 1 + random.below(6);
        let present = (start..end).filter(|n| model.contains(n)).count();
        assert_eq!(list.overlaps(start, end), present > 0);
        if random.below(2) == 0 && present == 0 {
            list.insert(start, end).unwrap();
            model.extend(start..end);
        } else if present == end - start {
            list.remove(start, end).unwrap();
            model.retain(|n| !(start..end).contains(n));
        } else if present > 0 {
            assert!(list.remove(start, end).is_err());
        }
        assert_eq!(list.count(), model.len());
        assert!(list.as_slice().windows(2).all(|pair| pair[0].1 < pair[1].0), "sorted and apart");
    }
}

#[test]
fn a_full_range_list_says_so() {
    let mut list = RangeList::new();
    for n in 0..256 {
        list.insert(n * 10, n * 10 + 5).unwrap();
    }
    assert!(list.insert(5000, 5001).is_err());
    assert!(list.remove(2, 3).is_err(), "cutting needs room");
    assert_eq!(list.count(), 256 * 5);
    list.remove(0, 5).unwrap();
    list.insert(5000, 5001).unwrap();
}

#[test]
fn bitmaps_are_placed_beside_reserved_memory() {
    let free = || [(0x100, 0x200), (0x300, 0x800)].into_iter();
    let reserved = || [(0x180, 0x190), (0x100, 0x110), (0x110, 0x120)].into_iter();
    assert_eq!(place(0x10, 0x1000, free, &reserved), Some(0x120));
    assert_eq!(place(0x60, 0x1000, free, &reserved), Some(0x120));
    assert_eq!(place(0x61, 0x1000, free, &reserved), Some(0x190));
    assert_eq!(place(0x100, 0x1000, free, &reserved), Some(0x300));
    assert_eq!(place(0x100, 0x380, free, &reserved), None);
}

#[test]
fn nothing_usable_is_an_error() {
    let none = || [].into_iter();
    assert!(Allocator::new().init(none, none).is_err());
    assert!(Allocator::new().init(|| [(0, 0x100)].into_iter(), none).is_err(), "only the first MiB");
    assert!(Allocator::new().init(|| [(0x100, 0x200)].into_iter(), || [(0, 0x300)].into_iter()).is_err());
}

/// Takes whatever there is, with a claim; how many frames were left.
fn left_by(claim: Claim) -> usize {
    with_claim(claim, || {
        let mut held = Vec::new();
        while let Some(frames) = allocate_frames_up_to(700) {
            assert!(available_frames() + frames.size_in_frames() <= statistics().total);
            held.push(frames);
        }
        assert_eq!(available_frames(), 0);
        assert!(allocate_frames(1).is_none());
        assert!(allocate_frames_aligned(1, 1).is_none());
        free_frames()
    })
}

#[test]
fn the_reserve_is_left_to_higher_claims() {
    let _turn = initialised();
    let FrameStatistics { free, total, reserve, .. } = statistics();
    assert_eq!((free, reserve), (total, total / 4));
    assert_eq!(left_by(Claim::Guest), reserve);
    assert_eq!(left_by(Claim::Support), reserve / 2);
    assert_eq!(left_by(Claim::Kernel), 0);
    assert_eq!((free_frames(), claim()), (total, Claim::Kernel));
    // What is asked for by address is given, and a run must not reach into the reserve either.
    let held = allocate_frames_up_to(total - reserve - 10).unwrap();
    with_claim(Claim::Guest, || {
        assert_eq!(available_frames(), total - held.size_in_frames() - reserve);
        assert!(allocate_frames(available_frames() + 1).is_none());
        assert!(allocate_frames(available_frames()).is_some());
        let last = allocator::range((0x10F0, 1)).start_address();
        assert!(allocate_frames_at(last, 1).is_ok());
    });
}

#[test]
fn the_reserve_suits_the_machine() {
    const MIB: usize = 256;
    for (memory, reserve) in [(8, 2), (16, 4), (64, 4), (256, 16), (512, 32), (1024, 32), (65536, 32)] {
        assert_eq!(claim::reserve_of(memory * MIB), reserve * MIB, "{memory} MiB");
    }
}

#[test]
fn a_claim_lasts_as_long_as_it_should() {
    assert_eq!(claim(), Claim::Kernel);
    let nested = || with_claim(Claim::Support, claim);
    assert_eq!(with_claim(Claim::Guest, || (nested(), claim())), (Claim::Support, Claim::Guest));
    let unwound = std::panic::catch_unwind(|| with_claim(Claim::Guest, || panic!("on purpose")));
    assert!(unwound.is_err() && claim() == Claim::Kernel);
    // Who unwinds a task raises its claim first; that must not be undone on the way.
    set_claim(Claim::Guest);
    with_claim(Claim::Support, || set_claim(Claim::Kernel));
    assert_eq!(claim(), Claim::Kernel);
}
