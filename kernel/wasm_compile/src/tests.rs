//! Tests of the service.

use crate::{failure, wasm_compile_service};
use core::cell::{Cell, RefCell};
use std::string::String;
use std::vec::Vec;
use wasm_artifact::compile::{
    CompileError, CompileErrorKind, CompileLimits, CompileRequest, Settings, Target,
};
use wasm_compiler::Compiler;
use wasm_platform::WorkersError;

fn request(input: &[u8]) -> CompileRequest<'_> {
    CompileRequest {
        input,
        accept_text: true,
        settings: Settings::new(Target::Theseus),
        limits: CompileLimits::default(),
        tasks: 0,
        progress: None,
    }
}

fn compile(input: &[u8]) -> Result<Vec<u8>, CompileError> {
    wasm_compile_service.compile(&request(input))
}

/// A module of functions of different sizes, some of which call others. Those with the numbers in `wrong` are not valid.
fn module(functions: usize, wrong: &[usize]) -> Vec<u8> {
    let mut text = String::from("(module (memory 1)\n");
    for number in 0..functions {
        text += &std::format!("(func $f{number} (export \"f{number}\") (param i32) (result i32)\n");
        for step in 0..number * 7 % 61 {
            text += &std::format!(
                "(if (i32.gt_u (local.get 0) (i32.const {step})) (then (i32.store (local.get 0) (i32.const {number}))\n\
                 (local.set 0 (call $f{} (i32.load8_u offset={step} (local.get 0))))))\n",
                (number + step) % functions
            );
        }
        text += if wrong.contains(&number) { "(i64.const 1))\n" } else { "(local.get 0))\n" };
    }
    wat::parse_str(text + ")").expect("the text is right")
}

#[test]
fn the_artifact_does_not_depend_on_the_number_of_workers() {
    let wasm = module(120, &[]);
    let alone = Compiler::new(Settings::new(Target::Theseus)).unwrap().compile(&wasm).unwrap();
    for tasks in [0, 1, 2, 3, 8, 1000] {
        let together = wasm_compile_service.compile(&CompileRequest { tasks, ..request(&wasm) }).unwrap();
        assert!(together == alone, "{tasks} tasks");
    }
}

#[test]
fn of_several_errors_the_first_functions_is_reported() {
    let wasm = module(120, &[3, 40, 99]);
    let alone = CompileError::from(
        Compiler::new(Settings::new(Target::Theseus)).unwrap().compile(&wasm).unwrap_err(),
    );
    for tasks in [1, 2, 8] {
        for _ in 0..5 {
            let error =
                wasm_compile_service.compile(&CompileRequest { tasks, ..request(&wasm) }).unwrap_err();
            assert_eq!(error, alone, "{tasks} tasks");
            assert_eq!(error.kind, CompileErrorKind::Invalid);
            assert!(
                error.message.contains("type mismatch") && error.message.contains("offset 0x"),
                "{error}"
            );
        }
    }
}

#[test]
fn text_is_taken_only_where_it_is_expected() {
    let text = b"(module)".as_slice();
    assert!(compile(text).is_ok());
    let error =
        wasm_compile_service.compile(&CompileRequest { accept_text: false, ..request(text) }).unwrap_err();
    assert!(error.message.contains("magic header not detected"), "{error}");
    let error = compile(b"(module\n  (func (result i32)\n  i32.cnst 1))").unwrap_err();
    assert_eq!(error.kind, CompileErrorKind::Invalid);
    assert!(error.message.ends_with("(line 3, column 3)"), "{error}");
    // What the text stands for may be wrong, too.
    let error = compile(b"(module (func (result i32) i64.const 1))").unwrap_err();
    assert!(error.message.contains("offset 0x"), "{error}");
}

#[test]
fn functions_have_a_limit() {
    let wasm =
        wat::parse_str("(module (func $small) (func $large nop nop nop nop nop nop nop nop))").unwrap();
    let limited = |function_size| {
        let limits = CompileLimits { function_size, ..CompileLimits::default() };
        wasm_compile_service.compile(&CompileRequest { limits, ..request(&wasm) })
    };
    assert!(limited(10).is_ok());
    let error = limited(9).unwrap_err();
    assert_eq!(error.kind, CompileErrorKind::Limit);
    assert_eq!(
        error.message,
        "function 1 large has a body of 10 bytes, and the limit is 9; split it, or allow larger ones with --max-function-size"
    );
}

#[test]
fn to_validate_is_not_to_compile() {
    let wasm = module(60, &[]);
    let limits = CompileLimits { function_size: 1, ..CompileLimits::default() };
    assert_eq!(wasm_compile_service.validate(&CompileRequest { limits, ..request(&wasm) }), Ok(()));
    let error = wasm_compile_service.validate(&request(&module(60, &[59]))).unwrap_err();
    assert_eq!(error.kind, CompileErrorKind::Invalid);
    assert!(error.message.contains("type mismatch") && error.message.contains("offset 0x"), "{error}");
}

#[test]
fn several_threads_compile_at_once() {
    let modules: Vec<_> = (20..24).map(|functions| module(functions, &[])).collect();
    let alone: Vec<_> = modules.iter().map(|wasm| compile(wasm).unwrap()).collect();
    std::thread::scope(|scope| {
        for (wasm, alone) in modules.iter().zip(&alone) {
            scope.spawn(move || (0..3).for_each(|_| assert!(compile(wasm).unwrap() == *alone)));
        }
    });
}

#[test]
fn progress_is_reported_to_who_asked() {
    let wasm = module(500, &[]);
    let thread = std::thread::current().id();
    let (last, calls) = (Cell::new(0), RefCell::new(Vec::new()));
    let progress = |progress: wasm_artifact::compile::Progress| {
        assert_eq!(std::thread::current().id(), thread);
        assert!(last.replace(progress.done) <= progress.done && progress.done <= progress.total);
        assert!(progress.total >= 500, "functions and trampolines");
        calls.borrow_mut().push(progress);
    };
    let settings = Settings { verify_ir: true, ..Settings::new(Target::Theseus) };
    let request = CompileRequest { progress: Some(&progress), settings, ..request(&wasm) };
    let start = std::time::Instant::now();
    wasm_compile_service.compile(&request).unwrap();
    // At least every 100 ms, once the module was read.
    assert!(start.elapsed().as_millis() < 300 || !calls.borrow().is_empty(), "{:?}", start.elapsed());
}

#[test]
fn what_befalls_the_workers_is_said_in_one_line() {
    let request = request(b"");
    for (error, kind, expected) in [
        (
            WorkersError::OverBudget,
            CompileErrorKind::Limit,
            "needs more than 512 MiB of memory; allow more with --max-",
        ),
        (WorkersError::OutOfMemory, CompileErrorKind::System, "not enough memory"),
        (WorkersError::Killed, CompileErrorKind::System, "was killed; compile again"),
        (
            WorkersError::Panicked("a\nb".into()),
            CompileErrorKind::Internal,
            "the compiler panicked: a b; report",
        ),
    ] {
        let error = failure(&request, Err(error));
        assert_eq!(error.kind, kind);
        assert!(error.message.contains(expected) && error.message.lines().count() == 1, "{error}");
    }
}
