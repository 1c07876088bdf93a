//! Fuel and epochs: for code that was compiled to look at them.
//!
//! Neither is needed to stop a guest: deadlines do that, at no cost ([`Store::set_deadline`]). Fuel stops a guest at the same instruction
//! every time; epochs are what programs written for Wasmtime use.

use crate::store::{StoreInner, StoreOpaque};
use crate::{Caller, Config, Engine, Result, Store, StoreContext, StoreContextMut, bail};
use alloc::boxed::Box;
use core::sync::atomic::Ordering;
use wasm_artifact::Trap;

/// What a store does when its epoch has come.
pub(crate) type EpochCallback<T> = dyn FnMut(StoreContextMut<'_, T>) -> Result<UpdateDeadline> + Send + Sync;

/// What is to happen when a store's epoch has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum UpdateDeadline {
    /// The guest traps with [`Trap::Interrupt`].
    Interrupt,
    /// The guest goes on until the epoch is so many ticks further.
    Continue(u64),
}

impl Config {
    /// Whether code counts what it does and stops when the fuel of its store is used up; no by default. It takes some time.
    /// Modules that were compiled otherwise are refused.
    pub fn consume_fuel(&mut self, enable: bool) -> &mut Self {
        self.tunables.consume_fuel = enable;
        self
    }

    /// Whether code looks at the engine's epoch, at the start of functions and loops; no by default. It takes some time.
    /// Modules that were compiled otherwise are refused.
    pub fn epoch_interruption(&mut self, enable: bool) -> &mut Self {
        self.tunables.epoch_interruption = enable;
        self
    }
}

impl Engine {
    /// Lets the next epoch begin. May be called by any task, and costs next to nothing.
    pub fn increment_epoch(&self) {
        self.epoch().fetch_add(1, Ordering::Relaxed);
    }
}

/// See [`StoreOpaque::epoch_update`].
///
/// # Safety
/// `store` must be the first part of a `StoreInner<T>`, all of which is borrowed with it.
pub(crate) unsafe fn update_of<T: 'static>(store: &mut StoreOpaque) -> Result<UpdateDeadline> {
    // SAFETY: by the caller; the first field's address is that of the whole.
    let store = unsafe { &mut *core::ptr::from_mut(store).cast::<StoreInner<T>>() };
    // It may set another one.
    let Some(mut callback) = store.epoch_callback.take() else { return Ok(UpdateDeadline::Interrupt) };
    let update = callback(StoreContextMut(store));
    store.epoch_callback.get_or_insert(callback);
    update
}

impl StoreOpaque {
    fn fuel_consumed(&self) -> i64 {
        // SAFETY: only the task that uses the store writes it.
        unsafe { *self.context().fuel_consumed.get() }
    }

    /// Gives code as much fuel as it can count, and keeps the rest.
    fn give_fuel(&mut self, fuel: u64) {
        let given = i64::try_from(fuel).unwrap_or(i64::MAX);
        self.fuel_reserve = fuel - given as u64;
        // SAFETY: as for `fuel_consumed`; code of the store that runs waits for us.
        unsafe { *self.context().fuel_consumed.get() = -given };
    }

    /// Takes fuel from the reserve.
    ///
    /// # Errors
    /// [`Trap::OutOfFuel`] if that is used up, too.
    pub(crate) fn refuel(&mut self) -> Result<()> {
        let consumed_more = self.fuel_consumed().max(0) as u64;
        if self.fuel_reserve <= consumed_more {
            return Err(Trap::OutOfFuel.into());
        }
        self.give_fuel(self.fuel_reserve - consumed_more);
        Ok(())
    }

    fn get_fuel(&self) -> Result<u64> {
        if !self.engine().config().tunables.consume_fuel {
            bail!("fuel is not configured in this store");
        }
        Ok((self.fuel_consumed().min(0).unsigned_abs()).saturating_add(self.fuel_reserve))
    }

    fn set_fuel(&mut self, fuel: u64) -> Result<()> {
        if !self.engine().config().tunables.consume_fuel {
            bail!("fuel is not configured in this store");
        }
        self.give_fuel(fuel);
        Ok(())
    }

