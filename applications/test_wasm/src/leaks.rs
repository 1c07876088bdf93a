//! What is made and dropped a thousand times leaves nothing behind.

use crate::guest::{Guest, engine, module, start, trap_of};
use ktest_system::leaves_nothing;
use wasm_engine::{Engine, Linker, Store, Trap};

/// How often each thing is done.
const TIMES: usize = 1000;

/// A guest and the function of it that is called, with its argument; `hello` imports something, so it has a test of its own.
const GUESTS: [(&str, &str, &[i32]); 4] = [
    ("fib", "fib", &[5]),
    ("memory", "grow", &[3]),
    ("test_traps", "table_grow", &[100]),
    ("test_small", "grow", &[1]),
];

/// Runs `action`, and checks that as many ranges of wasm code are registered afterwards as before.
fn leaves_nothing_of_wasm(mut action: impl FnMut()) {
    let before = wasm_unwind::registered();
    leaves_nothing(&mut action);
    assert_eq!(wasm_unwind::registered(), before, "ranges of wasm code");
}

/// Calls the function of the guest, whatever comes of it.
fn call(guest: &mut Guest, function: &str, args: &[i32]) {
    let args: alloc::vec::Vec<_> = args.iter().map(|arg| (*arg).into()).collect();
    guest.call(function, &args).expect("it does not trap");
}

pub(crate) fn instances() {
    let engine = engine();
    let modules = GUESTS.map(|(name, ..)| module(&engine, name));
    leaves_nothing_of_wasm(|| {
        for round in 0..TIMES {
            let which = round % GUESTS.len();
            let (_, function, args) = GUESTS[which];
            call(&mut Guest::of(&modules[which]), function, args);
        }
    });
}

pub(crate) fn modules() {
    leaves_nothing_of_wasm(|| {
        for round in 0..TIMES {
            let (name, function, args) = GUESTS[round % GUESTS.len()];
            // With an engine of its own, each time.
            call(&mut Guest::new(name), function, args);
        }
    });
}

/// An instance of `hello` that is run.
fn hello(engine: &Engine, panics: bool) {
    let mut linker = Linker::new(engine);
    linker
        .func_wrap("host", "hello", move |_: i32| assert!(!panics, "the host panics"))
        .expect("the name is free");
    let mut store = Store::new(engine, ());
    let instance = linker.instantiate(&mut store, &module(engine, "hello")).expect("its one import is there");
    let run = instance.get_typed_func::<(), ()>(&mut store, "run").expect("it has this type");
    run.call(&mut store, ()).expect("it does not trap");
}

pub(crate) fn failures() {
    let engine = engine();
    leaves_nothing_of_wasm(|| {
        for _ in 0..TIMES / 4 {
            hello(&engine, false);
            // A panic that leaves engine, store and linker on its way to being caught.
            assert!(catch_unwind::catch_unwind(|| hello(&engine, true)).is_err());
            let error = Guest::new("traps").call("stack_overflow", &[]).expect_err("it never returns");
            assert_eq!(trap_of(&error), Trap::StackOverflow);
            // And a task that ends with all of it.
            let of_task = engine.clone();
            let _ = start(move || hello(&of_task, true)).join();
        }
    });
}
