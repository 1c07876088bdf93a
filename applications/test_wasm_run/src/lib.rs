//! In-kernel tests of `wasm_run` as the only user of the WebAssembly engine: the engine's crates come with the first program
//! and go with the last, however that ends.
//!
//! This suite must not depend on any `wasm_*` crate, or it would hold what it wants to see go.
#![no_std]

extern crate alloc;

mod compiling;
mod wast;

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use ktest_system::{Ballast, Ending, Output, Running, leaves_nothing, run_program};
use task::KillReason;

/// Runs the tests; 0 if none failed.
pub fn main(_args: Vec<String>) -> isize {
    ktest::run(
        "wasm_run",
        &[
            ("the engine comes with the first program and goes with the last", the_engine_comes_and_goes),
            ("WASI comes with a program for it, and goes with it", wasi_comes_and_goes),
            ("the engine goes, however a program ends", the_engine_goes_however_a_program_ends),
            ("a killed program takes the engine along", a_killed_program_takes_the_engine_along),
            ("a guest that never returns is killed", a_guest_that_never_returns_is_killed),
            ("programs are killed at any moment", programs_are_killed_at_any_moment),
            ("programs run at the same time", programs_run_at_the_same_time),
            ("with little memory left, errors and no panics", with_little_memory_left),
            ("greedy programs leave memory to those that end them", greedy_programs_leave_a_reserve),
            (
                "the compiler comes with the first module and goes with it",
                compiling::the_compiler_comes_and_goes,
            ),
            (
                "modules are compiled to what wasmc makes of them",
                compiling::compiled_files_are_those_of_linux,
            ),
            (
                "what was compiled is kept, and found without the compiler",
                compiling::what_was_compiled_is_kept,
            ),
            ("signed files are run and others are not", compiling::signed_files_are_run_and_others_are_not),
            (
                "entries of the cache that somebody else made are not believed",
                compiling::entries_of_somebody_else_are_not_believed,
            ),
            ("programs compile the same module at once", compiling::programs_that_compile_the_same_at_once),
            ("1,000 bad modules leave nothing behind", compiling::bad_modules_leave_nothing),
            ("compilations are killed at any moment", compiling::compilations_are_killed_at_any_moment),
            ("without a place for the cache, modules run", compiling::without_a_place_for_the_cache),
            ("compiling with little memory left, errors and no panics", compiling::with_little_memory_left),
            ("artifacts are inspected", compiling::artifacts_are_inspected),
            ("scripts run, and everything goes with the command", wast::scripts_run_and_everything_goes),
            ("scripts are killed at any moment", wast::scripts_are_killed_at_any_moment),
            ("scripts with little memory left, errors and no panics", wast::with_little_memory_left),
        ],
    )
}

/// The loaded crates of the engine, and the program.
fn wasm_crates() -> Vec<String> {
    let crates = mod_mgmt::all_crates();
    crates.iter().map(|krate| krate.crate_name.to_string()).filter(|name| name.starts_with("wasm_")).collect()
}

/// Panics unless no crate of the engine is loaded.
fn assert_unloaded() {
    let crates = wasm_crates();
    assert!(crates.is_empty(), "still loaded: {crates:?}");
}

/// Panics unless the engine is loaded.
fn assert_loaded() {
    let crates = wasm_crates();
    for prefix in ["wasm_run-", "wasm_engine-", "wasm_artifact-", "wasm_platform-", "wasm_unwind-"] {
        assert!(crates.iter().any(|name| name.starts_with(prefix)), "{prefix} is not among {crates:?}");
    }
}

const HELLO: &str = "Got 3 from WebAssembly\nmy host state is: 4\n";

/// Starts `wasm_run hello.cwasm` and waits until it waits for somebody to read: its guest is in the middle of its call to the host.
fn start_hello() -> Running {
    let running = Running::start("wasm_run", &["/guests/hello.cwasm"], 1);
    while running.waiting_output() == 0 {
        task::schedule();
    }
    running
}

fn the_engine_comes_and_goes() {
    assert_unloaded();
    let first = start_hello();
    assert_loaded();
    let second = start_hello();
    let both = wasm_crates().len();
    let output = first.finish();
    assert_eq!((output.ending, &*output.stdout), (Ending::Status(0), HELLO));
    // The other has a copy of the program of its own, and still the same engine.
    assert_eq!(wasm_crates().len(), both - 1);
    let third = start_hello();
    let output = second.finish();
    assert_eq!((output.ending, &*output.stdout), (Ending::Status(0), HELLO));
    assert_loaded();
    let output = third.finish();
    assert_eq!((output.ending, &*output.stdout), (Ending::Status(0), HELLO));
    assert_unloaded();
}

