//! Crate names, where they occur: in file names (`captain-0123456789abcdef.o`), in mangled symbols
//! (`_RNvCs3lJEQQefytt_7captain4init`), and in demangled paths (`<alloc::string::String as core::fmt::Display>::fmt`).
//!
//! What is said about symbols here is a good guess, not a parse: whoever looks for the crate that defines a symbol takes the
//! names as candidates and then looks into their symbol tables.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::vec::Vec;
use core::ops::Range;

use crate_metadata::{CRATE_HASH_DELIMITER, CRATE_OBJECT_EXTENSION};
use path::Path;

/// The name, with its hash, of the crate whose object is at `path`: the file's name without `.o`.
pub fn crate_name_from_path(path: &Path) -> &str {
    let name = path.file_name().unwrap_or_default();
    name.strip_suffix(CRATE_OBJECT_EXTENSION).unwrap_or(name)
}

/// `captain` of `captain-0123456789abcdef`.
pub fn crate_name_without_hash(name: &str) -> &str {
    name.split_once(CRATE_HASH_DELIMITER).map_or(name, |(name, _)| name)
}

/// Whether a crate's name may contain `c`.
pub fn is_valid_crate_name_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// The names of the crates that may define the *demangled* symbol `demangled`, the likelier ones first.
///
/// `fs_node::file::read` is in `fs_node`; `<alloc::string::String as core::fmt::Display>::fmt` may be in `alloc` or `core`.
pub fn get_containing_crate_name(demangled: &str) -> Vec<&str> {
    let ranges = get_containing_crate_name_ranges(demangled);
    let mut names: Vec<&str> = Vec::with_capacity(ranges.len());
    for range in ranges {
        let name = &demangled[range];
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// Where in `demangled` the names are that [`get_containing_crate_name`] returns. A name that occurs twice is there twice.
pub fn get_containing_crate_name_ranges(demangled: &str) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    for (end, _) in demangled.match_indices("::") {
        let head = &demangled[..end];
        let start = head.len() - head.chars().rev().take_while(|c| is_valid_crate_name_char(*c)).count();
        // Only what begins a path is a crate's name: `String` in `alloc::string::String` is not.
        let begins_path = !head[..start].ends_with("::") && !head[..start].ends_with('>');
        if start < end && begins_path && !head[start..].starts_with(|c: char| c.is_ascii_digit()) {
            ranges.push(start..end);
        }
    }
    ranges
}

/// `symbol` with every `old` crate name in it replaced by `new`; `None` if there is none.
pub fn replace_containing_crate_name(symbol: &str, old: &str, new: &str) -> Option<alloc::string::String> {
    let mut replaced = alloc::string::String::new();
    let mut copied = 0;
    for range in get_containing_crate_name_ranges(symbol) {
        if &symbol[range.clone()] == old {
            replaced.push_str(&symbol[copied..range.start]);
            replaced.push_str(new);
            copied = range.end;
        }
    }
    if copied == 0 {
        return None;
    }
    replaced.push_str(&symbol[copied..]);
    Some(replaced)
}

/// The names of the crates that may define the symbol `mangled` (v0 mangling), in order of appearance.
///
/// In a v0 symbol a crate is `C`, then perhaps `s`, a base-62 number and `_`, then the decimal length of the name, then the
/// name.
pub fn crate_names_of_mangled(mangled: &str) -> impl Iterator<Item = &str> {
    let bytes = mangled.as_bytes();
    let start = if mangled.starts_with("_R") { 2 } else { bytes.len() };
    (start..bytes.len()).filter_map(move |at| {
        let mut rest = mangled[at..].strip_prefix('C')?;
        if let Some(disambiguated) = rest.strip_prefix('s') {
            let (number, after) = disambiguated.split_once('_')?;
            if !number.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
                return None;
            }
            rest = after;
        }
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let length: usize = rest[..digits].parse().ok()?;
        // An underscore parts the length from a name that begins with a digit or an underscore.
        let name = rest[digits..].strip_prefix('_').unwrap_or(&rest[digits..]).get(..length)?;
        (length > 0 && name.chars().all(is_valid_crate_name_char)).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_files_name_is_its_crates() {
        assert_eq!(crate_name_from_path(Path::new("/namespaces/_kernel/task-0a1b.o")), "task-0a1b");
        assert_eq!(crate_name_from_path(Path::new("task-0a1b")), "task-0a1b");
        assert_eq!(crate_name_without_hash("wasm_engine-0a1b"), "wasm_engine");
        assert_eq!(crate_name_without_hash("nano_core"), "nano_core");
    }

    #[test]
    fn crates_in_demangled_paths() {
        assert_eq!(get_containing_crate_name("fs_node::file::read"), ["fs_node"]);
        assert_eq!(
            get_containing_crate_name("<alloc::string::String as core::fmt::Display>::fmt"),
            ["alloc", "core"]
        );
        assert_eq!(get_containing_crate_name("<task::Task>::new"), ["task"]);
        assert_eq!(get_containing_crate_name("core::ptr::drop_in_place::<task::Task>"), ["core", "task"]);
        assert!(get_containing_crate_name("memcpy").is_empty());
        assert_eq!(
            replace_containing_crate_name("<task::Task as task::T>::new", "task", "job").as_deref(),
            Some("<job::Task as job::T>::new")
        );
        assert_eq!(replace_containing_crate_name("task::new", "tas", "job"), None);
    }

    #[test]
    fn crates_in_mangled_symbols() {
        let names = |symbol| crate_names_of_mangled(symbol).collect::<Vec<_>>();
        assert_eq!(names("_RNvCs3lJEQQefytt_4capt4main"), ["capt"]);
        assert_eq!(
            names(
                "_RNvXs6_NtCsePQ0nsFNxJt_9hashbrown3mapINtB5_7HashMaphhENtNtCshYlQqMnXu4S_4core3fmt5Debug3fmt"
            ),
            ["hashbrown", "core"]
        );
        assert_eq!(names("_RNvC7mycrate3foo"), ["mycrate"]);
        assert!(names("memcpy").is_empty());
        assert!(names("_RNvCs3lJEQQefytt_99capt4main").is_empty());
    }
}
