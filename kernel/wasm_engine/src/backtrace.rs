//! Backtraces: which functions were running, found out when something goes wrong, and looked up when somebody asks.
//!
//! What is found out at once is where the frames are, and which modules of the store they are of; so a backtrace that nobody
//! looks at costs some ten instructions per frame. Names and places are looked up once, when they are asked for.

use crate::store::StoreOpaque;
use crate::{AsContext, Module, WasmBacktraceDetails};
use alloc::vec::Vec;
use core::fmt;
use spin::Once;
use wasm_artifact::DefinedFuncIndex;
use wasm_artifact::debug_info::DebugInfo;
use wasm_unwind::{FrameKind, Frames, RawFrame};

/// The wasm functions that were running when something went wrong, innermost first. Found in an error with
/// `error.downcast_ref::<WasmBacktrace>()`.
pub struct WasmBacktrace {
    /// With the frames of others among them.
    raw: Vec<Place>,
    /// The modules that frames are of; they keep the code, and its tables, for later.
    modules: Vec<Module>,
    /// Whether the environment decides about debug information, so that there is something to say if it was left out.
    by_environment: bool,
    frames: Once<Vec<FrameInfo>>,
}

/// A frame that was found.
#[derive(Clone, Copy)]
struct Place {
    pc: usize,
    /// Number in `modules`, or what else it is.
    module: u32,
}

const HOST: u32 = u32::MAX;
const OTHER_STORE: u32 = u32::MAX - 1;

impl WasmBacktrace {
    /// The wasm functions that are running now: seen from a host function. Empty elsewhere, and if the engine was
    /// configured to make no backtraces.
    #[inline(never)]
    pub fn capture(store: impl AsContext) -> WasmBacktrace {
        let store = store.as_context();
        let store = store.0.opaque();
        match store.engine().config().backtrace_frames {
            Some(limit) => Self::collect(store, limit.get()),
            None => Self::default(),
        }
    }

    /// As [`capture`](Self::capture), even if the engine was configured to make no backtraces.
    #[inline(never)]
    pub fn force_capture(store: impl AsContext) -> WasmBacktrace {
        let store = store.as_context();
        let store = store.0.opaque();
        let limit = store.engine().config().backtrace_frames.map_or(20, |limit| limit.get());
        Self::collect(store, limit)
    }

    /// The functions that were running when the current task panicked last, for who has caught that and has the store that was in
    /// use: a host function's panic, with wasm and host in [`mixed`](Self::mixed). `None` if it did not panic, and on Linux, where
    /// that is not known.
    pub fn of_latest_panic(store: impl AsContext) -> Option<WasmBacktrace> {
        let store = store.as_context();
        let store = store.0.opaque();
        let mut frames = Frames::with_limit(wasm_unwind::MAX_OTHER_FRAMES).ok()?;
        wasm_platform::latest_panic(&mut |pc| {
            let is_wasm = store.module_at(pc).is_some();
            frames.note(pc, if is_wasm { FrameKind::Wasm } else { FrameKind::Host });
        });
        if frames.is_empty() { None } else { Self::of_frames(store, &frames) }
    }

    fn collect(store: &StoreOpaque, limit: usize) -> WasmBacktrace {
        let mut frames = Frames::with_limit(limit).unwrap_or_default();
        // SAFETY: the store is in use by this task, which borrows it. The frame pointer is this function's.
        unsafe { frames.collect_from_host(store.context(), wasm_platform::frame_pointer()) };
        Self::of_frames(store, &frames).unwrap_or_default()
    }

    /// Takes note of the frames in the buffer. `None` if there is no memory for it.
    pub(crate) fn of_frames(store: &StoreOpaque, collected: &Frames) -> Option<WasmBacktrace> {
        let (mut raw, mut modules) = (Vec::new(), Vec::<Module>::new());
        raw.try_reserve_exact(collected.frames().len()).ok()?;
        // The module that the last frame was of, and where its code is.
        let mut last = (0..0, 0);
        for &RawFrame { pc, kind } in collected.frames() {
            let module = match kind {
                FrameKind::Host => HOST,
                FrameKind::OtherStore => OTHER_STORE,
                FrameKind::Wasm if last.0.contains(&pc) => last.1,
                FrameKind::Wasm => {
                    let Some(module) = store.module_at(pc) else { continue };
                    let known = modules.iter().position(|known| Module::same(known, module));
                    let number = match known {
                        Some(number) => number,
                        None => {
                            modules.try_reserve(1).ok()?;
                            modules.push(module.clone());
                            modules.len() - 1
                        }
                    };
                    last = (module.code().text(), number as u32);
                    last.1
                }
            };
            raw.push(Place { pc, module });
        }
        let details = store.engine().config().backtrace_details;
        let by_environment = details == WasmBacktraceDetails::Environment;
        Some(Self { raw, modules, by_environment, frames: Once::new() })
    }

