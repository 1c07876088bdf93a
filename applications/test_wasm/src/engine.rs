//! The engine on this kernel's pages, exceptions, unwinder and tasks.

use crate::leaks::Resources;
use alloc::boxed::Box;
use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicUsize, Ordering};
use wasm_engine::*;

/// The module of a guest, by the name of its file without extension.
pub fn guest(engine: &Engine, name: &str) -> Module {
    let path = alloc::format!("/guests/{name}.cwasm");
    // SAFETY: the file came with the image, for which the compiler has made it.
    unsafe { Module::deserialize_file(engine, path.as_str()) }.unwrap()
}

/// An instance of a guest without imports, and its store.
fn instance(engine: &Engine, name: &str) -> (Store<()>, Instance) {
    let mut store = Store::new(engine, ());
    let instance = Instance::new(&mut store, &guest(engine, name), &[]).unwrap();
    (store, instance)
}

fn trap_of<T: core::fmt::Debug>(result: Result<T>) -> Trap {
    *result.unwrap_err().downcast_ref::<Trap>().expect("the error is a trap")
}

/// Exports of the guest `traps`, and what they trap with.
const TRAPS: [(&str, Trap); 14] = [
    ("unreachable", Trap::UnreachableCodeReached),
    ("memory_out_of_bounds", Trap::MemoryOutOfBounds),
    ("memory_far_out_of_bounds", Trap::MemoryOutOfBounds),
    ("memory_store_across_the_end", Trap::MemoryOutOfBounds),
    ("memory_fill_out_of_bounds", Trap::MemoryOutOfBounds),
    ("divide_by_zero", Trap::IntegerDivisionByZero),
    ("divide_by_zero_unsigned", Trap::IntegerDivisionByZero),
    ("divide_overflow", Trap::IntegerOverflow),
    ("convert_overflow", Trap::IntegerOverflow),
    ("convert_nan", Trap::BadConversionToInteger),
    ("call_outside_table", Trap::TableOutOfBounds),
    ("call_null", Trap::IndirectCallToNull),
    ("call_other_type", Trap::BadSignature),
    ("stack_overflow", Trap::StackOverflow),
];

/// Calls an export of any result type without arguments.
fn call(store: &mut Store<()>, instance: Instance, name: &str) -> Result<()> {
    let function = instance.get_func(&mut *store, name).unwrap();
    let mut results = [Val::I32(0)];
    let count = function.ty(&*store).results().len();
    function.call(store, &[], &mut results[..count])
}

pub fn every_trap() {
    let engine = Engine::default();
    let (mut store, instance) = instance(&engine, "traps");
    for _ in 0..10 {
        for (name, trap) in TRAPS {
            assert_eq!(trap_of(call(&mut store, instance, name)), trap, "{name}");
            call(&mut store, instance, "call_works").unwrap();
        }
    }
}

pub fn many_traps() {
    const TASKS: usize = 4;
    const ROUNDS: usize = 12_500;
    let engine = Engine::default();
    let module = guest(&engine, "traps");
    let counted = Arc::new(AtomicUsize::new(0));
    let tasks: Vec<_> = (0..TASKS)
        .map(|_| {
            let (engine, module, counted) = (engine.clone(), module.clone(), counted.clone());
            let work = move |()| {
                let mut store = Store::new(&engine, ());
                let instance = Instance::new(&mut store, &module, &[]).unwrap();
                let load = instance.get_typed_func::<(), i32>(&mut store, "memory_out_of_bounds").unwrap();
                let divide = instance.get_typed_func::<(), i32>(&mut store, "divide_by_zero").unwrap();
                let works = instance.get_typed_func::<(), ()>(&mut store, "call_works").unwrap();
                for _ in 0..ROUNDS {
                    assert_eq!(trap_of(load.call(&mut store, ())), Trap::MemoryOutOfBounds);
                    assert_eq!(trap_of(divide.call(&mut store, ())), Trap::IntegerDivisionByZero);
                    works.call(&mut store, ()).unwrap();
                    counted.fetch_add(2, Ordering::Relaxed);
                }
            };
            spawn::new_task_builder(work, ()).name("test_wasm_traps".to_string()).spawn().unwrap()
        })
        .collect();
    for task in tasks {
        assert!(matches!(task.join(), Ok(task::ExitValue::Completed(_))));
    }
    assert_eq!(counted.load(Ordering::Relaxed), 2 * TASKS * ROUNDS);
}

pub fn backtrace() {
    let engine = Engine::default();
    let (mut store, instance) = instance(&engine, "traps");
    let error = call(&mut store, instance, "stack_overflow").unwrap_err();
    let backtrace = error.downcast_ref::<WasmBacktrace>().unwrap();
    assert_eq!(backtrace.frames().len(), 20);
    assert!(backtrace.frames().iter().all(|frame| frame.func_name() == Some("recurse")));
    assert!(backtrace.frames()[1].module_offset().is_some());
    assert!(alloc::format!("{error:?}").ends_with("Caused by:\n    wasm trap: call stack exhausted"));
}

pub fn stack_overflow() {
    let engine = Engine::default();
    let (mut store, instance) = instance(&engine, "traps");
    for _ in 0..1_000 {
        assert_eq!(trap_of(call(&mut store, instance, "stack_overflow")), Trap::StackOverflow);
    }
}

