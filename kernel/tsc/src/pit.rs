//! The programmable interval timer (8254): its channel 2, which no interrupt depends on, counts down once.

use x86_64::instructions::port::Port;

/// Ticks per second.
const FREQUENCY: u64 = 1_193_182;
/// How many ticks are counted: 10 ms, a quarter of what the 16-bit counter could.
const TICKS: u16 = 11_932;

/// The port whose bit 0 lets channel 2 count, whose bit 1 connects it to the speaker, and whose bit 5 is its output.
const GATE_PORT: u16 = 0x61;
const GATE: u8 = 1;
const SPEAKER: u8 = 1 << 1;
const OUTPUT: u8 = 1 << 5;
const CHANNEL_2_PORT: u16 = 0x42;
const COMMAND_PORT: u16 = 0x43;
/// Channel 2, low byte then high byte, mode 0 (the output goes high when the count is over), binary.
const COUNT_ONCE: u8 = 0b1011_0000;

/// Measures how many ticks per second a counter has, by counting 10 ms. `None` if there is no PIT.
pub fn measure(counter: impl Fn() -> u64) -> Option<u64> {
    /// Reading a port takes about a microsecond: far more readings than 10 ms allow.
    const MAX_READINGS: usize = 10_000_000;
    let mut gate: Port<u8> = Port::new(GATE_PORT);
    // SAFETY: these ports belong to the PIT and its gate on every PC. Channel 2 drives nothing but the speaker, from which
    // it is disconnected, so nothing else changes; the gate is set back afterwards.
    unsafe {
        let gate_before = gate.read();
        gate.write(gate_before & !(GATE | SPEAKER));
        Port::new(COMMAND_PORT).write(COUNT_ONCE);
        let [low, high] = TICKS.to_le_bytes();
        let mut channel: Port<u8> = Port::new(CHANNEL_2_PORT);
        channel.write(low);
        channel.write(high);
        gate.write(gate_before & !SPEAKER | GATE);
        let start = counter();
        let over = (0..MAX_READINGS).position(|_| gate.read() & OUTPUT != 0);
        let end = counter();
        gate.write(gate_before);
        // A port where nothing is answers at once, with all bits set.
        over.filter(|readings| *readings > 0)?;
        Some(end.wrapping_sub(start) * FREQUENCY / u64::from(TICKS))
    }
}
