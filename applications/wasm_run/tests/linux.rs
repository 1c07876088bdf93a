//! `wasm_run` on Linux: what it prints, what it writes, and what it says about bad input.

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

    /// The path of something in it.
    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_string()
    }

    /// Names of what is in it, sorted.
    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.0).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Runs the program with a cache in this folder.
    fn wasm_run(&self, args: &[&str]) -> (i32, String, String) {
        outcome(command(args).env("XDG_CACHE_HOME", self.0.join("cache")))
    }

    /// Names of what is in the cache, sorted.
    fn cached(&self) -> Vec<String> {
        Folder(self.0.join("cache/wasm_run")).into_names()
    }

    fn into_names(self) -> Vec<String> {
        let names = if self.0.exists() { self.names() } else { Vec::new() };
        std::mem::forget(self);
        names
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

/// The program, with no place for a cache.
fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wasm_run"));
    command.args(args).env("XDG_CACHE_HOME", "/proc/nowhere").env("WASM_KEYS", keys());
    command
}

/// The directory with the keys of all tests.
fn keys() -> &'static str {
    const KEYS: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/wasm_run-keys");
    // Tests run at the same time; one of them makes the keys.
    static MADE: std::sync::Once = std::sync::Once::new();
    MADE.call_once(|| drop(wasm_keys::make_keys(KEYS.as_ref()).unwrap()));
    KEYS
}

/// An artifact as it is without a signature.
fn unsigned(mut artifact: Vec<u8>) -> Vec<u8> {
    assert!(wasm_artifact::elf::unsign(&mut artifact));
    artifact
}

