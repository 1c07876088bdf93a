//! `wast_runner FILE…`: runs scripts and prints `N passed, N failed` for each and for all. Status 1 if something failed.

use std::process::ExitCode;
use wasm_engine::Engine;
use wast_runner::run_script;

fn main() -> ExitCode {
    let files: Vec<String> = std::env::args().skip(1).collect();
    if files.is_empty() {
        eprintln!("usage: wast_runner FILE...");
        return ExitCode::from(2);
    }
    let engine = Engine::default();
    let (mut passed, mut failed) = (0, 0);
    for file in &files {
        let outcome =
            std::fs::read_to_string(file).map_err(Into::into).and_then(|text| run_script(&engine, &text));
        match outcome {
            Ok(report) => {
                for failure in &report.failures {
                    eprintln!("{file}:{}: {}", failure.line, failure.message);
                }
                println!("{file}: {} passed, {} failed", report.passed, report.failures.len());
                passed += report.passed;
                failed += report.failures.len();
            }
            Err(error) => {
                eprintln!("{file}: {error:#}");
                failed += 1;
            }
        }
    }
    println!("{passed} passed, {failed} failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
