//! What comes of compiling.

use crate::wasm::{engine, engine_with, large, module, one_function, small};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicUsize, Ordering};
use fs_node::FileOrDir;
use ktest_system::leaves_nothing;
use path::Path;
use task::ExitValue;
use time::Instant;
use wasm_engine::{CompileError, CompileErrorKind, Instance, Linker, Module, Store, read_file};

/// The names of the guests whose source is in the image.
fn guests() -> Vec<String> {
    let Ok(FileOrDir::Dir(dir)) = Path::new("/guests").resolve(root::get_root()) else {
        panic!("the image has no /guests");
    };
    let names = dir.lock().list();
    names.iter().filter_map(|name| Some(name.strip_suffix(".wat")?.to_string())).collect()
}

/// A file of the guest `name`.
fn guest(name: &str, extension: &str) -> Vec<u8> {
    read_file(format!("/guests/{name}.{extension}")).unwrap_or_else(|error| panic!("{error:#}"))
}

pub(crate) fn from_text() {
    let engine = engine();
    let module = Module::from_file(&engine, "/guests/hello.wat").expect("it is valid");
    let mut linker = Linker::new(&engine);
    let said = Arc::new(AtomicUsize::new(0));
    let hears = said.clone();
    linker
        .func_wrap("host", "hello", move |number: i32| hears.store(number as usize, Ordering::Relaxed))
        .expect("the name is free");
    let mut store = Store::new(&engine, ());
    let instance = linker.instantiate(&mut store, &module).expect("its one import is there");
    let run = instance.get_typed_func::<(), ()>(&mut store, "run").expect("it has this type");
    run.call(&mut store, ()).expect("it does not trap");
    assert_eq!(said.load(Ordering::Relaxed), 3);
    // And what was made up is right.
    let module = Module::new(&engine, module_of_two()).expect("it is valid");
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[]).expect("it imports nothing");
    let f = instance.get_typed_func::<i32, i32>(&mut store, "f").expect("it has this type");
    // Step by step: 7 * 0 = 0; 0 * 1 = 0; 0 * 2 = 0.
    assert_eq!(f.call(&mut store, 7).expect("it does not trap"), 0);
}

fn module_of_two() -> Vec<u8> {
    module(2, 3)
}

/// Whether two artifacts are the same but for who signed them.
fn same_but_for_signature(one: &[u8], other: &[u8]) -> bool {
    let unsigned = |artifact: &[u8]| {
        let mut artifact = artifact.to_vec();
        assert!(wasm_artifact::elf::unsign(&mut artifact), "it has a seal");
        artifact
    };
    unsigned(one) == unsigned(other)
}

pub(crate) fn same_bytes() {
    let engine = engine();
    let guests = guests();
    assert!(guests.len() > 10, "{guests:?}");
    for name in &guests {
        let compiled = engine.precompile_module(&guest(name, "wat")).expect("it is valid");
        assert!(same_but_for_signature(&compiled, &guest(name, "cwasm")), "{name}");
        let module = Module::from_file(&engine, format!("/guests/{name}.wat")).expect("it is valid");
        assert!(module.serialize().expect("there is memory") == compiled, "{name}");
    }
}

pub(crate) fn any_number_of_workers() {
    let wasm = module(60, 20);
    let alone = engine().precompile_module(&wasm).expect("it is valid");
    for tasks in [1, 2, 8] {
        let engine = engine_with(|config| {
            config.compile_tasks(tasks);
        });
        assert!(engine.precompile_module(&wasm).expect("it is valid") == alone, "{tasks} workers");
    }
}

pub(crate) fn several_at_once() {
    let guests = guests();
    let shared = engine();
    let tasks: Vec<_> = (0..4)
        .map(|number| {
            let engine = if number % 2 == 0 { shared.clone() } else { engine() };
            let guests: Vec<String> = guests.iter().skip(number).step_by(4).cloned().collect();
            let work = move || {
                for name in &guests {
                    let compiled = engine.precompile_module(&guest(name, "wat")).expect("it is valid");
                    assert!(same_but_for_signature(&compiled, &guest(name, "cwasm")), "{name}");
                }
            };
            spawn::new_task_builder(|work: alloc::boxed::Box<dyn FnOnce() + Send>| work(), {
                let work: alloc::boxed::Box<dyn FnOnce() + Send> = alloc::boxed::Box::new(work);
                work
            })
            .name(format!("compiles {number}"))
            .spawn()
            .expect("there is memory for a task")
        })
        .collect();
    for task in tasks {
        let ended = task.join();
        assert!(matches!(ended, Ok(ExitValue::Completed(_))), "{ended:?}");
    }
}

pub(crate) fn wrong_modules() {
    let engine = engine();
    let refused = |module: &[u8]| {
        let error = Module::new(&engine, module).expect_err("it is not valid");
        assert_eq!(
            error.downcast_ref::<CompileError>().expect("it is such an error").kind,
            CompileErrorKind::Invalid
        );
        let text = error.to_string();
        assert_eq!(text.lines().count(), 1, "{text}");
        text
    };
    let text = refused(b"(module\n  (func (result i32)\n    i32.cnst 1))");
    assert!(text.ends_with("(line 3, column 5)"), "{text}");
    let text = refused(b"(module (func (result i32) (i64.const 1)))");
    assert!(text.contains("type mismatch") && text.contains("(at offset 0x"), "{text}");
    let mut cut = small();
    cut.truncate(cut.len() - 2);
    let text = refused(&cut);
    assert!(text.contains("unexpected end") && text.contains("(at offset 0x"), "{text}");
    assert!(refused(b"\xff\xfe\xfd").contains("UTF-8"));
}

