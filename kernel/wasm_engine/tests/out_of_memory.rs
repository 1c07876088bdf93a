//! Whatever allocation of the engine fails: an error, no panic, nothing lost, and the next one works.
#![feature(alloc_error_hook)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::backtrace::Backtrace;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use wasm_engine::*;

/// The system's allocator, of which one allocation can fail.
struct Failing;

// Of each thread, since a test is not alone in its process.
thread_local! {
    static LIVE: Cell<isize> = const { Cell::new(0) };
    /// Allocations until one fails; 0: none does.
    static UNTIL_FAILURE: Cell<usize> = const { Cell::new(0) };
    /// Where the last panic came from.
    static PLACE: RefCell<String> = const { RefCell::new(String::new()) };
}

/// The innermost function of the engine on the stack.
fn place() -> String {
    let stack = Backtrace::force_capture().to_string();
    let ours = |line: &&str| {
        line.contains("wasm_") && !line.contains("out_of_memory") && !line.trim_start().starts_with("at ")
    };
    let functions: Vec<&str> = stack.lines().filter(ours).take(3).map(str::trim).collect();
    functions.join(" < ")
}

/// Counts an allocation and says whether it may be made.
fn may_allocate() -> bool {
    let left = UNTIL_FAILURE.get();
    UNTIL_FAILURE.set(left.saturating_sub(1));
    left != 1
}

// SAFETY: everything is passed on to the system's allocator.
unsafe impl GlobalAlloc for Failing {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if !may_allocate() {
            return core::ptr::null_mut();
        }
        LIVE.set(LIVE.get() + layout.size() as isize);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.set(LIVE.get() - layout.size() as isize);
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        if !may_allocate() {
            return core::ptr::null_mut();
        }
        LIVE.set(LIVE.get() + new_size as isize - layout.size() as isize);
        // SAFETY: as the caller promises.
        unsafe { System.realloc(pointer, layout, new_size) }
    }
}

#[global_allocator]
static ALLOCATOR: Failing = Failing;

/// Uses whatever a guest can have.
const GUEST: &str = r#"(module
    (import "host" "call" (func $call (param i32 externref) (result i32)))
    (import "host" "fail" (func $fail))
    (import "host" "table" (table $imported 1 funcref))
    (memory (export "memory") 1 4) (data $data "passive") (data (i32.const 8) "active")
    (table $table (export "table") 2 externref)
    (table $functions 2 funcref) (elem (table $functions) (i32.const 0) func $call $trap)
    (elem $passive func $trap $call)
    (global (export "global") (mut externref) (ref.null extern))
    (global $count (export "count") (mut i64) (i64.const 0))
    (type $none (func))
    (start $start)
    (func $start (memory.init $data (i32.const 100) (i32.const 0) (i32.const 7)))
    (func (export "run") (param externref) (result i32)
        (drop (memory.grow (i32.const 1)))
        (drop (table.grow $table (local.get 0) (i32.const 40)))
        (table.init $functions $passive (i32.const 0) (i32.const 0) (i32.const 2))
        (call $call (table.size $table) (local.get 0)))
    (func $trap (export "trap") (unreachable))
    (func (export "trap_below") (call_indirect $functions (type $none) (i32.const 0)))
    (func (export "fail") (call $fail)))"#;

/// The whole life of a program: everything that the engine does on the way of a guest.
fn life(engine: &Engine, artifact: &[u8]) -> Result<i32> {
    // SAFETY: the artifact was made by this test.
    let module = unsafe { Module::deserialize(engine, artifact)? };
    let mut store = Store::try_new(engine, 5)?;
    let mut linker = Linker::new(engine);
    linker.func_wrap(
        "host",
        "call",
        |mut caller: Caller<'_, i32>, number: i32, _: Option<Rooted<ExternRef>>| {
            ExternRef::new(&mut caller, "a value of the host")?;
            let memory = caller.get_export("memory").and_then(Extern::into_memory);
            let pages = memory.map_or(0, |memory| memory.size(&caller) as i32);
            Ok(number + pages + *caller.data())
        },
    )?;
    linker.func_wrap("host", "fail", || -> Result<()> { bail!("the host fails") })?;
    let table = Table::new(&mut store, TableType::new(RefType::FUNCREF, 1, Some(3)), Ref::Func(None))?;
    linker.define(&mut store, "host", "table", table)?;
    let instance = linker.instantiate(&mut store, &module)?;
    let value = ExternRef::new(&mut store, String::new())?;
    let run = instance.get_typed_func::<Rooted<ExternRef>, i32>(&mut store, "run")?;
    let result = run.call(&mut store, value)?;
    for function in ["trap", "trap_below", "fail"] {
        let function = instance.get_typed_func::<(), ()>(&mut store, function)?;
        let error = function.call(&mut store, ()).unwrap_err();
        // An error that there is no memory for is told as such, and no other error takes its place.
        if error.is::<OutOfMemory>() {
            return Err(error);
        }
    }
    let memory = instance.get_memory(&mut store, "memory").expect("it is exported");
    memory.grow(&mut store, 1)?;
    let table = instance.get_table(&mut store, "table").expect("it is exported");
    table.grow(&mut store, 100, Ref::Extern(None))?;
    Global::new(&mut store, GlobalType::new(ValType::I32, Mutability::Var), Val::I32(1))?;
    Ok(result)
}

/// Whether a panic tells of a lack of memory.
fn is_out_of_memory(panic: &(dyn std::any::Any + Send)) -> bool {
    panic.downcast_ref::<String>().is_some_and(|text| text.starts_with("no memory for "))
}

#[test]
fn any_allocation_may_fail() {
    let engine = Engine::default();
    let artifact = Module::new(&engine, GUEST).and_then(|module| module.serialize()).unwrap();
    let whole = || life(&engine, &artifact);
    assert_eq!(whole().unwrap(), 42 + 2 + 5);
    std::alloc::set_alloc_error_hook(|layout| panic!("no memory for {} bytes", layout.size()));
    std::panic::set_hook(Box::new(|_| PLACE.set(place())));
    UNTIL_FAILURE.set(usize::MAX);
    whole().unwrap();
    let allocations = usize::MAX - UNTIL_FAILURE.replace(0);
    let mut wrong = Vec::new();
    for which in 1..=allocations {
        let before = LIVE.get();
        UNTIL_FAILURE.set(which);
        let result = catch_unwind(AssertUnwindSafe(whole));
        UNTIL_FAILURE.set(0);
        let place = PLACE.take();
        // Not everything needs what it asks for: a growth that fails is -1 for the guest.
        let panic = match &result {
            Ok(_) => None,
            Err(panic) => Some(is_out_of_memory(&**panic)),
        };
        drop(result);
        let left = LIVE.get() - before - place.capacity() as isize;
        if let Some(out_of_memory) = panic {
            let why = if out_of_memory { "" } else { "for another reason " };
            wrong.push(format!("{which}: panics {why}in {place}"));
        }
        if left != 0 {
            wrong.push(format!("{which}: {left} bytes are left"));
        }
    }
    let _ = std::panic::take_hook();
    std::alloc::take_alloc_error_hook();
    assert!(allocations > 50, "only {allocations} allocations");
    assert!(wrong.is_empty(), "of {allocations} allocations: {wrong:#?}");
    assert_eq!(whole().unwrap(), 42 + 2 + 5);
}
