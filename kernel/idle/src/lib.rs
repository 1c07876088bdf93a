//! What a CPU does when it has nothing to do: it stops until the next interrupt, and saves power meanwhile.
//!
//! Each CPU has one idle task. It is in no run queue; the scheduler takes it when its CPU's queue is empty, and an interrupt
//! that makes another task ready preempts it at once.
#![no_std]
extern crate alloc;

use cpu::CpuId;
use task::JoinableTaskRef;

/// Makes the idle task of `cpu`. Call it once per CPU, after `spawn::init`.
///
/// # Errors
/// Memory is out, or there are no tasks yet.
pub fn create_idle_task(cpu: CpuId) -> Result<JoinableTaskRef, &'static str> {
    spawn::new_task_builder(idle_loop, ()).name(alloc::format!("idle_task_cpu_{cpu}")).idle(cpu).spawn()
}

/// Waits for interrupts, forever.
fn idle_loop(_: ()) {
    loop {
        // SAFETY: the idle task runs with interrupts on and holds nothing, so it may stop until the next one. `sti` lets none
        // through before `hlt`, so one that comes now ends the `hlt`.
        unsafe { core::arch::asm!("sti", "hlt", options(nomem, nostack)) };
    }
}
