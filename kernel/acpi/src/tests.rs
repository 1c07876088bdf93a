//! Tests of the parsers on images of physical memory.

use super::*;
use crate::table::checksum;
use std::collections::BTreeMap;

/// Pieces of physical memory by their address.
#[derive(Default)]
struct Image(BTreeMap<usize, Vec<u8>>);

impl PhysicalMemory for Image {
    fn read(&self, address: usize, length: usize) -> Result<Vec<u8>, AcpiError> {
        let mut bytes = vec![0; length];
        for (offset, byte) in bytes.iter_mut().enumerate() {
            let at = address + offset;
            if let Some((start, piece)) = self.0.range(..=at).next_back() {
                *byte = piece.get(at - start).copied().unwrap_or(0);
            }
        }
        Ok(bytes)
    }
}

impl Image {
    fn put(&mut self, address: usize, bytes: Vec<u8>) {
        self.0.insert(address, bytes);
    }
}

/// A table with a right length and checksum.
fn table(signature: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 36];
    bytes[..4].copy_from_slice(signature);
    bytes[8] = 6;
    bytes[10..16].copy_from_slice(b"TESTER");
    bytes.extend_from_slice(body);
    let length = bytes.len() as u32;
    bytes[4..8].copy_from_slice(&length.to_le_bytes());
    fix_checksum(&mut bytes, 9);
    bytes
}

fn fix_checksum(bytes: &mut [u8], position: usize) {
    bytes[position] = 0;
    bytes[position] = checksum(bytes).wrapping_neg();
}

fn root_pointer(revision: u8, rsdt: u32, xsdt: u64) -> Vec<u8> {
    let mut bytes = vec![0; 36];
    bytes[..8].copy_from_slice(b"RSD PTR ");
    bytes[15] = revision;
    bytes[16..20].copy_from_slice(&rsdt.to_le_bytes());
    bytes[20..24].copy_from_slice(&36u32.to_le_bytes());
    bytes[24..32].copy_from_slice(&xsdt.to_le_bytes());
    let (first, _) = bytes.split_at_mut(20);
    fix_checksum(first, 8);
    fix_checksum(&mut bytes, 32);
    bytes
}

fn madt_body() -> Vec<u8> {
    let mut body = Vec::new();
    body.extend(0xFEE0_0000u32.to_le_bytes());
    body.extend(1u32.to_le_bytes());
    body.extend([0, 8, 0, 0, 1, 0, 0, 0]);
    body.extend([0, 8, 1, 1, 1, 0, 0, 0]);
    body.extend([0, 8, 2, 2, 2, 0, 0, 0]);
    body.extend([1, 12, 4, 0, 0, 0, 0xC0, 0xFE, 0, 0, 0, 0]);
    // IRQ 0 arrives at input 2; IRQ 9 is active low and level-triggered.
    body.extend([2, 10, 0, 0, 2, 0, 0, 0, 0, 0]);
    body.extend([2, 10, 0, 9, 9, 0, 0, 0, 0x0F, 0]);
    // A kind nobody knows.
    body.extend([0x7F, 5, 1, 2, 3]);
    body.extend([4, 6, 0xFF, 0, 0, 1]);
    body.extend([9, 16, 0, 0, 0x00, 0x01, 0, 0, 1, 0, 0, 0, 3, 0, 0, 0]);
    body
}

fn fadt_body(dsdt: u32) -> Vec<u8> {
    let mut table = vec![0; 244];
    let mut put = |offset: usize, bytes: &[u8]| table[offset..offset + bytes.len()].copy_from_slice(bytes);
    put(40, &dsdt.to_le_bytes());
    put(48, &0xB2u32.to_le_bytes());
    put(52, &[2]);
    put(64, &0x604u32.to_le_bytes());
    put(76, &0x608u32.to_le_bytes());
    put(108, &[0x32]);
    put(112, &((1u32 << 8) | (1 << 10)).to_le_bytes());
    put(116, &[1, 8, 0, 1]);
    put(120, &0xCF9u64.to_le_bytes());
    put(128, &[0x0F]);
    table.split_off(36)
}

