//! Sleep, clocks, and what ACPI says about them.

use crate::{FOREVER, compute, finish, start, yield_until};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use hpet::Hpet;
use pm_timer::PmTimer;
use sleep::{sleep, sleep_until};
use sync_irq::IrqSafeMutex;
use time::calendar::DateTime;
use time::{ClockSource, Duration, Instant, Monotonic, WallTime};

pub fn sleep_is_never_too_short() {
    for microseconds in [0, 1, 500, 1_000, 1_500, 10_000, 50_000] {
        let duration = Duration::from_micros(microseconds);
        let begin = Instant::now();
        sleep(duration).expect("it can sleep");
        let slept = begin.elapsed();
        assert!(slept >= duration, "{slept:?} instead of {duration:?}");
        assert!(slept < duration + FOREVER, "{slept:?} instead of {duration:?}");
    }
    sleep_until(Instant::ZERO).expect("the past needs no sleep");
}

/// While one task sleeps, another one gets the CPU.
pub fn sleepers_do_not_use_the_cpu() {
    let count = Arc::new(AtomicU32::new(0));
    let stop = Arc::new(AtomicBool::new(false));
    let worker = {
        let (count, stop) = (count.clone(), stop.clone());
        start(move || {
            while !stop.load(Ordering::Relaxed) {
                compute(100);
                count.fetch_add(1, Ordering::Relaxed);
            }
        })
    };
    let before = count.load(Ordering::Relaxed);
    sleep(Duration::from_millis(30)).expect("it can sleep");
    let after = count.load(Ordering::Relaxed);
    stop.store(true, Ordering::Relaxed);
    finish::<()>(worker);
    assert!(after > before, "the other task did not run");
}

pub fn sleepers_wake_in_order() {
    // An emulator that is itself not run for a while lets several deadlines pass before a task does anything: then the tasks
    // may be late to sleep, or preempted before they write down that they woke. So it may take more than one attempt.
    const ATTEMPTS: u32 = 5;
    let attempts: Vec<Vec<u32>> =
        (1..=ATTEMPTS).map(wake_in_order).take_while(|order| *order != [0, 1, 2, 3, 4]).collect();
    assert!(attempts.len() < ATTEMPTS as usize, "woken in the orders {attempts:?}");
}

/// Lets five tasks sleep, all of them before the first deadline, and returns in which order they woke.
fn wake_in_order(patience: u32) -> Vec<u32> {
    let order = Arc::new(IrqSafeMutex::new(Vec::with_capacity(5)));
    let step = Duration::from_millis(20) * patience;
    let base = Instant::now() + 2 * step;
    let tasks: Vec<_> = [3u32, 1, 4, 2, 0]
        .into_iter()
        .map(|number| {
            let order = order.clone();
            start(move || {
                sleep_until(base + step * number).expect("it can sleep");
                assert!(Instant::now() >= base + step * number, "sleeper {number} woke early");
                order.lock().push(number);
            })
        })
        .collect();
    tasks.into_iter().for_each(finish::<()>);
    let order = order.lock();
    order.clone()
}

pub fn many_sleepers() {
    let tasks: Vec<_> = (0..20u64)
        .map(|number| {
            start(move || {
                for round in 0..10 {
                    let deadline = Instant::now() + Duration::from_micros(number * 311 % 3_000 + round * 77);
                    sleep_until(deadline).expect("it can sleep");
                    assert!(Instant::now() >= deadline);
                }
            })
        })
        .collect();
    tasks.into_iter().for_each(finish::<()>);
}

/// Whatever one task has seen, no task sees anything earlier afterwards.
pub fn monotonic_clock_never_goes_back() {
    let latest = Arc::new(AtomicU64::new(0));
    let tasks: Vec<_> = (0..4)
        .map(|_| {
            let latest = latest.clone();
            start(move || {
                for _ in 0..50_000 {
                    let before = latest.load(Ordering::Acquire);
                    let now = Instant::now().as_nanos();
                    assert!(now >= before, "{now} after {before}");
                    latest.fetch_max(now, Ordering::AcqRel);
                }
            })
        })
        .collect();
    tasks.into_iter().for_each(finish::<()>);
    let begin = Instant::now();
    compute(1_000_000);
    assert!(Instant::now() > begin, "the clock stands still");
}

/// The kernel's clock and other ones pass the same time.
pub fn clocks_agree() {
    assert!(tsc::frequency().is_some_and(|hertz| (1_000_000..100_000_000_000).contains(&hertz)));
    let info = acpi::info().expect("the machine has ACPI tables");
    assert!(info.fadt.is_some_and(|fadt| fadt.pm_timer.is_some()), "it has a power management timer");
    // Nobody has read this timer for long, so that it may take half a round to find its way.
    let before = PmTimer::now();
    yield_until("the power management timer advances", || PmTimer::now() > before);
    agrees_with::<PmTimer>();
    if info.hpet.is_some() {
        agrees_with::<Hpet>();
    }
}

/// Passes a tenth of a second and compares how long it was by `C`.
fn agrees_with<C: ClockSource<ClockType = Monotonic>>() {
    let read = || {
        let before = Instant::now();
        let other = C::now();
        (before, other, Instant::now())
    };
    let first = read();
    sleep(Duration::from_millis(100)).expect("it can sleep");
    let last = read();
    let other = last.1 - first.1;
    // Each reading lies between two of the kernel's clock, however long they took.
    let (shortest, longest) = (last.0 - first.2, last.2 - first.0);
    let tolerance = longest / 200;
    assert!(
        (shortest.saturating_sub(tolerance)..=longest + tolerance).contains(&other),
        "{other:?} by {}, {shortest:?} to {longest:?} by the kernel",
        core::any::type_name::<C>()
    );
}

pub fn wall_clock_is_plausible() {
    let first = time::now::<WallTime>();
    let date = DateTime::from_unix(first.as_secs() as i64);
    assert!((2024..2100).contains(&date.year), "it is {date}");
    let hardware = rtc::read_rtc().expect("there is a real time clock").date_time();
    let difference = hardware.to_unix().abs_diff(time::now::<WallTime>().as_secs() as i64);
    assert!(difference <= 60, "the hardware says {hardware}, the kernel {date}");
    sleep(Duration::from_millis(5)).expect("it can sleep");
    let second = time::now::<WallTime>();
    assert!(second >= first + Duration::from_millis(5));
}

pub fn acpi_knows_the_machine() {
    let info = acpi::info().expect("the machine has ACPI tables");
    let madt = info.madt.as_ref().expect("it has a MADT");
    assert!(madt.processors.iter().any(|processor| processor.enabled));
    assert!(!madt.io_apics.is_empty());
    assert_ne!(madt.local_apic_address, 0);
    let fadt = info.fadt.expect("it has a FADT");
    assert!(fadt.pm1a_control.is_some());
    assert!(info.s5.is_some_and(|sleep_type| sleep_type.a < 8));
}
