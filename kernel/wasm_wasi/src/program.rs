//! WASI for a program that somebody runs: what `wasm_run` asks of this crate, which it loads for it.

use crate::{DirPerms, FilePerms, WasiCtxBuilder, WasiP1Ctx, add_to_linker_sync, p0};
use alloc::boxed::Box;
use alloc::string::String;
use core::any::Any;
use wasm_engine::{Linker, Result};

/// The data of a store in which a program runs. Whoever does not link with this crate can make and drop it.
pub struct Program {
    /// The embedder's own.
    pub host: Box<dyn Any + Send>,
    /// What [`link_program`] returned, if the program needs it.
    pub wasi: Option<Box<dyn Any + Send>>,
}

/// A directory that a program is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preopen<'a> {
    /// Its path.
    pub host: &'a str,
    /// The program's name for it.
    pub guest: &'a str,
    /// Whether it can only be read.
    pub read_only: bool,
}

/// What a program is given, besides standard input, output and error of the current task or process.
#[derive(Debug)]
pub struct ProgramOptions<'a> {
    /// Its arguments; the first one is its name.
    pub args: &'a [String],
    /// Its variables.
    pub env: &'a [(&'a str, &'a str)],
    /// Its directories.
    pub dirs: &'a [Preopen<'a>],
}

/// What [`link_program`] is.
pub type LinkProgram = fn(&mut Linker<Program>, &ProgramOptions<'_>) -> Result<Box<dyn Any + Send>>;

/// Name of the symbol by which [`link_program`] is found where it is loaded at run time: a variable of type [`LinkProgram`].
pub const LINK_SYMBOL: &str = "wasm_wasi_link_program";

/// See [`LINK_SYMBOL`].
// SAFETY: no other symbol of the system has this name.
#[cfg(target_os = "theseus")]
#[unsafe(no_mangle)]
pub static wasm_wasi_link_program: LinkProgram = link_program;

/// Defines the functions of preview 1, and of `wasi_unstable`, in `linker`, and returns what they work with, for [`Program::wasi`].
///
/// # Errors
/// Says which of the options cannot be fulfilled.
pub fn link_program(
    linker: &mut Linker<Program>,
    options: &ProgramOptions<'_>,
) -> Result<Box<dyn Any + Send>> {
    let mut wasi = WasiCtxBuilder::new();
    wasi.inherit_stdio().args(options.args).envs(options.env);
    for Preopen { host, guest, read_only } in options.dirs {
        let (dirs, files) = match read_only {
            true => (DirPerms::READ, FilePerms::READ),
            false => (DirPerms::all(), FilePerms::all()),
        };
        wasi.preopened_dir(host, guest, dirs, files)?;
    }
    let wasi = wasi.try_build_p1()?;
    add_to_linker_sync(linker, ctx_of)?;
    p0::add_to_linker_sync(linker, ctx_of)?;
    Ok(Box::new(wasi))
}

/// What the functions work with.
fn ctx_of(program: &mut Program) -> &mut WasiP1Ctx {
    let wasi = program.wasi.as_mut().and_then(|wasi| wasi.downcast_mut());
    wasi.expect("whoever links the functions puts what they work with into the store")
}
