//! How tasks begin, wait and end.

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use core::time::Duration;
use task::{ExitValue, JoinableTaskRef, KillReason, RunState};

pub const TESTS: &[(&str, fn())] = &[
    ("join gives the value", join_gives_the_value),
    ("names, ids and the list of all tasks", names_and_ids),
    ("an application starts in code that outlives its spawner", an_application_starts_in_spawn),
    ("a panic ends its task only", a_panic_ends_its_task_only),
    ("a blocked task starts when it is unblocked", a_blocked_task_starts_when_unblocked),
    ("a killed task that waits unwinds", a_killed_task_that_waits_unwinds),
    ("a task killed before it started never runs", a_task_killed_before_it_started_never_runs),
    ("a caught kill comes again", a_caught_kill_comes_again),
    ("what a kill unwinds may wait", what_a_kill_unwinds_may_wait),
    ("no wake-up is lost", no_wake_up_is_lost),
    ("thread-local values are the task's own, and dropped", thread_locals),
    ("orphans are reaped", orphans_are_reaped),
    ("an orphan whose value panics leaves the reaper alive", an_orphan_whose_value_panics),
    ("the console's tasks cannot be killed", the_consoles_tasks_cannot_be_killed),
    ("tasks without end are an error, and can be killed without memory", tasks_without_end),
    ("a joined task leaves nothing", a_joined_task_leaves_nothing),
    ("10,000 tasks leave no frame behind", many_tasks_leave_no_frame_behind),
];

/// Spawns a task that calls `f`.
pub fn spawn<R: Send + 'static>(f: impl FnOnce() -> R + Send + 'static) -> JoinableTaskRef {
    spawn::new_task_builder(move |()| f(), ()).spawn().expect("spawning failed")
}

/// The value of a task that should have completed.
pub fn value_of<R: 'static>(task: &JoinableTaskRef) -> R {
    match task.join().expect("joining failed") {
        ExitValue::Completed(value) => *value.downcast().expect("the value has another type"),
        ExitValue::Killed(reason) => panic!("the task was ended: {reason}"),
    }
}

/// Why a task that should not have completed ended.
pub fn reason_of(task: &JoinableTaskRef) -> KillReason {
    match task.join().expect("joining failed") {
        ExitValue::Completed(_) => panic!("the task completed"),
        ExitValue::Killed(reason) => reason,
    }
}

/// Waits until `condition` is true, letting others run, for at most half a minute.
pub fn wait_for(what: &str, condition: impl Fn() -> bool) {
    let start = time::Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(30), "waited in vain for: {what}");
        task::schedule();
    }
}

/// Blocks the current task until `condition` is true: what wait queues are made of.
fn block_until(condition: impl Fn() -> bool) {
    let current = task::get_my_current_task().unwrap();
    loop {
        task::exit_if_killed();
        current.block().unwrap();
        if condition() {
            let _ = current.unblock();
            return;
        }
        task::schedule();
    }
}

