//! The whole crate over simulated physical memory: a buffer, of which the frame allocator hands out the
//! frames.
//!
//! Mappings are checked by walking the tables as the processor would, and contents through the buffer.

use super::*;
use crate::arch;
use frame_allocator::statistics;
use kernel_config::memory::{KERNEL_OFFSET, PHYS_MAP_BASE};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};

/// 32 MiB of RAM from 1 MiB on, the first MiB of which holds the base image.
const RAM_START: usize = 0x10_0000;
const RAM_SIZE: usize = 32 << 20;
const IMAGE: usize = 0x10_0000;

const RW: PteFlags = PteFlags::new().writable(true);
const RO: PteFlags = PteFlags::new();
const RX: PteFlags = PteFlags::new().executable(true);

fn layout() -> (Vec<std::ops::Range<usize>>, Vec<std::ops::Range<usize>>) {
    let usable = vec![0..0x9_FC00, RAM_START..RAM_START + RAM_SIZE];
    (usable, vec![IMAGE..IMAGE + 0x10_0000, RAM_START + RAM_SIZE - 0x1800..RAM_START + RAM_SIZE])
}

/// Takes turns, and starts the crate the first time. Every test begins and ends with all memory free.
fn turn() -> Turn {
    static TURN: Mutex<()> = Mutex::new(());
    static ONCE: std::sync::Once = std::sync::Once::new();
    let guard = TURN.lock().unwrap_or_else(|e| e.into_inner());
    ONCE.call_once(|| {
        // Dirty, so that zeroes are the crate's doing; aligned, as frames are.
        let words = RAM_SIZE / 4096 + 1;
        let buffer = vec![[0xA5u8; 4096]; words].leak().as_mut_ptr() as usize;
        let aligned = buffer.next_multiple_of(4096);
        arch::PHYS_MAP_BASE.store(aligned.wrapping_sub(RAM_START), Ordering::Relaxed);
        let (usable, reserved) = layout();
        let image = KERNEL_OFFSET + IMAGE;
        let initial = init(&InitialLayout {
            usable_ram: &usable,
            reserved: &reserved,
            text: image..image + 0x2345,
            rodata: image + 0x3000..image + 0x4000,
            data: image + 0x4000..image + 0x8000,
            stack_guard: image + 0x8000..image + 0x9000,
            stack: image + 0x9000..image + 0x1_0000,
        })
        .unwrap();
        init_post_heap(initial.page_table, Vec::new());
        // Tables and books that stay are made now.
        drop(create_mapping(4096, RW).unwrap());
    });
    Turn { before: statistics(), pages: page_allocator::statistics(), _guard: guard }
}

struct Turn {
    before: FrameStatistics,
    pages: [page_allocator::AreaStatistics; 3],
    _guard: MutexGuard<'static, ()>,
}

impl Drop for Turn {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(statistics(), self.before, "frames leaked");
            assert_eq!(page_allocator::statistics(), self.pages, "pages leaked");
        }
    }
}

fn at(address: usize) -> VirtualAddress {
    VirtualAddress::new_canonical(address)
}

fn flags(address: usize) -> Option<PteFlagsArch> {
    Mapper::current().flags_of(at(address))
}

/// The contents of a mapped page.
fn contents(address: VirtualAddress) -> &'static mut [u8; 4096] {
    let physical = translate(address).expect("mapped");
    let start = PhysicalAddress::new_canonical(physical.value() & !4095);
    // SAFETY: the frame lies in the buffer; the tests take turns, and none keeps two of these for one page.
    unsafe { &mut *arch::phys_to_virt(start).cast() }
}

fn is_zero(mapped: &MappedPages) -> bool {
    mapped.range().into_iter().all(|page| contents(page.start_address()).iter().all(|&byte| byte == 0))
}

