//! The error type of the engine: any error, with context around it, that can be asked what it is.
//!
//! Shaped like Wasmtime's (and `anyhow`'s), with two differences that a kernel wants: a trap is an error without an
//! allocation, and where an error cannot be stored for want of memory it becomes [`OutOfMemory`] instead of a panic.

use alloc::alloc::{Layout, alloc};
use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use core::any::TypeId;
use core::error::Error as StdError;
use core::fmt::{self, Debug, Display, Write};
use core::mem::MaybeUninit;
use core::ptr::NonNull;
use wasm_artifact::Trap;

/// What most functions of the engine return.
pub type Result<T, E = Error> = core::result::Result<T, E>;

/// Anything that went wrong. Printed with `{}` it is one line, with `{:#}` one line that includes its causes, with
/// `{:?}` the line followed by its causes.
///
/// What it is can be found out with [`downcast_ref`](Self::downcast_ref): a trap holds a [`Trap`] and, if a
/// backtrace was captured, a [`WasmBacktrace`](crate::WasmBacktrace); an error that a host function returned holds that
/// error.
pub struct Error(Repr);

enum Repr {
    OutOfMemory(OutOfMemory),
    Trap(Trap),
    Other(Box<dyn Object>),
}

/// An allocation of the host's failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutOfMemory {
    bytes: usize,
}

impl OutOfMemory {
    /// The failure to allocate `bytes`.
    pub fn new(bytes: usize) -> Self {
        Self { bytes }
    }

    /// How many bytes were asked for.
    pub fn requested_allocation_size(&self) -> usize {
        self.bytes
    }
}

impl Display for OutOfMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "out of memory (failed to allocate {} bytes)", self.bytes)
    }
}

impl StdError for OutOfMemory {}

/// Allocates a box or says that there is no memory for it.
pub(crate) fn try_box<T>(value: T) -> Result<Box<T>, OutOfMemory> {
    let layout = Layout::new::<T>();
    let pointer = if layout.size() == 0 {
        NonNull::dangling()
    } else {
        // SAFETY: the layout's size is not zero.
        NonNull::new(unsafe { alloc(layout) }.cast::<T>()).ok_or(OutOfMemory::new(layout.size()))?
    };
    // SAFETY: the pointer is aligned, valid for a write of a `T`, and, unless `T` has no size, comes from the global
    // allocator with `T`'s layout, which is what a box frees with.
    unsafe {
        pointer.as_ptr().write(value);
        Ok(Box::from_raw(pointer.as_ptr()))
    }
}

/// Makes a reference-counted value or says that there is no memory for it.
pub(crate) fn try_arc<T>(value: T) -> Result<Arc<T>, OutOfMemory> {
    Arc::try_new(value).map_err(|_| OutOfMemory::new(size_of::<T>()))
}

/// Copies a text or says that there is no memory for it.
pub(crate) fn try_text(text: &str) -> Result<Box<str>, OutOfMemory> {
    let mut copy = String::new();
    copy.try_reserve_exact(text.len()).map_err(|_| OutOfMemory::new(text.len()))?;
    copy.push_str(text);
    // Has no room to give back, so this allocates nothing.
    Ok(copy.into_boxed_str())
}

/// What an error holds. Kept apart from `core::error::Error` to see through context.
trait Object: Send + Sync + 'static {
    fn as_error(&self) -> &(dyn StdError + Send + Sync + 'static);
    /// Address of the value of type `id` that this is or wraps.
    fn find(&self, id: TypeId) -> Option<NonNull<()>>;
    /// Moves the value of type `id` out to `out` and drops everything else; gives itself back if it has none.
    ///
    /// # Safety
    /// `out` must be valid for writing a value of the type that `id` stands for.
    unsafe fn take(self: Box<Self>, id: TypeId, out: NonNull<()>) -> Result<(), Error>;
}

struct Concrete<E>(E);

impl<E: StdError + Send + Sync + 'static> Object for Concrete<E> {
    fn as_error(&self) -> &(dyn StdError + Send + Sync + 'static) {
        &self.0
    }

    fn find(&self, id: TypeId) -> Option<NonNull<()>> {
        (id == TypeId::of::<E>()).then(|| NonNull::from(&self.0).cast())
    }

    unsafe fn take(self: Box<Self>, id: TypeId, out: NonNull<()>) -> Result<(), Error> {
        if id != TypeId::of::<E>() {
            return Err(Error(Repr::Other(self)));
        }
        // SAFETY: the caller vouches that `out` is a place for an `E`.
        unsafe { out.cast::<E>().write(self.0) };
        Ok(())
    }
}

struct Message<M>(M);

impl<M: Display> Display for Message<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<M: Debug> Debug for Message<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<M: Display + Debug> StdError for Message<M> {}

