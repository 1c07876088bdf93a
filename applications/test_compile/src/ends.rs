//! Compilations that end before their time.

use crate::wasm::{engine, engine_with, large, module, small};
use alloc::boxed::Box;
use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicUsize, Ordering};
use ktest_system::leaves_nothing;
use sleep::Duration;
use task::{ExitValue, JoinableTaskRef, KillReason};
use time::Instant;
use wasm_engine::{CompileError, CompileErrorKind, CompileLimits, Engine, Error, Module};

/// What kind of error it is.
fn kind(error: &Error) -> CompileErrorKind {
    match error.downcast_ref::<CompileError>() {
        Some(error) => error.kind,
        None => panic!("not of compiling: {error:?}"),
    }
}

/// An engine with these limits.
fn limited(limits: CompileLimits) -> Engine {
    engine_with(|config| {
        config.compile_limits(limits);
    })
}

pub(crate) fn limit_on_memory() {
    /// Of memory, in bytes: enough for a small module, and not for a large one.
    const MEMORY: usize = 4 << 20;
    for tasks in [1, 3] {
        let engine = engine_with(|config| {
            config.compile_limits(CompileLimits { memory: MEMORY, ..CompileLimits::default() });
            config.compile_tasks(tasks);
        });
        let (small, large) = (small(), large());
        leaves_nothing(|| {
            let error = engine.precompile_module(&large).expect_err("it needs more");
            assert_eq!(kind(&error), CompileErrorKind::Limit, "{error}");
            assert_eq!(
                error.to_string(),
                "compiling it needs more than 4 MiB of memory; allow more with --max-compile-memory"
            );
            Module::new(&engine, &small).expect("it needs little");
        });
    }
    // Whatever the limit is, it is kept, at whatever point of the compilation it is passed.
    let wasm = module(20, 200);
    let mut passed = 0;
    for kib in [0, 100, 300, 700, 1500, 3000, 6000, 50_000] {
        let engine = limited(CompileLimits { memory: kib << 10, ..CompileLimits::default() });
        leaves_nothing(|| match engine.precompile_module(&wasm) {
            Ok(_) => passed += 1,
            Err(error) => assert_eq!(kind(&error), CompileErrorKind::Limit, "{kib} KiB: {error}"),
        });
    }
    assert!(passed > 0, "nothing could be compiled with 50 MB");
}

pub(crate) fn limit_on_functions() {
    let engine = limited(CompileLimits { function_size: 1000, ..CompileLimits::default() });
    let error = engine.precompile_module(&module(3, 70)).expect_err("its functions are larger");
    assert_eq!(kind(&error), CompileErrorKind::Limit);
    let text = error.to_string();
    assert!(text.starts_with("function 0 has a body of 1"), "{text}");
    assert!(
        text.ends_with(", and the limit is 1000; split it, or allow larger ones with --max-function-size"),
        "{text}"
    );
    engine.precompile_module(&module(3, 10)).expect("its functions are smaller");
}

/// Starts a task.
fn start(name: &str, work: impl FnOnce() + Send + 'static) -> JoinableTaskRef {
    let work: Box<dyn FnOnce() + Send> = Box::new(work);
    spawn::new_task_builder(|work: Box<dyn FnOnce() + Send>| work(), work)
        .name(name.to_string())
        .spawn()
        .expect("there is memory for a task")
}

/// The tasks that compile.
fn workers() -> Vec<task::TaskRef> {
    let tasks = task::all_tasks().into_iter().filter_map(|(_, task)| task.upgrade());
    tasks.filter(|task| task.name == "wasm_worker").collect()
}

/// Waits until so many tasks compile, and then some more.
fn wait_for_workers(count: usize, more: Duration) {
    while workers().len() < count {
        task::schedule();
    }
    sleep::sleep(more).expect("a task can sleep");
}

