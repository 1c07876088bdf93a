//! What tests of whole programs and of many tasks share: running a program with its output captured ([`run_program`], [`Running`]),
//! tasks and their results ([`in_tasks`], [`value_of`]),
//! finding out whether something was left behind ([`leaves_nothing`], [`InUse`]), and making memory scarce ([`Ballast`]).
//!
//! It is a crate of its own, beside `ktest`, so that suites that need none of it do not load what it depends on. Everything
//! here panics where something goes wrong, which is how a test fails.
#![no_std]

extern crate alloc;

mod ballast;
mod in_use;
mod program;
mod tasks;

pub use ballast::Ballast;
pub use in_use::{InUse, free_frames, leaves_nothing};
pub use program::{Ending, Output, Running, run_program};
pub use tasks::{in_tasks, start, value_of};
