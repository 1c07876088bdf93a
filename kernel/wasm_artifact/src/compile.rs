//! Compiling, as those see it who do not contain the compiler.
//!
//! The compiler is large, and a kernel loads it only when there is something to compile. So the engine does not link with it: it
//! finds a [`CompileService`] at run time (or, where there is no loading at run time, is linked with one) and knows of it what
//! stands here.

use crate::{CpuFeatures, OptLevel, Tunables};
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// The system that code is compiled for. Machine code is the same for all; but an artifact says which one it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// The Theseus kernel.
    Theseus,
    /// Linux.
    Linux,
}

impl Target {
    /// All targets.
    pub const ALL: [Target; 2] = [Target::Theseus, Target::Linux];

    /// The target's name in artifacts and on command lines.
    pub const fn name(self) -> &'static str {
        match self {
            Target::Theseus => "x86_64-theseus",
            Target::Linux => "x86_64-linux",
        }
    }

    /// The target of this name, if there is one.
    pub fn from_name(name: &str) -> Option<Target> {
        Target::ALL.into_iter().find(|target| target.name() == name)
    }
}

/// A set of extensions of WebAssembly 1.0 that modules may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Features(u32);

impl Features {
    /// Blocks and functions with several results.
    pub const MULTI_VALUE: Features = Features(1 << 0);
    /// Copying and filling memories and tables, passive segments.
    pub const BULK_MEMORY: Features = Features(1 << 1);
    /// References as values, several tables.
    pub const REFERENCE_TYPES: Features = Features(1 << 2);
    /// 128-bit vectors.
    pub const SIMD: Features = Features(1 << 3);
    /// Atomic instructions and shared memories.
    pub const THREADS: Features = Features(1 << 4);
    /// Tags, `throw` and `try_table`, references to exceptions.
    pub const EXCEPTIONS: Features = Features(1 << 5);
    /// `return_call` and `return_call_indirect`.
    pub const TAIL_CALL: Features = Features(1 << 6);
    /// `try`, `catch`, `delegate` and `rethrow`, which were never in a release of WebAssembly and are what compilers made until lately.
    pub const LEGACY_EXCEPTIONS: Features = Features(1 << 7);
    /// All that can be turned off. What is not named here of WebAssembly 2.0 cannot.
    pub const ALL: Features = Features((1 << 8) - 1);

    /// Whether all of `other` are in `self`.
    pub const fn contains(self, other: Features) -> bool {
        self.0 & other.0 == other.0
    }

    /// Puts `features` in, or takes them out.
    pub const fn set(&mut self, features: Features, enable: bool) {
        if enable {
            self.0 |= features.0;
        } else {
            self.0 &= !features.0;
        }
    }
}

/// How registers are given to values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum RegallocAlgorithm {
    /// As well as is known, by going back over what was decided before.
    #[default]
    Backtracking,
    /// In one pass: faster to compile, and code up to twice as slow.
    SinglePass,
}

/// Everything that the generated code depends on besides the module.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// The system that will run the code.
    pub target: Target,
    /// CPU features that the code may use.
    pub cpu: CpuFeatures,
    /// How much effort goes into the code.
    pub opt_level: OptLevel,
    /// What the runtime promises about memories.
    pub tunables: Tunables,
    /// Whether to check Cranelift IR between passes: finds mistakes of the compiler, and takes time.
    pub verify_ir: bool,
    /// What modules may use of WebAssembly.
    pub features: Features,
    /// Whether every NaN that arithmetic gives has the same bits, which WebAssembly leaves open: results are then the same on
    /// every processor. Costs some time wherever floats are computed.
    pub nan_canonicalization: bool,
    /// How registers are given to values.
    pub regalloc_algorithm: RegallocAlgorithm,
    /// Whether the artifact keeps the module's debug information (DWARF), if it has any: by that, backtraces show files and lines.
    pub debug_info: bool,
}

