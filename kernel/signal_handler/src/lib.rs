//! Who gets a chance to handle a CPU exception, or a timer tick, of the code that a task runs.
//!
//! Two interfaces, for two needs:
//! * **Hooks** see the saved registers and may edit them, so that the task goes on elsewhere. They run on the exception or
//!   interrupt stack. A WebAssembly engine uses them: a fault at a pc in compiled WebAssembly becomes a trap, a timer tick
//!   ends a guest that was asked to end, or whose deadline has passed. There is one hook of each kind, for all tasks; it works any number of times.
//! * **Signal handlers** belong to a task, one per kind of [`Signal`], and are called once, on the task's own stack, when
//!   the task is about to be ended because of a fault. They may lock, allocate and print. A handler that wants the task to live
//!   must not return: it unwinds, for example. If it returns, the task ends.
//!
//! # What a hook may do
//! Read and write the registers, atomics, and the running task's own memory. It must not allocate, lock, print, or touch
//! memory that could fault, and it should be fast: a WebAssembly trap is a control flow like any other.
#![no_std]
#![feature(trait_alias)]
extern crate alloc;

use alloc::boxed::Box;
use core::cell::RefCell;
use core::fmt;
use core::sync::atomic::{AtomicPtr, AtomicU32, Ordering};
use cpu::MAX_CPUS;
use memory::VirtualAddress;
use time::Instant;

pub use interrupts::{Resume, SavedRegisters};

/// An exception or interrupt, as a hook sees it.
#[derive(Debug)]
pub struct TrapContext<'r> {
    /// The CPU's number for the exception; for a timer tick, the interrupt's.
    pub vector: u8,
    /// What the CPU says about the exception; 0 if it says nothing.
    pub error_code: u64,
    /// The address whose access faulted: of page faults only.
    pub fault_address: Option<usize>,
    /// The registers of the code that was interrupted, as it will have them when it goes on.
    pub registers: &'r mut SavedRegisters,
}

/// A hook. If it returns something, it has edited the registers, and the task shall go on with those of them.
pub type TrapHandler = fn(&mut TrapContext<'_>) -> Option<Resume>;

/// A [`TrapHandler`] or null.
static TRAP_HANDLER: AtomicPtr<()> = AtomicPtr::new(core::ptr::null_mut());
/// A [`TrapHandler`] or null.
static INTERRUPT_HOOK: AtomicPtr<()> = AtomicPtr::new(core::ptr::null_mut());

/// How many hooks a CPU is running, on a cache line of its own.
#[repr(align(64))]
struct Running(AtomicU32);

/// By CPU.
static RUNNING: [Running; MAX_CPUS] = [const { Running(AtomicU32::new(0)) }; MAX_CPUS];

/// Changes who is called, and waits until no CPU is in a call of who was called before.
fn swap(slot: &AtomicPtr<()>, handler: Option<TrapHandler>) -> Option<TrapHandler> {
    let new = handler.map_or(core::ptr::null_mut(), |handler| handler as *mut ());
    let former = slot.swap(new, Ordering::SeqCst);
    if former != new && !former.is_null() {
        // Hooks run with interrupts off and wait for nothing, so this takes microseconds. None runs on this CPU: whoever calls
        // this is not in one.
        for running in &RUNNING {
            while running.0.load(Ordering::SeqCst) != 0 {
                core::hint::spin_loop();
            }
        }
    }
    from_raw(former)
}

/// Lets `f` call the hook in `slot`, if there is one. Interrupts are off.
#[inline]
fn with_hook(slot: &AtomicPtr<()>, f: impl FnOnce(TrapHandler) -> Option<Resume>) -> Option<Resume> {
    if slot.load(Ordering::Relaxed).is_null() {
        return None;
    }
    let running = &RUNNING[cpu::current_cpu().index()].0;
    // Before the hook is looked at: who has replaced it and sees no call here is right that there will be none of it. Nothing
    // but this CPU changes the number.
    running.fetch_add(1, Ordering::SeqCst);
    let result = from_raw(slot.load(Ordering::SeqCst)).and_then(f);
    running.fetch_sub(1, Ordering::Release);
    result
}

#[inline]
fn from_raw(pointer: *mut ()) -> Option<TrapHandler> {
    // SAFETY: only `swap` writes the slots, from which the pointers come: null or a `TrapHandler`.
    (!pointer.is_null()).then(|| unsafe { core::mem::transmute::<*mut (), TrapHandler>(pointer) })
}

/// Says who sees the exceptions #DE, #OF, #BR, #UD, #SS, #GP, #PF, #MF and #XM first, of all tasks. `None`: nobody.
/// Returns who did so far, when no CPU is in a call of it any more.
///
/// Whoever set one from a crate that can be unloaded must set `None` before that. Not to be called by a hook.
pub fn set_trap_handler(handler: Option<TrapHandler>) -> Option<TrapHandler> {
    swap(&TRAP_HANDLER, handler)
}

/// Says who sees the timer ticks that find a task running which was asked to end (`TaskRef::kill`), or whose time for it has come
/// (`TaskRef::set_interrupt_at`). `None`: nobody. Returns who did so far, when no CPU is in a call of it any more.
///
/// Whoever set one from a crate that can be unloaded must set `None` before that. Not to be called by a hook.
pub fn set_interrupt_hook(hook: Option<TrapHandler>) -> Option<TrapHandler> {
    swap(&INTERRUPT_HOOK, hook)
}

/// Lets the trap handler see an exception; if it edited the registers, those of them that count. For `exceptions_full`.
#[inline]
pub fn run_trap_handler(registers: &mut SavedRegisters) -> Option<Resume> {
    /// The page fault, the only exception that sets the fault address.
    const PAGE_FAULT: u64 = 14;
    with_hook(&TRAP_HANDLER, |handler| {
        let fault_address = (registers.vector == PAGE_FAULT).then(interrupts::fault_address);
        handler(&mut TrapContext {
            vector: registers.vector as u8,
            error_code: registers.error_code,
            fault_address,
            registers,
        })
    })
}

/// Lets the interrupt hook see a timer tick if the running task asks for it; true if it edited the registers, which will all be
/// loaded. For the timer's interrupt handler.
#[inline]
pub fn run_interrupt_hook(registers: &mut SavedRegisters) -> bool {
    if !task::with_current_task(|task| task.wants_interrupt_hook(|| Instant::now().as_nanos()))
        .unwrap_or(false)
    {
        return false;
    }
    with_hook(&INTERRUPT_HOOK, |hook| {
        hook(&mut TrapContext {
            vector: registers.vector as u8,
            error_code: 0,
            fault_address: None,
            registers,
        })
    })
    .is_some()
}

/// Kinds of faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Signal {
    /// An address that may not be accessed.
    InvalidAddress = 0,
    /// An instruction that the CPU does not have, or not here.
    IllegalInstruction = 1,
    /// A segment that is not there, or a misaligned access.
    BusError = 2,
    /// A division by zero, an overflow, or a floating-point exception.
    ArithmeticError = 3,
}

