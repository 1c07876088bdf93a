//! Brings up everything that is not needed to load crates, and starts the console.
#![no_std]

extern crate alloc;

use alloc::string::String;
use core::convert::Infallible;

/// Brings the system up. Returns only the reason why it cannot.
#[inline(never)]
pub fn init() -> Result<Infallible, String> {
    log::info!("captain is here");
    Err(String::from("there is nothing more"))
}
