//! The global allocator is one per process, so that tests of the public functions take turns.

use super::*;
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

fn supply() -> Option<&'static mut NodeSupply> {
    Some(Box::leak(Box::default()))
}

fn initialised() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    let guard = TURN.lock().unwrap_or_else(|e| e.into_inner());
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        assert!(allocate_pages(1).is_none(), "before init");
        init(VirtualAddress::new_canonical(0x20_0000), supply).unwrap();
        assert!(init(VirtualAddress::zero(), supply).is_err(), "twice");
    });
    guard
}

fn at(address: usize) -> VirtualAddress {
    VirtualAddress::new_canonical(address)
}

#[test]
fn general_pages_are_low_and_come_back() {
    let _turn = initialised();
    let before = statistics();
    let pages = allocate_pages(3).unwrap();
    assert_eq!(pages.start_address().value(), 0x20_0000);
    assert_eq!(statistics()[0].free, before[0].free - 3);
    let (low, high) = pages.split(Page::containing_address(at(0x20_1000))).unwrap();
    drop(low);
    assert_eq!(allocate_pages(2).unwrap().start_address().value(), 0x20_3000);
    drop(high);
    assert_eq!(statistics(), before);
}

#[test]
fn page_zero_and_unknown_ranges_are_refused() {
    let _turn = initialised();
    assert!(allocate_pages_at(at(0), 1).is_err());
    assert!(allocate_pages_at(at(0x1F_F000), 2).is_err(), "the low region");
    assert!(allocate_pages_at(at(kernel_config::PHYS_MAP_BASE), 1).is_err());
    assert!(allocate_pages_at(at(0xFFFF_FFFF_FFFF_F000), 1).is_err());
    assert!(allocate_pages(0).is_none());
    assert!(allocate_pages(usize::MAX / 2).is_none());
    assert!(allocate_pages_by_bytes_at(at(0x100_0000), usize::MAX).is_err());
}

#[test]
fn pages_have_one_owner() {
    let _turn = initialised();
    let before = statistics();
    let held = allocate_pages_by_bytes_at(at(0x1000_0800), 0x1000).unwrap();
    assert_eq!(held.size_in_pages(), 2);
    assert!(allocate_pages_at(at(0x1000_1000), 1).is_err());
    assert!(allocate_pages_at(at(0x0FFF_F000), 2).is_err());
    assert_eq!(statistics()[0].chunks, before[0].chunks + 1);
    drop(held);
    drop(allocate_pages_at(at(0x0FFF_F000), 4).unwrap());
    assert_eq!(statistics(), before);
}

#[test]
fn window_and_heap_only_on_request() {
    let _turn = initialised();
    let before = statistics();
    let window =
        PageRange::from_virt_addr(at(CRATE_WINDOW_START), CRATE_WINDOW_LAST - CRATE_WINDOW_START + 1);
    let image = allocate_pages_at(at(CRATE_WINDOW_START), 0x300).unwrap();
    let text = allocate_pages_in_range(16, &window).unwrap();
    assert_eq!(text.start_address().value(), CRATE_WINDOW_START + 0x30_0000);
    let last = PageRange::from_virt_addr(at(CRATE_WINDOW_LAST), 1);
    let top = allocate_pages_by_bytes_in_range(1, &last).unwrap();
    assert!(allocate_pages_by_bytes_in_range(1, &last).is_err());
    let heap = allocate_pages_at(at(KERNEL_HEAP_START), KERNEL_HEAP_MAX_SIZE >> PAGE_SHIFT).unwrap();
    assert_eq!(statistics()[1].free, 0);
    assert!(allocate_pages_in_range(1, &PageRange::empty()).is_err());
    drop((image, text, top, heap));
    assert_eq!(statistics(), before);
}

#[test]
fn ranges_beyond_an_area_are_cut() {
    let _turn = initialised();
    let beyond = PageRange::from_virt_addr(at(CRATE_WINDOW_START - 0x10_0000), 0x10_1000);
    let page = allocate_pages_in_range(1, &beyond).unwrap();
    assert_eq!(page.start_address().value(), CRATE_WINDOW_START);
    assert!(allocate_pages_in_range(1, &beyond).is_err());
}

