//! Interrupting guests: deadlines of stores, and tasks that are killed.
//!
//! Compiled code has nothing in it for that. The platform's timer finds it running, and the trap handler ([`crate::trap::handle`])
//! sends it to the landing pad of its activation, at whatever instruction it was. Where the timer finds the host instead, it leaves a
//! note in the stores that are in use ([`VMStoreContext::interrupted`]), which is looked at on the way back into compiled code.
//! What the host does on behalf of a guest and may take long (filling a memory, say) is done in pieces, and looks between them.
//!
//! A deadline is for all that runs because of the store's functions: host functions that call functions of other stores
//! do so on its time. So what counts is the earliest deadline of all activations of the task.

use crate::store::{Store, StoreContext, StoreContextMut, StoreOpaque};
use crate::{Caller, Error, Result};
use core::ops::Range;
use core::sync::atomic::{Ordering, compiler_fence};
use core::time::Duration;
use wasm_artifact::Trap;
use wasm_artifact::vmctx::VMStoreContext;
use wasm_platform::{NO_ALARM, TrapCause, monotonic_nanos};
use wasm_tls::Activation;

/// How many bytes are moved between two looks whether to go on: some ten microseconds' worth, beside which a look is nothing.
const PIECE: usize = 256 << 10;

fn context(activation: &Activation) -> &VMStoreContext {
    // SAFETY: the context of an activation lives as long as that does, and what is used of it here is atomic.
    unsafe { &*activation.context() }
}

/// The earliest deadline of an activation and those around it.
fn earliest(activation: &Activation) -> u64 {
    let deadlines =
        activation.and_outer().map(|activation| context(activation).deadline.load(Ordering::Relaxed));
    deadlines.min().unwrap_or(NO_ALARM)
}

/// Whether a guest is to be interrupted; then all stores in use are told. For the trap handler.
pub(crate) fn is_due(cause: TrapCause, activation: &Activation) -> bool {
    if cause == TrapCause::Alarm {
        let earliest = earliest(activation);
        if earliest > monotonic_nanos() {
            // It was set for an activation that has ended.
            wasm_platform::move_alarm(earliest);
            return false;
        }
    }
    for activation in activation.and_outer() {
        context(activation).interrupted.store(true, Ordering::Relaxed);
    }
    true
}

/// As [`is_due`], when no guest runs.
pub(crate) fn without_activation(cause: TrapCause) {
    if cause == TrapCause::Alarm {
        wasm_platform::move_alarm(NO_ALARM);
    }
}

/// Makes sure that the task is interrupted when `deadline` has passed. To be called once the activation is there for which it is:
/// an alarm from before would otherwise be found to be for nobody, and put off.
pub(crate) fn arm(deadline: u64) -> Result<()> {
    compiler_fence(Ordering::SeqCst);
    if deadline < wasm_platform::alarm() {
        wasm_platform::set_alarm(deadline)?;
    }
    Ok(())
}

/// Calls `piece` for one range after the other of `0..len`, so that together they are all of it; from the end if `backwards`. A
/// range has at most 256 KiB's worth of elements of `size` bytes.
///
/// # Errors
/// Ends between two ranges if the guest is to be interrupted. Unwinds there if the task was killed.
#[inline]
pub(crate) fn in_pieces(
    store: &StoreOpaque,
    len: usize,
    size: usize,
    backwards: bool,
    mut piece: impl FnMut(Range<usize>),
) -> Result<(), Trap> {
    let most = PIECE / size;
    if len <= most {
        piece(0..len);
        return Ok(());
    }
    let mut done = 0;
    while done < len {
        store.poll()?;
        let next = (done + most).min(len);
        piece(if backwards { len - next..len - done } else { done..next });
        done = next;
    }
    Ok(())
}

impl StoreOpaque {
    #[inline]
    pub(crate) fn deadline(&self) -> u64 {
        self.context().deadline.load(Ordering::Relaxed)
    }

    /// When a call of one of the store's functions that begins now is to be interrupted, as far as that is not known already.
    ///
    /// # Errors
    /// If that time has passed.
    #[inline]
    pub(crate) fn deadline_of_call(&self) -> Result<u64, Trap> {
        let own = self.deadline();
        // The host function that calls may have set the deadline of the store that it was called from.
        let of_caller = wasm_tls::with_current(|activation| {
            match context(activation).interrupted.load(Ordering::Relaxed) {
                true => earliest(activation),
                false => NO_ALARM,
            }
        });
        if own != NO_ALARM || of_caller.is_some() {
            self.check_deadline()?;
        }
        Ok(own.min(of_caller.unwrap_or(NO_ALARM)))
    }

    /// The earliest deadline of the store and of all that runs on the current task.
    fn earliest_deadline(&self) -> u64 {
        wasm_tls::with_current(earliest).unwrap_or(NO_ALARM).min(self.deadline())
    }

    fn deadline_passed(&self) -> bool {
        let first = self.deadline().min(wasm_platform::alarm());
        if first == NO_ALARM {
            return false;
        }
        let now = monotonic_nanos();
        // The alarm may be for something that has ended.
        first <= now && self.earliest_deadline() <= now
    }

