use super::*;

fn page(n: usize) -> Page {
    Page::containing_address(VirtualAddress::new_canonical(n << 12))
}
fn frame(n: usize) -> Frame {
    Frame::containing_address(PhysicalAddress::new_canonical(n << 12))
}

#[test]
fn only_canonical_addresses_exist() {
    assert!(VirtualAddress::new(0x0000_7FFF_FFFF_FFFF).is_some());
    assert!(VirtualAddress::new(0x0000_8000_0000_0000).is_none());
    assert!(VirtualAddress::new(0xFFFF_8000_0000_0000).is_some());
    assert!(VirtualAddress::new(0xFFFF_7FFF_FFFF_FFFF).is_none());
    assert_eq!(VirtualAddress::new_canonical(0x0000_8000_0000_0000).value(), 0xFFFF_8000_0000_0000);
    assert!(PhysicalAddress::new(0x000F_FFFF_FFFF_FFFF).is_some());
    assert!(PhysicalAddress::new(0x0010_0000_0000_0000).is_none());
    assert_eq!((VirtualAddress::new_canonical(usize::MAX) + 10).value(), usize::MAX);
    assert_eq!((VirtualAddress::zero() - 1).value(), 0);
}

#[test]
fn indices_of_a_page() {
    let p = Page::<Page4K>::containing_address(VirtualAddress::new_canonical(0xFFFF_FFFF_8010_3123));
    assert_eq!((p.p4_index(), p.p3_index(), p.p2_index(), p.p1_index()), (511, 510, 0, 0x103));
    assert_eq!(p.start_address().value(), 0xFFFF_FFFF_8010_3000);
    let huge = Page::<Page2M>::containing_address(p.start_address());
    assert_eq!(huge.start_address().value(), 0xFFFF_FFFF_8000_0000);
    assert_eq!((huge + 1).start_address().value(), 0xFFFF_FFFF_8020_0000);
}

#[test]
fn ranges_count_both_ends() {
    let r = PageRange::<Page4K>::from_virt_addr(VirtualAddress::new_canonical(0x1FFF), 2);
    assert_eq!((r.start().number(), r.end().number(), r.size_in_pages()), (1, 2, 2));
    assert_eq!(r.size_in_bytes(), 8192);
    assert_eq!(PageRange::<Page4K>::from_virt_addr(VirtualAddress::zero(), 0).size_in_pages(), 0);
    assert!(PageRange::<Page4K>::empty().is_empty());
    assert_eq!(PageRange::<Page4K>::empty().into_iter().count(), 0);
    assert_eq!(r.clone().into_iter().map(|p| p.number()).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(r.offset_of_address(VirtualAddress::new_canonical(0x2001)), Some(0x1001));
    assert_eq!(r.offset_of_address(VirtualAddress::new_canonical(0x3000)), None);
    assert_eq!(r.address_at_offset(0x1FFF).map(|a| a.value()), Some(0x2FFF));
    assert_eq!(r.address_at_offset(0x2000), None);
}

#[test]
fn overlap_contains_extend() {
    let a = FrameRange::new(frame(10), frame(20));
    let b = FrameRange::new(frame(15), frame(30));
    assert_eq!(a.overlap(&b), Some(FrameRange::new(frame(15), frame(20))));
    assert_eq!(b.overlap(&a), Some(FrameRange::new(frame(15), frame(20))));
    assert_eq!(a.overlap(&FrameRange::new(frame(21), frame(30))), None);
    assert_eq!(a.overlap(&FrameRange::empty()), None);
    assert!(a.contains_range(&FrameRange::new(frame(10), frame(20))));
    assert!(!a.contains_range(&b));
    assert!(!a.contains_range(&FrameRange::empty()));
    assert_eq!(a.to_extended(frame(25)), FrameRange::new(frame(10), frame(25)));
    assert_eq!(FrameRange::empty().to_extended(frame(3)), FrameRange::new(frame(3), frame(3)));
}

#[test]
fn sizes_convert() {
    let r = PageRange::new(page(512), page(1535));
    let huge = r.try_into_size::<Page2M>().unwrap();
    assert_eq!((huge.size_in_pages(), huge.size_in_bytes()), (2, 4 << 20));
    assert_eq!(huge.into_4k_pages(), r);
    assert!(PageRange::new(page(512), page(1534)).try_into_size::<Page2M>().is_none());
    assert!(PageRange::new(page(511), page(1535)).try_into_size::<Page2M>().is_none());
    assert_eq!(huge.clone().into_iter().count(), 2);
}

#[test]
fn align_up_keeps_what_is_aligned() {
    assert_eq!(page(512).align_up(512).number(), 512);
    assert_eq!(page(513).align_up(512).number(), 1024);
    assert_eq!(page(7).align_up(0).number(), 7);
    assert_eq!(page(7).align_up(1).number(), 7);
}

#[test]
fn the_last_page_is_a_page() {
    let last = Page::<Page4K>::containing_address(VirtualAddress::new_canonical(usize::MAX));
    assert_eq!(last + 1, last);
    let r = PageRange::new(last - 1, last);
    assert_eq!(r.size_in_pages(), 2);
    assert_eq!(r.into_iter().count(), 2);
}