fn outcome(command: &mut Command) -> (i32, String, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    (status.code().unwrap(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

fn wasm_run(args: &[&str]) -> (i32, String, String) {
    outcome(&mut command(args))
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
fn programs_for_wasi_get_what_they_are_given() {
    use std::io::Write;
    let folder = Folder::new("wasi");
    let cat = concat!(env!("CARGO_MANIFEST_DIR"), "/../../guests/wasi_cat.wat");
    std::fs::create_dir(folder.path("d")).unwrap();
    folder.file("d/a", "of a\n");
    folder.file("d/b", "of b\n");
    folder.file("secret", "secret\n");
    let given = folder.path("d") + "::data";
    let both = (0, "of a\nof b\n".to_string(), String::new());
    assert_eq!(wasm_run(&["--dir", &given, cat, "a", "b"]), both);
    assert_eq!(wasm_run(&[cat, "--dir-ro", &given, "--", "a", "./b"]), both);
    // Statuses are the program's: error numbers of WASI.
    assert_eq!(wasm_run(&["--dir", &given, cat, "c"]), (44, String::new(), String::new()));
    assert_eq!(wasm_run(&["--dir", &given, cat, "../secret"]), (63, String::new(), String::new()));
    assert_eq!(wasm_run(&[cat, "a"]), (8, String::new(), String::new()));
    let (status, out, err) = wasm_run(&["--dir", &folder.path("nothing"), cat, "a"]);
    assert_eq!((status, out.as_str()), (1, ""));
    assert!(err.contains("nothing") && err.contains("No such file") && err.lines().count() == 1, "{err}");
    // Standard input.
    let mut command = command(&[cat]);
    command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(&[b'x'; 100_000]).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && output.stdout == [b'x'; 100_000]);
    // A module that exports no memory, and a function that there is not.
    let none = folder.file(
        "none.wat",
        r#"(module (import "wasi_snapshot_preview1" "fd_nothing" (func)) (func (export "_start")))"#,
    );
    let (status, _, err) = wasm_run(&[&none]);
    assert!(status == 1 && err.contains("fd_nothing"), "{err}");
}

#[test]
fn compiled_modules_run() {
    let folder = Folder::new("compiled");
    let key = wasm_keys::make_keys(keys().as_ref()).unwrap().key;
    let engine = wasm_engine::Engine::new(wasm_engine::Config::new().signing_key(Some(key))).unwrap();
    let artifact = engine.precompile_module(HELLO.as_bytes()).unwrap();
    let file = folder.file("hello.cwasm", &artifact);
    assert_eq!(wasm_run(&[&file]).1, "Got 3 from WebAssembly\nmy host state is: 4\n");
    let somebodys = |name: &str, artifact: &[u8]| {
        let file = folder.file(name, artifact);
        assert_eq!(wasm_run(&["--trust", &file]).1, "Got 3 from WebAssembly\nmy host state is: 4\n");
        file
    };
    assert_one_line(&[&somebodys("unsigned.cwasm", &unsigned(artifact.clone()))], "is not signed");
    // A stranger's, whose public key is given, with which nothing but running is possible.
    let stranger = wasm_keys::make_keys(&folder.0.join("stranger")).unwrap();
    let mut strangers = artifact.clone();
    assert!(wasm_artifact::elf::sign(&mut strangers, &stranger.key));
    let strangers = somebodys("stranger.cwasm", &strangers);
    assert_one_line(&[&strangers], &format!("signed by the key {}", stranger.key.public_key().id()));
    let trusted = stranger.trusted.to_str().unwrap();
    assert_eq!(wasm_run(&["--trusted-key", trusted, &strangers]).0, 0);
    assert_eq!(wasm_run(&["--trusted-key", trusted, &file]).0, 0);
    assert_one_line(&["--trusted-key", &folder.path("stranger/signing.key"), &file], "secret");
    assert_one_line(&["--trusted-key", "/no/such/file", &file], "/no/such/file: No such file");
    for (file, expected) in [
        (&file, "which this system trusts"),
        (&strangers, "which this system does not trust"),
        (&folder.path("unsigned.cwasm"), "nobody"),
    ] {
        let (_, out, _) = wasm_run(&["inspect", file]);
        assert!(out.contains("  signed by     ") && out.contains(expected), "{out}");
    }
    // Without keys, what needs none still works.
    let without_keys = |args: &[&str]| outcome(command(args).env("WASM_KEYS", folder.path("none")));
    let (status, _, error) = without_keys(&[&file]);
    assert!(status == 1 && error.contains("make keys") && error.contains("--trust"), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
    assert_eq!(without_keys(&["--trust", &file]).0, 0);
    assert_eq!(without_keys(&["--trusted-key", trusted, &strangers]).0, 0);
    let hello = folder.file("hello.wat", HELLO);
    assert_eq!(without_keys(&[&hello]).0, 0);
    assert_eq!(without_keys(&["compile", &hello]).0, 1);
    assert_eq!(std::fs::read(&file).unwrap(), artifact, "the output stays as it was");
    assert_eq!(without_keys(&["compile", "--no-sign", &hello]).0, 0);
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
    assert_one_line(&[&file("text", b"(module (func i32.add)")], "(line 1, column 23); correct");
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
    for args in [
        &[][..],
        &["--invoke"],
        &["--invoke", "a"],
        &["--nothing", "a"],
        &["compile"],
        &["compile", "a.wasm", "--no-cache"],
        &["compile", "a.cwasm"],
        &["inspect"],
        &["cache", "nothing"],
        &["--cpu", "486", "a"],
    ] {
        let (status, out, err) = wasm_run(args);
        assert_eq!((status, out.as_str(), err.matches('\n').count()), (2, "", 1), "{args:?}: {err}");
        assert!(err.contains("--help"), "{err}");
    }
    for (args, start) in [
        (&["--help"][..], "usage: wasm_run [options] FILE"),
        (&["compile", "--help"], "usage: wasm_run compile"),
        (&["inspect", "-h"], "usage: wasm_run inspect"),
        (&["cache", "--help"], "usage: wasm_run cache"),
    ] {
        let (status, out, err) = wasm_run(args);
        assert_eq!((status, err.as_str()), (0, ""), "{args:?}");
        assert!(out.starts_with(start), "{out}");
        assert!(out.lines().all(|line| line.chars().count() <= 110), "{out}");
    }
}

#[test]
fn files_are_compiled_to_files() {
    let folder = Folder::new("compile");
    let hello = folder.file("hello.wat", HELLO);
    assert_eq!(wasm_run(&["compile", &hello]), (0, String::new(), String::new()));
    assert_eq!(wasm_run(&[&folder.path("hello.cwasm")]).1, "Got 3 from WebAssembly\nmy host state is: 4\n");
    let compiled = |args: &[&str]| {
        let output = folder.path("out.cwasm");
        let all = [&["compile", hello.as_str(), "-o", output.as_str()][..], args].concat();
        assert_eq!(wasm_run(&all), (0, String::new(), String::new()), "{args:?}");
        let file = std::fs::read(output).unwrap();
        let seal = wasm_artifact::Seal::of(&file).unwrap();
        assert!(seal.is_signed() && seal.signature_is_right());
        unsigned(file)
    };
    let engine = |config: &wasm_engine::Config| {
        wasm_engine::Engine::new(config).unwrap().precompile_module(HELLO.as_bytes()).unwrap()
    };
    let native = engine(&wasm_engine::Config::new());
    assert_eq!(compiled(&[]), native);
    assert_eq!(compiled(&["--cpu", "native", "--threads", "1"]), native);
    assert_eq!(unsigned(std::fs::read(folder.path("hello.cwasm")).unwrap()), native);
    let mut theseus = wasm_engine::Config::new();
    theseus.target("x86_64-theseus").unwrap();
    assert_eq!(compiled(&["--target", "x86_64-theseus"]), engine(&theseus));
    theseus.target_cpu(wasm_engine::CpuFeatures::X86_64_V3).cranelift_opt_level(wasm_engine::OptLevel::None);
    assert_eq!(compiled(&["--target=x86_64-theseus", "--cpu=x86-64-v3", "-O0"]), engine(&theseus));
    assert_eq!(folder.names(), ["hello.cwasm", "hello.wat", "out.cwasm"]);
}

#[test]
fn what_cannot_be_compiled_leaves_the_output_as_it_was() {
    let folder = Folder::new("uncompiled");
    let hello = folder.file("hello.wat", HELLO);
    let output = folder.file("out", "precious");
    let refused = |args: &[&str], expected: &str| {
        assert_one_line(&[&["compile"], args].concat(), expected);
        assert_eq!(std::fs::read(&output).unwrap(), b"precious");
    };
    let bad = folder.file("bad.wat", "(module (func i32.add))");
    let empty = folder.file("empty.wat", "");
    refused(&[&bad, "-o", &output], "correct the module");
    refused(&[&empty, "-o", &output], "the file is empty; give a .wasm or .wat file");
    refused(&["/no/such/file", "-o", &output], "/no/such/file: No such file");
    refused(&[folder.0.to_str().unwrap(), "-o", &output], "Is a directory");
    refused(&[&hello, "-o", folder.0.to_str().unwrap()], "Is a directory");
    refused(&[&hello, "-o", "/no/where/out"], "cannot be written: No such file");
    refused(&[&hello, "--target", "mips", "-o", &output], "unknown target mips; ");
    refused(&[&hello, "--max-function-size", "1", "-o", &output], "the limit is 1; ");
    let link = folder.path("link");
    std::os::unix::fs::symlink(&hello, &link).unwrap();
    refused(&[&hello, "-o", &link], "would replace the input");
    refused(
        &[&hello, "-o", &format!("{}/./hello.wat", folder.0.to_str().unwrap())],
        "would replace the input",
    );
    assert_eq!(std::fs::read(&hello).unwrap(), HELLO.as_bytes());
    assert_eq!(wasm_run(&["compile", &hello]).0, 0);
    refused(&[&folder.path("hello.cwasm"), "-o", &output], "the file is compiled already");
    assert_eq!(folder.names(), ["bad.wat", "empty.wat", "hello.cwasm", "hello.wat", "link", "out"]);
}

/// Runs the program by a shell, in which it may write no file of more than `kilobytes`.
fn with_small_files(kilobytes: u32, args: &[&str], cache: &str) -> (i32, String, String) {
    let script = format!("trap '' XFSZ; ulimit -f {}; exec \"$@\"", kilobytes * 2);
    let mut shell = Command::new("sh");
    shell.args(["-c", &script, "sh", env!("CARGO_BIN_EXE_wasm_run")]).args(args);
    outcome(shell.env("XDG_CACHE_HOME", cache).env("WASM_KEYS", keys()))
}

#[test]
fn without_room_nothing_is_half_written() {
    let folder = Folder::new("room");
    let hello = folder.file("hello.wat", HELLO);
    let output = folder.path("out");
    let args = ["compile", &hello, "-o", &output];
    let (status, _, err) = with_small_files(4, &args, "/proc/nowhere");
    assert_eq!(status, 1, "{err}");
    assert!(err.contains("cannot be written: File too large"), "{err}");
    assert_eq!(folder.names(), ["hello.wat"]);
    // The cache does without.
    let cache = folder.path("cache");
    assert_eq!(with_small_files(4, &[&hello], &cache), wasm_run(&[&hello]));
    assert_eq!(folder.cached(), [""; 0]);
    assert_eq!(folder.wasm_run(&[&hello]), wasm_run(&[&hello]));
    assert_eq!(folder.cached().len(), 1);
}

#[test]
fn a_compilation_keeps_to_its_memory() {
    let folder = Folder::new("memory");
    let function = |number: usize| {
        let step = format!("(local.set 0 (i32.add (i32.load (local.get 0)) (i32.const {number})))");
        format!("(func (export \"f{number}\") (param i32) (result i32) {} local.get 0)\n", step.repeat(30))
    };
    let functions: String = (0..100).map(function).collect();
    let module = folder.file("module.wat", format!("(module (memory 1) {functions})"));
    let output = folder.path("out.cwasm");
    let (mut compiled, mut refused) = (0, 0);
    for threads in ["1", "3"] {
        for kilobytes in (0..8000).step_by(197).chain([1 << 20]) {
            let limit = format!("{}", (kilobytes << 10) + 1);
            let args =
                ["compile", &module, "-o", &output, "--threads", threads, "--max-compile-memory", &limit];
            let (status, out, err) = wasm_run(&args);
            if status == 0 {
                compiled += 1;
                assert_eq!((out, err), (String::new(), String::new()), "{limit}");
                std::fs::remove_file(&output).unwrap();
                continue;
            }
            refused += 1;
            let expected = format!(
                "wasm_run: {module}: compiling it needs more than {limit} bytes of memory; allow more with --max-compile-memory\n"
            );
            assert_eq!((status, out, err), (1, String::new(), expected));
            assert!(kilobytes < 1 << 20, "that is enough");
        }
    }
    assert!(compiled >= 4 && refused > 10, "{compiled} compiled, {refused} refused");
}

#[test]
fn what_was_compiled_is_kept_and_listed() {
    let folder = Folder::new("cache");
    let hello = folder.file("hello.wat", HELLO);
    let trap = folder.file("trap.wat", r#"(module (func (export "f") unreachable))"#);
    let (_, out, _) = folder.wasm_run(&["cache"]);
    assert!(out.starts_with("0 entries, 0 B of 512 MiB in "), "{out}");
    assert_eq!(folder.wasm_run(&["--no-cache", &hello]).0, 0);
    assert_eq!(folder.cached(), [""; 0]);
    for _ in 0..2 {
        assert_eq!(folder.wasm_run(&[&hello]).1, "Got 3 from WebAssembly\nmy host state is: 4\n");
        assert_eq!(folder.cached().len(), 1);
        // The same from the cache, backtrace included.
        assert_eq!(folder.wasm_run(&[&trap]), wasm_run(&[&trap]));
        folder.wasm_run(&["-O0", "--cpu", "baseline", &trap]);
        std::fs::remove_file(&trap).unwrap();
        folder.file("trap.wat", r#"(module (func (export "f") unreachable))"#);
        let (_, out, _) = folder.wasm_run(&["cache", "list"]);
        assert!(out.lines().count() == 5 && out.contains("\n3 entries, "), "{out}");
        assert!(out.contains(&format!("x86_64-linux baseline -O0 {trap}\n")), "{out}");
        assert!(out.contains(&format!(" -O2 {hello}\n")), "{out}");
        let (_, out, err) = folder.wasm_run(&["cache", "clear"]);
        assert!(out.starts_with("removed 3 entries, ") && err.is_empty(), "{out}{err}");
        assert_eq!(folder.cached(), [""; 0]);
    }
    let directory = folder.path("cache/wasm_run");
    use std::os::unix::fs::PermissionsExt;
    let permissions = || std::fs::metadata(&directory).unwrap().permissions();
    assert_eq!(permissions().mode() & 0o777, 0o700);
    let mut open = permissions();
    open.set_mode(0o777);
    std::fs::set_permissions(&directory, open).unwrap();
    let (status, out, err) = folder.wasm_run(&[&hello]);
    assert_eq!((status, out.as_str()), (0, "Got 3 from WebAssembly\nmy host state is: 4\n"));
    assert!(err.starts_with("wasm_run: the directory ") && err.contains("chmod go-w"), "{err}");
    assert_eq!(folder.cached(), [""; 0]);
    let (status, _, err) = folder.wasm_run(&["cache", "list"]);
    assert_eq!((status, err.matches('\n').count()), (1, 1), "{err}");
}

#[test]
fn programs_that_compile_the_same_at_once_all_run() {
    let folder = Folder::new("at-once");
    let hello = folder.file("hello.wat", HELLO);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let expected = (0, "Got 3 from WebAssembly\nmy host state is: 4\n".into(), String::new());
                assert_eq!(folder.wasm_run(&[&hello]), expected);
            });
        }
    });
    let names = folder.cached();
    assert!(names.len() == 1 && names[0].ends_with(".cached"), "{names:?}");
    // Every entry that a cut could leave behind is as good as none.
    let entry = folder.path(&format!("cache/wasm_run/{}", names[0]));
    let whole = std::fs::read(&entry).unwrap();
    for len in [0, 1, 4096, whole.len() / 2, whole.len() - 1] {
        std::fs::write(&entry, &whole[..len]).unwrap();
        assert_eq!(folder.wasm_run(&[&hello]).0, 0);
        assert_eq!(std::fs::read(&entry).unwrap(), whole, "cut to {len}");
    }
}

#[test]
fn a_cpu_that_this_is_not_is_refused() {
    let folder = Folder::new("cpu");
    let hello = folder.file("hello.wat", HELLO);
    assert_eq!(wasm_run(&["--cpu", "baseline", &hello]).0, 0);
    let v3 = wasm_engine::CpuFeatures::X86_64_V3;
    let missing = v3.difference(wasm_engine::CpuFeatures::of_this_cpu());
    if missing.is_empty() {
        assert_eq!(wasm_run(&["--cpu", "x86-64-v3", &hello]).0, 0);
    } else {
        assert_one_line(&["--cpu", "x86-64-v3", &hello], &format!("this CPU lacks {missing}; "));
    }
}

const MUCH: &str = r#"(module $much
    (import "host" "hello" (func $hello (param i32)))
    (import "a \22" "g" (global (mut i64)))
    (memory $own 1 1)
    (table $t (export "t") 2 10 funcref)
    (global $pi f64 (f64.const 3.25))
    (elem (table $t) (i32.const 1) func $div)
    (data (memory $own) (i32.const 5) "hello")
    (data "passive")
    (func $div (export "div") (param i32 i32) (result i32)
        (call $hello (i32.const 1)) (i32.div_u (local.get 0) (local.get 1)))
    (func (export "load") (result v128) (v128.load offset=100000 (i32.const 0)) (drop (call $div (i32.const 1) (i32.const 2))))
    (func $grow (drop (memory.grow (i32.const 1))))
    (start $grow))"#;

