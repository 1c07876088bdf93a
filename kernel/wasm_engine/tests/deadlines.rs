//! Deadlines of stores: what they interrupt, when, and what is left.

use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};
use wasm_engine::*;

/// The guest that the in-kernel tests use, too.
const GUEST: &str = include_str!("../../../guests/test_interrupt.wat");

const MS: Duration = Duration::from_millis(1);

/// Long enough that a deadline is not seen to have passed, on a busy machine.
const LONG: Duration = Duration::from_secs(1000);

/// What ends no sooner than this does not end.
const NEVER: Duration = Duration::from_secs(30);

struct Guest {
    store: Store<u32>,
    instance: Instance,
}

impl Guest {
    /// Its host function is `host`.
    fn new(engine: &Engine, host: impl Fn(Caller<'_, u32>) -> Result<()> + Send + Sync + 'static) -> Guest {
        Self::of(&Module::new(engine, GUEST).unwrap(), host)
    }

    /// Of the guest's module.
    fn of(module: &Module, host: impl Fn(Caller<'_, u32>) -> Result<()> + Send + Sync + 'static) -> Guest {
        let mut store = Store::new(module.engine(), 0);
        let host = Func::wrap(&mut store, host);
        let instance = Instance::new(&mut store, module, &[host.into()]).unwrap();
        Guest { store, instance }
    }

    fn simple() -> Guest {
        Guest::new(&Engine::default(), |_| Ok(()))
    }

    fn call<P: WasmParams, R: WasmResults>(&mut self, name: &str, params: P) -> Result<R> {
        self.instance.get_typed_func::<P, R>(&mut self.store, name)?.call(&mut self.store, params)
    }

    fn run(&mut self, name: &str) -> Result<()> {
        self.call(name, ())
    }

    /// Calls what ends by a deadline soon and in no other way.
    fn expect_interrupt(&mut self, name: &str) -> Error {
        let begin = Instant::now();
        let error = self.run(name).expect_err(name);
        assert!(begin.elapsed() < NEVER, "{name}");
        assert_eq!(error.downcast_ref(), Some(&Trap::Interrupt), "{name}: {error:?}");
        error
    }
}

#[test]
fn loops_end_and_the_store_goes_on() {
    let mut guest = Guest::simple();
    for name in ["spin", "spin_calling", "spin_in_host", "spin"] {
        let begin = Instant::now();
        guest.store.set_deadline(Some(20 * MS));
        let error = guest.expect_interrupt(name);
        assert!(begin.elapsed() >= 20 * MS, "{name}");
        assert_eq!(error.root_cause().to_string(), "wasm trap: interrupt");
        let backtrace = error.downcast_ref::<WasmBacktrace>().unwrap();
        assert!(!backtrace.frames().is_empty(), "{name}");
        // It stays so until there is another one.
        assert_eq!(guest.store.get_deadline(), Some(Duration::ZERO));
        guest.expect_interrupt("return");
        guest.store.set_deadline(Some(LONG));
        assert!(guest.store.get_deadline().is_some_and(|left| left > LONG / 2 && left <= LONG));
        guest.run("return").unwrap();
        guest.store.set_deadline(None);
        assert_eq!(guest.store.get_deadline(), None);
        assert_eq!(guest.call::<_, i32>("leaf", 5).unwrap(), 15);
    }
}

#[test]
fn a_deadline_far_away_or_in_another_store_changes_nothing() {
    let mut guest = Guest::simple();
    let mut other = Guest::simple();
    for far in [LONG, Duration::from_nanos(u64::MAX), Duration::MAX] {
        guest.store.set_deadline(Some(far));
        other.store.set_deadline(Some(MS));
        other.expect_interrupt("spin");
        guest.run("return").unwrap();
        assert_eq!(guest.call::<_, i32>("leaf", 7).unwrap(), 21);
    }
}

#[test]
fn each_call_takes_from_the_same_time() {
    let mut guest = Guest::simple();
    guest.store.set_deadline(Some(30 * MS));
    let begin = Instant::now();
    let mut calls = 0u64;
    while guest.call::<_, i32>("leaf", 1).is_ok() {
        calls += 1;
        assert!(begin.elapsed() < NEVER);
    }
    assert!(begin.elapsed() >= 30 * MS && calls > 0);
}

#[test]
fn bulk_instructions_end() {
    // One instruction each, which takes much longer than the deadline.
    let mut guest = Guest::simple();
    assert_eq!(guest.call::<_, i32>("grow", 32767).unwrap(), 1);
    let memory = guest.instance.get_memory(&mut guest.store, "memory").unwrap();
    for name in ["fill", "copy_up", "copy_down"] {
        guest.store.set_deadline(Some(3 * MS));
        let begin = Instant::now();
        guest.expect_interrupt(name);
        assert!(begin.elapsed() < Duration::from_millis(500) || cfg!(debug_assertions), "{name}");
        guest.store.set_deadline(None);
        guest.run("return").unwrap();
    }
    // What was filled is a part from the beginning; the rest is as it was.
    let bytes = memory.data(&guest.store);
    assert!(bytes[1 << 30] == 0 && bytes[bytes.len() - (2 << 16)] == 0, "it was not interrupted early");
}

#[test]
fn bulk_instructions_in_loops_end() {
    let mut guest = Guest::simple();
    assert_eq!(guest.call::<_, i32>("grow", 99).unwrap(), 1);
    assert_eq!(guest.call::<_, i32>("grow_table", 200_000).unwrap(), 16);
    for name in [
        "fills",
        "copies",
        "inits",
        "small_fills",
        "grows_by_nothing",
        "table_fills",
        "table_copies",
        "table_inits",
        "table_grows_by_nothing",
    ] {
        guest.store.set_deadline(Some(5 * MS));
        guest.expect_interrupt(name);
    }
}

#[test]
fn what_is_copied_in_pieces_is_copied_right() {
    const LEN: usize = 3 << 20;
    let mut guest = Guest::simple();
    assert_eq!(guest.call::<_, i32>("grow", (LEN >> 16) as i32 - 1).unwrap(), 1);
    let memory = guest.instance.get_memory(&mut guest.store, "memory").unwrap();
    let original: Vec<u8> = (0..LEN as u32).map(|n| (n.wrapping_mul(0x9E37_79B1) >> 24) as u8).collect();
    for (name, from, to) in [("copy_up", 0, 1 << 16), ("copy_down", 1 << 16, 0)] {
        memory.write(&mut guest.store, 0, &original).unwrap();
        guest.run(name).unwrap();
        let mut expected = original.clone();
        expected.copy_within(from..from + LEN - (1 << 16), to);
        assert!(memory.data(&guest.store) == expected, "{name}");
    }
    guest.run("fill").unwrap();
    assert!(memory.data(&guest.store).iter().all(|byte| *byte == 0xa5));

    // Tables: large enough for several pieces, too.
    let size = guest.call::<_, i32>("grow_table", 100_000).unwrap() as u64 + 100_000;
    let table = guest.instance.get_table(&mut guest.store, "table").unwrap();
    let function = guest.instance.get_func(&mut guest.store, "spin").unwrap();
    for index in (0..size).step_by(3) {
        table.set(&mut guest.store, index, Ref::Func(Some(function))).unwrap();
    }
    let is_set = |store: &mut Store<u32>, index| matches!(table.get(store, index), Some(Ref::Func(Some(_))));
    for (dst, src) in [(1, 0), (0, 1)] {
        Table::copy(&mut guest.store, &table, dst, &table, src, size - 1).unwrap();
        for index in 1..size - 1 {
            assert_eq!(is_set(&mut guest.store, index), (index - dst).is_multiple_of(3), "{index}");
        }
    }
}

#[test]
fn growth_is_all_or_nothing() {
    let mut guest = Guest::simple();
    let table = guest.instance.get_table(&mut guest.store, "table").unwrap();
    guest.store.set_deadline(Some(Duration::ZERO));
    // By the host: that the guest's time is over holds for what grows, too.
    let memory = guest.instance.get_memory(&mut guest.store, "memory").unwrap();
    let error = memory.grow(&mut guest.store, 10).unwrap_err();
    assert_eq!(error.downcast_ref(), Some(&Trap::Interrupt));
    let error = table.grow(&mut guest.store, 9_000_000, Ref::Func(None)).unwrap_err();
    assert_eq!(error.downcast_ref(), Some(&Trap::Interrupt));
    assert_eq!((memory.size(&guest.store), table.size(&guest.store)), (1, 16));
    guest.store.set_deadline(None);
    assert_eq!(memory.grow(&mut guest.store, 10).unwrap(), 1);
    assert_eq!(guest.call::<_, i32>("grow_table", 100_000).unwrap(), 16);
    assert_eq!(guest.call::<_, i32>("grow_other", 100_000).unwrap(), 16);
}

#[test]
fn waits_end() {
    let engine = Engine::new(Config::new().shared_memory(true)).unwrap();
    let module = Module::new(&engine, include_str!("../../../guests/test_threads.wat")).unwrap();
    let memory = SharedMemory::new(&engine, MemoryType::shared(1, 16)).unwrap();
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[memory.clone().into()]).unwrap();
    let wait32 = instance.get_typed_func::<(i32, i32, i64), i32>(&mut store, "wait32").unwrap();
    let wait64 = instance.get_typed_func::<(i32, i64, i64), i32>(&mut store, "wait64").unwrap();
    for timeout in [-1, i64::MAX] {
        for wide in [false, true] {
            let begin = Instant::now();
            store.set_deadline(Some(20 * MS));
            let result = match wide {
                false => wait32.call(&mut store, (64, 0, timeout)),
                true => wait64.call(&mut store, (64, 0, timeout)),
            };
            assert_eq!(result.unwrap_err().downcast_ref(), Some(&Trap::Interrupt));
            assert!(begin.elapsed() >= 20 * MS && begin.elapsed() < NEVER);
        }
    }
    // Nobody is left in the list.
    assert_eq!(memory.atomic_notify(64, u32::MAX), Ok(0));
    // A wait that ends by itself, or that is not needed, is as ever.
    store.set_deadline(Some(LONG));
    assert_eq!(wait32.call(&mut store, (64, 0, 1_000_000)).unwrap(), 2);
    assert_eq!(wait32.call(&mut store, (64, 1, -1)).unwrap(), 1);
}

#[test]
fn a_deadline_that_passes_in_the_host_counts_on_the_way_back() {
    let mut guest = Guest::new(&Engine::default(), |_| {
        sleep(20 * MS);
        Ok(())
    });
    guest.store.set_deadline(Some(5 * MS));
    let begin = Instant::now();
    guest.expect_interrupt("call_host");
    assert!(begin.elapsed() >= 20 * MS, "the host function was not cut short");
    // An error of the host is worth more.
    let mut guest = Guest::new(&Engine::default(), |_| {
        sleep(20 * MS);
        bail!("something else")
    });
    guest.store.set_deadline(Some(5 * MS));
    assert_eq!(guest.run("call_host").unwrap_err().root_cause().to_string(), "something else");
}

#[test]
fn a_host_function_sets_the_deadline() {
    let mut guest = Guest::new(&Engine::default(), |mut caller| {
        *caller.data_mut() += 1;
        if *caller.data() == 1 {
            assert_eq!(caller.get_deadline(), None);
            caller.set_deadline(Some(20 * MS));
        }
        Ok(())
    });
    let begin = Instant::now();
    guest.expect_interrupt("spin_in_host");
    assert!(begin.elapsed() >= 20 * MS && *guest.store.data() > 1);
    // And takes it away.
    let mut guest = Guest::new(&Engine::default(), |mut caller| {
        caller.as_context_mut().set_deadline(None);
        sleep(30 * MS);
        Ok(())
    });
    guest.store.set_deadline(Some(20 * MS));
    guest.run("call_host").unwrap();
    assert_eq!(guest.store.get_deadline(), None);
}

#[test]
fn stores_within_stores() {
    let module = Module::new(&Engine::default(), GUEST).unwrap();
    // The outer store's time passes while the inner one, which has all the time there is, spins.
    for inner_deadline in [None, Some(LONG)] {
        let inner_module = module.clone();
        let mut outer = Guest::of(&module, move |mut caller| {
            let mut inner = Guest::of(&inner_module, |_| Ok(()));
            inner.store.set_deadline(inner_deadline);
            caller.set_deadline(Some(30 * MS));
            inner.expect_interrupt("spin");
            // Nor can it be called again meanwhile.
            inner.expect_interrupt("return");
            Ok(())
        });
        // A host function sets the deadline while another store runs: seen as soon as one is called.
        outer.store.set_deadline(Some(LONG));
        outer.expect_interrupt("spin_in_host");
    }
    // The inner store's time passes, many times, which is nothing to the outer one.
    for outer_deadline in [None, Some(LONG)] {
        let inner_module = module.clone();
        let mut outer = Guest::of(&module, move |mut caller| {
            let mut inner = Guest::of(&inner_module, |_| Ok(()));
            for _ in 0..3 {
                inner.store.set_deadline(Some(5 * MS));
                inner.expect_interrupt("spin");
            }
            *caller.data_mut() += 1;
            Ok(())
        });
        outer.store.set_deadline(outer_deadline);
        outer.run("call_host").unwrap();
        outer.run("call_host").unwrap();
        assert_eq!(*outer.store.data(), 2);
    }
    // The same store, entered again: the deadline is that of all calls.
    let mut guest = Guest::of(&module, |mut caller| {
        let Some(Extern::Func(spin)) = caller.get_export("spin") else { bail!("it is there") };
        spin.call(&mut caller, &[], &mut [])
    });
    guest.store.set_deadline(Some(10 * MS));
    let error = guest.expect_interrupt("call_host");
    let frames = error.downcast_ref::<WasmBacktrace>().unwrap().frames();
    assert_eq!(frames.last().unwrap().func_index(), 7, "the call of the outer activation is seen");
}

#[test]
fn instantiation_has_a_deadline_too() {
    let engine = Engine::default();
    let module = |text: &str| Module::new(&engine, text).unwrap();
    let looping = module("(module (func $start (loop $again (br $again))) (start $start))");
    let mut store = Store::new(&engine, ());
    store.set_deadline(Some(10 * MS));
    let begin = Instant::now();
    let error = Instance::new(&mut store, &looping, &[]).unwrap_err();
    assert_eq!(error.downcast_ref(), Some(&Trap::Interrupt));
    assert!(begin.elapsed() < NEVER);
    // No time is left.
    for text in ["(module)", "(module (memory 1000))", "(module (table 1000000 funcref))"] {
        let error = Instance::new(&mut store, &module(text), &[]).unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&Trap::Interrupt), "{text}");
    }
    store.set_deadline(None);
    Instance::new(&mut store, &module("(module (memory 1000) (table 1000000 funcref))"), &[]).unwrap();
}

