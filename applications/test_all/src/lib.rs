//! Runs every application whose name begins with `test_`, one after the other, and adds up what they say.
//!
//! Usage: `test_all [NAME…]`; with names, only those suites (`test_all memory wasm`). The last line is `N passed, N failed`,
//! where a suite that died or could not be loaded counts as one failed test. The exit value is 0 if nothing failed.
#![no_std]

extern crate alloc;

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use app_io::{eprintln, println};
use path::Path;
use task::ExitValue;

/// This application's own name, which begins like a suite's.
const SELF: &str = "test_all";
const PREFIX: &str = "test_";

/// Runs the suites; see the crate's documentation.
pub fn main(args: Vec<String>) -> isize {
    let all = match suites() {
        Ok(all) => all,
        Err(reason) => {
            eprintln!("test_all: {reason}");
            return 1;
        }
    };
    let chosen: Vec<String> = if args.is_empty() {
        all.into_iter().collect()
    } else {
        let wanted: Vec<String> = args.iter().map(|name| format!("{PREFIX}{name}")).collect();
        if let Some(unknown) = wanted.iter().find(|name| !all.contains(*name)) {
            eprintln!("test_all: there is no application {unknown}");
            return 2;
        }
        wanted
    };
    let mut died = 0;
    for suite in &chosen {
        let started = time::Instant::now();
        if let Err(reason) = run(suite) {
            println!("test {suite} ... FAILED ({reason})");
            died += 1;
        }
        println!("[{suite} took {} ms]", started.elapsed().as_millis());
    }
    let (passed, failed) = ktest::totals();
    println!("{passed} passed, {} failed", failed + died);
    isize::from(failed + died > 0)
}

/// The names of all test applications.
fn suites() -> Result<BTreeSet<String>, String> {
    let namespace = task::with_current_task(|task| task.get_namespace().clone())
        .map_err(|_| "no current task".to_string())?;
    Ok(namespace
        .dir()
        .get_file_and_dir_names_starting_with(PREFIX)
        .into_iter()
        .filter_map(|file| file.split_once('-').map(|(name, _)| name.to_string()))
        .filter(|name| name != SELF)
        .collect())
}

/// Runs one suite to its end. A suite in which tests failed is no error here: it has counted them.
fn run(suite: &str) -> Result<(), String> {
    let namespace = task::with_current_task(|task| task.get_namespace().clone())
        .map_err(|_| "no current task".to_string())?;
    let file = namespace
        .dir()
        .get_file_starting_with(&format!("{suite}-"))
        .ok_or_else(|| "its object file is gone".to_string())?;
    let path = file.lock().get_absolute_path();
    let task = spawn::new_application_task_builder(Path::new(&path), None)
        .map_err(|reason| reason.to_string())?
        .argument(Vec::new())
        .name(suite.to_string())
        .spawn()?;
    match task.join() {
        Ok(ExitValue::Completed(_)) => Ok(()),
        Ok(ExitValue::Killed(reason)) => Err(format!("it died: {reason}")),
        Err(reason) => Err(reason.to_string()),
    }
}
