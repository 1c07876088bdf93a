//! The timer interrupt that lets tasks take turns.
//!
//! The policy and the queues are in `task::scheduler`; this crate makes time pass: every millisecond the local APIC's timer
//! interrupts, wakes who slept long enough, charges the running task, and shows a guest that was asked to end to whoever can
//! end it. When the running task's time is up, the end of the interrupt preempts it.
#![no_std]

use core::fmt;
use interrupts::{EoiBehaviour, SavedRegisters};
use time::Instant;

/// The timer's vector: above those of devices, so that it is served first.
pub const TIMER_VECTOR: u8 = 0xF0;
/// The vector by which CPUs tell each other that there is something to run.
pub const RESCHEDULE_VECTOR: u8 = 0xF1;
/// The vector by which a CPU is told that the task it runs was asked to end.
pub const KILL_VECTOR: u8 = 0xF2;
/// Time between timer interrupts, in microseconds.
pub const TICK_MICROSECONDS: u32 = 1000;

/// Why there is no preemption.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SchedulerError {
    /// The handler at this address has one of the three vectors already.
    VectorTaken(usize),
    /// The timer cannot be used.
    Timer(apic::ApicError),
}

impl fmt::Display for SchedulerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::VectorTaken(address) => {
                write!(
                    f,
                    "one of vectors {TIMER_VECTOR:#x} to {KILL_VECTOR:#x} is taken by the handler at {address:#x}"
                )
            }
            Self::Timer(error) => write!(f, "{error}"),
        }
    }
}

impl core::error::Error for SchedulerError {}

/// Starts preemption on the boot CPU. Needs tasks (`spawn::init`), interrupts, the APIC, and a monotonic clock. Interrupts
/// should be off, and can be turned on afterwards.
///
/// # Errors
/// See [`SchedulerError`].
pub fn init() -> Result<(), SchedulerError> {
    interrupts::register_interrupt(TIMER_VECTOR, handle_timer).map_err(SchedulerError::VectorTaken)?;
    interrupts::register_interrupt(RESCHEDULE_VECTOR, handle_reschedule)
        .map_err(SchedulerError::VectorTaken)?;
    task::scheduler::set_reschedule_vector(RESCHEDULE_VECTOR);
    interrupts::register_interrupt(KILL_VECTOR, handle_kill).map_err(SchedulerError::VectorTaken)?;
    task::scheduler::set_kill_vector(KILL_VECTOR);
    task::init_preemption();
    let start = Instant::now();
    let clock = || u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
    apic::start_timer(TIMER_VECTOR, TICK_MICROSECONDS, clock).map_err(SchedulerError::Timer)
}

/// Starts preemption on another CPU, after [`init`] has on the boot CPU. Interrupts should be off.
///
/// # Errors
/// See [`SchedulerError`].
pub fn init_ap() -> Result<(), SchedulerError> {
    apic::start_timer_ap(TIMER_VECTOR).map_err(SchedulerError::Timer)
}

/// The handler of the interrupt by which other CPUs ask this one to look for a task to run.
fn handle_reschedule(_registers: &mut SavedRegisters) -> EoiBehaviour {
    cpu::request_reschedule();
    EoiBehaviour::HandlerDidNotSendEoi
}

/// The handler of the interrupt that shows a task that was asked to end to whoever can end it. It does not ask for another task to
/// run: a task that has yet to leave a host function must get on with that.
fn handle_kill(registers: &mut SavedRegisters) -> EoiBehaviour {
    signal_handler::run_interrupt_hook(registers);
    EoiBehaviour::HandlerDidNotSendEoi
}

/// The timer's interrupt handler.
fn handle_timer(registers: &mut SavedRegisters) -> EoiBehaviour {
    task::scheduler::timer_tick();
    signal_handler::run_interrupt_hook(registers);
    EoiBehaviour::HandlerDidNotSendEoi
}
