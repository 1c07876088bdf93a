//! Dates of the Gregorian calendar, in UTC.
//!
//! As POSIX does, days have 86,400 seconds: leap seconds do not exist here.

use core::fmt;

/// Seconds in a day.
const SECONDS_PER_DAY: i64 = 86_400;
/// Days in 400 years, after which the calendar repeats itself.
const DAYS_PER_ERA: i64 = 146_097;
/// Days from 0000-03-01 to 1970-01-01.
const DAYS_TO_EPOCH: i64 = 719_468;

/// The days of the week, Sunday first, as `date` abbreviates them.
const WEEKDAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
/// The months, as `date` abbreviates them.
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// A second of the calendar, in UTC.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DateTime {
    /// The year; year 0 is 1 BC.
    pub year: i64,
    /// The month, 1 to 12.
    pub month: u8,
    /// The day of the month, from 1.
    pub day: u8,
    /// The hour, 0 to 23.
    pub hour: u8,
    /// The minute, 0 to 59.
    pub minute: u8,
    /// The second, 0 to 59.
    pub second: u8,
}

impl DateTime {
    /// The date and time that is `seconds` after 1970-01-01 00:00:00.
    pub const fn from_unix(seconds: i64) -> Self {
        let days = seconds.div_euclid(SECONDS_PER_DAY);
        let second_of_day = seconds.rem_euclid(SECONDS_PER_DAY);
        // Years are counted from March, so that the leap day is the last day of its year.
        let since_march = days + DAYS_TO_EPOCH;
        let era = since_march.div_euclid(DAYS_PER_ERA);
        let day_of_era = since_march.rem_euclid(DAYS_PER_ERA);
        // Without the leap days of years 4, 100 (none) and 400 every year has 365 days.
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        // From March on months have 31 30 31 30 31, 31 30 31 30 31, 31 … days: 153 for five.
        let month_from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        let year = year_of_era + era * 400 + if month <= 2 { 1 } else { 0 };
        DateTime {
            year,
            month: month as u8,
            day: day as u8,
            hour: (second_of_day / 3_600) as u8,
            minute: (second_of_day / 60 % 60) as u8,
            second: (second_of_day % 60) as u8,
        }
    }

    /// Seconds since 1970-01-01 00:00:00, negative before. The inverse of [`from_unix`](Self::from_unix).
    pub const fn to_unix(&self) -> i64 {
        let month = self.month as i64;
        let year = if month <= 2 { self.year - 1 } else { self.year };
        let era = year.div_euclid(400);
        let year_of_era = year.rem_euclid(400);
        let month_from_march = (month + 9) % 12;
        let day_of_year = (153 * month_from_march + 2) / 5 + self.day as i64 - 1;
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        let days = era * DAYS_PER_ERA + day_of_era - DAYS_TO_EPOCH;
        days * SECONDS_PER_DAY + self.hour as i64 * 3_600 + self.minute as i64 * 60 + self.second as i64
    }

    /// Whether month, day, hour, minute and second are within their ranges and the month has that day.
    pub const fn is_valid(&self) -> bool {
        self.month >= 1
            && self.month <= 12
            && self.day >= 1
            && self.day <= days_in_month(self.year, self.month)
            && self.hour < 24
            && self.minute < 60
            && self.second < 60
    }

    /// The day of the week: 0 is Sunday.
    pub const fn weekday(&self) -> u8 {
        // 1970-01-01 was a Thursday.
        (self.to_unix().div_euclid(SECONDS_PER_DAY) + 4).rem_euclid(7) as u8
    }

    /// The day of the week in three letters.
    pub const fn weekday_name(&self) -> &'static str {
        WEEKDAYS[self.weekday() as usize]
    }

    /// The month in three letters.
    ///
    /// # Panics
    /// If the month is not 1 to 12.
    pub const fn month_name(&self) -> &'static str {
        MONTHS[self.month as usize - 1]
    }
}

const fn days_in_month(year: i64, month: u8) -> u8 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

impl fmt::Display for DateTime {
    /// Formats as ISO 8601 to the second: `2026-11-20T09:12:01+00:00`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let DateTime { year, month, day, hour, minute, second } = self;
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}+00:00")
    }
}
