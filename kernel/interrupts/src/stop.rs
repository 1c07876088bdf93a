//! Stopping all other CPUs, when the kernel ends.

use core::sync::atomic::{AtomicU32, Ordering};
use cpu::{CpuId, OptionalCpuId};

/// The CPU that told the others to stop, if one did.
static STOPPED_BY: AtomicU32 = AtomicU32::new(u32::MAX);

/// Makes all other CPUs stop for good, wherever they are: what follows has the machine to itself. If another CPU was faster, this
/// one stops instead. Does not wait for the others: they stop within microseconds, under a hypervisor a little later.
pub fn stop_other_cpus() {
    let this_cpu = cpu::current_cpu();
    let nobody = OptionalCpuId::from(None).into_raw();
    let this = OptionalCpuId::from(Some(this_cpu)).into_raw();
    match STOPPED_BY.compare_exchange(nobody, this, Ordering::SeqCst, Ordering::SeqCst) {
        Err(by) if by != this => stop(),
        Err(_) => return,
        Ok(_) => {}
    }
    cpu::cpus_in(cpu::online_cpus() & !this_cpu.bit()).for_each(apic::send_nmi);
}

/// Stops this CPU if another one told it to.
pub(crate) fn stop_if_asked() {
    let by: Option<CpuId> = OptionalCpuId::from_raw(STOPPED_BY.load(Ordering::SeqCst)).into();
    if by.is_some_and(|by| by != cpu::current_cpu()) {
        stop();
    }
}

/// Stops this CPU. Nobody waits for it from now on.
fn stop() -> ! {
    cpu::set_offline();
    loop {
        // SAFETY: with interrupts off, `hlt` only waits.
        unsafe { core::arch::asm!("cli", "hlt", options(nomem, nostack)) };
    }
}
