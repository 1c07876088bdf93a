//! Shows what allocating costs, from the kernel's heap and in an arena, and what copying, filling and comparing memory
//! cost by size.
//!
//! Figures are time stamp counts per operation, the least of several runs. Where QEMU counts instructions (`--icount`) they
//! are guest instructions, with those of the loop around: a call through a pointer and some five more.
#![no_std]

extern crate alloc;

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use app_io::{eprintln, println};
use core::ffi::c_int;
use core::hint::black_box;
use heap::{Arena, Budget};

/// How often each thing is done in a run.
const TIMES: u64 = 2000;
const RUNS: usize = 5;

unsafe extern "C" {
    fn memcpy(to: *mut u8, from: *const u8, size: usize) -> *mut u8;
    fn memmove(to: *mut u8, from: *const u8, size: usize) -> *mut u8;
    fn memset(to: *mut u8, byte: c_int, size: usize) -> *mut u8;
    fn memcmp(a: *const u8, b: *const u8, size: usize) -> c_int;
    fn bcmp(a: *const u8, b: *const u8, size: usize) -> c_int;
}

/// Runs the benchmark; it takes no arguments.
pub fn main(args: Vec<String>) -> isize {
    if !args.is_empty() {
        eprintln!("usage: bench_memory");
        return 2;
    }
    allocating("heap");
    match Arena::new(Arc::new(Budget::new(usize::MAX))) {
        Ok(mut arena) => arena.run(|| allocating("arena")),
        Err(reason) => {
            eprintln!("bench_memory: {reason}");
            return 1;
        }
    }
    arenas();
    functions();
    0
}

fn time_stamp() -> u64 {
    // SAFETY: every 64-bit x86 processor has RDTSC, and the kernel does not restrict it.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// Time stamp counts of one call of `f`.
fn cost(mut f: impl FnMut()) -> u64 {
    let mut run = || {
        let start = time_stamp();
        for _ in 0..TIMES {
            f();
        }
        time_stamp() - start
    };
    (0..RUNS).map(|_| run()).min().unwrap_or(0) / TIMES
}

fn show(what: &str, size: usize, cost: u64) {
    println!("{what:24} {size:>8} {cost:>8}");
}

fn allocating(place: &str) {
    let pair = |size: usize| {
        show(place, size, cost(|| drop(black_box(Vec::<u8>::with_capacity(black_box(size))))));
    };
    [16, 100, 1000, 4000, 20_000, 100_000, 1_000_000].into_iter().for_each(pair);
    // Blocks that live a while: most are not the last one that was freed.
    let mut ring: [Option<Box<[u64; 6]>>; 64] = [const { None }; 64];
    let mut at = 0;
    let turn = || {
        at = (at + 29) % 64;
        ring[at] = Some(black_box(Box::new([7; 6])));
    };
    show(place, 48, cost(turn));
    let grow = || {
        let mut vector = Vec::new();
        (0..1000u64).for_each(|n| vector.push(black_box(n)));
    };
    show("  1000 pushes", 8, cost(grow));
}

/// What an arena costs that is made, used a little, and dropped.
fn arenas() {
    let budget = Arc::new(Budget::new(usize::MAX));
    for blocks in [0u64, 1, 1000, 100_000] {
        let start = time_stamp();
        let made = Arena::new(budget.clone())
            .map(|mut arena| arena.run(|| drop((0..blocks).map(Box::new).collect::<Vec<_>>())));
        let cost = time_stamp() - start;
        if made.is_ok() {
            println!("an arena of so many boxes {blocks:>7} {cost:>8}");
        }
    }
}

fn functions() {
    const SIZES: [usize; 10] = [1, 8, 16, 32, 64, 100, 256, 1024, 4096, 65536];
    let mut to = alloc::vec![1u8; 65536 + 64];
    let from = alloc::vec![1u8; 65536 + 64];
    for size in SIZES {
        let (to, from, size) = (black_box(to.as_mut_ptr()), black_box(from.as_ptr()), black_box(size));
        // SAFETY: both buffers are longer than the largest size, and not used otherwise.
        let costs = unsafe {
            [
                ("memcpy", cost(|| _ = black_box(memcpy(to, from, size)))),
                ("memmove", cost(|| _ = black_box(memmove(to, from, size)))),
                ("memmove up by 3", cost(|| _ = black_box(memmove(to.add(3), to, size)))),
                ("memset", cost(|| _ = black_box(memset(to, 1, size)))),
                ("memcmp", cost(|| _ = black_box(memcmp(to, from, size)))),
                ("bcmp", cost(|| _ = black_box(bcmp(to, from, size)))),
            ]
        };
        costs.into_iter().for_each(|(what, cost)| show(what, size, cost));
    }
}
