//! Tests of instants, scales, counters, dates and the registry of clocks.

use super::calendar::DateTime;
use super::*;

#[test]
fn instants_add_subtract_and_saturate() {
    let start = Instant::new(1_000);
    assert_eq!(start + Duration::from_nanos(5), Instant::new(1_005));
    assert_eq!((start + Duration::from_secs(1)) - start, Duration::from_secs(1));
    assert_eq!(start - Duration::from_secs(1), Instant::ZERO);
    assert_eq!(Instant::ZERO - start, Duration::ZERO);
    assert_eq!(Instant::ZERO.checked_duration_since(start), None);
    assert_eq!(start.checked_duration_since(Instant::ZERO), Some(Duration::from_nanos(1_000)));
    assert_eq!(start + Duration::MAX, Instant::MAX);
}

#[test]
fn scales_convert_exactly_enough() {
    let pm_timer = TickScale::from_hertz(3_579_545).unwrap();
    // One tick is 279.365 ns; an hour of them may be off by a microsecond.
    assert_eq!(pm_timer.to_nanos(1), 279);
    let hour = pm_timer.to_nanos(3_579_545 * 3_600);
    assert!(hour.abs_diff(3_600_000_000_000) < 1_000, "{hour}");
    let tsc = TickScale::from_hertz(2_600_000_000).unwrap();
    let day = tsc.to_nanos(2_600_000_000 * 86_400);
    assert!(day.abs_diff(86_400_000_000_000) < 100_000, "{day}");
    let hpet = TickScale::from_femtoseconds(10_000_000).unwrap();
    assert_eq!(hpet.to_nanos(7), 70);
    assert_eq!(TickScale::from_hertz(0), None);
    assert_eq!(TickScale::from_femtoseconds(0), None);
}

#[test]
fn period_and_hertz() {
    assert_eq!(u64::from(Period::from_hertz(1_000_000_000)), 1_000_000);
    assert!(Period::from_hertz(3_579_545) > Period::from_hertz(2_600_000_000));
}

#[test]
fn a_24_bit_counter_goes_on_when_it_wraps() {
    let counter = WrappingCounter::new(24, 0xFF_FFF0);
    assert_eq!(counter.extend(0xFF_FFFF), 0xFF_FFFF);
    assert_eq!(counter.extend(0x00_0004), 0x100_0004);
    assert_eq!(counter.extend(0x7F_0000), 0x17F_0000);
    assert_eq!(counter.extend(0xFE_0000), 0x1FE_0000);
    assert_eq!(counter.extend(0x01_0000), 0x201_0000);
}

#[test]
fn a_counter_read_late_does_not_go_back() {
    let counter = WrappingCounter::new(24, 100);
    assert_eq!(counter.extend(200), 200);
    // Another CPU read 150 before, but comes to record it only now.
    assert_eq!(counter.extend(150), 200);
    assert_eq!(counter.extend(201), 201);
}

#[test]
fn counters_of_32_and_64_bits() {
    let counter = WrappingCounter::new(32, 0xFFFF_FFFF);
    assert_eq!(counter.extend(1), 0x1_0000_0001);
    let counter = WrappingCounter::new(64, 5);
    assert_eq!(counter.extend(u64::MAX / 2), u64::MAX / 2);
}

#[test]
fn many_readers_of_a_wrapping_counter_see_it_grow() {
    // The threads are never half a round apart, however long one of them is off its CPU.
    static HARDWARE: AtomicU64 = AtomicU64::new(0xFF_0000);
    static COUNTER: WrappingCounter = WrappingCounter::new(24, 0xFF_0000);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut last = 0;
                for _ in 0..100_000 {
                    let raw = HARDWARE.fetch_add(1, Ordering::Relaxed) & 0xFF_FFFF;
                    let now = COUNTER.extend(raw);
                    assert!(now >= last);
                    last = now;
                }
            });
        }
    });
    assert_eq!(COUNTER.extend(HARDWARE.load(Ordering::Relaxed) & 0xFF_FFFF), 0xFF_0000 + 300_000);
}

/// Dates checked against `date -u -d @SECONDS` of GNU coreutils.
const DATES: [(i64, &str, &str); 9] = [
    (0, "1970-01-01T00:00:00+00:00", "Thu"),
    (-1, "1969-12-31T23:59:59+00:00", "Wed"),
    (951_782_399, "2000-02-28T23:59:59+00:00", "Mon"),
    (951_782_400, "2000-02-29T00:00:00+00:00", "Tue"),
    (951_868_800, "2000-03-01T00:00:00+00:00", "Wed"),
    (1_795_166_321, "2026-11-20T09:18:41+00:00", "Fri"),
    (4_107_542_400, "2100-03-01T00:00:00+00:00", "Mon"),
    (-2_208_988_800, "1900-01-01T00:00:00+00:00", "Mon"),
    (253_402_300_799, "9999-12-31T23:59:59+00:00", "Fri"),
];

