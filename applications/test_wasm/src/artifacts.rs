//! Damaged artifacts are refused, whatever the damage; and artifacts that are made to be refused.

use crate::guest::{artifact, engine, module};
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use ktest_system::{Ballast, leaves_nothing};
use memory::PAGE_SIZE;
use wasm_artifact::elf::SEAL_SIZE;
use wasm_artifact::{Artifact, EngineInfo, Parts};
use wasm_engine::{Config, Engine, Linker, Module, SigningKey, Store, TrustedKeys};

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

/// The bytes of a seal behind the hash: who signed, and the signature.
const SIGNATURE: usize = SEAL_SIZE - 32;

/// As `file`, but signed by somebody else.
fn strangers(file: &[u8]) -> Vec<u8> {
    let mut file = file.to_vec();
    let stranger = SigningKey::from_seed([7; 32]).expect("it is a seed");
    assert!(wasm_artifact::elf::sign(&mut file, &stranger));
    file
}

/// As `file`, but signed by nobody.
fn nobodys(file: &[u8]) -> Vec<u8> {
    let mut file = file.to_vec();
    assert!(wasm_artifact::elf::unsign(&mut file));
    file
}

/// As `file`, but with the signature of another file of the same signer.
fn forged(file: &[u8], other: &[u8]) -> Vec<u8> {
    [&file[..file.len() - SIGNATURE], &other[other.len() - SIGNATURE..]].concat()
}

pub(crate) fn only_of_trusted_signers() {
    let engine = engine();
    let good = artifact("hello");
    let other = artifact("memory");
    for (file, expected) in [
        (nobodys(&good), "is not signed"),
        (strangers(&good), "which this system does not trust"),
        (forged(&good, &other), "is not what the key"),
        (forged(&strangers(&good), &good), ""),
        ([&good[..], &good[good.len() - SEAL_SIZE..]].concat(), "bytes after its end"),
    ] {
        if expected.is_empty() {
            // The signature that was there before.
            assert!(file == good);
            continue;
        }
        let text = refusal(&engine, &file);
        assert_legible(&text);
        assert!(text.contains(expected), "{text}");
    }
    // What is compiled here is signed here; another engine trusts it, too, and somebody who trusts others does not.
    let compiled = engine.precompile_module(b"(module)").expect("it is valid");
    // SAFETY: the compiler has just made it.
    let load = |engine: &Engine, file: &[u8]| unsafe { Module::deserialize(engine, file) };
    let module = load(&crate::guest::engine(), &compiled).expect("this system signed it");
    assert!(module.serialize().expect("there is memory") == compiled);
    let fresh = Module::new(&engine, "(module)").expect("it is valid").serialize().expect("there is memory");
    assert!(fresh == compiled, "the same key signs the same file alike");
    let with = |keys: Option<TrustedKeys>| {
        Engine::new(Config::new().trusted_keys(keys)).expect("the trap hook is free or ours")
    };
    assert!(load(&with(Some(TrustedKeys::new())), &compiled).is_err());
    for file in [&good, &compiled] {
        load(&with(Some(wasm_engine::system_trusted_keys().expect("the image has keys"))), file)
            .expect("it is signed");
    }
    // Who vouches for a file gets it, and nobody signs it by that.
    for file in [nobodys(&good), strangers(&good)] {
        load(&with(None), &file).expect("it is whole");
    }
    assert!(load(&with(None), &forged(&good, &other)).is_err(), "it is not");
    let unsigned = Engine::new(Config::new().signing_key(None)).expect("the trap hook is free or ours");
    let unsigned = unsigned.precompile_module(b"(module)").expect("it is valid");
    assert!(unsigned == nobodys(&compiled));
    assert!(refusal(&engine, &unsigned).contains("is not signed"));
}

/// The artifact of a guest as if it had been compiled by and for what `change` says, with everything else right, and signed by this system.
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
        handlers: section(".wasmc.handlers"),
        functions: section(".wasmc.funcs"),
        names: section(".wasmc.names"),
        debug_info: &[],
        rodata: section(".rodata.wasm"),
    };
    let mut file = wasm_artifact::elf::write(&parts).expect("there is memory for it");
    assert!(wasm_artifact::elf::sign(
        &mut file,
        &wasm_engine::system_signing_key().expect("the system has a key")
    ));
    file
}

pub(crate) fn each_refused_a_thousand_times() {
    /// `leaves_nothing` runs it twice at least.
    const TIMES: usize = 500;
    let engine = engine();
    let whole = artifact("hello");
    let mut changed = whole.clone();
    changed[whole.len() / 2] ^= 1;
    let files = [
        nobodys(&whole),
        strangers(&whole),
        forged(&whole, &artifact("memory")),
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
