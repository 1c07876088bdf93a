//! Linux: `mmap`, signals, and the unwinder of the C runtime.

use crate::{PlatformError, TrapCause, TrapHandler, TrapRegisters, check_range, round_up_to_pages};
use core::cell::Cell;
use core::ffi::{c_int, c_void};
use core::ops::{Deref, Range};
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicPtr, Ordering};
use std::sync::OnceLock;

mod alarm;
mod allocator;
mod waiting;
mod workers;

pub use alarm::{alarm, monotonic_nanos, move_alarm, set_alarm};
pub use allocator::BudgetedAllocator;
pub use waiting::Mutex;
pub(crate) use waiting::{ListLock, Sleeper, with_list};
pub use workers::parallelism;
pub(crate) use workers::{Account, run_workers};

/// The name under which artifacts for this platform are compiled.
pub const OPERATING_SYSTEM: &str = "linux";

/// Whether all code of the host keeps frame pointers. The standard library as it is distributed does not.
pub const HOST_KEEPS_FRAME_POINTERS: bool = false;

/// Calls `f` with an address in each function that was running when the current task panicked last: they are not known.
pub fn latest_panic(_f: &mut dyn FnMut(usize)) {}

/// Whether the environment variable `name` has this value.
pub fn variable_is(name: &str, value: &str) -> bool {
    std::env::var_os(name).is_some_and(|found| found == value)
}

/// Calls `f` with a name for the code of the host at `address`, if one is known: none is.
pub fn symbolize(_address: usize, _f: &mut dyn FnMut(&dyn core::fmt::Display)) -> bool {
    false
}

/// Size of a page in bytes.
pub fn page_size() -> usize {
    static SIZE: OnceLock<usize> = OnceLock::new();
    // SAFETY: `sysconf` has no preconditions.
    *SIZE.get_or_init(|| unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize)
}

/// An anonymous private mapping that is unmapped when dropped.
#[derive(Debug)]
struct Mapping {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: a mapping is memory, and memory belongs to no thread.
unsafe impl Send for Mapping {}
// SAFETY: through a shared reference only the address and the length can be had.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps `len` bytes (a multiple of the page size) with protection `protection`.
    fn new(attempted: &'static str, len: usize, protection: c_int) -> Result<Self, PlatformError> {
        if len == 0 {
            return Ok(Self { start: NonNull::dangling(), len: 0 });
        }
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a new mapping at an address of the system's choice touches nothing that exists.
        let start = unsafe { libc::mmap(ptr::null_mut(), len, protection, flags, -1, 0) };
        if start == libc::MAP_FAILED {
            return Err(PlatformError::last_os_error(attempted));
        }
        let start = NonNull::new(start.cast())
            .ok_or(PlatformError::bad_argument(attempted, "mapped at address 0"))?;
        Ok(Self { start, len })
    }

    /// Changes the protection of a part.
    fn protect(
        &mut self,
        attempted: &'static str,
        range: Range<usize>,
        protection: c_int,
    ) -> Result<(), PlatformError> {
        check_range(attempted, range.start, range.len(), self.len)?;
        if range.is_empty() {
            return Ok(());
        }
        // SAFETY: the range lies in this mapping, which is ours alone.
        let result =
            unsafe { libc::mprotect(self.start.as_ptr().add(range.start).cast(), range.len(), protection) };
        if result != 0 { Err(PlatformError::last_os_error(attempted)) } else { Ok(()) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        if self.len != 0 {
            // SAFETY: the mapping is ours, and nobody can hold a reference into it that outlives it.
            unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
        }
    }
}

/// Calls `f`, which allocates what a guest has asked for, and copes with a refusal. Linux has reserves of its own.
#[inline]
pub fn for_guest<R>(f: impl FnOnce() -> R) -> R {
    f()
}

/// Address space that belongs to one owner. It starts inaccessible; parts of it become readable and writable memory
/// by [`commit`](Self::commit).
#[derive(Debug)]
pub struct Reservation(Mapping);

impl Reservation {
    /// Reserves `len` bytes, rounded up to whole pages, aligned to a page. Costs no memory.
    ///
    /// # Errors
    /// Fails if the address space has no room for it.
    pub fn new(len: usize) -> Result<Self, PlatformError> {
        const ATTEMPTED: &str = "reserve address space";
        let len =
            round_up_to_pages(len).ok_or(PlatformError::bad_argument(ATTEMPTED, "the size overflows"))?;
        Ok(Self(Mapping::new(ATTEMPTED, len, libc::PROT_NONE)?))
    }

    /// Address of the first byte. Dereferencing it is sound only within what is committed.
    pub fn as_ptr(&self) -> *mut u8 {
        self.0.start.as_ptr()
    }

