//! Whose artifacts an engine loads, and who signs its own.

use wasm_artifact::elf::{SEAL_SIZE, sign, unsign};
use wasm_artifact::{Artifact, CpuFeatures, Host, Trust, Tunables};
use wasm_engine::*;

const ANSWER: &str = r#"(module (func (export "answer") (result i32) (i32.const 42)))"#;

fn key(number: u8) -> SigningKey {
    SigningKey::from_seed([number; 32]).unwrap()
}

fn trusting(numbers: &[u8]) -> TrustedKeys {
    let mut keys = TrustedKeys::new();
    numbers.iter().for_each(|number| keys.add(key(*number).public_key()).unwrap());
    keys
}

/// An engine that signs with one key and trusts some.
fn engine(signer: Option<u8>, trusted: Option<&[u8]>) -> Engine {
    let mut config = Config::new();
    config.signing_key(signer.map(key)).trusted_keys(trusted.map(trusting));
    Engine::new(&config).unwrap()
}

fn load(engine: &Engine, bytes: &[u8]) -> Result<Module> {
    // SAFETY: what is given here was made by the compiler, and then at most changed where its hash shows that.
    unsafe { Module::deserialize(engine, bytes) }
}

#[test]
fn an_engine_loads_what_it_trusts() -> Result<()> {
    let by_first = engine(Some(1), None).precompile_module(ANSWER.as_bytes())?;
    let by_nobody = engine(None, None).precompile_module(ANSWER.as_bytes())?;
    let by_default = Engine::default().precompile_module(ANSWER.as_bytes())?;
    assert_eq!(by_nobody, by_default, "on Linux nothing is signed unless somebody says so");
    let loads = |trusted: Option<&[u8]>, file: &[u8]| load(&engine(None, trusted), file).map(drop);
    for (trusted, first, nobody) in [
        (None, true, true),
        (Some(&[1][..]), true, false),
        (Some(&[2, 3, 1]), true, false),
        (Some(&[2, 3]), false, false),
        (Some(&[]), false, false),
    ] {
        assert_eq!(loads(trusted, &by_first).is_ok(), first, "{trusted:?}");
        assert_eq!(loads(trusted, &by_nobody).is_ok(), nobody, "{trusted:?}");
    }
    let text = |trusted: &[u8], file: &[u8]| loads(Some(trusted), file).unwrap_err().to_string();
    assert!(text(&[1], &by_nobody).contains("is not signed; "));
    assert!(text(&[2], &by_first).contains(&format!("signed by the key {}, ", key(1).public_key().id())));
    // What an engine compiles for itself needs nobody's trust.
    let alone = engine(None, Some(&[]));
    assert!(Module::new(&alone, ANSWER)?.get_export("answer").is_some());
    Ok(())
}

#[test]
fn what_is_given_away_is_signed_once() -> Result<()> {
    let signing = engine(Some(1), Some(&[2]));
    let signed = signing.precompile_module(ANSWER.as_bytes())?;
    assert_eq!(Module::new(&signing, ANSWER)?.serialize()?, signed);
    assert_eq!(
        CodeBuilder::new(&signing)
            .wasm_binary_or_text(ANSWER.as_bytes(), None)?
            .compile_module_serialized()?,
        signed
    );
    // Whoever loads another's and gives it away does not sign it.
    let mut others = signed.clone();
    assert!(sign(&mut others, &key(2)));
    assert_eq!(load(&signing, &others)?.serialize()?, others);
    let mut nobodys = signed.clone();
    assert!(unsign(&mut nobodys));
    assert_eq!(load(&engine(None, None), &nobodys)?.serialize()?, nobodys);
    Ok(())
}

#[test]
fn files_are_checked_as_bytes_are() -> Result<()> {
    let path = std::env::temp_dir().join(format!("wasm_engine-signed-{}.cwasm", std::process::id()));
    std::fs::write(&path, engine(Some(1), None).precompile_module(ANSWER.as_bytes())?).unwrap();
    for (trusted, loads) in [(&[1][..], true), (&[2], false)] {
        let engine = engine(None, Some(trusted));
        // SAFETY: the compiler made it.
        assert_eq!(unsafe { Module::deserialize_file(&engine, &path) }.is_ok(), loads);
        // SAFETY: as above.
        assert_eq!(unsafe { Module::from_trusted_file(&engine, &path) }.is_ok(), loads);
    }
    std::fs::remove_file(path).unwrap();
    Ok(())
}

/// Every guest of the image, as it is in the image but for the key.
#[test]
fn every_guest_with_a_bit_changed_in_any_byte_is_refused() -> Result<()> {
    let guests = concat!(env!("CARGO_MANIFEST_DIR"), "/../../guests");
    let mut config = Config::new();
    config.target("x86_64-theseus")?.signing_key(Some(key(1)));
    let compiler = Engine::new(&config)?;
    let host =
        Host { target: "x86_64-theseus", cpu: CpuFeatures::of_this_cpu(), tunables: Tunables::default() };
    let trusted = trusting(&[1]);
    let parse = |file: &[u8]| {
        Artifact::parse(file, &host, Trust::SignedBy(&|public_key| trusted.contains(public_key))).map(drop)
    };
    let (mut files, mut bytes) = (0, 0);
    for entry in std::fs::read_dir(guests).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "wat") {
            continue;
        }
        let mut file = compiler.precompile_module(&std::fs::read(&path).unwrap())?;
        assert_eq!(parse(&file), Ok(()), "{path:?}");
        for at in 0..file.len() {
            file[at] ^= 1 << (at % 8);
            let error = parse(&file).expect_err("a bit was changed");
            assert!(
                at < file.len() - SEAL_SIZE || !error.to_string().contains('\n'),
                "{path:?}: byte {at}: {error}"
            );
            file[at] ^= 1 << (at % 8);
        }
        for len in (0..file.len()).step_by(5).chain(file.len() - 200..file.len()) {
            parse(&file[..len]).expect_err("it was cut");
        }
        (files, bytes) = (files + 1, bytes + file.len());
    }
    assert!(files > 15 && bytes > 200_000, "{files} files, {bytes} bytes");
    Ok(())
}