#[test]
fn the_base_image_is_protected_and_nothing_else_mapped() {
    let _turn = turn();
    let image = KERNEL_OFFSET + IMAGE;
    let text = flags(image + 0x2345).unwrap();
    assert!(text.is_executable() && !text.is_writable());
    let rodata = flags(image + 0x3FFF).unwrap();
    assert!(!rodata.is_executable() && !rodata.is_writable());
    let data = flags(image + 0x7FFF).unwrap();
    assert!(!data.is_executable() && data.is_writable());
    assert!(flags(image + 0x8000).is_none(), "the stack's guard page");
    assert!(flags(image + 0x9000).unwrap().is_writable());
    assert!(flags(image + 0x1_0000).is_none());
    assert_eq!(translate(at(image + 0x1234)).unwrap().value(), IMAGE + 0x1234);
    for address in [0, 0x1000, IMAGE, RAM_START + 0x20_0000] {
        assert!(flags(address).is_none(), "no identity map");
    }
    for physical in [0, RAM_START, RAM_START + RAM_SIZE - 1] {
        let map = flags(PHYS_MAP_BASE + physical).unwrap();
        assert!(map.is_writable() && !map.is_executable());
        assert_eq!(translate(at(PHYS_MAP_BASE + physical)).unwrap().value(), physical);
    }
    assert!(flags(PHYS_MAP_BASE + RAM_START + RAM_SIZE + (4 << 20)).is_none());
}

#[test]
fn a_second_start_is_refused() {
    let _turn = turn();
    let nothing = InitialLayout {
        usable_ram: &[],
        reserved: &[],
        text: 0..0,
        rodata: 0..0,
        data: 0..0,
        stack_guard: 0..0,
        stack: 0..0,
    };
    assert!(init(&nothing).is_err());
}

#[test]
fn new_mappings_are_zero_every_time() {
    let _turn = turn();
    for _ in 0..3 {
        let mapped = create_mapping(10 * 4096 + 1, RW).unwrap();
        assert_eq!(mapped.size_in_pages(), 11);
        assert!(mapped.flags().is_exclusive() && mapped.flags().is_valid());
        assert!(is_zero(&mapped));
        for page in mapped.range() {
            contents(page.start_address()).fill(0x5A);
        }
    }
    let (contiguous, physical) = create_contiguous_mapping(5 * 4096, DMA_FLAGS).unwrap();
    assert!(is_zero(&contiguous));
    for (n, page) in contiguous.range().into_iter().enumerate() {
        assert_eq!(translate(page.start_address()).unwrap().value(), physical.value() + n * 4096);
    }
}

#[test]
fn devices_are_mapped_as_they_are() {
    let _turn = turn();
    // The last frames of RAM are reserved, which stands for a boot module.
    let module = PhysicalAddress::new_canonical(RAM_START + RAM_SIZE - 0x1000);
    let mapped = map_frame_range(module + 0x10, 0x100, RO).unwrap();
    assert_eq!(mapped.size_in_pages(), 1);
    assert!(contents(mapped.start_address()).iter().all(|&byte| byte == 0xA5), "not zeroed");
    assert!(map_frame_range(module, 1, RO).is_err(), "one owner at a time");
    drop(mapped);
    let apic = map_frame_range(PhysicalAddress::new_canonical(0xFEE0_0000), 0x1000, MMIO_FLAGS).unwrap();
    assert!(apic.flags().is_device_memory());
    assert_eq!(translate(apic.start_address()).unwrap().value(), 0xFEE0_0000);
}

#[test]
fn writable_and_executable_is_refused_everywhere() {
    let _turn = turn();
    let both = RW.executable(true);
    assert!(create_mapping(4096, both).is_err());
    assert!(create_contiguous_mapping(4096, both).is_err());
    assert!(map_frame_range(PhysicalAddress::new_canonical(0xFEE0_0000), 1, both).is_err());
    let mut mapper = Mapper::current();
    let mut mapped = create_mapping(4096, RW).unwrap();
    assert!(mapped.remap(&mut mapper, both).is_err());
    assert!(mapped.flags().is_writable() && !mapped.flags().is_executable());
    assert!(mapped.deep_copy(&mut mapper, Some(both)).is_err());
    let mut reserved = reserve_pages(8192).unwrap();
    assert!(reserved.commit(0..4096, both).is_err());
    reserved.commit(0..4096, RW).unwrap();
    assert!(reserved.protect(0..4096, both).is_err());
    assert!(flags(reserved.start_address().value()).unwrap().is_writable());
}

