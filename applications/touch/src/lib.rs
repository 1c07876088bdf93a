//! `touch FILE…` sets the times of files to now, and creates those that aren't there.
#![no_std]

extern crate alloc;

use alloc::string::String;
use alloc::vec::Vec;
use app_io::eprintln;
use path::Path;

/// Runs the program; returns its status.
#[inline(never)]
pub fn main(args: Vec<String>) -> isize {
    let options = match options::parse(&args, "") {
        Ok(options) if !options.operands.is_empty() => options,
        Ok(_) => {
            eprintln!("usage: touch FILE...");
            return 2;
        }
        Err(unknown) => {
            eprintln!("touch: {unknown}; usage: touch FILE...");
            return 2;
        }
    };
    let cwd = match app_io::working_dir() {
        Ok(cwd) => cwd,
        Err(reason) => {
            eprintln!("touch: {reason}");
            return 1;
        }
    };
    let mut status = 0;
    for operand in options.operands {
        if let Err(error) = file_ops::touch(Path::new(operand), &cwd) {
            eprintln!("touch: {}: {error}", if operand.is_empty() { "''" } else { operand });
            status = 1;
        }
    }
    status
}
