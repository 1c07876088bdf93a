//! Packs what a kernel build made into the one archive that the kernel boots with.
//!
//! ```text
//! image_builder --artifacts build.json --base nano_core.elf --base-lib libnano_core.a --applications applications
//!               [--files DIR] [--extra FILE=NAME]… [--trusted-keys FILE]… --output theseus.cpio [--sizes]
//! image_builder --object IN.o --output OUT.o
//! ```
//! `build.json` is what `cargo build --message-format=json` printed: the list of what this build consists of. Objects are
//! taken out of the rlibs it names, so nothing left over from an earlier build gets in. Crates that are part of the base
//! image get no object in the archive.
//!
//! The archive is an uncompressed cpio (`newc`), in which every file's contents begin at a multiple of 4096 bytes; names are
//! padded with zero bytes to that end. It holds
//! - `keys/trusted.keys`: the public keys whose `.cwasm` files the system loads; first, because it is looked for in the archive itself,
//! - `namespaces/_kernel/CRATE-HASH.o`, `namespaces/_applications/CRATE-HASH.o`: objects, prepared for the loader ([`prepare`]),
//! - `namespaces/_kernel/nano_core.sym`: symbols of the base image,
//! - `namespaces/symbols.idx`: which object defines which symbol,
//! - `files/…`: the contents of `--files`, and wherever `--extra` says.
//!
//! The second form prepares a single object, to be copied into a namespace's directory of a running system.

mod archive;
mod base;
mod crates;
mod prepare;
mod report;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    error::Error,
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use crate_metadata::{
    BASE_SYMBOLS_FILE_NAME, CRATE_OBJECT_EXTENSION, CrateType, NAMESPACES_DIRECTORY_NAME,
    SYMBOL_INDEX_FILE_NAME, base_symbols::BaseSymbols, symbol_index::SymbolIndex,
};

use wasm_artifact::sign::{TRUSTED_KEYS_FILE, TrustedKeys};

use archive::Archive;
use crates::CrateObject;

/// What a step of the program returns: errors are told to the user in one line.
type Outcome<T> = Result<T, Box<dyn Error>>;

const USAGE: &str = "usage: image_builder --artifacts BUILD.json --base ELF --base-lib LIB.a --applications DIR \
                     [--files DIR] [--extra FILE=NAME]… [--trusted-keys FILE]… --output CPIO [--sizes]\n   or: image_builder --object IN.o \
                     --output OUT.o";

/// What the command line asks for.
#[derive(Default)]
struct Options {
    artifacts: Option<PathBuf>,
    base: Option<PathBuf>,
    base_lib: Option<PathBuf>,
    applications: Option<PathBuf>,
    files: Option<PathBuf>,
    extra: Vec<(PathBuf, String)>,
    trusted_keys: Vec<PathBuf>,
    object: Option<PathBuf>,
    output: Option<PathBuf>,
    sizes: bool,
}

impl Options {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Outcome<Self> {
        let mut options = Options::default();
        while let Some(argument) = arguments.next() {
            if argument == "--sizes" {
                options.sizes = true;
                continue;
            }
            let mut value = || arguments.next().ok_or_else(|| format!("{argument} wants a value\n{USAGE}"));
            match argument.as_str() {
                "--artifacts" => options.artifacts = Some(value()?.into()),
                "--base" => options.base = Some(value()?.into()),
                "--base-lib" => options.base_lib = Some(value()?.into()),
                "--applications" => options.applications = Some(value()?.into()),
                "--files" => options.files = Some(value()?.into()),
                "--trusted-keys" => options.trusted_keys.push(value()?.into()),
                "--object" => options.object = Some(value()?.into()),
                "--output" | "-o" => options.output = Some(value()?.into()),
                "--extra" => {
                    let value = value()?;
                    let (file, name) = value.split_once('=').ok_or("--extra wants FILE=NAME")?;
                    options.extra.push((file.into(), name.trim_start_matches('/').to_owned()));
                }
                _ => return Err(format!("unknown option {argument}\n{USAGE}").into()),
            }
        }
        Ok(options)
    }
}

