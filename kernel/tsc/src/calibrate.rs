//! Finding out how fast the counter counts.

use crate::{FrequencySource, TscError, cpuid, pit, tsc_value};
use core::arch::x86_64::CpuidResult;
use time::{Duration, Instant};

/// How long the counter is measured. A reading of the reference takes about a microsecond, which is then less than a thousandth, and the shortest of several readings are taken.
const MEASURED: Duration = Duration::from_millis(5);
/// So many readings of a clock, of a tenth of a microsecond and more each, take twenty times as long as is measured.
const MAX_READINGS: usize = 1_000_000;

/// The first of the leaves that hypervisors answer. Its EAX is the last of them.
const HYPERVISOR_LEAVES: u32 = 0x4000_0000;
/// The hypervisor's leaf whose EAX is the counter's frequency in kHz.
const HYPERVISOR_TIMING: u32 = 0x4000_0010;

/// Whether the processor has a time stamp counter.
pub fn is_present() -> bool {
    cpuid(1).edx & (1 << 4) != 0
}

/// Whether a hypervisor says that it is there.
pub fn is_virtual() -> bool {
    cpuid(1).ecx & (1 << 31) != 0
}

/// Whether the counter counts at the same speed in all power states.
pub fn is_invariant() -> bool {
    cpuid(0x8000_0000).eax >= 0x8000_0007 && cpuid(0x8000_0007).edx & (1 << 8) != 0
}

/// The frequency in Hz, and how it was found out.
pub fn frequency() -> Result<(u64, FrequencySource), TscError> {
    if cpuid(0).eax >= 0x15
        && let Some(hertz) = crystal_frequency(cpuid(0x15))
    {
        return Ok((hertz, FrequencySource::Processor));
    }
    if is_virtual() && (HYPERVISOR_TIMING..HYPERVISOR_LEAVES + 0x100).contains(&cpuid(HYPERVISOR_LEAVES).eax)
    {
        let kilohertz = u64::from(cpuid(HYPERVISOR_TIMING).eax);
        if kilohertz != 0 {
            return Ok((kilohertz * 1000, FrequencySource::Hypervisor));
        }
    }
    if time::is_running()
        && let Some(hertz) = measure(Instant::now, MAX_READINGS)
    {
        return Ok((hertz, FrequencySource::Clock));
    }
    pit::measure().map(|hertz| (hertz, FrequencySource::Pit)).ok_or(TscError::NoReference)
}

/// Leaf 0x15: ECX is the frequency of a crystal in Hz, EBX/EAX the counter's ratio to it. Any of them is 0 if unknown.
fn crystal_frequency(leaf: CpuidResult) -> Option<u64> {
    let (denominator, numerator, crystal) = (leaf.eax, leaf.ebx, leaf.ecx);
    if denominator == 0 || numerator == 0 || crystal == 0 {
        return None;
    }
    Some(u64::from(crystal) * u64::from(numerator) / u64::from(denominator))
}

/// Reads the reference between two readings of the counter, several times, and returns the reading that took least: an
/// interruption by a hypervisor or the firmware in between would count as time of one clock and not of the other. The first
/// readings take long anyway, until caches (and an emulator's translations) are warm.
fn simultaneously(reference: impl Fn() -> Instant) -> (u64, Instant) {
    let readings = core::array::from_fn::<_, 32, _>(|_| {
        let before = tsc_value();
        let instant = reference();
        let after = tsc_value();
        (after.wrapping_sub(before), before.wrapping_add(after.wrapping_sub(before) / 2), instant)
    });
    let (_, counter, instant) = readings.into_iter().min_by_key(|reading| reading.0).unwrap_or(readings[0]);
    (counter, instant)
}

/// Measures the counter by a clock. `None` if the clock does not advance enough within `max_readings`: it stands still.
pub fn measure(reference: impl Fn() -> Instant, max_readings: usize) -> Option<u64> {
    let (first_counter, first_instant) = simultaneously(&reference);
    let mut readings = 0;
    while reference().duration_since(first_instant) < MEASURED {
        readings += 1;
        if readings > max_readings {
            return None;
        }
    }
    let (last_counter, last_instant) = simultaneously(&reference);
    let nanoseconds = last_instant.duration_since(first_instant).as_nanos();
    let ticks = u128::from(last_counter.wrapping_sub(first_counter));
    u64::try_from(ticks * 1_000_000_000 / nanoseconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(eax: u32, ebx: u32, ecx: u32) -> CpuidResult {
        CpuidResult { eax, ebx, ecx, edx: 0 }
    }

    #[test]
    fn the_crystals_frequency_times_the_ratio() {
        assert_eq!(crystal_frequency(leaf(2, 216, 24_000_000)), Some(2_592_000_000));
        assert_eq!(crystal_frequency(leaf(2, 216, 0)), None);
        assert_eq!(crystal_frequency(leaf(0, 216, 24_000_000)), None);
        assert_eq!(crystal_frequency(leaf(2, 0, 24_000_000)), None);
        assert_eq!(crystal_frequency(leaf(1, u32::MAX, u32::MAX)), Some(u64::from(u32::MAX).pow(2)));
    }

    #[test]
    fn two_measurements_agree_with_each_other() {
        let start = std::time::Instant::now();
        let clock = || Instant::from_nanos(start.elapsed().as_nanos() as u64);
        let first = measure(clock, MAX_READINGS).expect("the host's clock runs");
        let second = measure(clock, MAX_READINGS).expect("the host's clock runs");
        assert!(crate::PLAUSIBLE.contains(&first), "{first}");
        assert!(first.abs_diff(second) < first / 50, "{first} and {second}");
    }

    #[test]
    fn a_clock_that_stands_still_measures_nothing() {
        assert_eq!(measure(|| Instant::ZERO, 1_000), None);
    }

    #[test]
    fn a_clock_of_known_speed_gives_the_known_frequency() {
        // A clock that is made of the counter itself, at 1,000 ns for 3,000 ticks: 3 GHz.
        let start = tsc_value();
        let clock = || Instant::from_nanos((tsc_value() - start) / 3);
        let hertz = measure(clock, MAX_READINGS).expect("it advances");
        assert!(hertz.abs_diff(3_000_000_000) < 3_000_000, "{hertz}");
        assert!(clock().duration_since(Instant::ZERO) >= MEASURED);
    }
}