#[test]
fn nothing_that_is_mapped_is_writable_and_executable() {
    let _turn = turn();
    let low = create_mapping(8192, RW).unwrap();
    let high = allocate_pages_at(at(0x7FFF_FFFF_F000), 1).unwrap();
    let high = Mapper::current().map_allocated_pages(high, RO).unwrap();
    let (mut from, mut seen) = (VirtualAddress::zero(), Vec::new());
    while let Some((start, size, flags)) = Mapper::current().next_mapped(from) {
        assert!(!flags.violates_w_xor_x(), "{start}");
        seen.push((start, size));
        from = start + size;
    }
    assert_eq!(seen[0], (low.start_address(), 4096));
    assert_eq!(seen[1], (low.start_address() + 4096, 4096));
    assert_eq!(seen[2], (high.start_address(), 4096));
    assert_eq!(seen[3], (at(PHYS_MAP_BASE), 2 << 20));
    // 3 pages of text, 1 of rodata, 4 of data, 7 of stack.
    let image = seen.iter().filter(|(start, _)| start.value() >= KERNEL_OFFSET).count();
    assert_eq!(image, 15);
    assert_eq!(seen.last().unwrap().0.value(), KERNEL_OFFSET + IMAGE + 0xF000);
}

#[test]
fn the_physical_map_uses_the_largest_pages() {
    let turn = turn();
    let p4 = crate::tables::new_table(Claim::Kernel).unwrap();
    let mut mapper = Mapper::of(p4);
    let (m2, g1) = (512, 512 * 512);
    // The way that ranges of RAM look: 640 KiB, then all up to 3 GiB less a little, then from 4 GiB on.
    for (start, end) in [(0, 0x9F), (0x100, 3 * g1 - 0x100), (4 * g1, 6 * g1 + m2 + 1)] {
        mapper.map_physical(PHYS_MAP_BASE, start, end, true).unwrap();
    }
    let found_at = |mapper: &Mapper, frame: usize| {
        mapper.next_mapped(at(PHYS_MAP_BASE + frame * 4096)).map(|found| (found.0.value(), found.1))
    };
    for (frame, size) in [
        (0, 2 << 20),
        (0x100, 2 << 20),
        (g1 - 1, 2 << 20),
        (g1, 1 << 30),
        (2 * g1 - 1, 1 << 30),
        (2 * g1, 2 << 20),
        (3 * g1 - 0x101, 2 << 20),
        (4 * g1, 1 << 30),
        (6 * g1 - 1, 1 << 30),
        (6 * g1 + m2, 2 << 20),
    ] {
        let start = PHYS_MAP_BASE + (frame & !(size / 4096 - 1)) * 4096;
        assert_eq!(found_at(&mapper, frame), Some((start, size)));
        let physical = mapper.translate(at(PHYS_MAP_BASE + frame * 4096 + 5)).unwrap();
        assert_eq!(physical.value(), frame * 4096 + 5);
    }
    assert_eq!(found_at(&mapper, 3 * g1), found_at(&mapper, 4 * g1), "no RAM, no mapping");
    assert_eq!(found_at(&mapper, 6 * g1 + 2 * m2), None);
    // Unmapping all of it gives the tables back; the entries own no frames.
    let mut unmapped = 0;
    mapper.unmap(PHYS_MAP_BASE >> 12, 7 * g1, &mut unmapped, |_| panic!("RAM is nobody's")).unwrap();
    assert_eq!(unmapped, 5 * g1 + 2 * m2);
    let into_unmapped = crate::tables::INTO_UNMAPPED_FRAMES.get().unwrap();
    drop(into_unmapped(FrameRange::new(p4, p4)));
    assert_eq!(statistics(), turn.before);
}

