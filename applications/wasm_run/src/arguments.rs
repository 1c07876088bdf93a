//! The arguments and results of functions.

use alloc::string::{String, ToString};
use wasm_engine::{Val, ValType};

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
        Val::ExnRef(None) => "<null exnref>".to_string(),
        Val::ExnRef(Some(_)) => "<exnref>".to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
