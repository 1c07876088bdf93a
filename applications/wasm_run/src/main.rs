//! `wasm_run` for Linux: see the library.

use std::fmt::Arguments;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, OnceLock};
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
    let end = Arc::new(Mutex::new(()));
    if let Some((timeout, line)) = wasm_run::timeout(&args) {
        watch(timeout, line, end.clone());
    }
    let streams = wasm_run::Streams {
        out: print,
        err: |text| {
            // If nobody reads it, nobody can be told so either.
            let _ = std::io::stderr().write_fmt(text);
        },
        terminal: std::io::stderr().is_terminal(),
        now,
    };
    // How large the stack of the process's first thread is, is not ours to say.
    let stack = wasm_run::stack_size(&args);
    let thread = std::thread::Builder::new().stack_size(stack);
    let status = match thread.spawn(move || wasm_run::run(&args, streams)).map(|thread| thread.join()) {
        Ok(Ok(status)) => status,
        Ok(Err(panic)) => std::panic::resume_unwind(panic),
        Err(error) => {
            eprintln!("wasm_run: no stack of {} KiB: {error}; end some other programs", stack >> 10);
            1
        }
    };
    // Never given back: from here on it is not too late any more.
    std::mem::forget(end.lock());
    ExitCode::from(status as u8)
}

/// Ends the process after `timeout`, whatever it does, and says so in a line; unless `end` is locked by then.
fn watch(timeout: Duration, line: String, end: Arc<Mutex<()>>) {
    let watch = move || {
        std::thread::sleep(timeout);
        // If the program is about to end, this waits for just that.
        let _end = end.lock();
        let _ = std::io::stderr().write_all(line.as_bytes());
        std::process::exit(wasm_run::STATUS_TIMED_OUT as i32);
    };
    if let Err(error) = std::thread::Builder::new().name("timeout".to_string()).spawn(watch) {
        eprintln!("wasm_run: --timeout does not work: {error}; end some other programs");
        std::process::exit(1);
    }
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
