//! `mkdir [-p] DIRECTORY…` creates directories; with `-p` those on the way too, and it is no error if they are there.
#![no_std]

extern crate alloc;

use alloc::string::String;
use alloc::vec::Vec;
use app_io::eprintln;
use path::Path;

/// Runs the program; returns its status.
#[inline(never)]
pub fn main(args: Vec<String>) -> isize {
    let options = match options::parse(&args, "p") {
        Ok(options) if !options.operands.is_empty() => options,
        Ok(_) => {
            eprintln!("usage: mkdir [-p] DIRECTORY...");
            return 2;
        }
        Err(unknown) => {
            eprintln!("mkdir: {unknown}; usage: mkdir [-p] DIRECTORY...");
            return 2;
        }
    };
    let cwd = match app_io::working_dir() {
        Ok(cwd) => cwd,
        Err(reason) => {
            eprintln!("mkdir: {reason}");
            return 1;
        }
    };
    let create = if options.has('p') { file_ops::create_dir_all } else { file_ops::create_dir };
    let mut status = 0;
    for operand in options.operands {
        if let Err(error) = create(Path::new(operand), &cwd) {
            eprintln!("mkdir: {}: {error}", if operand.is_empty() { "''" } else { operand });
            status = 1;
        }
    }
    status
}
