//! Host functions that fail, panic and fault, below wasm that was called by other host functions.

use crate::guest::{engine, module, on_stack_of, start, trap_of};
use crate::traps::functions_in;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::hint::black_box;
use core::sync::atomic::{AtomicUsize, Ordering};
use task::{ExitValue, KillReason};
use wasm_engine::{
    Caller, Config, Engine, Extern, Linker, Memory, MixedFrame, Result, Store, Trap, TypedFunc, WasmBacktrace,
};

/// What the innermost host function does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Return(i32),
    Fail,
    Trap,
    Panic,
    Fault,
    /// Reads a guest's memory behind its end, where compiled code may fault.
    FaultInMemory,
    /// Uses up the stack, by frames of so many bytes.
    Overflow(usize),
    /// Goes on for ever.
    Descend,
}

/// An error of the host's own.
#[derive(Debug, PartialEq, Eq)]
struct Refused {
    at: i32,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "refused at depth {}", self.at)
    }
}

impl core::error::Error for Refused {}

/// Counts itself when it is dropped.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// The state of the host.
struct State {
    action: Action,
    /// The depth at which a host function catches panics, and returns 1000 for them.
    catches_at: Option<i32>,
    /// Frames of host functions that were left, in whatever way.
    left: Arc<AtomicUsize>,
}

/// `test_calls` with its host: `descend(n)` and the host's `enter` call each other until `n` is 0.
struct Turns {
    store: Store<State>,
    descend: TypedFunc<i32, i32>,
    memory: Memory,
    left: Arc<AtomicUsize>,
}

impl Turns {
    fn new() -> Self {
        Self::of(engine())
    }

    fn of(engine: Engine) -> Self {
        let mut linker = Linker::new(&engine);
        linker.func_wrap("test", "enter", enter).expect("the name is free");
        let left = Arc::new(AtomicUsize::new(0));
        let mut store =
            Store::new(&engine, State { action: Action::Return(0), catches_at: None, left: left.clone() });
        let instance =
            linker.instantiate(&mut store, &module(&engine, "test_calls")).expect("its one import is there");
        let descend = instance.get_typed_func(&mut store, "descend").expect("it has this type");
        let memory = instance.get_memory(&mut store, "memory").expect("it has one");
        Self { store, descend, memory, left }
    }

    /// Descends by `depth` and does `action` there.
    fn run(&mut self, depth: i32, action: Action) -> Result<i32> {
        self.store.data_mut().action = action;
        self.left.store(0, Ordering::Relaxed);
        self.descend.call(&mut self.store, depth)
    }

    /// How many frames of host functions were left since `run` was called.
    fn left(&self) -> usize {
        self.left.load(Ordering::Relaxed)
    }

    /// Panics unless everything works as at the beginning.
    fn assert_usable(&mut self) {
        // Each of the six levels of wasm adds 1.
        assert_eq!(self.run(5, Action::Return(100)).expect("nothing fails"), 106);
        assert_eq!(self.left(), 6);
        assert!(
            self.memory.data(&self.store)[..6].iter().all(|byte| *byte == 1),
            "each level has left its mark"
        );
    }
}

/// Calls itself until the stack is used up, with `SIZE` bytes in each frame.
#[inline(never)]
fn use_up<const SIZE: usize>(depth: usize) -> usize {
    let mut frame = [0u8; SIZE];
    black_box(&mut frame)[0] = depth as u8;
    if black_box(depth) == 0 {
        return 0;
    }
    use_up::<SIZE>(depth + 1) + usize::from(black_box(&frame)[SIZE - 1])
}

