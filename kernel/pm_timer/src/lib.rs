//! The ACPI power management timer as a clock.
//!
//! Every PC since 1999 has it, its frequency is the same everywhere, and it is never switched off: good to measure
//! other clocks by. Reading it is slow (an I/O port, a microsecond or more), and it wraps around after 4.7 seconds
//! where it has only 24 bits.
//!
//! # Invariant
//! While it is the kernel's clock it must be read every two seconds, so that no wrap is missed. The timer interrupt
//! does, since it reads the clock on each tick.
#![cfg_attr(not(test), no_std)]

use acpi::RegisterSpace;
use core::fmt;
use spin::Once;
use time::{ClockSource, EarlySleeper, Instant, Monotonic, Period, TickScale, WrappingCounter};
use x86_64::instructions::port::Port;

/// Ticks per second (ACPI specification 4.8.3.3).
pub const FREQUENCY: u64 = 3_579_545;

/// Why the timer cannot be used.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum PmTimerError {
    /// The ACPI tables name no such timer, or could not be read.
    NotPresent,
    /// Its register is not at an I/O port.
    NotAnIoPort,
    /// It does not advance.
    Stopped,
}

impl fmt::Display for PmTimerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PmTimerError::NotPresent => {
                "the ACPI tables name no power management timer: another clock is used"
            }
            PmTimerError::NotAnIoPort => {
                "the power management timer is not at an I/O port: another clock is used"
            }
            PmTimerError::Stopped => "the power management timer does not advance: another clock is used",
        })
    }
}

impl core::error::Error for PmTimerError {}

struct State {
    port: u16,
    counter: WrappingCounter,
}

static STATE: Once<State> = Once::new();
static SCALE: TickScale = TickScale::from_hertz(FREQUENCY).unwrap();

/// Finds the timer by the ACPI tables and registers it as a clock. `acpi::init` comes before.
///
/// # Errors
/// There is no timer that can be used.
pub fn init() -> Result<(), PmTimerError> {
    let fadt = acpi::info().and_then(|info| info.fadt).ok_or(PmTimerError::NotPresent)?;
    let register = fadt.pm_timer.ok_or(PmTimerError::NotPresent)?;
    let port = match (register.space, u16::try_from(register.address)) {
        (RegisterSpace::Io, Ok(port)) => port,
        _ => return Err(PmTimerError::NotAnIoPort),
    };
    let bits = if fadt.pm_timer_is_32_bit { 32 } else { 24 };
    let first = read_port(port);
    // Reading the port takes longer than a tick of 279 ns; a thousand readings take a millisecond and more.
    if (0..1000).all(|_| read_port(port) == first) {
        return Err(PmTimerError::Stopped);
    }
    STATE.call_once(|| State { port, counter: WrappingCounter::new(bits, u64::from(first)) });
    time::register_clock_source::<PmTimer>(Period::from_hertz(FREQUENCY));
    time::register_early_sleeper::<PmTimer>(Period::from_hertz(FREQUENCY));
    Ok(())
}

fn read_port(port: u16) -> u32 {
    // SAFETY: the ACPI tables say that this is the timer's port. Reading it changes nothing.
    unsafe { Port::new(port).read() }
}

/// The power management timer. Shows [`Instant::ZERO`] until [`init`] has succeeded.
pub struct PmTimer;

impl ClockSource for PmTimer {
    type ClockType = Monotonic;

    fn now() -> Instant {
        let Some(state) = STATE.get() else { return Instant::ZERO };
        Instant::from_nanos(SCALE.to_nanos(state.counter.extend(u64::from(read_port(state.port)))))
    }
}

impl EarlySleeper for PmTimer {}