impl Settings {
    /// Optimised code for any CPU of the target.
    pub fn new(target: Target) -> Settings {
        Settings {
            target,
            cpu: CpuFeatures::BASELINE,
            opt_level: OptLevel::default(),
            tunables: Tunables::default(),
            verify_ir: false,
            features: Features::ALL,
            nan_canonicalization: false,
            regalloc_algorithm: RegallocAlgorithm::Backtracking,
            debug_info: true,
        }
    }
}

/// What a compilation may use before it ends with [`CompileErrorKind::Limit`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompileLimits {
    /// Bytes of memory that all its tasks have allocated at a time. In Theseus a compilation has memory of its own; on Linux the limit is
    /// kept in programs whose allocator is `wasm_platform::BudgetedAllocator`, such as `wasm_run`.
    pub memory: usize,
    /// Bytes of one function's body in the `.wasm` file.
    pub function_size: usize,
}

/// The most memory a compilation uses unless told otherwise: several times what modules of some MB take.
pub const DEFAULT_COMPILE_MEMORY: usize = 512 << 20;

/// The largest function unless told otherwise: several times the largest one of real modules; a compiler's time and memory
/// grow faster than a function.
pub const DEFAULT_FUNCTION_SIZE: usize = 2 << 20;

impl Default for CompileLimits {
    fn default() -> Self {
        CompileLimits { memory: DEFAULT_COMPILE_MEMORY, function_size: DEFAULT_FUNCTION_SIZE }
    }
}

/// How far a compilation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Functions that are compiled, trampolines counted as such.
    pub done: usize,
    /// Of how many.
    pub total: usize,
}

/// A module to be compiled.
#[derive(Clone, Copy)]
pub struct CompileRequest<'a> {
    /// The module.
    pub input: &'a [u8],
    /// Whether `input` may be in the text format, too: it is if it does not begin as the binary format does.
    pub accept_text: bool,
    /// What the code is to be like.
    pub settings: Settings,
    /// What the compilation may use.
    pub limits: CompileLimits,
    /// How many tasks compile at a time at most; 0: as many as the machine runs at once.
    pub tasks: usize,
    /// Called on the requesting task now and then, at least every 100 ms; never after [`CompileService::compile`] has
    /// returned.
    pub progress: Option<&'a dyn Fn(Progress)>,
}

/// What compiles modules.
///
/// All of its work happens in tasks of its own, which end before a call returns. If the calling task is killed meanwhile, they
/// end with it. Whatever the outcome, nothing but the result is left allocated.
pub trait CompileService: Sync {
    /// Compiles a module to an artifact, which depends on the module and the settings alone.
    ///
    /// # Errors
    /// When the module is not valid, uses an unknown feature, or exceeds a limit.
    fn compile(&self, request: &CompileRequest<'_>) -> Result<Vec<u8>, CompileError>;

    /// Checks that a module in the binary format is valid, function bodies included.
    ///
    /// # Errors
    /// As [`compile`](Self::compile).
    fn validate(&self, request: &CompileRequest<'_>) -> Result<(), CompileError>;
}

/// Name of the symbol by which a compile service is found at run time: a `static` of type [`CompileServiceEntry`].
pub const COMPILE_SERVICE_SYMBOL: &str = "wasm_compile_service";

/// Type of the static behind [`COMPILE_SERVICE_SYMBOL`].
pub type CompileServiceEntry = &'static dyn CompileService;

/// What kind of thing kept a module from being compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CompileErrorKind {
    /// The text or the module is not valid, or uses a feature that is not known.
    Invalid,
    /// The module exceeds a limit: of the request, or of the compiler.
    Limit,
    /// The system lacked something, memory for example.
    System,
    /// A mistake of the compiler.
    Internal,
}

/// Why a module was not compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompileError {
    /// What kind of thing it was.
    pub kind: CompileErrorKind,
    /// The cause, in one line.
    pub message: String,
}

impl CompileError {
    /// An error of this kind with this message, whose lines are joined.
    pub fn new(kind: CompileErrorKind, message: &str) -> CompileError {
        let message = message.lines().map(str::trim).collect::<Vec<_>>().join(" ");
        CompileError { kind, message }
    }
}

impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl core::error::Error for CompileError {}
