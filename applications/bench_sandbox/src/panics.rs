//! Panics, of host functions and of the kernel's own code.

use crate::measure::{mark, show};
use crate::system::{catch_unwind, resume_unwind};
use alloc::boxed::Box;
use alloc::format;
use core::hint::black_box;
use wasm_engine::*;

/// Host and wasm call each other in turns.
const GUEST: &str = r#"
    (module $turns
        (import "host" "enter" (func $enter (param i32)))
        (func (export "enter") (param i32) (call $enter (local.get 0))))
"#;

/// Something that is dropped on the way.
struct Owned(u32);

impl Drop for Owned {
    fn drop(&mut self) {
        black_box(self.0);
    }
}

#[inline(never)]
fn recurse(depth: u32, end: fn()) {
    let owned = Owned(depth);
    if depth == 0 {
        mark();
        end();
    } else {
        recurse(depth - 1, end);
    }
    black_box(owned.0);
}

fn host(mut caller: Caller<'_, ()>, depth: i32) -> Result<()> {
    let _owned = Owned(depth as u32);
    if depth == 0 {
        mark();
        panic!("the host panics");
    }
    let enter = caller.get_export("enter").and_then(Extern::into_func).expect("it is exported");
    enter.typed::<i32, ()>(&caller)?.call(&mut caller, depth - 1)
}

pub(crate) fn run() -> Result<()> {
    for depth in [1, 10, 100] {
        show(&format!("panic through {depth} frames"), || {
            catch_unwind(|| recurse(depth, || panic!("as asked for {}", black_box(1))))
        });
        show(&format!("throw through {depth} frames"), || {
            catch_unwind(|| recurse(depth, || resume_unwind(Box::new(1u32))))
        });
    }
    let engine = Engine::default();
    let module = Module::new(&engine, GUEST)?;
    let mut linker = Linker::new(&engine);
    linker.func_wrap("host", "enter", host)?;
    let mut store = Store::new(&engine, ());
    let instance = linker.instantiate(&mut store, &module)?;
    let enter = instance.get_typed_func::<i32, ()>(&mut store, "enter")?;
    for depth in [0, 10] {
        show(&format!("host panics below {} levels of wasm", depth + 1), || {
            catch_unwind(|| enter.call(&mut store, depth))
        });
    }
    Ok(())
}
