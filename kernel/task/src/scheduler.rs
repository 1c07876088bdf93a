//! Who runs next: round robin among the tasks that are ready, on each CPU by itself, and balanced between CPUs.
//!
//! A queue holds the tasks that are ready to run on its CPU and do not run now; blocked tasks are in none. The running
//! task keeps its CPU until it blocks, calls [`schedule`], or has had [`TIMESLICE_TICKS`].
//!
//! A task that is preempted after it said that it blocks, but before it called [`schedule`], is on its way to look whether
//! what it waits for has happened meanwhile: it stays in the queue, and leaves it when it calls [`schedule`] itself.
//!
//! # Balancing
//! * A task that becomes ready goes to its *home*, the CPU where it ran last (for a new one: the least busy). If that is busy and
//!   another one idles, it goes there instead. A CPU that idles is interrupted, so that it looks at once.
//! * A CPU whose queue is empty takes a task from another's queue before it idles.
//! * A busy CPU that has tasks waiting tells an idle one at each tick, and takes one from a longer queue than its own now and then
//!   ([`REBALANCE_TICKS`]), so that tasks that never wait get the same time on all CPUs.
//! * A task that is pinned stays where it is.
//!
//! # Tasks that were asked to end
//! A kill shall not wait for turns. A task that was asked to end and waits for its turn becomes the next on its CPU, and that CPU is
//! interrupted ([`hasten`]); when it gets the CPU, the CPU interrupts itself, so that whoever can end it sees it at its very next
//! instruction and not at the next tick.
//!
//! # Why nothing runs twice, and nobody is forgotten
//! * A task's `ready` flag and its home are guarded by the lock of its home's queue. Ready means: it runs on its home, is in its
//!   home's queue, or whoever made it ready, or took it from a queue, is about to run it or put it into one. Only who finds the
//!   flag false may put the task anywhere.
//! * A task that leaves its CPU is in a queue, or may be put into one, *before* its registers are saved. Only its own CPU takes it
//!   out by then, when the switch is over; all others first see that it does not run any more ([`finish_switch`]).
//! * A CPU says that it idles under its queue's lock, having found the queue empty. Who puts a task there looks afterwards
//!   whether the CPU idles, and if so interrupts it.

use crate::TaskRef;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::marker::PhantomData;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use core::time::Duration;
use cpu::{CpuId, MAX_CPUS};
use irq_safety::hold_interrupts;
use run_queue::RunQueue;
use sync_irq::IrqSafeMutex;
use task_struct::{ExposedTask, RunState};

/// How many timer ticks of a millisecond a task runs before the next one's turn.
pub const TIMESLICE_TICKS: u32 = 8;
/// After how many timer ticks a CPU looks whether more tasks wait on another one than on it.
pub const REBALANCE_TICKS: u32 = 64;

/// What the scheduler knows about one CPU.
#[repr(align(64))]
struct CpuQueue {
    /// The tasks that are ready and do not run. Its lock also guards `ready` and `home_cpu` of all tasks whose home this is.
    queue: IrqSafeMutex<RunQueue<ExposedTask>>,
    /// The queue's length, to be read without the lock.
    length: AtomicUsize,
    /// What runs when nothing is ready; null before the CPU has such a task.
    idle_task: AtomicPtr<ExposedTask>,
    /// How many ticks the running task has left.
    ticks_left: AtomicU32,
    /// How many ticks until the next look for tasks that wait elsewhere.
    rebalance_in: AtomicU32,
    /// What the time stamp counter showed when the running task got the CPU.
    since: AtomicU64,
}

impl CpuQueue {
    const fn new() -> Self {
        CpuQueue {
            queue: IrqSafeMutex::new(RunQueue::new()),
            length: AtomicUsize::new(0),
            idle_task: AtomicPtr::new(core::ptr::null_mut()),
            ticks_left: AtomicU32::new(TIMESLICE_TICKS),
            rebalance_in: AtomicU32::new(REBALANCE_TICKS),
            since: AtomicU64::new(0),
        }
    }
}

