//! The file is read back as written, and nothing else is read at all.

use super::*;
use crate::index::*;
use crate::module::*;
use crate::tables::{FunctionCode, encode_functions, encode_names};
use crate::trap::Trap;
use crate::types::*;
use alloc::string::ToString;
use alloc::vec;

const HOST: Host<'static> = Host {
    target: "x86_64-linux",
    cpu: CpuFeatures::X86_64_V2,
    tunables: Tunables {
        memory_reservation: 4 << 30,
        memory_guard_size: 32 << 20,
        small_memory_limit: 1 << 20,
        consume_fuel: false,
        epoch_interruption: false,
    },
};

fn engine_info() -> EngineInfo {
    EngineInfo {
        version: ENGINE_VERSION.to_string(),
        target: HOST.target.to_string(),
        cpu: CpuFeatures::SSE41,
        opt_level: OptLevel::Speed,
        tunables: HOST.tunables,
    }
}

fn module() -> Module {
    let i32_to_i64 = FuncType { params: [ValType::I32].into(), results: [ValType::I64].into() };
    Module {
        name: Some("test".to_string()),
        types: vec![i32_to_i64],
        imports: vec![Import {
            module: "host".to_string(),
            name: "hello".to_string(),
            ty: EntityType::Func(TypeIndex(0)),
        }],
        exports: vec![Export { name: "run".to_string(), entity: EntityIndex::Func(FuncIndex(1)) }],
        functions: vec![
            Function { ty: TypeIndex(0), func_ref: None },
            Function { ty: TypeIndex(0), func_ref: Some(FuncRefIndex(0)) },
        ],
        num_imported_functions: 1,
        num_func_refs: 1,
        datas: vec![DataSegment { mode: DataMode::Passive, data: 0..3 }],
        ..Module::default()
    }
}

fn key(number: u8) -> SigningKey {
    SigningKey::from_seed([number; 32]).unwrap()
}

fn signed_by_first(public_key: &[u8; PUBLIC_KEY_SIZE]) -> bool {
    public_key == key(1).public_key().as_bytes()
}

/// As a system does that trusts the first key.
fn parse(file: &[u8]) -> Result<Artifact, ArtifactError> {
    Artifact::parse(file, &HOST, Trust::SignedBy(&signed_by_first))
}

/// As [`parse`], but whoever signed.
fn parse_anybodys(file: &[u8]) -> Result<Artifact, ArtifactError> {
    Artifact::parse(file, &HOST, Trust::Anybody)
}

/// Sets the hash right after a change, and signs.
fn sealed(mut file: Vec<u8>) -> Vec<u8> {
    let hash = content_hash(&file);
    let start = file.len() - SEAL_SIZE;
    file[start..][..HASH_SIZE].copy_from_slice(&hash);
    assert!(sign(&mut file, &key(1)));
    file
}

fn file(engine: &EngineInfo, module: &Module) -> Vec<u8> {
    sealed(unsigned_file(engine, module))
}

fn unsigned_file(engine: &EngineInfo, module: &Module) -> Vec<u8> {
    let function = FunctionCode { offset: 0, len: 5, array_to_wasm: Some(16), wasm_offset: 33 };
    write(&Parts {
        engine,
        module,
        text: &[0x90; 40],
        eh_frame: &[0; 12],
        eh_frame_hdr: &[1; 20],
        traps: &crate::side_table::encode(&[(2, Trap::UnreachableCodeReached as u32)]),
        address_map: &crate::side_table::encode(&[(0, 33)]),
        handlers: &crate::handlers::encode(&[]),
        functions: &encode_functions(&[function], &[Some(32)]),
        names: &encode_names(&[(FuncIndex(1), "run")]),
        debug_info: b"debug",
        rodata: b"abc",
    })
    .unwrap()
}

#[test]
fn what_was_written_is_read() {
    let bytes = file(&engine_info(), &module());
    let artifact = parse(&bytes).unwrap();
    assert_eq!(artifact.module, module());
    assert_eq!(artifact.engine, engine_info());
    let text = artifact.sections.text();
    assert_eq!((text.start % PAGE_SIZE, text.len()), (0, PAGE_SIZE));
    assert_eq!(bytes[text.start + 39..text.start + 42], [0x90, TEXT_PADDING, TEXT_PADDING]);
    assert_eq!(artifact.sections.eh_frame().start - text.start, eh_frame_distance(40));
    let hdr_distance = artifact.sections.eh_frame_hdr().start - artifact.sections.eh_frame().start;
    assert_eq!(hdr_distance, eh_frame_hdr_distance(12));
    assert!(bytes[artifact.sections.rodata()].starts_with(b"abc"));
    let tables = artifact.sections.tables(&bytes);
    assert_eq!(tables.trap_at(2), Some(Trap::UnreachableCodeReached));
    assert_eq!(tables.function_name(FuncIndex(1)), Some("run"));
    assert_eq!(tables.wasm_to_array(TypeIndex(0)), Some(32));
}

