//! Who runs next: round robin among the tasks that are ready, on each CPU by itself.
//!
//! A queue holds the tasks that are ready to run on its CPU and do not run now; blocked tasks are in none. The running
//! task keeps its CPU until it blocks, calls [`schedule`], or has had [`TIMESLICE_TICKS`]. A task stays on the CPU it was
//! first queued on.
//!
//! A task that is preempted after it said that it blocks, but before it called [`schedule`], is on its way to look whether
//! what it waits for has happened meanwhile: it stays in the queue, and leaves it when it calls [`schedule`] itself.

use crate::TaskRef;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicUsize, Ordering};
use cpu::CpuId;
use irq_safety::hold_interrupts;
use run_queue::RunQueue;
use sync_irq::IrqSafeMutex;
use task_struct::{ExposedTask, RunState};

/// How many CPUs the kernel can schedule for.
const MAX_CPUS: usize = 64;
/// How many timer ticks of a millisecond a task runs before the next one's turn.
pub const TIMESLICE_TICKS: u32 = 8;

/// What the scheduler knows about one CPU.
struct CpuQueue {
    /// The tasks that are ready and do not run. Its lock also guards the `ready` flags of all tasks whose home this is.
    queue: IrqSafeMutex<RunQueue<ExposedTask>>,
    /// The queue's length, to be read without the lock.
    length: AtomicUsize,
    /// What runs when nothing is ready; null before the CPU has such a task.
    idle_task: AtomicPtr<ExposedTask>,
    /// How many ticks the running task has left.
    ticks_left: AtomicU32,
}

impl CpuQueue {
    const fn new() -> Self {
        CpuQueue {
            queue: IrqSafeMutex::new(RunQueue::new()),
            length: AtomicUsize::new(0),
            idle_task: AtomicPtr::new(core::ptr::null_mut()),
            ticks_left: AtomicU32::new(TIMESLICE_TICKS),
        }
    }
}

static QUEUES: [CpuQueue; MAX_CPUS] = [const { CpuQueue::new() }; MAX_CPUS];
/// A `fn()`; null before [`set_timer_tick_hook`].
static TICK_HOOK: AtomicPtr<()> = AtomicPtr::new(core::ptr::null_mut());

fn queue_of(cpu: u32) -> &'static CpuQueue {
    // CPUs are numbered from 0 on, and bringing one up checks that there is a queue for it.
    &QUEUES[cpu as usize % MAX_CPUS]
}

/// Puts a task that just became runnable where its CPU will find it. Does nothing if it is there, or runs.
pub(crate) fn make_ready(task: &Arc<ExposedTask>) {
    let internals = task.internals();
    let home = internals.home_cpu.load(Ordering::Relaxed);
    let cpu_queue = queue_of(home);
    let mut queue = cpu_queue.queue.lock();
    // A running task is `ready` until the scheduler, under this lock, finds that it is not runnable.
    if !internals.ready.swap(true, Ordering::Relaxed) {
        // SAFETY: a task that is ready has not exited, so the list of all tasks keeps it; it is in no other queue, since
        // it was not ready.
        unsafe { queue.push(NonNull::from(&**task)) };
        cpu_queue.length.store(queue.len(), Ordering::Relaxed);
    }
    drop(queue);
    let idle = cpu_queue.idle_task.load(Ordering::Relaxed);
    if core::ptr::eq(crate::current_pointer(), idle) {
        // Nothing is lost by running the task at once.
        cpu::request_reschedule();
    }
}

/// Lets another task run if one is ready; returns when it is the caller's turn again, true if any other ran meanwhile. A
/// caller that is blocked ([`TaskRef::block`]) only gets a turn after somebody unblocked it.
///
/// Does nothing while preemption is forbidden on this CPU, or before there are tasks.
///
/// Interrupts are as the caller had them when this returns. It must not be called from an interrupt handler.
pub fn schedule() -> bool {
    let interrupts = hold_interrupts();
    let switched = switch_to_next(Why::Called);
    drop(interrupts);
    switched
}