pub(crate) fn requester_killed() {
    /// What a person takes for at once.
    const PROMPT: Duration = Duration::from_millis(200);
    let wasm: Arc<[u8]> = large().into();
    // So that the compiler stays.
    let keep = engine();
    keep.precompile_module(&small()).expect("it is valid");
    for (tasks, wait) in [(1, 0), (1, 30), (1, 150), (3, 100), (3, 250)] {
        leaves_nothing(|| {
            let wasm = wasm.clone();
            let requester = start("compiles", move || {
                let engine = engine_with(|config| {
                    config.compile_tasks(tasks);
                });
                let _ = engine.precompile_module(&wasm);
                panic!("it was not killed in time");
            });
            wait_for_workers(1, Duration::from_millis(wait));
            let killed = Instant::now();
            requester.kill(KillReason::Requested).expect("it has not ended");
            let ended = requester.join();
            assert!(matches!(ended, Ok(ExitValue::Killed(KillReason::Requested))), "{ended:?}");
            let took = killed.elapsed();
            assert!(took < PROMPT, "{took:?} with {tasks} workers after {wait} ms");
            assert_eq!(workers().len(), 0);
        });
        keep.precompile_module(&small()).expect("the next one is compiled");
    }
}

pub(crate) fn killed_while_loading() {
    leaves_nothing(|| {
        for wait in [0, 1, 2, 3, 5, 8, 13, 21, 34, 55] {
            let requester = start("compiles", || {
                let engine = engine();
                for _ in 0..1000 {
                    engine.precompile_module(&small()).expect("it is valid");
                }
            });
            sleep::sleep(Duration::from_millis(wait)).expect("a task can sleep");
            requester.kill(KillReason::Requested).expect("it takes longer than that");
            let ended = requester.join();
            assert!(matches!(ended, Ok(ExitValue::Killed(KillReason::Requested))), "{ended:?}");
        }
    });
    engine().precompile_module(&small()).expect("the next one is compiled");
}

pub(crate) fn worker_killed() {
    let wasm: Arc<[u8]> = large().into();
    let engine = engine();
    // With several CPUs the work may be done before the kill: then it was not in time, and is tried again sooner.
    let in_time = [30, 20, 10, 5, 3, 2, 1, 0].into_iter().any(|wait| {
        let (for_task, result) = ((engine.clone(), wasm.clone()), Arc::new(AtomicUsize::new(0)));
        let into = result.clone();
        let requester = start("compiles", move || match for_task.0.precompile_module(&for_task.1) {
            Ok(_) => into.store(2, Ordering::Relaxed),
            Err(error) => {
                assert_eq!(kind(&error), CompileErrorKind::System, "{error}");
                assert_eq!(error.to_string(), "a task of the compiler was killed; compile again");
                into.store(1, Ordering::Relaxed);
            }
        });
        wait_for_workers(1, Duration::from_millis(wait));
        for worker in workers() {
            let _ = worker.kill(KillReason::Requested);
        }
        let ended = requester.join();
        assert!(matches!(ended, Ok(ExitValue::Completed(_))), "{ended:?}");
        assert_ne!(result.load(Ordering::Relaxed), 0);
        result.load(Ordering::Relaxed) == 1
    });
    assert!(in_time, "no worker could be killed before it was done");
    engine.precompile_module(&small()).expect("the next one is compiled");
}

pub(crate) fn progress_panics() {
    let wasm: Arc<[u8]> = large().into();
    leaves_nothing(|| {
        let wasm = wasm.clone();
        let requester = start("compiles", move || {
            let engine = engine_with(|config| {
                config.compile_progress(Some(Arc::new(|_| panic!("seen enough"))));
            });
            let _ = engine.precompile_module(&wasm);
        });
        let ended = requester.join();
        assert!(
            matches!(&ended, Ok(ExitValue::Killed(KillReason::Panic(info))) if info.msg == "seen enough"),
            "{ended:?}"
        );
        assert_eq!(workers().len(), 0);
    });
}

pub(crate) fn others_go_on() {
    /// Milliseconds that the other task sleeps each time.
    const NAP: u64 = 5;
    let engine = engine();
    let wasm: Arc<[u8]> = large().into();
    let compiles = start("compiles", move || {
        engine.precompile_module(&wasm).expect("it is valid");
    });
    let (started, mut naps, mut longest) = (Instant::now(), 0, Duration::from_millis(0));
    while !compiles.has_exited() {
        let before = Instant::now();
        sleep::sleep(Duration::from_millis(NAP)).expect("a task can sleep");
        longest = longest.max(before.elapsed());
        naps += 1;
    }
    let took = started.elapsed();
    assert!(matches!(compiles.join(), Ok(ExitValue::Completed(_))));
    assert!(naps > 20, "{naps} naps of {NAP} ms in {took:?}, the longest took {longest:?}");
}
