//! Compiling modules.
//!
//! The compiler is not part of this crate: it is a *service* ([`CompileService`]) that the engine gets when the first module is
//! to be compiled, and keeps until the engine is dropped. In the kernel the crate `wasm_compile` is loaded for it, and unloaded
//! when no engine has it any more; elsewhere a program that has the feature `compiler` is linked with it.

use crate::module::{FilePath, read};
use crate::{Config, Engine, Module, Result, bail, error::Context};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::hash::{Hash, Hasher};
use wasm_artifact::compile::{
    CompileLimits, CompileRequest, CompileService, Features, Progress, RegallocAlgorithm, Settings, Target,
};
use wasm_artifact::elf::{ENGINE_VERSION, FORMAT_VERSION};
use wasm_artifact::{CpuFeatures, Trust};

/// How much the compiler is to try.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum OptLevel {
    /// As fast as possible to compile.
    None,
    /// As fast as possible to run.
    #[default]
    Speed,
    /// As `Speed`, but small where both are not to be had.
    SpeedAndSize,
}

/// What a module in the binary format begins with.
const BINARY_MAGIC: &[u8] = b"\0asm";
/// What an artifact begins with, and other files of the same format.
const ELF_MAGIC: &[u8] = b"\x7fELF";

/// What is called while a module is compiled.
type OnProgress = Arc<dyn Fn(Progress) + Send + Sync>;

/// What the compiler is told besides the tunables.
#[derive(Clone)]
pub(crate) struct Options {
    enabled: bool,
    opt_level: OptLevel,
    verify: bool,
    nan_canonicalization: bool,
    regalloc_algorithm: RegallocAlgorithm,
    features: Features,
    /// `None`: the system this runs on.
    target: Option<Target>,
    /// `None`: this CPU if the target is this system, and otherwise any.
    cpu: Option<CpuFeatures>,
    limits: CompileLimits,
    tasks: usize,
    progress: Option<OnProgress>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            enabled: true,
            opt_level: OptLevel::default(),
            verify: false,
            nan_canonicalization: false,
            regalloc_algorithm: RegallocAlgorithm::default(),
            features: Features::ALL,
            target: None,
            cpu: None,
            limits: CompileLimits::default(),
            tasks: 0,
            progress: None,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("enabled", &self.enabled)
            .field("opt_level", &self.opt_level)
            .field("verify", &self.verify)
            .field("nan_canonicalization", &self.nan_canonicalization)
            .field("regalloc_algorithm", &self.regalloc_algorithm)
            .field("features", &self.features)
            .field("target", &self.target)
            .field("cpu", &self.cpu)
            .field("limits", &self.limits)
            .field("tasks", &self.tasks)
            .finish_non_exhaustive()
    }
}

impl Config {
    /// Whether modules may be compiled; yes by default. An engine that may not loads only what was compiled before.
    pub fn enable_compiler(&mut self, enable: bool) -> &mut Self {
        self.compiler.enabled = enable;
        self
    }

    /// How much the compiler is to try; by default all it can.
    pub fn cranelift_opt_level(&mut self, level: OptLevel) -> &mut Self {
        self.compiler.opt_level = level;
        self
    }

    /// How registers are given to values; by default as well as the compiler can.
    pub fn cranelift_regalloc_algorithm(&mut self, algorithm: RegallocAlgorithm) -> &mut Self {
        self.compiler.regalloc_algorithm = algorithm;
        self
    }

    /// Whether the compiler checks its own work between its steps, which is slow; no by default.
    pub fn cranelift_debug_verifier(&mut self, enable: bool) -> &mut Self {
        self.compiler.verify = enable;
        self
    }

    /// Whether every NaN that arithmetic gives has the same bits, which makes results the same on every processor and costs
    /// some time wherever floats are computed; no by default.
    pub fn cranelift_nan_canonicalization(&mut self, enable: bool) -> &mut Self {
        self.compiler.nan_canonicalization = enable;
        self
    }

    /// Whether modules may have blocks and functions with several results; yes by default.
    pub fn wasm_multi_value(&mut self, enable: bool) -> &mut Self {
        self.compiler.features.set(Features::MULTI_VALUE, enable);
        self
    }

    /// Whether modules may copy and fill memories and tables, and have passive segments; yes by default.
    pub fn wasm_bulk_memory(&mut self, enable: bool) -> &mut Self {
        self.compiler.features.set(Features::BULK_MEMORY, enable);
        self
    }

