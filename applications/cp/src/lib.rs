//! `cp [-r] SOURCE… TARGET` copies files; with `-r` directories and what is in them. If the target is a directory, copies go into it;
//! with several sources it must be one.
#![no_std]

extern crate alloc;

use alloc::string::String;
use alloc::vec::Vec;
use app_io::eprintln;
use path::Path;

/// Runs the program; returns its status.
#[inline(never)]
pub fn main(args: Vec<String>) -> isize {
    let options = match options::parse(&args, "r") {
        Ok(options) => options,
        Err(unknown) => {
            eprintln!("cp: {unknown}; usage: cp [-r] SOURCE... TARGET");
            return 2;
        }
    };
    let Some((target, sources)) = options.operands.split_last().filter(|(_, sources)| !sources.is_empty())
    else {
        eprintln!("usage: cp [-r] SOURCE... TARGET");
        return 2;
    };
    let cwd = match app_io::working_dir() {
        Ok(cwd) => cwd,
        Err(reason) => {
            eprintln!("cp: {reason}");
            return 1;
        }
    };
    let target = Path::new(target);
    if sources.len() > 1 && target.get_dir(&cwd).is_none() {
        eprintln!("cp: {target}: not a directory (with several sources the target must be one)");
        return 1;
    }
    let mut status = 0;
    for source in sources {
        for failure in file_ops::copy(Path::new(source), target, &cwd, options.has('r')) {
            eprintln!("cp: {failure}");
            status = 1;
        }
    }
    status
}
