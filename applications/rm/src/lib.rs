//! `rm [-r] [-f] PATH…` removes files; with `-r` directories and what is in them. With `-f` it is no error if there is nothing.
#![no_std]

extern crate alloc;

use alloc::string::String;
use alloc::vec::Vec;
use app_io::eprintln;
use file_ops::Cause;
use fs_node::FsError;
use path::Path;

/// Runs the program; returns its status.
#[inline(never)]
pub fn main(args: Vec<String>) -> isize {
    let options = match options::parse(&args, "rf") {
        Ok(options) if !options.operands.is_empty() || options.has('f') => options,
        Ok(_) => {
            eprintln!("usage: rm [-r] [-f] PATH...");
            return 2;
        }
        Err(unknown) => {
            eprintln!("rm: {unknown}; usage: rm [-r] [-f] PATH...");
            return 2;
        }
    };
    let cwd = match app_io::working_dir() {
        Ok(cwd) => cwd,
        Err(reason) => {
            eprintln!("rm: {reason}");
            return 1;
        }
    };
    let mut status = 0;
    for operand in options.operands {
        for failure in file_ops::remove(Path::new(operand), &cwd, options.has('r')) {
            if options.has('f') && failure.cause == Cause::Fs(FsError::NotFound) {
                continue;
            }
            eprintln!("rm: {failure}");
            status = 1;
        }
    }
    status
}
