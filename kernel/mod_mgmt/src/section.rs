//! Sections: the pieces of a loaded crate that have a name and an address.

use core::{fmt, mem};

use crate_metadata::SectionType;
use memory::VirtualAddress;
use rustc_demangle::demangle;
use str_ref::StrRef;

use crate::{LoadError, StrongCrateRef};

/// Where one section of the object file lies.
#[derive(Clone, Copy, Debug)]
pub struct SectionPlace {
    /// What it is for.
    pub kind: SectionType,
    /// Its address; for thread-local variables, that of their initial values, or 0 if those are zeros.
    pub address: usize,
    /// For thread-local variables, their offset from the thread pointer.
    pub tls_offset: Option<usize>,
    /// Size in bytes.
    pub size: usize,
}

impl SectionPlace {
    /// Whether `address` lies in the section.
    pub fn contains(&self, address: usize) -> bool {
        address >= self.address && address - self.address < self.size
    }
}

/// A function or variable of a loaded crate.
///
/// *Holding one proves* that its crate is loaded and stays so: a `LoadedSection` keeps its crate. It is made when asked for
/// (a crate has thousands of symbols and most are never asked for), so compare addresses, not references.
pub struct LoadedSection {
    /// The symbol, mangled.
    pub name: StrRef,
    /// What it is.
    pub typ: SectionType,
    /// Whether other crates can refer to it.
    pub global: bool,
    /// Its address; for a thread-local variable, its offset from the thread pointer.
    pub virt_addr: VirtualAddress,
    /// Size in bytes.
    pub size: usize,
    /// The crate it belongs to.
    pub parent_crate: StrongCrateRef,
    /// The address as a plain number, for [`LoadedSection::as_func`] to refer to.
    address: usize,
}

impl LoadedSection {
    pub(crate) fn new(
        name: &str,
        typ: SectionType,
        global: bool,
        address: usize,
        size: usize,
        parent_crate: StrongCrateRef,
    ) -> Self {
        LoadedSection {
            name: name.into(),
            typ,
            global,
            virt_addr: VirtualAddress::new_canonical(address),
            size,
            parent_crate,
            address,
        }
    }

    /// The section as the function it holds. `F` is the type of a function pointer, such as `fn(Vec<String>) -> isize`.
    ///
    /// # Errors
    /// If this section is no machine code, or `F` is no pointer.
    ///
    /// # Safety
    /// The function must have the signature that `F` says. And since the returned reference can be copied to a plain function
    /// pointer: that pointer must not be called after the crate has been unloaded, so keep this section, or its crate.
    pub unsafe fn as_func<F>(&self) -> Result<&F, LoadError> {
        if self.typ != SectionType::Text
            || mem::size_of::<F>() != mem::size_of::<usize>()
            || mem::align_of::<F>() != mem::align_of::<usize>()
        {
            return Err(LoadError::NoSuchFunction { name: alloc::format!("{self}") });
        }
        // SAFETY: a function pointer is the function's address and not 0; size and alignment were compared; that the
        // function is of type `F` is the caller's promise; it stays as long as `self` keeps the crate.
        Ok(unsafe { &*(&raw const self.address).cast::<F>() })
    }
}

impl fmt::Display for LoadedSection {
    /// The demangled name, without hashes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#}", demangle(&self.name))
    }
}

impl fmt::Debug for LoadedSection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LoadedSection({self}, {}, {:#x}, {} bytes)", self.typ, self.address, self.size)
    }
}
