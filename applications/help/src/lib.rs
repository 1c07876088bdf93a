//! `help` says which commands there are: those of the shell, and the programs in the directory of applications.
#![no_std]

extern crate alloc;

use alloc::string::String;
use alloc::vec::Vec;
use app_io::{eprintln, print, println};

/// The shell's own commands.
const BUILTINS: &[(&str, &str)] = &[
    ("cd [DIRECTORY]", "go to a directory; with - to the one before"),
    ("exit [STATUS]", "leave the shell; the machine is switched off with the first one"),
    ("export [NAME=VALUE...]", "set variables, or show them"),
    ("true, false", "succeed, fail"),
    ("unset NAME...", "forget variables"),
];

/// What programs do, as far as it is known here.
const PROGRAMS: &[(&str, &str, &str)] = &[
    ("cat", "[FILE...]", "print files"),
    ("cmp", "[-s] FILE FILE", "compare files, with -s silently"),
    ("cp", "[-r] SOURCE... TARGET", "copy files, with -r directories"),
    ("crash", "panic|null|undefined|stack|STATUS", "end in this way, to see what happens"),
    ("date", "", "print date and time"),
    ("deps", "CRATE", "print what a crate needs, and who needs it"),
    ("echo", "[-n] [WORD...]", "print words"),
    ("free", "", "print how much memory is in use"),
    ("help", "", "print this"),
    ("kill", "TASK...", "end tasks"),
    ("ls", "[-l] [-a] [PATH...]", "list directories"),
    ("mkdir", "[-p] DIRECTORY...", "create directories"),
    ("mv", "SOURCE... TARGET", "move and rename files and directories"),
    ("ns", "", "print loaded crates and where they are"),
    ("ps", "", "print tasks with their CPU, state, CPU time and memory"),
    ("pwd", "", "print the working directory"),
    ("rm", "[-r] [-f] PATH...", "remove files, with -r directories"),
    ("shell", "[FILE | -c LINE]", "start another shell, or run lines"),
    ("shutdown", "", "switch the machine off"),
    ("top", "[--once] [-n COUNT] [-d SECONDS]", "show what the CPUs and tasks do; q ends it"),
    ("touch", "FILE...", "create files, or set their times to now"),
    ("uptime", "", "print how long the system has been running"),
    ("wasm_run", "[--invoke NAME] FILE [ARGUMENT...]", "run a WebAssembly program"),
];

/// Runs the program; returns its status.
#[inline(never)]
pub fn main(args: Vec<String>) -> isize {
    if !args.is_empty() {
        eprintln!("usage: help");
        return 2;
    }
    let namespace = task::with_current_task(|task| task.get_namespace().clone());
    let files = namespace.map_or(Vec::new(), |namespace| namespace.dir().lock().list());
    let mut programs: Vec<&str> =
        files.iter().filter_map(|file| Some(file.strip_suffix(".o")?.rsplit_once('-')?.0)).collect();
    programs.dedup();

    println!("Commands of the shell:");
    for (usage, purpose) in BUILTINS {
        println!("  {usage:<46}{purpose}");
    }
    println!("Programs:");
    for (name, arguments, purpose) in PROGRAMS.iter().filter(|(name, ..)| programs.contains(name)) {
        let width = 45 - name.len();
        println!("  {name} {arguments:<width$}{purpose}");
    }
    let mut others =
        programs.iter().filter(|name| PROGRAMS.iter().all(|(known, ..)| known != *name)).peekable();
    if others.peek().is_some() {
        print!("Others:");
        others.for_each(|name| print!(" {name}"));
        println!();
    }
    println!("Lines: a; b   a && b   a || b   'quoted'   \"$NAME\"   $?   # comment");
    println!("Streams: a | b   < file   > file   >> file   2> file   2>&1");
    println!("Keys: Tab completes, arrows edit and recall, Ctrl-C ends a program, Ctrl-D leaves.");
    0
}