    /// Number of bytes reserved, a multiple of the page size.
    pub fn len(&self) -> usize {
        self.0.len
    }

    /// Whether nothing is reserved.
    pub fn is_empty(&self) -> bool {
        self.0.len == 0
    }

    /// Makes `len` bytes from `offset` readable and writable; what was not committed before reads as zero. Both must
    /// be multiples of the page size.
    ///
    /// # Errors
    /// Fails if the range leaves the reservation or the system is out of memory.
    pub fn commit(&mut self, offset: usize, len: usize) -> Result<(), PlatformError> {
        self.0.protect(
            "commit memory",
            offset..offset.saturating_add(len),
            libc::PROT_READ | libc::PROT_WRITE,
        )
    }

    /// As [`commit`](Self::commit), in steps that take a few milliseconds at most, before each of which `proceed` is asked. Returns
    /// whether all is committed: if `proceed` says no, it is as before. Here one step is enough: pages are made when they are used.
    ///
    /// # Errors
    /// As [`commit`](Self::commit). What cannot succeed takes nobody's memory for a while.
    pub fn commit_in_steps(
        &mut self,
        offset: usize,
        len: usize,
        proceed: &mut dyn FnMut() -> bool,
    ) -> Result<bool, PlatformError> {
        match proceed() {
            true => self.commit(offset, len).map(|()| true),
            false => Ok(false),
        }
    }

    /// Gives the memory of `len` bytes from `offset` back and makes them inaccessible. Both must be multiples of the
    /// page size. A later [`commit`](Self::commit) gives zeroed memory.
    ///
    /// # Errors
    /// Fails if the range leaves the reservation or the system refuses.
    pub fn decommit(&mut self, offset: usize, len: usize) -> Result<(), PlatformError> {
        const ATTEMPTED: &str = "decommit memory";
        self.0.protect(ATTEMPTED, offset..offset.saturating_add(len), libc::PROT_NONE)?;
        // SAFETY: the range was checked by `protect`, and its content is given up on purpose.
        let result = unsafe { libc::madvise(self.as_ptr().add(offset).cast(), len, libc::MADV_DONTNEED) };
        if result != 0 { Err(PlatformError::last_os_error(ATTEMPTED)) } else { Ok(()) }
    }
}

/// A loaded artifact: an image of which one part, the text, is executable and all else is read-only data.
#[derive(Debug)]
pub struct CodeImage {
    mapping: Mapping,
    len: usize,
}

impl CodeImage {
    /// Copies `image` into memory of its own and makes `text`, a range of whole pages in it (in bytes), executable.
    ///
    /// # Errors
    /// Fails if `text` is not a range of whole pages within the image, or the system is out of memory.
    pub fn publish(image: &[u8], text: Range<usize>) -> Result<Self, PlatformError> {
        const ATTEMPTED: &str = "publish code";
        let len = round_up_to_pages(image.len())
            .ok_or(PlatformError::bad_argument(ATTEMPTED, "the size overflows"))?;
        if text.start > text.end {
            return Err(PlatformError::bad_argument(ATTEMPTED, "the text ends before it begins"));
        }
        check_range(ATTEMPTED, text.start, text.len(), len)?;
        let mut mapping = Mapping::new(ATTEMPTED, len, libc::PROT_READ | libc::PROT_WRITE)?;
        // SAFETY: the mapping is at least as long as the image, writable, new (so it cannot overlap the image).
        unsafe { ptr::copy_nonoverlapping(image.as_ptr(), mapping.start.as_ptr(), image.len()) };
        mapping.protect(ATTEMPTED, 0..len, libc::PROT_READ)?;
        mapping.protect(ATTEMPTED, text, libc::PROT_READ | libc::PROT_EXEC)?;
        Ok(Self { mapping, len: image.len() })
    }
}

impl Deref for CodeImage {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: the first `len` bytes are mapped and readable as long as `self` lives, and nobody can write to them.
        unsafe { core::slice::from_raw_parts(self.mapping.start.as_ptr(), self.len) }
    }
}

unsafe extern "C" {
    fn __register_frame(eh_frame: *const u8);
    fn __deregister_frame(eh_frame: *const u8);
}

/// Unwind tables that the system's unwinder knows of.
#[derive(Debug)]
pub struct UnwindRegistration {
    eh_frame: usize,
}

