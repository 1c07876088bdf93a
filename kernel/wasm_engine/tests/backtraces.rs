//! What backtraces show, and that they come through any number of calls between wasm and the host.

use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use wasm_engine::*;

const LINES: &str = include_str!("../../../guests/test_lines.wat");

fn engine(configure: impl FnOnce(&mut Config)) -> Engine {
    let mut config = Config::new();
    configure(&mut config);
    Engine::new(&config).unwrap()
}

/// The error with which the function `name` of an instance of `module` ends.
fn error_of(module: &Module, name: &str, argument: i32) -> Result<Error> {
    let mut store = Store::new(module.engine(), ());
    let instance = Instance::new(&mut store, module, &[])?;
    let function = instance.get_func(&mut store, name).unwrap();
    let mut results: Vec<Val> = function.ty(&store).results().map(|_| Val::I32(0)).collect();
    Ok(function.call(&mut store, &[Val::I32(argument)], &mut results).unwrap_err())
}

fn backtrace(error: &Error) -> &WasmBacktrace {
    error.downcast_ref::<WasmBacktrace>().expect("it crossed wasm")
}

#[test]
fn files_and_lines_are_shown_also_after_ahead_of_time_compilation() -> Result<()> {
    let engine = engine(|config| _ = config.wasm_backtrace_details(WasmBacktraceDetails::Enable));
    let compiled = Module::new(&engine, LINES)?;
    // SAFETY: the engine has just made the artifact.
    let loaded = unsafe { Module::deserialize(&engine, compiled.serialize()?)? };
    for module in [compiled, loaded] {
        let error = error_of(&module, "outer", 6)?;
        let backtrace = backtrace(&error);
        let frames = backtrace.frames();
        assert_eq!(
            frames.iter().map(FrameInfo::func_name).collect::<Vec<_>>(),
            [Some("middle"), Some("outer")]
        );
        let symbols: Vec<Vec<_>> = frames
            .iter()
            .map(|frame| {
                let symbols = frame.symbols().iter();
                symbols.map(|s| (s.name().unwrap(), s.file().unwrap(), s.line(), s.column())).collect()
            })
            .collect();
        let file = "/src/lines.c";
        let inner = vec![
            // Of a branch to nothing but a trap Cranelift makes one instruction, in the place of the branch.
            ("check", file, Some(2), Some(9)),
            ("twice", file, Some(8), Some(12)),
            ("middle", file, Some(12), Some(12)),
        ];
        assert_eq!(symbols, [inner, vec![("outer", file, Some(16), Some(12))]]);
        let (first, second) = (frames[0].module_offset().unwrap(), frames[1].module_offset().unwrap());
        assert_eq!(
            backtrace.to_string(),
            format!(
                "error while executing at wasm backtrace:\n    0: {first:#8x} - check\n                    at \
                 /src/lines.c:2:9\n                - twice\n                    at /src/lines.c:8:12\n                \
                 - middle\n                    at /src/lines.c:12:12\n    1: {second:#8x} - outer\n                    \
                 at /src/lines.c:16:12"
            )
        );
    }
    Ok(())
}

#[test]
fn debug_information_can_be_left_out() -> Result<()> {
    let enabled = engine(|config| _ = config.wasm_backtrace_details(WasmBacktraceDetails::Enable));
    let disabled = engine(|config| _ = config.wasm_backtrace_details(WasmBacktraceDetails::Disable));
    let with = Module::new(&enabled, LINES)?.serialize()?;
    let module = Module::new(&disabled, LINES)?;
    let without = module.serialize()?;
    let has_file_name = |artifact: &[u8]| artifact.windows(7).any(|text| text == b"lines.c");
    assert!(has_file_name(&with) && !has_file_name(&without));
    let error = error_of(&module, "outer", 6)?;
    assert!(backtrace(&error).frames().iter().all(|frame| frame.symbols().is_empty()));
    let text = backtrace(&error).to_string();
    assert!(text.ends_with(" - <unknown>!outer"), "{text}");
    // What the artifact has is used, whatever the engine is told to keep. It says so if the environment decides.
    // SAFETY: the engine has just made the artifact.
    let loaded = unsafe { Module::deserialize(&disabled, &with)? };
    let error = error_of(&loaded, "outer", 6)?;
    assert_eq!(backtrace(&error).frames()[1].symbols().len(), 1);
    if std::env::var_os("WASMTIME_BACKTRACE_DETAILS").is_none() {
        let error = error_of(&Module::new(&Engine::default(), LINES)?, "outer", 6)?;
        let text = backtrace(&error).to_string();
        assert!(text.ends_with("may show more debugging information"), "{text}");
    }
    Ok(())
}

