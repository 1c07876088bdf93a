//! `kill ID…`: asks tasks to end. They do at the next point where they wait, or at once if they run WebAssembly.
#![no_std]
extern crate alloc;

use alloc::string::String;
use alloc::vec::Vec;
use app_io::eprintln;
use task::{KillReason, WeakTaskRef};

/// Asks the tasks with the given ids to end. 0 if all could be asked.
pub fn main(args: Vec<String>) -> isize {
    if args.is_empty() {
        eprintln!("usage: kill ID...");
        return 2;
    }
    let mut status = 0;
    for argument in &args {
        if let Err(reason) = kill(argument) {
            eprintln!("kill: {argument}: {reason}");
            status = 1;
        }
    }
    status
}

fn kill(id: &str) -> Result<(), &'static str> {
    let id = id.parse().map_err(|_| "not a task id: `ps` lists them")?;
    let task =
        task::get_task(id).as_ref().and_then(WeakTaskRef::upgrade).ok_or("no such task: `ps` lists them")?;
    task.kill(KillReason::Requested)
}
