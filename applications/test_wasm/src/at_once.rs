//! Several tasks at once, which the timer interrupts anywhere.

use crate::guest::{Guest, engine, module, start, trap_of};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicUsize, Ordering};
use ktest_system::leaves_nothing;
use task::{ExitValue, KillReason};
use wasm_engine::{Module, Trap, V128, Val};

/// Runs `f` in `count` tasks at once, which it is given the numbers of, and returns their results.
pub(crate) fn in_tasks<R: Send + 'static>(
    count: usize,
    f: impl Fn(usize) -> R + Send + Sync + 'static,
) -> Vec<R> {
    ktest_system::in_tasks("test_wasm", count, f)
}

/// How often somebody else was last: how much tasks took turns.
#[derive(Default)]
struct Turns {
    last: AtomicUsize,
    changes: AtomicUsize,
}

impl Turns {
    /// The task `number` does something.
    fn note(&self, number: usize) {
        if self.last.swap(number, Ordering::Relaxed) != number {
            self.changes.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Panics if so many tasks merely came one after the other, which would be one change each.
    fn assert_taken(&self, tasks: usize) {
        let changes = self.changes.load(Ordering::Relaxed);
        assert!(changes > tasks, "{tasks} tasks took turns only {changes} times");
    }
}

pub(crate) fn many_traps() {
    const TASKS: usize = 5;
    const TRAPS: usize = 100_000;
    /// Every so manieth trap is a stack overflow, which takes longer than others: thousands of calls come before it.
    const DEEP: usize = 1000;
    const KINDS: [(&str, &[Val], Trap); 8] = [
        ("unreachable", &[], Trap::UnreachableCodeReached),
        ("load32", &[Val::I32(65533)], Trap::MemoryOutOfBounds),
        ("store_far", &[Val::I32(-1)], Trap::MemoryOutOfBounds),
        ("div_s32", &[Val::I32(1), Val::I32(0)], Trap::IntegerDivisionByZero),
        ("to_s32", &[Val::F64(f64::NAN.to_bits())], Trap::BadConversionToInteger),
        ("call_procedure", &[Val::I32(2)], Trap::IndirectCallToNull),
        ("table_get", &[Val::I32(3)], Trap::TableOutOfBounds),
        ("in_depth", &[Val::I32(3)], Trap::IntegerDivisionByZero),
    ];

    // All tasks run the same code, each in a store of its own.
    let module = module(&engine(), "test_traps");
    let turns = Arc::new(Turns::default());
    let noted = turns.clone();
    let trapped = in_tasks(TASKS, move |number| {
        let mut guest = Guest::of(&module);
        let mut trapped = 0;
        for round in 0..TRAPS / TASKS {
            let (name, args, expected) = match round % DEEP {
                0 => ("recurse", &[Val::I32(0), Val::F64(0)][..], Trap::StackOverflow),
                // Tasks are at different places of the list, whatever their pace.
                round => KINDS[(round + number) % KINDS.len()],
            };
            let error = guest.call(name, args).expect_err(name);
            assert_eq!(trap_of(&error), expected, "{name}, round {round}");
            noted.note(number);
            trapped += 1;
        }
        assert_eq!(guest.int("div_s32", &[7, 2]).expect("it can be divided"), 3);
        trapped
    });
    assert_eq!(trapped.iter().sum::<usize>(), TRAPS);
    turns.assert_taken(TASKS);
}

pub(crate) fn floats() {
    const TASKS: usize = 4;
    const REPEATS: usize = 3;
    const ROUNDS: i32 = 100_000;
    let module = module(&engine(), "test_floats");
    let run = move |number: usize| {
        let seed = 0.1 + number as f64 / 10.0;
        let args = [Val::from(seed), Val::I32(ROUNDS)];
        Guest::of(&module).call("run", &args).expect("it does not trap")[0].unwrap_i64()
    };
    let alone: Vec<i64> = (0..TASKS).map(&run).collect();
    assert!(
        (1..TASKS).all(|number| alone[number] != alone[number - 1]),
        "different numbers, different results"
    );
    let turns = Arc::new(Turns::default());
    let noted = turns.clone();
    let expected = alone.clone();
    in_tasks(TASKS, move |number| {
        for _ in 0..REPEATS {
            assert_eq!(run(number), expected[number]);
            noted.note(number);
        }
    });
    turns.assert_taken(TASKS);
}

pub(crate) fn vectors() {
    const TASKS: usize = 4;
    const REPEATS: usize = 3;
    const ROUNDS: i32 = 100_000;
    const TEXT: &str = include_str!("../../../guests/test_vectors.wat");
    let engine = engine();
    // One for any CPU, with the instructions of SSE2; one for this CPU, with those of AVX if it has it.
    let native = Module::new(&engine, TEXT).expect("there is memory to compile it");
    let modules = [module(&engine, "test_vectors"), native];
    let run = move |module: usize, number: usize| {
        let args = [Val::I32(number as i32 + 1), Val::I32(ROUNDS)];
        Guest::of(&modules[module]).call("run", &args).expect("it does not trap")[0].unwrap_v128()
    };
    let alone: Vec<V128> = (0..TASKS).map(|number| run(0, number)).collect();
    assert!(
        (1..TASKS).all(|number| alone[number] != alone[number - 1]),
        "different numbers, different results"
    );
    assert!((0..TASKS).all(|number| run(1, number) == alone[number]), "the CPU makes no difference");
    let turns = Arc::new(Turns::default());
    let noted = turns.clone();
    in_tasks(TASKS, move |number| {
        for repeat in 0..REPEATS {
            assert_eq!(run((number + repeat) % 2, number), alone[number]);
            noted.note(number);
        }
    });
    turns.assert_taken(TASKS);
}

pub(crate) fn kills() {
    /// Guests that are killed in each round, a bystander not among them.
    const VICTIMS: usize = 4;
    const ROUNDS: usize = 5;
    let engine = engine();
    let (spin, traps) = (module(&engine, "spin"), module(&engine, "test_traps"));
    let mut bystander = Guest::of(&traps);
    leaves_nothing(|| {
        for round in 0..ROUNDS {
            let running = Arc::new(AtomicUsize::new(0));
            let victims: Vec<_> = (0..VICTIMS)
                .map(|number| {
                    let (running, module) =
                        (running.clone(), if number % 2 == 0 { &spin } else { &traps }.clone());
                    start(move || {
                        let mut guest = Guest::of(&module);
                        running.fetch_add(1, Ordering::Relaxed);
                        // One is in the guest for ever, the other one on its way in and out.
                        loop {
                            let error = match number % 2 {
                                0 => guest.call("run", &[]).expect_err("it never returns"),
                                _ => guest.call("unreachable", &[]).expect_err("it traps"),
                            };
                            assert_eq!(trap_of(&error), Trap::UnreachableCodeReached);
                            task::exit_if_killed();
                        }
                    })
                })
                .collect();
            while running.load(Ordering::Relaxed) < VICTIMS {
                task::schedule();
            }
            // At another moment of theirs in each round.
            for _ in 0..round {
                assert_eq!(
                    bystander.int("in_depth", &[1]).map_err(|error| trap_of(&error)),
                    Err(Trap::IntegerDivisionByZero)
                );
                task::schedule();
            }
            for victim in &victims {
                victim.kill(KillReason::Requested).expect("it has not ended");
            }
            for victim in victims {
                let ended = victim.join();
                assert!(matches!(ended, Ok(ExitValue::Killed(KillReason::Requested))), "{ended:?}");
            }
        }
    });
    assert_eq!(bystander.int("div_s32", &[7, 2]).expect("it can be divided"), 3);
}
