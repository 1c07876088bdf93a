//! The battery-backed real time clock (MC146818 and its descendants), and the wall time that starts from it.
//!
//! The clock is read once, at boot; from then on the wall time is that reading plus what the monotonic clock says has
//! passed. So it costs no access to slow registers, and does not jump. It is as exact as the real time clock, which
//! shows whole seconds.
//!
//! The clock is taken to run in UTC, as all Unix systems and QEMU's default have it.
#![cfg_attr(not(test), no_std)]

use core::fmt;
use irq_safety::hold_interrupts;
use spin::Once;
use time::calendar::DateTime;
use time::{ClockSource, Duration, Instant, Period, WallTime};
use x86_64::instructions::port::Port;

mod registers;

pub use registers::RtcTime;
use registers::{RawTime, STATUS_A, UPDATE_IN_PROGRESS};

/// Why there is no wall time.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum RtcError {
    /// The clock never stops saying that it is just being updated: there is none.
    NotPresent,
    /// What it shows is no date, for example because its battery is empty.
    Invalid(RtcTime),
}

impl fmt::Display for RtcError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RtcError::NotPresent => f.write_str("no real time clock answers: the date is unknown"),
            RtcError::Invalid(time) => {
                write!(
                    f,
                    "the real time clock shows {time}, which is no date: set it in the firmware's setup"
                )
            }
        }
    }
}

impl core::error::Error for RtcError {}

/// Selects a register of the clock; bit 7 masks the processor's NMI meanwhile.
const INDEX_PORT: u16 = 0x70;
/// Reads or writes the selected register.
const DATA_PORT: u16 = 0x71;
const MASK_NMI: u8 = 1 << 7;

fn read_register(index: u8) -> u8 {
    // The index must not be changed by somebody else before the data are read.
    let _interrupts = hold_interrupts();
    // SAFETY: these two ports belong to the clock's chip on every PC. Selecting a register and reading it changes nothing,
    // except for status register C, which is not read here. The NMI is unmasked again by the last write.
    unsafe {
        Port::new(INDEX_PORT).write(index | MASK_NMI);
        let value = Port::new(DATA_PORT).read();
        Port::<u8>::new(INDEX_PORT).write(0);
        value
    }
}

/// Reads the clock. Takes up to two milliseconds, while the clock is being updated.
///
/// # Errors
/// There is no clock, or it does not show a date.
pub fn read_rtc() -> Result<RtcTime, RtcError> {
    read_with(read_register, acpi::info().and_then(|info| info.fadt).and_then(|fadt| fadt.century_register))
}

fn read_with(read: impl Fn(u8) -> u8, century_register: Option<u8>) -> Result<RtcTime, RtcError> {
    /// An update takes two milliseconds; reading a register about a microsecond.
    const MAX_READINGS: usize = 100_000;
    let mut last = None;
    for _ in 0..MAX_READINGS {
        if read(STATUS_A) & UPDATE_IN_PROGRESS != 0 {
            continue;
        }
        // An update may begin between two registers, so only two equal readings in a row count.
        let raw = RawTime::read(&read, century_register);
        if last == Some(raw) {
            let time = raw.decode();
            return if time.date_time().is_valid() { Ok(time) } else { Err(RtcError::Invalid(time)) };
        }
        last = Some(raw);
    }
    Err(RtcError::NotPresent)
}

/// The wall time at a certain instant, from which others are reckoned.
struct Anchor {
    instant: Instant,
    since_epoch: Duration,
}

static ANCHOR: Once<Anchor> = Once::new();

/// Reads the clock and registers the wall time that starts from it. The monotonic clock comes before, and `acpi::init`, for
/// the century.
///
/// # Errors
/// As [`read_rtc`]. The wall time then stays unknown.
pub fn init() -> Result<(), RtcError> {
    let seconds = u64::try_from(read_rtc()?.date_time().to_unix()).unwrap_or(0);
    ANCHOR.call_once(|| Anchor { instant: Instant::now(), since_epoch: Duration::from_secs(seconds) });
    time::register_clock_source::<Rtc>(Period::from_hertz(1));
    Ok(())
}

/// The wall time. Shows no time since 1970 until [`init`] has succeeded.
pub struct Rtc;

impl ClockSource for Rtc {
    type ClockType = WallTime;

    fn now() -> Duration {
        ANCHOR.get().map_or(Duration::ZERO, |anchor| anchor.since_epoch + anchor.instant.elapsed())
    }
}

impl RtcTime {
    /// The same as a date of the calendar.
    pub fn date_time(&self) -> DateTime {
        DateTime {
            year: i64::from(self.years),
            month: self.months,
            day: self.days,
            hour: self.hours,
            minute: self.minutes,
            second: self.seconds,
        }
    }
}

impl fmt::Display for RtcTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.date_time().fmt(f)
    }
}

#[cfg(test)]
mod tests;
