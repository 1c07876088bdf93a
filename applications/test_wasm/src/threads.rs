//! Threads: tasks that share a memory, wait in it and notify each other, and are killed there.

use crate::at_once::in_tasks;
use crate::guest::{artifact, start};
use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering};
use core::time::Duration;
use ktest_system::{Ballast, Ending, Running, leaves_nothing, run_program};
use memory::PAGE_SIZE;
use task::{ExitValue, JoinableTaskRef, KillReason, RunState};
use time::Instant;
use wasm_engine::{
    Config, Engine, Instance, MemoryType, Module, Result, SharedMemory, Store, WaitResult, WasmParams,
    WasmResults,
};

/// Bytes in a page of WebAssembly.
const WASM_PAGE: usize = 64 << 10;

/// The guest, whose instances share a memory.
#[derive(Clone)]
struct Shared {
    module: Module,
    memory: SharedMemory,
}

impl Shared {
    /// With a memory of one page that can grow to 16.
    fn new() -> Self {
        let engine = Engine::new(Config::new().shared_memory(true)).expect("the trap hook is free or ours");
        // SAFETY: the artifacts in the image were made by our compiler.
        let module = unsafe { Module::deserialize(&engine, artifact("test_threads")) };
        let memory = SharedMemory::new(&engine, MemoryType::shared(1, 16));
        Self {
            module: module.expect("the image's guests are for this system"),
            memory: memory.expect("there is memory for a page"),
        }
    }

    /// Calls the function `name` of a new instance, in a store of its own.
    fn call<P: WasmParams, R: WasmResults>(&self, name: &str, params: P) -> Result<R> {
        let mut store = Store::try_new(self.module.engine(), ())?;
        let instance = Instance::new(&mut store, &self.module, &[self.memory.clone().into()])?;
        instance.get_typed_func::<P, R>(&mut store, name)?.call(&mut store, params)
    }

    /// The word at `address`.
    fn word(&self, address: usize) -> &AtomicU32 {
        assert!(address.is_multiple_of(4));
        // SAFETY: in bounds, which the index checks, and aligned; all accesses are atomic.
        unsafe { AtomicU32::from_ptr(self.memory.data()[address..address + 4][0].get().cast()) }
    }
}

/// Waits until a task waits for somebody else.
fn await_blocked(task: &JoinableTaskRef) {
    while task.runstate() != RunState::Blocked {
        assert!(task.runstate() != RunState::Exited, "it has ended instead of waiting");
        task::schedule();
    }
}

pub(crate) fn count() {
    const TASKS: usize = 5;
    const TIMES: i32 = 200_000;
    let shared = Shared::new();
    let counting = shared.clone();
    in_tasks(TASKS, move |_| counting.call::<_, ()>("count", (16, TIMES)).expect("it does not trap"));
    assert_eq!(shared.word(16).load(Ordering::Relaxed), (TASKS as i32 * TIMES) as u32);
}

pub(crate) fn ping_pong() {
    const ROUNDS: i32 = 1000;
    leaves_nothing(|| {
        let shared = Shared::new();
        let playing = shared.clone();
        in_tasks(2, move |me| playing.call::<_, ()>("play", (me as i32, ROUNDS)).expect("it does not trap"));
        assert_eq!(shared.word(0).load(Ordering::Relaxed), 2 * ROUNDS as u32);
    });
}

pub(crate) fn lock() {
    const TASKS: usize = 4;
    const TIMES: i32 = 50_000;
    let shared = Shared::new();
    let counting = shared.clone();
    in_tasks(TASKS, move |_| counting.call::<_, ()>("count_locked", TIMES).expect("it does not trap"));
    assert_eq!(shared.word(8).load(Ordering::Relaxed), (TASKS as i32 * TIMES) as u32);
    assert_eq!(shared.word(4).load(Ordering::Relaxed), 0, "it is free");
}

