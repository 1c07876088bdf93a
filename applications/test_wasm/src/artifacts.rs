//! Damaged artifacts are refused, whatever the damage; and artifacts that are made to be refused.

use crate::guest::{artifact, engine, module};
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use ktest_system::{Ballast, leaves_nothing};
use memory::PAGE_SIZE;
use wasm_artifact::{Artifact, EngineInfo, Parts};
use wasm_engine::{Engine, Linker, Module, Store};

/// What is said about an artifact that must be refused.
fn refusal(engine: &Engine, bytes: &[u8]) -> String {
    // SAFETY: a damaged artifact is refused before its code is made executable: that is what is tested.
    match unsafe { Module::deserialize(engine, bytes) } {
        Ok(_) => panic!("{} bytes were taken for an artifact", bytes.len()),
        Err(error) => error.to_string(),
    }
}

/// One line, with a cause and a remedy.
fn assert_legible(text: &str) {
    assert!(text.lines().count() == 1 && text.contains("; "), "{text}");
}

pub(crate) fn cut_anywhere() {
    let engine = engine();
    let whole = artifact("memory");
    leaves_nothing(|| {
        for length in 0..whole.len() {
            let text = refusal(&engine, &whole[..length]);
            assert_legible(&text);
            let expected = match length {
                0 => "empty",
                1..8 => "not a compiled module",
                _ => "cut",
            };
            assert!(text.contains(expected), "{length}: {text}");
        }
    });
    let mut longer = whole;
    longer.push(0);
    assert_legible(&refusal(&engine, &longer));
}

pub(crate) fn any_byte_changed() {
    /// So many bytes lie between two that are looked at for leaks.
    const STRIDE: usize = 50;
    let engine = engine();
    let whole = artifact("memory");
    let mut changed = whole.clone();
    let mut refuse_at = |at: usize| {
        // Another bit of each byte; all bits are of equal worth to a hash.
        changed[at] ^= 1 << (at % 8);
        assert_legible(&refusal(&engine, &changed));
        changed[at] = whole[at];
    };
    (0..whole.len()).for_each(&mut refuse_at);
    leaves_nothing(|| (0..whole.len()).step_by(STRIDE).for_each(&mut refuse_at));
}

/// The artifact of a guest as if it had been compiled by and for what `change` says, with everything else right.
pub(crate) fn altered(name: &str, change: impl FnOnce(&mut EngineInfo)) -> Vec<u8> {
    let file = artifact(name);
    let Artifact { sections, mut engine, module } =
        Artifact::parse_for_any_host(&file).expect("it is a good one");
    change(&mut engine);
    let section = |name: &str| {
        let (_, range) = sections.iter().find(|(known, _)| *known == name).expect("every artifact has it");
        &file[range]
    };
    let parts = Parts {
        engine: &engine,
        module: &module,
        text: section(".text"),
        eh_frame: section(".eh_frame"),
        eh_frame_hdr: section(".eh_frame_hdr"),
        traps: section(".wasmc.traps"),
        address_map: section(".wasmc.addrmap"),
        functions: section(".wasmc.funcs"),
        names: section(".wasmc.names"),
        debug_info: &[],
        rodata: section(".rodata.wasm"),
    };
    wasm_artifact::elf::write(&parts).expect("there is memory for it")
}

pub(crate) fn each_refused_a_thousand_times() {
    /// `leaves_nothing` runs it twice at least.
    const TIMES: usize = 500;
    let engine = engine();
    let whole = artifact("hello");
    let mut changed = whole.clone();
    changed[whole.len() / 2] ^= 1;
    let files = [
        Vec::new(),
        b"\0asm\x01\0\0\0".to_vec(),
        whole[..whole.len() - 1].to_vec(),
        changed,
        altered("hello", |info| info.target = "x86_64-linux".to_string()),
        altered("hello", |info| info.version = "wasm_engine 0.0.0".to_string()),
        altered("hello", |info| info.tunables.memory_reservation /= 2),
    ];
    for file in &files {
        leaves_nothing(|| (0..TIMES).for_each(|_| assert_legible(&refusal(&engine, file))));
    }
    // Good artifacts that cannot be instantiated.
    for name in ["test_unknown_import", "test_other_import", "test_huge", "test_start"] {
        let module = module(&engine, name);
        let linker = linker_of_hello(&engine);
        let _ballast = Ballast::leaving((2 << 30) / PAGE_SIZE);
        leaves_nothing(|| {
            for _ in 0..TIMES {
                let mut store = Store::new(&engine, ());
                assert!(linker.instantiate(&mut store, &module).is_err(), "{name}");
            }
        });
    }
}

/// A linker that has what `hello` imports.
fn linker_of_hello(engine: &Engine) -> Linker<()> {
    let mut linker = Linker::new(engine);
    linker.func_wrap("host", "hello", |_: i32| ()).expect("the name is free");
    linker
}
