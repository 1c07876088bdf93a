//! Traps, errors and panics, and what is left afterwards.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use wasm_engine::error::Context;
use wasm_engine::*;

const TRAPS: &str = r#"
    (module $traps
        (memory (export "memory") 1)
        (table 3 funcref)
        (elem (i32.const 0) $nop $with_param)
        (func $nop)
        (func $with_param (param i32))
        (func (export "unreachable") unreachable)
        (func (export "load") (param i32) (result i32) (i32.load (local.get 0)))
        (func (export "load_far") (param i32) (result i32) (i32.load offset=0xfffffff0 (local.get 0)))
        (func (export "divide") (param i32 i32) (result i32) (i32.div_s (local.get 0) (local.get 1)))
        (func (export "convert") (param f64) (result i32) (i32.trunc_f64_s (local.get 0)))
        (func (export "call") (param i32) (call_indirect (local.get 0)))
        (func (export "fill") (param i32 i32) (memory.fill (local.get 0) (i32.const 1) (local.get 1)))
        (func $recurse (export "recurse") (param i32) (result i32)
            (i32.add (i32.const 1) (call $recurse (local.get 0))))
        (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1))))
"#;

fn instance() -> Result<(Store<()>, Instance)> {
    let engine = Engine::default();
    let module = Module::new(&engine, TRAPS)?;
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[])?;
    Ok((store, instance))
}

fn trap_of<T: std::fmt::Debug>(result: Result<T>) -> Trap {
    *result.unwrap_err().downcast_ref::<Trap>().expect("the error is a trap")
}

#[test]
fn every_kind_of_trap_arrives_and_the_store_goes_on() -> Result<()> {
    let (mut store, instance) = instance()?;
    let store = &mut store;
    let unreachable = instance.get_typed_func::<(), ()>(&mut *store, "unreachable")?;
    let load = instance.get_typed_func::<i32, i32>(&mut *store, "load")?;
    let load_far = instance.get_typed_func::<i32, i32>(&mut *store, "load_far")?;
    let divide = instance.get_typed_func::<(i32, i32), i32>(&mut *store, "divide")?;
    let convert = instance.get_typed_func::<f64, i32>(&mut *store, "convert")?;
    let call = instance.get_typed_func::<i32, ()>(&mut *store, "call")?;
    let fill = instance.get_typed_func::<(i32, i32), ()>(&mut *store, "fill")?;
    let recurse = instance.get_typed_func::<i32, i32>(&mut *store, "recurse")?;
    let add = instance.get_typed_func::<(i32, i32), i32>(&mut *store, "add")?;
    for _ in 0..3 {
        assert_eq!(trap_of(unreachable.call(&mut *store, ())), Trap::UnreachableCodeReached);
        assert_eq!(trap_of(load.call(&mut *store, 65533)), Trap::MemoryOutOfBounds);
        assert_eq!(trap_of(load.call(&mut *store, -1)), Trap::MemoryOutOfBounds);
        assert_eq!(trap_of(load_far.call(&mut *store, -1)), Trap::MemoryOutOfBounds);
        assert_eq!(trap_of(divide.call(&mut *store, (1, 0))), Trap::IntegerDivisionByZero);
        assert_eq!(trap_of(divide.call(&mut *store, (i32::MIN, -1))), Trap::IntegerOverflow);
        assert_eq!(trap_of(convert.call(&mut *store, f64::NAN)), Trap::BadConversionToInteger);
        assert_eq!(trap_of(convert.call(&mut *store, 1e10)), Trap::IntegerOverflow);
        assert_eq!(trap_of(call.call(&mut *store, 1)), Trap::BadSignature);
        assert_eq!(trap_of(call.call(&mut *store, 2)), Trap::IndirectCallToNull);
        assert_eq!(trap_of(call.call(&mut *store, 3)), Trap::TableOutOfBounds);
        assert_eq!(trap_of(fill.call(&mut *store, (65535, 2))), Trap::MemoryOutOfBounds);
        assert_eq!(trap_of(recurse.call(&mut *store, 0)), Trap::StackOverflow);
        assert_eq!(load.call(&mut *store, 65532)?, 0);
        call.call(&mut *store, 0)?;
        assert_eq!(add.call(&mut *store, (2, 3))?, 5);
    }
    Ok(())
}

