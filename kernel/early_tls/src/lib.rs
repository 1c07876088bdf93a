//! Thread-local storage for the time before tasks: each CPU has an area of its own from when it starts until it runs its
//! first task.
//!
//! Relies on `cpu` for who is asking, and on `mod_mgmt` for the areas, which are as good as any task's: sections of crates
//! that are loaded meanwhile get there too.
#![no_std]

extern crate alloc;

use alloc::vec::Vec;

use cpu::{CpuId, current_cpu};
use mod_mgmt::TlsDataImage;
use sync_irq::IrqSafeMutex;

/// The area of each CPU that has one here.
static AREAS: IrqSafeMutex<Vec<(CpuId, TlsDataImage)>> = IrqSafeMutex::new(Vec::new());

/// Makes `area` the current CPU's thread-local storage and keeps it. To be called once on each CPU, before any code on it
/// uses a thread-local variable; an area that it had here before is dropped.
pub fn insert(area: TlsDataImage) {
    let cpu = current_cpu();
    let old = {
        let mut areas = AREAS.lock();
        // SAFETY: the area is kept below, and on this CPU nothing but `drop` or another `insert` removes it. Nobody
        // has a reference to a thread-local variable of this CPU: it is what precedes the first use, as documented.
        unsafe { area.set_as_current_tls() };
        let old = areas.iter().position(|(owner, _)| *owner == cpu).map(|place| areas.swap_remove(place));
        areas.push((cpu, area));
        old
    };
    core::mem::drop(old);
}

/// Makes the area that the current CPU has here current again, say after `fs` was loaded. Returns whether it has one.
pub fn reload() -> bool {
    let cpu = current_cpu();
    let areas = AREAS.lock();
    let Some((_, area)) = areas.iter().find(|(owner, _)| *owner == cpu) else {
        return false;
    };
    // SAFETY: the area is this CPU's and is kept in `AREAS`.
    unsafe { area.set_as_current_tls() };
    true
}

/// Gives back the current CPU's area.
///
/// # Safety
/// Another area must be current on this CPU, that of its first task, and no reference into the old one may be left.
pub unsafe fn drop() {
    let cpu = current_cpu();
    let old = {
        let mut areas = AREAS.lock();
        let place = areas.iter().position(|(owner, _)| *owner == cpu);
        place.map(|place| areas.swap_remove(place))
    };
    core::mem::drop(old);
}
