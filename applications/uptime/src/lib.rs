//! `uptime`: prints how long the system has been running.
//!
//! How a time looks can be tested anywhere; printing it needs the kernel.
#![cfg_attr(target_os = "theseus", no_std)]

extern crate alloc;

#[cfg(any(target_os = "theseus", test))]
use alloc::{format, string::String};
#[cfg(target_os = "theseus")]
use app_io::{eprintln, println};

/// Prints how long the system has been running. 0, or 2 if there are arguments.
#[cfg(target_os = "theseus")]
pub fn main(args: alloc::vec::Vec<String>) -> isize {
    if let Some(argument) = args.first() {
        eprintln!("uptime: unknown argument {argument}; usage: uptime");
        return 2;
    }
    println!("{}", render(time::Instant::now().as_nanos() / 1_000_000_000));
    0
}

/// `up 0:01:05`, or with days if there are any: `up 3 days, 4:00:59`.
#[cfg(any(target_os = "theseus", test))]
fn render(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    let time = format!("{hours}:{minutes:02}:{:02}", seconds % 60);
    match days {
        0 => format!("up {time}"),
        1 => format!("up 1 day, {time}"),
        _ => format!("up {days} days, {time}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_to_days() {
        assert_eq!(render(0), "up 0:00:00");
        assert_eq!(render(65), "up 0:01:05");
        assert_eq!(render(86_399), "up 23:59:59");
        assert_eq!(render(86_400), "up 1 day, 0:00:00");
        assert_eq!(render(3 * 86_400 + 4 * 3_600 + 59), "up 3 days, 4:00:59");
    }
}
