//! The base image: everything that was linked before boot, known as the crate `nano_core`.

use alloc::vec::Vec;
use core::ops::Range;

use crate_metadata::{
    SymbolValue,
    base_symbols::{BaseSymbolKind, BaseSymbols},
};

use crate::{StrongCrateRef, TLS_INITIALIZER};

/// What the loader has to be told of the base image: the linker script knows it.
pub struct BaseImage {
    /// Addresses of its code.
    pub text: Range<usize>,
    /// Initial values of its thread-local variables: the bytes of `.tdata`.
    pub tls_image: &'static [u8],
    /// Size in bytes of its thread-local variables: `.tdata` and `.tbss` (`p_memsz` of `PT_TLS`).
    pub tls_size: usize,
    /// Their alignment in bytes (`p_align` of `PT_TLS`).
    pub tls_align: usize,
}

/// The base image as the loader knows it.
pub(crate) struct Base {
    pub symbols: BaseSymbols<'static>,
    pub text: Range<usize>,
    pub crate_ref: StrongCrateRef,
}

impl Base {
    /// What the exported symbol `name` stands for.
    #[inline]
    pub(crate) fn value(&self, hash: u64, name: &[u8]) -> Option<SymbolValue> {
        let symbol = self.symbols.find(hash, name)?;
        Some(match symbol.kind {
            BaseSymbolKind::Tls => {
                SymbolValue::ThreadOffset(TLS_INITIALIZER.static_offset(symbol.value as usize) as i64)
            }
            BaseSymbolKind::Function | BaseSymbolKind::Object => SymbolValue::Address(symbol.value),
        })
    }
}

/// The bytes of a table in the boot archive, which stay where they are; a copy that is kept for ever, if they are elsewhere.
pub(crate) fn keep_for_ever(bytes: crate::object_bytes::ObjectBytes) -> &'static [u8] {
    match bytes {
        crate::object_bytes::ObjectBytes::Static(bytes) => bytes,
        crate::object_bytes::ObjectBytes::Copied(bytes) => Vec::leak(bytes.to_vec()),
    }
}
