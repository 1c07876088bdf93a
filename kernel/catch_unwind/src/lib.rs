//! Catching what unwinds: panics, kills and faults.
//!
//! Three things travel up the stack by unwinding: a panic, a kill that was requested from outside, and a CPU exception.
//! A [`KillReason`] says which. [`catch_unwind_with_arg`] (Theseus' function) returns it as it is; [`catch_unwind`] has
//! the standard library's shape and returns what `panic!` was called with.
//!
//! Catching a kill does not undo it: a killed task that goes on all the same ends at its next cancellation point, unless
//! what it runs until then is the end of the task anyway.
//!
//! While it unwinds, a task has all the memory there is ([`heap::lift_limits`]); caught, it has its former claim again.
//!
//! Whatever was caught, values that the closure had borrowed may be in the middle of a change, if they were not made to be
//! left so; the standard library's `UnwindSafe` would remind of that and does not exist here.

#![no_std]

extern crate alloc;

use alloc::{boxed::Box, string::String};
use core::any::Any;

use task_struct::{KillReason, PanicInfoOwned};

/// Calls `f(arg)`. If it unwinds, the error is why.
///
/// # Errors
/// [`KillReason::Panic`] also stands for a payload that something else than a panic threw; it is in there.
pub fn catch_unwind_with_arg<F, A, R>(f: F, arg: A) -> Result<R, KillReason>
where
    F: FnOnce(A) -> R,
{
    let claim = memory::claim();
    unwind::catch_unwind(|| f(arg)).map_err(|payload| {
        let reason = match payload.downcast::<KillReason>() {
            Ok(reason) => *reason,
            Err(payload) => KillReason::Panic(PanicInfoOwned::from_payload(payload)),
        };
        // It was raised for the unwinding.
        memory::set_claim(claim);
        reason
    })
}

/// Calls `f`. If it unwinds, the error is the payload, as with the standard library's function of this name.
///
/// # Errors
/// The payload of a panic is a [`String`], the panic's message. (The standard library's may be a `&'static str` too.) A
/// payload given to [`resume_unwind_with`] is returned as it is; a kill or a fault is a [`KillReason`].
pub fn catch_unwind<F, R>(f: F) -> Result<R, Box<dyn Any + Send>>
where
    F: FnOnce() -> R,
{
    catch_unwind_with_arg(|()| f(), ()).map_err(into_payload)
}

fn into_payload(reason: KillReason) -> Box<dyn Any + Send> {
    match reason {
        KillReason::Panic(PanicInfoOwned { payload: Some(payload), .. }) => payload,
        KillReason::Panic(PanicInfoOwned { msg, .. }) => Box::<String>::new(msg),
        reason => Box::new(reason),
    }
}

/// Unwinds the caller for `reason`, without calling the panic hook, typically to go on with what
/// [`catch_unwind_with_arg`] caught.
///
/// # Panics
/// If nobody up the stack catches, the reason cannot go there; that is a panic of its own.
pub fn resume_unwind(reason: KillReason) -> ! {
    heap::lift_limits();
    // Small and short-lived, but memory all the same: a task that cannot have it gets the panic of that instead.
    resume(Box::new(reason))
}

/// Unwinds the caller with any `payload`, without calling the panic hook: `resume_unwind` in the shape of the standard
/// library.
///
/// # Panics
/// As [`resume_unwind`].
pub fn resume_unwind_with(payload: Box<dyn Any + Send>) -> ! {
    resume(payload)
}

fn resume(payload: Box<dyn Any + Send>) -> ! {
    // What is dropped on the way must not fail because the task has a limit on memory.
    heap::lift_limits();
    let failed = unwind::start_unwinding(payload);
    panic!("cannot unwind: {}", failed.reason)
}
