//! Threads: atomic instructions, shared memories, waiting and notifying.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::thread::{scope, yield_now};
use std::time::{Duration, Instant};
use wasm_engine::*;

/// The guest that the in-kernel tests use, too.
const GUEST: &str = include_str!("../../../guests/test_threads.wat");

/// Engines whose memories need no bounds checks, and whose memories do.
fn engines() -> [Engine; 2] {
    [4 << 30, 16 << 16].map(|reservation| {
        let mut config = Config::new();
        Engine::new(config.shared_memory(true).memory_reservation(reservation)).unwrap()
    })
}

fn engine() -> Engine {
    let [engine, _] = engines();
    engine
}

/// An instance that shares `memory`, in a store of its own.
struct Guest {
    store: Store<()>,
    instance: Instance,
}

impl Guest {
    fn new(module: &Module, memory: &SharedMemory) -> Guest {
        let mut store = Store::new(module.engine(), ());
        let instance = Instance::new(&mut store, module, &[memory.clone().into()]).unwrap();
        Guest { store, instance }
    }

    fn call<P: WasmParams, R: WasmResults>(&mut self, name: &str, params: P) -> Result<R> {
        self.instance.get_typed_func::<P, R>(&mut self.store, name)?.call(&mut self.store, params)
    }
}

fn word(memory: &SharedMemory, address: usize) -> &AtomicU32 {
    assert!(address.is_multiple_of(4) && address + 4 <= memory.data_size());
    // SAFETY: in bounds and aligned, as was checked; all accesses are atomic.
    unsafe { AtomicU32::from_ptr(memory.data()[address].get().cast()) }
}

fn trap_of<T: std::fmt::Debug>(result: Result<T>) -> Trap {
    *result.unwrap_err().downcast_ref::<Trap>().expect("the error is a trap")
}

fn message<T: std::fmt::Debug>(result: Result<T>) -> String {
    format!("{:#}", result.unwrap_err())
}

#[test]
fn eight_threads_count() -> Result<()> {
    const TIMES: i32 = 100_000;
    for engine in engines() {
        let module = Module::new(&engine, GUEST)?;
        let memory = SharedMemory::new(&engine, MemoryType::shared(1, 16))?;
        scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| Guest::new(&module, &memory).call::<_, ()>("count", (16, TIMES)).unwrap());
            }
        });
        assert_eq!(word(&memory, 16).load(Ordering::Relaxed), 8 * TIMES as u32);
    }
    Ok(())
}

#[test]
fn every_read_modify_write_is_atomic_at_every_width() -> Result<()> {
    /// Of a multiple of every power of two up to 2^8, so that a byte ends where it began.
    const TIMES: u64 = 4096;
    let widths = [
        ("i32", "8", "_u", 8),
        ("i32", "16", "_u", 16),
        ("i32", "", "", 32),
        ("i64", "8", "_u", 8),
        ("i64", "16", "_u", 16),
        ("i64", "32", "_u", 32),
        ("i64", "", "", 64),
    ];
    let engine = engine();
    for (ty, width, suffix, bits) in widths {
        let rmw = |op: &str| format!("{ty}.atomic.rmw{width}.{op}{suffix}");
        let (add, sub, xor, cas) = (rmw("add"), rmw("sub"), rmw("xor"), rmw("cmpxchg"));
        let load = format!("{ty}.atomic.load{width}{suffix}");
        let body = |instructions: &str| {
            format!(
                "(loop $next {instructions} (br_if $next (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))"
            )
        };
        let loops = [
            ("add", body(&format!("(drop ({add} (i32.const 8) ({ty}.const 3)))"))),
            ("sub", body(&format!("(drop ({sub} (i32.const 16) ({ty}.const 1)))"))),
            ("xor", body(&format!("(drop ({xor} (i32.const 24) ({ty}.const -1)))"))),
            // Adds 5 by comparing and exchanging until nobody came between. The expected value has bits that do not count.
            (
                "cas",
                body(&format!(
                    "(loop $again (local.set $old ({load} (i32.const 32)))
                        (br_if $again ({ty}.ne (local.get $old)
                            ({cas} (i32.const 32) (local.get $old) ({ty}.add (local.get $old) ({ty}.const 5))))))"
                )),
            ),
        ];
        let functions: String = loops
            .iter()
            .map(|(name, body)| {
                format!(r#"(func (export "{name}") (param $n i32) (local $old {ty}) {body})"#)
            })
            .collect();
        let module =
            Module::new(&engine, format!(r#"(module (memory (import "" "") 1 1 shared) {functions})"#))?;
        let memory = SharedMemory::new(&engine, MemoryType::shared(1, 1))?;
        scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    let mut guest = Guest::new(&module, &memory);
                    for (name, _) in &loops {
                        guest.call::<_, ()>(name, TIMES as i32).unwrap();
                    }
                });
            }
        });
        let mask = u64::MAX >> (64 - bits);
        let total = 3 * TIMES;
        let expected = [
            (total * 3) & mask,
            total.wrapping_neg() & mask,
            if total % 2 == 1 { mask } else { 0 },
            (total * 5) & mask,
        ];
        for (expected, address) in expected.into_iter().zip([8, 16, 24, 32]) {
            // SAFETY: in bounds and aligned; nobody else uses it any more.
            let found = unsafe { AtomicU64::from_ptr(memory.data()[address].get().cast()) };
            // The bytes beside it are untouched: all eight are compared.
            assert_eq!(found.load(Ordering::Relaxed), expected, "{ty} {width} at {address}");
        }
    }
    Ok(())
}