#[test]
fn many_threads_have_deadlines_of_their_own() {
    let module = Module::new(&Engine::default(), GUEST).unwrap();
    let ended = AtomicU32::new(0);
    scope(|scope| {
        for number in 0..8u32 {
            let (module, ended) = (&module, &ended);
            scope.spawn(move || {
                let mut guest = Guest::of(module, |_| Ok(()));
                for round in 0..50 {
                    let timeout = Duration::from_micros(u64::from(number * 300 + round * 10));
                    guest.store.set_deadline(Some(timeout));
                    let begin = Instant::now();
                    guest.expect_interrupt(["spin", "spin_calling", "spin_in_host"][round as usize % 3]);
                    assert!(begin.elapsed() >= timeout);
                    ended.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(ended.into_inner(), 8 * 50);
}

#[test]
fn threads_that_end_leave_no_timers_behind() {
    let module = Module::new(&Engine::default(), GUEST).unwrap();
    let mut threads = 0;
    for _ in 0..20 {
        scope(|scope| {
            for _ in 0..20 {
                scope.spawn(|| {
                    let mut guest = Guest::of(&module, |_| Ok(()));
                    guest.store.set_deadline(Some(LONG));
                    guest.run("return").unwrap();
                });
            }
        });
        threads += 20;
        let timers = std::fs::read_to_string("/proc/self/timers").unwrap_or_default();
        assert!(timers.matches("ID:").count() < 100, "after {threads} threads:\n{timers}");
    }
}

#[test]
fn many_activations_deep() {
    let mut guest = Guest::new(&Engine::default(), |mut caller| {
        *caller.data_mut() += 1;
        let name = if *caller.data() < 60 { "call_host" } else { "spin" };
        let Some(Extern::Func(next)) = caller.get_export(name) else { bail!("it is there") };
        next.call(&mut caller, &[], &mut [])
    });
    guest.store.set_deadline(Some(100 * MS));
    guest.expect_interrupt("call_host");
    assert_eq!(*guest.store.data(), 60);
    guest.store.set_deadline(None);
    guest.run("return").unwrap();
}

#[test]
fn an_interrupt_at_any_instruction_leaves_a_usable_store() {
    let mut guest = Guest::simple();
    for round in 0..400 {
        guest.store.set_deadline(Some(Duration::from_micros(round)));
        match round % 2 {
            0 => guest.expect_interrupt("spin_calling"),
            _ => {
                let error = guest.call::<_, ()>("spin_deep", 50).unwrap_err();
                assert_eq!(error.downcast_ref(), Some(&Trap::Interrupt));
                error
            }
        };
    }
}
