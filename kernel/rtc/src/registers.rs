//! The clock's registers, and what their bits mean.

const SECONDS: u8 = 0x00;
const MINUTES: u8 = 0x02;
const HOURS: u8 = 0x04;
const DAY: u8 = 0x07;
const MONTH: u8 = 0x08;
const YEAR: u8 = 0x09;
/// Where most machines that do not say otherwise keep the century; others have something else there.
pub const USUAL_CENTURY: u8 = 0x32;
/// Status register A, whose bit 7 says that an update is in progress.
pub const STATUS_A: u8 = 0x0A;
pub const UPDATE_IN_PROGRESS: u8 = 1 << 7;
/// Status register B: how numbers are written.
pub const STATUS_B: u8 = 0x0B;
/// Numbers are binary, not binary-coded decimal.
pub const BINARY: u8 = 1 << 2;
/// Hours are 0 to 23, not 1 to 12 with bit 7 for the afternoon.
pub const HOURS_24: u8 = 1 << 1;
const AFTERNOON: u8 = 1 << 7;

/// What the clock shows.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct RtcTime {
    /// Seconds, 0 to 59.
    pub seconds: u8,
    /// Minutes, 0 to 59.
    pub minutes: u8,
    /// Hours, 0 to 23.
    pub hours: u8,
    /// Day of the month, from 1.
    pub days: u8,
    /// Month, 1 to 12.
    pub months: u8,
    /// Year, in full.
    pub years: u16,
}

/// The registers as they were read.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct RawTime {
    second: u8,
    minute: u8,
    hour: u8,
    day: u8,
    month: u8,
    year: u8,
    century: u8,
    status_b: u8,
}

impl RawTime {
    pub fn read(read: &impl Fn(u8) -> u8, century_register: Option<u8>) -> Self {
        RawTime {
            second: read(SECONDS),
            minute: read(MINUTES),
            hour: read(HOURS),
            day: read(DAY),
            month: read(MONTH),
            year: read(YEAR),
            century: read(century_register.unwrap_or(USUAL_CENTURY)),
            status_b: read(STATUS_B),
        }
    }

    pub fn decode(&self) -> RtcTime {
        let number = |register: u8| {
            if self.status_b & BINARY != 0 {
                register
            } else {
                // Two decimal digits. Digits above 9 give a number that is no valid time.
                (register >> 4).wrapping_mul(10).wrapping_add(register & 0xF)
            }
        };
        let hours = if self.status_b & HOURS_24 != 0 {
            number(self.hour)
        } else {
            // 12 o'clock comes before 1 o'clock, in the morning and in the afternoon.
            let hour = number(self.hour & !AFTERNOON) % 12;
            if self.hour & AFTERNOON != 0 { hour + 12 } else { hour }
        };
        let year = u16::from(number(self.year));
        let century = u16::from(number(self.century));
        let years = match century {
            19..=22 => century * 100 + year,
            // The register holds something else. The clocks' two digits began in the 1970s.
            _ if year >= 70 => 1900 + year,
            _ => 2000 + year,
        };
        RtcTime {
            seconds: number(self.second),
            minutes: number(self.minute),
            hours,
            days: number(self.day),
            months: number(self.month),
            years,
        }
    }
}
