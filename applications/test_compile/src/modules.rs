//! What many modules leave behind, and the compiler itself: nothing.

use crate::wasm::{engine, engine_with, small};
use alloc::string::ToString;
use ktest_system::leaves_nothing;
use wasm_engine::{Module, OptLevel};

/// Whether the crate `name` is loaded.
fn is_loaded(name: &str) -> bool {
    mod_mgmt::all_crates().iter().any(|loaded| loaded.crate_name_without_hash() == name)
}

pub(crate) fn loaded_when_needed() {
    /// Some of the crates that only the compiler needs.
    const CRATES: [&str; 4] = ["wasm_compile", "wasm_compiler", "cranelift_codegen", "wasmparser"];
    let wasm = small();
    leaves_nothing(|| {
        let loaded = || CRATES.map(is_loaded);
        let first = engine();
        assert_eq!(loaded(), [false; 4], "there is nothing to compile yet");
        let module = Module::new(&first, &wasm).expect("it is valid");
        assert_eq!(loaded(), [true; 4]);
        let second = engine();
        Module::new(&second, &wasm).expect("it is valid");
        // The module keeps its engine, and that the compiler.
        drop(first);
        drop(second);
        assert_eq!(loaded(), [true; 4]);
        drop(module);
        assert_eq!(loaded(), [false; 4], "nobody compiles any more");
    });
    let never = engine_with(|config| {
        config.enable_compiler(false);
    });
    let error = Module::new(&never, &wasm).expect_err("it may not").to_string();
    assert!(error.contains("configured not to compile; "), "{error}");
    assert!(!is_loaded("wasm_compile"));
}

pub(crate) fn ten_thousand() {
    /// `leaves_nothing` runs it twice at least.
    const TIMES: usize = 5000;
    let engine = engine_with(|config| {
        config.cranelift_opt_level(OptLevel::None);
    });
    // A function, and the trampoline for its type; and a module without code.
    let modules = [small(), b"\0asm\x01\0\0\0".to_vec()];
    let compiled = || modules.each_ref().map(|wasm| engine.precompile_module(wasm).expect("it is valid"));
    let (before, ranges) = (compiled(), wasm_unwind::registered());
    leaves_nothing(|| {
        for _ in 0..TIMES {
            let [_with, _without] =
                modules.each_ref().map(|wasm| Module::new(&engine, wasm).expect("it is valid"));
            assert_eq!(wasm_unwind::registered(), ranges + 1, "the code of one");
        }
    });
    assert_eq!(wasm_unwind::registered(), ranges);
    assert!(compiled() == before, "the compiler has changed");
}
