//! The programmable interval timer (8254) as a reference: its channel 2, which no interrupt depends on, counts down once.

use crate::calibrate;
use time::{Instant, TickScale};
use x86_64::instructions::port::Port;

/// Ticks per second.
const FREQUENCY: u64 = 1_193_182;
/// What is counted down from: 55 ms, of which less than a quarter is used if nothing comes between.
const START: u16 = u16::MAX;

/// The port whose bit 0 lets channel 2 count, whose bit 1 connects it to the speaker, and whose bit 5 is its output.
const GATE_PORT: u16 = 0x61;
const GATE: u8 = 1;
const SPEAKER: u8 = 1 << 1;
const OUTPUT: u8 = 1 << 5;
const CHANNEL_2_PORT: u16 = 0x42;
const COMMAND_PORT: u16 = 0x43;
/// Channel 2, low byte then high byte, mode 0 (the output goes high when the count is over), binary.
const COUNT_ONCE: u8 = 0b1011_0000;
/// Keeps channel 2's count for the next two readings.
const LATCH: u8 = 0b1000_0000;

/// How often the measurement is repeated if an interruption made it last longer than the count.
const ATTEMPTS: usize = 5;
/// So many readings, of three microseconds and more each, take eighteen times as long as is measured.
const MAX_READINGS: usize = 30_000;

/// Measures how many ticks per second the time stamp counter has. `None` if there is no PIT.
pub fn measure() -> Option<u64> {
    let scale = TickScale::from_hertz(FREQUENCY)?;
    (0..ATTEMPTS).find_map(|_| {
        let countdown = Countdown::start();
        let reference = || Instant::from_nanos(scale.to_nanos(u64::from(START - countdown.remaining())));
        calibrate::measure(reference, MAX_READINGS).filter(|_| !countdown.is_over())
    })
}

/// Channel 2 counting down. The speaker's port is set back when this is dropped.
struct Countdown {
    gate_before: u8,
}

impl Countdown {
    fn start() -> Self {
        let mut gate: Port<u8> = Port::new(GATE_PORT);
        // SAFETY: these ports belong to the PIT and its gate on every PC. Channel 2 drives nothing but the speaker, from which
        // it is disconnected, so nothing else changes.
        unsafe {
            let gate_before = gate.read();
            gate.write(gate_before & !(GATE | SPEAKER));
            Port::new(COMMAND_PORT).write(COUNT_ONCE);
            let mut channel: Port<u8> = Port::new(CHANNEL_2_PORT);
            START.to_le_bytes().into_iter().for_each(|byte| channel.write(byte));
            gate.write(gate_before & !SPEAKER | GATE);
            Countdown { gate_before }
        }
    }

    fn remaining(&self) -> u16 {
        // SAFETY: as in `start`; latching and reading the count changes nothing else.
        unsafe {
            Port::new(COMMAND_PORT).write(LATCH);
            let mut channel: Port<u8> = Port::new(CHANNEL_2_PORT);
            u16::from_le_bytes([channel.read(), channel.read()])
        }
    }

    fn is_over(&self) -> bool {
        // SAFETY: reading the gate's port changes nothing.
        unsafe { Port::<u8>::new(GATE_PORT).read() & OUTPUT != 0 }
    }
}

impl Drop for Countdown {
    fn drop(&mut self) {
        // SAFETY: the value is the one that was there before.
        unsafe { Port::new(GATE_PORT).write(self.gate_before) };
    }
}
