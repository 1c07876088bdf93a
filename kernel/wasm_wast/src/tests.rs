//! What scripts may do, and what is said of them.

use crate::{Failure, Report, run, run_script};
use std::fs;
use std::path::PathBuf;
use std::sync::Mutex;
use wasm_engine::{Config, Engine};

fn report(script: &str) -> Report {
    let engine = Engine::new(Config::new().wasm_backtrace(false).shared_memory(true)).unwrap();
    run_script(&engine, script)
}

/// The failures of a script, as `line: message`.
fn failures(script: &str) -> Vec<String> {
    let failures = report(script).failures.into_iter();
    failures.map(|Failure { line, message }| format!("{line}: {message}")).collect()
}

#[test]
fn a_failure_says_where_and_what() {
    let script = r#"(module (func (export "f") (result i32) (i32.const 1))
  (func (export "trap") unreachable) (global (export "g") f32 (f32.const 1)))
(assert_return (invoke "f") (i32.const 1))
(assert_return (invoke "f") (i32.const 2))
(assert_return (invoke "f"))
(assert_return (get "g") (f32.const -1))
(assert_trap (invoke "f") "unreachable")
(assert_trap (invoke "trap") "unreachable")
(assert_return (invoke "trap"))
(assert_invalid (module) "anything")
(assert_malformed (module quote "(func") "anything")
(invoke "g")
(invoke $M "f")
(module (func (result i32)))
(invoke "f")"#;
    let expected = [
        "4: expected i32 2, got i32 1",
        "5: expected 0 results, got 1",
        "6: expected f32 -1 (0xbf800000), got f32 1 (0x3f800000)",
        "7: expected \"unreachable\", got i32 1",
        "9: wasm trap: wasm `unreachable` instruction executed",
        "10: accepted a module that should be refused: anything",
        "12: no exported function is called \"g\"",
        "13: no instance is called $M",
    ];
    let found = failures(script);
    assert_eq!(found[..8], expected);
    assert!(found[8].starts_with("14: ") && found[8].contains("type mismatch"), "{found:?}");
    assert_eq!(found[9..], ["15: there is no instance"]);
    assert_eq!(report(script).passed, 4);
}

#[test]
fn a_script_that_is_none_fails_with_its_line() {
    assert_eq!(failures("(module)\n(modul)").len(), 1);
    assert!(
        failures("(module)\n\n  (modul)")[0].starts_with("3: "),
        "{:?}",
        failures("(module)\n\n  (modul)")
    );
    assert!(failures("(module)\n\"")[0].starts_with("2: "));
    // Deep nesting is an error of the parser's, not an overflow of the stack.
    for open in ["(", "(module (func (block ", "(assert_return (invoke \"f\") (either ", "(thread $t "] {
        assert_eq!(failures(&open.repeat(100_000)).len(), 1, "{open}");
    }
}

#[test]
fn definitions_and_instances() {
    let script = r#"(module definition $D (global $g (export "g") (mut i32) (i32.const 0))
    (func (export "next") (result i32)
      (global.set $g (i32.add (global.get $g) (i32.const 1))) (global.get $g)))
(module instance $A $D)
(module instance $B $D)
(assert_return (invoke $A "next") (i32.const 1))
(assert_return (invoke $A "next") (i32.const 2))
(assert_return (invoke "next") (i32.const 1))
(register "b" $B)
(module (import "b" "g" (global (mut i32))) (export "imported" (global 0)))
(assert_return (get "imported") (i32.const 1))
(module definition (func (export "one") (result i32) (i32.const 1)))
(module instance)
(assert_return (invoke "one") (i32.const 1))"#;
    assert_eq!(failures(script), [""; 0]);
    assert_eq!(failures("(module instance $A $D)"), ["1: no such module definition"]);
}

