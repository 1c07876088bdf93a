//! Many tasks that do the same at the same time; afterwards everything is as it was before.

use crate::{Over, Random, cpus, in_tasks, start, value_of};
use alloc::boxed::Box;
use alloc::format;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::time::Duration;
use ktest_system::leaves_nothing;
use memory::{PAGE_SIZE, PteFlags};
use mod_mgmt::CrateNamespace;
use sync_irq::IrqSafeMutex;
use task::{ExitValue, KillReason};
use wasm_engine::{Config, Engine, Instance, Module, Store, Trap};

const WRITABLE: PteFlags = PteFlags::new().valid(true).writable(true);

/// How many tasks make a storm: more than there are CPUs.
fn many() -> usize {
    2 * cpus() + 1
}

/// Where tasks leave blocks for each other.
type Place = IrqSafeMutex<Option<Box<[u8]>>>;

pub fn heap() {
    const PLACES: usize = 64;
    leaves_nothing(|| {
        let shared: Arc<Vec<Place>> = Arc::new((0..PLACES).map(|_| IrqSafeMutex::new(None)).collect());
        in_tasks(many(), move |number| {
            let mut random = Random::new(number);
            for _ in 0..3_000 {
                let size = 1 << random.below(14);
                let size = size + random.below(size);
                let block = vec![size as u8; size].into_boxed_slice();
                // Who frees a block is hardly ever who allocated it.
                let former = shared[random.below(PLACES)].lock().replace(block);
                if let Some(former) = former {
                    let expected = former.len() as u8;
                    assert!(former.iter().all(|byte| *byte == expected), "a block of two owners");
                }
            }
        });
    });
}

pub fn mappings() {
    leaves_nothing(|| {
        in_tasks(many(), |number| {
            let mut random = Random::new(number);
            let mut kept = Vec::new();
            for round in 0..200 {
                let pages = 1 + random.below(40);
                let mut mapping =
                    memory::create_mapping(pages * PAGE_SIZE, WRITABLE).expect("there is memory");
                let words = mapping.as_slice_mut::<u64>(0, pages * PAGE_SIZE / 8).expect("it is as large");
                assert!(words.iter().all(|word| *word == 0), "a frame was not zeroed, or is somebody else's");
                let mark = (number * 1000 + round) as u64;
                words.fill(mark);
                kept.push((mapping, mark));
                if kept.len() > 5 {
                    let (mapping, mark) = kept.swap_remove(random.below(kept.len()));
                    let words =
                        mapping.as_slice::<u64>(0, mapping.size_in_bytes() / 8).expect("it is as large");
                    assert!(words.iter().all(|word| *word == mark), "a frame of two owners");
                }
            }
        });
    });
}

pub fn tasks() {
    leaves_nothing(|| {
        let drops = Arc::new(AtomicUsize::new(0));
        let of_all = drops.clone();
        in_tasks(many(), move |number| {
            /// Counts how often it is dropped.
            struct Counted(Arc<AtomicUsize>);
            impl Drop for Counted {
                fn drop(&mut self) {
                    self.0.fetch_add(1, Ordering::SeqCst);
                }
            }

            let mut random = Random::new(number);
            for round in 0..100 {
                let counted = Counted(of_all.clone());
                let (kind, pause) = (random.below(4), random.below(3));
                let task = start(move || {
                    let counted = counted;
                    if kind == 1 {
                        loop {
                            task::exit_if_killed();
                            task::schedule();
                        }
                    }
                    if kind == 2 {
                        // Until it is killed.
                        let _ = sleep::sleep(Duration::MAX);
                    }
                    drop(counted);
                    round
                });
                (0..pause).for_each(|_| {
                    task::schedule();
                });
                match kind {
                    1 | 2 => {
                        task.kill(KillReason::Requested).expect("it never ends by itself");
                        let end = task.join();
                        assert!(matches!(end, Ok(ExitValue::Killed(KillReason::Requested))), "{end:?}");
                    }
                    3 => drop(task),
                    _ => assert_eq!(value_of::<i32>(&task), round),
                }
            }
        });
        crate::wait_for("the orphans to end", || drops.load(Ordering::SeqCst) == 100 * many());
        crate::wait_for("the orphans to be reaped", || {
            task::all_tasks()
                .iter()
                .all(|(_, task)| task.upgrade().is_none_or(|task| task.name != crate::TASK))
        });
    });
}

