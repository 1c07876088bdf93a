//! Keeping the running task on its CPU for a while.
//!
//! While a [`PreemptionGuard`] lives, the timer interrupt still comes, but does not switch to another task. Guards nest.
//! If a switch became due meanwhile, it happens at the first timer tick after the last guard is gone, a millisecond
//! later at most.
//!
//! # Invariant
//! A guard is dropped on the CPU it was made on. It cannot be sent (`!Send`), and its task neither is preempted nor may
//! block while it lives: [`task::schedule`](../task/fn.schedule.html) does nothing while preemption is forbidden.
#![cfg_attr(not(test), no_std)]

use core::marker::PhantomData;
use cpu::CpuId;

/// Proof that the current task is not preempted, until it is dropped.
#[must_use = "preemption is allowed again as soon as the guard is dropped"]
#[derive(Debug)]
pub struct PreemptionGuard {
    cpu_id: CpuId,
    was_enabled: bool,
    /// A raw pointer makes the guard `!Send` and `!Sync`: it speaks about one CPU.
    _this_cpu: PhantomData<*mut ()>,
}

impl PreemptionGuard {
    /// Whether preemption was allowed when this guard was made.
    pub fn preemption_was_enabled(&self) -> bool {
        self.was_enabled
    }

    /// The CPU that the task stays on.
    pub fn cpu_id(&self) -> CpuId {
        self.cpu_id
    }
}

impl Drop for PreemptionGuard {
    #[inline]
    fn drop(&mut self) {
        cpu::decrement_preemption_count();
    }
}

/// Forbids preemption of the current task until the returned guard is dropped.
#[inline]
pub fn hold_preemption() -> PreemptionGuard {
    cpu::increment_preemption_count();
    // From here on nothing but this task changes the counter, and the CPU stays the same.
    PreemptionGuard {
        cpu_id: cpu::current_cpu(),
        was_enabled: cpu::preemption_count() == 1,
        _this_cpu: PhantomData,
    }
}

/// The same as [`hold_preemption`], which never touches the timer in this kernel; kept for callers of either.
#[inline]
pub fn hold_preemption_no_timer_disable() -> PreemptionGuard {
    hold_preemption()
}

/// Whether no guard forbids preemption on this CPU.
#[inline]
pub fn preemption_enabled() -> bool {
    cpu::preemption_count() == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guards_nest() {
        assert!(preemption_enabled());
        let outer = hold_preemption();
        let inner = hold_preemption_no_timer_disable();
        assert!(outer.preemption_was_enabled() && !inner.preemption_was_enabled());
        assert_eq!(outer.cpu_id(), cpu::current_cpu());
        drop(outer);
        assert!(!preemption_enabled());
        drop(inner);
        assert!(preemption_enabled());
    }
}
