//! References to values of the host, and to exceptions.
//!
//! The values live in the store, in numbered places. Compiled code only ever has the number. What the host holds is a
//! [`Rooted`]: a place in a list of *roots*, which keeps the value alive as long as it is in the list: until the call
//! of a host function or the [`RootScope`] ends in which it was made, or the store is dropped.
//!
//! [`Store::gc`](crate::Store::gc) frees the values that are neither in the list of roots nor in a table or global. What a
//! running function has in a local variable it cannot see, so while a function of the store runs it frees nothing.

use crate::error::{OutOfMemory, try_arc};
use crate::exnref::Exn;
use crate::store::{StoreId, StoreOpaque};
use crate::{AsContext, AsContextMut, Result, StoreContext, StoreContextMut, bail};
use alloc::boxed::Box;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::any::Any;
use core::fmt;
use core::marker::PhantomData;

/// A value of the host that wasm can hold a reference to. Only [`Rooted`] references to it exist.
pub struct ExternRef(());

/// A reference to a `T` that keeps it alive for some time; see the [module](self). Cheap to copy.
pub struct Rooted<T> {
    store: StoreId,
    /// Place in the list of roots.
    index: u32,
    /// Which of those who had that place it is.
    generation: u32,
    _refers_to: PhantomData<fn() -> T>,
}

impl<T> Clone for Rooted<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Rooted<T> {}

impl<T> fmt::Debug for Rooted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rooted").field("index", &self.index).field("generation", &self.generation).finish()
    }
}

/// A value's place.
enum Slot {
    Free {
        next: Option<u32>,
    },
    /// `next` is the next exception, by its handle, of which the fields are still to be marked, or 0.
    Used {
        object: Object,
        marked: bool,
        next: u32,
    },
}

/// What a handle stands for.
enum Object {
    Extern(Box<dyn Any + Send + Sync>),
    Exn(Exn),
}

/// The values and the roots of a store.
#[derive(Default)]
pub(crate) struct ExternTable {
    slots: Vec<Slot>,
    free: Option<u32>,
    used: usize,
    /// Handles, innermost scope last.
    roots: Vec<(u32, u32)>,
    generation: u32,
    /// Handles that stay roots as long as an [`OwnedRooted`] exists.
    owned: Vec<(u32, Weak<()>)>,
    /// The first exception that is marked but of which the fields are not, or 0.
    to_trace: u32,
    /// Bytes of all exceptions.
    exception_bytes: usize,
}

/// How many values there may be before the next one looks for garbage first.
const FIRST_COLLECTION: usize = 1024;

/// How many bytes of exceptions a store may hold: 64 MiB. What a running function has caught cannot be found to be garbage.
const MAX_EXCEPTION_BYTES: usize = 64 << 20;

/// The handle of the value in a slot: 0 stands for null.
fn handle(slot: usize) -> u32 {
    slot as u32 + 1
}

impl ExternTable {
    fn insert(&mut self, object: Object) -> Result<u32, OutOfMemory> {
        let used = Slot::Used { object, marked: false, next: 0 };
        let slot = match self.free {
            Some(slot) => {
                let slot = slot as usize;
                if let Slot::Free { next } = self.slots[slot] {
                    self.free = next;
                }
                self.slots[slot] = used;
                slot
            }
            None => {
                let oom = OutOfMemory::new((self.slots.len() + 1) * size_of::<Slot>());
                if self.slots.len() >= u32::MAX as usize - 1 {
                    return Err(oom);
                }
                self.slots.try_reserve(1).map_err(|_| oom)?;
                self.slots.push(used);
                self.slots.len() - 1
            }
        };
        self.used += 1;
        Ok(handle(slot))
    }

    fn value(&self, handle: u32) -> &(dyn Any + Send + Sync) {
        match &self.slots[handle as usize - 1] {
            Slot::Used { object: Object::Extern(value), .. } => &**value,
            _ => unreachable!("a root keeps its value alive, and is of its type"),
        }
    }

