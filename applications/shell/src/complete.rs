//! Completion of commands and paths.

use crate::builtins;
use crate::run::programs;
use crate::syntax::{last_word, quote};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use fs_node::FileOrDir;
use line_editor::{Candidate, Completion};
use path::Path;

/// The ways to complete the word that `line` ends in.
pub(crate) fn complete(line: &str) -> Completion {
    let word = last_word(line);
    let candidates =
        if word.is_command && !word.text.contains('/') { commands(&word.text) } else { paths(&word.text) };
    Completion { start: word.start, candidates }
}

fn commands(begun: &str) -> Vec<Candidate> {
    let mut names: Vec<String> = programs();
    names.extend(builtins::names().map(String::from));
    names.sort();
    names.retain(|name| name.starts_with(begun));
    names
        .into_iter()
        .map(|name| Candidate { replacement: quote(&name), suffix: " ", display: name })
        .collect()
}

fn paths(begun: &str) -> Vec<Candidate> {
    let split = begun.rfind('/').map_or(0, |slash| slash + 1);
    let (dir, name) = begun.split_at(split);
    let path = if dir.is_empty() { "." } else { dir };
    let found = app_io::working_dir().ok().and_then(|cwd| Path::new(path).get_dir(&cwd));
    let Some(found) = found else { return Vec::new() };
    let names = found.lock().list();
    let matching = names.into_iter().filter(|entry| {
        // Names that begin with a dot want to be asked for.
        entry.starts_with(name) && (name.starts_with('.') || !entry.starts_with('.'))
    });
    matching
        .map(|entry| {
            let is_dir = matches!(found.lock().get(&entry), Some(FileOrDir::Dir(_)));
            Candidate {
                replacement: quote(&format!("{dir}{entry}")),
                suffix: if is_dir { "/" } else { " " },
                display: if is_dir { format!("{entry}/") } else { entry.to_string() },
            }
        })
        .collect()
}
