use super::*;
use object::{Object, ObjectSection, ObjectSegment, ObjectSymbol, SegmentFlags};

/// The unwind tables of the running test program, which are as real as any.
pub(crate) struct OwnImage {
    pub(crate) text: Range<usize>,
    pub(crate) eh_frame: Vec<u8>,
    pub(crate) eh_frame_address: usize,
    pub(crate) eh_frame_hdr: Vec<u8>,
    pub(crate) eh_frame_hdr_address: usize,
    pub(crate) gcc_except_table: Range<usize>,
    /// What to add to an address in the file to have one in memory.
    pub(crate) load_bias: usize,
}

impl OwnImage {
    pub(crate) fn read() -> Self {
        let bytes = std::fs::read("/proc/self/exe").unwrap();
        let file = object::File::parse(&*bytes).unwrap();
        let section = |name: &str| {
            let section = file.section_by_name(name).unwrap();
            (section.data().unwrap().to_vec(), section.address() as usize)
        };
        let is_code =
            |flags| matches!(flags, SegmentFlags::Elf { p_flags } if p_flags & object::elf::PF_X != 0);
        let code = file.segments().find(|segment| is_code(segment.flags())).unwrap();
        let (eh_frame, eh_frame_address) = section(".eh_frame");
        let (eh_frame_hdr, eh_frame_hdr_address) = section(".eh_frame_hdr");
        let (table, table_address) = section(".gcc_except_table");
        let function =
            |name: &str| file.symbols().find(|symbol| symbol.name() == Ok(name)).unwrap().address() as usize;
        Self {
            text: code.address() as usize..(code.address() + code.size()) as usize,
            eh_frame,
            eh_frame_address,
            eh_frame_hdr,
            eh_frame_hdr_address,
            gcc_except_table: table_address..table_address + table.len(),
            load_bias: unwind_test_marker as *const () as usize - function("unwind_test_marker"),
        }
    }
}

/// Held by tests that change the one registry.
static ONE_AT_A_TIME: std::sync::Mutex<()> = std::sync::Mutex::new(());

/// Found by name in the file, to learn where the file was loaded.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn unwind_test_marker() -> u32 {
    std::hint::black_box(7)
}

#[test]
fn own_code_is_found_by_either_kind_of_table() {
    let _alone = ONE_AT_A_TIME.lock();
    let image = OwnImage::read();
    let at = |range: Range<usize>| range.start + image.load_bias..range.end + image.load_bias;
    let text = at(image.text.clone());
    let header = image.eh_frame_hdr_address..image.eh_frame_hdr_address + image.eh_frame_hdr.len();
    let eh_frame = image.eh_frame_address..image.eh_frame_address + image.eh_frame.len();
    let pc = unwind_test_marker as *const () as usize;
    let count = code_range_count();
    for info in [UnwindInfo::EhFrameHdr(at(header)), UnwindInfo::EhFrame(at(eh_frame))] {
        assert_eq!(code_range_containing(pc), None);
        // SAFETY: a program's own tables, which are never unmapped.
        let guard = unsafe { register_code_range(text.clone(), info) }.unwrap();
        assert_eq!(code_range_count(), count + 1);
        assert_eq!(code_range_containing(pc), Some(text.clone()));
        let function = function_containing(pc + 1).unwrap();
        assert_eq!(function.start, pc);
        assert_eq!(function_containing(pc), Some(function.clone()));
        assert_ne!(function_containing(function.end), Some(function));
        // SAFETY: as above.
        let again = unsafe { register_code_range(text.clone(), UnwindInfo::EhFrame(0..0)) };
        assert_eq!(again.unwrap_err(), RegisterError::Overlaps { text: text.clone() });
        drop(guard);
    }
    assert_eq!(code_range_containing(pc), None);
    assert_eq!(function_containing(pc), None);
    assert_eq!(code_range_count(), count);
}

#[test]
fn nothing_is_registered_by_a_failure() {
    let _alone = ONE_AT_A_TIME.lock();
    let count = code_range_count();
    let bad = [0xffu8; 32];
    let bad = bad.as_ptr() as usize..bad.as_ptr() as usize + bad.len();
    for info in [UnwindInfo::EhFrameHdr(bad.clone()), UnwindInfo::EhFrame(bad)] {
        // SAFETY: it is refused, so nothing is registered.
        let error = unsafe { register_code_range(0x1000..0x2000, info) }.unwrap_err();
        assert!(matches!(error, RegisterError::BadUnwindInfo(_)), "{error}");
    }
    // SAFETY: as above.
    let error = unsafe { register_code_range(0x1000..0x1000, UnwindInfo::EhFrame(0..0)) }.unwrap_err();
    assert_eq!(error, RegisterError::EmptyText);
    assert_eq!(code_range_count(), count);
}
