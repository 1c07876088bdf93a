use super::*;
use crate::cfi::{Function, Known};
use crate::tests::OwnImage;
use gimli::{BaseAddresses, EhFrame, EhFrameHdr as GimliHdr, LittleEndian, UnwindSection};

/// All FDEs of `image` as gimli reads them: (offset of the record, start, end), without empty ones.
fn gimli_fdes(image: &OwnImage) -> Vec<(usize, u64, u64)> {
    let section = EhFrame::new(&image.eh_frame, LittleEndian);
    let bases = BaseAddresses::default().set_eh_frame(image.eh_frame_address as u64);
    let mut entries = section.entries(&bases);
    let mut fdes = Vec::new();
    while let Some(entry) = entries.next().unwrap() {
        if let gimli::CieOrFde::Fde(partial) = entry {
            let fde = partial.parse(EhFrame::cie_from_offset).unwrap();
            if fde.len() != 0 {
                fdes.push((fde.offset(), fde.initial_address(), fde.initial_address() + fde.len()));
            }
        }
    }
    fdes
}

fn build(image: &OwnImage) -> Result<Vec<u8>, EhFrameError> {
    build_eh_frame_hdr(image.text.clone(), image.eh_frame_address, &image.eh_frame)
}

#[test]
fn finds_the_same_functions_as_gimli_in_this_test() {
    let image = OwnImage::read();
    let table = build(&image).unwrap();
    let header =
        EhFrameHdr::parse(Reader::new(&table, 0x1234_5678_9000), 0x1234_5678_9000, image.text.start).unwrap();
    let mut expected = gimli_fdes(&image);
    assert!(expected.len() > 1_000, "this test has many functions: {}", expected.len());
    assert_eq!(header.count, expected.len());
    assert_eq!(header.eh_frame, image.eh_frame_address);

    expected.sort_by_key(|fde| fde.1);
    let section = Reader::new(&image.eh_frame, image.eh_frame_address);
    for (index, (offset, start, end)) in expected.iter().copied().enumerate() {
        let (entry_start, fde) = header.entry(index).unwrap();
        assert_eq!((entry_start, fde), (start as usize, image.eh_frame_address + offset));
        for pc in [start, start + (end - start) / 2, end - 1] {
            assert_eq!(header.find(pc as usize), Some(image.eh_frame_address + offset));
        }
        let mut known = Known::new();
        let function = Function::read(section, offset, image.text.start, &mut known).unwrap();
        assert_eq!(function.code, start as usize..end as usize);
    }
    assert_eq!(header.find(expected[0].1 as usize - 1), None);
}

#[test]
fn gimli_understands_our_table() {
    // As any reader of the format does.
    let image = OwnImage::read();
    let table = build(&image).unwrap();
    let table_address = 0xffff_fe80_0000_0000u64; // far away, as the heap is
    let bases = BaseAddresses::default()
        .set_eh_frame_hdr(table_address)
        .set_text(image.text.start as u64)
        .set_eh_frame(image.eh_frame_address as u64);
    let header = GimliHdr::new(&table, LittleEndian).parse(&bases, 8).unwrap();
    assert_eq!(header.eh_frame_ptr(), gimli::Pointer::Direct(image.eh_frame_address as u64));
    let section = EhFrame::new(&image.eh_frame, LittleEndian);
    for (_, start, end) in gimli_fdes(&image) {
        for pc in [start, end - 1] {
            let fde = header
                .table()
                .unwrap()
                .fde_for_address(&section, &bases, pc, EhFrame::cie_from_offset)
                .unwrap();
            assert_eq!(fde.initial_address(), start);
        }
    }
}

#[test]
fn reads_the_linkers_table() {
    let image = OwnImage::read();
    let reader = Reader::new(&image.eh_frame_hdr, image.eh_frame_hdr_address);
    let header = EhFrameHdr::parse(reader, image.eh_frame_hdr_address, image.text.start).unwrap();
    assert_eq!(header.eh_frame, image.eh_frame_address);
    for (offset, start, end) in gimli_fdes(&image) {
        for pc in [start, end - 1] {
            assert_eq!(header.find(pc as usize), Some(image.eh_frame_address + offset));
        }
    }
}

#[test]
fn a_terminator_ends_the_section_and_none_is_needed() {
    let image = OwnImage::read();
    let terminated = image.eh_frame.ends_with(&[0; 4]);
    let bare = if terminated { &image.eh_frame[..image.eh_frame.len() - 4] } else { &image.eh_frame[..] };
    let text = image.text.clone();
    let table = build_eh_frame_hdr(text.clone(), image.eh_frame_address, bare).unwrap();
    assert_eq!(table, build(&image).unwrap());
    let mut longer = bare.to_vec();
    longer.extend_from_slice(&[0; 4]);
    longer.extend_from_slice(&[0xff; 64]);
    assert_eq!(table, build_eh_frame_hdr(text, image.eh_frame_address, &longer).unwrap());
}

#[test]
fn nothing_to_describe_makes_an_empty_table() {
    for eh_frame in [&[][..], &[0; 4], &[0; 8]] {
        let table = build_eh_frame_hdr(0x1000..0x2000, 0x3000, eh_frame).unwrap();
        let header = EhFrameHdr::parse(Reader::new(&table, 0), 0, 0x1000).unwrap();
        assert_eq!(header.count, 0);
        assert_eq!(header.find(0x1800), None);
    }
}

