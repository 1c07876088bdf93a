//! Tests with registers in the place of the chip.

use super::*;
use crate::registers::{BINARY, HOURS_24, STATUS_B, USUAL_CENTURY};
use std::cell::Cell;

/// Registers 0 to 0x3F that show 2026-11-20 09:12:01 in BCD and 24 hours.
fn registers() -> [u8; 64] {
    let mut registers = [0; 64];
    registers[..10].copy_from_slice(&[0x01, 0, 0x12, 0, 0x09, 0, 0x06, 0x20, 0x11, 0x26]);
    registers[usize::from(STATUS_B)] = HOURS_24;
    registers[usize::from(USUAL_CENTURY)] = 0x20;
    registers
}

fn read(registers: &[u8; 64]) -> Result<RtcTime, RtcError> {
    read_with(|index| registers[usize::from(index)], None)
}

#[test]
fn decimal_digits_and_24_hours() {
    let time = read(&registers()).unwrap();
    assert_eq!(time.to_string(), "2026-11-20T09:12:01+00:00");
    assert_eq!(time.date_time().to_unix(), 1_795_165_921);
}

#[test]
fn binary_numbers() {
    let mut registers = registers();
    registers[..10].copy_from_slice(&[59, 0, 58, 0, 23, 0, 5, 31, 12, 99]);
    registers[usize::from(STATUS_B)] = HOURS_24 | BINARY;
    registers[usize::from(USUAL_CENTURY)] = 19;
    assert_eq!(read(&registers).unwrap().to_string(), "1999-12-31T23:58:59+00:00");
}

#[test]
fn twelve_hours_have_a_morning_and_an_afternoon() {
    for (binary, twelve, one, eleven) in [(0, 0x12, 0x01, 0x11), (BINARY, 12, 1, 11)] {
        for (register, hours) in
            [(twelve, 0), (one, 1), (eleven, 11), (twelve | 0x80, 12), (one | 0x80, 13), (eleven | 0x80, 23)]
        {
            let mut registers = registers();
            if binary != 0 {
                registers[..10].copy_from_slice(&[1, 0, 12, 0, 0, 0, 6, 20, 11, 26]);
                registers[usize::from(USUAL_CENTURY)] = 20;
            }
            registers[usize::from(STATUS_B)] = binary;
            registers[4] = register;
            assert_eq!(read(&registers).unwrap().hours, hours, "{register:#x}");
        }
    }
}

#[test]
fn the_century_may_be_elsewhere_or_nowhere() {
    let mut registers = registers();
    registers[usize::from(USUAL_CENTURY)] = 0xFF;
    assert_eq!(read(&registers).unwrap().years, 2026);
    registers[9] = 0x85;
    assert_eq!(read(&registers).unwrap().years, 1985);
    registers[0x37] = 0x21;
    let elsewhere = read_with(|index| registers[usize::from(index)], Some(0x37));
    assert_eq!(elsewhere.unwrap().years, 2185);
}

#[test]
fn an_update_is_waited_for() {
    let registers = registers();
    let updating = Cell::new(5);
    let time = read_with(
        |index| {
            if index == STATUS_A && updating.get() > 0 {
                updating.set(updating.get() - 1);
                return UPDATE_IN_PROGRESS;
            }
            assert!(updating.get() == 0, "read during an update");
            registers[usize::from(index)]
        },
        None,
    );
    assert_eq!(time.unwrap().seconds, 1);
}

#[test]
fn a_change_between_two_registers_is_noticed() {
    // The clock goes from 09:59:59 to 10:00:00 after its seconds were read for the first time.
    let readings = Cell::new(0);
    let time = read_with(
        |index| {
            let mut registers = registers();
            readings.set(readings.get() + 1);
            if readings.get() <= 2 {
                registers[..5].copy_from_slice(&[0x59, 0, 0x59, 0, 0x09]);
            } else {
                registers[..5].copy_from_slice(&[0x00, 0, 0x00, 0, 0x10]);
            }
            registers[usize::from(index)]
        },
        None,
    )
    .unwrap();
    assert_eq!((time.hours, time.minutes, time.seconds), (10, 0, 0));
}

#[test]
fn no_chip_and_an_empty_battery_are_errors() {
    assert_eq!(read_with(|_| 0xFF, None), Err(RtcError::NotPresent));
    let mut registers = registers();
    registers[8] = 0;
    let error = read(&registers).unwrap_err();
    assert!(matches!(error, RtcError::Invalid(RtcTime { months: 0, .. })));
    assert!(error.to_string().contains("2026-00-20"), "{error}");
}
