//! Modules that `wasm_run` compiles: with the compiler that comes and goes, to files, and by the cache.

use crate::{HELLO, assert_unloaded, wasm_crates};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use fs_node::FileOrDir;
use ktest_system::{Ballast, Ending, Output, Running, leaves_nothing, run_program};
use path::Path;
use task::KillReason;

/// Where the cache is.
const CACHE: &str = "/cache/wasm";

/// Bytes at the end of an artifact that depend on who signs.
const SIGNATURE: usize = 96;

/// What is at a path.
fn node(path: &str) -> Option<FileOrDir> {
    Path::new(path).get(root::get_root())
}

fn read(path: &str) -> Vec<u8> {
    let Some(FileOrDir::File(file)) = node(path) else { panic!("there is no file {path}") };
    let mut file = file.lock();
    let mut content = alloc::vec![0; file.len()];
    assert_eq!(file.read_at(&mut content, 0), Ok(content.len()));
    content
}

pub(crate) fn write(path: &str, content: &[u8]) {
    let file = file_ops::create_file(Path::new(path), root::get_root()).expect("there is room");
    file.lock().truncate(content.len()).expect("there is memory");
    assert_eq!(file.lock().write_at(content, 0), Ok(content.len()));
}

pub(crate) fn remove(path: &str) {
    let failures = file_ops::remove(Path::new(path), root::get_root(), true);
    assert!(failures.is_empty(), "{failures:?}");
}

/// Names of the files in a directory; none if there is no directory.
fn names(path: &str) -> Vec<String> {
    match node(path) {
        Some(FileOrDir::Dir(dir)) => dir.lock().list(),
        _ => Vec::new(),
    }
}

fn clear_cache() {
    assert_eq!(run_program("wasm_run", &["cache", "clear"]).ending, Ending::Status(0));
    assert!(names(CACHE).is_empty());
}

fn is_compiler_loaded() -> bool {
    wasm_crates().iter().any(|name| name.starts_with("wasm_compiler-"))
}

/// Starts the program and waits until its guest is in the middle of a call to the host, which prints.
fn start(args: &[&str]) -> Running {
    let running = Running::start("wasm_run", args, 1);
    while running.waiting_output() == 0 {
        task::schedule();
    }
    running
}

fn assert_hello(output: Output) {
    assert_eq!(
        (output.ending, &*output.stdout, &*output.stderr),
        (Ending::Status(0), HELLO, ""),
        "{}",
        output.stderr
    );
}

/// Expects status 1 and one line with a remedy.
fn assert_refused(args: &[&str], output: Output) {
    let Output { ending, stdout, stderr } = output;
    assert_eq!((ending, &*stdout), (Ending::Status(1), ""), "{args:?}: {stderr}");
    assert!(stderr.lines().count() == 1 && stderr.contains("; "), "{args:?}: {stderr}");
}

pub(crate) fn the_compiler_comes_and_goes() {
    clear_cache();
    leaves_nothing(|| {
        let running = start(&["--no-cache", "/guests/hello.wat"]);
        assert!(is_compiler_loaded());
        assert_hello(running.finish());
        assert_unloaded();
        assert!(names(CACHE).is_empty());
    });
}