/// A module by name, and what compiling it fails with, if it does: the kind, and words of the message.
type Case = (&'static str, Vec<u8>, Option<(CompileErrorKind, &'static str)>);

/// Some of what `wasm_compiler`'s own tests try on Linux: those that need the most stack, of which there is less here, and text.
pub(crate) fn adversarial_modules() {
    const DEEP: usize = 100_000;
    let nested = |depth, open: &str, close: &str| {
        format!("(module (func {} {}))", open.repeat(depth), close.repeat(depth)).into_bytes()
    };
    let (open, close) = ("(i32.eqz ".repeat(DEEP), ")".repeat(DEEP));
    let operands = format!("(module (func (drop {open} (i32.const 1) {close})))");
    let body = |locals: &[u8], code: &[u8]| one_function(&[locals, code, &[0x0b]].concat());
    let modules: [Case; 12] = [
        ("blocks", nested(DEEP, "block ", "end "), None),
        ("blocks as folded text", nested(DEEP, "(block ", ")"), None),
        ("loops", nested(5_000, "loop ", "end "), None),
        ("ifs", nested(10_000, "i32.const 1 if ", "end "), None),
        ("operands", operands.into_bytes(), None),
        ("comments", nested(DEEP, "(;", ";)"), None),
        (
            "text that is nothing",
            "(".repeat(DEEP).into_bytes(),
            Some((CompileErrorKind::Invalid, "(line 1, column ")),
        ),
        // One group of 1,000,000 i32.
        (
            "a million locals",
            body(&[1, 0xc0, 0x84, 0x3d, 0x7f], &[]),
            Some((CompileErrorKind::Invalid, "too many locals")),
        ),
        // i32.const 0, br_table with 10,000,000 labels and one more, all 0.
        (
            "ten million labels",
            body(&[0], &[&[0x41, 0, 0x0e, 0x80, 0xad, 0xe2, 0x04][..], &alloc::vec![0; 10_000_001]].concat()),
            Some((CompileErrorKind::Invalid, "exceeds limit")),
        ),
        (
            "3 MB of nop",
            body(&[0], &alloc::vec![1; 3 << 20]),
            Some((CompileErrorKind::Limit, "the limit is 2097152")),
        ),
        // A custom section whose name is no UTF-8.
        ("no UTF-8", b"\0asm\x01\0\0\0\0\x02\x01\xff".to_vec(), Some((CompileErrorKind::Invalid, "UTF-8"))),
        // A section of four billion bytes.
        (
            "a long section",
            b"\0asm\x01\0\0\0\x01\xff\xff\xff\xff\x0f".to_vec(),
            Some((CompileErrorKind::Invalid, "unexpected end")),
        ),
    ];
    let engine = engine();
    Module::new(&engine, small()).expect("it is valid");
    leaves_nothing(|| {
        for (name, module, expected) in &modules {
            match (Module::new(&engine, module), expected) {
                (Ok(_), None) => {}
                (Err(error), Some((kind, text))) => {
                    let found = error.downcast_ref::<CompileError>().expect("it is such an error");
                    assert!(found.kind == *kind && found.message.contains(text), "{name}: {error}");
                    assert_eq!(found.message.lines().count(), 1, "{name}: {error}");
                }
                (result, _) => panic!("{name}: {result:?}"),
            }
        }
    });
}

pub(crate) fn validation() {
    let engine = engine();
    let started = Instant::now();
    Module::validate(&engine, &large()).expect("it is valid");
    let validated = started.elapsed();
    let compiled = {
        let started = Instant::now();
        engine.precompile_module(&module(40, 60)).expect("it is valid");
        started.elapsed()
    };
    assert!(validated < compiled, "to validate took {validated:?}, to compile a tenth of it {compiled:?}");
    let error = Module::validate(&engine, b"(module)").expect_err("this is text").to_string();
    assert!(error.contains("magic header not detected"), "{error}");
}

pub(crate) fn progress() {
    /// When it was called, in nanoseconds, and how many functions were done.
    static CALLS: spin::Mutex<Vec<(u64, usize)>> = spin::Mutex::new(Vec::new());
    let task = task::get_my_current_task_id();
    let engine = engine_with(|config| {
        config.compile_progress(Some(Arc::new(move |progress| {
            assert_eq!(task::get_my_current_task_id(), task, "on the task that asked");
            assert!(progress.total > 400, "functions and trampolines");
            assert!(progress.done <= progress.total);
            CALLS.lock().push((Instant::now().as_nanos(), progress.done));
        })));
    });
    engine.precompile_module(&large()).expect("it is valid");
    let calls = core::mem::take(&mut *CALLS.lock());
    assert!(calls.len() > 3 && calls.is_sorted_by_key(|call| call.1), "{calls:?}");
    // Now and then the machine that runs this one may be busy otherwise.
    let late = calls.windows(2).filter(|pair| pair[1].0 - pair[0].0 > 100_000_000).count();
    assert!(late * 10 <= calls.len(), "{late} of {} calls came late", calls.len());
}
