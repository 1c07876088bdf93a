//! [`MappedPages`] and what comes before it.

use crate::leaks_nothing;
use alloc::vec::Vec;
use kernel_config::memory::{CRATE_WINDOW_LAST, CRATE_WINDOW_START};
use memory::{
    MMIO_FLAGS, MappedPages, Mapper, Page, PageRange, PhysicalAddress, PteFlags, VirtualAddress,
    create_contiguous_mapping, create_mapping, map_frame_range, translate,
};

pub const RW: PteFlags = PteFlags::new().valid(true).writable(true);
pub const RO: PteFlags = PteFlags::new().valid(true);
const RX: PteFlags = PteFlags::new().valid(true).executable(true);

pub fn at(address: usize) -> VirtualAddress {
    VirtualAddress::new_canonical(address)
}

fn bytes(mapped: &MappedPages) -> &[u8] {
    mapped.as_slice(0, mapped.size_in_bytes()).unwrap()
}

fn bytes_mut(mapped: &mut MappedPages) -> &mut [u8] {
    let size = mapped.size_in_bytes();
    mapped.as_slice_mut(0, size).unwrap()
}

pub fn new_mappings_are_zero() {
    leaks_nothing(|| {
        for round in 0..8 {
            let mut mapped = create_mapping(100 * 4096, RW).unwrap();
            assert!(bytes(&mapped).iter().all(|&byte| byte == 0), "round {round}");
            bytes_mut(&mut mapped).fill(0xA5);
        }
    });
}

pub fn typed_access() {
    leaks_nothing(|| {
        let mut mapped = create_mapping(8192, RW).unwrap();
        for (n, word) in mapped.as_slice_mut::<u32>(4, 2047).unwrap().iter_mut().enumerate() {
            *word = n as u32;
        }
        assert_eq!(*mapped.as_type::<u64>(8).unwrap(), 1 | 2 << 32);
        *mapped.as_type_mut::<u16>(8190).unwrap() = 0xBEEF;
        assert_eq!(mapped.as_slice::<u8>(8188, 4).unwrap(), [0xFE, 0x07, 0xEF, 0xBE]);
        assert_eq!(*mapped.as_type::<[u8; 4]>(1).unwrap(), [0, 0, 0, 0]);
    });
}

pub fn typed_access_is_checked() {
    leaks_nothing(|| {
        let mut mapped = create_mapping(1, RO).unwrap();
        assert!(mapped.as_type::<u32>(2).is_err(), "unaligned");
        assert!(
            mapped.as_type::<u32>(4096).is_err() && mapped.as_type::<u64>(4092).is_err(),
            "beyond the end"
        );
        assert!(
            mapped.as_slice::<u64>(0, 513).is_err() && mapped.as_slice::<u64>(0, usize::MAX / 4).is_err()
        );
        assert!(
            mapped.as_slice_mut::<u8>(0, 1).is_err() && mapped.as_type_mut::<u8>(0).is_err(),
            "read-only"
        );
        assert!(mapped.as_slice::<u64>(0, 512).unwrap().iter().all(|&word| word == 0));
    });
}

pub fn borrowed_views() {
    leaks_nothing(|| {
        let mapped = create_mapping(4096, RW).unwrap();
        let mut view = mapped.into_borrowed_slice_mut::<u64>(8, 511).unwrap();
        for (n, word) in view.iter_mut().enumerate() {
            *word = n as u64;
        }
        let mapped = view.into_inner();
        let mut one = mapped.into_borrowed_mut::<u64>(4088).unwrap();
        assert_eq!(*one, 510);
        *one = 7;
        let (mapped, error) = one.into_inner().into_borrowed::<u64>(4090).unwrap_err();
        assert!(error.contains("beyond the end"));
        let view = mapped.into_borrowed::<u64>(4088).unwrap();
        assert_eq!((*view, view.inner_ref().size_in_pages()), (7, 1));
    });
}

