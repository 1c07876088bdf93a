//! What unwinding does to the values on a stack.

use alloc::{
    boxed::Box,
    format,
    string::{String, ToString},
    sync::Arc,
    vec::Vec,
};
use catch_unwind::{catch_unwind, catch_unwind_with_arg, resume_unwind, resume_unwind_with};
use core::{
    fmt,
    hint::black_box,
    sync::atomic::{AtomicUsize, Ordering},
};
use task::KillReason;

/// Writes down that it was dropped.
pub(crate) struct Noted<'a>(pub(crate) &'a spin::Mutex<Vec<u32>>, pub(crate) u32);

impl Drop for Noted<'_> {
    fn drop(&mut self) {
        self.0.lock().push(self.1);
    }
}

/// The message of a panic that `f` does not return from.
pub(crate) fn message_of(f: impl FnOnce()) -> String {
    let payload = catch_unwind(f).expect_err("it panics");
    *payload.downcast::<String>().expect("a panic's payload is its message")
}

pub(crate) fn in_order() {
    #[inline(never)]
    fn recurse(log: &spin::Mutex<Vec<u32>>, depth: u32) {
        let _first = Noted(log, depth * 10);
        let _second = Noted(log, depth * 10 + 1);
        if depth == 3 {
            panic!("at depth {}", black_box(depth));
        }
        recurse(log, depth + 1);
        black_box(log);
    }

    let log = spin::Mutex::new(Vec::new());
    assert_eq!(message_of(|| recurse(&log, 1)), "at depth 3");
    assert_eq!(*log.lock(), [31, 30, 21, 20, 11, 10]);
}

pub(crate) fn across_crates() {
    /// Panics in the middle of `core::fmt`.
    struct Panics<'a>(Noted<'a>);

    impl fmt::Display for Panics<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            let _inner = Noted(self.0.0, 1);
            // Through the formatting code of `core` once more.
            f.debug_list().entry(&PanicsToo(self.0.0)).finish()
        }
    }

    struct PanicsToo<'a>(&'a spin::Mutex<Vec<u32>>);

    impl fmt::Debug for PanicsToo<'_> {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            let _innermost = Noted(self.0, 0);
            panic!("within core::fmt")
        }
    }

    let log = spin::Mutex::new(Vec::new());
    let message = message_of(|| {
        let panics = Panics(Noted(&log, 2));
        black_box(format!("{panics}"));
    });
    assert_eq!(message, "within core::fmt");
    assert_eq!(*log.lock(), [0, 1, 2]);

    // Through a crate that is loaded at run time, and the loader in the base image, with a guard in between.
    let here = across_crates as *const () as usize;
    let message = message_of(|| {
        stack_trace::symbolize(here, &mut |_| panic!("within symbolize"));
    });
    assert_eq!(message, "within symbolize");
    let mut known = false;
    stack_trace::symbolize(here, &mut |_| known = true);
    assert!(known, "the loader answers again");
}

pub(crate) fn message_and_place() {
    let line = line!() + 1;
    let reason = catch_unwind_with_arg(|n: u32| panic!("number {n}"), 7).expect_err("it panics");
    let KillReason::Panic(info) = reason else { panic!("it is a panic") };
    assert_eq!(info.msg, "number 7");
    assert!(info.file.ends_with("drops.rs"), "{}", info.file);
    assert_eq!(info.line, line);
    assert!(info.column > 0);
    assert_eq!(catch_unwind_with_arg(|n: u32| n + 1, 7).expect("it returns"), 8);

    let nothing: Option<u32> = black_box(None);
    assert_eq!(message_of(|| _ = nothing.unwrap()), "called `Option::unwrap()` on a `None` value");
    let (array, index) = black_box(([1, 2, 3], 3));
    assert_eq!(
        message_of(|| _ = black_box(array[index])),
        "index out of bounds: the len is 3 but the index is 3"
    );
}

pub(crate) fn payloads() {
    let payload = catch_unwind(|| resume_unwind_with(Box::new(42u64))).expect_err("it was thrown");
    assert_eq!(payload.downcast_ref(), Some(&42u64));
    // Something that owns something, to be dropped once.
    let shared = Arc::new(());
    let payload = catch_unwind(|| resume_unwind_with(Box::new(shared.clone()))).expect_err("it was thrown");
    assert_eq!(Arc::strong_count(&shared), 2);
    drop(payload);
    assert_eq!(Arc::strong_count(&shared), 1);
}