    fn set_epoch_deadline(&mut self, ticks_beyond_current: u64) {
        let now = self.engine().epoch().load(Ordering::Relaxed);
        // SAFETY: only the task that uses the store writes it; code of the store that runs waits for us.
        unsafe { *self.context().epoch_deadline.get() = now.saturating_add(ticks_beyond_current) };
    }

    /// Does what is to happen now that the epoch has come.
    ///
    /// # Errors
    /// [`Trap::Interrupt`], or what the callback says.
    pub(crate) fn new_epoch(&mut self) -> Result<()> {
        // SAFETY: `epoch_update` was made for the `StoreInner` that this is the first part of.
        match unsafe { (self.epoch_update)(self)? } {
            UpdateDeadline::Interrupt => Err(Trap::Interrupt.into()),
            UpdateDeadline::Continue(ticks) => {
                self.set_epoch_deadline(ticks);
                Ok(())
            }
        }
    }
}

impl<T: 'static> Store<T> {
    /// How much fuel is left.
    ///
    /// # Errors
    /// If the engine's code consumes none ([`Config::consume_fuel`]).
    pub fn get_fuel(&self) -> Result<u64> {
        StoreContext::from(self).get_fuel()
    }

    /// Sets how much fuel there is; none at first. Most instructions consume 1; `nop`, `drop`, `block`, `loop`, `return` and the
    /// like nothing; those that copy or fill 1 more for each byte or element. Code looks whether fuel is left at the start of functions and
    /// loops and before it copies, and traps with [`Trap::OutOfFuel`] if there is none.
    ///
    /// # Errors
    /// If the engine's code consumes none ([`Config::consume_fuel`]).
    pub fn set_fuel(&mut self, fuel: u64) -> Result<()> {
        StoreContextMut::from(self).set_fuel(fuel)
    }

    /// Sets at which epoch the store's code is interrupted: when the engine's has been incremented so many times more. At first it
    /// is interrupted at once. Without effect on code that does not look ([`Config::epoch_interruption`]).
    pub fn set_epoch_deadline(&mut self, ticks_beyond_current: u64) {
        StoreContextMut::from(self).set_epoch_deadline(ticks_beyond_current);
    }

    /// Has code whose epoch has come trap with [`Trap::Interrupt`], as it does at first.
    pub fn epoch_deadline_trap(&mut self) {
        self.inner_mut().epoch_callback = None;
    }

    /// Has `callback` say what becomes of code whose epoch has come. Its error is that of the call.
    pub fn epoch_deadline_callback(
        &mut self,
        callback: impl FnMut(StoreContextMut<'_, T>) -> Result<UpdateDeadline> + Send + Sync + 'static,
    ) {
        self.inner_mut().epoch_callback = Some(Box::new(callback));
    }
}

impl<T: 'static> StoreContext<'_, T> {
    /// See [`Store::get_fuel`].
    pub fn get_fuel(&self) -> Result<u64> {
        self.0.opaque().get_fuel()
    }
}

impl<T: 'static> StoreContextMut<'_, T> {
    /// See [`Store::get_fuel`].
    pub fn get_fuel(&self) -> Result<u64> {
        self.0.opaque().get_fuel()
    }

    /// See [`Store::set_fuel`].
    pub fn set_fuel(&mut self, fuel: u64) -> Result<()> {
        self.0.opaque_mut().set_fuel(fuel)
    }

    /// See [`Store::set_epoch_deadline`].
    pub fn set_epoch_deadline(&mut self, ticks_beyond_current: u64) {
        self.0.opaque_mut().set_epoch_deadline(ticks_beyond_current);
    }

    /// See [`Store::epoch_deadline_trap`].
    pub fn epoch_deadline_trap(&mut self) {
        self.0.epoch_callback = None;
    }
}

impl<T: 'static> Caller<'_, T> {
    /// See [`Store::get_fuel`].
    pub fn get_fuel(&self) -> Result<u64> {
        self.store.get_fuel()
    }

    /// See [`Store::set_fuel`].
    pub fn set_fuel(&mut self, fuel: u64) -> Result<()> {
        self.store.set_fuel(fuel)
    }
}
