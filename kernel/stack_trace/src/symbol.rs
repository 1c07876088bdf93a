//! Names for addresses.

use core::{
    fmt::{self, Write},
    ptr,
    sync::atomic::{AtomicPtr, AtomicUsize, Ordering},
};

use crate::line::WithoutTypeArguments;

/// What is known of an address in code.
#[derive(Clone, Copy, Debug)]
pub struct Symbol<'a> {
    /// What the code belongs to: a crate, or a WebAssembly module.
    pub module: &'a str,
    /// The function's name, mangled if the compiler mangles.
    pub function: &'a str,
    /// Offset of the address from the beginning of the function, in bytes.
    pub offset: usize,
}

impl fmt::Display for Symbol<'_> {
    /// `function+0x12 (module)`; type arguments of the function are left out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut name = WithoutTypeArguments::new(&mut *f);
        write!(name, "{:#}", rustc_demangle::demangle(self.function))?;
        name.finish()?;
        write!(f, "+{:#x} ({})", self.offset, self.module)
    }
}

/// Calls the function that it is given with the symbol that an address lies in and returns true, or returns false.
///
/// It is called while some task panics, possibly one that is registering or deregistering code: it must not allocate, not
/// wait for a lock, and not panic.
pub type Symbolizer = fn(address: usize, f: &mut dyn FnMut(&Symbol<'_>)) -> bool;

/// At most this many can be registered at a time. There is one compiler in the kernel, so two are plenty.
const CAPACITY: usize = 4;

static SYMBOLIZERS: [AtomicPtr<()>; CAPACITY] = [const { AtomicPtr::new(ptr::null_mut()) }; CAPACITY];

/// Number of tasks in [`symbolize_external`].
static READERS: AtomicUsize = AtomicUsize::new(0);

/// There are as many symbolizers as there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManySymbolizers;

impl fmt::Display for TooManySymbolizers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no more than {CAPACITY} symbolizers can be registered at a time")
    }
}

impl core::error::Error for TooManySymbolizers {}

/// A symbolizer that is registered, until this is dropped.
#[derive(Debug)]
#[must_use = "dropping the guard deregisters the symbolizer"]
pub struct SymbolizerGuard {
    index: usize,
}

/// Has `symbolizer` asked for names that the loader does not know.
///
/// # Errors
/// [`TooManySymbolizers`].
pub fn register_symbolizer(symbolizer: Symbolizer) -> Result<SymbolizerGuard, TooManySymbolizers> {
    let symbolizer = symbolizer as *mut ();
    let free = |slot: &AtomicPtr<()>| {
        slot.compare_exchange(ptr::null_mut(), symbolizer, Ordering::SeqCst, Ordering::Relaxed).is_ok()
    };
    SYMBOLIZERS.iter().position(free).map(|index| SymbolizerGuard { index }).ok_or(TooManySymbolizers)
}

impl Drop for SymbolizerGuard {
    /// Returns when nobody is in the symbolizer any more: then its crate may be unloaded.
    fn drop(&mut self) {
        SYMBOLIZERS[self.index].store(ptr::null_mut(), Ordering::SeqCst);
        while READERS.load(Ordering::SeqCst) != 0 {
            core::hint::spin_loop();
        }
    }
}

/// Calls `f` with the symbol that `address` lies in; false if nobody knows one or says so without waiting.
pub fn symbolize(address: usize, f: &mut dyn FnMut(&Symbol<'_>)) -> bool {
    #[cfg(target_os = "theseus")]
    {
        let known = mod_mgmt::symbolize(address, &mut |symbol| {
            f(&Symbol { module: symbol.crate_name, function: symbol.symbol, offset: symbol.offset })
        });
        if known {
            return true;
        }
    }
    symbolize_external(address, f)
}

fn symbolize_external(address: usize, f: &mut dyn FnMut(&Symbol<'_>)) -> bool {
    struct Reading;

    impl Drop for Reading {
        fn drop(&mut self) {
            READERS.fetch_sub(1, Ordering::SeqCst);
        }
    }

    // Before the slots are looked at, so that a guard's drop either is seen here or sees this.
    READERS.fetch_add(1, Ordering::SeqCst);
    let _reading = Reading;
    SYMBOLIZERS.iter().any(|slot| {
        let symbolizer = slot.load(Ordering::SeqCst);
        // SAFETY: only `register_symbolizer` stores there, a function of this type; null is `None`.
        let symbolizer = unsafe { core::mem::transmute::<*mut (), Option<Symbolizer>>(symbolizer) };
        symbolizer.is_some_and(|symbolizer| symbolizer(address, f))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(address: usize) -> Option<String> {
        let mut name = None;
        let known = symbolize(address, &mut |symbol| name = Some(symbol.to_string()));
        assert_eq!(known, name.is_some());
        name
    }

    fn knows_hundreds(address: usize, f: &mut dyn FnMut(&Symbol<'_>)) -> bool {
        if !(100..200).contains(&address) {
            return false;
        }
        f(&Symbol { module: "hello.wasm", function: "_RNvC5first4main", offset: address - 100 });
        true
    }

    fn knows_everything(address: usize, f: &mut dyn FnMut(&Symbol<'_>)) -> bool {
        f(&Symbol { module: "m", function: "f", offset: address });
        true
    }

    #[test]
    fn symbolizers_are_asked_in_turn_until_they_are_dropped() {
        assert_eq!(name(116), None);
        let first = register_symbolizer(knows_hundreds).unwrap();
        assert_eq!(name(116).unwrap(), "first::main+0x10 (hello.wasm)");
        assert_eq!(name(200), None);
        let second = register_symbolizer(knows_everything).unwrap();
        assert_eq!(name(200).unwrap(), "f+0xc8 (m)");
        assert_eq!(name(116).unwrap(), "first::main+0x10 (hello.wasm)");
        drop(first);
        assert_eq!(name(116).unwrap(), "f+0x74 (m)");
        let others: Vec<_> = std::iter::from_fn(|| register_symbolizer(knows_everything).ok()).collect();
        assert_eq!(others.len(), CAPACITY - 1);
        drop(others);
        drop(second);
        assert_eq!(name(200), None);
    }
}