static QUEUES: [CpuQueue; MAX_CPUS] = [const { CpuQueue::new() }; MAX_CPUS];
/// The CPUs that run their idle task, and that nobody has interrupted since.
static IDLE_CPUS: AtomicU64 = AtomicU64::new(0);
/// The vector by which CPUs are told that there is something to run; 0 before [`set_reschedule_vector`].
static RESCHEDULE_VECTOR: AtomicU8 = AtomicU8::new(0);
/// The vector by which a CPU is told that the task it runs was asked to end; 0 before [`set_kill_vector`].
static KILL_VECTOR: AtomicU8 = AtomicU8::new(0);
/// A `fn()`; null before [`set_timer_tick_hook`].
static TICK_HOOK: AtomicPtr<()> = AtomicPtr::new(core::ptr::null_mut());

fn queue_of(cpu: CpuId) -> &'static CpuQueue {
    &QUEUES[cpu.index()]
}

/// The CPU in whose queue a task waits, or that runs it.
fn home_of(task: &ExposedTask) -> CpuId {
    let raw = task.internals().home_cpu.load(Ordering::Relaxed);
    // Only the numbers of existing CPUs are stored there.
    CpuId::try_from(raw).unwrap_or_else(|_| cpu::current_cpu())
}

/// Says by which interrupt CPUs tell each other that there is something to run. Its handler calls [`cpu::request_reschedule`].
pub fn set_reschedule_vector(vector: u8) {
    RESCHEDULE_VECTOR.store(vector, Ordering::Release);
}

/// Makes a CPU look for another task to run, at the end of an interrupt.
pub(crate) fn interrupt(cpu: CpuId) {
    if cpu == cpu::current_cpu() {
        cpu::request_reschedule();
        return;
    }
    let vector = RESCHEDULE_VECTOR.load(Ordering::Acquire);
    if vector != 0 {
        apic::send_ipi(cpu, vector);
    }
}

/// Says by which interrupt a CPU is told that the task it runs was asked to end. Its handler shows the task to whoever can end it.
pub fn set_kill_vector(vector: u8) {
    KILL_VECTOR.store(vector, Ordering::Release);
}

/// Tells a CPU, which may be this one, that the task it runs was asked to end.
fn show_kill(cpu: CpuId) {
    let vector = KILL_VECTOR.load(Ordering::Acquire);
    if vector != 0 {
        apic::send_ipi(cpu, vector);
    }
}

/// Sees to it that a task that was asked to end gets to know at once, whether it runs or waits for its turn.
pub(crate) fn hasten(task: &Arc<ExposedTask>) {
    // This task must stay on its CPU between looking which it is and telling it.
    let _interrupts = hold_interrupts();
    let home = loop {
        let home = home_of(task);
        let mut queue = queue_of(home).queue.lock();
        if home_of(task) != home {
            // It moved before the lock was there.
            continue;
        }
        if queue.remove(task) {
            // SAFETY: it was in this queue, so it is ready and has not exited, and the list of all tasks keeps it.
            unsafe { queue.push_front(NonNull::from(&**task)) };
            break home;
        }
        drop(queue);
        // It runs (if it is this task, it looks itself), is about to, when it will see that it was asked to end, or is blocked for
        // somebody to unblock it.
        if let Some(cpu) = task.task.running_on_cpu().filter(|&cpu| cpu != cpu::current_cpu()) {
            show_kill(cpu);
        }
        return;
    };
    interrupt(home);
}

/// Picks one of the `wanted` CPUs that idles, the next one after `near`, and takes it out of the set of those: whoever gets it
/// has to [`interrupt`] it.
fn claim_idle_cpu(wanted: u64, near: CpuId) -> Option<CpuId> {
    let mut idle = IDLE_CPUS.load(Ordering::SeqCst) & wanted;
    while idle != 0 {
        let after = idle & u64::MAX << near.index();
        let cpu = cpu::cpus_in(if after != 0 { after } else { idle }).next()?;
        if IDLE_CPUS.fetch_and(!cpu.bit(), Ordering::SeqCst) & cpu.bit() != 0 {
            return Some(cpu);
        }
        idle &= !cpu.bit();
    }
    None
}

