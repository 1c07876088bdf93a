//! `wasm_run` as the shell runs it: loaded, called, dropped.

use crate::leaks::Resources;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use app_io::IoStreams;
use path::Path;
use stdio::Stdio;

/// What a run gave.
pub struct Outcome {
    /// Exit status.
    pub status: isize,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

/// Runs `wasm_run` with `args`.
pub fn wasm_run(args: &[&str]) -> Outcome {
    let namespace = task::with_current_task(|task| task.get_namespace().clone()).unwrap();
    let file = namespace.dir().get_file_starting_with("wasm_run-").expect("wasm_run is in the image");
    let path = file.lock().get_absolute_path();
    let (input, out, err) = (Stdio::new(), Stdio::new(), Stdio::new());
    let task = spawn::new_application_task_builder(Path::new(&path), None)
        .unwrap()
        .argument(args.iter().map(|arg| arg.to_string()).collect())
        .name("wasm_run".to_string())
        .block()
        .spawn()
        .unwrap();
    let streams = IoStreams {
        stdin: Arc::new(input.get_reader()),
        stdout: Arc::new(out.get_writer()),
        stderr: Arc::new(err.get_writer()),
        discipline: None,
    };
    app_io::insert_child_streams(task.id, streams);
    task.unblock().unwrap();
    let ended = task.join();
    let Ok(task::ExitValue::Completed(status)) = &ended else { panic!("wasm_run {args:?} died: {ended:?}") };
    let status = *status.downcast_ref::<isize>().expect("applications return isize");
    let text = |stdio: &Stdio| String::from_utf8(stdio.take_all()).unwrap();
    Outcome { status, out: text(&out), err: text(&err) }
}

pub fn hello() {
    for file in ["/hello.cwasm", "/guests/hello.cwasm"] {
        let outcome = wasm_run(&[file]);
        assert_eq!(outcome.out, "Got 3 from WebAssembly\nmy host state is: 4\n");
        assert_eq!((outcome.status, outcome.err.as_str()), (0, ""));
    }
}

pub fn invoke() {
    let outcome = wasm_run(&["--invoke", "fib", "/guests/fib.cwasm", "15"]);
    assert_eq!((outcome.status, outcome.out.as_str(), outcome.err.as_str()), (0, "610\n", ""));
    let outcome = wasm_run(&["--invoke", "unreachable", "/guests/traps.cwasm"]);
    assert_eq!((outcome.status, outcome.out.as_str()), (134, ""));
    assert!(outcome.err.contains("wasm trap: wasm `unreachable` instruction executed"), "{}", outcome.err);
    assert_eq!(wasm_run(&[]).status, 2);
    assert_eq!(wasm_run(&["--nothing"]).status, 2);
    assert!(wasm_run(&["--help"]).out.starts_with("usage: "));
}

/// Makes a file in the root directory for as long as the value lives.
pub struct TemporaryFile {
    /// Its path.
    pub path: String,
    file: fs_node::FileRef,
}

impl TemporaryFile {
    /// A file `name` with `content`.
    pub fn new(name: &str, content: &[u8]) -> Self {
        let file = memfs::MemFile::create(name.to_string(), root::get_root()).unwrap();
        file.lock().write_at(content, 0).unwrap();
        Self { path: format!("/{name}"), file }
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        let node = fs_node::FileOrDir::File(self.file.clone());
        root::get_root().lock().remove(&node);
    }
}

/// Every kind of bad input, once to see what is said, then many times to see what is left.
pub fn bad_input() {
    const ROUNDS: usize = 1_000;
    let good = read("/guests/hello.cwasm");
    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 1;
    let random: Vec<u8> =
        (0..4096u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let files = [
        TemporaryFile::new("test_wasm_empty", b""),
        TemporaryFile::new("test_wasm_random", &random),
        TemporaryFile::new("test_wasm_cut", &good[..good.len() - 1]),
        TemporaryFile::new("test_wasm_flipped", &flipped),
        TemporaryFile::new("test_wasm_text", b"(module)"),
        TemporaryFile::new(
            "test_wasm_other_target",
            &crate::artifacts::Artifact::new().target("x86_64-linux").bytes(),
        ),
        TemporaryFile::new(
            "test_wasm_import",
            &crate::artifacts::Artifact::new().import("nobody", "has_this").bytes(),
        ),
        TemporaryFile::new(
            "test_wasm_large",
            &crate::artifacts::Artifact::new().import("host", "hello").memory(65536).bytes(),
        ),
    ];
    let mut inputs: Vec<(Vec<&str>, &str)> = Vec::from([
        (Vec::from(["/no_such_file"]), "no such file"),
        (Vec::from(["/guests"]), "is a directory"),
        (Vec::from(["/guests/traps.cwasm"]), "choose one with --invoke"),
        (Vec::from(["--invoke", "nothing", "/guests/fib.cwasm"]), "no function is exported as `nothing`"),
        (Vec::from(["--invoke", "fib", "/guests/fib.cwasm"]), "takes 1 argument (i32), 0 given"),
        (Vec::from(["--invoke", "fib", "/guests/fib.cwasm", "many"]), "`many`, is no i32"),
        (Vec::from(["/guests/fib.cwasm"]), "every function it exports has parameters"),
    ]);
    let expected = [
        "is empty",
        "not a compiled module",
        "cut",
        "damaged",
        "compile",
        "--target x86_64-theseus",
        "unknown import: `nobody::has_this`",
        "memory",
    ];
    for (file, expected) in files.iter().zip(expected) {
        inputs.push((Vec::from(["--invoke", "run", file.path.as_str(), "1"]), expected));
    }
    for (args, expected) in &inputs {
        let outcome = wasm_run(args);
        assert_eq!((outcome.status, outcome.out.as_str()), (1, ""), "{args:?}: {}", outcome.err);
        assert!(
            outcome.err.starts_with("wasm_run: ") && outcome.err.contains(expected),
            "{args:?}: {}",
            outcome.err
        );
        assert_eq!(outcome.err.matches('\n').count(), 1, "{args:?}: {}", outcome.err);
        let before = Resources::now();
        for _ in 0..ROUNDS {
            wasm_run(args);
        }
        before.assert_kept(ROUNDS);
    }
}

/// The content of a file.
pub fn read(path: &str) -> Vec<u8> {
    wasm_engine::read_file(path).unwrap()
}
