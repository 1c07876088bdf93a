//! What was counted at one moment, and what has happened since another one.

use crate::{counted, duration};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::time::Duration;
use cpu::CpuId;
use task_list::{Entry, Kind, State};
use time::Instant;

/// Bytes in a frame, and in a MiB.
const FRAME: usize = 4096;
const MIB: usize = 1 << 20;
/// How many CPUs fit on a line.
const CPUS_PER_LINE: usize = 6;

/// What was counted.
pub(crate) struct Sample {
    at: Instant,
    /// Time without anything to do, by CPU.
    idle: Vec<Duration>,
    tasks: Vec<Entry>,
}

/// Tenths of a percent.
struct PerMille(u128);

impl PerMille {
    fn of(part: Duration, whole: Duration) -> Self {
        PerMille((part.as_nanos() * 1000 / whole.as_nanos().max(1)).min(1000))
    }
}

impl core::fmt::Display for PerMille {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.pad(&format!("{}.{}%", self.0 / 10, self.0 % 10))
    }
}

impl Sample {
    pub fn now() -> Self {
        let cpus = (0..cpu::cpu_count()).filter_map(|number| CpuId::try_from(number).ok());
        Sample {
            at: Instant::now(),
            idle: cpus.map(task::scheduler::idle_time).collect(),
            tasks: task_list::all(),
        }
    }

    /// What to show, in at most `limit` lines: the CPUs and what has run since `before`, the busiest task first.
    pub fn report_since(&self, before: &Sample, limit: Option<usize>) -> Vec<String> {
        let elapsed = self.at - before.at;
        let mut lines = Vec::new();
        let in_state = |state| self.tasks.iter().filter(|task| task.state == state).count();
        lines.push(format!(
            "up {}  {}: {} running, {} ready, {} blocked",
            duration(self.at - Instant::ZERO),
            counted(self.tasks.len(), "task"),
            in_state(State::Running),
            in_state(State::Ready),
            in_state(State::Blocked),
        ));
        let (frames, heap) = (frame_allocator::statistics(), heap::statistics());
        lines.push(format!(
            "memory {} MiB, free {} MiB, heap {} MiB of which in use {} MiB",
            frames.total * FRAME / MIB,
            frames.free * FRAME / MIB,
            heap.mapped.div_ceil(MIB),
            heap.in_use.div_ceil(MIB),
        ));
        let busy: Vec<String> = self
            .idle
            .iter()
            .enumerate()
            .map(|(number, idle)| {
                let idle_before = before.idle.get(number).copied().unwrap_or_default();
                let idle = idle.saturating_sub(idle_before);
                format!("cpu{number} {:>6}", PerMille::of(elapsed.saturating_sub(idle), elapsed))
            })
            .collect();
        lines.extend(busy.chunks(CPUS_PER_LINE).map(|line| line.join("  ")));
        lines.push(format!(
            "{:>5}  {:>3}  {:<8}  {:>6}  {:>10}  {:>6}  NAME",
            "ID", "CPU", "STATE", "BUSY", "TIME", "MEM"
        ));
        lines.extend(self.busiest_since(before).into_iter().map(|(ran, task)| {
            format!(
                "{:>5}  {:>3}  {:<8}  {:>6}  {:>10}  {:>6}  {}",
                task.id,
                task.cpu.map_or(String::from("-"), |cpu| format!("{cpu}")),
                task.state,
                PerMille::of(ran, elapsed),
                duration(task.cpu_time),
                task.memory.div_ceil(1024),
                task.name,
            )
        }));
        lines.truncate(limit.unwrap_or(usize::MAX));
        lines
    }

    /// The tasks but for the idle ones, with the time they ran since `before`, the busiest first.
    fn busiest_since(&self, before: &Sample) -> Vec<(Duration, &Entry)> {
        let time_before = |id| {
            let found = before.tasks.binary_search_by_key(&id, |task| task.id);
            found.map_or(Duration::ZERO, |index| before.tasks[index].cpu_time)
        };
        let tasks = self.tasks.iter().filter(|task| task.kind != Kind::Idle);
        let mut tasks: Vec<_> =
            tasks.map(|task| (task.cpu_time.saturating_sub(time_before(task.id)), task)).collect();
        tasks.sort_by_key(|(ran, task)| (Reverse(*ran), task.id));
        tasks
    }
}