/// Why another task shall run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// The running task called the scheduler.
    Called,
    /// Its time is up.
    Preempted,
}

/// [`schedule`] with interrupts off already.
pub(crate) fn switch_to_next(why: Why) -> bool {
    let current = crate::current_pointer();
    if current.is_null() || cpu::preemption_count() != 0 {
        return false;
    }
    // SAFETY: the current task's pointer is that of a task that lives while it runs.
    let previous = unsafe { &*current };
    let cpu = cpu::current_cpu();
    let cpu_queue = queue_of(cpu.value());
    cpu::clear_reschedule();
    cpu_queue.ticks_left.store(TIMESLICE_TICKS, Ordering::Relaxed);
    let next = {
        let mut queue = cpu_queue.queue.lock();
        let stays = match previous.task.runstate() {
            RunState::Runnable => true,
            // See the module's documentation.
            RunState::Blocked => why == Why::Preempted,
            _ => false,
        };
        if stays {
            if !previous.task.is_an_idle_task {
                // SAFETY: it runs, so it is in no queue, and the list of all tasks keeps it.
                unsafe { queue.push(NonNull::from(previous)) };
            }
        } else {
            previous.internals().ready.store(false, Ordering::Relaxed);
        }
        let next = queue.pop();
        cpu_queue.length.store(queue.len(), Ordering::Relaxed);
        next.or_else(|| NonNull::new(cpu_queue.idle_task.load(Ordering::Relaxed)))
    };
    let Some(next) = next else {
        // Nothing is ready and there is no idle task yet: the caller must look again.
        previous.internals().ready.store(true, Ordering::Relaxed);
        return false;
    };
    if core::ptr::eq(next.as_ptr(), current) {
        return false;
    }
    // SAFETY: what comes out of the queue is ready, so it has not exited and lives; idle tasks live forever.
    let next = unsafe { next.as_ref() };
    let (from, to) = (previous.internals(), next.internals());
    to.set_running_on_cpu(Some(cpu));
    // SAFETY: interrupts are off. The next task's pointers were set when it was made and are freed only after it exited; its
    // saved stack pointer was stored when it last left a CPU, or by `spawn`, and is used once: from here on it runs.
    let came_from = unsafe {
        cpu::set_current_task(
            core::ptr::from_ref(next).cast(),
            to.extended_state.load(Ordering::Relaxed) as *mut u8,
        );
        context_switch::set_fs_base(to.fs_base.load(Ordering::Relaxed));
        context_switch::context_switch(
            from.saved_sp.as_ptr(),
            to.saved_sp.load(Ordering::Acquire),
            current as usize,
        )
    };
    finish_switch(came_from);
    true
}

/// The first thing that a task does after a switch: says that the task which ran before it has left the CPU.
///
/// `came_from` is the token of the switch. `spawn`'s entry point calls this too; everybody else comes from
/// [`schedule`].
pub fn finish_switch(came_from: usize) {
    let pointer = came_from as *const ExposedTask;
    // SAFETY: the token is the pointer of the task that ran until the switch. It is not reaped before it is marked as having
    // left the CPU, below.
    let previous = unsafe { &*pointer };
    let internals = previous.internals();
    // If the joiner frees it, it may be gone as soon as it is marked, so this is looked at first.
    let for_reaper = internals.left_to_reaper_task();
    internals.set_running_on_cpu(None);
    if for_reaper {
        crate::exit::leave_to_reaper(NonNull::from(previous));
    }
}

