//! Which CPU runs what.

use crate::{Over, Random, cpu_number, cpus, in_tasks, start, start_on, value_of, wait_for};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::hint::{black_box, spin_loop};
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use core::time::Duration;
use task::{JoinableTaskRef, scheduler};
use time::Instant;

/// Starts as many tasks that never wait, and note in the set `seen` where they run.
fn spinners(count: usize, over: &Over, seen: &Arc<AtomicU64>) -> Vec<JoinableTaskRef> {
    (0..count)
        .map(|_| {
            let (over, seen) = (over.clone(), seen.clone());
            start(move || {
                while !over.is() {
                    seen.fetch_or(cpu::current_cpu().bit(), Ordering::Relaxed);
                    spin_loop();
                }
            })
        })
        .collect()
}

pub fn all_cpus_run_tasks() {
    assert_eq!(cpu::online_cpus().count_ones() as usize, cpus());
    for number in 0..cpus() {
        let there = cpu_number(number);
        let task = start_on(there, || {
            let running_on = task::with_current_task(|task| task.running_on_cpu());
            assert_eq!(running_on, Ok(Some(cpu::current_cpu())));
            cpu::current_cpu()
        });
        assert_eq!(value_of::<cpu::CpuId>(&task), there);
    }
}

pub fn work_spreads() {
    let (over, seen) = (Over::default(), Arc::default());
    let tasks = spinners(2 * cpus(), &over, &seen);
    wait_for("all CPUs to run one of the tasks", || seen.load(Ordering::Relaxed) == cpu::online_cpus());
    over.declare();
    tasks.iter().for_each(value_of::<()>);
}

pub fn pinned_tasks_stay() {
    let over = Over::default();
    let tasks: Vec<_> = (0..3 * cpus())
        .map(|number| {
            let (over, there) = (over.clone(), cpu_number(number));
            start_on(there, move || {
                let mut turns = 0_u64;
                while !over.is() {
                    assert_eq!(cpu::current_cpu(), there);
                    turns += 1;
                    if turns.is_multiple_of(100) {
                        task::schedule();
                    }
                }
                turns
            })
        })
        .collect();
    let _ = sleep::sleep(Duration::from_millis(200));
    over.declare();
    for task in &tasks {
        assert!(value_of::<u64>(task) > 0);
    }
}

pub fn shares_are_equal() {
    let (over, seen) = (Over::default(), Arc::default());
    // One more than there are CPUs: without balancing two of them would share one.
    let tasks = spinners(cpus() + 1, &over, &seen);
    let _ = sleep::sleep(Duration::from_millis(2000));
    let times: Vec<_> = tasks.iter().map(|task| scheduler::cpu_time(task).as_millis()).collect();
    over.declare();
    tasks.iter().for_each(value_of::<()>);
    let (least, most) = (times.iter().min().unwrap(), times.iter().max().unwrap());
    // Two that always share one CPU get half of what the others get. Emulated CPUs come and go themselves.
    assert!(least * 2 > *most, "milliseconds of equal tasks: {times:?}");
}

pub fn registers_survive_moves() {
    let moves = Arc::new(AtomicUsize::new(0));
    let count = moves.clone();
    in_tasks(2 * cpus() + 1, move |number| {
        let mut last = cpu::current_cpu();
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(400) {
            // What these leave in registers, vector registers among them, is the same wherever and however often it is
            // interrupted.
            let (once, again) = (compute(number), compute(number));
            assert_eq!(once, again, "a register changed");
            let here = cpu::current_cpu();
            if here != last {
                count.fetch_add(1, Ordering::Relaxed);
                last = here;
            }
            task::schedule();
        }
    });
    assert!(cpus() == 1 || moves.load(Ordering::Relaxed) > 0, "no task ever moved, so nothing was tested");
}

/// Floating-point numbers and integers in long chains.
#[inline(never)]
fn compute(seed: usize) -> ([u64; 8], u64) {
    let mut floats = [0.0; 8];
    for (index, float) in floats.iter_mut().enumerate() {
        *float = black_box((seed * 8 + index) as f64);
    }
    let mut random = Random::new(seed);
    let mut sum = 0;
    for _ in 0..20_000 {
        for float in &mut floats {
            *float = *float * 1.000_000_1 + 0.5;
        }
        sum += random.below(1000) as u64;
    }
    (floats.map(f64::to_bits), sum)
}

pub fn time_adds_up() {
    let (over, seen) = (Over::default(), Arc::default());
    let all = || -> Duration {
        let tasks = task::all_tasks();
        tasks.iter().filter_map(|(_, task)| task.upgrade()).map(|task| scheduler::cpu_time(&task)).sum()
    };
    let tasks = spinners(cpus() + 2, &over, &seen);
    let (start, before) = (Instant::now(), all());
    let _ = sleep::sleep(Duration::from_millis(300));
    let (after, elapsed) = (all(), start.elapsed());
    over.declare();
    tasks.iter().for_each(value_of::<()>);
    // At each moment each CPU runs one task, idle tasks included. Whatever runs while this is added up makes a difference.
    let (used, there) = ((after - before).as_millis(), (elapsed * cpus() as u32).as_millis());
    assert!(used.abs_diff(there) <= there / 5, "{cpus} CPUs, {used} of {there} ms", cpus = cpus());
}
