//! From the serial port to the terminal.

use alloc::string::{String, ToString};
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use interrupts::{EoiBehaviour, SavedRegisters};
use sync_irq::IrqSafeMutex;
use tty::Master;
use wait_queue::WaitQueue;

/// The interrupt line of the first serial port in every PC.
const COM1_IRQ: u8 = 4;
/// How many bytes are kept between the interrupt and the task. A full buffer leaves the rest in the device.
const CAPACITY: usize = 1024;
/// How often the port is looked at if it has no interrupt.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// Bytes that have arrived, oldest first.
struct Arrived {
    bytes: [u8; CAPACITY],
    length: usize,
}

static ARRIVED: IrqSafeMutex<Arrived> = IrqSafeMutex::new(Arrived { bytes: [0; CAPACITY], length: 0 });
/// Whether there are any; set with the lock of `ARRIVED` held.
static ANY: AtomicBool = AtomicBool::new(false);
static WAITING: WaitQueue = WaitQueue::new();

impl Arrived {
    /// Takes bytes out of the device until either it is empty or there is no more room. An empty device raises the interrupt again
    /// with the next byte.
    fn fetch(&mut self) {
        while self.length < CAPACITY
            && let Some(byte) = serial_port_basic::try_read_byte()
        {
            self.bytes[self.length] = byte;
            self.length += 1;
        }
        ANY.store(self.length > 0, Ordering::Release);
    }
}

fn on_interrupt(_: &mut SavedRegisters) -> EoiBehaviour {
    ARRIVED.lock().fetch();
    WAITING.notify_one();
    EoiBehaviour::HandlerDidNotSendEoi
}

/// Makes the task that passes on what is typed.
pub fn start(master: Master) -> Result<(), String> {
    let by_interrupt = match interrupts::register_isa_interrupt(COM1_IRQ, on_interrupt) {
        Ok(()) => {
            serial_port_basic::enable_receive_interrupt();
            true
        }
        Err(_) => {
            log::warn!("console: no interrupt for the serial port, so it is polled");
            false
        }
    };
    let task =
        spawn::new_task_builder(pass_on, (master, by_interrupt)).name("console_input".to_string()).spawn();
    // Nobody waits for the task: it runs for ever.
    task.map(|task| task.make_indispensable()).map_err(|reason| reason.to_string())
}

fn pass_on((master, by_interrupt): (Master, bool)) {
    loop {
        // Echo and input need memory. If there is none, some keys are lost, and the next ones may do better.
        let arguments = (&master, by_interrupt);
        if let Err(reason) = catch_unwind::catch_unwind_with_arg(pass_on_until_panic, arguments) {
            log::error!("console: input was lost: {reason}");
        }
    }
}

fn pass_on_until_panic((master, by_interrupt): (&Master, bool)) {
    let mut bytes = [0; CAPACITY];
    loop {
        let length = {
            let mut arrived = ARRIVED.lock();
            if arrived.length == 0 {
                arrived.fetch();
            }
            let length = arrived.length;
            bytes[..length].copy_from_slice(&arrived.bytes[..length]);
            arrived.length = 0;
            // If the device still had bytes because there was no room: without this, it would never interrupt again.
            arrived.fetch();
            length
        };
        if length > 0 {
            // The screen can't fail; what was typed would have been passed on even so.
            let _ = master.write(&bytes[..length]);
        } else if by_interrupt {
            WAITING.wait_until(|| ANY.load(Ordering::Acquire).then_some(()));
        } else if sleep::sleep(POLL_INTERVAL).is_err() {
            task::schedule();
        }
    }
}