impl UnwindRegistration {
    /// Makes the `.eh_frame` section in `eh_frame`, which describes the code in `text` (addresses), known.
    ///
    /// # Errors
    /// Fails if the section does not end with a zero length.
    ///
    /// # Safety
    /// The section must be a well-formed `.eh_frame` whose entries describe code in `text` truthfully, and both must
    /// stay as they are as long as the returned value lives.
    pub unsafe fn register(text: Range<usize>, eh_frame: &[u8]) -> Result<Self, PlatformError> {
        const ATTEMPTED: &str = "register unwind tables";
        if text.is_empty() {
            return Err(PlatformError::bad_argument(ATTEMPTED, "there is no code they could describe"));
        }
        if !eh_frame.ends_with(&[0; 4]) {
            return Err(PlatformError::bad_argument(ATTEMPTED, "the section is not terminated"));
        }
        // SAFETY: a well-formed, terminated section by this function's contract and the check above.
        unsafe { __register_frame(eh_frame.as_ptr()) };
        Ok(Self { eh_frame: eh_frame.as_ptr() as usize })
    }
}

impl Drop for UnwindRegistration {
    fn drop(&mut self) {
        // SAFETY: this very address was registered by `register`, and is deregistered once.
        unsafe { __deregister_frame(self.eh_frame as *const u8) };
    }
}

thread_local! {
    static SLOT: Cell<*mut u8> = const { Cell::new(ptr::null_mut()) };
    static STACK: Cell<(usize, usize)> = const { Cell::new((0, 0)) };
}

/// The current thread's pointer; null until it is set.
#[inline]
pub fn tls_get() -> *mut u8 {
    SLOT.get()
}

/// Sets the current thread's pointer.
#[inline]
pub fn tls_set(pointer: *mut u8) {
    SLOT.set(pointer);
}

/// The addresses of the current thread's stack, guard pages excluded.
///
/// If the system does not say where it is, the megabyte below the caller is assumed, which every thread has that
/// Rust started.
#[inline]
pub fn stack_bounds() -> Range<usize> {
    let (start, end) = STACK.get();
    if end != 0 { start..end } else { find_stack_bounds() }
}

#[cold]
fn find_stack_bounds() -> Range<usize> {
    let bounds = query_stack_bounds().unwrap_or_else(|| {
        let here = ptr::from_ref(&0u8) as usize;
        here.saturating_sub(1 << 20)..here
    });
    STACK.set((bounds.start, bounds.end));
    bounds
}

fn query_stack_bounds() -> Option<Range<usize>> {
    let mut start: *mut c_void = ptr::null_mut();
    let mut len = 0;
    let mut guard = 0;
    // SAFETY: the attributes are initialised by `pthread_getattr_np` before they are read, and destroyed after.
    let ok = unsafe {
        let mut attributes = core::mem::zeroed();
        if libc::pthread_getattr_np(libc::pthread_self(), &mut attributes) != 0 {
            return None;
        }
        let ok = libc::pthread_attr_getstack(&attributes, &mut start, &mut len) == 0
            && libc::pthread_attr_getguardsize(&attributes, &mut guard) == 0;
        libc::pthread_attr_destroy(&mut attributes);
        ok
    };
    ok.then(|| start as usize + guard..start as usize + len)
}

/// Ends the current task if it was killed. A thread of Linux cannot be: its process is.
pub fn end_if_killed() {}

/// Whether the current task was killed and is still to end. A thread of Linux cannot be.
pub fn kill_pending() -> bool {
    false
}

/// The content of the file at `path`.
///
/// # Errors
/// Says why it cannot be read.
pub fn read_file(path: &str) -> Result<alloc::vec::Vec<u8>, alloc::string::String> {
    std::fs::read(path).map_err(|error| error.to_string())
}

/// The signals that CPU exceptions arrive as, and that of the alarm.
const SIGNALS: [c_int; 5] = [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, alarm::SIGNAL];

/// The [`TrapHandler`] in charge, or null.
static HANDLER: AtomicPtr<()> = AtomicPtr::new(ptr::null_mut());

/// What was installed for each of [`SIGNALS`] before, to hand on what is not ours. A pointer to a leaked
/// `libc::sigaction`: a signal handler of another thread may read it at any time, so it is never freed. One is made
/// per signal and process.
static PREVIOUS: [AtomicPtr<libc::sigaction>; SIGNALS.len()] =
    [const { AtomicPtr::new(ptr::null_mut()) }; SIGNALS.len()];

