//! `wasm_run` on Linux: what it prints, and what it says about bad input.

use std::path::PathBuf;
use std::process::{Command, Output};

/// A folder for the files of one test, removed when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("wasm_run-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// Makes a file and returns its path.
    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn wasm_run(args: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } =
        Command::new(env!("CARGO_BIN_EXE_wasm_run")).args(args).output().unwrap();
    (status.code().unwrap(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

const HELLO: &str = r#"(module (import "host" "hello" (func $hello (param i32)))
    (func (export "run") (call $hello (i32.const 3))))"#;

const NUMBERS: &str = r#"(module
    (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1)))
    (func (export "all") (param i64 f32 f64) (result f64 f32 i64 externref) (local.get 2) (local.get 1) (local.get 0) (ref.null extern))
    (func (export "trap") unreachable))"#;

#[test]
fn programs_run_and_results_are_printed() {
    let folder = Folder::new("runs");
    let hello = folder.file("hello.wat", HELLO);
    assert_eq!(
        wasm_run(&[&hello]),
        (0, "Got 3 from WebAssembly\nmy host state is: 4\n".into(), String::new())
    );
    assert_eq!(wasm_run(&[&hello, "an", "argument"]).0, 0);
    let start =
        folder.file("start.wat", r#"(module (func (export "_start")) (func (export "other") unreachable))"#);
    assert_eq!(wasm_run(&[&start]), (0, String::new(), String::new()));
    let numbers = folder.file("numbers.wat", NUMBERS);
    assert_eq!(wasm_run(&["--invoke", "add", &numbers, "-2", "0x10"]), (0, "14\n".into(), String::new()));
    let all = wasm_run(&["--invoke", "all", &numbers, "-1", "0.5", "1e100"]);
    assert_eq!(all.1, format!("{}\n0.5\n-1\n<null externref>\n", 1e100));
    // With a single function without parameters it needs no name.
    assert_eq!(wasm_run(&[&numbers]).0, 134);
}

#[test]
fn compiled_modules_run() {
    let folder = Folder::new("compiled");
    let engine = wasm_engine::Engine::default();
    let artifact = engine.precompile_module(HELLO.as_bytes()).unwrap();
    let file = folder.file("hello.cwasm", &artifact);
    assert_eq!(wasm_run(&[&file]).1, "Got 3 from WebAssembly\nmy host state is: 4\n");
    let cut = folder.file("cut.cwasm", &artifact[..artifact.len() / 2]);
    assert_one_line(&[&cut], "the artifact is cut");
}

#[test]
fn a_trap_is_printed_with_its_backtrace() {
    let folder = Folder::new("trap");
    let numbers = folder.file("numbers.wat", NUMBERS);
    let (status, out, err) = wasm_run(&["--invoke", "trap", &numbers]);
    assert_eq!((status, out.as_str()), (134, ""));
    assert!(err.contains("error while executing at wasm backtrace:\n    0: "), "{err}");
    assert!(err.ends_with("Caused by:\n    wasm trap: wasm `unreachable` instruction executed\n"), "{err}");
}

/// Runs it, and expects status 1 and one line that contains `expected`.
fn assert_one_line(args: &[&str], expected: &str) {
    let (status, out, err) = wasm_run(args);
    assert_eq!((status, out.as_str()), (1, ""), "{args:?}: {err}");
    assert!(err.starts_with("wasm_run: ") && err.contains(expected), "{args:?}: {err}");
    assert_eq!(err.matches('\n').count(), 1, "{args:?}: {err}");
    assert!(err.contains("; "), "names no remedy: {err}");
}

#[test]
fn bad_input_is_told_in_one_line() {
    let folder = Folder::new("bad");
    let numbers = folder.file("numbers.wat", NUMBERS);
    let file = |name: &str, content: &[u8]| folder.file(name, content);
    assert_one_line(&["/no/such/file"], "/no/such/file: No such file");
    assert_one_line(&[folder.0.to_str().unwrap()], "Is a directory");
    assert_one_line(&[&file("empty", b"")], "the file is empty");
    assert_one_line(&[&file("random", &[0xff; 100])], "correct");
    assert_one_line(&[&file("text", b"(module (func i32.add)")], "line:column 1:");
    assert_one_line(&[&file("invalid", b"(module (func (result i32)))")], "type mismatch");
    assert_one_line(&[&file("cut", b"\0asm\x01\0\0\0\x01\x05")], "unexpected end");
    assert_one_line(&[&file("import", br#"(module (import "a" "b" (func)))"#)], "unknown import: `a::b`");
    assert_one_line(&[&file("nothing", b"(module)")], "exports no function");
    assert_one_line(
        &[&file("two", br#"(module (func (export "a")) (func (export "b")))"#)],
        "--invoke: a(), b()",
    );
    assert_one_line(
        &["--invoke", "a", &file("params", br#"(module (memory (export "a") 1))"#)],
        "is no function",
    );
    assert_one_line(&["--invoke", "sub", &numbers], "no function is exported as `sub`");
    assert_one_line(&["--invoke", "add", &numbers, "1"], "takes 2 arguments (i32 i32), 1 given");
    assert_one_line(&["--invoke", "add", &numbers, "1", "two"], "argument 2 of `add`, `two`, is no i32");
    let large = r#"(module (table 0xffffffff funcref) (func (export "f")))"#;
    assert_one_line(&[&file("large", large.as_bytes())], "table");
}

#[test]
fn wrong_usage_is_status_2() {
    for args in [&[][..], &["--invoke"], &["--invoke", "a"], &["--nothing", "a"]] {
        let (status, out, err) = wasm_run(args);
        assert_eq!((status, out.as_str(), err.matches('\n').count()), (2, "", 1), "{args:?}: {err}");
    }
    assert!(wasm_run(&["--help"]).1.starts_with("usage: wasm_run FILE"));
}
