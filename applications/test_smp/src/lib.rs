//! Tests of several CPUs at once, in the running kernel: `make run SMP=4 CMD=test_smp`.
//!
//! With one CPU the same tests run as far as they make sense there: tasks then take turns instead of running at once.
//! Nothing here depends on how long something takes, except that what never happens is given up after half a minute.
#![no_std]

extern crate alloc;

mod balance;
mod shootdown;
mod storms;
mod wakeups;

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use cpu::CpuId;
use ktest_system::value_of;
use task::JoinableTaskRef;

/// Runs the tests; 0 if none failed.
pub fn main(_args: Vec<String>) -> isize {
    ktest::run(
        "smp",
        &[
            ("all CPUs run tasks", balance::all_cpus_run_tasks),
            ("work spreads over all CPUs", balance::work_spreads),
            ("a pinned task stays where it is", balance::pinned_tasks_stay),
            ("tasks that never wait get the same time", balance::shares_are_equal),
            ("registers survive moves", balance::registers_survive_moves),
            ("CPU time is neither lost nor made", balance::time_adds_up),
            ("a task is woken on an idle CPU by another", wakeups::by_interrupt),
            ("wake-ups from all sides are not lost", wakeups::from_all_sides),
            ("a kill reaches a task on another CPU", wakeups::kills),
            ("a page unmapped on one CPU faults on another", shootdown::unmapped),
            ("a page protected on one CPU faults on another", shootdown::protected),
            ("a page mapped anew shows its new content", shootdown::remapped),
            ("a CPU that idled has forgotten, too", shootdown::dozing),
            ("CPUs that unmap at the same time", shootdown::at_the_same_time),
            ("tasks allocate and free for each other", storms::heap),
            ("tasks map and unmap", storms::mappings),
            ("tasks are spawned, joined, killed and orphaned", storms::tasks),
            ("crates come and go", storms::crates),
            ("guests trap while others are loaded and dropped", storms::guests),
            ("guests are killed on all CPUs", storms::kills_of_guests),
        ],
    )
}

/// How many CPUs there are.
fn cpus() -> usize {
    cpu::cpu_count() as usize
}

/// The CPU with this number, counted modulo how many there are.
fn cpu_number(number: usize) -> CpuId {
    CpuId::try_from((number % cpus()) as u32).expect("there are that many")
}

/// A CPU other than `cpu`, if there is one.
fn another_than(cpu: CpuId) -> CpuId {
    cpu_number(cpu.value() as usize + 1)
}

/// The name of tasks that are not bound to a CPU.
const TASK: &str = "test_smp task";

/// Starts a task.
fn start<R: Send + 'static>(f: impl FnOnce() -> R + Send + 'static) -> JoinableTaskRef {
    ktest_system::start(TASK, f)
}

/// Starts a task that only `cpu` runs.
fn start_on<R: Send + 'static>(cpu: CpuId, f: impl FnOnce() -> R + Send + 'static) -> JoinableTaskRef {
    spawn::new_task_builder(|f| f(), f)
        .name(alloc::format!("test_smp task of CPU {cpu}"))
        .pin_on_cpu(cpu)
        .spawn()
        .expect("memory for a task")
}

/// Runs `f` in `count` tasks at once, which it is given the numbers of, and returns their results.
fn in_tasks<R: Send + 'static>(count: usize, f: impl Fn(usize) -> R + Send + Sync + 'static) -> Vec<R> {
    ktest_system::in_tasks(TASK, count, f)
}

/// Lets others run until `condition`.
fn wait_for(what: &str, condition: impl Fn() -> bool) {
    const PATIENCE: Duration = Duration::from_secs(30);
    let start = time::Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "waited in vain for: {what}");
        task::schedule();
    }
}

/// Whether a test is over, for tasks that go on until it is.
#[derive(Clone, Default)]
struct Over(Arc<AtomicBool>);

impl Over {
    fn is(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    fn declare(&self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Numbers that look random: xorshift64.
struct Random(u64);

impl Random {
    fn new(seed: usize) -> Self {
        Random(0x9E37_79B9_7F4A_7C15 ^ (seed as u64 + 1).wrapping_mul(0xBF58_476D_1CE4_E5B9))
    }

    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 8) as usize % bound
    }
}
