//! `wasm_run wast`.

use crate::arguments::{self, Command, Options};
use crate::{Failure, Report, find, in_one_line, run_script};
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::fmt::Arguments;
use core::sync::atomic::{AtomicUsize, Ordering};
use wasm_engine::{Config, CpuFeatures, Engine};
use wasm_platform::{Budget, Mutex, parallelism, read_file, run_workers};

/// Exit status if everything passed, if something did not, and if the command line is wrong.
const PASSED: isize = 0;
const FAILED: isize = 1;
const WRONG_USAGE: isize = 2;

/// Prints a text.
type Print = fn(Arguments<'_>);

/// Runs the scripts that `args`, which begin after `wast`, name, and returns the exit status: 0 if everything passed, 1 if
/// something did not, 2 for wrong usage.
///
/// For each directive that fails a line is printed, for each file a summary, and a sum at the end; files in the order in which they
/// are named, though as many are run at a time as the machine can.
pub fn run(args: &[String], out: Print, err: Print) -> isize {
    let options = match arguments::parse(args) {
        Ok(Command::Help) => {
            out(format_args!("{}", arguments::USAGE));
            return PASSED;
        }
        Ok(Command::Run(options)) => options,
        Err(message) => {
            err(format_args!("wasm_run wast: {message}; see wasm_run wast --help\n"));
            return WRONG_USAGE;
        }
    };
    let engine = match engine(&options) {
        Ok(engine) => engine,
        Err(message) => {
            err(format_args!("wasm_run wast: {message}\n"));
            return WRONG_USAGE;
        }
    };
    let mut items = Vec::new();
    for path in &options.paths {
        match find::scripts(path) {
            Ok(scripts) => items.extend(scripts.into_iter().map(Item::Script)),
            Err(message) => items.push(Item::Problem(message)),
        }
    }
    let (passed, failed) = run_all(&engine, &items, options.quiet, out);
    out(format_args!("{passed} passed, {failed} failed\n"));
    if failed == 0 { PASSED } else { FAILED }
}

/// Something that the command line means.
enum Item {
    /// A file to run.
    Script(String),
    /// No file, because of this.
    Problem(String),
}

fn engine(options: &Options<'_>) -> Result<Engine, String> {
    let mut config = Config::new();
    // Backtraces would not be shown. As many files are run at a time as the machine can, so each is compiled by one task.
    config.wasm_backtrace(false).cranelift_opt_level(options.opt_level).compile_tasks(1).shared_memory(true);
    if let Some(cpu) = options.cpu {
        config.target_cpu(CpuFeatures::parse(cpu).map_err(|error| error.to_string())?);
    }
    Engine::new(&config).map_err(|error| in_one_line(&format!("{error:#}")))
}

/// Runs everything, prints what is to be said of each, and returns how many directives passed and how many failed. A file that
/// cannot be run counts as one that failed.
fn run_all(engine: &Engine, items: &[Item], quiet: bool, out: Print) -> (usize, usize) {
    let printer = Mutex::new(Printer { next: 0, passed: 0, failed: 0 });
    let next = AtomicUsize::new(0);
    let reports = Mutex::new(BTreeMap::new());
    let print = || {
        let mut printer = printer.lock();
        loop {
            let report = reports.lock().remove(&printer.next);
            let Some(report) = report else { break };
            let item = &items[printer.next];
            printer.print(item, &report, quiet, out);
        }
    };
    while next.load(Ordering::Relaxed) < items.len() {
        let budget = Budget::unlimited();
        // What each worker is at.
        let at = Mutex::new(vec![None; parallelism()]);
        let work = |worker: usize| {
            while !budget.is_cancelled() {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let Some(item) = items.get(number) else { break };
                at.lock()[worker] = Some(number);
                let report = match item {
                    Item::Script(path) => run_file(engine, path),
                    Item::Problem(message) => Err(message.clone()),
                };
                reports.lock().insert(number, report);
                at.lock()[worker] = None;
            }
        };
        let left = items.len() - next.load(Ordering::Relaxed);
        let outcome = run_workers(parallelism().min(left), &budget, &work, Some(&print));
        if let Err(error) = outcome {
            let at = core::mem::take(&mut *at.lock());
            // If no worker could be started, the next file fails of it; the others may fare better.
            let lost = match at.iter().any(Option::is_some) {
                true => at,
                false => vec![Some(next.fetch_add(1, Ordering::Relaxed))],
            };
            for number in lost.into_iter().flatten() {
                reports.lock().insert(number, Err(in_one_line(&error.to_string())));
            }
        }
        print();
    }
    let printer = printer.lock();
    (printer.passed, printer.failed)
}

/// Prints reports in the order of files, and counts.
struct Printer {
    /// Number of the file that is to be printed next.
    next: usize,
    passed: usize,
    failed: usize,
}

impl Printer {
    fn print(&mut self, item: &Item, report: &Result<Report, String>, quiet: bool, out: Print) {
        self.next += 1;
        match (item, report) {
            (Item::Script(path), Ok(Report { passed, failures })) => {
                for Failure { line, message } in failures {
                    out(format_args!("{path}:{line}: {message}\n"));
                }
                if !quiet || !failures.is_empty() {
                    out(format_args!("{path}: {passed} passed, {} failed\n", failures.len()));
                }
                self.passed += passed;
                self.failed += failures.len();
            }
            (Item::Script(path), Err(message)) => {
                out(format_args!("{path}: {message}\n"));
                self.failed += 1;
            }
            (Item::Problem(_), report) => {
                if let Err(message) = report {
                    out(format_args!("{message}\n"));
                }
                self.failed += 1;
            }
        }
    }
}

/// Runs one file. An error says in one line why it cannot be run.
fn run_file(engine: &Engine, path: &str) -> Result<Report, String> {
    let bytes = read_file(path).map_err(|error| format!("cannot be read: {}", in_one_line(&error)))?;
    let text = core::str::from_utf8(&bytes)
        .map_err(|error| format!("is not UTF-8 from byte {} on; give a .wast file", error.valid_up_to()))?;
    Ok(run_script(engine, text))
}
