//! Starting the other CPUs, and making them run tasks.
//!
//! The boot CPU starts one after the other, as ACPI's tables list them: it prepares what the CPU needs (descriptor tables, interrupt
//! stacks, a spare stack, an idle task), sends INIT and start-up interrupts, and waits until the CPU says that it is there. A started CPU begins in
//! real mode, in the trampoline page below 1 MiB (module `trampoline`), takes over the boot CPU's control registers, goes to
//! [`enter`] in 64-bit mode on what is its interrupt stack, sets itself up like the boot CPU ([`set_up`]), and becomes its idle
//! task, which runs what there is to run.
//!
//! A CPU that does not come up is logged and left out; so are those beyond [`cpu::MAX_CPUS`]. One that comes late finds the door
//! closed: it halts, and nobody has counted on it.
//!
//! # Relies on
//! All that the boot CPU runs tasks with: `interrupts`, `apic`, `scheduler`; and on `tlb_shootdown::init` having been called.
//!
//! # Invariants
//! * CPUs are numbered in the order in which they come up, without gaps.
//! * A CPU uses no page that could be unmapped before it is in [`cpu::online_cpus`], and forgets all translations then.
#![no_std]
extern crate alloc;

mod trampoline;

use acpi::Processor;
use alloc::boxed::Box;
use core::arch::naked_asm;
use core::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use cpu::CpuId;
use interrupts::CpuTables;
use time::{Duration, Instant};
use trampoline::{Destination, Trampoline};
use x86_64::registers::model_specific::Msr;

/// From INIT to the start-up interrupt. The manual's 10 ms (Intel SDM volume 3, 9.4.4.1) are those of the first multiprocessor PCs;
/// no CPU with 64 bits needs them.
const AFTER_INIT: Duration = Duration::from_micros(100);
/// From the first start-up interrupt to the second, which CPUs that have started do not notice.
const BETWEEN_START_UPS: Duration = Duration::from_micros(300);
/// How long a CPU may take to execute its first instructions. On a busy host an emulated one takes its time.
const UNTIL_CLAIMED: Duration = Duration::from_millis(2000);
/// How long it may then take to set itself up.
const UNTIL_THERE: Duration = Duration::from_millis(5000);
/// How long the time stamp counters of two CPUs are compared.
const COMPARED: Duration = Duration::from_micros(200);
/// With fewer readings in that time the other CPU was not running (an emulated one), and nothing is known.
const ENOUGH_READINGS: u32 = 100;
/// A difference of time stamp counters that is worth a word, in ticks. Communication between CPUs takes some hundred.
const TSC_TOLERANCE: u64 = 10_000;

/// Model-specific register with the meaning of page attributes (Intel SDM volume 3, 12.12.2).
const IA32_PAT: u32 = 0x277;

/// Values of [`Start::state`].
mod state {
    /// The boot CPU waits for the CPU.
    pub const AWAITED: u8 = 0;
    /// The CPU is there.
    pub const THERE: u8 = 1;
    /// The boot CPU has given up waiting.
    pub const LEFT_OUT: u8 = 2;
    /// The boot CPU compares time stamp counters.
    pub const COMPARING: u8 = 3;
    /// The CPU may go on.
    pub const GO: u8 = 4;
}

/// What a CPU is told when it starts. Lives for ever, since a CPU may come late.
struct Start {
    id: CpuId,
    tables: &'static CpuTables,
    /// The thread pointer of its idle task.
    fs_base: usize,
    pat: u64,
    state: AtomicU8,
    /// What its time stamp counter showed while they were compared; 0 before.
    tsc: AtomicU64,
}

/// Starts all other CPUs that the ACPI tables say are there; returns how many came up. Call it once, on the boot CPU, when it
/// runs tasks.
///
/// # Errors
/// There is no place below 1 MiB to start CPUs in. They are left out then, as are CPUs that do not come up, and all if the tables
/// list none.
pub fn handle_ap_cores() -> Result<usize, &'static str> {
    let Some(madt) = acpi::info().and_then(|info| info.madt.as_ref()) else { return Ok(0) };
    let this_apic = apic::apic_id();
    let mut others = madt.processors.iter().filter(|cpu| cpu.enabled && cpu.apic_id != this_apic).peekable();
    if others.peek().is_none() {
        return Ok(0);
    }
    let trampoline = Trampoline::new()?;
    let (mut came, mut failed) = (0, 0);
    for processor in others {
        let Some(id) = cpu::next_cpu_id() else {
            log::warn!("the kernel uses {} CPUs; the others stay parked", cpu::MAX_CPUS);
            break;
        };
        match start(&trampoline, processor, id) {
            Ok(()) => came += 1,
            Err(why) => {
                failed += 1;
                log::warn!("the CPU with APIC number {} is left out: {why}", processor.apic_id);
            }
        }
    }
    if failed > 0 {
        // One that comes late must find the trampoline closed.
        core::mem::forget(trampoline);
    }
    log::info!("{} CPUs run tasks", came + 1);
    Ok(came)
}

