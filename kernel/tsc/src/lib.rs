//! The processor's time stamp counter, calibrated, as a clock.
//!
//! It is the cheapest clock there is (one instruction), and the finest. How fast it counts is found out, in this order:
//! 1. CPUID says so: leaf 0x15 on recent processors, leaf 0x4000_0010 under some hypervisors.
//! 2. It is measured for five milliseconds by the best clock that is registered, the HPET or the power management timer.
//! 3. It is measured by the PIT, which every PC has.
//!
//! # When it is the kernel's clock
//! If it is *invariant* (counts at the same speed whatever the processor does: all since about 2008 say so), or if a
//! hypervisor provides it, which is then answerable for that. Otherwise a clock registered before stays, if there is one.
#![cfg_attr(not(test), no_std)]

use core::arch::x86_64::{__cpuid, _rdtsc};
use core::fmt;
use spin::Once;
use time::{ClockSource, Duration, EarlySleeper, Instant, Monotonic, Period, TickScale};

mod calibrate;
mod pit;

/// How the frequency was found out.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum FrequencySource {
    /// The processor says so (CPUID leaf 0x15).
    Processor,
    /// The hypervisor says so (CPUID leaf 0x4000_0010).
    Hypervisor,
    /// It was measured by the clock that was the current one.
    Clock,
    /// It was measured by the PIT.
    Pit,
}

/// Why the counter cannot be used as a clock.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum TscError {
    /// The processor has none.
    NotPresent,
    /// Nothing is there to measure it by.
    NoReference,
    /// The measured frequency is impossible: the reference or the counter is broken.
    Implausible(u64),
}

impl fmt::Display for TscError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TscError::NotPresent => {
                f.write_str("the processor has no time stamp counter: another clock is used")
            }
            TscError::NoReference => {
                f.write_str("no HPET, power management timer or PIT to measure the time stamp counter by")
            }
            TscError::Implausible(hertz) => {
                write!(f, "the time stamp counter seems to run at {hertz} Hz: another clock is used")
            }
        }
    }
}

impl core::error::Error for TscError {}

struct State {
    hertz: u64,
    scale: TickScale,
    /// What the counter showed at [`init`]. Counting from there keeps the first instants small.
    start: u64,
}

static STATE: Once<State> = Once::new();

/// Frequencies that a time stamp counter can have: the slowest processors that had one, and more than the fastest.
const PLAUSIBLE: core::ops::RangeInclusive<u64> = 1_000_000..=100_000_000_000;

/// What the counter shows.
#[inline]
pub fn tsc_value() -> u64 {
    // SAFETY: every 64-bit processor has the instruction, and the kernel runs where it is allowed.
    unsafe { _rdtsc() }
}

/// The time between two ticks of the counter, once [`init`] has found it out.
pub fn get_tsc_period() -> Option<Period> {
    STATE.get().map(|state| Period::from_hertz(state.hertz))
}

/// Ticks of the counter per second, once [`init`] has found it out.
pub fn frequency() -> Option<u64> {
    STATE.get().map(|state| state.hertz)
}

/// How long it takes the counter to count `ticks`; zero before [`init`] has found that out.
pub fn duration_of(ticks: u64) -> Duration {
    STATE.get().map_or(Duration::ZERO, |state| Duration::from_nanos(state.scale.to_nanos(ticks)))
}

/// Finds out how fast the counter counts and registers it as a clock. Takes some 5 ms. The clocks that it may be
/// measured by are registered before.
///
/// # Errors
/// The frequency cannot be found out. Whatever clock was registered before remains.
pub fn init() -> Result<Period, TscError> {
    if !calibrate::is_present() {
        return Err(TscError::NotPresent);
    }
    let (hertz, source) = calibrate::frequency()?;
    let scale = TickScale::from_hertz(hertz).filter(|_| PLAUSIBLE.contains(&hertz));
    let scale = scale.ok_or(TscError::Implausible(hertz))?;
    let state = STATE.call_once(|| State { hertz, scale, start: tsc_value() });
    let period = Period::from_hertz(state.hertz);
    let trusted = calibrate::is_invariant() || calibrate::is_virtual() || !time::is_running();
    log::info!("time stamp counter: {hertz} Hz ({source:?}), {}", if trusted { "used" } else { "not used" });
    if trusted {
        time::register_clock_source::<Tsc>(period);
        time::register_early_sleeper::<Tsc>(period);
    }
    Ok(period)
}

/// The time stamp counter. Shows [`Instant::ZERO`] until [`init`] has succeeded.
pub struct Tsc;

impl ClockSource for Tsc {
    type ClockType = Monotonic;

    #[inline]
    fn now() -> Instant {
        let Some(state) = STATE.get() else { return Instant::ZERO };
        // Another CPU's counter may lag behind by a few ticks.
        Instant::from_nanos(state.scale.to_nanos(tsc_value().saturating_sub(state.start)))
    }
}

impl EarlySleeper for Tsc {}

fn cpuid(leaf: u32) -> core::arch::x86_64::CpuidResult {
    // Newer compilers know that CPUID is always there on this architecture.
    #[allow(unused_unsafe, reason = "whether the intrinsic is unsafe depends on the compiler's version")]
    // SAFETY: every 64-bit processor has the instruction.
    unsafe {
        __cpuid(leaf)
    }
}
