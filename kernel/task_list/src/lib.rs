//! What there is to say about each task: what `ps` and `top` show.
//!
//! A list is no snapshot: tasks go on while it is made, each of its lines is true for the moment at which it was.
#![no_std]

extern crate alloc;

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;
use cpu::CpuId;
use task::{RunState, TaskRef};

/// What a task does at the moment, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It must not run yet.
    New,
    /// A CPU runs it.
    Running,
    /// It waits for a CPU.
    Ready,
    /// It waits for something else.
    Blocked,
    /// It has ended, and somebody may still ask how.
    Exited,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            State::New => "new",
            State::Running => "running",
            State::Ready => "ready",
            State::Blocked => "blocked",
            State::Exited => "exited",
        })
    }
}

/// What a task is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Runs when its CPU has nothing to do.
    Idle,
    /// Part of an application.
    Application,
    /// Part of the kernel.
    System,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Kind::Idle => "idle",
            Kind::Application => "app",
            Kind::System => "sys",
        })
    }
}

/// What there is to say about a task.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its number.
    pub id: usize,
    /// Its name.
    pub name: String,
    /// What it does.
    pub state: State,
    /// What it is for.
    pub kind: Kind,
    /// The CPU that runs it, or will if nothing comes between.
    pub cpu: Option<CpuId>,
    /// How long CPUs have run it.
    pub cpu_time: Duration,
    /// Bytes of memory that it has to run at all (`Task::memory_to_run`), and that guests have which it has made (`Task::guest_memory`).
    pub memory: usize,
}

impl Entry {
    /// What there is to say about this task.
    pub fn of(task: &TaskRef) -> Self {
        let state = match task.runstate() {
            RunState::Initing => State::New,
            RunState::Runnable if task.is_running() => State::Running,
            RunState::Runnable => State::Ready,
            RunState::Blocked => State::Blocked,
            RunState::Exited | RunState::Reaped => State::Exited,
        };
        let kind = if task.is_an_idle_task {
            Kind::Idle
        } else if task.is_application() {
            Kind::Application
        } else {
            Kind::System
        };
        let cpu = match state {
            State::New | State::Exited => None,
            State::Running | State::Ready | State::Blocked => Some(task.home_cpu()),
        };
        Entry {
            id: task.id,
            name: task.name.clone(),
            state,
            kind,
            cpu,
            cpu_time: task::scheduler::cpu_time(task),
            memory: task.memory_to_run() + task.guest_memory(),
        }
    }
}

/// All tasks, by number.
pub fn all() -> Vec<Entry> {
    // Those that have ended since the list was made are left out.
    task::all_tasks().iter().filter_map(|(_, task)| task.upgrade()).map(|task| Entry::of(&task)).collect()
}
