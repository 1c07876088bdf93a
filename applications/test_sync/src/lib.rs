//! In-kernel tests of locks, waiting, channels, clocks, sleep and random numbers.
//!
//! What can be tested on a host is tested there as well, with threads in the place of tasks. Here the tasks are real: they
//! are preempted by the timer in the middle of whatever they do, blocked by the scheduler, and killed while they wait.
//!
//! Lower bounds of times are exact. Upper bounds are very generous, since the time of an emulated machine passes while
//! the emulator does not run.
#![no_std]

extern crate alloc;

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;
use task::{ExitValue, JoinableTaskRef, KillReason};

mod channels;
mod clocks;
mod killing;
mod locks;
mod randomness;
mod waiting;

/// Runs the tests. 0 if none failed.
pub fn main(_args: Vec<String>) -> isize {
    ktest::run(
        "sync",
        &[
            ("spin_mutex_excludes", locks::spin_mutex_excludes),
            ("irq_safe_mutex_excludes", locks::irq_safe_mutex_excludes),
            ("preemption_safe_mutex_excludes", locks::preemption_safe_mutex_excludes),
            ("sleeping_mutex_excludes", locks::sleeping_mutex_excludes),
            ("sleeping_mutex_is_fair_to_a_waiter", locks::sleeping_mutex_is_fair_to_a_waiter),
            ("preemption_is_held_while_locked", locks::preemption_is_held_while_locked),
            ("rw_lock_shares_and_excludes", locks::rw_lock_shares_and_excludes),
            ("rw_lock_wakes_readers_and_writers", locks::rw_lock_wakes_readers_and_writers),
            ("condvar_hands_over_every_item", locks::condvar_hands_over_every_item),
            ("a_panicking_holder_releases_its_lock", locks::a_panicking_holder_releases_its_lock),
            ("wait_queue_ping_pong", waiting::wait_queue_ping_pong),
            ("wait_queue_serves_all_consumers", waiting::wait_queue_serves_all_consumers),
            ("wait_queue_is_first_come_first_served", waiting::wait_queue_is_first_come_first_served),
            ("notify_all_wakes_everybody", waiting::notify_all_wakes_everybody),
            ("wakers_wake", waiting::wakers_wake),
            ("wait_guard_blocks_until_dropped", waiting::wait_guard_blocks_until_dropped),
            ("waits_time_out", waiting::waits_time_out),
            ("channel_keeps_order", channels::channel_keeps_order),
            ("channel_of_many", channels::channel_of_many),
            ("channel_disconnects", channels::channel_disconnects),
            ("sleep_is_never_too_short", clocks::sleep_is_never_too_short),
            ("sleepers_do_not_use_the_cpu", clocks::sleepers_do_not_use_the_cpu),
            ("sleepers_wake_in_order", clocks::sleepers_wake_in_order),
            ("many_sleepers", clocks::many_sleepers),
            ("monotonic_clock_never_goes_back", clocks::monotonic_clock_never_goes_back),
            ("clocks_agree", clocks::clocks_agree),
            ("wall_clock_is_plausible", clocks::wall_clock_is_plausible),
            ("acpi_knows_the_machine", clocks::acpi_knows_the_machine),
            ("random_fills_differ", randomness::random_fills_differ),
            ("random_bits_are_balanced", randomness::random_bits_are_balanced),
            ("random_numbers_of_tasks_differ", randomness::random_numbers_of_tasks_differ),
            ("kill_ends_waits", killing::kill_ends_waits),
            ("kill_drops_what_a_sleeper_owns", killing::kill_drops_what_a_sleeper_owns),
            ("kill_passes_a_notification_on", killing::kill_passes_a_notification_on),
            ("kill_ends_locking", killing::kill_ends_locking),
            ("unwinding_waits_for_locks", killing::unwinding_waits_for_locks),
        ],
    )
}

/// Longer than anything takes that is not broken.
const FOREVER: Duration = Duration::from_secs(60);

/// Starts a task.
fn start<R: Send + 'static>(work: impl FnOnce() -> R + Send + 'static) -> JoinableTaskRef {
    spawn::new_task_builder(
        |work: alloc::boxed::Box<dyn FnOnce() -> R + Send>| work(),
        alloc::boxed::Box::new(work) as _,
    )
    .name(String::from("test_sync worker"))
    .spawn()
    .expect("a task can be made")
}

/// Waits for a task that was made by [`start`] and returns what it returned. A panic in it is one here.
fn finish<R: 'static>(task: JoinableTaskRef) -> R {
    match task.join().expect("it was not joined before") {
        ExitValue::Completed(value) => *value.downcast::<R>().expect("the value is of the function's type"),
        ExitValue::Killed(reason) => panic!("a worker was ended: {reason}"),
    }
}

/// Kills a task and waits for its end, which must be due to that.
fn kill_and_join(task: JoinableTaskRef) {
    task.kill(KillReason::Requested).expect("it can be killed");
    match task.join().expect("it was not joined before") {
        ExitValue::Killed(KillReason::Requested) => {}
        ExitValue::Killed(reason) => panic!("it ended for another reason: {reason}"),
        ExitValue::Completed(_) => panic!("it finished although it was killed"),
    }
}

/// Lets other tasks run until `condition` holds.
fn yield_until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = time::Instant::now();
    while !condition() {
        assert!(start.elapsed() < FOREVER, "waited in vain for: {what}");
        task::schedule();
    }
}

/// Computes for so long that several tasks which do so in turn are preempted.
fn compute(iterations: u32) {
    for iteration in 0..iterations {
        core::hint::black_box(iteration);
    }
}
