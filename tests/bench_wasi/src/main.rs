//! What WASI's calls cost on Linux, and programs that make them, with Wasmtime, which goes by our engine's name here: the application `bench_wasi`, from the
//! same source. Its arguments are those of the application.
//!
//! As a Linux guest's process 1 it ends the machine when it is done.

extern crate alloc;

#[path = "../../../applications/bench_wasi/src/calls.rs"]
mod calls;
#[path = "../../../applications/bench_wasi/src/programs.rs"]
mod programs;
mod system;

use std::process::ExitCode;

fn main() -> ExitCode {
    let only_calls = std::env::args().any(|argument| argument == "calls");
    let result = calls::run().and_then(|()| if only_calls { Ok(()) } else { programs::run() });
    if let Err(error) = &result {
        eprintln!("bench_wasi: {error:#}");
    }
    if std::process::id() == 1 {
        // SAFETY: the call takes no pointers. QEMU ends when the machine restarts.
        unsafe { libc::reboot(libc::RB_AUTOBOOT) };
    }
    if result.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
