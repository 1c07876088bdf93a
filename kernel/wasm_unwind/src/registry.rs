//! The registry of all compiled code in the system, readable from a trap handler.
//!
//! The ranges are in one sorted array that is never changed while it is published: a writer fills another one, swaps the
//! pointer, and waits until no reader can still hold the old one. A reader therefore never waits for anyone, which it
//! must not: it may be an exception handler that interrupted the writer. To know when the readers are gone they count
//! themselves in and out; the counters are spread over cache lines so that cores which trap at the same time do not
//! meet on one.
//!
//! The old array is kept for the next change. So taking a range out needs no memory and cannot fail: whenever two or
//! more ranges are registered, there is a spare array with room for all but one of them.

use crate::Code;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use spin::Mutex;
use wasm_platform::PlatformError;

/// One entry: where code is, and what is known about it.
#[derive(Clone, Copy)]
struct Entry {
    start: usize,
    end: usize,
    code: *const Code,
}

// SAFETY: an entry is plain data; what its pointer leads to is `Sync`, and `add` demands that it outlives the entry.
unsafe impl Send for Entry {}

/// An array that is, or will be, published. In a box so that one word leads to it.
struct Snapshot {
    entries: Vec<Entry>,
}

/// Number of counters. Readers pick one by the address of their stack, so that tasks spread over them.
const STRIPES: usize = 16;

/// A counter on a cache line of its own.
#[repr(align(64))]
struct Stripe(AtomicUsize);

static CURRENT: AtomicPtr<Snapshot> = AtomicPtr::new(ptr::null_mut());
static READERS: [Stripe; STRIPES] = [const { Stripe(AtomicUsize::new(0)) }; STRIPES];
/// Whoever holds this is the only writer, and has the spare array.
static SPARE: Mutex<Option<Box<Snapshot>>> = Mutex::new(None);

/// Calls `look` with what is known about the code at `pc`, if that is registered code.
///
/// Never waits, locks or allocates: may be called in a trap handler. `look` must not register or deregister code.
pub fn with_code<R>(pc: usize, look: impl FnOnce(&Code) -> R) -> Option<R> {
    let here = 0u8;
    // Stacks are many pages apart.
    let stripe = &READERS[(&raw const here as usize >> 16) % STRIPES].0;
    // Ordered before the load below in the single order of all sequentially consistent operations: a writer that
    // does not see this reader counted in has published its new array before the reader loads the pointer.
    stripe.fetch_add(1, Ordering::SeqCst);
    let snapshot = CURRENT.load(Ordering::SeqCst);
    // SAFETY: an array is changed or freed only when every counter was seen at zero after it was replaced, and we are
    // counted in.
    let found = unsafe { snapshot.as_ref() }.and_then(|snapshot| {
        let after = snapshot.entries.partition_point(|entry| entry.start <= pc);
        let entry = snapshot.entries[..after].last()?;
        // SAFETY: what is in the array is alive: a `Registration` owns it and takes it out of the array first.
        (pc < entry.end).then(|| look(unsafe { &*entry.code }))
    });
    stripe.fetch_sub(1, Ordering::SeqCst);
    found
}

/// Number of code ranges that are registered.
pub fn registered() -> usize {
    let _writer = SPARE.lock();
    // SAFETY: only a writer replaces or frees the array, and we hold the writers' lock.
    unsafe { CURRENT.load(Ordering::SeqCst).as_ref() }.map_or(0, |snapshot| snapshot.entries.len())
}

/// Publishes `new` and returns the array that was published before, which no reader holds any more.
///
/// # Safety
/// The caller must hold the writers' lock.
unsafe fn publish(new: Option<Box<Snapshot>>) -> Option<Box<Snapshot>> {
    let new = new.map_or(ptr::null_mut(), Box::into_raw);
    let old = CURRENT.swap(new, Ordering::SeqCst);
    if old.is_null() {
        return None;
    }
    for stripe in &READERS {
        while stripe.0.load(Ordering::SeqCst) != 0 {
            core::hint::spin_loop();
        }
    }
    // SAFETY: it came from `Box::into_raw` above. It is not published any more, and each counter was zero since:
    // whoever counted in later loads a newer pointer.
    Some(unsafe { Box::from_raw(old) })
}

/// Adds a range.
///
/// # Safety
/// `code` must stay valid until [`remove`] was called for it.
pub(crate) unsafe fn add(code: *const Code, start: usize, end: usize) -> Result<(), PlatformError> {
    const ATTEMPTED: &str = "register code";
    let mut spare = SPARE.lock();
    // SAFETY: only a writer replaces or frees the array, and we hold the writers' lock.
    let current =
        unsafe { CURRENT.load(Ordering::SeqCst).as_ref() }.map_or(&[][..], |snapshot| &snapshot.entries);
    let at = current.partition_point(|entry| entry.start < start);
    let overlaps = current.get(at).is_some_and(|next| next.start < end)
        || at.checked_sub(1).is_some_and(|previous| current[previous].end > start);
    if overlaps {
        return Err(PlatformError::bad_argument(ATTEMPTED, "there is other code in its place"));
    }
    let mut new = match spare.take() {
        Some(new) => new,
        None => new_snapshot()?,
    };
    new.entries.clear();
    if new.entries.try_reserve(current.len() + 1).is_err() {
        // It stays the spare, as large as it was; but for nothing no spare is needed.
        *spare = (!current.is_empty()).then_some(new);
        return Err(PlatformError::out_of_memory(ATTEMPTED));
    }
    new.entries.extend_from_slice(&current[..at]);
    new.entries.push(Entry { start, end, code });
    new.entries.extend_from_slice(&current[at..]);
    // SAFETY: we hold the lock.
    *spare = unsafe { publish(Some(new)) };
    Ok(())
}

/// An empty array.
fn new_snapshot() -> Result<Box<Snapshot>, PlatformError> {
    // By way of a vector, which can fail where a box cannot.
    let mut snapshot = Vec::new();
    snapshot.try_reserve_exact(1).map_err(|_| PlatformError::out_of_memory("register code"))?;
    snapshot.push(Snapshot { entries: Vec::new() });
    let snapshot = Box::into_raw(snapshot.into_boxed_slice()).cast::<Snapshot>();
    // SAFETY: a boxed slice of one has the layout of a box.
    Ok(unsafe { Box::from_raw(snapshot) })
}

/// Takes a range out. When this returns, no reader has it any more. Needs no memory.
pub(crate) fn remove(code: *const Code) {
    let mut spare = SPARE.lock();
    // SAFETY: only a writer replaces or frees the array, and we hold the writers' lock.
    let current =
        unsafe { CURRENT.load(Ordering::SeqCst).as_ref() }.map_or(&[][..], |snapshot| &snapshot.entries);
    let rest = || current.iter().filter(|entry| !ptr::eq(entry.code, code));
    let new = match spare.take() {
        Some(mut new) if rest().next().is_some() => {
            new.entries.clear();
            // Fits: see the top of this file.
            new.entries.extend(rest().copied());
            Some(new)
        }
        _ => None,
    };
    let empty = new.is_none();
    // SAFETY: we hold the lock.
    let old = unsafe { publish(new) };
    // With the last range goes the last array: nothing stays behind if this crate is unloaded.
    *spare = if empty { None } else { old };
}