/// How many kinds there are.
const SIGNAL_COUNT: usize = 4;

impl Signal {
    /// The kind that a CPU exception belongs to; `None` for those that are nobody's fault.
    pub fn from_vector(vector: u8) -> Option<Self> {
        match vector {
            0x00 | 0x04 | 0x10 | 0x13 => Some(Self::ArithmeticError),
            0x05 | 0x0C | 0x0E => Some(Self::InvalidAddress),
            0x06 | 0x07 | 0x08 | 0x0A | 0x0D => Some(Self::IllegalInstruction),
            0x0B | 0x11 => Some(Self::BusError),
            _ => None,
        }
    }
}

/// What the CPU said about a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorCode {
    /// Of a page fault.
    PageFaultError {
        /// The address.
        accessed_address: usize,
        /// The error code: bit 0 set if the page is mapped, bit 1 if it was a write, bit 4 if an instruction fetch.
        pf_error: u64,
    },
    /// Of another exception.
    Other(u64),
}

/// What a [`SignalHandler`] is told.
#[derive(Clone, Debug)]
pub struct SignalContext {
    /// Where the fault happened.
    pub instruction_pointer: VirtualAddress,
    /// The stack pointer there.
    pub stack_pointer: VirtualAddress,
    /// What kind of fault it was.
    pub signal: Signal,
    /// What the CPU said.
    pub error_code: Option<ErrorCode>,
}

/// What a task can register for a kind of fault; called once.
pub trait SignalHandler = FnOnce(&SignalContext) -> Result<(), ()>;

/// The task has a handler for this signal already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlreadyRegistered;

impl fmt::Display for AlreadyRegistered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the task has a handler for this signal already: take it first")
    }
}

impl core::error::Error for AlreadyRegistered {}

thread_local_macro::thread_local! {
    static HANDLERS: RefCell<[Option<Box<dyn SignalHandler>>; SIGNAL_COUNT]> =
        const { RefCell::new([const { None }; SIGNAL_COUNT]) };
}

/// Registers what is called when the current task raises `signal`.
///
/// # Errors
/// There is a handler for it already.
pub fn register_signal_handler(
    signal: Signal,
    handler: Box<dyn SignalHandler>,
) -> Result<(), AlreadyRegistered> {
    HANDLERS.with(|handlers| match &mut handlers.borrow_mut()[signal as usize] {
        Some(_) => Err(AlreadyRegistered),
        slot @ None => {
            *slot = Some(handler);
            Ok(())
        }
    })
}

/// Takes out the current task's handler for `signal`.
pub fn take_signal_handler(signal: Signal) -> Option<Box<dyn SignalHandler>> {
    HANDLERS.with(|handlers| handlers.borrow_mut()[signal as usize].take())
}