    /// Whether there is no wasm function in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.modules.is_empty()
    }

    /// The frames, innermost first.
    pub fn frames(&self) -> &[FrameInfo] {
        if let Some(frames) = self.frames.get() {
            return frames;
        }
        let mut frames = Vec::new();
        // Without memory for it there is nothing to show; the error itself is of more interest.
        if frames.try_reserve_exact(self.raw.len()).is_ok() {
            frames.extend(self.raw.iter().filter_map(|place| self.look_up(place)));
        }
        self.frames.call_once(|| frames)
    }

    fn look_up(&self, place: &Place) -> Option<FrameInfo> {
        FrameInfo::new(self.modules.get(place.module as usize)?, place.pc)
    }

    /// All functions that were running, those of the host and of other stores included, in their order.
    ///
    /// On Linux the host's functions are not known: Rust's standard library keeps no frame pointers there.
    pub fn mixed(&self) -> MixedBacktrace<'_> {
        MixedBacktrace(self)
    }
}

impl Default for WasmBacktrace {
    fn default() -> Self {
        Self { raw: Vec::new(), modules: Vec::new(), by_environment: false, frames: Once::new() }
    }
}

impl fmt::Debug for WasmBacktrace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WasmBacktrace").field("frames", &self.frames()).finish()
    }
}

impl fmt::Display for WasmBacktrace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("error while executing at wasm backtrace:")?;
        for (number, frame) in self.frames().iter().enumerate() {
            write!(f, "\n  {number:>3}: {frame}")?;
        }
        let left_out = |module: &Module| DebugInfo::is_left_out(module.code().debug_info());
        if self.by_environment && self.modules.iter().any(left_out) {
            f.write_str(
                "\nnote: using the `WASMTIME_BACKTRACE_DETAILS=1` environment variable may show more debugging information",
            )?;
        }
        Ok(())
    }
}

/// See [`WasmBacktrace::mixed`].
#[derive(Clone, Copy)]
pub struct MixedBacktrace<'a>(&'a WasmBacktrace);

/// A frame of a stack on which wasm and the host call each other.
#[derive(Debug)]
pub enum MixedFrame {
    /// A wasm function of the store in question.
    Wasm(FrameInfo),
    /// A wasm function of another store: an address in its code.
    OtherStore(usize),
    /// A function of the host: an address in its code.
    Host(usize),
}

impl MixedBacktrace<'_> {
    /// The frames, innermost first.
    pub fn frames(&self) -> impl Iterator<Item = MixedFrame> + '_ {
        self.0.raw.iter().filter_map(|place| match place.module {
            HOST => Some(MixedFrame::Host(place.pc)),
            OTHER_STORE => Some(MixedFrame::OtherStore(place.pc)),
            _ => self.0.look_up(place).map(MixedFrame::Wasm),
        })
    }

    /// Whether there are functions of the host between functions of wasm.
    pub fn has_host_frames_between(&self) -> bool {
        let mut kinds = self.0.raw.iter().map(|place| place.module == HOST);
        kinds.any(|is_host| is_host) && kinds.any(|is_host| !is_host)
    }
}

impl fmt::Display for MixedBacktrace<'_> {
    /// A line for each frame, wasm's as in a [`WasmBacktrace`], the host's as `function+0x12 (crate)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("error while executing at backtrace of wasm and host:")?;
        for (number, frame) in self.frames().enumerate() {
            write!(f, "\n  {number:>3}: ")?;
            match frame {
                MixedFrame::Wasm(frame) => write!(f, "{frame}")?,
                MixedFrame::OtherStore(pc) | MixedFrame::Host(pc) => write_host_frame(f, pc)?,
            }
        }
        Ok(())
    }
}

/// What the system knows about an address in code.
fn write_host_frame(f: &mut fmt::Formatter<'_>, pc: usize) -> fmt::Result {
    let mut result = Ok(());
    let known = wasm_platform::symbolize(pc, &mut |symbol| result = write!(f, "host - {symbol}"));
    if !known {
        result = write!(f, "host - unknown code at {pc:#x}");
    }
    result
}

/// A function that was running, and where in it.
pub struct FrameInfo {
    module: Module,
    function: DefinedFuncIndex,
    module_offset: Option<usize>,
    func_start: usize,
    symbols: Once<Vec<FrameSymbol>>,
}

