//! Arguments and results of calls, as scripts write them.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::Display;
use wasm_engine::*;
use wast::core::{
    AbstractHeapType, HeapType as WastHeapType, NanPattern, V128Pattern, WastArgCore, WastRetCore,
};
use wast::token::{F32, F64};
use wast::{WastArg, WastRet};

/// The argument that a script writes so.
pub(crate) fn argument(store: &mut Store<()>, arg: &WastArg<'_>) -> Result<Val> {
    let WastArg::Core(arg) = arg else { bail!("an argument is not of a core type") };
    Ok(match arg {
        WastArgCore::I32(value) => Val::I32(*value),
        WastArgCore::I64(value) => Val::I64(*value),
        WastArgCore::F32(F32 { bits }) => Val::F32(*bits),
        WastArgCore::F64(F64 { bits }) => Val::F64(*bits),
        WastArgCore::V128(value) => Val::from(u128::from_le_bytes(value.to_le_bytes())),
        WastArgCore::RefNull(WastHeapType::Abstract { ty: AbstractHeapType::Func, .. }) => Val::FuncRef(None),
        WastArgCore::RefNull(WastHeapType::Abstract { ty: AbstractHeapType::Extern, .. }) => {
            Val::ExternRef(None)
        }
        WastArgCore::RefNull(WastHeapType::Abstract {
            ty: AbstractHeapType::Exn | AbstractHeapType::NoExn,
            ..
        }) => Val::ExnRef(None),
        WastArgCore::RefExtern(number) => Val::ExternRef(Some(ExternRef::new(store, *number)?)),
        other => bail!("arguments like {other:?} need features that the engine does not have"),
    })
}

