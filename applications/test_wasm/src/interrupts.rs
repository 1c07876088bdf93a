//! Guests that are to end and are in the middle of something: killed, or because their deadlines have passed.
//!
//! How fast that goes is for a benchmark to show; here it is enough that it happens, and that nothing is left.

use crate::guest::{engine, module, start, trap_of};
use alloc::boxed::Box;
use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use core::time::Duration;
use io::ImmutableRead;
use ktest_system::{Ending, Running, leaves_nothing, run_program};
use stdio::Stdio;
use sync_block::Mutex;
use task::{ExitValue, JoinableTaskRef, KillReason};
use time::Instant;
use wait_queue::WaitQueue;
use wasm_engine::{Caller, Error, Func, Instance, Module, Result, Store, Trap, WasmParams, WasmResults};

/// What takes longer does not end.
const NEVER: Duration = Duration::from_secs(60);

const MS: Duration = Duration::from_millis(1);

/// Pages of WebAssembly in a memory that it takes a while to fill, and that any machine has: 128 MiB.
const MANY_PAGES: i32 = 2048;

/// Functions that never end, and what is called before.
const ENDLESS: [(&str, Option<(&str, i32)>); 14] = [
    ("spin", None),
    ("spin_calling", None),
    ("spin_in_host", None),
    ("fills", Some(("grow", MANY_PAGES))),
    ("copies", Some(("grow", MANY_PAGES))),
    ("inits", None),
    ("small_fills", None),
    ("grows_by_nothing", None),
    ("table_fills", Some(("grow_table", 1_000_000))),
    ("table_copies", Some(("grow_table", 1_000_000))),
    ("table_inits", None),
    ("table_grows_by_nothing", None),
    ("throws", None),
    ("spin", Some(("grow", MANY_PAGES))),
];

struct Guest {
    store: Store<()>,
    instance: Instance,
}

