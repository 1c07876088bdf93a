//! The shell: reads lines, runs programs, and says what became of them.
//!
//! `shell` talks to a person: it shows a prompt, lets the line be edited, and remembers it. `shell -c LINE` runs one line, and
//! `shell FILE` the lines of a file; the status is that of the last command.
//!
//! A program is an application: a crate with `pub fn main(args: Vec<String>) -> isize`, whose object file is in the
//! directory `/namespaces/_applications`. It is loaded when it is called, runs as a task of its own with a copy of the shell's environment
//! and with the shell's streams, or those that the line gives it, and is dropped afterwards. The programs of a pipeline run at the same time.
//! A program that writes what nobody reads any more gets an error. The status of a pipeline is that of its last program.
//!
//! | Status | |
//! |---|---|
//! | 0 … 255 | the low eight bits of what `main` returned; 0 is success |
//! | 1 | a redirection's file could not be opened |
//! | 2 | wrong usage, of a program or of the shell's language |
//! | 126 | the program could not be started |
//! | 127 | there is no such program |
//! | 130 | ended by Ctrl-C, or by `kill` |
//! | 134 | ended by a panic or a CPU exception |
#![cfg_attr(not(test), no_std)]

extern crate alloc;

#[cfg(target_os = "theseus")]
mod builtins;
#[cfg(target_os = "theseus")]
mod complete;
#[cfg(target_os = "theseus")]
mod interactive;
#[cfg(target_os = "theseus")]
mod pipeline;
#[cfg(target_os = "theseus")]
mod run;
pub mod syntax;

/// Runs the shell; returns its status. The loader looks for this name in the crate's root.
#[cfg(target_os = "theseus")]
#[inline(never)]
pub fn main(args: alloc::vec::Vec<alloc::string::String>) -> isize {
    run::shell(args)
}
