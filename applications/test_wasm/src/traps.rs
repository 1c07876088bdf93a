//! Traps in one task.

use crate::guest::{Guest, engine, module, trap_of};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use wasm_engine::{Instance, Store, Trap, Val, WasmBacktrace};

const fn i(value: i32) -> Val {
    Val::I32(value)
}
const fn l(value: i64) -> Val {
    Val::I64(value)
}
const fn f(value: f32) -> Val {
    Val::F32(value.to_bits())
}
const fn d(value: f64) -> Val {
    Val::F64(value.to_bits())
}

/// A function of `test_traps`, its arguments, and what comes of it.
type Case = (&'static str, &'static [Val], Result<&'static [Val], Trap>);

const OUT_OF_BOUNDS: Result<&[Val], Trap> = Err(Trap::MemoryOutOfBounds);
const OUTSIDE_TABLE: Result<&[Val], Trap> = Err(Trap::TableOutOfBounds);
const BY_ZERO: Result<&[Val], Trap> = Err(Trap::IntegerDivisionByZero);
const OVERFLOW: Result<&[Val], Trap> = Err(Trap::IntegerOverflow);
const NO_INTEGER: Result<&[Val], Trap> = Err(Trap::BadConversionToInteger);
const ZERO: Result<&[Val], Trap> = Ok(&[i(0)]);
const DONE: Result<&[Val], Trap> = Ok(&[]);

/// The size of the guest's memory in bytes.
const END: i32 = 1 << 16;

const CASES: &[Case] = &[
    // Loads, with the memory's end just behind them and in the middle of them.
    ("load8", &[i(END - 1)], ZERO),
    ("load8", &[i(END)], OUT_OF_BOUNDS),
    ("load16", &[i(END - 2)], ZERO),
    ("load16", &[i(END - 1)], OUT_OF_BOUNDS),
    ("load32", &[i(END - 4)], ZERO),
    ("load32", &[i(END - 3)], OUT_OF_BOUNDS),
    ("load64", &[i(END - 8)], Ok(&[l(0)])),
    ("load64", &[i(END - 7)], OUT_OF_BOUNDS),
    ("load_float", &[i(END - 8)], Ok(&[d(0.0)])),
    ("load_float", &[i(END - 1)], OUT_OF_BOUNDS),
    // The last address there is, and the first that is negative when it is taken for signed.
    ("load8", &[i(-1)], OUT_OF_BOUNDS),
    ("load64", &[i(-1)], OUT_OF_BOUNDS),
    ("load32", &[i(i32::MIN)], OUT_OF_BOUNDS),
    // Offsets: into the guard, past the guard, as far as can be.
    ("load_near", &[i(0)], OUT_OF_BOUNDS),
    ("load_near", &[i(-1)], OUT_OF_BOUNDS),
    ("load_past", &[i(0)], OUT_OF_BOUNDS),
    ("load_past", &[i(-1)], OUT_OF_BOUNDS),
    ("load_far", &[i(0)], OUT_OF_BOUNDS),
    ("load_far", &[i(-1)], OUT_OF_BOUNDS),
    ("store8", &[i(END - 1)], DONE),
    ("store8", &[i(END)], OUT_OF_BOUNDS),
    ("store32", &[i(END - 4)], DONE),
    ("store32", &[i(END - 1)], OUT_OF_BOUNDS),
    ("store64", &[i(END - 8)], DONE),
    ("store64", &[i(END - 7)], OUT_OF_BOUNDS),
    ("store64", &[i(-8)], OUT_OF_BOUNDS),
    ("store_far", &[i(0)], OUT_OF_BOUNDS),
    ("store_far", &[i(-1)], OUT_OF_BOUNDS),
    // Bulk operations.
    ("fill", &[i(END - 1), i(1)], DONE),
    ("fill", &[i(END), i(0)], DONE),
    ("fill", &[i(END - 1), i(2)], OUT_OF_BOUNDS),
    ("fill", &[i(END + 1), i(0)], OUT_OF_BOUNDS),
    ("fill", &[i(1), i(-1)], OUT_OF_BOUNDS),
    ("copy", &[i(0), i(END - 4), i(4)], DONE),
    ("copy", &[i(0), i(END - 4), i(5)], OUT_OF_BOUNDS),
    ("copy", &[i(END - 4), i(0), i(5)], OUT_OF_BOUNDS),
    ("copy", &[i(-1), i(-1), i(-1)], OUT_OF_BOUNDS),
    ("init", &[i(END - 4), i(0), i(4)], DONE),
    ("fill", &[i(END - 4), i(4)], DONE),
    ("init", &[i(END - 3), i(0), i(4)], OUT_OF_BOUNDS),
    ("init", &[i(0), i(1), i(4)], OUT_OF_BOUNDS),
    // Division: by zero, and the one quotient that does not fit.
    ("div_s32", &[i(7), i(-2)], Ok(&[i(-3)])),
    ("div_s32", &[i(7), i(0)], BY_ZERO),
    ("div_s32", &[i(i32::MIN), i(-1)], OVERFLOW),
    ("div_s32", &[i(i32::MIN), i(1)], Ok(&[i(i32::MIN)])),
    ("div_u32", &[i(-1), i(2)], Ok(&[i(i32::MAX)])),
    ("div_u32", &[i(7), i(0)], BY_ZERO),
    ("rem_s32", &[i(i32::MIN), i(-1)], ZERO),
    ("rem_s32", &[i(7), i(0)], BY_ZERO),
    ("rem_u32", &[i(7), i(0)], BY_ZERO),
    ("div_s64", &[l(7), l(0)], BY_ZERO),
    ("div_s64", &[l(i64::MIN), l(-1)], OVERFLOW),
    ("div_u64", &[l(i64::MIN), l(-1)], Ok(&[l(0)])),
    ("div_u64", &[l(7), l(0)], BY_ZERO),
    ("rem_s64", &[l(i64::MIN), l(-1)], Ok(&[l(0)])),
    ("rem_s64", &[l(7), l(0)], BY_ZERO),
    ("rem_u64", &[l(7), l(0)], BY_ZERO),
    // Conversions: the largest number that fits, the next one, and no number.
    ("to_s32", &[d(2147483647.9)], Ok(&[i(i32::MAX)])),
    ("to_s32", &[d(2147483648.0)], OVERFLOW),
    ("to_s32", &[d(-2147483648.9)], Ok(&[i(i32::MIN)])),
    ("to_s32", &[d(-2147483649.0)], OVERFLOW),
    ("to_s32", &[d(f64::NAN)], NO_INTEGER),
    ("to_u32", &[d(4294967295.9)], Ok(&[i(-1)])),
    ("to_u32", &[d(4294967296.0)], OVERFLOW),
    ("to_u32", &[d(-0.9)], ZERO),
    ("to_u32", &[d(-1.0)], OVERFLOW),
    ("to_u32", &[d(f64::NAN)], NO_INTEGER),
    ("to_s64", &[d(-9223372036854775808.0)], Ok(&[l(i64::MIN)])),
    ("to_s64", &[d(9223372036854775808.0)], OVERFLOW),
    ("to_s64", &[d(f64::NAN)], NO_INTEGER),
    ("to_u64", &[d(9223372036854775808.0)], Ok(&[l(i64::MIN)])),
    ("to_u64", &[d(18446744073709551616.0)], OVERFLOW),
    ("to_u64", &[d(f64::NAN)], NO_INTEGER),
    ("to_s32_of_f32", &[f(2147483520.0)], Ok(&[i(2147483520)])),
    ("to_s32_of_f32", &[f(2147483648.0)], OVERFLOW),
    ("to_s32_of_f32", &[f(f32::NAN)], NO_INTEGER),
    ("to_u32_of_f32", &[f(4294967296.0)], OVERFLOW),
    ("to_u32_of_f32", &[f(f32::NAN)], NO_INTEGER),
    ("to_s64_of_f32", &[f(f32::INFINITY)], OVERFLOW),
    ("to_s64_of_f32", &[f(f32::NAN)], NO_INTEGER),
    ("to_u64_of_f32", &[f(f32::NEG_INFINITY)], OVERFLOW),
    ("to_u64_of_f32", &[f(f32::NAN)], NO_INTEGER),
    ("saturate", &[d(f64::INFINITY)], Ok(&[i(i32::MAX)])),
    ("saturate", &[d(f64::NAN)], ZERO),
    // Indirect calls: right, of another type, null, and from outside of the table.
    ("call_procedure", &[i(0)], DONE),
    ("call_procedure", &[i(1)], Err(Trap::BadSignature)),
    ("call_procedure", &[i(2)], Err(Trap::IndirectCallToNull)),
    ("call_procedure", &[i(3)], OUTSIDE_TABLE),
    ("call_procedure", &[i(-1)], OUTSIDE_TABLE),
    ("call_number", &[i(1)], Ok(&[i(7)])),
    ("call_number", &[i(0)], Err(Trap::BadSignature)),
    ("call_number", &[i(2)], Err(Trap::IndirectCallToNull)),
    // Tables.
    ("table_get", &[i(2)], Ok(&[i(1)])),
    ("table_get", &[i(3)], OUTSIDE_TABLE),
    ("table_set", &[i(1)], DONE),
    ("table_set", &[i(2)], OUTSIDE_TABLE),
    ("table_fill", &[i(0), i(2)], DONE),
    ("table_fill", &[i(1), i(2)], OUTSIDE_TABLE),
    ("table_copy", &[i(1), i(1), i(2)], DONE),
    ("table_copy", &[i(2), i(0), i(2)], OUTSIDE_TABLE),
    ("table_init", &[i(0), i(0), i(2)], DONE),
    ("table_init", &[i(0), i(1), i(2)], OUTSIDE_TABLE),
    ("table_init", &[i(2), i(0), i(2)], OUTSIDE_TABLE),
    ("table_grow", &[i(-1)], Ok(&[i(-1)])),
    ("unreachable", &[], Err(Trap::UnreachableCodeReached)),
];

pub(crate) fn both_sides_of_every_boundary() {
    let mut guest = Guest::new("test_traps");
    // Twice, so that each case also comes after all others.
    for (name, args, expected) in CASES.iter().chain(CASES) {
        let result = guest.call(name, args);
        match (&result, expected) {
            // Compared as text: floats by their digits, and an integer never equals one of another size.
            (Ok(results), Ok(expected)) if format!("{results:?}") == format!("{expected:?}") => {}
            (Err(error), Err(expected)) if trap_of(error) == *expected => {}
            _ => panic!("{name}{args:?}: {result:?} instead of {expected:?}"),
        }
    }
}

/// What each trap is called, in Wasmtime's words.
fn text_of(trap: Trap) -> &'static str {
    match trap {
        Trap::StackOverflow => "wasm trap: call stack exhausted",
        Trap::MemoryOutOfBounds => "wasm trap: out of bounds memory access",
        Trap::TableOutOfBounds => "wasm trap: undefined element: out of bounds table access",
        Trap::IndirectCallToNull => "wasm trap: uninitialized element",
        Trap::BadSignature => "wasm trap: indirect call type mismatch",
        Trap::IntegerOverflow => "wasm trap: integer overflow",
        Trap::IntegerDivisionByZero => "wasm trap: integer divide by zero",
        Trap::BadConversionToInteger => "wasm trap: invalid conversion to integer",
        Trap::UnreachableCodeReached => "wasm trap: wasm `unreachable` instruction executed",
        other => panic!("no guest traps with {other:?}"),
    }
}