impl Guest {
    /// Its host function is `host`.
    fn of(module: &Module, host: impl Fn(Caller<'_, ()>) -> Result<()> + Send + Sync + 'static) -> Self {
        let mut store = Store::new(module.engine(), ());
        let host = Func::wrap(&mut store, host);
        let instance = Instance::new(&mut store, module, &[host.into()]).expect("it imports one function");
        Self { store, instance }
    }

    fn call<P: WasmParams, R: WasmResults>(&mut self, name: &str, params: P) -> Result<R> {
        let function = self.instance.get_typed_func::<P, R>(&mut self.store, name);
        function.unwrap_or_else(|error| panic!("{name}: {error}")).call(&mut self.store, params)
    }

    fn prepare(&mut self, before: Option<(&str, i32)>) {
        if let Some((name, argument)) = before {
            let old = self.call::<_, i32>(name, argument).expect("it does not trap");
            assert!(old >= 0, "there is memory for {name}({argument})");
        }
    }
}

fn expect_interrupt(name: &str, begin: Instant, result: Result<()>) -> Error {
    let error = result.expect_err(name);
    assert_eq!(trap_of(&error), Trap::Interrupt, "{name}");
    assert!(begin.elapsed() < NEVER, "{name}");
    error
}

/// Kills a task and waits for its end.
fn kill(task: JoinableTaskRef, what: &str) {
    let begin = Instant::now();
    task.kill(KillReason::Requested).unwrap_or_else(|_| panic!("{what} has ended by itself"));
    let ended = task.join();
    assert!(matches!(ended, Ok(ExitValue::Killed(KillReason::Requested))), "{what}: {ended:?}");
    assert!(begin.elapsed() < NEVER, "{what}");
}

/// Lets others run for so long.
fn pass(time: Duration) {
    sleep::sleep(time).expect("it can sleep");
}

pub(crate) fn deadlines() {
    let module = module(&engine(), "test_interrupt");
    leaves_nothing(|| {
        for (name, before) in ENDLESS {
            let mut guest = Guest::of(&module, |_| Ok(()));
            guest.prepare(before);
            for _ in 0..2 {
                let begin = Instant::now();
                guest.store.set_deadline(Some(10 * MS));
                let error = expect_interrupt(name, begin, guest.call(name, ()));
                assert!(begin.elapsed() >= 10 * MS);
                assert!(format!("{error:?}").contains("test_interrupt!"), "{error:?}");
                // It is over until there is another one.
                expect_interrupt("return", begin, guest.call("return", ()));
                guest.store.set_deadline(None);
                guest.call::<_, ()>("return", ()).expect("there is time");
            }
        }
    });
}

pub(crate) fn deadlines_in_many_tasks() {
    const TASKS: u64 = 6;
    const ROUNDS: u64 = 20;
    let module = module(&engine(), "test_interrupt");
    leaves_nothing(|| {
        let tasks: Vec<_> = (0..TASKS)
            .map(|number| {
                let module = module.clone();
                start(move || {
                    let mut guest = Guest::of(&module, |_| Ok(()));
                    for round in 0..ROUNDS {
                        let timeout = Duration::from_micros(number * 1500 + round * 100);
                        let name = ["spin", "spin_calling", "spin_in_host"][(number + round) as usize % 3];
                        let begin = Instant::now();
                        guest.store.set_deadline(Some(timeout));
                        expect_interrupt(name, begin, guest.call(name, ()));
                        assert!(begin.elapsed() >= timeout);
                    }
                })
            })
            .collect();
        for task in tasks {
            let ended = task.join();
            assert!(matches!(ended, Ok(ExitValue::Completed(_))), "{ended:?}");
        }
    });
}

pub(crate) fn deadlines_of_nested_stores() {
    let module = module(&engine(), "test_interrupt");
    let inner_module = module.clone();
    let mut outer = Guest::of(&module, move |_| {
        let mut inner = Guest::of(&inner_module, |_| Ok(()));
        // The inner store's time passes first, then that of the outer one, while the inner one spins.
        inner.store.set_deadline(Some(5 * MS));
        expect_interrupt("inner", Instant::now(), inner.call("spin", ()));
        inner.store.set_deadline(None);
        expect_interrupt("inner", Instant::now(), inner.call("spin", ()));
        Ok(())
    });
    let begin = Instant::now();
    outer.store.set_deadline(Some(100 * MS));
    expect_interrupt("outer", begin, outer.call("call_host", ()));
    assert!(begin.elapsed() >= 100 * MS);
}

pub(crate) fn kills() {
    let module = module(&engine(), "test_interrupt");
    leaves_nothing(|| {
        for (name, before) in ENDLESS {
            let running = Arc::new(AtomicBool::new(false));
            let (runs, module) = (running.clone(), module.clone());
            let task = start(move || {
                let mut guest = Guest::of(&module, |_| Ok(()));
                guest.prepare(before);
                runs.store(true, Ordering::Relaxed);
                guest.call::<_, ()>(name, ()).expect_err(name)
            });
            while !running.load(Ordering::Relaxed) {
                assert!(!task.has_exited(), "{name}: {:?}", task.join());
                pass(MS);
            }
            pass(3 * MS);
            kill(task, name);
        }
    });
}

pub(crate) fn kills_while_memory_is_made() {
    let engine = engine();
    let module = module(&engine, "test_interrupt");
    leaves_nothing(|| {
        for moment in 0..6 {
            let module = module.clone();
            let task = start(move || {
                let mut guest = Guest::of(&module, |_| Ok(()));
                loop {
                    guest.prepare(Some(("grow", MANY_PAGES)));
                    guest = Guest::of(&module, |_| Ok(()));
                }
            });
            pass(MS + moment * 7 * MS);
            kill(task, "a guest that grows");
        }
        // A growth that is interrupted has not happened.
        let mut guest = Guest::of(&module, |_| Ok(()));
        guest.store.set_deadline(Some(Duration::ZERO));
        let memory = guest.instance.get_memory(&mut guest.store, "memory").expect("it is exported");
        assert_eq!(trap_of(&memory.grow(&mut guest.store, 100).expect_err("no time")), Trap::Interrupt);
        guest.store.set_deadline(None);
        assert_eq!(guest.call::<_, i32>("grow", 100).expect("there is time"), 1);
    });
}

/// Guests in host functions that wait, each in another way. All end when they are killed, and what the host function owns is
/// dropped.
pub(crate) fn kills_in_host_functions_that_wait() {
    struct Counted(Arc<AtomicU32>);
    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    type Wait = Box<dyn Fn() + Send + Sync>;
    let module = module(&engine(), "test_interrupt");
    leaves_nothing(|| {
        let queue = Arc::new(WaitQueue::new());
        let mutex = Arc::new(Mutex::new(()));
        let stdio = Stdio::new();
        let (sender, receiver) = sync_channel::new_channel::<u32>(1);
        let (full, _not_read) = sync_channel::new_channel::<u32>(1);
        full.send(1).expect("there is room");
        let other = Arc::new(start(|| sleep::sleep(Duration::MAX).expect("it can sleep")));
        let (of_queue, of_mutex, reader, joined) =
            (queue.clone(), mutex.clone(), stdio.get_reader(), other.clone());
        let waits: Vec<(&str, Wait)> = Vec::from([
            ("sleep", Box::new(|| sleep::sleep(Duration::MAX).expect("it can sleep")) as Wait),
            ("wait queue", Box::new(move || of_queue.wait_until(|| None))),
            ("mutex", Box::new(move || drop(of_mutex.lock()))),
            ("full channel", Box::new(move || full.send(2).expect("somebody could read it"))),
            (
                "empty channel",
                Box::new(move || {
                    let _ = receiver.receive();
                }),
            ),
            (
                "standard input",
                Box::new(move || {
                    let _ = reader.read(&mut [0]);
                }),
            ),
            ("join", Box::new(move || drop(joined.join()))),
            ("waker", Box::new(|| waker::new_waker().1.block())),
        ]);
        let locked = mutex.lock();
        let count = waits.len() as u32;
        let drops = Arc::new(AtomicU32::new(0));
        for (what, wait) in waits {
            let entered = Arc::new(AtomicBool::new(false));
            let (enters, module, drops) = (entered.clone(), module.clone(), drops.clone());
            let task = start(move || {
                let mut guest = Guest::of(&module, move |_| {
                    let _owned = Counted(drops.clone());
                    enters.store(true, Ordering::Relaxed);
                    wait();
                    Ok(())
                });
                guest.call::<_, ()>("call_host", ()).expect("it does not trap");
            });
            while !entered.load(Ordering::Relaxed) {
                pass(MS);
            }
            pass(3 * MS);
            kill(task, what);
        }
        assert_eq!(drops.load(Ordering::Relaxed), count);
        assert_eq!(queue.waiting(), 0);
        drop(locked);
        drop(mutex.lock());
        other.kill(KillReason::Requested).expect("it sleeps");
        assert!(matches!(other.join(), Ok(ExitValue::Killed(_))));
        drop((sender, stdio));
    });
}

/// What `wasm_run --timeout` ends: guests that run, that wait, that are being made.
pub(crate) fn programs() {
    leaves_nothing(|| {
        for (args, file) in [
            (&["--timeout", "50ms", "/guests/spin.cwasm"][..], "/guests/spin.cwasm"),
            (&["--timeout=50ms", "/guests/wait.cwasm"], "/guests/wait.cwasm"),
        ] {
            let begin = Instant::now();
            let output = run_program("wasm_run", args);
            assert_eq!((output.ending, &*output.stdout), (Ending::Status(124), ""));
            assert_eq!(
                output.stderr,
                format!("wasm_run: {file}: not done within 50ms; allow more with --timeout\n")
            );
            assert!(begin.elapsed() >= 50 * MS && begin.elapsed() < NEVER);
        }
        let output =
            run_program("wasm_run", &["--timeout", "1h", "--invoke", "fib", "/guests/fib.cwasm", "20"]);
        assert_eq!((output.ending, &*output.stdout), (Ending::Status(0), "6765\n"));
        // One that is killed while its time runs.
        let running = Running::start("wasm_run", &["--timeout", "1h", "/guests/spin.cwasm"], 1 << 10);
        pass(20 * MS);
        running.task().kill(KillReason::Requested).expect("it has not ended");
        assert!(matches!(running.finish().ending, Ending::Killed(_)));
    });
}

/// Ctrl-C ends all tasks of a program.
pub(crate) fn control_c() {
    const CTRL_C: u8 = 3;
    leaves_nothing(|| {
        let running = Running::start("wasm_run", &["/guests/spin.cwasm"], 1 << 10);
        let program = running.task().app_crate.clone().expect("it is a program");
        let tasks = || -> Vec<task::TaskRef> {
            let all = task::all_tasks().into_iter().filter_map(|(_, task)| task.upgrade());
            all.filter(|task| task.app_crate.as_ref().is_some_and(|of| Arc::ptr_eq(of, &program))).collect()
        };
        while tasks().len() < 2 {
            pass(MS);
        }
        {
            let tty = tty::Tty::new(Arc::new(Nowhere));
            let _foreground = app_io::Foreground::new(tty.master().discipline(), [&**running.task()]);
            tty.master().write_byte(CTRL_C).expect("it can be typed");
            assert!(tasks().iter().all(|task| task.kill_requested() || task.has_exited()));
        }
        drop(program);
        assert!(matches!(running.finish().ending, Ending::Killed(_)));
    });
}

/// A screen that nobody looks at.
struct Nowhere;

impl io::ImmutableWrite for Nowhere {
    fn write(&self, buffer: &[u8]) -> core::result::Result<usize, io::IoError> {
        Ok(buffer.len())
    }
}
