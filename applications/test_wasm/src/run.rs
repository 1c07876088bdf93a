//! The program `wasm_run`: what it prints and how it ends.

use crate::artifacts::altered;
use crate::guest::artifact;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::cell::Cell;
use ktest_system::{Ballast, Ending, Output, leaves_nothing, run_program};
use memory::PAGE_SIZE;
use path::Path;
use wasm_artifact::CpuFeatures;

/// Runs `wasm_run` with the words of `line` and returns its status, standard output and standard error.
fn wasm_run(line: &str) -> (isize, String, String) {
    let args: Vec<&str> = line.split_whitespace().collect();
    let Output { ending, stdout, stderr } = run_program("wasm_run", &args);
    match ending {
        Ending::Status(status) => (status, stdout, stderr),
        Ending::Killed(reason) => panic!("wasm_run {line} died: {reason}"),
    }
}

/// Panics unless `wasm_run` prints `stdout` and nothing else, with status 0.
fn expect_output(line: &str, stdout: &str) {
    assert_eq!(wasm_run(line), (0, stdout.to_string(), String::new()), "wasm_run {line}");
}

/// Panics unless `wasm_run` prints just one line, to standard error, with this status. The line is `wasm_run: ` and `message`.
fn expect_refusal(line: &str, status: isize, message: &str) {
    assert_eq!(wasm_run(line), (status, String::new(), format!("wasm_run: {message}\n")), "wasm_run {line}");
}

/// Puts `content` into the file at `path`.
fn write_file(path: &str, content: &[u8]) {
    let file = file_ops::create_file(Path::new(path), root::get_root()).expect("/tmp can be written to");
    let mut file = file.lock();
    let mut written = 0;
    while written < content.len() {
        written += file.write_at(&content[written..], written).expect("there is memory for it");
    }
}

/// Removes the file at `path`.
fn remove_file(path: &str) {
    let failures = file_ops::remove(Path::new(path), root::get_root(), false);
    assert!(failures.is_empty(), "{failures:?}");
}

/// A file for bad input.
const FILE: &str = "/tmp/test.cwasm";

/// Calls `check` with [`FILE`] having this content.
fn with_file(content: &[u8], check: impl FnOnce()) {
    write_file(FILE, content);
    check();
    remove_file(FILE);
}

const HELLO: &str = "Got 3 from WebAssembly\nmy host state is: 4\n";

pub(crate) fn hello() {
    expect_output("/guests/hello.cwasm", HELLO);
    expect_output("/hello.cwasm", HELLO);
    expect_output("--invoke run /guests/hello.cwasm", HELLO);
    expect_output("-- /guests/hello.cwasm", HELLO);
    // Arguments are the program's own business.
    expect_output("/guests/hello.cwasm one --invoke two", HELLO);
}

pub(crate) fn invoke() {
    for (call, stdout) in [("fib 20", "6765\n"), ("fib 0", "0\n"), ("fib 0xa", "55\n")] {
        let (name, args) = call.split_once(' ').expect("each has an argument");
        expect_output(&format!("--invoke {name} /guests/fib.cwasm {args}"), stdout);
    }
    for (name, args, stdout) in [
        ("nothing", "", ""),
        ("add_i32", "2147483647 1", "-2147483648\n"),
        ("add_i32", "4294967295 0", "-1\n"),
        ("add_i64", "9223372036854775807 1", "-9223372036854775808\n"),
        ("add_i64", "-5 0xff", "250\n"),
        ("half_f32", "0.2", "0.1\n"),
        ("half_f32", "-inf", "-inf\n"),
        ("root_f64", "2", "1.4142135623730951\n"),
        ("root_f64", "-1", "NaN\n"),
        ("swap", "1 -2", "-2\n1\n"),
        ("all", "", "-1\n-9223372036854775808\n0.1\n-inf\n"),
        ("null_function", "", "<null funcref>\n"),
        ("a_function", "", "<funcref>\n"),
    ] {
        expect_output(&format!("--invoke {name} /guests/test_values.cwasm {args}"), stdout);
    }
}

pub(crate) fn traps() {
    const STATUS: isize = 134;
    for (name, last_line) in [
        ("unreachable", "    wasm trap: wasm `unreachable` instruction executed"),
        ("memory_out_of_bounds", "    wasm trap: out of bounds memory access"),
        ("divide_by_zero", "    wasm trap: integer divide by zero"),
        ("stack_overflow", "    wasm trap: call stack exhausted"),
    ] {
        let (status, stdout, stderr) = wasm_run(&format!("--invoke {name} /guests/traps.cwasm"));
        assert_eq!((status, &*stdout), (STATUS, ""));
        let lines: Vec<&str> = stderr.lines().collect();
        assert_eq!(lines[0], "wasm_run: /guests/traps.cwasm: error while executing at wasm backtrace:");
        assert_eq!(lines.last(), Some(&last_line));
    }
    let (status, _, stderr) = wasm_run("/guests/test_start.cwasm");
    assert_eq!(status, STATUS);
    assert!(stderr.contains("test_start!start"), "{stderr}");
}

