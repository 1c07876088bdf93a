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

fn file(engine: &EngineInfo, module: &Module) -> Vec<u8> {
    let function = FunctionCode { offset: 0, len: 5, array_to_wasm: Some(16), wasm_offset: 33 };
    write(&Parts {
        engine,
        module,
        text: &[0x90; 40],
        eh_frame: &[0; 12],
        eh_frame_hdr: &[1; 20],
        traps: &crate::side_table::encode(&[(2, Trap::UnreachableCodeReached as u32)]),
        address_map: &crate::side_table::encode(&[(0, 33)]),
        functions: &encode_functions(&[function], &[Some(32)]),
        names: &encode_names(&[(FuncIndex(1), "run")]),
        rodata: b"abc",
    })
    .unwrap()
}

#[test]
fn what_was_written_is_read() {
    let bytes = file(&engine_info(), &module());
    let artifact = Artifact::parse(&bytes, &HOST).unwrap();
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
        let error = Artifact::parse(&bytes[..length], &HOST).unwrap_err();
        match length {
            0 => assert_eq!(error, ArtifactError::Empty),
            1..8 => assert_eq!(error, ArtifactError::NotAnArtifact),
            _ => assert!(matches!(error, ArtifactError::Cut { .. }), "{length}: {error}"),
        }
    }
    let longer = [&bytes[..], &[0]].concat();
    assert_eq!(Artifact::parse(&longer, &HOST).unwrap_err(), ArtifactError::Damaged("bytes after its end"));
}

#[test]
fn a_file_with_any_byte_changed_is_refused() {
    let mut bytes = file(&engine_info(), &module());
    for at in 0..bytes.len() {
        let before = bytes[at];
        for change in [1u8, 0x80, 0xff] {
            bytes[at] = before ^ change;
            let error = Artifact::parse(&bytes, &HOST).unwrap_err();
            assert!(!error.to_string().contains('\n'));
        }
        bytes[at] = before;
    }
    assert!(Artifact::parse(&bytes, &HOST).is_ok());
}

#[test]
fn damage_under_a_right_hash_is_found_without_panic() {
    // Whoever changes a byte can also set the hash right: then every check behind it must hold alone.
    let original = file(&engine_info(), &module());
    let sections = read_sections(&original).unwrap();
    let hash = sections.ranges[HASH].clone();
    let mut refused = 0;
    for number in [TRAPS, ADDRMAP, FUNCS, NAMES, INFO, ENGINE] {
        for at in sections.ranges[number].clone() {
            for value in [0, 1, 0x7f, 0x80, 0xfb, 0xfc, 0xfd, 0xfe, 0xff] {
                let mut bytes = original.clone();
                bytes[at] = value;
                let digest = content_hash(&bytes, &hash);
                bytes[hash.clone()].copy_from_slice(&digest);
                match Artifact::parse(&bytes, &HOST) {
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
        Artifact::parse(&file(&engine, &module()), &HOST).unwrap_err()
    };
    let other_version = with(&|engine| engine.version = "wasm_engine 0.0.9".to_string());
    assert_eq!(other_version, ArtifactError::Version("wasm_engine 0.0.9".to_string()));
    let other_target = with(&|engine| engine.target = "x86_64-theseus".to_string());
    assert!(other_target.to_string().contains("--target x86_64-linux"), "{other_target}");
    let other_cpu = with(&|engine| engine.cpu = CpuFeatures::X86_64_V3);
    assert!(other_cpu.to_string().contains("avx,avx2,fma,bmi1,bmi2,lzcnt"), "{other_cpu}");
    assert_eq!(with(&|engine| engine.tunables.memory_guard_size = 0), ArtifactError::Tunables);
    assert_eq!(Artifact::parse(b"\0asm\x01\0\0\0", &HOST).unwrap_err(), ArtifactError::NotAnArtifact);
    let mut elf = file(&engine_info(), &module());
    elf[8] = FORMAT_VERSION + 1;
    assert_eq!(Artifact::parse(&elf, &HOST).unwrap_err(), ArtifactError::FormatVersion(FORMAT_VERSION + 1));
    elf[8] = FORMAT_VERSION;
    elf[48] = 2;
    assert_eq!(Artifact::parse(&elf, &HOST).unwrap_err(), ArtifactError::UnknownKind(2));
}

#[test]
fn functions_and_data_outside_their_sections_are_refused() {
    let mut outside = module();
    outside.datas[0].data = 0..PAGE_SIZE as u32 + 1;
    let error = Artifact::parse(&file(&engine_info(), &outside), &HOST).unwrap_err();
    assert_eq!(error, ArtifactError::Damaged("data outside of .rodata.wasm"));
    let mut fewer = module();
    fewer.functions.pop();
    let error = Artifact::parse(&file(&engine_info(), &fewer), &HOST).unwrap_err();
    assert_eq!(error, ArtifactError::Damaged("function table"));
}
