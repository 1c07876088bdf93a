//! The two compilers, set up alike.

use object::{Object, ObjectSection};
use wasm_artifact::compile::{CompileLimits, CompileRequest, Settings, Target};
use wasm_artifact::{CpuFeatures, OptLevel};
use wasm_compile::wasm_compile_service;

/// What both compile for: this processor, as far as both know its features.
pub fn cpu() -> CpuFeatures {
    CpuFeatures::of_this_cpu()
}

/// Our compiler.
pub struct Ours(Settings);

impl Ours {
    /// Our compiler with this optimisation.
    pub fn new(opt_level: OptLevel) -> Ours {
        Ours(Settings { cpu: cpu(), opt_level, ..Settings::new(Target::Linux) })
    }

    /// Compiles to an artifact, on so many threads; 0: on all processors.
    pub fn compile(&self, wasm: &[u8], threads: usize) -> Result<Vec<u8>, String> {
        let request = CompileRequest {
            input: wasm,
            accept_text: false,
            settings: self.0,
            limits: CompileLimits::default(),
            tasks: threads,
            progress: None,
        };
        wasm_compile_service.compile(&request).map_err(|error| error.to_string())
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
            OptLevel::SpeedAndSize => wasmtime::OptLevel::SpeedAndSize,
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
