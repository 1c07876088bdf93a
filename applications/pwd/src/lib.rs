//! `pwd` prints the path of the working directory.
#![no_std]

extern crate alloc;

use alloc::string::String;
use alloc::vec::Vec;
use app_io::{eprintln, println};

/// Runs the program; returns its status.
#[inline(never)]
pub fn main(args: Vec<String>) -> isize {
    if !args.is_empty() {
        eprintln!("usage: pwd");
        return 2;
    }
    match app_io::working_dir() {
        Ok(dir) => {
            let location = dir.lock().location().clone();
            println!("{}", location.absolute_path());
            // A path that leads nowhere is shown, but is not a success.
            isize::from(location.is_removed())
        }
        Err(reason) => {
            eprintln!("pwd: {reason}");
            1
        }
    }
}
