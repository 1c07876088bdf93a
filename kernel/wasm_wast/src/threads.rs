//! Scripts, and the threads that they start.
//!
//! A thread of a script is a task. As many tasks as the script has threads are there from its beginning, since all end with the
//! call that runs them: each waits until there is a thread for it.

use crate::runner::{self, SharedModule};
use crate::{Failure, Report, in_one_line};
use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicUsize, Ordering};
use wasm_engine::{Engine, Result, bail};
use wasm_platform::{Budget, Mutex, WaitList, run_workers};
use wast::WastDirective;

/// The most threads that a script may have: each is a task with a stack.
const MAX_THREADS: usize = 64;

/// Runs the script `text`, each of its threads in a store of its own.
pub fn run_script(engine: &Engine, text: &str) -> Report {
    let report =
        runner::buffer(text).and_then(|buffer| Ok(run_directives(engine, text, runner::parse(&buffer)?)));
    report.unwrap_or_else(|error| failed(runner::syntax_failure(text, &error)))
}

fn run_directives<'a>(engine: &Engine, text: &str, directives: Vec<WastDirective<'a>>) -> Report {
    let threads = Threads::new();
    let run = |directives, shared| {
        runner::run(engine, text, directives, &threads, shared)
            .unwrap_or_else(|error| failed(Failure { line: 1, message: in_one_line(&format!("{error:#}")) }))
    };
    let count = count_threads(&directives);
    if count == 0 {
        return run(directives, None);
    }
    if count > MAX_THREADS {
        let message = format!("the script has {count} threads, and the limit is {MAX_THREADS}; split it");
        return failed(Failure { line: 1, message });
    }
    // The script itself is the first to be taken.
    let started = threads.start("", directives, None);
    debug_assert!(started.is_ok(), "nothing has that name yet");
    let total = Mutex::new(Report::default());
    let work = |_| {
        while let Some(mut thread) = threads.next() {
            let report = run(core::mem::take(&mut thread.directives), thread.shared.take());
            let mut total = total.lock();
            total.passed += report.passed;
            total.failures.extend(report.failures);
        }
    };
    let outcome = run_workers(1 + count, &Budget::unlimited(), &work, None);
    let mut report = core::mem::take(&mut *total.lock());
    if let Err(error) = outcome {
        report.failures.push(Failure { line: 1, message: in_one_line(&error.to_string()) });
    }
    report.failures.sort_by_key(|failure| failure.line);
    report
}

fn failed(failure: Failure) -> Report {
    Report { passed: 0, failures: vec![failure] }
}

/// How many threads the directives start, and these in turn. The parser limits how deep they are nested.
fn count_threads(directives: &[WastDirective<'_>]) -> usize {
    let count = |directive: &WastDirective<'_>| match directive {
        WastDirective::Thread(thread) => 1 + count_threads(&thread.directives),
        _ => 0,
    };
    directives.iter().map(count).sum()
}

/// The threads of a script, itself included, which has no name.
pub(crate) struct Threads<'a> {
    state: Mutex<State<'a>>,
    /// Counts changes of the state, so that one who waits for one need not take the lock to see that there was one.
    changes: AtomicUsize,
    waiters: WaitList,
}

#[derive(Default)]
struct State<'a> {
    /// Threads that no task has taken yet.
    waiting: VecDeque<Waiting<'a>>,
    /// By name, whether it has ended.
    ended: BTreeMap<String, bool>,
}

struct Waiting<'a> {
    name: String,
    directives: Vec<WastDirective<'a>>,
    shared: Option<SharedModule>,
}

/// A thread that the current task has taken. It has ended when this is dropped.
struct Taken<'t, 'a> {
    threads: &'t Threads<'a>,
    name: String,
    directives: Vec<WastDirective<'a>>,
    shared: Option<SharedModule>,
}

impl Drop for Taken<'_, '_> {
    fn drop(&mut self) {
        let name = core::mem::take(&mut self.name);
        self.threads.change(|state| state.ended.insert(name, true));
    }
}

impl<'a> Threads<'a> {
    /// None so far.
    fn new() -> Self {
        Threads {
            state: Mutex::new(State::default()),
            changes: AtomicUsize::new(0),
            waiters: WaitList::default(),
        }
    }

    /// Starts a thread.
    ///
    /// # Errors
    /// If there is one of this name that has not ended.
    pub(crate) fn start(
        &self,
        name: &str,
        directives: Vec<WastDirective<'a>>,
        shared: Option<SharedModule>,
    ) -> Result<()> {
        self.change(|state| {
            if state.ended.get(name) == Some(&false) {
                bail!("thread ${name} is running already");
            }
            state.ended.insert(name.to_string(), false);
            state.waiting.push_back(Waiting { name: name.to_string(), directives, shared });
            Ok(())
        })
    }

    /// Waits until the thread of this name has ended.
    ///
    /// # Errors
    /// If there is none.
    pub(crate) fn wait(&self, name: &str) -> Result<()> {
        let ended = self.until(|state| match state.ended.get(name) {
            Some(false) => None,
            Some(true) => Some(true),
            None => Some(false),
        });
        if !ended {
            bail!("no thread is called ${name}");
        }
        Ok(())
    }

    /// Takes the next thread. `None` says that all have ended, so that there will be no further ones.
    fn next(&self) -> Option<Taken<'_, 'a>> {
        let next = self.until(|state| match state.waiting.pop_front() {
            Some(next) => Some(Some(next)),
            None => state.ended.values().all(|ended| *ended).then_some(None),
        });
        next.map(|Waiting { name, directives, shared }| Taken { threads: self, name, directives, shared })
    }

    fn change<R>(&self, change: impl FnOnce(&mut State<'a>) -> R) -> R {
        let result = change(&mut self.state.lock());
        self.changes.fetch_add(1, Ordering::Release);
        self.waiters.notify(0, u32::MAX);
        result
    }

    /// Asks the state until it has an answer, which may take something from it.
    fn until<R>(&self, mut ask: impl FnMut(&mut State<'a>) -> Option<R>) -> R {
        loop {
            let seen = self.changes.load(Ordering::Acquire);
            let answer = ask(&mut self.state.lock());
            match answer {
                Some(answer) => return answer,
                None => self.waiters.wait(0, None, || self.changes.load(Ordering::Acquire) == seen),
            };
        }
    }
}
