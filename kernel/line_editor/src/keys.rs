//! [`Decoder`]: from bytes to keys.

/// What a key, or several together, asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Key {
    Insert(char),
    Enter,
    Interrupt,
    Left,
    Right,
    WordLeft,
    WordRight,
    Start,
    End,
    Backspace,
    /// Ctrl-D: deletes, or ends the input.
    DeleteOrEnd,
    Delete,
    DeleteWordBefore,
    DeleteWordAfter,
    DeleteToStart,
    DeleteToEnd,
    Yank,
    Transpose,
    Earlier,
    Later,
    Complete,
    ClearScreen,
}

/// Turns the bytes that a terminal sends into keys. Whatever isn't understood is skipped.
pub(crate) struct Decoder {
    state: State,
    /// A carriage return was the last byte, so a line feed right after it is the same Enter.
    after_return: bool,
}

enum State {
    Ground,
    /// After ESC.
    Escape,
    /// After ESC and `[` or `O`, with the numbers read so far.
    Sequence {
        first: u16,
        second: u16,
        in_second: bool,
    },
    /// Inside a character of several bytes.
    Character {
        bytes: [u8; 4],
        have: usize,
        need: usize,
    },
}

const ESCAPE: u8 = 0x1B;

impl Decoder {
    pub const fn new() -> Self {
        Self { state: State::Ground, after_return: false }
    }

    /// The key that `byte` completes, if it does.
    pub fn feed(&mut self, byte: u8) -> Option<Key> {
        let after_return = core::mem::replace(&mut self.after_return, false);
        match core::mem::replace(&mut self.state, State::Ground) {
            State::Ground => {
                if byte == b'\n' && after_return {
                    return None;
                }
                self.ground(byte)
            }
            State::Escape => match byte {
                b'[' | b'O' => {
                    self.state = State::Sequence { first: 0, second: 0, in_second: false };
                    None
                }
                b'b' | b'B' => Some(Key::WordLeft),
                b'f' | b'F' => Some(Key::WordRight),
                b'd' | b'D' => Some(Key::DeleteWordAfter),
                0x08 | 0x7F => Some(Key::DeleteWordBefore),
                ESCAPE => {
                    self.state = State::Escape;
                    None
                }
                // ESC alone, and then a key of its own.
                byte if byte < 0x20 => self.ground(byte),
                _ => None,
            },
            State::Sequence { mut first, mut second, mut in_second } => {
                match byte {
                    b'0'..=b'9' => {
                        let number = if in_second { &mut second } else { &mut first };
                        *number = number.saturating_mul(10).saturating_add(u16::from(byte - b'0'));
                    }
                    b';' => in_second = true,
                    0x40..=0x7E => return sequence(byte, first, second),
                    byte if byte < 0x20 => return self.ground(byte),
                    _ => {}
                }
                self.state = State::Sequence { first, second, in_second };
                None
            }
            State::Character { mut bytes, have, need } => {
                if byte & 0xC0 != 0x80 {
                    // The character was cut off; what came instead counts for itself.
                    return self.ground(byte);
                }
                bytes[have] = byte;
                if have + 1 < need {
                    self.state = State::Character { bytes, have: have + 1, need };
                    return None;
                }
                let character = core::str::from_utf8(&bytes[..need]).ok()?.chars().next()?;
                Some(Key::Insert(character))
            }
        }
    }

    fn ground(&mut self, byte: u8) -> Option<Key> {
        let key = match byte {
            b'\r' => {
                self.after_return = true;
                Key::Enter
            }
            b'\n' => Key::Enter,
            0x01 => Key::Start,
            0x02 => Key::Left,
            0x03 => Key::Interrupt,
            0x04 => Key::DeleteOrEnd,
            0x05 => Key::End,
            0x06 => Key::Right,
            0x08 | 0x7F => Key::Backspace,
            b'\t' => Key::Complete,
            0x0B => Key::DeleteToEnd,
            0x0C => Key::ClearScreen,
            0x0E => Key::Later,
            0x10 => Key::Earlier,
            0x14 => Key::Transpose,
            0x15 => Key::DeleteToStart,
            0x17 => Key::DeleteWordBefore,
            0x19 => Key::Yank,
            ESCAPE => {
                self.state = State::Escape;
                return None;
            }
            0x20..=0x7E => Key::Insert(char::from(byte)),
            0xC2..=0xF4 => {
                let need = match byte {
                    0xC2..=0xDF => 2,
                    0xE0..=0xEF => 3,
                    _ => 4,
                };
                self.state = State::Character { bytes: [byte, 0, 0, 0], have: 1, need };
                return None;
            }
            _ => return None,
        };
        Some(key)
    }
}