    /// Whether modules may have references as values, and several tables; yes by default.
    pub fn wasm_reference_types(&mut self, enable: bool) -> &mut Self {
        self.compiler.features.set(Features::REFERENCE_TYPES, enable);
        self
    }

    /// Whether modules may have vectors; yes by default.
    pub fn wasm_simd(&mut self, enable: bool) -> &mut Self {
        self.compiler.features.set(Features::SIMD, enable);
        self
    }

    /// Whether modules may have atomic instructions, and memories that are declared to be shared; yes by default.
    pub fn wasm_threads(&mut self, enable: bool) -> &mut Self {
        self.compiler.features.set(Features::THREADS, enable);
        self
    }

    /// Whether modules may have tags, `throw` and `try_table`, and references to exceptions; yes by default.
    pub fn wasm_exceptions(&mut self, enable: bool) -> &mut Self {
        self.compiler.features.set(Features::EXCEPTIONS, enable);
        self
    }

    /// Whether modules may have exceptions as they were before WebAssembly 3.0, with `try`, `catch`, `delegate` and `rethrow`; yes by
    /// default (Wasmtime does not compile them). They are the same exceptions, of the same tags, as those of `try_table`.
    pub fn wasm_legacy_exceptions(&mut self, enable: bool) -> &mut Self {
        self.compiler.features.set(Features::LEGACY_EXCEPTIONS, enable);
        self
    }

    /// Whether modules may have `return_call` and `return_call_indirect`, which leave the function's frame before they call; yes by
    /// default.
    pub fn wasm_tail_call(&mut self, enable: bool) -> &mut Self {
        self.compiler.features.set(Features::TAIL_CALL, enable);
        self
    }

    /// Whether several functions may be compiled at a time; yes by default. The result is the same.
    pub fn parallel_compilation(&mut self, parallel: bool) -> &mut Self {
        self.compile_tasks(if parallel { 0 } else { 1 })
    }

    /// How many tasks compile at a time at most; 0, the default, for as many as the machine runs at once. The result is the same.
    pub fn compile_tasks(&mut self, tasks: usize) -> &mut Self {
        self.compiler.tasks = tasks;
        self
    }

    /// Compiles for another system, "x86_64-theseus" or "x86_64-linux", and any CPU of it unless
    /// [`target_cpu`](Self::target_cpu) says otherwise. What an engine so configured compiles it can
    /// [`serialize`](Engine::precompile_module) but not run, unless it is this very system.
    ///
    /// # Errors
    /// Fails if no such system is known.
    pub fn target(&mut self, target: &str) -> Result<&mut Self> {
        let Some(target) = Target::from_name(target) else {
            let known = Target::ALL.map(Target::name).join(", ");
            bail!("unknown target {target}; known are {known}");
        };
        self.compiler.target = Some(target);
        Ok(self)
    }

    /// What code may use of a CPU. By default all that this CPU has, or for another [`target`](Self::target) what every CPU has.
    /// Code that uses more than this CPU has is refused when it is loaded.
    pub fn target_cpu(&mut self, features: CpuFeatures) -> &mut Self {
        self.compiler.cpu = Some(features);
        self
    }

    /// What a compilation may use before it is given up with an error.
    pub fn compile_limits(&mut self, limits: CompileLimits) -> &mut Self {
        self.compiler.limits = limits;
        self
    }

    /// What is called while a module is compiled, on the task that asked for it, every tenth of a second or so; nothing by
    /// default.
    pub fn compile_progress(&mut self, progress: Option<Arc<dyn Fn(Progress) + Send + Sync>>) -> &mut Self {
        self.compiler.progress = progress;
        self
    }
}

/// Where the service comes from, and what keeps it.
#[cfg(target_os = "theseus")]
mod service {
    use super::{Result, bail};
    use crate::error::Context;
    use wasm_artifact::compile::{COMPILE_SERVICE_SYMBOL, CompileService, CompileServiceEntry};
    use wasm_platform::LoadedCrate;

    /// The crate that has the service.
    const CRATE: &str = "wasm_compile";

    /// The service and the crate it is in.
    pub(crate) struct Compiler {
        loaded: LoadedCrate,
    }

