//! Writes modules in the binary format, byte by byte, so that they can be as bad as they like.

/// Types and instructions by their bytes.
#[allow(missing_docs, reason = "each has the name that the specification gives it")]
pub mod op {
    pub const UNREACHABLE: u8 = 0x00;
    pub const NOP: u8 = 0x01;
    pub const BLOCK: u8 = 0x02;
    pub const LOOP: u8 = 0x03;
    pub const IF: u8 = 0x04;
    pub const ELSE: u8 = 0x05;
    pub const END: u8 = 0x0b;
    pub const BR: u8 = 0x0c;
    pub const BR_IF: u8 = 0x0d;
    pub const BR_TABLE: u8 = 0x0e;
    pub const THROW: u8 = 0x08;
    pub const TRY_TABLE: u8 = 0x1f;
    pub const TRY: u8 = 0x06;
    pub const CATCH: u8 = 0x07;
    pub const CATCH_ALL: u8 = 0x19;
    pub const RETHROW: u8 = 0x09;
    pub const DELEGATE: u8 = 0x18;
    pub const RETURN: u8 = 0x0f;
    pub const CALL: u8 = 0x10;
    pub const CALL_INDIRECT: u8 = 0x11;
    pub const DROP: u8 = 0x1a;
    pub const SELECT: u8 = 0x1b;
    pub const LOCAL_GET: u8 = 0x20;
    pub const LOCAL_SET: u8 = 0x21;
    pub const LOCAL_TEE: u8 = 0x22;
    pub const GLOBAL_GET: u8 = 0x23;
    pub const I32_LOAD: u8 = 0x28;
    pub const I32_STORE: u8 = 0x36;
    pub const I32_CONST: u8 = 0x41;
    pub const I32_EQZ: u8 = 0x45;
    pub const I32_ADD: u8 = 0x6a;
    pub const I32_DIV_S: u8 = 0x6d;
    pub const EMPTY: u8 = 0x40;
    pub const I32: u8 = 0x7f;
    pub const I64: u8 = 0x7e;
    pub const FUNCREF: u8 = 0x70;
}

/// A number in the variable-length encoding.
pub fn leb(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// A vector of elements that are encoded already.
pub fn vector(elements: &[Vec<u8>]) -> Vec<u8> {
    [leb(elements.len() as u64), elements.concat()].concat()
}

/// Bytes with their number before them.
pub fn sized(bytes: &[u8]) -> Vec<u8> {
    [&leb(bytes.len() as u64), bytes].concat()
}

/// A module made of sections: each with its number and contents.
pub fn module(sections: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let mut out = b"\0asm\x01\0\0\0".to_vec();
    for (number, contents) in sections {
        out.push(*number);
        out.extend(sized(contents));
    }
    out
}

/// A function type of so many `i32`s.
pub fn func_type(params: usize, results: usize) -> Vec<u8> {
    let list = |count: usize| sized(&vec![op::I32; count]);
    [vec![0x60], list(params), list(results)].concat()
}

/// A body: `locals` `i32`s beside the parameters, instructions, and the end.
pub fn body(locals: u64, code: &[u8]) -> Vec<u8> {
    let locals = if locals == 0 { vec![0] } else { [vec![1], leb(locals), vec![op::I32]].concat() };
    sized(&[&locals[..], code, &[op::END]].concat())
}

/// A module whose only function has this type and body, with a memory of one page and a mutable global.
pub fn one_function(ty: Vec<u8>, body: Vec<u8>) -> Vec<u8> {
    with_types(&[ty], body)
}

/// The same with further types, the function's own being the first.
pub fn with_types(types: &[Vec<u8>], body: Vec<u8>) -> Vec<u8> {
    module(&[
        (1, vector(types)),
        (3, vec![1, 0]),
        (4, vec![1, op::FUNCREF, 0, 10]),
        (5, vec![1, 0, 1]),
        (6, vec![1, op::I32, 1, op::I32_CONST, 0, op::END]),
        (10, vector(&[body])),
    ])
}

/// Code so many times, one after another.
pub fn times(count: usize, code: &[u8]) -> Vec<u8> {
    code.repeat(count)
}

/// An instruction with one number.
pub fn with(op: u8, number: u64) -> Vec<u8> {
    [vec![op], leb(number)].concat()
}
