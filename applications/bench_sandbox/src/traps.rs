//! Traps, and errors of host functions.

use crate::measure::{mark, show};
use alloc::format;
use alloc::vec::Vec;
use core::num::NonZeroUsize;
use wasm_engine::*;

/// Each function calls the host's `mark` just before it fails.
const GUEST: &str = r#"
    (module $bench
        (import "host" "mark" (func $mark))
        (import "host" "fail" (func $fail))
        (memory (export "memory") 1)
        (table 1 funcref)
        (func (export "nothing") (param i32) call $mark)
        (func $unreachable (export "unreachable") (param i32) call $mark unreachable)
        (func (export "out of bounds") (param i32) call $mark (drop (i32.load (local.get 0))))
        (func (export "division by zero") (param i32) call $mark (drop (i32.div_s (i32.const 1) (local.get 0))))
        (func (export "call of null") (param i32) call $mark (call_indirect (local.get 0)))
        (func $recurse (export "stack overflow") (param i32) call $mark (call $recurse (local.get 0)) call $mark)
        (func (export "error of the host") (param i32) call $mark call $fail)
        (func $deep (export "deep") (param i32)
            (if (local.get 0)
                (then (call $deep (i32.sub (local.get 0) (i32.const 1))))
                (else (call $unreachable (i32.const 0)))))
    )
"#;

/// Frames of a backtrace, for the aim that is stated for so many.
const FRAMES: usize = 32;

/// Modules that are loaded when many are.
const MANY: usize = 4096;

/// What a host function fails with.
#[derive(Debug)]
struct Failed;

impl core::fmt::Display for Failed {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("the host fails")
    }
}

impl core::error::Error for Failed {}

/// An engine, the guest, and what it imports.
pub(crate) struct Bench {
    pub(crate) engine: Engine,
    pub(crate) module: Module,
    pub(crate) linker: Linker<()>,
}

impl Bench {
    fn new(backtrace: Option<usize>) -> Result<Self> {
        let mut config = Config::new();
        // Little, so that the stack that overflows is not what is measured.
        config.max_wasm_stack(32 << 10).wasm_backtrace_max_frames(backtrace.and_then(NonZeroUsize::new));
        let engine = Engine::new(&config)?;
        let module = Module::new(&engine, GUEST)?;
        let mut linker = Linker::new(&engine);
        linker.func_wrap("host", "mark", mark)?;
        linker.func_wrap("host", "fail", || -> Result<()> { Err(Failed.into()) })?;
        Ok(Self { engine, module, linker })
    }

    /// Shows what calling the guest's function `name` in a new store costs.
    fn show(&self, what: &str, name: &str, argument: i32) -> Result<()> {
        let mut store = Store::new(&self.engine, ());
        let instance = self.linker.instantiate(&mut store, &self.module)?;
        let function = instance.get_typed_func::<i32, ()>(&mut store, name)?;
        show(what, || function.call(&mut store, argument));
        Ok(())
    }
}

/// Functions that fail, and what they are to be called with.
const KINDS: [(&str, i32); 7] = [
    ("nothing", 0),
    ("unreachable", 0),
    ("out of bounds", -1),
    ("division by zero", 0),
    ("call of null", 0),
    ("stack overflow", 0),
    ("error of the host", 0),
];

pub(crate) fn run() -> Result<()> {
    let without = Bench::new(None)?;
    for (name, argument) in KINDS {
        without.show(&format!("{name}, no backtrace"), name, argument)?;
    }
    for depth in [8, 32, 64, 512] {
        without.show(&format!("unreachable at depth {depth}, no backtrace"), "deep", depth)?;
    }
    let with = Bench::new(Some(FRAMES))?;
    for (name, argument) in KINDS {
        with.show(&format!("{name}, backtrace"), name, argument)?;
    }
    for depth in [8, 32, 64, 512] {
        with.show(&format!("unreachable at depth {depth}, backtrace"), "deep", depth)?;
    }
    many(&without, &with)
}

/// The same with many modules loaded, and a store with many instances.
fn many(without: &Bench, with: &Bench) -> Result<()> {
    let artifact = with.module.serialize()?;
    let mut modules = Vec::new();
    for _ in 0..MANY {
        // SAFETY: the engine has just made the artifact.
        modules.push(unsafe { Module::deserialize(&with.engine, &artifact)? });
    }
    for (name, argument) in [("unreachable", 0), ("out of bounds", -1), ("division by zero", 0)] {
        without.show(&format!("{name}, no backtrace, {MANY} modules"), name, argument)?;
    }
    with.show(&format!("unreachable at depth {FRAMES}, {MANY} modules"), "deep", FRAMES as i32)?;
    let mut store = Store::new(&with.engine, ());
    let mut last = None;
    for module in &modules {
        last = Some(with.linker.instantiate(&mut store, module)?);
    }
    let Some(instance) = last else { return Ok(()) };
    for (name, argument) in [("unreachable", 0), ("out of bounds", -1), ("division by zero", 0)] {
        let function = instance.get_typed_func::<i32, ()>(&mut store, name)?;
        show(&format!("{name}, backtrace, {MANY} instances"), || function.call(&mut store, argument));
    }
    Ok(())
}
