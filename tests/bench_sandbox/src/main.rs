//! What it costs on Linux when a guest fails or is stopped: the operations that the application `bench_sandbox` measures in our
//! kernel, from the same source, with our engine (in the package `bench_sandbox_ours`) or with Wasmtime (in `bench_sandbox_theirs`),
//! which goes by our engine's name there.
//!
//! Arguments are those of the application. As a Linux guest's process 1 it ends the machine when it is done.

extern crate alloc;

#[path = "../../../applications/bench_sandbox/src/interruption.rs"]
mod interruption;
#[path = "../../../applications/bench_sandbox/src/measure.rs"]
mod measure;
#[path = "../../../applications/bench_sandbox/src/panics.rs"]
mod panics;
#[path = "../../../applications/bench_sandbox/src/parallel.rs"]
mod parallel;
mod system;
#[path = "../../../applications/bench_sandbox/src/traps.rs"]
mod traps;

use std::process::ExitCode;

fn main() -> ExitCode {
    // Our kernel prints no more than a few reports of panics either.
    std::panic::set_hook(Box::new(|_| {}));
    let result = run();
    if let Err(error) = &result {
        eprintln!("bench_sandbox: {error:#}");
    }
    if std::process::id() == 1 {
        // SAFETY: the call takes no pointers. QEMU ends when the machine restarts.
        unsafe { libc::reboot(libc::RB_AUTOBOOT) };
    }
    if result.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run() -> wasm_engine::Result<()> {
    let has = |wanted: &str| std::env::args().any(|argument| argument == wanted);
    if has("time") {
        measure::count_nanoseconds();
    }
    if has("parallel") {
        return parallel::run();
    }
    traps::run()?;
    interruption::run()?;
    panics::run()
}