pub fn memory_grows() {
    let before = Resources::now();
    {
        let engine = Engine::default();
        let (mut store, instance) = instance(&engine, "memory");
        let memory = instance.get_memory(&mut store, "memory").unwrap();
        let grow = instance.get_typed_func::<i32, i32>(&mut store, "grow").unwrap();
        let sum = instance.get_typed_func::<(), i64>(&mut store, "sum").unwrap();
        let text: i64 = b"data at eight".iter().map(|byte| i64::from(*byte)).sum();
        assert_eq!(sum.call(&mut store, ()).unwrap(), text);
        let address = memory.data_ptr(&store);
        for pages in 1..16 {
            assert_eq!(grow.call(&mut store, 1).unwrap(), pages);
            // What was added is zero and can be written.
            let data = memory.data_mut(&mut store);
            let added = &mut data[pages as usize * 65536..];
            assert!(added.len() == 65536 && added.iter().all(|byte| *byte == 0));
            added.fill(1);
        }
        assert_eq!(grow.call(&mut store, 1).unwrap(), -1);
        assert_eq!(memory.data_ptr(&store), address);
        assert_eq!(sum.call(&mut store, ()).unwrap(), text + 15 * 65536);
        let load = instance.get_typed_func::<i32, i32>(&mut store, "load").unwrap();
        assert_eq!(load.call(&mut store, 16 * 65536 - 1).unwrap(), 1);
        assert_eq!(trap_of(load.call(&mut store, 16 * 65536)), Trap::MemoryOutOfBounds);
    }
    before.assert_kept(8);
}

pub fn floats() {
    let engine = Engine::default();
    let module = guest(&engine, "floats");
    let mut linker = Linker::new(&engine);
    linker.func_wrap("host", "mix", |a: f32, b: f64, c: i32| f64::from(a) * b + f64::from(c)).unwrap();
    let mut store = Store::new(&engine, ());
    let instance = linker.instantiate(&mut store, &module).unwrap();
    let run = instance.get_typed_func::<(f32, f64), f64>(&mut store, "run").unwrap();
    assert_eq!(run.call(&mut store, (1.5, 3.0)).unwrap(), 1.5 + 4.5 + 2.0);
    let round = instance.get_typed_func::<f64, (f64, f64, f64, f64)>(&mut store, "round").unwrap();
    assert_eq!(round.call(&mut store, -2.5).unwrap(), (-2.0, -3.0, -2.0, -2.0));
    assert_eq!(round.call(&mut store, 0.75).unwrap(), (1.0, 0.0, 0.0, 1.0));
}

/// An instance of `hello` whose import is `function`.
fn hello<Params, Results>(function: impl IntoFunc<(), Params, Results>) -> (Store<()>, TypedFunc<(), ()>) {
    let engine = Engine::default();
    let mut linker = Linker::new(&engine);
    linker.func_wrap("host", "hello", function).unwrap();
    let mut store = Store::new(&engine, ());
    let instance = linker.instantiate(&mut store, &guest(&engine, "hello")).unwrap();
    let run = instance.get_typed_func::<(), ()>(&mut store, "run").unwrap();
    (store, run)
}

pub fn host_error() {
    let (mut store, run) = hello(|number: i32| -> Result<()> { Err(Error::msg(number)) });
    for _ in 0..1_000 {
        let error = run.call(&mut store, ()).unwrap_err();
        assert_eq!(error.downcast_ref::<i32>(), Some(&3));
        assert_eq!(error.downcast_ref::<WasmBacktrace>().unwrap().frames().len(), 1);
    }
}

/// Counts how often one was dropped.
struct CountDrops(Arc<AtomicUsize>);

impl Drop for CountDrops {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

pub fn host_panic() {
    let drops = Arc::new(AtomicUsize::new(0));
    let counted = drops.clone();
    let (mut inner_store, inner) = hello(move |number: i32| {
        let _guard = CountDrops(counted.clone());
        if number == 3 {
            catch_unwind::resume_unwind_with(Box::new(number));
        }
    });
    for round in 1..=100 {
        let payload = catch_unwind::catch_unwind(|| {
            let _guard = CountDrops(drops.clone());
            inner.call(&mut inner_store, ())
        });
        assert_eq!(payload.unwrap_err().downcast_ref::<i32>(), Some(&3));
        assert_eq!(drops.load(Ordering::Relaxed), 2 * round);
    }
    // The way in is as before.
    let (mut store, run) = hello(|_: i32| -> Result<()> { Err(Error::msg("")) });
    assert!(run.call(&mut store, ()).is_err());
}

pub fn host_fault() {
    let task = spawn::new_task_builder(
        |()| {
            let (mut store, run) = hello(|_: i32| {
                // SAFETY: none: this is the fault of the host that is tested. No page is ever mapped at 8, so that nothing
                // is read.
                unsafe { core::ptr::read_volatile(8 as *const u8) };
            });
            // Is not reached: the task ends in the call.
            run.call(&mut store, ()).is_err()
        },
        (),
    );
    let task = task.name("test_wasm_fault".to_string()).spawn().unwrap();
    let ended = task.join();
    assert!(matches!(ended, Ok(task::ExitValue::Killed(task::KillReason::Exception(14)))), "{ended:?}");
    every_trap();
}

pub fn nothing_is_left() {
    const INSTANCES: usize = 10_000;
    const MODULES: usize = 1_000;
    let before = Resources::now();
    {
        let engine = Engine::default();
        let module = guest(&engine, "memory");
        for _ in 0..INSTANCES {
            let mut store = Store::new(&engine, ());
            Instance::new(&mut store, &module, &[]).unwrap();
        }
        for _ in 0..MODULES {
            drop(guest(&engine, "traps"));
        }
    }
    before.assert_kept(MODULES / 10);
}
