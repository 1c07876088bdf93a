//! The objects of a build's crates.

use std::{collections::BTreeSet, path::Path};

use crate_metadata::{CRATE_HASH_DELIMITER, CrateType, ObjectFile, SymbolBinding};
use object::read::archive::ArchiveFile;
use serde_json::Value;

use crate::{Outcome, prepare, read};

/// The directory below cargo's target directory that holds what was built for the kernel's target.
const TARGET_NAME: &str = "x86_64-theseus";

/// A crate's object, ready for the loader.
pub struct CrateObject {
    /// Name and hash, as in `captain-0123456789abcdef`.
    pub name: String,
    /// Whether it is a program.
    pub kind: CrateType,
    /// The object file.
    pub contents: Vec<u8>,
}

impl CrateObject {
    /// The crate's name without its hash.
    pub fn crate_name(&self) -> &str {
        self.name.rsplit_once(CRATE_HASH_DELIMITER).map_or(&self.name, |(name, _)| name)
    }

    /// The parsed object.
    pub fn parse(&self) -> Outcome<ObjectFile<'_>> {
        Ok(ObjectFile::parse(&self.contents).map_err(|error| format!("{}: {error}", self.name))?)
    }

    /// Names of the symbols that other crates can refer to.
    pub fn exported_symbols(&self) -> Outcome<Vec<&str>> {
        let symbols = self.parse()?.symbols();
        Ok(symbols
            .globals()
            .filter(|(_, symbol)| symbol.is_exported())
            .map(|(_, symbol)| symbols.name(&symbol))
            .collect())
    }

    /// Names of the symbols that other crates must define.
    pub fn undefined_symbols(&self) -> Outcome<Vec<&str>> {
        let symbols = self.parse()?.symbols();
        let wanted = symbols
            .globals()
            .filter(|(_, symbol)| symbol.is_undefined() && symbol.binding != SymbolBinding::Weak);
        Ok(wanted.map(|(_, symbol)| symbols.name(&symbol)).collect())
    }
}

/// Reads cargo's list of artifacts, and the objects of all crates for the kernel's target that are not `in_base`.
pub fn objects_of_build(artifacts: &Path, in_base: &BTreeSet<String>) -> Outcome<Vec<CrateObject>> {
    let list = String::from_utf8(read(artifacts)?)?;
    let mut objects: Vec<CrateObject> = Vec::new();
    for (number, line) in list.lines().enumerate().filter(|(_, line)| line.starts_with('{')) {
        let message: Value = serde_json::from_str(line)
            .map_err(|error| format!("{}:{}: {error}", artifacts.display(), number + 1))?;
        if message["reason"] != "compiler-artifact" {
            continue;
        }
        for file in message["filenames"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            let path = Path::new(file);
            let for_target = path.components().any(|component| component.as_os_str() == TARGET_NAME);
            if !for_target || path.extension().is_none_or(|extension| extension != "rlib") {
                continue;
            }
            let Some((name, contents)) = object_of_library(path)? else { continue };
            if in_base.contains(&name) || objects.iter().any(|object| object.name == name) {
                continue;
            }
            let contents = prepare::prepare(&contents).map_err(|error| format!("{name}: {error}"))?;
            let object = CrateObject { name, kind: CrateType::Kernel, contents };
            // Of a crate that only declares types and generic functions nothing is ever looked for.
            if object.parse()?.symbols().globals().next().is_some() {
                objects.push(object);
            }
        }
    }
    if objects.is_empty() {
        return Err(format!("{} names no library for {TARGET_NAME}", artifacts.display()).into());
    }
    objects.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(objects)
}

/// Name and hash of the crate that an archive's member belongs to: rustc calls them `NAME-HASH.….o`.
pub fn crate_of_member(member: &str) -> Option<&str> {
    let (name, _) = member.strip_suffix(".o")?.split_once('.')?;
    name.contains(CRATE_HASH_DELIMITER).then_some(name)
}

/// The one object in an rlib with its crate's name; `None` if the crate consists of declarations only.
fn object_of_library(path: &Path) -> Outcome<Option<(String, Vec<u8>)>> {
    let contents = read(path)?;
    let explain = |error| format!("{}: {error}", path.display());
    let archive = ArchiveFile::parse(contents.as_slice()).map_err(explain)?;
    let mut found = None;
    for member in archive.members() {
        let member = member.map_err(explain)?;
        let Some(name) = crate_of_member(str::from_utf8(member.name())?) else { continue };
        let data = member.data(contents.as_slice()).map_err(explain)?.to_vec();
        if found.replace((name.to_owned(), data)).is_some() {
            return Err(format!(
                "{} holds more than one object: a crate is one unit of loading, so build with codegen-units = 1",
                path.display()
            )
            .into());
        }
    }
    Ok(found)
}
