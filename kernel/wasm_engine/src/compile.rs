//! Compiling modules, where the feature `compiler` is on.

use crate::module::{FilePath, read};
use crate::{Config, Engine, Module, Result, bail, error::Context};
use alloc::borrow::Cow;
use alloc::vec::Vec;
use wasm_artifact::CpuFeatures;
use wasm_compiler::{Compiler, Settings, Target};

/// How much the compiler is to try.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum OptLevel {
    /// As fast as possible to compile.
    None,
    /// As fast as possible to run.
    #[default]
    Speed,
}

/// What the compiler is told besides the tunables.
#[derive(Debug, Clone, Default)]
pub(crate) struct Options {
    opt_level: OptLevel,
    verify: bool,
    /// `None`: the system this runs on, with this CPU's features.
    target: Option<(Target, CpuFeatures)>,
}

impl Config {
    /// How much the compiler is to try; by default all it can.
    pub fn cranelift_opt_level(&mut self, level: OptLevel) -> &mut Self {
        self.compiler.opt_level = level;
        self
    }

    /// Whether the compiler checks its own work between its steps, which is slow; no by default.
    pub fn cranelift_debug_verifier(&mut self, enable: bool) -> &mut Self {
        self.compiler.verify = enable;
        self
    }

    /// Compiles for another system, "x86_64-theseus" or "x86_64-linux", and any CPU of it. What an engine so configured
    /// compiles it can [`serialize`](Engine::precompile_module) but not run, unless it is this very system.
    ///
    /// # Errors
    /// Fails if no such system is known.
    pub fn target(&mut self, target: &str) -> Result<&mut Self> {
        let Some(target) = Target::from_name(target) else {
            let known = Target::ALL.map(Target::name).join(", ");
            bail!("unknown target {target}; known are {known}");
        };
        self.compiler.target = Some((target, CpuFeatures::BASELINE));
        Ok(self)
    }
}

/// A module in the binary format: what was given, or what the text that was given stands for.
fn to_binary(bytes: &[u8]) -> Result<Cow<'_, [u8]>> {
    Ok(wat::parse_bytes(bytes)?)
}

impl Engine {
    fn compiler(&self) -> Result<Compiler> {
        let options = &self.config().compiler;
        let host = self.host();
        let own = Target::from_name(host.target).context("the compiler does not know this system")?;
        let (target, cpu) = options.target.unwrap_or((own, host.cpu));
        let opt_level = match options.opt_level {
            OptLevel::None => wasm_artifact::OptLevel::None,
            OptLevel::Speed => wasm_artifact::OptLevel::Speed,
        };
        let tunables = self.config().tunables;
        Ok(Compiler::new(Settings { target, cpu, opt_level, tunables, verify_ir: options.verify })?)
    }

    /// Compiles a module, in the binary or the text format, to an artifact for
    /// [`Module::deserialize`].
    ///
    /// # Errors
    /// Says what is wrong with the module.
    pub fn precompile_module(&self, bytes: &[u8]) -> Result<Vec<u8>> {
        Ok(self.compiler()?.compile(&to_binary(bytes)?)?)
    }
}

impl Module {
    /// Compiles a module, in the binary or the text format.
    ///
    /// # Errors
    /// Says what is wrong with the module.
    pub fn new(engine: &Engine, bytes: impl AsRef<[u8]>) -> Result<Module> {
        Self::from_binary(engine, &to_binary(bytes.as_ref())?)
    }

    /// Compiles a module in the binary format.
    ///
    /// # Errors
    /// Says what is wrong with the module.
    pub fn from_binary(engine: &Engine, binary: &[u8]) -> Result<Module> {
        let artifact = engine.compiler()?.compile(binary)?;
        // SAFETY: the compiler has just made it.
        unsafe { Module::deserialize(engine, artifact) }
    }

    /// Compiles the module in a file, in the binary or the text format.
    ///
    /// # Errors
    /// Says what is wrong with the file or the module.
    pub fn from_file(engine: &Engine, file: impl AsRef<FilePath>) -> Result<Module> {
        let content = read(file.as_ref())?;
        let binary = wat::parse_bytes(&content).map_err(|mut error| {
            #[cfg(target_os = "linux")]
            error.set_path(&*file.as_ref().to_string_lossy());
            error
        })?;
        Self::from_binary(engine, &binary)
    }

    /// Checks that a module in the binary format is valid, without keeping what it is compiled to.
    ///
    /// # Errors
    /// Says what is wrong with the module.
    pub fn validate(engine: &Engine, binary: &[u8]) -> Result<()> {
        engine.compiler()?.compile(binary)?;
        Ok(())
    }
}
