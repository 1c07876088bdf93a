//! Ways in which calls end, and the order in which they come.

use wasm_engine::Trap;

/// One way in which a call ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Returns,
    /// The host's function returns an error.
    Refused,
    /// The host's function panics.
    Panics,
    /// The guest does, in the function of this name.
    Traps(Trap, &'static str),
    /// The guest runs in a task of its own, which is killed.
    Killed(Killed),
}

/// Where a kill finds a guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Killed {
    /// Wherever it is by then: most likely it has not begun.
    AtOnce,
    /// In a loop.
    InLoop,
    /// In a host function that waits.
    InHost,
    /// In a host function that has asked for it.
    ByItself,
}

/// How many kinds of kills there are.
pub(crate) const KINDS_OF_KILLS: usize = 4;

/// The operations, each as often as it is drawn.
const OPERATIONS: [Operation; 16] = [
    Operation::Returns,
    Operation::Returns,
    Operation::Returns,
    Operation::Returns,
    Operation::Refused,
    Operation::Refused,
    Operation::Panics,
    Operation::Panics,
    Operation::Traps(Trap::UnreachableCodeReached, "unreachable"),
    Operation::Traps(Trap::UnreachableCodeReached, "unreachable"),
    Operation::Traps(Trap::MemoryOutOfBounds, "out of bounds"),
    Operation::Traps(Trap::MemoryOutOfBounds, "out of bounds"),
    Operation::Traps(Trap::MemoryOutOfBounds, "out of bounds"),
    Operation::Traps(Trap::IntegerDivisionByZero, "division by zero"),
    Operation::Traps(Trap::IndirectCallToNull, "null reference"),
    Operation::Killed(Killed::AtOnce),
];

/// The kills, each as often as it is drawn. A guest that loops is found out when another task's turn comes, after milliseconds,
/// which the storm is not about.
const KILLS: [Killed; 8] = [
    Killed::AtOnce,
    Killed::AtOnce,
    Killed::AtOnce,
    Killed::InLoop,
    Killed::InHost,
    Killed::InHost,
    Killed::ByItself,
    Killed::ByItself,
];

/// One in so many traps is a stack overflow, which takes as long as dozens of others: the stack has to be filled first.
const OVERFLOWS: u64 = 64;

/// Draws operations: xorshift, the same sequence for the same seed.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: usize) -> Self {
        Dice((seed as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn roll(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 11
    }

    /// The next operation, and a number for what is said in it.
    pub(crate) fn draw(&mut self) -> (Operation, u64) {
        let operation = OPERATIONS[self.roll() as usize % OPERATIONS.len()];
        let number = self.roll();
        let operation = match operation {
            Operation::Traps(..) if number.is_multiple_of(OVERFLOWS) => {
                Operation::Traps(Trap::StackOverflow, "stack overflow")
            }
            Operation::Killed(_) => Operation::Killed(KILLS[number as usize % KILLS.len()]),
            operation => operation,
        };
        (operation, number)
    }
}
