use std::{env, fs, process::Command};

use crate_metadata::{
    Layout, ObjectFile, Segment, SymbolKind, SymbolValue,
    checksum::{Verdict, verify},
    elf::SHN_ABS,
    relocate_section,
    relocation::kind,
    symbol_hash,
};

use super::prepare;

const TEXT: u64 = 0xFFFF_FFFF_8010_0000;
const RODATA: u64 = 0xFFFF_FFFF_8110_0000;
const DATA: u64 = 0xFFFF_FFFF_8210_0000;
const TLS: i64 = 0x40;

/// Compiles `sample.rs` as crates are compiled, with debug information so that there is something to take out.
fn sample(name: &str) -> Vec<u8> {
    let rustc = env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/src/prepare/sample.rs");
    let output = env::temp_dir().join(format!("image_builder-{}-{name}.o", std::process::id()));
    let status = Command::new(rustc)
        .env("RUSTC_BOOTSTRAP", "1")
        .args([
            "--edition=2024",
            "--crate-type=lib",
            "--emit=obj",
            "-Copt-level=2",
            "-Ccodegen-units=1",
            "-g",
        ])
        .args([
            "-Crelocation-model=static",
            "-Ccode-model=kernel",
            "-Ztls-model=local-exec",
            "-Zfunction-sections=no",
        ])
        .arg("-o")
        .args([output.as_os_str(), source.as_ref()])
        .status()
        .expect("rustc runs");
    assert!(status.success());
    let object = fs::read(&output).unwrap();
    fs::remove_file(&output).unwrap();
    object
}

/// Links an object at the addresses above, with values for what it does not define that depend on their names only.
fn link(object: &ObjectFile<'_>) -> [Vec<u8>; 3] {
    let layout = Layout::new(object).unwrap();
    let mut segments =
        [layout.text_size(), layout.rodata_size(), layout.data_size()].map(|size| vec![0; size]);
    let [text, rodata, data] = &mut segments;
    layout.copy_contents(object, text, rodata, data);
    let address = |index: usize| {
        let section = layout.section(index)?;
        Some(match section.segment {
            Segment::Text => TEXT + section.offset as u64,
            Segment::Rodata => RODATA + section.offset as u64,
            Segment::Data => DATA + section.offset as u64,
            Segment::TlsZeros => 0,
        })
    };
    let table = object.symbols();
    let values: Vec<_> = table
        .iter()
        .map(|(index, symbol)| {
            let section = layout.section(symbol.section as usize);
            match section {
                _ if index == 0 => SymbolValue::Unresolved,
                _ if symbol.section == SHN_ABS => SymbolValue::Address(symbol.value),
                _ if symbol.is_undefined() => {
                    let hash = symbol_hash(table.name_bytes(symbol.name));
                    SymbolValue::Address(TEXT + (hash & 0xFF_FFFF))
                }
                Some(section) if section.kind.is_tls() => {
                    SymbolValue::ThreadOffset(TLS + section.tls_offset as i64 + symbol.value as i64)
                }
                Some(section) => SymbolValue::Address(address(section.index).unwrap() + symbol.value),
                None => SymbolValue::Unresolved,
            }
        })
        .collect();
    for (_, header, entries) in object.relocation_sections() {
        let Some(section) = layout.section(header.info as usize) else { continue };
        let segment = match section.segment {
            Segment::Text => &mut *text,
            Segment::Rodata => &mut *rodata,
            Segment::Data => &mut *data,
            Segment::TlsZeros => continue,
        };
        let target = &mut segment[section.offset..][..section.size];
        // For Linux, rustc reaches other crates' functions through a table of addresses: R_X86_64_GOTPCREL and its like.
        // They carry what PC32 carries, and here only sameness matters.
        let mut entries = entries.to_vec();
        for entry in entries.iter_mut().filter(|entry| [9, 41, 42].contains(&entry[8])) {
            entry[8] = kind::R_X86_64_PC32 as u8;
        }
        relocate_section(target, address(section.index).unwrap(), &entries, &values).unwrap();
    }
    segments
}

#[test]
fn a_prepared_object_links_to_the_same_bytes() {
    let original = sample("link");
    let prepared = prepare(&original).unwrap();
    assert!(prepared.len() * 3 < original.len() * 2, "{} of {}", prepared.len(), original.len());
    let (original, prepared) = (ObjectFile::parse(&original).unwrap(), ObjectFile::parse(&prepared).unwrap());
    assert_eq!(Layout::new(&original).unwrap().tls(), Layout::new(&prepared).unwrap().tls());
    let tls = Layout::new(&prepared).unwrap().tls().unwrap();
    assert!(tls.image_size >= 4 && tls.size >= 76 && tls.alignment == 8, "{tls:?}");
    assert!(Layout::new(&prepared).unwrap().eh_frame().is_some());
    let [text, rodata, data] = link(&original);
    let [new_text, new_rodata, new_data] = link(&prepared);
    assert!(text == new_text, "text differs");
    assert!(rodata == new_rodata, "rodata differs");
    assert!(data == new_data, "data differs");
    assert!(text.len() > 1000 && rodata.len() > 500 && data.len() >= 4000);
}

#[test]
fn only_what_the_loader_needs_is_kept() {
    let original = sample("keep");
    let bytes = prepare(&original).unwrap();
    let (original, prepared) = (ObjectFile::parse(&original).unwrap(), ObjectFile::parse(&bytes).unwrap());
    assert_eq!(verify(&prepared), Verdict::Intact);
    assert_eq!(verify(&original), Verdict::Absent);
    assert!(original.sections().any(|(_, header)| original.section_name(&header).starts_with(".debug")));
    for (_, header) in prepared.sections() {
        let name = prepared.section_name(&header);
        assert!(!name.contains("debug") && !name.contains("comment") && !name.contains("note"), "{name}");
    }
    let functions = |object: &ObjectFile<'_>| {
        let table = object.symbols();
        let functions =
            table.iter().filter(|(_, symbol)| symbol.kind == SymbolKind::Function && !symbol.is_undefined());
        let mut names: Vec<_> =
            functions.map(|(_, symbol)| (table.name(&symbol).to_owned(), symbol.size)).collect();
        names.sort();
        names
    };
    assert_eq!(functions(&original), functions(&prepared), "names of functions are for backtraces");
    let exported = |object: &ObjectFile<'_>| {
        let table = object.symbols();
        let exported = table.globals().filter(|(_, symbol)| symbol.is_exported());
        exported.map(|(_, symbol)| table.name(&symbol).to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(exported(&original), exported(&prepared));
    assert_eq!(prepare(&bytes).unwrap().len(), bytes.len(), "prepared twice is prepared once");
}

#[test]
fn what_is_no_object_is_refused() {
    assert!(prepare(b"").is_err());
    assert!(prepare(b"#!/bin/sh\n").is_err());
    let original = sample("cut");
    for length in (0..original.len()).step_by(997) {
        assert!(prepare(&original[..length]).is_err(), "cut at {length}");
    }
}