/// Puts a task that just became runnable where a CPU will find it. Does nothing if it is there, or runs.
pub(crate) fn make_ready(task: &Arc<ExposedTask>) {
    // The CPU must not change between here and the interrupt, which may be to itself.
    let _interrupts = hold_interrupts();
    let internals = task.internals();
    let thing = NonNull::from(&**task);
    let home = loop {
        let home = home_of(task);
        let mut queue = queue_of(home).queue.lock();
        if home_of(task) != home {
            // It moved before the lock was there.
            continue;
        }
        // A running task is `ready` until the scheduler, under this lock, finds that it is not runnable.
        if internals.ready.swap(true, Ordering::Relaxed) {
            return;
        }
        // One that has not left its CPU yet must wait there; see the module's documentation.
        let may_move = !internals.pinned.load(Ordering::Relaxed) && !task.task.is_running();
        let home_idles = IDLE_CPUS.load(Ordering::SeqCst) & home.bit() != 0;
        if may_move
            && !home_idles
            && let Some(other) = claim_idle_cpu(!home.bit(), home)
        {
            // From here on the other queue's lock guards it, and it is ready, so nobody else touches it.
            internals.home_cpu.store(other.value(), Ordering::Relaxed);
            drop(queue);
            let mut queue = queue_of(other).queue.lock();
            // SAFETY: as below.
            unsafe { put(&mut queue, thing) };
            queue_of(other).length.store(queue.len(), Ordering::Relaxed);
            drop(queue);
            interrupt(other);
            return;
        }
        // SAFETY: a task that is ready has not exited, so the list of all tasks keeps it; it is in no other queue, since
        // it was not ready.
        unsafe { put(&mut queue, thing) };
        queue_of(home).length.store(queue.len(), Ordering::Relaxed);
        break home;
    };
    if claim_idle_cpu(home.bit(), home).is_some() {
        // Nothing is lost by running the task at once.
        interrupt(home);
    }
}