/// `Name (_S5, Package () { 5, 0, 0, 0 })` between other code.
const AML_WITH_S5: [u8; 22] = [
    0x10, 0x20, 0x5C, 0x00, 0x5F, 0x53, 0x35, 0x5F, 0x08, 0x5F, 0x53, 0x35, 0x5F, 0x12, 0x06, 0x04, 0x0A,
    0x05, 0x00, 0x00, 0x00, 0xA3,
];

fn machine() -> Image {
    let mut image = Image::default();
    image.put(0xF_5A10, root_pointer(2, 0x7000_0000, 0x7000_1000));
    let mut entries = Vec::new();
    for address in [0x7000_2003u64, 0x7000_3000, 0, 0x7000_4000, 0x7000_5000] {
        entries.extend(address.to_le_bytes());
    }
    image.put(0x7000_1000, table(b"XSDT", &entries));
    image.put(0x7000_2003, table(b"APIC", &madt_body()));
    image.put(0x7000_3000, table(b"FACP", &fadt_body(0x7000_6000)));
    image.put(0x7000_4000, table(b"MCFG", &[1, 2, 3]));
    let mut hpet = vec![0x01, 0xA2, 0x86, 0x80, 0, 64, 0, 0];
    hpet.extend(0xFED0_0000u64.to_le_bytes());
    hpet.extend([0, 100, 0, 0]);
    image.put(0x7000_5000, table(b"HPET", &hpet));
    image.put(0x7000_6000, table(b"DSDT", &AML_WITH_S5));
    image
}

#[test]
fn a_whole_machine_is_read_by_searching() {
    let info = read_all(&machine(), None).unwrap();
    let madt = info.madt.unwrap();
    assert_eq!(madt.local_apic_address, 0xFEE0_0000);
    assert!(madt.has_8259);
    let processor = |apic_id, enabled, online_capable| Processor { apic_id, enabled, online_capable };
    assert_eq!(
        madt.processors,
        [
            processor(0, true, false),
            processor(1, true, false),
            processor(2, false, true),
            processor(256, true, false)
        ]
    );
    assert_eq!(madt.io_apics, [IoApic { id: 4, address: 0xFEC0_0000, gsi_base: 0 }]);
    assert_eq!(madt.route_of_irq(0).gsi, 2);
    assert_eq!(madt.route_of_irq(0).trigger, Trigger::Edge);
    let nine = madt.route_of_irq(9);
    assert_eq!((nine.gsi, nine.polarity, nine.trigger), (9, Polarity::Low, Trigger::Level));
    let four = madt.route_of_irq(4);
    assert_eq!((four.gsi, four.polarity, four.trigger), (4, Polarity::High, Trigger::Edge));

    let fadt = info.fadt.unwrap();
    let io = |address| Register { space: RegisterSpace::Io, address };
    assert_eq!(fadt.pm_timer, Some(io(0x608)));
    assert!(fadt.pm_timer_is_32_bit);
    assert_eq!(fadt.pm1a_control, Some(io(0x604)));
    assert_eq!(fadt.pm1b_control, None);
    assert_eq!(fadt.reset, Some((io(0xCF9), 0x0F)));
    assert_eq!((fadt.smi_command_port, fadt.acpi_enable), (Some(0xB2), 2));
    assert_eq!(fadt.century_register, Some(0x32));

    assert_eq!(info.hpet, Some(HpetTable { address: 0xFED0_0000 }));
    assert_eq!(info.s5, Some(SleepType { a: 5, b: 0 }));
}

