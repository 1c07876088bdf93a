//! Compiling: what can be configured, and what is said about modules that are not compiled.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use wasm_engine::*;

fn engine(configure: impl FnOnce(&mut Config)) -> Engine {
    let mut config = Config::new();
    configure(&mut config);
    Engine::new(&config).expect("the configuration works")
}

/// A module of functions that compute.
fn module(functions: usize) -> String {
    let function = |number| {
        let step = format!(
            "(local.set 0 (i32.mul (local.get 0) (i32.const {number})))
             (if (local.get 0) (then (local.set 0 (i32.add (local.get 0) (i32.const 1)))))"
        );
        format!("(func (export \"f{number}\") (param i32) (result i32) {} local.get 0)", step.repeat(20))
    };
    format!("(module {})", (0..functions).map(function).collect::<String>())
}

#[test]
fn a_feature_that_is_turned_off_is_refused() {
    for (text, turn_off) in [
        (
            "(module (func (result i32 i32) i32.const 1 i32.const 2))",
            (|config| config.wasm_multi_value(false)) as fn(&mut Config) -> &mut Config,
        ),
        ("(module (memory 1) (func (memory.fill (i32.const 0) (i32.const 0) (i32.const 0))))", |config| {
            config.wasm_bulk_memory(false)
        }),
        ("(module (func (param externref)))", |config| config.wasm_reference_types(false)),
        ("(module (func (param v128)))", |config| config.wasm_simd(false)),
        ("(module (func atomic.fence))", |config| config.wasm_threads(false)),
        ("(module (tag) (func (throw 0)))", |config| config.wasm_exceptions(false)),
        ("(module (func try catch_all end))", |config| config.wasm_legacy_exceptions(false)),
        ("(module (func try catch_all end))", |config| config.wasm_exceptions(false)),
        ("(module (func (return_call 0)))", |config| config.wasm_tail_call(false)),
    ] {
        Module::new(&engine(|_| ()), text).expect(text);
        let engine = engine(|config| {
            turn_off(config);
        });
        let error = Module::new(&engine, text).expect_err(text);
        let kind = error.downcast_ref::<CompileError>().expect("such an error").kind;
        assert_eq!(kind, CompileErrorKind::Invalid);
        let error = error.to_string();
        assert!(error.contains("(at offset 0x") && error.lines().count() == 1, "{text}: {error}");
        let binary = wat::parse_str(text).expect("the text is right");
        assert_eq!(Module::validate(&engine, &binary).expect_err(text).to_string(), error);
    }
}

#[test]
fn code_is_the_same_for_any_number_of_tasks() -> Result<()> {
    let text = module(200);
    let alone = engine(|config| _ = config.parallel_compilation(false)).precompile_module(text.as_bytes())?;
    for tasks in [0, 2, 8] {
        let engine = engine(|config| _ = config.compile_tasks(tasks));
        assert!(engine.precompile_module(text.as_bytes())? == alone, "{tasks} tasks");
    }
    Ok(())
}

#[test]
fn every_level_of_effort_computes_the_same() -> Result<()> {
    let text = module(3);
    for level in [OptLevel::None, OptLevel::Speed, OptLevel::SpeedAndSize] {
        let engine = engine(|config| {
            config.cranelift_opt_level(level).cranelift_debug_verifier(true);
        });
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &Module::new(&engine, &text)?, &[])?;
        let f = instance.get_typed_func::<i32, i32>(&mut store, "f2")?;
        let expected = (0..20).fold(7i32, |value, _| match value.wrapping_mul(2) {
            0 => 0,
            value => value.wrapping_add(1),
        });
        assert_eq!(f.call(&mut store, 7)?, expected, "{level:?}");
    }
    Ok(())
}

#[test]
fn registers_are_given_in_one_pass_if_so_configured() -> Result<()> {
    let text = module(3);
    let code = |algorithm| -> Result<Vec<u8>> {
        let engine = engine(|config| _ = config.cranelift_regalloc_algorithm(algorithm));
        let module = Module::new(&engine, &text)?;
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &module, &[])?;
        assert_eq!(instance.get_typed_func::<i32, i32>(&mut store, "f2")?.call(&mut store, 0)?, 0);
        module.serialize()
    };
    let (well, fast) = (code(RegallocAlgorithm::Backtracking)?, code(RegallocAlgorithm::SinglePass)?);
    assert!(well == Engine::default().precompile_module(text.as_bytes())?);
    assert!(well != fast, "that changes the code");
    Ok(())
}

