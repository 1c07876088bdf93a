//! Compiles the jobs of a module on several threads.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use wasm_compiler::{CompileError, CompiledJob, Compiler, Scratch};

/// Compiles a module on so many threads. When several functions have errors, it reports that of the first function, as a
/// single thread would.
pub fn compile(compiler: &Compiler, wasm: &[u8], threads: usize) -> Result<Vec<u8>, CompileError> {
    let translation = compiler.translate(wasm)?;
    let num_jobs = translation.num_jobs();
    let next = AtomicUsize::new(0);
    let results: Mutex<Vec<Option<Result<CompiledJob, CompileError>>>> =
        Mutex::new((0..num_jobs).map(|_| None).collect());
    let work = || {
        let mut scratch = Scratch::new();
        loop {
            let job = next.fetch_add(1, Ordering::Relaxed);
            if job >= num_jobs {
                break;
            }
            let result = compiler.compile_job(&translation, job, &mut scratch);
            if result.is_err() {
                // Jobs before this one have begun and will tell whether they fail too; those after it do not matter.
                next.fetch_max(num_jobs, Ordering::Relaxed);
            }
            results.lock().unwrap_or_else(|poisoned| poisoned.into_inner())[job] = Some(result);
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads.min(num_jobs) {
            scope.spawn(work);
        }
        work();
    });
    let results = results.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    let mut jobs = Vec::with_capacity(num_jobs);
    // Results are missing only behind the first error, which ends the loop.
    for result in results.into_iter().flatten() {
        jobs.push(result?);
    }
    compiler.finish(&translation, jobs, &mut Scratch::new())
}
