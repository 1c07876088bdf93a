//! The kernel's log: where the records of the `log` crate go.
//!
//! The console belongs to the person in front of it, so records go to QEMU's debug console (port 0xE9) when the machine has
//! one, which `make run` writes to a file. `log=serial` on the kernel's command line sends them to COM1 instead, for
//! machines that have nothing else; `log=trace|debug|info|warn|error|off` sets what is kept (default `info`).
//! Writing needs no memory and takes no lock that an interrupt handler could wait for, so any context may log; hot paths
//! and exception handlers must not.
#![cfg_attr(not(test), no_std)]

use core::fmt::{self, Write};
use core::sync::atomic::{AtomicU8, Ordering};
use log::{LevelFilter, Log, Metadata, Record};

/// QEMU's and Bochs' debug console.
const DEBUG_CONSOLE_PORT: u16 = 0xE9;
/// What reading that port gives when the device is there.
const DEBUG_CONSOLE_PRESENT: u8 = 0xE9;

const NOWHERE: u8 = 0;
const DEBUG_CONSOLE: u8 = 1;
const SERIAL: u8 = 2;

static SINK: AtomicU8 = AtomicU8::new(NOWHERE);

struct Logger;

impl Log for Logger {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        SINK.load(Ordering::Relaxed) != NOWHERE
    }

    fn log(&self, record: &Record<'_>) {
        let letter = &record.level().as_str()[..1];
        let _ = writeln!(Sink, "[{letter}] {}: {}", record.target(), record.args());
    }

    fn flush(&self) {}
}

/// The log as a target of `write!`, for messages that must come out whatever the level: a panic, a fatal exception.
pub struct Sink;

impl Write for Sink {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        match SINK.load(Ordering::Relaxed) {
            DEBUG_CONSOLE => text.bytes().for_each(write_debug_console),
            SERIAL => {
                for (index, line) in text.split('\n').enumerate() {
                    if index > 0 {
                        serial_port_basic::write_bytes(b"\r\n");
                    }
                    serial_port_basic::write_bytes(line.as_bytes());
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// The log and the serial console together: for the last words of a kernel that cannot go on.
pub struct LastWords;

impl Write for LastWords {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let before = SINK.load(Ordering::Relaxed);
        if before != SERIAL {
            Sink.write_str(text)?;
            SINK.store(SERIAL, Ordering::Relaxed);
        }
        let result = Sink.write_str(text);
        SINK.store(before, Ordering::Relaxed);
        result
    }
}

fn write_debug_console(byte: u8) {
    // SAFETY: the port was found to be the debug console's, which does nothing but pass the byte on.
    unsafe {
        core::arch::asm!("out dx, al", in("dx") DEBUG_CONSOLE_PORT, in("al") byte, options(nomem, nostack))
    };
}

fn debug_console_is_present() -> bool {
    let value: u8;
    // SAFETY: reading port 0xE9 has no effect on any device: it is the debug console's or nobody's.
    unsafe {
        core::arch::asm!("in al, dx", in("dx") DEBUG_CONSOLE_PORT, out("al") value, options(nomem, nostack))
    };
    value == DEBUG_CONSOLE_PRESENT
}

/// Starts the log, before the command line is known: to the debug console if there is one.
pub fn early_init() {
    if debug_console_is_present() {
        SINK.store(DEBUG_CONSOLE, Ordering::Relaxed);
    }
    // Fails only when called twice, which leaves the log as it is.
    let _ = log::set_logger(&Logger);
    log::set_max_level(LevelFilter::Info);
}

/// Follows one value of the command line's `log=`: `serial`, or a level.
///
/// # Errors
/// The value, when it is neither.
pub fn configure(value: &str) -> Result<(), &str> {
    if value == "serial" {
        SINK.store(SERIAL, Ordering::Relaxed);
    } else {
        log::set_max_level(value.parse().map_err(|_| value)?);
    }
    Ok(())
}
