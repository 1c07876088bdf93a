//! Switching the machine off, restarting it, and ending QEMU with a status.
//!
//! Each of the three stops the other CPUs, tries one way after the other, the proper one first, and finally halts the CPU: none of
//! them returns. They wait for nothing but the disks ([`set_sync_hook`]): tasks just stop.
//!
//! Port numbers and register layouts: ACPI specification 4.8.3.2 (PM1 control) and 4.8.4.6 (reset), QEMU's
//! `hw/misc/debugexit.c` (isa-debug-exit) and `hw/char/debugcon.c` (isa-debugcon).
#![no_std]

use core::sync::atomic::{AtomicPtr, Ordering};

use acpi::{AcpiInfo, Register, RegisterSpace};
use irq_safety::disable_interrupts;
use x86_64::instructions::hlt;
use x86_64::instructions::port::Port;

/// PM1 control: the operating system is in charge of power management.
const PM1_SCI_ENABLE: u16 = 1;
/// PM1 control: start the transition to the sleep type in bits 10 to 12.
const PM1_SLEEP_ENABLE: u16 = 1 << 13;
const PM1_SLEEP_TYPE_SHIFT: u16 = 10;
const PM1_SLEEP_TYPE_MASK: u16 = 0b111 << PM1_SLEEP_TYPE_SHIFT;

/// The PM1 control port of QEMU's machines `q35` and `pc`, and of Bochs and old QEMU: sleep type 0 is S5 there.
const QEMU_PM1_CONTROL: [u16; 2] = [0x604, 0xB004];
/// QEMU's isa-debug-exit device, if there is one: a write ends QEMU.
const DEBUG_EXIT_PORT: u16 = 0xF4;
/// Where whoever started QEMU waits for the status: an isa-debugcon device with this port, connected to a file.
const STATUS_PORT: u16 = 0xE8;
/// What reading an isa-debugcon port returns by default.
const DEBUGCON_PRESENT: u8 = 0xE9;
/// The keyboard controller's status, and its commands. One of them pulses the processor's reset line.
const KEYBOARD_CONTROLLER_PORT: u16 = 0x64;
const KEYBOARD_INPUT_FULL: u8 = 1 << 1;
const KEYBOARD_RESET: u8 = 0xFE;
/// The reset control register that PCs with PCI have: bit 1 full reset, bit 2 do it.
const RESET_CONTROL_PORT: u16 = 0xCF9;

/// A `fn() -> bool`; null before [`set_sync_hook`].
static SYNC_HOOK: AtomicPtr<()> = AtomicPtr::new(core::ptr::null_mut());

/// Says what is called first of all when the machine is switched off or restarted: it brings to the disks what waits in memory, tells the
/// console what it cannot, and returns whether all is there. It must stay valid for ever.
pub fn set_sync_hook(hook: fn() -> bool) {
    SYNC_HOOK.store(hook as *mut (), Ordering::Release);
}

fn sync() -> bool {
    let hook = SYNC_HOOK.load(Ordering::Acquire);
    // SAFETY: only `set_sync_hook` writes other values than null, and only functions of this type.
    hook.is_null() || unsafe { core::mem::transmute::<*mut (), fn() -> bool>(hook) }()
}

/// Switches the machine off. To be called by a task, as the other two.
pub fn shutdown() -> ! {
    log::info!("switching off");
    sync();
    stop_everything_else();
    switch_off();
    log::error!("this machine cannot be switched off by software: switch it off by hand");
    halt()
}

/// Restarts the machine.
pub fn reboot() -> ! {
    log::info!("restarting");
    sync();
    stop_everything_else();
    if let Some((register, value)) = acpi::info().and_then(|info| info.fadt).and_then(|fadt| fadt.reset) {
        write_reset(register, value);
        pause();
    }
    // SAFETY: these ports reset the machine, which is the purpose; on machines without them nothing happens.
    unsafe {
        let mut control: Port<u8> = Port::new(RESET_CONTROL_PORT);
        control.write(0b010);
        control.write(0b110);
        pause();
        let mut keyboard: Port<u8> = Port::new(KEYBOARD_CONTROLLER_PORT);
        // The controller takes a command when its input buffer is empty. One that is not there always seems full.
        let ready = (0..100_000).any(|_| keyboard.read() & KEYBOARD_INPUT_FULL == 0);
        if ready {
            keyboard.write(KEYBOARD_RESET);
            pause();
        }
    }
    triple_fault()
}