pub fn crates() {
    leaves_nothing(|| {
        in_tasks(cpus() + 1, |_| {
            for _ in 0..8 {
                let namespace =
                    mod_mgmt::create_application_namespace(None).expect("there is one for programs");
                let file =
                    namespace.dir().get_file_starting_with("loader_sample-").expect("it is in the image");
                let mmi = memory::get_kernel_mmi_ref().expect("there is an address space");
                let program = CrateNamespace::load_crate_as_application(&namespace, &file, mmi, false);
                let program = program.unwrap_or_else(|error| panic!("{error}"));
                let section =
                    program.get_function_section("loader_sample::count_in_thread").expect("it has that");
                // SAFETY: the function has this signature, and its program is loaded while it is called.
                let count = *unsafe { section.as_func::<fn() -> u32>() }.expect("it is a function");
                // It begins with what loader_sample's variable begins with, whatever CPU and task.
                assert_eq!((count(), count()), (1000, 1001));
            }
        });
    });
}

/// The guest `name` of the image.
fn module(engine: &Engine, name: &str) -> Module {
    let artifact = wasm_engine::read_file(format!("/guests/{name}.cwasm")).expect("the image has all guests");
    // SAFETY: the artifacts in the image were made by our compiler.
    unsafe { Module::deserialize(engine, artifact) }.expect("the image's guests are for this system")
}

/// Calls a function of a fresh instance that traps; returns the trap.
fn trap(module: &Module, store: &mut Store<()>, function: &str) -> Trap {
    let instance = Instance::new(&mut *store, module, &[]).expect("it imports nothing");
    let function = instance.get_func(&mut *store, function).expect("it has that");
    let error = function.call(&mut *store, &[], &mut []).expect_err("it traps");
    *error.downcast_ref::<Trap>().expect("it is a trap")
}

pub fn guests() {
    leaves_nothing(|| {
        let engine = Engine::new(&Config::new()).expect("the trap hook is free or ours");
        let over = Over::default();
        // Half of the tasks load and drop code all the time, so that the tables in which the others' traps are looked up
        // change under them.
        let loaders: Vec<_> = (0..cpus())
            .map(|_| {
                let (engine, over) = (engine.clone(), over.clone());
                start(move || {
                    let mut loaded = 0_usize;
                    while !over.is() {
                        drop(module(&engine, "traps"));
                        loaded += 1;
                    }
                    loaded
                })
            })
            .collect();
        let traps = in_tasks(cpus() + 1, move |_| {
            let module = module(&engine, "traps");
            (0..40)
                .map(|_| {
                    let mut store = Store::new(&engine, ());
                    (0..25)
                        .filter(|_| trap(&module, &mut store, "unreachable") == Trap::UnreachableCodeReached)
                        .count()
                })
                .sum::<usize>()
        });
        over.declare();
        assert!(traps.iter().all(|count| *count == 1000), "{traps:?}");
        for task in &loaders {
            assert!(value_of::<usize>(task) > 0);
        }
    });
}

pub fn kills_of_guests() {
    leaves_nothing(|| {
        let engine = Engine::new(&Config::new()).expect("the trap hook is free or ours");
        let spin = module(&engine, "spin");
        for _ in 0..10 {
            let running = Arc::new(AtomicUsize::new(0));
            let tasks: Vec<_> = (0..many())
                .map(|_| {
                    let (engine, spin, running) = (engine.clone(), spin.clone(), running.clone());
                    start(move || {
                        let mut store = Store::new(&engine, ());
                        let instance = Instance::new(&mut store, &spin, &[]).expect("it imports nothing");
                        let function = instance.get_func(&mut store, "run").expect("it has that");
                        running.fetch_add(1, Ordering::SeqCst);
                        let _ = function.call(&mut store, &[], &mut []);
                    })
                })
                .collect();
            crate::wait_for("all guests to run", || running.load(Ordering::SeqCst) == tasks.len());
            for task in &tasks {
                task.kill(KillReason::Requested).expect("it never ends by itself");
            }
            for task in &tasks {
                let end = task.join();
                assert!(matches!(end, Ok(ExitValue::Killed(KillReason::Requested))), "{end:?}");
            }
        }
    });
}