fn wasi_comes_and_goes() {
    let is_loaded = || wasm_crates().iter().any(|name| name.starts_with("wasm_wasi-"));
    let hello = start_hello();
    assert!(!is_loaded(), "for a program that does not import it");
    hello.finish();
    let args = ["--dir-ro", "/guests", "/guests/wasi_cat.cwasm", "hello.wat", "./fib.wat"];
    let start = || {
        let running = Running::start("wasm_run", &args, 1);
        while running.waiting_output() == 0 {
            task::schedule();
        }
        running
    };
    let running = start();
    assert!(is_loaded());
    let output = running.finish();
    assert_eq!(output.ending, Ending::Status(0));
    assert!(output.stdout.starts_with(";; The example every page starts with"), "{}", output.stdout);
    assert!(output.stdout.contains(";; Calls itself a lot."), "{}", output.stdout);
    assert_unloaded();
    // While a function of WASI waits for somebody to read what it writes.
    let running = start();
    running.task().kill(KillReason::Requested).expect("it waits");
    assert_eq!(running.finish().ending, Ending::Killed(KillReason::Requested.to_string()));
    assert_unloaded();
}

fn the_engine_goes_however_a_program_ends() {
    const ROUNDS: usize = 10;
    for (args, status) in [
        (&["/guests/hello.cwasm"][..], 0),
        (&["--invoke", "sum", "/guests/memory.cwasm"], 0),
        (&["--invoke", "stack_overflow", "/guests/traps.cwasm"], 134),
        (&["/guests/test_unknown_import.cwasm"], 1),
        (&["/guests/wasi_cat.cwasm", "--dir-ro", "/guests::g", "--", "hello.wat"], 0),
        (&["/guests/wasi_cat.cwasm", "--dir-ro", "/guests", "--", "nothing"], 44),
        (&["/guests/wasi_cat.cwasm", "--dir", "/namespaces", "--", "nothing"], 1),
        (&["/nowhere.cwasm"], 1),
        (&["--nonsense"], 2),
    ] {
        leaves_nothing(|| {
            for _ in 0..ROUNDS {
                assert_eq!(run_program("wasm_run", args).ending, Ending::Status(status), "{args:?}");
                assert_unloaded();
            }
        });
    }
}

fn a_killed_program_takes_the_engine_along() {
    leaves_nothing(|| {
        let running = start_hello();
        assert_loaded();
        running.task().kill(KillReason::Requested).expect("it has not ended");
        let output = running.finish();
        assert_eq!(output.ending, Ending::Killed(KillReason::Requested.to_string()));
        assert!(HELLO.starts_with(&output.stdout), "{}", output.stdout);
        assert_unloaded();
    });
}

fn a_guest_that_never_returns_is_killed() {
    leaves_nothing(|| {
        for turns in 0..5 {
            let running = Running::start("wasm_run", &["/guests/spin.cwasm"], 1);
            for _ in 0..10 * turns {
                task::schedule();
            }
            running.task().kill(KillReason::Requested).expect("it cannot have ended");
            assert_eq!(running.finish().ending, Ending::Killed(KillReason::Requested.to_string()));
            assert_unloaded();
        }
    });
}

/// Microseconds by which the moments of the kills differ.
const STEP: u64 = 300;

fn programs_are_killed_at_any_moment() {
    const KILLS: u64 = 40;
    let (mut killed, mut finished) = (0, 0);
    leaves_nothing(|| {
        for number in 0..KILLS {
            // It traps by itself, after a while and with a long backtrace, if it is not killed before.
            let args = ["--invoke", "stack_overflow", "/guests/traps.cwasm"];
            let running = Running::start("wasm_run", &args, 64 << 10);
            let started = time::Instant::now();
            while started.elapsed().as_micros() < u128::from(number * STEP) {
                core::hint::spin_loop();
            }
            // It may have ended.
            let _ = running.task().kill(KillReason::Requested);
            match running.finish().ending {
                Ending::Status(134) => finished += 1,
                Ending::Killed(reason) if reason == KillReason::Requested.to_string() => killed += 1,
                other => panic!("{other:?}"),
            }
            assert_unloaded();
        }
    });
    assert!(killed > 0, "{killed} killed, {finished} finished");
}

