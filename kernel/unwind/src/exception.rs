//! What is thrown: an exception object around a payload.

use alloc::{alloc::Layout, boxed::Box};
use core::{
    any::Any,
    cell::{Cell, UnsafeCell},
    fmt,
    mem::{ManuallyDrop, MaybeUninit},
    ptr,
    sync::atomic::{AtomicBool, Ordering},
};

use crate::cfi::{Known, Registers};
use crate::cursor::{Cursor, with_registers};
use crate::personality::{Wish, wish};

/// Who threw an exception.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// [`start_unwinding`].
    Thrown,
    /// [`start_unwinding_from_fault`].
    Fault,
}

/// Exception objects for when the heap has no memory left. A task needs one from throw to catch.
const SPARE_OBJECTS: usize = 16;

type Payload = Box<dyn Any + Send>;

/// What is carried along, from landing pad to landing pad.
struct Object {
    class: Class,
    payload: Payload,
    known: Known,
}

/// One of the static objects.
struct Spare {
    taken: AtomicBool,
    object: UnsafeCell<MaybeUninit<Object>>,
}

// SAFETY: whoever changes `taken` to true has the object to itself until it changes it back.
unsafe impl Sync for Spare {}

static SPARES: [Spare; SPARE_OBJECTS] =
    [const { Spare { taken: AtomicBool::new(false), object: UnsafeCell::new(MaybeUninit::uninit()) } };
        SPARE_OBJECTS];

impl Object {
    /// Moves the payload into an object in the heap or, if that is exhausted, into a spare one.
    fn wrap(payload: Payload, class: Class) -> Result<*mut Self, Payload> {
        let layout = Layout::new::<Self>();
        // SAFETY: the layout is not of size zero.
        let mut place = unsafe { alloc::alloc::alloc(layout) }.cast::<Self>();
        if place.is_null() {
            let spare = SPARES.iter().find(|spare| !spare.taken.swap(true, Ordering::Acquire));
            let Some(spare) = spare else { return Err(payload) };
            place = spare.object.get().cast();
        }
        // SAFETY: the memory is ours, of the right size and alignment.
        unsafe { place.write(Self { class, payload, known: Known::new() }) };
        Ok(place)
    }

    /// Moves the payload out of the object and frees it.
    ///
    /// # Safety
    /// `object` must come from [`Self::wrap`] and not be used again.
    unsafe fn unwrap(object: *mut Self) -> Payload {
        // SAFETY: as the caller promises; the object is not read again.
        let payload = unsafe { ptr::read(&raw const (*object).payload) };
        match SPARES.iter().find(|spare| ptr::eq(spare.object.get().cast(), object)) {
            Some(spare) => spare.taken.store(false, Ordering::Release),
            // SAFETY: then `wrap` allocated it, with this layout.
            None => unsafe { alloc::alloc::dealloc(object.cast(), Layout::new::<Self>()) },
        }
        payload
    }
}

/// Number of exceptions of this task that were thrown and are not caught yet.
#[thread_local]
static DEPTH: Cell<usize> = Cell::new(0);

/// Number of unwindings of the current task that have begun and not been caught yet. More than one: some value's `drop`,
/// run by an unwinding, has panicked (and will have to catch that itself).
pub fn panic_depth() -> usize {
    DEPTH.get()
}

/// Why unwinding could not begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnwindFailure {
    /// No caller catches: the stack ends, or there is code on it without unwind tables.
    NotCaught,
    /// A caller does not allow unwinding, or its unwind tables are malformed.
    Forbidden,
    /// No memory for the exception, not even in reserve.
    OutOfMemory,
}

impl fmt::Display for UnwindFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotCaught => "no caller catches unwinding",
            Self::Forbidden => "a caller does not allow unwinding or has malformed unwind tables",
            Self::OutOfMemory => "not enough memory to unwind",
        })
    }
}

/// What [`start_unwinding`] returns if it does: the payload, and why it was not thrown.
pub struct UnwindFailed {
    /// Why.
    pub reason: UnwindFailure,
    /// What was to be thrown.
    pub payload: Box<dyn Any + Send>,
}

/// Throws `payload`: the callers' values are dropped, frame by frame, up to the nearest [`catch_unwind`].
///
/// Neither prints nor calls any hook. It returns only if unwinding is impossible; nothing was dropped then.
#[inline(never)]
pub fn start_unwinding(payload: Box<dyn Any + Send>) -> UnwindFailed {
    throw(payload, Class::Thrown)
}

/// Throws `payload` as [`start_unwinding`] does, but from a [`FaultHandler`](crate::FaultHandler).
///
/// A fault can happen where the compiler knew that nothing can panic, and in a function whose callers relied on that:
/// they have no landing pad for the call. Such frames are passed over, their values not dropped. (Functions that
/// *forbid* unwinding, as `extern "C"` ones do, still stop it.)
#[inline(never)]
pub fn start_unwinding_from_fault(payload: Box<dyn Any + Send>) -> UnwindFailed {
    throw(payload, Class::Fault)
}

