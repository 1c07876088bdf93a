//! `shutdown [-r]`: switches the machine off, or restarts it. At once: whatever runs is ended by that.
#![no_std]

extern crate alloc;

use alloc::string::String;
use alloc::vec::Vec;
use app_io::eprintln;

/// Switches the machine off, or with `-r` restarts it. Returns only 2, if the arguments are wrong.
pub fn main(args: Vec<String>) -> isize {
    let mut restart = false;
    for argument in &args {
        match argument.as_str() {
            // What is customary elsewhere means the same here.
            "-h" | "-P" | "now" => {}
            "-r" => restart = true,
            other => {
                eprintln!("shutdown: unknown argument {other}; usage: shutdown [-r]");
                return 2;
            }
        }
    }
    if restart { power::reboot() } else { power::shutdown() }
}
