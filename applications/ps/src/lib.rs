//! `ps`: lists the tasks there are, with their state, the CPU that runs them, and the CPU time they have used.
#![no_std]
extern crate alloc;

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use app_io::{eprintln, println};
use task::{RunState, TaskRef};

/// Lists the tasks. Takes no arguments.
pub fn main(args: Vec<String>) -> isize {
    if !args.is_empty() {
        eprintln!("usage: ps");
        return 2;
    }
    println!("{:>5}  {:<8}  {:>3}  {:>9}  {:<4}  NAME", "ID", "STATE", "CPU", "TIME", "KIND");
    for (id, task) in task::all_tasks() {
        // It may have ended since the list was made.
        let Some(task) = task.upgrade() else { continue };
        let cpu = task.running_on_cpu().map_or("-".to_string(), |cpu| cpu.to_string());
        let time = task::scheduler::cpu_time(&task).as_millis();
        let time = alloc::format!("{}.{:03}", time / 1000, time % 1000);
        println!(
            "{id:>5}  {:<8}  {cpu:>3}  {time:>9}  {:<4}  {}",
            state_of(&task),
            kind_of(&task),
            task.name
        );
    }
    0
}

fn state_of(task: &TaskRef) -> &'static str {
    match task.runstate() {
        RunState::Initing => "new",
        RunState::Runnable if task.is_running() => "running",
        RunState::Runnable => "ready",
        RunState::Blocked => "blocked",
        RunState::Exited | RunState::Reaped => "exited",
    }
}

fn kind_of(task: &TaskRef) -> &'static str {
    if task.is_an_idle_task {
        "idle"
    } else if task.is_application() {
        "app"
    } else {
        "sys"
    }
}