#[inline(always)]
fn throw(payload: Payload, class: Class) -> UnwindFailed {
    let object = match Object::wrap(payload, class) {
        Ok(object) => object,
        Err(payload) => return UnwindFailed { reason: UnwindFailure::OutOfMemory, payload },
    };
    DEPTH.set(DEPTH.get() + 1);
    let mut throw = Throw { object, failure: UnwindFailure::Forbidden };
    // SAFETY: `raise` expects the pointer that it is given.
    unsafe { with_registers(raise, (&raw mut throw).cast()) };
    DEPTH.set(DEPTH.get() - 1);
    // SAFETY: it was not thrown, so it is ours again.
    UnwindFailed { reason: throw.failure, payload: unsafe { Object::unwrap(throw.object) } }
}

/// What [`raise`] is given.
struct Throw {
    object: *mut Object,
    /// Why it returns.
    failure: UnwindFailure,
}

/// Finds out whether somebody catches, and only then unwinds. Returns if nobody does.
unsafe extern "C-unwind" fn raise(registers: &mut Registers, throw: *mut u8) {
    // SAFETY: the pointer that `throw` handed over, which is unused meanwhile.
    let throw = unsafe { &mut *throw.cast::<Throw>() };
    // SAFETY: the object is alive, and this task's.
    let Object { class, known, .. } = unsafe { &mut *throw.object };
    let mut cursor = Cursor::new(registers.clone());
    loop {
        let Some(function) = cursor.function(known) else {
            throw.failure = UnwindFailure::NotCaught;
            return;
        };
        match wish(&cursor, &function, *class) {
            Ok(Wish::Catch(_)) => break,
            Ok(_) => {}
            Err(_) => return,
        }
        // SAFETY: the stack is this task's own, whose frames stay while this function runs.
        if unsafe { cursor.leave(&function) }.is_err() {
            return;
        }
    }
    // SAFETY: the object is alive, and given away.
    unsafe { unwind(Cursor::new(registers.clone()), throw.object) }
}

/// Lands at the first landing pad that somebody from `cursor` on has. Returns if there is none.
///
/// # Safety
/// The stack must be the current task's, from the frame on that throws or has dropped its values; it is given up as far as
/// the landing pad. `object` is given away.
unsafe fn unwind(mut cursor: Cursor, object: *mut Object) {
    // SAFETY: the object is alive, and this task's.
    let Object { class, known, .. } = unsafe { &mut *object };
    while let Some(function) = cursor.function(known) {
        match wish(&cursor, &function, *class) {
            // SAFETY: the landing pad is what the function wants, and the object what landing pads of Rust expect.
            Ok(Wish::Cleanup(landing_pad) | Wish::Catch(landing_pad)) => unsafe {
                cursor.land(landing_pad, object.cast())
            },
            Ok(Wish::Nothing) => {}
            Err(_) => return,
        }
        // SAFETY: by the caller.
        if unsafe { cursor.leave(&function) }.is_err() {
            return;
        }
    }
}

/// Goes on with unwinding after a landing pad; `registers` are those of its function.
///
/// # Safety
/// For `_Unwind_Resume` only.
pub(crate) unsafe extern "C-unwind" fn resume(registers: &mut Registers, exception: *mut u8) {
    // SAFETY: a landing pad gives the exception on that it was given.
    unsafe { unwind(Cursor::new(registers.clone()), exception.cast()) };
    // Somebody would have caught it before anything was dropped.
    panic!("unwind tables have changed while they were used");
}

/// Calls `f`; if it unwinds, the payload that was thrown is the error.
///
/// The low floor of the crate `catch_unwind`, for crates that cannot name `KillReason`: the payload is whatever was given
/// to [`start_unwinding`].
pub fn catch_unwind<F: FnOnce() -> R, R>(f: F) -> Result<R, Box<dyn Any + Send>> {
    /// Takes the closure in, gives the result or the payload out.
    union Data<F, R> {
        function: ManuallyDrop<F>,
        result: ManuallyDrop<R>,
        payload: ManuallyDrop<Payload>,
    }

    #[inline(never)]
    fn call<F: FnOnce() -> R, R>(f: F) -> R {
        f()
    }

    fn attempt<F: FnOnce() -> R, R>(data: *mut u8) {
        // SAFETY: `data` is the union below, which holds the function; it is taken once.
        unsafe {
            let data = &mut *data.cast::<Data<F, R>>();
            let function = ManuallyDrop::take(&mut data.function);
            // A function that the compiler knows neither to be inlined here nor never to panic: in either case it would
            // leave out the catch, which a fault in `f` needs as well.
            let call: fn(F) -> R = core::hint::black_box(call::<F, R>);
            data.result = ManuallyDrop::new(call(function));
        }
    }

    #[cold]
    fn caught<F: FnOnce() -> R, R>(data: *mut u8, exception: *mut u8) {
        DEPTH.set(DEPTH.get().saturating_sub(1));
        // SAFETY: the landing pad hands over the exception, which is now ours. The function was taken out of `data`, and
        // there is no result: the payload may take its place.
        unsafe { (*data.cast::<Data<F, R>>()).payload = ManuallyDrop::new(Object::unwrap(exception.cast())) };
    }

    let mut data = Data::<F, R> { function: ManuallyDrop::new(f) };
    // SAFETY: both functions get the pointer to `data`, which is what they expect, and which outlives the call. The return
    // value says which of them finished, hence which field is set.
    unsafe {
        if core::intrinsics::catch_unwind(attempt::<F, R>, (&raw mut data).cast(), caught::<F, R>) == 0 {
            Ok(ManuallyDrop::into_inner(data.result))
        } else {
            Err(ManuallyDrop::into_inner(data.payload))
        }
    }
}
