//! Several tasks and the loader.

use alloc::{sync::Arc, vec::Vec};
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};

use task::{ExitValue, JoinableTaskRef};

use crate::sample::{CRATE_START, Sample, State, THREAD_START};

/// A task that calls functions it is given, so that they run in a task that is older than they are.
struct Worker {
    desk: Arc<Desk>,
    task: JoinableTaskRef,
}

/// Where the worker gets its work.
#[derive(Default)]
struct Desk {
    started: AtomicBool,
    /// Address of a `fn() -> u32` to call, or 0.
    job: AtomicUsize,
    result: AtomicU32,
    quit: AtomicBool,
}

impl Worker {
    fn start() -> Self {
        let desk = Arc::new(Desk::default());
        let task = spawn::new_task_builder(work, desk.clone()).spawn().expect("a task can be made");
        while !desk.started.load(Ordering::Acquire) {
            task::schedule();
        }
        Worker { desk, task }
    }

    /// Lets the worker call `function`.
    fn call(&self, function: fn() -> u32) -> u32 {
        self.desk.job.store(function as usize, Ordering::Release);
        while self.desk.job.load(Ordering::Acquire) != 0 {
            task::schedule();
        }
        self.desk.result.load(Ordering::Relaxed)
    }

    fn end(self) {
        self.desk.quit.store(true, Ordering::Release);
        expect_completed(self.task);
    }
}

fn work(desk: Arc<Desk>) {
    desk.started.store(true, Ordering::Release);
    while !desk.quit.load(Ordering::Acquire) {
        let job = desk.job.load(Ordering::Acquire);
        if job != 0 {
            // SAFETY: `Worker::call` stores the address of a function of this type, and keeps it loaded until the job is 0.
            let function = unsafe { core::mem::transmute::<usize, fn() -> u32>(job) };
            desk.result.store(function(), Ordering::Relaxed);
            desk.job.store(0, Ordering::Release);
        }
        task::schedule();
    }
}

fn expect_completed(task: JoinableTaskRef) {
    match task.join().expect("the task can be joined") {
        ExitValue::Completed(_) => {}
        ExitValue::Killed(reason) => panic!("the task was killed: {reason:?}"),
    }
}

pub fn a_running_task_sees_a_later_crate() {
    let worker = Worker::start();
    for _ in 0..3 {
        let sample = Sample::load();
        let count: fn() -> u32 = sample.function("loader_sample::count_in_thread");
        assert_eq!(worker.call(count), THREAD_START, "the initial value is in a task that was there before");
        assert_eq!(worker.call(count), THREAD_START + 1);
        assert_eq!(count(), THREAD_START, "this task has a variable of its own");
        assert_eq!(worker.call(count), THREAD_START + 2);
        assert_eq!(sample.sum_of_zeros(7), 0);
        assert_eq!(sample.sum_of_zeros(0), 7 * 15);
        let later = Worker::start();
        assert_eq!(later.call(count), THREAD_START, "a task that came after the crate");
        later.end();
    }
    worker.end();
}

pub fn tasks_load_at_the_same_time() {
    const TASKS: usize = 3;
    const ROUNDS: usize = 10;
    drop(Sample::load());
    let before = State::now();
    let tasks: Vec<JoinableTaskRef> = (0..TASKS)
        .map(|_| {
            let load = |()| {
                for _ in 0..ROUNDS {
                    let sample = Sample::load();
                    assert_eq!(sample.count_in_crate(), CRATE_START);
                    assert_eq!(sample.count_in_thread(), THREAD_START);
                    task::schedule();
                    assert_eq!(sample.count_in_crate(), CRATE_START + 1);
                }
            };
            spawn::new_task_builder(load, ()).spawn().expect("a task can be made")
        })
        .collect();
    tasks.into_iter().for_each(expect_completed);
    before.assert_same_now();
}
