//! `cmp [-s] FILE FILE` compares two files. Silent and 0 if they are the same; else it says where they first differ, and
//! returns 1; with `-s` it says nothing. 2 if a file cannot be read.
#![no_std]

extern crate alloc;

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use app_io::{eprintln, println};
use fs_node::{FileOrDir, FileRef, FsError};
use path::Path;

/// How many bytes are compared at once.
const CHUNK: usize = 64 << 10;

/// Where two files part.
enum Difference {
    /// A byte, counted from 1.
    Byte(usize),
    /// The first or the second file ends after so many bytes, and the other goes on.
    End { of_first: bool, after: usize },
}

/// Runs the program; returns its status.
#[inline(never)]
pub fn main(args: Vec<String>) -> isize {
    let usage = "usage: cmp [-s] FILE FILE";
    let options = match options::parse(&args, "s") {
        Ok(options) => options,
        Err(unknown) => {
            eprintln!("cmp: {unknown}; {usage}");
            return 2;
        }
    };
    let [first, second] = options.operands else {
        eprintln!("cmp: two files are compared; {usage}");
        return 2;
    };
    let silent = options.has('s');
    match compare(first, second) {
        Ok(None) => 0,
        Ok(Some(difference)) => {
            if !silent {
                match difference {
                    Difference::Byte(byte) => println!("{first} {second} differ: byte {byte}"),
                    Difference::End { of_first, after } => {
                        println!(
                            "{first} {second} differ: {} ends after byte {after}",
                            if of_first { first } else { second }
                        )
                    }
                }
            }
            1
        }
        Err(reason) => {
            eprintln!("cmp: {reason}");
            2
        }
    }
}

fn compare(first: &str, second: &str) -> Result<Option<Difference>, String> {
    let files = [open(first)?, open(second)?];
    let names = [first, second];
    let mut buffers = [vec![0; CHUNK], vec![0; CHUNK]];
    let mut offset = 0;
    loop {
        let mut counts = [0; 2];
        for index in 0..2 {
            counts[index] = fill(&files[index], &mut buffers[index], offset)
                .map_err(|error| format!("{}: {error}", names[index]))?;
        }
        let (ours, theirs) = (&buffers[0][..counts[0]], &buffers[1][..counts[1]]);
        if let Some(at) = ours.iter().zip(theirs).position(|(one, other)| one != other) {
            return Ok(Some(Difference::Byte(offset + at + 1)));
        }
        if counts[0] != counts[1] {
            let of_first = counts[0] < counts[1];
            return Ok(Some(Difference::End { of_first, after: offset + counts[0].min(counts[1]) }));
        }
        if counts[0] < CHUNK {
            return Ok(None);
        }
        offset += CHUNK;
    }
}

fn open(name: &str) -> Result<FileRef, String> {
    let cwd = app_io::working_dir()?;
    match Path::new(name).resolve(&cwd) {
        Ok(FileOrDir::File(file)) => Ok(file),
        Ok(FileOrDir::Dir(_)) => Err(format!("{name}: {}", FsError::IsADirectory)),
        Err(error) => Err(format!("{name}: {error}")),
    }
}

/// Reads from `offset` on until the buffer is full or the file ends; returns how many bytes.
fn fill(file: &FileRef, buffer: &mut [u8], offset: usize) -> Result<usize, String> {
    let mut count = 0;
    while count < buffer.len() {
        match file.lock().read_at(&mut buffer[count..], offset + count).map_err(|error| error.to_string())? {
            0 => break,
            read => count += read,
        }
    }
    Ok(count)
}
