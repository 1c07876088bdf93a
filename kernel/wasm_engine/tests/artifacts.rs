//! Compiled modules as files.

use wasm_engine::*;

const ADD: &str = r#"(module (memory 1) (data (i32.const 3) "abc")
    (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1))))"#;

fn load(engine: &Engine, bytes: &[u8]) -> Result<Module> {
    // SAFETY: what is given here was made by the compiler, and then at most damaged, which its hash shows.
    unsafe { Module::deserialize(engine, bytes) }
}

#[test]
fn what_was_compiled_before_runs() -> Result<()> {
    let engine = Engine::default();
    let bytes = engine.precompile_module(ADD.as_bytes())?;
    assert_eq!(Engine::detect_precompiled(&bytes), Some(Precompiled::Module));
    assert_eq!(Engine::detect_precompiled(ADD.as_bytes()), None);
    let module = load(&engine, &bytes)?;
    assert_eq!(module.serialize()?, bytes);
    assert_eq!(Module::new(&engine, ADD)?.serialize()?, bytes);
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[])?;
    let add = instance.get_typed_func::<(i32, i32), i32>(&mut store, "add")?;
    // The module lives as long as its instance needs it.
    drop(module);
    assert_eq!(add.call(&mut store, (20, 22))?, 42);
    Ok(())
}

#[test]
fn damaged_artifacts_are_refused() -> Result<()> {
    let engine = Engine::default();
    let good = engine.precompile_module(ADD.as_bytes())?;
    for len in (0..good.len()).step_by(13) {
        assert!(load(&engine, &good[..len]).is_err(), "cut to {len}");
    }
    let mut damaged = good.clone();
    for at in (0..good.len()).step_by(7) {
        damaged[at] ^= 1 << (at % 8);
        let message = load(&engine, &damaged).map(drop).unwrap_err().to_string();
        assert!(!message.contains('\n') && message.len() > 20, "byte {at}: {message}");
        damaged[at] = good[at];
    }
    load(&engine, &damaged)?;
    Ok(())
}

#[test]
fn artifacts_for_something_else_are_refused() -> Result<()> {
    let mut config = Config::new();
    config.target("x86_64-theseus")?;
    let foreign = Engine::new(&config)?.precompile_module(ADD.as_bytes())?;
    let message = load(&Engine::default(), &foreign).unwrap_err().to_string();
    assert_eq!(
        message,
        "the artifact was compiled for x86_64-theseus; compile it again with --target x86_64-linux"
    );
    assert!(Config::new().target("riscv64").is_err());

    let mut config = Config::new();
    config.memory_guard_size(1 << 20);
    let other = Engine::new(&config)?.precompile_module(ADD.as_bytes())?;
    assert!(load(&Engine::default(), &other).unwrap_err().to_string().contains("compile it again"));
    Ok(())
}

#[test]
fn thousands_of_modules_leave_nothing_behind() -> Result<()> {
    let engine = Engine::default();
    let bytes = engine.precompile_module(ADD.as_bytes())?;
    for _ in 0..20 {
        let modules = (0..100).map(|_| load(&engine, &bytes)).collect::<Result<Vec<_>>>()?;
        drop(modules);
    }
    let memory = || std::fs::read_to_string("/proc/self/maps").unwrap().lines().count();
    let before = memory();
    for _ in 0..1_000 {
        drop(load(&engine, &bytes)?);
    }
    assert!(memory() < before + 20);
    Ok(())
}
