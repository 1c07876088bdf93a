//! The functions of WASI, which are a crate of their own: `wasm_wasi`. In the kernel it is loaded for programs that import them, and
//! forgotten afterwards; on Linux the program is linked with it.

use alloc::boxed::Box;
use core::any::Any;
use wasm_engine::{Linker, Result};
use wasm_wasi::{Program, ProgramOptions};

/// Keeps the crate loaded: longer than linker, store and errors of the program, in all of which there is something of it.
#[derive(Default)]
pub(crate) struct Wasi {
    #[cfg(target_os = "theseus")]
    loaded: Option<wasm_platform::LoadedCrate>,
}

impl Wasi {
    /// Defines the functions, and returns what they work with, for [`Program::wasi`].
    #[cfg(not(target_os = "theseus"))]
    pub(crate) fn link(
        &mut self,
        linker: &mut Linker<Program>,
        options: &ProgramOptions<'_>,
    ) -> Result<Box<dyn Any + Send>> {
        wasm_wasi::link_program(linker, options)
    }

    /// Defines the functions, and returns what they work with, for [`Program::wasi`].
    #[cfg(target_os = "theseus")]
    pub(crate) fn link(
        &mut self,
        linker: &mut Linker<Program>,
        options: &ProgramOptions<'_>,
    ) -> Result<Box<dyn Any + Send>> {
        use wasm_engine::format_err;
        use wasm_platform::LoadedCrate;
        use wasm_wasi::{LINK_SYMBOL, LinkProgram};

        const CRATE: &str = "wasm_wasi";
        let loaded = LoadedCrate::load(CRATE).map_err(|error| {
            format_err!("cannot load the crate {CRATE}, which has the functions of WASI: {error}")
        })?;
        let link = self.loaded.insert(loaded).variable(LINK_SYMBOL);
        let link =
            link.ok_or_else(|| format_err!("the crate {CRATE} has no {LINK_SYMBOL}; build the system anew"))?;
        // SAFETY: the variable has this type, and exists as long as the crate is loaded.
        let link = unsafe { *link.cast::<LinkProgram>() };
        link(linker, options)
    }
}