pub(crate) fn timeouts() {
    const MILLISECOND: i64 = 1_000_000;
    leaves_nothing(|| {
        let shared = Shared::new();
        assert_eq!(shared.call::<_, i32>("wait32", (64, 1, -1i64)).expect("it does not trap"), 1);
        assert_eq!(shared.call::<_, i32>("wait64", (64, 1i64, -1i64)).expect("it does not trap"), 1);
        for timeout in [0, 1, MILLISECOND, 20 * MILLISECOND] {
            let begin = Instant::now();
            assert_eq!(shared.call::<_, i32>("wait32", (64, 0, timeout)).expect("it does not trap"), 2);
            assert_eq!(shared.call::<_, i32>("wait64", (64, 0i64, timeout)).expect("it does not trap"), 2);
            let (passed, asked) = (begin.elapsed(), 2 * Duration::from_nanos(timeout as u64));
            assert!(passed >= asked, "{passed:?} instead of {asked:?}");
        }
        let timed_out = shared.memory.atomic_wait32(64, 0, Some(Duration::from_millis(1)));
        assert_eq!(timed_out, Ok(WaitResult::TimedOut));

        // The longest timeout there is, ended by a notification.
        let waiting = shared.clone();
        let task =
            start(move || waiting.call::<_, i32>("wait32", (64, 0, i64::MAX)).expect("it does not trap"));
        await_blocked(&task);
        assert_eq!(shared.memory.atomic_notify(68, u32::MAX), Ok(0), "nobody waits there");
        assert_eq!(shared.memory.atomic_notify(64, u32::MAX), Ok(1));
        assert!(
            matches!(task.join(), Ok(ExitValue::Completed(value)) if value.downcast_ref() == Some(&0i32))
        );
    });
}

pub(crate) fn waiting_takes_no_time() {
    const TASKS: usize = 8;
    let shared = Shared::new();
    let waiters: Vec<_> = (0..TASKS)
        .map(|_| {
            let waiting = shared.clone();
            start(move || waiting.call::<_, i32>("wait32", (64, 0, -1i64)).expect("it does not trap"))
        })
        .collect();
    waiters.iter().for_each(await_blocked);
    // Whoever waits does not become runnable by itself.
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_millis(50) {
        assert!(waiters.iter().all(|task| task.runstate() == RunState::Blocked));
        task::schedule();
    }
    assert_eq!(shared.memory.atomic_notify(64, 3), Ok(3));
    assert_eq!(shared.memory.atomic_notify(64, u32::MAX), Ok(TASKS as u32 - 3));
    for task in waiters {
        assert!(matches!(task.join(), Ok(ExitValue::Completed(_))));
    }
}

pub(crate) fn kills() {
    const VICTIMS: usize = 6;
    leaves_nothing(|| {
        let shared = Shared::new();
        let survivor = shared.clone();
        let victims: Vec<_> = (0..VICTIMS)
            .map(|number| {
                let victim = shared.clone();
                // For ever, for a long time, and in the host.
                start(move || match number % 3 {
                    0 => victim.call::<_, i32>("wait32", (64, 0, -1i64)).expect("it does not trap"),
                    1 => victim.call::<_, i32>("wait64", (64, 0i64, i64::MAX)).expect("it does not trap"),
                    _ => victim.memory.atomic_wait32(64, 0, None).expect("it does not trap") as i32,
                })
            })
            .collect();
        victims.iter().for_each(await_blocked);
        let survivor =
            start(move || survivor.call::<_, i32>("wait32", (64, 0, -1i64)).expect("it does not trap"));
        await_blocked(&survivor);
        for victim in &victims {
            victim.kill(KillReason::Requested).expect("it has not ended");
        }
        // Nobody who was killed takes a notification away from the one who is left, whether it has unwound yet or not.
        let notified = shared.memory.atomic_notify(64, 1);
        assert_eq!(notified, Ok(1));
        assert!(
            matches!(survivor.join(), Ok(ExitValue::Completed(value)) if value.downcast_ref() == Some(&0i32))
        );
        for victim in victims {
            let ended = victim.join();
            assert!(matches!(ended, Ok(ExitValue::Killed(KillReason::Requested))), "{ended:?}");
        }
        assert_eq!(shared.memory.atomic_notify(64, u32::MAX), Ok(0), "they are gone");
    });
}

pub(crate) fn races() {
    const WAITERS: usize = 3;
    const WAITS: i64 = 300;
    leaves_nothing(|| {
        let shared = Shared::new();
        let waiting = shared.clone();
        let left = Arc::new(AtomicU32::new(WAITERS as u32));
        let (notified, told) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        let counts = (notified.clone(), told.clone());
        in_tasks(WAITERS + 1, move |number| {
            let (notified, told) = &counts;
            if number == WAITERS {
                while left.load(Ordering::Acquire) != 0 {
                    let woken = waiting.memory.atomic_notify(64, 2).expect("it is in bounds");
                    told.fetch_add(woken, Ordering::Relaxed);
                    task::schedule();
                }
                return;
            }
            for wait in 0..WAITS {
                // From no time at all to more than two ticks.
                let timeout = wait * 7_919 % 2_500_000;
                match waiting.call::<_, i32>("wait32", (64, 0, timeout)).expect("it does not trap") {
                    0 => _ = notified.fetch_add(1, Ordering::Relaxed),
                    result => assert_eq!(result, 2),
                }
            }
            left.fetch_sub(1, Ordering::Release);
        });
        // Everybody who was counted by the notifier was notified, and nobody else.
        assert_eq!(notified.load(Ordering::Relaxed), told.load(Ordering::Relaxed));
    });
}

