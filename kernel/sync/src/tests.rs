//! Tests of the locks with a flavor that counts how its contexts are entered and left.

use super::*;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

thread_local! {
    /// How many contexts of `Counted` the current thread is in.
    static DEPTH: Cell<isize> = const { Cell::new(0) };
}

/// Enters nothing, but knows how often.
struct Counted;

struct CountedGuard;

impl Drop for CountedGuard {
    fn drop(&mut self) {
        DEPTH.set(DEPTH.get() - 1);
    }
}

impl DeadlockPrevention for Counted {
    type Guard = CountedGuard;
    const EXPENSIVE: bool = true;

    fn enter() -> CountedGuard {
        DEPTH.set(DEPTH.get() + 1);
        CountedGuard
    }
}

type TestMutex<T> = Mutex<T, Counted>;
type TestRwLock<T> = RwLock<T, Counted>;

#[test]
fn mutex_excludes_and_loses_no_update() {
    static COUNTER: TestMutex<(u64, u64)> = TestMutex::new((0, 0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..20_000 {
                    let mut both = COUNTER.lock();
                    assert_eq!(both.0, both.1, "another thread was seen between the two additions");
                    both.0 += 1;
                    both.1 += 1;
                }
                assert_eq!(DEPTH.get(), 0);
            });
        }
    });
    assert_eq!(*COUNTER.lock(), (80_000, 80_000));
}

#[test]
fn try_lock_fails_exactly_while_held_and_leaves_the_context() {
    let mutex = TestMutex::new(5);
    let guard = mutex.lock();
    assert!(mutex.is_locked());
    assert!(mutex.try_lock().is_none());
    assert_eq!(DEPTH.get(), 1, "only the held guard's context");
    drop(guard);
    assert_eq!(DEPTH.get(), 0);
    *mutex.try_lock().expect("it is free") += 1;
    assert!(!mutex.is_locked());
    assert_eq!(mutex.into_inner(), 6);
}

#[test]
fn unwinding_releases_the_lock_and_the_context() {
    let mutex = TestMutex::new(1);
    let result = catch_unwind(AssertUnwindSafe(|| {
        let _guard = mutex.lock();
        panic!("on purpose");
    }));
    assert!(result.is_err());
    assert!(!mutex.is_locked());
    assert_eq!(DEPTH.get(), 0);
}

#[test]
fn works_for_unsized_values() {
    let boxed: Box<TestMutex<[u8]>> = Box::new(TestMutex::new([1, 2, 3]));
    boxed.lock()[1] = 9;
    assert_eq!(&*boxed.lock(), &[1, 9, 3]);
    let boxed: Box<TestRwLock<dyn Fn() -> u8 + Send>> = Box::new(TestRwLock::new(|| 7));
    assert_eq!((boxed.read())(), 7);
}

#[test]
fn guard_knows_its_mutex() {
    let mutex = TestMutex::new(0);
    let guard = mutex.lock();
    assert!(core::ptr::eq(guard.mutex(), &mutex));
}

#[test]
fn debug_never_waits() {
    let mutex = TestMutex::new(3);
    assert_eq!(format!("{mutex:?}"), "Mutex(3)");
    let _guard = mutex.lock();
    assert_eq!(format!("{mutex:?}"), "Mutex(<locked>)");
    let lock = TestRwLock::new(4);
    let _guard = lock.write();
    assert_eq!(format!("{lock:?}"), "RwLock(<locked>)");
}

#[test]
fn rw_lock_admits_many_readers_or_one_writer() {
    let lock = TestRwLock::new(1);
    let first = lock.read();
    let second = lock.try_read().expect("readers share");
    assert_eq!(lock.reader_count(), 2);
    assert!(lock.try_write().is_none());
    drop(first);
    assert!(lock.try_write().is_none());
    drop(second);
    let writer = lock.try_write().expect("it is free");
    assert_eq!((lock.writer_count(), lock.reader_count()), (1, 0));
    assert!(lock.try_read().is_none());
    drop(writer);
    assert_eq!(DEPTH.get(), 0);
}

#[test]
fn rw_lock_readers_never_see_half_a_write() {
    static PAIR: TestRwLock<(u64, u64)> = TestRwLock::new((0, 0));
    static DONE: AtomicBool = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    for _ in 0..5_000 {
                        let mut pair = PAIR.write();
                        pair.0 += 1;
                        pair.1 += 1;
                    }
                })
            })
            .collect();
        for _ in 0..2 {
            scope.spawn(|| {
                while !DONE.load(Ordering::Relaxed) {
                    let pair = PAIR.read();
                    assert_eq!(pair.0, pair.1);
                    drop(pair);
                    std::thread::yield_now();
                }
            });
        }
        for writer in writers {
            writer.join().expect("a writer panicked");
        }
        DONE.store(true, Ordering::Relaxed);
    });
    assert_eq!(*PAIR.read(), (10_000, 10_000));
}

/// A flavor that records what `post_unlock` is told.
struct Recording;

static LAST_RELEASES: AtomicUsize = AtomicUsize::new(0);

impl RwLockFlavor for Recording {
    const INIT: () = ();
    type LockData = ();
    type Guard = ();

    fn try_read<'a, T: ?Sized>(
        rw_lock: &'a spin::RwLock<T>,
        _: &'a (),
    ) -> Option<(spin::RwLockReadGuard<'a, T>, ())> {
        rw_lock.try_read().map(|inner| (inner, ()))
    }

    fn try_write<'a, T: ?Sized>(
        rw_lock: &'a spin::RwLock<T>,
        _: &'a (),
    ) -> Option<(spin::RwLockWriteGuard<'a, T>, ())> {
        rw_lock.try_write().map(|inner| (inner, ()))
    }

    fn read<'a, T: ?Sized>(rw_lock: &'a spin::RwLock<T>, _: &'a ()) -> (spin::RwLockReadGuard<'a, T>, ()) {
        (rw_lock.read(), ())
    }

    fn write<'a, T: ?Sized>(rw_lock: &'a spin::RwLock<T>, _: &'a ()) -> (spin::RwLockWriteGuard<'a, T>, ()) {
        (rw_lock.write(), ())
    }

    fn post_unlock(_: &(), is_free: bool) {
        if is_free {
            LAST_RELEASES.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[test]
fn only_the_last_reader_reports_a_free_lock() {
    let lock = RwLock::<u8, Recording>::new(0);
    let readers = [lock.read(), lock.read(), lock.read()];
    let [first, second, third] = readers;
    drop(first);
    drop(second);
    assert_eq!(LAST_RELEASES.load(Ordering::Relaxed), 0);
    drop(third);
    assert_eq!(LAST_RELEASES.load(Ordering::Relaxed), 1);
    drop(lock.write());
    assert_eq!(LAST_RELEASES.load(Ordering::Relaxed), 2);
}
