//! Function types of an engine, each with a number that is the same in all its modules and stores, so that the code of
//! one module can check the type of a function of another by comparing two integers.
//!
//! A type is in the registry for as long as a [`RegisteredType`] for it exists.

use crate::error::{OutOfMemory, try_arc};
use crate::{Engine, Result, ValType};
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use spin::Mutex;

/// A type and its number.
struct Entry {
    index: u32,
    params: Box<[ValType]>,
    results: Box<[ValType]>,
}

impl Entry {
    fn key(&self) -> (&[ValType], &[ValType]) {
        (&self.params, &self.results)
    }
}

/// See the module's documentation.
#[derive(Default)]
pub(crate) struct TypeRegistry(Mutex<Types>);

#[derive(Default)]
struct Types {
    /// In the order of their content.
    sorted: Vec<Arc<Entry>>,
    /// By their number; freed numbers are `None`.
    by_index: Vec<Option<Arc<Entry>>>,
    /// The freed numbers. Always has room for all numbers, so that freeing one does not allocate.
    free: Vec<u32>,
}

/// References that the registry itself has to an entry.
const OWN_REFERENCES: usize = 2;

/// A function type of an engine. Comparing two compares their numbers.
pub(crate) struct RegisteredType {
    engine: Engine,
    /// `None` only while it is dropped.
    entry: Option<Arc<Entry>>,
}

/// The items of an iterator in a box, without panic if there is no memory.
fn try_collect<T>(items: impl IntoIterator<Item = T>) -> Result<Box<[T]>> {
    let items = items.into_iter();
    let oom = |len: usize| OutOfMemory::new(size_of::<T>() * len);
    let mut all = Vec::new();
    let expected = items.size_hint().0;
    all.try_reserve_exact(expected).map_err(|_| oom(expected))?;
    for item in items {
        all.try_reserve(1).map_err(|_| oom(all.len() + 1))?;
        all.push(item);
    }
    if all.capacity() > all.len() {
        // What makes a box of it would allocate anew, and cannot fail.
        let mut exact = Vec::new();
        exact.try_reserve_exact(all.len()).map_err(|_| oom(all.len()))?;
        exact.append(&mut all);
        all = exact;
    }
    Ok(all.into_boxed_slice())
}

impl RegisteredType {
    pub(crate) fn new(
        engine: &Engine,
        params: impl IntoIterator<Item = ValType>,
        results: impl IntoIterator<Item = ValType>,
    ) -> Result<Self> {
        let (params, results) = (try_collect(params)?, try_collect(results)?);
        let mut types = engine.types().0.lock();
        let types = &mut *types;
        let wanted = (&params[..], &results[..]);
        let entry = match types.sorted.binary_search_by(|entry| entry.key().cmp(&wanted)) {
            Ok(at) => types.sorted[at].clone(),
            Err(at) => {
                let numbers = types.by_index.len() + 1;
                let oom = |_| OutOfMemory::new(numbers * size_of::<Arc<Entry>>());
                types.sorted.try_reserve(1).map_err(oom)?;
                // No number is taken before all else is there.
                let (index, is_new) = match types.free.last() {
                    Some(index) => (*index, false),
                    None => {
                        types.by_index.try_reserve(1).map_err(oom)?;
                        types.free.try_reserve(numbers).map_err(oom)?;
                        // Fewer than 2^32: each takes more than a byte of memory.
                        (numbers as u32 - 1, true)
                    }
                };
                let entry = try_arc(Entry { index, params, results })?;
                match is_new {
                    true => types.by_index.push(None),
                    false => drop(types.free.pop()),
                }
                types.sorted.insert(at, entry.clone());
                types.by_index[index as usize] = Some(entry.clone());
                entry
            }
        };
        Ok(Self { engine: engine.clone(), entry: Some(entry) })
    }

    /// The type with number `index`, which must be registered.
    pub(crate) fn from_index(engine: &Engine, index: u32) -> Option<Self> {
        let types = engine.types().0.lock();
        let entry = types.by_index.get(index as usize)?.clone()?;
        Some(Self { engine: engine.clone(), entry: Some(entry) })
    }

    fn entry(&self) -> &Arc<Entry> {
        self.entry.as_ref().expect("the entry is taken only by drop")
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The number that stands for the type in compiled code.
    pub(crate) fn index(&self) -> u32 {
        self.entry().index
    }

    pub(crate) fn params(&self) -> &[ValType] {
        &self.entry().params
    }

    pub(crate) fn results(&self) -> &[ValType] {
        &self.entry().results
    }
}

impl Clone for RegisteredType {
    fn clone(&self) -> Self {
        Self { engine: self.engine.clone(), entry: self.entry.clone() }
    }
}

impl PartialEq for RegisteredType {
    fn eq(&self, other: &Self) -> bool {
        if Engine::same(&self.engine, &other.engine) {
            Arc::ptr_eq(self.entry(), other.entry())
        } else {
            self.entry().key() == other.entry().key()
        }
    }
}

impl fmt::Debug for RegisteredType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RegisteredType").field(&self.index()).finish()
    }
}

impl Drop for RegisteredType {
    fn drop(&mut self) {
        let mut types = self.engine.types().0.lock();
        let types = &mut *types;
        let Some(entry) = self.entry.take() else { return };
        // All references are given up under the lock and taken under it or from another one, so nobody can be on the
        // way to a new one when only the registry's and this one are left.
        if Arc::strong_count(&entry) == OWN_REFERENCES + 1 {
            if let Ok(at) = types.sorted.binary_search_by(|other| other.key().cmp(&entry.key())) {
                types.sorted.remove(at);
            }
            types.by_index[entry.index as usize] = None;
            types.free.push(entry.index);
        }
        drop(entry);
    }
}

impl TypeRegistry {
    /// Number of types that are registered.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.lock().sorted.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_types_share_a_number_until_nobody_uses_it() {
        let engine = Engine::default();
        let a = RegisteredType::new(&engine, [ValType::I32], []).unwrap();
        let b = RegisteredType::new(&engine, [ValType::I32], []).unwrap();
        let c = RegisteredType::new(&engine, [], [ValType::I32]).unwrap();
        assert_eq!(a.index(), b.index());
        assert_ne!(a.index(), c.index());
        assert_eq!(engine.types().len(), 2);
        let number = a.index();
        drop(a);
        assert_eq!(RegisteredType::from_index(&engine, number), Some(b.clone()));
        drop(b);
        assert_eq!(RegisteredType::from_index(&engine, number), None);
        assert_eq!(engine.types().len(), 1);
        let d = RegisteredType::new(&engine, [ValType::F64], []).unwrap();
        assert_eq!(d.index(), number);
    }

    #[test]
    fn types_of_two_engines_are_compared_by_content() {
        let (one, two) = (Engine::default(), Engine::default());
        let _first = RegisteredType::new(&one, [], []).unwrap();
        let a = RegisteredType::new(&one, [ValType::I32], []).unwrap();
        let b = RegisteredType::new(&two, [ValType::I32], []).unwrap();
        assert_eq!(a, b);
    }
}
