//! Scripts of the test suite's kind, run by `wasm_run wast`.

use crate::compiling::{remove, write};
use crate::{assert_unloaded, wasm_crates};
use alloc::format;
use alloc::string::{String, ToString};
use ktest_system::{Ballast, Ending, Output, Running, leaves_nothing, run_program};
use task::KillReason;

const GOOD: &str = r#"(module (func (export "f") (result i32) (i32.const 1)) (func (export "trap") unreachable))
(assert_return (invoke "f") (i32.const 1))
(assert_trap (invoke "trap") "unreachable")
(assert_invalid (module (func (result i32))) "type mismatch")
"#;

/// The second line is wrong, and the third.
const BAD: &str = r#"(module (func (export "f") (result i32) (i32.const 1)))
(assert_return (invoke "f") (i32.const 2))
(assert_trap (invoke "f") "unreachable")
"#;

/// A thread that never ends, one that waits for it in the engine, and the script, which waits for both.
const NEVER_ENDING_THREADS: &str = r#"(module $Mem (memory (export "shared") 1 1 shared))
(thread $A (module (func (export "spin") (loop (br 0)))) (invoke "spin"))
(thread $B (shared (module $Mem))
  (register "mem" $Mem)
  (module (memory (import "mem" "shared") 1 1 shared)
    (func (export "wait") (drop (memory.atomic.wait32 (i32.const 0) (i32.const 0) (i64.const -1)))))
  (invoke "wait"))
(wait $A)
(wait $B)
"#;

const SPIN: &str = r#"(module (func (export "spin") (loop (br 0)))) (invoke "spin")"#;

const DIR: &str = "/tmp/scripts";

/// Writes scripts, and removes them when dropped.
struct Scripts;

impl Scripts {
    fn new(scripts: &[(&str, &str)]) -> Self {
        let created = file_ops::create_dir(path::Path::new(DIR), root::get_root());
        assert!(created.is_ok(), "{:?}", created.err());
        for (name, content) in scripts {
            write(&format!("{DIR}/{name}"), content.as_bytes());
        }
        Scripts
    }
}

impl Drop for Scripts {
    fn drop(&mut self) {
        remove(DIR);
    }
}

pub(crate) fn scripts_run_and_everything_goes() {
    let _scripts =
        Scripts::new(&[("bad.wast", BAD), ("good.wast", GOOD), ("none.wast", "(modul)"), ("other", "")]);
    leaves_nothing(|| {
        let Output { ending, stdout, stderr } = run_program("wasm_run", &["wast", DIR]);
        let expected = "/tmp/scripts/bad.wast:2: expected i32 2, got i32 1
/tmp/scripts/bad.wast:3: expected \"unreachable\", got i32 1
/tmp/scripts/bad.wast: 1 passed, 2 failed
/tmp/scripts/good.wast: 4 passed, 0 failed
/tmp/scripts/none.wast:1: expected valid module field
/tmp/scripts/none.wast: 0 passed, 1 failed
5 passed, 3 failed
";
        assert_eq!((ending, &*stdout, &*stderr), (Ending::Status(1), expected, ""));
        assert_unloaded();
        let quiet = run_program("wasm_run", &["wast", "--quiet", "-O0", "/tmp/s*/g?od.wast"]);
        assert_eq!((quiet.ending, &*quiet.stdout), (Ending::Status(0), "4 passed, 0 failed\n"));
        assert_eq!(run_program("wasm_run", &["wast", "/tmp/nothing*"]).ending, Ending::Status(1));
        assert_eq!(run_program("wasm_run", &["wast"]).ending, Ending::Status(2));
        assert_unloaded();
    });
}

pub(crate) fn scripts_are_killed_at_any_moment() {
    const KILLS: u64 = 12;
    /// Microseconds by which the moments differ. The first are before the compiler is loaded.
    const STEP: u64 = 100_000;
    let _scripts = Scripts::new(&[("spin.wast", SPIN), ("threads.wast", NEVER_ENDING_THREADS)]);
    leaves_nothing(|| {
        for number in 0..KILLS {
            let running = Running::start("wasm_run", &["wast", DIR], 512);
            let started = time::Instant::now();
            while started.elapsed().as_micros() < u128::from(number * STEP) {
                task::schedule();
            }
            running.task().kill(KillReason::Requested).expect("it cannot have ended");
            assert_eq!(running.finish().ending, Ending::Killed(KillReason::Requested.to_string()));
            assert_unloaded();
        }
    });
}

pub(crate) fn with_little_memory_left() {
    // As for compiling: few frames do not even do for loading.
    const ENOUGH: usize = 24_000;
    const STEP: usize = 2000;
    let _scripts = Scripts::new(&[("good.wast", GOOD)]);
    let _bulk = Ballast::leaving(ENOUGH);
    let (mut passed, mut failed) = (0, 0);
    for frames in (0..=ENOUGH).step_by(STEP) {
        let ballast = Ballast::leaving(frames);
        let result = Running::try_start("wasm_run", &["wast", DIR], 512).map(Running::finish);
        drop(ballast);
        match result {
            Err(reason) => assert!(reason.contains("memory"), "{frames} left: {reason}"),
            Ok(Output { ending: Ending::Status(0), .. }) => passed += 1,
            Ok(Output { ending: Ending::Status(1), stdout, stderr }) => {
                let said: String = stdout + &stderr;
                assert!(said.contains("memory"), "{frames} left: {said}");
                failed += 1;
            }
            Ok(other) => panic!("{frames} left: {other:?}"),
        }
        assert_unloaded();
    }
    assert!(passed > 0 && failed > 0, "{passed} passed, {failed} failed");
    assert!(wasm_crates().is_empty());
}