#[test]
fn results_and_operands_of_narrow_accesses() -> Result<()> {
    let engine = engine();
    let module = Module::new(
        &engine,
        r#"(module (memory 1) (data (i32.const 0) "\f0\f1\f2\f3\f4\f5\f6\f7")
            (func (export "load8") (result i64) (i64.atomic.load8_u (i32.const 1)))
            (func (export "load32") (result i64) (i64.atomic.load32_u (i32.const 4)))
            (func (export "or") (result i32) (i32.atomic.rmw16.or_u (i32.const 2) (i32.const 0xabcd0f0f)))
            (func (export "and") (result i64) (i64.atomic.rmw32.and_u (i32.const 4) (i64.const 0xaaaaaaaa0000ffff)))
            (func (export "xchg") (result i32) (i32.atomic.rmw8.xchg_u (i32.const 0) (i32.const 0x1234)))
            ;; Only the lowest bits of what is expected are compared.
            (func (export "cas") (result i64)
                (i64.atomic.rmw8.cmpxchg_u (i32.const 1) (i64.const 0x7777f1) (i64.const 0xbb55)))
            (func (export "cas_not") (result i32)
                (i32.atomic.rmw.cmpxchg (i32.const 4) (i32.const 1) (i32.const 2)))
            (func (export "store") (i64.atomic.store16 (i32.const 6) (i64.const 0x123456)))
            (func (export "fence") atomic.fence)
            (func (export "all") (result i64) (i64.atomic.load (i32.const 0))))"#,
    )?;
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[])?;
    let mut i32_of = |name: &str| instance.get_typed_func::<(), i32>(&mut store, name)?.call(&mut store, ());
    assert_eq!(i32_of("or")?, 0xf3f2);
    assert_eq!(i32_of("xchg")?, 0xf0);
    assert_eq!(i32_of("cas_not")? as u32, 0xf7f6_f5f4);
    let mut i64_of = |name: &str| instance.get_typed_func::<(), i64>(&mut store, name)?.call(&mut store, ());
    assert_eq!(i64_of("load8")?, 0xf1);
    assert_eq!(i64_of("load32")?, 0xf7f6_f5f4);
    assert_eq!(i64_of("and")?, 0xf7f6_f5f4);
    assert_eq!(i64_of("cas")?, 0xf1);
    for name in ["store", "fence"] {
        instance.get_typed_func::<(), ()>(&mut store, name)?.call(&mut store, ())?;
    }
    let all = instance.get_typed_func::<(), i64>(&mut store, "all")?.call(&mut store, ())?;
    assert_eq!(all as u64, 0x3456_f5f4_ffff_5534);
    Ok(())
}

