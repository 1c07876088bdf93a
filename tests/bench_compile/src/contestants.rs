//! The two compilers, set up alike.

use object::{Object, ObjectSection};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use wasm_artifact::{CpuFeatures, OptLevel};
use wasm_compiler::{CompiledJob, Compiler, Scratch, Settings, Target};

/// What both compile for: this processor, as far as both know its features.
pub fn cpu() -> CpuFeatures {
    CpuFeatures::of_this_cpu()
}

/// Our compiler.
pub struct Ours(Compiler);

impl Ours {
    /// Our compiler with this optimisation.
    pub fn new(opt_level: OptLevel) -> Result<Ours, String> {
        let settings = Settings { cpu: cpu(), opt_level, ..Settings::new(Target::Linux) };
        Ok(Ours(Compiler::new(settings).map_err(|error| error.to_string())?))
    }

    /// Compiles on the calling thread.
    pub fn compile(&self, wasm: &[u8]) -> Result<Vec<u8>, String> {
        self.0.compile(wasm).map_err(|error| error.to_string())
    }

    /// Compiles on so many threads, each of which takes the next function that no one has taken.
    pub fn compile_parallel(&self, wasm: &[u8], threads: usize) -> Result<Vec<u8>, String> {
        let compiler = &self.0;
        let translation = compiler.translate(wasm).map_err(|error| error.to_string())?;
        let next = AtomicUsize::new(0);
        let done: Mutex<Vec<(usize, CompiledJob)>> = Mutex::new(Vec::new());
        let work = || -> Result<(), String> {
            let mut scratch = Scratch::new();
            let mut mine = Vec::new();
            loop {
                let job = next.fetch_add(1, Ordering::Relaxed);
                if job >= translation.num_jobs() {
                    break;
                }
                let compiled = compiler.compile_job(&translation, job, &mut scratch);
                mine.push((job, compiled.map_err(|error| error.to_string())?));
            }
            done.lock().map_err(|_| "a thread panicked")?.append(&mut mine);
            Ok(())
        };
        std::thread::scope(|scope| -> Result<(), String> {
            let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
            work()?;
            for other in others {
                other.join().map_err(|_| "a thread panicked")??;
            }
            Ok(())
        })?;
        let mut jobs = done.into_inner().map_err(|_| "a thread panicked")?;
        jobs.sort_by_key(|job| job.0);
        let jobs = jobs.into_iter().map(|job| job.1).collect();
        compiler.finish(&translation, jobs, &mut Scratch::new()).map_err(|error| error.to_string())
    }
}

/// Wasmtime's compiler.
pub struct Wasmtime(wasmtime::Engine);

impl Wasmtime {
    /// Wasmtime with this optimisation, on one thread or on all processors.
    pub fn new(opt_level: OptLevel, parallel: bool) -> Result<Wasmtime, String> {
        let mut config = wasmtime::Config::new();
        config.parallel_compilation(parallel);
        config.cranelift_opt_level(match opt_level {
            OptLevel::Speed => wasmtime::OptLevel::Speed,
            OptLevel::None => wasmtime::OptLevel::None,
        });
        // Naming a target turns off what Wasmtime finds out of this processor; then the same features are named as ours.
        config.target("x86_64-unknown-linux-gnu").map_err(|error| error.to_string())?;
        for feature in cpu().to_string().split(',').filter(|name| *name != "baseline") {
            // SAFETY: the code is never run; and the features are this processor's.
            unsafe { config.cranelift_flag_enable(&format!("has_{}", feature.replace('.', ""))) };
        }
        Ok(Wasmtime(wasmtime::Engine::new(&config).map_err(|error| format!("{error:?}"))?))
    }

    /// Compiles to an artifact.
    pub fn compile(&self, wasm: &[u8]) -> Result<Vec<u8>, String> {
        self.0.precompile_module(wasm).map_err(|error| format!("{error:?}"))
    }
}

/// Bytes of machine code in an artifact of either: both are ELF files.
pub fn text_size(artifact: &[u8]) -> Result<usize, String> {
    let file = object::File::parse(artifact).map_err(|error| error.to_string())?;
    let text = file.section_by_name(".text").ok_or("an artifact has no section .text")?;
    Ok(text.size() as usize)
}