pub fn contents_stay() {
    leaks_nothing(|| {
        let mut mapper = Mapper::current();
        let mut mapped = create_mapping(5 * 4096, RW).unwrap();
        for (n, byte) in bytes_mut(&mut mapped).iter_mut().enumerate() {
            *byte = (n / 7) as u8;
        }
        let start = *mapped.start();
        let (mut low, mut high) = mapped.split(start + 2).unwrap();
        high.remap(&mut mapper, RO).unwrap();
        assert!(high.as_slice_mut::<u8>(0, 1).is_err());
        bytes_mut(&mut low)[0] = 99;
        let (_, mut high) = low.merge(high).unwrap_err();
        high.remap(&mut mapper, RW).unwrap();
        low.merge(high).unwrap();
        bytes_mut(&mut low)[0] = 0;
        assert!(bytes(&low).iter().enumerate().all(|(n, &byte)| byte == (n / 7) as u8));
    });
}

pub fn deep_copies() {
    leaks_nothing(|| {
        let mut mapped = create_mapping(3 * 4096, RW).unwrap();
        bytes_mut(&mut mapped)[5000] = 5;
        let copy = mapped.deep_copy(&mut Mapper::current(), Some(RO)).unwrap();
        bytes_mut(&mut mapped)[5000] = 6;
        assert_eq!((bytes(&copy)[5000], bytes(&mapped)[5000]), (5, 6));
        assert!(!copy.flags().is_writable());
    });
}

pub fn contiguous_mappings() {
    leaks_nothing(|| {
        let (mapped, physical) = create_contiguous_mapping(9 * 4096, RW).unwrap();
        assert!(bytes(&mapped).iter().all(|&byte| byte == 0));
        for (n, page) in mapped.range().into_iter().enumerate() {
            assert_eq!(translate(page.start_address()).unwrap().value(), physical.value() + n * 4096);
        }
        let start = mapped.start_address();
        let (pages, frames) = mapped.unmap_into_parts(&mut Mapper::current()).unwrap();
        assert!(translate(start).is_none());
        assert_eq!((pages.size_in_pages(), frames.unwrap().size_in_frames()), (9, 9));
    });
}

pub fn w_xor_x_is_refused() {
    leaks_nothing(|| {
        let both = RW.executable(true);
        assert!(create_mapping(4096, both).is_err());
        assert!(create_contiguous_mapping(4096, both).is_err());
        let mut mapped = create_mapping(4096, RW).unwrap();
        assert!(mapped.remap(&mut Mapper::current(), both).is_err());
        bytes_mut(&mut mapped)[0] = 1;
    });
}

/// Walks over everything that is mapped: the base image, loaded crates, heap, stacks, devices, the physical
/// map.
pub fn nothing_is_writable_and_executable() {
    let mapper = Mapper::current();
    let (mut from, mut executable, mut pages) = (VirtualAddress::zero(), 0, 0);
    while let Some((start, size, flags)) = mapper.next_mapped(from) {
        assert!(!flags.violates_w_xor_x(), "{start} is mapped writable and executable");
        if flags.is_executable() {
            assert!(
                (CRATE_WINDOW_START..=CRATE_WINDOW_LAST).contains(&start.value()),
                "{start} is executable"
            );
            executable += 1;
        }
        pages += 1;
        from = start + size;
    }
    assert!(executable > 10 && pages > 100, "{executable} of {pages} pages: that is not all");
}