#[test]
fn atomic_accesses_trap_where_they_must() -> Result<()> {
    let accesses = [
        ("i32.atomic.load8_u", "", 1),
        ("i64.atomic.load16_u", "", 2),
        ("i32.atomic.load", "", 4),
        ("i64.atomic.load", "", 8),
        ("i64.atomic.store8", "(i64.const 1)", 1),
        ("i32.atomic.store16", "(i32.const 1)", 2),
        ("i64.atomic.store32", "(i64.const 1)", 4),
        ("i64.atomic.store", "(i64.const 1)", 8),
        ("i32.atomic.rmw8.add_u", "(i32.const 1)", 1),
        ("i32.atomic.rmw.add", "(i32.const 1)", 4),
        ("i64.atomic.rmw.sub", "(i64.const 1)", 8),
        ("i64.atomic.rmw16.and_u", "(i64.const 1)", 2),
        ("i32.atomic.rmw16.or_u", "(i32.const 1)", 2),
        ("i64.atomic.rmw32.xor_u", "(i64.const 1)", 4),
        ("i64.atomic.rmw.xchg", "(i64.const 1)", 8),
        ("i32.atomic.rmw8.cmpxchg_u", "(i32.const 0) (i32.const 1)", 1),
        ("i64.atomic.rmw.cmpxchg", "(i64.const 0) (i64.const 1)", 8),
        ("memory.atomic.notify", "(i32.const 1)", 4),
        ("memory.atomic.wait32", "(i32.const 1) (i64.const 0)", 4),
        ("memory.atomic.wait64", "(i64.const 1) (i64.const 0)", 8),
    ];
    for engine in engines() {
        // Ordinary, small and checked; ordinary; and shared.
        for (memory, is_shared) in [
            ("(memory 1 1)", false),
            (r#"(memory (export "memory") 1 3)"#, false),
            (r#"(memory (export "memory") 1 3 shared)"#, true),
            ("(memory 1 1 shared)", true),
        ] {
            for (access, operands, size) in accesses {
                let drop = if access.contains("store") { "" } else { "drop" };
                let text = format!(
                    r#"(module {memory}
                        (func (export "at") (param i32) ({access} (local.get 0) {operands}) {drop})
                        (func (export "after") (param i32) ({access} offset=65535 (local.get 0) {operands}) {drop})
                        (func (export "far") (param i32) ({access} offset=0xfffffff8 (local.get 0) {operands}) {drop}))"#
                );
                let module = Module::new(&engine, text)?;
                let mut store = Store::new(&engine, ());
                let instance = Instance::new(&mut store, &module, &[])?;
                let mut call = |name: &str, address: u32| {
                    instance.get_typed_func::<u32, ()>(&mut store, name)?.call(&mut store, address)
                };
                let waits_unshared = access.contains("wait") && !is_shared;
                let expect_fine = |result: Result<()>| match waits_unshared {
                    true => assert_eq!(trap_of(result), Trap::AtomicWaitNonSharedMemory, "{access}"),
                    false => assert!(result.is_ok(), "{access}: {result:?}"),
                };
                expect_fine(call("at", 0));
                expect_fine(call("at", 65536 - size));
                if size == 1 {
                    expect_fine(call("after", 0));
                }
                for (name, address) in [
                    ("at", 65536),
                    ("at", 1 << 31),
                    ("at", 0u32.wrapping_sub(size)),
                    ("after", 1),
                    ("after", 1 + size),
                    ("far", 0),
                    ("far", 8),
                    ("far", 0u32.wrapping_sub(8)),
                ] {
                    let trap = trap_of(call(name, address));
                    assert_eq!(trap, Trap::MemoryOutOfBounds, "{access} {name} {address:#x} of {memory}");
                }
                for misaligned in 1..size {
                    for (name, address) in
                        [("at", misaligned), ("at", 65536 + misaligned), ("far", misaligned)]
                    {
                        let error = call(name, address).unwrap_err();
                        assert_eq!(
                            error.downcast_ref(),
                            Some(&Trap::HeapMisaligned),
                            "{access} {name} {address:#x}"
                        );
                        assert!(format!("{error:?}").contains("wasm trap: unaligned atomic"));
                    }
                }
            }
        }
    }
    Ok(())
}

#[test]
fn ping_pong_by_wait_and_notify() -> Result<()> {
    const ROUNDS: i32 = 10_000;
    for engine in engines() {
        let module = Module::new(&engine, GUEST)?;
        let memory = SharedMemory::new(&engine, MemoryType::shared(1, 2))?;
        scope(|scope| {
            for me in [0, 1] {
                let (module, memory) = (&module, &memory);
                scope.spawn(move || Guest::new(module, memory).call::<_, ()>("play", (me, ROUNDS)).unwrap());
            }
        });
        assert_eq!(word(&memory, 0).load(Ordering::Relaxed), 2 * ROUNDS as u32);
    }
    Ok(())
}

#[test]
fn a_lock_made_of_wait_and_notify_excludes() -> Result<()> {
    const THREADS: u64 = 6;
    const TIMES: i32 = 20_000;
    let engine = engine();
    let module = Module::new(&engine, GUEST)?;
    let memory = SharedMemory::new(&engine, MemoryType::shared(1, 1))?;
    scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| Guest::new(&module, &memory).call::<_, ()>("count_locked", TIMES).unwrap());
        }
    });
    // SAFETY: in bounds and aligned; nobody else uses it any more.
    let counted = unsafe { AtomicU64::from_ptr(memory.data()[8].get().cast()) }.load(Ordering::Relaxed);
    assert_eq!(counted, THREADS * TIMES as u64);
    assert_eq!(word(&memory, 4).load(Ordering::Relaxed), 0, "it is free");
    Ok(())
}

