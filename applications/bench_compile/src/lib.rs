//! `bench_compile [FILE.wasm…]` measures, by the time stamp counter, how long it takes until the compiler is loaded and linked,
//! and then how long each module takes to be compiled, by one task, for x86-64-v3.
//!
//! It prints one line for the loading (counts, and nanoseconds by the system's clock) and one for each module: name, bytes of
//! wasm, counts, bytes of the artifact, checksum of the artifact. The program of tests/bench_compile/guest prints the same lines in a Linux guest. Where QEMU counts
//! instructions (`make bench-compile` asks for that), the counts are guest instructions.
#![no_std]

extern crate alloc;

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use app_io::{eprintln, println};
use time::Instant;
use wasm_artifact::CpuFeatures;
use wasm_artifact::compile::{
    COMPILE_SERVICE_SYMBOL, CompileLimits, CompileRequest, CompileService, CompileServiceEntry, Settings,
    Target,
};
use wasm_platform::LoadedCrate;

/// Runs the benchmark.
#[inline(never)]
pub fn main(args: Vec<String>) -> isize {
    match run(&args) {
        Ok(()) => 0,
        Err(reason) => {
            eprintln!("bench_compile: {reason}");
            1
        }
    }
}

fn run(paths: &[String]) -> Result<(), String> {
    let (clock, start) = (Instant::now(), time_stamp());
    let compiler = LoadedCrate::load("wasm_compile")?;
    let counts = time_stamp() - start;
    println!("load {counts} {}", clock.elapsed().as_nanos());
    let entry =
        compiler.variable(COMPILE_SERVICE_SYMBOL).ok_or("the crate wasm_compile is no compile service")?;
    // SAFETY: the symbol is defined as a variable of this type, which never changes; `compiler` keeps its crate until after
    // the last use.
    let service: &dyn CompileService = unsafe { *entry.cast::<CompileServiceEntry>() };
    for path in paths {
        println!("{}", measure(service, path)?);
    }
    Ok(())
}

fn measure(service: &dyn CompileService, path: &str) -> Result<String, String> {
    let wasm = wasm_platform::read_file(path).map_err(|reason| format!("{path}: {reason}"))?;
    let request = CompileRequest {
        input: &wasm,
        // For Linux, as in the Linux guest, so that both make the same bytes.
        settings: Settings { cpu: CpuFeatures::X86_64_V3, ..Settings::new(Target::Linux) },
        limits: CompileLimits::default(),
        accept_text: false,
        tasks: 1,
        progress: None,
    };
    let start = time_stamp();
    let artifact = service.compile(&request).map_err(|error| error.to_string())?;
    let counts = time_stamp() - start;
    let name = path.rsplit('/').next().unwrap_or(path);
    Ok(format!("module {name} {} {counts} {} {:016x}", wasm.len(), artifact.len(), checksum(&artifact)))
}

fn time_stamp() -> u64 {
    // SAFETY: every 64-bit x86 processor has RDTSC, and the kernel does not restrict it.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// FNV-1a, which tells artifacts that differ.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