#[test]
fn threads_share_what_is_shared() {
    let script = r#"(module $Mem (memory (export "shared") 1 1 shared))
(thread $T1 (shared (module $Mem))
  (register "mem" $Mem)
  (module (memory (import "mem" "shared") 1 1 shared)
    (func (export "run") (i32.atomic.store (i32.const 0) (i32.const 42))
      (drop (memory.atomic.notify (i32.const 0) (i32.const 1)))))
  (invoke "run"))
(thread $T2 (shared (module $Mem))
  (register "mem" $Mem)
  (module (memory (import "mem" "shared") 1 1 shared)
    (func (export "wait") (result i32) (loop (br_if 0 (i32.eqz (i32.atomic.load (i32.const 0)))))
      (i32.load (i32.const 0))))
  (assert_return (invoke "wait") (i32.const 42))
  (assert_return (invoke "wait") (i32.const 43)))
(wait $T1)
(wait $T2)
(wait $T3)
(module (func (export "none")))
(thread $T1 (thread $Inner (module) (module)) (wait $Inner) (register "m" $Mem))
(wait $T1)"#;
    let report = report(script);
    let lines: Vec<_> = report.failures.iter().map(|failure| failure.line).collect();
    assert_eq!(lines, [14, 17, 19], "{report:?}");
    assert_eq!(report.passed, 18);
}

/// A directory with scripts that is removed in the end.
struct Scripts(PathBuf);

impl Scripts {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("wasm_wast-{name}-{}", std::process::id()));
        fs::create_dir_all(path.join("below/deep")).unwrap();
        for (file, script) in [
            ("good.wast", "(module)\n(module)"),
            ("below/bad.wast", "(module)\n(assert_invalid (module) \"x\")"),
            ("below/deep/b.wast", "(module)"),
            ("below/deep/not.wat", "(module"),
            ("below/binary.wast", "\u{ff}"),
        ] {
            fs::write(path.join(file), script).unwrap();
        }
        fs::write(path.join("below/binary.wast"), b"(module)\xff").unwrap();
        Self(path)
    }
}

impl Drop for Scripts {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn the_command_names_files_in_order_and_sums_up() {
    static OUTPUT: Mutex<String> = Mutex::new(String::new());
    fn print(text: core::fmt::Arguments<'_>) {
        OUTPUT.lock().unwrap().push_str(&text.to_string());
    }
    let scripts = Scripts::new("command");
    let folder = scripts.0.to_str().unwrap();
    let command = |line: &str| {
        let args: Vec<String> = line.split_whitespace().map(|arg| arg.replace("DIR", folder)).collect();
        let status = run(&args, print, print);
        (status, core::mem::take(&mut *OUTPUT.lock().unwrap()).replace(folder, "DIR"))
    };
    let all = "DIR/below/bad.wast:2: accepted a module that should be refused: x
DIR/below/bad.wast: 1 passed, 1 failed
DIR/below/binary.wast: is not UTF-8 from byte 8 on; give a .wast file
DIR/below/deep/b.wast: 1 passed, 0 failed
DIR/good.wast: 2 passed, 0 failed
4 passed, 2 failed
";
    assert_eq!(command("DIR"), (1, all.to_string()));
    assert_eq!(command("--quiet DIR/good.wast DIR/below/d*"), (0, "3 passed, 0 failed\n".to_string()));
    let (status, output) = command("-O0 --cpu baseline DIR/*/*.wast");
    assert_eq!((status, output.lines().last()), (1, Some("1 passed, 2 failed")));
    let (status, output) = command("DIR/none.wast DIR/x*");
    assert_eq!(status, 1);
    assert_eq!(output.lines().count(), 3, "{output}");
    assert!(
        output.contains("nothing matches DIR/x*") && output.ends_with("0 passed, 2 failed\n"),
        "{output}"
    );
    assert_eq!(command("").0, 2);
    assert_eq!(command("--cpu 486 DIR").0, 2);
    assert_eq!(command("--help").0, 0);
}
