//! `cat [FILE…]` prints files, or what is typed if there are none; `-` among them stands for that.
#![no_std]

extern crate alloc;

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use app_io::{ImmutableWrite, eprintln};
use fs_node::{FileOrDir, FileRef, FsError};
use io::IoError;
use path::Path;

/// How many bytes are read at once.
const CHUNK: usize = 16 << 10;

/// Runs the program; returns its status.
#[inline(never)]
pub fn main(args: Vec<String>) -> isize {
    let options = match options::parse(&args, "") {
        Ok(options) => options,
        Err(unknown) => {
            eprintln!("cat: {unknown}; usage: cat [FILE...]");
            return 2;
        }
    };
    let stdin = ["-".to_string()];
    let operands = if options.operands.is_empty() { &stdin } else { options.operands };
    let mut status = 0;
    for operand in operands {
        match print(operand) {
            Ok(true) => {}
            // Whoever has stopped reading knows that.
            Ok(false) => return 1,
            Err(reason) => {
                eprintln!("cat: {}: {reason}", if operand.is_empty() { "''" } else { operand });
                status = 1;
            }
        }
    }
    status
}

/// Prints a file. Returns whether anybody reads it.
fn print(operand: &str) -> Result<bool, String> {
    let out = app_io::stdout()?;
    if operand == "-" {
        let input = app_io::stdin()?;
        return copy(&*out, |buffer| input.read(buffer).map_err(|error| error.to_string()));
    }
    let cwd = app_io::working_dir()?;
    let file = match Path::new(operand).resolve(&cwd) {
        Ok(FileOrDir::File(file)) => file,
        Ok(FileOrDir::Dir(_)) => return Err(FsError::IsADirectory.to_string()),
        Err(error) => return Err(error.to_string()),
    };
    print_file(&file, &*out)
}

fn print_file(file: &FileRef, out: &dyn ImmutableWrite) -> Result<bool, String> {
    let mut offset = 0;
    copy(out, |buffer| {
        let count = file.lock().read_at(buffer, offset).map_err(|error| error.to_string())?;
        offset += count;
        Ok(count)
    })
}

/// Writes what `read` yields until it yields nothing. Returns whether anybody reads it.
fn copy(
    out: &dyn ImmutableWrite,
    mut read: impl FnMut(&mut [u8]) -> Result<usize, String>,
) -> Result<bool, String> {
    let mut buffer = vec![0; CHUNK];
    loop {
        match read(&mut buffer)? {
            0 => return Ok(true),
            count => match out.write_all(&buffer[..count]) {
                Ok(()) => {}
                Err(IoError::BrokenPipe) => return Ok(false),
                Err(error) => return Err(format!("standard output: {error}")),
            },
        }
    }
}