    fn value_mut(&mut self, handle: u32) -> &mut (dyn Any + Send + Sync) {
        match &mut self.slots[handle as usize - 1] {
            Slot::Used { object: Object::Extern(value), .. } => &mut **value,
            _ => unreachable!("a root keeps its value alive, and is of its type"),
        }
    }

    /// Takes an exception over.
    ///
    /// # Errors
    /// Fails if there is no memory, or there are more than [`MAX_EXCEPTION_BYTES`] of them.
    pub(crate) fn insert_exception(&mut self, exception: Exn) -> Result<u32> {
        let bytes = self.exception_bytes + exception.bytes();
        if bytes > MAX_EXCEPTION_BYTES {
            bail!(
                "the program holds {} MiB of exceptions that it caught with a reference; catch without, or return to the host now and then",
                MAX_EXCEPTION_BYTES >> 20
            );
        }
        let handle = self.insert(Object::Exn(exception))?;
        self.exception_bytes = bytes;
        Ok(handle)
    }

    /// The exception that a handle, which is not 0, stands for.
    pub(crate) fn exception(&self, handle: u32) -> &Exn {
        match &self.slots[handle as usize - 1] {
            Slot::Used { object: Object::Exn(exception), .. } => exception,
            _ => unreachable!("who has a reference keeps its exception alive"),
        }
    }

    /// Whether it is time to look for garbage.
    pub(crate) fn is_crowded(&self) -> bool {
        self.free.is_none() && self.used >= FIRST_COLLECTION && self.slots.len() == self.slots.capacity()
    }

    /// Number of values.
    pub(crate) fn len(&self) -> usize {
        self.used
    }

    /// The length to give to [`leave_scope`](Self::leave_scope).
    #[inline]
    pub(crate) fn enter_scope(&self) -> usize {
        self.roots.len()
    }

    /// Forgets the roots made since `enter_scope` returned `scope`.
    #[inline]
    pub(crate) fn leave_scope(&mut self, scope: usize) {
        if self.roots.len() > scope {
            self.roots.truncate(scope);
            self.generation = self.generation.wrapping_add(1);
        }
    }

    /// Keeps a value alive that compiled code passed to the host.
    pub(crate) fn root<T>(&mut self, store: StoreId, handle: u32) -> Result<Rooted<T>, OutOfMemory> {
        let index = self.roots.len();
        self.roots.try_reserve(1).map_err(|_| OutOfMemory::new((index + 1) * size_of::<(u32, u32)>()))?;
        self.roots.push((handle, self.generation));
        Ok(Rooted { store, index: index as u32, generation: self.generation, _refers_to: PhantomData })
    }

    /// The handle that a root stands for.
    fn handle<T>(&self, rooted: &Rooted<T>) -> Result<u32> {
        match self.roots.get(rooted.index as usize) {
            Some((handle, generation)) if *generation == rooted.generation => Ok(*handle),
            _ => bail!("attempted to use a garbage-collected object that has been unrooted"),
        }
    }

    /// Marks a value as reachable, and what it refers to at the latest in [`sweep`](Self::sweep). Ignores null.
    pub(crate) fn mark(&mut self, handle: u32) {
        let slot = handle.checked_sub(1).and_then(|slot| self.slots.get_mut(slot as usize));
        if let Some(Slot::Used { marked: marked @ false, object, next }) = slot {
            *marked = true;
            if let Object::Exn(_) = object {
                // A list and not recursion: a chain of exceptions may be long.
                (*next, self.to_trace) = (self.to_trace, handle);
            }
        }
    }

    /// Marks what exceptions that are marked refer to.
    fn trace(&mut self) {
        while let Some(slot) = self.to_trace.checked_sub(1) {
            let Slot::Used { object: Object::Exn(exception), next, .. } = &mut self.slots[slot as usize]
            else {
                unreachable!("only exceptions are traced");
            };
            self.to_trace = *next;
            for index in 0..exception.fields().len() {
                let Slot::Used { object: Object::Exn(exception), .. } = &self.slots[slot as usize] else {
                    unreachable!("nothing is freed meanwhile");
                };
                if let Some(handle) = exception.handle_in(index) {
                    self.mark(handle);
                }
            }
        }
    }