pub(crate) fn compiled_files_are_those_of_linux() {
    let mut programs = names("/guests");
    programs.retain(|name| name.ends_with(".wat"));
    assert!(programs.len() > 5, "{programs:?}");
    for program in programs {
        let stem = program.trim_end_matches(".wat");
        let (input, output) = (format!("/guests/{program}"), format!("/tmp/{stem}.cwasm"));
        // `wasmc` compiled those in the image, for any CPU, and signed them with another key.
        let by_wasmc = read(&format!("/guests/{stem}.cwasm"));
        let (code, signature) = by_wasmc.split_at(by_wasmc.len() - SIGNATURE);
        assert!(signature.iter().any(|byte| *byte != 0));
        for signed in [true, false] {
            let args = ["compile", "--cpu", "baseline", &input, "-o", &output, "--no-sign"];
            let args = &args[..args.len() - usize::from(signed)];
            let Output { ending, stdout, stderr } = run_program("wasm_run", args);
            assert_eq!(
                (ending, stdout, stderr),
                (Ending::Status(0), String::new(), String::new()),
                "{program}"
            );
            let compiled = read(&output);
            let (own_code, own_signature) = compiled.split_at(compiled.len() - SIGNATURE);
            assert!(own_code == code, "{program} is compiled to something else here");
            assert!(own_signature != signature && own_signature.iter().any(|byte| *byte != 0) == signed);
            remove(&output);
        }
    }
    assert_unloaded();
    // For this CPU, which is what is run.
    let args = ["compile", "/guests/hello.wat", "-o", "/tmp/h.cwasm"];
    assert_eq!(run_program("wasm_run", &args).ending, Ending::Status(0));
    assert_hello(run_program("wasm_run", &["/tmp/h.cwasm"]));
    remove("/tmp/h.cwasm");
}

pub(crate) fn what_was_compiled_is_kept() {
    clear_cache();
    let first = start(&["/guests/hello.wat"]);
    assert!(is_compiler_loaded());
    assert_hello(first.finish());
    let entries = names(CACHE);
    assert_eq!(entries.len(), 1, "{entries:?}");
    // From now on without the compiler.
    leaves_nothing(|| {
        let again = start(&["/guests/hello.wat"]);
        assert!(!is_compiler_loaded(), "{:?}", wasm_crates());
        assert_hello(again.finish());
    });
    let listed = run_program("wasm_run", &["cache"]).stdout;
    assert!(listed.contains("x86_64-theseus") && listed.contains(" /guests/hello.wat\n"), "{listed}");
    assert!(listed.contains("\n1 entry, "), "{listed}");
    // What is cut, damaged or another's is not used.
    let path = format!("{CACHE}/{}", entries[0]);
    let whole = read(&path);
    let damaged: Vec<u8> = whole.iter().enumerate().map(|(at, byte)| byte ^ u8::from(at == 5000)).collect();
    let longer = [&whole[..], b"x"].concat();
    for wrong in [&[], &whole[..1], &whole[..4096], &whole[..whole.len() - 1], &damaged, &longer] {
        write(&path, wrong);
        assert_hello(run_program("wasm_run", &["/guests/hello.wat"]));
        assert!(read(&path) == whole, "what is wrong is replaced");
    }
    let cleared = run_program("wasm_run", &["cache", "clear"]).stdout;
    assert!(cleared.starts_with("removed 1 entry, "), "{cleared}");
    assert!(names(CACHE).is_empty());
}

