//! The only program of a Linux guest: compiles modules by the compile service, on one thread, and prints what the application
//! `bench_compile` prints in the kernel. Then it ends the machine.
//!
//! The modules are the files of /modules. As the guest's process 1 it has to stay alive until the machine ends; anywhere else
//! it takes the modules as arguments and just exits.

use std::process::ExitCode;
use wasm_artifact::CpuFeatures;
use wasm_artifact::compile::{CompileLimits, CompileRequest, Settings, Target};
use wasm_compile::wasm_compile_service;

fn main() -> ExitCode {
    let is_init = std::process::id() == 1;
    let result = if is_init { files_of("/modules") } else { Ok(std::env::args().skip(1).collect()) }
        .and_then(|paths| paths.iter().try_for_each(|path| measure(path)));
    if let Err(reason) = &result {
        eprintln!("bench_compile_guest: {reason}");
    }
    if is_init {
        // SAFETY: the call takes no pointers. QEMU ends when the machine restarts.
        unsafe { libc::reboot(libc::RB_AUTOBOOT) };
    }
    if result.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn files_of(directory: &str) -> Result<Vec<String>, String> {
    let failed = |error| format!("{directory}: {error}");
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(failed)? {
        paths.push(entry.map_err(failed)?.path().to_string_lossy().into_owned());
    }
    paths.sort();
    Ok(paths)
}

fn measure(path: &str) -> Result<(), String> {
    let wasm = std::fs::read(path).map_err(|error| format!("{path}: {error}"))?;
    let request = CompileRequest {
        input: &wasm,
        settings: Settings { cpu: CpuFeatures::X86_64_V3, ..Settings::new(Target::Linux) },
        limits: CompileLimits::default(),
        accept_text: false,
        tasks: 1,
        progress: None,
    };
    let start = time_stamp();
    let artifact = wasm_compile_service.compile(&request).map_err(|error| error.to_string())?;
    let counts = time_stamp() - start;
    let name = path.rsplit('/').next().unwrap_or(path);
    println!("module {name} {} {counts} {} {:016x}", wasm.len(), artifact.len(), checksum(&artifact));
    Ok(())
}

fn time_stamp() -> u64 {
    // SAFETY: every 64-bit x86 processor has RDTSC, and Linux allows it unless it is told not to.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// FNV-1a, which tells artifacts that differ.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
