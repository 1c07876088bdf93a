//! All loaded crates by address: for backtraces, in whatever state the kernel is.

use alloc::{sync::Arc, vec::Vec};
use core::ops::Range;

use spin::Once;
use str_ref::StrRef;
use sync_irq::IrqSafeMutex;

use crate::{LoadError, StrongCrateRef, WeakCrateRef, base::Base, symbols::CrateSymbols};

/// What is known of one crate.
struct Entry {
    text: Range<usize>,
    symbols: Arc<CrateSymbols>,
    krate: WeakCrateRef,
}

static CRATES: IrqSafeMutex<Vec<Entry>> = IrqSafeMutex::new(Vec::new());

/// How often each crate has been loaded, by the name of its object.
static LOAD_COUNTS: IrqSafeMutex<Vec<(StrRef, usize)>> = IrqSafeMutex::new(Vec::new());

/// The base image, once it is known.
pub(crate) static BASE: Once<Base> = Once::new();

/// Makes room for another crate, so that [`add`] cannot fail.
pub(crate) fn reserve() -> Result<(), LoadError> {
    CRATES.lock().try_reserve(1).map_err(|_| LoadError::OutOfMemory { what: "the list of crates" })
}

pub(crate) fn add(text: Range<usize>, symbols: Arc<CrateSymbols>, krate: WeakCrateRef) {
    CRATES.lock().push(Entry { text, symbols, krate });
}

pub(crate) fn remove(symbols: &Arc<CrateSymbols>) {
    let entry = {
        let mut crates = CRATES.lock();
        let place = crates.iter().position(|entry| Arc::ptr_eq(&entry.symbols, symbols));
        place.map(|place| crates.swap_remove(place))
    };
    // Dropped without the lock.
    drop(entry);
}

/// All loaded crates, the base image first.
pub fn all_crates() -> Vec<StrongCrateRef> {
    let mut all = Vec::new();
    all.extend(BASE.get().map(|base| base.crate_ref.clone_shallow()));
    loop {
        let wanted = CRATES.lock().len();
        all.reserve(wanted);
        // References are collected under the lock and dropped outside of it: the last one unloads a crate, which takes
        // the lock.
        let crates = CRATES.lock();
        if crates.len() <= all.capacity() - all.len() {
            all.extend(crates.iter().filter_map(|entry| entry.krate.upgrade()));
            return all;
        }
    }
}

/// Notes that the crate `name` has been loaded once more.
pub(crate) fn count_load(name: StrRef) {
    let mut counts = LOAD_COUNTS.lock();
    match counts.binary_search_by(|(known, _)| known.cmp(&name)) {
        Ok(place) => counts[place].1 += 1,
        // A count that there is no memory for is not worth failing for.
        Err(place) if counts.try_reserve(1).is_ok() => counts.insert(place, (name, 1)),
        Err(_) => {}
    }
}

/// The crates that have been loaded since boot, whether or not they still are, with the number of times; in the order of
/// names. All copies of a program that runs several times count as one crate.
pub fn load_counts() -> Vec<(StrRef, usize)> {
    let mut counts = Vec::new();
    loop {
        let wanted = LOAD_COUNTS.lock().len();
        counts.reserve(wanted);
        let known = LOAD_COUNTS.lock();
        if known.len() <= counts.capacity() {
            counts.extend(known.iter().cloned());
            return counts;
        }
    }
}

/// What lies at an address.
#[derive(Clone, Copy, Debug)]
pub struct SymbolInfo<'a> {
    /// Name and hash of the crate; `nano_core` for all of the base image.
    pub crate_name: &'a str,
    /// The mangled symbol; to be shown with `{:#}` of `rustc_demangle::demangle`.
    pub symbol: &'a str,
    /// How far in bytes the address is behind the symbol's.
    pub offset: usize,
    /// Size in bytes of what the symbol names.
    pub size: usize,
}

/// Tells `f` what lies at `address`, in loaded crates or in the base image, and returns whether anything does.
///
/// For backtraces: allocates nothing and waits for a moment at most. If the list of crates stays locked (say, by the very code
/// that has panicked), only the base image's symbols are found. `f` runs with interrupts disabled.
pub fn symbolize(address: usize, f: &mut dyn FnMut(&SymbolInfo<'_>)) -> bool {
    /// Another CPU holds the lock for microseconds.
    const ATTEMPTS: usize = 100_000;
    if let Some(base) = BASE.get()
        && base.text.contains(&address)
    {
        let Some(symbol) = base.symbols.containing(address as u64) else {
            return false;
        };
        f(&SymbolInfo {
            crate_name: crate_metadata::BASE_IMAGE_CRATE_NAME,
            symbol: symbol.name,
            offset: address - symbol.value as usize,
            size: symbol.size as usize,
        });
        return true;
    }
    let attempt = || {
        core::hint::spin_loop();
        CRATES.try_lock()
    };
    let Some(crates) = (0..ATTEMPTS).find_map(|_| attempt()) else {
        return false;
    };
    let Some(entry) = crates.iter().find(|entry| entry.text.contains(&address)) else {
        return false;
    };
    let Some((symbol, start)) = entry.symbols.containing(address) else {
        return false;
    };
    f(&SymbolInfo {
        crate_name: &entry.symbols.crate_name,
        symbol: entry.symbols.table().name(&symbol),
        offset: address - start,
        size: symbol.size as usize,
    });
    true
}