impl<M: Display + Debug + Send + Sync + 'static> Object for Message<M> {
    fn as_error(&self) -> &(dyn StdError + Send + Sync + 'static) {
        self
    }

    fn find(&self, id: TypeId) -> Option<NonNull<()>> {
        (id == TypeId::of::<M>()).then(|| NonNull::from(&self.0).cast())
    }

    unsafe fn take(self: Box<Self>, id: TypeId, out: NonNull<()>) -> Result<(), Error> {
        if id != TypeId::of::<M>() {
            return Err(Error(Repr::Other(self)));
        }
        // SAFETY: the caller vouches that `out` is a place for an `M`.
        unsafe { out.cast::<M>().write(self.0) };
        Ok(())
    }
}

struct WithContext<C> {
    context: C,
    source: Error,
}

impl<C: Display> Display for WithContext<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.context.fmt(f)
    }
}

impl<C: Display> Debug for WithContext<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {:?}", self.context, self.source)
    }
}

impl<C: Display> StdError for WithContext<C> {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(self.source.as_error())
    }
}

impl<C: Display + Send + Sync + 'static> Object for WithContext<C> {
    fn as_error(&self) -> &(dyn StdError + Send + Sync + 'static) {
        self
    }

    fn find(&self, id: TypeId) -> Option<NonNull<()>> {
        if id == TypeId::of::<C>() { Some(NonNull::from(&self.context).cast()) } else { self.source.find(id) }
    }

    unsafe fn take(self: Box<Self>, id: TypeId, out: NonNull<()>) -> Result<(), Error> {
        if id == TypeId::of::<C>() {
            // SAFETY: the caller vouches that `out` is a place for a `C`.
            unsafe { out.cast::<C>().write(self.context) };
            return Ok(());
        }
        if self.source.find(id).is_none() {
            return Err(Error(Repr::Other(self)));
        }
        // SAFETY: as the caller vouches for us.
        unsafe { self.source.take(id, out) }
    }
}

impl Error {
    /// Makes an error of a value that describes itself as one.
    pub fn new<E: StdError + Send + Sync + 'static>(error: E) -> Self {
        // A trap and a lack of memory have places of their own; the copies are bitwise, of `Copy` types.
        let any: &dyn core::any::Any = &error;
        if let Some(trap) = any.downcast_ref::<Trap>() {
            return Self(Repr::Trap(*trap));
        }
        if let Some(oom) = any.downcast_ref::<OutOfMemory>() {
            return Self(Repr::OutOfMemory(*oom));
        }
        Self::store(Concrete(error))
    }

    /// Makes an error of something that can be printed.
    pub fn msg<M: Display + Debug + Send + Sync + 'static>(message: M) -> Self {
        Self::store(Message(message))
    }

    /// For the macros: a formatted message.
    #[doc(hidden)]
    pub fn from_format_args(arguments: fmt::Arguments<'_>) -> Self {
        if let Some(message) = arguments.as_str() {
            return Self::msg(message);
        }
        let mut message = FallibleString(String::new());
        match message.write_fmt(arguments) {
            Ok(()) => Self::msg(message.0),
            Err(fmt::Error) => Self(Repr::OutOfMemory(OutOfMemory::new(message.0.len()))),
        }
    }

    fn store<O: Object>(object: O) -> Self {
        match try_box(object) {
            Ok(object) => Self(Repr::Other(object)),
            Err(oom) => Self(Repr::OutOfMemory(oom)),
        }
    }

    /// Wraps the error in another statement, which is printed first. Both can be asked for with
    /// [`downcast_ref`](Self::downcast_ref).
    #[must_use]
    pub fn context<C: Display + Send + Sync + 'static>(self, context: C) -> Self {
        if matches!(self.0, Repr::OutOfMemory(_)) {
            // Nothing can be added to what could not be stored.
            return self;
        }
        Self::store(WithContext { context, source: self })
    }

    fn as_error(&self) -> &(dyn StdError + Send + Sync + 'static) {
        match &self.0 {
            Repr::OutOfMemory(oom) => oom,
            Repr::Trap(trap) => trap,
            Repr::Other(object) => object.as_error(),
        }
    }

    fn find(&self, id: TypeId) -> Option<NonNull<()>> {
        match &self.0 {
            Repr::OutOfMemory(oom) => (id == TypeId::of::<OutOfMemory>()).then(|| NonNull::from(oom).cast()),
            Repr::Trap(trap) => (id == TypeId::of::<Trap>()).then(|| NonNull::from(trap).cast()),
            Repr::Other(object) => object.find(id),
        }
    }

    /// See [`Object::take`].
    unsafe fn take(self, id: TypeId, out: NonNull<()>) -> Result<(), Error> {
        match self.0 {
            Repr::Other(object) => {
                // SAFETY: as the caller vouches for us.
                unsafe { object.take(id, out) }
            }
            Repr::Trap(trap) if id == TypeId::of::<Trap>() => {
                // SAFETY: the caller vouches that `out` is a place for a `Trap`.
                unsafe { out.cast::<Trap>().write(trap) };
                Ok(())
            }
            Repr::OutOfMemory(oom) if id == TypeId::of::<OutOfMemory>() => {
                // SAFETY: the caller vouches that `out` is a place for an `OutOfMemory`.
                unsafe { out.cast::<OutOfMemory>().write(oom) };
                Ok(())
            }
            other => Err(Self(other)),
        }
    }

    /// Whether this is, or wraps, a value of type `E`.
    pub fn is<E: Display + Send + Sync + 'static>(&self) -> bool {
        self.find(TypeId::of::<E>()).is_some()
    }

    /// The value of type `E` that this is or wraps, outermost first.
    pub fn downcast_ref<E: Display + Send + Sync + 'static>(&self) -> Option<&E> {
        // SAFETY: `find` gives the address of a value of just this type that lives in `self`.
        self.find(TypeId::of::<E>()).map(|value| unsafe { value.cast().as_ref() })
    }

    /// Takes the value of type `E` out of the error.
    ///
    /// # Errors
    /// Gives the error back if there is none in it.
    pub fn downcast<E: Display + Send + Sync + 'static>(self) -> Result<E, Self> {
        let mut out = MaybeUninit::<E>::uninit();
        // SAFETY: `out` is a place for an `E`, and is written if and only if the result is `Ok`.
        unsafe {
            self.take(TypeId::of::<E>(), NonNull::from(&mut out).cast())?;
            Ok(out.assume_init())
        }
    }

    /// The error and its causes, outermost first.
    pub fn chain(&self) -> Chain<'_> {
        Chain { next: Some(self.as_error()) }
    }

    /// The innermost cause.
    pub fn root_cause(&self) -> &(dyn StdError + 'static) {
        self.chain().last().unwrap_or(self.as_error())
    }
}

