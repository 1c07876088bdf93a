//! What a WebAssembly engine asks of its operating system, and who fulfils it.
//!
//! One module per platform, each with the same names, chosen by the target's operating system:
//!
//! | name | what it gives |
//! |---|---|
//! | [`page_size`] | the granularity of everything below |
//! | [`Reservation`] | address space that belongs to one owner and is filled with memory in part |
//! | [`for_guest`] | that what is allocated leaves a reserve to others, as what the other items allocate does |
//! | [`CodeImage`] | a loaded artifact: its text readable and executable, the rest readable |
//! | [`TrapHook`] | the right to be asked first about every CPU exception |
//! | [`UnwindRegistration`] | unwind tables known to the system's unwinder |
//! | [`tls_get`], [`tls_set`] | one pointer per task or thread |
//! | [`stack_bounds`] | where the current stack lies |
//! | [`end_if_killed`], [`kill_pending`] | ends the current task if it is to end; whether it is |
//! | [`monotonic_nanos`] | a clock that never goes back |
//! | [`set_alarm`], [`alarm`], [`move_alarm`] | a time from which on the trap handler is asked about what the current task runs |
//! | [`read_file`] | the content of a file |
//! | [`files`] | files written as a whole, and directories of them |
//! | [`run_workers`], [`parallelism`] | work done by tasks of its own; how many the machine runs at once |
//! | [`WaitList`] | tasks blocked until somebody notifies the address at which they wait |
//! | [`Mutex`] | a lock whose waiters sleep |
//! | `BudgetedAllocator` | what keeps workers to their budget; on Linux only, and for the program to choose |
//! | `LoadedCrate` | a crate of the kernel that is loaded when it is needed; not on Linux |
//!
//! What is common to the platforms (the error type, the registers a trap handler sees, the argument checks) is defined
//! here, so that a platform is little more than its system calls.
//!
//! Invariants every platform keeps:
//! - Everything is fallible and says what failed; everything taken is given back by `Drop`.
//! - Memory handed out is zeroed. Memory is never writable and executable at the same time, at no address.
//! - The trap handler runs in exception or signal context: nothing on the way to it or back allocates, locks or prints.
//! - Nothing of this crate stays registered with the system after the last value made by it is gone, so that the
//!   crate can be unloaded.
#![cfg_attr(target_os = "theseus", no_std)]
#![cfg_attr(target_os = "theseus", feature(thread_local))]
#![cfg_attr(target_os = "linux", feature(alloc_error_hook))]

extern crate alloc;

use core::fmt;

pub mod files;
mod hook;
mod waiting;
mod workers;

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
use linux as platform;
#[cfg(target_os = "linux")]
#[path = "files_linux.rs"]
mod platform_files;

#[cfg(target_os = "theseus")]
mod theseus;
#[cfg(target_os = "theseus")]
use theseus as platform;
#[cfg(target_os = "theseus")]
#[path = "files_theseus.rs"]
mod platform_files;

pub use hook::{TrapHandler, TrapHook};
#[cfg(target_os = "linux")]
pub use platform::BudgetedAllocator;
pub use platform::{
    CodeImage, HOST_KEEPS_FRAME_POINTERS, Mutex, OPERATING_SYSTEM, Reservation, UnwindRegistration, alarm,
    end_if_killed, for_guest, kill_pending, latest_panic, monotonic_nanos, move_alarm, page_size,
    parallelism, read_file, set_alarm, stack_bounds, symbolize, tls_get, tls_set, variable_is,
};
#[cfg(target_os = "theseus")]
pub use platform::{LoadedCommand, LoadedCrate};
pub use waiting::{WaitList, Waited};
pub use workers::{Budget, WorkersError, run_workers};

