//! Runs scripts of WebAssembly's official test suite with the engine.
//!
//! A script (`.wast`) is a list of directives: modules, calls, and assertions about what they do. [`run_script`] runs one and
//! reports how many directives did what the script says, and which did not. A directive that needs a feature which the engine
//! does not have counts as failed, with the reason: nothing is skipped.
//!
//! [`run`] is the command `wasm_run wast`: it finds the scripts, runs as many at a time as the machine can, and prints what came
//! of them.
//!
//! In the kernel nobody links with this crate, since the parser of the text format is large: the command loads it by name and
//! finds `run` by the symbol [`COMMAND_SYMBOL`].
//!
//! # What is compared
//! Of results every bit, but for patterns of NaNs. Of traps and of modules that must not link the message. Of modules that must
//! be malformed or invalid only that the engine says they are, since the wording of validators differs; that a limit was
//! passed or memory ran out does not count.
//!
//! # Invariants
//! - No script makes this crate panic. If the engine does, the script counts as failed and the others go on.
//! - Scripts run in tasks of their own, which end with the call; so whoever kills the caller ends them all, whatever the
//!   script's modules do.
#![cfg_attr(target_os = "theseus", no_std)]

extern crate alloc;

mod arguments;
mod command;
mod find;
mod runner;
mod spectest;
mod threads;
mod values;

pub use command::run;
pub use threads::run_script;

use alloc::string::String;
use alloc::vec::Vec;

/// Name of the symbol by which [`run`] is found where it is loaded at run time: a variable of type
/// [`wasm_platform::LoadedCommand`].
pub const COMMAND_SYMBOL: &str = "wasm_wast_command";

/// See [`COMMAND_SYMBOL`].
// SAFETY: no other symbol of the system has this name.
#[cfg(target_os = "theseus")]
#[unsafe(no_mangle)]
pub static wasm_wast_command: wasm_platform::LoadedCommand = run;

/// What came of a script.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// How many directives did what the script says.
    pub passed: usize,
    /// Those that did not, in the order of their lines.
    pub failures: Vec<Failure>,
}

/// A directive that did not do what its script says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Where it is: a line number from 1.
    pub line: usize,
    /// What happened instead, in one line.
    pub message: String,
}

/// Joins the lines of a text.
fn in_one_line(text: &str) -> String {
    let mut line = String::new();
    for part in text.lines().map(str::trim).filter(|part| !part.is_empty()) {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(part);
    }
    line
}

#[cfg(test)]
mod tests;
