//! Waking and ending tasks on other CPUs.

use crate::{Over, another_than, cpu_number, cpus, in_tasks, start_on, value_of, wait_for};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use task::{ExitValue, KillReason, RunState, scheduler};
use wait_queue::WaitQueue;

/// A CPU whose timer does not tick. It ticks again when this is dropped, on the same CPU.
struct NoTicks;

impl NoTicks {
    fn new() -> Self {
        apic::stop_timer();
        NoTicks
    }
}

impl Drop for NoTicks {
    fn drop(&mut self) {
        apic::start_timer_ap(::scheduler::TIMER_VECTOR).expect("it ticked before");
    }
}

pub fn by_interrupt() {
    const ROUNDS: usize = 500;
    if cpus() == 1 {
        return;
    }
    let stay = scheduler::stay_on_this_cpu();
    let turn = Arc::new((AtomicUsize::new(0), WaitQueue::new()));
    let theirs = turn.clone();
    // Without its timer nothing but an interrupt from here makes that CPU look for a task.
    let task = start_on(another_than(stay.cpu()), move || {
        let _no_ticks = NoTicks::new();
        for round in 0..ROUNDS {
            theirs.1.wait_until(|| (theirs.0.load(Ordering::Acquire) == 2 * round + 1).then_some(()));
            theirs.0.store(2 * round + 2, Ordering::Release);
        }
    });
    for round in 0..ROUNDS {
        // Let it wait, and its CPU idle, most of the times.
        if round % 8 != 0 {
            wait_for("the other task to wait", || task.runstate() == RunState::Blocked && !task.is_running());
        }
        turn.0.store(2 * round + 1, Ordering::Release);
        turn.1.notify_all();
        wait_for("an answer", || turn.0.load(Ordering::Acquire) == 2 * round + 2);
    }
    value_of::<()>(&task);
}

pub fn from_all_sides() {
    const ROUNDS: usize = 2_000;
    let tasks = 2 * cpus() + 1;
    // A token goes round; whoever has it is woken by the one before, wherever the two run.
    let ring = Arc::new((AtomicUsize::new(0), (0..tasks).map(|_| WaitQueue::new()).collect::<Vec<_>>()));
    in_tasks(tasks, move |number| {
        for round in 0..ROUNDS {
            let mine = round * tasks + number;
            ring.1[number].wait_until(|| (ring.0.load(Ordering::Acquire) == mine).then_some(()));
            ring.0.store(mine + 1, Ordering::Release);
            ring.1[(number + 1) % tasks].notify_one();
        }
    });
}

pub fn kills() {
    /// Says when it is dropped.
    struct OnDrop(Arc<AtomicBool>);
    impl Drop for OnDrop {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Release);
        }
    }

    for round in 0..200 {
        let (dropped, over) = (Arc::new(AtomicBool::new(false)), Over::default());
        let (on_drop, running) = (OnDrop(dropped.clone()), over.clone());
        let task = start_on(cpu_number(round), move || {
            let _on_drop = on_drop;
            running.declare();
            loop {
                task::exit_if_killed();
                if round % 2 == 0 {
                    task::schedule();
                }
            }
        });
        wait_for("the task to run", || over.is());
        task.kill(KillReason::Requested).expect("it never ends by itself");
        assert!(matches!(task.join(), Ok(ExitValue::Killed(KillReason::Requested))));
        assert!(dropped.load(Ordering::Acquire), "what it owned is left");
    }
}