fn programs_run_at_the_same_time() {
    const PROGRAMS: usize = 5;
    const ROUNDS: usize = 4;
    leaves_nothing(|| {
        for _ in 0..ROUNDS {
            let start = |number: usize| match number % 2 {
                0 => (Running::start("wasm_run", &["/guests/hello.cwasm"], 8), HELLO),
                _ => {
                    (Running::start("wasm_run", &["--invoke", "fib", "/guests/fib.cwasm", "15"], 8), "610\n")
                }
            };
            let running: Vec<(Running, &str)> = (0..PROGRAMS).map(start).collect();
            for (running, expected) in running {
                let output = running.finish();
                assert_eq!((output.ending, &*output.stdout), (Ending::Status(0), expected));
            }
            assert_unloaded();
        }
    });
}

fn greedy_programs_leave_a_reserve() {
    const PROGRAMS: usize = 8;
    /// What they have together, in frames.
    const LEFT: usize = 32 << 10;
    /// Frames in a page of WebAssembly, the least that they ask for.
    const WASM_PAGE: usize = 16;
    const ARGS: [&str; 5] = ["--max-memory", "4G", "--invoke", "take_all", "/guests/test_greedy.cwasm"];
    let works = |name: &str, args: &[&str]| {
        let output = run_program(name, args);
        assert_eq!((&output.ending, &*output.stderr), (&Ending::Status(0), ""), "{name} {args:?}");
    };
    leaves_nothing(|| {
        let running: Vec<Running> = {
            let _ballast = Ballast::leaving_to_guests(LEFT);
            let running: Vec<Running> =
                (0..PROGRAMS).map(|_| Running::start("wasm_run", &ARGS, 1 << 10)).collect();
            // Some may have come too late for more than an error.
            let reserve = frame_allocator::statistics().reserve;
            while frame_allocator::free_frames() > reserve + WASM_PAGE {
                task::schedule();
            }
            for (name, args) in [("ls", &["/guests"][..]), ("ps", &[]), ("free", &[])] {
                works(name, args);
            }
            for program in &running {
                if !program.task().has_exited() {
                    run_program("kill", &[&program.task().id.to_string()]);
                }
            }
            running
        };
        let mut killed = 0;
        for program in running {
            match program.finish() {
                Output { ending: Ending::Killed(reason), .. } => {
                    assert_eq!(reason, KillReason::Requested.to_string());
                    killed += 1;
                }
                Output { ending: Ending::Status(1), stderr, .. } => {
                    assert!(stderr.lines().count() == 1 && stderr.contains("memory"), "{stderr}");
                }
                other => panic!("{other:?}"),
            }
        }
        assert!(killed > 0);
        assert_unloaded();
    });
}

fn with_little_memory_left() {
    // Frames that are left: from none at all to more than enough; of the reserve, where programs are loaded, but not run, and beyond it.
    const ENOUGH: usize = 800;
    const STEP: usize = 11;
    let of_all = (0..=ENOUGH).step_by(STEP).map(|frames| (frames, Ballast::leaving as fn(usize) -> Ballast));
    let of_guests =
        (0..=ENOUGH).step_by(STEP).map(|frames| (frames, Ballast::leaving_to_guests as fn(usize) -> Ballast));
    let _bulk = Ballast::leaving_to_guests(ENOUGH);
    let (mut done, mut not_loaded, mut refused) = (0, 0, 0);
    for (frames, ballast) in of_all.chain(of_guests) {
        let ballast = ballast(frames);
        let result = Running::try_start("wasm_run", &["/guests/hello.cwasm"], 512).map(Running::finish);
        drop(ballast);
        match result {
            Err(reason) => {
                assert!(reason.lines().count() == 1 && reason.contains("memory"), "{frames} left: {reason}");
                not_loaded += 1;
            }
            Ok(Output { ending: Ending::Status(0), stdout, .. }) if stdout == HELLO => done += 1,
            Ok(Output { ending: Ending::Status(1), stdout, stderr }) if stdout.is_empty() => {
                assert!(stderr.lines().count() == 1 && stderr.contains("memory"), "{frames} left: {stderr}");
                refused += 1;
            }
            Ok(other) => panic!("{frames} left: {other:?}"),
        }
        assert_unloaded();
    }
    assert!(
        done > 0 && not_loaded > 0 && refused > 0,
        "{done} done, {not_loaded} not loaded, {refused} refused"
    );
}
