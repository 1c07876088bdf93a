//! Operations at random, beside a model in memory.

use super::support::*;
use crate::FileSystem;
use fs_node::{FileOrDir, FsError, NewNode};
use io::IoError;
use std::collections::BTreeMap;

/// The content of each file; nothing for a directory.
pub type Model = BTreeMap<String, Option<Vec<u8>>>;

fn parent_is_dir(model: &Model, path: &str) -> bool {
    let (parent, _) = split(path);
    parent.is_empty() || model.get(parent).is_some_and(Option::is_none)
}

/// A path of up to three names out of a few.
fn path(numbers: &mut Numbers) -> String {
    const NAMES: [&str; 6] = ["A", "b.txt", "a long name that needs several entries", "D", "e", "ü"];
    let names: Vec<&str> = (0..1 + numbers.below(3)).map(|_| NAMES[numbers.below(6)]).collect();
    names.join("/")
}

/// Does something, to both; panics if they do not agree whether it succeeds. Returns false if there was no room.
pub fn step(mounted: &FileSystem, model: &mut Model, numbers: &mut Numbers) -> bool {
    let root = mounted.root();
    let at = path(numbers);
    let children = |model: &Model, path: &str| model.keys().any(|key| key.starts_with(&format!("{path}/")));
    let (result, expected): (Result<(), FsError>, bool) = match numbers.below(10) {
        0 | 1 => {
            let expected = parent_is_dir(model, &at) && !model.contains_key(&at);
            (create(root, &at, NewNode::Directory).map(drop), expected)
        }
        2 => {
            let is_dir = model.get(&at).is_some_and(Option::is_none);
            (remove(root, &at), model.contains_key(&at) && !(is_dir && children(model, &at)))
        }
        3 => {
            let to = path(numbers);
            let inside = to == at || to.starts_with(&format!("{at}/"));
            let expected = match (model.get(&at), model.get(&to)) {
                (None, _) => false,
                (Some(_), _) if to == at => true,
                (Some(None), _) if inside => false,
                _ if !parent_is_dir(model, &to) => false,
                (Some(_), None) => true,
                (Some(Some(_)), Some(Some(_))) => true,
                (Some(None), Some(None)) => !children(model, &to),
                _ => false,
            };
            let result = rename(root, &at, &to);
            if result.is_ok() && expected && to != at {
                model.remove(&to);
                let moved: Vec<String> = model
                    .keys()
                    .filter(|key| **key == at || key.starts_with(&format!("{at}/")))
                    .cloned()
                    .collect();
                for old in moved {
                    let value = model.remove(&old).unwrap();
                    model.insert(format!("{to}{}", &old[at.len()..]), value);
                }
            }
            (result, expected)
        }
        4 => {
            mounted.sync().unwrap();
            (Ok(()), true)
        }
        kind => {
            let file = match file(root, &at) {
                Err(FsError::NotFound) if parent_is_dir(model, &at) => match make_file(root, &at, b"") {
                    Ok(file) => {
                        model.insert(at.clone(), Some(Vec::new()));
                        file
                    }
                    Err(FsError::Io(IoError::NoSpace)) => return false,
                    Err(error) => panic!("{at}: {error}"),
                },
                Ok(file) => file,
                Err(_) => {
                    assert!(!model.get(&at).is_some_and(Option::is_some), "{at} is a file");
                    return true;
                }
            };
            let expected = model.get_mut(&at).unwrap().as_mut().unwrap();
            let length = expected.len();
            let result = if kind == 5 {
                let new = numbers.below(2 * length + 3000);
                let result = file.lock().truncate(new);
                if result.is_ok() {
                    expected.resize(new, 0);
                }
                result
            } else {
                let offset = if kind < 8 { length } else { numbers.below(length + 2000) };
                let count = numbers.below(9000);
                let bytes = numbers.bytes(count);
                let result = file.lock().write_at(&bytes, offset).map(drop);
                if result.is_ok() && !bytes.is_empty() {
                    expected.resize(length.max(offset + bytes.len()), 0);
                    expected[offset..offset + bytes.len()].copy_from_slice(&bytes);
                }
                result
            };
            (result.map_err(FsError::Io), true)
        }
    };
    match (&result, expected) {
        (Err(FsError::Io(IoError::NoSpace)), _) => return false,
        (Err(FsError::Io(error)), _) => panic!("{at}: {error}"),
        _ => assert_eq!(result.is_ok(), expected, "{at}: {result:?}"),
    }
    if result.is_ok() {
        match at_kind(mounted, &at) {
            Some(true) => drop(model.entry(at).or_insert(None)),
            Some(false) => {}
            None => drop(model.remove(&at)),
        }
    }
    true
}

/// Whether there is a directory, a file, or nothing.
fn at_kind(mounted: &FileSystem, path: &str) -> Option<bool> {
    at(mounted.root(), path).ok().map(|node| node.is_dir())
}

/// Everything that is there.
pub fn contents(mounted: &FileSystem) -> Model {
    let mut seen = Model::new();
    let mut work = vec![(String::new(), mounted.root().clone())];
    while let Some((path, dir)) = work.pop() {
        let names = dir.lock().names().unwrap();
        for name in names {
            let path = if path.is_empty() { name.clone() } else { format!("{path}/{name}") };
            let node = dir.lock().lookup(&name).unwrap().unwrap();
            match node {
                FileOrDir::Dir(dir) => {
                    seen.insert(path.clone(), None);
                    work.push((path, dir));
                }
                FileOrDir::File(file) => drop(seen.insert(path, Some(content(&file).unwrap()))),
            }
        }
    }
    seen
}

/// Panics unless the file system has exactly what the model has.
pub fn compare(mounted: &FileSystem, model: &Model) {
    let seen = contents(mounted);
    assert_eq!(seen.keys().collect::<Vec<_>>(), model.keys().collect::<Vec<_>>());
    for (path, content) in &seen {
        assert!(content == &model[path], "{path} differs");
    }
}

#[test]
fn at_random() {
    for (index, (kind, len, sectors)) in KINDS.into_iter().enumerate() {
        let mut numbers = Numbers(index as u64 + 1);
        let disk = Disk::new(image(kind, len, sectors));
        let mut model = Model::new();
        for _ in 0..4 {
            let mounted = disk.mount().unwrap();
            compare(&mounted, &model);
            for _ in 0..300 {
                step(&mounted, &mut model, &mut numbers);
            }
            compare(&mounted, &model);
            mounted.sync().unwrap();
            assert_eq!(fsck(&disk.bytes()), [""; 0], "FAT{kind}");
        }
        let mounted = disk.mount().unwrap();
        compare(&mounted, &model);
    }
}
