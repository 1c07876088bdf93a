//! Guests that take what they can, and the kernel, which goes on.

use crate::guest::{Guest, module, start};
use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use ktest_system::{Ballast, Ending, leaves_nothing, run_program};
use memory::{Claim, PAGE_SIZE};
use sleep::Duration;
use task::{ExitValue, JoinableTaskRef, KillReason};
use wasm_engine::{
    Config, Engine, Instance, Memory, MemoryType, Module, Result, SharedMemory, Store, format_err,
};

const GUESTS: usize = 200;
/// What the guests of a round have together in bytes, besides their tasks.
const MEMORY: usize = 128 << 20;

/// What the guests and who watches them tell each other.
#[derive(Default)]
struct Signals {
    begin: AtomicBool,
    /// How many guests have come to where nothing is left for them.
    sated: AtomicUsize,
    end: AtomicBool,
}

/// Lets the guests end when dropped, however the test goes on.
struct EndAll<'a>(&'a Signals);

impl Drop for EndAll<'_> {
    fn drop(&mut self) {
        self.0.begin.store(true, Ordering::Release);
        self.0.end.store(true, Ordering::Release);
    }
}

/// Waits until `condition` holds; a task that is killed ends here.
fn wait_until(condition: impl Fn() -> bool) {
    while !condition() {
        task::exit_if_killed();
        sleep::sleep(Duration::from_millis(1)).expect("a task sleeps");
    }
}

/// One more instance, in a store of its own.
fn instance(module: &Module) -> Result<Guest> {
    let mut store = Store::try_new(module.engine(), ())?;
    let instance = Instance::new(&mut store, module, &[])?;
    Ok(Guest { store, instance })
}

/// Takes memory, tables, instances and shared memories, ever smaller pieces, until nothing is to be had. Returns how many pieces
/// of each that were.
fn take_all(module: &Module, held: &mut Vec<Guest>, shared: &mut Vec<SharedMemory>) -> [usize; 4] {
    const PAGES: [i32; 4] = [256, 16, 3, 1];
    const ELEMENTS: [i32; 4] = [1 << 18, 1 << 14, 3000, 1];
    /// So many pieces of a size at most: one element at a time is no way to fill a machine.
    const AT_MOST: usize = 1000;
    let mut taken = [0; 4];
    for (pages, elements) in PAGES.into_iter().zip(ELEMENTS) {
        for _ in 0..AT_MOST {
            let before = taken;
            if held.len() < 64
                && held.try_reserve(1).is_ok()
                && let Ok(guest) = instance(module)
            {
                held.push(guest);
                taken[0] += 1;
            }
            if let Some(guest) = held.last_mut() {
                taken[1] += usize::from(guest.int("grow_memory", &[pages]).expect("no trap") >= 0);
                taken[2] += usize::from(guest.int("grow_table", &[elements]).expect("no trap") >= 0);
            }
            if shared.len() < 64
                && shared.try_reserve(1).is_ok()
                && let Ok(memory) = SharedMemory::new(module.engine(), MemoryType::shared(1, 4))
            {
                shared.push(memory);
                taken[3] += 1;
            }
            if taken == before {
                break;
            }
        }
    }
    taken
}

/// What each of the guests' tasks does.
fn live(module: &Module, signals: &Signals) -> [usize; 4] {
    memory::set_claim(Claim::Guest);
    let (mut held, mut shared) = (Vec::new(), Vec::new());
    wait_until(|| signals.begin.load(Ordering::Acquire));
    let taken = take_all(module, &mut held, &mut shared);
    signals.sated.fetch_add(1, Ordering::AcqRel);
    wait_until(|| signals.end.load(Ordering::Acquire));
    // What it has got is all there.
    for guest in &mut held {
        let size = guest.instance.get_memory(&mut guest.store, "memory").expect("it is exported");
        let pages = size.size(&guest.store);
        assert_eq!(guest.int("touch", &[]).expect("it is there"), pages as i32);
    }
    taken
}

