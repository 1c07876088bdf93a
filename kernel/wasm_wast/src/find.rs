//! Finding the scripts that the command line means.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use wasm_platform::files::entries;

/// What the names of scripts end with.
const EXTENSION: &str = ".wast";

/// The scripts that `path` stands for: the file itself, what it matches if it is a pattern, and of directories all scripts in and
/// below them, sorted.
///
/// # Errors
/// Says in one line why there are none.
pub(crate) fn scripts(path: &str) -> Result<Vec<String>, String> {
    let found =
        if is_pattern(path) && entries(path).is_err() { matching(path)? } else { vec![path.to_string()] };
    let mut scripts = Vec::new();
    for path in found {
        match entries(&path) {
            Ok(_) => scripts_below(path, &mut scripts)?,
            // No directory; reading it will tell what is wrong, if something is.
            Err(_) => scripts.push(path),
        }
    }
    Ok(scripts)
}

/// Adds all scripts in and below a directory.
fn scripts_below(directory: String, scripts: &mut Vec<String>) -> Result<(), String> {
    let mut found = Vec::new();
    let mut directories = vec![directory.clone()];
    while let Some(directory) = directories.pop() {
        let entries = entries(&directory).map_err(|error| format!("cannot read {directory}: {error}"))?;
        for entry in entries {
            let path = join(&directory, &entry.name);
            if entry.is_directory {
                directories.push(path);
            } else if entry.name.ends_with(EXTENSION) {
                found.push(path);
            }
        }
    }
    if found.is_empty() {
        return Err(format!("{directory} has no *{EXTENSION} in it; give a directory with scripts"));
    }
    found.sort();
    scripts.append(&mut found);
    Ok(())
}

fn join(directory: &str, name: &str) -> String {
    match directory {
        "" => name.to_string(),
        directory if directory.ends_with('/') => format!("{directory}{name}"),
        directory => format!("{directory}/{name}"),
    }
}

fn is_pattern(part: &str) -> bool {
    part.contains(['*', '?'])
}

/// What a path with `*` and `?` in any of its parts matches, sorted.
fn matching(pattern: &str) -> Result<Vec<String>, String> {
    let absolute = pattern.starts_with('/');
    let mut paths = vec![if absolute { "/" } else { "" }.to_string()];
    let mut parts = pattern.split('/').filter(|part| !part.is_empty()).peekable();
    while let Some(part) = parts.next() {
        let last = parts.peek().is_none();
        let mut longer = Vec::new();
        for path in &paths {
            if !is_pattern(part) {
                longer.push(join(path, part));
                continue;
            }
            // What is no directory, or not there, has nothing that matches.
            let directory = if path.is_empty() { "." } else { path };
            for entry in entries(directory).unwrap_or_default() {
                // Hidden files only for who asks for them.
                let hidden = entry.name.starts_with('.') && !part.starts_with('.');
                if !hidden && (last || entry.is_directory) && matches(part, &entry.name) {
                    longer.push(join(path, &entry.name));
                }
            }
        }
        longer.sort();
        paths = longer;
    }
    match paths.is_empty() {
        true => Err(format!("nothing matches {pattern}; check the pattern")),
        false => Ok(paths),
    }
}

/// Whether `name` is as `pattern` says: `*` stands for any characters, `?` for one.
fn matches(pattern: &str, name: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    let (mut at, mut read) = (0, 0);
    // Where to go on if what follows the last `*` does not match: that star, and how much of the name it takes then.
    let mut retry: Option<(usize, usize)> = None;
    while read < name.len() {
        match pattern.get(at) {
            Some('*') => {
                retry = Some((at, read));
                at += 1;
            }
            Some(c) if *c == '?' || *c == name[read] => (at, read) = (at + 1, read + 1),
            _ => match retry {
                Some((star, taken)) => {
                    retry = Some((star, taken + 1));
                    (at, read) = (star + 1, taken + 1);
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, name) in
            [("*", ""), ("*.wast", "a.wast"), ("a?c", "abc"), ("a*b*c", "axbybzc"), ("**", "x"), ("é?", "éü")]
        {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [("?", ""), ("*.wast", "a.wat"), ("a?c", "ac"), ("a*b", "abc"), ("", "x")] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
        // As long as this takes no time, no pattern does.
        assert!(!matches(&"*a".repeat(30), &"a".repeat(2000).replace("a", "ab")));
    }
}