#[test]
fn a_file_cut_at_any_byte_is_refused() {
    let bytes = file(&engine_info(), &module());
    for length in 0..bytes.len() {
        let error = parse(&bytes[..length]).unwrap_err();
        match length {
            0 => assert_eq!(error, ArtifactError::Empty),
            1..8 => assert_eq!(error, ArtifactError::NotAnArtifact),
            _ => assert!(matches!(error, ArtifactError::Cut { .. }), "{length}: {error}"),
        }
    }
    let longer = [&bytes[..], &[0]].concat();
    assert_eq!(parse(&longer).unwrap_err(), ArtifactError::Damaged("bytes after its end"));
}

#[test]
fn a_file_with_any_bit_changed_is_refused() {
    let mut bytes = file(&engine_info(), &module());
    let seal = bytes.len() - SEAL_SIZE;
    for at in 0..bytes.len() {
        for bit in 0..8 {
            bytes[at] ^= 1 << bit;
            let error = parse(&bytes).unwrap_err();
            assert!(!error.to_string().contains('\n'));
            let content_or_hash = at < seal + HASH_SIZE;
            assert!(parse_anybodys(&bytes).is_err(), "byte {at}");
            match error {
                ArtifactError::UnknownKey(_) => assert!((HASH_SIZE..HASH_SIZE + 32).contains(&(at - seal))),
                ArtifactError::Signature(_) => assert!(at >= seal + HASH_SIZE + PUBLIC_KEY_SIZE),
                _ => assert!(content_or_hash),
            }
            bytes[at] ^= 1 << bit;
        }
    }
    assert!(parse(&bytes).is_ok());
}

#[test]
fn only_what_a_trusted_key_signed_is_read() {
    let good = file(&engine_info(), &module());
    let mut other = module();
    other.name = Some("tesT".to_string());
    let other = file(&engine_info(), &other);
    assert_eq!(good.len(), other.len());
    let seal = good.len() - SEAL_SIZE;
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut file = good.clone();
        change(&mut file);
        parse(&file).map(drop)
    };
    // Nobody's, a stranger's.
    let unsigned = unsigned_file(&engine_info(), &module());
    assert_eq!(parse(&unsigned).unwrap_err(), ArtifactError::Unsigned);
    let strangers = with(&|file| assert!(sign(file, &key(2))));
    assert_eq!(strangers, Err(ArtifactError::UnknownKey(key(2).public_key().id())));
    // The signature of another file by the same signer; the whole seal of it.
    let forged = Err(ArtifactError::Signature(key(1).public_key().id()));
    assert_eq!(with(&|file| file[seal + HASH_SIZE..].copy_from_slice(&other[seal + HASH_SIZE..])), forged);
    assert_eq!(with(&|file| file[seal..].copy_from_slice(&other[seal..])), Err(ArtifactError::HashMismatch));
    // A stranger's signature with the signer's name; the signer's with the stranger's name.
    let by_stranger = key(2).sign(&content_hash(&good));
    assert_eq!(
        with(&|file| file[seal + HASH_SIZE + PUBLIC_KEY_SIZE..].copy_from_slice(&by_stranger)),
        forged
    );
    let named = with(&|file| {
        file[seal + HASH_SIZE..][..PUBLIC_KEY_SIZE].copy_from_slice(key(2).public_key().as_bytes());
    });
    assert_eq!(named, strangers);
    // Something after its end, a second seal, a file in a file.
    for tail in [&[0][..], &good[seal..], &[0; SEAL_SIZE], &good] {
        let longer = [&good[..], tail].concat();
        assert!(matches!(parse(&longer), Err(ArtifactError::Damaged("bytes after its end"))));
        // Whatever is signed: then it is the layout that is not right.
        assert!(matches!(parse(&sealed(longer)), Err(ArtifactError::Damaged("bytes after its end"))));
    }
    let headless = [&good[..seal], &good[seal + HASH_SIZE..]].concat();
    assert!(matches!(parse(&headless), Err(ArtifactError::Cut { .. })));
    // Keys for which anybody can sign, even if somebody trusts them.
    let mut weak = good.clone();
    weak[seal + HASH_SIZE..].fill(0);
    weak[seal + HASH_SIZE] = 1;
    weak[seal + HASH_SIZE + PUBLIC_KEY_SIZE] = 1;
    let everybody = |_: &[u8; PUBLIC_KEY_SIZE]| true;
    let error = Artifact::parse(&weak, &HOST, Trust::SignedBy(&everybody)).unwrap_err();
    assert!(matches!(error, ArtifactError::Signature(_)));
    assert!(matches!(parse_anybodys(&weak), Err(ArtifactError::Signature(_))));
    // Who vouches for the file gets what is whole. Nobody's with a byte changed is not whole either.
    let mut strangers = unsigned.clone();
    assert!(sign(&mut strangers, &key(2)));
    assert!(parse_anybodys(&unsigned).is_ok() && parse_anybodys(&strangers).is_ok());
    for at in 0..unsigned.len() {
        let mut changed = unsigned.clone();
        changed[at] ^= 1;
        assert!(parse(&changed).is_err() && parse_anybodys(&changed).is_err(), "byte {at}");
    }
}