/// Accounts for a timer tick on this CPU. For the timer's interrupt handler.
pub fn timer_tick() {
    let pointer = TICK_HOOK.load(Ordering::Acquire);
    if !pointer.is_null() {
        // SAFETY: only `set_timer_tick_hook` writes the slot, and only `fn()`s.
        let hook = unsafe { core::mem::transmute::<*mut (), fn()>(pointer) };
        hook();
    }
    // Before there are tasks, nobody's time passes.
    let _ = crate::with_current_task(|task| task.internals().ticks.fetch_add(1, Ordering::Relaxed));
    let cpu_queue = queue_of(cpu::current_cpu().value());
    let left = cpu_queue.ticks_left.load(Ordering::Relaxed);
    if left > 1 {
        cpu_queue.ticks_left.store(left - 1, Ordering::Relaxed);
    } else {
        cpu::request_reschedule();
    }
}

/// Says what is called at every timer tick, in the interrupt handler: it must not allocate, free or wait.
pub fn set_timer_tick_hook(hook: fn()) {
    TICK_HOOK.store(hook as *mut (), Ordering::Release);
}

/// Whether another task than the current one is ready on this CPU. If not, preemption would change nothing.
pub(crate) fn others_are_ready() -> bool {
    queue_of(cpu::current_cpu().value()).length.load(Ordering::Relaxed) != 0
}

/// Starts the running task's timeslice anew.
pub(crate) fn restart_timeslice() {
    queue_of(cpu::current_cpu().value()).ticks_left.store(TIMESLICE_TICKS, Ordering::Relaxed);
}

/// Makes a task that has not run yet the one that `cpu` runs when no other is ready. It must never block or exit.
pub fn set_idle_task(cpu: CpuId, task: &TaskRef) {
    task.internals().home_cpu.store(cpu.value(), Ordering::Relaxed);
    task.internals().ready.store(true, Ordering::Relaxed);
    task.internals().set_runstate(RunState::Runnable);
    queue_of(cpu.value()).idle_task.store(Arc::as_ptr(task.exposed()).cast_mut(), Ordering::Release);
}

/// Makes a task that has not run yet ready, on its pinned CPU or else on the least busy one.
pub fn add_task(task: TaskRef) {
    assign_home(&task);
    // A task that was made ready before stays where it is.
    let _ = task.unblock();
}

/// Chooses the CPU of a task that has not been ready yet: the one it is bound to, or else the least busy one.
pub fn assign_home(task: &TaskRef) {
    let cpu = task.pinned_cpu().unwrap_or_else(crate::least_busy_cpu);
    task.internals().home_cpu.store(cpu.value(), Ordering::Relaxed);
}

/// Makes a task that has not run yet ready on a CPU.
pub fn add_task_to(cpu: CpuId, task: TaskRef) {
    task.internals().home_cpu.store(cpu.value(), Ordering::Relaxed);
    // A task that was made ready before stays where it is.
    let _ = task.unblock();
}

/// Makes a task that has not run yet ready on this CPU.
pub fn add_task_to_current(task: TaskRef) {
    add_task_to(cpu::current_cpu(), task);
}

/// Binds a task that has not been ready yet to a CPU.
pub fn pin(cpu: CpuId, task: &TaskRef) {
    task.internals().home_cpu.store(cpu.value(), Ordering::Relaxed);
    task.internals().pinned.store(true, Ordering::Relaxed);
}

/// How many tasks wait for their turn on a CPU; `None` if there is no such CPU.
pub fn busyness(cpu: CpuId) -> Option<usize> {
    (cpu.value() < cpu::cpu_count()).then(|| queue_of(cpu.value()).length.load(Ordering::Relaxed))
}

/// The tasks that are ready or running, by CPU.
pub fn tasks() -> Vec<(CpuId, Vec<TaskRef>)> {
    let mut lists: Vec<(CpuId, Vec<TaskRef>)> =
        (0..cpu::cpu_count()).filter_map(|id| Some((CpuId::try_from(id).ok()?, Vec::new()))).collect();
    for (_, weak) in crate::all_tasks() {
        let Some(task) = weak.upgrade().filter(|task| task.is_runnable()) else { continue };
        let home = task.internals().home_cpu.load(Ordering::Relaxed) as usize;
        if let Some((_, list)) = lists.get_mut(home) {
            list.push(task);
        }
    }
    lists
}
