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

use unwinding::abi::{_Unwind_DeleteException, _Unwind_RaiseException, UnwindException, UnwindReasonCode};

/// Marks exceptions thrown by [`start_unwinding`].
const CLASS: u64 = u64::from_be_bytes(*b"THESRUST");

/// Marks exceptions thrown by [`start_unwinding_from_fault`].
pub(crate) const FAULT_CLASS: u64 = u64::from_be_bytes(*b"THESFALT");

/// Exception objects for when the heap has no memory left. A task needs one from throw to catch.
const SPARE_OBJECTS: usize = 16;

type Payload = Box<dyn Any + Send>;

/// What the unwinder carries along.
#[repr(C)]
struct Object {
    /// Must be first: the unwinder knows the object by its address. Its private fields are the unwinder's to set.
    header: MaybeUninit<UnwindException>,
    payload: Payload,
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
    fn wrap(payload: Payload, class: u64) -> Result<*mut Self, Payload> {
        let layout = Layout::new::<Self>();
        // SAFETY: the layout is not of size zero.
        let mut place = unsafe { alloc::alloc::alloc(layout) }.cast::<Self>();
        if place.is_null() {
            let spare = SPARES.iter().find(|spare| !spare.taken.swap(true, Ordering::Acquire));
            let Some(spare) = spare else { return Err(payload) };
            place = spare.object.get().cast();
        }
        // SAFETY: the memory is ours, of the right size and alignment. The header is all zeros (valid for its `Option`s
        // of functions and numbers) but for its class and cleanup function.
        unsafe {
            place.write(Self { header: MaybeUninit::zeroed(), payload });
            let header = place.cast::<UnwindException>();
            (*header).exception_class = class;
            (*header).exception_cleanup = Some(delete);
        }
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

/// Called by someone who caught one of our exceptions without knowing what it is.
unsafe extern "C" fn delete(_: UnwindReasonCode, exception: *mut UnwindException) {
    // SAFETY: only set in headers of objects from `wrap`; whoever calls it gives the exception up.
    drop(unsafe { Object::unwrap(exception.cast()) });
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
    throw(payload, CLASS)
}

/// Throws `payload` as [`start_unwinding`] does, but from a [`FaultHandler`](crate::FaultHandler).
///
/// A fault can happen where the compiler knew that nothing can panic, and in a function whose callers relied on that:
/// they have no landing pad for the call. Such frames are passed over, their values not dropped. (Functions that
/// *forbid* unwinding, as `extern "C"` ones do, still stop it.)
#[inline(never)]
pub fn start_unwinding_from_fault(payload: Box<dyn Any + Send>) -> UnwindFailed {
    throw(payload, FAULT_CLASS)
}

#[inline(always)]
fn throw(payload: Payload, class: u64) -> UnwindFailed {
    let object = match Object::wrap(payload, class) {
        Ok(object) => object,
        Err(payload) => return UnwindFailed { reason: UnwindFailure::OutOfMemory, payload },
    };
    DEPTH.set(DEPTH.get() + 1);
    // SAFETY: an exception as the unwinder expects it, given away to it.
    let code = unsafe { _Unwind_RaiseException(object.cast()) };
    DEPTH.set(DEPTH.get() - 1);
    let reason = match code {
        UnwindReasonCode::END_OF_STACK => UnwindFailure::NotCaught,
        _ => UnwindFailure::Forbidden,
    };
    // SAFETY: it was not thrown, so it is ours again.
    UnwindFailed { reason, payload: unsafe { Object::unwrap(object) } }
}

/// Payload of [`catch_unwind`]'s error when what was caught is not an exception of this kernel.
#[derive(Clone, Copy, Debug)]
pub struct ForeignException;

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
        let exception = exception.cast::<UnwindException>();
        // SAFETY: the landing pad hands over the exception, which is now ours. The function was taken out of `data`, and
        // there is no result: the payload may take its place.
        unsafe {
            let data = &mut *data.cast::<Data<F, R>>();
            let payload: Payload = if matches!((*exception).exception_class, CLASS | FAULT_CLASS) {
                DEPTH.set(DEPTH.get().saturating_sub(1));
                Object::unwrap(exception.cast())
            } else {
                _Unwind_DeleteException(exception);
                Box::new(ForeignException)
            };
            data.payload = ManuallyDrop::new(payload);
        }
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
