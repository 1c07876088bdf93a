//! Locks that keep interrupts disabled on the current CPU while they are held.
//!
//! They guard data that an interrupt handler also touches: were the holder interrupted, a handler that wants the
//! same lock on the same CPU would spin forever. Since a task with interrupts disabled is not preempted either,
//! they also serve as short locks between busy tasks. Hold them for microseconds: nothing else happens on the CPU.
//!
//! # Invariant
//! Guards of several locks are dropped in the reverse order of their creation, as scopes do by themselves: each
//! `irq_safety::HeldInterrupts` restores what it found, so dropping the first one taken enables interrupts again.
//!
//! Relies on `irq_safety`, which on a Linux host holds nothing: there the locks only spin.
#![cfg_attr(not(test), no_std)]

use irq_safety::{HeldInterrupts, hold_interrupts};
use sync::DeadlockPrevention;

/// The flavor: no interrupts on this CPU while the lock is held.
#[derive(Copy, Clone, Debug)]
pub struct DisableIrq;

impl DeadlockPrevention for DisableIrq {
    type Guard = HeldInterrupts;
    // Masking interrupts can trap under a hypervisor, so that a look at the lock word first pays.
    const EXPENSIVE: bool = true;

    #[inline]
    fn enter() -> Self::Guard {
        hold_interrupts()
    }
}

/// A [`sync::Mutex`] held with interrupts disabled.
pub type IrqSafeMutex<T> = sync::Mutex<T, DisableIrq>;
/// What locking an [`IrqSafeMutex`] returns.
pub type IrqSafeMutexGuard<'a, T> = sync::MutexGuard<'a, T, DisableIrq>;
/// A [`sync::RwLock`] held with interrupts disabled.
pub type IrqSafeRwLock<T> = sync::RwLock<T, DisableIrq>;
/// What read-locking an [`IrqSafeRwLock`] returns.
pub type IrqSafeRwLockReadGuard<'a, T> = sync::RwLockReadGuard<'a, T, DisableIrq>;
/// What write-locking an [`IrqSafeRwLock`] returns.
pub type IrqSafeRwLockWriteGuard<'a, T> = sync::RwLockWriteGuard<'a, T, DisableIrq>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_that_meet_exclude_each_other() {
        static VALUE: IrqSafeMutex<u32> = IrqSafeMutex::new(0);
        static READS: IrqSafeRwLock<u32> = IrqSafeRwLock::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..10_000 {
                        *VALUE.lock() += 1;
                        let before = *READS.read();
                        *READS.write() += 1;
                        assert!(*READS.read() > before);
                    }
                });
            }
        });
        assert_eq!((*VALUE.lock(), *READS.read()), (40_000, 40_000));
    }
}
