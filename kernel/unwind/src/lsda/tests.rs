use super::*;
use crate::{eh_frame::EhFrameError, tests::OwnImage};
use gimli::{BaseAddresses, EhFrame, LittleEndian, UnwindSection};
use std::vec::Vec;

/// landing pads relative to the function, no types, call sites in ULEB128
fn table(call_sites: &[(u8, u8, u8, u8)], actions: &[u8]) -> Vec<u8> {
    let mut table = vec![PE_OMIT, PE_OMIT, crate::reader::PE_ULEB128, call_sites.len() as u8 * 4];
    for (start, length, landing_pad, action) in call_sites {
        table.extend_from_slice(&[*start, *length, *landing_pad, *action]);
    }
    table.extend_from_slice(actions);
    table
}

#[test]
fn each_call_site_has_its_action() {
    // Action records: (type index, offset of the next one). -1 is a filter.
    let actions = [0, 0, 1, 0, 0x7f, 0];
    let table = table(
        &[(0x10, 8, 0x40, 0), (0x18, 8, 0, 0), (0x30, 4, 0x50, 1), (0x34, 4, 0x58, 3), (0x38, 4, 0x60, 5)],
        &actions,
    );
    let find = |pc| find_action(Reader::new(&table, 0x9000), 0x1000, pc).unwrap();
    assert_eq!(find(0x1000), Action::Terminate);
    assert_eq!(find(0x1010), Action::Cleanup(0x1040));
    assert_eq!(find(0x1017), Action::Cleanup(0x1040));
    assert_eq!(find(0x1018), Action::Continue);
    assert_eq!(find(0x1020), Action::Terminate);
    assert_eq!(find(0x1033), Action::Cleanup(0x1050));
    assert_eq!(find(0x1034), Action::Catch(0x1058));
    assert_eq!(find(0x1038), Action::Catch(0x1060));
    assert_eq!(find(0x103c), Action::Terminate);
}

#[test]
fn a_table_cut_off_is_an_error() {
    let table = table(&[(0x10, 8, 0x40, 1)], &[1, 0]);
    for length in 0..table.len() - 1 {
        let result = find_action(Reader::new(&table[..length], 0), 0x1000, 0x1010);
        assert!(matches!(result, Err(EhFrameError::Truncated { .. })), "{length}: {result:?}");
    }
    assert_eq!(
        find_action(Reader::new(&table[..table.len() - 1], 0), 0x1000, 0x1010),
        Ok(Action::Catch(0x1040))
    );
}

#[test]
fn every_table_of_this_test_leads_into_its_text() {
    let image = OwnImage::read();
    let section = EhFrame::new(&image.eh_frame, LittleEndian);
    let bases = BaseAddresses::default().set_eh_frame(image.eh_frame_address as u64);
    let mut entries = section.entries(&bases);
    let (mut cleanups, mut catches, mut without) = (0, 0, 0);
    while let Some(entry) = entries.next().unwrap() {
        let gimli::CieOrFde::Fde(partial) = entry else { continue };
        let fde = partial.parse(EhFrame::cie_from_offset).unwrap();
        let Some(gimli::Pointer::Direct(lsda)) = fde.lsda() else { continue };
        assert!(image.gcc_except_table.contains(&(lsda as usize)));
        let function = fde.initial_address() as usize;
        for pc in function..function + fde.len() as usize {
            // SAFETY: a table of this program, which is never unmapped.
            let reader = unsafe { Reader::from_raw(lsda as usize + image.load_bias) };
            match find_action(reader, function, pc).unwrap() {
                Action::Cleanup(landing_pad) => {
                    assert!(image.text.contains(&landing_pad));
                    cleanups += 1;
                }
                Action::Catch(landing_pad) => {
                    assert!(image.text.contains(&landing_pad));
                    catches += 1;
                }
                Action::Continue => without += 1,
                Action::Terminate => {}
            }
        }
    }
    assert!(cleanups > 1_000 && catches > 100 && without > 1_000, "{cleanups} {catches} {without}");
}