#[test]
fn sorts_what_is_out_of_order() {
    // One CIE and two FDEs, the second of which describes the earlier function.
    let section = hand_made(&[(0x1100, 0x20), (0x1000, 0x40), (0, 0)]);
    let table = build_eh_frame_hdr(0x1000..0x2000, 0x8000, &section).unwrap();
    let header = EhFrameHdr::parse(Reader::new(&table, 0), 0, 0x1000).unwrap();
    assert_eq!(header.count, 2, "a function of no length gets no entry");
    assert_eq!(header.entry(0).unwrap().0, 0x1000);
    assert_eq!(header.entry(1).unwrap().0, 0x1100);
    assert_eq!(header.entry(2), Err(EhFrameError::BadHeader));
}

#[test]
fn refuses_what_cannot_be_right() {
    let build = |fdes: &[(usize, u32)]| build_eh_frame_hdr(0x1000..0x2000, 0x8000, &hand_made(fdes));
    assert_eq!(build(&[(0x0ff0, 0x20)]), Err(EhFrameError::OutsideText { offset: 20 }));
    assert_eq!(build(&[(0x1ff0, 0x20)]), Err(EhFrameError::OutsideText { offset: 20 }));
    assert_eq!(
        build(&[(0x1100, 0x20), (0x1000, 0x101)]),
        Err(EhFrameError::OverlappingFunctions { address: 0x1100 })
    );
    let mut section = hand_made(&[(0x1000, 0x20)]);
    section[8] = 7; // version of the CIE
    assert_eq!(build_eh_frame_hdr(0x1000..0x2000, 0x8000, &section), Err(EhFrameError::BadCie { offset: 0 }));
    let mut section = hand_made(&[(0x1000, 0x20)]);
    section[24] = 3; // the FDE's pointer to its CIE
    assert!(build_eh_frame_hdr(0x1000..0x2000, 0x8000, &section).is_err());
    assert_eq!(
        build_eh_frame_hdr(0x1000..0x2000, 0x8000, &[1, 0, 0]),
        Err(EhFrameError::Truncated { offset: 0 })
    );
    assert_eq!(
        build_eh_frame_hdr(0x1000..0x2000, 0x8000, &[0xff; 64]),
        Err(EhFrameError::Truncated { offset: 0 })
    );
    assert_eq!(build_eh_frame_hdr(0..0x1_0000_0000, 0x8000, &[]), Err(EhFrameError::TooFarFromText));
}

#[test]
fn a_table_header_that_cannot_be_searched_is_refused() {
    let good = build_eh_frame_hdr(0x1000..0x2000, 0x8000, &hand_made(&[(0x1000, 0x20)])).unwrap();
    let parse = |table: &[u8]| EhFrameHdr::parse(Reader::new(table, 0), 0, 0x1000).map(|header| header.count);
    assert_eq!(parse(&good), Ok(1));
    for length in 0..good.len() {
        assert!(parse(&good[..length]).is_err(), "{length} bytes");
    }
    for (index, value) in
        [(0, 2), (1, 0xff), (2, 0xff), (3, 0xff), (3, 0x01), (3, 0x9b), (1, 0x84), (2, 0x13)]
    {
        let mut bad = good.clone();
        bad[index] = value;
        assert!(parse(&bad).is_err(), "byte {index} = {value:#x}");
    }
}

#[test]
fn malformed_sections_are_errors_and_never_read_outside() {
    // `Reader` refuses to leave the slice, so anything that is wrong shows up as a panic or a hang.
    let image = OwnImage::read();
    let piece = &image.eh_frame[..image.eh_frame.len().min(4_000)];
    let (mut good, mut bad) = (0, 0);
    let mut count =
        |section: &[u8]| match build_eh_frame_hdr(image.text.clone(), image.eh_frame_address, section) {
            Ok(table) => {
                let reader = Reader::new(&table, 0);
                let header = EhFrameHdr::parse(reader, 0, image.text.start).unwrap();
                header.find(image.text.start + image.text.len() / 2);
                good += 1;
            }
            Err(error) => {
                assert!(!error.to_string().is_empty());
                bad += 1;
            }
        };
    for length in 0..piece.len() {
        count(&piece[..length]);
    }
    let mut section = piece.to_vec();
    for index in 0..section.len() {
        for flip in [1, 0x80, 0xff] {
            section[index] ^= flip;
            count(&section);
            section[index] ^= flip;
        }
    }
    assert!(good > 100 && bad > 1_000, "{good} {bad}");
}

/// A section at 0x8000 with one CIE ("zR", pcrel|sdata4) and FDEs of these functions (start, length).
fn hand_made(functions: &[(usize, u32)]) -> Vec<u8> {
    let address = 0x8000;
    let mut section = Vec::new();
    // length, id, version, "zR", code alignment 1, data alignment -8, return address in 16, 1 byte of augmentation
    section.extend_from_slice(&[16, 0, 0, 0, 0, 0, 0, 0, 1, b'z', b'R', 0, 1, 0x78, 16, 1, 0x1b, 0, 0, 0]);
    for (start, length) in functions {
        let offset = section.len();
        section.extend_from_slice(&16u32.to_le_bytes());
        section.extend_from_slice(&(offset as u32 + 4).to_le_bytes());
        let relative = (*start as isize - (address + offset + 8) as isize) as i32;
        section.extend_from_slice(&relative.to_le_bytes());
        section.extend_from_slice(&length.to_le_bytes());
        section.extend_from_slice(&[0; 4]);
    }
    section
}
