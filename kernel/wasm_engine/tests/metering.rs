//! Fuel and epochs: what is charged, what is interrupted, and that code which was not compiled for it has nothing of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use wasm_engine::*;

fn engine(fuel: bool, epochs: bool) -> Engine {
    Engine::new(Config::new().consume_fuel(fuel).epoch_interruption(epochs)).unwrap()
}

/// An instance without imports, in a store with so much fuel, and its function `run`.
fn instance(engine: &Engine, text: &str, fuel: u64) -> (Store<u32>, Instance) {
    let module = Module::new(engine, text).unwrap();
    let mut store = Store::new(engine, 0);
    if fuel > 0 {
        store.set_fuel(fuel).unwrap();
    }
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    (store, instance)
}

fn run(store: &mut Store<u32>, instance: &Instance) -> Result<()> {
    instance.get_typed_func::<(), ()>(&mut *store, "run")?.call(store, ())
}

fn trap_of<T: std::fmt::Debug>(result: Result<T>) -> Trap {
    *result.unwrap_err().downcast_ref::<Trap>().expect("the error is a trap")
}

const PLENTY: u64 = 1 << 40;

#[test]
fn costs_are_those_of_wasmtime() {
    for (body, expected) in [
        // A function costs 1, whatever it does.
        ("", 1),
        ("nop nop", 1),
        ("i32.const 0 drop", 2),
        ("block loop end end", 1),
        ("return", 1),
        ("return i32.const 0 drop", 1),
        ("block br 0 end", 2),
        ("block i32.const 0 br_if 0 end", 3),
        ("block block i32.const 5 br_table 0 1 end end", 3),
        ("block block block i32.const 1 br_table 0 1 2 end i32.const 0 drop end i32.const 0 drop end", 4),
        ("i32.const 1 if i32.const 2 drop else i32.const 3 drop nop i32.const 4 drop end", 4),
        ("i32.const 0 if i32.const 2 drop else i32.const 3 drop nop i32.const 4 drop end", 5),
        ("i32.const 0 if i32.const 2 drop end", 3),
        ("call $nothing", 3),
        ("i32.const 0 call_indirect", 4),
        ("i32.const 10 local.set 0 loop local.get 0 i32.const 1 i32.sub local.tee 0 br_if 0 end", 53),
        // Bytes and elements, known or not when it is compiled.
        ("i32.const 0 i32.const 1 i32.const 10 memory.fill", 15),
        ("i32.const 0 i32.const 1 i32.const 1000 memory.fill", 1005),
        ("i32.const 0 i32.const 1 (i32.load (i32.const 65000)) memory.fill", 6),
        ("i32.const 0 i32.const 1 memory.size memory.fill", 6),
        ("i32.const 0 i32.const 1 i32.const 10 memory.copy", 15),
        ("i32.const 0 i32.const 1 memory.size memory.copy", 6),
        ("i32.const 0 i32.const 0 i32.const 3 memory.init $data", 8),
        ("i32.const 0 memory.grow drop", 3),
        ("i32.const 1 memory.grow drop", 3),
        ("i32.const 0 i32.const 1 i32.const 2 table.copy", 7),
        ("i32.const 0 ref.null func table.size table.fill", 9),
        ("i32.const 0 i32.const 0 i32.const 1 table.init $elem", 6),
        ("ref.null func i32.const 7 table.grow drop", 11),
        // What is not executed is not charged, and what traps is.
        ("unreachable i32.const 0 drop", 1),
        ("i32.const 0 drop unreachable", 2),
    ] {
        let engine = engine(true, false);
        let text = format!(
            "(module (memory 1) (table 4 funcref) (elem (i32.const 0) $nothing) (data $data \"abcdef\")
               (elem $elem func $nothing) (func $nothing) (func (export \"run\") (local i32) {body}))"
        );
        let (mut store, instance) = instance(&engine, &text, PLENTY);
        let result = run(&mut store, &instance);
        assert_eq!(result.is_err(), body.contains("unreachable"), "{body}: {result:?}");
        assert_eq!(PLENTY - store.get_fuel().unwrap(), expected, "{body}");
        // Just that much is not enough to begin a function with (none may be left): one more is.
        store.set_fuel(1).unwrap();
        assert_eq!(trap_of(run(&mut store, &instance)), Trap::OutOfFuel, "{body}");
    }
}

#[test]
fn loops_and_recursion_run_out() {
    for body in ["(loop $again (br $again))", "(call $run)", "(loop $again (call $nothing) (br $again))"] {
        let text = format!("(module (func $nothing) (func $run (export \"run\") {body}))");
        let (mut store, instance) = instance(&engine(true, false), &text, 1000);
        let error = run(&mut store, &instance).unwrap_err();
        assert_eq!(error.root_cause().to_string(), "wasm trap: all fuel consumed by WebAssembly");
        assert_eq!(store.get_fuel().unwrap(), 0);
        // It always ends in the same place.
        store.set_fuel(777).unwrap();
        assert_eq!(trap_of(run(&mut store, &instance)), Trap::OutOfFuel);
    }
    // Nothing is copied that is not paid for.
    let text = "(module (memory (export \"memory\") 16)
      (func (export \"run\") (memory.fill (i32.const 0) (i32.const 7) (i32.mul (memory.size) (i32.const 65536)))))";
    let (mut store, instance) = instance(&engine(true, false), text, 1 << 20);
    assert_eq!(trap_of(run(&mut store, &instance)), Trap::OutOfFuel);
    let memory = instance.get_memory(&mut store, "memory").unwrap();
    assert_eq!(memory.data(&store)[0], 0);
    store.set_fuel((1 << 20) + 8).unwrap();
    run(&mut store, &instance).unwrap();
    assert_eq!(memory.data(&store)[(1 << 20) - 1], 7);
}

#[test]
fn fuel_is_seen_and_set_by_host_functions() {
    let engine = engine(true, false);
    let module = Module::new(
        &engine,
        "(module (import \"\" \"host\" (func $host)) (func (export \"run\") (loop (call $host) (br 0))))",
    );
    let mut store = Store::new(&engine, 0u32);
    let host = Func::wrap(&mut store, |mut caller: Caller<'_, u32>| -> Result<()> {
        *caller.data_mut() += 1;
        let calls = *caller.data();
        if calls <= 3 {
            // The call is charged before it is made.
            assert_eq!(caller.get_fuel()?, 100 - 1 - 1 - u64::from(calls - 1) * 2);
        }
        if calls == 4 {
            caller.set_fuel(10)?;
        }
        Ok(())
    });
    let instance = Instance::new(&mut store, &module.unwrap(), &[host.into()]).unwrap();
    store.set_fuel(100).unwrap();
    assert_eq!(trap_of(run(&mut store, &instance)), Trap::OutOfFuel);
    assert_eq!(*store.data(), 4 + 5);
}

#[test]
fn more_fuel_than_code_can_count() {
    let (mut store, instance) = instance(&engine(true, false), "(module (func (export \"run\")))", u64::MAX);
    assert_eq!(store.get_fuel().unwrap(), u64::MAX);
    run(&mut store, &instance).unwrap();
    assert_eq!(store.get_fuel().unwrap(), u64::MAX - 1);
    let (mut store, _) = (Store::new(&engine(false, false), ()), ());
    assert_eq!(store.get_fuel().unwrap_err().to_string(), "fuel is not configured in this store");
    assert!(store.set_fuel(1).is_err());
}

const SPIN: &str = "(module (memory 1)
  (func $leaf)
  (func (export \"run\") (loop $again (call $leaf) (br $again)))
  (func (export \"once\")))";

#[test]
fn epochs_interrupt() {
    let engine = engine(false, true);
    let (mut store, instance) = instance(&engine, SPIN, 0);
    let once = instance.get_typed_func::<(), ()>(&mut store, "once").unwrap();
    // No deadline was set: it has come.
    assert_eq!(trap_of(once.call(&mut store, ())), Trap::Interrupt);
    store.set_epoch_deadline(1);
    once.call(&mut store, ()).unwrap();
    engine.increment_epoch();
    assert_eq!(trap_of(once.call(&mut store, ())), Trap::Interrupt);
    // By another thread, in a loop.
    for _ in 0..3 {
        store.set_epoch_deadline(2);
        let ended = Arc::new(AtomicBool::new(false));
        let (ends, ticking) = (ended.clone(), engine.clone());
        let ticker = std::thread::spawn(move || {
            while !ends.load(Ordering::Acquire) {
                std::thread::sleep(Duration::from_millis(1));
                ticking.increment_epoch();
            }
        });
        assert_eq!(trap_of(run(&mut store, &instance)), Trap::Interrupt);
        ended.store(true, Ordering::Release);
        ticker.join().unwrap();
    }
}

#[test]
fn a_callback_says_how_long_code_goes_on() {
    for fuel in [false, true] {
        let engine = engine(fuel, true);
        let (mut store, instance) = instance(&engine, SPIN, if fuel { PLENTY } else { 0 });
        let ticking = engine.clone();
        store.epoch_deadline_callback(move |mut store| {
            *store.data_mut() += 1;
            ticking.increment_epoch();
            match *store.data() {
                1..5 => Ok(UpdateDeadline::Continue(1)),
                5..10 => Ok(UpdateDeadline::Continue(0)),
                10 => Ok(UpdateDeadline::Interrupt),
                _ => bail!("no more"),
            }
        });
        store.set_epoch_deadline(0);
        // With a deadline that does not come by itself, nothing would end it.
        let ticker = Arc::new(AtomicBool::new(false));
        let (ends, ticking) = (ticker.clone(), engine.clone());
        let thread = std::thread::spawn(move || {
            while !ends.load(Ordering::Acquire) {
                ticking.increment_epoch();
                std::thread::yield_now();
            }
        });
        assert_eq!(trap_of(run(&mut store, &instance)), Trap::Interrupt);
        assert_eq!(*store.data(), 10);
        assert_eq!(run(&mut store, &instance).unwrap_err().root_cause().to_string(), "no more");
        store.epoch_deadline_trap();
        assert_eq!(trap_of(run(&mut store, &instance)), Trap::Interrupt);
        assert_eq!(*store.data(), 11);
        ticker.store(true, Ordering::Release);
        thread.join().unwrap();
        if fuel {
            assert!(store.get_fuel().unwrap() < PLENTY);
        }
    }
}

#[test]
fn artifacts_are_for_one_way_of_interruption() {
    let engines = [(false, false), (true, false), (false, true)].map(|(fuel, epochs)| engine(fuel, epochs));
    let artifacts = engines.each_ref().map(|engine| engine.precompile_module(SPIN.as_bytes()).unwrap());
    for (number, engine) in engines.iter().enumerate() {
        for (other, artifact) in artifacts.iter().enumerate() {
            // SAFETY: the compiler has just made it.
            let result = unsafe { Module::deserialize(engine, artifact) };
            match (number, other) {
                _ if number == other => drop(result.unwrap()),
                (1, _) => {
                    let message = format!("{:#}", result.unwrap_err());
                    assert!(message.contains("not compiled to consume fuel; compile it again"), "{message}");
                }
                (_, 1) => {
                    let message = format!("{:#}", result.unwrap_err());
                    assert!(message.contains("compiled to consume fuel; give it some"), "{message}");
                }
                _ => {
                    let message = format!("{:#}", result.unwrap_err());
                    assert!(message.contains("epochs") && message.contains("compile it again"), "{message}");
                }
            }
        }
    }
    // Code that looks at nothing is smaller than code that does.
    let [plain, fuel, epochs] = artifacts.each_ref().map(|file| {
        let artifact = wasm_artifact::Artifact::parse_for_any_host(file).unwrap();
        let tables = artifact.sections.tables(file);
        let functions = (0..tables.num_functions() as u32).map(wasm_artifact::DefinedFuncIndex);
        functions.filter_map(|index| tables.function(index)).map(|code| code.len).sum::<u32>()
    });
    assert!(plain < fuel && plain < epochs, "{plain}, {fuel}, {epochs} bytes of code");
}

#[test]
fn a_deadline_needs_nothing_in_the_code() {
    let engine = engine(false, false);
    let module = Module::new(&engine, SPIN).unwrap();
    let before = module.serialize().unwrap();
    let mut store = Store::new(&engine, 0u32);
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    store.set_deadline(Some(Duration::from_millis(5)));
    assert_eq!(trap_of(run(&mut store, &instance)), Trap::Interrupt);
    assert!(module.serialize().unwrap() == before, "the same code runs with and without a deadline");
}
