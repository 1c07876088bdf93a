//! Turning interrupts off and on again on the current CPU, safely nestable.
//!
//! [`hold_interrupts`] disables maskable interrupts and gives back a guard; dropping the guard restores what was
//! before. Guards nest: only the outermost one of a CPU enables interrupts again, because each guard remembers what
//! it found.
//!
//! On a Linux host (unit tests of crates built on this one) there are no interrupts to disable: the functions then do
//! nothing and report interrupts as enabled.
//!
//! # Invariant
//! A [`HeldInterrupts`] never moves to another task or CPU (`!Send`), and a task that holds one is not preempted,
//! since preemption is driven by the timer interrupt. A task must not switch away voluntarily while it holds one,
//! except inside the scheduler, which restores the interrupt flag of the task it switches to.
#![cfg_attr(not(test), no_std)]

use core::marker::PhantomData;

/// Bit 9 of RFLAGS, IF: maskable interrupts are enabled (Intel SDM volume 1, 3.4.3).
#[cfg(target_os = "theseus")]
const RFLAGS_INTERRUPT_FLAG: u64 = 1 << 9;

/// Proof that maskable interrupts are disabled on the current CPU, until it is dropped.
#[must_use = "interrupts are enabled again as soon as the guard is dropped"]
#[derive(Debug)]
pub struct HeldInterrupts {
    /// Whether interrupts were enabled when the guard was made, and so must be when it goes.
    were_enabled: bool,
    /// A raw pointer makes the guard `!Send` and `!Sync`: it speaks about one CPU.
    _this_cpu: PhantomData<*mut ()>,
}

impl HeldInterrupts {
    /// Whether interrupts were enabled when this guard was made.
    pub fn were_enabled(&self) -> bool {
        self.were_enabled
    }
}

impl Drop for HeldInterrupts {
    #[inline]
    fn drop(&mut self) {
        if self.were_enabled {
            enable_interrupts();
        }
    }
}

/// Disables interrupts on the current CPU until the returned guard is dropped.
#[inline]
pub fn hold_interrupts() -> HeldInterrupts {
    let were_enabled = interrupts_enabled();
    // An interrupt between the two lines leaves the flag as it found it, so the answer stays true.
    disable_interrupts();
    HeldInterrupts { were_enabled, _this_cpu: PhantomData }
}

/// Whether maskable interrupts are enabled on the current CPU. Always true on a Linux host.
#[inline]
pub fn interrupts_enabled() -> bool {
    #[cfg(target_os = "theseus")]
    {
        let rflags: u64;
        // SAFETY: pushes RFLAGS on the stack and pops it into a register; nothing else changes. The kernel target has
        // no red zone that the push could overwrite.
        unsafe { core::arch::asm!("pushfq", "pop {}", out(reg) rflags, options(preserves_flags)) };
        rflags & RFLAGS_INTERRUPT_FLAG != 0
    }
    #[cfg(not(target_os = "theseus"))]
    true
}

/// Enables interrupts on the current CPU, whatever guards exist. Prefer [`hold_interrupts`].
#[inline]
pub fn enable_interrupts() {
    #[cfg(target_os = "theseus")]
    // SAFETY: `sti` only sets IF. It is not marked `nomem`, so that no memory access moves out of a section that runs
    // with interrupts disabled.
    unsafe {
        core::arch::asm!("sti", options(nostack))
    };
}

/// Disables interrupts on the current CPU until somebody enables them. Prefer [`hold_interrupts`].
#[inline]
pub fn disable_interrupts() {
    #[cfg(target_os = "theseus")]
    // SAFETY: `cli` only clears IF. It is not marked `nomem`, so that no memory access moves before it.
    unsafe {
        core::arch::asm!("cli", options(nostack))
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guard_reports_what_it_found() {
        let outer = hold_interrupts();
        assert!(outer.were_enabled());
        drop(outer);
        assert!(interrupts_enabled());
    }
}
