//! The first serial port (COM1, a 16550 at port 0x3F8): bytes out by polling, bytes in by polling or interrupt.
//!
//! It works from the kernel's first line on, and may be used in any context: the lock disables interrupts, and is held
//! for at most one filling of the transmit FIFO (16 bytes), so a long text costs no interrupt. Last words come out without the
//! lock ([`write_bytes_regardless`]): whoever has it may have stopped for ever.
#![cfg_attr(not(test), no_std)]

use core::fmt;
use core::sync::atomic::{AtomicBool, Ordering};
use sync_irq::IrqSafeMutex;
use uart_16550::backend::PioBackend;
use uart_16550::spec::registers::IER;
use uart_16550::{Config, Uart16550};

/// The I/O port of COM1 in every PC.
const COM1_PORT: u16 = 0x3F8;
/// The transmit FIFO of a 16550, in bytes.
const FIFO_BYTES: usize = 16;

/// A 16550 serial port.
pub struct SerialPort {
    uart: Uart16550<PioBackend>,
    present: bool,
}

/// The first serial port. Call [`init`] before anything is expected of it.
pub static COM1: IrqSafeMutex<SerialPort> = IrqSafeMutex::new(SerialPort {
    // SAFETY: 0x3F8..0x400 are COM1's registers on every PC, and nothing else in the kernel touches them.
    uart: match unsafe { Uart16550::new_port(COM1_PORT) } {
        Ok(uart) => uart,
        Err(_) => panic!("COM1's base leaves no room for its registers"),
    },
    present: false,
});

/// Whether the device is there; for those who cannot wait for the lock.
static PRESENT: AtomicBool = AtomicBool::new(false);

/// Sets COM1 up (115200 baud, 8N1, FIFOs on, no interrupts). Without the device, writes vanish and reads find nothing.
pub fn init() {
    let mut port = COM1.lock();
    port.present = port.uart.init(Config::default()).is_ok();
    PRESENT.store(port.present, Ordering::Relaxed);
    port.uart.disable_interrupts(IER::all());
}

/// Writes all of `bytes` to COM1, waiting for the device as needed.
pub fn write_bytes(bytes: &[u8]) {
    for chunk in bytes.chunks(FIFO_BYTES) {
        let mut port = COM1.lock();
        if port.present {
            port.uart.send_bytes_exact(chunk);
        }
    }
}

/// Writes all of `bytes` to COM1 without the lock, for a kernel that cannot go on and for non-maskable interrupts, which may have
/// interrupted the lock's holder. They may end up within somebody else's text.
pub fn write_bytes_regardless(bytes: &[u8]) {
    /// The line status register, and its bit that says that the transmitter takes a byte (16550D data sheet, table II).
    const LINE_STATUS: u16 = COM1_PORT + 5;
    const TRANSMITTER_EMPTY: u8 = 1 << 5;
    /// At 115200 baud a byte takes 87 us, a look about one.
    const PATIENCE: usize = 10_000;

    if !PRESENT.load(Ordering::Relaxed) {
        return;
    }
    for byte in bytes {
        for _ in 0..PATIENCE {
            let status: u8;
            // SAFETY: the register is COM1's; reading it takes back error bits only, at which nobody looks.
            unsafe {
                core::arch::asm!("in al, dx", in("dx") LINE_STATUS, out("al") status, options(nomem, nostack))
            };
            if status & TRANSMITTER_EMPTY != 0 {
                break;
            }
            core::hint::spin_loop();
        }
        // SAFETY: the register takes a byte to be sent; if one is lost, there is nothing that could be done about it.
        unsafe {
            core::arch::asm!("out dx, al", in("dx") COM1_PORT, in("al") *byte, options(nomem, nostack))
        };
    }
}

/// Takes the next received byte out of COM1, if there is one.
pub fn try_read_byte() -> Option<u8> {
    let mut port = COM1.lock();
    if !port.present {
        return None;
    }
    port.uart.try_receive_byte().ok()
}

/// Makes COM1 raise its interrupt (ISA IRQ 4) when bytes have arrived.
pub fn enable_receive_interrupt() {
    let mut port = COM1.lock();
    if port.present {
        port.uart.enable_interrupts(IER::DATA_READY);
    }
}

/// COM1 as a target of `write!`.
pub struct Writer;

impl fmt::Write for Writer {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        write_bytes(text.as_bytes());
        Ok(())
    }
}
