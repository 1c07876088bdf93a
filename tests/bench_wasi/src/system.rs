//! What the benchmark asks of its operating system: here, Linux.

pub(crate) use std::println;
pub(crate) use wasm_wasi::p1::{WasiP1Ctx, add_to_linker_sync};
pub(crate) use wasm_wasi::p2::pipe::{MemoryInputPipe, MemoryOutputPipe};
pub(crate) use wasm_wasi::{I32Exit, WasiCtxBuilder};

use wasm_engine::{Error, Result};

/// Gives a guest an empty directory, as its first one.
pub(crate) fn give_directory(builder: &mut WasiCtxBuilder) -> Result<()> {
    let dir = std::env::temp_dir().join(format!("bench_wasi-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir)?;
    // As the program `wasmtime` has it: files are read and written in the guest's thread.
    builder.allow_blocking_current_thread(true);
    builder.preopened_dir(&dir, "dir", wasm_wasi::FsPerms::ReadWrite)?;
    Ok(())
}

/// The file of a program.
pub(crate) fn program(name: &str) -> Result<Vec<u8>> {
    let path = format!("/files/{name}");
    std::fs::read(&path).map_err(|error| Error::msg(format!("{path}: {error}")))
}
