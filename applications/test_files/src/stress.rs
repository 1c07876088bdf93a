//! Programs that are killed at any moment.

use crate::shell::start;
use crate::streams::Captured;
use crate::{memory_in_use, remove};
use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;
use task::{KillReason, TaskRef};

/// What is killed: loading, linking and unloading, files, streams, faults, guests, and shells in shells.
const LINES: &[&str] = &[
    "cd /tmp; mkdir stress; cp /hello.cwasm stress/a; mv stress/a stress/b; ls -l stress; rm -r stress",
    "cp -r /guests /tmp/stress; ls -l /tmp/stress; rm -r /tmp/stress",
    "wasm_run /hello.cwasm; wasm_run /guests/spin.cwasm",
    "crash panic; crash null; crash undefined; crash stack",
    "shell -c 'wasm_run /hello.cwasm; shell -c ps'; ns",
    "nonesuch; cat /namespaces/symbols.idx; cat",
];
const ROUNDS: u64 = 120;
/// The longest time that a line gets before it is killed, in microseconds: about as long as the longest of them takes.
const LONGEST: u64 = 40_000;
/// How long a killed task may take to end, in milliseconds. It takes microseconds; emulators may pause.
const PATIENCE: u32 = 20_000;

/// The tasks there are with an id from `first` on: those that the test has started, and their children.
fn tasks_from(first: usize) -> Vec<TaskRef> {
    let all = task::all_tasks().into_iter().filter(|(id, _)| *id >= first);
    all.filter_map(|(_, task)| task.upgrade()).filter(|task| !task.has_exited()).collect()
}

/// Kills the tasks with an id from `first` on until there are none: one that dies may just have started another.
fn kill_all_from(first: usize) {
    for _ in 0..PATIENCE {
        let tasks = tasks_from(first);
        if tasks.is_empty() && task::all_tasks().iter().all(|(id, _)| *id < first) {
            return;
        }
        for task in tasks {
            // It may have ended meanwhile.
            let _ = task.kill(KillReason::Requested);
        }
        sleep::sleep(Duration::from_millis(1)).expect("tests can sleep");
    }
    panic!("killed and still there: {:?}", tasks_from(first));
}

pub fn killed_at_any_moment() {
    let mut random = 0x9E37_79B9_7F4A_7C15_u64;
    let mut round = |round: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let captured = Captured::new();
        let line = LINES[(round % LINES.len() as u64) as usize];
        let shell = start(vec!["-c".to_string(), line.to_string()], captured.streams());
        let first = shell.id;
        sleep::sleep(Duration::from_micros(random % LONGEST)).expect("tests can sleep");
        let _ = shell.kill(KillReason::Requested);
        assert!(shell.join().is_ok());
        drop(shell);
        kill_all_from(first);
        remove("stress");
    };
    (0..LINES.len() as u64 * 4).for_each(&mut round);
    let before = memory_in_use();
    (0..ROUNDS).for_each(&mut round);
    let after = memory_in_use();
    let (frames, bytes) = (before.0.saturating_sub(after.0), after.1.saturating_sub(before.1));
    assert!(frames <= 16 && bytes < 4096, "{frames} frames and {bytes} bytes of the heap were lost");
}