/// The host function.
#[inline(never)]
fn enter(mut caller: Caller<'_, State>, depth: i32) -> Result<i32> {
    let _frame = Counted(caller.data().left.clone());
    let State { action, catches_at, .. } = *caller.data();
    if depth > 0 || action == Action::Descend {
        let descend = caller.get_export("descend").and_then(Extern::into_func).expect("it is exported");
        let descend = descend.typed::<i32, i32>(&caller)?;
        let next = if action == Action::Descend { depth } else { depth - 1 };
        if catches_at == Some(depth) {
            return catch_unwind::catch_unwind(|| descend.call(&mut caller, next)).unwrap_or(Ok(1000));
        }
        return descend.call(&mut caller, next);
    }
    match action {
        Action::Return(value) => Ok(value),
        Action::Fail => Err(Refused { at: depth }.into()),
        Action::Trap => {
            let trap = caller.get_export("trap").and_then(Extern::into_func).expect("it is exported");
            trap.typed::<i32, ()>(&caller)?.call(&mut caller, 8)?;
            unreachable!("it traps")
        }
        Action::Panic => panic!("the host panics at depth {depth}"),
        Action::Fault => {
            let nowhere = core::hint::black_box(8usize) as *const u8;
            // SAFETY: there is none, which is the point: page 0 is never mapped, so the read is a page fault, and the
            // kernel ends the task before it yields anything.
            Ok(unsafe { nowhere.read_volatile() }.into())
        }
        Action::FaultInMemory => {
            let memory = caller.get_export("memory").and_then(Extern::into_memory).expect("it is exported");
            let behind = memory.data_ptr(&caller).wrapping_add(memory.data_size(&caller) + 100);
            // SAFETY: there is none, which is the point: the read is a page fault, as above.
            Ok(unsafe { black_box(behind).read_volatile() }.into())
        }
        Action::Overflow(size) => Ok(match size {
            0..1000 => use_up::<8>(1),
            1000..100_000 => use_up::<20_000>(1),
            _ => use_up::<200_000>(1),
        } as i32),
        Action::Descend => unreachable!("handled above"),
    }
}

pub(crate) fn calls_in_turns() {
    let mut turns = Turns::new();
    for _ in 0..100 {
        turns.assert_usable();
    }
}

pub(crate) fn stack_overflow_in_turns() {
    let mut turns = Turns::new();
    for _ in 0..10 {
        let error = turns.run(0, Action::Descend).expect_err("it never returns");
        assert_eq!(trap_of(&error), Trap::StackOverflow);
        assert!(turns.left() > 10, "only {} levels", turns.left());
        turns.assert_usable();
    }
}

pub(crate) fn errors() {
    let mut turns = Turns::new();
    for depth in [0, 1, 4] {
        let error = turns.run(depth, Action::Fail).expect_err("the host fails");
        assert_eq!(error.downcast_ref::<Refused>(), Some(&Refused { at: 0 }));
        assert_eq!(error.root_cause().to_string(), "refused at depth 0");
        assert!(!error.is::<Trap>());
        let functions = functions_in(&error);
        assert_eq!(functions.len(), 2 * (depth as usize + 1));
        assert!(functions.chunks(2).all(|pair| pair == ["ask_host", "descend"]), "{functions:?}");
        assert_eq!(turns.left(), depth as usize + 1);
        turns.assert_usable();
    }
}

pub(crate) fn nested_traps() {
    let mut turns = Turns::new();
    for depth in [0, 1, 4] {
        let error = turns.run(depth, Action::Trap).expect_err("it traps");
        assert_eq!(trap_of(&error), Trap::MemoryOutOfBounds);
        let functions = functions_in(&error);
        assert_eq!(functions.len(), 1 + 2 * (depth as usize + 1), "{functions:?}");
        assert_eq!(functions[0], "trap");
        assert!(functions[1..].chunks(2).all(|pair| pair == ["ask_host", "descend"]), "{functions:?}");
        assert_eq!(turns.left(), depth as usize + 1);
        turns.assert_usable();
    }
}

/// The message of the panic that `f` ends with.
fn panic_of<R>(f: impl FnOnce() -> R) -> String {
    match catch_unwind::catch_unwind(f) {
        Ok(_) => panic!("it did not panic"),
        Err(payload) => *payload.downcast::<String>().expect("a panic's payload is its message"),
    }
}

pub(crate) fn panics_are_caught() {
    let mut turns = Turns::new();
    for depth in [0, 1, 4] {
        let message = panic_of(|| turns.run(depth, Action::Panic));
        assert_eq!(message, "the host panics at depth 0");
        assert_eq!(turns.left(), depth as usize + 1, "what lies between is dropped");
        turns.assert_usable();
        // What was set up for the panicking call is out of the way of a trap.
        assert_eq!(trap_of(&turns.run(1, Action::Trap).expect_err("it traps")), Trap::MemoryOutOfBounds);
    }
}