#[test]
fn waits_end_by_value_time_or_notification() -> Result<()> {
    let engine = engine();
    let module = Module::new(&engine, GUEST)?;
    let memory = SharedMemory::new(&engine, MemoryType::shared(1, 1))?;
    let mut guest = Guest::new(&module, &memory);
    assert_eq!(guest.call::<_, i32>("wait32", (64, 1, -1i64))?, 1);
    assert_eq!(guest.call::<_, i32>("wait64", (64, 1i64 << 40, -1i64))?, 1);
    for timeout in [0i64, 1, 20_000_000] {
        let start = Instant::now();
        assert_eq!(guest.call::<_, i32>("wait32", (64, 0, timeout))?, 2);
        assert_eq!(guest.call::<_, i32>("wait64", (64, 0i64, timeout))?, 2);
        assert!(start.elapsed() >= 2 * Duration::from_nanos(timeout as u64));
    }
    assert_eq!(memory.atomic_wait32(64, 0, Some(Duration::from_millis(2))), Ok(WaitResult::TimedOut));
    assert_eq!(memory.atomic_wait64(64, 1, None), Ok(WaitResult::Mismatch));
    assert_eq!(memory.atomic_notify(64, 1), Ok(0));
    for (address, trap) in [(2, Trap::HeapMisaligned), (65536, Trap::MemoryOutOfBounds)] {
        assert_eq!(memory.atomic_notify(address, 1), Err(trap));
        assert_eq!(memory.atomic_wait32(address, 1, None), Err(trap));
        assert_eq!(memory.atomic_wait64(address, 1, None), Err(trap));
    }
    assert_eq!(memory.atomic_wait64(4, 1, None), Err(Trap::HeapMisaligned));

    // The host wakes guests, and one of the guests the host; each only those at its own address.
    let woken = AtomicU32::new(0);
    scope(|scope| {
        for (address, timeout) in [(64, -1i64), (64, i64::MAX), (72, -1)] {
            let (module, memory, woken) = (&module, &memory, &woken);
            scope.spawn(move || {
                let mut guest = Guest::new(module, memory);
                let result = match address {
                    64 => guest.call::<_, i32>("wait32", (address, 0, timeout)),
                    _ => guest.call::<_, i32>("wait64", (address, 0i64, timeout)),
                };
                assert_eq!(result.unwrap(), 0);
                woken.fetch_add(1, Ordering::SeqCst);
            });
        }
        scope.spawn(|| assert_eq!(memory.atomic_wait32(80, 0, None), Ok(WaitResult::Ok)));
        let mut notify = |address: i32, count: i32| {
            let mut left = count;
            while left > 0 {
                left -= guest.call::<_, i32>("notify", (address, left)).unwrap();
                yield_now();
            }
        };
        notify(64, 2);
        notify(80, 1);
        while woken.load(Ordering::SeqCst) < 2 {
            yield_now();
        }
        while memory.atomic_notify(72, u32::MAX) == Ok(0) {
            yield_now();
        }
    });
    assert_eq!(woken.into_inner(), 3);
    Ok(())
}

