//! Where the reader of debug information comes from.

/// It is in a crate that is loaded when it is first needed.
#[cfg(target_os = "theseus")]
mod reader {
    use wasm_artifact::debug_info::{SYMBOLS_FUNCTION_SYMBOL, SymbolsFunction};
    use wasm_platform::LoadedCrate;

    /// The crate that has it.
    const CRATE: &str = "wasm_dwarf";

    /// Keeps the crate.
    pub(crate) struct Reader {
        loaded: LoadedCrate,
    }

    impl Reader {
        /// Loads the crate, unless it is loaded. `None` if it cannot be: then places have no files and lines.
        pub(crate) fn load() -> Option<Self> {
            LoadedCrate::load(CRATE).ok().map(|loaded| Reader { loaded })
        }

        pub(crate) fn function(&self) -> Option<SymbolsFunction> {
            let variable = self.loaded.variable(SYMBOLS_FUNCTION_SYMBOL)?;
            // SAFETY: the symbol is defined as a variable of this type, which never changes, of a crate that is kept loaded.
            Some(unsafe { *variable.cast::<SymbolsFunction>() })
        }
    }
}

/// This program has it.
#[cfg(not(target_os = "theseus"))]
mod reader {
    use wasm_artifact::debug_info::SymbolsFunction;

    pub(crate) struct Reader;

    impl Reader {
        pub(crate) fn load() -> Option<Self> {
            Some(Reader)
        }

        pub(crate) fn function(&self) -> Option<SymbolsFunction> {
            Some(wasm_dwarf::wasm_dwarf_symbols)
        }
    }
}

pub(crate) use reader::Reader;
