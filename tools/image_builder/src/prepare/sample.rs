// Compiled to an object by the tests of `prepare`: something of everything that crates consist of.
#![no_std]
#![feature(thread_local)]
extern crate alloc;

use alloc::{boxed::Box, string::String, vec::Vec};
use core::{cell::Cell, fmt::Write, sync::atomic::AtomicUsize};

#[thread_local]
static COUNTER: Cell<u32> = Cell::new(7);
#[thread_local]
static BUFFER: Cell<[u64; 9]> = Cell::new([0; 9]);
static DROPS: AtomicUsize = AtomicUsize::new(3);
static mut SPACE: [u8; 4000] = [0; 4000];
pub static TABLE: [fn(u32) -> u32; 3] = [one, two, three];
pub static NAMES: [&str; 4] = ["north", "east", "south", "west"];

fn one(x: u32) -> u32 {
    x + COUNTER.get()
}

fn two(x: u32) -> u32 {
    // SAFETY: nothing writes to it while this runs; this sample is only ever linked, not run by several threads.
    x * unsafe { SPACE[x as usize] } as u32
}

#[inline(never)]
fn three(x: u32) -> u32 {
    BUFFER.get()[x as usize % 9] as u32
}

struct Noisy(String);

impl Drop for Noisy {
    fn drop(&mut self) {
        DROPS.fetch_add(self.0.len(), core::sync::atomic::Ordering::Relaxed);
    }
}

pub trait Shape {
    fn area(&self) -> f64;
}

impl Shape for f64 {
    fn area(&self) -> f64 {
        self * self * 3.25
    }
}

pub fn shape(x: f64) -> Box<dyn Shape> {
    Box::new(x)
}

pub fn work(input: &[u32], f: &dyn Fn(u32) -> u32) -> String {
    let guard = Noisy(String::from("guard"));
    let mut text = String::new();
    let mut sorted: Vec<u32> = input.iter().map(|x| f(*x)).collect();
    sorted.sort();
    for x in sorted {
        COUNTER.set(COUNTER.get() + 1);
        let name = match x % 11 {
            0 => "zero",
            1 => "uno",
            2 => "due",
            3 => "tre",
            4 => "quattro",
            5 => "cinque",
            6 => "sei",
            7 => "sette",
            8 => NAMES[(x / 11 % 4) as usize],
            _ => "more",
        };
        write!(text, "{name} {} {:?}", TABLE[(x % 3) as usize](x), guard.0).unwrap();
    }
    text
}