/// The error and its causes; see [`Error::chain`].
#[derive(Clone)]
pub struct Chain<'a> {
    next: Option<&'a (dyn StdError + 'static)>,
}

impl<'a> Iterator for Chain<'a> {
    type Item = &'a (dyn StdError + 'static);

    fn next(&mut self) -> Option<Self::Item> {
        let error = self.next?;
        self.next = error.source();
        Some(error)
    }
}

impl<E: StdError + Send + Sync + 'static> From<E> for Error {
    fn from(error: E) -> Self {
        Self::new(error)
    }
}

impl AsRef<dyn StdError + Send + Sync> for Error {
    fn as_ref(&self) -> &(dyn StdError + Send + Sync + 'static) {
        self.as_error()
    }
}

impl core::ops::Deref for Error {
    type Target = dyn StdError + Send + Sync + 'static;

    fn deref(&self) -> &Self::Target {
        self.as_error()
    }
}

impl Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.as_error())?;
        if f.alternate() {
            for cause in self.chain().skip(1) {
                write!(f, ": {cause}")?;
            }
        }
        Ok(())
    }
}

impl Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.as_error())?;
        let several = self.chain().nth(2).is_some();
        for (number, cause) in self.chain().skip(1).enumerate() {
            if number == 0 {
                write!(f, "\n\nCaused by:")?;
            }
            writeln!(f)?;
            let mut indented = Indented { to: f, number: several.then_some(number), line_begun: false };
            write!(indented, "{cause}")?;
        }
        Ok(())
    }
}

/// Writes what it is given with every line indented, the first after a number if there is one.
struct Indented<'a, 'b> {
    to: &'a mut fmt::Formatter<'b>,
    number: Option<usize>,
    line_begun: bool,
}

impl Write for Indented<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for (index, line) in text.split('\n').enumerate() {
            if index > 0 {
                self.to.write_char('\n')?;
                self.to.write_str(if self.number.is_some() { "       " } else { "    " })?;
            } else if !self.line_begun {
                self.line_begun = true;
                match self.number {
                    Some(number) => write!(self.to, "{number:>5}: ")?,
                    None => self.to.write_str("    ")?,
                }
            }
            self.to.write_str(line)?;
        }
        Ok(())
    }
}

/// A string that reports when it cannot grow.
struct FallibleString(String);

impl Write for FallibleString {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.try_reserve(text.len()).map_err(|_| fmt::Error)?;
        self.0.push_str(text);
        Ok(())
    }
}

/// What can be made an [`Error`] with context. Sealed by being private.
pub trait IntoError {
    #[doc(hidden)]
    fn into_error(self) -> Error;
}

impl<E: StdError + Send + Sync + 'static> IntoError for E {
    fn into_error(self) -> Error {
        Error::new(self)
    }
}