    /// Fails if a deadline has passed.
    pub(crate) fn check_deadline(&self) -> Result<(), Trap> {
        if self.deadline_passed() { Err(Trap::Interrupt) } else { Ok(()) }
    }

    /// Whether what is done for the guest is to be given up, by [`poll`](Self::poll) for example.
    pub(crate) fn must_stop(&self) -> bool {
        wasm_platform::kill_pending() || self.deadline_passed()
    }

    /// Fails if the guest is to be interrupted; unwinds if the task was killed.
    pub(crate) fn poll(&self) -> Result<(), Trap> {
        wasm_platform::end_if_killed();
        self.check_deadline()
    }

    /// How much time is left to the guest; `None` if there is no end to it.
    pub(crate) fn time_left(&self) -> Option<Duration> {
        until(self.earliest_deadline())
    }

    /// To be called before the host goes back to, or does something for, compiled code that called it: see the module's
    /// documentation. Unwinds if the task was killed.
    ///
    /// # Errors
    /// [`Trap::Interrupt`], if a deadline has passed.
    #[inline]
    pub(crate) fn check_interrupted(&self) -> Result<()> {
        if self.context().interrupted.load(Ordering::Relaxed) { self.interrupted() } else { Ok(()) }
    }

    #[cold]
    fn interrupted(&self) -> Result<()> {
        self.context().interrupted.store(false, Ordering::Relaxed);
        self.poll()?;
        match self.deadline() {
            NO_ALARM => Ok(()),
            // It may have been set by a host function.
            deadline => arm(deadline),
        }
    }

    fn set_deadline(&mut self, timeout: Option<Duration>) {
        let deadline = timeout.map_or(NO_ALARM, |timeout| {
            let timeout = u64::try_from(timeout.as_nanos()).unwrap_or(NO_ALARM);
            monotonic_nanos().saturating_add(timeout)
        });
        self.context().deadline.store(deadline, Ordering::Relaxed);
        // If a function of the store runs, the alarm is set on the way back to it.
        self.context().interrupted.store(self.is_running(), Ordering::Relaxed);
    }

    fn get_deadline(&self) -> Option<Duration> {
        until(self.deadline())
    }
}

/// How long it is until a deadline; `None` if that is none.
fn until(deadline: u64) -> Option<Duration> {
    (deadline != NO_ALARM).then(|| Duration::from_nanos(deadline.saturating_sub(monotonic_nanos())))
}

/// What became of work for a guest that was given up: unwinds if the task was killed.
pub(crate) fn stopped() -> Error {
    wasm_platform::end_if_killed();
    Trap::Interrupt.into()
}

/// What work for the host asks, to be given up if its task was killed.
pub(crate) fn unless_killed() -> bool {
    !wasm_platform::kill_pending()
}

impl<T: 'static> Store<T> {
    /// Sets how long the store's functions may run from now on, all calls together; `None`, as it is at first, for ever. When that
    /// time is over, wasm that runs traps with [`Trap::Interrupt`], whatever it does; and so does every call of a function, and
    /// every instantiation with more than a little to do, until another deadline is set. Then the store is as good as before.
    ///
    /// Running code is not slowed down by this: it is the timer that interrupts it, at any instruction, some milliseconds
    /// after the deadline at most. Of instructions that work on many bytes or elements (`memory.fill`, `table.copy`, …) a part may have
    /// been done by then, from either end; a memory or table that was to grow has not grown. Who waits by `memory.atomic.wait` is
    /// woken. A host function is not interrupted, but the wasm to which it returns, and the functions of this or another store that it calls
    /// meanwhile: their time is part of this store's. One that waits can ask for [`Caller::time_left`].
    pub fn set_deadline(&mut self, timeout: Option<Duration>) {
        StoreContextMut::from(self).set_deadline(timeout);
    }

    /// How much time the store's functions have left: zero if the deadline has passed; `None` if there is none.
    pub fn get_deadline(&self) -> Option<Duration> {
        StoreContext::from(self).get_deadline()
    }
}

impl<T: 'static> StoreContext<'_, T> {
    /// See [`Store::get_deadline`].
    pub fn get_deadline(&self) -> Option<Duration> {
        self.0.opaque().get_deadline()
    }
}

impl<T: 'static> StoreContextMut<'_, T> {
    /// See [`Store::set_deadline`].
    pub fn set_deadline(&mut self, timeout: Option<Duration>) {
        self.0.opaque_mut().set_deadline(timeout);
    }

    /// See [`Store::get_deadline`].
    pub fn get_deadline(&self) -> Option<Duration> {
        self.0.opaque().get_deadline()
    }
}

impl<T: 'static> Caller<'_, T> {
    /// See [`Store::set_deadline`].
    pub fn set_deadline(&mut self, timeout: Option<Duration>) {
        self.store.set_deadline(timeout);
    }

    /// See [`Store::get_deadline`].
    pub fn get_deadline(&self) -> Option<Duration> {
        self.store.get_deadline()
    }

    /// How much time is left to what runs: to this store, and to those from whose host functions it was called. `None` if there is no
    /// end to it. For host functions that wait, or work for long.
    pub fn time_left(&self) -> Option<Duration> {
        self.store.0.opaque().time_left()
    }
}