pub(crate) fn codes_and_texts() {
    let mut guest = Guest::new("traps");
    let cases = [
        ("unreachable", Trap::UnreachableCodeReached),
        ("memory_out_of_bounds", Trap::MemoryOutOfBounds),
        ("memory_far_out_of_bounds", Trap::MemoryOutOfBounds),
        ("memory_store_across_the_end", Trap::MemoryOutOfBounds),
        ("memory_fill_out_of_bounds", Trap::MemoryOutOfBounds),
        ("divide_by_zero", Trap::IntegerDivisionByZero),
        ("divide_by_zero_unsigned", Trap::IntegerDivisionByZero),
        ("divide_overflow", Trap::IntegerOverflow),
        ("convert_overflow", Trap::IntegerOverflow),
        ("convert_nan", Trap::BadConversionToInteger),
        ("call_outside_table", Trap::TableOutOfBounds),
        ("call_null", Trap::IndirectCallToNull),
        ("call_other_type", Trap::BadSignature),
        ("stack_overflow", Trap::StackOverflow),
    ];
    for (name, trap) in cases {
        let error = guest.call(name, &[]).expect_err(name);
        assert_eq!(trap_of(&error), trap, "{name}");
        assert_eq!(error.root_cause().to_string(), text_of(trap), "{name}");
        // The store is as good as before.
        guest.call("call_works", &[]).expect("nothing is wrong with this one");
    }
}

