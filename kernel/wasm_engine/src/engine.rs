//! The engine: what all modules and stores of a program have in common.

use crate::compile::Compiler;
use crate::trust::SystemKeys;
use crate::type_registry::TypeRegistry;
use crate::{Config, Result, trap};
use alloc::string::String;
use alloc::sync::{Arc, Weak};
use core::fmt;
use spin::Once;
use wasm_artifact::{Artifact, CpuFeatures, Host};
use wasm_platform::TrapHook;

/// What all modules and stores of a program have in common: the configuration, and the numbers of function types. Cheap
/// to clone; a clone is the same engine.
///
/// As long as an engine lives, this crate is asked first about CPU exceptions.
#[derive(Clone)]
pub struct Engine(Arc<Inner>);

struct Inner {
    config: Config,
    target: String,
    cpu: CpuFeatures,
    types: TypeRegistry,
    /// What compiles modules, once there was one to compile.
    compiler: Once<Compiler>,
    debug_info_reader: Once<crate::debug_info::Reader>,
    #[cfg_attr(not(target_os = "theseus"), allow(dead_code, reason = "only Theseus has keys of its own"))]
    system_keys: SystemKeys,
    _trap_hook: TrapHook,
}

/// What kind of artifact [`Engine::detect_precompiled`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Precompiled {
    /// A module, for [`Module::deserialize`](crate::Module::deserialize).
    Module,
}

impl Engine {
    /// Makes an engine that works as `config` says.
    ///
    /// # Errors
    /// Fails if the system's trap hook is taken, or a setting makes no sense.
    pub fn new(config: &Config) -> Result<Engine> {
        if config.max_wasm_stack == 0 {
            crate::bail!("max_wasm_stack size cannot be zero");
        }
        let target = alloc::format!("x86_64-{}", wasm_platform::OPERATING_SYSTEM);
        Ok(Engine(Arc::new(Inner {
            config: config.clone(),
            target,
            cpu: CpuFeatures::of_this_cpu(),
            types: TypeRegistry::default(),
            compiler: Once::new(),
            debug_info_reader: Once::new(),
            system_keys: SystemKeys::default(),
            _trap_hook: TrapHook::install(trap::handle)?,
        })))
    }

    /// The configuration it was made with.
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// Whether both are the same engine.
    pub fn same(a: &Engine, b: &Engine) -> bool {
        Arc::ptr_eq(&a.0, &b.0)
    }

    /// A reference that does not keep the engine alive.
    pub fn weak(&self) -> EngineWeak {
        EngineWeak(Arc::downgrade(&self.0))
    }

    /// Whether `bytes` begin like an artifact that some engine compiled.
    pub fn detect_precompiled(bytes: &[u8]) -> Option<Precompiled> {
        Artifact::detect(bytes).then_some(Precompiled::Module)
    }

    pub(crate) fn types(&self) -> &TypeRegistry {
        &self.0.types
    }

    /// What reads debug information, loaded when it is first asked for, and kept.
    pub(crate) fn debug_info_reader(&self) -> Option<&crate::debug_info::Reader> {
        if let Some(reader) = self.0.debug_info_reader.get() {
            return Some(reader);
        }
        // A task that is killed while it loads leaves nothing half done; if another one was faster, both have the same crate.
        let reader = crate::debug_info::Reader::load()?;
        Some(self.0.debug_info_reader.call_once(|| reader))
    }

    /// What compiles modules; if there is none yet, what `load` gives.
    pub(crate) fn compiler(&self, load: impl FnOnce() -> Result<Compiler>) -> Result<&Compiler> {
        match self.0.compiler.get() {
            Some(compiler) => Ok(compiler),
            // If another task was faster, both have the same crate.
            None => {
                let compiler = load()?;
                Ok(self.0.compiler.call_once(|| compiler))
            }
        }
    }

    /// What is known of the keys that the system trusts.
    #[cfg(target_os = "theseus")]
    pub(crate) fn system_keys(&self) -> &SystemKeys {
        &self.0.system_keys
    }

    /// What an artifact must have been compiled for to run here.
    pub(crate) fn host(&self) -> Host<'_> {
        Host { target: &self.0.target, cpu: self.0.cpu, tunables: self.0.config.tunables }
    }
}

impl Default for Engine {
    /// An engine with the default configuration.
    ///
    /// # Panics
    /// If the system's trap hook is taken.
    fn default() -> Self {
        Self::new(&Config::default()).expect("the default configuration works")
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("config", self.config()).finish_non_exhaustive()
    }
}

/// A reference to an engine that does not keep it alive.
#[derive(Clone)]
pub struct EngineWeak(Weak<Inner>);

impl EngineWeak {
    /// The engine, if it still exists.
    pub fn upgrade(&self) -> Option<Engine> {
        self.0.upgrade().map(Engine)
    }
}
