//! What a panic does to a task, and what it does not do to others.

use crate::drops::{Noted, assert_nothing_left};
use alloc::{format, string::ToString, sync::Arc, vec::Vec};
use core::{
    fmt,
    hint::black_box,
    sync::atomic::{AtomicUsize, Ordering},
};
use task::{ExitValue, JoinableTaskRef, KillReason, PanicInfoOwned};

/// Starts a task that calls `f`.
pub(crate) fn start<R: Send + 'static>(f: impl FnOnce() -> R + Send + 'static) -> JoinableTaskRef {
    spawn::new_task_builder(|f| f(), f)
        .name("test_unwind".to_string())
        .spawn()
        .expect("there is memory for a task")
}

/// Why the task that calls `f` ends before its time.
pub(crate) fn killed<R: Send + 'static>(f: impl FnOnce() -> R + Send + 'static) -> KillReason {
    match start(f).join() {
        Ok(ExitValue::Killed(reason)) => reason,
        other => panic!("the task was not killed: {other:?}"),
    }
}

/// The panic that ends the task which calls `f`.
fn panic_of<R: Send + 'static>(f: impl FnOnce() -> R + Send + 'static) -> PanicInfoOwned {
    match killed(f) {
        KillReason::Panic(info) => info,
        reason => panic!("the task did not panic: {reason}"),
    }
}

pub(crate) fn panic_ends_the_task() {
    let log = Arc::new(spin::Mutex::new(Vec::new()));
    let task_log = log.clone();
    let line = line!() + 3;
    let info = panic_of(move || {
        let _noted = Noted(&task_log, 1);
        panic!("in a task")
    });
    assert_eq!((info.msg.as_str(), info.line), ("in a task", line));
    assert!(info.file.ends_with("tasks.rs"));
    assert_eq!(*log.lock(), [1]);
    assert_eq!(Arc::strong_count(&log), 1, "what the closure owned was dropped");
    match start(|| 5).join() {
        Ok(ExitValue::Completed(value)) => assert_eq!(value.downcast_ref(), Some(&5)),
        other => panic!("another task was disturbed: {other:?}"),
    }
}

pub(crate) fn no_unwinding() {
    extern "C" fn forbids_unwinding(n: u32) {
        if black_box(n) == 1 {
            panic!("in an extern \"C\" function");
        }
    }

    let info = panic_of(|| black_box(forbids_unwinding as extern "C" fn(u32))(1));
    assert_eq!(info.msg, "panic in a function that cannot unwind");
}

pub(crate) fn panic_in_drop() {
    struct Panics;

    impl Drop for Panics {
        fn drop(&mut self) {
            panic!("in a drop");
        }
    }

    // Alone it is a panic like any other.
    assert_eq!(panic_of(|| drop(Panics)).msg, "in a drop");
    let info = panic_of(|| {
        let _panics = Panics;
        panic!("first")
    });
    assert_eq!(info.msg, "panic in a destructor during cleanup");
}

pub(crate) fn panic_in_message() {
    struct Panics;

    impl fmt::Display for Panics {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            panic!("in a message")
        }
    }

    assert_eq!(panic_of(|| panic!("{}", Panics)).msg, "");
}

pub(crate) fn memory_comes_back() {
    assert_nothing_left(1_000, || {
        let info = panic_of(|| {
            let _owned = black_box(alloc::vec![1u8; 10_000]);
            panic!("gives back memory")
        });
        assert_eq!(info.msg, "gives back memory");
    });
}

pub(crate) fn many_at_once() {
    const TASKS: usize = 8;
    const PANICS: usize = 25;

    let caught = Arc::new(AtomicUsize::new(0));
    let tasks: Vec<_> = (0..TASKS)
        .map(|number| {
            let caught = caught.clone();
            start(move || {
                for round in 0..PANICS {
                    let expected = format!("task {number}, round {round}");
                    let message = crate::drops::message_of(|| panic!("task {number}, round {round}"));
                    assert_eq!(message, expected);
                    caught.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for task in tasks {
        match task.join() {
            Ok(ExitValue::Completed(_)) => {}
            other => panic!("a task has failed: {other:?}"),
        }
    }
    assert_eq!(caught.load(Ordering::Relaxed), TASKS * PANICS);
}
