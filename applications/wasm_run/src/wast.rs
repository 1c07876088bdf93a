//! `wasm_run wast`, which is a crate of its own: `wasm_wast`. It is large, so the kernel loads it for this and forgets it
//! afterwards; on Linux the program is linked with it.

use crate::Streams;
use alloc::string::String;

/// Runs the scripts that `args`, which begin after `wast`, name, and returns the exit status.
#[cfg(not(target_os = "theseus"))]
pub(crate) fn run(args: &[String], streams: Streams) -> isize {
    wasm_wast::run(args, streams.out, streams.err)
}

/// Runs the scripts that `args`, which begin after `wast`, name, and returns the exit status.
#[cfg(target_os = "theseus")]
pub(crate) fn run(args: &[String], streams: Streams) -> isize {
    use alloc::format;
    use wasm_platform::{LoadedCommand, LoadedCrate};

    const CRATE: &str = "wasm_wast";
    const SYMBOL: &str = "wasm_wast_command";
    let failed = |reason: String| {
        (streams.err)(format_args!("wasm_run wast: {reason}\n"));
        1
    };
    let loaded = match LoadedCrate::load(CRATE) {
        Ok(loaded) => loaded,
        Err(error) => return failed(format!("cannot load the crate {CRATE}: {error}")),
    };
    let Some(command) = loaded.variable(SYMBOL) else {
        return failed(format!("the crate {CRATE} has no {SYMBOL}; build the system anew"));
    };
    // SAFETY: the variable has this type, and exists as long as the crate is loaded, which it is until we return or unwind.
    let command = unsafe { *command.cast::<LoadedCommand>() };
    command(args, streams.out, streams.err)
}
