//! Compares our compiler with Wasmtime's on this machine, with the same modules in the same run: speed on one thread and on all
//! processors, size of the code, memory.
//!
//! Both compile for the same processor, with the same memories (guard pages, 4 GiB reserved), from and to memory, without a
//! cache, and both are built with the same profile from the same version of Cranelift. In each round, the two take turns in
//! going first; of all rounds, the median counts. On one thread, time is this program's processor time, so other programs that
//! run on the machine matter little; on all processors, it is wall time. Memory is what the global allocator has handed out
//! at a time, beyond what there was before (the module); it is measured in a round of its own.

mod alloc;
mod contestants;
mod table;

use contestants::{Ours, Wasmtime};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use table::{Row, print_table};
use wasm_artifact::OptLevel;

#[global_allocator]
static ALLOCATOR: alloc::Counting = alloc::Counting;

/// Rounds per module; odd, for the median.
const ROUNDS: usize = 5;

fn main() -> ExitCode {
    let paths: Vec<String> = std::env::args().skip(1).collect();
    if paths.is_empty() {
        eprintln!("usage: bench_compile FILE.wasm…");
        return ExitCode::from(2);
    }
    match run(&paths) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("bench_compile: {message}");
            ExitCode::FAILURE
        }
    }
}

fn run(paths: &[String]) -> Result<(), String> {
    let mut modules = Vec::new();
    for path in paths {
        let wasm = std::fs::read(path).map_err(|error| format!("cannot read {path}: {error}"))?;
        let name = std::path::Path::new(path).file_stem().unwrap_or_default().to_string_lossy().into_owned();
        modules.push((name, wasm));
    }
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    println!(
        "Compiling on Linux: ours, and Wasmtime 48's. {ROUNDS} rounds, medians; ratios are ours / Wasmtime's."
    );
    println!("CPU features of both: {}", contestants::cpu());
    for opt_level in [OptLevel::Speed, OptLevel::None] {
        let ours = Ours::new(opt_level);
        let alone = Wasmtime::new(opt_level, false)?;
        let parallel = Wasmtime::new(opt_level, true)?;
        let mut rows = Vec::new();
        for (name, wasm) in &modules {
            rows.push(row(name, wasm, &ours, &alone, &parallel)?);
        }
        let level = if opt_level == OptLevel::Speed { "speed" } else { "none" };
        println!("\nOptimisation: {level}");
        print_table(&rows, threads);
    }
    Ok(())
}

/// Everything about one module.
fn row(name: &str, wasm: &[u8], ours: &Ours, alone: &Wasmtime, parallel: &Wasmtime) -> Result<Row, String> {
    // First for memory, which also warms both up: thread pools exist, pages are there.
    let (ours_artifact, ours_usage) = alloc::measure(|| ours.compile(wasm, 1));
    let (theirs_artifact, theirs_usage) = alloc::measure(|| alone.compile(wasm));
    parallel.compile(wasm)?;
    let mut row = Row {
        name: name.to_string(),
        wasm: wasm.len(),
        one: table::Pair { ours: Duration::ZERO, theirs: Duration::ZERO },
        all: table::Pair { ours: Duration::ZERO, theirs: Duration::ZERO },
        code: table::Pair {
            ours: contestants::text_size(&ours_artifact?)?,
            theirs: contestants::text_size(&theirs_artifact?)?,
        },
        peak: table::Pair { ours: ours_usage.peak, theirs: theirs_usage.peak },
        allocations: table::Pair { ours: ours_usage.allocations, theirs: theirs_usage.allocations },
    };
    row.one = medians(processor_time, || ours.compile(wasm, 1), || alone.compile(wasm))?;
    row.all = medians(wall_time, || ours.compile(wasm, 0), || parallel.compile(wasm))?;
    Ok(row)
}

type Compiled = Result<Vec<u8>, String>;

/// Runs both so many rounds, each going first every other time, and returns the median time of each.
fn medians(
    clock: fn() -> Duration,
    ours: impl Fn() -> Compiled,
    theirs: impl Fn() -> Compiled,
) -> Result<table::Pair<Duration>, String> {
    let time = |f: &dyn Fn() -> Compiled| -> Result<Duration, String> {
        let start = clock();
        let artifact = f()?;
        let time = clock() - start;
        drop(artifact);
        Ok(time)
    };
    let (mut of_ours, mut of_theirs) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        if round % 2 == 0 {
            of_ours.push(time(&ours)?);
            of_theirs.push(time(&theirs)?);
        } else {
            of_theirs.push(time(&theirs)?);
            of_ours.push(time(&ours)?);
        }
    }
    of_ours.sort();
    of_theirs.sort();
    Ok(table::Pair { ours: of_ours[ROUNDS / 2], theirs: of_theirs[ROUNDS / 2] })
}

/// Processor time of this program: ours compiles in a thread of its own, Wasmtime in the one that calls.
fn processor_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a timespec that is ours alone.
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    assert_eq!(failed, 0, "Linux has a clock of a program's processor time");
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Time that passes, since some moment.
fn wall_time() -> Duration {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    START.get_or_init(Instant::now).elapsed()
}