#[test]
fn remap_changes_flags_and_flushes() {
    let _turn = turn();
    let mut mapped = create_mapping(3 * 4096, RW).unwrap();
    let start = mapped.start_address();
    contents(start)[7] = 42;
    let flushes = arch::FLUSHES.load(Ordering::Relaxed);
    mapped.remap(&mut Mapper::current(), RX).unwrap();
    assert_eq!(arch::FLUSHES.load(Ordering::Relaxed), flushes + 3);
    for page in mapped.range() {
        let flags = flags(page.start_address().value()).unwrap();
        assert!(flags.is_executable() && !flags.is_writable() && flags.is_exclusive());
    }
    assert_eq!(contents(start)[7], 42);
    assert!(mapped.as_slice_mut::<u8>(0, 1).is_err(), "not writable");
}

#[test]
fn split_and_merge_keep_the_mapping() {
    let _turn = turn();
    let mapped = create_mapping(6 * 4096, RW).unwrap();
    let start = *mapped.start();
    let (mut low, high) = mapped.split(start + 2).unwrap();
    assert_eq!((low.size_in_pages(), high.size_in_pages()), (2, 4));
    let (mid, mut high) = high.split(start + 4).unwrap();
    high.remap(&mut Mapper::current(), RO).unwrap();
    let (_, high) = low.merge(high).unwrap_err();
    low.merge(mid).unwrap();
    let (message, mut high) = low.merge(high).unwrap_err();
    assert!(message.contains("flags"));
    high.remap(&mut Mapper::current(), RW).unwrap();
    low.merge(high).unwrap();
    assert_eq!(low.size_in_pages(), 6);
    let mut empty = MappedPages::empty();
    empty.merge(low).unwrap();
    empty.merge(MappedPages::empty()).unwrap();
    let empty = empty.split(start + 7).unwrap_err();
    assert_eq!(empty.size_in_pages(), 6);
}

#[test]
fn unmapped_into_parts_both_live_on() {
    let turn = turn();
    let (mapped, physical) = create_contiguous_mapping(4 * 4096, RW).unwrap();
    let start = mapped.start_address();
    let (pages, frames) = mapped.unmap_into_parts(&mut Mapper::current()).unwrap();
    let frames = frames.unwrap();
    assert!(translate(start).is_none());
    assert_eq!((pages.start_address(), pages.size_in_pages()), (start, 4));
    assert_eq!((frames.start_address(), frames.size_in_frames()), (physical, 4));
    assert_eq!(statistics().free, turn.before.free - 4);
    let mapped = Mapper::current().map_allocated_pages_to(pages, frames, RW).unwrap();
    assert_eq!(mapped.start_address(), start);
}

#[test]
fn pages_and_frames_must_agree_in_number() {
    let _turn = turn();
    let mut mapper = Mapper::current();
    let mapped = mapper.map_allocated_pages_to(allocate_pages(2).unwrap(), allocate_frames(3).unwrap(), RW);
    assert!(mapped.is_err());
    let frames = allocate_frames(2).unwrap();
    // SAFETY: the frames are this test's own.
    let shared = unsafe { mapper.map_to_non_exclusive(allocate_pages(2).unwrap(), &frames, RO) }.unwrap();
    assert!(!shared.flags().is_exclusive());
    let free = statistics().free;
    let tables = 3;
    drop(shared);
    assert!((free..=free + tables).contains(&statistics().free), "the frames are still the owner's");
}

