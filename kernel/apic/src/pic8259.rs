//! The two 8259 interrupt controllers of the first PCs, which every PC still has, and which must be quiet.

use x86_64::instructions::port::Port;

/// Command and data ports of the primary and the secondary controller.
const PRIMARY: (u16, u16) = (0x20, 0x21);
const SECONDARY: (u16, u16) = (0xA0, 0xA1);
/// Initialisation command word 1: begin, in cascade mode, word 4 follows.
const ICW1_INIT: u8 = 0x11;
/// Word 2: the first vector. Those of the ISA interrupts, so that a spurious one is not taken for an exception.
const PRIMARY_VECTOR: u8 = 0x20;
const SECONDARY_VECTOR: u8 = 0x28;
/// Word 3: the secondary controller hangs on input 2 of the primary (as a bit mask there, as a number here).
const ICW3_PRIMARY: u8 = 1 << 2;
const ICW3_SECONDARY: u8 = 2;
/// Word 4: 8086 mode.
const ICW4_8086: u8 = 0x01;
/// Operation command word 1: all inputs masked.
const MASK_ALL: u8 = 0xFF;

/// Moves the controllers' vectors away from the exceptions and masks all of their inputs.
pub(crate) fn silence() {
    for ((command, data), vector, cascade) in
        [(PRIMARY, PRIMARY_VECTOR, ICW3_PRIMARY), (SECONDARY, SECONDARY_VECTOR, ICW3_SECONDARY)]
    {
        // SAFETY: these ports are the 8259s' on every PC, nothing else in the kernel uses them, and this is the
        // initialisation sequence of their data sheet. Controllers that are absent ignore it.
        unsafe {
            Port::new(command).write(ICW1_INIT);
            Port::new(data).write(vector);
            Port::new(data).write(cascade);
            Port::new(data).write(ICW4_8086);
            Port::new(data).write(MASK_ALL);
        }
    }
}
