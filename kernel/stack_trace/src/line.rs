//! What makes the lines of a backtrace legible: function names without type arguments, and lines written at once.

use core::fmt;

/// Leaves out the type arguments of functions: `a::f::<Vec<u8>>::{closure#0}` becomes `a::f::{closure#0}`. In monomorphic
/// code they are often a hundred times as long as the function's name, and all the same.
pub(crate) struct WithoutTypeArguments<W> {
    output: W,
    /// How many angle brackets are open in what is being left out.
    depth: usize,
    /// Colons and a minus sign that have been read and not been decided on.
    held: Held,
}

/// What came last, if it matters for what comes next.
#[derive(Clone, Copy, PartialEq)]
enum Held {
    Nothing,
    /// `:`
    Colon,
    /// `::`
    Path,
    /// `-`, which makes of a following `>` the arrow of a function type.
    Minus,
}

impl<W: fmt::Write> WithoutTypeArguments<W> {
    pub(crate) fn new(output: W) -> Self {
        Self { output, depth: 0, held: Held::Nothing }
    }

    /// Writes what is still held back.
    pub(crate) fn finish(mut self) -> fmt::Result {
        self.release()
    }

    fn release(&mut self) -> fmt::Result {
        let text = match core::mem::replace(&mut self.held, Held::Nothing) {
            Held::Nothing => return Ok(()),
            Held::Colon => ":",
            Held::Path => "::",
            Held::Minus => "-",
        };
        if self.depth == 0 { self.output.write_str(text) } else { Ok(()) }
    }

    fn character(&mut self, character: char) -> fmt::Result {
        match (self.held, character) {
            (Held::Nothing, ':') => self.held = Held::Colon,
            (Held::Colon, ':') => self.held = Held::Path,
            (Held::Path, '<') if self.depth == 0 => {
                self.held = Held::Nothing;
                self.depth = 1;
            }
            (held, character) => {
                self.release()?;
                match character {
                    '-' => self.held = Held::Minus,
                    ':' => self.held = Held::Colon,
                    '<' if self.depth > 0 => self.depth += 1,
                    '>' if self.depth > 0 && held != Held::Minus => self.depth -= 1,
                    character if self.depth == 0 => self.output.write_char(character)?,
                    _ => {}
                }
            }
        }
        Ok(())
    }
}

impl<W: fmt::Write> fmt::Write for WithoutTypeArguments<W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.chars().try_for_each(|character| self.character(character))
    }
}

/// Collects what is written and hands it on in one piece, so that lines of several tasks do not mix. What is longer than the
/// buffer is handed on in several.
pub(crate) struct Buffered<'a> {
    output: &'a mut dyn fmt::Write,
    bytes: [u8; 256],
    length: usize,
}

impl<'a> Buffered<'a> {
    pub(crate) fn new(output: &'a mut dyn fmt::Write) -> Self {
        Self { output, bytes: [0; 256], length: 0 }
    }

    /// Hands on what has been collected.
    pub(crate) fn flush(&mut self) -> fmt::Result {
        let length = core::mem::replace(&mut self.length, 0);
        // Only whole strings were copied there.
        let text = core::str::from_utf8(&self.bytes[..length]).map_err(|_| fmt::Error)?;
        self.output.write_str(text)
    }
}

impl fmt::Write for Buffered<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if text.len() > self.bytes.len() - self.length {
            self.flush()?;
        }
        match self.bytes[self.length..].get_mut(..text.len()) {
            Some(place) => {
                place.copy_from_slice(text.as_bytes());
                self.length += text.len();
                Ok(())
            }
            None => self.output.write_str(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fmt::Write;

    fn shortened(name: &str) -> String {
        let mut whole = String::new();
        let mut writer = WithoutTypeArguments::new(&mut whole);
        writer.write_str(name).unwrap();
        writer.finish().unwrap();
        // However the text comes in pieces.
        let mut pieces = String::new();
        let mut writer = WithoutTypeArguments::new(&mut pieces);
        name.chars().for_each(|c| writer.write_char(c).unwrap());
        writer.finish().unwrap();
        assert_eq!(whole, pieces);
        whole
    }

    #[test]
    fn type_arguments_are_left_out() {
        assert_eq!(shortened("a::b"), "a::b");
        assert_eq!(shortened("a::f::<u8>"), "a::f");
        assert_eq!(shortened("a::f::<alloc::vec::Vec<u8>, a::g::<u8>>::{closure#0}"), "a::f::{closure#0}");
        assert_eq!(shortened("a::f::<fn(u8) -> u8>::{closure#1}"), "a::f::{closure#1}");
        assert_eq!(shortened("a::f::<fn(u8) -> b::C<u8>, u8>+"), "a::f+");
        assert_eq!(shortened("<a::P as core::fmt::Display>::fmt"), "<a::P as core::fmt::Display>::fmt");
        assert_eq!(shortened("<a::P<b::C> as D>::fmt::<E>"), "<a::P<b::C> as D>::fmt");
        assert_eq!(shortened("<fn() -> u8 as T>::f"), "<fn() -> u8 as T>::f");
        assert_eq!(shortened("a - b: c"), "a - b: c");
        assert_eq!(shortened("ends with ::"), "ends with ::");
        assert_eq!(shortened("ends with -"), "ends with -");
        assert_eq!(shortened("--> :::<x>::"), "--> :::<x>::");
    }

    #[test]
    fn what_is_buffered_comes_in_one_piece() {
        struct Pieces(Vec<String>);

        impl Write for Pieces {
            fn write_str(&mut self, text: &str) -> fmt::Result {
                self.0.push(text.to_string());
                Ok(())
            }
        }

        let mut pieces = Pieces(Vec::new());
        let mut buffered = Buffered::new(&mut pieces);
        writeln!(buffered, "{}-äö", 1).unwrap();
        buffered.flush().unwrap();
        let long = "x".repeat(300);
        write!(buffered, "ab{long}cd").unwrap();
        buffered.flush().unwrap();
        assert_eq!(pieces.0, ["1-äö\n", "ab", &long, "cd"]);
    }
}
