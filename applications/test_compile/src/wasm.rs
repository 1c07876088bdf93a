//! Modules that are made up.

use alloc::vec::Vec;
use wasm_engine::{Config, CpuFeatures, Engine, WasmBacktraceDetails};

/// An engine that compiles as `wasmc` does unless told otherwise.
pub(crate) fn engine() -> Engine {
    engine_with(|_| ())
}

/// As [`engine`], with other things changed.
pub(crate) fn engine_with(change: impl FnOnce(&mut Config)) -> Engine {
    let mut config = Config::new();
    // As `wasmc` compiles what is in the image.
    config.target_cpu(CpuFeatures::BASELINE).wasm_backtrace_details(WasmBacktraceDetails::Enable);
    change(&mut config);
    Engine::new(&config).expect("the trap hook is free or ours")
}

/// A number as the binary format writes it.
fn leb(mut number: usize, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn section(id: u8, content: &[u8], out: &mut Vec<u8>) {
    out.push(id);
    leb(content.len(), out);
    out.extend_from_slice(content);
}

/// A valid module of `functions` functions of type `(i32) -> i32`, each with `steps` steps of some instructions and a branch.
/// The first is exported as `f`.
pub(crate) fn module(functions: usize, steps: usize) -> Vec<u8> {
    let mut wasm = b"\0asm\x01\0\0\0".to_vec();
    section(1, &[1, 0x60, 1, 0x7f, 1, 0x7f], &mut wasm);
    let mut content = Vec::new();
    leb(functions, &mut content);
    content.resize(content.len() + functions, 0);
    section(3, &content, &mut wasm);
    section(7, &[1, 1, b'f', 0, 0], &mut wasm);
    content.clear();
    leb(functions, &mut content);
    let mut body = Vec::new();
    for function in 0..functions {
        body.clear();
        body.push(0); // no locals
        for step in 0..steps {
            body.extend_from_slice(&[0x20, 0, 0x41]); // local.get 0, i32.const …
            body.push(((function + step) % 0x40) as u8);
            body.extend_from_slice(&[
                0x6c, 0x22, 0, // i32.mul, local.tee 0
                0x04, 0x40, 0x20, 0, 0x41, 1, 0x6a, 0x21, 0,
                0x0b, // if, local.get 0, i32.const 1, i32.add, local.set 0, end
            ]);
        }
        body.extend_from_slice(&[0x20, 0, 0x0b]); // local.get 0, end
        leb(body.len(), &mut content);
        content.extend_from_slice(&body);
    }
    section(10, &content, &mut wasm);
    wasm
}

/// A module of one function without parameters and results, whose body, locals included, is this.
pub(crate) fn one_function(body: &[u8]) -> Vec<u8> {
    let mut wasm = b"\0asm\x01\0\0\0".to_vec();
    section(1, &[1, 0x60, 0, 0], &mut wasm);
    section(3, &[1, 0], &mut wasm);
    let mut content = alloc::vec![1];
    leb(body.len(), &mut content);
    content.extend_from_slice(body);
    section(10, &content, &mut wasm);
    wasm
}

/// A module that takes a second or more to compile on any machine that we know, some hundreds of times as long as
/// [`small`].
pub(crate) fn large() -> Vec<u8> {
    module(400, 60)
}

/// A module that is compiled in no time.
pub(crate) fn small() -> Vec<u8> {
    module(1, 1)
}
