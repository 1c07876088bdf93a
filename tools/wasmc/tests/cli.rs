//! The program as its users meet it: files, messages, exit status.

use std::path::PathBuf;
use std::process::{Command, Output};

const HELLO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../guests/hello.wat");

/// A folder that is gone when the test is over.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("wasmc-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn file(&self, name: &str, contents: &[u8]) -> String {
        std::fs::write(self.0.join(name), contents).unwrap();
        self.path(name)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The directory with the keys of all tests.
const KEYS: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/wasmc-keys");

fn wasmc(arguments: &[&str]) -> Output {
    // Tests run at the same time; one of them makes the keys.
    static MADE: std::sync::Once = std::sync::Once::new();
    MADE.call_once(|| drop(wasm_keys::make_keys(KEYS.as_ref()).unwrap()));
    Command::new(env!("CARGO_BIN_EXE_wasmc")).args(arguments).env("WASM_KEYS", KEYS).output().unwrap()
}

/// The one line on stderr of a run that must fail so.
fn failure(arguments: &[&str], status: i32) -> String {
    let output = wasmc(arguments);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(status), "{arguments:?}: {stderr}");
    assert!(output.stdout.is_empty());
    assert!(
        stderr.starts_with("wasmc: ") && stderr.ends_with('\n') && stderr.lines().count() == 1,
        "{stderr}"
    );
    stderr
}

#[test]
fn the_output_is_the_same_from_run_to_run_and_for_any_number_of_threads() {
    let folder = Folder::new("same");
    for (number, threads) in ["1", "1", "4"].iter().enumerate() {
        let output = wasmc(&[HELLO, "-o", &folder.path(&format!("{number}.cwasm")), "--threads", threads]);
        assert!(
            output.status.success() && output.stdout.is_empty() && output.stderr.is_empty(),
            "{output:?}"
        );
    }
    let read = |name: &str| std::fs::read(folder.path(name)).unwrap();
    assert!(read("0.cwasm") == read("1.cwasm") && read("0.cwasm") == read("2.cwasm"));
    let artifact = wasm_artifact::Artifact::parse_for_any_host(&read("0.cwasm")).unwrap();
    assert_eq!(artifact.engine.target, "x86_64-theseus");
    // Nothing else was left behind.
    assert_eq!(std::fs::read_dir(&folder.0).unwrap().count(), 3);
}

#[test]
fn artifacts_are_signed_by_the_key_that_is_wanted() {
    let folder = Folder::new("signed");
    let keys = folder.path("keys");
    let with_keys = |arguments: &[&str]| {
        let output =
            Command::new(env!("CARGO_BIN_EXE_wasmc")).args(arguments).env("WASM_KEYS", &keys).output();
        let output = output.unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    };
    let output = folder.path("hello.cwasm");
    let compile = [HELLO, "-o", &output];
    // No key yet: says how to make one.
    let (status, _, error) = with_keys(&compile);
    assert_eq!((status, error.lines().count()), (1, 1));
    assert!(error.contains("wasmc keys") && error.contains("--no-sign"), "{error}");
    assert!(!std::fs::exists(&output).unwrap());
    let (status, made, _) = with_keys(&["keys"]);
    assert!(status == 0 && made.starts_with("made the key ") && made.contains(&keys), "{made}");
    let (_, again, _) = with_keys(&["keys"]);
    assert_eq!(again, made.replace("made", "there is"));
    let signer = || {
        let file = std::fs::read(&output).unwrap();
        let seal = wasm_artifact::Seal::of(&file).unwrap();
        assert!(!seal.is_signed() || seal.signature_is_right());
        seal.is_signed().then(|| wasm_artifact::sign::KeyId::of(seal.public_key()).to_string())
    };
    assert_eq!(with_keys(&compile), (0, String::new(), String::new()));
    let developer = signer().unwrap();
    assert!(made.contains(&developer));
    let other = wasm_keys::make_keys(&folder.0.join("other")).unwrap().key.public_key().id().to_string();
    let with = |more: &[&str]| with_keys(&[&compile[..], more].concat());
    assert_eq!(with(&["--key", &folder.path("other/signing.key")]).0, 0);
    assert!(signer() == Some(other) && signer() != Some(developer));
    assert_eq!(with(&["--no-sign"]).0, 0);
    assert_eq!(signer(), None);
    // What is no key leaves the output as it was.
    for wrong in ["other/trusted.keys", "nothing", "keys"] {
        let (status, _, error) = with(&["--key", &folder.path(wrong)]);
        assert!(status == 1 && error.lines().count() == 1 && error.contains("; "), "{error}");
    }
    assert_eq!(signer(), None);
}

#[test]
fn bad_input_is_one_line_and_status_1() {
    let folder = Folder::new("bad");
    let output = folder.path("output");
    let message = |input: &str| failure(&[input, "-o", &output], 1);
    assert!(message("/does/not/exist").contains("cannot read /does/not/exist"));
    assert!(message(folder.0.to_str().unwrap()).contains("cannot read"));
    assert!(message(&folder.file("empty.wasm", b"")).contains("is empty"));
    assert!(message(&folder.file("random.wasm", b"\x93\x01\x02")).contains("random.wasm"));
    assert!(
        message(&folder.file("text.wat", b"(module\n (func (i32.cost 1)))")).contains("line 2, column 9")
    );
    assert!(
        message(&folder.file("types.wat", b"(module (func (result i32) f32.const 1))"))
            .contains("at offset 0x")
    );
    assert!(message(&folder.file("cut.wasm", b"\0asm\x01\0\0\0\x01\x05")).contains("unexpected end"));
    let two = b"(module (func) (func (result i32)) (func) (func (result i64)))";
    assert!(message(&folder.file("two.wat", two)).contains("expected i32"), "the first error is reported");
    assert!(!std::fs::exists(&output).unwrap());
    let unwritable = failure(&[HELLO, "-o", "/does/not/exist/output"], 1);
    assert!(unwritable.contains("cannot write /does/not/exist/output"));
    let compiled = folder.path("hello.cwasm");
    assert!(wasmc(&[HELLO, "-o", &compiled]).status.success());
    assert!(message(&compiled).contains("is compiled already"));
}

#[test]
fn wrong_usage_is_one_line_and_status_2() {
    assert!(failure(&[], 2).contains("no file to compile"));
    assert!(failure(&["--frobnicate", HELLO], 2).contains("unknown option --frobnicate; see wasmc --help"));
    assert!(failure(&["--cpu", "pentium", HELLO], 2).contains("unknown CPU pentium"));
    let help = wasmc(&["--help"]);
    assert!(help.status.success() && String::from_utf8(help.stdout).unwrap().starts_with("usage: wasmc"));
}