impl FrameInfo {
    fn new(module: &Module, pc: usize) -> Option<Self> {
        let code = module.code();
        let offset = code.text_offset(pc)?;
        let tables = code.tables();
        let function = tables.function_at(offset)?;
        Some(Self {
            module: module.clone(),
            function,
            module_offset: tables.wasm_offset_at(offset).map(|offset| offset as usize),
            func_start: tables.function(function)?.wasm_offset as usize,
            symbols: Once::new(),
        })
    }

    /// Index of the function among all of its module.
    pub fn func_index(&self) -> u32 {
        self.module.declared().func_index(self.function).0
    }

    /// Its module.
    pub fn module(&self) -> &Module {
        &self.module
    }

    /// Its name, if the module has one for it.
    pub fn func_name(&self) -> Option<&str> {
        let index = self.module.declared().func_index(self.function);
        self.module.code().tables().function_name(index)
    }

    /// Offset of the instruction from the start of the module's binary, in bytes.
    pub fn module_offset(&self) -> Option<usize> {
        self.module_offset
    }

    /// Offset of the instruction from the start of the function's body, in bytes.
    pub fn func_offset(&self) -> Option<usize> {
        self.module_offset()?.checked_sub(self.func_start)
    }

    /// What the module's debug information says about the instruction: the function it is in, with file and line; if that was
    /// inlined, the function that it was inlined into, and so on. Empty if the module has no debug information, or was
    /// compiled without keeping it ([`Config::wasm_backtrace_details`](crate::Config::wasm_backtrace_details)).
    ///
    /// Looked up when first asked for, which takes time in proportion to the debug information.
    pub fn symbols(&self) -> &[FrameSymbol] {
        // Not within `call_once`: a task that is killed while it looks them up must not leave that half done.
        self.symbols.get().unwrap_or_else(|| {
            let symbols = self.look_up_symbols().unwrap_or_default();
            self.symbols.call_once(|| symbols)
        })
    }

    fn look_up_symbols(&self) -> Option<Vec<FrameSymbol>> {
        let offset = u32::try_from(self.module_offset?).ok()?;
        let debug_info = DebugInfo::new(self.module.code().debug_info())?;
        let symbols = self.module.engine().debug_info_reader()?.function()?;
        // In place: the one is a wrapper of the other.
        Some(symbols(&debug_info, offset).into_iter().map(FrameSymbol).collect())
    }

    /// Writes the function's name, or its number.
    fn write_name(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.func_name() {
            Some(name) => write_demangled(f, name),
            None => write!(f, "<wasm function {}>", self.func_index()),
        }
    }
}

fn write_demangled(f: &mut fmt::Formatter<'_>, name: &str) -> fmt::Result {
    match rustc_demangle::try_demangle(name) {
        Ok(name) => write!(f, "{name}"),
        Err(_) => f.write_str(name),
    }
}

impl fmt::Debug for FrameInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrameInfo")
            .field("module", &self.module)
            .field("func_index", &self.func_index())
            .field("func_name", &self.func_name())
            .field("module_offset", &self.module_offset)
            .finish_non_exhaustive()
    }
}

/// As in the lines of a [`WasmBacktrace`].
impl fmt::Display for FrameInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(offset) = self.module_offset() {
            write!(f, "{offset:#8x} - ")?;
        }
        if self.symbols().is_empty() {
            write!(f, "{}!", self.module().name().unwrap_or("<unknown>"))?;
            return self.write_name(f);
        }
        for (number, symbol) in self.symbols().iter().enumerate() {
            if number > 0 {
                f.write_str("\n                - ")?;
            }
            match symbol.name() {
                Some(name) => write_demangled(f, name)?,
                None if number == 0 => self.write_name(f)?,
                None => f.write_str("<inlined function>")?,
            }
            let Some(file) = symbol.file() else { continue };
            write!(f, "\n                    at {file}")?;
            if let Some(line) = symbol.line() {
                write!(f, ":{line}")?;
                if let Some(column) = symbol.column() {
                    write!(f, ":{column}")?;
                }
            }
        }
        Ok(())
    }
}

/// A function in the source, and where in it: see [`FrameInfo::symbols`].
#[derive(Debug)]
#[repr(transparent)]
pub struct FrameSymbol(wasm_artifact::debug_info::Symbol);

impl FrameSymbol {
    /// Its name, as the compiler has it.
    pub fn name(&self) -> Option<&str> {
        self.0.name.as_deref()
    }

    /// The source file.
    pub fn file(&self) -> Option<&str> {
        self.0.file.as_deref()
    }

    /// The line, counted from 1.
    pub fn line(&self) -> Option<u32> {
        self.0.line
    }

    /// The column, counted from 1.
    pub fn column(&self) -> Option<u32> {
        self.0.column
    }
}