#[test]
fn aligned_requests() {
    let _turn = initialised();
    let odd = allocate_pages(1).unwrap();
    let huge = allocate_pages_aligned(512, 512).unwrap();
    assert_eq!(huge.start().number() % 512, 0);
    assert!(allocate_pages_aligned(1, 0).is_ok(), "no alignment");
    drop(odd);
}

#[test]
fn merge_and_split() {
    let _turn = initialised();
    let before = statistics();
    let whole = allocate_pages(6).unwrap();
    let start = *whole.start();
    let (mut low, rest) = whole.split(start + 2).unwrap();
    let (mid, high) = rest.split(start + 4).unwrap();
    let mut high = low.merge(high).unwrap_err();
    high.merge(mid).unwrap();
    low.merge(high).unwrap();
    assert_eq!((low.size_in_pages(), *low.start()), (6, start));
    let low = low.split(start + 7).unwrap_err();
    let (all, none) = low.split(start + 6).unwrap();
    assert_eq!((all.size_in_pages(), none.size_in_pages()), (6, 0));
    drop((all, none));
    assert_eq!(statistics(), before);
}

#[test]
#[should_panic(expected = "freed twice")]
fn a_range_cannot_be_freed_twice() {
    let mut set = FreeRanges::new();
    set.set_supply(supply);
    set.insert(10, 20);
    set.insert(19, 21);
}

#[test]
fn out_of_nodes_is_noticed_before_anything_changes() {
    fn once() -> Option<&'static mut NodeSupply> {
        static GIVEN: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);
        (!GIVEN.swap(true, std::sync::atomic::Ordering::SeqCst)).then(|| Box::leak(Box::default()) as _)
    }
    let mut set = FreeRanges::new();
    set.set_supply(once);
    assert!(set.insert(0, 1000));
    let mut taken = 0;
    while set.take_at(taken * 2, 1) {
        taken += 1;
    }
    assert!(taken > 10 && set.free() == 1000 - taken);
    // What was taken can still be given back.
    for n in 0..taken {
        assert!(set.insert(n * 2, n * 2 + 1));
    }
    assert_eq!((set.free(), set.chunks()), (1000, 1));
    assert!(!FreeRanges::new().insert(0, 1), "no supply at all");
}

#[test]
fn agrees_with_a_set() {
    const N: usize = 400;
    let mut set = FreeRanges::new();
    set.set_supply(supply);
    let mut model = BTreeSet::new();
    let mut random = Random(99);
    for _ in 0..20_000 {
        let start = random.below(N);
        let end = start + 1 + random.below(20);
        let present = (start..end).filter(|n| model.contains(n)).count();
        match random.below(3) {
            0 if present == 0 => {
                assert!(set.insert(start, end));
                model.extend(start..end);
            }
            1 => {
                assert_eq!(set.contains(start, end), present == end - start);
                assert_eq!(set.take_at(start, end - start), present == end - start);
                if present == end - start {
                    model.retain(|n| !(start..end).contains(n));
                }
            }
            _ => {
                let (count, alignment) = (1 + random.below(20), 1 << random.below(5));
                let (low, high) = (random.below(N / 2), random.below(N));
                let fits = |&n: &usize| {
                    n % alignment == 0
                        && n >= low
                        && n + count <= high
                        && (n..n + count).all(|m| model.contains(&m))
                };
                assert_eq!(set.find(count, alignment, low, high), model.iter().copied().find(fits));
            }
        }
        assert_eq!(set.free(), model.len());
        let starts = model.iter().filter(|&&n| n == 0 || !model.contains(&(n - 1))).count();
        assert_eq!(set.chunks(), starts);
    }
    let mut from = 0;
    let mut seen = Vec::new();
    while let Some((start, end)) = set.next(from) {
        seen.extend(start..end);
        from = end;
    }
    assert_eq!(seen, model.into_iter().collect::<Vec<_>>());
}