#[test]
fn reservations_commit_and_decommit_in_part() {
    let turn = turn();
    let guarded = (4 << 30) + (2 << 20);
    let mut memory = reserve_pages(guarded).unwrap();
    assert_eq!(statistics(), turn.before, "a reservation takes no frame");
    assert!(memory.start_address().value().is_multiple_of(2 << 20));
    let base = memory.start_address().value();
    memory.commit(0..64 << 10, RW).unwrap();
    memory.commit(64 << 10..128 << 10, RW).unwrap();
    assert_eq!(memory.committed_bytes(), 128 << 10);
    assert!(
        memory.is_committed(0) && memory.is_committed((128 << 10) - 1) && !memory.is_committed(128 << 10)
    );
    assert!(flags(base + (128 << 10)).is_none());
    assert!(memory.commit((128 << 10) - 4096..132 << 10, RW).is_err(), "committed in part already");
    assert_eq!(memory.committed_bytes(), 128 << 10);
    assert!(!memory.is_committed(128 << 10));

    contents(at(base + 8192)).fill(1);
    memory.protect(8192..16384, RO).unwrap();
    assert!(!flags(base + 8192).unwrap().is_writable() && flags(base + 16384).unwrap().is_writable());
    assert!(flags(base).unwrap().is_writable());
    assert!(memory.protect(124 << 10..132 << 10, RO).is_err(), "not all committed");
    assert!(flags(base + (124 << 10)).unwrap().is_writable(), "nothing changed");

    memory.decommit(8192..guarded).unwrap();
    assert_eq!(memory.committed_bytes(), 8192);
    memory.decommit(8192..16384).unwrap();
    memory.commit(8192..12288, RW).unwrap();
    assert!(contents(at(base + 8192)).iter().all(|&byte| byte == 0), "zero again");

    assert!(memory.commit(0..guarded + 4096, RW).is_err());
    assert!(memory.commit(1..4096, RW).is_err());
    assert!(memory.decommit(0..100).is_err());
    #[allow(clippy::reversed_empty_ranges)]
    let backwards = 8192..4096;
    assert!(memory.protect(backwards, RW).is_err());
    memory.commit(guarded - 4096..guarded, RW).unwrap();
    drop(memory);
    assert_eq!(statistics(), turn.before);
}

#[test]
fn large_commits_use_huge_pages_and_split_them() {
    const M2: usize = 2 << 20;
    let _turn = turn();
    let mut memory = reserve_pages(16 << 20).unwrap();
    let base = memory.start_address().value();
    memory.commit(4096..M2, RW).unwrap();
    memory.commit(M2..3 * M2 + 4096, RW).unwrap();
    assert!(!flags(base + 4096).unwrap().is_huge() && !flags(base + 3 * M2).unwrap().is_huge());
    assert!(flags(base + M2).unwrap().is_huge() && flags(base + 2 * M2).unwrap().is_huge());
    let physical = translate(at(base + M2 + 0x12345)).unwrap().value();
    assert_eq!(physical % M2, 0x12345);
    contents(at(base + M2 + 0x5000))[3] = 9;

    memory.protect(M2 + 0x4000..M2 + 0x6000, RO).unwrap();
    assert!(!flags(base + M2 + 0x5000).unwrap().is_huge());
    assert!(
        !flags(base + M2 + 0x5000).unwrap().is_writable() && flags(base + M2 + 0x6000).unwrap().is_writable()
    );
    assert_eq!(translate(at(base + M2 + 0x12345)).unwrap().value(), physical, "splitting moves nothing");
    assert_eq!(contents(at(base + M2 + 0x5000))[3], 9);

    let before = memory.committed_bytes();
    memory.decommit(2 * M2 + 4096..2 * M2 + 8192).unwrap();
    assert_eq!(memory.committed_bytes(), before - 4096);
    assert!(memory.is_committed(2 * M2) && !memory.is_committed(2 * M2 + 4096));
    // A whole huge page at once.
    memory.commit(4 * M2..5 * M2, RW).unwrap();
    memory.protect(4 * M2..5 * M2, RO).unwrap();
    let huge = flags(base + 4 * M2).unwrap();
    assert!(huge.is_huge() && !huge.is_writable() && huge.is_exclusive());
    memory.decommit(4 * M2..5 * M2).unwrap();
}

