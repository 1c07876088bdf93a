//! The first and the last thing that every task does.

use alloc::boxed::Box;
use memory::Claim;
use task::{ExitValue, ExitableTaskRef, KillReason, TaskRef, scheduler};
use thread_local_macro::{TlsObjectDestructor, take_current_tls_destructors};

/// What a new task takes from the far end of its stack: what to call, and with what.
pub(crate) struct Start<F, A> {
    pub func: F,
    pub argument: A,
    /// For whom it takes memory.
    pub claim: Claim,
}

/// A task's first function; its argument is the token of the switch to it.
pub(crate) type Entry = extern "C-unwind" fn(usize) -> !;

/// Makes a task start with `func(argument)` when it is switched to for the first time.
///
/// # Safety
/// The task has not been ready yet, and this is called once for it. `entry` is [`enter`] for the same types.
pub(crate) unsafe fn prepare<F, A>(task: &TaskRef, start: Box<Start<F, A>>, entry: Entry) {
    let (bottom, top) = task.stack_bounds();
    // SAFETY: the stack is the new task's own, mapped and writable, at least a page, and nobody uses it yet. Its lowest word
    // is read by `enter` before the stack grows anywhere near it.
    unsafe {
        (bottom as *mut *mut Start<F, A>).write(Box::into_raw(start));
        let stack_pointer = context_switch::initial_stack_pointer(top & !15, entry);
        task.set_start(stack_pointer);
    }
}

/// Where a new task starts, with interrupts off; `came_from` is the token of the switch.
pub(crate) extern "C-unwind" fn enter<F, A, R>(came_from: usize) -> !
where
    A: Send + 'static,
    R: Send + 'static,
    F: FnOnce(A) -> R + Send + 'static,
{
    scheduler::finish_switch(came_from);
    let Start { func, argument, claim } = take_start::<F, A>();
    memory::set_claim(claim);
    irq_safety::enable_interrupts();
    let call = move |argument| {
        // Somebody may have asked it to end before it began.
        task::exit_if_killed();
        func(argument)
    };
    let result = catch_unwind::catch_unwind_with_arg(call, argument);
    // To end takes little, and must not fail.
    memory::set_claim(Claim::Kernel);
    match result {
        Ok(value) => finish(ExitValue::Completed(Box::new(value))),
        Err(reason) => {
            release_leaked_guards();
            // A request to end has called it already, before it unwound.
            if let Some(handler) = task::take_kill_handler() {
                let call = |handler: task::KillHandler| handler(&reason);
                if let Err(reason) = catch_unwind::catch_unwind_with_arg(call, handler) {
                    log::error!("a kill handler failed: {reason}");
                }
            }
            finish(ExitValue::Killed(reason))
        }
    }
}

/// Allows preemption and interrupts. A fault passes over the frame that raised it, and over callers that were compiled as never
/// unwinding; guards that they held are not dropped. All frames are gone now, so nobody needs them, and what the task does
/// until it ends may wait for others.
fn release_leaked_guards() {
    while cpu::preemption_count() != 0 {
        cpu::decrement_preemption_count();
    }
    irq_safety::enable_interrupts();
}

/// Takes out what [`prepare`] left for the current task. A function of its own, so that the box is freed: the caller's scope never
/// ends.
fn take_start<F, A>() -> Start<F, A> {
    let bottom = task::with_current_task(|task| task.stack_bounds().0).expect("only a task gets here");
    // SAFETY: `prepare` put a box of this very type there, and this is the only time it is taken out.
    *unsafe { Box::from_raw((bottom as *mut *mut Start<F, A>).read()) }
}

/// Ends the current task with `value`, after having dropped what it owns.
fn finish(mut value: ExitValue) -> ! {
    run_tls_destructors();
    let task = task::get_my_current_task().expect("only a task gets here");
    if task.is_application() {
        detach_from_application(&mut value);
    }
    // SAFETY: it is the current task, whose function is done.
    let exitable = unsafe { ExitableTaskRef::new(task) };
    exit(exitable, value)
}

/// Ends the current task with `value`.
pub(crate) fn exit(task: ExitableTaskRef, value: ExitValue) -> ! {
    match value {
        ExitValue::Completed(value) => task.mark_as_exited(value),
        ExitValue::Killed(reason) => task.mark_as_killed(reason),
    }
}

/// Drops what of a panic could need the application's code, which may be gone when the exit value is looked at.
fn detach_from_application(value: &mut ExitValue) {
    if let ExitValue::Killed(KillReason::Panic(info)) = value
        && let Some(payload) = info.payload.take()
    {
        // Dropping it runs the application's code, which may panic again: that is caught, and there is nobody left to tell.
        let _ = catch_unwind::catch_unwind_with_arg(drop, payload);
    }
}

/// Drops the current task's thread-local values, in the order in which they were made.
fn run_tls_destructors() {
    loop {
        let destructors = take_current_tls_destructors();
        if destructors.is_empty() {
            return;
        }
        for TlsObjectDestructor { object_ptr, dtor } in destructors {
            // SAFETY: the destructor was registered for this value by this task, whose function, the only one that could
            // hold references to the value, has ended.
            let run = || unsafe { dtor(object_ptr) };
            if let Err(reason) = catch_unwind::catch_unwind_with_arg(|()| run(), ()) {
                log::error!("a thread-local value's drop failed: {reason}");
            }
        }
    }
}

/// Ends a task that cannot be unwound: nothing it owns is dropped.
pub(crate) fn end_without_unwinding(task: ExitableTaskRef, reason: KillReason) -> ! {
    let mut value = ExitValue::Killed(reason);
    task.keep_stack_and_code();
    if task.is_application() {
        // To drop the payload would need the application's code and a stack; both may be unusable. It is leaked.
        if let ExitValue::Killed(KillReason::Panic(info)) = &mut value {
            core::mem::forget(info.payload.take());
        }
    }
    exit(task, value)
}
