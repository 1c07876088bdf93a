//! `wasm_run` for Linux: see the library.

use std::fmt::Arguments;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Keeps compilations to the memory they may have.
#[global_allocator]
static ALLOCATOR: wasm_platform::BudgetedAllocator = wasm_platform::BudgetedAllocator;

fn main() -> ExitCode {
    let args: Result<Vec<String>, _> = std::env::args_os().skip(1).map(|arg| arg.into_string()).collect();
    let args = match args {
        Ok(args) => args,
        Err(arg) => {
            eprintln!("wasm_run: the argument {arg:?} is not UTF-8; rename the file or see wasm_run --help");
            return ExitCode::from(2);
        }
    };
    let status = wasm_run::run(
        &args,
        wasm_run::Streams {
            out: print,
            err: |text| {
                // If nobody reads it, nobody can be told so either.
                let _ = std::io::stderr().write_fmt(text);
            },
            terminal: std::io::stderr().is_terminal(),
            now,
        },
    );
    ExitCode::from(status as u8)
}

/// Prints to standard output. When nobody reads from it any more, as with `| head`, there is nothing left to do.
fn print(text: Arguments<'_>) {
    if std::io::stdout().write_fmt(text).is_err() {
        std::process::exit(1);
    }
}

fn now() -> Duration {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed()
}
