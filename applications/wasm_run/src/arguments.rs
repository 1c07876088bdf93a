//! The command line, and the arguments of functions.

use alloc::format;
use alloc::string::{String, ToString};
use wasm_engine::{Val, ValType};

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command<'a> {
    /// Say how the program is used.
    Help,
    /// Run a file.
    Run(Run<'a>),
}

/// What is to be run.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Run<'a> {
    /// The file.
    pub(crate) file: &'a str,
    /// The function to call, if one was named.
    pub(crate) invoke: Option<&'a str>,
    /// Arguments for it.
    pub(crate) args: &'a [String],
}

/// Takes the command line apart. An error says what is wrong with it.
pub(crate) fn parse(args: &[String]) -> Result<Command<'_>, String> {
    let mut invoke = None;
    let mut rest = args;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        match first.as_str() {
            "-h" | "--help" => return Ok(Command::Help),
            "--invoke" => {
                let (name, after) = rest.split_first().ok_or("--invoke needs the name of a function")?;
                invoke = Some(name.as_str());
                rest = after;
            }
            "--" => {
                let (file, args) = rest.split_first().ok_or("no file is given")?;
                return Ok(Command::Run(Run { file, invoke, args }));
            }
            option if option.starts_with('-') && option != "-" => {
                return Err(format!("unknown option {option}"));
            }
            file => return Ok(Command::Run(Run { file, invoke, args: rest })),
        }
    }
    Err("no file is given".to_string())
}

/// An argument of type `ty`; `None` if the text is none. Integers may be written as signed or unsigned, or as
/// hexadecimal with `0x`; vectors are the unsigned number that their bits are.
pub(crate) fn value(text: &str, ty: &ValType) -> Option<Val> {
    let hexadecimal = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    // `from_str_radix` takes a sign, which has no place after the prefix.
    let hexadecimal = hexadecimal.filter(|digits| !digits.starts_with(['+', '-']));
    Some(match ty {
        ValType::I32 => Val::I32(match hexadecimal {
            Some(digits) => u32::from_str_radix(digits, 16).ok()? as i32,
            None => text.parse().or_else(|_| text.parse::<u32>().map(|value| value as i32)).ok()?,
        }),
        ValType::I64 => Val::I64(match hexadecimal {
            Some(digits) => u64::from_str_radix(digits, 16).ok()? as i64,
            None => text.parse().or_else(|_| text.parse::<u64>().map(|value| value as i64)).ok()?,
        }),
        ValType::F32 => Val::from(text.parse::<f32>().ok()?),
        ValType::F64 => Val::from(text.parse::<f64>().ok()?),
        ValType::V128 => Val::from(match hexadecimal {
            Some(digits) => u128::from_str_radix(digits, 16).ok()?,
            None => text.parse::<u128>().ok()?,
        }),
        ValType::Ref(_) => return None,
    })
}

/// A result as Wasmtime prints it.
pub(crate) fn print(value: &Val) -> String {
    match value {
        Val::I32(value) => value.to_string(),
        Val::I64(value) => value.to_string(),
        Val::F32(bits) => f32::from_bits(*bits).to_string(),
        Val::F64(bits) => f64::from_bits(*bits).to_string(),
        Val::V128(value) => value.as_u128().to_string(),
        Val::FuncRef(None) => "<null funcref>".to_string(),
        Val::FuncRef(Some(_)) => "<funcref>".to_string(),
        Val::ExternRef(None) => "<null externref>".to_string(),
        Val::ExternRef(Some(_)) => "<externref>".to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn parsed(line: &str) -> Result<String, String> {
        let args: Vec<String> = line.split_whitespace().map(String::from).collect();
        parse(&args).map(|command| match command {
            Command::Help => "help".into(),
            Command::Run(Run { file, invoke, args }) => format!("{file} {invoke:?} {args:?}"),
        })
    }

    #[test]
    fn command_lines_are_understood() {
        assert_eq!(parsed("a.wasm").unwrap(), "a.wasm None []");
        assert_eq!(parsed("a.wasm --invoke b -c").unwrap(), "a.wasm None [\"--invoke\", \"b\", \"-c\"]");
        assert_eq!(parsed("--invoke f a.wasm 1 -2").unwrap(), "a.wasm Some(\"f\") [\"1\", \"-2\"]");
        assert_eq!(parsed("-- -x").unwrap(), "-x None []");
        assert_eq!(parsed("--help").unwrap(), "help");
        for wrong in ["", "--invoke", "--invoke f", "-x", "--", "--invok f a.wasm"] {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn arguments_are_read_by_type() {
        let read = |text, ty| value(text, &ty).map(|value| print(&value));
        assert_eq!(read("-1", ValType::I32).unwrap(), "-1");
        assert_eq!(read("4294967295", ValType::I32).unwrap(), "-1");
        assert_eq!(read("0xff", ValType::I32).unwrap(), "255");
        assert_eq!(read("0x-1", ValType::I32), None);
        assert_eq!(read("4294967296", ValType::I32), None);
        assert_eq!(read("18446744073709551615", ValType::I64).unwrap(), "-1");
        assert_eq!(read("1.5", ValType::F32).unwrap(), "1.5");
        assert_eq!(read("1e3", ValType::F64).unwrap(), "1000");
        assert_eq!(read("abc", ValType::F64), None);
        assert_eq!(read("18446744073709551616", ValType::V128).unwrap(), "18446744073709551616");
        let largest = read("0xffffffffffffffffffffffffffffffff", ValType::V128).unwrap();
        assert_eq!(largest, u128::MAX.to_string());
        assert_eq!(read("-1", ValType::V128), None);
        assert_eq!(read("0", ValType::FUNCREF), None);
    }
}