pub(crate) fn usage() {
    for (line, message) in [
        ("", "no file is given"),
        ("--", "no file is given"),
        ("--invoke", "--invoke needs a value"),
        ("--invoke run", "no file is given"),
        ("--frobnicate /guests/hello.cwasm", "unknown option --frobnicate"),
        ("-x", "unknown option -x"),
    ] {
        expect_refusal(line, 2, &format!("{message}; see wasm_run --help"));
    }
    let (status, stdout, stderr) = wasm_run("--help");
    assert_eq!((status, &*stderr), (0, ""));
    assert!(stdout.starts_with("usage: wasm_run [options] FILE"), "{stdout}");
}

pub(crate) fn bad_files() {
    let cannot_read = |file: &str, reason: &str| {
        expect_refusal(file, 1, &format!("{file}: {reason}; give the name of a WebAssembly file"));
    };
    cannot_read("/nowhere.cwasm", "no such file or directory");
    cannot_read("/nowhere/at/all.cwasm", "no such file or directory");
    cannot_read("/guests/hello.cwasm/inner", "not a directory");
    cannot_read("/guests", "is a directory");
    cannot_read("/", "is a directory");

    let refused = |content: &[u8], reason: &str| {
        with_file(content, || expect_refusal(FILE, 1, &format!("{FILE}: {reason}")));
    };
    const NOT_COMPILED: &str = "not a compiled module (.cwasm); compile the .wasm or .wat file with wasmc";
    refused(b"", "the file is empty; compile a module with wasmc");
    // What a file is, its content says, whatever its name.
    refused(b"\0", "unexpected character '\\u{0}' (line 1, column 1); correct the module");
    refused(b"\0asm\x01\0\0\0", "exports no function to run; export one from the module");
    refused(b"(module)", "exports no function to run; export one from the module");
    refused(b"#!/bin/sh\nexit 0\n", "expected `(` (line 1, column 1); correct the module");
    refused(
        &random_bytes(100_000),
        "neither a WebAssembly module nor text: it does not begin with \\0asm and is not UTF-8; correct the module",
    );
    refused(b"\x7fELF", NOT_COMPILED);
    // An object file is ELF, too.
    let object = wasm_engine::read_file(wasm_run_object()).expect("the program's own object can be read");
    refused(&object, NOT_COMPILED);

    for (guest, reason) in [
        (
            "test_unknown_import",
            "unknown import: `host::goodbye` has not been defined; link the module without it: there is only `host::hello`, a \
             function with an i32",
        ),
        (
            "test_other_import",
            "incompatible import type for `host::hello`: types incompatible: expected type `(type (func (param i64)))`, found type \
             `(type (func (param i32)))`; correct the module",
        ),
    ] {
        let file = format!("/guests/{guest}.cwasm");
        expect_refusal(&file, 1, &format!("{file}: {reason}"));
    }
}

/// Bytes without any order, the same every time.
fn random_bytes(count: usize) -> Vec<u8> {
    let mut state = 0x2545_F491_4F6C_DD1Du64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    core::iter::repeat_with(next).take(count).collect()
}

/// The path of the object file of `wasm_run`.
fn wasm_run_object() -> String {
    let namespace = task::with_current_task(|task| task.get_namespace().clone()).expect("a task runs tests");
    let file = namespace.dir().get_file_starting_with("wasm_run-").expect("the program is there");
    let file = file.lock();
    file.get_absolute_path()
}

pub(crate) fn for_somebody_else() {
    let refused = |content: Vec<u8>, reason: &str| {
        with_file(&content, || expect_refusal(FILE, 1, &format!("{FILE}: {reason}")));
    };
    refused(
        altered("hello", |info| info.target = "x86_64-linux".to_string()),
        "the artifact was compiled for x86_64-linux; compile it again with --target x86_64-theseus",
    );
    refused(
        altered("hello", |info| info.version = "wasm_engine 0.0.0".to_string()),
        &format!(
            "the artifact was compiled by \"wasm_engine 0.0.0\", this is \"{}\"; compile it again",
            wasm_artifact::elf::ENGINE_VERSION
        ),
    );
    refused(
        altered("hello", |info| info.tunables.memory_guard_size *= 2),
        "the artifact was compiled for other memory reservations or guards; compile it again",
    );
    let unknown = unknown_feature();
    refused(
        altered("hello", |info| info.cpu = CpuFeatures::of_this_cpu().union(unknown)),
        &format!(
            "the artifact needs CPU features this machine lacks: {unknown}; compile it again with a lower --cpu"
        ),
    );
    // Unchanged, it is as good as before; and what this machine has it may need.
    for info in [CpuFeatures::BASELINE, CpuFeatures::of_this_cpu()] {
        with_file(&altered("hello", |engine| engine.cpu = info), || expect_output(FILE, HELLO));
    }
}