#[test]
fn signing_changes_the_seal_only() {
    let unsigned = unsigned_file(&engine_info(), &module());
    let mut signed = unsigned.clone();
    assert!(sign(&mut signed, &key(1)) && sign(&mut signed, &key(2)));
    assert!(signed != unsigned && signed[..signed.len() - 96] == unsigned[..unsigned.len() - 96]);
    let (before, after) = (Seal::of(&unsigned).unwrap(), Seal::of(&signed).unwrap());
    assert!(!before.is_signed() && after.is_signed() && after.signature_is_right());
    assert_eq!(before.hash(), after.hash());
    assert_eq!(after.public_key(), key(2).public_key().as_bytes());
    assert!(unsign(&mut signed) && signed == unsigned);
    for bytes in [&b""[..], b"\x7fELF", &unsigned[..EHDR_SIZE], &[0; 300]] {
        let mut bytes = bytes.to_vec();
        assert!(!sign(&mut bytes, &key(1)) && !unsign(&mut bytes) && Seal::of(&bytes).is_none());
    }
}

#[test]
fn damage_under_a_right_hash_is_found_without_panic() {
    // Whoever changes a byte can also set the hash right: then every check behind it must hold alone.
    let original = file(&engine_info(), &module());
    let sections = read_sections(&original).unwrap();
    let mut refused = 0;
    for number in [TRAPS, ADDRMAP, FUNCS, NAMES, INFO, ENGINE] {
        for at in sections.ranges[number].clone() {
            for value in [0, 1, 0x7f, 0x80, 0xfb, 0xfc, 0xfd, 0xfe, 0xff] {
                let mut bytes = original.clone();
                bytes[at] = value;
                let start = bytes.len() - SEAL_SIZE;
                let digest = content_hash(&bytes);
                bytes[start..][..HASH_SIZE].copy_from_slice(&digest);
                match parse_anybodys(&bytes) {
                    Err(_) => refused += 1,
                    Ok(artifact) => {
                        let tables = artifact.sections.tables(&bytes);
                        let _ =
                            (tables.trap_at(2), tables.wasm_offset_at(3), tables.function_name(FuncIndex(1)));
                        let _ = (tables.function_at(4), artifact.module.vm_offsets());
                    }
                }
            }
        }
    }
    assert!(refused > 500, "only {refused} refused");
}

#[test]
fn each_reason_has_its_own_one_line_text() {
    let with = |change: &dyn Fn(&mut EngineInfo)| {
        let mut engine = engine_info();
        change(&mut engine);
        parse(&file(&engine, &module())).unwrap_err()
    };
    let other_version = with(&|engine| engine.version = "wasm_engine 0.0.9".to_string());
    assert_eq!(other_version, ArtifactError::Version("wasm_engine 0.0.9".to_string()));
    let other_target = with(&|engine| engine.target = "x86_64-theseus".to_string());
    assert!(other_target.to_string().contains("--target x86_64-linux"), "{other_target}");
    let other_cpu = with(&|engine| engine.cpu = CpuFeatures::X86_64_V3);
    assert!(other_cpu.to_string().contains("avx,avx2,fma,bmi1,bmi2,lzcnt"), "{other_cpu}");
    assert_eq!(with(&|engine| engine.tunables.memory_guard_size = 0), ArtifactError::Tunables);
    assert_eq!(parse(b"\0asm\x01\0\0\0").unwrap_err(), ArtifactError::NotAnArtifact);
    let mut elf = file(&engine_info(), &module());
    elf[8] = FORMAT_VERSION + 1;
    assert_eq!(parse(&elf).unwrap_err(), ArtifactError::FormatVersion(FORMAT_VERSION + 1));
    elf[8] = FORMAT_VERSION;
    elf[48] = 2;
    assert_eq!(parse(&sealed(elf)).unwrap_err(), ArtifactError::UnknownKind(2));
}

#[test]
fn functions_and_data_outside_their_sections_are_refused() {
    let mut outside = module();
    outside.datas[0].data = 0..PAGE_SIZE as u32 + 1;
    let error = parse(&file(&engine_info(), &outside)).unwrap_err();
    assert_eq!(error, ArtifactError::Damaged("data outside of .rodata.wasm"));
    let mut fewer = module();
    fewer.functions.pop();
    let error = parse(&file(&engine_info(), &fewer)).unwrap_err();
    assert_eq!(error, ArtifactError::Damaged("function table"));
}
