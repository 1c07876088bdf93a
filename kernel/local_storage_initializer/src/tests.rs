use std::{
    alloc::{Layout, alloc_zeroed, dealloc},
    boxed::Box,
    cell::Cell,
    ops::Range,
};

use super::*;

std::thread_local! {
    /// Pages that may still be committed: to play a machine that runs out of memory.
    static PAGES_LEFT: Cell<usize> = const { Cell::new(usize::MAX) };
}

struct HostMemory {
    address: usize,
    layout: Layout,
}

// SAFETY: the memory is allocated for this value alone, aligned to a page and zeroed, all of it at once.
unsafe impl AreaMemory for HostMemory {
    fn reserve(size: usize) -> Option<Self> {
        let layout = Layout::from_size_align(size, PAGE_SIZE).unwrap();
        // SAFETY: the size is not zero.
        let address = unsafe { alloc_zeroed(layout) } as usize;
        Some(HostMemory { address, layout })
    }

    fn address(&self) -> usize {
        self.address
    }

    fn commit(&mut self, range: Range<usize>) -> bool {
        assert!(
            range.start.is_multiple_of(PAGE_SIZE)
                && range.end.is_multiple_of(PAGE_SIZE)
                && range.end <= self.layout.size()
        );
        let left = PAGES_LEFT.get().checked_sub(range.len() / PAGE_SIZE);
        left.map(|left| PAGES_LEFT.set(left)).is_some()
    }
}

impl Drop for HostMemory {
    fn drop(&mut self) {
        // SAFETY: allocated in `reserve` with this layout.
        unsafe { dealloc(self.address as *mut u8, self.layout) };
    }
}

type Initializer = TlsInitializer<HostMemory>;

fn initializer(image: &'static [u8], size: usize, alignment: usize) -> &'static Initializer {
    let initializer: &'static Initializer = Box::leak(Box::default());
    initializer.set_static_block(image, size, alignment).unwrap();
    initializer
}

fn bytes(area: &TlsDataImage<HostMemory>, offset: isize, size: usize) -> &[u8] {
    // SAFETY: the tests ask for committed bytes of the area only.
    unsafe { core::slice::from_raw_parts((area.fs_base() as isize + offset) as *const u8, size) }
}

#[test]
fn the_base_image_lies_below_the_thread_pointer() {
    let initializer = initializer(&[1, 2, 3, 4, 5], 20, 16);
    let area = initializer.get_data().unwrap();
    assert_eq!(area.fs_base() % MAX_ALIGNMENT, 0);
    assert_eq!(initializer.static_offset(0), -32);
    assert_eq!(bytes(&area, initializer.static_offset(0), 8), [1, 2, 3, 4, 5, 0, 0, 0]);
    assert_eq!(bytes(&area, 0, 8), area.fs_base().to_ne_bytes());
    assert_eq!(initializer.set_static_block(&[], 8, 8), Err(LocalStorageInitializerError::AlreadyInUse));
}

#[test]
fn a_later_section_reaches_areas_that_exist_and_areas_to_come() {
    let initializer = initializer(&[], 0, 1);
    let before = initializer.get_data().unwrap();
    let section = initializer.add_new_dynamic_section(10_000, 64).unwrap();
    assert_eq!(section.offset() % 64, 0);
    section.publish(&[7; 100]).unwrap();
    let after = initializer.get_data().unwrap();
    for area in [&before, &after] {
        let bytes = bytes(area, section.offset() as isize, 10_000);
        assert_eq!(bytes[..100], [7; 100]);
        assert!(bytes[100..].iter().all(|byte| *byte == 0));
    }
}

#[test]
fn a_freed_place_is_used_again_and_clean() {
    let initializer = initializer(&[], 0, 1);
    let area = initializer.get_data().unwrap();
    let first = initializer.add_new_dynamic_section(40, 8).unwrap();
    let second = initializer.add_new_dynamic_section(40, 8).unwrap();
    assert!(second.offset() >= first.offset() + 40);
    first.publish(&[9; 40]).unwrap();
    let offset = first.offset();
    drop(first);
    let too_big = initializer.add_new_dynamic_section(48, 8).unwrap();
    assert!(too_big.offset() > second.offset(), "the gap is smaller");
    let third = initializer.add_new_dynamic_section(32, 16).unwrap();
    assert_eq!(third.offset(), offset);
    third.publish(&[1]).unwrap();
    assert_eq!(bytes(&area, offset as isize, 32)[..4], [1, 0, 0, 0]);
    assert!(bytes(&area, offset as isize + 1, 31).iter().all(|byte| *byte == 0));
    assert_eq!(initializer.usage().dynamic_sections, 3);
    drop((second, too_big, third));
    assert_eq!(
        initializer.usage(),
        TlsUsage { static_bytes: 0, dynamic_bytes: 0, dynamic_sections: 0, areas: 1 }
    );
    drop(area);
    assert_eq!(initializer.usage().areas, 0);
}

#[test]
fn many_sections_never_overlap() {
    let initializer = initializer(&[], 0, 1);
    let mut sections: Vec<TlsSection<HostMemory>> = Vec::new();
    let mut state = 12345u32;
    for _ in 0..2000 {
        state = state.wrapping_mul(1664525).wrapping_add(1013904223);
        if state >> 30 == 0 && !sections.is_empty() {
            sections.swap_remove(state as usize % sections.len());
            continue;
        }
        let (size, alignment) = (1 + (state >> 8) as usize % 900, 1 << ((state >> 20) % 8));
        if let Ok(section) = initializer.add_new_dynamic_section(size, alignment) {
            assert_eq!(section.offset() % alignment, 0);
            assert!(section.offset() >= FIRST_DYNAMIC_OFFSET && section.offset() + size <= DYNAMIC_SIZE);
            for other in &sections {
                let apart = section.offset() + size <= other.offset()
                    || other.offset() + other.size() <= section.offset();
                assert!(apart, "{section:?} and {other:?}");
            }
            sections.push(section);
        }
    }
    assert!(sections.len() > 50);
}

#[test]
fn what_cannot_be_is_refused_and_changes_nothing() {
    let initializer = initializer(&[], 0, 1);
    let usage = initializer.usage();
    let error = |size, alignment| initializer.add_new_dynamic_section(size, alignment).err().unwrap();
    assert_eq!(error(8, 3), LocalStorageInitializerError::InvalidAlignment(3));
    assert_eq!(error(8, 8192), LocalStorageInitializerError::InvalidAlignment(8192));
    assert_eq!(error(usize::MAX, 1), LocalStorageInitializerError::NoRemainingSpace { size: usize::MAX });
    assert_eq!(error(DYNAMIC_SIZE, 1), LocalStorageInitializerError::NoRemainingSpace { size: DYNAMIC_SIZE });
    assert_eq!(initializer.usage(), usage);
}

#[test]
fn running_out_of_memory_is_an_error() {
    let initializer = initializer(&[], 0, 1);
    let _areas = [initializer.get_data().unwrap(), initializer.get_data().unwrap()];
    PAGES_LEFT.set(2);
    let error = initializer.add_new_dynamic_section(3 * PAGE_SIZE, 8).err();
    assert_eq!(error, Some(LocalStorageInitializerError::OutOfMemory));
    assert_eq!(initializer.usage().dynamic_sections, 0);
    PAGES_LEFT.set(0);
    assert_eq!(initializer.get_data().err(), Some(LocalStorageInitializerError::OutOfMemory));
    assert_eq!(initializer.usage().areas, 2);
    PAGES_LEFT.set(usize::MAX);
    assert!(initializer.add_new_dynamic_section(3 * PAGE_SIZE, 8).is_ok());
}