/// Starts one CPU, to be `id`.
fn start(trampoline: &Trampoline, processor: &Processor, id: CpuId) -> Result<(), &'static str> {
    let tables = CpuTables::new()?;
    exceptions_full::prepare_cpu(id)?;
    let idle = idle::create_idle_task(id)?;
    let start = Box::leak(Box::new(Start {
        id,
        tables,
        fs_base: idle.fs_base(),
        // SAFETY: every CPU with 64 bits has the register.
        pat: unsafe { Msr::new(IA32_PAT).read() },
        state: AtomicU8::new(state::AWAITED),
        tsc: AtomicU64::new(0),
    }));
    // Nobody waits for the idle task.
    drop(idle);
    let start: &'static Start = start;
    trampoline.open(&Destination {
        entry: enter as *const () as usize,
        argument: start as *const Start as usize,
        stack: start.tables.interrupt_stack_top(),
    });
    apic::send_init(processor.apic_id);
    wait(AFTER_INIT, || false);
    apic::send_start_up(processor.apic_id, trampoline.page());
    if !wait(BETWEEN_START_UPS, || !trampoline.is_open()) {
        apic::send_start_up(processor.apic_id, trampoline.page());
    }
    if !wait(UNTIL_CLAIMED, || !trampoline.is_open()) && trampoline.close() {
        return Err("it does not start");
    }
    let is_there = || start.state.load(Ordering::SeqCst) == state::THERE;
    if !wait(UNTIL_THERE, is_there) {
        let given_up =
            start.state.compare_exchange(state::AWAITED, state::LEFT_OUT, Ordering::SeqCst, Ordering::SeqCst);
        if given_up.is_ok() {
            return Err("it has started, but does not come up");
        }
    }
    start.state.store(state::COMPARING, Ordering::SeqCst);
    compare_time_stamps(start);
    start.state.store(state::GO, Ordering::SeqCst);
    // From here on there is nothing that could fail, and its number must not be given to another one.
    while cpu::online_cpus() & id.bit() == 0 {
        core::hint::spin_loop();
    }
    Ok(())
}

/// Waits until `done`, but at most for `duration`; returns whether it is done.
fn wait(duration: Duration, done: impl Fn() -> bool) -> bool {
    let deadline = Instant::now() + duration;
    loop {
        if done() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        core::hint::spin_loop();
    }
}

/// Looks whether the other CPU's time stamp counter is where this one's is, and says so if it is not: time would go back for a
/// task that moves. The other CPU writes what its own shows over and over meanwhile.
fn compare_time_stamps(start: &Start) {
    let deadline = Instant::now() + COMPARED;
    let (mut ahead, mut behind, mut readings) = (0, u64::MAX, 0);
    while Instant::now() < deadline {
        let before = tsc::tsc_value();
        let other = start.tsc.swap(0, Ordering::SeqCst);
        let after = tsc::tsc_value();
        if other != 0 {
            // Written before it was read here.
            ahead = ahead.max(other.saturating_sub(after));
            behind = behind.min(before.saturating_sub(other));
            readings += 1;
        }
    }
    // The smallest lag that was seen is the difference and the time that a word takes from one CPU to the other.
    if ahead > 0 || readings >= ENOUGH_READINGS && behind > TSC_TOLERANCE {
        log::warn!("CPU {}'s time stamp counter is {ahead} ticks ahead or up to {behind} behind", start.id);
    }
}

/// Where the trampoline goes: in 64-bit mode, with the trampoline's page tables and no stack.
#[unsafe(naked)]
unsafe extern "C" fn enter(_start: &'static Start, _stack: usize, _cr3: usize) -> ! {
    naked_asm!(
        "mov cr3, rdx",
        "mov rsp, rsi",
        "xor ebp, ebp",
        "xor eax, eax",
        "mov fs, eax",
        "mov gs, eax",
        "fninit",
        "push {mxcsr}",
        "ldmxcsr [rsp]",
        "add rsp, 8",
        "call {set_up}",
        "ud2",
        mxcsr = const context_switch::INITIAL_MXCSR,
        set_up = sym set_up,
    )
}

/// Makes this CPU like the boot CPU, and lets it run tasks.
extern "C" fn set_up(start: &'static Start) -> ! {
    // SAFETY: this CPU has just started, and `start` is for it alone.
    unsafe {
        cpu::init_ap(start.id);
        start.tables.load();
        // The value is the boot CPU's, which is like this one.
        Msr::new(IA32_PAT).write(start.pat);
        context_switch::init_cpu();
        // The storage of the idle task, which this CPU is about to become, lives for ever.
        context_switch::set_fs_base(start.fs_base);
    }
    if apic::init_ap().is_err() || scheduler::init_ap().is_err() {
        log::error!("CPU {} has no working APIC", start.id);
        halt();
    }
    let there =
        start.state.compare_exchange(state::AWAITED, state::THERE, Ordering::SeqCst, Ordering::SeqCst);
    if there.is_err() {
        halt();
    }
    while start.state.load(Ordering::SeqCst) != state::GO {
        start.tsc.store(tsc::tsc_value(), Ordering::SeqCst);
        core::hint::spin_loop();
    }
    cpu::count_cpu(start.id);
    cpu::set_online();
    memory::flush_all_translations();
    // SAFETY: the CPU is set up, interrupts are off, and nothing here is needed any more.
    unsafe { task::scheduler::start_on_this_cpu() }
}

/// Stops a CPU that nobody waits for.
fn halt() -> ! {
    loop {
        // SAFETY: with interrupts off, `hlt` only waits.
        unsafe { core::arch::asm!("cli", "hlt", options(nomem, nostack)) };
    }
}