/// Puts a task that became ready into a queue: at the end, or, if it was asked to end, at the beginning.
///
/// # Safety
/// As `RunQueue::push`.
unsafe fn put(queue: &mut RunQueue<ExposedTask>, task: NonNull<ExposedTask>) {
    // SAFETY: the caller says that it is alive, and all else.
    unsafe {
        if task.as_ref().internals().kill_requested.load(Ordering::Relaxed) {
            queue.push_front(task);
        } else {
            queue.push(task);
        }
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
    let cpu_queue = queue_of(cpu);
    cpu::clear_reschedule();
    cpu_queue.ticks_left.store(TIMESLICE_TICKS, Ordering::Relaxed);
    let next = leave_queue(previous, why, cpu_queue).or_else(|| steal(cpu, 1)).or_else(|| idle(cpu));
    let Some(next) = next else {
        // Nothing is ready and there is no idle task yet: the caller must look again.
        let _guard = cpu_queue.queue.lock();
        previous.internals().ready.store(true, Ordering::Relaxed);
        return false;
    };
    if core::ptr::eq(next.as_ptr(), current) {
        return false;
    }
    // SAFETY: what comes out of the queue is ready, so it has not exited and lives; idle tasks live forever.
    let next = unsafe { next.as_ref() };
    let (from, to) = (previous.internals(), next.internals());
    charge(cpu_queue, previous);
    // SAFETY: interrupts are off. The next task's pointers were set when it was made and are freed only after it exited; its
    // saved stack pointer was stored when it last left a CPU, or by `spawn`, and is used once: from here on it runs.
    let came_from = unsafe {
        set_current(next, cpu);
        if to.kill_requested.load(Ordering::Relaxed) {
            // Taken as soon as the task has interrupts on again.
            show_kill(cpu);
        }
        context_switch::context_switch(
            from.saved_sp.as_ptr(),
            to.saved_sp.load(Ordering::Acquire),
            current as usize,
        )
    };
    finish_switch(came_from);
    true
}

/// Puts the running task into its queue, if it goes on, and takes out who is next, if there is anybody.
fn leave_queue(previous: &ExposedTask, why: Why, cpu_queue: &CpuQueue) -> Option<NonNull<ExposedTask>> {
    let mut queue = cpu_queue.queue.lock();
    let stays = match previous.task.runstate() {
        RunState::Runnable => true,
        // See the module's documentation.
        RunState::Blocked => why == Why::Preempted,
        _ => false,
    };
    if !stays {
        previous.internals().ready.store(false, Ordering::Relaxed);
    } else if !previous.task.is_an_idle_task {
        // SAFETY: it runs, so it is in no queue, and the list of all tasks keeps it.
        unsafe { queue.push(NonNull::from(previous)) };
    }
    let next = queue.pop();
    cpu_queue.length.store(queue.len(), Ordering::Relaxed);
    next
}

/// Takes a task from the longest queue of another CPU that has at least `least`, for `cpu` to run it: one that may move, and that
/// has left its CPU.
fn steal(cpu: CpuId, least: usize) -> Option<NonNull<ExposedTask>> {
    let mut victims = cpu::online_cpus() & !cpu.bit();
    loop {
        let length = |other: CpuId| queue_of(other).length.load(Ordering::Relaxed);
        let victim = cpu::cpus_in(victims).max_by_key(|&other| length(other))?;
        if length(victim) < least {
            return None;
        }
        victims &= !victim.bit();
        let mut queue = queue_of(victim).queue.lock();
        let taken = queue
            .pop_where(|task| !task.internals().pinned.load(Ordering::Relaxed) && !task.task.is_running());
        if let Some(task) = taken {
            queue_of(victim).length.store(queue.len(), Ordering::Relaxed);
            // SAFETY: what is in a queue has not exited, and the list of all tasks keeps it. It stays ready, so nobody else
            // touches it from here on.
            unsafe { task.as_ref() }.internals().home_cpu.store(cpu.value(), Ordering::Relaxed);
            return Some(task);
        }
    }
}

/// Says that this CPU idles and gives its idle task, unless a task came meanwhile. Before there is one, `None`.
fn idle(cpu: CpuId) -> Option<NonNull<ExposedTask>> {
    let cpu_queue = queue_of(cpu);
    let mut queue = cpu_queue.queue.lock();
    if let Some(next) = queue.pop() {
        cpu_queue.length.store(queue.len(), Ordering::Relaxed);
        return Some(next);
    }
    let idle_task = NonNull::new(cpu_queue.idle_task.load(Ordering::Relaxed))?;
    IDLE_CPUS.fetch_or(cpu.bit(), Ordering::SeqCst);
    Some(idle_task)
}

/// Adds the time since it got the CPU to that of the task that leaves it.
fn charge(cpu_queue: &CpuQueue, task: &ExposedTask) {
    let now = tsc::tsc_value();
    let since = cpu_queue.since.swap(now, Ordering::Relaxed);
    task.internals().cpu_time.fetch_add(now.saturating_sub(since), Ordering::Relaxed);
}

/// Makes `next` the task that this CPU runs, apart from its stack and registers.
///
/// # Safety
/// Interrupts are off, and the CPU continues with the task's stack and registers next. Nobody else has it to run.
unsafe fn set_current(next: &ExposedTask, cpu: CpuId) {
    if !next.task.is_an_idle_task && IDLE_CPUS.load(Ordering::Relaxed) & cpu.bit() != 0 {
        IDLE_CPUS.fetch_and(!cpu.bit(), Ordering::SeqCst);
    }
    let internals = next.internals();
    internals.set_running_on_cpu(Some(cpu));
    // SAFETY: the task's pointers were set when it was made and are freed only after it exited.
    unsafe {
        cpu::set_current_task(
            core::ptr::from_ref(next).cast(),
            internals.extended_state.load(Ordering::Relaxed) as *mut u8,
        );
        context_switch::set_fs_base(internals.fs_base.load(Ordering::Relaxed));
    }
}

/// The first thing that a task does after a switch: says that the task which ran before it has left the CPU.
///
/// `came_from` is the token of the switch; 0 if no task ran before it on this CPU. `spawn`'s entry point calls this too;
/// everybody else comes from [`schedule`].
pub fn finish_switch(came_from: usize) {
    let pointer = came_from as *const ExposedTask;
    // SAFETY: the token is 0 or the pointer of the task that ran until the switch. It is not reaped before it is marked as having
    // left the CPU, below.
    let Some(previous) = (unsafe { pointer.as_ref() }) else { return };
    let internals = previous.internals();
    // If the joiner frees it, it may be gone as soon as it is marked, so this is looked at first.
    let for_reaper = internals.left_to_reaper_task();
    internals.set_running_on_cpu(None);
    if for_reaper {
        crate::exit::leave_to_reaper(NonNull::from(previous));
    }
}

/// Makes a CPU that has just come up run its idle task, and with it whatever there is to do.
///
/// # Safety
/// Interrupts are off, the CPU is set up, its idle task was set ([`set_idle_task`]) and has not run, and nothing on the stack in
/// use is needed any more.
pub unsafe fn start_on_this_cpu() -> ! {
    let cpu = cpu::current_cpu();
    let idle_task = queue_of(cpu).idle_task.load(Ordering::Acquire);
    // SAFETY: the caller says that it was set; idle tasks live forever.
    let idle_task = unsafe { &*idle_task };
    queue_of(cpu).since.store(tsc::tsc_value(), Ordering::Relaxed);
    // What is left here is never continued.
    let mut left = 0;
    // SAFETY: the task has not run, so its saved stack pointer is the one that `spawn` made. No task ran here before, hence 0.
    unsafe {
        set_current(idle_task, cpu);
        context_switch::context_switch(
            &raw mut left,
            idle_task.internals().saved_sp.load(Ordering::Acquire),
            0,
        );
    }
    panic!("a CPU's first context was continued");
}

/// Accounts for a timer tick on this CPU. For the timer's interrupt handler.
pub fn timer_tick() {
    let pointer = TICK_HOOK.load(Ordering::Acquire);
    if !pointer.is_null() {
        // SAFETY: only `set_timer_tick_hook` writes the slot, and only `fn()`s.
        let hook = unsafe { core::mem::transmute::<*mut (), fn()>(pointer) };
        hook();
    }
    let cpu = cpu::current_cpu();
    let cpu_queue = queue_of(cpu);
    let waiting = cpu_queue.length.load(Ordering::Relaxed);
    if waiting > 0
        && let Some(idle) = claim_idle_cpu(!cpu.bit(), cpu)
    {
        interrupt(idle);
    }
    count_down(&cpu_queue.rebalance_in, REBALANCE_TICKS, || {
        if !current_is_idle() {
            rebalance(cpu, waiting);
        }
    });
    let left = cpu_queue.ticks_left.load(Ordering::Relaxed);
    if left > 1 {
        cpu_queue.ticks_left.store(left - 1, Ordering::Relaxed);
    } else {
        cpu::request_reschedule();
    }
}

/// Counts down a counter that only this CPU's timer touches; at the end it starts anew and `due` is called.
fn count_down(counter: &AtomicU32, from: u32, due: impl FnOnce()) {
    let left = counter.load(Ordering::Relaxed);
    counter.store(if left > 1 { left - 1 } else { from }, Ordering::Relaxed);
    if left <= 1 {
        due();
    }
}

/// Brings a task here that waits on another CPU, if more than the `waiting` ones here do there. If it is just one more, it is brought
/// back later, and so on: all get the same time.
fn rebalance(cpu: CpuId, waiting: usize) {
    if let Some(task) = steal(cpu, waiting + 1) {
        let mut queue = queue_of(cpu).queue.lock();
        // SAFETY: it was just taken out of its queue, it is ready, and its home is here.
        unsafe { queue.push(task) };
        queue_of(cpu).length.store(queue.len(), Ordering::Relaxed);
    }
}

/// Says what is called at every timer tick, in the interrupt handler: it must not allocate, free or wait.
pub fn set_timer_tick_hook(hook: fn()) {
    TICK_HOOK.store(hook as *mut (), Ordering::Release);
}

/// Whether another task than the current one is ready on this CPU. If not, preemption would change nothing.
pub(crate) fn others_are_ready() -> bool {
    queue_of(cpu::current_cpu()).length.load(Ordering::Relaxed) != 0
}

/// Whether this CPU runs its idle task. Interrupts are off.
pub(crate) fn current_is_idle() -> bool {
    let idle = queue_of(cpu::current_cpu()).idle_task.load(Ordering::Relaxed);
    core::ptr::eq(crate::current_pointer(), idle)
}

/// Starts the running task's timeslice anew.
pub(crate) fn restart_timeslice() {
    queue_of(cpu::current_cpu()).ticks_left.store(TIMESLICE_TICKS, Ordering::Relaxed);
}

/// Makes a task that has not run yet the one that `cpu` runs when no other is ready. It must never block or exit.
pub fn set_idle_task(cpu: CpuId, task: &TaskRef) {
    task.internals().home_cpu.store(cpu.value(), Ordering::Relaxed);
    task.internals().pinned.store(true, Ordering::Relaxed);
    task.internals().ready.store(true, Ordering::Relaxed);
    task.internals().set_runstate(RunState::Runnable);
    queue_of(cpu).idle_task.store(Arc::as_ptr(task.exposed()).cast_mut(), Ordering::Release);
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

/// The current task stays on its CPU, whether it is preempted or waits, until this is dropped.
#[must_use = "the task may move again as soon as this is dropped"]
#[derive(Debug)]
pub struct Stay {
    cpu: CpuId,
    was_pinned: bool,
    /// A raw pointer makes it `!Send` and `!Sync`: it speaks about one task.
    _this_task: PhantomData<*mut ()>,
}

impl Stay {
    /// The CPU on which the task stays.
    pub fn cpu(&self) -> CpuId {
        self.cpu
    }
}

impl Drop for Stay {
    fn drop(&mut self) {
        // There was a current task when it was made.
        let _ = crate::with_current_task(|task| {
            task.internals().pinned.store(self.was_pinned, Ordering::Relaxed);
        });
    }
}

/// Keeps the current task on its CPU until what is returned is dropped. Unlike with `preemption::hold_preemption`, others get
/// their turns on that CPU, and the task may wait.
pub fn stay_on_this_cpu() -> Stay {
    // A task that runs is in no queue from which it could be taken, so nobody looks at the flag right now.
    let _interrupts = hold_interrupts();
    let was_pinned = crate::with_current_task(|task| task.internals().pinned.swap(true, Ordering::Relaxed));
    Stay { cpu: cpu::current_cpu(), was_pinned: was_pinned.unwrap_or(false), _this_task: PhantomData }
}

/// How many tasks run or wait for their turn on a CPU; `None` if there is no such CPU.
pub fn busyness(cpu: CpuId) -> Option<usize> {
    (cpu.value() < cpu::cpu_count()).then(|| {
        let idles = IDLE_CPUS.load(Ordering::Relaxed) & cpu.bit() != 0;
        queue_of(cpu).length.load(Ordering::Relaxed) + usize::from(!idles)
    })
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

/// How long a task has run up to now: the sum of the times between the switches to it and from it.
pub fn cpu_time(task: &TaskRef) -> Duration {
    let internals = task.internals();
    // If it leaves its CPU meanwhile, what it gets charged then must not be added twice: so it is looked at again.
    loop {
        let charged = internals.cpu_time.load(Ordering::Acquire);
        let running = task
            .running_on_cpu()
            .map_or(0, |cpu| tsc::tsc_value().saturating_sub(queue_of(cpu).since.load(Ordering::Relaxed)));
        if internals.cpu_time.load(Ordering::Acquire) == charged {
            return tsc::duration_of(charged + running);
        }
    }
}

/// How long a CPU has had nothing to do; zero if it is not there.
pub fn idle_time(cpu: CpuId) -> Duration {
    let idle_task = queue_of(cpu).idle_task.load(Ordering::Acquire);
    if idle_task.is_null() {
        return Duration::ZERO;
    }
    // SAFETY: the pointer came from `Arc::as_ptr` of a task that lives for ever. The reference is not counted and not dropped.
    let task = core::mem::ManuallyDrop::new(TaskRef(unsafe { Arc::from_raw(idle_task) }));
    cpu_time(&task)
}