/// The meaning of `ESC [ first ; second final`, as xterm, the Linux console, rxvt and their kind send it.
fn sequence(last: u8, first: u16, second: u16) -> Option<Key> {
    /// The second number for Ctrl, and for Alt: one more than the sum of Shift 1, Alt 2, Ctrl 4.
    const CTRL: u16 = 5;
    const ALT: u16 = 3;
    let word = second == CTRL || second == ALT;
    Some(match (last, first) {
        (b'A', _) => Key::Earlier,
        (b'B', _) => Key::Later,
        (b'C', _) if word => Key::WordRight,
        (b'D', _) if word => Key::WordLeft,
        (b'C', _) => Key::Right,
        (b'D', _) => Key::Left,
        (b'H', _) | (b'~', 1 | 7) => Key::Start,
        (b'F', _) | (b'~', 4 | 8) => Key::End,
        (b'~', 3) => Key::Delete,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(bytes: &[u8]) -> Vec<Key> {
        let mut decoder = Decoder::new();
        bytes.iter().filter_map(|byte| decoder.feed(*byte)).collect()
    }

    #[test]
    fn sequences_of_common_terminals() {
        assert_eq!(
            keys(b"\x1b[A\x1bOB\x1b[C\x1b[D\x1b[H\x1bOF\x1b[1~\x1b[4~\x1b[3~\x1b[7~\x1b[8~"),
            [
                Key::Earlier,
                Key::Later,
                Key::Right,
                Key::Left,
                Key::Start,
                Key::End,
                Key::Start,
                Key::End,
                Key::Delete,
                Key::Start,
                Key::End
            ]
        );
        assert_eq!(
            keys(b"\x1b[1;5C\x1b[1;3D\x1bb\x1bf\x1bd\x1b\x7f"),
            [
                Key::WordRight,
                Key::WordLeft,
                Key::WordLeft,
                Key::WordRight,
                Key::DeleteWordAfter,
                Key::DeleteWordBefore
            ]
        );
    }

    #[test]
    fn unknown_sequences_are_skipped_as_a_whole() {
        assert_eq!(keys(b"\x1b[15~a\x1b[99999999999~b\x1b[?25hc"), ['a', 'b', 'c'].map(Key::Insert));
        assert_eq!(keys(b"\x1b[2;2\rx"), [Key::Enter, Key::Insert('x')]);
        assert_eq!(keys(b"\x1b\x1b[A"), [Key::Earlier]);
        assert_eq!(keys(b"\x1b\x03"), [Key::Interrupt]);
    }

    #[test]
    fn enter_comes_in_three_ways() {
        assert_eq!(keys(b"\r"), [Key::Enter]);
        assert_eq!(keys(b"\n"), [Key::Enter]);
        assert_eq!(keys(b"\r\n"), [Key::Enter]);
        assert_eq!(keys(b"\n\n\r\r\n\n"), [Key::Enter; 5]);
    }

    #[test]
    fn characters_are_whole_or_not_there() {
        assert_eq!(keys("aé€😀".as_bytes()), ['a', 'é', '€', '😀'].map(Key::Insert));
        assert_eq!(keys(b"\xC3a\x80\xFFb\xE2\x82\x1b[A"), [Key::Insert('a'), Key::Insert('b'), Key::Earlier]);
        // A surrogate is no character.
        assert_eq!(keys(b"\xED\xA0\x80x"), [Key::Insert('x')]);
    }
}
