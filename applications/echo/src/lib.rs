//! `echo [-n] [WORD…]` prints its arguments with a space between them, and the end of the line unless `-n` comes first.
#![no_std]

extern crate alloc;

use alloc::string::String;
use alloc::vec::Vec;
use app_io::{eprintln, stdout};
use io::IoError;

/// Runs the program; returns its status.
#[inline(never)]
pub fn main(args: Vec<String>) -> isize {
    let (words, end) = match args.split_first() {
        Some((first, rest)) if first == "-n" => (rest, ""),
        _ => (args.as_slice(), "\n"),
    };
    // One write, so that the line is not mixed with those of other tasks.
    let mut line = words.join(" ");
    line.push_str(end);
    match stdout().map(|out| out.write_all(line.as_bytes())) {
        Ok(Ok(())) => 0,
        // Whoever has stopped reading knows that.
        Ok(Err(IoError::BrokenPipe)) => 1,
        Ok(Err(error)) => {
            eprintln!("echo: standard output: {error}");
            1
        }
        Err(_) => 1,
    }
}