/// Functions that trap, what they are called with, and where the instruction is, in bytes from the beginning of the body.
const PLACES: &[(&str, &str, i32, Trap, usize)] = &[
    ("unreachable", "nop unreachable", 0, Trap::UnreachableCodeReached, 2),
    ("load", "nop (drop (i32.load (local.get 0)))", -1, Trap::MemoryOutOfBounds, 4),
    ("load_past", "(drop (i32.load offset=0xfffffff0 (local.get 0)))", 0, Trap::MemoryOutOfBounds, 3),
    ("store", "(i64.store (local.get 0) (i64.const 1))", -1, Trap::MemoryOutOfBounds, 5),
    ("fill", "(memory.fill (local.get 0) (i32.const 0) (i32.const 2))", -1, Trap::MemoryOutOfBounds, 7),
    ("divide", "(drop (i32.div_s (i32.const 1) (local.get 0)))", 0, Trap::IntegerDivisionByZero, 5),
    ("overflow", "(drop (i32.div_s (i32.const 0x80000000) (local.get 0)))", -1, Trap::IntegerOverflow, 9),
    ("remainder", "(drop (i32.rem_u (i32.const 1) (local.get 0)))", 0, Trap::IntegerDivisionByZero, 5),
    (
        "convert",
        "(drop (i32.trunc_f32_s (f32.reinterpret_i32 (local.get 0))))",
        -1,
        Trap::BadConversionToInteger,
        4,
    ),
    ("call_null", "(call_indirect (local.get 0))", 1, Trap::IndirectCallToNull, 3),
    ("call_other", "(call_indirect (local.get 0))", 0, Trap::BadSignature, 3),
    ("call_outside", "(call_indirect (local.get 0))", 9, Trap::TableOutOfBounds, 3),
    ("get_outside", "(drop (table.get 0 (local.get 0)))", 9, Trap::TableOutOfBounds, 3),
    ("misaligned", "(drop (i32.atomic.load (local.get 0)))", 1, Trap::HeapMisaligned, 3),
    (
        "wait",
        "(drop (memory.atomic.wait32 (local.get 0) (i32.const 0) (i64.const 0)))",
        0,
        Trap::AtomicWaitNonSharedMemory,
        7,
    ),
];

#[test]
fn each_trap_says_exactly_where_it_was() -> Result<()> {
    let mut text = String::from(
        "(module (memory 1) (table 2 funcref) (elem (i32.const 0) $other) (func $other (param i64))",
    );
    for (name, body, ..) in PLACES {
        text += &format!("(func (export \"{name}\") (param i32) {body})");
    }
    text += "(func $deep (export \"deep\") (param i32) (call $deep (local.get 0)) nop))";
    for opt_level in [OptLevel::None, OptLevel::Speed] {
        let engine = engine(|config| _ = config.cranelift_opt_level(opt_level));
        let module = Module::new(&engine, &text)?;
        for (name, _, argument, trap, place) in PLACES {
            let error = error_of(&module, name, *argument)?;
            assert_eq!(error.downcast_ref(), Some(trap), "{name}");
            let frames = backtrace(&error).frames();
            assert_eq!((frames.len(), frames[0].func_offset()), (1, Some(*place)), "{name}");
        }
        let error = error_of(&module, "deep", 0)?;
        assert_eq!(error.downcast_ref(), Some(&Trap::StackOverflow));
        // Where functions check whether there is stack, there is no instruction of wasm yet; their callers call.
        assert!(backtrace(&error).frames()[1..].iter().all(|frame| frame.func_offset() == Some(3)));
    }
    Ok(())
}