pub fn code_runs_where_it_may() {
    leaks_nothing(|| {
        let window =
            PageRange::from_virt_addr(at(CRATE_WINDOW_START), CRATE_WINDOW_LAST - CRATE_WINDOW_START + 1);
        let pages = memory::allocate_pages_in_range(1, &window).unwrap();
        let mut mapped = Mapper::current().map_allocated_pages(pages, RW).unwrap();
        // lea rax, [rdi + rdi*2]; ret
        bytes_mut(&mut mapped)[..5].copy_from_slice(&[0x48, 0x8D, 0x04, 0x7F, 0xC3]);
        mapped.remap(&mut Mapper::current(), RX).unwrap();
        // SAFETY: the bytes at that address are a function of this type, and are executable while `mapped`
        // lives.
        let triple = unsafe {
            core::mem::transmute::<usize, extern "C" fn(u64) -> u64>(mapped.start_address().value())
        };
        assert_eq!(triple(14), 42);
    });
}

pub fn page_zero_is_not_mapped() {
    assert!(translate(VirtualAddress::zero()).is_none());
    assert!(memory::allocate_pages_at(VirtualAddress::zero(), 1).is_err());
    let low = PageRange::from_virt_addr(VirtualAddress::zero(), 0x10_0000);
    assert!(memory::allocate_pages_in_range(1, &low).is_err());
    // Nothing in the first MiB, nor where physical memory would be if it were still mapped one to one.
    let first = Mapper::current().next_mapped(VirtualAddress::zero()).unwrap().0;
    assert!(first.value() >= 0x10_0000);
}

pub fn stacks_have_a_guard_page() {
    leaks_nothing(|| {
        let mut stack = stack::alloc_stack(4, &mut Mapper::current()).unwrap();
        let bottom = stack.bottom();
        assert!(translate(bottom - 1).is_none(), "the guard page is mapped");
        assert!(memory::allocate_pages_at(bottom - 1, 1).is_err(), "the guard page can be had");
        assert!(stack.guard_page().contains_address(bottom - 1));
        assert_eq!(stack.top_unusable().value() - bottom.value(), 4 * 4096);
        stack.as_slice_mut::<u8>(0, 4 * 4096).unwrap().fill(1);
        assert!(translate(stack.top_usable()).is_some());
    });
    assert!(stack::alloc_stack(0, &mut Mapper::current()).is_none());
    assert!(stack::alloc_stack(usize::MAX, &mut Mapper::current()).is_none());
}

pub fn frames_have_one_owner() {
    leaks_nothing(|| {
        // Beyond all RAM and devices.
        let nowhere = PhysicalAddress::new_canonical(0xFF_0000_0000);
        let mapped = map_frame_range(nowhere + 0x800, 0x1000, MMIO_FLAGS).unwrap();
        assert_eq!(mapped.size_in_pages(), 2);
        assert!(mapped.flags().is_device_memory());
        assert!(map_frame_range(nowhere + 0x1000, 1, MMIO_FLAGS).is_err());
        drop(mapped);
        drop(map_frame_range(nowhere + 0x1000, 1, MMIO_FLAGS).unwrap());
    });
    let text = translate(at(nothing_is_writable_and_executable as fn() as usize)).unwrap();
    assert!(map_frame_range(text, 1, RW).is_err(), "code must not be mapped again to be written to");
}

pub fn mapping_leaks_nothing() {
    leaks_nothing(|| {
        for n in 0..1000 {
            let mapped = create_mapping((n % 9 + 1) * 4096, RW).unwrap();
            if n % 3 == 0 {
                let (start, size) = (*mapped.start(), mapped.size_in_pages());
                let (low, high) = mapped.split(start + n % 2).unwrap();
                assert_eq!((low.size_in_pages(), high.size_in_pages()), (n % 2, size - n % 2));
            }
        }
        // Far apart, so that each has page tables of its own.
        let spread: Vec<_> = (1..20)
            .map(|n| {
                let pages = memory::allocate_pages_at(at(n << 40), 2).unwrap();
                Mapper::current().map_allocated_pages(pages, RW).unwrap()
            })
            .collect();
        assert!(spread.iter().all(|mapped| translate(mapped.start_address()).is_some()));
        assert_eq!(Page::<memory::Page4K>::containing_address(at(5 << 40)), *spread[4].start());
    });
}
