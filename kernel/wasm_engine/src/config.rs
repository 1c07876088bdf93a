//! How an engine is to work.

use crate::trust::{Signer, Trusted};
use core::num::NonZeroUsize;
use wasm_artifact::Tunables;

/// The most wasm may use of a stack unless [`Config::max_wasm_stack`] says otherwise: Wasmtime's value.
const DEFAULT_MAX_WASM_STACK: usize = 512 << 10;

/// How many frames a backtrace keeps unless [`Config::wasm_backtrace_max_frames`] says otherwise: Wasmtime's value.
const DEFAULT_BACKTRACE_FRAMES: usize = 20;

/// The unit of memory reservations and guards in bytes: a page of WebAssembly.
const RESERVATION_UNIT: u64 = 64 << 10;

/// Whether debug information is kept, for backtraces: see [`Config::wasm_backtrace_details`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WasmBacktraceDetails {
    /// It is kept.
    Enable,
    /// It is not.
    Disable,
    /// It is if the environment variable `WASMTIME_BACKTRACE_DETAILS` is `1`.
    Environment,
}

impl WasmBacktraceDetails {
    /// Whether it is kept.
    pub(crate) fn is_enabled(self) -> bool {
        match self {
            Self::Enable => true,
            Self::Disable => false,
            Self::Environment => wasm_platform::variable_is("WASMTIME_BACKTRACE_DETAILS", "1"),
        }
    }
}

/// How an [`Engine`](crate::Engine) is to work. Starts with what suits most; each method changes one thing.
#[derive(Debug, Clone)]
pub struct Config {
    pub(crate) max_wasm_stack: usize,
    /// `None`: no backtraces.
    pub(crate) backtrace_frames: Option<NonZeroUsize>,
    pub(crate) backtrace_details: WasmBacktraceDetails,
    pub(crate) tunables: Tunables,
    pub(crate) shared_memory: bool,
    pub(crate) compiler: crate::compile::Options,
    pub(crate) cache: Option<crate::Cache>,
    pub(crate) trusted: Trusted,
    pub(crate) signer: Signer,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_wasm_stack: DEFAULT_MAX_WASM_STACK,
            backtrace_frames: NonZeroUsize::new(DEFAULT_BACKTRACE_FRAMES),
            backtrace_details: WasmBacktraceDetails::Environment,
            tunables: Tunables::default(),
            shared_memory: false,
            compiler: Default::default(),
            cache: None,
            trusted: Trusted::DEFAULT,
            signer: Signer::DEFAULT,
        }
    }
}

impl Config {
    /// The default configuration.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many bytes of a stack wasm may use before it traps with
    /// [`StackOverflow`](crate::Trap::StackOverflow); 512 KiB by default. On a stack where that would not leave the host
    /// functions that wasm calls room enough, wasm gets less.
    pub fn max_wasm_stack(&mut self, size: usize) -> &mut Self {
        self.max_wasm_stack = size;
        self
    }

    /// Whether an error that crosses wasm gets a [`WasmBacktrace`](crate::WasmBacktrace); yes by default.
    pub fn wasm_backtrace(&mut self, enable: bool) -> &mut Self {
        self.backtrace_frames = if enable { NonZeroUsize::new(DEFAULT_BACKTRACE_FRAMES) } else { None };
        self
    }

    /// How many frames a backtrace has at most, 20 by default; `None` for no backtraces. The cost of a trap grows with it.
    pub fn wasm_backtrace_max_frames(&mut self, limit: Option<NonZeroUsize>) -> &mut Self {
        self.backtrace_frames = limit;
        self
    }

    /// Whether modules that are compiled keep their debug information (DWARF, as `clang -g` makes it), by which backtraces
    /// show files and lines: [`FrameInfo::symbols`](crate::FrameInfo::symbols). By default
    /// [`Environment`](WasmBacktraceDetails::Environment). Of a module that was compiled before, what it kept is used.
    pub fn wasm_backtrace_details(&mut self, enable: WasmBacktraceDetails) -> &mut Self {
        self.backtrace_details = enable;
        self
    }

    /// How many bytes of address space a linear memory reserves, rounded up to 64 KiB; 4 GiB by default, which makes
    /// bounds checks unnecessary. A memory cannot grow beyond.
    pub fn memory_reservation(&mut self, bytes: u64) -> &mut Self {
        self.tunables.memory_reservation = round_up(bytes);
        self
    }

    /// How many bytes after a linear memory's reservation are never accessible, rounded up to 64 KiB; 32 MiB by default.
    /// Accesses with a constant offset up to that need no bounds check.
    pub fn memory_guard_size(&mut self, bytes: u64) -> &mut Self {
        self.tunables.memory_guard_size = round_up(bytes);
        self
    }
}

fn round_up(bytes: u64) -> u64 {
    bytes.checked_next_multiple_of(RESERVATION_UNIT).unwrap_or(u64::MAX - (RESERVATION_UNIT - 1))
}