pub(crate) fn entries_of_somebody_else_are_not_believed() {
    clear_cache();
    assert_hello(run_program("wasm_run", &["/guests/hello.wat"]));
    let hello = format!("{CACHE}/{}", names(CACHE)[0]);
    let good = read(&hello);
    // A program of the same interface that says something else; and its entry.
    let text = r#"(module (import "host" "hello" (func $hello (param i32)))
        (func (export "run") (call $hello (i32.const 666))))"#;
    write("/tmp/evil.wat", text.as_bytes());
    let evil_says = run_program("wasm_run", &["/tmp/evil.wat"]);
    assert!(evil_says.stdout.contains("666"), "{evil_says:?}");
    let evil = names(CACHE).into_iter().map(|name| format!("{CACHE}/{name}")).find(|path| *path != hello);
    let evil = read(&evil.expect("it has an entry of its own"));
    // From the end: magic 8, digest 32, length of the strings 4, of the artifact 8, its hash 32, key 32, strings.
    const KEY: usize = 8 + 32 + 4 + 8 + 32 + 32;
    let key_of = |entry: &[u8]| -> Vec<u8> { entry[entry.len() - KEY..][..32].to_vec() };
    let forged = |secret: Option<&[u8; 32]>| {
        let mut entry = evil.clone();
        let len = entry.len();
        entry[len - KEY..][..32].copy_from_slice(&key_of(&good));
        let strings = &entry[len - 8 - 32 - 4..][..4];
        let strings = u32::from_le_bytes([strings[0], strings[1], strings[2], strings[3]]) as usize;
        let signed = &entry[len - KEY - strings..len - 8 - 32];
        let digest = match secret {
            Some(secret) => blake3::keyed_hash(secret, signed),
            None => blake3::hash(signed),
        };
        entry[len - 8 - 32..len - 8].copy_from_slice(digest.as_bytes());
        entry
    };
    let mut moved = evil.clone();
    let at = moved.len() - KEY;
    moved[at..][..32].copy_from_slice(&key_of(&good));
    for wrong in [&evil, &moved, &forged(None), &forged(Some(&[0; 32])), &forged(Some(&[7; 32]))] {
        write(&hello, wrong);
        assert_hello(run_program("wasm_run", &["/guests/hello.wat"]));
        assert!(read(&hello) == good, "what is forged is replaced");
    }
    // The same bytes in their own place are as good as before: it is their origin that counts.
    leaves_nothing(|| assert_hello(run_program("wasm_run", &["/guests/hello.wat"])));
    remove("/tmp/evil.wat");
    clear_cache();
    assert_unloaded();
}

pub(crate) fn signed_files_are_run_and_others_are_not() {
    const FILE: &str = "/tmp/h.cwasm";
    let compiled = |args: &[&str]| {
        let all = [&["compile", "/guests/hello.wat", "-o", FILE], args].concat();
        assert_eq!(run_program("wasm_run", &all).ending, Ending::Status(0));
        read(FILE)
    };
    let signed = compiled(&[]);
    // The engine was unloaded and loaded again meanwhile: the key is still the same.
    assert_unloaded();
    assert_hello(run_program("wasm_run", &[FILE]));
    let inspected = |expected: &str| {
        let stdout = run_program("wasm_run", &["inspect", FILE]).stdout;
        assert!(stdout.contains("  signed by     ") && stdout.contains(expected), "{stdout}");
    };
    inspected(", which this system trusts\n");
    // By a key that the person at the console gives.
    let line = "ed25519-secret 4141414141414141414141414141414141414141414141414141414141414141 ";
    write("/tmp/damaged.key", format!("{line}0000000000000000\n").as_bytes());
    let args = ["compile", "/guests/hello.wat", "-o", FILE, "--key", "/tmp/damaged.key"];
    assert_refused(&args, run_program("wasm_run", &args));
    assert!(read(FILE) == signed, "the output stays as it was");
    for key in ["/keys/trusted.keys", "/nowhere", "/guests/hello.cwasm", "/tmp"] {
        let args = ["compile", "/guests/hello.wat", "-o", FILE, "--key", key];
        assert_refused(&args, run_program("wasm_run", &args));
    }
    assert_hello(run_program("wasm_run", &["--trusted-key", "/keys/trusted.keys", "/guests/hello.cwasm"]));
    assert_hello(run_program("wasm_run", &["--trusted-key=/keys/trusted.keys", FILE]));
    assert_refused(&[FILE], run_program("wasm_run", &["--trusted-key", "/tmp/damaged.key", FILE]));
    remove("/tmp/damaged.key");
    let unsigned = compiled(&["--no-sign"]);
    inspected("nobody\n");
    assert!(unsigned[..unsigned.len() - SIGNATURE] == signed[..signed.len() - SIGNATURE]);
    leaves_nothing(|| {
        let refused = run_program("wasm_run", &[FILE]);
        assert!(refused.stderr.contains("not signed") && refused.stderr.contains("--trust"), "{refused:?}");
        assert_refused(&[FILE], refused);
    });
    assert_hello(run_program("wasm_run", &["--trust", FILE]));
    // It must be whole in any case.
    for at in [5000, signed.len() - SIGNATURE, signed.len() - 1] {
        let mut altered = signed.clone();
        altered[at] ^= 1;
        write(FILE, &altered);
        for args in [&["inspect", FILE][..], &[FILE], &["--trust", FILE]] {
            assert_refused(args, run_program("wasm_run", args));
        }
    }
    remove(FILE);
    assert_unloaded();
}