#[test]
fn memories_grow_while_others_use_them() -> Result<()> {
    const PAGES: u32 = 16;
    for engine in engines() {
        let module = Module::new(&engine, GUEST)?;
        let memory = SharedMemory::new(&engine, MemoryType::shared(1, PAGES))?;
        let base = memory.data().as_ptr();
        let grown = AtomicU32::new(0);
        let done = AtomicBool::new(false);
        scope(|scope| {
            for number in 0..3 {
                let (module, memory, done) = (&module, &memory, &done);
                scope.spawn(move || {
                    let mut guest = Guest::new(module, memory);
                    let mut seen = 1;
                    while !done.load(Ordering::Acquire) {
                        // What the size says is there can be used, and it never becomes less.
                        let size = guest.call::<_, i32>("size", ()).unwrap();
                        assert!(size >= seen);
                        seen = size;
                        let address = size * 65536 - 16 + 4 * number;
                        guest.call::<_, ()>("store", (address, address)).unwrap();
                        assert_eq!(guest.call::<_, i32>("load", address).unwrap(), address);
                    }
                });
            }
            let growers = [0, 1].map(|host| {
                let (module, memory, grown) = (&module, &memory, &grown);
                scope.spawn(move || {
                    let mut guest = Guest::new(module, memory);
                    loop {
                        let old = match host == 1 {
                            true => memory.grow(1).map_or(-1, |old| old as i32),
                            false => guest.call::<_, i32>("grow", 1).unwrap(),
                        };
                        if old < 0 {
                            break;
                        }
                        grown.fetch_add(1, Ordering::Relaxed);
                        // The new page is zero, at least where the others do not write.
                        let address = old * 65536 + 128;
                        assert_eq!(guest.call::<_, i32>("load", address).unwrap(), 0);
                    }
                })
            });
            growers.into_iter().for_each(|grower| grower.join().unwrap());
            done.store(true, Ordering::Release);
        });
        assert_eq!(grown.into_inner(), PAGES - 1);
        assert_eq!((memory.size(), memory.data_size()), (PAGES.into(), PAGES as usize * 65536));
        assert_eq!(memory.data().as_ptr(), base, "it never moves");
        assert_eq!(message(memory.grow(1)), "failed to grow memory by `1`");
        assert_eq!(message(memory.grow(u64::MAX)), format!("failed to grow memory by `{}`", u64::MAX));
        assert_eq!(memory.grow(0)?, PAGES.into());
    }
    Ok(())
}

#[test]
fn a_growth_is_seen_in_the_middle_of_a_function() -> Result<()> {
    for engine in engines() {
        let module = Module::new(
            &engine,
            r#"(module (memory (import "" "") 1 2 shared)
                (func (export "follow") (result i32 i32 i32)
                    (memory.size) (drop (i32.load (i32.const 0)))
                    (loop $again (br_if $again (i32.eqz (i32.atomic.load (i32.const 4)))))
                    (memory.size) (i32.load (i32.const 65536))))"#,
        )?;
        let memory = SharedMemory::new(&engine, MemoryType::shared(1, 2))?;
        scope(|scope| {
            let follower = scope
                .spawn(|| Guest::new(&module, &memory).call::<_, (i32, i32, i32)>("follow", ()).unwrap());
            std::thread::sleep(Duration::from_millis(20));
            memory.grow(1).unwrap();
            word(&memory, 65536).store(77, Ordering::Relaxed);
            word(&memory, 4).store(1, Ordering::Release);
            let (before, after, loaded) = follower.join().unwrap();
            assert!(before <= after && (after, loaded) == (2, 77), "{before} {after} {loaded}");
        });
    }
    Ok(())
}