    impl Compiler {
        /// Loads the compiler, unless it is loaded.
        pub(super) fn load() -> Result<Self> {
            match LoadedCrate::load(CRATE) {
                Ok(loaded) if loaded.variable(COMPILE_SERVICE_SYMBOL).is_some() => Ok(Compiler { loaded }),
                Ok(_) => bail!("the crate {CRATE} of this system is none; build the system again"),
                Err(reason) => bail!(
                    "the compiler cannot be loaded: {reason}; give a module that was compiled before (wasmc on Linux)"
                ),
            }
        }

        pub(super) fn service(&self) -> Result<&dyn CompileService> {
            let entry = self.loaded.variable(COMPILE_SERVICE_SYMBOL).context("the compiler has gone")?;
            // SAFETY: the symbol is defined as a variable of this type, which never changes. The reference in it is for ever,
            // as its crate sees it; here it is given out for as long as the crate is kept.
            Ok(unsafe { *entry.cast::<CompileServiceEntry>() })
        }
    }
}

/// Where the service comes from: this program has it.
#[cfg(all(not(target_os = "theseus"), feature = "compiler"))]
mod service {
    use super::Result;
    use wasm_artifact::compile::CompileService;

    pub(crate) struct Compiler;

    impl Compiler {
        pub(super) fn load() -> Result<Self> {
            Ok(Compiler)
        }

        pub(super) fn service(&self) -> Result<&dyn CompileService> {
            Ok(wasm_compile::wasm_compile_service)
        }
    }
}

/// Where the service comes from: nowhere.
#[cfg(all(not(target_os = "theseus"), not(feature = "compiler")))]
mod service {
    use super::{Result, bail};
    use wasm_artifact::compile::CompileService;

    pub(crate) enum Compiler {}

    impl Compiler {
        pub(super) fn load() -> Result<Self> {
            bail!("this program was built without the compiler; compile the module with wasmc first")
        }

        pub(super) fn service(&self) -> Result<&dyn CompileService> {
            match *self {}
        }
    }
}

pub(crate) use service::Compiler;

impl Engine {
    /// All that the compiled code depends on besides the module.
    pub(crate) fn compile_settings(&self) -> Result<Settings> {
        let options = &self.config().compiler;
        let host = self.host();
        let own = Target::from_name(host.target).context("the compiler does not know this system")?;
        let target = options.target.unwrap_or(own);
        let cpu = options.cpu.unwrap_or(if target == own { host.cpu } else { CpuFeatures::BASELINE });
        let opt_level = match options.opt_level {
            OptLevel::None => wasm_artifact::OptLevel::None,
            OptLevel::Speed => wasm_artifact::OptLevel::Speed,
            OptLevel::SpeedAndSize => wasm_artifact::OptLevel::SpeedAndSize,
        };
        Ok(Settings {
            target,
            cpu,
            opt_level,
            tunables: self.config().tunables,
            verify_ir: options.verify,
            features: options.features,
            nan_canonicalization: options.nan_canonicalization,
            regalloc_algorithm: options.regalloc_algorithm,
            debug_info: self.config().backtrace_details.is_enabled(),
        })
    }

    /// Has the compile service do something with a module.
    fn with_compiler<R>(
        &self,
        input: &[u8],
        accept_text: bool,
        ask: impl FnOnce(
            &dyn CompileService,
            &CompileRequest<'_>,
        ) -> Result<R, wasm_artifact::compile::CompileError>,
    ) -> Result<R> {
        let options = &self.config().compiler;
        if !options.enabled {
            bail!("the engine was configured not to compile; give a module that was compiled before");
        }
        let request = CompileRequest {
            input,
            accept_text,
            settings: self.compile_settings()?,
            limits: options.limits,
            tasks: options.tasks,
            progress: options.progress.as_deref().map(|progress| progress as &dyn Fn(Progress)),
        };
        Ok(ask(self.compiler(Compiler::load)?.service()?, &request)?)
    }

    /// Compiles a module, in the binary or the text format, to an artifact for
    /// [`Module::deserialize`], signed as [`Config::signing_key`] says.
    ///
    /// # Errors
    /// Says what is wrong with the module.
    pub fn precompile_module(&self, bytes: &[u8]) -> Result<Vec<u8>> {
        precompile_signed(self, bytes, true)
    }

    /// What has the same hash for two engines if each can load what the other compiles: versions, system, CPU, options.
    pub fn precompile_compatibility_hash(&self) -> impl Hash + '_ {
        // An engine on a system that the compiler does not know compiles nothing.
        Compatibility(self.compile_settings().ok())
    }
}

