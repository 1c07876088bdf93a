//! What a CPU does when it has nothing to do: it stops until the next interrupt, and saves power meanwhile.
//!
//! Each CPU has one idle task. It is in no run queue; the scheduler takes it when there is nothing to run, and an interrupt
//! that makes another task ready preempts it at once. While it sleeps, page tables change without it (`cpu::PerCpu::doze`).
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

/// Waits for something to do, forever.
fn idle_loop(_: ()) {
    loop {
        // Takes what waits on other CPUs, too.
        task::schedule();
        irq_safety::disable_interrupts();
        // A request that came since then must not be slept through; one that comes from here on ends the `hlt`.
        if !cpu::reschedule_requested() {
            cpu::this_cpu().doze();
            // SAFETY: the idle task holds nothing, so it may stop until the next interrupt. `sti` lets none through before
            // `hlt`, so one that comes now ends the `hlt`. Not `nomem`: it is said before that the CPU dozes.
            unsafe { core::arch::asm!("sti", "hlt", options(nostack)) };
            // Whatever interrupted has said so already; this is for a `hlt` that ends by itself.
            irq_safety::disable_interrupts();
            if cpu::this_cpu().awake() {
                memory::flush_all_translations();
            }
        }
        irq_safety::enable_interrupts();
    }
}
