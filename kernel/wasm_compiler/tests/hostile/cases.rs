//! Modules that nobody means well with.

use crate::encode::{op::*, *};

/// A module, and what must become of it.
pub struct Case {
    pub name: &'static str,
    pub wasm: fn() -> Vec<u8>,
    pub expected: Expected,
    /// Whether builds with debug assertions leave it out: Cranelift's take the square of the time.
    pub is_large: bool,
}

/// What must become of a module.
pub enum Expected {
    /// An artifact.
    Compiled,
    /// An error whose text contains this.
    Refused(&'static str),
}

use Expected::*;

const fn case(name: &'static str, expected: Expected, wasm: fn() -> Vec<u8>) -> Case {
    Case { name, wasm, expected, is_large: false }
}

const fn large(name: &'static str, expected: Expected, wasm: fn() -> Vec<u8>) -> Case {
    Case { name, wasm, expected, is_large: true }
}

fn nothing() -> Vec<u8> {
    func_type(0, 0)
}

fn code(locals: u64, code: &[u8]) -> Vec<u8> {
    one_function(nothing(), body(locals, code))
}

fn concat(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

/// `open` so many times, then `inner`, then as many times `close`.
fn nested(depth: usize, open: &[u8], inner: &[u8], close: &[u8]) -> Vec<u8> {
    concat(&[&times(depth, open), inner, &times(depth, close)])
}

const C: [u8; 2] = [I32_CONST, 1];

/// `f` for each number, one after another.
fn each(count: u64, f: impl Fn(u64) -> Vec<u8>) -> Vec<u8> {
    (0..count).flat_map(f).collect()
}

/// A type for each number up to 2^17.
fn different_type(number: usize) -> Vec<u8> {
    let list: Vec<u8> = (0..17).map(|bit| if number >> bit & 1 == 1 { I32 } else { I64 }).collect();
    concat(&[&[0x60], &sized(&list), &[0]])
}

fn custom(name: &str, bytes: &[u8]) -> (u8, Vec<u8>) {
    (0, concat(&[&sized(name.as_bytes()), bytes]))
}

fn functions(count: usize, body: &[u8]) -> Vec<u8> {
    module(&[
        (1, vector(&[nothing()])),
        (3, concat(&[&leb(count as u64), &vec![0; count]])),
        (10, concat(&[&leb(count as u64), &body.repeat(count)])),
    ])
}

/// A function with this code, in a module with so many tags.
fn with_code(tags: u64, code: &[u8]) -> Vec<u8> {
    module(&[
        (1, vector(&[nothing()])),
        (3, vec![1, 0]),
        (13, concat(&[&leb(tags), &vec![0; 2 * tags as usize]])),
        (10, vector(&[body(0, code)])),
    ])
}

/// Calls in the innermost of so many `try_table`s, each of which catches another tag.
fn with_tags(depth: u64, calls: usize) -> Vec<u8> {
    let open = each(depth, |tag| concat(&[&[BLOCK, EMPTY, TRY_TABLE, EMPTY, 1, 0], &leb(tag), &[0]]));
    let calls = times(calls, &[CALL, 0]);
    with_code(depth, &concat(&[&open, &calls, &times(2 * depth as usize, &[END])]))
}

pub const CASES: &[Case] = &[
    // Locals.
    case("a million locals in one group", Refused("too many locals: locals exceed maximum"), || {
        code(1_000_000, &[])
    }),
    case("a million groups of locals", Refused("too many locals: locals exceed maximum"), || {
        let locals = concat(&[&leb(1_000_000), &times(1_000_000, &[1, I32]), &[END]]);
        one_function(nothing(), sized(&locals))
    }),
    case("four billion locals", Refused("too many locals: locals exceed maximum"), || {
        code(u32::MAX.into(), &[])
    }),
    case("50,000 locals, unused", Compiled, || code(50_000, &[])),
    case("50,000 locals in a loop", Compiled, || {
        let inner = each(50_000, |n| concat(&[&with(LOCAL_GET, n), &C, &[I32_ADD], &with(LOCAL_SET, n)]));
        code(50_000, &concat(&[&[LOOP, EMPTY], &inner, &C, &[BR_IF, 0, END]]))
    }),
    case(
        "10,000 locals in 100 loops, one after another",
        Refused("function body size count exceeds limit of 7654321"),
        || {
            let inner = each(10_000, |n| concat(&[&with(LOCAL_GET, n), &C, &[I32_ADD], &with(LOCAL_SET, n)]));
            code(10_000, &times(100, &concat(&[&[LOOP, EMPTY], &inner, &C, &[BR_IF, 0, END]])))
        },
    ),
    large("10,000 locals in 100 nested loops", Compiled, || {
        let inner = each(10_000, |n| concat(&[&with(LOCAL_GET, n), &C, &[I32_ADD], &with(LOCAL_SET, n)]));
        code(10_000, &nested(100, &[LOOP, EMPTY], &inner, &concat(&[&C, &[BR_IF, 0, END]])))
    }),
    large("10,000 locals read after 10,000 merges", Refused("function 0 is too large"), || {
        let merge = concat(&[&C, &[IF, EMPTY], &C, &[LOCAL_SET, 0, END]]);
        let read = each(10_000, |n| concat(&[&with(LOCAL_GET, n), &[DROP]]));
        code(10_000, &concat(&[&times(10_000, &merge), &read]))
    }),
    case("1,000 locals changed in each of 2,000 merges", Compiled, || {
        let merges = each(2_000, |n| concat(&[&C, &[IF, EMPTY], &C, &with(LOCAL_SET, n % 1000), &[END]]));
        let all = each(1_000, |n| concat(&[&with(LOCAL_GET, n), &[I32_ADD]]));
        code(1_000, &concat(&[&[LOOP, EMPTY], &merges, &C, &all, &[BR_IF, 0, END]]))
    }),
    case("one local more than the validator's limit", Refused("too many locals"), || code(50_001, &[])),
    // Size of functions.
    case("a body of the validator's limit", Compiled, || code(0, &times(7_654_321 - 2, &[NOP]))),
    case("a body of one byte more", Refused("function body size count exceeds limit of 7654321"), || {
        code(0, &times(7_654_321 - 1, &[NOP]))
    }),
    case("50 MB of one function", Refused("function body size count exceeds limit of 7654321"), || {
        code(0, &times(50 << 20, &[NOP]))
    }),
    case("7.6 MB of nop", Compiled, || code(0, &times(7_600_000, &[NOP]))),
    case("2 MB of nop", Compiled, || code(0, &times(2_000_000, &[NOP]))),
    case("1.9 MB of additions", Compiled, || {
        let step = concat(&[&[LOCAL_GET, 0], &C, &[I32_ADD, LOCAL_SET, 0]]);
        code(1, &times(270_000, &step))
    }),
    large("1.9 MB of divisions", Compiled, || {
        let step = concat(&[&[LOCAL_GET, 0, LOCAL_GET, 1, I32_DIV_S, LOCAL_SET, 0]]);
        code(2, &times(270_000, &step))
    }),
    large("1.9 MB of stores", Compiled, || {
        let step = concat(&[&[LOCAL_GET, 0, LOCAL_GET, 0, I32_STORE, 2, 0]]);
        code(1, &times(270_000, &step))
    }),
    large("1.9 MB of loads, all live", Compiled, || {
        let load = concat(&[&[LOCAL_GET, 0, I32_LOAD, 2, 4]]);
        let n = 250_000;
        code(1, &concat(&[&times(n, &load), &times(n, &[DROP])]))
    }),
    large("loads, all live, then added", Compiled, || {
        let n = 250_000u64;
        let load = each(n, |n| concat(&[&[LOCAL_GET, 0, I32_LOAD, 2], &leb(n * 4)]));
        code(1, &concat(&[&load, &times(n as usize - 1, &[I32_ADD]), &[DROP]]))
    }),
    case("constants 300,000 deep, then added", Compiled, || {
        let n = 300_000u64;
        let load = each(n, |n| with(I32_CONST, n & 0x3f));
        code(1, &concat(&[&load, &times(n as usize - 1, &[I32_ADD]), &[DROP]]))
    }),
    case("one long expression", Compiled, || {
        let step = concat(&[&[LOCAL_GET, 0, I32_ADD]]);
        code(1, &concat(&[&C, &times(600_000, &step), &[LOCAL_SET, 0]]))
    }),
    large("select chain", Compiled, || {
        let step = concat(&[&[LOCAL_GET, 0, LOCAL_GET, 0, I32_LOAD, 2, 0, SELECT]]);
        code(1, &concat(&[&C, &times(200_000, &step), &[LOCAL_SET, 0]]))
    }),
    large("eqz chain", Compiled, || {
        code(1, &concat(&[&[LOCAL_GET, 0], &times(1_900_000, &[I32_EQZ]), &[LOCAL_SET, 0]]))
    }),
    case("unreachable code", Compiled, || {
        let step = concat(&[&C, &[I32_ADD, DROP]]);
        code(0, &concat(&[&[UNREACHABLE], &times(400_000, &step)]))
    }),
    case("returns in blocks", Compiled, || code(0, &times(400_000, &[BLOCK, EMPTY, RETURN, END]))),
    // Nesting.
    case("blocks 100,000 deep", Compiled, || code(0, &nested(100_000, &[BLOCK, EMPTY], &[], &[END]))),
    case("blocks 1,000,000 deep", Compiled, || code(0, &nested(600_000, &[BLOCK, EMPTY], &[], &[END]))),
    large("blocks 100,000 deep, left at each", Compiled, || {
        code(0, &nested(100_000, &[BLOCK, EMPTY], &[], &concat(&[&C, &[BR_IF, 0, END]])))
    }),
    large("blocks 100,000 deep, left from the innermost", Compiled, || {
        let inner = each(100_000, |n| concat(&[&C, &with(BR_IF, n)]));
        code(0, &nested(100_000, &[BLOCK, EMPTY], &inner, &[END]))
    }),
    case("blocks 10,000 deep, left from the innermost", Compiled, || {
        let inner = each(10_000, |n| concat(&[&C, &with(BR_IF, n)]));
        code(0, &nested(10_000, &[BLOCK, EMPTY], &inner, &[END]))
    }),
    case("blocks with results 100,000 deep", Compiled, || {
        code(0, &concat(&[&nested(100_000, &[BLOCK, I32], &C, &concat(&[&C, &[BR_IF, 0, END]])), &[DROP]]))
    }),
    case("loops 1,000 deep", Compiled, || code(0, &nested(1_000, &[LOOP, EMPTY], &[], &[END]))),
    case("loops 1,000 deep with back edges", Compiled, || {
        code(0, &nested(1_000, &[LOOP, EMPTY], &[], &concat(&[&C, &[BR_IF, 0, END]])))
    }),
    case("loops 10,000 deep", Compiled, || code(0, &nested(10_000, &[LOOP, EMPTY], &[], &[END]))),
    case("loops 10,000 deep with back edges", Compiled, || {
        code(0, &nested(10_000, &[LOOP, EMPTY], &[], &concat(&[&C, &[BR_IF, 0, END]])))
    }),
    case("loops 10,000 deep with a local", Compiled, || {
        let open = concat(&[&[LOOP, EMPTY, LOCAL_GET, 0], &C, &[I32_ADD, LOCAL_SET, 0]]);
        code(1, &nested(10_000, &open, &[], &[LOCAL_GET, 0, BR_IF, 0, END]))
    }),
    case("loops 100,000 deep", Compiled, || code(0, &nested(100_000, &[LOOP, EMPTY], &[], &[END]))),
    large("loops 100,000 deep with back edges", Compiled, || {
        code(0, &nested(100_000, &[LOOP, EMPTY], &[], &concat(&[&C, &[BR_IF, 0, END]])))
    }),
    case("ifs 10,000 deep", Compiled, || code(0, &nested(10_000, &concat(&[&C, &[IF, EMPTY]]), &[], &[END]))),
    large("ifs 20,000 deep", Compiled, || {
        code(0, &nested(20_000, &concat(&[&C, &[IF, EMPTY]]), &[], &[END]))
    }),
    large("ifs 20,000 deep on a local", Compiled, || {
        code(1, &nested(20_000, &concat(&[&[LOCAL_GET, 0], &[IF, EMPTY]]), &[], &[END]))
    }),
    large("ifs 100,000 deep", Compiled, || {
        code(0, &nested(100_000, &concat(&[&C, &[IF, EMPTY]]), &[], &[END]))
    }),
    large("if/else 100,000 deep in then", Compiled, || {
        code(0, &nested(100_000, &concat(&[&C, &[IF, EMPTY]]), &[], &[ELSE, NOP, END]))
    }),
    large("if/else 20,000 deep in else, with results", Compiled, || {
        let open = concat(&[&[LOCAL_GET, 0, IF, I32], &C, &[ELSE]]);
        code(1, &concat(&[&nested(20_000, &open, &C, &[END]), &[DROP]]))
    }),
    large("if/else 100,000 deep in else, with results", Compiled, || {
        let open = concat(&[&[LOCAL_GET, 0, IF, I32], &C, &[ELSE]]);
        code(1, &concat(&[&nested(100_000, &open, &C, &[END]), &[DROP]]))
    }),
    large("ifs one after another, 200,000", Compiled, || {
        let step = concat(&[&[LOCAL_GET, 0, IF, EMPTY], &C, &[LOCAL_SET, 0, END]]);
        code(1, &times(200_000, &step))
    }),
    large("ifs one after another, 20,000", Compiled, || {
        let step = concat(&[&[LOCAL_GET, 0, IF, EMPTY], &C, &[LOCAL_SET, 0, END]]);
        code(1, &times(20_000, &step))
    }),
    large("br_if one after another to one label, 300,000", Compiled, || {
        code(1, &concat(&[&[BLOCK, EMPTY], &times(300_000, &[LOCAL_GET, 0, BR_IF, 0]), &[END]]))
    }),
    large("br_if 300,000 to one label, a local changed", Compiled, || {
        let step = concat(&[&C, &[LOCAL_SET, 0, LOCAL_GET, 0, BR_IF, 0]]);
        code(1, &concat(&[&[BLOCK, EMPTY], &times(300_000, &step), &[END, LOCAL_GET, 0, DROP]]))
    }),
    large("br_if 300,000 to one loop", Compiled, || {
        let step = concat(&[&C, &[LOCAL_SET, 0, LOCAL_GET, 0, BR_IF, 0]]);
        code(1, &concat(&[&[LOOP, EMPTY], &times(300_000, &step), &[END, LOCAL_GET, 0, DROP]]))
    }),
    // Exceptions.
    case("try_tables 300 deep around 300 calls", Compiled, || with_tags(300, 300)),
    case("try_tables 100 deep around 160 calls", Compiled, || with_tags(100, 160)),
    case("try_tables 3,000 deep around 3,000 calls", Refused("function 0 is too large"), || {
        with_tags(3_000, 3_000)
    }),
    case("try_tables 30,000 deep", Compiled, || with_tags(30_000, 1)),
    case("a throw in each of 20,000 try_tables", Compiled, || {
        with_code(1, &times(20_000, &[BLOCK, EMPTY, TRY_TABLE, EMPTY, 1, 0, 0, 0, THROW, 0, END, END]))
    }),
    // Exceptions as they were.
    case("try 100 deep around 160 calls", Compiled, || {
        let catches = (0..100).rev().flat_map(|tag| concat(&[&with(CATCH, tag), &[END]])).collect::<Vec<_>>();
        let open = times(100, &[TRY, EMPTY]);
        with_code(100, &concat(&[&open, &times(160, &[CALL, 0]), &catches]))
    }),
    case("a million calls in 30,000 try, all for one tag", Refused("function 0 is too large"), || {
        let close = times(30_000, &[CATCH, 0, END]);
        with_code(1, &concat(&[&times(30_000, &[TRY, EMPTY]), &times(1_000_000, &[CALL, 0]), &close]))
    }),
    case("100,000 try with rethrow", Compiled, || {
        with_code(1, &times(100_000, &[TRY, EMPTY, CALL, 0, CATCH_ALL, RETHROW, 0, END]))
    }),
    case("30,000 delegate to each other", Compiled, || {
        let close = times(30_000, &[DELEGATE, 0]);
        with_code(1, &concat(&[&times(30_000, &[TRY, EMPTY]), &[CALL, 0], &close]))
    }),
    case("a try with 50,000 catch around 100 calls", Refused("function 0 is too large"), || {
        let catches = each(50_000, |tag| with(CATCH, tag));
        with_code(50_000, &concat(&[&[TRY, EMPTY], &times(100, &[CALL, 0]), &catches, &[END]]))
    }),
    case("rethrow and catch where there is no try", Refused("(at offset"), || {
        with_code(1, &[TRY, EMPTY, CALL, 0, RETHROW, 5, CATCH, 0, END])
    }),
    // Branch tables.
    case("br_table of 10 million", Refused("function body size count exceeds limit of 7654321"), || {
        let n = 10_000_000;
        code(1, &concat(&[&[LOCAL_GET, 0, BR_TABLE], &leb(n), &vec![0; n as usize + 1]]))
    }),
    case("br_table of 1.9 million", Refused("function 0 is too large"), || {
        let n = 1_900_000;
        code(1, &concat(&[&[LOCAL_GET, 0, BR_TABLE], &leb(n), &vec![0; n as usize + 1]]))
    }),
    case("br_table with a declared count of four billion", Refused("br_table size is out of bounds"), || {
        code(1, &concat(&[&[LOCAL_GET, 0, BR_TABLE], &leb(u32::MAX.into())]))
    }),
    case("br_table of 10,000 targets", Compiled, || {
        let n = 10_000;
        let table = concat(&[&[LOCAL_GET, 0], &with(BR_TABLE, n), &each(n + 1, |k| leb(k % n))]);
        code(1, &nested(n as usize, &[BLOCK, EMPTY], &table, &[END]))
    }),
    case("br_table of 60,000 entries to one target", Compiled, || {
        let table =
            concat(&[&[BLOCK, EMPTY, LOCAL_GET, 0, BR_TABLE], &leb(60_000), &vec![0; 60_001], &[END]]);
        one_function(func_type(1, 0), body(0, &table))
    }),
    large("10 br_tables of 10,000 targets", Compiled, || {
        let n = 10_000;
        let entries = each(n + 1, |k| leb(k % n));
        let table = concat(&[&[BLOCK, EMPTY, LOCAL_GET, 0], &with(BR_TABLE, n), &entries, &[END]]);
        one_function(
            func_type(1, 0),
            body(0, &nested(n as usize, &[BLOCK, EMPTY], &times(10, &table), &[END])),
        )
    }),
    large("br_table of 10,000 targets that change a local", Compiled, || {
        let n = 10_000;
        let table = concat(&[&[LOCAL_GET, 0], &with(BR_TABLE, n), &each(n + 1, |k| leb(k % n))]);
        let close = concat(&[&[END, LOCAL_GET, 0], &C, &[I32_ADD, LOCAL_SET, 0]]);
        code(1, &nested(n as usize, &[BLOCK, EMPTY], &table, &close))
    }),
    large("br_table of 100,000 targets", Compiled, || {
        let n = 100_000;
        let table = concat(&[&[LOCAL_GET, 0], &with(BR_TABLE, n), &each(n + 1, |k| leb(k % n))]);
        code(1, &nested(n as usize, &[BLOCK, EMPTY], &table, &[END]))
    }),
    large("100 br_tables of 10,000 targets", Refused("function 0 is too large"), || {
        let n = 10_000;
        let entries = each(n + 1, |k| leb(k % n));
        let table = concat(&[&[BLOCK, EMPTY, LOCAL_GET, 0], &with(BR_TABLE, n), &entries, &[END]]);
        one_function(
            func_type(1, 0),
            body(0, &nested(n as usize, &[BLOCK, EMPTY], &times(100, &table), &[END])),
        )
    }),
    large("br_table of 2,000 targets in a loop with 100 locals", Compiled, || {
        let n = 2_000;
        let table = concat(&[&[LOCAL_GET, 0], &with(BR_TABLE, n), &each(n + 1, |k| leb(k % n))]);
        let blocks = nested(n as usize, &[BLOCK, EMPTY], &table, &[END]);
        let close = each(n, |k| {
            concat(&[
                &[END],
                &with(LOCAL_GET, k % 100),
                &C,
                &[I32_ADD],
                &with(LOCAL_SET, k % 97),
                &[BR],
                &leb(n - 1 - k),
            ])
        });
        let _ = blocks;
        let open = times(n as usize, &[BLOCK, EMPTY]);
        code(100, &concat(&[&[LOOP, EMPTY], &open, &table, &close, &[END]]))
    }),
    large("br_table with 1,000 results, 60,000 entries", Compiled, || {
        let table = concat(&[&times(1000, &C), &[LOCAL_GET, 0, BR_TABLE], &leb(60_000), &vec![0; 60_001]]);
        with_types(
            &[nothing(), func_type(0, 1000)],
            body(1, &concat(&[&[BLOCK, 1], &table, &[END], &times(1000, &[DROP])])),
        )
    }),
    // Many values.
    large("br_if with 1,000 results, 10,000 times", Compiled, || {
        let step = [LOCAL_GET, 0, BR_IF, 0];
        with_types(
            &[nothing(), func_type(0, 1000)],
            body(
                1,
                &concat(&[
                    &[BLOCK, 1],
                    &times(1000, &C),
                    &times(10_000, &step),
                    &[END],
                    &times(1000, &[DROP]),
                ]),
            ),
        )
    }),
    large(
        "calls with 1,000 parameters and results, 10,000 times",
        Refused("function 0 is too large"),
        || {
            with_types(
                &[func_type(1000, 1000)],
                body(0, &concat(&[&each(1000, |n| with(LOCAL_GET, n)), &times(10_000, &[CALL, 0])])),
            )
        },
    ),
    case("calls with 1,000 parameters and results, 100 times", Compiled, || {
        with_types(
            &[func_type(1000, 1000)],
            body(0, &concat(&[&each(1000, |n| with(LOCAL_GET, n)), &times(100, &[CALL, 0])])),
        )
    }),
    large(
        "blocks with 1,000 parameters and results, 10,000 times",
        Refused("function 0 is too large"),
        || {
            with_types(
                &[nothing(), func_type(1000, 1000)],
                body(
                    0,
                    &concat(&[
                        &times(1000, &C),
                        &times(10_000, &concat(&[&[LOOP, 1], &C, &[BR_IF, 0, END]])),
                        &times(1000, &[DROP]),
                    ]),
                ),
            )
        },
    ),
    case("ifs with 1,000 parameters, 10,000 deep", Refused("function 0 is too large"), || {
        with_types(
            &[nothing(), func_type(1000, 1000)],
            body(
                0,
                &concat(&[
                    &times(1000, &C),
                    &nested(10_000, &concat(&[&C, &[IF, 1]]), &[], &[END]),
                    &times(1000, &[DROP]),
                ]),
            ),
        )
    }),
    large("100,000 calls", Compiled, || code(0, &times(100_000, &[CALL, 0]))),
    large("100,000 indirect calls", Compiled, || {
        code(0, &times(100_000, &concat(&[&C, &[CALL_INDIRECT, 0, 0]])))
    }),
    large("100,000 different calls", Compiled, || {
        let n = 100_000;
        let calls = each(n, |n| with(CALL, n));
        module(&[
            (1, vector(&[nothing()])),
            (3, concat(&[&leb(n), &vec![0; n as usize]])),
            (10, concat(&[&leb(n), &body(0, &calls), &body(0, &[]).repeat(n as usize - 1)])),
        ])
    }),
    large("calls of one import of 100,000", Compiled, || {
        let n = 100_000;
        let import = concat(&[&sized(b"m"), &sized(b"f"), &[0, 0]]);
        module(&[
            (1, vector(&[nothing()])),
            (2, vector(&vec![import; n])),
            (3, vec![1, 0]),
            (10, vector(&[body(0, &each(100_000, |k| with(CALL, k)))])),
        ])
    }),
    case("100,000 uses of the last of 100,000 imported globals", Compiled, || {
        let n = 100_000;
        let import = concat(&[&sized(b"m"), &sized(b"g"), &[3, I32, 0]]);
        module(&[
            (1, vector(&[nothing()])),
            (2, vector(&vec![import; n])),
            (3, vec![1, 0]),
            (10, vector(&[body(0, &times(100_000, &concat(&[&with(GLOBAL_GET, n as u64 - 1), &[DROP]])))])),
        ])
    }),
    // Shapes that a pass of the compiler is slow for.
    large("100 locals live across 10,000 ifs", Compiled, || {
        let step = concat(&[&[LOCAL_GET, 0, IF, EMPTY], &C, &[LOCAL_SET, 0, END]]);
        let sum = each(100, |n| concat(&[&with(LOCAL_GET, n), &[I32_ADD]]));
        let set =
            each(100, |n| concat(&[&with(I32_CONST, n & 0x3f), &[I32_LOAD, 2, 0], &with(LOCAL_SET, n)]));
        code(100, &concat(&[&set, &times(10_000, &step), &C, &sum, &[LOCAL_SET, 0]]))
    }),
    large("100 values live across 10,000 ifs behind 20,000 merges", Compiled, || {
        let merge = concat(&[&[LOCAL_GET, 0, IF, EMPTY], &C, &[LOCAL_SET, 0, END]]);
        let step = concat(&[&[LOCAL_GET, 0, IF, EMPTY], &C, &C, &[I32_STORE, 2, 0, END]]);
        let sum = each(100, |n| concat(&[&with(LOCAL_GET, n), &[I32_ADD]]));
        let set =
            each(100, |n| concat(&[&with(I32_CONST, n & 0x3f), &[I32_LOAD, 2, 0], &with(LOCAL_SET, n)]));
        code(100, &concat(&[&times(20_000, &merge), &set, &times(10_000, &step), &C, &sum, &[LOCAL_SET, 0]]))
    }),
    large("10,000 locals live through a loop that reads them", Compiled, || {
        let set =
            each(10_000, |n| concat(&[&with(I32_CONST, n & 0x3f), &[I32_LOAD, 2, 0], &with(LOCAL_SET, n)]));
        let sum = each(10_000, |n| concat(&[&with(LOCAL_GET, n), &[I32_ADD]]));
        code(10_000, &concat(&[&set, &[LOOP, EMPTY], &C, &sum, &[BR_IF, 0, END]]))
    }),
    large("100,000 labels, each left from two places", Compiled, || {
        let n = 100_000;
        let leave = each(n, |k| concat(&[&[LOCAL_GET, 0], &with(BR_IF, k)]));
        code(1, &nested(n as usize, &[BLOCK, EMPTY], &concat(&[&leave, &leave]), &[RETURN, END]))
    }),
    case("20,000 labels, each left from two places", Compiled, || {
        let n = 20_000;
        let leave = each(n, |k| concat(&[&[LOCAL_GET, 0], &with(BR_IF, k)]));
        code(1, &nested(n as usize, &[BLOCK, EMPTY], &concat(&[&leave, &leave]), &[RETURN, END]))
    }),
    case("stores in loops 1,000 deep", Compiled, || {
        let open = concat(&[&[LOOP, EMPTY, LOCAL_GET, 0, LOCAL_GET, 0, I32_LOAD, 2, 0, I32_STORE, 2, 4]]);
        code(1, &nested(1_000, &open, &[], &[LOCAL_GET, 0, I32_LOAD, 2, 8, BR_IF, 0, END]))
    }),
    case("loops 300 deep with 100 locals", Compiled, || {
        let step = each(100, |n| concat(&[&with(LOCAL_GET, n), &C, &[I32_ADD], &with(LOCAL_SET, n)]));
        code(100, &nested(300, &concat(&[&[LOOP, EMPTY], &step]), &[], &[LOCAL_GET, 0, BR_IF, 0, END]))
    }),
    large("br_table of 10,000 targets in a loop with 100 locals", Compiled, || {
        let n = 10_000;
        let table = concat(&[&[LOCAL_GET, 0], &with(BR_TABLE, n), &each(n + 1, |k| leb(k % n))]);
        let close = each(n, |k| {
            let change = concat(&[&with(LOCAL_GET, k % 100), &C, &[I32_ADD], &with(LOCAL_SET, k % 97)]);
            concat(&[&[END], &change, &with(BR, n - 1 - k)])
        });
        let open = times(n as usize, &[BLOCK, EMPTY]);
        code(100, &concat(&[&[LOOP, EMPTY], &open, &table, &close, &[END]]))
    }),
    large("200,000 divisions with their results live", Compiled, || {
        let divide = concat(&[&[LOCAL_GET, 0, LOCAL_GET, 1, I32_DIV_S, LOCAL_TEE, 0]]);
        code(2, &concat(&[&times(200_000, &divide), &times(200_000, &[DROP])]))
    }),
    // The module around the functions.
    case("1,000 parameters and results", Compiled, || module(&[(1, vector(&[func_type(1000, 1000)]))])),
    case("1,001 parameters", Refused("function params size is out of bounds"), || {
        module(&[(1, vector(&[func_type(1001, 0)]))])
    }),
    case("1,001 results", Refused("function returns size is out of bounds"), || {
        module(&[(1, vector(&[func_type(0, 1001)]))])
    }),
    case("100 tables", Compiled, || module(&[(4, vector(&vec![vec![FUNCREF, 0, 10]; 100]))])),
    case("101 tables", Refused("tables count exceeds limit of 100"), || {
        module(&[(4, vector(&vec![vec![FUNCREF, 0, 10]; 101]))])
    }),
    large("100,000 empty functions", Compiled, || functions(100_000, &body(0, &[]))),
    large("a million empty functions", Compiled, || functions(1_000_000, &body(0, &[]))),
    large("a million types", Compiled, || module(&[(1, vector(&vec![nothing(); 1_000_000]))])),
    large("100,000 different types", Refused("more than 50000 different function types"), || {
        module(&[(1, vector(&(0..100_000).map(different_type).collect::<Vec<_>>()))])
    }),
    large("10,000 different types", Compiled, || {
        module(&[(1, vector(&(0..10_000).map(different_type).collect::<Vec<_>>()))])
    }),
    large("20,000 types of 1,000 parameters", Compiled, || {
        module(&[(1, vector(&vec![func_type(1000, 1000); 20_000]))])
    }),
    case("a million imports", Refused("effective type size exceeds the limit of 1000000"), || {
        let import = concat(&[&sized(b"m"), &sized(b"f"), &[0, 0]]);
        module(&[(1, vector(&[nothing()])), (2, vector(&vec![import; 1_000_000]))])
    }),
    large(
        "a million exports of one function",
        Refused("effective type size exceeds the limit of 1000000"),
        || {
            let exports: Vec<_> =
                (0..1_000_000).map(|n| concat(&[&sized(format!("{n}").as_bytes()), &[0, 0]])).collect();
            module(&[
                (1, vector(&[nothing()])),
                (3, vec![1, 0]),
                (7, vector(&exports)),
                (10, vector(&[body(0, &[])])),
            ])
        },
    ),
    large(
        "100 memories' worth of exports",
        Refused("effective type size exceeds the limit of 1000000"),
        || {
            let exports: Vec<_> =
                (0..1_000_000).map(|n| concat(&[&sized(format!("{n}").as_bytes()), &[2, 0]])).collect();
            module(&[(5, vec![1, 0, 1]), (7, vector(&exports))])
        },
    ),
    case("an export of 100 MB name", Refused("string size out of bounds"), || {
        module(&[(5, vec![1, 0, 1]), (7, vector(&[concat(&[&sized(&vec![b'a'; 100 << 20]), &[2, 0]])]))])
    }),
    case("the same export twice", Refused("duplicate export name"), || {
        let export = concat(&[&sized(b"m"), &[2, 0]]);
        module(&[(5, vec![1, 0, 1]), (7, vector(&[export.clone(), export]))])
    }),
    large("a million globals", Compiled, || {
        module(&[(6, vector(&vec![vec![I32, 1, I32_CONST, 0, END]; 1_000_000]))])
    }),
    case("100,000 element segments", Compiled, || {
        module(&[(4, vec![1, FUNCREF, 0, 10]), (9, vector(&vec![vec![0, I32_CONST, 0, END, 0]; 100_000]))])
    }),
    large("an element segment of 10 million", Compiled, || {
        let n = 10_000_000;
        module(&[
            (1, vector(&[nothing()])),
            (3, vec![1, 0]),
            (4, vec![1, FUNCREF, 0, 10]),
            (9, vector(&[concat(&[&[0, I32_CONST, 0, END], &leb(n), &vec![0; n as usize]])])),
            (10, vector(&[body(0, &[])])),
        ])
    }),
    case("100,000 data segments", Compiled, || {
        module(&[(5, vec![1, 0, 1]), (11, vector(&vec![vec![0, I32_CONST, 0, END, 1, 7]; 100_000]))])
    }),
    case("100,000 overlapping data segments", Compiled, || {
        let segment = concat(&[&[0, I32_CONST, 0, END], &sized(&[7; 500])]);
        module(&[(5, vec![1, 0, 1]), (11, vector(&vec![segment; 100_000]))])
    }),
    case("a sparse memory of 4 GiB", Compiled, || {
        let segment = |at: u64| concat(&[&with(0, I32_CONST.into()), &leb(at), &[END, 1, 7]]);
        let high = concat(&[&[0, I32_CONST], &[0x7f], &[END, 1, 7]]);
        module(&[(5, concat(&[&[1, 0], &leb(65536)])), (11, vector(&[segment(0), high]))])
    }),
    case("a table of four billion", Compiled, || {
        module(&[(4, concat(&[&[1, FUNCREF, 0], &leb(u32::MAX.into())]))])
    }),
    case("a table of 10 million", Compiled, || module(&[(4, concat(&[&[1, FUNCREF, 0], &leb(10_000_000)]))])),
    case("a memory of more than 4 GiB", Refused("memory size"), || {
        module(&[(5, concat(&[&[1, 0], &leb(65537)]))])
    }),
    case("many types declared, none there", Refused("unexpected end"), || module(&[(1, leb(1_000_000))])),
    case("many functions declared, none there", Refused("unexpected end"), || {
        module(&[(1, vector(&[nothing()])), (3, leb(1_000_000))])
    }),
    case("many imports declared, none there", Refused("unexpected end"), || module(&[(2, leb(1_000_000))])),
    case("many exports declared, none there", Refused("unexpected end"), || module(&[(7, leb(1_000_000))])),
    case("many data segments declared, none there", Refused("unexpected end-of-file"), || {
        module(&[(11, leb(100_000))])
    }),
    case(
        "many bodies declared, none there",
        Refused("function and code section have inconsistent lengths"),
        || module(&[(1, vector(&[nothing()])), (3, vec![1, 0]), (10, leb(1_000_000))]),
    ),
    case("a section longer than the file", Refused("unexpected end-of-file"), || {
        concat(&[b"\0asm\x01\0\0\0", &[1], &leb(u32::MAX.into())])
    }),
    case(
        "a long constant expression",
        Refused("type mismatch: values remaining on stack at end of block"),
        || module(&[(6, vector(&[concat(&[&[I32, 0], &times(1_000_000, &C), &[END]])]))]),
    ),
    // Names.
    case("import names that are not UTF-8", Refused("UTF-8"), || {
        let import = concat(&[&sized(&[0xff, 0xfe]), &sized(b"f"), &[0, 0]]);
        module(&[(1, vector(&[nothing()])), (2, vector(&[import]))])
    }),
    case("export names that are not UTF-8", Refused("UTF-8"), || {
        module(&[(5, vec![1, 0, 1]), (7, vector(&[concat(&[&sized(&[0xc0, 0x80]), &[2, 0]])]))])
    }),
    case("a custom section's name that is not UTF-8", Refused("UTF-8"), || module(&[(0, sized(&[0xff]))])),
    case("function names that are not UTF-8", Compiled, || {
        let naming = concat(&[&leb(0), &sized(&[0xff, 0xfe])]);
        let names = concat(&[&[1], &sized(&vector(&[naming]))]);
        module(&[
            (1, vector(&[nothing()])),
            (3, vec![1, 0]),
            (10, vector(&[body(0, &[])])),
            custom("name", &names),
        ])
    }),
    case("names of functions that are not there", Compiled, || {
        let naming = |n: u64| concat(&[&leb(n), &sized(b"name")]);
        let names =
            concat(&[&[1], &sized(&vector(&[naming(7), naming(0), naming(0), naming(u32::MAX.into())]))]);
        module(&[
            (1, vector(&[nothing()])),
            (3, vec![1, 0]),
            (10, vector(&[body(0, &[])])),
            custom("name", &names),
        ])
    }),
    case("a million names of functions that are not there", Compiled, || {
        let names: Vec<_> = (1..1_000_000u64).map(|n| concat(&[&leb(n), &sized(b"n")])).collect();
        module(&[custom("name", &concat(&[&[1], &sized(&vector(&names))]))])
    }),
    case("a name section of garbage", Compiled, || module(&[custom("name", &[0xff; 1000])])),
    case("a million name sections", Compiled, || module(&vec![custom("name", &[1, 1, 0]); 1_000_000])),
];