pub(crate) fn kills_at_any_moment() {
    const VICTIMS: usize = 3;
    const ROUNDS: usize = 40;
    leaves_nothing(|| {
        let shared = Shared::new();
        for round in 0..ROUNDS {
            let victims: Vec<_> = (0..VICTIMS)
                .map(|number| {
                    let victim = shared.clone();
                    let timeout = if number == 0 { 1_500_000 } else { -1i64 };
                    start(move || {
                        loop {
                            victim.call::<_, i32>("wait32", (64, 0, timeout)).expect("it does not trap");
                            task::exit_if_killed();
                        }
                    })
                })
                .collect();
            // They are somewhere else in each round: before, in or after their waits, notified or not.
            for _ in 0..round {
                shared.memory.atomic_notify(64, 1).expect("it is in bounds");
                task::schedule();
            }
            for victim in &victims {
                victim.kill(KillReason::Requested).expect("it has not ended");
            }
            for victim in victims {
                let ended = victim.join();
                assert!(matches!(ended, Ok(ExitValue::Killed(KillReason::Requested))), "{ended:?}");
            }
            assert_eq!(shared.memory.atomic_notify(64, u32::MAX), Ok(0), "they are gone");
        }
    });
}

pub(crate) fn growth() {
    const READERS: usize = 3;
    leaves_nothing(|| {
        let shared = Shared::new();
        let growing = shared.clone();
        let growers = Arc::new(AtomicU32::new(2));
        in_tasks(READERS + 2, move |number| {
            if number < READERS {
                let mut seen = 1;
                while growers.load(Ordering::Acquire) != 0 {
                    let size = growing.call::<_, i32>("size", ()).expect("it does not trap");
                    assert!(size >= seen, "it never shrinks");
                    seen = size;
                    let address = size * WASM_PAGE as i32 - 16 + 4 * number as i32;
                    growing.call::<_, ()>("store", (address, address)).expect("it is in bounds");
                    assert_eq!(growing.call::<_, i32>("load", address).expect("it is in bounds"), address);
                }
                return;
            }
            while growing.call::<_, i32>("grow", 1).expect("it does not trap") >= 0 {}
            growers.fetch_sub(1, Ordering::Release);
        });
        assert_eq!(shared.memory.size(), 16);
        assert!(shared.memory.grow(1).is_err());
    });
}

pub(crate) fn no_frames_left() {
    /// So many frames are left: for the module and the like, and for some pages of the memory.
    const LEFT: usize = 8 * WASM_PAGE / PAGE_SIZE;
    leaves_nothing(|| {
        let shared = Shared::new();
        {
            let _ballast = Ballast::leaving_to_guests(LEFT);
            let mut size = 1;
            while shared.memory.grow(1).is_ok_and(|old| old == size) {
                size += 1;
            }
            assert!((2..16).contains(&size), "it grew to {size} pages");
            assert_eq!(shared.memory.size(), size, "the growth that failed has changed nothing");
            let engine = shared.module.engine();
            assert!(SharedMemory::new(engine, MemoryType::shared(16, 16)).is_err());
        }
        assert!(shared.memory.grow(1).is_ok(), "there is memory again");
    });
}

pub(crate) fn programs() {
    let output = run_program("wasm_run", &["--invoke", "run_for", "/guests/wait.cwasm", "20000000"]);
    assert_eq!((output.ending, &*output.stdout), (Ending::Status(0), "2\n"), "{}", output.stderr);
    leaves_nothing(|| {
        let running = Running::start("wasm_run", &["/guests/wait.cwasm"], 1 << 10);
        // It waits for this and that before, but not for long.
        let mut since = Instant::now();
        while since.elapsed() < Duration::from_millis(30) {
            if running.task().runstate() != RunState::Blocked {
                since = Instant::now();
            }
            task::schedule();
        }
        running.task().kill(KillReason::Requested).expect("it has not ended");
        assert_eq!(running.finish().ending, Ending::Killed(KillReason::Requested.to_string()));
    });
}