pub(crate) fn stack_overflow() {
    let mut guest = Guest::new("test_traps");
    for _ in 0..100 {
        let error = guest.call("recurse", &[i(0), d(1.5)]).expect_err("it never returns");
        assert_eq!(trap_of(&error), Trap::StackOverflow);
        assert_eq!(
            guest.int("in_depth", &[3]).map_err(|error| trap_of(&error)),
            Err(Trap::IntegerDivisionByZero)
        );
    }
}

/// The functions in an error's backtrace, innermost first.
pub(crate) fn functions_in(error: &wasm_engine::Error) -> Vec<String> {
    let backtrace = error.downcast_ref::<WasmBacktrace>().expect("it crossed wasm");
    backtrace.frames().iter().map(|frame| frame.func_name().unwrap_or("?").to_string()).collect()
}

pub(crate) fn backtraces() {
    let mut guest = Guest::new("test_traps");
    let error = guest.int("in_depth", &[2]).expect_err("it divides by zero");
    assert_eq!(functions_in(&error), ["inner", "middle", "middle", "middle", "outer"]);
    let text = format!("{error:?}");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "error while executing at wasm backtrace:");
    assert!(lines[1].ends_with(" - test_traps!inner"), "{text}");
    assert!(lines[5].ends_with(" - test_traps!outer"), "{text}");
    // Places in the binary, where each function lies behind the one that calls it.
    let backtrace = error.downcast_ref::<WasmBacktrace>().expect("it has one");
    for frame in backtrace.frames() {
        let (in_module, in_function) = (frame.module_offset(), frame.func_offset());
        assert!(in_module.is_some_and(|offset| offset > 0), "{text}");
        assert!(in_function.is_some_and(|offset| offset > 0 && offset < 64), "{text}");
    }
    // No more than the engine keeps, by default 20: the innermost.
    let error = guest.int("in_depth", &[100]).expect_err("it divides by zero");
    let functions = functions_in(&error);
    assert_eq!((functions.len(), &*functions[0], &*functions[19]), (20, "inner", "middle"));
}