/// Counts how often it is asked, and refuses more than a number of bytes.
struct Limiter {
    asked: usize,
    limit: usize,
}

impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> Result<bool> {
        assert!(current < desired && maximum == Some(16 << 16));
        self.asked += 1;
        Ok(desired <= self.limit)
    }

    fn table_growing(&mut self, _: usize, _: usize, _: Option<usize>) -> Result<bool> {
        unreachable!("there are no tables")
    }
}

#[test]
fn a_stores_limiter_is_asked_about_shared_memories_too() -> Result<()> {
    let engine = engine();
    let module = Module::new(&engine, GUEST)?;
    let memory = SharedMemory::new(&engine, MemoryType::shared(1, 16))?;
    let mut store = Store::new(&engine, Limiter { asked: 0, limit: 3 << 16 });
    store.limiter(|limiter| limiter);
    let instance = Instance::new(&mut store, &module, &[memory.clone().into()])?;
    let grow = instance.get_typed_func::<i32, i32>(&mut store, "grow")?;
    assert_eq!(grow.call(&mut store, 2)?, 1);
    assert_eq!(grow.call(&mut store, 1)?, -1);
    assert_eq!(store.data().asked, 2);
    // The host that has the memory is under no store's limit.
    assert_eq!(memory.grow(1)?, 3);

    let defines = Module::new(&engine, "(module (memory 4 16 shared))")?;
    assert!(message(Instance::new(&mut store, &defines, &[])).contains("exceeds memory limits"));
    Ok(())
}

#[test]
fn a_shared_memory_goes_from_store_to_store() -> Result<()> {
    for engine in engines() {
        let defines = Module::new(
            &engine,
            r#"(module (memory (export "memory") 2 5 shared) (data (i32.const 5) "five")
                (func (export "load") (param i32) (result i32) (i32.load8_u (local.get 0)))
                (func (export "grow") (result i32) (memory.grow (i32.const 1)))
                (func (export "size") (result i32) (memory.size)))"#,
        )?;
        let mut first = Store::new(&engine, ());
        let one = Instance::new(&mut first, &defines, &[])?;
        assert!(one.get_memory(&mut first, "memory").is_none());
        let memory = one.get_shared_memory(&mut first, "memory").unwrap();
        assert_eq!(memory.ty(), MemoryType::shared(2, 5));
        assert!(Engine::same(memory.engine(), &engine));

        // Passive segments, copies and fills, and active segments that are applied to a memory in use.
        let uses = Module::new(
            &engine,
            r#"(module (import "a" "memory" (memory 2 8 shared))
                (data $seven "seven") (data (i32.const 65532) "over")
                (func (export "change")
                    (memory.init $seven (i32.const 7) (i32.const 0) (i32.const 5))
                    (memory.fill (i32.const 12) (i32.const 33) (i32.const 3))
                    (memory.copy (i32.const 9) (i32.const 7) (i32.const 200))
                    (memory.copy (i32.const 300) (i32.const 5) (i32.const 4)))
                (func (export "init") (param i32) (memory.init $seven (local.get 0) (i32.const 0) (i32.const 5)))
                (func (export "fill") (param i32) (memory.fill (local.get 0) (i32.const 9) (i32.const 100)))
                (func (export "copy") (param i32) (memory.copy (local.get 0) (i32.const 0) (i32.const 100)))
                (export "again" (memory 0)))"#,
        )?;
        let mut second = Store::new(&engine, ());
        let mut linker = Linker::new(&engine);
        linker.define(&second, "a", "memory", memory.clone())?;
        let two = linker.instantiate(&mut second, &uses)?;
        let get = |name: &str, store: &mut Store<()>| two.get_typed_func::<(), ()>(store, name);
        get("change", &mut second)?.call(&mut second, ())?;
        for name in ["init", "fill", "copy"] {
            let function = two.get_typed_func::<u32, ()>(&mut second, name)?;
            assert_eq!(trap_of(function.call(&mut second, 2 * 65536 - 4)), Trap::MemoryOutOfBounds);
        }
        let bytes = |range: std::ops::Range<usize>| -> String {
            // SAFETY: nobody else uses the memory now.
            range.map(|at| unsafe { *memory.data()[at].get() } as char).collect()
        };
        assert_eq!(bytes(5..19), "fiseseven!!!\0\0");
        assert_eq!(bytes(300..304), "fise");
        assert_eq!(bytes(65532..65537), "over\0");

        // What the second store exports again is the same memory.
        let again = two.get_shared_memory(&mut second, "again").unwrap();
        assert_eq!(again.data().as_ptr(), memory.data().as_ptr());
        assert!(matches!(linker.get(&mut second, "a", "memory"), Some(Extern::SharedMemory(_))));
        let grow = one.get_typed_func::<(), i32>(&mut first, "grow")?;
        assert_eq!(grow.call(&mut first, ())?, 2);
        assert_eq!(again.size(), 3);

        // Whoever comes last frees it.
        let three = Instance::new(&mut first, &uses, &[again.into()])?;
        drop((second, linker));
        two_pages_more(&memory)?;
        let load = one.get_typed_func::<i32, i32>(&mut first, "load")?;
        assert_eq!(load.call(&mut first, 7)?, i32::from(b's'));
        three.get_typed_func::<(), ()>(&mut first, "change")?.call(&mut first, ())?;
        drop(first);
        assert_eq!(bytes(300..304), "fise");
        drop(engine);
        assert_eq!(memory.atomic_notify(0, 1), Ok(0));
    }
    Ok(())
}

