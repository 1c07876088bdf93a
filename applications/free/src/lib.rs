//! `free`: how much memory and address space is free.
#![no_std]

extern crate alloc;

use alloc::string::String;
use alloc::vec::Vec;
use app_io::{eprintln, println};

const USAGE: &str = "usage: free [-k | -m | -f]
What is free includes the reserve, which is not for guests and files.
  -k  in KiB (the default)
  -m  in MiB
  -f  exact counts of free frames and pages, and of what the heap has in use, one a line";

/// KiB in a page and in a frame.
const KIB_PER_PAGE: usize = 4;

/// Shows the table; 2 if the arguments are wrong.
pub fn main(args: Vec<String>) -> isize {
    let arguments: Vec<&str> = args.iter().map(String::as_str).collect();
    match arguments[..] {
        [] | ["-k"] => table("KiB", 1),
        ["-m"] => table("MiB", 1024),
        ["-f"] => counts(),
        ["-h" | "--help"] => println!("{USAGE}"),
        _ => {
            eprintln!("{USAGE}");
            return 2;
        }
    }
    0
}

/// All of it, in units of so many KiB.
fn table(unit: &str, kib: usize) {
    let frames = frame_allocator::statistics();
    let heap = heap::statistics();
    println!("{:<14} {:>14} {:>14} {:>14}", unit, "total", "used", "free");
    let row = |name: &str, total: usize, free: usize| {
        println!("{:<14} {:>14} {:>14} {:>14}", name, total / kib, (total - free) / kib, free / kib);
    };
    row("memory", frames.total * KIB_PER_PAGE, frames.free * KIB_PER_PAGE);
    // What of it nobody has taken: the last of the free frames.
    row("  reserve", frames.reserve * KIB_PER_PAGE, frames.reserve.min(frames.free) * KIB_PER_PAGE);
    row("  heap", heap.mapped / 1024, (heap.mapped - heap.in_use) / 1024);
    println!("address space");
    for area in page_allocator::statistics() {
        let name = match area.name {
            "crate window" => "  code window",
            "heap" => "  heap",
            _ => "  general",
        };
        row(name, area.total * KIB_PER_PAGE, area.free * KIB_PER_PAGE);
    }
}

/// For scripts and for those who look for leaks: what the heap merely keeps for reuse is given back first.
fn counts() {
    heap::trim();
    println!("free frames: {}", frame_allocator::free_frames());
    println!("frames of page tables: {}", memory::page_tables());
    let heap = heap::statistics();
    println!("frames of the heap: {}", heap.mapped / memory::PAGE_SIZE);
    println!("reserved frames: {}", frame_allocator::statistics().reserve);
    for area in page_allocator::statistics() {
        println!("free pages, {}: {} in {} ranges", area.name, area.free, area.chunks);
    }
    println!("heap: {} bytes in {} blocks", heap.in_use, heap.allocations);
}
