//! What a panic, or a CPU exception that nobody handles, does to a task.
//!
//! First it is reported in the log: which task, where, why, and who called whom. Then the task's stack is unwound up to
//! whoever catches, which at the latest is the function that every task starts with: the task ends with
//! `ExitValue::Killed`, having dropped what it owned. What the person at the console sees is up to whoever joins the task.
//!
//! If unwinding is impossible the task ends all the same, without dropping anything: when nobody catches, in a function
//! that must not unwind, when a value's drop panics while its stack is unwound, and when the report itself panics.
//!
//! Only a panic in an interrupt handler, or before there are tasks, stops the machine: there is nothing smaller to end.
//!
//! # Invariants
//! - A panic takes no lock and waits for nothing, for it may have happened anywhere.
//! - It needs memory only for the message, and does without when there is none.
//! - Reports, nested ones included, are bounded in number and length, so a panic comes to an end; and bounded over time, so
//!   that panics in a loop neither fill the log nor take longer than unwinding does.

#![no_std]
#![feature(allocator_api, panic_can_unwind, thread_local)]

extern crate alloc;

use alloc::{boxed::Box, string::String};
use core::{
    alloc::Layout,
    any::Any,
    cell::Cell,
    fmt::{self, Write},
    ops::ControlFlow,
    panic::PanicInfo,
};

use heap::Refusal;
use logger::{LastWords, Lines, Sink};
use panic_entry::Allowance;
use task::{ExitableTaskRef, KillReason, PanicInfoOwned};
use unwind::{FaultFrame, Frame, UnwindFailed};

/// Frames that a report shows at most.
const MAX_FRAMES: usize = 64;

/// A task that panics while it unwinds, while it unwinds, and so on, is not unwound beyond this depth. Programs that mean
/// well need 2: a value's drop may use something that panics, and catch that.
const MAX_DEPTH: usize = 8;

/// Whether the current task is being reported: a panic or fault then comes from the report.
#[thread_local]
static REPORTING: Cell<bool> = Cell::new(false);

/// What is left of the reports that there may be.
static ALLOWANCE: Allowance = Allowance::new();

/// Whether the current task's latest panic or fault was reported, so that what becomes of it is of interest.
#[thread_local]
static REPORTED: Cell<bool> = Cell::new(false);

/// Where the current task's functions were at its latest panic, innermost first; 0 behind the last.
#[thread_local]
static LATEST: [Cell<usize>; MAX_FRAMES] = [const { Cell::new(0) }; MAX_FRAMES];

/// Calls `f` with an address in each function that was running when the current task panicked last, the innermost first, from the
/// one on that panicked: at most 64. They are return addresses less one, of code that may have been unloaded since.
pub fn latest_panic(f: &mut dyn FnMut(usize)) {
    LATEST.iter().map(Cell::get).take_while(|address| *address != 0).for_each(f);
}

