//! `wasm_run compile`: from a module to an artifact in a file.

use crate::command_line::{Compile, How, Signer};
use crate::progress::ProgressLine;
use crate::{Failure, Streams, one_line};
use alloc::format;
use alloc::string::ToString;
use core::fmt::Display;
use wasm_engine::{Config, Engine, WasmBacktraceDetails};
use wasm_platform::files;

impl How<'_> {
    /// An engine's configuration that compiles so.
    pub(crate) fn config(&self) -> Config {
        let mut config = Config::new();
        config.cranelift_opt_level(self.opt_level).compile_tasks(self.threads).compile_limits(self.limits);
        if let Some((cpu, _)) = self.cpu {
            config.target_cpu(cpu);
        }
        config.wasm_backtrace_details(match self.no_debug_info {
            true => WasmBacktraceDetails::Disable,
            false => WasmBacktraceDetails::Enable,
        });
        // Programs compiled for threads have one; with a single thread it is as good as any other memory.
        config.shared_memory(true);
        config
    }
}

/// Compiles a file to another one. That is written as a whole or not at all.
pub(crate) fn run(command: &Compile<'_>, streams: Streams) -> Result<(), Failure> {
    let Compile { input, output, target, how, signer } = command;
    let failed = |file: &str, reason: &dyn Display| Failure::Input(format!("{file}: {reason}"));
    let mut config = how.config();
    if let Some(target) = target {
        // Not a matter of the file.
        config.target(target).map_err(|error| Failure::Input(format!("{error}; name one of these")))?;
    }
    // First, so that nothing is compiled in vain.
    let key = match signer {
        Signer::System => wasm_engine::system_signing_key()
            .map(Some)
            .map_err(|error| format!("{error}, or compile with --no-sign")),
        Signer::File(file) => {
            wasm_engine::read_signing_key(*file).map(Some).map_err(|error| error.to_string())
        }
        Signer::Nobody => Ok(None),
    };
    config.signing_key(key.map_err(Failure::Input)?);
    let module = wasm_engine::read_file(*input)
        .map_err(|error| failed(input, &format!("{}; give a .wasm or .wat file", error.root_cause())))?;
    if module.is_empty() {
        return Err(failed(input, &"the file is empty; give a .wasm or .wat file"));
    }
    if Engine::detect_precompiled(&module).is_some() {
        return Err(failed(input, &"the file is compiled already; give a .wasm or .wat file"));
    }
    if files::same_file(input, output) {
        return Err(failed(output, &"the output would replace the input; name another one with -o"));
    }
    let artifact = {
        let _line = ProgressLine::begin(&mut config, input, streams);
        Engine::new(&config).and_then(|engine| engine.precompile_module(&module))
    };
    let artifact = artifact.map_err(|error| failed(input, &one_line::of(&error)))?;
    files::write_file(output, &artifact).map_err(|reason| {
        failed(output, &format!("the compiled module cannot be written: {reason}; name another one with -o"))
    })
}

/// Checks that code of this kind can run here.
pub(crate) fn check_cpu(how: &How<'_>) -> Result<(), Failure> {
    let Some((cpu, level)) = how.cpu else { return Ok(()) };
    let missing = cpu.difference(wasm_engine::CpuFeatures::of_this_cpu());
    if missing.is_empty() {
        return Ok(());
    }
    Err(Failure::Input(format!("--cpu {level}: this CPU lacks {missing}; give a lower one or leave it out")))
}
