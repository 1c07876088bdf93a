//! `wasm_run`: runs WebAssembly programs, and compiles them and says what is in them.
//!
//! The same in the kernel's shell and on Linux; only where text is printed differs, which is what [`Streams`] is for. A `.wasm` or
//! `.wat` file is compiled, by the compiler that the engine loads (in the kernel) or is linked with (on Linux, feature
//! `compiler`), and kept in the engine's [`Cache`](wasm_engine::Cache); a `.cwasm` file runs as it is. Ctrl-C ends it at any moment:
//! what it holds is given back as its task unwinds.
//!
//! A program for WASI (`wasi_snapshot_preview1`) gets the arguments behind its name, standard input, output and error, and of directories and
//! variables those that `--dir`, `--dir-ro` and `--env` give it.
//!
//! A program may import `host.hello(i32)`, which prints the number and the state that the host keeps for the program. A
//! `.cwasm` is machine code: it runs if a key signed it that the system trusts, or if whoever types the command says that they trust
//! it.
//!
//! Exit status: 0, or what the program ends with (`proc_exit`); 1 if something is wrong with the file or the arguments for it, said in one line that names a
//! remedy; 2 for wrong usage; 134 if the program trapped, as with Wasmtime, after the trap and its backtrace; 124 if it was
//! ended because of `--timeout`, as with `timeout(1)`, after one line that says so.
#![cfg_attr(target_os = "theseus", no_std)]

extern crate alloc;

mod arguments;
mod cache;
mod calling;
mod command_line;
mod compile;
#[cfg(target_os = "linux")]
mod disasm;
mod help;
mod inspect;
mod limits;
mod one_line;
#[cfg(target_os = "theseus")]
mod own_task;
mod program;
mod progress;
mod wasi;
#[cfg(any(target_os = "theseus", feature = "compiler"))]
mod wast;

use alloc::string::String;
use command_line::Command;
use core::fmt::Arguments;
use core::time::Duration;

/// What the program has of its surroundings.
#[derive(Debug, Clone, Copy)]
pub struct Streams {
    /// Prints to standard output.
    pub out: fn(Arguments<'_>),
    /// Prints to standard error.
    pub err: fn(Arguments<'_>),
    /// Whether standard error is a terminal, so that a line can be written anew in its place.
    pub terminal: bool,
    /// The time since some moment; it never goes back.
    pub now: fn() -> Duration,
}

/// Exit status of a program that trapped: what a shell makes of SIGABRT, as Wasmtime.
const STATUS_TRAPPED: isize = 134;

/// Exit status of a program that took too long: as `timeout(1)`.
pub const STATUS_TIMED_OUT: isize = 124;

/// How long what `args` say may take, and the line to print when it has taken longer. Whoever calls [`run`] ends it then.
pub fn timeout(args: &[String]) -> Option<(Duration, String)> {
    if args.first().is_some_and(|command| command == "wast") {
        return None;
    }
    let Ok(Command::Run(run)) = command_line::parse(args) else { return None };
    let (timeout, words) = run.timeout?;
    let line = alloc::format!("wasm_run: {}: not done within {words}; allow more with --timeout\n", run.file);
    Some((timeout, line))
}

/// What ended a command early.
enum Failure {
    /// Something is wrong with the file or the arguments for it; in one line.
    Input(String),
    /// The program in this file trapped or a host function failed.
    Program(String, wasm_engine::Error),
    /// The program ended with this status.
    Exit(i32),
}

/// Runs what `args`, which begin after the program's name, say, and returns the exit status.
pub fn run(args: &[String], streams: Streams) -> isize {
    #[cfg(any(target_os = "theseus", feature = "compiler"))]
    if let [command, rest @ ..] = args
        && command == "wast"
    {
        return wast::run(rest, streams);
    }
    let command = match command_line::parse(args) {
        Ok(command) => command,
        Err((message, topic)) => {
            (streams.err)(format_args!("wasm_run: {message}; see {}\n", topic.command()));
            return 2;
        }
    };
    // Outlives what the command fails with.
    let mut wasi = wasi::Wasi::default();
    let result = match &command {
        Command::Help(topic) => {
            (streams.out)(format_args!("{}", topic.text()));
            Ok(())
        }
        Command::Run(run) => program::run(run, &mut wasi, streams),
        Command::Compile(compile) => compile::run(compile, streams),
        Command::Inspect(inspect) => inspect::run(inspect, streams),
        Command::CacheList => cache::list(streams),
        Command::CacheClear => cache::clear(streams),
    };
    match result {
        Ok(()) => 0,
        Err(Failure::Input(message)) => {
            (streams.err)(format_args!("wasm_run: {message}\n"));
            1
        }
        Err(Failure::Program(file, error)) => {
            calling::report(&file, &error, streams);
            STATUS_TRAPPED
        }
        Err(Failure::Exit(status)) => status as isize,
    }
}

/// Bytes of the stack that [`run`] needs to do what `args` say: what wasm may use, 64 KiB that the engine leaves to the host functions
/// it calls, and as much again for what comes before.
pub fn stack_size(args: &[String]) -> usize {
    let wasm = match command_line::parse(args) {
        Ok(Command::Run(run)) => run.limits.stack,
        _ => limits::DEFAULT_STACK,
    };
    wasm + ((64 + 64) << 10)
}

/// The application: called by the shell with the arguments after its name.
#[cfg(target_os = "theseus")]
pub fn main(args: alloc::vec::Vec<String>) -> isize {
    // From here on all that this task and those it starts take is for a guest.
    memory::set_claim(memory::Claim::Guest);
    let streams = Streams {
        out: app_io::print_to_stdout_args,
        err: app_io::print_to_stderr_args,
        terminal: app_io::line_discipline().is_ok_and(|discipline| discipline.cooked_output()),
        now: || Duration::from_nanos(time::Instant::now().as_nanos()),
    };
    let stack = stack_size(&args);
    let (timeout, line) = timeout(&args).unzip();
    match own_task::run(move || run(&args, streams), stack, timeout) {
        Ok(Some(status)) => status,
        Ok(None) => {
            (streams.err)(format_args!("{}", line.unwrap_or_default()));
            STATUS_TIMED_OUT
        }
        Err(reason) => {
            (streams.err)(format_args!("wasm_run: {reason}\n"));
            1
        }
    }
}