pub(crate) fn panics_caught_half_way() {
    let mut turns = Turns::new();
    for _ in 0..3 {
        turns.store.data_mut().catches_at = Some(2);
        // Wasm of the levels 4, 3 and 2 goes on and adds 1 each.
        assert_eq!(turns.run(4, Action::Panic).expect("the panic is caught"), 1003);
        assert_eq!(turns.left(), 5);
        // Errors and traps pass by who catches panics.
        assert!(turns.run(4, Action::Fail).expect_err("the host fails").is::<Refused>());
        assert_eq!(trap_of(&turns.run(4, Action::Trap).expect_err("it traps")), Trap::MemoryOutOfBounds);
        turns.store.data_mut().catches_at = None;
        turns.assert_usable();
    }
}

pub(crate) fn uncaught_panics() {
    let mut bystander = Turns::new();
    for _ in 0..3 {
        let mut turns = Turns::new();
        let left = turns.left.clone();
        let task = start(move || turns.run(3, Action::Panic).map_err(drop));
        match task.join() {
            Ok(ExitValue::Killed(KillReason::Panic(panic))) => {
                assert_eq!(panic.msg, "the host panics at depth 0")
            }
            other => panic!("the task did not panic: {other:?}"),
        }
        assert_eq!(left.load(Ordering::Relaxed), 4, "what lies between is dropped");
        assert_eq!(Arc::strong_count(&left), 1, "the store is dropped");
        bystander.assert_usable();
    }
}

pub(crate) fn faults_in_the_host() {
    const PAGE_FAULT: u8 = 14;
    let mut bystander = Turns::new();
    let mut turns = Turns::new();
    let left = turns.left.clone();
    let task = start(move || turns.run(3, Action::Fault).map_err(drop));
    match task.join() {
        Ok(ExitValue::Killed(KillReason::Exception(PAGE_FAULT))) => {}
        other => panic!("the task did not end by a page fault: {other:?}"),
    }
    // The function that faulted has no place from which to unwind, for it called nobody: only its callers drop their values.
    assert_eq!(left.load(Ordering::Relaxed), 3, "what lies between is dropped");
    assert_eq!(Arc::strong_count(&left), 2, "the store is dropped");
    bystander.assert_usable();
}

pub(crate) fn floats_in_calls() {
    let engine = engine();
    let mut linker = Linker::new(&engine);
    linker
        .func_wrap("host", "mix", |a: f32, b: f64, c: i32| f64::from(a) * b + f64::from(c))
        .expect("the name is free");
    let mut store = Store::new(&engine, ());
    let instance =
        linker.instantiate(&mut store, &module(&engine, "floats")).expect("its one import is there");
    let run = instance.get_typed_func::<(f32, f64), f64>(&mut store, "run").expect("it has this type");
    assert_eq!(run.call(&mut store, (1.5, 3.0)).unwrap(), 1.5 + 4.5 + 2.0);
    let round =
        instance.get_typed_func::<f64, (f64, f64, f64, f64)>(&mut store, "round").expect("it has this type");
    assert_eq!(round.call(&mut store, -2.5).unwrap(), (-2.0, -3.0, -2.0, -2.0));
    assert_eq!(round.call(&mut store, 0.75).unwrap(), (1.0, 0.0, 0.0, 1.0));
}

/// Runs `action` below some levels of wasm in a task that it ends, by a page fault; says how many host functions were left.
fn ends_its_task(action: Action) -> usize {
    const PAGE_FAULT: u8 = 14;
    let mut turns = Turns::new();
    let left = turns.left.clone();
    let task = start(move || turns.run(3, action).map_err(drop));
    match task.join() {
        Ok(ExitValue::Killed(KillReason::Exception(PAGE_FAULT))) => {}
        other => panic!("{action:?}: the task did not end by a page fault: {other:?}"),
    }
    // The innermost host function has a counter that it does not drop: see `faults_in_the_host`; its callers' are dropped.
    assert_eq!(Arc::strong_count(&left), 2, "the store is dropped");
    left.load(Ordering::Relaxed)
}