#[test]
fn out_of_memory_is_an_error_that_changes_nothing() {
    let turn = turn();
    assert!(create_mapping(RAM_SIZE, RW).is_err());
    assert_eq!(statistics(), turn.before);
    assert!(create_contiguous_mapping(RAM_SIZE, RW).is_err());
    assert!(create_mapping(0, RW).is_err());
    assert!(create_mapping(usize::MAX, RW).is_err());
    let mut memory = reserve_pages(1 << 40).unwrap();
    memory.commit(0..4096, RW).unwrap();
    let some = statistics();
    assert!(memory.commit(1 << 30..(1 << 30) + RAM_SIZE, RW).is_err());
    assert_eq!(statistics(), some);
    assert_eq!(memory.committed_bytes(), 4096);
    // With no frame left, not even a table can be had.
    let mut all = Vec::new();
    while let Some(frames) = allocate_frames_up_to(1000) {
        all.push(frames);
    }
    assert!(memory.commit(1 << 35..(1 << 35) + 4096, RW).is_err());
    // Two frames make two tables of the three that are needed.
    let (two, _rest) = all
        .pop()
        .map(|last| (last.size_in_frames().min(2), last))
        .map(|(n, last)| {
            let at = *last.start() + n;
            last.split_at(at).unwrap()
        })
        .unwrap();
    drop(two);
    assert!(memory.commit(1 << 39..(1 << 39) + 4096, RW).is_err());
    assert_eq!(statistics().free, 2, "tables made in vain are given back");
}

#[test]
fn guests_leave_the_reserve() {
    let turn = turn();
    let FrameStatistics { free, reserve, .. } = statistics();
    let tables = crate::page_tables();
    // No large frames are left, so that guests take what they get piece by piece.
    let held = allocate_frames_up_to(free - reserve - 100).unwrap();
    let mut memory = reserve_pages(1 << 40).unwrap();
    with_claim(Claim::Guest, || {
        let available = frame_allocator::available_frames();
        assert!(available <= statistics().free - reserve);
        let before = statistics();
        assert!(memory.commit(0..(available + 1) << 12, RW).is_err());
        assert_eq!(statistics(), before, "what failed has changed nothing");
        // One page at a time, each in a part of the address space that needs tables of its own. The last one's may be of the reserve.
        let committed =
            (1..100).take_while(|far| memory.commit(far << 30..(far << 30) + 4096, RW).is_ok()).count();
        assert!(committed > 10);
        assert!(crate::page_tables() > tables + committed);
        assert_eq!(frame_allocator::available_frames(), 0);
        assert!((reserve - 3..=reserve).contains(&statistics().free));
        // Where there is nothing to be mapped, no table is made.
        let before = statistics();
        for far in 100..200 {
            assert!(memory.commit(far << 30..(far << 30) + 4096, RW).is_err());
        }
        assert_eq!(statistics(), before);
    });
    memory.commit(200 << 30..(200 << 30) + 4096, RW).unwrap();
    drop((memory, held));
    assert_eq!(statistics(), turn.before);
    assert_eq!(crate::page_tables(), tables);
}

#[test]
fn typed_access_is_checked() {
    let _turn = turn();
    let mapped = create_mapping(8192, RO).unwrap();
    // The addresses are simulated: only what is refused can be tried here, the rest is tested in the kernel.
    assert!(mapped.as_type::<u64>(8192 - 7).is_err(), "unaligned");
    assert!(mapped.as_type::<u64>(8192).is_err(), "beyond the end");
    assert!(mapped.as_type::<u64>(usize::MAX - 3).is_err());
    assert!(mapped.as_slice::<u32>(0, 2049).is_err());
    assert!(mapped.as_slice::<u32>(4, usize::MAX / 2).is_err());
    assert!(mapped.as_slice::<u8>(8192, 0).unwrap().is_empty());
    assert!(MappedPages::empty().as_slice::<u64>(0, 0).unwrap().is_empty());
    let (mapped, error) = mapped.into_borrowed_mut::<u64>(0).unwrap_err();
    assert!(error.contains("not writable"));
    let (_mapped, _) = mapped.into_borrowed_slice::<u64>(8, 1024).unwrap_err();
}

