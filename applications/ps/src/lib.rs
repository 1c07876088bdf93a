//! `ps`: lists the tasks there are, with their state, their CPU, the CPU time they have used, and their memory.
#![no_std]
extern crate alloc;

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use app_io::{eprintln, println};

const USAGE: &str = "usage: ps
  CPU   the CPU that runs the task, ran it last, or in whose queue it waits
  TIME  seconds for which CPUs ran it
  MEM   KiB of its stack, thread-local storage and saved registers, and of the linear memories and code of WebAssembly that it
        has made; not what it has allocated otherwise";

/// Lists the tasks. Takes no arguments.
pub fn main(args: Vec<String>) -> isize {
    match args.first().map(String::as_str) {
        None => {}
        Some("-h" | "--help") => {
            println!("{USAGE}");
            return 0;
        }
        Some(_) => {
            eprintln!("{USAGE}");
            return 2;
        }
    }
    println!("{:>5}  {:>3}  {:<8}  {:>10}  {:>6}  {:<4}  NAME", "ID", "CPU", "STATE", "TIME", "MEM", "KIND");
    for task in task_list::all() {
        println!(
            "{:>5}  {:>3}  {:<8}  {:>10}  {:>6}  {:<4}  {}",
            task.id,
            task.cpu.map_or("-".to_string(), |cpu| cpu.to_string()),
            task.state,
            alloc::format!("{}.{:06}", task.cpu_time.as_secs(), task.cpu_time.subsec_micros()),
            task.memory.div_ceil(1024),
            task.kind,
            task.name
        );
    }
    0
}
