//! Exceptions of WebAssembly: through frames of wasm and of the host, in tasks that the timer interrupts anywhere.

use crate::at_once::in_tasks;
use crate::guest::{engine, module};
use ktest_system::leaves_nothing;
use wasm_engine::{
    Caller, ExnRef, ExnRefPre, ExnType, Extern, Func, Instance, Module, Store, ThrownException, WasmBacktrace,
};

/// Frames of the host that return because of an exception.
struct Passed(u32);

/// An instance of the guest, whose host function calls its function `turn`, and counts errors that pass it.
fn guest(module: &Module) -> (Store<Passed>, Instance) {
    let mut store = Store::new(module.engine(), Passed(0));
    let host = Func::wrap(&mut store, |mut caller: Caller<'_, Passed>, left: i32| {
        let turn = caller.get_export("turn").and_then(Extern::into_func).expect("it is exported");
        let outcome = turn.typed::<i32, ()>(&caller)?.call(&mut caller, left);
        if outcome.as_ref().is_err_and(|error| error.is::<ThrownException>()) {
            caller.data_mut().0 += 1;
        }
        outcome
    });
    let instance = Instance::new(&mut store, module, &[host.into()]).expect("it imports one function");
    (store, instance)
}

pub(crate) fn through_hosts() {
    const TURNS: i32 = 50;
    let module = module(&engine(), "test_exceptions");
    let (mut store, instance) = guest(&module);
    let catch = instance.get_typed_func::<i32, i32>(&mut store, "catch_turns").expect("it has this type");
    for turns in [0, 1, TURNS] {
        store.data_mut().0 = 0;
        assert_eq!(catch.call(&mut store, turns).expect("it is caught"), 4711);
        assert_eq!(store.data().0, turns as u32 + 1);
    }
    // Nobody catches it but the host.
    let turn = instance.get_typed_func::<i32, ()>(&mut store, "turn").expect("it has this type");
    let error = turn.call(&mut store, TURNS).expect_err("it throws");
    assert!(error.is::<ThrownException>() && error.is::<WasmBacktrace>());
    let exception = store.take_pending_exception().expect("it is pending");
    assert_eq!(exception.field(&mut store, 0).expect("it has a field").unwrap_i32(), 4711);
}

pub(crate) fn of_the_host() {
    let module = module(&engine(), "test_exceptions");
    let mut store = Store::new(module.engine(), ());
    let host = Func::wrap(&mut store, |mut caller: Caller<'_, ()>, value: i32| -> wasm_engine::Result<()> {
        let tag = caller.get_export("tag").and_then(Extern::into_tag).expect("it is exported");
        let ty = ExnType::from_tag_type(&tag.ty(&caller))?;
        let allocator = ExnRefPre::new(&mut caller, ty);
        let exception = ExnRef::new(&mut caller, &allocator, &tag, &[value.into()])?;
        wasm_engine::AsContextMut::as_context_mut(&mut caller).throw(exception)
    });
    let instance = Instance::new(&mut store, &module, &[host.into()]).expect("it imports one function");
    let catch = instance.get_typed_func::<i32, i32>(&mut store, "catch_turns").expect("it has this type");
    for value in [0, 7, -1] {
        assert_eq!(catch.call(&mut store, value).expect("it is caught"), value);
    }
}

pub(crate) fn in_many_tasks() {
    const ROUNDS: i32 = 10_000;
    let module = module(&engine(), "test_exceptions");
    let sums = in_tasks(5, move |number| {
        let (mut store, instance) = guest(&module);
        let catch =
            instance.get_typed_func::<(i32, i32), i64>(&mut store, "catch").expect("it has this type");
        catch.call(&mut store, (ROUNDS, number as i32 * 3)).expect("all are caught")
    });
    let expected = i64::from(ROUNDS) * i64::from(ROUNDS + 1) / 2;
    assert!(sums.iter().all(|sum| *sum == expected), "{sums:?}");
}

pub(crate) fn leave_nothing() {
    let engine = engine();
    leaves_nothing(|| {
        for _ in 0..100 {
            let (mut store, instance) = guest(&module(&engine, "test_exceptions"));
            let throw =
                instance.get_typed_func::<(i32, i32), ()>(&mut store, "throw").expect("it has this type");
            // The last one is pending when the store is dropped.
            for depth in 0..3 {
                assert!(throw.call(&mut store, (1, depth)).expect_err("it throws").is::<ThrownException>());
            }
        }
    });
}