/// Panics unless the program does what it does at other times.
fn works(name: &str, args: &[&str], expected: &str) {
    let output = run_program(name, args);
    assert_eq!((&output.ending, &*output.stderr), (&Ending::Status(0), ""), "{name} {args:?}");
    assert!(output.stdout.contains(expected), "{name} {args:?}: {}", output.stdout);
}

/// What a person does who wants to know what is going on.
fn look_around() {
    works("ls", &["/guests"], "test_greedy.cwasm");
    works("ps", &[], "test_wasm");
    works("free", &[], "reserve");
    works("echo", &["still", "here"], "still here\n");
}

fn round(engine: &Engine) {
    let module = module(engine, "test_greedy");
    let signals = Arc::new(Signals::default());
    let end = EndAll(&signals);
    let tasks: Vec<JoinableTaskRef> = (0..GUESTS)
        .map(|_| {
            let (module, signals) = (module.clone(), signals.clone());
            start(move || live(&module, &signals))
        })
        .collect();
    let reserve = frame_allocator::statistics().reserve;
    let ballast = Ballast::leaving_to_guests(MEMORY / PAGE_SIZE);
    signals.begin.store(true, Ordering::Release);
    // While they take, the rest is what it was.
    while signals.sated.load(Ordering::Acquire) < GUESTS {
        look_around();
    }
    // Tables of pages and small blocks of the heap are all that may have come of the reserve for guests, and that is half of it. The
    // rest is there for the system itself, which has taken little: 4 MiB at most, for the programs that it has run.
    const OWN: usize = (4 << 20) / PAGE_SIZE;
    let free = frame_allocator::free_frames();
    assert!((reserve / 2 - OWN..reserve + OWN).contains(&free), "{free} frames are free, {reserve} reserved");
    look_around();
    // One of them is ended by hand, and what it had is there for the others.
    let id = format!("{}", tasks[GUESTS / 2].id);
    works("kill", &[&id], "");
    wait_until(|| tasks[GUESTS / 2].has_exited());
    look_around();
    drop(ballast);
    drop(end);
    let mut sum = [0; 4];
    let mut killed = 0;
    for task in tasks {
        match task.join().expect("nobody else joins it") {
            ExitValue::Completed(taken) => {
                let taken = taken.downcast::<[usize; 4]>().expect("that is what it returns");
                sum.iter_mut().zip(*taken).for_each(|(sum, taken)| *sum += taken);
            }
            ExitValue::Killed(KillReason::Requested) => killed += 1,
            ExitValue::Killed(reason) => panic!("a guest ended early: {reason}"),
        }
    }
    assert_eq!(killed, 1);
    assert!(sum.iter().all(|taken| *taken > 0), "pieces of each sort: {sum:?}");
}

pub(crate) fn address_space() {
    /// Linear memories of 4 GiB each, of which nothing is committed: they cost address space only.
    const AT_LEAST: usize = 20_000;
    let engine = Engine::new(&Config::new()).expect("the trap hook is ours");
    leaves_nothing(|| {
        let mut stores: Vec<Store<()>> = Vec::new();
        let mut taken = 0;
        let reason = loop {
            let made = match stores.last_mut() {
                Some(store) => Memory::new(store, MemoryType::new(0, None)),
                None => Err(format_err!("count too high")),
            };
            match made.map_err(|error| format!("{error}")) {
                Ok(_) => taken += 1,
                Err(reason) if reason.contains("count too high") => {
                    stores.push(Store::try_new(&engine, ()).expect("there is memory"));
                }
                Err(reason) => break reason,
            }
        };
        assert!(taken > AT_LEAST && reason.contains("address space"), "{taken}: {reason}");
        let general = &page_allocator::statistics()[0];
        assert!(general.free >= general.total / 16, "{general:?}");
        // There is enough of it for programs with their stacks.
        look_around();
    });
}

pub(crate) fn guests_leave_it() {
    let mut config = Config::new();
    config.shared_memory(true);
    let engine = Engine::new(&config).expect("the trap hook is ours");
    leaves_nothing(|| round(&engine));
}