fn two_pages_more(memory: &SharedMemory) -> Result<()> {
    assert_eq!(memory.grow(2)?, 3);
    assert!(memory.grow(1).is_err());
    Ok(())
}

#[test]
fn imports_must_fit() -> Result<()> {
    let engine = engine();
    let mut store = Store::new(&engine, ());
    let mut instantiate = |import: &str, memory: Extern| {
        let module = Module::new(&engine, format!(r#"(module (memory (import "a" "m") {import}))"#))?;
        Instance::new(&mut store, &module, &[memory]).map(drop)
    };
    let shared = SharedMemory::new(&engine, MemoryType::shared(2, 4))?;
    for import in ["2 4 shared", "1 4 shared", "0 5 shared"] {
        instantiate(import, shared.clone().into())?;
    }
    let prefix = "incompatible import type for `a::m`: memory types incompatible: expected ";
    for (import, rest) in [
        ("2 4", "non-shared memory, found shared memory"),
        ("3 4 shared", "minimum 3, maximum 4; found 2, maximum 4"),
        ("2 3 shared", "minimum 2, maximum 3; found 2, maximum 4"),
    ] {
        assert!(message(instantiate(import, shared.clone().into())).contains(rest), "{import}");
    }
    // The size counts that it has when it is imported.
    shared.grow(1)?;
    instantiate("3 4 shared", shared.clone().into())?;

    let mut other = Store::new(&engine, ());
    let ordinary = Memory::new(&mut other, MemoryType::new(2, Some(4)))?;
    let module = Module::new(&engine, r#"(module (memory (import "a" "m") 2 4 shared))"#)?;
    let error = message(Instance::new(&mut other, &module, &[ordinary.into()]));
    assert_eq!(error, format!("{prefix}shared memory, found non-shared memory"));

    // Another engine's is refused.
    let foreign = Store::new(&self::engine(), ());
    let module = Module::new(foreign.engine(), r#"(module (memory (import "a" "m") 2 4 shared))"#)?;
    let mut foreign = foreign;
    let error = message(Instance::new(&mut foreign, &module, &[shared.into()]));
    assert_eq!(error, "cross-`Engine` instantiation is not currently supported");
    Ok(())
}

#[test]
fn what_is_off_is_refused() -> Result<()> {
    const DISABLED: &str = "shared memory support is disabled for this engine -- see `Config::shared_memory`";
    let engine = Engine::default();
    assert_eq!(message(SharedMemory::new(&engine, MemoryType::shared(1, 1))), DISABLED);
    let module = Module::new(&engine, "(module (memory 1 1 shared))")?;
    assert_eq!(message(Instance::new(&mut Store::new(&engine, ()), &module, &[])), DISABLED);

    let mut config = Config::new();
    let engine = Engine::new(config.wasm_threads(false).shared_memory(true))?;
    for text in [
        "(module (memory 1 1 shared))",
        "(module (memory 1) (func (drop (i32.atomic.load (i32.const 0)))))",
        "(module (func atomic.fence))",
    ] {
        let error = message(Module::new(&engine, text));
        assert!(error.contains("threads"), "{error}");
    }

    let engine = self::engine();
    let error = message(SharedMemory::new(&engine, MemoryType::new(1, Some(1))));
    assert_eq!(error, "shared memory must have the `shared` flag enabled on its memory type");
    assert!(Memory::new(Store::new(&engine, ()), MemoryType::shared(1, 1)).is_err());
    let error = message(MemoryTypeBuilder::new().min(1).shared(true).build());
    assert_eq!(error, "shared memories must have a maximum size");
    let ty = MemoryType::builder().min(1).max(Some(7)).shared(true).build()?;
    assert!(ty == MemoryType::shared(1, 7) && ty.is_shared() && !MemoryType::new(1, Some(7)).is_shared());
    for (min, max) in [(2, Some(1)), (65537, None), (1, Some(65537))] {
        assert!(MemoryType::builder().min(min).max(max).build().is_err());
    }
    Ok(())
}

#[test]
fn a_linker_makes_a_default_shared_memory() -> Result<()> {
    let engine = engine();
    let module = Module::new(&engine, GUEST)?;
    let mut store = Store::new(&engine, ());
    let mut linker = Linker::new(&engine);
    linker.define_unknown_imports_as_default_values(&mut store, &module)?;
    let memory = linker.get(&mut store, "host", "memory").and_then(Extern::into_shared_memory).unwrap();
    assert_eq!(memory.ty(), MemoryType::shared(1, 16));
    let instance = linker.instantiate(&mut store, &module)?;
    instance.get_typed_func::<(i32, i32), ()>(&mut store, "count")?.call(&mut store, (4, 3))?;
    assert_eq!(word(&memory, 4).load(Ordering::Relaxed), 3);
    Ok(())
}

#[test]
fn racing_copies_and_fills_write_whole_bytes() -> Result<()> {
    let engine = engine();
    let module = Module::new(
        &engine,
        r#"(module (memory (import "" "") 1 1 shared)
            (func (export "fill") (param i32) (memory.fill (i32.const 100) (local.get 0) (i32.const 1000)))
            (func (export "copy") (memory.copy (i32.const 2000) (i32.const 100) (i32.const 1000)))
            (func (export "back") (memory.copy (i32.const 103) (i32.const 100) (i32.const 997))))"#,
    )?;
    let memory = SharedMemory::new(&engine, MemoryType::shared(1, 1))?;
    let mut guest = Guest::new(&module, &memory);
    guest.call::<_, ()>("fill", 0x11)?;
    scope(|scope| {
        for value in [0x11, 0x22] {
            let (module, memory) = (&module, &memory);
            scope.spawn(move || {
                let mut guest = Guest::new(module, memory);
                for _ in 0..2_000 {
                    guest.call::<_, ()>("fill", value).unwrap();
                    guest.call::<_, ()>("copy", ()).unwrap();
                    guest.call::<_, ()>("back", ()).unwrap();
                }
            });
        }
    });
    for at in (100..1100).chain(2000..3000) {
        // SAFETY: nobody else uses the memory any more.
        let byte = unsafe { *memory.data()[at].get() };
        assert!(byte == 0x11 || byte == 0x22, "{byte:#x} at {at}");
    }
    Ok(())
}