#[test]
fn known_dates() {
    for (seconds, text, weekday) in DATES {
        let date = DateTime::from_unix(seconds);
        assert_eq!(date.to_string(), text);
        assert_eq!(date.weekday_name(), weekday, "{text}");
        assert_eq!(date.to_unix(), seconds);
        assert!(date.is_valid());
    }
}

#[test]
fn every_day_of_eight_centuries_follows_the_day_before() {
    let mut yesterday = DateTime::from_unix(-5_000 * 86_400);
    for day in -4_999..287_200 {
        let today = DateTime::from_unix(day * 86_400);
        assert_eq!(today.to_unix(), day * 86_400);
        assert!(today.is_valid(), "{today}");
        assert_eq!(today.weekday(), (yesterday.weekday() + 1) % 7);
        let same_month = today.month == yesterday.month && today.day == yesterday.day + 1;
        let next_month = today.day == 1
            && (today.year * 12 + i64::from(today.month))
                == (yesterday.year * 12 + i64::from(yesterday.month) + 1);
        assert!(same_month || next_month, "{yesterday} is followed by {today}");
        let impossible = DateTime { day: yesterday.day + 1, ..yesterday };
        assert_eq!(impossible.is_valid(), same_month, "{impossible}");
        yesterday = today;
    }
}

#[test]
fn impossible_dates_are_invalid() {
    let good = DateTime { year: 2024, month: 2, day: 29, hour: 23, minute: 59, second: 59 };
    assert!(good.is_valid());
    assert!(!DateTime { year: 2023, ..good }.is_valid());
    assert!(!DateTime { month: 13, ..good }.is_valid());
    assert!(!DateTime { month: 0, ..good }.is_valid());
    assert!(!DateTime { day: 0, ..good }.is_valid());
    assert!(!DateTime { hour: 24, ..good }.is_valid());
    assert!(!DateTime { minute: 60, ..good }.is_valid());
    assert!(!DateTime { second: 60, ..good }.is_valid());
}

static COARSE: AtomicU64 = AtomicU64::new(500);
static FINE: AtomicU64 = AtomicU64::new(9_000_000);

struct Coarse;

impl ClockSource for Coarse {
    type ClockType = Monotonic;

    fn now() -> Instant {
        Instant::new(COARSE.load(Ordering::Relaxed))
    }
}

struct Fine;

impl ClockSource for Fine {
    type ClockType = Monotonic;

    fn now() -> Instant {
        Instant::new(FINE.fetch_add(1, Ordering::Relaxed))
    }
}

impl EarlySleeper for Fine {}

struct Calendar;

impl ClockSource for Calendar {
    type ClockType = WallTime;

    fn now() -> Duration {
        Duration::from_secs(1_795_166_321)
    }
}

/// One test for all of the registry: it is global.
#[test]
fn a_better_clock_continues_where_the_other_one_was() {
    assert_eq!(now::<Monotonic>(), Instant::ZERO);
    assert_eq!(now::<WallTime>(), Duration::ZERO);
    assert!(!is_running());
    assert!(register_clock_source::<Coarse>(Period::new(1_000_000)));
    assert!(is_running());
    let start = Instant::now();
    COARSE.fetch_add(2_000, Ordering::Relaxed);
    assert_eq!(start.elapsed(), Duration::from_nanos(2_000));
    // A counter that goes backwards is not believed.
    COARSE.fetch_sub(1_000, Ordering::Relaxed);
    assert_eq!(start.elapsed(), Duration::from_nanos(2_000));

    assert!(!register_clock_source::<Fine>(Period::new(2_000_000)), "it is worse");
    assert_eq!(start.elapsed(), Duration::from_nanos(2_000));
    assert!(register_clock_source::<Fine>(Period::new(1_000)));
    let elapsed = start.elapsed();
    assert!((2_000..2_010).contains(&elapsed.as_nanos()), "{elapsed:?}");

    assert!(register_early_sleeper::<Fine>(Period::new(1_000)));
    assert!(!register_early_sleeper::<Fine>(Period::new(1_000)));
    let before = FINE.load(Ordering::Relaxed);
    early_sleep(Duration::from_nanos(100));
    assert!(FINE.load(Ordering::Relaxed) >= before + 100);

    assert!(register_clock_source::<Calendar>(Period::new(u64::MAX)));
    assert_eq!(now::<WallTime>(), Duration::from_secs(1_795_166_321));
}
