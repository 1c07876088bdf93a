//! `crash HOW` ends itself in the way that is asked for, to show and to test what the system does then:
//! * `panic`: by a panic
//! * `null`: by a write to address 0
//! * `undefined`: by an instruction that doesn't exist
//! * `stack`: by calling itself until the stack is used up
//! * `STATUS`, a number: by returning it
#![no_std]

extern crate alloc;

use alloc::string::String;
use alloc::vec::Vec;
use app_io::eprintln;
use core::hint::black_box;

/// Runs the program; returns its status if it gets that far.
#[inline(never)]
pub fn main(args: Vec<String>) -> isize {
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["panic"] => panic!("as asked for"),
        ["null"] => {
            // SAFETY: none; page 0 is never mapped, so the write is a page fault that ends the task. That is the point.
            unsafe { black_box(core::ptr::null_mut::<u8>()).write_volatile(1) }
            0
        }
        ["undefined"] => {
            // SAFETY: the instruction does nothing but raise an exception, which ends the task.
            unsafe { core::arch::asm!("ud2", options(nomem, nostack)) }
            0
        }
        ["stack"] => recurse(1),
        [status] => match status.parse() {
            Ok(status) => status,
            Err(_) => usage(),
        },
        _ => usage(),
    }
}

fn usage() -> isize {
    eprintln!("usage: crash panic|null|undefined|stack|STATUS");
    2
}

/// Never returns: each call needs stack, and there is a guard page at its end.
#[inline(never)]
fn recurse(depth: usize) -> isize {
    let frame = black_box([depth; 64]);
    if frame[0] == 0 {
        return 0;
    }
    recurse(frame[1] + 1) + frame[2] as isize
}