pub(crate) fn pass_on_a_kill() {
    let log = spin::Mutex::new(Vec::new());
    let reason = catch_unwind_with_arg(
        |()| {
            let _outer = Noted(&log, 2);
            let reason = catch_unwind_with_arg(
                |()| {
                    let _inner = Noted(&log, 1);
                    resume_unwind(KillReason::Requested)
                },
                (),
            );
            let Err(reason) = reason;
            resume_unwind(reason)
        },
        (),
    );
    let Err(reason) = reason;
    assert!(matches!(reason, KillReason::Requested), "{reason}");
    assert_eq!(*log.lock(), [1, 2]);
    let Err(payload) = catch_unwind(|| resume_unwind(KillReason::Exception(3)));
    assert!(matches!(payload.downcast_ref(), Some(KillReason::Exception(3))));
}

pub(crate) fn nested_and_caught() {
    struct Careful<'a>(&'a AtomicUsize);

    impl Drop for Careful<'_> {
        fn drop(&mut self) {
            assert_eq!(message_of(|| panic!("second")), "second");
            self.0.store(unwind::panic_depth(), Ordering::Relaxed);
        }
    }

    let depth = AtomicUsize::new(0);
    let message = message_of(|| {
        let _careful = Careful(&depth);
        panic!("first")
    });
    assert_eq!(message, "first");
    assert_eq!(depth.into_inner(), 1, "the first one was on its way");
    assert_eq!(unwind::panic_depth(), 0);
}

pub(crate) fn out_of_memory() {
    // More than there is address space for a heap.
    let size: usize = black_box(1 << 46);
    let message = message_of(|| _ = black_box(Vec::<u8>::with_capacity(size)));
    assert_eq!(message, format!("out of memory: no room for {size} bytes"));
}

pub(crate) fn deep_recursion() {
    #[inline(never)]
    fn recurse(depth: usize, dropped: &AtomicUsize) -> usize {
        struct Counted<'a>(&'a AtomicUsize);

        impl Drop for Counted<'_> {
            fn drop(&mut self) {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }

        let _counted = Counted(dropped);
        if depth == 0 {
            panic!("at the bottom");
        }
        recurse(black_box(depth - 1), dropped) + 1
    }

    let dropped = AtomicUsize::new(0);
    assert_eq!(message_of(|| _ = black_box(recurse(999, &dropped))), "at the bottom");
    assert_eq!(dropped.into_inner(), 1_000);
}

pub(crate) fn many_panics() {
    let panic_once = || {
        let owned = black_box(Box::new([7u8; 1024]));
        // Not a panic, which would be reported in the log, but all else of one.
        let payload = catch_unwind(|| {
            let owned = black_box(owned);
            resume_unwind_with(Box::new(owned[0].to_string()))
        });
        let Err(payload) = payload;
        assert_eq!(payload.downcast_ref::<String>().map(String::as_str), Some("7"));
    };
    assert_nothing_left(10_000, panic_once);
}

pub(crate) fn locks_are_released() {
    let mutex = spin::Mutex::new(1);
    let rwlock = spin::RwLock::new(2);
    message_of(|| {
        let _guards = (mutex.lock(), rwlock.write());
        panic!("with locks held")
    });
    assert_eq!(*mutex.try_lock().expect("it was released"), 1);
    assert_eq!(*rwlock.try_write().expect("it was released"), 2);
}

/// Calls `f` often, and checks that there is as much free memory afterwards as before.
///
/// The heap keeps what it has got, so the first rounds only show how much that is.
pub(crate) fn assert_nothing_left(times: usize, mut f: impl FnMut()) {
    let mut round = || {
        let before = free_frames();
        for _ in 0..times / 4 {
            f();
        }
        before as isize - free_frames() as isize
    };
    let lost = [round(), round(), round(), round()];
    assert!(lost[1..].iter().any(|lost| *lost <= 0), "frames lost in each quarter: {lost:?}");
}

/// Number of frames that nobody has.
pub(crate) fn free_frames() -> usize {
    frame_allocator::statistics().free
}
