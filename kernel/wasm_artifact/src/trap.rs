//! The reasons for which wasm code traps.

use core::fmt;
use core::num::NonZeroU8;

macro_rules! traps {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $text:literal;)*) => {
        /// Why wasm code trapped. Names, and the texts of `Display`, are those of Wasmtime 48.
        ///
        /// The numbers are the codes in trap tables and the argument of the `trap` builtin; they are not zero, and below 250,
        /// so that each is also a user trap code of Cranelift's.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        #[non_exhaustive]
        pub enum Trap {
            $($(#[$doc])* $name = $code,)*
        }

        impl Trap {
            /// Every trap, in the order of their codes.
            pub const ALL: &'static [Trap] = &[$(Trap::$name),*];

            /// The trap with this code, if there is one.
            pub const fn from_u8(code: u8) -> Option<Trap> {
                match code {
                    $($code => Some(Trap::$name),)*
                    _ => None,
                }
            }

            /// What happened, without the leading "wasm trap: ".
            pub const fn message(self) -> &'static str {
                match self {
                    $(Trap::$name => $text,)*
                }
            }
        }
    };
}

traps! {
    /// The stack left for wasm is used up.
    StackOverflow = 1, "call stack exhausted";
    /// A load, store or bulk operation reached past the end of a linear memory.
    MemoryOutOfBounds = 2, "out of bounds memory access";
    /// The address of an atomic access is not a multiple of the access's size.
    HeapMisaligned = 3, "unaligned atomic";
    /// A table operation or indirect call reached past the end of a table.
    TableOutOfBounds = 4, "undefined element: out of bounds table access";
    /// An indirect call through a null table element.
    IndirectCallToNull = 5, "uninitialized element";
    /// An indirect call to a function of another type.
    BadSignature = 6, "indirect call type mismatch";
    /// An integer division whose quotient does not fit, or a float too large to convert.
    IntegerOverflow = 7, "integer overflow";
    /// An integer division or remainder by zero.
    IntegerDivisionByZero = 8, "integer divide by zero";
    /// A conversion of NaN to an integer.
    BadConversionToInteger = 9, "invalid conversion to integer";
    /// The instruction `unreachable` was executed.
    UnreachableCodeReached = 10, "wasm `unreachable` instruction executed";
    /// The program was interrupted from outside: its task was killed, or a deadline passed.
    Interrupt = 11, "interrupt";
    /// The fuel the store was given is used up.
    OutOfFuel = 12, "all fuel consumed by WebAssembly";
    /// A `memory.atomic.wait32` or `wait64` on a memory that is not shared: nobody could ever end it.
    AtomicWaitNonSharedMemory = 13, "atomic wait on non-shared memory";
    /// A null reference where there must be one: `throw_ref` of null.
    NullReference = 14, "null reference";
}

impl Trap {
    /// The trap's code, as stored in trap tables.
    pub const fn code(self) -> NonZeroU8 {
        match NonZeroU8::new(self as u8) {
            Some(code) => code,
            None => unreachable!(),
        }
    }
}

impl fmt::Display for Trap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "wasm trap: {}", self.message())
    }
}

impl core::error::Error for Trap {}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn codes_round_trip_and_no_other_code_is_a_trap() {
        let known = (0..=255u8).filter_map(Trap::from_u8).collect::<alloc::vec::Vec<_>>();
        assert_eq!(known, Trap::ALL);
        assert!(
            Trap::ALL.iter().all(|&trap| Trap::from_u8(trap.code().get()) == Some(trap) && trap as u8 <= 250)
        );
    }

    #[test]
    fn display_is_what_wast_scripts_look_for() {
        assert_eq!(Trap::MemoryOutOfBounds.to_string(), "wasm trap: out of bounds memory access");
        assert_eq!(
            Trap::UnreachableCodeReached.to_string(),
            "wasm trap: wasm `unreachable` instruction executed"
        );
    }
}
