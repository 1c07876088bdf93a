//! [`remove`].

use crate::{Cause, Failure, at};
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use fs_node::{DirRef, FileOrDir, FsError, remove_dir, remove_file};
use path::Path;

/// Something to be removed.
struct Doomed {
    parent: DirRef,
    name: String,
    path: String,
    /// Its entries have been dealt with.
    emptied: bool,
}

/// Removes what is at `path`; with `recursive`, directories with all that is in them. Returns what could not be removed; the rest
/// has been.
pub fn remove(path: &Path, cwd: &DirRef, recursive: bool) -> Vec<Failure> {
    let target = match path.target(cwd) {
        Ok(target) => target,
        Err(error) => return vec![at(path)(error)],
    };
    let node = target.dir.lock().lookup(&target.name);
    let node = match node {
        Ok(node) => node,
        Err(error) => return vec![at(path)(error)],
    };
    match node {
        None => return vec![at(path)(FsError::NotFound)],
        Some(FileOrDir::File(_)) if target.demands_directory => {
            return vec![at(path)(FsError::NotADirectory)];
        }
        Some(FileOrDir::Dir(_)) if !recursive => {
            return vec![Failure { path: path.as_str().into(), cause: Cause::NeedsRecursive }];
        }
        _ => {}
    }
    let mut failures = Vec::new();
    let path = path.as_str().into();
    let mut work = vec![Doomed { parent: target.dir, name: target.name, path, emptied: false }];
    while let Some(doomed) = work.pop() {
        let node = doomed.parent.lock().get(&doomed.name);
        let result = match node {
            // Someone else was faster.
            None => Ok(()),
            Some(FileOrDir::File(_)) => remove_file(&doomed.parent, &doomed.name),
            Some(FileOrDir::Dir(dir)) => match remove_dir(&doomed.parent, &doomed.name) {
                Err(FsError::NotEmpty) if !doomed.emptied => {
                    // Files go at once, and only directories are noted for later: many files are often removed because
                    // memory is short.
                    let mut inner = Vec::new();
                    let names = dir.lock().list();
                    for name in names {
                        let error = match remove_file(&dir, &name) {
                            Ok(()) | Err(FsError::NotFound) => continue,
                            Err(error) => error,
                        };
                        let path: String = Path::new(&doomed.path).join(&name).into();
                        if error == FsError::IsADirectory {
                            inner.push(Doomed { parent: dir.clone(), name, path, emptied: false });
                        } else {
                            failures.push(at(&path)(error));
                        }
                    }
                    work.push(Doomed { emptied: true, ..doomed });
                    work.extend(inner.into_iter().rev());
                    continue;
                }
                result => result,
            },
        };
        match result {
            Ok(()) | Err(FsError::NotFound) => {}
            Err(error) => failures.push(at(&doomed.path)(error)),
        }
    }
    failures
}
