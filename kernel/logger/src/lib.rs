//! The kernel's log: where the records of the `log` crate go.
//!
//! The console belongs to the person in front of it, so records go to QEMU's debug console (port 0xE9) when the machine has
//! one, which `make run` writes to a file. `log=serial` on the kernel's command line sends them to COM1 instead, for
//! machines that have nothing else; `log=trace|debug|info|warn|error|off` sets what is kept (default `info`).
//! Writing needs no memory and waits for others for a moment at most, so any context may log; hot paths and exception handlers
//! must not. Lines of several CPUs are not mixed up ([`Lines`]).
#![cfg_attr(not(test), no_std)]

use core::fmt::{self, Write};
use core::sync::atomic::{AtomicU8, AtomicU32, Ordering};
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
        let _ = writeln!(Lines::new(), "[{letter}] {}: {}", record.target(), record.args());
    }

    fn flush(&self) {}
}

/// The log as a target of `write!`, piece by piece, for messages that must come out whatever the level.
pub struct Sink;

impl Write for Sink {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        match SINK.load(Ordering::Relaxed) {
            DEBUG_CONSOLE => text.bytes().for_each(write_debug_console),
            SERIAL => with_line_ends(text, serial_port_basic::write_bytes),
            _ => {}
        }
        Ok(())
    }
}

/// Hands the text to `write` with carriage returns before line feeds, as terminals want it.
fn with_line_ends(text: &str, write: fn(&[u8])) {
    for (index, line) in text.split('\n').enumerate() {
        if index > 0 {
            write(b"\r\n");
        }
        write(line.as_bytes());
    }
}

/// The log as a target of `write!`, line by line: a line (of up to [`Self::LONGEST`] bytes) comes out in one piece, whoever else
/// writes. The last one, if it has no end, comes out when this is dropped.
pub struct Lines {
    buffer: [u8; Self::LONGEST],
    length: usize,
}

/// Who writes a line right now: a CPU's number plus 1, or 0.
static WRITER: AtomicU32 = AtomicU32::new(0);

impl Lines {
    /// Longer lines come out in pieces of so many bytes.
    pub const LONGEST: usize = 256;

    /// With nothing to write yet.
    pub const fn new() -> Self {
        Lines { buffer: [0; Self::LONGEST], length: 0 }
    }

    /// Writes what is there.
    fn flush(&mut self) {
        /// How often others are looked after before this line comes out all the same: the writer may have been stopped.
        const PATIENCE: usize = 100_000_000;

        if self.length == 0 {
            return;
        }
        // Who writes stays on its CPU: it takes a millisecond at most.
        cpu::increment_preemption_count();
        let this = cpu::current_cpu().value() + 1;
        // An interrupt handler that writes within a line of the task that it interrupted cannot wait for it.
        let nested = WRITER.load(Ordering::Relaxed) == this;
        let taken = || WRITER.compare_exchange_weak(0, this, Ordering::Acquire, Ordering::Relaxed).is_ok();
        let is_writer = !nested
            && (0..PATIENCE).any(|_| {
                let taken = taken();
                if !taken {
                    core::hint::spin_loop();
                }
                taken
            });
        // A piece ends between characters, except for one of a very long line; then that line has a character less.
        for chunk in self.buffer[..self.length].utf8_chunks() {
            let _ = Sink.write_str(chunk.valid());
        }
        self.length = 0;
        if is_writer {
            WRITER.store(0, Ordering::Release);
        }
        cpu::decrement_preemption_count();
    }
}

impl Default for Lines {
    fn default() -> Self {
        Self::new()
    }
}

impl Write for Lines {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            if self.length == Self::LONGEST {
                self.flush();
            }
            self.buffer[self.length] = byte;
            self.length += 1;
            if byte == b'\n' {
                self.flush();
            }
        }
        Ok(())
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.flush();
    }
}

/// The log and the serial console together, without waiting for anybody: for the last words of a kernel that cannot go on.
pub struct LastWords;

impl Write for LastWords {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if SINK.load(Ordering::Relaxed) == DEBUG_CONSOLE {
            text.bytes().for_each(write_debug_console);
        }
        with_line_ends(text, serial_port_basic::write_bytes_regardless);
        Ok(())
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