    /// Keeps a value alive until the returned token and its copies are dropped.
    fn own(&mut self, handle: u32) -> Result<Arc<()>, OutOfMemory> {
        if self.owned.len() == self.owned.capacity() {
            self.owned.retain(|(_, token)| token.strong_count() > 0);
        }
        self.owned.try_reserve(1).map_err(|_| OutOfMemory::new(size_of::<(u32, Weak<()>)>()))?;
        let token = try_arc(())?;
        self.owned.push((handle, Arc::downgrade(&token)));
        Ok(token)
    }

    /// Marks what the roots keep alive.
    pub(crate) fn mark_roots(&mut self) {
        self.owned.retain(|(_, token)| token.strong_count() > 0);
        for index in 0..self.owned.len() {
            self.mark(self.owned[index].0);
        }
        for index in 0..self.roots.len() {
            self.mark(self.roots[index].0);
        }
    }

    /// Frees the values that are not marked, and removes the marks of the others.
    pub(crate) fn sweep(&mut self) {
        self.trace();
        for index in 0..self.slots.len() {
            match &mut self.slots[index] {
                Slot::Used { marked, .. } if *marked => *marked = false,
                Slot::Used { .. } => {
                    self.used -= 1;
                    if let Slot::Used { object: Object::Exn(exception), .. } = &self.slots[index] {
                        self.exception_bytes -= exception.bytes();
                    }
                    // In the list before its value is dropped, which may do anything.
                    let freed = core::mem::replace(&mut self.slots[index], Slot::Free { next: self.free });
                    self.free = Some(index as u32);
                    drop(freed);
                }
                Slot::Free { .. } => {}
            }
        }
    }
}

impl StoreOpaque {
    /// The handle of a reference that belongs to this store.
    ///
    /// # Panics
    /// If it belongs to another.
    pub(crate) fn handle_of<T>(&self, rooted: &Rooted<T>) -> Result<u32> {
        self.assert_owns(rooted.store);
        self.externs().handle(rooted)
    }

    /// A reference to what a handle stands for; `None` for null.
    pub(crate) fn rooted_from_handle<T>(&mut self, handle: u32) -> Result<Option<Rooted<T>>> {
        if handle == 0 {
            return Ok(None);
        }
        let id = self.id();
        Ok(Some(self.externs_mut().root(id, handle)?))
    }
}

impl ExternRef {
    /// Puts `value` into the store and returns a reference to it.
    ///
    /// # Errors
    /// Fails if there is no memory for it.
    pub fn new<T: Any + Send + Sync>(mut store: impl AsContextMut, value: T) -> Result<Rooted<ExternRef>> {
        let store = store.as_context_mut().0.opaque_mut();
        if store.externs().is_crowded() {
            store.collect_garbage();
        }
        let value = crate::error::try_box(value)?;
        let handle = store.externs_mut().insert(Object::Extern(value))?;
        let id = store.id();
        Ok(store.externs_mut().root(id, handle)?)
    }
}

impl<T> Rooted<T> {
    pub(crate) fn is_of(&self, store: &StoreOpaque) -> bool {
        store.owns(self.store)
    }

    /// Whether both refer to the same value.
    ///
    /// # Errors
    /// Fails if one was made in a call or [`RootScope`] that has ended.
    pub fn ref_eq(store: impl AsContext, a: &Self, b: &Self) -> Result<bool> {
        let store = store.as_context();
        Ok(store.0.opaque().handle_of(a)? == store.0.opaque().handle_of(b)?)
    }