pub(crate) fn start_function() {
    let engine = engine();
    let module = module(&engine, "test_start");
    let mut store = Store::new(&engine, ());
    for _ in 0..3 {
        let error = Instance::new(&mut store, &module, &[]).expect_err("its start function traps");
        assert_eq!(trap_of(&error), Trap::UnreachableCodeReached);
        assert_eq!(functions_in(&error), ["start"]);
    }
}

pub(crate) fn files_and_lines() {
    let mut guest = Guest::new("test_lines");
    assert_eq!(guest.int("outer", &[1]).expect("it is not 7"), ((2 * 3 * 2) ^ 1) + 2);
    let error = guest.int("outer", &[6]).expect_err("it is 7");
    assert_eq!(functions_in(&error), ["middle", "outer"]);
    let text = format!("{error:?}");
    let lines: Vec<&str> = text.lines().collect();
    let expected = [
        "error while executing at wasm backtrace:",
        "check",
        // Of a branch to nothing but a trap Cranelift makes one instruction, in the place of the branch.
        "                    at /src/lines.c:2:9",
        "                - twice",
        "                    at /src/lines.c:8:12",
        "                - middle",
        "                    at /src/lines.c:12:12",
        "outer",
        "                    at /src/lines.c:16:12",
    ];
    assert!(lines.iter().zip(expected).all(|(line, expected)| line.ends_with(expected)), "{text}");
}
