//! The alarm: a timer per thread, which sends that thread a signal.
//!
//! The signal is SIGURG, which is ignored by default and which any program must expect at any time: one that comes late, when
//! nobody handles it any more, does no harm. (Go's runtime interrupts its threads by it for the same reason.)
//!
//! The timer goes on ticking once its time has come: a signal may find the thread where it cannot be interrupted.

use crate::{NO_ALARM, PlatformError};
use core::cell::Cell;
use core::ffi::c_int;
use core::mem;
use core::ptr;
use core::sync::atomic::{Ordering, compiler_fence};

/// The alarm's signal.
pub(super) const SIGNAL: c_int = libc::SIGURG;

/// Nanoseconds between signals when the time has come.
const TICK: i64 = 2_000_000;

const NANOS_PER_SECOND: u64 = 1_000_000_000;

thread_local! {
    /// When the timer is to fire. It may be set though this says that it is not, but not the other way around; so a signal
    /// handler may change both at any moment.
    static AT: Cell<u64> = const { Cell::new(NO_ALARM) };
    /// The timer, if there is one; its name may be null. Apart from its owner so that a signal handler can read it.
    static TIMER: Cell<Option<libc::timer_t>> = const { Cell::new(None) };
    /// Deletes the timer when the thread ends.
    static OWNER: Owner = const { Owner };
}

struct Owner;

impl Drop for Owner {
    fn drop(&mut self) {
        if let Some(timer) = TIMER.take() {
            // SAFETY: it is this thread's timer, and nobody has its name any more.
            unsafe { libc::timer_delete(timer) };
        }
    }
}

/// Nanoseconds of a clock that never goes back.
pub fn monotonic_nanos() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is valid. Every Linux has this clock, so it cannot fail. May be called in signal handlers.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now) };
    now.tv_sec as u64 * NANOS_PER_SECOND + now.tv_nsec as u64
}

/// When the current thread's alarm is due, on the clock of [`monotonic_nanos`]; [`NO_ALARM`] if it is not set.
pub fn alarm() -> u64 {
    AT.get()
}

/// Sets the current thread's alarm, of which there is one: from the time `at` of [`monotonic_nanos`] on the trap handler is
/// asked about what the thread runs, with [`TrapCause::Alarm`](crate::TrapCause::Alarm). It costs a running thread nothing until then.
///
/// # Errors
/// Fails if the system has no timer left.
pub fn set_alarm(at: u64) -> Result<(), PlatformError> {
    if TIMER.get().is_none() {
        OWNER.with(|_| {});
        TIMER.set(Some(new_timer()?));
    }
    move_alarm(at);
    Ok(())
}

/// As [`set_alarm`], for the trap handler, and for alarms that were set before.
pub fn move_alarm(at: u64) {
    let Some(timer) = TIMER.get() else { return };
    AT.set(at);
    // A signal may come between the two; see `AT`.
    compiler_fence(Ordering::SeqCst);
    let nanos = libc::timespec { tv_sec: 0, tv_nsec: TICK };
    let zero = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // Zero would stop it.
    let first = at.max(1);
    let at_timespec = libc::timespec {
        tv_sec: (first / NANOS_PER_SECOND) as libc::time_t,
        tv_nsec: (first % NANOS_PER_SECOND) as libc::c_long,
    };
    let setting = match at {
        NO_ALARM => libc::itimerspec { it_interval: zero, it_value: zero },
        _ => libc::itimerspec { it_interval: nanos, it_value: at_timespec },
    };
    // SAFETY: the timer exists, and the setting is valid, so it cannot fail. May be called in signal handlers.
    unsafe { libc::timer_settime(timer, libc::TIMER_ABSTIME, &setting, ptr::null_mut()) };
}

/// A timer that sends the current thread [`SIGNAL`].
fn new_timer() -> Result<libc::timer_t, PlatformError> {
    let mut timer = ptr::null_mut();
    // SAFETY: all-zero is a valid `sigevent`; the fields that matter are set below.
    let mut event: libc::sigevent = unsafe { mem::zeroed() };
    event.sigev_notify = libc::SIGEV_THREAD_ID;
    event.sigev_signo = SIGNAL;
    // What tells the timer's signals from others.
    event.sigev_value.sival_ptr = (&raw const MARK).cast_mut().cast();
    // SAFETY: `gettid` has no preconditions; both pointers are valid.
    let result = unsafe {
        event.sigev_notify_thread_id = libc::gettid();
        libc::timer_create(libc::CLOCK_MONOTONIC, &mut event, &mut timer)
    };
    match result {
        0 => Ok(timer),
        _ => Err(PlatformError::last_os_error("make a timer for a deadline")),
    }
}

/// Its address marks the signals of our timers.
static MARK: u8 = 0;

/// Whether the signal comes from one of our timers.
pub(super) fn is_ours(info: *const libc::siginfo_t) -> bool {
    // SAFETY: the kernel filled in a code for every signal, and a value for those of timers.
    unsafe {
        (*info).si_code == libc::SI_TIMER
            && (*info).si_value().sival_ptr == (&raw const MARK).cast_mut().cast()
    }
}
