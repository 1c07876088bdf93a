//! Options of one letter in the arguments of a program, as POSIX' `getopt` reads them, for programs whose options take no values.
//!
//! Options come first: `-l -a` or `-la`. The first argument that isn't one ends them, as does `--`, which is left out.
//! A lone `-` is no option.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

use alloc::string::String;
use core::fmt;

/// Arguments, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub struct Options<'a> {
    letters: String,
    /// The arguments that are no options.
    pub operands: &'a [String],
}

/// An option that the program doesn't know.
#[derive(Debug, PartialEq, Eq)]
pub struct UnknownOption(pub char);

impl fmt::Display for UnknownOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown option -{}", self.0)
    }
}

impl core::error::Error for UnknownOption {}

impl Options<'_> {
    /// Whether the option was given.
    pub fn has(&self, letter: char) -> bool {
        self.letters.contains(letter)
    }
}

/// Takes `arguments` apart; `known` are the letters of the program's options.
///
/// # Errors
/// The first option that isn't known.
pub fn parse<'a>(arguments: &'a [String], known: &str) -> Result<Options<'a>, UnknownOption> {
    let mut letters = String::new();
    let mut operands = arguments;
    while let Some((first, rest)) = operands.split_first() {
        let Some(given) = first.strip_prefix('-').filter(|given| !given.is_empty()) else { break };
        operands = rest;
        if given == "-" {
            break;
        }
        if let Some(unknown) = given.chars().find(|letter| !known.contains(*letter)) {
            return Err(UnknownOption(unknown));
        }
        letters.push_str(given);
    }
    Ok(Options { letters, operands })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &[&str]) -> Result<(String, Vec<String>), UnknownOption> {
        let arguments: Vec<String> = arguments.iter().map(|argument| argument.to_string()).collect();
        parse(&arguments, "rf").map(|options| (options.letters.clone(), options.operands.to_vec()))
    }

    #[test]
    fn options_come_first() {
        let result = |letters: &str, operands: &[&str]| {
            Ok((letters.to_string(), operands.iter().map(|operand| operand.to_string()).collect()))
        };
        assert_eq!(parsed(&[]), result("", &[]));
        assert_eq!(parsed(&["-r", "-f", "a"]), result("rf", &["a"]));
        assert_eq!(parsed(&["-rf", "a", "-r"]), result("rf", &["a", "-r"]));
        assert_eq!(parsed(&["-r", "--", "-f"]), result("r", &["-f"]));
        assert_eq!(parsed(&["-", "-r"]), result("", &["-", "-r"]));
        assert_eq!(parsed(&["", "-r"]), result("", &["", "-r"]));
    }

    #[test]
    fn unknown_options_are_named() {
        assert_eq!(parsed(&["-rxf"]), Err(UnknownOption('x')));
        assert_eq!(parsed(&["--help"]), Err(UnknownOption('-')));
        assert_eq!(parsed(&["-é"]), Err(UnknownOption('é')));
        assert_eq!(UnknownOption('x').to_string(), "unknown option -x");
    }
}