#[test]
fn the_backtrace_is_printed_as_wasmtime_prints_it() -> Result<()> {
    let engine = Engine::default();
    let module = Module::new(
        &engine,
        r#"(module $app (func $inner unreachable) (func $middle call $inner) (func (export "run") call $middle))"#,
    )?;
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[])?;
    let run = instance.get_typed_func::<(), ()>(&mut store, "run")?;
    let error = run.call(&mut store, ()).unwrap_err();

    let backtrace = error.downcast_ref::<WasmBacktrace>().unwrap();
    let names: Vec<_> =
        backtrace.frames().iter().map(|frame| (frame.func_index(), frame.func_name())).collect();
    assert_eq!(names, [(0, Some("inner")), (1, Some("middle")), (2, None)]);
    let frame = &backtrace.frames()[0];
    assert_eq!(frame.module().name(), Some("app"));
    assert!(Module::same(frame.module(), &module));
    let offset = frame.module_offset().unwrap();
    // `unreachable` is the first instruction after the number of groups of locals.
    assert_eq!(frame.func_offset(), Some(1));

    let offsets: Vec<usize> = backtrace.frames().iter().map(|frame| frame.module_offset().unwrap()).collect();
    assert_eq!(offsets[0], offset);
    assert_eq!(
        format!("{error:?}"),
        format!(
            "error while executing at wasm backtrace:\n    0: {:#8x} - app!inner\n    1: {:#8x} - app!middle\n    2: {:#8x} - \
             app!<wasm function 2>\n\nCaused by:\n    wasm trap: wasm `unreachable` instruction executed",
            offsets[0], offsets[1], offsets[2]
        )
    );
    Ok(())
}

#[test]
fn backtraces_can_be_limited_and_turned_off() -> Result<()> {
    let deep = r#"(module (func $f (export "f") (param i32)
        (if (i32.eqz (local.get 0)) (then unreachable))
        (call $f (i32.sub (local.get 0) (i32.const 1)))))"#;
    for (limit, expected) in [(None, None), (std::num::NonZeroUsize::new(3), Some(3))] {
        let mut config = Config::new();
        config.wasm_backtrace_max_frames(limit);
        let engine = Engine::new(&config)?;
        let module = Module::new(&engine, deep)?;
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &module, &[])?;
        let function = instance.get_typed_func::<i32, ()>(&mut store, "f")?;
        let error = function.call(&mut store, 100).unwrap_err();
        assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::UnreachableCodeReached));
        assert_eq!(error.downcast_ref::<WasmBacktrace>().map(|backtrace| backtrace.frames().len()), expected);
    }
    Ok(())
}

#[derive(Debug)]
struct HostError(u32);

impl std::fmt::Display for HostError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "host error {}", self.0)
    }
}

impl std::error::Error for HostError {}

const CALLS_HOST: &str = r#"(module $caller (import "" "f" (func $f)) (func $run (export "run") call $f))"#;

#[test]
fn an_error_of_a_host_function_arrives_as_it_is_with_a_backtrace() -> Result<()> {
    let engine = Engine::default();
    let module = Module::new(&engine, CALLS_HOST)?;
    let mut store = Store::new(&engine, ());
    let host = Func::wrap(&mut store, || -> Result<()> { Err(HostError(7)).context("in the host") });
    let instance = Instance::new(&mut store, &module, &[host.into()])?;
    let run = instance.get_typed_func::<(), ()>(&mut store, "run")?;
    for _ in 0..2 {
        let error = run.call(&mut store, ()).unwrap_err();
        assert_eq!(error.downcast_ref::<HostError>().unwrap().0, 7);
        assert_eq!(error.downcast_ref::<WasmBacktrace>().unwrap().frames()[0].func_name(), Some("run"));
        assert!(
            format!("{error:?}").ends_with("Caused by:\n    0: in the host\n    1: host error 7"),
            "{error:?}"
        );
        assert_eq!(error.downcast::<HostError>().unwrap().0, 7);
    }
    // Called without wasm in between there is nothing to trace.
    let error = host.typed::<(), ()>(&store)?.call(&mut store, ()).unwrap_err();
    assert!(error.is::<HostError>() && !error.is::<WasmBacktrace>());
    Ok(())
}

