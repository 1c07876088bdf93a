//! `wasmc`: compiles a WebAssembly module, binary or text, to an artifact that `wasm_run` loads.
//!
//! Functions are compiled on all processors. The output depends on the module, the options and the key that signs alone. Errors are one line on
//! stderr; the exit status is 1, or 2 when the command line is not understood.

mod options;

use options::{Command, Options, Signer};
use std::process::ExitCode;
use wasm_artifact::compile::{CompileLimits, CompileRequest};
use wasm_compile::wasm_compile_service;

fn main() -> ExitCode {
    let arguments: Result<Vec<String>, _> =
        std::env::args_os().skip(1).map(|argument| argument.into_string()).collect();
    let parsed = match arguments {
        Ok(arguments) => options::parse(arguments),
        Err(argument) => Err(format!("{argument:?} is not UTF-8")),
    };
    let done = match parsed {
        Ok(Command::Compile(options)) => compile(&options),
        Ok(Command::Keys) => keys(),
        Ok(Command::Help) => {
            print!("{}", options::HELP);
            return ExitCode::SUCCESS;
        }
        Err(message) => {
            eprintln!("wasmc: {message}; see wasmc --help");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("wasmc: {message}");
            ExitCode::FAILURE
        }
    }
}

/// Makes the developer's keys, and says which they are.
fn keys() -> Result<(), String> {
    let made = wasm_keys::make_keys(&wasm_keys::directory()?)?;
    let new = if made.is_new { "made" } else { "there is" };
    println!("{new} the key {} in {}", made.key.public_key().id(), made.trusted.with_file_name("").display());
    Ok(())
}

/// Reads, compiles, signs, writes. Errors are one line.
fn compile(options: &Options) -> Result<(), String> {
    // First, so that nothing is compiled in vain.
    let key = match &options.signer {
        Signer::Developer => {
            Some(wasm_keys::signing_key().map_err(|error| format!("{error}, or compile with --no-sign"))?)
        }
        Signer::File(file) => Some(wasm_keys::read_signing_key(file)?),
        Signer::Nobody => None,
    };
    let input = options.input.display();
    let bytes = std::fs::read(&options.input).map_err(|error| format!("cannot read {input}: {error}"))?;
    if bytes.is_empty() {
        return Err(format!("{input} is empty; give a .wasm or .wat file"));
    }
    if wasm_artifact::Artifact::detect(&bytes) {
        return Err(format!("{input} is compiled already; give a .wasm or .wat file"));
    }
    let request = CompileRequest {
        input: &bytes,
        accept_text: true,
        settings: options.settings,
        limits: CompileLimits::default(),
        tasks: options.threads,
        progress: None,
    };
    let mut artifact =
        wasm_compile_service.compile(&request).map_err(|error| format!("{input}: {}", error.message))?;
    if let Some(key) = key {
        wasm_artifact::elf::sign(&mut artifact, &key);
    }
    write(&options.output, &artifact)
        .map_err(|error| format!("cannot write {}: {error}", options.output.display()))
}

/// Writes a file so that nobody sees a part of it under its name.
fn write(path: &std::path::Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}.tmp", std::process::id()));
    let written = std::fs::write(&temporary, bytes).and_then(|()| std::fs::rename(&temporary, path));
    if written.is_err() {
        // The first error is the one to report; a file that was never made need not be removed.
        let _ = std::fs::remove_file(&temporary);
    }
    written
}