#[test]
fn the_boot_loaders_pointer_comes_first() {
    let mut image = machine();
    image.put(0x5000, root_pointer(0, 0x6000, 0));
    image.put(0x6000, table(b"RSDT", &0x7000_5000u32.to_le_bytes()));
    let info = read_all(&image, Some(0x5000)).unwrap();
    assert!(info.madt.is_none());
    assert_eq!(info.hpet, Some(HpetTable { address: 0xFED0_0000 }));
    // A pointer that points nowhere is made up for by searching.
    assert!(read_all(&image, Some(0x9000)).unwrap().madt.is_some());
}

#[test]
fn the_extended_bios_data_area_is_searched() {
    let mut image = machine();
    image.0.remove(&0xF_5A10);
    assert_eq!(read_all(&image, None).unwrap_err(), AcpiError::NoRootPointer);
    image.put(0x40E, 0x9FC0u16.to_le_bytes().to_vec());
    image.put(0x9_FC10, root_pointer(2, 0x7000_0000, 0x7000_1000));
    assert!(read_all(&image, None).unwrap().hpet.is_some());
}

#[test]
fn a_root_pointer_with_a_wrong_checksum_is_none() {
    let mut image = machine();
    image.0.get_mut(&0xF_5A10).unwrap()[9] ^= 1;
    assert_eq!(read_all(&image, None).unwrap_err(), AcpiError::NoRootPointer);
}

#[test]
fn a_damaged_extension_falls_back_to_32_bits() {
    let mut image = machine();
    image.0.get_mut(&0xF_5A10).unwrap()[33] ^= 1;
    image.put(0x7000_0000, table(b"RSDT", &0x7000_5000u32.to_le_bytes()));
    let info = read_all(&image, None).unwrap();
    assert!(info.hpet.is_some() && info.madt.is_none());
}

#[test]
fn a_damaged_table_is_left_out_and_the_others_stay() {
    let mut image = machine();
    image.0.get_mut(&0x7000_2003).unwrap()[50] ^= 1;
    let info = read_all(&image, None).unwrap();
    assert!(info.madt.is_none());
    assert!(info.fadt.is_some() && info.hpet.is_some());
}

