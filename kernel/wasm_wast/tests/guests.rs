//! Our own scripts: what the official suite does not cover.

use std::path::Path;
use wasm_engine::{Config, Engine, OptLevel};
use wasm_wast::run_script;

/// Every `.wast` in `guests`, with both levels of optimisation.
#[test]
fn our_own_scripts() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../guests");
    let mut scripts = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "wast") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        for level in [OptLevel::None, OptLevel::Speed] {
            let engine = {
                let mut config = Config::new();
                config.cranelift_opt_level(level).cranelift_debug_verifier(true).shared_memory(true);
                Engine::new(&config).unwrap()
            };
            let report = run_script(&engine, &text);
            for failure in &report.failures {
                println!("{}:{}: {}", path.display(), failure.line, failure.message);
            }
            assert!(report.failures.is_empty() && report.passed > 0, "{}", path.display());
        }
        scripts += 1;
    }
    assert!(scripts > 0, "there are no scripts in guests");
}