/// Ends the machine and tells whoever started it a status of 8 bits, if it is QEMU and was set up for that.
///
/// The status goes to the debug console at port 0xE8. Then the machine ends: by QEMU's isa-debug-exit device, or else
/// by being switched off. The status 0 becomes 1 if something that was written could not be brought to the disk.
pub fn exit_with_status(status: u8) -> ! {
    let status = if sync() { status } else { status.max(1) };
    stop_everything_else();
    // SAFETY: reading the port of a debug console changes nothing; a machine that has none has nothing at this port of the
    // range reserved for the chipset. It is written only if the console answers.
    unsafe {
        let mut console: Port<u8> = Port::new(STATUS_PORT);
        if console.read() == DEBUGCON_PRESENT {
            console.write(status);
        }
        // SAFETY: ends QEMU, which is the purpose; on other machines nothing is at this port.
        Port::<u32>::new(DEBUG_EXIT_PORT).write(0);
    }
    pause();
    switch_off();
    halt()
}

/// From here on nothing else runs, on no CPU.
fn stop_everything_else() {
    disable_interrupts();
    interrupts::stop_other_cpus();
}

/// Tries all ways to switch off, and returns if none works.
fn switch_off() {
    if let Some(info) = acpi::info() {
        sleep_s5(info);
        pause();
    }
    for port in QEMU_PM1_CONTROL {
        // SAFETY: on QEMU's machines this switches off, which is the purpose. On others nothing is at these ports of the
        // range reserved for the chipset.
        unsafe { Port::<u16>::new(port).write(PM1_SLEEP_ENABLE) };
        pause();
    }
}

/// Switches off in the way that ACPI describes. Returns if the tables do not say how, or if nothing happens.
fn sleep_s5(info: &AcpiInfo) {
    let (Some(fadt), Some(sleep_type)) = (info.fadt, info.s5) else { return };
    let Some(pm1a) = fadt.pm1a_control.and_then(io_port) else { return };
    let pm1b = fadt.pm1b_control.and_then(io_port);
    // SAFETY: the ports are those that the ACPI tables name for this purpose, used as the specification says.
    unsafe {
        let mut control_a: Port<u16> = Port::new(pm1a);
        if let Some(command) = fadt.smi_command_port
            && fadt.acpi_enable != 0
            && control_a.read() & PM1_SCI_ENABLE == 0
        {
            Port::new(command).write(fadt.acpi_enable);
            // The firmware may take its time; a port access takes about a microsecond.
            let _ = (0..1_000_000).any(|_| control_a.read() & PM1_SCI_ENABLE != 0);
        }
        for (port, sleep_type) in [(Some(pm1a), sleep_type.a), (pm1b, sleep_type.b)] {
            if let Some(port) = port {
                let mut control: Port<u16> = Port::new(port);
                let kept = control.read() & !PM1_SLEEP_TYPE_MASK;
                control.write(kept | u16::from(sleep_type) << PM1_SLEEP_TYPE_SHIFT | PM1_SLEEP_ENABLE);
            }
        }
    }
}

fn io_port(register: Register) -> Option<u16> {
    match register.space {
        RegisterSpace::Io => u16::try_from(register.address).ok(),
        RegisterSpace::Memory | RegisterSpace::PciConfiguration => None,
    }
}

/// Writes to the reset register, if it is an I/O port, as it is on PCs.
fn write_reset(register: Register, value: u8) {
    if let Some(port) = io_port(register) {
        // SAFETY: the ACPI tables say that this resets the machine, which is the purpose.
        unsafe { Port::new(port).write(value) };
    }
}

/// Gives the hardware some milliseconds to do what it was told.
fn pause() {
    for _ in 0..10_000 {
        // SAFETY: a write to port 0x80 is the customary delay of about a microsecond: it goes to the display of the
        // firmware's progress codes.
        unsafe { Port::<u8>::new(0x80).write(0) };
    }
}

/// Causes an exception while there is no way to handle one, which resets the processor.
fn triple_fault() -> ! {
    #[repr(C, packed)]
    struct DescriptorTablePointer {
        limit: u16,
        base: u64,
    }
    let empty = DescriptorTablePointer { limit: 0, base: 0 };
    // SAFETY: from here on there is no interrupt descriptor table, so the exception cannot be delivered, nor can the double
    // fault that follows: the processor resets, which is the purpose. Interrupts are disabled.
    unsafe {
        core::arch::asm!("lidt [{}]", "int3", in(reg) &empty, options(nostack));
    }
    halt()
}

/// Stops this CPU for good.
fn halt() -> ! {
    loop {
        stop_everything_else();
        hlt();
    }
}
