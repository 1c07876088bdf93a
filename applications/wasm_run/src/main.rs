//! `wasm_run` for Linux: see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let status = wasm_run::run(
        &args,
        wasm_run::Streams { out: |text| print!("{text}"), err: |text| eprint!("{text}") },
    );
    ExitCode::from(status as u8)
}