pub(crate) fn programs_that_compile_the_same_at_once() {
    const PROGRAMS: usize = 8;
    clear_cache();
    let running: Vec<Running> =
        (0..PROGRAMS).map(|_| Running::start("wasm_run", &["/guests/hello.wat"], 512)).collect();
    running.into_iter().for_each(|running| assert_hello(running.finish()));
    let entries = names(CACHE);
    assert!(entries.len() == 1 && entries[0].ends_with(".cached"), "{entries:?}");
    assert_hello(run_program("wasm_run", &["/guests/hello.wat"]));
    clear_cache();
    assert_unloaded();
}

pub(crate) fn bad_modules_leave_nothing() {
    const ROUNDS: usize = 125;
    let files: [(&str, &[u8]); 6] = [
        ("/tmp/empty.wat", b""),
        ("/tmp/random.wasm", &[0xfe; 100]),
        ("/tmp/text.wat", b"(module (func i32.add)"),
        ("/tmp/invalid.wat", b"(module (func (result i32)))"),
        ("/tmp/cut.wasm", b"\0asm\x01\0\0\0\x01\x05"),
        ("/tmp/import.wat", br#"(module (import "a" "b" (func)))"#),
    ];
    files.iter().for_each(|(path, content)| write(path, content));
    // The compiler stays as long as this one has it: to load it a thousand times would take long.
    let keeper = start(&["--no-cache", "/guests/hello.wat"]);
    leaves_nothing(|| {
        for _ in 0..ROUNDS / 2 {
            for (path, _) in &files {
                assert_refused(&[path], run_program("wasm_run", &["--no-cache", path]));
            }
            for args in [&["compile", "/guests"][..], &["compile", "/tmp/invalid.wat", "-o", "/nowhere/x"]] {
                assert_refused(args, run_program("wasm_run", args));
            }
        }
    });
    assert_hello(keeper.finish());
    files.iter().for_each(|(path, _)| remove(path));
    assert_unloaded();
}

/// A module of so many functions.
fn long_module(functions: usize) -> String {
    let mut text = String::from("(module (memory 1)\n");
    for number in 0..functions {
        text += &format!("(func (export \"f{number}\") (param i32 i32) (result i32)\n");
        for step in 0..20 {
            text += &format!(
                "(local.set 0 (i32.add (i32.load offset={step} (local.get 1)) (i32.mul (local.get 0) (i32.const {number}))))\n"
            );
        }
        text += "(local.get 0))\n";
    }
    text + ")\n"
}

pub(crate) fn compilations_are_killed_at_any_moment() {
    const KILLS: u64 = 16;
    /// Microseconds by which the moments differ. The first are before the compiler is loaded.
    const STEP: u64 = 150_000;
    /// Milliseconds that an end may take, under emulation and with everybody else waiting, too.
    const AT_ONCE: u128 = 5000;
    write("/tmp/long.wat", long_module(3000).as_bytes());
    let (mut killed, mut slowest) = (0, 0);
    leaves_nothing(|| {
        for number in 0..KILLS {
            let running = Running::start("wasm_run", &["/tmp/long.wat", "--invoke", "f0", "1", "2"], 512);
            let started = time::Instant::now();
            while started.elapsed().as_micros() < u128::from(number * STEP) {
                task::schedule();
            }
            let asked = time::Instant::now();
            // It may have ended.
            let _ = running.task().kill(KillReason::Requested);
            if running.finish().ending == Ending::Killed(KillReason::Requested.to_string()) {
                killed += 1;
            }
            slowest = asked.elapsed().as_millis().max(slowest);
            assert_unloaded();
            assert!(names(CACHE).iter().all(|name| !name.ends_with(".tmp")), "{:?}", names(CACHE));
        }
    });
    remove("/tmp/long.wat");
    assert!(killed > 0, "all were done before they were killed");
    assert!(slowest < AT_ONCE, "one took {slowest} ms to end");
    // And the next compilation works.
    assert_hello(run_program("wasm_run", &["--no-cache", "/guests/hello.wat"]));
    clear_cache();
}

pub(crate) fn without_a_place_for_the_cache() {
    clear_cache();
    remove("/cache");
    write("/cache", b"in the way");
    let run = run_program("wasm_run", &["/guests/hello.wat"]);
    let compile = run_program("wasm_run", &["compile", "/guests/hello.wat", "-o", "/cache/h.cwasm"]);
    let list = run_program("wasm_run", &["cache"]);
    assert_eq!(read("/cache"), b"in the way");
    remove("/cache");
    assert_eq!((run.ending, &*run.stdout), (Ending::Status(0), HELLO));
    let expected = "wasm_run: the directory /cache/wasm cannot be used as a cache: not a directory; move away what is in its place\n";
    assert_eq!(run.stderr, expected);
    assert_refused(&["compile"], compile);
    assert_refused(&["cache"], list);
}

pub(crate) fn with_little_memory_left() {
    // Frames that are left: from too few to load the compiler to enough for all, files included. The compiler and files leave some
    // memory to others, so these are many.
    const ENOUGH: usize = 24_000;
    const STEP: usize = 1000;
    const OUTPUT: &str = "/tmp/h.cwasm";
    clear_cache();
    let _bulk = Ballast::leaving(ENOUGH);
    let (mut run, mut kept, mut compiled, mut refused) = (0, 0, 0, 0);
    for frames in (0..=ENOUGH).step_by(STEP) {
        let ballast = Ballast::leaving(frames);
        let results = [&["/guests/hello.wat"][..], &["compile", "/guests/hello.wat", "-o", OUTPUT]]
            .map(|args| Running::try_start("wasm_run", args, 512).map(Running::finish));
        drop(ballast);
        for (number, result) in results.into_iter().enumerate() {
            match result {
                Err(reason) => assert!(reason.contains("memory"), "{frames} left: {reason}"),
                Ok(output) if output.ending == Ending::Status(0) && number == 0 => {
                    assert_hello(output);
                    run += 1;
                }
                Ok(output) if output.ending == Ending::Status(0) => {
                    assert_hello(run_program("wasm_run", &[OUTPUT]));
                    remove(OUTPUT);
                    compiled += 1;
                }
                Ok(output) => {
                    assert!(output.stderr.contains("memory"), "{frames} left: {output:?}");
                    assert_refused(&["hello.wat"], output);
                    refused += 1;
                }
            }
        }
        kept += names(CACHE).len();
        assert!(names(CACHE).iter().all(|name| name.ends_with(".cached")), "{:?}", names(CACHE));
        assert!(names("/tmp").iter().all(|name| !name.contains("wasm")), "{:?}", names("/tmp"));
        assert_unloaded();
        clear_cache();
    }
    assert!(
        run > 0 && kept > 0 && compiled > 0 && refused > 0,
        "{run} run, {kept} kept, {compiled} compiled, {refused} refused"
    );
}

pub(crate) fn artifacts_are_inspected() {
    let Output { ending, stdout, stderr } = run_program("wasm_run", &["inspect", "/guests/traps.cwasm"]);
    assert_eq!((ending, &*stderr), (Ending::Status(0), ""));
    for expected in [
        "  target        x86_64-theseus\n",
        "  cpu           baseline\n",
        "  .text ",
        "integer divide by zero\n",
    ] {
        assert!(stdout.contains(expected), "no {expected:?} in {stdout}");
    }
    assert_refused(&["hello.wat"], run_program("wasm_run", &["inspect", "/guests/hello.wat"]));
    assert_refused(&["/guests"], run_program("wasm_run", &["inspect", "/guests"]));
    assert_unloaded();
}
