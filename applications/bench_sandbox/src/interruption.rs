//! Guests that are stopped from outside, and what guests pay for that they can be.

use crate::measure::{show, show_spread};
use crate::system::{configure_deadlines, configure_stops, set_deadline, stop_one};
use alloc::format;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};
use wasm_engine::*;

/// How many guests are stopped.
const STOPS: usize = 1000;
/// Rounds of the loop that ends by itself.
const ROUNDS: i32 = 1_000_000;

/// The loop that never ends tells the host that it has begun.
const GUEST: &str = r#"
    (module
        (import "host" "begun" (func $begun))
        (func (export "forever") call $begun (loop $again br $again))
        (func (export "loop") (param $rounds i32)
            (loop $again
                (local.set $rounds (i32.sub (local.get $rounds) (i32.const 1)))
                (br_if $again (local.get $rounds)))))
"#;

static BEGUN: AtomicBool = AtomicBool::new(false);

pub(crate) fn run() -> Result<()> {
    tight_loop("without deadline", |_| {}, |_| {})?;
    tight_loop("with a deadline", configure_deadlines, set_deadline)?;
    stops()
}

/// The guest of an engine that `configure` is for.
fn guest(configure: fn(&mut Config)) -> Result<InstancePre<()>> {
    let mut config = Config::new();
    config.wasm_backtrace_max_frames(None);
    configure(&mut config);
    let engine = Engine::new(&config)?;
    let module = Module::new(&engine, GUEST)?;
    let mut linker = Linker::new(&engine);
    linker.func_wrap("host", "begun", || BEGUN.store(true, Ordering::Release))?;
    linker.instantiate_pre(&module)
}

/// Shows what a loop costs that ends by itself.
fn tight_loop(with: &str, configure: fn(&mut Config), prepare: fn(&mut Store<()>)) -> Result<()> {
    let guest = guest(configure)?;
    let mut store = Store::new(guest.module().engine(), ());
    prepare(&mut store);
    let instance = guest.instantiate(&mut store)?;
    let rounds = instance.get_typed_func::<i32, ()>(&mut store, "loop")?;
    show(&format!("a million rounds of a loop, {with}"), || rounds.call(&mut store, ROUNDS));
    Ok(())
}

/// Shows how long it takes to stop a guest, from asking until it has ended and nothing of it is left.
fn stops() -> Result<()> {
    let guest = guest(configure_stops)?;
    let mut times = Vec::new();
    for _ in 0..STOPS {
        BEGUN.store(false, Ordering::Release);
        times.push(stop_one(&guest, "forever", &BEGUN)?);
    }
    show_spread("a guest that loops is stopped", times);
    Ok(())
}