impl IntoError for Error {
    fn into_error(self) -> Error {
        self
    }
}

/// Adds a statement to the error of a `Result`, or makes an `Option` one.
pub trait Context<T, E> {
    /// Wraps the error in `context`.
    ///
    /// # Errors
    /// If there was one, or nothing.
    fn context<C: Display + Debug + Send + Sync + 'static>(self, context: C) -> Result<T, Error>;

    /// Wraps the error in what `context` returns, which is called only then.
    ///
    /// # Errors
    /// If there was one, or nothing.
    fn with_context<C: Display + Debug + Send + Sync + 'static>(
        self,
        context: impl FnOnce() -> C,
    ) -> Result<T, Error>;
}

impl<T, E: IntoError> Context<T, E> for core::result::Result<T, E> {
    fn context<C: Display + Debug + Send + Sync + 'static>(self, context: C) -> Result<T, Error> {
        self.map_err(|error| error.into_error().context(context))
    }

    fn with_context<C: Display + Debug + Send + Sync + 'static>(
        self,
        context: impl FnOnce() -> C,
    ) -> Result<T, Error> {
        self.map_err(|error| error.into_error().context(context()))
    }
}

impl<T> Context<T, core::convert::Infallible> for Option<T> {
    fn context<C: Display + Debug + Send + Sync + 'static>(self, context: C) -> Result<T, Error> {
        self.ok_or_else(|| Error::msg(context))
    }

    fn with_context<C: Display + Debug + Send + Sync + 'static>(
        self,
        context: impl FnOnce() -> C,
    ) -> Result<T, Error> {
        self.ok_or_else(|| Error::msg(context()))
    }
}

/// Makes an [`Error`] of a format string and its arguments.
#[macro_export]
macro_rules! format_err {
    ($message:literal $(,)?) => { $crate::Error::from_format_args(::core::format_args!($message)) };
    ($error:expr $(,)?) => { $crate::Error::msg($error) };
    ($format:expr, $($argument:tt)*) => { $crate::Error::from_format_args(::core::format_args!($format, $($argument)*)) };
}

/// Returns an error made of a format string and its arguments.
#[macro_export]
macro_rules! bail {
    ($($argument:tt)*) => { return ::core::result::Result::Err($crate::format_err!($($argument)*)) };
}

/// Returns an error unless a condition holds.
#[macro_export]
macro_rules! ensure {
    ($condition:expr $(,)?) => {
        if !$condition {
            return ::core::result::Result::Err($crate::format_err!(::core::concat!(
                "Condition failed: `", ::core::stringify!($condition), "`"
            )));
        }
    };
    ($condition:expr, $($argument:tt)*) => {
        if !$condition { $crate::bail!($($argument)*); }
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::ToString;

    #[test]
    fn a_trap_is_found_through_context() {
        let error = Error::from(Trap::UnreachableCodeReached).context("running").context(7);
        assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::UnreachableCodeReached));
        assert_eq!(error.downcast_ref::<i32>(), Some(&7));
        assert_eq!(error.downcast_ref::<&str>(), Some(&"running"));
        assert!(!error.is::<u8>());
        assert_eq!(error.downcast::<Trap>().unwrap(), Trap::UnreachableCodeReached);
    }

    #[test]
    fn causes_are_printed_below_the_error() {
        let one = Error::msg("inner\nsecond line").context("outer");
        assert_eq!(one.to_string(), "outer");
        assert_eq!(format!("{one:#}"), "outer: inner\nsecond line");
        assert_eq!(format!("{one:?}"), "outer\n\nCaused by:\n    inner\n    second line");
        let two = one.context("outermost");
        assert_eq!(
            format!("{two:?}"),
            "outermost\n\nCaused by:\n    0: outer\n    1: inner\n       second line"
        );
        assert_eq!(two.root_cause().to_string(), "inner\nsecond line");
    }

    #[test]
    fn downcast_gives_the_error_back_if_it_is_another() {
        let error = Error::msg(String::from("a")).downcast::<u8>().unwrap_err();
        assert_eq!(error.downcast::<String>().unwrap(), "a");
    }

    #[test]
    fn macros_format_and_return() {
        fn check(value: i32) -> Result<i32> {
            ensure!(value != 1);
            ensure!(value != 2, "is {}", value);
            if value == 3 {
                bail!("three: {value}");
            }
            Ok(value)
        }
        assert_eq!(check(1).unwrap_err().to_string(), "Condition failed: `value != 1`");
        assert_eq!(check(2).unwrap_err().to_string(), "is 2");
        assert_eq!(check(3).unwrap_err().to_string(), "three: 3");
        assert_eq!(check(4).unwrap(), 4);
        let missing: Option<u8> = None;
        assert_eq!(missing.context("nothing").unwrap_err().to_string(), "nothing");
    }
}