#[test]
fn shootdowns_reach_the_callback() {
    static PAGES: AtomicUsize = AtomicUsize::new(0);
    let _turn = turn();
    set_broadcast_tlb_shootdown_cb(|pages| {
        PAGES.fetch_add(pages.size_in_pages(), Ordering::Relaxed);
        flush_translations(&pages);
    });
    let mapped = create_mapping(5 * 4096, RW).unwrap();
    assert_eq!(PAGES.load(Ordering::Relaxed), 0, "nothing was known of new pages");
    drop(mapped);
    assert!(PAGES.load(Ordering::Relaxed) >= 5);
    set_broadcast_tlb_shootdown_cb(|pages| flush_translations(&pages));
}

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

#[test]
fn random_changes_agree_with_a_model() {
    const PAGES: usize = 3000;
    let turn = turn();
    let mut memory = reserve_pages(PAGES * 4096).unwrap();
    let base = memory.start_address().value();
    // Per page: whether committed, whether writable, and what was written to it since it was committed.
    let mut model = vec![None::<(bool, u8)>; PAGES];
    let mut random = Random(0xFEED);
    for step in 0..3000 {
        let start = random.below(PAGES);
        let longest = if step % 8 == 0 { 1500 } else { 80 };
        let end = (start + 1 + random.below(longest)).min(PAGES);
        let (bytes, part) = (start * 4096..end * 4096, &mut model[start..end]);
        match random.below(4) {
            0 | 1 => {
                let expected = part.iter().all(|page| page.is_none());
                assert_eq!(memory.commit(bytes, RW).is_ok(), expected);
                if expected {
                    part.fill(Some((true, 0)));
                }
            }
            2 => {
                memory.decommit(bytes).unwrap();
                part.fill(None);
            }
            _ => {
                let writable = random.below(2) == 0;
                let expected = part.iter().all(|page| page.is_some());
                assert_eq!(memory.protect(bytes, RO.writable(writable)).is_ok(), expected);
                if expected {
                    part.iter_mut().flatten().for_each(|page| page.0 = writable);
                }
            }
        }
        let look = random.below(PAGES);
        let address = base + look * 4096;
        assert_eq!(flags(address).map(|f| f.is_writable()), model[look].map(|page| page.0));
        if let Some(page) = &mut model[look] {
            let contents = contents(at(address));
            assert!(contents.iter().all(|&byte| byte == page.1));
            page.1 = random.below(256) as u8;
            contents.fill(page.1);
        }
        assert_eq!(memory.committed_bytes(), model.iter().flatten().count() * 4096);
    }
    for (n, page) in model.iter().enumerate() {
        assert_eq!(flags(base + n * 4096).map(|f| f.is_writable()), page.map(|page| page.0));
    }
    drop(memory);
    assert_eq!(statistics(), turn.before);
}

#[test]
fn mapped_pages_become_a_reservation() {
    let _turn = turn();
    let mapped = create_mapping(4 * 4096, RW).unwrap();
    contents(mapped.start_address())[0] = 77;
    let mut reserved = ReservedPages::from(mapped);
    assert_eq!(reserved.committed_bytes(), 4 * 4096);
    reserved.decommit(4096..8192).unwrap();
    reserved.protect(0..4096, RX).unwrap();
    assert_eq!(contents(reserved.start_address())[0], 77);
    assert_eq!(reserved.committed_bytes(), 3 * 4096);
}

#[test]
fn forgotten_mappings_can_be_made_anew() {
    let _turn = turn();
    let mapped = create_mapping(4 * 4096, RW).unwrap();
    let range = mapped.range().clone();
    core::mem::forget(mapped);
    // SAFETY: the range was just forgotten, with these flags, and is made anew once.
    let again = unsafe { MappedPages::from_forgotten(range, RW) };
    let (low, high) = {
        let mid = *again.start() + 1;
        again.split(mid).unwrap()
    };
    drop(low);
    drop(high);
}
