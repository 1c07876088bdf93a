//! What calls, traps and instances cost, in nanoseconds per operation: the best of many short repetitions, of which some
//! are undisturbed even on a busy machine.

use std::hint::black_box;
use std::time::{Duration, Instant};
use wasm_engine::*;

const MODULE: &str = r#"
    (module
        (import "" "nop" (func $nop))
        (import "" "add" (func $add (param i32 i32) (result i32)))
        (memory 1)
        (func (export "nop"))
        (func (export "params") (param i32 i64) (result f32) (f32.const 1))
        (func (export "call_nop") (param i32)
            (loop $again (call $nop) (br_if $again (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))))
        (func (export "call_add") (param i32)
            (loop $again (drop (call $add (i32.const 1) (i32.const 2)))
                (br_if $again (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))))
        (func (export "unreachable") unreachable)
        (func (export "load") (param i32) (result i32) (i32.load (local.get 0)))
        (func (export "divide") (param i32) (result i32) (i32.div_s (i32.const 1) (local.get 0)))
        (func $recurse (export "recurse") call $recurse)
        (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0))))
"#;

/// How long each operation is repeated.
const TIME_FOR_EACH: Duration = Duration::from_millis(700);

/// Prints what one of the `count` operations that `action` does costs.
fn measure(name: &str, count: u32, mut action: impl FnMut()) {
    let mut best = f64::INFINITY;
    let begin = Instant::now();
    while begin.elapsed() < TIME_FOR_EACH {
        let start = Instant::now();
        action();
        best = best.min(start.elapsed().as_nanos() as f64 / f64::from(count));
    }
    println!("{name:<44} {best:>10.1} ns");
}

fn bench(config: &Config, title: &str) -> Result<()> {
    println!("{title}");
    let engine = Engine::new(config)?;
    let module = Module::new(&engine, MODULE)?;
    let mut linker = Linker::new(&engine);
    linker.func_wrap("", "nop", || {})?;
    linker.func_wrap("", "add", |a: i32, b: i32| a + b)?;
    let pre = linker.instantiate_pre(&module)?;
    let mut store = Store::new(&engine, ());
    let instance = pre.instantiate(&mut store)?;
    let nop = instance.get_typed_func::<(), ()>(&mut store, "nop")?;
    let params = instance.get_typed_func::<(i32, i64), f32>(&mut store, "params")?;
    const CALLS: u32 = 5_000;
    measure("host -> wasm, typed, nothing", CALLS, || {
        (0..CALLS).for_each(|_| nop.call(&mut store, ()).unwrap())
    });
    measure("host -> wasm, typed, (i32, i64) -> f32", CALLS, || {
        (0..CALLS).for_each(|_| {
            black_box(params.call(&mut store, black_box((1, 2))).unwrap());
        });
    });
    let untyped = *nop.func();
    measure("host -> wasm, untyped, nothing", CALLS, || {
        (0..CALLS).for_each(|_| untyped.call(&mut store, &[], &mut []).unwrap());
    });
    for (name, export) in [("nothing", "call_nop"), ("(i32, i32) -> i32", "call_add")] {
        let function = instance.get_typed_func::<i32, ()>(&mut store, export)?;
        measure(&format!("wasm -> host, {name}"), CALLS, || function.call(&mut store, CALLS as i32).unwrap());
    }
    const TRAPS: u32 = 20;
    let unreachable = instance.get_typed_func::<(), ()>(&mut store, "unreachable")?;
    measure("trap: unreachable", TRAPS, || {
        (0..TRAPS).for_each(|_| drop(unreachable.call(&mut store, ()).unwrap_err()))
    });
    for (name, export, argument) in [("out of bounds", "load", -1), ("division by zero", "divide", 0)] {
        let function = instance.get_typed_func::<i32, i32>(&mut store, export)?;
        measure(&format!("trap: {name}"), TRAPS, || {
            (0..TRAPS).for_each(|_| drop(function.call(&mut store, argument).unwrap_err()));
        });
    }
    let recurse = instance.get_typed_func::<(), ()>(&mut store, "recurse")?;
    measure("trap: stack overflow", 100, || {
        (0..100).for_each(|_| drop(recurse.call(&mut store, ()).unwrap_err()))
    });
    let grow = instance.get_typed_func::<i32, i32>(&mut store, "grow")?;
    measure("memory.grow by 0", CALLS, || (0..CALLS).for_each(|_| drop(grow.call(&mut store, 0))));
    const STORES: u32 = 50;
    measure("Store::new and drop", STORES, || (0..STORES).for_each(|_| drop(Store::new(&engine, ()))));
    let empty = linker.instantiate_pre(&Module::new(&engine, "(module)")?)?;
    measure("store, empty instance, drop", STORES, || {
        (0..STORES).for_each(|_| {
            black_box(empty.instantiate(Store::new(&engine, ())).unwrap());
        });
    });
    measure("store, instance with 1 page, drop", STORES, || {
        (0..STORES).for_each(|_| {
            black_box(pre.instantiate(Store::new(&engine, ())).unwrap());
        });
    });
    let artifact = module.serialize()?;
    const LOADS: u32 = 10;
    measure("Module::deserialize and drop", LOADS, || {
        // SAFETY: the engine has just made the artifact.
        (0..LOADS).for_each(|_| drop(unsafe { Module::deserialize(&engine, &artifact) }.unwrap()));
    });
    let key = SigningKey::from_seed([1; 32]).expect("it is a seed");
    let mut keys = TrustedKeys::new();
    keys.add(key.public_key())?;
    let signing = Engine::new(config.clone().trusted_keys(Some(keys)).signing_key(Some(key)))?;
    let signed = Module::new(&signing, "(module)")?.serialize()?;
    measure("the same, signed, of an empty module", LOADS, || {
        // SAFETY: as above.
        (0..LOADS).for_each(|_| drop(unsafe { Module::deserialize(&signing, &signed) }.unwrap()));
    });
    Ok(())
}

fn main() -> Result<()> {
    bench(&Config::new(), "default configuration")?;
    bench(Config::new().wasm_backtrace(false), "without backtraces")
}