#[test]
fn artifacts_of_any_system_are_inspected() {
    let folder = Folder::new("inspect");
    let much = folder.file("much.wat", MUCH);
    let file = folder.path("much.cwasm");
    let args = ["compile", &much, "-o", &file, "--target", "x86_64-theseus", "--cpu", "x86-64-v3"];
    assert_eq!(wasm_run(&args), (0, String::new(), String::new()));
    let (status, out, err) = wasm_run(&["inspect", &file]);
    assert_eq!((status, err.as_str()), (0, ""));
    for expected in [
        "  module        much\n",
        "  target        x86_64-theseus\n",
        "avx2",
        " -O2\n",
        "  .text ",
        "  .wasmc.seal ",
        ", which this system trusts\n",
        "imports: 2\n  \"host\" \"hello\" (func (param i32))\n  \"a \\\"\" \"g\" (global (mut i64))\n",
        "exports: 3\n  \"t\" (table 2 10 funcref) number 0\n  \"div\" (func (param i32 i32) (result i32)) number 1\n",
        "start: function 3 $grow\n",
        "memories: 1\n  0 (memory 1 1) reserves 64 KiB and 32 MiB of guard",
        "globals: 1\n  1 (global f64) (f64.const 3.25)\n",
        "element segments: 1\n  0 1 of ",
        "data segments: 2\n",
        "  1 7 bytes, passive\n",
        "functions: 3\n",
        " (func (param i32 i32) (result i32)) $div\n",
        "by which the host calls functions, ",
        "by which functions call the host, ",
        "by which functions call the runtime, ",
        " integer divide by zero\n",
        " out of bounds memory access\n",
    ] {
        assert!(out.contains(expected), "no {expected:?} in\n{out}");
    }
    let (_, traps, _) = wasm_run(&["inspect", "--traps", &file]);
    assert!(traps.starts_with(&out));
    assert!(traps.contains(" integer divide by zero, in 1 $div (0x"), "{traps}");
    // It is as long as the sections say.
    let total = std::fs::metadata(&file).unwrap().len();
    assert!(out.starts_with(&format!("{file}: {total} bytes\n")));

    for name in ["div", "$div", "1"] {
        let (status, code, err) = wasm_run(&["inspect", "--disasm", name, &file]);
        assert_eq!((status, err.as_str()), (0, ""), "{name}");
        assert!(code.starts_with("function 1 $div: "), "{code}");
        assert!(code.contains(" ret\n") && code.contains("; traps: integer divide by zero\n"), "{code}");
    }
    let (_, code, _) = wasm_run(&["inspect", "--disasm", "load", &file]);
    assert!(code.contains("; function 1 $div\n"), "{code}");
    let (_, code, _) = wasm_run(&["inspect", "--disasm=$grow", &file]);
    assert!(code.contains("; the runtime\n"), "{code}");
    assert_one_line(&["inspect", "--disasm", "nothing", &file], "it has no function nothing; ");
    assert_one_line(&["inspect", "--disasm", "0", &file], "is imported and has no code");
    // Names cannot write to the terminal.
    let evil = folder.file("evil.wat", r#"(module (func (export "\1b[2J\0a")))"#);
    assert_eq!(wasm_run(&["compile", &evil]).0, 0);
    let (_, out, _) = wasm_run(&["inspect", &folder.path("evil.cwasm")]);
    assert!(!out.contains('\x1b') && out.contains("u{1b}"), "{out:?}");
}

#[test]
fn what_is_no_artifact_is_told_in_one_line() {
    let folder = Folder::new("no-artifact");
    let hello = folder.file("hello.wat", HELLO);
    assert_eq!(wasm_run(&["compile", &hello]).0, 0);
    let whole = std::fs::read(folder.path("hello.cwasm")).unwrap();
    assert_one_line(&["inspect", &hello], "not a compiled module");
    assert_one_line(&["inspect", "/no/such/file"], "No such file");
    assert_one_line(&["inspect", &folder.file("empty", "")], "empty");
    assert_one_line(&["inspect", &folder.file("cut", &whole[..whole.len() - 1])], "is cut");
    for at in (0..whole.len()).step_by(whole.len() / 40) {
        let mut damaged = whole.clone();
        damaged[at] ^= 0xff;
        assert_one_line(&["inspect", &folder.file("damaged", damaged)], "");
    }
}

#[test]
fn what_takes_too_long_is_ended() {
    let folder = Folder::new("timeout");
    for (name, text) in [
        ("loop.wat", "(module (func (export \"run\") (loop $again (br $again))))"),
        (
            "start.wat",
            "(module (func $start (loop $again (br $again))) (start $start) (func (export \"run\")))",
        ),
        (
            "wait.wat",
            "(module (memory 1 1 shared) (func (export \"run\") (drop (memory.atomic.wait32 (i32.const 0) (i32.const 0) (i64.const \
             -1)))))",
        ),
    ] {
        let file = folder.file(name, text);
        let begin = std::time::Instant::now();
        let result = folder.wasm_run(&["--timeout", "300ms", &file]);
        assert!(begin.elapsed() >= std::time::Duration::from_millis(300));
        let line = format!("wasm_run: {file}: not done within 300ms; allow more with --timeout\n");
        assert_eq!(result, (124, String::new(), line));
    }
    // A compilation: of one function of half a million instructions, which takes longer than this in any build.
    let adds = "(local.set 0 (i32.xor (i32.mul (local.get 0) (i32.const 3)) (i32.load (local.get 0))))"
        .repeat(60_000);
    let large =
        folder.file("large.wat", format!("(module (memory 1) (func (export \"run\") (local i32) {adds}))"));
    let (status, stdout, stderr) = folder.wasm_run(&["--timeout", "20ms", &large]);
    assert_eq!((status, &*stdout), (124, ""), "{stderr}");
    let quick = folder.file("quick.wat", "(module (func (export \"run\")))");
    assert_eq!(folder.wasm_run(&["--timeout=1h", &quick]), (0, String::new(), String::new()));
}