/// Sets a flag when it is dropped.
struct OnDrop(Arc<AtomicBool>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn flag() -> (Arc<AtomicBool>, Arc<AtomicBool>) {
    let flag = Arc::new(AtomicBool::new(false));
    (flag.clone(), flag)
}

fn join_gives_the_value() {
    let task = spawn(|| 6 * 7);
    assert_eq!(value_of::<i32>(&task), 42);
    assert!(task.join().is_err(), "the value can be taken once");
    assert_eq!(task.runstate(), RunState::Reaped);
    let task = spawn::new_task_builder(|text: String| text + "!", "hello".to_string()).spawn().unwrap();
    assert_eq!(value_of::<String>(&task), "hello!");
}

fn names_and_ids() {
    let task = spawn::new_task_builder(|()| task::get_my_current_task_id(), ())
        .name("named".to_string())
        .block()
        .spawn()
        .unwrap();
    assert_eq!(task.name, "named");
    assert!(task::all_tasks().iter().any(|(id, _)| *id == task.id));
    assert!(task::get_task(task.id).and_then(|weak| weak.upgrade()).is_some_and(|found| found == *task));
    task.unblock().unwrap();
    assert_eq!(value_of::<usize>(&task), task.id);
    assert!(task::get_task(task.id).is_none(), "a joined task is in the list");
    assert_eq!(
        task::with_current_task(|current| current.id).unwrap(),
        task::get_my_current_task_id(),
        "the current task is not the current task"
    );
}

/// This suite is an application, started by the shell or by `test_all`, which could be gone before it ends: none of its frames
/// may be in their code.
fn an_application_starts_in_spawn() {
    let mut modules = Vec::new();
    unwind::backtrace(&mut |frame| {
        stack_trace::symbolize(frame.lookup_address(), &mut |symbol| modules.push(symbol.module.to_string()));
        core::ops::ControlFlow::Continue(())
    });
    let allowed = ["test_tasks-", "ktest-", "catch_unwind-", "spawn-", "context_switch-", "nano_core"];
    let stranger = modules.iter().find(|module| !allowed.iter().any(|prefix| module.starts_with(prefix)));
    assert_eq!(stranger, None, "frames of this task are in {modules:?}");
    assert!(
        modules.iter().any(|module| module.starts_with("spawn-")),
        "its first frame is not among {modules:?}"
    );
}

fn a_panic_ends_its_task_only() {
    let (dropped, witness) = flag();
    let task = spawn(move || {
        let _on_drop = OnDrop(witness);
        panic!("as the test wants: {}", 7);
    });
    match reason_of(&task) {
        KillReason::Panic(info) => assert_eq!(info.msg, "as the test wants: 7"),
        other => panic!("{other}"),
    }
    assert!(dropped.load(Ordering::SeqCst), "the panic dropped nothing");
}

fn a_blocked_task_starts_when_unblocked() {
    let (ran, witness) = flag();
    let stay = task::scheduler::stay_on_this_cpu();
    let task = spawn::new_task_builder(move |()| witness.store(true, Ordering::SeqCst), ())
        .pin_on_cpu(stay.cpu())
        .block()
        .spawn()
        .unwrap();
    for _ in 0..10 {
        task::schedule();
    }
    assert!(!ran.load(Ordering::SeqCst) && task.runstate() == RunState::Initing);
    // It must not have run in between.
    let guard = preemption::hold_preemption();
    assert_eq!(task.unblock(), Ok(RunState::Initing));
    assert_eq!(task.unblock(), Err(RunState::Runnable));
    drop((guard, stay));
    value_of::<()>(&task);
    assert!(ran.load(Ordering::SeqCst));
    assert_eq!(task.unblock(), Err(RunState::Reaped));
}

fn a_killed_task_that_waits_unwinds() {
    let (dropped, witness) = flag();
    let task = spawn(move || {
        let _on_drop = OnDrop(witness);
        block_until(|| false);
    });
    wait_for("the task to block", || task.runstate() == RunState::Blocked);
    task.kill(KillReason::Requested).unwrap();
    assert!(matches!(reason_of(&task), KillReason::Requested));
    assert!(dropped.load(Ordering::SeqCst), "the kill dropped nothing");
    assert!(task.kill(KillReason::Requested).is_err(), "it was dead");
}

fn a_task_killed_before_it_started_never_runs() {
    let (ran, witness) = flag();
    let (dropped, owned) = flag();
    let owned = OnDrop(owned);
    let task = spawn::new_task_builder(
        move |()| {
            let _owned = &owned;
            witness.store(true, Ordering::SeqCst);
        },
        (),
    )
    .block()
    .spawn()
    .unwrap();
    task.kill(KillReason::Requested).unwrap();
    assert!(matches!(reason_of(&task), KillReason::Requested));
    assert!(!ran.load(Ordering::SeqCst), "it ran");
    assert!(dropped.load(Ordering::SeqCst), "what its function owned was not dropped");
}

fn a_caught_kill_comes_again() {
    let catches = Arc::new(AtomicUsize::new(0));
    let count = catches.clone();
    let task = spawn(move || {
        for _ in 0..3 {
            let caught = catch_unwind::catch_unwind_with_arg(|()| block_until(|| false), ());
            assert!(matches!(caught, Err(KillReason::Requested)));
            count.fetch_add(1, Ordering::SeqCst);
        }
        block_until(|| false);
    });
    wait_for("the task to block", || task.runstate() == RunState::Blocked);
    task.kill(KillReason::Requested).unwrap();
    assert!(matches!(reason_of(&task), KillReason::Requested));
    assert_eq!(catches.load(Ordering::SeqCst), 3);
}

/// Waits in its drop.
struct WaitsInDrop(Arc<AtomicBool>);

impl Drop for WaitsInDrop {
    fn drop(&mut self) {
        let done = self.0.clone();
        block_until(|| done.load(Ordering::SeqCst));
    }
}

fn what_a_kill_unwinds_may_wait() {
    let (go_on, waited_for) = flag();
    let task = spawn(move || {
        let _waits = WaitsInDrop(waited_for);
        block_until(|| false);
    });
    wait_for("the task to block", || task.runstate() == RunState::Blocked);
    task.kill(KillReason::Requested).unwrap();
    wait_for("the task to block while it unwinds", || task.runstate() == RunState::Blocked);
    go_on.store(true, Ordering::SeqCst);
    task.unblock().unwrap();
    assert!(matches!(reason_of(&task), KillReason::Requested));
}

fn no_wake_up_is_lost() {
    // Two tasks hand a turn to each other; a lost wake-up would leave both blocked.
    const TURNS: usize = 2000;
    let turn = Arc::new(AtomicUsize::new(0));
    let player = |me: usize| {
        let turn = turn.clone();
        spawn::new_task_builder(
            move |other: Arc<sync_irq::IrqSafeMutex<Option<task::TaskRef>>>| {
                for _ in 0..TURNS {
                    block_until(|| turn.load(Ordering::SeqCst) % 2 == me);
                    turn.fetch_add(1, Ordering::SeqCst);
                    let _ = other.lock().as_ref().map(|other| other.unblock());
                }
            },
            Arc::new(sync_irq::IrqSafeMutex::new(None)),
        )
    };
    let (to_first, to_second) =
        (Arc::new(sync_irq::IrqSafeMutex::new(None)), Arc::new(sync_irq::IrqSafeMutex::new(None)));
    let first = player(0).argument(to_second.clone()).block().spawn().unwrap();
    let second = player(1).argument(to_first.clone()).block().spawn().unwrap();
    *to_first.lock() = Some(task::TaskRef::clone(&first));
    *to_second.lock() = Some(task::TaskRef::clone(&second));
    second.unblock().unwrap();
    first.unblock().unwrap();
    value_of::<()>(&first);
    value_of::<()>(&second);
    assert_eq!(turn.load(Ordering::SeqCst), 2 * TURNS);
}

static THREAD_LOCAL_DROPS: AtomicUsize = AtomicUsize::new(0);

struct Counted(Box<usize>);

impl Drop for Counted {
    fn drop(&mut self) {
        THREAD_LOCAL_DROPS.fetch_add(1, Ordering::SeqCst);
    }
}

thread_local_macro::thread_local! {
    static NUMBER: Cell<usize> = const { Cell::new(5) };
    static COUNTED: RefCell<Counted> = RefCell::new(Counted(Box::new(7)));
}

fn thread_locals() {
    THREAD_LOCAL_DROPS.store(0, Ordering::SeqCst);
    let tasks: Vec<_> = (0..4)
        .map(|number| {
            spawn(move || {
                assert_eq!(NUMBER.get(), 5);
                NUMBER.set(number);
                COUNTED.with_borrow_mut(|counted| *counted.0 += number);
                task::schedule();
                assert_eq!(NUMBER.get(), number);
                COUNTED.with_borrow(|counted| *counted.0)
            })
        })
        .collect();
    for (number, task) in tasks.iter().enumerate() {
        assert_eq!(value_of::<usize>(task), 7 + number);
    }
    assert_eq!(THREAD_LOCAL_DROPS.load(Ordering::SeqCst), 4);
}

fn orphans_are_reaped() {
    let (ran, witness) = flag();
    let task = spawn(move || witness.store(true, Ordering::SeqCst));
    let id = task.id;
    drop(task);
    wait_for("the orphan to be reaped", || task::get_task(id).is_none());
    assert!(ran.load(Ordering::SeqCst));
    // One that has exited before it becomes an orphan.
    let task = spawn(|| ());
    let id = task.id;
    wait_for("the task to exit", || task.has_exited());
    drop(task);
    // It may still be about to leave the processor that it ran on.
    wait_for("the task to go", || task::get_task(id).is_none());
}

fn tasks_without_end() {
    let free_frames = || {
        heap::trim();
        ktest_system::free_frames()
    };
    let one_round = || {
        // Room for more than the memory of test machines holds, so that noting what is there needs none.
        let mut tasks = Vec::with_capacity(1 << 16);
        let mut rest = Vec::with_capacity(1 << 10);
        let error = loop {
            // What is left when there is none for the next task goes to smaller things, to the last frame.
            match spawn::new_task_builder(|()| block_until(|| false), ()).spawn() {
                Ok(task) if tasks.len() < tasks.capacity() => tasks.push(task),
                Ok(_) => panic!("the test machine has more memory than the test expects"),
                Err(error) => break error,
            }
        };
        assert!(error.contains("memory") && tasks.len() > 10, "{} tasks, then: {error}", tasks.len());
        while rest.len() < rest.capacity()
            && let Ok(page) =
                memory::create_mapping(memory::PAGE_SIZE, memory::PteFlags::new().writable(true))
        {
            rest.push(page);
        }
        for task in &tasks {
            assert_eq!(task.kill(KillReason::Requested), Ok(()));
        }
        for task in &tasks {
            assert!(matches!(reason_of(task), KillReason::Requested));
        }
    };
    one_round();
    let before = free_frames();
    one_round();
    let after = free_frames();
    assert!(after + 8 >= before, "{after} free frames after {before}");
}

struct PanicsWhenDropped;

impl Drop for PanicsWhenDropped {
    fn drop(&mut self) {
        panic!("as the test wants, from the reaper");
    }
}

fn an_orphan_whose_value_panics() {
    for _ in 0..2 {
        // It must not exit before it is an orphan: then what it left would be dropped here.
        let (orphaned, gate) = flag();
        let task = spawn(move || {
            wait_for("the handle to be dropped", || gate.load(Ordering::SeqCst));
            PanicsWhenDropped
        });
        let id = task.id;
        drop(task);
        orphaned.store(true, Ordering::SeqCst);
        wait_for("the orphan to be reaped", || task::get_task(id).is_none());
    }
    orphans_are_reaped();
}

fn the_consoles_tasks_cannot_be_killed() {
    let mut found = 0;
    for task in task::all_tasks().into_iter().filter_map(|(_, task)| task.upgrade()) {
        if task.name == "console" || task.name == "console_input" {
            found += 1;
            assert!(task.kill(KillReason::Requested).is_err(), "{task} can be killed");
        }
    }
    assert_eq!(found, 2);
}

fn a_joined_task_leaves_nothing() {
    let (dropped, witness) = flag();
    let on_drop = OnDrop(witness);
    let task = spawn(move || on_drop);
    let weak = task.downgrade();
    let value = task.join().unwrap();
    assert!(!dropped.load(Ordering::SeqCst), "the value is the joiner's");
    drop(value);
    assert!(dropped.load(Ordering::SeqCst));
    assert!(task.with_kstack(|_| ()).is_none(), "the stack is still there");
    drop(task);
    assert!(weak.upgrade().is_none(), "somebody still refers to the task");
}

fn many_tasks_leave_no_frame_behind() {
    const TASKS: usize = 10_000;
    const AT_ONCE: usize = 10;
    let round = || {
        let tasks: Vec<_> = (0..AT_ONCE).map(|number| spawn(move || number)).collect();
        for (number, task) in tasks.iter().enumerate() {
            assert_eq!(value_of::<usize>(task), number);
        }
    };
    // What the first tasks make the heap and the page tables grow by stays.
    (0..10).for_each(|_| round());
    let before = ktest_system::free_frames();
    (0..TASKS / AT_ONCE).for_each(|_| round());
    let after = ktest_system::free_frames();
    assert_eq!(before, after, "free frames before and after");
}