#[test]
fn a_host_function_can_return_a_trap() -> Result<()> {
    let engine = Engine::default();
    let module = Module::new(&engine, CALLS_HOST)?;
    let mut store = Store::new(&engine, ());
    let host = Func::wrap(&mut store, || -> Result<()> { bail!(Trap::IntegerOverflow) });
    let instance = Instance::new(&mut store, &module, &[host.into()])?;
    let error = instance.get_typed_func::<(), ()>(&mut store, "run")?.call(&mut store, ()).unwrap_err();
    assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::IntegerOverflow));
    Ok(())
}

/// Counts how often one was dropped.
struct CountDrops(Arc<AtomicUsize>);

impl Drop for CountDrops {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_panic_crosses_wasm_and_drops_what_is_between() -> Result<()> {
    let engine = Engine::default();
    let module = Module::new(&engine, CALLS_HOST)?;
    let drops = Arc::new(AtomicUsize::new(0));
    let mut store = Store::new(&engine, ());
    let innermost = {
        let drops = drops.clone();
        Func::wrap(&mut store, move || {
            let _guard = CountDrops(drops.clone());
            if true {
                std::panic::resume_unwind(Box::new(42u32));
            }
        })
    };
    let inner = Instance::new(&mut store, &module, &[innermost.into()])?;
    let inner_run = inner.get_typed_func::<(), ()>(&mut store, "run")?;
    let between = {
        let drops = drops.clone();
        Func::wrap(&mut store, move |mut caller: Caller<'_, ()>| {
            let _guard = CountDrops(drops.clone());
            inner_run.call(&mut caller, ())
        })
    };
    let outer = Instance::new(&mut store, &module, &[between.into()])?;
    let run = outer.get_typed_func::<(), ()>(&mut store, "run")?;
    for round in 1..=3 {
        let panic = catch_unwind(AssertUnwindSafe(|| run.call(&mut store, ()))).unwrap_err();
        assert_eq!(panic.downcast_ref::<u32>(), Some(&42));
        assert_eq!(drops.load(Ordering::Relaxed), 2 * round);
    }
    // The way in and the stack limit are as before.
    let (mut other, instance) = instance()?;
    let recurse = instance.get_typed_func::<i32, i32>(&mut other, "recurse")?;
    assert_eq!(trap_of(recurse.call(&mut other, 0)), Trap::StackOverflow);
    Ok(())
}

#[test]
fn backtraces_go_through_nested_calls_of_one_store() -> Result<()> {
    let engine = Engine::default();
    let inner_module = Module::new(&engine, r#"(module $inner (func $boom (export "run") unreachable))"#)?;
    let outer_module = Module::new(&engine, CALLS_HOST)?;
    let mut store = Store::new(&engine, ());
    let inner = Instance::new(&mut store, &inner_module, &[])?;
    let inner_run = inner.get_typed_func::<(), ()>(&mut store, "run")?;
    let between = Func::wrap(&mut store, move |mut caller: Caller<'_, ()>| -> Result<()> {
        assert_eq!(WasmBacktrace::capture(&caller).frames()[0].func_name(), Some("run"));
        inner_run.call(&mut caller, ())
    });
    let outer = Instance::new(&mut store, &outer_module, &[between.into()])?;
    let run = outer.get_typed_func::<(), ()>(&mut store, "run")?;
    let error = run.call(&mut store, ()).unwrap_err();
    let names: Vec<_> = error
        .downcast_ref::<WasmBacktrace>()
        .unwrap()
        .frames()
        .iter()
        .map(|frame| frame.func_name().unwrap())
        .collect();
    assert_eq!(names, ["boom", "run"]);
    assert!(WasmBacktrace::capture(&store).frames().is_empty());
    Ok(())
}

#[test]
fn host_and_wasm_calling_each_other_without_end_is_a_stack_overflow() -> Result<()> {
    let engine = Engine::default();
    let module = Module::new(&engine, CALLS_HOST)?;
    let mut store: Store<(Option<TypedFunc<(), ()>>, usize)> = Store::new(&engine, (None, 0));
    let host = Func::wrap(&mut store, |mut caller: Caller<'_, (Option<TypedFunc<(), ()>>, usize)>| {
        caller.data_mut().1 += 1;
        let again = caller.data().0.unwrap();
        again.call(&mut caller, ())
    });
    let instance = Instance::new(&mut store, &module, &[host.into()])?;
    let run = instance.get_typed_func::<(), ()>(&mut store, "run")?;
    store.data_mut().0 = Some(run);
    for _ in 0..3 {
        store.data_mut().1 = 0;
        assert_eq!(trap_of(run.call(&mut store, ())), Trap::StackOverflow);
        assert!(store.data().1 > 100);
    }
    Ok(())
}

