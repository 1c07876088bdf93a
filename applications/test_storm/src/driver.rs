//! What a task of the storm does.

use crate::counts::{Counts, Owned, Tally};
use crate::operations::{Dice, Killed, Operation};
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use core::fmt;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use task::{ExitValue, KillReason};
use wasm_engine::{Caller, Error, Instance, Linker, Module, Result, Store, Trap};

/// What a host function fails with.
#[derive(Debug, PartialEq, Eq)]
struct Refused(u64);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "refused, number {}", self.0)
    }
}

impl core::error::Error for Refused {}

/// The host's state.
struct Host {
    /// What its errors and panics say.
    number: u64,
    tally: Arc<Tally>,
    /// Set when the host is called.
    called: Arc<AtomicBool>,
}

/// The host function.
fn act(caller: Caller<'_, Host>, what: i32) -> Result<()> {
    let host = caller.data();
    let _owned = Owned::new(&host.tally);
    host.called.store(true, Ordering::Release);
    match what {
        0 => Ok(()),
        1 => Err(Error::new(Refused(host.number))),
        2 => panic!("panic number {}", host.number),
        3 => {
            let _ = sleep::sleep(Duration::MAX);
            panic!("nothing is longer");
        }
        _ => {
            let task = task::get_my_current_task().expect("a task calls guests");
            task.kill(KillReason::Requested).map_err(Error::msg)
        }
    }
}

/// A guest in a store.
fn instantiate(linker: &Linker<Host>, module: &Module, host: Host) -> (Store<Host>, Instance) {
    let mut store = Store::new(module.engine(), host);
    let instance = linker.instantiate(&mut store, module).expect("its one import is there");
    (store, instance)
}

fn call(store: &mut Store<Host>, instance: Instance, name: &str) -> Result<()> {
    instance.get_typed_func::<(), ()>(&mut *store, name).expect("it is exported").call(store, ())
}

/// A task of the storm.
pub(crate) struct Driver {
    module: Module,
    linker: Linker<Host>,
    store: Store<Host>,
    instance: Instance,
    dice: Dice,
    tally: Arc<Tally>,
}

impl Driver {
    pub(crate) fn new(module: &Module, seed: usize) -> Self {
        let mut linker = Linker::new(module.engine());
        linker.func_wrap("storm", "act", act).expect("the name is free");
        let tally = Arc::new(Tally::default());
        let host = Host { number: 0, tally: tally.clone(), called: Arc::default() };
        let (store, instance) = instantiate(&linker, module, host);
        Self { module: module.clone(), linker, store, instance, dice: Dice::new(seed), tally }
    }

    /// Does so many operations and says what has happened.
    pub(crate) fn run(mut self, operations: usize) -> Counts {
        let mut counts = Counts::default();
        for _ in 0..operations {
            let (operation, number) = self.dice.draw();
            counts.note(match operation {
                Operation::Returns => self.outcome("returns", number),
                Operation::Refused => self.outcome("refused", number),
                Operation::Panics => self.outcome("panics", number),
                Operation::Traps(_, name) => self.outcome(name, number),
                Operation::Killed(killed) => self.kill(killed),
            });
        }
        counts.left = self.tally.left();
        counts
    }

    /// Calls a function of the guest and looks at how that ends.
    fn outcome(&mut self, name: &'static str, number: u64) -> Operation {
        self.store.data_mut().number = number;
        match catch_unwind::catch_unwind(|| call(&mut self.store, self.instance, name)) {
            Ok(Ok(())) => Operation::Returns,
            Ok(Err(error)) => match error.downcast_ref::<Trap>() {
                Some(trap) => Operation::Traps(*trap, name),
                None => {
                    assert_eq!(error.downcast_ref(), Some(&Refused(number)), "{error:?}");
                    Operation::Refused
                }
            },
            Err(payload) => {
                let text = payload.downcast_ref::<String>().map(String::as_str);
                assert_eq!(text, Some(&*format!("panic number {number}")));
                Operation::Panics
            }
        }
    }

    /// Starts a guest that never returns in a task of its own, kills it, and looks at how that ends.
    fn kill(&self, killed: Killed) -> Operation {
        let function = match killed {
            Killed::AtOnce | Killed::InLoop => "loops",
            Killed::InHost => "waits",
            Killed::ByItself => "gives up",
        };
        let called = Arc::new(AtomicBool::new(false));
        let host = Host { number: 0, tally: self.tally.clone(), called: called.clone() };
        let (module, linker, owned) = (self.module.clone(), self.linker.clone(), Owned::new(&self.tally));
        let task = ktest_system::start("test_storm guest", move || {
            let _owned = owned;
            let (mut store, instance) = instantiate(&linker, &module, host);
            call(&mut store, instance, function)
        });
        if let Killed::InLoop | Killed::InHost = killed {
            while !called.load(Ordering::Acquire) {
                task::schedule();
            }
        }
        if killed != Killed::ByItself {
            task.kill(KillReason::Requested).expect("the task has not ended: it never does");
        }
        match task.join().expect("nobody else joins it") {
            ExitValue::Killed(KillReason::Requested) => Operation::Killed(killed),
            other => panic!("the killed task ended like this: {other:?}"),
        }
    }
}
