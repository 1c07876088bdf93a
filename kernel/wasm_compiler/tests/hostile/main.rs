//! Modules that nobody means well with are compiled or refused, within bounded time, memory and stack; and whatever happens
//! half-way, nothing is left.
//!
//! `cargo test --release -p wasm_compiler --test hostile -- --nocapture` prints what each of them costs. Only a release build has
//! them all: with its debug assertions Cranelift takes the square of the time for many.

#![feature(alloc_error_hook)]

mod cases;
mod encode;
mod measure;

use cases::{CASES, Case, Expected};
use measure::{Cost, run};
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;
use wasm_compiler::{Compiler, Settings, Target};

#[global_allocator]
static ALLOCATOR: measure::Counting = measure::Counting;

/// As much as a compiling task has in the kernel.
const STACK: usize = 1 << 20;
/// The most memory that any of the modules may take, in bytes, its own bytes not counted.
const MEMORY: usize = 1200 << 20;
/// The most time, in a build that is optimised. Most of what takes longer than a second is many functions.
const TIME: Duration = Duration::from_secs(20);

fn compiler() -> Compiler {
    Compiler::new(Settings::new(Target::Linux)).unwrap()
}

/// One line about a case.
fn print(case: &Case, wasm: &[u8], result: &Result<usize, String>, cost: &Cost) {
    let outcome = match result {
        Ok(size) => format!("compiled, {:.1} MB", *size as f64 / 1e6),
        Err(error) => error.clone(),
    };
    println!(
        "{:60} {:8.3} s {:7.1} MB {:4} KB of stack {:6.1} MB of wasm: {outcome}",
        case.name,
        cost.time.as_secs_f64(),
        cost.memory as f64 / 1e6,
        cost.stack >> 10,
        wasm.len() as f64 / 1e6,
    );
}

#[test]
fn hostile_modules_are_compiled_or_refused_within_limits() {
    let compiler = compiler();
    for case in CASES.iter().filter(|case| !(case.is_large && cfg!(debug_assertions))) {
        let wasm = (case.wasm)();
        let compile = || compiler.compile(&wasm).map(|file| file.len()).map_err(|error| error.to_string());
        let (result, cost) = run(STACK, compile);
        print(case, &wasm, &result, &cost);
        match (&case.expected, &result) {
            (Expected::Compiled, Ok(_)) => {}
            (Expected::Refused(expected), Err(error)) if error.contains(expected) => {
                assert!(!error.contains('\n'), "{error}");
            }
            _ => panic!("{}: {result:?}", case.name),
        }
        assert!(cost.memory < MEMORY, "{}: {} bytes of memory", case.name, cost.memory);
        assert!(cfg!(debug_assertions) || cost.time < TIME, "{}: {:?}", case.name, cost.time);
        let left = cost.left - result.err().map_or(0, |error| error.capacity() as isize);
        assert_eq!(left, 0, "{}: bytes left", case.name);
    }
}

const GUESTS: [&str; 6] = [
    include_str!("../../../../guests/hello.wat"),
    include_str!("../../../../guests/fib.wat"),
    include_str!("../../../../guests/memory.wat"),
    include_str!("../../../../guests/traps.wat"),
    include_str!("../../../../guests/test_calls.wat"),
    include_str!("../../../../guests/test_values.wat"),
];

#[test]
fn modules_cut_anywhere_are_refused() {
    let compiler = compiler();
    for text in GUESTS {
        let wasm = wat::parse_str(text).unwrap();
        for len in 0..wasm.len() {
            // What ends with a section is a module when nothing is missed, for example the names.
            if let Err(error) = compiler.compile(&wasm[..len]) {
                assert!(error.to_string().contains("(at offset 0x"), "{len}: {error}");
            }
        }
    }
}

#[test]
fn modules_with_bytes_changed_are_compiled_or_refused() {
    let compiler = compiler();
    let cases = if cfg!(debug_assertions) { 3_000 } else { 100_000 };
    let mut state = 1u64;
    let mut random = move |below: usize| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) as usize % below
    };
    let modules = GUESTS.map(|text| wat::parse_str(text).unwrap());
    let mut compiled = 0;
    for case in 0..cases {
        let mut wasm = modules[case % modules.len()].clone();
        for _ in 0..1 + random(3) {
            let at = random(wasm.len());
            match random(4) {
                0 => wasm[at] = random(256) as u8,
                1 => wasm[at] ^= 1 << random(8),
                2 => wasm.insert(at, random(256) as u8),
                _ => drop(wasm.remove(at)),
            }
        }
        match compiler.compile(&wasm) {
            Ok(_) => compiled += 1,
            Err(error) => assert!(!error.to_string().contains('\n'), "{error}"),
        }
    }
    assert!(compiled > cases / 50 && compiled < cases / 2, "{compiled} of {cases} compiled");
}

/// Whether a panic tells of a lack of memory: that of the hook below, or of someone who tried to allocate and then gave up.
fn is_lack_of_memory(panic: &(dyn Any + Send)) -> bool {
    let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
    text.is_some_and(|text| {
        ["no memory for", "OutOfMemory", "out of memory"].iter().any(|part| text.contains(part))
    })
}

#[test]
fn without_memory_at_any_moment_nothing_is_left() {
    std::alloc::set_alloc_error_hook(|layout| panic!("no memory for {} bytes", layout.size()));
    // Thousands of panics need no words; and the first one allocates what stays.
    let words = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    drop(catch_unwind(|| panic!("{}", 1)));
    let compiler = compiler();
    let wasm = wat::parse_str(GUESTS[3]).unwrap();
    let compile = || compiler.compile(&wasm).map(drop);
    let allocations = measure::allocations(|| compile().unwrap());
    let step = if cfg!(debug_assertions) { 101 } else { 7 };
    let (mut unwound, mut refused) = (0, 0);
    let mut left = None;
    for which in (1..allocations).step_by(step) {
        let before = measure::live();
        match measure::without_memory(which, || catch_unwind(AssertUnwindSafe(compile))) {
            Ok(Err(error)) if error.to_string().contains("memory") => refused += 1,
            Err(panic) if is_lack_of_memory(&*panic) => unwound += 1,
            other => {
                left = Some(format!("without allocation {which} of {allocations}: {other:?}"));
                break;
            }
        }
        if measure::live() != before {
            left = Some(format!("bytes are left when allocation {which} of {allocations} fails"));
            break;
        }
    }
    std::alloc::take_alloc_error_hook();
    std::panic::set_hook(words);
    assert_eq!(left, None);
    assert!(unwound > 100 / step, "{unwound} unwound, {refused} refused");
}