/// Installs the signal handlers. Called under the lock of `hook`.
pub(crate) fn take_trap_hook(handler: TrapHandler) -> Result<(), PlatformError> {
    HANDLER.store(handler as *mut (), Ordering::Release);
    for (signal, previous) in SIGNALS.into_iter().zip(&PREVIOUS) {
        // SAFETY: all-zero is a valid `sigaction`, and the fields that matter are set below.
        let mut action: libc::sigaction = unsafe { core::mem::zeroed() };
        action.sa_sigaction = on_signal as *const () as usize;
        // On the alternate stack where there is one: a host's stack overflow arrives here as well. Not deferred: a
        // fault in a handler further down the chain must be seen.
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        // System calls of the host go on after an alarm.
        action.sa_flags |= if signal == alarm::SIGNAL { libc::SA_RESTART } else { libc::SA_NODEFER };
        // SAFETY: as above.
        let mut old: libc::sigaction = unsafe { core::mem::zeroed() };
        // SAFETY: both pointers are valid, and `on_signal` has the signature that SA_SIGINFO asks for.
        if unsafe { libc::sigaction(signal, &action, &mut old) } != 0 {
            return Err(PlatformError::last_os_error("install a signal handler"));
        }
        if old.sa_sigaction != on_signal as *const () as usize {
            let slot = previous.load(Ordering::Relaxed);
            if slot.is_null() {
                previous.store(Box::into_raw(Box::new(old)), Ordering::Release);
            } else {
                // SAFETY: the slot is ours and never freed. Its new content is what the system just told us is in
                // charge; a handler that reads it meanwhile sees a signal that neither handler was asked about yet.
                unsafe { slot.write(old) };
            }
        }
    }
    Ok(())
}

/// Restores what was there before. Called under the lock of `hook`.
pub(crate) fn give_back_trap_hook() {
    for (signal, previous) in SIGNALS.into_iter().zip(&PREVIOUS) {
        let previous = previous.load(Ordering::Acquire);
        if previous.is_null() {
            continue;
        }
        // SAFETY: all-zero is a valid `sigaction` to be written to; a null new action only queries.
        unsafe {
            let mut current: libc::sigaction = core::mem::zeroed();
            let known = libc::sigaction(signal, ptr::null(), &mut current) == 0;
            // Somebody who came after us has our address and calls us; then we must stay.
            if known && current.sa_sigaction == on_signal as *const () as usize {
                libc::sigaction(signal, previous, ptr::null_mut());
            }
        }
    }
    HANDLER.store(ptr::null_mut(), Ordering::Release);
}

unsafe extern "C" fn on_signal(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    let handler = HANDLER.load(Ordering::Acquire);
    if !handler.is_null() {
        // SAFETY: only `take_trap_hook` stores something else than null, and that is a `TrapHandler`.
        let handler: TrapHandler = unsafe { core::mem::transmute(handler) };
        // SAFETY: with SA_SIGINFO the kernel passes a `ucontext_t` that is ours to read and write until we return.
        let registers = unsafe { &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs };
        let cause = match signal {
            alarm::SIGNAL => TrapCause::Alarm,
            // SAFETY: the kernel filled in `si_addr` for these signals.
            libc::SIGSEGV | libc::SIGBUS => TrapCause::Exception(Some(unsafe { (*info).si_addr() } as usize)),
            _ => TrapCause::Exception(None),
        };
        let mut trap = TrapRegisters {
            pc: registers[libc::REG_RIP as usize] as usize,
            sp: registers[libc::REG_RSP as usize] as usize,
            fp: registers[libc::REG_RBP as usize] as usize,
            cause,
        };
        if handler(&mut trap) {
            registers[libc::REG_RIP as usize] = trap.pc as i64;
            registers[libc::REG_RSP as usize] = trap.sp as i64;
            registers[libc::REG_RBP as usize] = trap.fp as i64;
            return;
        }
    }
    if signal == alarm::SIGNAL && alarm::is_ours(info) {
        return;
    }
    // SAFETY: the arguments are those the kernel gave us.
    unsafe { hand_on(signal, info, context) }
}

/// Does for a signal that is not ours what would have been done without us.
unsafe fn hand_on(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    let index = SIGNALS.iter().position(|s| *s == signal);
    let previous = index.map_or(ptr::null_mut(), |i| PREVIOUS[i].load(Ordering::Acquire));
    // SAFETY: what is stored in `PREVIOUS` is never freed; handlers are called as their flags say.
    unsafe {
        let action = if previous.is_null() { libc::SIG_DFL } else { (*previous).sa_sigaction };
        match action {
            // Ignored by default.
            libc::SIG_DFL | libc::SIG_IGN if signal == alarm::SIGNAL => {}
            // Returning runs the instruction again, and then the default action ends the process.
            libc::SIG_DFL | libc::SIG_IGN => {
                libc::signal(signal, libc::SIG_DFL);
            }
            action if (*previous).sa_flags & libc::SA_SIGINFO != 0 => {
                let action: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) =
                    core::mem::transmute(action);
                action(signal, info, context);
            }
            action => {
                let action: extern "C" fn(c_int) = core::mem::transmute(action);
                action(signal);
            }
        }
    }
}
