//! Where every panic arrives: the panic handler.
//!
//! A panic is handed to the hook that was set by [`set_panic_hook`] (`panic_wrapper` is the one that unwinds the task).
//! Before there is a hook, or when the hook gives up by returning, the panic's message goes to what was set by
//! [`set_panic_output`], and the machine stops: nothing is known then that could be ended instead of it.
//!
//! It also has the [`Allowance`] that bounds how many panics are reported.
//!
//! This crate is in the base image, below the loader and tasks, so it depends on nothing and relies on nothing but the
//! two functions given to it. It allocates nothing and takes no lock.

#![cfg_attr(not(test), no_std)]

mod allowance;

pub use allowance::Allowance;

use core::{
    panic::PanicInfo,
    ptr,
    sync::atomic::{AtomicPtr, Ordering},
};

/// Deals with a panic. It normally does not return: it unwinds or ends the task. If it returns, the machine stops.
///
/// It must be prepared to be called again while it runs, if it panics itself.
pub type PanicHook = fn(&PanicInfo<'_>);

/// Writes a piece of text where a person will see it. It must not panic, allocate or wait for a lock.
pub type PanicOutput = fn(&str);

static HOOK: AtomicPtr<()> = AtomicPtr::new(ptr::null_mut());
static OUTPUT: AtomicPtr<()> = AtomicPtr::new(ptr::null_mut());
/// A `fn()` or null.
static HALT_HOOK: AtomicPtr<()> = AtomicPtr::new(ptr::null_mut());

/// Makes `hook` the first thing that [`halt`] does: it stops all other CPUs. It must stay loaded.
pub fn set_halt_hook(hook: fn()) {
    HALT_HOOK.store(hook as *mut (), Ordering::Release);
}

/// Makes `hook` deal with every panic from now on. It must stay loaded.
pub fn set_panic_hook(hook: PanicHook) {
    HOOK.store(hook as *mut (), Ordering::Release);
}

/// Makes `output` the place for messages of panics that stop the machine. It must stay loaded.
pub fn set_panic_output(output: PanicOutput) {
    OUTPUT.store(output as *mut (), Ordering::Release);
}

#[cfg(any(test, target_os = "theseus"))]
fn hook() -> Option<PanicHook> {
    let hook = HOOK.load(Ordering::Acquire);
    // SAFETY: only `set_panic_hook` stores there, a function of this type; null is `None`.
    unsafe { core::mem::transmute::<*mut (), Option<PanicHook>>(hook) }
}

fn output() -> Option<PanicOutput> {
    let output = OUTPUT.load(Ordering::Acquire);
    // SAFETY: only `set_panic_output` stores there, a function of this type; null is `None`.
    unsafe { core::mem::transmute::<*mut (), Option<PanicOutput>>(output) }
}

/// Writes `message` to the panic output, without a lock and without memory. Nothing happens before there is an output.
pub fn print(message: core::fmt::Arguments<'_>) {
    struct Output(PanicOutput);

    impl core::fmt::Write for Output {
        fn write_str(&mut self, text: &str) -> core::fmt::Result {
            (self.0)(text);
            Ok(())
        }
    }

    if let Some(output) = output() {
        // It never fails by itself, and a `Display` that does has nobody else to tell.
        let _ = core::fmt::write(&mut Output(output), message);
    }
}

/// Stops all CPUs, this one last, after printing `message`, interrupts off. For what cannot be the end of a task only.
#[cfg(target_os = "theseus")]
pub fn halt(message: core::fmt::Arguments<'_>) -> ! {
    use core::sync::atomic::AtomicBool;

    static HALTING: AtomicBool = AtomicBool::new(false);

    let hook = HALT_HOOK.load(Ordering::Acquire);
    // SAFETY: only `set_halt_hook` stores there, a function of this type; null is `None`.
    if let Some(hook) = unsafe { core::mem::transmute::<*mut (), Option<fn()>>(hook) } {
        hook();
    }
    // The message's own formatting may panic.
    if !HALTING.swap(true, Ordering::AcqRel) {
        print(format_args!("\nkernel stopped: {message}\n"));
    }
    loop {
        // SAFETY: nothing is to be interrupted any more.
        unsafe { core::arch::asm!("cli", "hlt", options(nomem, nostack)) };
    }
}

#[cfg(target_os = "theseus")]
#[panic_handler]
fn panic_impl(info: &PanicInfo<'_>) -> ! {
    if let Some(hook) = hook() {
        hook(info);
    }
    halt(format_args!("{info}"))
}

/// Address of the panic handler: in a backtrace, its frame separates what panicked from what deals with that.
#[cfg(target_os = "theseus")]
pub fn panic_handler_address() -> usize {
    panic_impl as *const () as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    static WRITTEN: Mutex<String> = Mutex::new(String::new());

    #[test]
    fn prints_to_the_output_once_there_is_one() {
        print(format_args!("nobody listens"));
        set_panic_output(|text| WRITTEN.lock().unwrap().push_str(text));
        print(format_args!("{} and {}", 1, 2));
        assert_eq!(*WRITTEN.lock().unwrap(), "1 and 2");
    }

    #[test]
    fn hook_is_what_was_set() {
        fn first(_: &PanicInfo<'_>) {}
        assert!(hook().is_none());
        set_panic_hook(first);
        assert!(hook().is_some_and(|hook| ptr::fn_addr_eq(hook, first as PanicHook)));
    }
}
