//! Brings up everything that is not needed to load crates, and starts the console.
//!
//! The base image loads this crate and calls [`init`], on the first stack, with interrupts off. The order is that of need: clocks
//! want ACPI's tables, the timer interrupt wants a calibrated clock, tasks want their save areas sized, the console wants
//! tasks and interrupts. Nothing unloads this crate, and so nothing unloads what it uses.
#![no_std]

extern crate alloc;

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use boot_info::phases;
use core::convert::Infallible;
use core::fmt::Display;
use core::ops::Range;
use mod_mgmt::CrateNamespace;

/// The reason why a step failed, with the step's name.
fn failed<E: Display>(step: &'static str) -> impl Fn(E) -> String {
    move |reason| format!("{step}: {reason}")
}

/// Loads the crate that mounts disks, and has it do so, if there is a device for it. A system without its disks is better than none, so
/// what goes wrong is only said.
fn mount_disks(namespace: &Arc<CrateNamespace>) {
    /// The vendor of all virtio devices.
    const VIRTIO: u16 = 0x1AF4;
    if !pci::pci_device_iter().any(|device| device.vendor_id == VIRTIO) {
        return;
    }
    match namespace.load_crate_by_name("storage_manager") {
        Ok(loaded) => {
            if let Some(section) = loaded.get_symbol("storage_manager_init") {
                let variable = section.virt_addr.value() as *const fn();
                // SAFETY: the crate defines the symbol as a variable of this type, which never changes. It stays loaded: see below.
                let mount = unsafe { *variable };
                mount();
            }
            // Its tasks and the disks that it mounted stay.
            core::mem::forget(loaded);
        }
        Err(reason) => log::error!("disks: {reason}"),
    }
    phases::end_of("disks");
}

/// Brings the system up, and becomes the first task, which ends once the console runs. `boot_stack` is the stack in use.
///
/// # Errors
/// Returns only the reason why the system cannot start.
#[inline(never)]
pub fn init(boot_stack: Range<usize>) -> Result<Infallible, String> {
    let namespace = mod_mgmt::get_initial_kernel_namespace().ok_or("the loader is not initialized")?;
    let mmi = memory::get_kernel_mmi_ref().ok_or("memory is not initialized")?;
    panic_wrapper::init();
    if let Err(reason) = acpi::init(boot_info::get().and_then(|info| info.rsdp)) {
        // A machine without ACPI's tables still has a clock, a timer and a serial port.
        log::warn!("ACPI: {reason}");
    }
    // The time stamp counter is measured by either of these two; without them by the PIT, which is less exact.
    if let Err(reason) = pm_timer::init() {
        log::info!("{reason}");
    }
    if let Err(reason) = hpet::init() {
        log::info!("{reason}");
    }
    tsc::init().map_err(failed("the time stamp counter"))?;
    if let Err(reason) = rtc::init() {
        log::warn!("the wall clock: {reason}");
    }
    // Before anything asks which vector instructions there are: the answer is kept.
    context_switch::init_cpu();
    random::init();
    boot_secret::init();
    fs_node::set_clock(time::now::<time::WallTime>);
    phases::end_of("ACPI, clocks, random");

    interrupts::init().map_err(failed("interrupts"))?;
    apic::init().map_err(failed("interrupt controllers"))?;
    // SAFETY: this is the stack that runs here, and it is mapped for ever.
    let boot_task = unsafe { spawn::init(mmi.clone(), namespace.clone(), cpu::current_cpu(), boot_stack) }
        .map_err(failed("tasks"))?;
    mod_mgmt::set_wait_hook(|| {
        task::schedule();
    });
    mod_mgmt::set_cancel_hook(task::cancellation_pending);
    // Nobody waits for the idle task.
    drop(idle::create_idle_task(cpu::current_cpu()).map_err(failed("the idle task"))?);
    scheduler::init().map_err(failed("the scheduler"))?;
    exceptions_full::init().map_err(failed("exceptions"))?;
    task::scheduler::set_timer_tick_hook(sleep::unblock_sleeping_tasks);
    irq_safety::enable_interrupts();
    phases::end_of("interrupts and tasks");

    panic_entry::set_halt_hook(interrupts::stop_other_cpus);
    tlb_shootdown::init();
    if let Err(reason) = multicore_bringup::handle_ap_cores() {
        log::warn!("only the boot CPU runs tasks: {reason}");
    }
    phases::end_of("other CPUs");

    mount_disks(namespace);

    let line = boot_info::get().and_then(|info| info.option("cmd"));
    // The console ends the machine when its shell ends; nobody waits for it here.
    drop(console::start(line.as_deref()).map_err(failed("the console"))?);
    phases::end_of("console");
    boot_task.finish()
}
