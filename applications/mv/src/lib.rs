//! `mv SOURCE… TARGET` moves and renames files and directories. If the target is a directory, they go into it; with several sources it
//! must be one. A file in the target's place is replaced, as is an empty directory by a directory.
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
        Ok(options) => options,
        Err(unknown) => {
            eprintln!("mv: {unknown}; usage: mv SOURCE... TARGET");
            return 2;
        }
    };
    let Some((target, sources)) = options.operands.split_last().filter(|(_, sources)| !sources.is_empty())
    else {
        eprintln!("usage: mv SOURCE... TARGET");
        return 2;
    };
    let cwd = match app_io::working_dir() {
        Ok(cwd) => cwd,
        Err(reason) => {
            eprintln!("mv: {reason}");
            return 1;
        }
    };
    let target = Path::new(target);
    if sources.len() > 1 && target.get_dir(&cwd).is_none() {
        eprintln!("mv: {target}: not a directory (with several sources the target must be one)");
        return 1;
    }
    let mut status = 0;
    for source in sources {
        if let Err(failure) = file_ops::rename(Path::new(source), target, &cwd) {
            eprintln!("mv: {failure}");
            status = 1;
        }
    }
    status
}