    /// A reference to the same value that lives as long as the program wants.
    ///
    /// # Errors
    /// Fails if this one was made in a call or [`RootScope`] that has ended, or there is no memory.
    ///
    /// # Panics
    /// If it belongs to another store.
    pub fn to_owned_rooted(&self, mut store: impl AsContextMut) -> Result<OwnedRooted<T>> {
        let store = store.as_context_mut().0.opaque_mut();
        let handle = store.handle_of(self)?;
        let token = store.externs_mut().own(handle)?;
        Ok(OwnedRooted { store: self.store, handle, token, _refers_to: PhantomData })
    }

    /// The number that stands for the value in compiled code.
    ///
    /// # Errors
    /// Fails if the reference was made in a call or [`RootScope`] that has ended.
    pub fn to_raw(&self, store: impl AsContext) -> Result<u32> {
        store.as_context().0.opaque().handle_of(self)
    }
}

impl Rooted<ExternRef> {
    /// The value.
    ///
    /// # Errors
    /// Fails if the reference was made in a call or [`RootScope`] that has ended.
    ///
    /// # Panics
    /// If it belongs to another store.
    pub fn data<'a, T: 'static>(
        &self,
        store: impl Into<StoreContext<'a, T>>,
    ) -> Result<Option<&'a (dyn Any + Send + Sync)>> {
        let store = store.into().0.opaque();
        let handle = store.handle_of(self)?;
        Ok(Some(store.externs().value(handle)))
    }

    /// The value, to be changed.
    ///
    /// # Errors
    /// Fails if the reference was made in a call or [`RootScope`] that has ended.
    ///
    /// # Panics
    /// If it belongs to another store.
    pub fn data_mut<'a, T: 'static>(
        &self,
        store: impl Into<StoreContextMut<'a, T>>,
    ) -> Result<Option<&'a mut (dyn Any + Send + Sync)>> {
        let store = store.into().0.opaque_mut();
        let handle = store.handle_of(self)?;
        Ok(Some(store.externs_mut().value_mut(handle)))
    }
}

/// A reference to a `T` that keeps it alive until it and its clones are dropped, or its store is. Made by
/// [`Rooted::to_owned_rooted`].
pub struct OwnedRooted<T> {
    store: StoreId,
    handle: u32,
    token: Arc<()>,
    _refers_to: PhantomData<fn() -> T>,
}

impl<T> Clone for OwnedRooted<T> {
    fn clone(&self) -> Self {
        Self { store: self.store, handle: self.handle, token: self.token.clone(), _refers_to: PhantomData }
    }
}

impl<T> fmt::Debug for OwnedRooted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnedRooted").field("handle", &self.handle).finish_non_exhaustive()
    }
}

impl<T> OwnedRooted<T> {
    /// A reference to the same value that lives as long as the current call or [`RootScope`].
    ///
    /// # Panics
    /// If it belongs to another store, or there is no memory for a reference.
    pub fn to_rooted(&self, mut store: impl AsContextMut) -> Rooted<T> {
        let store = store.as_context_mut().0.opaque_mut();
        store.assert_owns(self.store);
        let id = store.id();
        store.externs_mut().root(id, self.handle).expect("no memory for a reference")
    }
}

/// Limits how long references live: those made through it end with it.
pub struct RootScope<C: AsContextMut> {
    store: C,
    scope: usize,
}

impl<C: AsContextMut> RootScope<C> {
    /// Begins a scope.
    pub fn new(store: C) -> Self {
        let scope = store.as_context().0.opaque().externs().enter_scope();
        Self { store, scope }
    }
}

impl<C: AsContextMut> Drop for RootScope<C> {
    fn drop(&mut self) {
        self.store.as_context_mut().0.opaque_mut().externs_mut().leave_scope(self.scope);
    }
}

impl<C: AsContextMut> AsContext for RootScope<C> {
    type Data = C::Data;

    fn as_context(&self) -> StoreContext<'_, C::Data> {
        self.store.as_context()
    }
}

impl<C: AsContextMut> AsContextMut for RootScope<C> {
    fn as_context_mut(&mut self) -> StoreContextMut<'_, C::Data> {
        self.store.as_context_mut()
    }
}