#[test]
fn a_hundred_thousand_traps_in_each_of_several_threads() -> Result<()> {
    let engine = Engine::default();
    let module = Module::new(&engine, TRAPS)?;
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (engine, module) = (&engine, &module);
            scope.spawn(move || {
                let mut store = Store::new(engine, ());
                let instance = Instance::new(&mut store, module, &[]).unwrap();
                let load = instance.get_typed_func::<i32, i32>(&mut store, "load").unwrap();
                let divide = instance.get_typed_func::<(i32, i32), i32>(&mut store, "divide").unwrap();
                for number in 0..25_000 {
                    assert_eq!(trap_of(load.call(&mut store, -1)), Trap::MemoryOutOfBounds);
                    assert_eq!(trap_of(divide.call(&mut store, (thread, 0))), Trap::IntegerDivisionByZero);
                    assert_eq!(load.call(&mut store, 4 * (number % 100)).unwrap(), 0);
                }
            });
        }
    });
    Ok(())
}

#[test]
fn modules_of_one_store_trap_in_turns() -> Result<()> {
    const MODULES: usize = 9;
    let engine = Engine::default();
    let mut store = Store::new(&engine, ());
    // The same functions at different places, whose modules only the store keeps.
    let functions: Vec<TypedFunc<i32, i32>> = (0..MODULES)
        .map(|number| {
            let before =
                "(func (param i32) (result i32) (i32.div_u (local.get 0) (local.get 0)))".repeat(number);
            let text = format!(
                r#"(module $m{number} (memory 1) {before}
                    (func (export "f") (param i32) (result i32)
                        (if (local.get 0) (then unreachable)) (i32.load (i32.const -1))))"#
            );
            let instance = Instance::new(&mut store, &Module::new(&engine, text)?, &[])?;
            instance.get_typed_func(&mut store, "f")
        })
        .collect::<Result<_>>()?;
    for number in 0..5 * MODULES {
        let module = number * number % MODULES;
        let (argument, expected) =
            if number % 2 == 0 { (0, Trap::MemoryOutOfBounds) } else { (1, Trap::UnreachableCodeReached) };
        let error = functions[module].call(&mut store, argument).unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&expected));
        let frame = &error.downcast_ref::<WasmBacktrace>().unwrap().frames()[0];
        assert_eq!(frame.module().name(), Some(&*format!("m{module}")));
    }
    Ok(())
}

#[test]
fn max_wasm_stack_is_respected() -> Result<()> {
    let counts = r#"(module (global $n (export "n") (mut i32) (i32.const 0))
        (func $f (export "f") (global.set $n (i32.add (global.get $n) (i32.const 1))) (call $f)))"#;
    let depth = |size: usize| -> Result<i32> {
        let mut config = Config::new();
        config.max_wasm_stack(size);
        let engine = Engine::new(&config)?;
        let module = Module::new(&engine, counts)?;
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &module, &[])?;
        let function = instance.get_typed_func::<(), ()>(&mut store, "f")?;
        assert_eq!(trap_of(function.call(&mut store, ())), Trap::StackOverflow);
        Ok(instance.get_global(&mut store, "n").unwrap().get(&mut store).unwrap_i32())
    };
    let (small, large) = (depth(64 << 10)?, depth(256 << 10)?);
    assert!(large > 3 * small && large < 5 * small, "{small} {large}");
    // More than there is: what the host needs is left to it.
    assert!(depth(1 << 40)? > large);
    Ok(())
}

#[test]
fn a_trap_at_the_start_keeps_what_it_did_before() -> Result<()> {
    let engine = Engine::default();
    let module = Module::new(
        &engine,
        r#"(module (import "" "m" (memory 1)) (data (i32.const 0) "\07") (data (i32.const 65536) "x"))"#,
    )?;
    let mut store = Store::new(&engine, ());
    let memory = Memory::new(&mut store, MemoryType::new(1, None))?;
    assert_eq!(trap_of(Instance::new(&mut store, &module, &[memory.into()])), Trap::MemoryOutOfBounds);
    assert_eq!(memory.data(&store)[0], 7);
    let start = Module::new(&engine, "(module (func $f unreachable) (start $f))")?;
    assert_eq!(trap_of(Instance::new(&mut store, &start, &[])), Trap::UnreachableCodeReached);
    Ok(())
}