/// A feature that no machine has. It has no name; so the only way to it is that of a file, a number.
fn unknown_feature() -> CpuFeatures {
    let encoded = bincode::serde::encode_to_vec(1u32 << 31, bincode::config::standard())
        .expect("a number can be encoded");
    let decoded = bincode::serde::decode_from_slice(&encoded, bincode::config::standard());
    decoded.expect("features are a number").0
}

/// Refusals of cut and changed artifacts, at this many places each.
const PLACES: usize = 40;

pub(crate) fn cut_and_changed() {
    let whole = artifact("hello");
    for number in 0..PLACES {
        let at = number * whole.len() / PLACES;
        with_file(&whole[..at], || expect_one_line(FILE));
        let mut changed = whole.clone();
        changed[at] = !changed[at];
        with_file(&changed, || expect_one_line(FILE));
    }
    with_file(&whole, || expect_output(FILE, HELLO));
}

/// Panics unless `wasm_run` says in one line what is wrong and what to do, with status 1.
fn expect_one_line(line: &str) {
    let (status, stdout, stderr) = wasm_run(line);
    assert_eq!((status, &*stdout), (1, ""), "wasm_run {line}: {stderr}");
    assert!(stderr.starts_with("wasm_run: ") && stderr.ends_with('\n') && stderr.contains("; "), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
}

pub(crate) fn names_and_arguments() {
    const VALUES: &str = "/guests/test_values.cwasm";
    const FUNCTIONS: &str = "nothing(), add_i32(i32, i32) -> i32, add_i64(i64, i64) -> i64, half_f32(f32) -> f32, root_f64(f64) -> \
                             f64, swap(i32, i64) -> i64, i32, all() -> i32, i64, f32, f64, null_function() -> funcref, \
                             a_function() -> funcref, takes_reference(externref)";
    for (name, args, reason) in [
        ("missing", "", &*format!("no function is exported as `missing`; functions are: {FUNCTIONS}")),
        ("memory", "", &*format!("the export `memory` is no function; functions are: {FUNCTIONS}")),
        ("answer", "", &*format!("the export `answer` is no function; functions are: {FUNCTIONS}")),
        ("nothing", "1", "`nothing` takes 0 arguments, 1 given; give 0"),
        ("add_i32", "1", "`add_i32` takes 2 arguments (i32 i32), 1 given; give 2"),
        ("half_f32", "", "`half_f32` takes 1 argument (f32), 0 given; give 1"),
        ("add_i32", "1 two", "argument 2 of `add_i32`, `two`, is no i32; give a number that fits"),
        (
            "add_i32",
            "4294967296 1",
            "argument 1 of `add_i32`, `4294967296`, is no i32; give a number that fits",
        ),
        ("add_i64", "1 1.5", "argument 2 of `add_i64`, `1.5`, is no i64; give a number that fits"),
        ("root_f64", "x", "argument 1 of `root_f64`, `x`, is no f64; give a number that fits"),
        (
            "takes_reference",
            "0",
            "argument 1 of `takes_reference`, `0`, is no externref; such arguments cannot be given here",
        ),
    ] {
        expect_refusal(&format!("--invoke {name} {VALUES} {args}"), 1, &format!("{VALUES}: {reason}"));
    }
    for (file, reason) in [
        (
            "/guests/fib.cwasm",
            "every function it exports has parameters; give them with --invoke NAME: fib(i32) -> i64",
        ),
        ("/guests/test_no_functions.cwasm", "exports no function to run; export one from the module"),
        (
            "/guests/memory.cwasm",
            "exports several functions that could be run; choose one with --invoke: size() -> i32, grow(i32) -> i32, load(i32) -> \
             i32, store(i32, i32), sum() -> i64, fold()",
        ),
    ] {
        expect_refusal(file, 1, &format!("{file}: {reason}"));
    }
}

pub(crate) fn not_enough_memory() {
    /// What the guest asks for, in frames.
    const WANTED: usize = (4 << 30) / PAGE_SIZE;
    const FILE: &str = "/guests/test_huge.cwasm";
    leaves_nothing(|| {
        // Machines that have so much get less.
        let _ballast = Ballast::leaving(WANTED / 2);
        expect_refusal(
            &format!("--max-memory 4G {FILE}"),
            1,
            &format!(
                "{FILE}: could not commit memory: out of physical memory; free some, or give the machine more"
            ),
        );
        // What a program may have by default is less than that.
        expect_one_line(FILE);
        expect_output("/guests/hello.cwasm", HELLO);
    });
}

pub(crate) fn limits() {
    let grow = "--invoke grow /guests/test_growth.cwasm";
    let grow_table = "--invoke grow_table /guests/test_greedy.cwasm";
    let large_table = "--invoke grow_table /guests/test_greedy.cwasm 2000000";
    for (line, stdout) in [
        (format!("--max-memory 1MiB {grow} 16"), "0\n"),
        (format!("--max-memory 1MiB {grow} 17"), "-1\n"),
        (format!("--max-memory 65535 {grow} 1"), "-1\n"),
        (format!("--max-table 10 {grow_table} 10"), "0\n"),
        (format!("--max-table 10 {grow_table} 11"), "-1\n"),
        // The default, and more than that.
        (large_table.to_string(), "-1\n"),
        (format!("--max-table 2000000 {large_table}"), "0\n"),
    ] {
        expect_output(&line, stdout);
    }
    for (line, reason) in [
        (
            "--max-memory 60K --invoke size /guests/memory.cwasm",
            "/guests/memory.cwasm: memory minimum size of 1 pages exceeds memory limits; allow more with --max-memory, which is 60K",
        ),
        (
            "--max-table 1 --invoke call_procedure /guests/test_traps.cwasm 2",
            "/guests/test_traps.cwasm: table minimum size of 3 elements exceeds table limits; allow more with --max-table, which is 1",
        ),
        (
            "--max-instances 0 /guests/hello.cwasm",
            "/guests/hello.cwasm: resource limit exceeded: instance count too high at 1; allow more with --max-instances, which is 0",
        ),
        (
            "--max-memories 0 --invoke size /guests/memory.cwasm",
            "/guests/memory.cwasm: resource limit exceeded: memory count too high at 1; allow more with --max-memories, which is 0",
        ),
        (
            "--max-tables 0 --invoke call_procedure /guests/test_traps.cwasm 2",
            "/guests/test_traps.cwasm: resource limit exceeded: table count too high at 2; allow more with --max-tables, which is 0",
        ),
    ] {
        expect_refusal(line, 1, reason);
    }
    // More of a stack, and less, than usual; and more than there is memory for.
    for stack in ["16K", "4M"] {
        let (status, _, stderr) =
            wasm_run(&format!("--max-stack {stack} --invoke stack_overflow /guests/traps.cwasm"));
        assert_eq!(status, 134);
        assert!(stderr.ends_with("wasm trap: call stack exhausted\n"), "{stderr}");
    }
    let _ballast = Ballast::leaving_to_guests((32 << 20) / PAGE_SIZE);
    expect_refusal(
        "--max-stack 64M /guests/hello.cwasm",
        1,
        "no memory for a stack of 65664 KiB; free some and try again",
    );
}

pub(crate) fn leaves_nothing_behind() {
    const TIMES: usize = 1000;
    let whole = artifact("hello");
    let mut changed = whole.clone();
    changed[whole.len() / 2] ^= 1;
    let files = [
        ("/tmp/empty.cwasm", Vec::new()),
        ("/tmp/random.cwasm", random_bytes(20_000)),
        ("/tmp/cut.cwasm", whole[..whole.len() / 2].to_vec()),
        ("/tmp/changed.cwasm", changed),
        ("/tmp/linux.cwasm", altered("hello", |info| info.target = "x86_64-linux".to_string())),
        ("/tmp/old.cwasm", altered("hello", |info| info.version = "wasm_engine 0.0.0".to_string())),
        ("/tmp/text.wat", b"(module)".to_vec()),
    ];
    for (path, content) in &files {
        write_file(path, content);
    }
    let lines: Vec<&str> = [
        "/nowhere.cwasm",
        "/guests",
        "/guests/test_unknown_import.cwasm",
        "/guests/test_huge.cwasm",
        "--invoke missing /guests/fib.cwasm",
        "--invoke fib /guests/fib.cwasm many",
        "--invoke fib /guests/fib.cwasm",
    ]
    .into_iter()
    .chain(files.iter().map(|(path, _)| *path))
    .collect();
    let _ballast = Ballast::leaving((2 << 30) / PAGE_SIZE);
    // All of them, over and over; one run of `leaves_nothing` does a third, since it runs at least twice.
    let count = Cell::new(0);
    leaves_nothing(|| {
        for _ in 0..TIMES / 2 {
            expect_one_line(lines[count.get() % lines.len()]);
            count.set(count.get() + 1);
        }
    });
    assert!(count.get() >= TIMES);
    for (path, _) in &files {
        remove_file(path);
    }
}