#[test]
fn engines_that_can_load_each_others_artifacts_have_one_hash() {
    use std::hash::BuildHasher;
    let state = std::hash::RandomState::new();
    let hash = |configure: fn(&mut Config)| state.hash_one(engine(configure).precompile_compatibility_hash());
    let default = hash(|_| ());
    assert_eq!(hash(|config| _ = config.max_wasm_stack(1 << 16).compile_tasks(3)), default);
    let others = [
        hash(|config| _ = config.cranelift_opt_level(OptLevel::None)),
        hash(|config| _ = config.target_cpu(CpuFeatures::BASELINE)),
        hash(|config| _ = config.target("x86_64-theseus").expect("it is known")),
        hash(|config| _ = config.memory_guard_size(64 << 10)),
        hash(|config| _ = config.cranelift_regalloc_algorithm(RegallocAlgorithm::SinglePass)),
    ];
    for (number, other) in others.iter().enumerate() {
        assert!(*other != default && !others[..number].contains(other), "{number}");
    }
}

#[test]
fn files_are_told_apart() -> Result<()> {
    assert_eq!(Engine::detect_precompiled_file("tests/hello.wat")?, None);
    let artifact = Engine::default().precompile_module(b"(module)")?;
    let file = std::env::temp_dir().join(format!("detected-{}.cwasm", std::process::id()));
    std::fs::write(&file, artifact).expect("there is room");
    let found = Engine::detect_precompiled_file(&file);
    std::fs::remove_file(&file).expect("it was made");
    assert_eq!(found?, Some(Precompiled::Module));
    assert!(Engine::detect_precompiled_file("tests/nothing").is_err());
    Ok(())
}

#[test]
fn nans_have_the_same_bits_if_so_configured() -> Result<()> {
    let text =
        "(module (func (export \"add\") (param f32 f32) (result f32) (f32.add (local.get 0) (local.get 1))))";
    let add = |engine: &Engine, bits| -> Result<u32> {
        let mut store = Store::new(engine, ());
        let instance = Instance::new(&mut store, &Module::new(engine, text)?, &[])?;
        let add = instance.get_typed_func::<(f32, f32), f32>(&mut store, "add")?;
        Ok(add.call(&mut store, (f32::from_bits(bits), 1.0))?.to_bits())
    };
    const PAYLOAD: u32 = 0x7fc0_1234;
    assert_eq!(add(&engine(|_| ()), PAYLOAD)?, PAYLOAD, "as the processor does it");
    let canonical = engine(|config| _ = config.cranelift_nan_canonicalization(true));
    assert_eq!(add(&canonical, PAYLOAD)?, 0x7fc0_0000);
    Ok(())
}

#[test]
fn limits_are_errors_of_their_own_kind() {
    let engine = engine(|config| {
        config.compile_limits(CompileLimits { function_size: 100, ..CompileLimits::default() });
    });
    let error = Module::new(&engine, module(2)).expect_err("its functions are larger");
    assert_eq!(error.downcast_ref::<CompileError>().expect("such an error").kind, CompileErrorKind::Limit);
    assert!(error.to_string().starts_with("function 0 has a body of "), "{error}");
    assert!(Module::new(&engine, "(module (func))").is_ok());
}

#[test]
fn only_an_engine_that_may_compiles() {
    let engine = engine(|config| _ = config.enable_compiler(false));
    let error = Module::new(&engine, "(module)").expect_err("it may not");
    assert!(error.to_string().contains("configured not to compile"), "{error}");
    assert!(Module::validate(&engine, b"\0asm\x01\0\0\0").is_err());
}

#[test]
fn code_for_a_cpu_that_is_better_than_this_one_is_compiled_but_not_loaded() -> Result<()> {
    let config = |features| engine(|config| _ = config.target_cpu(features));
    Module::new(&config(CpuFeatures::BASELINE), "(module (func))")?;
    let here = CpuFeatures::of_this_cpu();
    let better = CpuFeatures::X86_64_V3.difference(here);
    if !better.is_empty() {
        let error = Module::new(&config(CpuFeatures::X86_64_V3), "(module (func))").expect_err("it has more");
        assert!(error.to_string().contains("; compile it"), "{error}");
    }
    config(CpuFeatures::X86_64_V3).precompile_module(b"(module (func))")?;
    Ok(())
}