fn main() -> ExitCode {
    let outcome = Options::parse(std::env::args().skip(1)).and_then(|options| match &options.object {
        Some(object) => prepare_one(object, options.output.as_deref()),
        None => build_image(&options),
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("image_builder: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Reads a file; the error names it.
fn read(path: &Path) -> Outcome<Vec<u8>> {
    fs::read(path).map_err(|error| format!("{}: {error}", path.display()).into())
}

/// Writes a file; the error names it.
fn write(path: &Path, contents: &[u8]) -> Outcome<()> {
    fs::write(path, contents).map_err(|error| format!("{}: {error}", path.display()).into())
}

fn prepare_one(object: &Path, output: Option<&Path>) -> Outcome<()> {
    let output = output.ok_or("--object wants --output too")?;
    let prepared =
        prepare::prepare(&read(object)?).map_err(|error| format!("{}: {error}", object.display()))?;
    write(output, &prepared)
}

fn build_image(options: &Options) -> Outcome<()> {
    let missing = |name: &str| format!("{name} is missing\n{USAGE}");
    let artifacts = options.artifacts.as_deref().ok_or_else(|| missing("--artifacts"))?;
    let base = options.base.as_deref().ok_or_else(|| missing("--base"))?;
    let base_lib = options.base_lib.as_deref().ok_or_else(|| missing("--base-lib"))?;
    let applications = options.applications.as_deref().ok_or_else(|| missing("--applications"))?;
    let output = options.output.as_deref().ok_or_else(|| missing("--output"))?;

    let application_names = directory_names(applications)?;
    let in_base = base::crates_of_library(&read(base_lib)?)?;
    let base_image = read(base)?;
    let base_symbols =
        base::symbol_table(&base_image).map_err(|error| format!("{}: {error}", base.display()))?;

    let mut objects = crates::objects_of_build(artifacts, &in_base)?;
    for object in &mut objects {
        if application_names.contains(object.crate_name()) {
            object.kind = CrateType::Application;
        }
    }
    check_that_all_is_defined(&objects, &base_symbols)?;

    let mut archive = Archive::default();
    if !options.trusted_keys.is_empty() {
        archive.file(TRUSTED_KEYS_FILE, trusted_keys(&options.trusted_keys)?.as_bytes());
    }
    let kernel_directory = CrateType::Kernel.default_namespace_name();
    archive.file(
        &format!("{NAMESPACES_DIRECTORY_NAME}/{kernel_directory}/{BASE_SYMBOLS_FILE_NAME}"),
        &base_symbols,
    );
    archive.file(&format!("{NAMESPACES_DIRECTORY_NAME}/{SYMBOL_INDEX_FILE_NAME}"), &symbol_index(&objects)?);
    for object in &objects {
        archive.file(&format!("{NAMESPACES_DIRECTORY_NAME}/{}", object.path()), &object.contents);
    }
    archive.directory("files");
    if let Some(files) = &options.files {
        archive.tree(files, "files")?;
    }
    for (file, name) in &options.extra {
        archive.file(name, &read(file)?);
    }
    let archive = archive.finish();
    write(output, &archive)?;
    if options.sizes {
        report::print_sizes(&objects, &base_image, base_symbols.len(), archive.len())?;
    }
    Ok(())
}

/// The keys in all of these files, as one file.
fn trusted_keys(files: &[PathBuf]) -> Outcome<String> {
    let mut keys = TrustedKeys::new();
    for file in files {
        let text =
            String::from_utf8(read(file)?).map_err(|_| format!("{}: this is no key file", file.display()))?;
        let found = TrustedKeys::parse(&text).map_err(|error| format!("{}: {error}", file.display()))?;
        keys.add_all(&found)?;
    }
    Ok(keys.iter().map(|key| format!("{key}\n")).collect())
}

/// Names of the directories below `path`.
fn directory_names(path: &Path) -> Outcome<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(path).map_err(|error| format!("{}: {error}", path.display()))? {
        let entry = entry?;
        if entry.path().is_dir() {
            names.insert(entry.file_name().to_string_lossy().replace('-', "_"));
        }
    }
    Ok(names)
}

/// The index from symbols to objects.
///
/// # Errors
/// If two crates define the same symbol: which of them would be used is nobody's intention.
fn symbol_index(objects: &[CrateObject]) -> Outcome<Vec<u8>> {
    let mut exports = BTreeMap::new();
    let mut definers: HashMap<&str, &CrateObject> = HashMap::new();
    let mut complaints = Vec::new();
    for object in objects {
        let names = object.exported_symbols()?;
        for name in &names {
            if let Some(other) = definers.insert(name, object) {
                let symbol = rustc_demangle::demangle(name);
                complaints.push(format!("{} and {} both define {symbol}", other.name, object.name));
            }
        }
        exports.insert(object.path(), names);
    }
    refuse(complaints)?;
    Ok(SymbolIndex::encode(exports.iter().map(|(path, names)| (path.as_str(), names.as_slice()))))
}

/// Makes sure that each crate can be linked.
///
/// # Errors
/// If a crate wants symbols that no crate defines: loading it would fail.
fn check_that_all_is_defined(objects: &[CrateObject], base_symbols: &[u8]) -> Outcome<()> {
    let base = BaseSymbols::parse(base_symbols).ok_or("the base symbol table is broken")?;
    let mut defined: BTreeSet<&str> =
        base.iter().filter(|symbol| symbol.exported).map(|symbol| symbol.name).collect();
    for object in objects {
        defined.extend(object.exported_symbols()?);
    }
    let mut complaints = Vec::new();
    for object in objects {
        for name in object.undefined_symbols()? {
            if !defined.contains(name) {
                let symbol = rustc_demangle::demangle(name);
                complaints.push(format!("{} could not be loaded: nothing defines {symbol}", object.name));
            }
        }
    }
    refuse(complaints)
}

/// An error of one line per complaint, if there is any.
fn refuse(complaints: Vec<String>) -> Outcome<()> {
    if complaints.is_empty() { Ok(()) } else { Err(complaints.join("\n").into()) }
}

impl CrateObject {
    /// The object's place below the directory of all namespaces.
    fn path(&self) -> String {
        format!("{}/{}{CRATE_OBJECT_EXTENSION}", self.kind.default_namespace_name(), self.name)
    }
}