/// Takes note of the functions that are running, by their frame pointers: some ten instructions for each.
#[inline(never)]
fn note_frames() {
    let Ok((bottom, top)) = task::with_current_task(|task| task.stack_bounds()) else { return };
    let frame_pointer: usize;
    // SAFETY: copying a register has no effect.
    unsafe {
        core::arch::asm!("mov {}, rbp", out(reg) frame_pointer, options(nomem, nostack, preserves_flags))
    };
    let handler = unwind::function_containing(panic_entry::panic_handler_address()).unwrap_or(0..0);
    let mut number = 0;
    // SAFETY: the task's own stack, mapped from end to end, above this function's frame.
    unsafe {
        stack_trace::walk_frame_pointers(frame_pointer, bottom..top, &mut |_, return_address| {
            let address = return_address.wrapping_sub(1);
            if handler.contains(&address) {
                // So far it was those who deal with the panic.
                number = 0;
                return ControlFlow::Continue(());
            }
            LATEST[number].set(address);
            number += 1;
            if number < MAX_FRAMES { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
    }
    if let Some(end) = LATEST.get(number) {
        end.set(0);
    }
}

/// Makes panics of tasks end the task instead of the machine. To be called when there are tasks.
pub fn init() {
    panic_entry::set_panic_hook(panic_hook);
    heap::set_refusal_hook(refusal_hook);
}

/// Unwinds a task to which its arena has refused memory. Whoever gave it the arena catches that and says what is to be said:
/// nothing is wrong with the task, so it is not reported. Returns if it cannot be unwound.
fn refusal_hook(refusal: Refusal, layout: Layout) {
    let msg = text(format_args!("out of memory: no room for {} bytes: {refusal}", layout.size()));
    let reason = KillReason::Panic(PanicInfoOwned { msg, ..PanicInfoOwned::default() });
    let _not_caught = unwind::start_unwinding(payload(reason));
}

/// Called by the panic handler. If it returns, the machine stops.
fn panic_hook(info: &PanicInfo<'_>) {
    // From here on nothing may fail because the task has a limit on memory.
    heap::lift_limits();
    if cpu::in_interrupt() || task::with_current_task(|_| ()).is_err() {
        let _ = writeln!(LastWords, "panic outside of any task");
        print_stack(&mut LastWords);
        return;
    }
    if REPORTING.replace(true) {
        let _ = writeln!(Sink, "the report of a panic has panicked itself: {}", Place(info));
        end_task(KillReason::Panic(PanicInfoOwned::default()));
    }
    note_frames();
    if may_report() {
        let nested = if unwind::panic_depth() > 0 { ", while it unwinds," } else { "" };
        report(format_args!("panicked{nested} {}: {}", Place(info), info.message()));
    }
    let reason = KillReason::Panic(owned(info));
    REPORTING.set(false);
    if !info.can_unwind() {
        end_task(reason);
    }
    if unwind::panic_depth() >= MAX_DEPTH {
        note(format_args!("too many panics within panics"));
        end_task(reason);
    }
    give_up(unwind::start_unwinding(payload(reason)))
}

/// The handler of a [`FaultFrame`] for exceptions that nobody handles: reports the task and unwinds it.
///
/// # Safety
/// As for any [`unwind::FaultHandler`]: only the entry of a fault frame may call it.
pub unsafe extern "C-unwind" fn fault_handler(frame: &mut FaultFrame) -> ! {
    heap::lift_limits();
    let reason = KillReason::Exception(frame.vector as u8);
    if REPORTING.replace(true) {
        let _ = writeln!(Sink, "the report of a panic has failed with exception {}", frame.vector);
        end_task(reason);
    }
    let what = Exception { vector: frame.vector, error_code: frame.error_code, address: frame.fault_address };
    let at = frame.rip;
    // SAFETY: whoever placed the frame has checked that there is stack at its stack pointer.
    let bad_jump = unsafe { frame.leave_bad_address() };
    if may_report() {
        let how = if bad_jump { ", where there is no code; it was called from below" } else { "" };
        report(format_args!("stopped by {what} at {at:#x}{how}"));
    }
    REPORTING.set(false);
    if unwind::panic_depth() >= MAX_DEPTH {
        end_task(reason);
    }
    give_up(unwind::start_unwinding_from_fault(payload(reason)))
}

/// Unwinds the current task for a fault that was reported already, from a function that stands in for what a frame of the task
/// has called; callers that were compiled as never unwinding are passed over. If that is impossible, the task ends all the same.
pub fn unwind_from_fault(reason: KillReason) -> ! {
    heap::lift_limits();
    give_up(unwind::start_unwinding_from_fault(payload(reason)))
}

/// Writes to the log which exception the current task has raised and who called whom, for one that cannot be unwound: its
/// stack has overflowed, say. May be called on any stack; it needs none of the task's, and follows its frame pointers.
pub fn report_fault(frame: &FaultFrame) {
    if !may_report() {
        return;
    }
    let what = Exception::of(frame);
    let mut lines = Lines::new();
    let _ = task::with_current_task(|task| {
        let _ = writeln!(lines, "task '{}' ({}) stopped by {what} at {:#x}", task.name, task.id, frame.rip);
        let mut number = 0;
        let mut print = |address: usize| {
            let _ = write!(lines, "{number:5}: ");
            let _ = stack_trace::write_location(&mut lines, address);
            let _ = writeln!(lines);
            number += 1;
            if number < MAX_FRAMES { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        };
        let _ = print(frame.rip as usize);
        let (bottom, top) = task.stack_bounds();
        // SAFETY: the current task's stack, mapped from end to end, and the task does not run but for this.
        unsafe {
            stack_trace::walk_frame_pointers(frame.rbp as usize, bottom..top, &mut |_, return_address| {
                print(return_address.wrapping_sub(1))
            });
        }
    });
}

/// Whether the current task's panic or fault is to be reported. Says so if others were not.
fn may_report() -> bool {
    let taken = ALLOWANCE.take(time::Instant::now().as_nanos());
    REPORTED.set(taken.is_some());
    if let Some(left_out @ 1..) = taken {
        let _ = writeln!(Sink, "({left_out} panics and faults before this one were not reported)");
    }
    taken.is_some()
}

/// Writes a line to the log that belongs to the current task's latest report, if that was made.
pub fn note(what: fmt::Arguments<'_>) {
    if REPORTED.get() {
        let _ = writeln!(Sink, "{what}");
    }
}

/// Writes what has happened to the current task, and its stack, to the log.
#[inline(never)]
fn report(what: fmt::Arguments<'_>) {
    let mut lines = Lines::new();
    let _ = task::with_current_task(|task| writeln!(lines, "task '{}' ({}) {what}", task.name, task.id));
    print_stack(&mut lines);
}

/// Writes the stack below the latest panic or fault.
#[inline(never)]
fn print_stack(output: &mut dyn Write) {
    let panic_handler = Some(panic_entry::panic_handler_address());
    let fault_entry = Some(unwind::fault_entry_address());
    let deals_with_it = |frame: &Frame| frame.function == panic_handler || frame.function == fault_entry;
    let _ = stack_trace::print_stack_trace_after(output, MAX_FRAMES, &deals_with_it);
}

/// Unwinding did not begin: ends the task without.
fn give_up(failed: UnwindFailed) -> ! {
    note(format_args!("the task ends without dropping what it owns: {}", failed.reason));
    end_task(match failed.payload.downcast::<KillReason>() {
        Ok(reason) => *reason,
        Err(_) => KillReason::Panic(PanicInfoOwned::default()),
    })
}

/// Ends the current task, here and now.
fn end_task(reason: KillReason) -> ! {
    match task::get_my_current_task().and_then(ExitableTaskRef::obtain_for_unwinder) {
        Some((task, end)) => end(task, reason),
        None => panic_entry::halt(format_args!("the current task cannot be ended: {reason}")),
    }
}

/// A [`KillReason`] as something to throw. Without memory for it, what is thrown is empty and stands for a panic.
fn payload(reason: KillReason) -> Box<dyn Any + Send> {
    /// Needs no memory in a box.
    struct Unknown;

    match Box::try_new(reason) {
        Ok(reason) => reason,
        Err(_) => Box::new(Unknown),
    }
}

/// What is known of a panic, as far as there is memory for it.
fn owned(info: &PanicInfo<'_>) -> PanicInfoOwned {
    let place = info.location();
    PanicInfoOwned {
        payload: None,
        msg: text(format_args!("{}", info.message())),
        file: place.map_or(String::new(), |place| text(format_args!("{}", place.file()))),
        line: place.map_or(0, |place| place.line()),
        column: place.map_or(0, |place| place.column()),
    }
}

/// Formats into a string that ends where memory does.
fn text(arguments: fmt::Arguments<'_>) -> String {
    struct AsFarAsMemoryGoes(String);

    impl Write for AsFarAsMemoryGoes {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0.try_reserve(text.len()).map_err(|_| fmt::Error)?;
            self.0.push_str(text);
            Ok(())
        }
    }

    let mut text = AsFarAsMemoryGoes(String::new());
    let _ = text.write_fmt(arguments);
    text.0
}

/// `at file:line:column`
struct Place<'a>(&'a PanicInfo<'a>);

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.location() {
            Some(place) => write!(f, "at {place}"),
            None => f.write_str("at an unknown place"),
        }
    }
}

/// A CPU exception, in words.
struct Exception {
    vector: u64,
    error_code: u64,
    /// CR2 if it is a page fault.
    address: u64,
}

impl fmt::Display for Exception {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Intel SDM vol. 3, table 6-1.
        let name = match self.vector {
            0 => "division by zero or too large a quotient",
            1 => "a debug exception",
            3 => "a breakpoint",
            4 => "an overflow",
            5 => "a bound that was exceeded",
            6 => "an undefined instruction",
            7 => "a floating-point unit that is not available",
            11 => "a segment that is not present",
            12 => "a fault of the stack segment",
            13 => "a general protection fault",
            14 => return self.page_fault(f),
            16 => "a floating-point error",
            17 => "an unaligned access",
            19 => "a floating-point error of SSE",
            vector => return write!(f, "exception {vector}"),
        };
        write!(f, "{name} (exception {}, error code {:#x})", self.vector, self.error_code)
    }
}

impl Exception {
    fn of(frame: &FaultFrame) -> Self {
        Self { vector: frame.vector, error_code: frame.error_code, address: frame.fault_address }
    }

    /// Intel SDM vol. 3, 4.7: bits of the error code.
    fn page_fault(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const PROTECTION: u64 = 1 << 0;
        const WRITE: u64 = 1 << 1;
        const FETCH: u64 = 1 << 4;

        let access = match self.error_code {
            code if code & FETCH != 0 => "executing",
            code if code & WRITE != 0 => "writing to",
            _ => "reading from",
        };
        let why = if self.error_code & PROTECTION != 0 { "protected" } else { "unmapped" };
        write!(f, "a page fault (exception 14) while {access} {why} memory at {:#x}", self.address)
    }
}