#[test]
fn text_is_taken_by_new_and_from_file_alone() -> Result<()> {
    let engine = Engine::default();
    Module::new(&engine, "(module)")?;
    for error in [
        Module::from_binary(&engine, b"(module)").map(drop).expect_err("this is text"),
        Module::validate(&engine, b"(module)").expect_err("this is text"),
    ] {
        assert!(error.to_string().contains("magic header not detected"), "{error}");
    }
    let error = Module::new(&engine, "(module\n (fnc))").expect_err("there is a typing error");
    assert!(error.to_string().ends_with("(line 2, column 3)"), "{error}");
    Ok(())
}

#[test]
fn two_threads_compile_with_one_engine_and_see_their_own_progress() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counts = calls.clone();
    let engine = engine(|config| {
        let progress = move |progress: Progress| {
            assert!(progress.done <= progress.total);
            counts.fetch_add(1, Ordering::Relaxed);
        };
        config.compile_progress(Some(Arc::new(progress)));
    });
    let texts = [module(150), module(151)];
    let started = std::time::Instant::now();
    let compiled: Vec<_> = std::thread::scope(|scope| {
        let compile = |text: &str| engine.precompile_module(text.as_bytes()).expect("it is valid");
        let threads: Vec<_> = texts.iter().map(|text| scope.spawn(move || compile(text))).collect();
        threads.into_iter().map(|thread| thread.join().expect("it does not panic")).collect()
    });
    assert!(started.elapsed().as_millis() < 500 || calls.load(Ordering::Relaxed) > 0);
    for (text, compiled) in texts.iter().zip(compiled) {
        assert!(engine.precompile_module(text.as_bytes()).expect("it is valid") == compiled);
    }
}

#[test]
fn a_builder_takes_one_module_and_compiles_it() -> Result<()> {
    const TEXT: &str = "(module (func (export \"f\")))";
    let engine = Engine::default();
    let error = CodeBuilder::new(&engine).compile_module().map(drop).expect_err("there is nothing");
    assert_eq!(error.to_string(), "no wasm bytes have been configured");
    let binary = wat::parse_str(TEXT).expect("the text is right");
    let expected = engine.precompile_module(TEXT.as_bytes())?;
    let mut builder = CodeBuilder::new(&engine);
    builder.wasm_binary(binary.as_slice(), None)?;
    assert!(builder.compile_module_serialized()? == expected);
    assert!(builder.compile_module()?.get_export("f").is_some());
    let error = builder.wasm_binary_or_text(TEXT.as_bytes(), None).map(drop).expect_err("there is one");
    assert_eq!(error.to_string(), "cannot configure wasm bytes twice");
    assert!(CodeBuilder::new(&engine).wasm_binary(TEXT.as_bytes(), None)?.compile_module().is_err());
    let mut builder = CodeBuilder::new(&engine);
    assert!(builder.wasm_binary_or_text(TEXT.as_bytes(), None)?.compile_module_serialized()? == expected);
    let mut builder = CodeBuilder::new(&engine);
    builder.wasm_binary_or_text_file("tests/hello.wat".as_ref())?.compile_module()?;
    assert!(
        CodeBuilder::new(&engine).wasm_binary_file("tests/hello.wat".as_ref())?.compile_module().is_err()
    );
    Ok(())
}

#[test]
fn a_trusted_file_is_compiled_or_loaded() -> Result<()> {
    let engine = Engine::default();
    // SAFETY: it is text.
    let module = unsafe { Module::from_trusted_file(&engine, "tests/hello.wat") }?;
    let file = std::env::temp_dir().join(format!("trusted-{}.cwasm", std::process::id()));
    std::fs::write(&file, module.serialize()?).expect("there is room");
    // SAFETY: it was made by the compiler just now.
    let loaded = unsafe { Module::from_trusted_file(&engine, &file) };
    std::fs::remove_file(&file).expect("it was made");
    assert!(loaded?.serialize()? == module.serialize()?);
    Ok(())
}