/// Whether results are what a script expects; an error says which is not.
pub(crate) fn compare_all(store: &Store<()>, actual: &[Val], expected: &[WastRet<'_>]) -> Result<()> {
    ensure!(actual.len() == expected.len(), "expected {} results, got {}", expected.len(), actual.len());
    for (actual, expected) in actual.iter().zip(expected) {
        let WastRet::Core(expected) = expected else { bail!("a result is not of a core type") };
        if !equals(store, actual, expected)? {
            bail!("expected {}, got {}", show_expected(expected), show(actual));
        }
    }
    Ok(())
}

fn equals(store: &Store<()>, actual: &Val, expected: &WastRetCore<'_>) -> Result<bool> {
    Ok(match (expected, actual) {
        (WastRetCore::I32(expected), Val::I32(actual)) => expected == actual,
        (WastRetCore::I64(expected), Val::I64(actual)) => expected == actual,
        (WastRetCore::F32(pattern), Val::F32(bits)) => f32_matches(*bits, pattern),
        (WastRetCore::F64(pattern), Val::F64(bits)) => f64_matches(*bits, pattern),
        (WastRetCore::V128(pattern), Val::V128(value)) => {
            v128_matches(value.as_u128().to_le_bytes(), pattern)
        }
        (WastRetCore::RefNull(None), Val::FuncRef(None) | Val::ExternRef(None) | Val::ExnRef(None)) => true,
        (WastRetCore::RefNull(Some(WastHeapType::Abstract { ty, .. })), actual) => match actual {
            Val::FuncRef(None) => matches!(ty, AbstractHeapType::Func | AbstractHeapType::NoFunc),
            Val::ExternRef(None) => matches!(ty, AbstractHeapType::Extern | AbstractHeapType::NoExtern),
            Val::ExnRef(None) => matches!(ty, AbstractHeapType::Exn | AbstractHeapType::NoExn),
            _ => false,
        },
        (WastRetCore::RefExtern(None), Val::ExternRef(Some(_))) => true,
        (WastRetCore::RefExtern(Some(expected)), Val::ExternRef(Some(actual))) => {
            actual.data(store)?.and_then(|data| data.downcast_ref::<u32>()) == Some(expected)
        }
        (WastRetCore::RefFunc(None), Val::FuncRef(Some(_))) => true,
        (WastRetCore::Either(alternatives), actual) => {
            for alternative in alternatives {
                if equals(store, actual, alternative)? {
                    return Ok(true);
                }
            }
            false
        }
        _ => false,
    })
}

/// The quiet bit and all bits of the exponent.
const F32_QUIET_NAN: u32 = 0x7fc0_0000;
/// The quiet bit and all bits of the exponent.
const F64_QUIET_NAN: u64 = 0x7ff8_0000_0000_0000;

fn f32_matches(bits: u32, pattern: &NanPattern<F32>) -> bool {
    match pattern {
        NanPattern::CanonicalNan => bits & (u32::MAX >> 1) == F32_QUIET_NAN,
        NanPattern::ArithmeticNan => bits & F32_QUIET_NAN == F32_QUIET_NAN,
        NanPattern::Value(value) => value.bits == bits,
    }
}

fn f64_matches(bits: u64, pattern: &NanPattern<F64>) -> bool {
    match pattern {
        NanPattern::CanonicalNan => bits & (u64::MAX >> 1) == F64_QUIET_NAN,
        NanPattern::ArithmeticNan => bits & F64_QUIET_NAN == F64_QUIET_NAN,
        NanPattern::Value(value) => value.bits == bits,
    }
}

/// Compares lane by lane; lane 0 is in the first bytes.
fn v128_matches(actual: [u8; 16], pattern: &V128Pattern) -> bool {
    /// Whether each lane, which is `N` bytes, is what is expected there.
    fn lanes<T, const N: usize>(
        actual: [u8; 16],
        expected: &[T],
        same: impl Fn([u8; N], &T) -> bool,
    ) -> bool {
        let (chunks, rest) = actual.as_chunks::<N>();
        rest.is_empty()
            && chunks.len() == expected.len()
            && chunks.iter().zip(expected).all(|(lane, expected)| same(*lane, expected))
    }
    match pattern {
        V128Pattern::I8x16(expected) => {
            lanes(actual, expected, |lane, value| i8::from_le_bytes(lane) == *value)
        }
        V128Pattern::I16x8(expected) => {
            lanes(actual, expected, |lane, value| i16::from_le_bytes(lane) == *value)
        }
        V128Pattern::I32x4(expected) => {
            lanes(actual, expected, |lane, value| i32::from_le_bytes(lane) == *value)
        }
        V128Pattern::I64x2(expected) => {
            lanes(actual, expected, |lane, value| i64::from_le_bytes(lane) == *value)
        }
        V128Pattern::F32x4(expected) => {
            lanes(actual, expected, |lane, pattern| f32_matches(u32::from_le_bytes(lane), pattern))
        }
        V128Pattern::F64x2(expected) => {
            lanes(actual, expected, |lane, pattern| f64_matches(u64::from_le_bytes(lane), pattern))
        }
    }
}

/// A value for a message.
fn show(value: &Val) -> String {
    match value {
        Val::I32(value) => format!("i32 {value}"),
        Val::I64(value) => format!("i64 {value}"),
        Val::F32(bits) => show_f32(*bits),
        Val::F64(bits) => show_f64(*bits),
        Val::V128(value) => format!("v128 {:#034x}", value.as_u128()),
        Val::FuncRef(None) => "a null function reference".to_string(),
        Val::FuncRef(Some(_)) => "a function reference".to_string(),
        Val::ExternRef(None) => "a null external reference".to_string(),
        Val::ExternRef(Some(_)) => "an external reference".to_string(),
        Val::ExnRef(None) => "a null reference to an exception".to_string(),
        Val::ExnRef(Some(_)) => "a reference to an exception".to_string(),
    }
}

/// Values for a message.
pub(crate) fn show_all(values: &[Val]) -> String {
    match values {
        [] => "no results".to_string(),
        values => values.iter().map(show).collect::<Vec<_>>().join(", "),
    }
}

fn show_f32(bits: u32) -> String {
    format!("f32 {} ({bits:#010x})", f32::from_bits(bits))
}

fn show_f64(bits: u64) -> String {
    format!("f64 {} ({bits:#018x})", f64::from_bits(bits))
}

/// What is expected, for a message.
fn show_expected(expected: &WastRetCore<'_>) -> String {
    fn pattern<T>(name: &str, pattern: &NanPattern<T>, show: impl Fn(&T) -> String) -> String {
        match pattern {
            NanPattern::CanonicalNan => format!("{name} nan:canonical"),
            NanPattern::ArithmeticNan => format!("{name} nan:arithmetic"),
            NanPattern::Value(value) => show(value),
        }
    }
    fn lanes<T>(shape: &str, lanes: &[T], show: impl Fn(&T) -> String) -> String {
        format!("v128 {shape} {}", lanes.iter().map(show).collect::<Vec<_>>().join(" "))
    }
    fn plain<T: Display>(value: &T) -> String {
        value.to_string()
    }
    match expected {
        WastRetCore::I32(value) => format!("i32 {value}"),
        WastRetCore::I64(value) => format!("i64 {value}"),
        WastRetCore::F32(value) => pattern("f32", value, |value| show_f32(value.bits)),
        WastRetCore::F64(value) => pattern("f64", value, |value| show_f64(value.bits)),
        WastRetCore::V128(V128Pattern::I8x16(values)) => lanes("i8x16", values, plain),
        WastRetCore::V128(V128Pattern::I16x8(values)) => lanes("i16x8", values, plain),
        WastRetCore::V128(V128Pattern::I32x4(values)) => lanes("i32x4", values, plain),
        WastRetCore::V128(V128Pattern::I64x2(values)) => lanes("i64x2", values, plain),
        WastRetCore::V128(V128Pattern::F32x4(values)) => {
            lanes("f32x4", values, |value| pattern("", value, |value| format!("{:#010x}", value.bits)))
        }
        WastRetCore::V128(V128Pattern::F64x2(values)) => {
            lanes("f64x2", values, |value| pattern("", value, |value| format!("{:#018x}", value.bits)))
        }
        WastRetCore::RefNull(_) => "a null reference".to_string(),
        WastRetCore::RefExtern(Some(number)) => format!("the external reference {number}"),
        WastRetCore::RefExtern(None) => "an external reference".to_string(),
        WastRetCore::RefFunc(_) => "a function reference".to_string(),
        WastRetCore::Either(alternatives) => {
            format!("either {}", alternatives.iter().map(show_expected).collect::<Vec<_>>().join(" or "))
        }
        other => format!("{other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nan_patterns() {
        let canonical = NanPattern::CanonicalNan;
        assert!(f32_matches(0x7fc0_0000, &canonical) && f32_matches(0xffc0_0000, &canonical));
        assert!(!f32_matches(0x7fc0_0001, &canonical) && !f32_matches(0x7f80_0000, &canonical));
        let arithmetic = NanPattern::ArithmeticNan;
        assert!(f64_matches(0xfff8_0000_0000_0001, &arithmetic));
        assert!(!f64_matches(0x7ff0_0000_0000_0001, &arithmetic));
        // A value is its bits: minus zero is not zero.
        assert!(!f32_matches(0x8000_0000, &NanPattern::Value(F32 { bits: 0 })));
    }

    #[test]
    fn lanes_of_vectors() {
        let mut bytes = [0; 16];
        bytes[0] = 0xff;
        bytes[4..8].copy_from_slice(&0x7fc0_0001u32.to_le_bytes());
        let zero = NanPattern::Value(F32 { bits: 0 });
        let first = NanPattern::Value(F32 { bits: 0xff });
        assert!(v128_matches(bytes, &V128Pattern::F32x4([first, NanPattern::ArithmeticNan, zero, zero])));
        assert!(!v128_matches(bytes, &V128Pattern::F32x4([first, NanPattern::CanonicalNan, zero, zero])));
        let mut lanes = [0i8; 16];
        (lanes[0], lanes[4], lanes[6], lanes[7]) = (-1, 1, -64, 0x7f);
        assert!(v128_matches(bytes, &V128Pattern::I8x16(lanes)));
        assert!(v128_matches(bytes, &V128Pattern::I64x2([0x7fc0_0001_0000_00ff, 0])));
        assert!(!v128_matches(bytes, &V128Pattern::I64x2([0, 0x7fc0_0001_0000_00ff])));
    }
}