/// Why the operating system did not do what was asked of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlatformError {
    /// What was attempted, as the object of "could not".
    attempted: &'static str,
    /// How the system explained itself.
    reason: Reason,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reason {
    /// A range or an alignment that the platform cannot serve.
    BadArgument(&'static str),
    /// No memory is left.
    OutOfMemory,
    /// The system's own words.
    #[cfg_attr(target_os = "linux", allow(dead_code, reason = "Linux answers with error numbers"))]
    Message(&'static str),
    /// An `errno`.
    #[cfg(target_os = "linux")]
    Errno(i32),
}

impl PlatformError {
    /// `what` about the arguments makes it impossible to do what was `attempted`.
    pub fn bad_argument(attempted: &'static str, what: &'static str) -> Self {
        Self { attempted, reason: Reason::BadArgument(what) }
    }

    /// The system has no memory left for what was `attempted`.
    pub fn out_of_memory(attempted: &'static str) -> Self {
        Self { attempted, reason: Reason::OutOfMemory }
    }

    #[cfg(target_os = "theseus")]
    pub(crate) fn message(attempted: &'static str, message: &'static str) -> Self {
        Self { attempted, reason: Reason::Message(message) }
    }

    #[cfg(target_os = "linux")]
    pub(crate) fn last_os_error(attempted: &'static str) -> Self {
        let errno = std::io::Error::last_os_error().raw_os_error().unwrap_or(0);
        Self { attempted, reason: Reason::Errno(errno) }
    }
}

impl fmt::Display for PlatformError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "could not {}: ", self.attempted)?;
        match self.reason {
            Reason::BadArgument(what) => f.write_str(what),
            Reason::OutOfMemory => f.write_str("out of memory; free some and try again"),
            Reason::Message(message) => f.write_str(message),
            #[cfg(target_os = "linux")]
            Reason::Errno(errno) => write!(f, "{}", std::io::Error::from_raw_os_error(errno)),
        }
    }
}

impl core::error::Error for PlatformError {}

/// What stopped a task so that a [`TrapHandler`] is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrapCause {
    /// A CPU exception; for a memory fault, with the address that could not be accessed.
    Exception(Option<usize>),
    /// The task is to end: somebody killed it. Asked at every timer tick that finds it running, until it has ended. A
    /// platform without such a timer (Linux) never says this.
    Kill,
    /// The time that [`set_alarm`] said has come. Asked at every timer tick (Linux: every few milliseconds) that finds the task
    /// running, until the alarm is set to a later time, for which the handler has [`move_alarm`].
    Alarm,
}

/// The time of an alarm that is not set.
pub const NO_ALARM: u64 = u64::MAX;

/// The registers with which a CPU exception or a timer tick interrupted its task; what is written here is what the task
/// resumes with if the handler returns `true`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrapRegisters {
    /// Instruction pointer: the instruction that faulted.
    pub pc: usize,
    /// Stack pointer.
    pub sp: usize,
    /// Frame pointer (`rbp`).
    pub fp: usize,
    /// Why the handler is asked.
    pub cause: TrapCause,
}

/// The frame pointer of the function that calls this, in whose code it is inlined.
#[inline(always)]
pub fn frame_pointer() -> usize {
    let frame_pointer: usize;
    // SAFETY: copying a register has no effect.
    unsafe {
        core::arch::asm!("mov {}, rbp", out(reg) frame_pointer, options(nomem, nostack, preserves_flags))
    };
    frame_pointer
}

/// `len` rounded up to whole pages, or `None` if that does not fit an address.
pub fn round_up_to_pages(len: usize) -> Option<usize> {
    len.checked_next_multiple_of(page_size())
}

/// Checks that `offset..offset + len` consists of whole pages and lies in `0..total`.
pub(crate) fn check_range(
    attempted: &'static str,
    offset: usize,
    len: usize,
    total: usize,
) -> Result<(), PlatformError> {
    if !offset.is_multiple_of(page_size()) || !len.is_multiple_of(page_size()) {
        return Err(PlatformError::bad_argument(attempted, "the range does not consist of whole pages"));
    }
    match offset.checked_add(len) {
        Some(end) if end <= total => Ok(()),
        _ => Err(PlatformError::bad_argument(attempted, "the range leaves its reservation")),
    }
}

#[cfg(test)]
mod tests;