#[test]
fn a_root_table_of_another_kind_or_length_is_an_error() {
    let mut image = machine();
    image.put(0x7000_1000, table(b"DSDT", &[]));
    assert_eq!(read_all(&image, None).unwrap_err(), AcpiError::Signature(*b"XSDT"));
    let mut long = table(b"XSDT", &[]);
    long[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
    image.put(0x7000_1000, long);
    assert_eq!(read_all(&image, None).unwrap_err(), AcpiError::TooLong(*b"XSDT"));
    let mut short = table(b"XSDT", &[]);
    short[4..8].copy_from_slice(&35u32.to_le_bytes());
    image.put(0x7000_1000, short);
    let error = read_all(&image, None).unwrap_err();
    assert_eq!(error, AcpiError::TooShort(*b"XSDT"));
    assert_eq!(error.to_string(), "the ACPI table XSDT is cut short by the firmware");
}

fn parse_madt(body: &[u8]) -> Result<Madt, AcpiError> {
    let mut image = Image::default();
    image.put(0x1000, table(b"APIC", body));
    Madt::parse(&Table::read(&image, 0x1000)?)
}

#[test]
fn entries_of_impossible_length_end_the_madt() {
    let too_short = Err(AcpiError::TooShort(*b"APIC"));
    for entry in [&[0u8, 0][..], &[0, 1], &[0, 8, 0], &[1, 4, 0, 0], &[2, 9, 0, 0, 0, 0, 0, 0]] {
        let mut body = madt_body();
        body.extend(entry);
        assert_eq!(parse_madt(&body), too_short, "{entry:?}");
    }
    assert_eq!(parse_madt(&[0; 7]), too_short);
}

#[test]
fn no_prefix_of_the_machines_tables_does_harm() {
    // Each table is cut at every byte, with a checksum that says it is right.
    for (address, signature) in [(0x7000_2003, b"APIC"), (0x7000_3000, b"FACP"), (0x7000_5000, b"HPET")] {
        let whole = machine().0[&address].clone();
        for length in 36..whole.len() {
            let mut image = machine();
            image.put(address, table(signature, &whole[36..length]));
            let info = read_all(&image, Some(0xF_5A10)).unwrap();
            let parts = [info.madt.is_some(), info.fadt.is_some(), info.hpet.is_some()];
            assert!(parts.iter().filter(|present| **present).count() >= 2, "{signature:?} cut at {length}");
        }
    }
}

#[test]
fn newer_fields_of_the_fadt_come_first() {
    let mut body = fadt_body(0x1000);
    body[140 - 36..148 - 36].copy_from_slice(&0x7000_6000u64.to_le_bytes());
    body[208 - 36..212 - 36].copy_from_slice(&[0, 32, 0, 3]);
    body[212 - 36..220 - 36].copy_from_slice(&0xFEC8_0008u64.to_le_bytes());
    let mut image = Image::default();
    image.put(0x1000, table(b"FACP", &body));
    let fadt = Fadt::parse(&Table::read(&image, 0x1000).unwrap()).unwrap();
    assert_eq!(fadt.dsdt, Some(0x7000_6000));
    assert_eq!(fadt.pm_timer, Some(Register { space: RegisterSpace::Memory, address: 0xFEC8_0008 }));
}

#[test]
fn a_machine_without_fixed_hardware_has_no_registers() {
    let mut body = fadt_body(0x1000);
    body[112 - 36..116 - 36].copy_from_slice(&FLAG_HARDWARE_REDUCED_AND_RESET.to_le_bytes());
    let mut image = Image::default();
    image.put(0x1000, table(b"FACP", &body));
    let fadt = Fadt::parse(&Table::read(&image, 0x1000).unwrap()).unwrap();
    assert_eq!((fadt.pm_timer, fadt.pm1a_control), (None, None));
    assert!(fadt.reset.is_some());
}

const FLAG_HARDWARE_REDUCED_AND_RESET: u32 = (1 << 20) | (1 << 10);

#[test]
fn s5_in_its_encodings() {
    let package = |elements: &[u8]| {
        let mut aml = vec![0x08, b'\\', b'_', b'S', b'5', b'_', 0x12, 2 + elements.len() as u8];
        aml.extend(elements);
        aml
    };
    assert_eq!(s5::find(&package(&[4, 0x0A, 7, 0x01, 0, 0])), Some(SleepType { a: 7, b: 1 }));
    assert_eq!(s5::find(&package(&[1, 0x01])), Some(SleepType { a: 1, b: 1 }));
    assert_eq!(s5::find(&package(&[2, 0x0B, 5, 0, 0x0C, 6, 0, 0, 0])), Some(SleepType { a: 5, b: 6 }));
    // A length of two bytes, as large packages have.
    let aml = [0x08, 0x5F, 0x53, 0x35, 0x5F, 0x12, 0x46, 0x01, 2, 0x0A, 3, 0x0A, 4];
    assert_eq!(s5::find(&aml), Some(SleepType { a: 3, b: 4 }));
    // Not a definition, no package, no elements, too large, not a constant, cut short.
    assert_eq!(s5::find(b"\x09_S5_\x12\x06\x04\x00\x00"), None);
    assert_eq!(s5::find(b"\x08_S5_\x0A\x05"), None);
    assert_eq!(s5::find(&package(&[0])), None);
    assert_eq!(s5::find(&package(&[2, 0x0A, 8, 0])), None);
    assert_eq!(s5::find(&package(&[2, b'X', b'Y', b'Z', b'_'])), None);
    for length in 0..18 {
        assert_eq!(s5::find(&AML_WITH_S5[..length]), None);
    }
    assert_eq!(s5::find(&AML_WITH_S5[..19]), Some(SleepType { a: 5, b: 0 }));
}