/// What the artifacts of an engine depend on, besides the modules.
struct Compatibility(Option<Settings>);

impl Hash for Compatibility {
    fn hash<H: Hasher>(&self, state: &mut H) {
        /// Text that is hashed and not kept.
        struct Hashed<'h, H>(&'h mut H);
        impl<H: Hasher> fmt::Write for Hashed<'_, H> {
            fn write_str(&mut self, text: &str) -> fmt::Result {
                self.0.write(text.as_bytes());
                Ok(())
            }
        }
        ENGINE_VERSION.hash(state);
        FORMAT_VERSION.hash(state);
        // The settings' debug text names every field, so that no later one can be forgotten. To hash cannot fail.
        let _ = fmt::Write::write_fmt(&mut Hashed(state), format_args!("{:?}", self.0));
    }
}

/// Compiles a module to an artifact, and signs it if the engine does.
pub(crate) fn precompile_signed(engine: &Engine, input: &[u8], accept_text: bool) -> Result<Vec<u8>> {
    let mut artifact = precompile(engine, input, accept_text)?;
    engine.sign(&mut artifact)?;
    Ok(artifact)
}

/// Compiles a module to an artifact that nobody has signed.
fn precompile(engine: &Engine, input: &[u8], accept_text: bool) -> Result<Vec<u8>> {
    engine.with_compiler(input, accept_text, |compiler, request| compiler.compile(request))
}

/// Takes a module from the cache, if there is one and it is in it; or compiles it and loads it. `source` is the file it is from, if that
/// is known.
pub(crate) fn compile(
    engine: &Engine,
    input: &[u8],
    accept_text: bool,
    source: Option<&str>,
) -> Result<Module> {
    let compile = || precompile(engine, input, accept_text);
    // In the cache text and what it stands for are two things: text that must not be one is not looked for.
    let may_be_cached = accept_text || input.starts_with(BINARY_MAGIC);
    match &engine.config().cache {
        Some(cache) if may_be_cached => {
            cache.module(engine, &engine.compile_settings()?, input, source, compile)
        }
        _ => {
            let artifact = compile()?;
            // SAFETY: the compiler has just made it.
            unsafe { Module::load_own(engine, &artifact, Trust::JustCompiled) }
        }
    }
}

impl Module {
    /// Compiles a module, in the binary or the text format.
    ///
    /// # Errors
    /// Says what is wrong with the module.
    pub fn new(engine: &Engine, bytes: impl AsRef<[u8]>) -> Result<Module> {
        compile(engine, bytes.as_ref(), true, None)
    }

    /// Compiles a module in the binary format.
    ///
    /// # Errors
    /// Says what is wrong with the module.
    pub fn from_binary(engine: &Engine, binary: &[u8]) -> Result<Module> {
        compile(engine, binary, false, None)
    }

    /// Compiles the module in a file, in the binary or the text format.
    ///
    /// # Errors
    /// Says what is wrong with the file or the module.
    pub fn from_file(engine: &Engine, file: impl AsRef<FilePath>) -> Result<Module> {
        let file = file.as_ref();
        compile(engine, &read(file)?, true, crate::cache::path_text(file))
    }

    /// Loads the module in a file: compiles it, or takes it as it is if it was compiled before.
    ///
    /// # Errors
    /// As [`from_file`](Self::from_file) or [`deserialize`](Self::deserialize).
    ///
    /// # Safety
    /// As [`deserialize`](Self::deserialize), if the file has an artifact.
    pub unsafe fn from_trusted_file(engine: &Engine, file: impl AsRef<FilePath>) -> Result<Module> {
        let file = file.as_ref();
        let content = read(file)?;
        if content.starts_with(ELF_MAGIC) {
            // No module begins like this: what is wrong with such a file is known to those who read artifacts.
            // SAFETY: by the caller.
            return unsafe { Module::deserialize(engine, content) };
        }
        compile(engine, &content, true, crate::cache::path_text(file))
    }

    /// Checks that a module in the binary format is valid, without compiling it.
    ///
    /// # Errors
    /// Says what is wrong with the module, and where.
    pub fn validate(engine: &Engine, binary: &[u8]) -> Result<()> {
        engine.with_compiler(binary, false, |compiler, request| compiler.validate(request))
    }
}