#[test]
fn a_backtrace_takes_what_it_keeps_from_the_innermost_frames() -> Result<()> {
    let text = r#"(module (func $deep (export "deep") (param i32)
        (if (local.get 0) (then (call $deep (i32.sub (local.get 0) (i32.const 1)))) (else unreachable))))"#;
    let run = move || -> Result<()> {
        for limit in [1, 7, 20, 300] {
            let engine = engine(|config| {
                config.max_wasm_stack(100 << 20).wasm_backtrace_max_frames(NonZeroUsize::new(limit));
            });
            let error = error_of(&Module::new(&engine, text)?, "deep", 100_000)?;
            assert_eq!(error.downcast_ref(), Some(&Trap::UnreachableCodeReached));
            assert_eq!(backtrace(&error).frames().len(), limit);
        }
        let engine = engine(|config| _ = config.max_wasm_stack(100 << 20).wasm_backtrace_max_frames(None));
        assert!(!error_of(&Module::new(&engine, text)?, "deep", 100_000)?.is::<WasmBacktrace>());
        Ok(())
    };
    std::thread::Builder::new().stack_size(128 << 20).spawn(run).unwrap().join().unwrap()
}

/// What the innermost host function does, and at which level panics are caught.
#[derive(Clone, Copy)]
struct Plan {
    action: Action,
    catches_at: Option<i32>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Action {
    Fail,
    Trap,
    Panic,
}

fn host(mut caller: Caller<'_, Plan>, depth: i32) -> Result<i32> {
    let plan = *caller.data();
    let mut call = |name: &str, argument| -> Result<i32> {
        let function = caller.get_export(name).and_then(Extern::into_func).unwrap();
        function.typed::<i32, i32>(&caller)?.call(&mut caller, argument)
    };
    if depth > 0 {
        if plan.catches_at == Some(depth) {
            return catch_unwind(AssertUnwindSafe(|| call("enter", depth - 1))).unwrap_or(Ok(1000));
        }
        return call("enter", depth - 1);
    }
    match plan.action {
        Action::Fail => Err(std::io::Error::other("no").into()),
        Action::Trap => call("trap", 0),
        Action::Panic => std::panic::resume_unwind(Box::new("at the bottom")),
    }
}

#[test]
fn errors_traps_and_panics_come_through_a_thousand_levels() {
    const DEPTH: i32 = 1000;
    let run = || -> Result<()> {
        let engine = engine(|config| _ = config.max_wasm_stack(100 << 20));
        let module = Module::new(
            &engine,
            r#"(module (import "" "host" (func $host (param i32) (result i32)))
                (func (export "enter") (param i32) (result i32)
                    (i32.add (call $host (local.get 0)) (i32.const 1)))
                (func (export "trap") (param i32) (result i32) (i32.div_s (i32.const 1) (local.get 0))))"#,
        )?;
        let mut linker = Linker::new(&engine);
        linker.func_wrap("", "host", host)?;
        let mut store = Store::new(&engine, Plan { action: Action::Fail, catches_at: None });
        let instance = linker.instantiate(&mut store, &module)?;
        let enter = instance.get_typed_func::<i32, i32>(&mut store, "enter")?;
        for _ in 0..2 {
            *store.data_mut() = Plan { action: Action::Fail, catches_at: None };
            let error = enter.call(&mut store, DEPTH).unwrap_err();
            assert_eq!(error.downcast_ref::<std::io::Error>().unwrap().to_string(), "no");
            assert_eq!(backtrace(&error).frames().len(), 20);
            store.data_mut().action = Action::Trap;
            let error = enter.call(&mut store, DEPTH).unwrap_err();
            assert_eq!(error.downcast_ref(), Some(&Trap::IntegerDivisionByZero));
            store.data_mut().action = Action::Panic;
            let panic = catch_unwind(AssertUnwindSafe(|| enter.call(&mut store, DEPTH))).unwrap_err();
            assert_eq!(panic.downcast_ref(), Some(&"at the bottom"));
            for level in [1, 2, 500, DEPTH] {
                store.data_mut().catches_at = Some(level);
                assert_eq!(enter.call(&mut store, DEPTH)?, 1000 + DEPTH - level + 1);
            }
        }
        Ok(())
    };
    std::thread::Builder::new().stack_size(128 << 20).spawn(run).unwrap().join().unwrap().unwrap();
}