pub(crate) fn faults_in_a_guests_memory() {
    let mut bystander = Turns::new();
    for _ in 0..10 {
        assert_eq!(ends_its_task(Action::FaultInMemory), 3, "what lies between is dropped");
        bystander.assert_usable();
    }
}

pub(crate) fn stack_overflow_in_the_host() {
    let mut bystander = Turns::new();
    for size in [8, 20_000, 200_000] {
        for _ in 0..3 {
            // The task is unwound from where there was room, which is somewhere in the functions that call themselves. These
            // cannot panic, so the one that called the first of them has no landing pad for that.
            assert_eq!(ends_its_task(Action::Overflow(size)), 3, "what lies between is dropped");
            bystander.assert_usable();
        }
    }
}

pub(crate) fn a_thousand_deep() {
    const DEPTH: i32 = 1000;
    on_stack_of(8 << 20, || {
        let mut turns = Turns::of(
            Engine::new(Config::new().max_wasm_stack(7 << 20)).expect("the trap hook is free or ours"),
        );
        assert_eq!(turns.run(DEPTH, Action::Return(0)).expect("nothing fails"), DEPTH + 1);
        for round in 0..3 {
            assert!(turns.run(DEPTH, Action::Fail).expect_err("the host fails").is::<Refused>());
            assert_eq!(turns.left(), DEPTH as usize + 1);
            assert_eq!(
                trap_of(&turns.run(DEPTH, Action::Trap).expect_err("it traps")),
                Trap::MemoryOutOfBounds
            );
            assert_eq!(turns.left(), DEPTH as usize + 1);
            assert_eq!(panic_of(|| turns.run(DEPTH, Action::Panic)), "the host panics at depth 0");
            assert_eq!(turns.left(), DEPTH as usize + 1);
            // Caught at the bottom, half-way, and at the top: the levels above go on, and add 1 each.
            for level in [1, 500 + round, DEPTH] {
                turns.store.data_mut().catches_at = Some(level);
                let above = DEPTH - level;
                assert_eq!(turns.run(DEPTH, Action::Panic).expect("the panic is caught"), 1000 + above + 1);
                assert_eq!(turns.left(), DEPTH as usize + 1);
                turns.store.data_mut().catches_at = None;
            }
            turns.assert_usable();
        }
    });
}

pub(crate) fn mixed_backtraces() {
    let mut turns = Turns::new();
    for (action, innermost) in [(Action::Trap, "trap"), (Action::Fail, "ask_host")] {
        let error = turns.run(2, action).expect_err("it fails");
        let backtrace = error.downcast_ref::<WasmBacktrace>().expect("it crossed wasm");
        let mixed = backtrace.mixed();
        assert!(mixed.has_host_frames_between());
        // Names of wasm's functions, and of the host's only that it was there, once for each time in a row.
        let mut names: Vec<String> = mixed
            .frames()
            .map(|frame| match frame {
                MixedFrame::Wasm(frame) => frame.func_name().unwrap_or("?").to_string(),
                MixedFrame::OtherStore(_) => "another store".to_string(),
                MixedFrame::Host(_) => "host".to_string(),
            })
            .collect();
        names.dedup();
        let level = ["host", "ask_host", "descend"].map(String::from);
        let mut expected = alloc::vec![innermost.to_string()];
        expected.extend(level.iter().cloned().cycle().take(9).skip(usize::from(action == Action::Fail) * 2));
        expected.push("host".to_string());
        assert_eq!(names, expected, "{mixed}");
        let text = alloc::format!("{mixed}");
        assert!(text.contains("test_wasm::host::enter"), "{text}");
        assert!(text.contains("(test_wasm-"), "{text}");
    }
}

pub(crate) fn many_panics() {
    let mut turns = Turns::new();
    for _ in 0..3_000 {
        assert_eq!(panic_of(|| turns.run(2, Action::Panic)), "the host panics at depth 0");
    }
    turns.assert_usable();
}
