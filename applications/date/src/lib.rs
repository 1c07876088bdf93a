//! `date [-u] [-I | -Iseconds | --iso-8601[=date|=seconds]]`: prints the date and time, in UTC.
//!
//! What the arguments mean and how dates look can be tested anywhere; printing needs the kernel.
#![cfg_attr(target_os = "theseus", no_std)]

extern crate alloc;

#[cfg(any(target_os = "theseus", test))]
mod format;

#[cfg(target_os = "theseus")]
use app_io::{eprintln, println};

/// Prints the date and time. 0, or 1 if it is not known, or 2 if the arguments are wrong.
#[cfg(target_os = "theseus")]
pub fn main(args: alloc::vec::Vec<alloc::string::String>) -> isize {
    let format = match format::parse(&args) {
        Ok(format) => format,
        Err(argument) => {
            eprintln!("date: unknown argument {argument}; usage: date [-u] [-I | --iso-8601=seconds]");
            return 2;
        }
    };
    let since_epoch = time::now::<time::WallTime>();
    if since_epoch.is_zero() {
        eprintln!("date: the date is not known: this machine has no working real time clock");
        return 1;
    }
    println!("{}", format::render(format, since_epoch.as_secs() as i64));
    0
}
