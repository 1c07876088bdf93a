use super::*;
use alloc::vec::Vec;
use wasm_artifact::{CpuFeatures, EngineInfo, Host, Module, OptLevel, Tunables};

/// An artifact with a page of code that is a `ret`, with a trap site at offset 1.
fn artifact() -> Vec<u8> {
    let engine = EngineInfo {
        version: wasm_artifact::elf::ENGINE_VERSION.into(),
        target: "test".into(),
        cpu: CpuFeatures::BASELINE,
        opt_level: OptLevel::Speed,
        tunables: Tunables::default(),
    };
    wasm_artifact::elf::write(&wasm_artifact::Parts {
        engine: &engine,
        module: &Module::default(),
        text: &[0xc3, 0x0f, 0x0b],
        eh_frame: &[0; 4],
        eh_frame_hdr: &[],
        traps: &wasm_artifact::side_table::encode(&[(1, Trap::UnreachableCodeReached as u32)]),
        address_map: &wasm_artifact::side_table::encode(&[]),
        handlers: &wasm_artifact::handlers::encode(&[]),
        functions: &wasm_artifact::tables::encode_functions(&[], &[]),
        names: &wasm_artifact::tables::encode_names(&[]),
        debug_info: &[],
        rodata: &[],
    })
    .unwrap()
}

fn load(file: &[u8]) -> LoadedCode {
    let host = Host { target: "test", cpu: CpuFeatures::BASELINE, tunables: Tunables::default() };
    let sections =
        wasm_artifact::Artifact::parse(file, &host, wasm_artifact::Trust::JustCompiled).unwrap().sections;
    // SAFETY: the file was just written, with empty unwind tables.
    unsafe { LoadedCode::new(file, sections).unwrap() }
}

/// Both tests look at the one registry there is, so they are one.
#[test]
fn code_is_found_by_its_addresses_as_long_as_it_lives() {
    let file = artifact();
    let mut loaded: Vec<LoadedCode> = (0..100).map(|_| load(&file)).collect();
    assert_eq!(registered(), 100);
    for code in &loaded {
        let text = code.text();
        assert_eq!(
            with_code(text.start + 1, |found| found.trap_at(text.start + 1)).unwrap(),
            Some(Trap::UnreachableCodeReached)
        );
        assert_eq!(with_code(text.start, |found| found.trap_at(text.start)).unwrap(), None);
        assert!(with_code(text.end - 1, |found| core::ptr::eq(found, &**code)).unwrap());
        assert!(with_code(text.end, |found| core::ptr::eq(found, &**code)) != Some(true));
    }
    let gone = loaded.swap_remove(40).text();
    assert!(with_code(gone.start, |_| ()).is_none());
    loaded.truncate(1);
    assert_eq!(registered(), 1);
    assert!(with_code(loaded[0].text().start, |_| ()).is_some());
    loaded.clear();
    assert_eq!(registered(), 0);

    // Readers on some threads while another one registers and deregisters.
    let steady = load(&file);
    let pc = steady.text().start + 1;
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(move || {
                    (0..20_000).all(|_| {
                        with_code(pc, |code| code.trap_at(pc)) == Some(Some(Trap::UnreachableCodeReached))
                    })
                })
            })
            .collect();
        for _ in 0..200 {
            let pair = (load(&file), load(&file));
            drop(pair);
        }
        assert!(readers.into_iter().all(|reader| reader.join().unwrap()));
    });
    drop(steady);
    assert_eq!(registered(), 0);
}
