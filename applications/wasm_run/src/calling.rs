//! Calling a program's function, and saying what went wrong.

use crate::Streams;
use wasm_engine::{Error, Func, Result, Store, Val, WasmBacktrace};

/// Calls `function`. If the host panics meanwhile, who called whom is printed before the panic goes on.
#[cfg(target_os = "theseus")]
pub(crate) fn call<T: 'static>(
    function: &Func,
    store: &mut Store<T>,
    args: &[Val],
    results: &mut [Val],
    streams: Streams,
) -> Result<()> {
    let called = catch_unwind::catch_unwind_with_arg(|()| function.call(&mut *store, args, results), ());
    called.unwrap_or_else(|reason| {
        if let task::KillReason::Panic(_) = &reason
            && let Some(backtrace) = WasmBacktrace::of_latest_panic(&*store)
        {
            (streams.err)(format_args!("wasm_run: {reason}: {}\n", backtrace.mixed()));
        }
        catch_unwind::resume_unwind(reason)
    })
}

/// Calls `function`.
#[cfg(not(target_os = "theseus"))]
pub(crate) fn call<T: 'static>(
    function: &Func,
    store: &mut Store<T>,
    args: &[Val],
    results: &mut [Val],
    _streams: Streams,
) -> Result<()> {
    function.call(store, args, results)
}

/// Says what ended the program in `file`. If wasm and host had called each other, both are shown.
pub(crate) fn report(file: &str, error: &Error, streams: Streams) {
    (streams.err)(format_args!("wasm_run: {file}: {error:?}\n"));
    if let Some(backtrace) = error.downcast_ref::<WasmBacktrace>()
        && backtrace.mixed().has_host_frames_between()
    {
        (streams.err)(format_args!("{}\n", backtrace.mixed()));
    }
}
